"""A plan in lines of text: what a run would record, what that costs, what would decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

from pytest_tiers.modes import AUTO
from pytest_tiers.plan import Plan, ToDecide, ToRecord
from pytest_tiers.reports.numbers import count, money, span
from pytest_tiers.reports.text import listed, one_line, wrap
from pytest_tiers.settings import Settings

#: Undecided comparisons of one tier that are told.
_MOST = 10


def plan_lines(plan: Plan, settings: Settings, *, width: int) -> Iterator[str]:
    """The plan in lines of at most ``width`` columns."""
    names = _names(plan)
    yield from wrap(_headline(plan), width, rest="  ")
    for sentence in (
        *_to_record(plan, names),
        *_total(plan, settings),
        *_open_end(plan, settings),
    ):
        yield from wrap(sentence, width, first="- ", rest="  ")
    for sentence in _mixes(plan, names) if settings.mix else ():
        yield from wrap(sentence, width, first="- ", rest="  ")
    if judged := list(_judged(plan, names)):
        yield ""
        yield f"With the {count(plan.recorded, 'trial')} recorded so far:"
        for sentence in judged:
            yield from wrap(sentence, width, first="- ", rest="  ")


def _mixes(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    """What the searches for mixes take besides."""
    for one in plan.mixes:
        search = f"the search for the mix of {names[one.prompt]}"
        if not one.mixes:
            yield f"{search} is recorded to its end: it calls nothing"
            continue
        cost = "cost unknown" if one.usd is None else f"{money(one.usd)} at the flagship's price"
        beyond = f"beyond the {one.recorded:,} recorded" if one.recorded else "besides"
        yield (
            f"{search} tries at most {one.mixes:,} mixes of {one.sites} call sites {beyond}: "
            f"at most {count(one.calls, 'call')}, {cost}; less for answers that mixes share"
        )
    if not plan.mixes:
        yield (
            "no mix to search, as far as is known: the flagship's recordings show no prompt that "
            "calls from two lines"
        )


def _open_end(plan: Plan, settings: Settings) -> Iterator[str]:
    """What a run decides only when it has seen answers."""
    if settings.samples == AUTO:
        yield (
            "samples are taken as they are needed: this is the first of each case, of at most "
            f"{settings.max_samples:,}"
        )
    if settings.spares_flagship:
        yield f"{settings.ladder.flagship} is called where a candidate misses, which nobody knows"
    if plan.if_needed:
        trials = sum(one.trials for one in plan.if_needed)
        yield (
            f"besides, as far as it is needed, at most {count(trials, 'trial')}: "
            f"{_expected(plan.if_needed)}"
        )


def _names(plan: Plan) -> dict[str, str]:
    """Prompts as they are named in prose: the function alone where that is unique."""
    ids = dict.fromkeys(
        [
            *(one.prompt for one in plan.to_record),
            *(prompt for prompt, _ in plan.decided),
            *(one.prompt for one in plan.undecided),
            *(prompt for prompt, _ in plan.unjudged),
            *(one.prompt for one in plan.mixes),
        ]
    )
    short = [prompt.rpartition("::")[2] for prompt in ids]
    return {
        prompt: one_line(name if short.count(name) == 1 else prompt)
        for prompt, name in zip(ids, short, strict=True)
    }


def _headline(plan: Plan) -> str:
    trials = sum(one.trials for one in plan.to_record)
    nothing_called = "A plan: no model was called, and what has no recording was not run."
    if not trials:
        nothing = "nothing for certain" if plan.if_needed else "nothing"
        return (
            f"{nothing_called} A run would record {nothing}: all {count(plan.trials, 'trial')} "
            "are replayed, at no cost."
        )
    return (
        f"{nothing_called} With --tiers-record={plan.mode} a run would record {trials:,} of "
        f"{count(plan.trials, 'trial')}:"
    )


def _to_record(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    for tier, group in groupby(plan.to_record, key=attrgetter("tier")):
        ours = list(group)
        prompts = listed(names[one.prompt] for one in ours)
        trials = sum(one.trials for one in ours)
        like = listed(dict.fromkeys(one.like for one in ours if one.like))
        by = f", if it needs as many tokens as {like}" if like else ""
        yield f"{tier}: {count(trials, 'trial')} of {prompts}: {_expected(ours)}{by}"


def _expected(found: Sequence[ToRecord]) -> str:
    """Calls and cost as far as earlier recordings tell: "about 12 calls, $0.0012"."""
    calls = sum(one.calls for one in found if one.calls is not None)
    no_calls = sum(one.trials for one in found if one.calls is None)
    costs = [one.usd for one in found if one.usd is not None]
    no_costs = sum(one.trials for one in found if one.usd is None)
    if not calls:
        return "calls and cost unknown, no recording of it to go by"
    text = f"about {count(calls, 'call')}"
    if no_calls:
        text += f" and an unknown number for {count(no_calls, 'trial')}"
    if not costs:
        return f"{text}, cost unknown"
    text += f", about {money(sum(costs, Decimal(0)))}"
    return f"{text} and an unknown amount for {count(no_costs, 'trial')}" if no_costs else text


def _total(plan: Plan, settings: Settings) -> Iterator[str]:
    known_calls = any(one.calls for one in plan.to_record)
    if known_calls and len({one.tier for one in plan.to_record}) > 1:
        yield f"in all: {_expected(plan.to_record)}"
    if plan.stale:
        yield (
            f"{count(plan.stale, 'trial')} stale, which this mode keeps: "
            "--tiers-record=new_episodes records them again"
        )
    known = sum((one.usd for one in plan.to_record if one.usd is not None), Decimal(0))
    if known > settings.max_cost:
        yield (
            f"the limit of {money(settings.max_cost)} (--tiers-max-cost) stops it before its end; "
            "what is recorded until then is kept"
        )


def _judged(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    verdicts: dict[tuple[str, str], list[str]] = {}
    for prompt, comparison in plan.decided:
        verdicts.setdefault((comparison.tier, comparison.verdict), []).append(names[prompt])
    for (tier, verdict), prompts in verdicts.items():
        yield f"{tier} is {verdict} for {listed(prompts)}"
    for tier, group in groupby(
        sorted(plan.undecided, key=lambda one: one.comparison.tier),
        key=lambda one: one.comparison.tier,
    ):
        found = list(group)
        for one in found[:_MOST]:
            yield f"{tier} for {names[one.prompt]} is undecided: {_what_decides(one)}"
        if len(found) > _MOST:
            more = listed(names[one.prompt] for one in found[_MOST:])
            yield f"{tier} is undecided for {count(len(found) - _MOST, 'more prompt')} ({more})"
    unjudged: dict[str, list[str]] = {}
    for prompt, tier in plan.unjudged:
        unjudged.setdefault(tier, []).append(names[prompt])
    for tier, prompts in unjudged.items():
        yield f"{tier} cannot be judged yet for {listed(prompts)}: no answers to compare"


def _what_decides(one: ToDecide) -> str:
    if one.missing:
        return f"{count(one.missing, 'trial')} of it missing, to be recorded first (above)"
    ways = []
    least, as_things_go = one.comparison.more_cases
    if least is not None and as_things_go is not None:
        cases = span(least, as_things_go)
        noun = "case" if cases == "1" else "cases"
        low, high = sorted((least, as_things_go))
        first = one.cases_usd[0] if low == least else one.cases_usd[1]
        last = one.cases_usd[1] if high == as_things_go else one.cases_usd[0]
        ways.append(f"{cases} more {noun} would decide ({_price(first, last)})")
    elif least is not None:
        ways.append(
            f"{count(least, 'more case')}, if all agree, would make it safe "
            f"({_price(one.cases_usd[0], one.cases_usd[0])}), as things go none will"
        )
    if one.samples is not None:
        ways.append(
            f"{count(one.samples, 'more sample')} of each case, if all agree, would make it safe "
            f"({_price(one.samples_usd, one.samples_usd)})"
        )
    return "; or ".join(ways) if ways else "not reachable at this margin"


def _price(low: Decimal | None, high: Decimal | None) -> str:
    if low is None or high is None:
        return "cost unknown"
    if low == high:
        return f"about {money(low)}"
    return f"about {money(low)} to {money(high)}"
