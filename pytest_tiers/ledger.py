"""Collects the trials of all workers, and closes the books at the end of the session."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from pytest_tiers import junit
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.planning import Planning
from pytest_tiers.pruning import Pruning
from pytest_tiers.settings import Settings

if TYPE_CHECKING:
    from pytest_tiers.cassettes.library import Library
    from pytest_tiers.findings import Gate, RunSummary
    from pytest_tiers.mixes import MixSearch
    from pytest_tiers.plan import Plan
    from pytest_tiers.records import CallSite, NotRun, Trial
    from pytest_tiers.runner import Runner

#: The key of xdist's ``workeroutput`` under which a worker hands over its notes.
NOTES = "pytest_tiers_notes"

#: The key under which it hands over the lines that called models for tests that are not tiered.
ELSEWHERE = "pytest_tiers_elsewhere"

#: Exit codes of a run that nobody and nothing cut short.
_CAME_TO_ITS_END = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)

#: pytest's word for a report, its letter, and its word with -v.
_STATUS = {
    "missed": ("missed", "m", ("MISSED", {"yellow": True})),
    "unsupported": ("unsupported", "u", ("UNSUPPORTED", {"yellow": True})),
}


class Ledger:
    """A plugin object: what was learnt in this session, from this process and its workers."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        notes: list[str],
        pruning: Pruning,
        planning: Planning,
    ) -> None:
        self._config, self._settings = config, settings
        self._pruning, self.planning = pruning, planning
        #: What the user should know and no report says. Not Python warnings: in a project that
        #: turns those into errors, one outside a test would end the session.
        self.notes = notes
        self._trials: dict[str, Trial] = {}
        self._not_run: dict[str, NotRun] = {}
        self._searches: list[MixSearch] = []
        self._failed_in_run: set[str] = set()
        #: File and line of each trial's test, for marks on it.
        self._locations: dict[str, tuple[Path, int | None]] = {}
        self._skipped: defaultdict[str, set[str]] = defaultdict(set)
        self.runner: Runner | None = None
        #: What workers saw.
        self.elsewhere: set[CallSite] = set()
        self.summary: RunSummary | None = None
        self.plan: Plan | None = None
        self.usage_error: str | None = None
        self._is_closed = False
        #: What the safe downgrades change in the application.
        self._diff = b""

    @property
    def _is_worker(self) -> bool:
        return hasattr(self._config, "workerinput")

    def pytest_report_teststatus(self, report: Any) -> Any:
        """``m`` for missed and ``u`` for unsupported."""
        trial = getattr(report, "pytest_tiers", None)
        if trial is None or not hasattr(report, "wasxfail") or report.when == "teardown":
            return None
        return _STATUS.get(trial["outcome"]) if report.skipped else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a trial, from whichever process it comes."""
        skipped = getattr(report, "pytest_tiers_skipped", None)
        if skipped is not None:
            prompt, case = skipped
            self._skipped[prompt].add(case)
        plain = getattr(report, "pytest_tiers", None)
        if plain is not None:
            from pytest_tiers.records import Trial

            trial = Trial.from_builtins(plain)
            self._trials[trial.nodeid] = trial
            file, line, _ = report.location
            self._locations[trial.nodeid] = (self._config.rootpath / file, line)
            if report.failed:
                self._failed_in_run.add(trial.nodeid)
        for nodeid, passed in getattr(report, "pytest_tiers_controls", {}).items():
            if nodeid in self._trials:
                self._trials[nodeid] = replace(self._trials[nodeid], controls=tuple(passed))
        mix = getattr(report, "pytest_tiers_mix", None)
        if mix is not None:
            from pytest_tiers.mixes import MixSearch

            self._searches.append(MixSearch.from_builtins(mix))
        left_out = getattr(report, "pytest_tiers_not_run", None)
        if left_out is not None:
            from pytest_tiers.records import NotRun

            self._not_run[left_out["nodeid"]] = convert(left_out, NotRun)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Close the books, unless somebody needed that before."""
        if not self._is_closed:
            self._is_closed = True
            self._close(session)

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, summary: list[str], session: pytest.Session) -> None:
        """Add our section to the report of pytest-html, which it may write before our turn."""
        self.pytest_sessionfinish(session)
        if self.summary is not None:
            from pytest_tiers.reports.pytest_html import section

            summary.append(section(self.summary))

    def _close(self, session: pytest.Session) -> None:
        """Fold the journals, settle the trials, write the reports."""
        if self.runner is not None:
            self.runner.stop()
        if self._is_worker:
            output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]  # xdist's
            output |= {
                NOTES: self.notes,
                ELSEWHERE: [(site.label, site.key) for site in self._elsewhere()],
                **self._pruning.handed_over(),
                **self.planning.handed_over(),
            }
            return
        if self.usage_error is not None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        self._fold()
        self.notes += self._pruning.renamed_notes()
        self._prune(session)
        is_planned = self._settings.plan is not None and self.usage_error is None
        if self._config.option.collectonly or not (self._trials or is_planned):
            return
        from pytest_tiers.summary import summarise

        summary = summarise(
            self._trials.values(),
            self._settings,
            created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            commit=_commit(self._config.rootpath),
            selection=self._is_selection(),
            prices=self._prices(),
            unused=self._pruning.unused(),
            not_run=self._not_run.values(),
            extent=self._pruning.extent,
            searches=self._searches,
        )
        self.plan = self.planning.plan(summary)
        if self.plan is not None:
            if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
                session.exitstatus = pytest.ExitCode.OK  # nothing is recorded yet
            return
        self.summary = replace(summary, locked=self._settings.locked)
        if self._settings.comparison and self._settings.ladder.candidates:
            self._look_at_the_application(self.summary)
        self._fail_for_what_was_learnt_late(session)
        self._remember()
        self._update_lock(session)
        self._judge_gate(session)
        self._write_reports(session, self.summary)
        self._tell_github(self.summary)
        junit.complete(self._config, self.summary)

    def _prune(self, session: pytest.Session) -> None:
        """Delete what no test reads, if that was asked for and the run came to its end."""
        if self._settings.prune is None or self.usage_error is not None:
            return
        if session.exitstatus not in _CAME_TO_ITS_END:
            self.notes.append("Nothing was pruned, because the run did not come to its end.")
            return
        try:
            self.notes += self._pruning.prune(dry_run=self._config.option.collectonly)
        except ConfigurationError as error:
            self.usage_error = str(error)
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _fold(self) -> None:
        roots = {Path(trial.file) for trial in self._trials.values() if trial.file}
        if self.runner is None and not roots:
            return
        from pytest_tiers.cassettes.library import Library

        library = self.runner.tapes.library if self.runner is not None else Library()
        self.notes += library.fold(sorted(roots))
        self._pruning.known = library.known
        # Whether a trial was made anew shows when it stands in its cassette, beside the others.
        for nodeid, trial in self._trials.items():
            self._trials[nodeid] = _as_folded(trial, library)
        self._searches = [
            search.with_trials(lambda trial: _as_folded(trial, library))
            for search in self._searches
        ]

    def _is_selection(self) -> bool:
        """Whether only part of the suite was to run."""
        option = self._config.option
        narrowed = option.keyword or option.markexpr or getattr(option, "lf", False)
        if narrowed or any("::" in arg for arg in self._config.args):
            return True
        extent = self._pruning.extent
        return extent is not None and extent.left_out > 0

    def _prices(self) -> dict[str, Any]:
        from pytest_tiers.pricing import list_price

        return {
            tier.name: list_price(tier)
            for tier in self._settings.ladder.tiers
            if not tier.is_current
        }

    def _fail_for_what_was_learnt_late(self, session: pytest.Session) -> None:
        """What shows only when later trials are known fails the run all the same.

        A no-call, an output that could not be compared, or a search that found no answer.
        """
        assert self.summary is not None
        late = [
            trial
            for trial in self.summary.trials
            if trial.outcome in ("no-call", "error")
            and not trial.budget
            and trial.nodeid not in self._failed_in_run
        ]
        is_incomplete = any(search.end == "error" for search in self._searches)
        if (late or is_incomplete) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _remember(self) -> None:
        """Keep what this comparison found, for ``pytest-tiers accept``."""
        cache = getattr(self._config, "cache", None)
        if cache is None or not self._settings.comparison or self.summary is None:
            return
        from pytest_tiers.lock.remembered import remember

        with contextlib.suppress(OSError):
            remember(self.summary, cache.mkdir("tiers"))

    def _update_lock(self, session: pytest.Session) -> None:
        """Write what the run proved into tiers.lock, if that was asked for."""
        path = self._settings.lock_file
        is_wanted = self._settings.update_lock or self._settings.replaced is not None
        if not is_wanted or path is None or self.summary is None:
            return
        if session.exitstatus not in _CAME_TO_ITS_END or session.shouldfail or session.shouldstop:
            self.notes.append("tiers.lock is left as it is: the run did not come to its end.")
            return
        from pytest_tiers.lock.adopting import decide
        from pytest_tiers.lock.carrying import carry_over
        from pytest_tiers.lock.reading import read
        from pytest_tiers.lock.writing import update

        try:
            locked = read(path).prompts
            if self._settings.replaced is None:
                changes = decide(self.summary, locked, skipped=self._skipped)
            else:
                changes = list(carry_over(self.summary, locked))
            adopted = {change.prompt: change.after for change in changes if change.after}
            if adopted or self._settings.update_lock:
                update(path, adopted.values())
        except (ConfigurationError, OSError) as error:
            self.notes.append(f"tiers.lock is left as it is: {error}")
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        self.summary = replace(
            self.summary, locked={**locked, **adopted}, lock_changes=tuple(changes)
        )

    def _judge_gate(self, session: pytest.Session) -> None:
        """Fail the run for prompts that no longer are what they were locked as."""
        from pytest_tiers.gate import judge

        assert self.summary is not None
        extent, existing = self.summary.extent, None
        if extent is not None and extent.is_whole:  # whatever of it has run
            existing = {*self._skipped, *extent.prompts}
        self.summary = replace(self.summary, gate=judge(self.summary, existing))
        self._keep_night(self.summary.gate)
        if not self.summary.gate.passed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _elsewhere(self) -> set[CallSite]:
        """The application's lines that called models for tests that are not tiered."""
        return self.elsewhere | (self.runner.elsewhere if self.runner is not None else set())

    def _look_at_the_application(self, summary: RunSummary) -> None:
        """Say what the safe downgrades change in its source, and what no tiered test calls."""
        from pytest_tiers.application.project import Project

        project = Project(self._config.rootpath, self._config.getini("python_files"))
        self.summary = replace(
            summary,
            changes=project.changes(summary),
            coverage=project.coverage(summary.trials, self._elsewhere()),
        )
        if self._settings.diff is not None:
            self._diff = project.patch(self.summary.changes)

    def _keep_night(self, gate: Gate) -> None:
        """Keep what this run adds to the evidence on locked prompts."""
        if self._settings.nights_file is not None:
            from pytest_tiers.nights import append

            try:
                append(self._settings.nights_file, gate.tonight)
            except OSError as error:
                self.notes.append(f"--tiers-nights: {error}")

    def _write_reports(self, session: pytest.Session, summary: RunSummary) -> None:
        from pytest_tiers.reports.writers import save, write

        jobs: list[Callable[[], None]] = [
            partial(write, summary, path) for path in self._settings.reports
        ]
        if (diff := self._settings.diff) is not None:
            jobs.append(partial(save, [self._diff], diff, "--tiers-diff"))
        for job in jobs:
            try:
                job()
            except ConfigurationError as error:
                self.notes.append(str(error))
                if session.exitstatus == pytest.ExitCode.OK:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _tell_github(self, summary: RunSummary) -> None:
        """Let GitHub Actions show the run beside the step's log."""
        if path := os.environ.get("GITHUB_STEP_SUMMARY"):
            from pytest_tiers.reports.github import append_summary

            try:
                append_summary(summary, Path(path))
            except OSError as error:
                self.notes.append(f"$GITHUB_STEP_SUMMARY: cannot write {path}: {error.strerror}")

    def _annotations(self) -> list[str]:
        """The workflow commands that mark lines in a pull request."""
        if os.environ.get("GITHUB_ACTIONS") != "true" or self.summary is None:
            return []
        from pytest_tiers.reports.github import marks

        workspace = Path(os.environ.get("GITHUB_WORKSPACE") or self._config.rootpath)
        return list(marks(self.summary, self._locations, workspace))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the summary, or what kept the workers from working."""
        if self.usage_error is not None:
            terminalreporter.write_line(f"ERROR: {self.usage_error}", red=True)
        width = terminalreporter._tw.fullwidth
        if self.notes:
            from pytest_tiers.reports.text import prose

            for note in dict.fromkeys(self.notes):
                terminalreporter.write_line(prose(f"tiers: {note}", width), yellow=True)
        verbosity = self._config.get_verbosity()
        if self._pruning.pruned is not None:
            from pytest_tiers.reports.recordings import pruned_lines

            dry_run = self._config.option.collectonly
            for line in pruned_lines(self._pruning.pruned, width=width, dry_run=dry_run):
                terminalreporter.write_line(line)
        if self.plan is not None:
            from pytest_tiers.reports.plan import plan_lines

            terminalreporter.section("tiers plan")
            for line in plan_lines(self.plan, self._settings, width=width):
                terminalreporter.write_line(line)
        if self.summary is None:
            return
        from pytest_tiers.reports.terminal import summary_lines
        from pytest_tiers.reports.text import NARROWEST

        if verbosity >= 0:
            terminalreporter.section("tiers")
        for text, markup in summary_lines(self.summary, width=width, verbosity=verbosity):
            terminalreporter.write_line(text, **markup)
        for command in self._annotations():
            terminalreporter.write_line(command)
        for prompt in self._settings.explain:
            from pytest_tiers.reports.explain import explain_lines

            terminalreporter.section("tiers: explained")
            for text in explain_lines(self.summary, prompt, width=max(width, NARROWEST)):
                terminalreporter.write_line(text)


def _as_folded(trial: Trial, library: Library) -> Trial:
    """The trial with the generation that its recording has in its cassette."""
    if trial.recording is None:
        return trial
    path, case = trial.recording
    generation = library.generation(Path(path), (case, trial.sample))
    return trial if generation is None else replace(trial, generation=generation)


def _commit(root: Path) -> str | None:
    """The commit that is checked out, None outside git."""
    import subprocess

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return found.stdout.strip()
    return None
