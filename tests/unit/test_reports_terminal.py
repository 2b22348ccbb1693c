from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.findings import (
    Control,
    Disagreement,
    Gate,
    GateReason,
    LadderEntry,
    RunSummary,
    Savings,
)
from pytest_tiers.records import Outcome
from pytest_tiers.reports.advice import next_steps
from pytest_tiers.reports.control import unchecked_sentences
from pytest_tiers.reports.differences import difference_lines, differing
from pytest_tiers.reports.flakiness import flakiness_sentences
from pytest_tiers.reports.terminal import attainable_line, summary_lines
from pytest_tiers.reports.text import display_width
from pytest_tiers.reports.words import agreement, reasons
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import BUILT_IN, Ladder
from pytest_tiers.verdicts import Comparison
from tests.unit.summaries import (
    LADDER,
    call,
    comparison,
    everyday,
    prompt,
    run,
    safe,
    small_suite,
    stats,
    support_desk,
    trial,
)
from tests.unit.test_lock_file import ENTRY

GOLDEN = Path(__file__).parent / "golden"


def text(summary: RunSummary, width: int = 80, verbosity: int = 0) -> str:
    return "".join(
        f"{line}\n" for line, _ in summary_lines(summary, width=width, verbosity=verbosity)
    )


def everyday_with_trouble() -> RunSummary:
    nodes = [trial(case=f"c{number}", tier="current") for number in range(11)]
    lost = trial(
        case="c11",
        tier="current",
        outcome="error",
        reason="CassetteMiss: no recorded answer for POST /chat/completions",
        calls=(),
    )
    return everyday(*nodes, lost, left_alone=("tests/judge.py:12 grade (as_is: gpt-5.4)",))


GOLDENS: list[tuple[str, Any, int, int]] = [
    ("summary", support_desk, 80, 0),
    ("quiet", support_desk, 80, -1),
    ("verbose", support_desk, 80, 1),
    ("wide", support_desk, 150, 0),
    ("small_suite", small_suite, 80, 0),
    ("everyday", everyday_with_trouble, 80, 0),
]


@pytest.mark.parametrize(
    ("name", "build", "width", "verbosity"), GOLDENS, ids=[each[0] for each in GOLDENS]
)
def test_golden_text(name: str, build: Any, width: int, verbosity: int) -> None:
    expected = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert text(build(), width, verbosity) == expected


@pytest.mark.parametrize("build", [support_desk, small_suite, everyday_with_trouble])
@pytest.mark.parametrize("width", [80, 100, 120, 133, 200])
def test_every_line_fits(build: Any, width: int) -> None:
    for line in text(build(), width, 1).splitlines():
        assert display_width(line) <= width, line


def test_no_statistics_in_any_text() -> None:
    shown = (text(support_desk(), verbosity=1) + text(small_suite())).lower()
    for word in ("e-value", "alpha", "p-value", "e-bh", "null hypothesis", "100%"):
        assert word not in shown


@pytest.mark.parametrize("build", [support_desk, small_suite])
def test_bounds_in_the_golden_texts_are_real(build: Callable[[], RunSummary]) -> None:
    compared = [
        one
        for each in build().prompts
        for one in each.comparisons.values()
        if one.verdict != "unsupported"
    ]
    assert len(compared) > 10
    for one in compared:
        assert one.difference is not None
        assert one.largest_drop is not None
        # Every case that does not agree is lost, or every one is won (test_noisy).
        worth = -1.0 if one.difference < 0 else 1.0
        cases = [worth] * (one.cases - one.agreeing) + [0.0] * one.agreeing
        assert one.difference == pytest.approx(sum(cases) / one.cases)
        real = statistics.largest_drop(statistics.tally(cases), 0.05)
        assert one.largest_drop == pytest.approx(real, abs=1e-4)


def test_markup_says_what_is_safe() -> None:
    marked = {
        line.split()[-2]: markup
        for line, markup in summary_lines(support_desk(), width=80, verbosity=0)
        if line.endswith("71%") or line.startswith("prompt")
    }
    assert marked["safe"] == {"green": True}
    assert marked["worse"] == {"yellow": True}
    assert marked["inconclusive"] == {}
    assert marked["verdict"] == {"bold": True}


@pytest.mark.parametrize("name", ["test_路由", "test_" + "路由分类" * 4])
def test_wide_characters_keep_columns_straight(name: str) -> None:
    """Also where the wide id is the one that sets the column's width."""
    summary = run(
        prompt(f"tests/test_客服.py::{name}", comparison()),
        prompt("tests/test_triage.py::test_route", comparison()),
    )
    head, first, second = text(summary, 120).splitlines()[:3]
    at = [
        display_width(line[: line.index(word)])
        for line, word in ((head, "tier"), (first, "mini"), (second, "mini"))
    ]
    assert len(set(at)) == 1
    assert second.startswith(f"tests/test_客服.py::{name}  ")


