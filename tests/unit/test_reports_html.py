"""The HTML report as text; tests/browser opens it in Chromium."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_tiers.findings import PassRate, RunSummary, Savings
from pytest_tiers.reports.html import parts
from pytest_tiers.reports.html.page import build_page
from pytest_tiers.reports.html.view import Page
from pytest_tiers.reports.terminal import summary_lines
from pytest_tiers.reports.writers import write
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import BUILT_IN, Ladder
from tests.unit.summaries import (
    HOSTILE,
    call,
    comparison,
    everyday,
    hostile,
    large,
    prompt,
    run,
    safe,
    small_suite,
    stats,
    support_desk,
    trial,
)

ROUTE = "tests/test_triage.py::test_route"


class Parsed(HTMLParser):
    """A page's elements and text, as a parser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.text += data


def html(summary: RunSummary) -> str:
    return "".join(parts(summary))


def pair(nano: str | None, full: str | None, **changes: object) -> RunSummary:
    """One case that nano missed and the flagship passed."""
    return run(
        prompt(ROUTE, comparison("nano")),
        trials=(
            trial(ROUTE, "refund", "nano", "missed", answer=nano, **changes),
            trial(ROUTE, "refund", answer=full),
        ),
    )


def only_pair(page: Page) -> tuple[str, str]:
    """The marked answers of the flagship and the candidate, what differs in brackets."""
    [(_, case)] = page.prompts[0].differing
    [found] = case.pairs
    flagship, candidate = (
        "".join(f"[{each.text}]" if each.differs else each.text for each in side.shown.pieces)
        for side in (found.flagship, found.candidate)
    )
    return flagship, candidate


def test_the_top_answers_three_questions() -> None:
    page = build_page(support_desk())
    save, sure, do = page.statements
    assert save.answer == "20% of the cost"
    assert save.rest == (
        "1,000 runs of each prompt cost $4.76 on full, $3.79 after the safe downgrades: 20% less."
    )
    assert sure.answer == "95% confidence"
    assert sure.rest == (
        "A cheaper tier is safe for 2 of 8 prompts: it passes your tests at most 10 points less "
        "often than full, on inputs like these. The other prompts: 1 worse, 4 undecided, "
        "1 without a verdict."
    )
    assert (do.answer, do.rest) == ("Move 2 of 8 prompts", "")
    assert [(each.move.name, each.move.tier) for each in do.moves] == [
        ("test_sentiment", "nano"),
        ("test_route", "mini"),
    ]
    assert [each.anchor for each in do.moves] == [each.anchor for each in page.prompts[1::-1]]


def test_a_saving_per_month_is_said_where_it_is_known() -> None:
    savings = Savings(
        flagship_usd_per_1000=Decimal(10),
        recommended_usd_per_1000=Decimal(6),
        share=0.4,
        priced_prompts=1,
        unpriced_prompts=0,
        flagship_usd_per_month=Decimal(1000),
        recommended_usd_per_month=Decimal(500),
        possible_usd_per_month=None,
    )
    page = build_page(replace(run(prompt(ROUTE, safe())), savings=savings))
    assert page.statements[0].answer == "40% of the cost, $500.00 a month"


def test_of_many_downgrades_the_richest_stand_on_top() -> None:
    long = "_and_on" * 20
    found = [prompt(f"t.py::test_{n}{long}", safe("mini"), recommended="mini") for n in range(7)]
    page = build_page(run(*found, selection=True))
    do = page.statements[2]
    assert (do.answer, do.rest) == ("Move 7 of 7 prompts", "Safe for this selection.")
    assert (do.moves[0].anchor, do.moves[0].move.name) == (
        page.prompts[0].anchor,
        "test_0_and_on_and_on_and…on_and_on_and_on_and_on",
    )
    assert (len(do.moves), do.more_moves) == (5, "and 2 more prompts")
    assert not any(step.startswith("Downgrade now") for step in page.steps)
    assert '<a href="#prompts">and 2 more prompts</a>' in html(run(*found))


def test_where_nothing_is_proven() -> None:
    save, sure, do = build_page(small_suite()).statements
    assert save.answer == "Nothing proven yet"
    assert "no downgrade is proven safe yet" in save.rest
    assert sure.rest.startswith("A cheaper tier is safe for 0 of 26 prompts:")
    assert do.rest


def test_a_selection_and_margins_of_their_own_are_said() -> None:
    own = prompt("t.py::test_b", safe(margin=0.05), margin=0.05, recommended="mini")
    page = build_page(run(prompt(ROUTE, safe()), own, selection=True))
    assert "2 of 2 prompts, for this selection: " in page.statements[1].rest
    assert "at most 5 points to 10 points less often" in page.statements[1].rest


