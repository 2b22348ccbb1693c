"""What a pytest session holds of ours: settings, collection, runner and ledger, put together."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from pytest_tiers import options
from pytest_tiers.census import Census, extent_of
from pytest_tiers.clients import CLIENTS, Clients
from pytest_tiers.collection import SETTINGS, Collection
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.ledger import Ledger
from pytest_tiers.modes import AUTO
from pytest_tiers.override.keys import PlaceholderKey
from pytest_tiers.planning import Planning
from pytest_tiers.pruning import Pruning
from pytest_tiers.workers import FANS_OUT, PROBLEM, SPENDING, ForWorkers

if TYPE_CHECKING:
    from pytest_tiers.runner import Runner


class TierSession:
    """A plugin object: one pytest session; reads its settings when it is made.

    Raises ConfigurationError where the settings cannot be used.
    """

    def __init__(self, config: pytest.Config, placeholder: PlaceholderKey, census: Census) -> None:
        self._config, self._placeholder = config, placeholder
        self._resources = ExitStack()
        self.settings = options.read_settings(config)
        self._notes: list[str] = []
        self.collection = Collection(self.settings, self._notes)
        self.census = census
        self.pruning = Pruning(config, self.settings, self.census)
        self.planning = Planning(config, self.settings)
        self.ledger = Ledger(config, self.settings, self._notes, self.pruning, self.planning)
        placeholder.is_allowed = self.settings.placeholder_key
        config.stash[SETTINGS] = self.settings
        clients = config.stash[CLIENTS] = Clients()
        self._resources.callback(clients.close)
        config.pluginmanager.register(self, "tiers-session")
        config.pluginmanager.register(self.ledger, "tiers-ledger")
        if config.pluginmanager.hasplugin("xdist"):
            workers = ForWorkers(self.settings, self.ledger, self.pruning, lambda: self.spending)
            config.pluginmanager.register(workers, "tiers-workers")
        if self.settings.record != "none" and not hasattr(config, "workerinput"):
            from pytest_tiers.progress import Progress

            names = self.settings.ladder.names
            progress = Progress(config, names, lambda: self.spending)
            config.pluginmanager.register(progress, "tiers-progress")

    @cached_property
    def spending(self) -> Path:
        """The file in which all processes of the run count what they spend."""
        workerinput: dict[str, Any] = getattr(self._config, "workerinput", {})
        if SPENDING in workerinput:
            return Path(workerinput[SPENDING])
        from tempfile import TemporaryDirectory

        return Path(self._resources.enter_context(TemporaryDirectory()), "spending.sqlite")

    def begin(self, session: pytest.Session, items: list[pytest.Item], *, left_out: int) -> None:
        """Put the trials in order when all other plugins are done, and get ready to run them.

        ``left_out`` tests were collected and will not run.
        """
        try:
            if self.settings.replaced is not None:
                self._narrow_to_recorded(items)
            self.collection.arrange(session, items, self.census.items)
            self._note_extent(left_out=left_out)
            if self.collection.trials and not self._config.option.collectonly:
                runner = self._get_ready()
                if self.settings.plan is not None:
                    self.planning.narrow(items, runner.tapes.is_replayed, runner.rounds.is_certain)
                runner.mixing.begin(items, self.planning.incomplete)
        except ConfigurationError as error:
            if not hasattr(self._config, "workerinput"):
                raise pytest.UsageError(str(error)) from None
            # A usage error in a worker would show as a crash: the controller says it instead.
            self.census.gap = "the tests cannot run"
            self._config.workeroutput[PROBLEM] = str(error)  # type: ignore[attr-defined]  # xdist adds it
            items.clear()

    def _note_extent(self, *, left_out: int) -> None:
        """Note what is to run and what is not, where that matters."""
        writes_json = any(path.suffix == ".json" for path in self.settings.reports)
        if self.census.items and (left_out or writes_json or self.settings.locked):
            existing = self.collection.planned(self.census.items)
            self.census.extent = extent_of(self.collection.trials, existing)

    def _narrow_to_recorded(self, items: list[pytest.Item]) -> None:
        from pytest_tiers.replacing import narrow

        note = narrow(self._config, self.settings, items, self.collection.named(items))
        self._notes += [note] if note else []

    def _get_ready(self) -> Runner:
        """Make the runner. Raises ConfigurationError for a missing key."""
        from pytest_tiers.budget import Budget
        from pytest_tiers.runner import Runner

        settings = self.settings
        runner = Runner(
            self._config,
            settings,
            self.collection.trials,
            self._placeholder,
            Budget(self.spending, settings.max_cost, settings.max_calls),
            self._notes,
            self.census,
            self.spending.parent,
            fans_out=getattr(self._config, "workerinput", {}).get(FANS_OUT, True),
        )
        runner.check_keys(dict(os.environ))
        self.ledger.runner = runner
        self._config.pluginmanager.register(runner, "tiers-runner")
        self._config.pluginmanager.register(runner.rounds, "tiers-rounds")
        runner.start()
        return runner

    def pytest_report_collectionfinish(self) -> list[str]:
        """What this run can show at best: said before anything is paid."""
        option = self._config.option
        trials = {trial.prompt: trial for trial in self.collection.trials}
        compares = self.settings.comparison and self.settings.ladder.candidates
        if not trials or not compares or option.collectonly or self._config.get_verbosity() < 0:
            return []
        from pytest_tiers.reports.terminal import attainable_line
        from pytest_tiers.summary import PlannedPrompt, attainable

        settings = self.settings
        plan = [
            PlannedPrompt(trial.cases, trial.settings.samples, trial.settings.margin)
            for trial in trials.values()
        ]
        best = attainable(plan, settings.margin, settings.confidence)
        line = attainable_line(
            **structs.asdict(best),
            margin=settings.margin,
            samples=settings.max_samples if settings.samples == AUTO else settings.samples,
            up_to=settings.samples == AUTO,
        )
        return [f"tiers: {line}"]

    def close(self) -> None:
        """Give back what the session holds."""
        self._resources.close()
