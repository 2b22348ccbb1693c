"""How much it takes until a verdict stands."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.evidence import ALPHA, MARGIN, Flags, Sets
from benchmarks.calibration.populations import MODELS
from benchmarks.calibration.single import ROUNDS
from pytest_tiers import verdicts
from pytest_tiers.sampling import Goal, PromptRounds

#: How much less often a much worse candidate passes.
MUCH_WORSE = 0.30

#: Cases that a prompt has at most here: enough for a decision in nearly every data set.
MOST_CASES = 1000

#: Data sets of a part of the study.
RUNS = 250

#: Samples per case for an equal candidate.
SAMPLES = (1, 3)

#: Cases of a prompt whose samples are taken as they are needed.
SIZES = (40, 60, 100)

#: Such prompts of a part of the study.
ADAPTIVE_RUNS = 10


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


def until_worse(model: str, seed: np.random.SeedSequence) -> Found:
    """Pairs, one sample of each case, until a much worse candidate is proven worse."""
    random = np.random.default_rng(seed)
    sets = Sets(random, MODELS[model](MUCH_WORSE), RUNS, MOST_CASES, 1)
    every = range(1, MOST_CASES + 1)
    return Found({model: _first(sets.is_worse(1, every)).tolist()})


def until_ended(model: str, seed: np.random.SeedSequence, *, drop: float) -> Found:
    """Pairs that ``--tiers-samples=auto`` takes, by the number of cases, and how it ends."""
    random = np.random.default_rng(seed)
    found = Found()
    for cases in SIZES:
        sets = Sets(random, MODELS[model](drop), ADAPTIVE_RUNS, cases, ROUNDS)
        ends = [_adaptive(sets, run, cases) for run in range(ADAPTIVE_RUNS)]
        found.cases[f"{model}, {cases}"] = [pairs for pairs, _ in ends]
        found.cases[f"{model}, {cases}, safe"] = [safe for _, safe in ends]
    return found


def _adaptive(sets: Sets, run: int, cases: int) -> tuple[int, bool]:
    """Pairs that the plugin's own sampling takes for a prompt, and whether it then is safe."""
    trials = {
        (trial.tier, trial.case, trial.sample): trial for trial in sets.trials(run, cases, ROUNDS)
    }
    slots = [
        (tier, str(case), sample)
        for sample in range(1, ROUNDS + 1)
        for case in range(cases)
        for tier in ("nano", "full")
    ]
    goal = Goal(cases, ROUNDS, MARGIN, ALPHA, among=1)
    rounds = PromptRounds(slots, "full", {"nano": goal})
    ran, not_asked = [], []
    for slot in slots:
        why = rounds.begins(slot)
        if why is None:
            ran.append(trials[slot])
            rounds.ended(slot, trials[slot])
        else:
            not_asked.append(slot)
            rounds.left_out(slot, why)
    gathered = verdicts.gather(
        ran,
        candidate="nano",
        flagship="full",
        margin=MARGIN,
        alpha=ALPHA,
        planned_cases=cases,
        not_asked=not_asked,
    )
    decided = verdicts.decide({"p": gathered}, alpha=ALPHA)["p"]
    return sum(trial.tier == "nano" for trial in ran), decided.verdict == "safe"


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