def test_words_are_those_of_the_terminal() -> None:
    summary = support_desk()
    terminal = " ".join(text.strip() for text, _ in summary_lines(summary, width=200, verbosity=0))
    page = build_page(summary)
    texts = [statement.rest for statement in (page.statements[0], page.statements[2])]
    moves = [each.move for each in page.statements[2].moves]
    texts += [f"{move.name} -> {move.tier} ({move.gain})" for move in moves]
    for text in (*texts, *page.steps, *page.trouble, *page.notes):
        assert text in terminal.replace("- ", "")
    for candidate in (each for found in page.prompts for each in found.candidates):
        assert candidate.verdict in terminal
        assert candidate.saving.text in terminal


def test_the_decided_prompts_come_first() -> None:
    page = build_page(support_desk())
    assert [(group.title, [each.name for each in group.prompts]) for group in page.groups] == [
        ("Can move now", ["test_route", "test_sentiment"]),
        (
            "Undecided: more cases would tell",
            ["test_language", "test_order_id", "test_reply", "test_amount"],
        ),
        ("Stay", ["test_plan"]),
        ("Without a verdict", ["test_arithmetic"]),
    ]
    assert [each.tier for each in page.prompts[0].candidates if each.is_recommended] == ["mini"]


def test_exact_numbers_stand_beside_rounded_ones() -> None:
    page = build_page(support_desk())
    nano = page.prompts[0].candidates[0]
    assert (nano.saving.text, nano.saving.exact) == ("92%", "0.918907563025")
    assert (nano.cost.text, nano.cost.exact) == ("$0.0482", "0.04825")
    assert (nano.drop.text, nano.drop.exact) == ("68 points", "0.6701")
    assert '<data value="0.918907563025">92%</data>' in html(support_desk())


def test_what_is_unknown_is_never_0() -> None:
    nothing = {"cost_per_1000": None, "seconds_p50": None, "seconds_p95": None}
    summary = run(
        prompt(
            ROUTE,
            comparison("nano", "no-data", n=0, largest_drop=None, difference=None),
            tiers={"nano": stats(0, tier="nano", errors=5, unpriced_calls=2, **nothing)},
        )
    )
    [found] = build_page(summary).prompts
    [candidate] = found.candidates
    assert candidate.bar is None
    assert (candidate.drop.text, candidate.drop.exact) == ("unknown", None)
    assert (candidate.cost.text, candidate.cost.exact) == ("unknown", None)
    nano = found.tiers[0]
    assert (nano.pass_rate.text, nano.bounds, nano.p50.text) == ("unknown",) * 3
    assert nano.others == "5 without an answer, 2 unpriced"
    assert found.not_drawn == "Not drawn: nano and full (cost or pass rate unknown)."
    assert "Not drawn: " in html(summary)


def test_one_case_gets_its_reason() -> None:
    [found] = build_page(run(prompt(ROUTE, comparison(n=1)))).prompts
    assert found.candidates[0].why == "no verdict can come from one case"


def test_an_everyday_run() -> None:
    summary = everyday(trial(tier="current"), trial(case="late", tier="current", outcome="missed"))
    used = {"current": stats(1, 1)}
    page = build_page(replace(summary, prompts=(prompt(ROUTE, tiers=used),)))
    assert not page.is_comparison
    [said] = page.statements
    assert said.rest.startswith("2 trials on current: 1 passed, 1 missed; ")
    assert [row.case for row in page.prompts[0].matrix] == ["refund", "late"]
    shown = html(replace(summary, prompts=(prompt(ROUTE, tiers=used),)))
    assert "Cost and pass rate" not in shown
    assert "as the application asks" in shown


def test_one_tier_alone() -> None:
    settings = Settings(ladder=Ladder((BUILT_IN["full"],), "full"), comparison=True)
    statements = build_page(run(settings=settings)).statements
    assert [statement.answer for statement in statements] == ["Nothing", ""]


def test_no_trial_at_all() -> None:
    summary = run(trials=(), savings=Savings(None, None, None, 0, 0, None, None, None))
    page = build_page(summary)
    assert page.statements[2].rest == "Run tests that call a model."
    assert Parsed(html(summary)).tags["h1"] == 1


def test_a_prompt_without_a_candidate_is_named() -> None:
    summary = run(prompt(ROUTE, notice="no trial called a model"))
    assert "no trial called a model" in html(summary)


