from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.plan import MissingTrial, MixPlan, Plan, make_plan, samples_that_would_decide
from pytest_tiers.records import Tokens, Trial
from pytest_tiers.reports.plan import plan_lines
from pytest_tiers.settings import Settings
from pytest_tiers.verdicts import Evidence
from tests.unit.test_summary import COMPARISON, call, run, sweep, trial
from tests.unit.test_verdicts import ALPHA, evidence


def plan(trials: Iterable[Trial], missing: Any = (), mode: Any = "once") -> Plan:
    return make_plan(run(trials), [MissingTrial(*each) for each in missing], mode)


def text(found: Plan, settings: Settings = COMPARISON) -> str:
    lines = list(plan_lines(found, settings, width=80))
    assert max(map(len, lines)) <= 80
    return " ".join(" ".join(lines).split())


def test_costs_are_those_of_the_same_prompt_and_tier() -> None:
    judged = {"calls": (call("0.002"), call("0.003", left_alone="as_is"))}
    trials = [
        trial("p", "a", "nano", **judged),
        trial("p", "b", "nano", calls=(call("0.001"),)),
        trial("p", "c", "nano", "error"),
        trial("p", "a", "full", calls=(call(None),)),
    ]
    found = plan(trials, [("p", "nano"), ("p", "full"), ("q", "nano"), ("p", "nano")])
    known = {(one.prompt, one.tier): (one.trials, one.calls, one.usd) for one in found.to_record}
    assert known == {
        ("p", "nano"): (2, 3, Decimal("0.006")),
        ("q", "nano"): (1, None, None),
        ("p", "full"): (1, 1, None),
    }
    assert not any(one.like for one in found.to_record)
    assert [one.tier for one in found.to_record] == ["nano", "nano", "full"]
    said = text(found)
    assert "nano: 3 trials of p and q: about 3 calls and an unknown number for 1 trial" in said
    assert "about $0.006 and an unknown amount for 1 trial - full: 1 trial of p: about 1" in said
    assert "about 1 call, cost unknown" in said
    assert "$0 " not in said


def test_a_search_for_a_mix_takes_what_is_not_recorded_of_it() -> None:
    lines = {
        MixPlan("t.py::test_new", 3, 0, 18, 540, Decimal("0.5")): "test_new tries at most 18 mixes "
        "of 3 call sites besides: at most 540 calls, $0.50 at the flagship's price; less for",
        MixPlan("t.py::test_begun", 2, 3, 5, 50, None): "test_begun tries at most 5 mixes of 2 "
        "call sites beyond the 3 recorded: at most 50 calls, cost unknown; less for answers that",
        MixPlan("t.py::test_done", 2, 4, 0, 0, Decimal(0)): "test_done is recorded to its end: it "
        "calls nothing",
    }
    found = replace(plan([]), mixes=tuple(lines))
    shown = text(found, replace(COMPARISON, mix=True))
    for line in lines.values():
        assert f"- the search for the mix of {line}" in shown


def test_a_tier_without_a_recording_is_taken_to_need_as_many_tokens_as_the_flagship() -> None:
    tokens = Tokens(1000, 500, 100, 0)
    judge = call("0.5", left_alone="as_is")
    trials = [trial("p", "a", "full", calls=(call("0.004", tokens=tokens), judge))]
    found = plan(trials, [("p", "nano"), ("q", "nano")])
    [known, unknown] = found.to_record
    # 1,000 tokens of input at $0.20 a million, none cached, and 100 of output at $1.25.
    assert (known.calls, known.usd, known.like) == (2, Decimal("0.500325"), "full")
    assert (unknown.calls, unknown.usd, unknown.like) == (None, None, None)
    assert "for 1 trial, if it needs as many tokens as full" in text(found)


def test_a_single_tier_needs_no_total() -> None:
    said = text(plan(sweep("p", 2), [("p", "nano")]))
    assert "would record 1 of 7 trials" in said
    assert "in all" not in said
    assert "in all: about 2 calls" in text(plan(sweep("p", 2), [("p", "nano"), ("p", "full")]))


@pytest.mark.parametrize(
    ("mode", "trials", "stale"), [("once", 0, 2), ("new_episodes", 2, 0), ("all", 4, 0)]
)
def test_what_each_mode_records(mode: Any, trials: int, stale: int) -> None:
    found = plan(
        [
            trial("p", "a", "nano", "error", stale=True),
            trial("p", "b", "nano", "error", stale=True),
            trial("p", "a", "full"),
            trial("p", "b", "full"),
        ],
        mode=mode,
    )
    assert (sum(one.trials for one in found.to_record), found.stale) == (trials, stale)
    assert found.recorded == 2


