"""Answers on disk before a test sees them: one file per process, only ever added to.

The journal is folded into cassettes at the end of the run, or at the start of the next one
where the process was killed.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

#: Folder under the root of the cassettes; it ignores itself in git.
FOLDER = ".pytest-tiers"

#: Bytes that a journal holds ready for answers to calls under way: when the disk fills up, the
#: next call is not made, and what was paid for still finds its place.
ROOM = 1 << 18


class Journal:
    """The open journal of one process under one cassette root."""

    def __init__(self, root: Path) -> None:
        folder = _own_folder(root)
        self.process = os.getpid()
        self.path = folder / f"journal-{self.process}-{uuid.uuid4().hex[:8]}.jsonl"
        self._end = self._size = 0
        with folding(root):  # whoever folds shall not find it before it is locked
            # Without a buffer, nothing of a line that failed is left to be written later.
            self._file = self.path.open("xb", buffering=0)
            _lock(self._file, wait=False)
        sync_folder(folder)

    def make_room(self) -> None:
        """Make sure that an answer to the next call will find its place. Raises OSError."""
        if self._size - self._end < ROOM // 2:
            size = self._end + ROOM
            self._put(bytes(size - self._size), self._size)
            self._size = size

    def write(self, entry: dict[str, Any]) -> None:
        """Append one entry and wait until it is on the disk. Raises OSError."""
        line = as_line(entry).encode()
        # What is left of a line that failed is overwritten, or stands on a line of its own.
        self._put(line, self._end)
        self._end += len(line)
        self._size = max(self._size, self._end)

    def _put(self, data: bytes, at: int) -> None:
        self._file.seek(at)
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others fold this journal."""
        with contextlib.suppress(OSError):
            self._file.truncate(self._end)
        _unlock(self._file)
        self._file.close()


@contextlib.contextmanager
def finished_journals(root: Path) -> Iterator[list[Path]]:
    """Journals under ``root`` whose process is gone or done with them, oldest first.

    While the block runs, no other process folds them.
    """
    folder = root / FOLDER
    if not any(folder.glob("journal-*.jsonl")):
        yield []  # a replay writes nothing, not even a lock
        return
    with folding(root):
        found = sorted((path.stat().st_mtime_ns, path) for path in folder.glob("journal-*.jsonl"))
        yield [path for _, path in found if _is_finished(path)]


@contextlib.contextmanager
def folding(root: Path) -> Iterator[None]:
    """Be the only process that changes cassettes under ``root``. Raises OSError."""
    with (_own_folder(root) / "fold.lock").open("ab") as file:
        _lock(file, wait=True)
        try:
            yield
        finally:
            _unlock(file)


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a journal; a line that was cut off, and room not used, are no entries."""
    with path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                yield json.loads(line, object_hook=_text_as_bytes)


def as_line(entry: dict[str, Any]) -> str:
    """An entry as it stands in a journal."""
    return json.dumps(entry, default=_bytes_as_text) + "\n"


def write_atomically(path: Path, text: str) -> None:
    """Replace the file as a whole: whoever reads it sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name: who is killed here leaves the journal too, and the next run, which
    # folds it, writes this file again.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let new names in a folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _own_folder(root: Path) -> Path:
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if not (ignore := folder / ".gitignore").exists():
        ignore.write_text("*\n")
    return folder


def _is_finished(journal: Path) -> bool:
    try:
        with journal.open("rb") as file:
            _lock(file, wait=False)
            _unlock(file)
    except OSError:
        return False
    return True


def _lock(file: IO[bytes], *, wait: bool) -> None:
    """Hold the file. Raises OSError where another process does."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to delete an open file: that is lock enough
        return
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _unlock(file: IO[bytes]) -> None:
    """Let go of the file, also for processes that were forked while it was open."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(file, fcntl.LOCK_UN)


def _bytes_as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{value!r} cannot be journalled")


def _text_as_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
