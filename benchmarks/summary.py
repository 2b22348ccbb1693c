"""The summary of 100,000 trials: CPU seconds, and the memory of the process that makes it.

Each shape is summed up in a process of its own. The trials have differing outcomes, costs and
outputs; memory includes the trials themselves.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from benchmarks.measuring import Usage, run, show, show_machine
from pytest_tiers.records import Call, Tokens, Trial
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import BUILT_IN, Ladder

TIERS = ("nano", "mini", "full")

#: Prompts and cases of each: three tiers make 100,000 trials of each shape.
SHAPES = ((1, 33_333), (33, 1_010), (1_000, 33), (33_333, 1))

BAR_SECONDS, BAR_MEGABYTES = 5, 500


def main() -> None:
    """Sum up all shapes, or in a process of its own the one that is named."""
    if len(sys.argv) > 1:
        prompts, cases = map(int, sys.argv[1:])
        print(summed_up(prompts, cases))
        return
    show_machine("genai-prices")
    for prompts, cases in SHAPES:
        used = [in_own_process(prompts, cases) for _ in range(3)]
        print(f"{prompts:,} prompts of {cases:,} cases, 3 tiers:")
        show("  seconds", min(float(each.output) for each in used), BAR_SECONDS)
        show("  MB", min(each.megabytes for each in used), BAR_MEGABYTES)


def in_own_process(prompts: int, cases: int) -> Usage:
    """One shape summed up."""
    command = [sys.executable, "-m", "benchmarks.summary", str(prompts), str(cases)]
    return run(command, Path.cwd(), os.environ)


def summed_up(prompts: int, cases: int) -> float:
    """CPU seconds that the summary takes, with all that it imports."""
    trials = list(made(prompts, cases))
    ladder = Ladder(tuple(BUILT_IN[name] for name in TIERS), "full")
    settings = Settings(ladder=ladder, comparison=True)
    started = time.process_time()
    from pytest_tiers.summary import summarise

    summarise(trials, settings, created="2026-01-01T00:00:00Z")
    return time.process_time() - started


def made(prompts: int, cases: int) -> Iterator[Trial]:
    """Trials as a run has them; the flagship misses one in 50, nano one in 5."""
    for number in range(prompts * cases):
        for rank, tier in enumerate(TIERS):
            misses = number % (5, 20, 50)[rank] == rank
            yield Trial(
                prompt=f"tests/test_app.py::test_{number // cases}",
                case=f"case {number % cases}",
                tier=tier,
                sample=1,
                outcome="missed" if misses else "passed",
                nodeid=f"tests/test_app.py::test_{number // cases}[{number % cases}-{tier}]",
                reason="AssertionError" if misses else None,
                replayed=True,
                calls=(call(number, tier),),
                answer=f"answer {number}",
                settings={"cases": cases, "reachable": {"nano": prompts, "mini": prompts}},
            )


def call(number: int, tier: str) -> Call:
    """A replayed call, priced."""
    return Call(
        model_asked="gpt-5.4",
        model=BUILT_IN[tier].model,
        answered_by=BUILT_IN[tier].model,
        endpoint="chat/completions",
        status=200,
        tokens=Tokens(160 + number % 40, 0, 13, 0),
        cost_usd=Decimal(4825 + number % 40) / 10**8,
        seconds=0.2 + number % 17 / 100,
        recorded_at="2026-01-01T00:00:00Z",
        site="app/triage.py:3 route",
        replayed=True,
    )


if __name__ == "__main__":
    main()
