"""All cassettes of a session: reading each once, journalling new answers, folding them in."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_tiers.cassettes import format
from pytest_tiers.cassettes.format import Cassette, RecordedCall, Recording, TrialKey
from pytest_tiers.cassettes.journal import (
    FOLDER,
    Journal,
    as_line,
    entries,
    finished_journals,
)
from pytest_tiers.cassettes.names import CassetteFile
from pytest_tiers.errors import CassetteError
from pytest_tiers.usage import read_answer


@dataclass(slots=True)
class Attempt:
    """One run of one trial, as its journal tells it.

    ``calls`` maps the position of a call to what was recorded or replayed. ``anew`` means that
    the user asked to replace a cassette that cannot be read.
    """

    function: str
    tier: str
    key: TrialKey
    calls: dict[int, RecordedCall] = field(default_factory=dict)
    complete: bool = False
    anew: bool = False


class Library:
    """The cassettes that a session reads and writes."""

    def __init__(self) -> None:
        self._read: dict[Path, Cassette | CassetteError | None] = {}
        self._journals: dict[Path, Journal] = {}
        self._failures: dict[Path, OSError] = {}
        self._lock = threading.RLock()

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

    def open_journal(self, file: CassetteFile) -> None:
        """Make sure that an answer could be written. Raises OSError."""
        root = file.root
        with self._lock:
            if (failure := self._failures.get(root)) is not None:
                raise failure
            if root not in self._journals:
                with self._failing(root):
                    self._journals[root] = Journal(root)

    def journal(self, file: CassetteFile, entry: Mapping[str, Any]) -> None:
        """Write what happened to the disk, at once. Raises OSError, from then on always."""
        with self._lock:
            self.open_journal(file)
            cassette = file.path.relative_to(file.root).as_posix()
            with self._failing(file.root):
                self._journals[file.root].write({"cassette": cassette, **entry})

    @contextlib.contextmanager
    def _failing(self, root: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Part of a line may stand there: a further one would be unreadable.
            self._failures[root] = error
            raise

    def close(self) -> None:
        """Finish this process's journals."""
        with self._lock:
            for root, journal in self._journals.items():
                journal.close()
                self._failures[root] = OSError("this run has ended")

    def fold(self, roots: Iterable[Path]) -> list[str]:
        """Fold all finished journals under ``roots`` into cassettes; what could not be done.

        A journal is deleted only when every answer in it stands in a cassette.
        """
        problems: list[str] = []
        for root in dict.fromkeys([*roots, *self._journals]):
            try:
                with finished_journals(root) as journals:
                    for path in journals:
                        problems += self._fold_one(root, path)
            except OSError as error:
                problems.append(f"{error}. New answers are kept in {root / FOLDER}.")
        return problems

    def _fold_one(self, root: Path, path: Path) -> list[str]:
        """Fold one journal; it keeps what did not get into a cassette."""
        problems: list[str] = []
        left: list[dict[str, Any]] = []
        try:
            cassettes = _by_cassette(path)
        except (KeyError, TypeError):
            return [f"{path} is not a journal of this version of pytest-tiers; it is left alone."]
        for target, found in cassettes.items():
            try:
                self._fold_into(root / target, _attempts(found))
            except (OSError, CassetteError) as error:
                problems.append(f"{error} The new answers are kept in {path}.")
                left += found
        if len(left) < sum(map(len, cassettes.values())):
            _mark_generated(root)
        if left:
            write_atomically(path, "".join(map(as_line, left)))
        else:
            path.unlink()
        return problems

    def _fold_into(self, target: Path, attempts: Iterable[Attempt]) -> None:
        self._read.pop(target, None)
        attempts = list(attempts)
        first = attempts[0]
        try:
            cassette = self.cassette(target)
        except CassetteError:
            if not all(attempt.anew for attempt in attempts):
                raise
            cassette = None
        cassette = cassette or Cassette(first.function, first.tier)
        for attempt in attempts:
            _merge(cassette, attempt)
        write_atomically(target, format.dump(cassette))
        self._read[target] = cassette


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


def _by_cassette(journal: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries(journal):
        found[entry["cassette"]].append(entry)
        _ = [entry[name] for name in ("test", "tier", "case", "sample", "attempt")]
    return found


def _attempts(journalled: Iterable[Mapping[str, Any]]) -> Iterable[Attempt]:
    found: dict[str, Attempt] = {}
    for entry in journalled:
        key = (entry["case"], entry["sample"])
        attempt = found.setdefault(
            entry["attempt"],
            Attempt(entry["test"], entry["tier"], key, anew=entry.get("anew", False)),
        )
        # An answer that comes when its test has ended does not make the trial incomplete.
        attempt.complete = attempt.complete or entry.get("complete", False)
        if "interaction" in entry:
            call = RecordedCall(entry["interaction"], entry["about"])
            attempt.calls[entry["position"]] = call
    return found.values()


def _merge(cassette: Cassette, attempt: Attempt) -> None:
    """Put an attempt's calls, in the order they were sent, into the cassette.

    Answers of an attempt that did not come to its end are kept beside a complete recording,
    and so are earlier ones that it did not come to use.
    """
    calls = tuple(attempt.calls[at] for at in sorted(attempt.calls))
    if attempt.complete:
        before = cassette.recordings.get(attempt.key)
        cassette.unfinished.pop(attempt.key, None)
        cassette.recordings[attempt.key] = Recording(_old_where_same(calls, before))
        return
    earlier = cassette.unfinished.get(attempt.key)
    unused = tuple(call for call in earlier.calls if call not in calls) if earlier else ()
    cassette.unfinished[attempt.key] = Recording((*calls, *unused), complete=False)


def _old_where_same(
    calls: Iterable[RecordedCall], before: Recording | None
) -> tuple[RecordedCall, ...]:
    """The calls, with the old recording of each that says the same: no change to review."""
    old = list(before.calls) if before else []
    kept = []
    for call in calls:
        same = next((other for other in old if says_the_same(other, call)), None)
        if same is not None:
            old.remove(same)
        kept.append(same or call)
    return tuple(kept)


def says_the_same(one: RecordedCall, other: RecordedCall) -> bool:
    """Whether two recordings differ only in ids, times, fingerprints and token counts.

    A model's answer is its status, text, tool calls and the model that it names; any other
    answer is its status and body.
    """
    if one.interaction["request"] != other.interaction["request"] or one.status != other.status:
        return False
    if one.body == other.body:
        return True
    if one.request.endpoint is None or one.status >= 300:
        return False
    answers = [
        read_answer(one.request.endpoint, call.body, call.content_type) for call in (one, other)
    ]
    said = {(answer.model, answer.text) for answer in answers}
    return all(answer.complete for answer in answers) and len(said) == 1
