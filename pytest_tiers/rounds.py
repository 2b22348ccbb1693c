"""Adaptive sampling in a pytest session: which of its trials are left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence

import pytest
from msgspec import to_builtins

from pytest_tiers.call_sites import labels_of
from pytest_tiers.collection import TRIAL, PlannedTrial
from pytest_tiers.records import NotRun, Trial
from pytest_tiers.sampling import PromptRounds, Slot, Why
from pytest_tiers.settings import Settings
from pytest_tiers.standings import Goal

#: Set for an item that is left out.
NOT_RUN = pytest.StashKey[NotRun]()

#: What pytest says of a trial that is left out.
_REASONS: dict[Why, str] = {
    "decided": "{tier} is decided",
    "worse": "{tier} is proven worse",
    "unsupported": "{tier} cannot run this prompt as it is",
    "flagship-fails": "{flagship} itself fails too often",
    "out-of-reach": "{tier} cannot be decided within {samples} samples",
    "behind": "{tier} is too far behind to become safe",
    "limit": "the limit of cost or calls is reached",
    "not-needed": "no candidate needs {flagship} any more",
    "spared": "no candidate's result asks for {flagship}, so it is not called",
    "unseen": "no recording, so {flagship} is not called",
    "scattered": "another process ran the trials before it",
}


class Rounds:
    """A plugin object: leaves trials out that no verdict needs any more."""

    def __init__(
        self,
        trials: Sequence[PlannedTrial],
        settings: Settings,
        is_recorded: Callable[[PlannedTrial], bool],
        recorded_before: Callable[[PlannedTrial], str],
    ) -> None:
        """``trials`` in the order in which they run."""
        self._flagship = settings.ladder.flagship
        self._is_recorded, self._records = is_recorded, settings.record != "none"
        self._prompts = _in_rounds(trials, settings, recorded_before) if settings.comparison else {}

    def has(self, trial: PlannedTrial) -> bool:
        """Whether the trial's prompt is sampled in rounds."""
        return trial.prompt in self._prompts

    def leaves_out(self, item: pytest.Item) -> bool:
        """Decide whether a trial, whose turn it is, is left out."""
        trial = item.stash[TRIAL]
        prompt = self._prompts.get(trial.prompt)
        why = prompt.begins(_slot(trial)) if prompt is not None else None
        if prompt is None or why is None:
            return False
        # What is paid for counts, whoever runs it.
        if why in ("scattered", "unseen") and self._is_recorded(trial):
            return False
        if why == "unseen" and self._records:
            return False
        prompt.left_out(_slot(trial), why)
        item.stash[NOT_RUN] = NotRun(
            prompt=trial.prompt,
            case=trial.case,
            tier=trial.tier.name,
            sample=trial.sample,
            nodeid=item.nodeid,
            why=why,
            samples=trial.settings.samples,
        )
        return True

    def ended(self, planned: PlannedTrial, trial: Trial | None) -> None:
        """A trial has ended; None where its test was skipped."""
        prompt = self._prompts.get(planned.prompt)
        if prompt is not None:
            prompt.ended(_slot(planned), trial)

    def is_certain(self, trial: PlannedTrial) -> bool:
        """Whether it is known before any answer that a trial will run."""
        prompt = self._prompts.get(trial.prompt)
        return prompt is None or prompt.is_certain(_slot(trial))

    def may_follow(self, trial: PlannedTrial) -> bool:
        """Whether a trial may be asked before its turn."""
        prompt = self._prompts.get(trial.prompt)
        return prompt is None or prompt.may_follow(_slot(trial))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip what is left out, before any fixture is set up."""
        if NOT_RUN in item.stash:
            left_out = item.stash[NOT_RUN]
            reason = _REASONS[left_out.why].format(  # type: ignore[index]  # a Why, as text
                tier=left_out.tier, flagship=self._flagship, samples=left_out.samples
            )
            raise pytest.skip.Exception(reason, _use_item_location=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell the controller what was left out."""
        report = yield
        if NOT_RUN in item.stash and report.when == "setup":
            report.pytest_tiers_not_run = to_builtins(item.stash[NOT_RUN])  # type: ignore[attr-defined]
        return report


def _slot(trial: PlannedTrial) -> Slot:
    return trial.tier.name, trial.case, trial.sample


def _in_rounds(
    trials: Sequence[PlannedTrial],
    settings: Settings,
    recorded_before: Callable[[PlannedTrial], str],
) -> dict[str, PromptRounds]:
    """The prompts that are sampled in rounds."""
    of_prompt: dict[str, list[PlannedTrial]] = defaultdict(list)
    for trial in trials:
        of_prompt[trial.prompt].append(trial)
    shared = Counter(tier for each in of_prompt.values() for tier in {t.tier.name for t in each})
    return {
        prompt: _rounds(each, settings, shared, recorded_before)
        for prompt, each in of_prompt.items()
        if each[0].settings.is_adaptive or settings.spares_flagship
    }


def _rounds(
    trials: Sequence[PlannedTrial],
    settings: Settings,
    shared: Counter[str],
    recorded_before: Callable[[PlannedTrial], str],
) -> PromptRounds:
    """``shared`` counts the prompts of the run that a tier is tried on."""
    first, flagship = trials[0], settings.ladder.flagship
    rounds = len({trial.sample for trial in trials})
    goals: dict[str, Goal] = {}
    for name in dict.fromkeys(trial.tier.name for trial in trials):
        if name == flagship:
            continue
        reachable = first.reachable.get(name, 0)
        goal = Goal(first.cases, rounds, first.settings.margin, settings.alpha, among=0)
        if not reachable:
            goals[name] = goal.sharing(shared[name])
        else:
            goals[name] = goal.sharing(reachable if goal.has_enough_cases else 0)
    by_slot = {_slot(trial): trial for trial in trials}
    return PromptRounds(
        list(by_slot),
        flagship,
        goals,
        is_adaptive=first.settings.is_adaptive,
        spares_flagship=settings.spares_flagship,
        recorded_before=lambda slot: recorded_before(by_slot[slot]),
        has_steps=lambda flagships: (
            settings.mix and len(labels_of(flagships, settings.wrappers)) > 1
        ),
    )
