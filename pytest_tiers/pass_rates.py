"""How often a tier passes a prompt's tests, with bounds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from pytest_tiers import statistics
from pytest_tiers.findings import PassRate
from pytest_tiers.records import Trial


def pass_rate(trials: Iterable[Trial], alpha: float) -> PassRate | None:
    """The mean over cases of the share of samples that passed, with bounds at 1 − ``alpha``.

    Trials of one prompt on one tier; None where none of them counts.
    """
    return share(((trial.case, trial.is_success) for trial in trials if trial.counts), alpha)


def share(found: Iterable[tuple[str, bool]], alpha: float) -> PassRate | None:
    """The mean over cases of the share that holds, with bounds at 1 − ``alpha``.

    ``found`` are the samples of each case; None where there is none.
    """
    by_case: defaultdict[str, list[bool]] = defaultdict(list)
    for case, holds in found:
        by_case[case].append(holds)
    if not by_case:
        return None
    rates = [sum(holds) / len(holds) for holds in by_case.values()]
    low, high = statistics.mean_bounds(statistics.tally(rates), alpha)
    return PassRate(math.fsum(rates) / len(rates), low, high)
