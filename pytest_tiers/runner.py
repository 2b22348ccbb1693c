"""Runs trials: gives each its tape and its calls, and judges it when its test has ended."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from _pytest.terminal import TerminalReporter
from msgspec import structs

from pytest_tiers import junit
from pytest_tiers.ahead import RunningAhead
from pytest_tiers.application.tests import is_test_file
from pytest_tiers.budget import Budget
from pytest_tiers.cassettes.matching import Matcher
from pytest_tiers.cassettes.pool import Pool
from pytest_tiers.cassettes.renamed import RenamedCases
from pytest_tiers.cassettes.tape import Ahead, Tape
from pytest_tiers.cassettes.transports import patched
from pytest_tiers.census import Census
from pytest_tiers.clients import CLIENTS
from pytest_tiers.collection import TRIAL, PlannedTrial, TrialKey
from pytest_tiers.comparing.calls import Counsel
from pytest_tiers.comparing.desk import Desk
from pytest_tiers.control import CONTROL, Controls, ControlTrial
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.handles import ACTIVE
from pytest_tiers.hidden import HiddenRuns, conceal, stashed
from pytest_tiers.holding import Holding
from pytest_tiers.judging import Judging, has_ended
from pytest_tiers.mixing import Mixing, MixTrial
from pytest_tiers.override.active import ActiveTrial, CallRules, Lead
from pytest_tiers.override.charges import Till
from pytest_tiers.override.fan_out import FanOut, Follower
from pytest_tiers.override.gates import Gates
from pytest_tiers.override.keys import PlaceholderKey
from pytest_tiers.override.own_threads import wait_for
from pytest_tiers.override.router import TrialRouter, flush_traces
from pytest_tiers.override.site_tiers import SiteTiers
from pytest_tiers.override.sites import SiteFinder
from pytest_tiers.records import CallSite, Earlier, Trial, sendable
from pytest_tiers.rounds import Rounds
from pytest_tiers.searching import Searches
from pytest_tiers.settings import Settings
from pytest_tiers.tapes import Tapes

#: The control trials that an item has had.
CONTROLS = pytest.StashKey[Sequence[ControlTrial]]()
#: The trial of a mix that an item is running.
MIX = pytest.StashKey[MixTrial]()
#: What an item's answers were before they are recorded anew.
EARLIER = pytest.StashKey[Earlier | None]()
#: The outcome and reason of a trial whose test has ended.
JUDGED = pytest.StashKey[Trial]()


class Runner:
    """A plugin object, registered when a session has trials."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        trials: Sequence[PlannedTrial],
        placeholder: PlaceholderKey,
        budget: Budget,
        notes: list[str],
        census: Census,
        shared: Path,
        *,
        fans_out: bool,
    ) -> None:
        """``shared`` is the folder that all processes of the run know."""
        self._notes = notes
        self._config, self._settings, self._placeholder = config, settings, placeholder
        self._trials = trials
        asked = [one.tier for one in (settings.judge, settings.embeddings) if one is not None]
        others = (settings.default_tier, *(settings.known_tiers[name] for name in asked))
        tiers = (*settings.ladder.tiers, *others)
        base_urls = [tier.base_url for tier in tiers if tier.base_url]
        key_variables = [tier.api_key_env for tier in tiers if tier.api_key_env]
        sites = SiteFinder(config.rootpath, self._is_test_file)
        self._router = TrialRouter(
            base_urls, settings.ignore_hosts, sites if settings.comparison else None
        )
        has_hook = bool(config.hook.pytest_tiers_normalise_request.get_hookimpls())
        matcher = Matcher(settings.ignore, self._normalise if has_hook else None)
        till = Till(budget, Gates(_share(config, settings.max_in_flight)))
        tests = {trial.function: (trial.path, trial.in_test) for trial in trials}
        claims = shared / "claims.sqlite"
        renamed = RenamedCases(lambda function: census.cases.get(tests[function]), claims, matcher)
        census.renamed = renamed.found
        self.tapes = Tapes(settings, config.rootpath, trials, matcher, renamed, key_variables)
        self.rounds = Rounds(trials, settings, self.tapes.is_replayed, self.tapes.recorded_at)
        self._rules = CallRules(
            replaces=settings.replaces,
            sites=sites,
            till=till,
            keeps_requests=settings.keeps_requests,
        )
        self._fan_out = FanOut(till)
        self._fans_out = fans_out and settings.comparison and settings.record != "none"
        self._running_ahead = RunningAhead(
            self._rules,
            lambda trial, ahead: self.tapes.of(trial, feeds=ahead),
            self._to_follow,
            _share(config, settings.max_in_flight),
            # A worker of xdist does not know which other cases it will be given.
            beyond_case=not hasattr(config, "workerinput"),
        )
        #: The trials of each case that have not begun, in order.
        self._to_come: dict[tuple[str, str], list[PlannedTrial]] = defaultdict(list)
        for trial in trials:
            self._to_come[trial.function, trial.case_in_function].append(trial)
        self._aheads: dict[TrialKey, Ahead] = {}
        counsel = Counsel(settings, self._rules, config.stash[CLIENTS], self.tapes.of_comparison)
        desk = Desk(settings, config.hook.pytest_tiers_compare, counsel)
        self._judging = Judging(settings, self.tapes, self._router, desk)
        self._patches = contextlib.ExitStack()
        self._warned_of_reruns = False
        self._hidden = HiddenRuns(config)
        self.mixing = Mixing(
            settings, self._hidden, Pool(matcher), self._run_mix_trial, Searches(shared)
        )
        self._controls = Controls(
            self._hidden,
            settings,
            trials,
            self._router,
            self.tapes.cassette,
            lambda trial, answers: self._active(trial, self.tapes.of_substitutes(trial, answers)),
        )
        self._holding = Holding(self._hidden, self._controls, self.mixing, placeholder, sites)

    def _active(self, trial: PlannedTrial, tape: Tape) -> ActiveTrial:
        """A trial that nobody waits for."""
        return ActiveTrial(trial.tier, trial.prompt, tape, self._rules)

    def _earlier(self, item: pytest.Item, trial: PlannedTrial) -> Earlier | None:
        """What the test makes of the answers that are about to be replaced."""
        if self._settings.record_for(trial.tier.name) != "all":
            return None
        tape = self.tapes.of_recording(trial)
        if not tape.has_recording:
            return None
        active = self._active(trial, tape)
        control = self._controls.run_once(item, active)
        if control is None or control.outcome is None:
            return Earlier()
        return Earlier.of(
            Trial(
                prompt=trial.prompt,
                case=trial.case,
                tier=trial.tier.name,
                sample=trial.sample,
                outcome=control.outcome,
                nodeid=item.nodeid,
                calls=tuple(active.calls),
                answer=active.last_answer,
                score=active.score,
            )
        )

    def _normalise(self, request: dict[str, Any]) -> None:
        self._config.hook.pytest_tiers_normalise_request(request=request)

    def _is_test_file(self, path: Path) -> bool:
        return is_test_file(path, self._config.getini("python_files"))

    def start(self) -> None:
        """Bring in what a killed run left, and watch the HTTP libraries from now on."""
        self._notes += self.tapes.library.fold(self.tapes.roots)
        self._patches.enter_context(patched(self._router))
        self._config.pluginmanager.register(self._running_ahead, "tiers-ahead")

    def stop(self) -> None:
        """Wait for answers that are paid for, and leave the HTTP libraries as they were."""
        self._rules.till.is_closing.set()
        wait_for([*self._fan_out.threads, *self._running_ahead.threads], self._tell)
        self._notes += self._fan_out.notes + self._running_ahead.notes + self.mixing.notes
        flush_traces()
        self._patches.close()
        self.tapes.library.close()
        self._notes += [
            f"A call of {url} was made while no test ran: it belongs to no trial, went out as it "
            "was, and is not recorded."
            for url in sorted(set(self._router.strays))
        ]

    def _tell(self, line: str) -> None:
        """Say something now, unless this is a worker of xdist."""
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if isinstance(reporter, TerminalReporter):
            reporter.ensure_newline()
            reporter.write_line(line)
            reporter.flush()

    @property
    def elsewhere(self) -> set[CallSite]:
        """The application's lines that called a model for tests that are not tiered."""
        return self._router.elsewhere

    def check_keys(self, environment: dict[str, str]) -> None:
        """See before the first call that tiers which must record have their keys.

        Raises ConfigurationError naming the variables.
        """
        if self._settings.record == "none":
            return
        missing = {
            tier.name: tier.api_key_env
            for tier in self._settings.ladder.tiers
            if tier.api_key_env and not environment.get(tier.api_key_env)
        }
        needed = {
            trial.tier.name
            for trial in self._trials
            if trial.tier.name in missing
            and self.rounds.is_certain(trial)
            and not self.tapes.is_replayed(trial)
        }
        if needed:
            listed = "; ".join(f'tier "{name}" needs {missing[name]}' for name in sorted(needed))
            raise ConfigurationError(
                f"recording: {listed}, which is not set. Set it, leave the tier out of --tiers, "
                "or replay what there is with --tiers-record=none."
            )

    def _lead(self, item: pytest.Item, *, is_led: bool) -> Lead | None:
        """Who lets other trials ask when the item's does, if any; who is led leads nobody."""
        trial = item.stash[TRIAL]
        if not self._fans_out:
            return None
        if trial.settings.concurrent and isinstance(item, pytest.Function):
            return None if is_led else self._running_ahead.lead(item)
        case = (trial.function, trial.case_in_function)
        key = (*case, trial.sample) if self.rounds.has(trial) else case
        return self._fan_out.lead(key, trial.prompt, lambda: self._followers(trial))

    def _to_follow(self, first: PlannedTrial) -> Iterator[PlannedTrial]:
        """The trials of a test, its first one's case first, that will record when they come."""
        own = first.case_in_function
        cases = [case for function, case in self._to_come if function == first.function]
        for case in sorted(cases, key=own.__ne__):
            for trial in self._to_come[first.function, case]:
                mode = self._settings.record_for(trial.tier.name)
                is_there = mode == "none" or (mode == "once" and self.tapes.is_replayed(trial))
                if not is_there and self.rounds.may_follow(trial):
                    yield trial

    def _followers(self, first: PlannedTrial) -> list[Follower]:
        """The trials of a case that will ask what the first asks."""
        followers = []
        for trial in self._to_follow(first):
            if trial.case != first.case:
                break
            if not _asks_like(first, trial):
                continue
            ahead = self._aheads[trial.key] = Ahead()
            tape = self.tapes.of(trial, feeds=ahead)
            followers.append(Follower(trial.tier, trial.prompt, ahead, tape))
        return followers

    def _locked_site_tiers(self, trial: PlannedTrial) -> SiteTiers | None:
        """The tiers of a locked mix; None where the whole prompt runs on one tier."""
        entry = trial.locked
        if entry is None or not entry.sites:
            return None
        known = self._settings.known_tiers
        tiers = {site.key: known[site.tier] for site in entry.sites}
        cheaper = {site.tier: None for site in entry.sites if site.tier != entry.replaces}
        tiers_asked = ",".join([*cheaper, entry.replaces])
        return SiteTiers(
            tiers,
            remedy="tiers.lock names no tier for it: the code has changed since. Compare again "
            f"with --tiers={tiers_asked} --tiers-mix --tiers-update-lock.",
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, Any]:
        """Know whether any item runs: a model call made while none does belongs nowhere."""
        self._router.item_is_running = True
        try:
            return (yield)
        finally:
            self._router.item_is_running = False

    @pytest.hookimpl(specname="pytest_runtest_protocol", tryfirst=True)
    def pytest_run_trial(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a trial once, and own every call that is made meanwhile.

        Answering this hook ourselves keeps rerun plugins from running the trial again: its
        first completed attempt is its outcome.
        """
        if TRIAL not in item.stash:
            return None
        self._warn_of_reruns(item)
        trial = item.stash[TRIAL]
        self._to_come[trial.function, trial.case_in_function].remove(trial)
        held_for = self._holding.held_for(trial, nextitem)
        if self.rounds.leaves_out(item):
            self.mixing.ended(item, trial, None, (), is_left_out=True)
            if held_for is None:
                return None
            self._holding.leave_out(item, nextitem, held_for)
            return True
        self._placeholder.put()
        with self._rules.sites.watching():
            item.stash[CONTROLS] = self._controls.run(item, trial)
            item.stash[EARLIER] = self._earlier(item, trial)
        ahead, ran_ahead = self._aheads.pop(trial.key, None), self._running_ahead.take(trial)
        site_tiers = self._locked_site_tiers(trial)
        tape = self.tapes.of(trial, ahead=ran_ahead or ahead)
        lead = self._lead(item, is_led=ran_ahead is not None)
        active = ActiveTrial(trial.tier, trial.prompt, tape, self._rules, lead, site_tiers)
        item.stash[ACTIVE] = self._router.active = active
        hook, where = item.ihook, {"nodeid": item.nodeid, "location": item.location}
        held: pytest.TestReport | None = None
        try:
            hook.pytest_runtest_logstart(**where)
            with self._rules.sites.watching():
                if held_for is not None:
                    held = self._holding.run(item)
                else:
                    runtestprotocol(item, nextitem=nextitem)
        finally:
            self._router.active = None
            self._router.item_is_running = False
            self._placeholder.take_away()
            judged = item.stash.get(JUDGED, None)
            active.tape.finish(complete=judged is not None and judged.outcome != "error")
            asked = bool(active.calls) and not active.out_of_budget
            self._fan_out.ended(trial.prompt, active.said, ahead, asked)
            if asked and judged is not None:
                self._running_ahead.ended(trial, ran_ahead)
            self.rounds.ended(trial, judged)
            self.mixing.ended(item, trial, judged, active.tape.answers)
            self._controls.ended(item, trial, judged, active.tape.answers)
        if held is not None and held_for is not None:
            self._holding.end(item, nextitem, held, held_for)
        hook.pytest_runtest_logfinish(**where)
        return True

    def _run_mix_trial(self, item: pytest.Item, sibling: pytest.Item, asked: MixTrial) -> None:
        """Run a flagship trial's item with each call on the tier of its site, unseen."""
        planned = asked.planned
        tape = self.tapes.of_mix(planned, self.mixing.drawer(planned))
        active = ActiveTrial(
            planned.tier, planned.prompt, tape, self._rules, site_tiers=asked.site_tiers
        )
        instead = {TRIAL: planned, ACTIVE: active, JUDGED: None, CONTROLS: (), MIX: asked}
        with stashed(item, instead), self._rules.sites.watching():
            self._router.active = active
            try:
                self._hidden.run(item, sibling)
            finally:
                self._router.active = None
                asked.trial = judged = item.stash.get(JUDGED, None)
                tape.finish(complete=judged is not None and judged.outcome != "error")
                asked.answers = tuple(tape.own_answers)

    def _warn_of_reruns(self, item: pytest.Item) -> None:
        """Say once that trials are not run again, where somebody asked for that."""
        options = (self._config.getoption(name, None) for name in ("reruns", "force_reruns"))
        if self._warned_of_reruns or not (any(options) or item.get_closest_marker("flaky")):
            return
        self._warned_of_reruns = True
        self._notes.append("Trials are not run again: the first attempt is the outcome.")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Know when a fixture that several trials share is being set up."""
        if fixturedef.scope == "function":
            return (yield)
        outer, self._router.shared_fixture = self._router.shared_fixture, fixturedef.argname
        try:
            return (yield)
        finally:
            self._router.shared_fixture = outer

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judge the trial when its test has ended, and let the report show it."""
        report = yield
        if (control := item.stash.get(CONTROL, None)) is not None:
            self._controls.note(control, report)
            return report
        active = item.stash.get(ACTIVE, None)
        if active is None:
            return report
        if report.skipped and not hasattr(report, "wasxfail"):
            planned = item.stash[TRIAL]
            report.pytest_tiers_skipped = [planned.prompt, planned.case]  # type: ignore[attr-defined]
        judged = item.stash.get(JUDGED, None)
        if judged is None and has_ended(report):
            judged = self._with_hidden_runs(item, self._judging.judge(item, active, report, call))
            item.stash[JUDGED] = judged
            self._judging.show(report, judged, call, item.stash[TRIAL], active)
        elif judged is not None and len(active.calls) > len(judged.calls):
            # Those of its teardown were paid for too.
            judged = structs.replace(judged, calls=tuple(active.calls))
        if MIX in item.stash:
            conceal(report)
        elif judged is not None:
            report.pytest_tiers = judged.to_builtins()  # type: ignore[attr-defined]
            junit.describe(self._config, report, judged)
        return report

    def _with_hidden_runs(self, item: pytest.Item, trial: Trial) -> Trial:
        """The trial with what its test made of other answers, and of earlier ones."""
        controls = self._controls.outcomes(trial, item.stash.get(CONTROLS, ()))
        earlier = item.stash.get(EARLIER, None)
        return structs.replace(trial, controls=controls, earlier=earlier)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(
        self, report: Any
    ) -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
        """A model's answer must not keep a worker from sending its report."""
        data = yield
        is_ours = hasattr(report, "pytest_tiers") or hasattr(report, "pytest_tiers_mix")
        return sendable(data) if is_ours else data


def _share(config: pytest.Config, max_in_flight: int) -> int:
    """How many calls this process may have under way: all workers together keep the limit."""
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    return max(1, max_in_flight // workers)


def _asks_like(first: PlannedTrial, other: PlannedTrial) -> bool:
    """Whether what one trial sends, rewritten for the other's tier, is what the other sends.

    A test with the `tier` fixture has a client of its own for each tier; where a tier has no
    endpoint of its own, the other's cannot tell which it is.
    """
    if not other.uses_tier_fixture or other.tier.base_url is not None:
        return True
    return first.tier.base_url is None and not (first.tier.is_current or other.tier.is_current)
