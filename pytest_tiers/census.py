"""Which tests exist: what was collected, before anything was left out of the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tiers.markers import is_trial

if TYPE_CHECKING:
    from pytest_tiers.cassettes.names import Test
    from pytest_tiers.cassettes.unused import Existing
    from pytest_tiers.collection import PlannedTrial
    from pytest_tiers.extent import Extent


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
        #: What was to run beside what exists, where somebody will ask.
        self.extent: Extent | None = None
        self.failed = False

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
        self.gap, self.failed = None, failed
        if failed:
            self.gap = "a file could not be collected"
        elif left_out:
            self.gap = f"{left_out} of the tests were left out by a plugin"

    @cached_property
    def cases(self) -> Mapping[Test, frozenset[str] | None]:
        """The cases of each tiered test, to be asked for when the collection has ended."""
        from pytest_tiers.collection import existing_cases

        return existing_cases(self.items)

    def to_builtins(self) -> dict[str, Any]:
        """What was found as builtins, for xdist's wire."""
        from msgspec import to_builtins

        return {
            "gap": self.gap,
            "failed": self.failed,
            "extent": to_builtins(self.extent),
            "renamed": list(self.renamed),
            "folders": [*map(str, self._folders)],
            "modules": [*map(str, self._modules)],
            "unknown": [*map(str, self._unknown)],
            "cases": [
                (str(module), name, None if cases is None else list(cases))
                for (module, name), cases in self.cases.items()
            ],
        }


def extent_of(trials: Iterable[PlannedTrial], existing: Iterable[PlannedTrial]) -> Extent:
    """What a run was to do, beside everything that exists in what was collected."""
    from pytest_tiers.extent import Extent, PromptExtent

    selected, found = _by_prompt(trials), _by_prompt(existing)
    prompts = {}
    for name, of_prompt in {**found, **selected}.items():
        settings = of_prompt[0].settings
        limit = settings.max_cost_per_1000
        cases = dict.fromkeys(trial.case for trial in selected.get(name, ()))
        every = dict.fromkeys(trial.case for trial in found.get(name, ()))
        prompts[name] = PromptExtent(
            tiers=tuple(dict.fromkeys(trial.tier.name for trial in selected.get(name, ()))),
            cases=tuple(cases),
            left_out=tuple(case for case in every if case not in cases),
            margin=settings.margin,
            min_pass_rate=settings.min_pass_rate,
            monthly_runs=settings.monthly_runs,
            max_cost_per_1000=None if limit is None else str(limit),
        )
    return Extent(prompts)


def _by_prompt(trials: Iterable[PlannedTrial]) -> dict[str, list[PlannedTrial]]:
    found: defaultdict[str, list[PlannedTrial]] = defaultdict(list)
    for trial in trials:
        found[trial.prompt].append(trial)
    return dict(found)


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
