"""What the gate found, in sentences: prompt, tier, cause and remedy."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import GateReason, RunSummary
from pytest_tiers.records import PARTS
from pytest_tiers.reports.numbers import count, money, percent, points_about, points_at_most
from pytest_tiers.reports.text import listed, one_line


def gate_sentences(summary: RunSummary) -> Iterator[str]:
    """Each reason why the gate fails the run; none where it passes."""
    for reason in summary.gate.failures:
        yield f"FAILED {gate_sentence(summary, reason)}"


def warning_sentences(summary: RunSummary) -> Iterator[str]:
    """What the gate warns of."""
    for reason in summary.gate.warnings:
        yield gate_sentence(summary, reason)


def power_sentence(summary: RunSummary) -> str | None:
    """How large a drop the gate would have caught; None where no answer was fresh."""
    power = summary.gate.power
    caught = [drop for _, drop in power if drop is not None]
    if not power:
        return None
    if not caught:
        return "The gate would have caught no drop, however large: write more cases."
    low, high = points_at_most(min(caught)), points_at_most(max(caught))
    text = f"The gate would have caught a drop of {low}"
    text += f" to {high}, depending on the prompt," if low != high else ""
    text += " with 80% power"
    blind = len(power) - len(caught)
    return f"{text}; no drop in {count(blind, 'prompt')}." if blind else f"{text}."


def gate_sentence(summary: RunSummary, reason: GateReason) -> str:
    """One reason of the gate: prompt, tier, cause and remedy."""
    prompt, tier = one_line(reason.prompt), one_line(reason.tier)
    return f"{prompt} on {tier}: {_cause(summary, reason)}"


def _cause(summary: RunSummary, reason: GateReason) -> str:
    cases = count(len(reason.cases), "case")
    cost, before = money(reason.usd), money(reason.usd_before)
    match reason.kind:
        case "missed":
            return _missed(summary, reason)
        case "stale":
            was, them = ("was", "it") if len(reason.cases) == 1 else ("were", "them")
            return (
                f"its {_parts(reason) or 'requests'} changed since {cases} {was} "
                f"recorded. Record {them} again with --tiers-record=new_episodes, or take the "
                "change back."
            )
        case "cost":
            return f"1,000 runs cost {cost}, over its max_cost_per_1000 of {before}{_dear(reason)}"
        case "other-model":
            return (
                f"{listed(map(one_line, reason.sites))}, locked to "
                f"{one_line(reason.model or '')}: saving not realised. Change the model there."
            )
        case "cost-changed":
            return f"1,000 runs cost {cost}, {before} when it was locked. Check that it still pays."
        case "no-test":
            return "tiers.lock names it, and there is no such test. Rename or delete the entry."
        case "old":
            return f"its evidence is of {reason.date}: {_decide_anew(summary, reason)}."
        case "unproven":
            entry = summary.locked[reason.prompt]
            against = _named(entry.versus, entry.versus_model)
            return (
                f"its evidence is against {against}, and a model was replaced on {reason.date}: "
                f"unproven against {_named(entry.replaces, entry.replaces_model)}: "
                f"{_decide_anew(summary, reason)}."
            )
        case "changed":
            return (
                f"its {_parts(reason)} changed since it was locked, so its evidence is "
                f"from before the change: {_decide_anew(summary, reason)}."
            )
        case "below" | "dropped":
            yardstick = f"its min_pass_rate of {percent(reason.floor)}"
            if reason.kind == "dropped":
                yardstick = f"the {percent(reason.floor)} at least that it was locked with"
            text = f"passes {percent(reason.rate)}{_nights(reason)}, below {yardstick}"
            if reason in summary.gate.warnings:
                return f"{text}, not proven{_of_part(reason)}."
            return f"{text}, and that is no accident. {_go_back(summary, reason)}"
        case "worse":
            drop = points_about(reason.rate or 0.0)
            if reason in summary.gate.warnings:
                where = _nights(reason) or " in this run"
                return f"{drop} worse than the flagship{where}, not proven{_of_part(reason)}."
            text = f"measurably worse than the flagship{_nights(reason)}, by {drop}"
            return f"{text}. {_go_back(summary, reason)}"
        case "new-model":
            models = {tier.name: tier.model for tier in summary.settings.ladder.tiers}
            if summary.locked[reason.prompt].sites:
                return (
                    "a tier of the mix is another model now, the evidence is for "
                    f"{one_line(reason.model or '')}: {_decide_anew(summary, reason)}."
                )
            return (
                f"the tier is {one_line(models.get(reason.tier) or '')} now, its evidence is for "
                f"{one_line(reason.model or '')}: {_decide_anew(summary, reason)}."
            )


def _parts(reason: GateReason) -> str:
    return listed(reason.changed, len(PARTS))


def _dear(reason: GateReason) -> str:
    """Why a prompt is over its limit, and what to do."""
    match reason.only:
        case "prices":
            return (
                " only because prices changed since it was locked. Raise the limit, or compare "
                "cheaper tiers."
            )
        case "part":
            return _of_part(reason) + "."
        case None:
            return ". Shorten the prompt, or raise the limit."


def _of_part(reason: GateReason) -> str:
    return ": only a part of its cases ran" if reason.only == "part" else ""


def _nights(reason: GateReason) -> str:
    return f" over {reason.nights:,} nights" if reason.nights > 1 else ""


def _named(tier: str | None, model: str | None) -> str:
    return f"{one_line(tier or '')} ({one_line(model)})" if model else one_line(tier or "")


def _missed(summary: RunSummary, reason: GateReason) -> str:
    which = f"{count(len(reason.cases), 'case')} ({listed(map(one_line, reason.cases))})"
    if reason.prompt not in summary.locked:
        return f"the recorded answers fail in {which}. Mend the prompt, and record it again."
    return (
        f"{which} passed when it was locked, and the recorded answers fail now. Mend the code or "
        f"the test, or {_decide_anew(summary, reason)}."
    )


def _go_back(summary: RunSummary, reason: GateReason) -> str:
    if reason.prompt not in summary.locked:
        return "Mend the prompt."
    return f'Mend the prompt, or: pytest-tiers revert "{one_line(reason.prompt)}" --reason "..."'


def _decide_anew(summary: RunSummary, reason: GateReason) -> str:
    entry = summary.locked[reason.prompt]
    if entry.sites:
        tiers = dict.fromkeys([*(site.tier for site in entry.sites), entry.replaces])
        cheaper = [tier for tier in tiers if tier != entry.replaces]
        again = f"--tiers={','.join([*cheaper, entry.replaces])} --tiers-mix"
        return f"compare again with {again} --tiers-update-lock"
    return f"compare again with --tiers={entry.tier},{entry.replaces} --tiers-update-lock"
