from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.findings import SuiteFinding
from pytest_tiers.reports.suite import suite_sentences
from pytest_tiers.suite import suite_finding
from pytest_tiers.verdicts import decide, gather
from tests.unit.summaries import prompt as prompt_summary
from tests.unit.summaries import run as run_summary
from tests.unit.test_verdicts import ALPHA, trials_of


def suite(prompts: Mapping[str, str]) -> Any:
    """The finding over prompts, each as test_verdicts writes its trials."""
    evidence = {
        name: gather(trials_of(text), candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
        for name, text in prompts.items()
    }
    return suite_finding(evidence, decide(evidence, alpha=ALPHA), ALPHA)


def test_all_cases_count_together() -> None:
    found = suite({"a": "1/1*20", "b": "1/1*30", "c": "1/1*9;1/0*1"})
    together = statistics.tally([0.0] * 59 + [-1.0])
    assert found == SuiteFinding(
        tier="nano",
        flagship="full",
        prompts=3,
        cases=60,
        difference=pytest.approx(-1 / 60),
        largest_drop=statistics.largest_drop(together, ALPHA),
        worse=(),
        unproven=("a", "b", "c"),
        left_out=(),
    )
    assert found.largest_drop < 0.12


def test_an_average_names_the_dead_prompt_that_it_hides() -> None:
    found = suite({"big": "1/1*200", "dead": "1/0*10", "small": "1/1*3", "odd": "1/u*2"})
    assert found.largest_drop < 0.12
    assert (found.worse, found.unproven) == (("dead", "odd"), ("small",))


def test_what_is_missing_counts_against_the_candidate() -> None:
    whole = suite({"a": "1/1*40", "b": "1/1*40"})
    gappy = suite({"a": "1/1*40", "b": "1/1*20;1/e*20"})
    none = suite({"a": "1/e*5", "b": "1/e*5"})
    assert gappy.cases == 60
    assert gappy.largest_drop > whole.largest_drop + 0.25
    assert (none.cases, none.difference, none.largest_drop) == (0, None, 1.0)


def test_a_prompt_of_which_answers_were_thrown_away_is_left_out() -> None:
    anew = [replace(trial, generation=trial.case == "0.3") for trial in trials_of("1/1*40")]
    evidence = {
        name: gather(trials, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
        for name, trials in (("a", trials_of("1/1*40")), ("b", trials_of("1/1*9")), ("c", anew))
    }
    found = suite_finding(evidence, decide(evidence, alpha=ALPHA), ALPHA)
    assert found is not None
    assert (found.cases, found.left_out) == (49, ("c",))


def test_a_prompt_whose_flagship_fails_dilutes_nothing() -> None:
    found = suite({"a": "1/1*40", "b": "1/1*40", "broken": "0/0*500"})
    assert found == SuiteFinding(
        **{
            **{name: getattr(found, name) for name in SuiteFinding.__struct_fields__},
            "prompts": 2,
            "cases": 80,
            "left_out": ("broken",),
        }
    )
    assert suite({"a": "1/1*40", "broken": "0/0*500"}) is None


def test_one_prompt_is_no_suite() -> None:
    assert suite({"a": "1/1*40"}) is None


@pytest.mark.parametrize(
    "prompts",
    [
        [(20, 0.0), (20, 0.4)],
        [(5, 1.0), (45, 0.1)],
        [(1, 0.9)] * 10 + [(40, 0.0)],
        [(10, 0.2)] * 5,
    ],
)
def test_the_bound_holds_however_the_drop_is_spread(prompts: list[tuple[int, float]]) -> None:
    """Cases always agree or lose; what may go wrong in 5% of suites goes wrong in at most 5%."""
    rng = random.Random(7)
    total = sum(cases for cases, _ in prompts)
    true_drop = sum(cases * drop for cases, drop in prompts) / total
    wrong = 0
    for _ in range(1000):
        lost = sum(rng.random() < drop for cases, drop in prompts for _ in range(cases))
        tally = statistics.tally([-1.0] * lost + [0.0] * (total - lost))
        needed = statistics.log_needed(ALPHA)
        wrong += statistics.reaches(statistics.log_evidence(tally, true_drop), needed)
    assert wrong <= 50


FINDING = SuiteFinding("mini", "full", 12, 412, -0.011, 0.0391, (), (), ())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            "mini on average over these 12 prompts, by their 412 cases: at most 4 points worse "
            "than full (95% confidence; seen: about 1 point worse).",
        ),
        (
            {"difference": 0.02, "worse": ("t.py::a",), "unproven": ("t.py::b", "t.py::c")},
            "mini on average over these 12 prompts, by their 412 cases: at most 4 points worse "
            "than full (95% confidence; seen: about 2 points better). Worse: a. Unproven: b and c.",
        ),
        (
            {"difference": 0.0, "left_out": ("t.py::b",)},
            "mini on average over these 12 prompts, by their 412 cases: at most 4 points worse "
            "than full (95% confidence; no drop seen). Left out, because they tell nothing: b.",
        ),
    ],
)
def test_in_words(changes: dict[str, Any], expected: str) -> None:
    known = {name: getattr(FINDING, name) for name in SuiteFinding.__struct_fields__}
    summary = run_summary(
        *(prompt_summary(f"t.py::{name}") for name in "abc"),
        suite={"mini": SuiteFinding(**{**known, **changes})},
    )
    (said,) = suite_sentences(summary)
    assert said == expected
    assert "safe" not in said


def test_without_a_case_that_both_answered_nothing_is_said() -> None:
    nothing = replace(FINDING, difference=None, cases=0, largest_drop=1.0)
    assert list(suite_sentences(run_summary(suite={"mini": nothing}))) == []


def test_a_selection_is_named() -> None:
    (said,) = suite_sentences(run_summary(selection=True, suite={"mini": FINDING}))
    assert "over the selected 12 prompts" in said
