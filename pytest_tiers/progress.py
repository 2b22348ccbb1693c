"""Progress while recording: one line below pytest's own, redrawn until the tests have run.

It is drawn from a thread, over a descriptor of its own: while a test runs, pytest has the real one
captured. Whenever pytest writes itself, the line is taken away and waits.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from pytest_tiers.budget import Budget
from pytest_tiers.markers import is_trial
from pytest_tiers.reports.progress import SoFar, progress_line
from pytest_tiers.searching import Searches
from pytest_tiers.workers import case_of

#: Seconds between two drawings.
_PAUSE = 0.5

#: Control sequences (ECMA-48): erase to the end of the line, cursor up, cursor to a column.
_ERASE, _UP, _COLUMN = "\x1b[K", "\x1b[A", "\x1b[{}G"


class Progress:
    """A plugin object: draws, unless the output is no terminal, or somebody else writes there.

    ``spending`` makes the file in which the run counts what it spends, ``ladder`` names the
    tiers.
    """

    def __init__(
        self, config: pytest.Config, ladder: Sequence[str], spending: Callable[[], Path]
    ) -> None:
        self._config, self._ladder, self._spending = config, ladder, spending
        self._trials: set[str] = set()
        self._done: set[str] = set()
        self._started = 0.0
        self._is_drawn = self._waits = False
        self._screen: int | None = None
        self._lock = threading.RLock()

    def _reporter(self) -> TerminalReporter | None:
        """pytest's own reporter, if it writes to a terminal that can be drawn on."""
        config = self._config
        reporter = config.pluginmanager.getplugin("terminalreporter")
        options = ("usepdb", "trace", "setupshow", "collectonly")
        if (
            type(reporter) is not TerminalReporter  # others draw lines of their own
            or not reporter.isatty()
            or os.environ.get("TERM") == "dumb"
            or sys.platform == "win32"
            or config.get_verbosity() < 0
            or config.getoption("capture") == "no"
            or config.getini("log_cli")
            or config.getoption("log_cli_level", None)
            or any(config.getoption(name, False) for name in options)
        ):
            return None
        return reporter

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Draw while the tests run."""
        reporter = self._reporter()
        if reporter is None:
            return (yield)
        self._trials |= {item.nodeid for item in session.items if is_trial(item)}
        self._started = time.monotonic()
        budget, has_ended = Budget(self._spending(), Decimal(0)), threading.Event()
        searches = Searches(self._spending().parent)

        def draw() -> None:
            with contextlib.suppress(OSError):  # the terminal is gone
                while not has_ended.wait(_PAUSE):
                    self._draw(reporter, budget, searches)

        thread = threading.Thread(target=draw, name="pytest-tiers progress", daemon=True)
        # Nothing is captured now, between the tests.
        self._screen = os.dup(sys.stdout.fileno())
        thread.start()
        try:
            return (yield)
        finally:
            has_ended.set()
            thread.join()
            self._take_away(reporter)
            os.close(self._screen)
            self._screen = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """The controller knows tests by their ids only."""
        self._trials |= {nodeid for nodeid in ids if case_of(nodeid, self._ladder) != nodeid}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self) -> Generator[None, Any, Any]:
        """pytest writes."""
        with self._away():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """pytest writes; and perhaps a trial is done."""
        with self._away():
            if hasattr(report, "pytest_tiers"):
                self._done.add(report.nodeid)
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logfinish(self) -> Generator[None, Any, Any]:
        """pytest writes."""
        with self._away():
            return (yield)

    def pytest_enter_pdb(self) -> None:
        """Somebody types, where a test calls ``breakpoint()``."""
        self._waits = True
        if (reporter := self._reporter()) is not None:
            self._take_away(reporter)

    def pytest_leave_pdb(self) -> None:
        """Nobody types any more."""
        self._waits = False

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        """Let pytest write where the cursor stands."""
        if self._screen is None:
            yield
            return
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        assert isinstance(reporter, TerminalReporter)
        with self._lock:
            self._take_away(reporter)
            yield
            reporter.flush()

    def _draw(self, reporter: TerminalReporter, budget: Budget, searches: Searches) -> None:
        spending = budget.spending()
        if not spending.calls:
            return  # so far everything is replayed
        so_far = SoFar(
            len(self._done),
            len(self._trials),
            spending.under_way,
            spending.spent,
            spending.unpriced,
            time.monotonic() - self._started,
            searches.under_way(),
        )
        # The last column stays free: some terminals go to the next line after it.
        text = progress_line(so_far, reporter._tw.fullwidth - 1)
        with self._lock:
            if not self._waits:
                self._write(reporter, reporter._tw.markup(text, light=True))
                self._is_drawn = True

    def _take_away(self, reporter: TerminalReporter) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._is_drawn:
                self._write(reporter, "")
            self._is_drawn = False

    def _write(self, reporter: TerminalReporter, text: str) -> None:
        """Write on the line below pytest's, and go back to where pytest was."""
        at = reporter._tw.width_of_current_line
        if self._screen is not None and at < reporter._tw.fullwidth:
            drawn = f"\n\r{text}{_ERASE}{_UP}{_COLUMN.format(at + 1)}"
            os.write(self._screen, drawn.encode())
