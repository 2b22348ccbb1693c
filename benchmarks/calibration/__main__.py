"""How often verdicts are wrong, and what they cost: simulated prompts of known quality.

Every part is seeded by its place, so the numbers are the same on every machine and with any
number of processes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np

from benchmarks.calibration import decisions, rules, single, suites, tables
from benchmarks.calibration.evidence import MARGIN
from benchmarks.calibration.populations import MODELS
from benchmarks.measuring import show_machine

#: Parts of each study at full length: data sets of the false-safe rate, of power, suites, data
#: sets until a decision, and prompts sampled as needed, of much worse and of equal candidates.
BAD, EQUAL, SUITES, DECISIONS, STOPPED, DECIDED = 24, 4, 6, 5, 9, 3


class _Study(Protocol):
    """What the parts of a study add up to."""

    def add(self, other: Any) -> None: ...


def main() -> None:
    """Simulate, check against the plugin, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20261125, help="(20261125)")
    parser.add_argument("--processes", type=int, default=2, help="(2)")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the runs: 0.1 for a quick look (1)"
    )
    options = parser.parse_args()
    started = time.monotonic()
    show_machine("pytest-tiers", "numpy", "scipy")
    rules.check(np.random.default_rng(options.seed))
    studies: list[tuple[str, Any, _Study, Callable[..., Any], int]] = []
    for model in MODELS:
        for kind, drop, parts in (("bad", MARGIN, BAD), ("equal", 0.0, EQUAL)):
            simulate = partial(single.simulate, model, drop)
            studies.append((kind, model, single.Found(), simulate, parts))
        for kind, ask, parts in (
            ("safe", decisions.until_safe, DECISIONS),
            ("worse", decisions.until_worse, DECISIONS),
            ("stopped", partial(decisions.until_ended, drop=decisions.MUCH_WORSE), STOPPED),
            ("decided", partial(decisions.until_ended, drop=0.0), DECIDED),
        ):
            studies.append((kind, model, decisions.Found(), partial(ask, model), parts))
    for bad in suites.BAD:
        studies.append(("suite", bad, suites.Found(), partial(suites.simulate, bad), SUITES))
    _simulate(studies, options.share, options.seed, options.processes)
    by_kind: dict[str, dict[Any, Any]] = {}
    for kind, key, study, _, _ in studies:
        by_kind.setdefault(kind, {})[key] = study
    for line in tables.lines(by_kind, decisions.cases_for_a_clean_prompt()):
        print(line)
    print(
        f"\n{time.monotonic() - started:.0f} s, {options.processes} processes, "
        f"seed {options.seed}, load {os.getloadavg()[0]:.1f}"
    )


def _simulate(studies: Iterable[Any], share: float, seed: int, processes: int) -> None:
    """Run all parts of all studies, and add up what they found in a fixed order."""
    parts = [
        (study, simulate)
        for _, _, study, simulate, whole in studies
        for _ in range(max(1, round(whole * share)))
    ]
    seeds = np.random.SeedSequence(seed).spawn(len(parts))
    with ProcessPoolExecutor(processes) as pool:
        futures = [
            pool.submit(simulate, own) for (_, simulate), own in zip(parts, seeds, strict=True)
        ]
        for (study, _), future in zip(parts, futures, strict=True):
            study.add(future.result())


if __name__ == "__main__":
    main()
