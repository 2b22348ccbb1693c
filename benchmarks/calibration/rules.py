"""The rules that other tools decide by, for many data sets at once.

Each takes data sets with ``cases`` cases and says for which of them the candidate counts as "as
good". Where the plugin's margin has a place in a rule, it gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.calibration.evidence import ALPHA, MARGIN, Flags, Numbers, Sets

#: Two-sided for "not significant", one-sided elsewhere.
_ONE_SIDED, _TWO_SIDED = (float(stats.norm.ppf(1 - ALPHA / sides)) for sides in (1, 2))


def all_passed(sets: Sets, cases: int, samples: int) -> Flags:
    """The candidate passes every trial: a green suite."""
    return sets.candidate[:, :cases, :samples].all(axis=(1, 2))


def unpaired_z(sets: Sets, cases: int, samples: int) -> Flags:
    """The lower bound for the difference of two independent rates is above −margin."""
    theirs, ours = _rates(sets, cases, samples)
    error = np.sqrt((theirs * (1 - theirs) + ours * (1 - ours)) / (cases * samples))
    return ours - theirs - _ONE_SIDED * error > -MARGIN


def paired_t(sets: Sets, cases: int, samples: int) -> Flags:
    """The lower t bound for the mean difference of cases is above −margin."""
    means = sets.differences[:, :cases, samples - 1] / samples
    error = means.std(axis=1, ddof=1) / np.sqrt(cases)
    return means.mean(axis=1) - stats.t.ppf(1 - ALPHA, cases - 1) * error > -MARGIN


def bootstrap(sets: Sets, cases: int, samples: int) -> Flags:
    """The 5% quantile of resampled cases' mean difference is above −margin."""
    counts = np.stack(
        [
            (sets.differences[:, :cases, samples - 1] == value).sum(axis=1)
            for value in range(-samples, samples + 1)
        ],
        axis=1,
    )
    different, which = np.unique(counts, axis=0, return_inverse=True)
    return (lower_quantile(different) / (cases * samples) > -MARGIN + 1e-12)[which.ravel()]


def lower_quantile(counts: NDArray[np.int64]) -> Numbers:
    """The quantile α of the sum of resampled cases, as endless resampling would give it.

    A row of ``counts`` says how many cases have −s, …, 0, …, s. The distribution of a sum of
    independent draws is the power of its Fourier transform.
    """
    cases, samples = int(counts[0].sum()), counts.shape[1] // 2
    size = 2 * samples * cases + 1
    transformed = np.fft.rfft(counts / cases, n=1 << size.bit_length(), axis=1)
    distribution = np.fft.irfft(transformed**cases, axis=1)[:, :size]
    return (np.cumsum(distribution, axis=1) >= ALPHA - 1e-9).argmax(axis=1) - samples * cases


def not_significant(sets: Sets, cases: int, samples: int) -> Flags:
    """The two rates do not differ significantly (pooled z test, two-sided)."""
    theirs, ours = _rates(sets, cases, samples)
    pooled = (theirs + ours) / 2
    error = np.sqrt(pooled * (1 - pooled) * 2 / (cases * samples))
    return np.abs(ours - theirs) <= _TWO_SIDED * error


def _rates(sets: Sets, cases: int, samples: int) -> tuple[Numbers, Numbers]:
    """The pass rates of flagship and candidate."""
    theirs, ours = (
        passed[:, :cases, :samples].mean(axis=(1, 2)) for passed in (sets.flagship, sets.candidate)
    )
    return theirs, ours


#: What each rule is called in tables.
RULES: Mapping[str, Callable[[Sets, int, int], Flags]] = {
    "all passed": all_passed,
    "unpaired z": unpaired_z,
    "paired t": paired_t,
    "bootstrap": bootstrap,
    "not significant": not_significant,
}


def check(random: np.random.Generator) -> None:
    """End the benchmark unless two of the rules agree with what they stand for."""
    means = random.choice([-1.0, 0.0, 1.0], p=[0.2, 0.7, 0.1], size=40)
    bound = stats.ttest_1samp(means, 0.0).confidence_interval(1 - 2 * ALPHA).low
    own = means.mean() - stats.t.ppf(1 - ALPHA, 39) * means.std(ddof=1) / np.sqrt(40)
    resampled = random.choice(means, size=(100_000, 40)).sum(axis=1)
    counts = np.array([[(means == value).sum() for value in (-1, 0, 1)]])
    quantile = lower_quantile(counts)[0]
    below, upto = (resampled < quantile).mean(), (resampled <= quantile).mean()
    if not np.isclose(bound, own) or not below - 0.005 < ALPHA < upto + 0.005:
        raise SystemExit(f"t bound {own} and {bound}; bootstrap {quantile}: {below}, {upto}")
