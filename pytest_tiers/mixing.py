"""``--tiers-mix`` in a pytest session: mixes are run unseen when a prompt's trials have run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain
from typing import Protocol

import pytest
from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.cassettes.format import RecordedCall
from pytest_tiers.cassettes.pool import Drawer, Pool
from pytest_tiers.collection import TRIAL, PlannedTrial
from pytest_tiers.hidden import HiddenRuns
from pytest_tiers.mix_planner import Shown, Stand, Task, stand
from pytest_tiers.mix_runs import LadderTrials, MixRun, Slot
from pytest_tiers.mixes import End, Mix, MixSearch, TriedMix
from pytest_tiers.override.site_tiers import SiteTiers
from pytest_tiers.records import Trial
from pytest_tiers.ruled_out import ruled_out
from pytest_tiers.searching import Searches, Searching
from pytest_tiers.settings import Settings
from pytest_tiers.settling import settle


class MixTrial(Struct):
    """A trial of a mix: what it runs as, and what came of it.

    ``answers`` are those that had been given to no trial before.
    """

    planned: PlannedTrial
    site_tiers: SiteTiers
    trial: Trial | None = None
    answers: tuple[RecordedCall, ...] = ()


class RunMixTrial(Protocol):
    """Runs a trial of a mix in a flagship trial's item, as if ``sibling`` were to follow."""

    def __call__(self, item: pytest.Item, sibling: pytest.Item, asked: MixTrial) -> None:
        """Run it, and note in ``asked`` what came of it."""
        raise NotImplementedError


class _Known:
    """What is known of one prompt while its trials run."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.trials: list[Trial] = []
        self.items: dict[Slot, pytest.Item] = {}
        self.left_out: set[tuple[str, str, int]] = set()
        self.slots: set[tuple[str, str, int]] = set()
        self.controls: list[bool] = []


class Mixing:
    """Searches for the mix of each prompt, in the process that has run all of its trials."""

    def __init__(
        self,
        settings: Settings,
        hidden: HiddenRuns,
        pool: Pool,
        run: RunMixTrial,
        searches: Searches,
    ) -> None:
        self._settings, self._hidden, self._pool, self._run = settings, hidden, pool, run
        self._searches = searches
        # A plan replays what is recorded of a search, unless all of it is to be recorded anew.
        self._is_on = settings.mix and settings.plan != "all"
        self._prompts: dict[str, _Known] = {}
        self._incomplete: Collection[str] = ()

    def begin(self, items: Iterable[pytest.Item], incomplete: Collection[str]) -> None:
        """Learn which trials the session has, when all plugins have chosen among them.

        Of ``incomplete`` prompts trials were left out that a search would need.
        """
        self._incomplete = incomplete
        trials = (item.stash.get(TRIAL, None) for item in items)
        counts = Counter(trial.prompt for trial in trials if trial is not None)
        self._prompts = {name: _Known(number) for name, number in counts.items()}

    def is_last(self, planned: PlannedTrial) -> bool:
        """Whether a trial, which has not ended, is the prompt's last one in this process."""
        return (
            self._is_on
            and planned.prompt not in self._incomplete
            and self._prompts[planned.prompt].left == 1
        )

    def drawer(self, planned: PlannedTrial) -> Drawer:
        """The answers that a trial of a mix may take."""
        return self._pool.drawer(_slot_in_test(planned))

    def ended(
        self,
        item: pytest.Item,
        planned: PlannedTrial,
        trial: Trial | None,
        answers: Iterable[RecordedCall],
        *,
        is_left_out: bool = False,
    ) -> None:
        """A trial of the ladder has ended; ``answers`` are those that it was given."""
        if not self._is_on:
            return
        known = self._prompts[planned.prompt]
        known.left -= 1
        known.slots.add(_slot_in_test(planned))
        self._pool.add(_slot_in_test(planned), answers)
        if trial is not None:
            known.trials.append(trial)
        if is_left_out:
            known.left_out.add((planned.tier.name, planned.case, planned.sample))
        if planned.tier.name == self._settings.ladder.flagship:
            known.items[planned.case, planned.sample] = item

    def tried(self, prompt: str, controls: Iterable[bool]) -> None:
        """Control trials that a prompt has had after its trials: whether each passed."""
        if self._is_on:
            self._prompts[prompt].controls += controls

    def search(self, planned: PlannedTrial) -> MixSearch:
        """Search for the mix of the prompt of a trial, its last one."""
        known = self._prompts[planned.prompt]
        search = _Search(
            self._settings, planned, known, self._hidden, self._pool, self._run, self._searches
        )
        try:
            return search.run()
        finally:
            self._searches.tell(None)
            for slot in known.slots:
                self._pool.forget(slot)
            known.trials.clear()

    @property
    def notes(self) -> list[str]:
        """What the user should know: prompts of which this process has run only a part."""
        parts = [name for name, known in self._prompts.items() if known.slots and known.left]
        return [
            f"{name}: no mix was searched, because its trials did not all run in one process. "
            "With pytest-xdist use --dist=load."
            for name in sorted(parts)
        ]


