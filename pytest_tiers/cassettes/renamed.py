"""Recordings of cases that were renamed: still theirs where their requests fit."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from pytest_tiers.cassettes.format import Cassette, Recording
from pytest_tiers.cassettes.matching import Matcher

#: Seconds to wait while other workers claim recordings.
_TIMEOUT = 60.0


class RenamedCases:
    """Finds, for a trial without a recording, one under a name that no case has any more.

    ``existing`` tells the names of a function's cases, None where they are not known. ``claims``
    is a file that all processes of the run share: no recording is handed to two cases.
    ``found`` collects function, old and new name.
    """

    def __init__(
        self,
        existing: Callable[[str], Collection[str] | None],
        claims: Path,
        matcher: Matcher,
    ) -> None:
        self._existing, self._claims, self._matcher = existing, claims, matcher
        self._by_request: dict[tuple[str, str, int], Mapping[str, list[str]]] = {}
        self.found: set[tuple[str, str, str]] = set()

    def has_any(self, cassette: Cassette, function: str, sample: int) -> bool:
        """Whether a cassette of the function holds a recording that no case goes by."""
        return bool(self._orphans(cassette, function, sample))

    def find(
        self, cassettes: Iterable[Cassette], function: str, case: str, sample: int, first: str
    ) -> tuple[str, Recording] | None:
        """The old name and the recording whose first request has the matcher's key ``first``."""
        for cassette in cassettes:
            fitting = self._first_requests(cassette, function, sample).get(first, [])
            start = self._place(cassette, function, case, sample) % max(len(fitting), 1)
            for old in (*fitting[start:], *fitting[:start]):
                if self._claim(function, old, case):
                    self.found.add((cassette.function, old, case))
                    return old, cassette.recordings[old, sample]
        return None

    def _orphans(self, cassette: Cassette, function: str, sample: int) -> list[str]:
        existing = self._existing(function)
        if existing is None:
            return []
        return sorted(
            case for case, of in cassette.recordings if of == sample and case not in existing
        )

    def _first_requests(
        self, cassette: Cassette, function: str, sample: int
    ) -> Mapping[str, list[str]]:
        """The names that no case has any more, by the first request of their recordings."""
        key = (function, cassette.tier, sample)
        if key not in self._by_request:
            found: dict[str, list[str]] = defaultdict(list)
            for case in self._orphans(cassette, function, sample):
                if calls := cassette.recordings[case, sample].calls:
                    found[self._matcher.key(calls[0].request)].append(case)
            self._by_request[key] = dict(found)
        return self._by_request[key]

    def _place(self, cassette: Cassette, function: str, case: str, sample: int) -> int:
        """The place of a case among those without a recording.

        Where several recordings fit several cases, each begins with another one: which gets
        which does not depend on the order in which workers come to them.
        """
        return sum(
            other < case and (other, sample) not in cassette.recordings
            for other in self._existing(function) or ()
        )

    def _claim(self, function: str, old: str, case: str) -> bool:
        """Whether an old name's recordings belong to ``case`` from now on, in all processes.

        On all tiers and for all samples: the name is changed in every tier's cassette. A case
        takes over one old name at most.
        """
        claim = (function, old, case)
        with closing(sqlite3.connect(self._claims, timeout=_TIMEOUT)) as claims, claims:
            claims.execute(
                "CREATE TABLE IF NOT EXISTS claims (function TEXT, old TEXT, new TEXT,"
                " UNIQUE (function, old), UNIQUE (function, new))"
            )
            claims.execute("INSERT OR IGNORE INTO claims VALUES (?, ?, ?)", claim)
            found = "SELECT 1 FROM claims WHERE function = ? AND old = ? AND new = ?"
            return claims.execute(found, claim).fetchone() is not None


def rename(cassette: Cassette, old: str, new: str) -> bool:
    """Give a case's recordings its new name, where it has none of its own; whether any was."""
    changed = False
    own = {*cassette.recordings, *cassette.unfinished}
    for trials in (cassette.recordings, cassette.unfinished):
        for case, sample in list(trials):
            if case == old and (new, sample) not in own:
                trials[new, sample] = trials.pop((case, sample))
                changed = True
    return changed
