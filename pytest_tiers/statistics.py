"""E-values, bounds, how many more cases, e-BH: numbers in, numbers out.

A difference D is candidate minus flagship, each a pass rate or score in [0, 1], so D lies in
[−1, 1]. An e-value of 20 or more is evidence at confidence 0.95 (Ville's inequality), however
often one looks on the way. Everything is computed in natural logs: products over thousands of
cases would leave the range of floats.

Sources: the bets are those of Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting" (2023); e-BH is Wang and Ramdas, "False discovery rate control with
e-values" (2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import mul

#: Differences with how often each occurs, sorted: 100,000 cases have few different values, and
#: the order in which they came cannot matter.
Tally = tuple[tuple[float, int], ...]

#: The fixed mixture of bets: (share of the stake, fraction of it that each case risks).
BETS = ((0.5, 1.0), (0.2, 0.9), (0.15, 0.6), (0.1, 0.3), (0.05, 0.1))

#: Logs closer than this count as equal: e = 100 does reach a threshold of 5 / 0.05.
_ROUNDING = 1e-12

#: The bound is found to this accuracy, far below what a report shows.
_BOUND_ACCURACY = 1e-9

#: Log growth per case below which "the trend goes on" leads nowhere in 10⁹ cases.
_NO_TREND = 1e-9


def tally(differences: Iterable[float]) -> Tally:
    """Group equal differences, each in [−1, 1]."""
    counts: dict[float, int] = {}
    for each in differences:  # most have one value, for which a Counter is slow to be made
        counts[each] = counts.get(each, 0) + 1
    return tuple(sorted(counts.items()))


def mean(values: Tally) -> float:
    """The mean of one value or more, exactly rounded."""
    return math.fsum(value * count for value, count in values) / sum(n for _, n in values)


@lru_cache(maxsize=256)
def log_evidence(differences: Tally, margin: float) -> float:
    """Log e-value against "the candidate is worse by more than ``margin``" (below 1).

    0.0 without any differences: no evidence either way.
    """
    return _log_mixture(_log_bets(differences, margin))


def log_evidence_worse(differences: Tally, margin: float) -> float:
    """Log e-value against "the candidate is worse by at most ``margin``" (above −1)."""
    mirrored = tuple((-value, count) for value, count in differences)
    return log_evidence(mirrored, -margin)


def log_evidence_worse_hedged(differences: Tally) -> float:
    """As `log_evidence_worse` at margin 0, with the boldest bet's stake shared among the others.

    An e-value too. The boldest bet loses everything in the first pair that only the candidate
    passes, which a flagship that wavers soon brings about.
    """
    mirrored = tuple((-value, count) for value, count in differences)
    hedged = _log_mixture(_log_bets(mirrored, 0.0)[1:], BETS[1:])
    return hedged - math.log(math.fsum(weight for weight, _ in BETS[1:]))


def reaches(log_e: float, log_threshold: float) -> bool:
    """Whether a log e-value reaches a log threshold, rounding apart."""
    return log_e >= log_threshold - _ROUNDING


def log_needed(alpha: float) -> float:
    """The log e-value that a single comparison needs: log(1/α)."""
    return -math.log(alpha)


@lru_cache(maxsize=256)
def largest_drop(differences: Tally, alpha: float) -> float:
    """The largest plausible drop, in [0, 1]: the smallest margin with evidence of 1/α.

    1.0 where no margin below 1 has it. Bisection finds it because evidence never falls as the
    margin grows.
    """

    def excluded(drop: float) -> bool:
        return reaches(_log_mixture(_log_bets(differences, drop)), log_needed(alpha))

    if excluded(0.0):
        return 0.0
    low, high = 0.0, 1.0 - _BOUND_ACCURACY
    if not excluded(high):
        return 1.0
    while high - low > _BOUND_ACCURACY:
        middle = (low + high) / 2
        low, high = (low, middle) if excluded(middle) else (middle, high)
    return high


def mean_bounds(values: Tally, alpha: float) -> tuple[float, float]:
    """Bounds (low, high) on the mean of values in [0, 1]; both hold together at 1 − ``alpha``.

    How far the mean may lie below 1 is the largest drop of ``value − 1``, and how far above 0
    that of ``−value``: the same bets as a verdict's, each side with half of ``alpha``.
    """
    below_one = tuple((value - 1, count) for value, count in values)
    above_zero = tuple((-value, count) for value, count in reversed(values))
    return 1 - largest_drop(below_one, alpha / 2), largest_drop(above_zero, alpha / 2)


@lru_cache(maxsize=256)
def more_needed(
    differences: Tally, margin: float, log_threshold: float
) -> tuple[int | None, int | None]:
    """How many more cases reach a threshold: (least, expected), None where no number does.

    ``least`` holds if all further cases agree (D = 0), ``expected`` if they continue as those
    so far. (0, 0) where the threshold is reached already.
    """
    bets = _log_bets(differences, margin)
    if reaches(_log_mixture(bets), log_threshold):
        return 0, 0
    total = sum(count for _, count in differences)
    agreeing = _log_bets(((0.0, 1),), margin)
    least = _smallest(
        lambda more: _log_mixture(
            [so_far + more * one for so_far, one in zip(bets, agreeing, strict=True)]
        ),
        log_threshold,
        reachable=margin > 0,
    )
    expected = _smallest(
        lambda more: _log_mixture([so_far * (1 + more / total) for so_far in bets]),
        log_threshold,
        reachable=max(bets) > _NO_TREND * total,
    )
    return least, expected


def cases_needed(margin: float, alpha: float) -> int | None:
    """The smallest number of cases that, all agreeing, give evidence of 1/α at ``margin``.

    None at margin 0, where agreement alone proves nothing.
    """
    return more_needed((), margin, log_needed(alpha))[0]


def e_bh(log_evidences: Sequence[float], among: int, alpha: float) -> tuple[int, float]:
    """How many of ``among`` comparisons hold together, and the log e-value each of them has.

    The largest k such that the k-th largest e-value is at least ``among`` / (α k); at most a
    share α of those k is wrong, on average. ``among`` may exceed the e-values at hand. (0, inf)
    where none holds.
    """
    ranked = sorted(log_evidences, reverse=True)
    for k in range(len(ranked), 0, -1):
        threshold = log_e_bh_threshold(k, among, alpha)
        if reaches(ranked[k - 1], threshold):
            return k, threshold
    return 0, math.inf


def log_e_bh_threshold(k: int, among: int, alpha: float) -> float:
    """The log e-value that each of ``k`` comparisons ``among`` so many needs: log(M/(αk))."""
    return math.log(among) - math.log(k) + log_needed(alpha)


def _log_bets(differences: Tally, margin: float) -> list[float]:
    """The log of what each bet has become; −inf for one that lost everything."""
    counts = [count for _, count in differences]
    gains = [(value + margin) / (1 - margin) for value, _ in differences]
    worst = min(gains, default=0.0)
    return [
        -math.inf
        if fraction * worst <= -1
        else math.fsum(map(mul, counts, map(math.log1p, [fraction * gain for gain in gains])))
        for _, fraction in BETS
    ]


def _log_mixture(bets: Sequence[float], placed: Sequence[tuple[float, float]] = BETS) -> float:
    """The log of the weighted sum of bets, which are given as logs."""
    top = max(bets)
    shares = (weight * math.exp(bet - top) for (weight, _), bet in zip(placed, bets, strict=True))
    return top + math.log(math.fsum(shares))


def _smallest(
    log_evidence_after: Callable[[int], float], log_threshold: float, *, reachable: bool
) -> int | None:
    """The smallest number of further cases whose evidence reaches the threshold.

    One that 0 cases do not reach is crossed at most once: each mixture is convex in the number
    of cases.
    """
    if not reachable:
        return None
    low, high = 0, 1
    while not reaches(log_evidence_after(high), log_threshold):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if reaches(log_evidence_after(middle), log_threshold):
            high = middle
        else:
            low = middle
    return high
