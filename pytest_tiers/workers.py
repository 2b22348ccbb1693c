"""What pytest-xdist's controller does for us: where trials run, and what workers tell."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.ledger import ELSEWHERE, NOTES, Ledger
from pytest_tiers.pruning import Pruning
from pytest_tiers.records import CallSite
from pytest_tiers.settings import Settings

#: The key of ``workerinput`` under which workers find the run's spending ledger.
SPENDING = "pytest_tiers_spending"
#: The key of ``workerinput`` that tells workers whether they have all trials of a case.
FANS_OUT = "pytest_tiers_fans_out"
#: The key of ``workeroutput`` under which a worker says what it cannot work with.
PROBLEM = "pytest_tiers_problem"

#: Values of ``--dist`` in which we may say which tests stay together.
_OURS = ("load", "worksteal", "loadgroup")


class ForWorkers:
    """Hooks of pytest-xdist."""

    def __init__(
        self, settings: Settings, ledger: Ledger, pruning: Pruning, spending: Callable[[], Path]
    ) -> None:
        """``spending`` makes the file in which the run counts what it spends."""
        self._settings, self._ledger, self._pruning = settings, ledger, pruning
        self._spending = spending
        self._records = settings.comparison and settings.record != "none"
        self._has_said = False

    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where the run counts its spending, and whether to ask in advance."""
        mode = node.config.getvalue("dist")
        node.workerinput[SPENDING] = str(self._spending())
        node.workerinput[FANS_OUT] = mode in _OURS
        if self._records and mode not in _OURS and not self._has_said:
            self._has_said = True
            self._ledger.notes.append(
                f"With --dist={mode} each call waits for the one before: a case's trials may be on "
                f"several workers. Use --dist={_OURS[0]} to ask all tiers at once."
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """In a comparison, keep the trials of a case, or of a prompt's rounds, on one worker.

        While recording, the first asks for the others; and outputs may have to be compared.
        """
        if not self._settings.comparison or config.getvalue("dist") not in _OURS:
            return None
        from xdist.scheduler import LoadScopeScheduling

        names = self._settings.ladder.names

        class CaseScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist's types are Any
            @cached_property
            def _scopes(self) -> Mapping[str, str]:
                return scopes(self.collection or (), names)

            def _split_scope(self, nodeid: str) -> str:
                return self._scopes[nodeid]

            def remove_node(self, node: Any) -> str | None:
                """As xdist's own, but without the test that crashed: it would crash for ever."""
                units = self.assigned_work[node].values()
                left = ((unit, test) for unit in units for test, done in unit.items() if not done)
                crashed: str | None = None
                for unit, crashed in itertools.islice(left, 1):
                    unit[crashed] = True
                super().remove_node(node)
                return crashed

        return CaseScheduling(config, log)

    def pytest_testnodedown(self, node: Any) -> None:
        """Learn what a worker could not work with."""
        output = getattr(node, "workeroutput", {})
        self._pruning.take(output)
        self._ledger.planning.take(output)
        self._ledger.notes += output.get(NOTES, [])
        self._ledger.elsewhere |= {CallSite(*site) for site in output.get(ELSEWHERE, [])}
        problem = output.get(PROBLEM)
        if problem is not None:
            self._ledger.usage_error = problem


def scopes(nodeids: Sequence[str], tiers: Sequence[str]) -> dict[str, str]:
    """What has to stay on one worker: a name for each test's scope, by node id.

    The trials of a case, which stand together. Where they do not, sampling is adaptive, and our
    order puts a prompt's rounds one after the other: cases that lie between each other's trials
    are those of one prompt. The controller does not collect, so their order is all it knows.
    """
    cases = [case_of(nodeid, tiers) for nodeid in nodeids]
    last = {
        case: place
        for place, (case, nodeid) in enumerate(zip(cases, nodeids, strict=True))
        if _is_trial(case, nodeid)
    }
    found: dict[str, str] = {}
    scope, until = "", -1
    for place, (case, nodeid) in enumerate(zip(cases, nodeids, strict=True)):
        if not _is_trial(case, nodeid):
            found[nodeid] = case
            continue
        if place > until:
            scope = case
        until = max(until, last[case])
        found[nodeid] = scope
    return found


def _is_trial(case: str, nodeid: str) -> bool:
    """Whether an id without its tier is another; a test of a group stays with its group."""
    return case != nodeid and not nodeid.endswith(f"@{case}")


def case_of(nodeid: str, tiers: Sequence[str]) -> str:
    """What the ids of all trials of a case have in common; a group of ``xdist_group`` is kept.

    The controller knows tests by their ids only. Our parameter comes last in them.
    """
    if nodeid.rfind("@") > nodeid.rfind("]"):
        return nodeid.rpartition("@")[2]
    # The longest name first: "x-mini" ends as "mini" does.
    names = "|".join(map(re.escape, sorted(tiers, key=len, reverse=True)))
    return re.sub(rf"(?<=[\[-])({names})(-\d+)?\]$", "", nodeid)
