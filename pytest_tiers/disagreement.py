"""How often tiers end differently from the flagship, and the flagship from itself (A/A)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations, pairwise

from pytest_tiers import statistics
from pytest_tiers.findings import Disagreement
from pytest_tiers.records import Trial


def disagreements(trials: Iterable[Trial], flagship: str, alpha: float) -> dict[str, Disagreement]:
    """How far each tier's trials of one prompt are from the flagship's of the same case.

    A candidate's trial is compared with the flagship's of the same case and sample, each of the
    flagship's with its other samples of the case, which takes two or more. Tiers with nothing to
    compare are left out. Both have the same expectation where the candidate is as good, and as
    bad, as the flagship case by case; so the one can be held against the other.
    """
    by_tier: defaultdict[str, defaultdict[str, dict[int, Trial]]]
    by_tier = defaultdict(lambda: defaultdict(dict))
    for trial in trials:
        if trial.counts:
            by_tier[trial.tier][trial.case][trial.sample] = trial
    theirs = by_tier[flagship]
    found = {}
    for tier, ours in by_tier.items():
        if tier == flagship:
            by_case = [_against_itself(samples) for samples in ours.values()]
        else:
            by_case = [
                _mean(
                    _distance(trial, theirs[case][sample])
                    for sample, trial in samples.items()
                    if sample in theirs.get(case, {})
                )
                for case, samples in ours.items()
            ]
        known = [distance for distance in by_case if distance is not None]
        if known:
            low, high = statistics.mean_bounds(statistics.tally(known), alpha)
            found[tier] = Disagreement(math.fsum(known) / len(known), low, high, len(known))
    return found


def _against_itself(samples: dict[int, Trial]) -> float | None:
    """The mean distance of two samples of one case; None where there is but one.

    Where outputs are compared, each sample is only held against the one before.
    """
    ordered = [samples[number] for number in sorted(samples)]
    if any(trial.agreement is not None for trial in ordered):
        return _mean(_distance_with_output(*pair) for pair in pairwise(ordered))
    return _mean(_distance(*pair) for pair in combinations(ordered, 2))


def _distance(trial: Trial, flagship: Trial) -> float:
    """How differently two trials ended, from 0 to 1.

    A candidate's trial has been judged by its output already; the flagship's own agreement is
    with another trial.
    """
    return abs((trial.worth or 0.0) - (flagship.worth_alone or 0.0))


def _distance_with_output(before: Trial, trial: Trial) -> float:
    """How differently the flagship ended from its sample before, their outputs included."""
    apart = abs((trial.worth_alone or 0.0) - (before.worth_alone or 0.0))
    if trial.agreement is None or trial.outcome != "passed" or before.outcome != "passed":
        return apart
    return max(apart, 1 - trial.agreement)


def _mean(distances: Iterable[float]) -> float | None:
    known = list(distances)
    return math.fsum(known) / len(known) if known else None
