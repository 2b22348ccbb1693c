from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

import pytest

from pytest_tiers.records import Outcome, Trial
from pytest_tiers.scores import checked_score, is_scored, mean_score


class Float32:
    """A number that is no float, registered as NumPy registers its own."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


Real.register(Float32)


def trial(case: str, outcome: Outcome = "passed", score: float | None = None) -> Trial:
    return Trial("p", case, "nano", 1, outcome, f"p[{case}]", score=score)


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (0, 0.0),
        (1, 1.0),
        (0.8, 0.8),
        (Float32(0.5), 0.5),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
    ],
)
def test_numbers_from_0_to_1_are_scores(value: Any, score: float) -> None:
    found = checked_score(value)
    assert (found, type(found)) == (score, float)


@pytest.mark.parametrize(
    "value", [-0.01, 1.01, 7, math.nan, math.inf, Decimal("NaN"), True, "0.8", None, [0.8], 1j]
)
def test_nothing_else_is(value: Any) -> None:
    with pytest.raises(ValueError, match="expects a number from 0 to 1, got") as error:
        checked_score(value)
    assert f"({type(value).__name__})" in str(error.value)


@pytest.mark.parametrize(
    ("outcome", "score", "worth"),
    [
        ("passed", None, 1.0),
        ("passed", 0.25, 0.25),
        ("passed", 0.0, 0.0),
        ("missed", 0.75, 0.0),
        ("unsupported", None, 0.0),
        ("error", 0.75, None),
        ("no-call", None, None),
    ],
)
def test_what_a_trial_is_worth(outcome: Outcome, score: float | None, worth: float | None) -> None:
    assert trial("a", outcome, score).worth == worth


def test_the_mean_is_over_cases_and_leaves_out_what_does_not_count() -> None:
    trials = [
        trial("a", score=0.5),
        trial("a", "missed", score=0.9),
        trial("a", "error"),
        trial("b", score=0.75),
    ]
    assert mean_score(trials) == 0.5
    assert mean_score([trial("a", "error")]) is None


def test_scored_is_where_any_trial_has_a_score() -> None:
    assert is_scored([trial("a"), trial("b", score=0.0)])
    assert not is_scored([trial("a")])