def test_long_names_still_fit() -> None:
    tier = replace(BUILT_IN["mini"], name="a-very-long-tier-name-of-a-team")
    ladder = Ladder((tier, BUILT_IN["full"]), "full")
    one = comparison(tier.name, "flagship-fails", n=1200)
    shown = text(
        run(
            replace(
                prompt("tests/a/long/path/to/test_module.py::test_" + "name_" * 20),
                comparisons={tier.name: one},
                tiers={tier.name: stats(1200), "full": stats(1200)},
                savings={tier.name: 0.5},
            ),
            settings=Settings(ladder=ladder, comparison=True),
            ladder=(LadderEntry(tier.name, "m", None), LadderEntry("full", "gpt-5.4", None)),
        )
    )
    assert all(display_width(line) <= 80 for line in shown.splitlines())
    assert "a-very-lo…" in shown.splitlines()[1]


# Reasons.


def reason(one: Any, **changes: Any) -> str:
    trials = changes.pop("trials", (trial(),))
    selection = changes.pop("selection", False)
    [said] = reasons(
        run(prompt("t.py::test_x", one, **changes), trials=trials, selection=selection)
    )
    return said


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            safe(measurably_worse=True, difference=-0.04, n=300),
            "mini for test_x: passes your tests at most 10 points less often than full, on inputs "
            "like these (95% confidence); measurably worse, by about 4 points",
        ),
        (
            comparison(verdict="matches", n=12, pairs=36, largest_drop=0.2432, more_cases=(20, 20)),
            "mini for test_x: repeats well on your 12 cases; on other inputs it could be up to 25 "
            "points worse; 20 more cases, if all agree, would make it safe",
        ),
        (
            comparison(verdict="matches", n=12, largest_drop=None, more_cases=(None, None)),
            "mini for test_x: repeats well on your 12 cases",
        ),
        (
            comparison(
                verdict="worse",
                n=32,
                pairs=96,
                candidate_passed=51,
                flagship_passed=94,
                difference=-0.4479,
            ),
            "mini for test_x: fails 45 of 96 trials (full fails 2); "
            "measurably worse by about 45 points",
        ),
        (
            comparison(verdict="worse", n=32, candidate_passed=17, difference=None),
            "mini for test_x: fails 15 of 32 cases",
        ),
        (
            comparison(verdict="flagship-fails", n=12, flagship_passed=9),
            "test_x: the flagship itself passes only 9 of 12: two broken tiers look equal; "
            "mend the test or the prompt first",
        ),
        (comparison(verdict="unsupported"), "mini for test_x: cannot run this prompt as it is"),
        (
            comparison(verdict="no-data"),
            "mini for test_x: nothing to compare: no case has an answer from both it and full",
        ),
        (
            comparison(),
            "mini for test_x: agrees so far (5 of 5); 27 more cases, if all agree, would make it "
            "safe; drops of up to 49 points are not excluded yet",
        ),
        (
            comparison(n=31, more_cases=(1, 1), largest_drop=0.1026),
            "mini for test_x: agrees so far (31 of 31); 1 more case, if all agree, would make it "
            "safe; drops of up to 11 points are not excluded yet",
        ),
        (
            comparison(more_cases=(None, None), largest_drop=None),
            "mini for test_x: agrees so far (5 of 5); not reachable at this margin",
        ),
        (
            comparison(n=22, missing_trials=10),
            "mini for test_x: 10 trials missing, each counted against it until it has an answer; "
            "agrees on 22 of 22 answered cases",
        ),
        (
            comparison(n=32, held_back=True, among=38, more_cases=(14, 14)),
            "mini for test_x: safe on its own, not yet among the 38 comparisons of this run; "
            "14 more cases, if all agree, would make it safe",
        ),
        (
            comparison(n=32, held_back=True, among=38, more_cases=(None, None)),
            "mini for test_x: safe on its own, not yet among the 38 comparisons of this run",
        ),
        (
            comparison(n=32, agreeing=29, difference=-0.03, more_cases=(9, 14)),
            "mini for test_x: undecided (about 3 points worse so far, 3 of 32 cases differ): "
            "9 to 14 more cases would decide",
        ),
        (
            comparison(n=32, agreeing=30, difference=0.0, more_cases=(1, 1)),
            "mini for test_x: undecided (no drop so far, 2 of 32 cases differ): "
            "1 more case would decide",
        ),
        (
            comparison(n=3, agreeing=2, difference=-0.333, more_cases=(67, None)),
            "mini for test_x: undecided (about 33 points worse so far, 1 of 3 cases differ): "
            "67 more cases would make it safe if all agree; as things go, not reachable at this "
            "margin",
        ),
        (
            comparison(n=3, agreeing=2, difference=None, more_cases=(None, None)),
            "mini for test_x: undecided (no drop so far, 1 of 3 cases differ): "
            "not reachable at this margin",
        ),
        (
            comparison(n=1, more_cases=(None, None)),
            "1 prompt has one case (test_x): no verdict can come from one case; "
            "add cases where the saving is worth it",
        ),
    ],
)
def test_reason_in_words(one: Any, expected: str) -> None:
    assert reason(one) == expected


