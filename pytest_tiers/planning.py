"""pytest's side of ``--tiers-plan``: replay what is recorded, leave out everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tiers.collection import TRIAL, PlannedTrial
from pytest_tiers.settings import Settings

if TYPE_CHECKING:
    from pytest_tiers.findings import RunSummary
    from pytest_tiers.plan import Plan

#: The key of xdist's ``workeroutput`` under which a worker tells what has no recording.
MISSING = "pytest_tiers_missing"


class Planning:
    """What a plan has to know of the collection: which trials have no recording."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config, self._settings = config, settings
        self._missing: list[tuple[str, str, bool, bool]] = []

    def narrow(
        self,
        items: list[pytest.Item],
        is_replayed: Callable[[PlannedTrial], bool],
        is_certain: Callable[[PlannedTrial], bool],
    ) -> None:
        """Leave only trials that recordings may answer; the other tests are no part of a plan.

        Whether it takes what it may leave out itself is for the answers to say.
        """
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            trial = item.stash.get(TRIAL, None)
            # The application as it is replays from other tiers' recordings too.
            replays = trial is not None and (trial.tier.is_current or is_replayed(trial))
            (kept if replays else left_out).append(item)
            if trial is not None and not replays:
                may_stop = trial.settings.is_adaptive
                self._missing.append((trial.prompt, trial.tier.name, is_certain(trial), may_stop))
        items[:] = kept
        if left_out:
            self._config.hook.pytest_deselected(items=left_out)

    @property
    def incomplete(self) -> set[str]:
        """The prompts of which a trial has no recording."""
        return {prompt for prompt, *_ in self._missing}

    def handed_over(self) -> dict[str, Any]:
        """What a worker tells the controller."""
        return {MISSING: self._missing}

    def take(self, output: Mapping[str, Any]) -> None:
        """Hear it from a worker; all of them collect the same."""
        self._missing = [tuple(one) for one in output.get(MISSING, self._missing)]

    def plan(self, summary: RunSummary) -> Plan | None:
        """The plan, from a replay of what is recorded; None where none was asked for."""
        if self._settings.plan is None:
            return None
        from pytest_tiers.plan import MissingTrial, make_plan

        missing = [MissingTrial(*one) for one in self._missing]
        return make_plan(summary, missing, self._settings.plan)
