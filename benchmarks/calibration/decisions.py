"""How much it takes until a verdict stands."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.evidence import ALPHA, ENOUGH, MARGIN, Flags, Sets
from benchmarks.calibration.populations import MODELS
from pytest_tiers import statistics, verdicts

#: How much less often a much worse candidate passes.
MUCH_WORSE = 0.30

#: Cases that a prompt has at most here: enough for a decision in nearly every data set.
MOST_CASES = 1000

#: Data sets of a part of the study.
RUNS = 250

#: Samples per case for an equal candidate.
SAMPLES = (1, 3)

#: Prompts of so many cases, for stopping where `safe` and `matches` are out of reach.
SIZES = (60, 100, 200)


@dataclass
class Found:
    """Cases or pairs until a decision, by question, a data set each; 0 for never."""

    cases: dict[str, list[int]] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Take in what another part found."""
        for name, numbers in other.cases.items():
            self.cases.setdefault(name, []).extend(numbers)


def until_safe(model: str, seed: np.random.SeedSequence) -> Found:
    """Cases that make an equal candidate safe, with a look after every case."""
    random = np.random.default_rng(seed)
    sets = Sets(random, MODELS[model](0.0), RUNS, MOST_CASES, max(SAMPLES))
    return Found(
        {f"{model}, {samples}": _first(sets.is_safe(samples)).tolist() for samples in SAMPLES}
    )


def until_stopped(model: str, seed: np.random.SeedSequence) -> Found:
    """Pairs, one sample per case, until a much worse candidate is called no more."""
    random = np.random.default_rng(seed)
    sets = Sets(random, MODELS[model](MUCH_WORSE), RUNS, max(SIZES) * 4, 1)
    every = range(1, sets.differences.shape[1] + 1)
    worse = sets.is_worse(1, every)
    found = {f"{model}, worse": _first(worse).tolist()}
    for cases in SIZES:
        stopped = (worse | out_of_reach(sets, cases))[:, :cases]
        found[f"{model}, {cases}"] = _first(stopped, never=cases).tolist()
    return Found(found)


def out_of_reach(sets: Sets, cases: int) -> Flags:
    """Whether a prompt of so many cases cannot become safe even if all further pairs agree.

    With one sample of each case, evidence by pair is evidence by case: `matches` is out of
    reach then, too.
    """
    values = sets.differences[..., 0].astype(np.intp) + 1
    left = np.maximum(0, cases - np.arange(1, values.shape[1] + 1))
    best = np.zeros(values.shape)
    for weight, fraction in statistics.BETS:
        growth = 1 + fraction * (np.array([-1, 0, 1]) + MARGIN) / (1 - MARGIN)
        best += weight * np.cumprod(growth[values], axis=1) * growth[1] ** left
    return best < ENOUGH


def cases_for_a_clean_prompt() -> int:
    """Cases at which the plugin calls an equal candidate safe if nothing is missed."""
    clean = Sets(np.random.default_rng(0), MODELS["broken"](0.0), 1, MOST_CASES, 1)
    for cases in range(1, MOST_CASES):
        found = verdicts.decide({"p": clean.gathered(0, cases, 1)}, alpha=ALPHA)
        if found["p"].verdict == "safe":
            return cases
    raise SystemExit(f"a clean prompt is not decided within {MOST_CASES} cases")


def _first(said: Flags, never: int = 0) -> NDArray[np.int64]:
    """At which case each data set is first said to be so."""
    return np.where(said.any(axis=1), said.argmax(axis=1) + 1, never)
