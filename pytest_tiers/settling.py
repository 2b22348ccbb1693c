"""Trials judged anew, now that those of the other tiers are known."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.agreements import Degree, plainly
from pytest_tiers.records import Agreement, Trial

#: Why a trial without a model call does not count.
NO_CALL = (
    "no model call, though another trial of this case made one: "
    "its answer came from a cache, a mock or a wider fixture"
)

#: Why a trial that passed became `missed`.
OUTPUT_DIFFERS = "output differs from the flagship's"
NO_OUTPUT = "gave no output to tier.compare(), where the flagship's trial did"

#: Why an output could not be compared.
_APART = (
    "its output could not be compared with the flagship's: the two trials ran in different "
    "processes; keep a case's trials together with pytest-xdist's own --dist modes"
)


def settle(trials: Iterable[Trial], flagship: str) -> list[Trial]:
    """Judge trials anew, now that all are known; their order stays.

    A passed or missed trial without a model call becomes ``no-call`` where another trial of its
    case made one. A passed trial whose output disagrees with that of the flagship's trial of the
    same case and sample becomes ``missed``; one whose comparison failed becomes an error. The
    flagship's output is compared with that of its own sample before (the first with the
    second): a disagreement there leaves its outcome, but is worth as little as a candidate's.
    Settling again changes nothing.
    """
    trials = list(trials)
    called = {(trial.prompt, trial.case) for trial in trials if trial.tier_calls}
    checked = [_settle_call(trial, called) for trial in trials]
    outputs = _Outputs(checked, flagship)
    return [outputs.settle(trial) for trial in checked]


def own_pair(sample: int) -> tuple[int, int]:
    """The two samples of the flagship whose agreement counts for one of them.

    Each with the one before, so that more samples change no earlier pair.
    """
    return (sample, sample - 1) if sample > 1 else (2, 1)


class _Key(Struct, frozen=True):
    prompt: str
    case: str
    tier: str
    sample: int


class _Outputs:
    """The outputs of a run that can be compared, and what workers have settled of them."""

    def __init__(self, trials: list[Trial], flagship: str) -> None:
        self._flagship = flagship
        self._trials = {
            _Key(trial.prompt, trial.case, trial.tier, trial.sample): trial
            for trial in trials
            if _has_comparable_output(trial)
        }
        self._settled = {
            _Key(trial.prompt, trial.case, each.tier, each.sample): each
            for trial in trials
            for each in trial.settled
        }

    def settle(self, trial: Trial) -> Trial:
        """The trial with its agreement with the flagship."""
        if trial.outcome not in ("passed", "missed"):
            return trial
        is_flagship = trial.tier == self._flagship
        ours, theirs = own_pair(trial.sample) if is_flagship else (trial.sample, trial.sample)
        one = self._trials.get(_Key(trial.prompt, trial.case, trial.tier, ours))
        other = self._trials.get(_Key(trial.prompt, trial.case, self._flagship, theirs))
        if other is None or (is_flagship and one is None):
            return trial
        if one is None:
            if trial.outcome == "passed":
                trial = trial.with_outcome("missed", NO_OUTPUT)
            return replace(trial, output_match=False, agreement=0.0)
        return _with_agreement(trial, self._agreement(one, other), is_flagship=is_flagship)

    def _agreement(self, one: Trial, other: Trial) -> Agreement | Degree:
        settled = self._settled.get(_Key(one.prompt, one.case, one.tier, one.sample))
        if settled is not None:
            return settled
        if one.compare_options is None:
            return Degree(None, error=_APART)
        return plainly(one.compared_by, other.output, one.output, one.compare_options)


def _with_agreement(trial: Trial, found: Agreement | Degree, *, is_flagship: bool) -> Trial:
    if found.value is None:
        stopped = trial.budget or getattr(found, "budget", False)
        return replace(trial, budget=stopped).with_outcome("error", found.error)
    match = {0.0: False, 1.0: True}.get(found.value)
    settled = replace(
        trial, output_match=match, agreement=found.value, output_difference=found.difference
    )
    if match is False and trial.outcome == "passed" and not is_flagship:
        return settled.with_outcome("missed", OUTPUT_DIFFERS)
    return settled


def _settle_call(trial: Trial, called: set[tuple[str, str]]) -> Trial:
    if trial.outcome not in ("passed", "missed") or trial.tier_calls:
        return trial
    if (trial.prompt, trial.case) not in called:
        return trial
    return trial.with_outcome("no-call", NO_CALL)


def _has_comparable_output(trial: Trial) -> bool:
    """Whether the trial's output is a model's answer, not what an application made of an error."""
    return trial.has_output and trial.outcome in ("passed", "missed")
