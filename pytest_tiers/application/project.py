"""The application's files, as they are read to say what would change in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from pytest_tiers.application.changes import changes
from pytest_tiers.application.coverage import coverage
from pytest_tiers.application.patch import patch, repository
from pytest_tiers.application.scan import scan
from pytest_tiers.application.tests import is_test_file
from pytest_tiers.findings import Change, Coverage, RunSummary
from pytest_tiers.override.sources import SourceFile
from pytest_tiers.records import CallSite, Trial


class Project:
    """The files below pytest's root; each is read once."""

    def __init__(self, root: Path, test_patterns: Collection[str]) -> None:
        self._root, self._patterns = root, test_patterns
        self._files: dict[str, SourceFile] = {}

    def changes(self, summary: RunSummary) -> tuple[Change, ...]:
        """What the safe downgrades of a run change."""
        return changes(summary, self._file, self._is_test)

    def coverage(self, trials: Iterable[Trial], elsewhere: Collection[CallSite]) -> Coverage:
        """Which calls of the application no trial made; ``elsewhere``: other tests' calls."""
        found = scan(self._root, self._is_test, self._file)
        return coverage(trials, elsewhere, found, self._file)

    def patch(self, found: Iterable[Change]) -> bytes:
        """Changes as a unified diff, with paths below the root of the git repository."""
        top = repository(self._root) or self._root
        prefix = "".join(f"{part}/" for part in self._root.relative_to(top).parts)
        return patch(found, lambda name: self._file(name).content, prefix)

    def _file(self, name: str) -> SourceFile:
        if name not in self._files:
            self._files[name] = SourceFile(self._root / name, name)
        return self._files[name]

    def _is_test(self, name: str) -> bool:
        return is_test_file(self._root / name, self._patterns)
