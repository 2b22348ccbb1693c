"""Which tests exist: what was collected, before anything was left out of the run."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tiers.cassettes.names import Test
from pytest_tiers.collection import existing_cases, is_trial

if TYPE_CHECKING:
    from pytest_tiers.cassettes.unused import Existing


class Census:
    """A plugin object: looks at each file that is collected before --lf, -k and others narrow it.

    ``gap`` says why what was found is not everything; None where it is.
    """

    def __init__(self) -> None:
        self._folders: set[Path] = set()
        self._modules: set[Path] = set()
        self._unknown: set[Path] = set()
        #: The trials that were collected, also those that were left out later.
        self.items: list[pytest.Item] = []
        #: Function, old and new name of the cases that were replayed under an old name.
        self.renamed: set[tuple[str, str, str]] = set()
        self.gap: str | None = "the collection did not come to its end"

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Note what a folder, module or class holds; trylast is innermost, before --lf."""
        report = yield
        if not report.passed:
            self._unknown.add(collector.path)
        elif isinstance(collector, pytest.File):
            self._modules.add(collector.path)
        elif isinstance(collector, pytest.Directory | pytest.Session):
            self._folders.add(collector.path)
        self.items += [
            node for node in report.result or () if isinstance(node, pytest.Item) and is_trial(node)
        ]
        return report

    def end(self, *, failed: bool, left_out: int) -> None:
        """The collection has ended; ``left_out`` tests were collected and will not run."""
        self.gap = None
        if failed:
            self.gap = "a file could not be collected"
        elif left_out:
            self.gap = f"{left_out} of the tests were left out by a plugin"

    @cached_property
    def cases(self) -> Mapping[Test, frozenset[str] | None]:
        """The cases of each tiered test, to be asked for when the collection has ended."""
        return existing_cases(self.items)

    def to_builtins(self) -> dict[str, Any]:
        """What was found as builtins, for xdist's wire."""
        return {
            "gap": self.gap,
            "renamed": list(self.renamed),
            "folders": [*map(str, self._folders)],
            "modules": [*map(str, self._modules)],
            "unknown": [*map(str, self._unknown)],
            "cases": [
                (str(module), name, None if cases is None else list(cases))
                for (module, name), cases in self.cases.items()
            ],
        }


def put_together(found: Sequence[Mapping[str, Any]]) -> Existing:
    """Which tests exist, from what each process found."""
    from pytest_tiers.cassettes.unused import Existing

    paths: dict[str, set[Path]] = {"folders": set(), "modules": set(), "unknown": set()}
    existing: dict[Test, frozenset[str] | None] = {}
    for one in found:
        for kind, so_far in paths.items():
            so_far.update(map(Path, one[kind]))
        for module, name, cases in one["cases"]:
            before = existing.get((Path(module), name), frozenset())
            existing[Path(module), name] = (
                None if cases is None or before is None else before.union(cases)
            )
    return Existing(
        frozenset(paths["folders"]),
        frozenset(paths["modules"]),
        frozenset(paths["unknown"]),
        existing,
        frozenset((function, old) for one in found for function, old, _ in one["renamed"]),
    )