def test_scores_are_not_called_pass_rates() -> None:
    worse = comparison(verdict="worse", n=40, difference=-0.31, scored=True)
    assert reason(worse) == "mini for test_x: scores about 31 points lower on average, measurably"
    assert reason(safe(scored=True)) == (
        "mini for test_x: scores at most 10 points lower in your tests than full, on inputs like "
        "these (95% confidence)"
    )


def test_the_table_shows_mean_scores_where_there_are_any() -> None:
    scored = prompt(
        "a.py::test_graded",
        comparison(scored=True),
        tiers={"mini": stats(5, mean_score=0.996), "full": stats(4, 1, mean_score=0.004)},
    )
    head, row, other = text(run(scored, prompt("b.py::test_b", comparison()))).split("\n")[:3]
    assert head.split()[3:7] == ["passed", "(score)", "on", "full"]
    assert row.split()[3:7] == ["5/5", "(>0.99)", "4/5", "(<0.01)"]
    assert other.split()[3:5] == ["5/5", "5/5"]


def test_a_selection_is_named_where_safe_is_said() -> None:
    assert reason(safe(), selection=True).endswith("(95% confidence), for this selection")
    summary = run(prompt("t.py::test_x", safe(), recommended="mini"), selection=True)
    assert next_steps(summary)[0].startswith("Downgrade now (safe for this selection): ")
    assert "safe to downgrade for this selection" in text(summary, verbosity=-1)


def test_a_refusal_gives_the_providers_reason() -> None:
    refused = trial("t.py::test_x", tier="mini", outcome="unsupported", reason="400: no \x1b[1mx")
    assert reason(comparison(verdict="unsupported"), trials=(refused,)) == (
        "mini for test_x: cannot run this prompt as it is: 400: no \\x1b[1mx"
    )


@pytest.mark.parametrize(
    ("outcome", "counts"), [("error", {"errors": 5}), ("no-call", {"no_calls": 5})]
)
def test_no_data_says_which_tier_gave_none_and_why(
    outcome: Outcome, counts: dict[str, int]
) -> None:
    lost = trial("t.py::test_x", tier="full", outcome=outcome, reason="boom")
    tiers = {"mini": stats(5, tier="mini"), "full": stats(0, trials=5, **counts)}
    one = comparison(verdict="no-data")
    start = "mini for test_x: nothing to compare: all 5 trials on full gave no answer"
    assert reason(one, tiers=tiers, trials=(lost,)) == f"{start}, first: boom"
    assert reason(one, tiers=tiers) == start


