"""All cassettes of a session: reading each once, journalling new answers, folding them in."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec import Struct, field

from pytest_tiers.cassettes import format, generations
from pytest_tiers.cassettes.format import Cassette, RecordedCall, Recording, TrialKey
from pytest_tiers.cassettes.generations import Repeats
from pytest_tiers.cassettes.journal import (
    FOLDER,
    Journal,
    as_line,
    entries,
    finished_journals,
    write_atomically,
)
from pytest_tiers.cassettes.names import VERSUS, CassetteFile, of_all_tiers
from pytest_tiers.cassettes.renamed import rename
from pytest_tiers.errors import CassetteError
from pytest_tiers.usage import read_answer


class Attempt(Struct):
    """One run of one trial, as its journal tells it.

    ``calls`` maps the position of a call to what was recorded or replayed. ``anew`` means that
    the user asked to replace a cassette that cannot be read, ``renamed_from`` that the case's
    recordings stand under this name. ``repeats`` tells whether it was recorded before.
    """

    function: str
    tier: str
    key: TrialKey
    calls: dict[int, RecordedCall] = field(default_factory=dict)
    complete: bool = False
    anew: bool = False
    renamed_from: str | None = None
    repeats: Repeats | None = None


#: What becomes of answers that no cassette has taken.
_KEPT = "New answers are kept in {} and wait for the next run."

_IN_EACH_ENTRY = ("cassette", "test", "tier", "case", "sample", "attempt")

#: What stands in a journal, one for each call and one for the end of a trial.
Entry = dict[str, Any]


class Library:
    """The cassettes that a session reads and writes."""

    def __init__(self) -> None:
        self._read: dict[Path, Cassette | CassetteError | None] = {}
        self._of_other_tiers: dict[Path, list[Path]] = {}
        self._folded: dict[Path, Cassette] = {}
        self._journals: dict[Path, Journal] = {}
        self._failures: dict[Path, OSError] = {}
        self._lock = threading.RLock()
        self._has_ended = False

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

    def known(self, path: Path) -> Cassette | None:
        """The cassette at ``path`` as this session last read or wrote it; None where it did not."""
        found = self._read.get(path)
        return found if isinstance(found, Cassette) else None

    def generation(self, path: Path, key: TrialKey) -> int | None:
        """The generation of a trial's recording; None where this session wrote no cassette there.

        What it has only read was known when the trial replayed.
        """
        cassette = self._folded.get(path)
        recording = cassette.recordings.get(key) if cassette else None
        return recording.generation if recording else None

    def of_other_tiers(self, file: CassetteFile) -> list[Cassette | CassetteError]:
        """The same test's cassettes on other tiers; the error for one that cannot be read."""
        found: list[Cassette | CassetteError] = []
        if (paths := self._of_other_tiers.get(file.path)) is None:
            # A judge's answers are no tier's.
            paths = [
                one for one in _other_tiers(file.path) if VERSUS not in one.name.rpartition("[")[2]
            ]
            self._of_other_tiers[file.path] = paths
        for path in paths:
            try:
                cassette = self.cassette(path)
                found += [] if cassette is None else [cassette]
            except CassetteError as error:
                found.append(error)
        return found

    def open_journal(self, file: CassetteFile) -> None:
        """Make sure that an answer could be written. Raises OSError, from then on always."""
        with self._lock:
            if (failure := self._failures.get(file.root)) is not None:
                raise failure
            with self._noting_failure(file.root):
                self._journal(file.root).make_room()

    def journal(self, file: CassetteFile, entry: Mapping[str, Any]) -> None:
        """Write what happened to the disk, at once. Raises OSError.

        Tried also after a failure: what is paid for already may still find its place.
        """
        cassette = file.path.relative_to(file.root).as_posix()
        with self._lock, self._noting_failure(file.root):
            self._journal(file.root).write({"cassette": cassette, **entry})

    def _journal(self, root: Path) -> Journal:
        if self._has_ended:
            raise OSError("this run has ended")
        journal = self._journals.get(root)
        # A process that was forked from ours writes its answers to a file of its own.
        if journal is None or journal.process != os.getpid():
            journal = self._journals[root] = Journal(root)
        return journal

    @contextlib.contextmanager
    def _noting_failure(self, root: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failures[root] = error
            raise

    def close(self) -> None:
        """Finish this process's journals."""
        with self._lock:
            self._has_ended = True
            for journal in self._journals.values():
                journal.close()

    def fold(self, roots: Iterable[Path]) -> list[str]:
        """Fold all finished journals under ``roots`` into cassettes; what the user should know.

        A journal is deleted only when every answer in it stands in a cassette.
        """
        said: list[str] = []
        for root in dict.fromkeys([*roots, *self._journals]):
            try:
                with finished_journals(root) as paths:
                    said += self._fold_all(root, paths)
            except OSError as error:
                said.append(f"{error}. {_KEPT.format(root / FOLDER)}")
        return said

    def _fold_all(self, root: Path, paths: Iterable[Path]) -> list[str]:
        """Fold journals, oldest first; each keeps what did not get into a cassette."""
        said: list[str] = []
        journals: dict[Path, list[Entry]] = {}
        for path in paths:
            try:
                journals[path] = _entries(path)
            except (KeyError, TypeError):
                said.append(
                    f"{path} is not a journal of this version of pytest-tiers; it is left alone."
                )
        by_cassette: dict[str, list[Entry]] = defaultdict(list)
        for entry in itertools.chain.from_iterable(journals.values()):
            by_cassette[entry["cassette"]].append(entry)
        attempts = {target: list(_attempts(found)) for target, found in by_cassette.items()}
        numbers = self._generations(root, attempts)
        folded = set()
        for target in by_cassette:
            try:
                said += self._fold_into(root / target, attempts[target], numbers)
                folded.add(target)
            except (OSError, CassetteError) as error:
                reason = str(error).removesuffix(".")
                said.append(f"{reason}. {_KEPT.format(root / FOLDER)}")
        if folded:
            _mark_generated(root)
        for path, found in journals.items():
            _leave(path, found, [entry for entry in found if entry["cassette"] not in folded])
        return said

    def _generations(
        self, root: Path, attempts: Mapping[str, Sequence[Attempt]]
    ) -> Mapping[str, int]:
        """The generation of what was recorded again, by tier."""
        by_tier: dict[str, list[tuple[Cassette | None, Sequence[Attempt]]]] = defaultdict(list)
        for target, found in attempts.items():
            if any(attempt.repeats is not None for attempt in found):
                self._read.pop(root / target, None)  # another run may have changed it
                with contextlib.suppress(CassetteError):
                    by_tier[found[0].tier].append((self.cassette(root / target), found))
        return {tier: generations.next_number(found) for tier, found in by_tier.items()}

    def _fold_into(
        self, target: Path, attempts: Sequence[Attempt], numbers: Mapping[str, int]
    ) -> list[str]:
        """Merge attempts into a cassette; what the user should know."""
        said: list[str] = []
        self._read.pop(target, None)
        try:
            cassette = self.cassette(target)
        except CassetteError:
            if not any(attempt.anew for attempt in attempts):
                raise
            kept = _set_aside(target)
            said.append(f"{target} could not be read and is recorded anew; it is kept as {kept}.")
            cassette = None
        cassette = cassette or Cassette(attempts[0].function, attempts[0].tier)
        for attempt in attempts:
            if attempt.renamed_from is not None:
                self._rename(target, cassette, attempt.renamed_from, attempt.key[0])
        before = dict(cassette.recordings)
        recorded = [attempt for attempt in attempts if attempt.renamed_from is None]
        for attempt in recorded:
            _merge(cassette, attempt)
        generations.count(cassette, before, recorded, numbers.get(cassette.tier, 0))
        if cassette.recordings or cassette.unfinished:
            write_atomically(target, _text(cassette))
            self._read[target] = self._folded[target] = cassette
        return said

    def _rename(self, target: Path, cassette: Cassette, old: str, new: str) -> None:
        """Rename a case in a cassette, and in those of the same test on other tiers."""
        rename(cassette, old, new)
        for path in _other_tiers(target):
            self._read.pop(path, None)  # another run may have changed it
            # One that cannot be read keeps the old name, which is found there later.
            with contextlib.suppress(CassetteError):
                other = self.cassette(path)
                if other is not None and rename(other, old, new):
                    write_atomically(path, _text(other))


def _text(cassette: Cassette) -> str:
    from pytest_tiers.cassettes.writing import dump  # a replay needs none of it

    return dump(cassette)


def _other_tiers(cassette: Path) -> list[Path]:
    """The same test's cassettes on other tiers."""
    return [
        path
        for path in sorted(cassette.parent.glob("*.yaml"))
        if path != cassette and of_all_tiers(path) == of_all_tiers(cassette)
    ]


def _set_aside(damaged: Path) -> Path:
    """Rename a file that a person may want to repair, over no other."""
    names = (f"{damaged.name}.damaged{end}" for end in ("", *map("-{}".format, range(2, 1000))))
    kept = next(path for path in map(damaged.with_name, names) if not path.exists())
    damaged.rename(kept)
    return kept


def _mark_generated(root: Path) -> None:
    """Tell review tools that cassettes are not written by hand."""
    attributes = root / ".gitattributes"
    if not attributes.exists():
        write_atomically(attributes, "*.yaml linguist-generated\n")


def _entries(journal: Path) -> list[Entry]:
    """All that a journal says. Raises KeyError or TypeError where it is not one of ours."""
    found = list(entries(journal))
    for entry in found:
        call = ("position", "about") if "interaction" in entry else ()
        _ = [entry[name] for name in (*_IN_EACH_ENTRY, *call)]
        place = PurePosixPath(entry["cassette"])
        if place.is_absolute() or ".." in place.parts:
            raise TypeError(f"{place} is no place for a cassette")
    return found


def _leave(journal: Path, found: Sequence[Entry], left: Sequence[Entry]) -> None:
    """Keep in a journal only what is left, and none that has nothing."""
    if not left:
        journal.unlink()
    elif len(left) < len(found):
        times = journal.stat()
        write_atomically(journal, "".join(map(as_line, left)))
        # Journals are folded in the order in which they were written.
        os.utime(journal, ns=(times.st_atime_ns, times.st_mtime_ns))


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
        attempt.renamed_from = attempt.renamed_from or entry.get("renamed_from")
        attempt.repeats = attempt.repeats or entry.get("repeats")
        if "interaction" in entry:
            call = RecordedCall(entry["interaction"], entry["about"])
            position = entry["position"]
            # A forked process counts on from where its parent was.
            while attempt.calls.get(position, call) != call:
                position += 1
            attempt.calls[position] = call
    return found.values()


def _merge(cassette: Cassette, attempt: Attempt) -> None:
    """Put an attempt's calls, in the order they were sent, into the cassette.

    Answers of an attempt that did not come to its end are kept beside a complete recording,
    and so are earlier ones that it did not come to use.
    """
    calls = tuple(attempt.calls[at] for at in sorted(attempt.calls))
    if not calls:
        return  # a trial that asked for nothing takes nothing away
    if attempt.complete:
        before = cassette.recordings.get(attempt.key)
        cassette.unfinished.pop(attempt.key, None)
        cassette.recordings[attempt.key] = Recording(_old_where_same(calls, before))
        return
    earlier = cassette.unfinished.get(attempt.key)
    unused = list(earlier.calls) if earlier else []
    for call in calls:
        if call in unused:
            unused.remove(call)
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
