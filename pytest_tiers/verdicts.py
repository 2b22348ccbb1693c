"""What the trials of one prompt say about each candidate (design: docs/verdicts.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "unsupported", "no-data", "flagship-fails", "safe", "matches", "worse", "inconclusive"
]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the evidence says about one candidate of one prompt.

    ``difference`` is the mean over cases of (candidate − flagship) pass rate; ``largest_drop``
    the largest plausible drop on inputs like these, ``largest_drop_these_cases`` on these very
    cases. ``log_*`` are natural logs of e-values, before any correction for missing trials.
    ``more_cases`` is (least, expected), None where not reachable. ``held_back`` means safe on
    its own but not among all comparisons of the run; ``measurably_worse`` that a drop within
    the margin is nevertheless real. ``agreeing`` of ``cases`` complete cases have D = 0.
    """

    tier: str
    flagship: str
    verdict: Verdict
    margin: float
    cases: int
    pairs: int
    agreeing: int
    candidate_passed: int
    flagship_passed: int
    difference: float | None
    largest_drop: float | None
    largest_drop_these_cases: float | None
    log_evidence: float | None
    log_evidence_these_cases: float | None
    log_evidence_worse: float | None
    more_cases: tuple[int | None, int | None]
    missing_trials: int
    output_mismatches: int
    held_back: bool = False
    measurably_worse: bool = False
    among: int = 1
