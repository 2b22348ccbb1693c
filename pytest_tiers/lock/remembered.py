"""What the last comparison found, kept in pytest's cache for a person who decides otherwise."""

from __future__ import annotations

import datetime
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_tiers.cassettes.journal import write_atomically
from pytest_tiers.configuration import Place
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.findings import RunSummary
from pytest_tiers.lock.adopting import entry_of, entry_of_mix, trials_of_mix
from pytest_tiers.lock.layout import as_table, from_table
from pytest_tiers.records import LockEntry, Trial

#: Where it stands in pytest's cache folder.
FILE = Path("d", "tiers", "comparison.json")


def remember(summary: RunSummary, folder: Path) -> None:
    """Write the entry that each candidate of each prompt would get, and each mix that ran whole.

    Raises OSError.
    """
    found = [[entry.prompt, as_table(entry)] for entry in _candidates(summary)]
    lock = str(summary.settings.lock_file)
    text = json.dumps({"lock": lock, "entries": found}, default=datetime.date.isoformat)
    write_atomically(folder / FILE.name, text)


def recall(path: Path) -> tuple[Path, dict[tuple[str, str], LockEntry]]:
    """The lock file, and the entry of each prompt and candidate or mix.

    Raises ConfigurationError where the file cannot be used.
    """
    try:
        document: Any = json.loads(path.read_bytes())
        entries = [_entry(path, prompt, table) for prompt, table in document["entries"]]
        return Path(document["lock"]), {(entry.prompt, entry.tier): entry for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be used ({error}). Run the comparison again: pytest --tiers=..."
        ) from error


def _entry(path: Path, prompt: str, table: dict[str, Any]) -> LockEntry:
    evidence = table["evidence"]
    evidence["date"] = datetime.date.fromisoformat(evidence["date"])
    return from_table(Place(str(path), prompt), prompt, table)


def _candidates(summary: RunSummary) -> Iterator[LockEntry]:
    trials: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in summary.trials:
        trials[trial.prompt].append(trial)
    for prompt in summary.prompts:
        for tier, comparison in prompt.comparisons.items():
            if comparison.cases and not summary.settings.ladder[tier].is_current:
                yield entry_of(summary, prompt, trials[prompt.id], comparison)
        for mix in prompt.mix.mixes if prompt.mix is not None else ():
            if mix.is_whole and mix.comparison.cases:
                of_mix = trials_of_mix(prompt, mix, summary.searches, trials[prompt.id])
                yield entry_of_mix(summary, prompt, [*trials[prompt.id], *of_mix], mix)
