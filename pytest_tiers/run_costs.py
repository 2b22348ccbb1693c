"""What a run of a prompt costs: measured on its trials, at uncached input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec import Struct

from pytest_tiers.records import Trial

#: What a run costs in USD, by case and sample.
RunCosts = dict[tuple[str, int], Decimal]


class PairedCosts(Struct, frozen=True):
    """Mean cost per run in USD over the pairs that are complete and priced on both sides."""

    candidate: Decimal | None
    flagship: Decimal | None

    @property
    def ratio(self) -> Decimal | None:
        """The candidate's cost as a share of the flagship's; None where either is unknown."""
        if self.candidate is None or not self.flagship:
            return None
        return self.candidate / self.flagship

    @property
    def saving(self) -> float | None:
        """The share of the flagship's cost that the candidate saves."""
        return None if self.ratio is None else float(1 - self.ratio)


def paired_costs(candidate: RunCosts, flagship: RunCosts) -> PairedCosts:
    """The mean costs of the runs that both have."""
    both = [pair for pair in candidate if pair in flagship]
    return PairedCosts(
        mean(candidate[pair] for pair in both), mean(flagship[pair] for pair in both)
    )


def mean(costs: Iterable[Decimal]) -> Decimal | None:
    """The mean of costs in USD; None where there are none."""
    known = list(costs)
    return sum(known, Decimal(0)) / len(known) if known else None


def run_costs(trials: Sequence[Trial]) -> RunCosts:
    """The priced trials' costs; none where no trial made a call, since free is not a price."""
    if not any(trial.tier_calls for trial in trials):
        return {}
    costs = ((trial, run_cost(trial)) for trial in trials if trial.counts)
    return {(trial.case, trial.sample): cost for trial, cost in costs if cost is not None}


class RunTokens(Struct, frozen=True):
    """Tokens that a run takes in the mean; ``input`` counts cached ones, ``output`` reasoning."""

    input: float
    output: float

    def growth(self, before: RunTokens) -> float:
        """By what factor a run's cost can have grown at most, at the same prices.

        Whatever the prices of the two kinds are, the cost grows by no more than the kind that
        grew most.
        """
        pairs = ((self.input, before.input), (self.output, before.output))
        return max(
            (now / then if then else math.inf for now, then in pairs if now or then), default=1.0
        )


def run_tokens(trials: Iterable[Trial]) -> RunTokens | None:
    """The tokens of a run in the mean, of the trials that count; None where some are unknown."""
    found = []
    for trial in trials:
        if trial.counts:
            used = [call.tokens for call in trial.tier_calls]
            known = [tokens for tokens in used if tokens is not None]
            if len(known) < len(used):
                return None
            found.append((sum(each.input for each in known), sum(each.output for each in known)))
    if not any(map(any, found)):
        return None
    totals = [sum(kind) for kind in zip(*found, strict=True)]
    return RunTokens(totals[0] / len(found), totals[1] / len(found))


def run_cost(trial: Trial) -> Decimal | None:
    """What a run like this trial costs in USD; None where an answer could not be priced.

    As if no input were cached: which tier found a warm cache while recording is chance.
    """
    total = Decimal(0)
    for call in trial.tier_calls:
        cost = call.cost_usd if call.uncached_cost_usd is None else call.uncached_cost_usd
        if cost is not None:
            total += cost
        elif call.is_unpriced:
            return None
    return total