def test_many_alike_become_one_sentence_with_ranges() -> None:
    def merged(*found: Any) -> str:
        [said] = reasons(
            run(*(prompt(f"t.py::test_{at}", one) for at, one in enumerate(found, start=1)))
        )
        return said

    who = "mini for 4 prompts (test_1, test_2, test_3 and 1 more): "
    sizes = (2, 3, 4, 5)
    assert merged(
        *(comparison(n=n, more_cases=(32 - n, 32 - n), largest_drop=1 - n / 10) for n in sizes)
    ) == (
        f"{who}agrees so far in every case (2 to 5 cases each); 27 to 30 more cases each, if all "
        "agree, would make it safe; drops of up to 80 points are not excluded yet"
    )
    bare = {"more_cases": (None, None), "largest_drop": None}
    assert merged(*(comparison(n=n, **bare) for n in sizes)) == (
        f"{who}agrees so far in every case (2 to 5 cases each)"
    )
    open_cases = [
        comparison(n=32, agreeing=32 - n, difference=-n / 100, more_cases=(n, 10 * n))
        for n in sizes
    ]
    assert merged(*open_cases) == (
        f"{who}undecided, 14 of 128 cases differ; to be decided with 20 to 50 more cases each, "
        "as things go"
    )
    hopeless = [replace(one, more_cases=(60, None)) for one in open_cases]
    assert merged(*hopeless) == (
        f"{who}undecided, 14 of 128 cases differ; as things go, none is reachable at this margin"
    )
    assert merged(hopeless[0], *open_cases[1:]) == (
        f"{who}undecided, 14 of 128 cases differ; 3 of 4 to be decided with 30 to 50 more cases "
        "each, as things go"
    )
    assert merged(*(comparison(missing_trials=n) for n in sizes)) == (
        f"{who}14 trials missing, each counted against it until it has an answer"
    )
    assert merged(*(comparison(verdict="matches", n=n, largest_drop=n / 10) for n in sizes)) == (
        f"{who}repeats well on your cases; on other inputs it could be up to 50 points worse"
    )
    matches = (comparison(verdict="matches", n=n, largest_drop=None) for n in sizes)
    assert merged(*matches) == f"{who}repeats well on your cases"
    worse = [
        comparison(verdict="worse", n=32, candidate_passed=32 - n, difference=-n / 32)
        for n in (8, 16, 20, 24)
    ]
    assert merged(*worse) == f"{who}measurably worse, by about 25 to 75 points"
    assert merged(*(replace(one, difference=None) for one in worse)) == f"{who}measurably worse"
    held = [comparison(n=32, held_back=True, among=9, more_cases=(n, n)) for n in sizes]
    unreachable = [replace(one, more_cases=(None, None), among=at) for at, one in enumerate(held)]
    assert merged(*unreachable) == (
        f"{who}safe on its own, not yet among the 3 comparisons of this run"
    )
    assert merged(*held) == (
        f"{who}safe on its own, not yet among the 9 comparisons of this run; 2 to 5 more cases "
        "each, if all agree, would make it safe"
    )


def test_long_names_lose_their_middle_in_prose() -> None:
    long = [f"t.py::test_{n}{'_and_on' * 20}_{end}" for n, end in ((1, "a"), (2, "b"))]
    shown = text(run(*(prompt(each, comparison()) for each in long)))
    assert "test_1_and_on_and_on_and…" in shown
    assert "_and_on" * 8 not in shown.replace("\n  ", "")


def test_prompts_of_one_name_are_told_apart() -> None:
    summary = run(prompt("a.py::test_x", comparison()), prompt("b.py::test_x", comparison()))
    assert reasons(summary)[0].startswith("mini for a.py::test_x and b.py::test_x: agrees")


def test_prompts_without_a_verdict_are_named() -> None:
    summary = run(prompt("a.py::test_x", notice="no trial called a model"), prompt("a.py::test_y"))
    assert reasons(summary) == [
        "no verdict for test_x: no trial called a model",
        "no verdict for test_y: no candidate to compare with",
    ]
    assert agreement(summary) is None
    assert "verdict  " not in text(summary)


# Totals.


def test_unpriced_calls_are_said_plainly() -> None:
    unknown = call("mini", cost_usd=None, model="foo", answered_by=None)
    silent = call("mini", cost_usd=None, tokens=None)
    nameless = call("mini", cost_usd=None, model=None, answered_by=None, model_asked=None)
    lost = call("mini", cost_usd=None, status=None)
    summary = run(
        prompt("a.py::test_x", comparison()),
        savings=Savings(None, None, None, 0, 1, None, None, None),
        replayed_usd=Decimal(0),
        unpriced_spent_calls=2,
        trials=(trial(calls=(unknown, unknown, silent, nameless, lost)),),
    )
    shown = " ".join(text(summary).split())
    assert (
        "2 calls unpriced: no price known for model 'foo'; "
        'add price = {...} or price_as = "..." to its tier.'
    ) in shown
    assert "1 call unpriced: no price known for model '(no name)'" in shown
    assert "1 call unpriced: the answer carries no token usage." in shown
    assert (
        "This run spent an unknown amount (2 unpriced calls); replay saved an unknown amount "
        "(4 unpriced calls)."
    ) in shown
    assert "Cost of 1,000 runs of each prompt on full: unknown, no prompt has a price." in shown
    assert "$0" not in shown.partition("What to do next")[0]


def test_prompts_without_a_cost_are_counted() -> None:
    savings = Savings(Decimal(5), Decimal(5), 0.0, 1, 2, None, None, None)
    shown = text(run(prompt("a.py::test_x", comparison()), savings=savings))
    assert "2 prompts not counted there: their cost is not fully known." in shown


def test_judges_cost_apart() -> None:
    judged = prompt("a.py::test_x", comparison(), as_is_calls=3, as_is_cost_usd=Decimal("0.0021"))
    free = call(left_alone="as_is", cost_usd=None)
    shown = text(run(judged, trials=(trial(calls=(free,)),)))
    assert "Judges and other calls left alone: 3 calls, $0.0021 and 1 unpriced call." in shown


