"""Answers on disk before a test sees them: one append-only file per process.

The journal is folded into cassettes at the end of the run, or at the start of the next one
where the process was killed.
"""

from __future__ import annotations

import base64
import contextlib
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
        self._file: IO[bytes] = self.path.open("ab")
        lock(self._file)

    def write(self, entry: dict[str, Any]) -> None:
        """Append one entry and wait until it is on the disk. Raises OSError."""
        line = json.dumps(entry, default=_bytes_as_text, ensure_ascii=True) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others fold this journal."""
        self._file.close()


def finished_journals(root: Path) -> Iterator[Path]:
    """Journals under ``root`` whose process is gone or done with them."""
    for path in sorted((root / FOLDER).glob("journal-*.jsonl")):
        with contextlib.suppress(OSError), path.open("rb") as file:
            lock(file)
            yield path


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a journal; a last line that was cut off is no entry."""
    with path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                yield json.loads(line, object_hook=_text_as_bytes)


def lock(file: IO[bytes]) -> None:
    """Hold the file as long as it is open. Raises OSError where another process does."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to delete an open file: that is lock enough
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _bytes_as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{value!r} cannot be journalled")


def _text_as_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
