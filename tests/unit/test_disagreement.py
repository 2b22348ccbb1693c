from __future__ import annotations

from typing import Any

import pytest

from pytest_tiers.disagreement import disagreements
from pytest_tiers.findings import Disagreement
from pytest_tiers.records import Outcome, Trial
from pytest_tiers.settling import settle
from tests.unit.test_summary import run, trial

OUTCOMES: dict[str, Outcome] = {"1": "passed", "0": "missed", "u": "unsupported", "e": "error"}


def side(case: str, tier: str, samples: str) -> list[Trial]:
    return [
        trial("p", case, tier, OUTCOMES[each], sample=number)
        for number, each in enumerate(samples, 1)
        if each != "-"
    ]


def found(*cases: str) -> dict[str, Disagreement]:
    """What ``FLAGSHIP/CANDIDATE``, a character for each sample, comes to."""
    trials = []
    for number, case in enumerate(cases):
        for tier, samples in zip(("full", "nano"), case.split("/"), strict=True):
            trials += side(f"c{number}", tier, samples)
    return disagreements(trials, "full", 0.05)


@pytest.mark.parametrize(
    ("cases", "own", "candidates"),
    [
        (["11/11"], 0.0, 0.0),
        (["10/11"], 1.0, 0.5),
        (["110/111"], 2 / 3, 1 / 3),
        (["10/01"], 1.0, 1.0),
        (["11/1u", "11/11"], 0.0, 0.25),
        (["10/11", "11/00", "11/11"], 1 / 3, 0.5),
        (["1/0", "11/11"], 0.0, 0.5),
        (["1e/1e", "e1/1-"], None, 0.0),
        (["1/1"], None, 0.0),
        (["ee/11"], None, None),
        (["-1/1-"], None, None),
    ],
)
def test_the_flagship_against_itself_beside_a_candidate(
    cases: list[str], own: float | None, candidates: float | None
) -> None:
    both = found(*cases)
    seen = tuple(both[tier].estimate if tier in both else None for tier in ("full", "nano"))
    assert seen == pytest.approx((own, candidates))


def test_each_has_its_own_bounds_over_the_cases_that_it_was_seen_in() -> None:
    both = found(*["11/11"] * 39, "10/11", *["1/1"] * 10)
    own, candidates = both["full"], both["nano"]
    assert (own.cases, candidates.cases) == (40, 50)
    assert 0 < own.low < own.estimate == 0.025 < own.high < 0.2
    assert candidates.low < candidates.estimate == 0.01 < candidates.high < own.high


def test_scores_differ_by_their_distance() -> None:
    trials = [
        trial("p", "c", "full", score=0.5),
        trial("p", "c", "full", sample=2, score=1.0),
        trial("p", "c", "nano", score=0.75),
    ]
    both = disagreements(trials, "full", 0.05)
    assert (both["full"].estimate, both["nano"].estimate) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("outputs", "outcome", "own"),
    [
        (("yes", "Yes "), "passed", 0.0),
        (("yes", "no"), "passed", 1.0),
        (("yes", "no"), "missed", 0.0),
        (("yes", None), "passed", 0.0),
    ],
)
def test_the_flagships_own_outputs_are_compared(
    outputs: tuple[Any, Any], outcome: Outcome, own: float
) -> None:
    trials = [
        trial("p", "c", "full", outcome, sample, output=output, has_output=output is not None)
        for sample, output in enumerate(outputs, 1)
    ]
    assert disagreements(settle(trials, "full"), "full", 0.05)["full"].estimate == own


def test_a_candidate_is_not_told_the_flagships_own_disagreement() -> None:
    trials = [
        trial("p", "c", tier, "passed", sample, output=output, has_output=True)
        for tier, outputs in (("full", "ab"), ("nano", "ab"))
        for sample, output in enumerate(outputs, 1)
    ]
    both = disagreements(settle(trials, "full"), "full", 0.05)
    assert (both["full"].estimate, both["nano"].estimate) == (1.0, 0.0)


def test_a_summary_has_them_for_each_compared_prompt() -> None:
    trials = [*side("c", "full", "10"), *side("c", "nano", "11")]
    (prompt,) = run(trials).prompts
    assert prompt.disagreements.keys() == {"full", "nano"}
    (bare,) = run(side("c", "full", "10")).prompts
    assert bare.disagreements == {}