@pytest.mark.parametrize(
    ("recommended", "possible", "expected"),
    [
        (None, None, "At your monthly_runs: $9,000 a month today."),
        (
            "6100",
            "4000",
            "At your monthly_runs: $9,000 a month today; proven saving $2,900 a month, possible "
            "$4,000.",
        ),
    ],
)
def test_cost_per_month(recommended: Any, possible: Any, expected: str) -> None:
    month = [None if usd is None else Decimal(usd) for usd in ("9000", recommended, possible)]
    savings = Savings(Decimal(5), Decimal(5), 0.0, 1, 0, *month)
    shown = " ".join(text(run(prompt("a.py::test_x", comparison()), savings=savings)).split())
    assert expected in shown


def test_trouble_comes_with_a_remedy() -> None:
    one = prompt("a.py::test_x", comparison(missing_trials=3))
    trials = (
        trial(tier="mini", outcome="no-call", reason="no call", calls=()),
        trial(case="b", tier="mini", outcome="error", reason=None),
        trial(case="c", tier="mini", outcome="error", budget=True),
        trial(case="d", tier="mini", outcome="error", stale=True),
    )
    settings = Settings(ladder=LADDER, comparison=True, max_calls=50)
    summary = run(
        one,
        trials=trials,
        stale_trials=1,
        unused_recordings=3,
        settings=settings,
        rest_usd=Decimal("0.0123"),
        other_models=('mini: asked for "gpt-5.4-mini", answered by "other"',),
        drift=('nano: "gpt-5.4-nano-2026-03-17" (9), "gpt-5.4-nano-2026-06-01" (1)',),
    )
    shown = " ".join(text(summary).split())
    assert "- 1 trial on mini ended in an error - An error says nothing about the model" in shown
    assert "- 1 trial on mini made no call of their own, first: no call" in shown
    assert "let each test make its own call." in shown
    assert 'asked for "gpt-5.4-mini", answered by "other".' in shown
    assert '(calls): nano: "gpt-5.4-nano-2026-03-17" (9), "gpt-5.4-nano-2026-06-01" (1).' in shown
    assert (
        "The limit of $1.00 (--tiers-max-cost) or 50 calls (--tiers-max-calls) was reached: "
        "1 trial not run, 3 complete and kept. The rest would cost about $0.0123: run the same "
        "command again (the limit is for each run), or raise it."
    ) in shown
    assert "1 trial stale:" in shown
    assert "--tiers-record=new_episodes." in shown
    assert "3 recordings unused: no test or case reads them any more." in shown
    cheap = " ".join(text(replace(summary, unused_recordings=1, settings=run().settings)).split())
    assert "1 recording unused: no test or case reads it any more." in cheap
    assert "The limit of $1.00 (--tiers-max-cost) was reached" in cheap


# What to do next.


def test_at_most_three_steps_the_richest_downgrade_first() -> None:
    steps = next_steps(support_desk())
    assert len(steps) == 3
    assert steps[0] == (
        "Downgrade now: test_sentiment -> nano (saves 92%, $0.547 per 1,000 runs) and test_route "
        "-> mini (saves 71%, $0.421 per 1,000 runs)."
    )
    assert steps[1] == "Get the missing answers (causes above): test_reply."


def test_most_to_gain_counts_how_often_a_prompt_runs() -> None:
    near = prompt("a.py::test_near", comparison(more_cases=(9, 14)))
    rich = prompt("a.py::test_rich", comparison(n=10, pairs=30), monthly_runs=1_000_000)
    assert next_steps(run(near, rich)) == [
        "Closest to a decision: mini: 9 to 14 more cases would decide test_near "
        "(saves 71%, $0.421 per 1,000 runs; about $0.0108 to record).",
        "Most to gain: mini: 27 more cases would decide test_rich "
        "(saves 71%, $0.421 per 1,000 runs, $421.00 a month; about $0.0623 to record).",
    ]


def test_what_cannot_save_more_is_not_pursued() -> None:
    proven = prompt("a.py::test_x", safe("nano"), comparison("mini"), recommended="nano")
    dearer = prompt("a.py::test_y", comparison("mini"), savings={"mini": -0.2})
    far = prompt("a.py::test_z", comparison("mini", more_cases=(100, 54_071)))
    assert next_steps(run(dearer, far)) == [
        "Stay on full: nothing cheaper is safe, or close to it."
    ]
    [only] = next_steps(run(proven))
    assert only.startswith("Downgrade now: test_x -> nano")


