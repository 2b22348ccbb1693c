"""The last trial of a prompt or test, whose end waits for what needs all of its trials."""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

import pytest
from _pytest.runner import runtestprotocol

from pytest_tiers.collection import TRIAL, PlannedTrial
from pytest_tiers.control import Controls
from pytest_tiers.hidden import HiddenRuns
from pytest_tiers.mixing import Mixing
from pytest_tiers.override.keys import PlaceholderKey
from pytest_tiers.override.sites import SiteFinder


class HeldFor(NamedTuple):
    """What is done when a trial has run, before what its tests share is torn down."""

    search: bool
    controls: bool


class Holding:
    """Keeps what the tests of a prompt share set up until its mixes and control trials have run."""

    def __init__(
        self,
        hidden: HiddenRuns,
        controls: Controls,
        mixing: Mixing,
        placeholder: PlaceholderKey,
        sites: SiteFinder,
    ) -> None:
        self._hidden, self._controls, self._mixing = hidden, controls, mixing
        self._placeholder, self._sites = placeholder, sites

    def held_for(self, trial: PlannedTrial, nextitem: pytest.Item | None) -> HeldFor | None:
        """What waits for a trial, which has not ended; None where nothing does."""
        found = HeldFor(self._mixing.is_last(trial), self._controls.are_due_after(trial, nextitem))
        return found if any(found) else None

    def leave_out(self, item: pytest.Item, nextitem: pytest.Item | None, held_for: HeldFor) -> None:
        """Skip a trial that is left out as pytest would, and do what it is held for."""
        hook, where = item.ihook, {"nodeid": item.nodeid, "location": item.location}
        hook.pytest_runtest_logstart(**where)
        self.end(item, nextitem, self.run(item), held_for)
        hook.pytest_runtest_logfinish(**where)

    def run(self, item: pytest.Item) -> pytest.TestReport:
        """Run the item of a trial that is held, and hold back the report of its teardown.

        What its tests share stays set up.
        """
        sibling = self._hidden.sibling(item)
        *reports, held = runtestprotocol(item, log=False, nextitem=sibling)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        return held

    def end(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        held: pytest.TestReport,
        held_for: HeldFor,
    ) -> None:
        """Run what waits for all trials of a prompt or test, and end its last trial."""
        session = item.session
        if not (session.shouldfail or session.shouldstop):
            self._placeholder.put()
            try:
                self._run_what_waits(item.stash[TRIAL], held, held_for)
            finally:
                self._placeholder.take_away()
        follows = None if session.shouldfail or session.shouldstop else nextitem
        teardown = pytest.CallInfo.from_call(
            lambda: session._setupstate.teardown_exact(follows),
            "teardown",
            reraise=(pytest.exit.Exception, KeyboardInterrupt),
        )
        item.ihook.pytest_runtest_logreport(report=held)
        if teardown.excinfo is not None:
            failed = item.ihook.pytest_runtest_makereport(item=item, call=teardown)
            item.ihook.pytest_runtest_logreport(report=failed)

    def _run_what_waits(
        self, trial: PlannedTrial, held: pytest.TestReport, held_for: HeldFor
    ) -> None:
        if held_for.controls:
            with self._sites.watching():
                controls = self._controls.run_late(trial.function)
            held.pytest_tiers_controls = controls  # type: ignore[attr-defined]
            self._mixing.tried(trial.prompt, chain.from_iterable(controls.values()))
        if held_for.search:
            found = self._mixing.search(trial)
            held.pytest_tiers_mix = found.to_builtins()  # type: ignore[attr-defined]