def test_verdicts_are_those_of_the_recordings() -> None:
    trials = [*sweep("p", 60), *sweep("q", 60, [("nano", 40), ("mini", 2)]), *sweep("r", 3)]
    found = plan(trials, [("r", "mini"), ("s", "nano")])
    assert {(prompt, one.tier, one.verdict) for prompt, one in found.decided} == {
        ("p", "nano", "safe"),
        ("p", "mini", "safe"),
        ("q", "nano", "worse"),
    }
    assert [(one.prompt, one.comparison.tier, one.missing) for one in found.undecided] == [
        ("q", "mini", 0),
        ("r", "nano", 0),
        ("r", "mini", 1),
    ]
    assert found.unjudged == (("s", "nano"),)
    said = text(found)
    assert "nano is safe for p" in said
    assert "nano is worse for q" in said
    assert "mini for r is undecided: 1 trial of it missing, to be recorded first" in said
    assert "nano cannot be judged yet for s" in said
    pair = Decimal("0.004") + Decimal("0.010")
    open_one = found.undecided[0]
    least, as_things_go = open_one.comparison.more_cases
    assert least
    assert as_things_go
    assert open_one.cases_usd == (least * pair, as_things_go * pair)
    assert (open_one.samples, open_one.samples_usd) == (1, 60 * pair)


@pytest.mark.parametrize(("agreeing", "lost"), [(38, 2), (38, 1), (31, 3)])
def test_so_many_more_samples_that_agree_decide_and_one_fewer_does_not(
    agreeing: int, lost: int
) -> None:
    def with_more(samples: int) -> Evidence:
        more = "1" * samples
        return evidence(f"1{more}/1{more}*{agreeing};1{more}/0{more}*{lost}")

    needed = statistics.log_needed(ALPHA)
    found = samples_that_would_decide(with_more(0), needed)
    assert found
    assert statistics.reaches(with_more(found).log_cases, needed)
    assert not statistics.reaches(with_more(found - 1).log_cases, needed)


@pytest.mark.parametrize("text", ["1/1*28;1/0*5", "1/1*31", "1/1*38;1/e*2", "1/e*38"])
def test_no_number_of_samples_makes_up_for_cases(text: str) -> None:
    assert samples_that_would_decide(evidence(text), statistics.log_needed(ALPHA)) is None


def test_what_cannot_be_reached_is_said() -> None:
    said = text(plan(sweep("p", 3, [("nano", 1)])))
    assert "if all agree, would make it safe (about $0.7" in said
    assert "as things go none will" in said
    known = [
        trial("p", f"{n}", tier, calls=(call(None),)) for n in range(3) for tier in ("nano", "full")
    ]
    assert "29 more cases would decide (cost unknown)" in text(plan(known))


def test_many_undecided_prompts_do_not_flood_the_screen() -> None:
    said = text(plan([each for n in range(15) for each in sweep(f"t.py::p{n:02}", 2)]))
    assert said.count("nano for p") == 10
    assert "nano is undecided for 5 more prompts (p10, p11, p12 and 2 more)" in said


def test_prompts_of_one_name_are_told_apart() -> None:
    said = text(plan([*sweep("a.py::p", 2), *sweep("b.py::p", 2)]))
    assert "nano for a.py::p is undecided" in said


def test_what_a_run_records_only_as_far_as_it_is_needed() -> None:
    more = [("p", "nano", False), ("p", "nano", False), ("new", "nano", False)]
    found = plan(sweep("p", 2), more)
    assert (found.to_record, found.trials) == ((), 6)
    assert [(one.prompt, one.trials) for one in found.if_needed] == [("new", 1), ("p", 2)]
    said = text(found)
    assert "A run would record nothing for certain: all 6 trials are replayed" in said
    assert (
        "- besides, as far as it is needed, at most 3 trials: about 2 calls and an unknown number "
        "for 1 trial"
    ) in said
    assert plan(sweep("p", 40), more[:2]).if_needed == ()


@pytest.mark.parametrize(
    ("missed", "may_stop", "left"),
    [(8, True, ["mini"]), (8, False, ["nano", "mini"]), (2, True, ["nano", "mini"])],
)
def test_who_is_stopped_is_not_planned(missed: int, may_stop: bool, left: list[str]) -> None:
    trials = [
        trial("p", str(case), tier, "missed" if tier == "nano" and case < missed else "passed")
        for case in range(20)
        for tier in ("nano", "mini", "full")
    ]
    found = plan(trials, [("p", tier, True, may_stop) for tier in ("nano", "mini")])
    assert [one.tier for one in found.to_record] == left


def test_who_is_too_far_behind_is_not_planned_and_needs_no_flagship() -> None:
    trials = [
        trial("p", str(case), tier, "missed" if case in missed else "passed")
        for case in range(24)
        for tier, missed in (("nano", range(8)), ("full", [23]))
    ]
    missing = [("p", tier, True, True) for tier in ("nano", "full")]
    found = plan(trials, missing)
    assert [one.comparison.verdict for one in found.undecided] == ["inconclusive"]
    assert found.to_record == ()
