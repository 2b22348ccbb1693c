"""One prompt at a time: how often it is called safe, by size, samples and looks on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration import rules
from benchmarks.calibration.evidence import MARGIN, MATCHES, SAFE, WORSE, Flags, Sets
from benchmarks.calibration.populations import MODELS, drop_of

#: Cases of a prompt, and samples of each.
SIZES = (5, 10, 20, 32, 50, 100, 200)
SAMPLES = (1, 3, 5)

#: Samples that adaptive sampling takes at most.
ROUNDS = 10

#: Data sets of a part of a study; rules that others use see the first of them.
RUNS, RUNS_OF_RULES = 500, 100

#: Which looks are taken, and how tables name them.
ONE_LOOK = "one look"
EACH_CASE = "a look after every case"
EACH_ROUND = "a look after every round of up to 10 samples"
EACH = "a look after every case, then after every round"
EACH_TEN = "a look after every ten cases, then after every round"
EACH_SIZE = "a look at each of these sizes"

#: How a prompt is sampled as needed while it grows by ten cases at a time: the looks, as cases and
#: samples. The plugin lets new cases catch up with the samples of the old ones; whoever begins
#: again with one sample of each looks more often.
CATCHING_UP = "as needed from 40 cases, new ones catch up"
STAIRS = "the same, each time one sample more is needed"
ANEW = "as needed from 40 cases, each time from the first"
LIVES: Mapping[str, Sequence[tuple[int, int]]] = {
    CATCHING_UP: [
        *((40, samples) for samples in range(1, ROUNDS + 1)),
        *((cases, ROUNDS) for cases in range(50, 201, 10)),
    ],
    STAIRS: [
        (cases, samples)
        for cases in range(40, 201, 10)
        for samples in (cases // 10 - 3, cases // 10 - 2)
        if samples <= ROUNDS
    ],
    ANEW: [(cases, samples) for cases in range(40, 201, 10) for samples in range(1, ROUNDS + 1)],
}

Counts = NDArray[np.int64]


@dataclass
class Found:
    """How many of ``runs`` data sets got a verdict, by number of cases.

    ``safe`` by samples and looks; ``wrong_matches`` are those whose very cases lose more than
    the margin; ``by_rule`` by rule, samples and looks, of ``runs_of_rules``.
    """

    runs: int = 0
    runs_of_rules: int = 0
    checked: int = 0
    safe: dict[tuple[int, str], Counts] = field(default_factory=dict)
    worse: dict[int, Counts] = field(default_factory=dict)
    matches: dict[int, Counts] = field(default_factory=dict)
    wrong_matches: dict[int, Counts] = field(default_factory=dict)
    by_rule: dict[tuple[str, int, str], Counts] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Count what another part found."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(value, int):
                setattr(self, name, mine + value)
            else:
                mine.update({key: mine.get(key, 0) + counts for key, counts in value.items()})


def simulate(model: str, drop: float, seed: np.random.SeedSequence) -> Found:
    """One part of the study of one model of data."""
    random = np.random.default_rng(seed)
    population = MODELS[model](drop)
    if abs(drop_of(population) - drop) > 1e-9:
        raise SystemExit(f"{model}: the drop is {drop_of(population)}, not {drop}")
    sets = Sets(random, population, RUNS, max(SIZES), ROUNDS)
    found = Found(runs=RUNS, runs_of_rules=RUNS_OF_RULES)
    at = np.array(SIZES) - 1
    by_samples = {samples: sets.is_safe(samples) for samples in range(1, ROUNDS + 1)}
    rounds = np.logical_or.reduce([safe[:, at] for safe in by_samples.values()])
    first = np.logical_or.accumulate(by_samples[1], axis=1)[:, at]
    found.safe[ROUNDS, EACH_ROUND] = _counted(rounds)
    found.safe[ROUNDS, EACH] = _counted(rounds | first)
    tens = [(cases, 1) for cases in range(10, max(SIZES) + 1, 10)]
    found.safe[ROUNDS, EACH_TEN] = _counted(rounds | _ever(by_samples, tens))
    for name, looks in LIVES.items():
        found.safe[ROUNDS, name] = _counted(_ever(by_samples, looks))
    lost = np.cumsum(sets.lost, axis=1) / np.arange(1, max(SIZES) + 1)
    for samples in SAMPLES:
        safe = by_samples[samples]
        found.safe[samples, ONE_LOOK] = _counted(safe[:, at])
        found.safe[samples, EACH_CASE] = _counted(np.logical_or.accumulate(safe, axis=1)[:, at])
        verdicts = sets.verdicts(samples, SIZES)
        if ((verdicts == SAFE) != safe[:, at]).any():
            raise SystemExit("two ways to find `safe` differ")
        found.worse[samples] = _counted(verdicts == WORSE)
        found.matches[samples] = _counted(verdicts == MATCHES)
        too_much = lost[:, at] > MARGIN + 1e-6
        found.wrong_matches[samples] = _counted((verdicts == MATCHES) & too_much)
        for cases in SIZES:
            sets.check(0, cases, samples)
            found.checked += 1
    _apply_rules(sets.some(slice(RUNS_OF_RULES)), found)
    return found


def _apply_rules(sets: Sets, found: Found) -> None:
    for name, rule in rules.RULES.items():
        for samples in SAMPLES:
            said = np.stack([rule(sets, cases, samples) for cases in SIZES], axis=1)
            found.by_rule[name, samples, ONE_LOOK] = _counted(said)
            ever = np.logical_or.accumulate(said, axis=1)
            found.by_rule[name, samples, EACH_SIZE] = _counted(ever)


def _ever(safe: Mapping[int, Flags], looks: Sequence[tuple[int, int]]) -> Flags:
    """Whether a look, at so many cases and samples, says so, until the prompt has each size."""
    seen = [
        np.logical_or.reduce(
            [np.zeros_like(safe[1][:, 0]), *(safe[r][:, n - 1] for n, r in looks if n <= size)]
        )
        for size in SIZES
    ]
    return np.stack(seen, axis=1)


def _counted(said: Flags) -> Counts:
    return said.sum(axis=0)
