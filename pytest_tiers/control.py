"""Control trials: can a prompt's tests fail at all? Their answers are another case's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pytest
from msgspec import Struct

from pytest_tiers.agreements import plainly
from pytest_tiers.cassettes.format import Cassette, RecordedCall
from pytest_tiers.cassettes.substitutes import (
    Answers,
    answers_by_case,
    most_different,
    nothing_and_refusal,
    whole_answers,
)
from pytest_tiers.collection import TRIAL, PlannedTrial
from pytest_tiers.control_cases import chosen
from pytest_tiers.handles import ACTIVE
from pytest_tiers.hidden import HiddenRuns, conceal, stashed
from pytest_tiers.outcomes import TestEnd, judge
from pytest_tiers.override.active import ActiveTrial
from pytest_tiers.override.router import TrialRouter
from pytest_tiers.records import Outcome, Trial
from pytest_tiers.settings import Settings


class ControlTrial(Struct):
    """One control trial while it runs, and how its test ended: None where it was skipped."""

    active: ActiveTrial
    end: TestEnd | None = None

    @property
    def outcome(self) -> Outcome | None:
        """What it came to; None where its test was skipped."""
        return None if self.end is None else judge(self.end, None, self.active.wire)[0]


class _Ended(Struct, frozen=True):
    """A trial that has run, in its item, and what it was answered."""

    item: pytest.Item
    planned: PlannedTrial
    trial: Trial
    answers: Answers


#: The control trial that an item is running.
CONTROL = pytest.StashKey[ControlTrial]()


class Controls:
    """Runs flagship trials once more, with answers of other cases, before they run themselves.

    Where the flagship is called lazily it may have no answer: then those of the dearest candidate.
    Before, because the last trial of a module or class tears down what its tests share. Answers
    that are recorded in this run are known when a test's trials have run: then its control trials
    come after the last of them, while it is held.
    """

    def __init__(
        self,
        hidden: HiddenRuns,
        settings: Settings,
        trials: Sequence[PlannedTrial],
        router: TrialRouter,
        cassette: Callable[[PlannedTrial], Cassette | None],
        active: Callable[[PlannedTrial, Answers], ActiveTrial],
    ) -> None:
        """``cassette`` is a trial's, ``active`` makes it a trial that gets other answers."""
        self._hidden, self._settings, self._router = hidden, settings, router
        self._cassette, self._active = cassette, active
        self._known: dict[str, Mapping[str, Answers]] = {}
        self._cases: dict[str, list[str]] = {}
        #: Tests that have had a control trial, and of the others the trials that have run.
        self._tried: set[str] = set()
        self._ended: defaultdict[str, dict[str, _Ended]] = defaultdict(dict)
        self._to_choose: defaultdict[str, list[PlannedTrial]] = defaultdict(list)
        self._tiers = _tiers_to_try(trials, settings)
        for trial in trials:
            if trial.sample == 1 and trial.tier.name == self._tiers[trial.function]:
                self._to_choose[trial.function].append(trial)

    def run(self, item: pytest.Item, trial: PlannedTrial) -> list[ControlTrial]:
        """The control trials of an item, which has not run yet."""
        if self._settings.record == "all" or not self._may_run(trial):
            return []
        return self._run(item, trial, self._answers(trial))

    def _run(
        self, item: pytest.Item, trial: PlannedTrial, substitutes: Iterable[Answers]
    ) -> list[ControlTrial]:
        tried = (self.run_once(item, self._active(trial, each)) for each in substitutes)
        found = [control for control in tried if control is not None]
        if found:
            self._tried.add(trial.function)
        return found

    def are_due_after(self, trial: PlannedTrial, nextitem: pytest.Item | None) -> bool:
        """Whether a test's control trials come after this one, the test's last in this process."""
        follows = nextitem.stash.get(TRIAL, None) if nextitem is not None else None
        return (
            self._are_late(trial)
            and trial.function not in self._tried
            and (follows is None or follows.function != trial.function)
        )

    def ended(
        self,
        item: pytest.Item,
        planned: PlannedTrial,
        trial: Trial | None,
        calls: Iterable[RecordedCall],
    ) -> None:
        """A trial has run, and was answered with ``calls``."""
        if trial is None or not trial.counts or not self._are_late(planned):
            return
        if self._may_run(planned) and (answers := whole_answers(calls)) is not None:
            case = planned.case_in_function
            self._ended[planned.function][case] = _Ended(item, planned, trial, answers)

    def run_late(self, function: str) -> dict[str, tuple[bool, ...]]:
        """The control trials of a test whose answers were recorded in this run, by node id."""
        ended = self._ended[function]
        if all(each.trial.replayed for each in ended.values()):
            return {}
        known = {case: each.answers for case, each in ended.items()}
        found = {}
        for case in chosen(known, self._settings.control):
            one = ended[case]
            controls = self._run(one.item, one.planned, self._substitutes(known, case))
            found[one.trial.nodeid] = self.outcomes(one.trial, controls)
        if found:
            del self._ended[function]
        return found

    def _are_late(self, trial: PlannedTrial) -> bool:
        """Whether a test's control trials may have to wait for the answers of this run."""
        records = self._settings.record != "none" and self._settings.plan is None
        return records and self._is_asked_for(trial)

    def run_once(self, item: pytest.Item, active: ActiveTrial) -> ControlTrial | None:
        """Run an item that has not run yet, for ``active``; None where that would be noticed."""
        sibling = self._hidden.sibling(item)
        if sibling is None or not self._hidden.may_run(item):
            return None
        return self._run_once(item, sibling, ControlTrial(active))

    def _is_asked_for(self, trial: PlannedTrial) -> bool:
        settings = self._settings
        return bool(
            settings.comparison
            and settings.ladder.candidates  # else nothing will be called safe
            and settings.control != "off"
            and trial.settings.control
        )

    def _may_run(self, trial: PlannedTrial) -> bool:
        return (
            self._is_asked_for(trial)
            and trial.sample == 1
            and trial.tier.name == self._tiers[trial.function]
        )

    def _answers(self, trial: PlannedTrial) -> Iterator[Answers]:
        """What the trial is answered with; nothing where it is not tried."""
        known = self._recorded(trial)
        case = trial.case_in_function
        if case in self._chosen(trial.function, known):
            yield from self._substitutes(known, case)

    def _substitutes(self, known: Mapping[str, Answers], case: str) -> Iterator[Answers]:
        if (other := most_different(known, case)) is not None:
            yield other
        elif self._settings.control == "on" or (len(known) > 1 and _are_alike(known)):
            yield from nothing_and_refusal(known[case])

    def _recorded(self, trial: PlannedTrial) -> Mapping[str, Answers]:
        if trial.function not in self._known:
            cassette = self._cassette(trial)
            self._known[trial.function] = (
                {} if cassette is None else answers_by_case(cassette, trial.sample)
            )
        return self._known[trial.function]

    def _chosen(self, function: str, known: Mapping[str, Answers]) -> list[str]:
        """The cases of a test that are tried."""
        if function not in self._cases:
            cases = [trial.case_in_function for trial in self._to_choose[function]]
            recorded = (case for case in cases if case in known)
            self._cases[function] = chosen(recorded, self._settings.control)
        return self._cases[function]

    def _run_once(
        self, item: pytest.Item, sibling: pytest.Item, control: ControlTrial
    ) -> ControlTrial:
        with stashed(item, {ACTIVE: control.active, CONTROL: control}):
            self._router.active = control.active
            try:
                self._hidden.run(item, sibling)
            finally:
                self._router.active = None
        return control

    @staticmethod
    def note(control: ControlTrial, report: pytest.TestReport) -> None:
        """Learn how the test of a control trial ended, and keep its failure from everybody."""
        is_expected_failure = hasattr(report, "wasxfail")
        if not report.passed or is_expected_failure:
            if not report.skipped or is_expected_failure:
                control.end = "setup" if report.when == "setup" else "call"
            conceal(report)
        elif report.when == "call":
            control.end = "passed"

    @staticmethod
    def outcomes(trial: Trial, controls: Sequence[ControlTrial]) -> tuple[bool, ...]:
        """Whether each control trial came off as well as the trial itself, where that passed.

        Controls that say nothing are left out: those that were skipped, made no call of the
        tier, or asked what is recorded nowhere (a judge, say).
        """
        if not trial.worth_alone:
            return ()
        return tuple(
            worth >= trial.worth_alone
            for control in controls
            if (worth := _worth(trial, control)) is not None
        )