def test_the_matrix_shows_each_case_on_each_tier() -> None:
    trials = (
        trial(ROUTE, "a", "nano", "missed"),
        trial(ROUTE, "a", "nano", "passed", sample=2),
        trial(ROUTE, "a", "full"),
        trial(ROUTE, "b", "full", "error"),
    )
    [found] = build_page(run(prompt(ROUTE, comparison("nano")), trials=trials)).prompts
    assert [(row.case, [cell.text for cell in row.cells]) for row in found.matrix] == [
        ("a", ["1/2 passed", "passed"]),
        ("b", ["–", "error"]),
    ]
    assert [cell.outcome for cell in found.matrix[0].cells] == ["missed", "passed"]
    assert found.matrix[0].anchor == "case-1-1"
    assert found.matrix[1].anchor is None


def test_cases_are_named_as_their_authors_named_them() -> None:
    cases = ("\\u6848\\u4f8b-gr\\xfc\\xdfe-\\U0001f600", "\\\\u6848-\\u202e-\\x1b-\\U00110000")
    trials = [trial(ROUTE, case, tier) for case in cases for tier in ("nano", "full")]
    page = build_page(run(prompt(ROUTE, comparison("nano")), trials=tuple(trials)))
    assert [row.case for row in page.prompts[0].matrix] == [
        "案例-grüße-😀",
        "\\\\u6848-\\u202e-\\x1b-\\U00110000",
    ]


def test_a_differing_case_shows_request_answers_and_what_they_took() -> None:
    two = (call("nano"), call("nano", tokens=None, cost_usd=None, seconds=1.5))
    summary = pair(
        '{"team": "shipping"}',
        '{"team": "billing"}',
        question="user:\nWhere is my money?",
        reason="AssertionError: assert 'shipping' == 'billing'",
        calls=two,
    )
    page = build_page(summary)
    [(anchor, case)] = page.prompts[0].differing
    assert anchor in Parsed(html(summary)).ids
    assert (case.title, case.ended) == ("refund", "nano missed, full passed")
    assert case.question == "user:\nWhere is my money?"
    assert case.question_note == "as sent to nano, the last of 2 calls"
    [found] = case.pairs
    assert found.flagship.facts == "160 tokens in, 13 out · $0.000595 · 0.24 s"
    assert found.candidate.facts == "2 calls · 160 tokens in, 13 out · $0.0000482 · 1.7 s"
    assert found.candidate.reason == "AssertionError: assert 'shipping' == 'billing'"
    assert only_pair(page) == ('{"team": "[billing]"}', '{"team": "[shipping]"}')


def test_both_candidates_of_a_case_stand_together() -> None:
    trials = (
        trial(ROUTE, "refund", "nano", "missed", question="nano's"),
        trial(ROUTE, "refund", "mini", "missed", question="mini's", sample=1),
        trial(ROUTE, "refund"),
        trial(ROUTE, "refund", "nano", sample=2),
        trial(ROUTE, "refund", "full", "missed", sample=2, question="full's"),
    )
    summary = run(prompt(ROUTE, comparison("nano"), comparison("mini")), trials=trials)
    (_, first), (_, second) = build_page(summary).prompts[0].differing
    assert (first.title, first.ended) == ("refund", "nano missed, mini missed, full passed")
    assert first.question == "mini's"
    assert len(first.pairs) == 2
    assert (second.title, second.ended) == ("refund, sample 2", "nano passed, full missed")
    assert (second.question, second.question_note) == ("full's", "as sent to full")


def test_an_unknown_request_is_said() -> None:
    [(_, case)] = build_page(pair("a", "b")).prompts[0].differing
    assert (case.question, case.question_note) == ("", "not known")


def test_no_answer_no_calls() -> None:
    summary = pair(None, "billing", calls=())
    [(_, case)] = build_page(summary).prompts[0].differing
    assert case.pairs[0].candidate.shown.after == "no answer"
    assert case.pairs[0].candidate.facts == "0 calls · cost unknown · time unknown"
    assert only_pair(build_page(summary)) == ("billing", "")


@pytest.mark.parametrize(
    ("nano", "full", "marked"),
    [
        ("the same", "the same", ("the same", "the same")),
        ("one two", "one three", ("one [three]", "one [two]")),
        ("", "x", ("[x]", "")),
        ("a\x1b\u202e", "a", ("a", "a[\\x1b\\u202e]")),
        ("no\ud83d", "no", ("no", "no[\ufffd]")),
    ],
)
def test_what_differs_is_marked(nano: str, full: str, marked: tuple[str, str]) -> None:
    assert only_pair(build_page(pair(nano, full))) == marked


