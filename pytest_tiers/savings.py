"""What the recommended tiers save, over all prompts of a run."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from pytest_tiers.findings import PromptSummary, Savings
from pytest_tiers.records import LockEntry
from pytest_tiers.verdicts import Verdict

#: Verdicts that do not rule a candidate out.
_OPEN: frozenset[Verdict] = frozenset({"safe", "matches", "inconclusive"})

#: Verdicts that rule one out.
_CLOSED: frozenset[Verdict] = frozenset({"worse", "unsupported"})


def is_cheaper(prompt: PromptSummary, usd_per_1000: Decimal | None, locked: LockEntry) -> bool:
    """Whether such a cost is known to be less than that of the tier that a prompt is locked to."""
    measured = prompt.tiers.get(locked.tier)
    old = measured.cost_per_1000 if measured is not None else None
    old = locked.usd_per_1000 if old is None else old
    return old is not None and usd_per_1000 is not None and usd_per_1000 < old


def total_savings(prompts: Iterable[PromptSummary]) -> Savings:
    """Cost of 1,000 runs of every priced prompt today and as recommended, in USD."""
    with_calls = [prompt for prompt in prompts if any(each.calls for each in prompt.tiers.values())]
    today = [(prompt, cost) for prompt in with_calls if (cost := _today(prompt)) is not None]
    monthly = [
        (prompt, Decimal(prompt.monthly_runs) / 1000, cost)
        for prompt, cost in today
        if prompt.monthly_runs is not None
    ]
    flagship = sum((cost for _, cost in today), Decimal(0))
    by_month = bool(monthly) and len(monthly) == len(today)
    spend = [
        (prompt, runs * cost)
        for prompt, runs, cost in (
            monthly if by_month else [(prompt, Decimal(1), cost) for prompt, cost in today]
        )
    ]
    total = sum((cost for _, cost in spend), Decimal(0))
    decided = sum((cost for prompt, cost in spend if _is_decided(prompt)), Decimal(0))
    recommended = sum((_as_recommended(prompt, cost) for prompt, cost in today), Decimal(0))
    with_mixes = sum((_with_mix(prompt, cost) for prompt, cost in today), Decimal(0))
    return Savings(
        flagship_usd_per_1000=flagship if today else None,
        recommended_usd_per_1000=recommended if today else None,
        share=float(1 - recommended / flagship) if flagship else None,
        priced_prompts=len(today),
        unpriced_prompts=len(with_calls) - len(today),
        flagship_usd_per_month=_sum(runs * cost for _, runs, cost in monthly),
        recommended_usd_per_month=_sum(
            runs * _as_recommended(prompt, cost) for prompt, runs, cost in monthly
        ),
        possible_usd_per_month=_sum(
            runs * (cost - _as_possible(prompt, cost)) for prompt, runs, cost in monthly
        ),
        decided_prompts=sum(map(_is_decided, with_calls)),
        decided_share=float(decided / total) if total else None,
        decided_by_month=by_month,
        mixes=tuple(
            prompt.id
            for prompt, cost in today
            if _with_mix(prompt, cost) < _as_recommended(prompt, cost)
        ),
        with_mixes_usd_per_1000=with_mixes if today else None,
        with_mixes_share=float(1 - with_mixes / flagship) if flagship else None,
        with_mixes_usd_per_month=_sum(
            runs * _with_mix(prompt, cost) for prompt, runs, cost in monthly
        ),
    )


def _is_decided(prompt: PromptSummary) -> bool:
    """Whether the verdicts say what to do: a candidate is safe, or none can be."""
    verdicts = {comparison.verdict for comparison in prompt.comparisons.values()}
    return "safe" in verdicts or (bool(verdicts) and verdicts <= _CLOSED)


def _sum(amounts: Iterable[Decimal]) -> Decimal | None:
    """The sum in USD; None where there is nothing to add."""
    known = list(amounts)
    return sum(known, Decimal(0)) if known else None


def _today(prompt: PromptSummary) -> Decimal | None:
    """What 1,000 runs on the flagship cost in USD."""
    stats = None if prompt.flagship is None else prompt.tiers.get(prompt.flagship)
    return None if stats is None else stats.cost_per_1000


def _as_recommended(prompt: PromptSummary, today: Decimal) -> Decimal:
    """What 1,000 runs as recommended cost in USD."""
    return _cost_on(prompt, prompt.recommended, today)


def _with_mix(prompt: PromptSummary, today: Decimal) -> Decimal:
    """What 1,000 runs cost in USD as recommended, or in the recommended mix, which is cheaper."""
    best = None if prompt.mix is None else prompt.mix.recommended
    cost = None if best is None else best.cost_per_1000
    recommended = _as_recommended(prompt, today)
    return recommended if cost is None else min(cost, recommended)


def _as_possible(prompt: PromptSummary, today: Decimal) -> Decimal:
    """What 1,000 runs cost in USD on the cheapest candidate that agrees so far."""
    agreeing = [
        name
        for name, comparison in prompt.comparisons.items()
        if comparison.verdict in _OPEN
        and comparison.difference is not None
        and comparison.difference >= -comparison.margin
    ]
    return min((_cost_on(prompt, name, today) for name in agreeing), default=today)


def _cost_on(prompt: PromptSummary, candidate: str | None, today: Decimal) -> Decimal:
    """What 1,000 runs cost in USD on a candidate, or today where that is cheaper or unknown."""
    cost = None if candidate is None else prompt.tiers[candidate].cost_per_1000
    return today if cost is None else min(cost, today)
