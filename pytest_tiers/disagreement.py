"""How often tiers end differently from the flagship, and the flagship from itself (A/A)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

from pytest_tiers import statistics
from pytest_tiers.findings import Disagreement
from pytest_tiers.records import Trial
from pytest_tiers.verdicts import outputs_agree


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
    """The mean distance of two samples of one case; None where there is but one."""
    ordered = [samples[number] for number in sorted(samples)]
    return _mean(_distance(*pair, outputs=True) for pair in combinations(ordered, 2))


def _distance(one: Trial, other: Trial, *, outputs: bool = False) -> float:
    """How differently two trials ended, from 0 to 1.

    ``outputs``: what they handed to ``tier.compare`` counts too. A candidate's trial has been
    judged by that already.
    """
    if outputs and one.has_output and other.has_output:
        both_passed = one.outcome == other.outcome == "passed"
        if both_passed and not outputs_agree(one.output, other.output):
            return 1.0
    return abs((one.worth or 0.0) - (other.worth or 0.0))


def _mean(distances: Iterable[float]) -> float | None:
    known = list(distances)
    return math.fsum(known) / len(known) if known else None
