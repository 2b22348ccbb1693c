"""The plugin's verdicts for thousands of data sets at once, and the proof that they are its own.

`check` hands data sets to `pytest_tiers.verdicts` as trials and ends the benchmark where the
verdict or the evidence differs from what is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.populations import Population
from pytest_tiers import statistics, verdicts
from pytest_tiers.records import Call, Trial
from pytest_tiers.settings import FLAGSHIP_MAY_MISS

MARGIN, ALPHA = 0.10, 0.05

#: An e-value that reaches this is enough for one comparison; rounding as in the plugin.
ENOUGH = math.exp(statistics.log_needed(ALPHA) - 1e-12)

VERDICTS = ("inconclusive", "safe", "matches", "worse", "flagship-fails")
INCONCLUSIVE, SAFE, MATCHES, WORSE, FLAGSHIP_FAILS = range(5)

_CALL = Call("gpt-5.4", "gpt-5.4-nano", "gpt-5.4-nano", "chat/completions", 200)

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Numbers of cases to look at.
Sizes = Sequence[int]


class Sets:
    """Simulated data sets, each with the same number of cases and of samples of each.

    ``flagship`` and ``candidate`` say who passed: data set, case, sample. ``lost`` is how much
    less often the candidate passes each of these very cases.
    """

    def __init__(
        self,
        random: np.random.Generator,
        population: Population,
        runs: int,
        cases: int,
        samples: int,
    ) -> None:
        shares = np.array([kind.share for kind in population])
        kinds = random.choice(len(population), size=(runs, cases), p=shares / shares.sum())
        passes = np.array([kind[1:] for kind in population], dtype=np.float32)[kinds]
        self.lost: Numbers = (passes[..., 0] - passes[..., 1]).astype(np.float64)
        self.flagship, self.candidate = (
            random.random((runs, cases, samples), dtype=np.float32) < passes[..., tier, None]
            for tier in (0, 1)
        )
        #: Candidate minus flagship, summed over the first samples of a case.
        self.differences = np.cumsum(
            self.candidate.astype(np.int8) - self.flagship.astype(np.int8), axis=2, dtype=np.int8
        )

    def some(self, which: slice) -> Sets:
        """Some of these data sets."""
        some = copy(self)
        for name, value in vars(self).items():
            setattr(some, name, value[which])
        return some

    def flagship_fails(self, samples: int) -> Flags:
        """Whether the flagship is no yardstick, after each number of cases."""
        missed = np.cumsum((~self.flagship[..., :samples]).sum(axis=2), axis=1)
        tried = samples * np.arange(1, missed.shape[1] + 1)
        return missed / tried > FLAGSHIP_MAY_MISS

    def by_case(self, samples: int) -> Numbers:
        """The e-value by case at the margin, after each number of cases."""
        summed = self.differences[..., samples - 1].astype(np.intp) + samples
        values = np.arange(-samples, samples + 1) / samples
        evidence = np.zeros(summed.shape)
        for weight, fraction in statistics.BETS:
            growth = 1 + fraction * (values + MARGIN) / (1 - MARGIN)
            evidence += weight * np.cumprod(growth[summed], axis=1)
        return evidence

    def by_pair(self, samples: int, margin: float, sizes: Sizes, sign: int = 1) -> Numbers:
        """The e-value by pair after some numbers of cases, of differences times ``sign``."""
        gained = self.candidate[..., :samples] & ~self.flagship[..., :samples]
        lost = ~self.candidate[..., :samples] & self.flagship[..., :samples]
        up, down = (
            np.cumsum(each.sum(axis=2), axis=1)[:, np.array(sizes) - 1]
            for each in ((gained, lost) if sign > 0 else (lost, gained))
        )
        tie = samples * np.array(sizes) - up - down
        logs = []
        for weight, fraction in statistics.BETS:
            # A fall leaves 1 − fraction of a bet: nothing, of the one that risks everything.
            fallen = (
                np.where(down > 0, -np.inf, 0.0) if fraction == 1 else down * math.log1p(-fraction)
            )
            stay, rise = (fraction * (value + margin) / (1 - margin) for value in (0, 1))
            logs.append(math.log(weight) + fallen + tie * math.log1p(stay) + up * math.log1p(rise))
        with np.errstate(over="ignore"):
            return np.exp(np.logaddexp.reduce(logs))

    def is_safe(self, samples: int) -> Flags:
        """Whether the verdict is `safe`, after each number of cases."""
        return (self.by_case(samples) >= ENOUGH) & ~self.flagship_fails(samples)

    def is_worse(self, samples: int, sizes: Sizes) -> Flags:
        """Whether the candidate is proven worse (other verdicts apart)."""
        summed = np.cumsum(self.differences[..., samples - 1], axis=1, dtype=np.int64)
        drop = -summed[:, np.array(sizes) - 1] / (samples * np.array(sizes))
        return (drop > MARGIN + 1e-12) & (self.by_pair(samples, 0.0, sizes, sign=-1) >= ENOUGH)

    def verdicts(self, samples: int, sizes: Sizes) -> NDArray[np.int8]:
        """The verdict at each number of cases, as an index of `VERDICTS`."""
        at = np.array(sizes) - 1
        return np.select(
            [
                self.flagship_fails(samples)[:, at],
                self.by_case(samples)[:, at] >= ENOUGH,
                self.by_pair(samples, MARGIN, sizes) >= ENOUGH,
                self.is_worse(samples, sizes),
            ],
            [FLAGSHIP_FAILS, SAFE, MATCHES, WORSE],
            INCONCLUSIVE,
        ).astype(np.int8)

    def trials(self, run: int, cases: int, samples: int, prompt: str = "p") -> list[Trial]:
        """A data set as the plugin has it: its first cases and samples."""
        return [
            Trial(
                prompt,
                str(case),
                tier,
                sample + 1,
                "passed" if passed[run, case, sample] else "missed",
                "t.py::p",
                calls=(_CALL,),
            )
            for tier, passed in (("full", self.flagship), ("nano", self.candidate))
            for case in range(cases)
            for sample in range(samples)
        ]

    def gathered(self, run: int, cases: int, samples: int) -> verdicts.Evidence:
        """What the plugin makes of a data set."""
        return verdicts.gather(
            self.trials(run, cases, samples),
            candidate="nano",
            flagship="full",
            margin=MARGIN,
            alpha=ALPHA,
        )

    def check(self, run: int, cases: int, samples: int) -> None:
        """End the benchmark unless the plugin says the same of a data set."""
        gathered = self.gathered(run, cases, samples)
        comparison = verdicts.decide({"p": gathered}, alpha=ALPHA)["p"]
        own = self.some(slice(run, run + 1))
        here = (
            VERDICTS[own.verdicts(samples, [cases])[0, 0]],
            math.log(own.by_case(samples)[0, cases - 1]),
            math.log(own.by_pair(samples, MARGIN, [cases])[0, 0]),
            math.log(own.by_pair(samples, 0.0, [cases], sign=-1)[0, 0]),
        )
        plugin = (
            comparison.verdict,
            gathered.log_cases,
            gathered.log_pairs,
            comparison.log_evidence_worse,
        )
        if here[0] != plugin[0] or not np.allclose(here[1:], plugin[1:], rtol=1e-9, atol=1e-9):
            raise SystemExit(f"not the plugin's verdict: {here} here, {plugin} there")
