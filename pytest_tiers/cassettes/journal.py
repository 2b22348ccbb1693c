"""Answers on disk before a test sees them: one append-only file per process.

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


class Journal:
    """The open journal of this process under one cassette root."""

    def __init__(self, root: Path) -> None:
        folder = root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        self.path = folder / f"journal-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        # Without a buffer, nothing of a line that failed is left to be written later.
        self._file = self.path.open("ab", buffering=0)
        _lock(self._file, wait=False)

    def write(self, entry: dict[str, Any]) -> None:
        """Append one entry and wait until it is on the disk. Raises OSError."""
        line = as_line(entry).encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others fold this journal."""
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
    with (folder / "fold.lock").open("ab") as file:
        _lock(file, wait=True)
        found = sorted((path.stat().st_mtime_ns, path) for path in folder.glob("journal-*.jsonl"))
        yield [path for _, path in found if _is_finished(path)]


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a journal; a last line that was cut off is no entry."""
    with path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                yield json.loads(line, object_hook=_text_as_bytes)


def as_line(entry: dict[str, Any]) -> str:
    """An entry as it stands in a journal."""
    return json.dumps(entry, default=_bytes_as_text) + "\n"


def _is_finished(journal: Path) -> bool:
    try:
        with journal.open("rb") as file:
            _lock(file, wait=False)
    except OSError:
        return False
    return True


def _lock(file: IO[bytes], *, wait: bool) -> None:
    """Hold the file as long as it is open. Raises OSError where another process does."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to delete an open file: that is lock enough
        return
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _bytes_as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{value!r} cannot be journalled")


def _text_as_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