def test_compared_outputs_are_shown_instead_of_answers() -> None:
    summary = run(
        prompt(ROUTE, comparison("nano")),
        trials=(
            trial(tier="nano", outcome="missed", output={"a": [1]}, has_output=True),
            trial(output="text", has_output=True),
        ),
    )
    flagship, candidate = only_pair(build_page(summary))
    assert "text" in flagship
    assert re.sub(r"[\[\]\s]", "", candidate) == '{"a":1}'


def test_a_long_answer_begins_shortly_before_the_difference() -> None:
    summary = pair("same " * 100_000 + "shipping", "same " * 100_000 + "billing" + "!" * 9_000)
    [(_, case)] = build_page(summary).prompts[0].differing
    flagship, candidate = case.pairs[0].flagship.shown, case.pairs[0].candidate.shown
    assert flagship.before == candidate.before == "… 499,800 equal characters before"
    assert flagship.after == "… 5,207 more characters"
    assert candidate.after == ""
    assert candidate.pieces[-1].text.endswith("shipping")
    assert sum(len(piece.text) for piece in flagship.pieces) == 4_000


def test_hostile_text_stays_text() -> None:
    summary = hostile()
    page = html(summary)
    parsed = Parsed(page)
    harmless = Parsed(html(run(*summary.prompts, trials=())))
    assert parsed.tags["script"] == parsed.tags["img"] == 0
    assert parsed.tags["style"] == harmless.tags["style"] == 1
    assert parsed.tags["h1"] == 1
    assert parsed.handlers == []
    assert HOSTILE[0] in parsed.text
    assert "{{ 7 * 7 }}" in parsed.text
    for raw in ("\x00", "\x1b", "\u202e", "\u2028", "\ud83d"):
        assert raw not in page
    assert "nul\\x00 bell\\x07" in parsed.text
    assert len(page.encode()) < 300_000


def test_the_policy_allows_this_style_sheet_alone() -> None:
    page = html(support_desk())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "unsafe" not in policy[1]
    parsed = Parsed(page)
    assert parsed.tags["script"] == 0
    assert parsed.handlers == []
    assert [link for link in parsed.links if not link.startswith("#")] == ["data:,"]


def test_links_lead_somewhere_and_ids_are_unique() -> None:
    same_slug = prompt("tests/test_triage.py/test_route", comparison())
    for summary in (support_desk(), run(prompt(ROUTE, safe()), same_slug), hostile()):
        parsed = Parsed(html(summary))
        assert len(parsed.ids) == len(set(parsed.ids))
        assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
    assert "prompt-tests-test_triage.py-test_route" in Parsed(html(support_desk())).ids


def test_a_large_run_stays_under_1_mb(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    write(large(), path)
    assert path.stat().st_size < 1_000_000
    page = build_page(large())
    shown = [len(each.differing) for each in page.prompts]
    assert min(shown) >= 1
    assert max(shown) - min(shown) <= 1
    assert page.prompts[0].left_out == (
        f"{32 - shown[0]} more differing cases are left out to keep this file small: "
        "pytest -v shows them all."
    )


def test_a_report_is_the_same_text_each_time() -> None:
    assert html(support_desk()) == html(support_desk())


def test_what_the_run_was_is_told() -> None:
    about = dict(build_page(support_desk()).about)
    assert about["Commit"] == "abc123"
    assert about["Margin"] == "10 points"
    assert about["Tier nano"] == (
        "gpt-5.4-nano: $0.20 input, $1.25 output per million tokens (test)"
    )
    ladder = tuple(replace(entry, price=None) for entry in support_desk().ladder)
    about = dict(build_page(replace(support_desk(), ladder=ladder, commit=None)).about)
    assert about["Tier mini"] == "gpt-5.4-mini, no list price"
    assert "Commit" not in about


def test_pass_rates_with_bounds() -> None:
    rate = PassRate(29 / 30, 0.8512, 0.994)
    summary = run(prompt(ROUTE, safe(), tiers={"mini": stats(58, 2, "mini", pass_rate=rate)}))
    mini = build_page(summary).prompts[0].tiers[0]
    assert (mini.passed, mini.pass_rate.text, mini.bounds) == ("58/60", "97%", "85% to 99%")
    assert mini.pass_rate.exact == repr(29 / 30)
    assert mini.cost.exact == "0.174"
    assert Decimal(mini.cost.exact) == summary.prompts[0].tiers["mini"].cost_per_1000
