"""What a pytest session holds of ours: settings, collection, runner and ledger, put together."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers import options
from pytest_tiers.collection import SETTINGS, Collection
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.fixtures import CLIENTS, Clients
from pytest_tiers.ledger import NOTES, Ledger
from pytest_tiers.override.keys import PlaceholderKey
from pytest_tiers.summary import PlannedPrompt, attainable

#: The key of xdist's ``workerinput`` under which workers find the run's spending ledger.
_SPENDING = "pytest_tiers_spending"
#: The key of xdist's ``workeroutput`` under which a worker says what it cannot work with.
_PROBLEM = "pytest_tiers_problem"


class TierSession:
    """One pytest session; reads its settings when it is made.

    Raises ConfigurationError where the settings cannot be used.
    """

    def __init__(self, config: pytest.Config, placeholder: PlaceholderKey) -> None:
        self._config, self._placeholder = config, placeholder
        self.settings = options.read_settings(config)
        self._notes: list[str] = []
        self.collection = Collection(self.settings, self._notes)
        self.ledger = Ledger(config, self.settings, self._notes)
        config.stash[SETTINGS] = self.settings
        config.stash[CLIENTS] = Clients()
        config.pluginmanager.register(self.ledger, "tiers-ledger")
        if config.pluginmanager.hasplugin("xdist"):
            config.pluginmanager.register(_ForWorkers(self), "tiers-workers")

    @property
    def spending(self) -> Path:
        """The file in which all processes of the run count what they spend."""
        workerinput: dict[str, Any] = getattr(self._config, "workerinput", {})
        if _SPENDING not in workerinput:
            folder = self._config.stash.setdefault(_FOLDER, tempfile.TemporaryDirectory())
            return Path(folder.name) / "spending.sqlite"
        return Path(workerinput[_SPENDING])

    def arrange(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Put the trials in order, and get ready to run them if there are any.

        Raises ConfigurationError for what was found wrong in collection.
        """
        config = self._config
        try:
            self.collection.arrange(session, items)
        except ConfigurationError as error:
            if not hasattr(config, "workerinput"):
                raise
            # A usage error in a worker would show as a crash: the controller says it instead.
            config.workeroutput[_PROBLEM] = str(error)  # type: ignore[attr-defined]  # xdist adds it
            items.clear()
        if not self.collection.trials or config.option.collectonly:
            return
        from pytest_tiers.budget import Budget
        from pytest_tiers.runner import Runner

        settings = self.settings
        runner = Runner(
            config,
            settings,
            self.collection.trials,
            self._placeholder,
            Budget(self.spending, settings.max_cost, settings.max_calls),
            self._notes,
        )
        if not hasattr(config, "workerinput"):
            runner.check_keys(dict(os.environ))
        self.ledger.runner = runner
        config.pluginmanager.register(runner, "tiers-runner")
        runner.start()

    def attainable(self) -> list[str]:
        """What this run can show at best: said before anything is paid."""
        plan = self._plan()
        if not self.settings.comparison or not self.settings.ladder.candidates or not plan:
            return []
        from pytest_tiers.reports.terminal import attainable_line

        best = attainable(plan, self.settings.margin, self.settings.confidence)
        line = attainable_line(
            **dataclasses.asdict(best), margin=self.settings.margin, samples=self.settings.samples
        )
        return [f"tiers: {line}"]

    def _plan(self) -> list[PlannedPrompt]:
        trials = {trial.prompt: trial for trial in self.collection.trials}
        return [
            PlannedPrompt(trial.cases, trial.settings.samples, trial.settings.margin)
            for trial in trials.values()
        ]

    def close(self) -> None:
        """Give back what the session holds."""
        self._config.stash[CLIENTS].close()
        if (folder := self._config.stash.get(_FOLDER, None)) is not None:
            folder.cleanup()


#: The temporary folder of the spending ledger.
_FOLDER = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


class _ForWorkers:
    """Hooks of pytest-xdist, registered only where it is installed."""

    def __init__(self, session: TierSession) -> None:
        self._session = session

    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where the run counts its spending."""
        node.workerinput[_SPENDING] = str(self._session.spending)

    def pytest_testnodedown(self, node: Any) -> None:
        """Learn what a worker could not work with."""
        output = getattr(node, "workeroutput", {})
        self._session.ledger.notes += output.get(NOTES, [])
        problem = output.get(_PROBLEM)
        if problem is not None:
            self._session.ledger.usage_error = problem
