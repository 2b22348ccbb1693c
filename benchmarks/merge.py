"""``pytest-tiers merge`` of four shards with 100,000 trials: CPU seconds, memory, size of files."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from msgspec.structs import replace

from benchmarks.measuring import run, show, show_machine
from benchmarks.summary import BAR_MEGABYTES, BAR_SECONDS, SHAPES, TIERS, made
from pytest_tiers.extent import Extent, PromptExtent
from pytest_tiers.records import Trial
from pytest_tiers.reports.writers import write
from pytest_tiers.settings import Settings
from pytest_tiers.summary import summarise
from pytest_tiers.tiers import BUILT_IN, Ladder

SHARDS = 4


def main() -> None:
    """Merge shards of all shapes, each in a process of its own."""
    show_machine("genai-prices")
    with tempfile.TemporaryDirectory() as folder:
        for prompts, cases in SHAPES:
            command = [sys.executable, "-m", "benchmarks.merge", str(prompts), str(cases), folder]
            run(command, Path.cwd(), os.environ)
            shards = [str(path) for path in sorted(Path(folder).glob("shard-*.json"))]
            merged = Path(folder, "all.json")
            command = [sys.executable, "-m", "pytest_tiers", "merge", *shards, "-o", str(merged)]
            used = [run(command, Path.cwd(), os.environ) for _ in range(3)]
            size = merged.stat().st_size / 10**6
            print(
                f"{prompts:,} prompts of {cases:,} cases, 3 tiers, {SHARDS} shards ({size:.0f} MB):"
            )
            show("  seconds", min(each.cpu for each in used), BAR_SECONDS)
            show("  MB", min(each.megabytes for each in used), BAR_MEGABYTES)


def make_shards(prompts: int, cases: int, folder: Path) -> None:
    """Write the reports of `SHARDS` runs, each of every fourth case."""
    parts: defaultdict[int, list[Trial]] = defaultdict(list)
    for number, trial in enumerate(made(prompts, cases)):
        parts[number // len(TIERS) % SHARDS].append(with_recording(trial))
    settings = Settings(
        ladder=Ladder(tuple(BUILT_IN[name] for name in TIERS), "full"), comparison=True
    )
    for number, trials in parts.items():
        by_prompt: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for trial in trials:
            by_prompt[trial.prompt][trial.case] = None
        extent = Extent(
            {name: PromptExtent(TIERS, tuple(each), (), 0.10) for name, each in by_prompt.items()},
            is_whole=True,
            knows_left_out=True,
        )
        summary = summarise(trials, settings, created="2026-01-01T00:00:00Z", extent=extent)
        write(summary, folder / f"shard-{number}.json")


def with_recording(trial: Trial) -> Trial:
    """The trial with its cassette, as in a run."""
    cassette = f"/cassettes/{trial.prompt}[{trial.tier}].yaml"
    return replace(trial, recording=(cassette, trial.case))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        make_shards(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
