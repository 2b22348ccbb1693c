"""Where searches for mixes stand: told by the processes that search, for the one that draws."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from msgspec import DecodeError, Struct, json


class Searching(Struct, frozen=True):
    """A search under way: for which prompt, and how far it is.

    ``step`` is the number of the mix that is tried, of at most ``most``; ``calls`` were made so
    far that no trial had made before.
    """

    prompt: str
    step: int
    most: int
    calls: int


class Searches:
    """A folder that all processes of a run know, with a file for each that searches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tell(self, now: Searching | None) -> None:
        """Let the others know what this process searches; None: nothing any more."""
        own = self._folder / f"search-{os.getpid()}.json"
        with contextlib.suppress(OSError):  # it is for show only
            if now is None:
                own.unlink(missing_ok=True)
            else:
                own.write_bytes(json.encode(now))

    def under_way(self) -> list[Searching]:
        """What all processes search."""
        found: list[Searching] = []
        for path in sorted(self._folder.glob("search-*.json")):
            with contextlib.suppress(OSError, DecodeError):  # it has just ended, or is written
                found.append(json.decode(path.read_bytes(), type=Searching))
        return found