def test_what_is_locked_is_kept_until_something_speaks_against_it() -> None:
    name = "a.py::test_x"
    entry = replace(ENTRY, prompt=name, tier="nano", usd_per_1000=Decimal("0.04825"))

    def steps(*comparisons: Comparison, gate: Gate | None = None) -> list[str]:
        best = next((one.tier for one in comparisons if one.verdict == "safe"), None)
        summary = run(prompt(name, *comparisons, recommended=best))
        return next_steps(replace(summary, locked={name: entry}, gate=gate or Gate()))

    kept = ["Keep what is locked (test_x): nothing else is safe, or close to it."]
    assert steps(comparison("nano")) == kept
    assert steps(comparison("nano"), comparison("mini")) == kept
    assert steps(comparison("nano"), safe("mini")) == ["Nothing: every proven downgrade is locked."]
    stay = ["Nothing cheaper than full is safe, or close to it; what is locked does not hold."]
    assert steps(comparison("nano", "worse")) == stay
    failed = Gate(failures=(GateReason("missed", name, "nano"),))
    assert steps(comparison("nano", more_cases=(None, None)), gate=failed) == stay


def test_a_cheaper_candidate_is_pursued_beside_a_proven_one() -> None:
    proven = prompt("a.py::test_x", comparison("nano"), safe("mini"), recommended="mini")
    assert next_steps(run(proven))[1].startswith(
        "Closest to a decision: nano: 27 more cases would decide test_x"
    )


def test_unknown_costs_are_said_in_the_steps() -> None:
    bare = {"savings": {"mini": None}, "tiers": {"full": stats(5, cost_per_1000=None)}}
    summary = run(
        prompt("a.py::test_x", safe(), **bare), prompt("a.py::test_y", comparison(), **bare)
    )
    assert next_steps(summary) == [
        "Complete the prices: mini is safe for test_x, but what that saves is unknown.",
        "Closest to a decision: mini: 27 more cases would decide test_y (saving unknown).",
    ]
    assert "1 safe without a known saving, 1 undecided" in text(summary, verbosity=-1)


# Runs without verdicts.


def test_everyday_run_in_one_line() -> None:
    summary = everyday_with_trouble()
    line = "12 trials on current: 11 passed, 1 error; replayed $0.0012, spent $0"
    assert text(summary).splitlines()[0] == line
    assert text(summary, verbosity=-1) == f"tiers: {line}\n"


def test_everyday_run_names_locked_tiers() -> None:
    summary = everyday(trial(tier="current"), trial(tier="mini", outcome="missed"))
    assert text(summary).startswith("2 trials on current and mini: 1 passed, 1 missed;")
    unpriced = trial(tier="current", calls=(call(cost_usd=None, tokens=None),))
    assert "1 call unpriced: the answer carries no token usage." in text(everyday(unpriced))
    assert text(everyday(rewritten=())) == "no tiered test ran\n"


@pytest.mark.parametrize(("name", "hint"), [("full", "mini,full"), ("mini", "nano,mini")])
def test_one_tier_alone(name: str, hint: str) -> None:
    ladder = Ladder((BUILT_IN[name],), name)
    summary = run(
        prompt("a.py::test_x"),
        settings=Settings(ladder=ladder, comparison=True),
        trials=(trial(tier=name),),
    )
    shown = text(summary)
    line = f"nothing to compare: give two tiers or more, e.g. --tiers={hint}"
    assert shown.splitlines()[0] == line
    assert f"1 trial on {name}: 1 passed;" in shown
    assert text(summary, verbosity=-1).startswith("tiers: nothing to compare; 1 trial on")


def test_comparison_without_trials() -> None:
    assert text(run(trials=())) == "no tiered test ran: nothing to compare\n"


def test_attainable_line() -> None:
    known = {"prompts": 40, "safe": 0, "cases_needed": 32, "margin": 0.1, "samples": 3}
    assert attainable_line(**known, matches=15, one_case=20) == (
        "0 of 40 prompts can become safe (32 cases needed at margin 0.10), "
        "15 can match with 3 samples, 20 have one case"
    )
    bare = {**known, "prompts": 1, "cases_needed": None, "margin": 0.075}
    assert attainable_line(**bare, matches=0, one_case=1) == (
        "0 of 1 prompt can become safe (no number is enough at margin 0.075), 1 has one case"
    )
    assert attainable_line(**known, matches=0, one_case=0).endswith("margin 0.10)")


# Case by case.


def diff(old: str | None, new: str | None, width: int = 80, **changes: Any) -> list[str]:
    flagship, candidate = trial(answer=old), trial(tier="nano", outcome="missed", answer=new)
    return list(difference_lines(flagship, replace(candidate, **changes), width=width))[1:]