def _slot_in_test(planned: PlannedTrial) -> tuple[str, str, int]:
    return planned.function, planned.case_in_function, planned.sample


class _Search:
    """The search for the mix of one prompt."""

    def __init__(
        self,
        settings: Settings,
        planned: PlannedTrial,
        known: _Known,
        hidden: HiddenRuns,
        pool: Pool,
        run: RunMixTrial,
        searches: Searches,
    ) -> None:
        self._settings, self._planned, self._known = settings, planned, known
        self._hidden, self._pool, self._run = hidden, pool, run
        self._searches = searches
        controls = [*known.controls, *chain.from_iterable(one.controls for one in known.trials)]
        names = settings.ladder.names
        self._ladder = LadderTrials(
            settle(known.trials, settings.ladder.flagship),
            names[: names.index(settings.ladder.flagship) + 1],
            planned.settings.margin,
            settings.alpha,
            planned.cases,
            known.left_out,
            blind=2 * sum(controls) > len(controls),
            wrappers=settings.wrappers,
        )
        self._tried: dict[Mix, MixRun] = {}

    def run(self) -> MixSearch:
        """Run one mix after the other, until there is none to run."""
        obstacle = self._ladder.obstacle
        if obstacle is None and not all(map(self._hidden.may_run, self._known.items.values())):
            obstacle = "unfit"
        if obstacle is not None:
            return MixSearch(self._planned.prompt, self._ladder.sites, (), obstacle)
        task = self._ladder.task()
        out = ruled_out(self._planned.prompt, self._ladder.trials, self._settings)
        shown: dict[Mix, Shown] = {
            task.on(tier): _unless(tier in out, self._ladder.shown(tier))
            for tier in task.tiers[:-1]
            if any(trial.tier == tier for trial in self._ladder.trials)
        }
        end: tuple[End, str | None] | None = None
        now = stand(task, shown)
        while now.next is not None and end is None:
            mix = now.next
            self._tried[mix] = MixRun(self._ladder, mix)
            end = self._run_mix(self._tried[mix], task.most_runs)
            if end is None:
                trials = self._tried[mix].trials
                out = ruled_out(self._planned.prompt, trials, self._settings, mix)
                shown[mix] = _unless(mix.name in out, self._tried[mix].shown)
                now = stand(task, shown)
        return self._found(task, now.put_forward, end or (_end(task, now), None))

    def _run_mix(self, run: MixRun, most: int) -> tuple[End, str | None] | None:
        """Run a mix, of at most so many; why the search ends with it, if it does."""
        ladder = self._settings.ladder
        tiers = {key: ladder[tier] for key, tier in run.mix.steps}
        site_tiers = SiteTiers(tiers, ladder[ladder.flagship])
        for slot in self._ladder.flagships:
            calls = sum(tried.calls for tried in self._tried.values())
            self._searches.tell(Searching(self._planned.prompt, len(self._tried), most, calls))
            item = self._known.items[slot]
            sibling = self._hidden.sibling(item)
            if sibling is None:
                return "unfit", None
            planned = item.stash[TRIAL]
            tier = replace(planned.tier, name=run.mix.name)
            asked = MixTrial(replace(planned, tier=tier), site_tiers)
            self._run(item, sibling, asked)
            self._pool.add(_slot_in_test(planned), asked.answers)
            new = sum(answer.request.asks_model for answer in asked.answers)
            run.put(slot, asked.trial, new)
            trial = asked.trial
            if trial is not None and trial.budget:
                return "limit", trial.reason
            if trial is not None and trial.outcome == "error" and self._cannot_go_on(trial):
                return "error", trial.reason
            if run.stopped is not None:
                break
        return None

    def _cannot_go_on(self, trial: Trial) -> bool:
        """Whether a trial's error is that of all to come: a replay lacks an answer."""
        return self._settings.record == "none" or trial.stale

    def _found(
        self, task: Task, put_forward: tuple[Mix, ...], end: tuple[End, str | None]
    ) -> MixSearch:
        return MixSearch(
            self._planned.prompt,
            self._ladder.sites,
            tuple(
                TriedMix(mix, mix in put_forward, run.stopped, run.calls, tuple(run.trials))
                for mix, run in self._tried.items()
            ),
            end[0],
            task.exhaustive,
            task.exhaustive * self._ladder.calls_of_all,
            end[1],
        )


def _unless(is_ruled_out: bool, shown: Shown) -> Shown:
    return shown.refused if is_ruled_out else shown


def _end(task: Task, now: Stand) -> End:
    """How a search ended that nothing kept from its end."""
    if now.held is None:
        return "most" if now.has_tried_most else "none"
    return "whole" if now.held in [task.on(tier) for tier in task.tiers] else "confirmed"