def _tiers_to_try(trials: Sequence[PlannedTrial], settings: Settings) -> dict[str, str]:
    """The tier, for each test, whose trials are run with other answers."""
    found = dict.fromkeys((trial.function for trial in trials), settings.ladder.flagship)
    if settings.spares_flagship:
        for candidate in settings.ladder.candidates:
            found |= {
                trial.function: candidate.name
                for trial in trials
                if trial.tier.name == candidate.name
            }
    return found


def _worth(trial: Trial, control: ControlTrial) -> float | None:
    """What a control trial is worth beside the trial itself; None where it says nothing."""
    active = control.active
    if control.end is None or not any(call.left_alone is None for call in active.calls):
        return None
    outcome = control.outcome
    if outcome == "error":
        return None
    if outcome != "passed":
        return 0.0
    score = 1.0 if active.score is None else active.score
    if not (trial.has_output and active.has_output):
        return score
    if not active.how.travels:
        return None  # a model or the project's own code would have to compare the outputs
    degree = plainly(active.how.by, trial.output, active.output, active.how.options)
    return None if degree.value is None else score * degree.value


def _are_alike(known: Mapping[str, Answers]) -> bool:
    """Whether no other case's answer could tell a test that sees from one that does not."""
    return len({answers.text for answers in known.values()}) == 1
