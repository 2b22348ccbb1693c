"""Scores that a test gives: which numbers are scores, and a tier's mean."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_tiers.records import Trial


def checked_score(value: Any) -> float:
    """A score from 0 to 1 as a float; NumPy's numbers, Decimal and Fraction count as numbers.

    Raises ValueError for anything else: NaN, True, text, an array.
    """
    is_number = isinstance(value, Real | Decimal) and not isinstance(value, bool)
    number = float(value) if is_number else math.nan
    if not 0 <= number <= 1:
        raise ValueError(
            f"tier.score() expects a number from 0 to 1, got {value!r} ({type(value).__name__}). "
            "Divide by the highest mark that your judge gives; where no mark can be given, call "
            "pytest.fail()."
        )
    return number


def is_scored(trials: Iterable[Trial]) -> bool:
    """Whether any of the trials was given a score, or agrees with the flagship in part."""
    return any(
        trial.score is not None or trial.agreement not in (None, 0.0, 1.0) for trial in trials
    )


def mean_score(trials: Iterable[Trial]) -> float | None:
    """The mean over cases of what a case's trials are worth; None where no trial counts.

    Trials of one prompt on one tier.
    """
    by_case: defaultdict[str, list[float]] = defaultdict(list)
    for trial in trials:
        if trial.worth is not None:
            by_case[trial.case].append(trial.worth)
    means = [math.fsum(each) / len(each) for each in by_case.values()]
    return math.fsum(means) / len(means) if means else None