def test_differing_cases_are_those_where_only_one_passed() -> None:
    trials = (
        trial(case="a", tier="nano", outcome="missed"),
        trial(case="a"),
        trial(case="b", tier="nano"),
        trial(case="b", outcome="missed"),
        trial(case="c", tier="nano", outcome="missed"),
        trial(case="c", outcome="missed"),
        trial(case="d", tier="nano", outcome="error"),
        trial(case="d"),
        trial(case="e", tier="nano", outcome="missed"),
        trial(case="e", outcome="error"),
        trial(case="f", tier="nano", outcome="unsupported", sample=2),
        trial(case="f", sample=2),
    )
    found = list(differing(run(trials=trials)))
    assert [(old.outcome, new.case, new.outcome) for old, new in found] == [
        ("passed", "a", "missed"),
        ("missed", "b", "passed"),
        ("passed", "f", "unsupported"),
    ]
    head = next(difference_lines(*found[2], width=80))
    assert head == ("tests/test_triage.py::test_route[f], sample 2: nano unsupported, full passed")


def test_the_reason_is_that_of_the_trial_that_failed() -> None:
    lines = list(
        difference_lines(
            trial(outcome="missed", reason="AssertionError: no"), trial(tier="nano"), width=80
        )
    )
    assert lines[1] == "  full: AssertionError: no"


def test_answers_are_diffed_line_by_line() -> None:
    assert diff("same\nold\n", "same\nnew\n") == ["    same", "  - old", "  + new", "    "]
    assert diff("text", None) == ["  - text", "  + no answer"]
    assert diff(None, "text") == ["  - no answer", "  + text"]
    assert diff("same", "same") == [
        "  = both gave the same answer, the test judged it differently:",
        "    same",
    ]


def test_answers_cannot_command_the_terminal() -> None:
    lines = diff("ok", "\x1b]0;title\x07\x1b[2J\r\n\ud800\N{RIGHT-TO-LEFT OVERRIDE}")
    shown = "\n".join(lines)
    assert shown.replace("\n", "").isprintable()
    assert "  + \\x1b]0;title\\x07\\x1b[2J\\r" in lines
    assert "  + \N{REPLACEMENT CHARACTER}\\u202e" in lines


def test_long_answers_are_cut_and_say_by_how_much() -> None:
    old = diff("a" * 1000, None)
    assert old[-2:] == ["  - … (600 more characters)", "  + no answer"]
    lines = "\n".join(f"line {number}" for number in range(9))
    assert diff(lines, None)[-2] == "  - … (21 more characters)"
    assert len(diff(lines, None)) == 8


def test_a_difference_after_a_long_equal_beginning_is_in_view() -> None:
    same = "word " * 100
    assert diff(f"{same}yes", f"{same}no") == [
        "  … (460 equal characters before)",
        "  - word word word word word word word word yes",
        "  + word word word word word word word word no",
    ]
    rows = "".join(f"{number}\n" for number in range(8))
    assert diff(f"{rows}yes", f"{rows}no") == [
        "  … (12 equal characters before)",
        "    6",
        "    7",
        "  - yes",
        "  + no",
    ]


def test_long_lines_are_broken_not_lost() -> None:
    lines = diff("客" * 60, None, width=40)
    assert all(display_width(line) <= 40 for line in lines)
    assert "".join(lines).count("客") == 60


def test_a_blind_prompt_is_told_before_any_that_is_safe() -> None:
    blind = prompt(
        "t.py::test_blind",
        comparison("nano", verdict="blind", n=60),
        comparison("mini", verdict="blind", n=60),
        control=Control(8, 7),
    )
    found = run(prompt("t.py::test_a", safe(), recommended="mini"), blind)
    first, second = reasons(found)
    assert first == (
        "test_blind: its tests pass 7 of 8 times with another answer than the case's own: they "
        "would not see a model that answers wrong, so passing them proves nothing"
    )
    assert second.startswith("mini for test_a: passes your tests at most 10 points")
    assert next_steps(found)[0].startswith("Make the tests of test_blind see a wrong answer")
    assert ("  blind", {"yellow": True}) in [
        (f"  {line.split()[-2]}", markup)
        for line, markup in summary_lines(found, width=80, verbosity=0)
        if line.endswith("71%") and "blind" in line
    ]


def test_what_was_not_checked_is_said_where_it_matters() -> None:
    unchecked = prompt("t.py::test_a", safe(), control=None)
    open_one = prompt("t.py::test_b", comparison(), control=None)
    (said,) = unchecked_sentences(run(unchecked, open_one, prompt("t.py::test_c", safe())))
    assert said.startswith("Not checked whether these tests can fail: test_a. A replay does that")
    off = run(unchecked, settings=Settings(ladder=LADDER, comparison=True, control="off"))
    assert list(unchecked_sentences(off)) == []


