"""What it would come to if a cheap tier answered first, and the flagship where a check fails.

Worked out from trials that were recorded anyway: no call is made for it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from pytest_tiers.findings import Cascade, PassRate
from pytest_tiers.pass_rates import pass_rate, share
from pytest_tiers.records import Trial
from pytest_tiers.run_costs import run_cost

#: Verdicts after which there is nothing to put first, to check it, or to fall back on.
NO_CASCADE = ("unsupported", "no-data", "blind", "flagship-fails")


class _Side(NamedTuple):
    """One trial of a pair with what it took: USD (None: unknown) and seconds (NaN: unknown)."""

    trial: Trial
    usd: Decimal | None
    seconds: float


class _Run(NamedTuple):
    """One run of the cascade: the candidate's side, and the flagship's of the same sample.

    ``flagship`` None: it was not called, and the cascade would not have called it.
    """

    first: _Side
    flagship: _Side | None
    kept: bool

    @property
    def end(self) -> Trial:
        """The trial that gives the run its answer."""
        return self.first.trial if self.kept or self.flagship is None else self.flagship.trial


def cascades(
    trials: Iterable[Trial], tiers: Collection[str], *, flagship: str, alpha: float
) -> dict[str, Cascade]:
    """A prompt's cascades from each of ``tiers`` to the flagship, as far as a run of it is known.

    ``alpha`` is 1 − confidence. Where a test says what the application's own check would
    (``tier.check``), that decides which answers are kept, and a trial that ended before it could
    say so is not; else the test itself decides.
    """
    sides: dict[str, dict[tuple[str, int], _Side]] = {name: {} for name in (*tiers, flagship)}
    for trial in trials:
        if trial.tier in sides and trial.counts:
            sides[trial.tier][trial.case, trial.sample] = _side(trial)
    found = {name: _cascade(name, sides[name], sides[flagship], alpha) for name in tiers}
    return {name: one for name, one in found.items() if one is not None}


def _side(trial: Trial) -> _Side:
    seconds = 0.0
    for call in trial.tier_calls:
        seconds += math.nan if call.seconds is None else call.seconds
    return _Side(trial, run_cost(trial), seconds)


def _cascade(
    tier: str,
    candidates: Mapping[tuple[str, int], _Side],
    yardstick: Mapping[tuple[str, int], _Side],
    alpha: float,
) -> Cascade | None:
    has_check = any(side.trial.check is not None for side in candidates.values())
    runs = []
    for key, side in candidates.items():
        kept = bool(side.trial.check) if has_check else side.trial.is_success
        flagship = yardstick.get(key)
        if kept or flagship is not None:
            runs.append(_Run(side, flagship, kept))
    ends = [run.end for run in runs]
    rate = pass_rate(ends, alpha)
    goes_on = share(((run.first.trial.case, not run.kept) for run in runs), alpha)
    if rate is None or goes_on is None:
        return None
    first = [run.first for run in runs]
    alone = [run.flagship for run in runs if run.flagship is not None]
    second = [run.flagship for run in runs if run.flagship is not None and not run.kept]
    escalated = [run.first for run in runs if not run.kept]
    cost_first, cost_second, cost_alone = map(_usd, (first, second, alone))
    cost = None
    if cost_first is not None and cost_second is not None:
        cost = (cost_first + cost_second) / len(runs)
    mean_alone = None if cost_alone is None or not alone else cost_alone / len(alone)
    is_paired = len(alone) == len(runs)
    added = _seconds(first) + _seconds(second) - _seconds(alone)
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
        saving=_saving(cost, mean_alone),
        stops_paying_at=_saving(None if cost_first is None else cost_first / len(runs), mean_alone),
        added_seconds=_known(added / len(runs)) if is_paired else None,
        added_seconds_if_escalated=_known(_seconds(escalated) / len(escalated))
        if escalated
        else None,
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


def _usd(sides: Iterable[_Side]) -> Decimal | None:
    """What several sides cost together, None where one is unknown: it may be the dear one."""
    total = Decimal(0)
    for side in sides:
        if side.usd is None:
            return None
        total += side.usd
    return total


def _saving(cost: Decimal | None, flagship: Decimal | None) -> float | None:
    return None if cost is None or not flagship else float(1 - cost / flagship)


def _seconds(sides: Iterable[_Side]) -> float:
    return math.fsum(side.seconds for side in sides)


def _known(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds
