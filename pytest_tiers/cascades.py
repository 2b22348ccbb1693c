"""What it would come to if a cheap tier answered first, and the flagship where a check fails.

Worked out from trials that were recorded anyway: no call is made for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pytest_tiers import call_totals
from pytest_tiers.findings import Cascade, PassRate
from pytest_tiers.pass_rates import pass_rate, share
from pytest_tiers.records import Trial

#: Verdicts after which there is nothing to put first, to check it, or to fall back on.
NO_CASCADE = ("unsupported", "no-data", "blind", "flagship-fails")


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of the cascade: the candidate's trial, and the flagship's of the same sample.

    ``flagship`` None: it was not called, and the cascade would not have called it.
    """

    candidate: Trial
    flagship: Trial | None
    kept: bool

    @property
    def end(self) -> Trial:
        """The trial that gives the run its answer."""
        return self.candidate if self.kept or self.flagship is None else self.flagship

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials whose calls the run makes."""
        return (self.candidate,) if self.end is self.candidate else (self.candidate, self.end)


def cascade(trials: Iterable[Trial], *, tier: str, flagship: str, alpha: float) -> Cascade | None:
    """A prompt's cascade from ``tier`` to the flagship; None where no run of it is known.

    ``alpha`` is 1 − confidence. Where a test says what the application's own check would
    (``tier.check``), that decides which answers are kept, and a trial that ended before it could
    say so is not; else the test itself decides.
    """
    trials = list(trials)
    candidates = [trial for trial in trials if trial.tier == tier and trial.counts]
    yardstick = {
        (trial.case, trial.sample): trial
        for trial in trials
        if trial.tier == flagship and trial.counts
    }
    has_check = any(trial.check is not None for trial in candidates)
    runs = [
        run
        for run in (
            _Run(
                trial,
                yardstick.get((trial.case, trial.sample)),
                bool(trial.check) if has_check else trial.is_success,
            )
            for trial in candidates
        )
        if run.kept or run.flagship is not None
    ]
    ends = [run.end for run in runs]
    rate = pass_rate(ends, alpha)
    goes_on = share(((run.candidate.case, not run.kept) for run in runs), alpha)
    if rate is None or goes_on is None:
        return None
    pairs = [(run, run.flagship) for run in runs if run.flagship is not None]
    flagship_trials = [each for _, each in pairs]
    cost = _mean(_costs(run.trials for run in runs))
    cost_first = _mean(_costs((run.candidate,) for run in runs))
    cost_flagship = _mean(_costs((each,) for each in flagship_trials))
    escalated = [run for run in runs if not run.kept]
    return Cascade(
        tier=tier,
        check="application" if has_check else "test",
        runs=len(runs),
        escalated=len(escalated),
        escalated_share=goes_on,
        left_out=len(candidates) - len(runs),
        passed=sum(trial.is_success for trial in ends),
        pass_rate=rate,
        usd_per_1000=None if cost is None else 1000 * cost,
        saving=_saving(cost, cost_flagship),
        stops_paying_at=_saving(cost_first, cost_flagship),
        added_seconds=_added_seconds(pairs) if len(pairs) == len(runs) else None,
        added_seconds_if_escalated=_mean_seconds([(run.candidate,) for run in escalated]),
    )


def pays(
    found: Mapping[str, Cascade], margin: float, proven: float | None, flagship_rate: float | None
) -> str | None:
    """The tier of the cascade that saves the most, if one saves more than what is ``proven``.

    It must save anything at all also where as many runs go on as the bound allows.
    ``proven`` is the saving of the tier that is safe on its own, ``flagship_rate`` how often the
    flagship passes: a cascade that passes less often by more than the margin saves nothing. Where
    the test itself is the check, it cannot.
    """
    worth = [
        (one.saving, tier)
        for tier, one in found.items()
        if one.saving is not None
        and one.saving > (proven or 0.0)
        and one.stops_paying_at is not None
        and one.escalated_share.high < one.stops_paying_at
        and (one.check == "test" or _is_as_good(one.pass_rate, flagship_rate, margin))
    ]
    return max(worth)[1] if worth else None


def _is_as_good(rate: PassRate, flagship: float | None, margin: float) -> bool:
    return flagship is not None and rate.estimate >= flagship - margin


def _costs(runs: Iterable[Sequence[Trial]]) -> list[Decimal | None]:
    found: list[Decimal | None] = []
    for trials in runs:
        costs = [call_totals.run_cost(trial) for trial in trials]
        known = [cost for cost in costs if cost is not None]
        found.append(sum(known, Decimal(0)) if len(known) == len(costs) else None)
    return found


def _mean(costs: Sequence[Decimal | None]) -> Decimal | None:
    """The mean, None where one is unknown: runs without a price may be the dear ones."""
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) / len(known) if known and len(known) == len(costs) else None


def _saving(cost: Decimal | None, flagship: Decimal | None) -> float | None:
    return None if cost is None or not flagship else float(1 - cost / flagship)


def _seconds(trial: Trial) -> float:
    """The seconds of a trial's calls, one after the other; NaN where one is unknown."""
    return math.fsum(
        math.nan if call.seconds is None else call.seconds for call in trial.tier_calls
    )


def _mean_seconds(runs: Sequence[Sequence[Trial]]) -> float | None:
    if not runs:
        return None
    mean = math.fsum(_seconds(trial) for trials in runs for trial in trials) / len(runs)
    return None if math.isnan(mean) else mean


def _added_seconds(pairs: Sequence[tuple[_Run, Trial]]) -> float | None:
    cascaded = _mean_seconds([run.trials for run, _ in pairs])
    alone = _mean_seconds([(flagship,) for _, flagship in pairs])
    return None if cascaded is None or alone is None else cascaded - alone
