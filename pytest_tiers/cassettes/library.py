"""All cassettes of a session: reading each once, journalling new answers, folding them in."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_tiers.cassettes import format
from pytest_tiers.cassettes.format import Cassette, RecordedCall, Recording, TrialKey
from pytest_tiers.cassettes.journal import Journal, entries, finished_journals
from pytest_tiers.cassettes.names import CassetteFile
from pytest_tiers.errors import CassetteError


@dataclass(slots=True)
class Attempt:
    """One run of one trial, as its journal tells it.

    ``calls`` maps the position of a call to what was recorded, ``replayed`` to the index in the
    recording that was there before.
    """

    path: Path
    function: str
    tier: str
    key: TrialKey
    calls: dict[int, RecordedCall] = field(default_factory=dict)
    replayed: dict[int, int] = field(default_factory=dict)
    complete: bool = False


class Library:
    """The cassettes that a session reads and writes."""

    def __init__(self) -> None:
        self._read: dict[Path, Cassette | CassetteError | None] = {}
        self._journals: dict[Path, Journal] = {}

    def cassette(self, path: Path) -> Cassette | None:
        """The cassette at ``path``, None where there is none. Raises CassetteError."""
        if path not in self._read:
            try:
                self._read[path] = format.load(path)
            except FileNotFoundError:
                self._read[path] = None
            except CassetteError as error:
                self._read[path] = error
        found = self._read[path]
        if isinstance(found, CassetteError):
            raise found
        return found

    def journal(self, file: CassetteFile, entry: Mapping[str, Any]) -> None:
        """Write what happened to the disk, at once. Raises OSError."""
        if file.root not in self._journals:
            self._journals[file.root] = Journal(file.root)
        cassette = file.path.relative_to(file.root).as_posix()
        self._journals[file.root].write({"cassette": cassette, **entry})

    def close(self) -> None:
        """Finish this process's journals."""
        for journal in self._journals.values():
            journal.close()

    def fold(self, roots: Iterable[Path]) -> list[str]:
        """Fold all finished journals under ``roots`` into cassettes; what could not be done.

        A journal is deleted only when every answer in it stands in a cassette.
        """
        problems = []
        for root in dict.fromkeys([*roots, *self._journals]):
            for path in finished_journals(root):
                try:
                    self._fold_one(root, path)
                except (OSError, CassetteError) as error:
                    problems.append(f"{error} The new answers are kept in {path}.")
        return problems

    def _fold_one(self, root: Path, path: Path) -> None:
        cassettes: dict[Path, list[Attempt]] = defaultdict(list)
        for attempt in _attempts(root, path):
            cassettes[attempt.path].append(attempt)
        for target, attempts in cassettes.items():
            self._read.pop(target, None)
            cassette = self.cassette(target) or Cassette(attempts[0].function, attempts[0].tier)
            for attempt in attempts:
                _merge(cassette, attempt)
            write_atomically(target, format.dump(cassette))
            self._read[target] = cassette
        if cassettes:
            _mark_generated(root)
        path.unlink()


def write_atomically(path: Path, text: str) -> None:
    """Replace the file as a whole: whoever reads it sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp lets nobody else read it
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _mark_generated(root: Path) -> None:
    """Tell review tools that cassettes are not written by hand."""
    attributes = root / ".gitattributes"
    if not attributes.exists():
        attributes.write_text("*.yaml linguist-generated\n")


def _attempts(root: Path, path: Path) -> Iterable[Attempt]:
    found: dict[str, Attempt] = {}
    for entry in entries(path):
        if entry["attempt"] not in found:
            found[entry["attempt"]] = Attempt(
                root / entry["cassette"],
                entry["test"],
                entry["tier"],
                (entry["case"], entry["sample"]),
            )
        attempt = found[entry["attempt"]]
        attempt.replayed = {int(position): at for position, at in entry["replayed"].items()}
        attempt.complete = entry.get("complete", False)
        if "interaction" in entry:
            call = RecordedCall(entry["interaction"], entry["about"])
            attempt.calls[entry["position"]] = call
    return found.values()


def _merge(cassette: Cassette, attempt: Attempt) -> None:
    """Put an attempt's calls, in the order they were sent, into the cassette.

    Answers of an attempt that did not come to its end are kept beside a complete recording.
    """
    before = base_recording(cassette, attempt.key)
    calls = dict(attempt.calls)
    for position, index in attempt.replayed.items():
        if before is not None and index < len(before.calls):
            calls.setdefault(position, before.calls[index])
    recording = Recording(tuple(calls[at] for at in sorted(calls)), attempt.complete)
    if not attempt.complete:
        cassette.unfinished[attempt.key] = recording
        return
    cassette.unfinished.pop(attempt.key, None)
    cassette.recordings[attempt.key] = recording


def base_recording(cassette: Cassette, key: TrialKey) -> Recording | None:
    """What an attempt that records goes on from: unfinished answers, else the recording."""
    return cassette.unfinished.get(key) or cassette.recordings.get(key)