def wavering(name: str, own: float, candidates: float, **changes: Any) -> Any:
    """A prompt whose flagship ends differently from itself in a share of its repeats."""
    flagship = changes.pop("flagship", "full")
    return prompt(
        f"tests/test_it.py::{name}",
        comparison(**changes),
        flagship=flagship,
        disagreements={
            "full": Disagreement(own, max(0.0, own - 0.05), own + 0.1, 20),
            "mini": Disagreement(candidates, 0.0, 0.5, 20),
        },
    )


def test_the_flagship_against_itself_stands_beside_the_candidates() -> None:
    summary = run(wavering("test_route", 0.12, 0.14))
    assert list(flakiness_sentences(summary)) == [
        "full against itself for test_route: two samples of a case end differently in 12% (7% to "
        "22%); mini in 14% from it",
        "Verdicts compare average pass rates: a flagship that wavers is neither held against a "
        "candidate, nor does it widen the margin.",
    ]
    assert "- full against itself for test_route: two samples" in text(summary)


def test_many_wavering_prompts_are_told_in_few_sentences() -> None:
    prompts = [wavering(f"test_{number}", number / 100, 0.0) for number in range(9)]
    said = list(flakiness_sentences(run(*prompts)))
    assert [sentence.partition(":")[0] for sentence in said] == [
        "full against itself for test_8",
        "full against itself for test_7",
        "full against itself for test_6",
        "full against itself for 5 more prompts (test_5, test_4, test_3 and 2 more)",
        "full against itself for test_0",
        "Verdicts compare average pass rates",
    ]
    assert said[3].endswith("up to 5% end differently")
    assert said[4].endswith("all samples of a case end alike (at most 10% would not)")


def test_where_outputs_differ_the_flagships_own_should_be_known() -> None:
    unknown = prompt("test_x", comparison(output_mismatches=2))
    assert list(flakiness_sentences(run(unknown))) == [
        "outputs differ from full's for test_x, but whether full repeats its own is not known: "
        "--tiers-samples=2 compares it with itself"
    ]
    known = list(flakiness_sentences(run(wavering("test_x", 0.1, 0.1, output_mismatches=2))))
    assert not [sentence for sentence in known if "not known" in sentence]


def test_a_steady_flagship_needs_no_explanation_and_an_unknown_one_no_sentence() -> None:
    assert len(list(flakiness_sentences(run(wavering("test_x", 0.0, 0.1))))) == 1
    alone = prompt("a", comparison(), disagreements={"mini": Disagreement(0.1, 0.0, 0.5, 20)})
    assert list(flakiness_sentences(run(alone))) == []
    assert list(flakiness_sentences(run(wavering("test_x", 0.1, 0.1, flagship="other")))) == []


def test_of_many_prompts_the_decided_ones_come_first_and_the_rest_is_counted() -> None:
    undecided = [prompt(f"t.py::test_open_{number:02}", comparison()) for number in range(10)]
    closer = prompt("t.py::test_z_closer", comparison(more_cases=(3, 4)))
    worse = prompt("t.py::test_worse", comparison(verdict="worse"))
    proven = prompt("t.py::test_z_proven", safe(), recommended="mini")
    failing = prompt("t.py::test_broken", comparison(verdict="flagship-fails"))
    summary = run(*undecided, closer, worse, proven, failing)
    shown = text(summary).split("\n\n")[0].splitlines()
    names = [line.split()[0].rpartition("::")[2] for line in shown[1:-1]]
    assert names == [
        "test_z_proven",
        "test_broken",
        "test_worse",
        "test_z_closer",
        *(f"test_open_{number:02}" for number in range(8)),
    ]
    assert shown[-1] == "… and 2 more prompts: 2 undecided (-v lists all)"
    assert "more prompts:" not in text(summary, verbosity=1)
    assert "test_open_09 " in text(summary, verbosity=1)
    by_id = text(run(*undecided[:2], proven)).splitlines()[1:4]
    assert [line.split()[0][-7:] for line in by_id] == ["open_00", "open_01", "_proven"]


def test_of_very_many_decided_prompts_not_all_are_shown() -> None:
    proven = [prompt(f"t.py::test_{n:02}", safe(), recommended="mini") for n in range(45)]
    assert "… and 5 more prompts: 5 safe (-v lists all)" in text(run(*proven))


def test_prose_is_no_wider_than_a_reader_likes() -> None:
    table, *prose = text(support_desk(), width=200).split("\n\n")
    assert max(map(display_width, table.splitlines())) > 120
    assert max(display_width(line) for part in prose for line in part.splitlines()) <= 120
