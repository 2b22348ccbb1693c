"""The gate on fresh answers: it fails on evidence only, and says what it would have caught."""

from __future__ import annotations

import random

import pytest

from pytest_tiers import statistics
from pytest_tiers.findings import GateReason, PromptSummary
from pytest_tiers.gate_rates import (
    RateTest,
    conclude,
    detectable_drop,
    floor_of,
    of_part,
    rate_tests,
)
from pytest_tiers.records import LockEntry, Trial
from tests.unit.summaries import comparison, prompt
from tests.unit.test_lock_file import ENTRY

ALPHA = 0.05


def trials(passed: int, missed: int) -> list[Trial]:
    outcomes = ["passed"] * passed + ["missed"] * missed
    return [
        Trial("p", f"case-{n}", "mini", 1, outcome, nodeid=f"t::{n}")  # type: ignore[arg-type]
        for n, outcome in enumerate(outcomes)
    ]


def of_floor(passed: int, missed: int, floor: float | str = 0.9) -> RateTest:
    summary = prompt("p", min_pass_rate=floor)
    [test] = rate_tests(summary, "mini", trials(passed, missed), None)
    return test


def kinds(reasons: tuple[GateReason, ...]) -> list[str]:
    return [reason.kind for reason in reasons]


def test_a_few_misses_below_the_floor_are_no_proof() -> None:
    outcome = conclude([of_floor(8, 2, 0.95)], 1, ALPHA)
    assert outcome.proven == ()
    assert kinds(outcome.not_proven) == ["below"]
    assert outcome.not_proven[0].rate == pytest.approx(0.8)


def test_many_are() -> None:
    outcome = conclude([of_floor(20, 20)], 1, ALPHA)
    assert kinds(outcome.proven) == ["below"]
    assert outcome.not_proven == ()
    assert outcome.proven[0].nodeid == "t::20"


def test_chosen_cases_prove_nothing_of_the_others() -> None:
    outcome = conclude([of_part(of_floor(0, 40))], 1, ALPHA)
    assert outcome.proven == ()
    assert [(reason.kind, reason.only) for reason in outcome.not_proven] == [("below", "part")]
    assert outcome.power == (("p", None),)


def test_a_rate_above_the_floor_is_nothing() -> None:
    outcome = conclude([of_floor(38, 2)], 1, ALPHA)
    assert (outcome.proven, outcome.not_proven) == ((), ())


def test_many_locked_prompts_ask_for_more() -> None:
    test = of_floor(11, 9)
    assert conclude([test], 1, ALPHA).proven
    assert not conclude([test], 500, ALPHA).proven


def test_a_floor_of_one_is_disproved_by_one_miss() -> None:
    assert conclude([of_floor(59, 1, 1.0)], 1, ALPHA).proven
    assert not conclude([of_floor(60, 0, 1.0)], 1, ALPHA).proven


def test_samples_of_a_case_count_once() -> None:
    repeated = [Trial("p", "case", "mini", sample, "missed", nodeid="t") for sample in range(1, 60)]
    [test] = rate_tests(prompt("p", min_pass_rate=0.9), "mini", repeated, None)
    assert test.cases == 1
    assert not conclude([test], 1, ALPHA).proven


@pytest.mark.parametrize("floor", [0.5, 0.9, 0.97])
def test_a_tier_that_is_as_good_as_its_floor_fails_in_few_runs(floor: float) -> None:
    """Whatever the number of cases: at most 5% of 2,000 runs, give or take what 2,000 can tell."""
    chance = random.Random(7)
    false_alarms = 0
    for _ in range(2000):
        cases = chance.choice((5, 20, 60))
        passed = sum(chance.random() < floor for _ in range(cases))
        evidence = statistics.log_evidence(
            statistics.tally([-1.0] * passed + [0.0] * (cases - passed)), floor
        )
        false_alarms += statistics.reaches(evidence, statistics.log_needed(ALPHA))
    assert false_alarms <= 2000 * ALPHA + 3 * (2000 * ALPHA * (1 - ALPHA)) ** 0.5


def test_the_drop_that_is_named_is_caught_in_four_runs_of_five() -> None:
    test = of_floor(60, 0, 0.9)
    needed = statistics.log_needed(ALPHA)
    drop = detectable_drop(test, needed)
    assert drop is not None
    chance = random.Random(11)
    rate = 1 - drop
    caught = sum(
        statistics.reaches(
            test.log_evidence_of(sum(chance.random() >= rate for _ in range(60))), needed
        )
        for _ in range(2000)
    )
    assert 0.77 <= caught / 2000 <= 0.83


def test_too_few_cases_catch_nothing() -> None:
    assert detectable_drop(of_floor(1, 0, 0.5), statistics.log_needed(ALPHA)) is None
    assert conclude([of_floor(1, 0, 0.5)], 1, ALPHA).power == (("p", None),)


def test_auto_is_the_lower_bound_of_the_locked_rate() -> None:
    auto = prompt("p", min_pass_rate="auto")
    assert floor_of(auto, ENTRY) == ENTRY.pass_rate_at_least
    assert floor_of(auto, None) is None
    assert rate_tests(auto, "mini", trials(1, 1), None) == []


def worse(difference: float, log_worse: float) -> PromptSummary:
    found = comparison("mini", n=40, difference=difference, log_evidence_worse=log_worse)
    return prompt("p", found)


@pytest.mark.parametrize(
    ("difference", "log_worse", "proven", "not_proven"),
    [
        (-0.3, 5.0, ["worse"], []),
        (-0.3, 1.0, [], ["worse"]),
        (-0.05, 5.0, [], []),  # measurable, but within the margin
        (0.1, 0.0, [], []),
    ],
)
def test_a_locked_tier_that_is_worse_than_the_flagship(
    difference: float, log_worse: float, proven: list[str], not_proven: list[str]
) -> None:
    from msgspec.structs import replace

    entry: LockEntry = replace(ENTRY, accepted=None, accepted_on=None)
    tests = rate_tests(worse(difference, log_worse), "mini", trials(28, 12), entry)
    outcome = conclude(tests, 1, ALPHA)
    assert kinds(outcome.proven) == proven
    assert kinds(outcome.not_proven) == not_proven
    [(_, drop)] = outcome.power
    assert drop is not None
    assert 0.1 < drop < 0.35


def test_what_was_accepted_without_proof_may_be_worse() -> None:
    assert rate_tests(worse(-0.3, 5.0), "mini", trials(28, 12), ENTRY) == []
