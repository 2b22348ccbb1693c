"""Suites of many prompts: what share of those called safe is not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.calibration import rules
from benchmarks.calibration.evidence import ALPHA, MARGIN, Flags, Numbers, Sets
from benchmarks.calibration.populations import MODELS
from pytest_tiers import verdicts

#: Prompts of a suite, and cases of each prompt: all could become safe.
PROMPTS, CASES = 100, 60

#: How many prompts of a suite are worse by exactly the margin; with the others nothing is wrong.
BAD = (50, 90, 100)

#: Suites of a part of the study.
RUNS = 40

PLUGIN, PEEKING = "pytest-tiers", "pytest-tiers, prompts stop early"
SINGLY = "each prompt on its own, no e-BH"


@dataclass
class Found:
    """Sums over ``runs`` suites: wrong shares of what was called safe, their squares, and how
    many of the good prompts were found."""

    runs: int = 0
    checked: int = 0
    wrong: dict[str, float] = field(default_factory=dict)
    squares: dict[str, float] = field(default_factory=dict)
    good: dict[str, float] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Count what another part found."""
        self.runs += other.runs
        self.checked += other.checked
        for name in ("wrong", "squares", "good"):
            mine = getattr(self, name)
            mine.update(
                {key: mine.get(key, 0) + value for key, value in getattr(other, name).items()}
            )


def simulate(bad: int, seed: np.random.SeedSequence) -> Found:
    """One part of the study: suites with ``bad`` prompts at a drop of the margin.

    Prompts take turns among the models of data.
    """
    random = np.random.default_rng(seed)
    models = list(MODELS.values())
    prompts = [
        Sets(random, models[number % len(models)](MARGIN if number < bad else 0.0), RUNS, CASES, 1)
        for number in range(PROMPTS)
    ]
    evidence = np.stack([prompt.by_case(1) for prompt in prompts], axis=1)
    fails = np.stack([prompt.flagship_fails(1) for prompt in prompts], axis=1)
    said = {
        PLUGIN: _survives(evidence[..., -1], ~fails[..., -1]),
        PEEKING: _stopped_early(evidence, ~fails),
        SINGLY: (evidence[..., -1] >= 1 / ALPHA - 1e-9) & ~fails[..., -1],
    }
    for name, rule in rules.RULES.items():
        said[name] = np.stack([rule(prompt, CASES, 1) for prompt in prompts], axis=1)
    found = Found(runs=RUNS, checked=1)
    _check(prompts, said[PLUGIN])
    for name, safe in said.items():
        shares = safe[:, :bad].sum(axis=1) / np.maximum(1, safe.sum(axis=1))
        found.wrong[name] = float(shares.sum())
        found.squares[name] = float((shares**2).sum())
        found.good[name] = float(safe[:, bad:].sum())
    return found


def _survives(evidence: Numbers, counts: Flags) -> Flags:
    """Which prompts of each suite are safe together: e-BH, row by row."""
    usable = np.where(counts, evidence, 0.0)
    ranked = -np.sort(-usable, axis=1)
    k = np.arange(1, PROMPTS + 1)
    held = (ranked >= PROMPTS / (ALPHA * k) * (1 - 1e-12)) * k
    most = held.max(axis=1, keepdims=True)
    return (most > 0) & (usable >= PROMPTS / (ALPHA * np.maximum(most, 1)) * (1 - 1e-12))


def _stopped_early(evidence: Numbers, counts: Flags) -> Flags:
    """The same where each prompt stops, for good, as soon as it is among the safe ones."""
    stopped = np.zeros(counts.shape[:2], dtype=bool)
    standing, counted = evidence[..., 0], counts[..., 0]
    for look in range(CASES):
        standing = np.where(stopped, standing, evidence[..., look])
        counted = np.where(stopped, counted, counts[..., look])
        stopped |= _survives(standing, counted)
    return _survives(standing, counted)


def _check(prompts: list[Sets], safe: Flags) -> None:
    """End the benchmark unless the plugin finds the same prompts of the first suite safe."""
    gathered = {str(number): each.gathered(0, CASES, 1) for number, each in enumerate(prompts)}
    decided = verdicts.decide(gathered, alpha=ALPHA, reachable=PROMPTS)
    plugin = {name for name, each in decided.items() if each.verdict == "safe"}
    here = {str(number) for number in np.flatnonzero(safe[0])}
    if plugin != here:
        raise SystemExit(f"not the plugin's safe prompts: {plugin ^ here}")
