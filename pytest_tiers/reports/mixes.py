"""What the search for a prompt's cheapest mix of tiers found, in lines and in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from pytest_tiers.findings import MixFinding, MixFindings, PromptSummary, RunSummary
from pytest_tiers.mix_planner import MOST_FAILED_RUNS
from pytest_tiers.reports.locks import why_ruled_out
from pytest_tiers.reports.numbers import count, money, percent
from pytest_tiers.reports.table import by_id
from pytest_tiers.reports.text import cut, display_width, listed, one_line
from pytest_tiers.reports.words import explanation, short_names

#: Why nothing was searched.
_NOTHING = {
    "no-answers": "the flagship gave no answer",
    "flagship-fails": "the flagship itself fails too often to be a yardstick",
    "blind": "its tests do not see a wrong answer",
    "unfit": "its tests cannot be run unseen (subtests, --setup-show or --trace)",
}

#: Why a search that began came to no end of its own.
_ENDED = {
    "limit": "the search stopped at the limit of cost or calls; what is recorded is kept",
    "error": "the search stopped, because a trial found no answer",
    "most": f"the search gave up after {MOST_FAILED_RUNS} combinations in vain",
}

#: Ends after which another run goes on.
_UNFINISHED = ("limit", "error")

#: Combinations that are told as refused.
_MOST_REFUSED = 3


def searched(summary: RunSummary) -> Iterator[tuple[PromptSummary, MixFindings]]:
    """The prompts with more than one call site, and what was found of their mixes."""
    for prompt in by_id(summary):
        if prompt.mix is not None and prompt.mix.end != "one-site":
            yield prompt, prompt.mix


class ToldMix(Struct, frozen=True):
    """What is told of a prompt's mix; ``prompt`` is its id, "" where all prompts have one site.

    ``steps`` are its call sites, each with its tier.
    """

    prompt: str
    headline: str
    steps: tuple[tuple[str, str], ...] = ()
    sentences: tuple[str, ...] = ()


def told_mixes(summary: RunSummary) -> Iterator[ToldMix]:
    """What is told of each search."""
    names = short_names(summary)
    for prompt, found in searched(summary):
        shown = shown_mix(found)
        tiers = {} if shown is None else shown.tiers
        yield ToldMix(
            prompt.id,
            f"Mix of tiers for {names[prompt.id]}: {_headline(summary, found)}",
            tuple((one_line(site.label), tiers[site.key]) for site in found.sites if tiers),
            tuple(_sentences(summary, prompt, found)),
        )
    if not any(True for _ in searched(summary)) and summary.searches:
        yield ToldMix("", "No mix of tiers: each prompt calls models from one line only.")


def mix_lines(summary: RunSummary, width: int) -> Iterator[tuple[str, list[str], list[str]]]:
    """For each search a headline, its call sites with their tiers, and sentences.

    The sites are aligned, in lines of at most ``width`` columns.
    """
    for told in told_mixes(summary):
        room = width - 2 - max((len(tier) for _, tier in told.steps), default=0)
        labels = [cut(label, room) for label, _ in told.steps]
        widest = max(map(display_width, labels), default=0)
        sites = [
            label + " " * (widest - display_width(label) + 2) + tier
            for label, (_, tier) in zip(labels, told.steps, strict=True)
        ]
        yield told.headline, sites, list(told.sentences)


def mix_steps(summary: RunSummary) -> Iterator[str]:
    """What to do: each prompt's mix that is recommended and not locked, and searches to go on."""
    names = short_names(summary)
    stopped = [names[prompt.id] for prompt, found in searched(summary) if found.end == "limit"]
    for prompt, found in searched(summary):
        best, entry = found.recommended, summary.locked.get(prompt.id)
        if best is not None and (entry is None or entry.tier != best.mix.name):
            changes = _changes(summary, found, best)
            whole = prompt.recommended
            rather = f", rather than move it to {whole}" if whole is not None else ""
            saved = percent(best.saving)
            yield f"Mix tiers in {names[prompt.id]}{rather}: {changes} (saves {saved})."
    if stopped:
        yield (
            f"Run the same command again: the limit, which is for each run, stopped the search for "
            f"the mix of {listed(stopped)}."
        )


def stopped_searches(summary: RunSummary) -> str | None:
    """How many searches stopped at the limit, in a few words; None where none did."""
    stopped = sum(found.end == "limit" for _, found in searched(summary))
    if not stopped:
        return None
    return (
        f"{'a search' if stopped == 1 else f'{stopped:,} searches'} for a mix stopped at the limit"
    )


def shown_mix(found: MixFindings) -> MixFinding | None:
    """The mix to tell of: the recommended one, else what came nearest to it."""
    if found.recommended is not None:
        return found.recommended
    near = [
        mix
        for mix in found.mixes
        if mix.put_forward and mix.stopped is None and mix.comparison.verdict != "worse"
    ]
    return max(near, key=lambda mix: mix.comparison.log_evidence or 0.0, default=None)


def _headline(summary: RunSummary, found: MixFindings) -> str:
    flagship = summary.settings.ladder.flagship
    if found.end in _NOTHING:
        return f"not searched, because {_NOTHING[found.end]}"
    if (best := found.recommended) is not None:
        return f"safe, saves {percent(best.saving)} of {flagship}'s cost"
    if found.end == "whole":
        return "none is needed: a tier is as good for the whole prompt, and no mix would cost less"
    if (shown := shown_mix(found)) is not None:
        return f"{shown.comparison.verdict}, saves {percent(shown.saving)} of {flagship}'s cost"
    return "not found yet" if found.end in _UNFINISHED else "none found"


def _sentences(summary: RunSummary, prompt: PromptSummary, found: MixFindings) -> Iterator[str]:
    if (shown := shown_mix(found)) is not None:
        yield explanation(summary, prompt, shown.comparison)
        if shown.ruled_out is not None:
            yield f"ruled out all the same: {why_ruled_out(shown.ruled_out)}"
        if shown.cost_per_1000 is not None:
            yield f"{money(shown.cost_per_1000)} per 1,000 runs"
        if shown.is_whole and shown.comparison.verdict != "safe":
            name = short_names(summary)[prompt.id]
            yield f'to take it unproven: pytest-tiers accept {name}={shown.mix.name} --reason "..."'
    refused = [
        mix
        for mix in found.mixes
        if mix.put_forward
        and mix is not shown
        and len(mix.mix.changes(summary.settings.ladder.flagship)) > 1
    ]
    if refused:
        told = (
            f"{_changes(summary, found, mix)} "
            f"({'ruled out' if mix.ruled_out else mix.comparison.verdict})"
            for mix in refused[:_MOST_REFUSED]
        )
        more = len(refused) - _MOST_REFUSED
        rest = f" and {more:,} more" if more > 0 else ""
        yield f"good alone, refused together: {'; '.join(told)}{rest}"
    if found.mixes:
        yield _effort(found)
    if (ended := _ENDED.get(found.end)) is not None:
        yield ended if found.reason is None else f"{ended}: {one_line(found.reason)}"


def _effort(found: MixFindings) -> str:
    tried = "1 mix" if len(found.mixes) == 1 else f"{len(found.mixes):,} mixes"
    return (
        f"{count(found.calls, 'call')} to try {tried}; all {found.exhaustive_mixes:,} mixes of "
        f"{len(found.sites)} call sites would take {found.exhaustive_calls:,}"
    )


def _changes(summary: RunSummary, found: MixFindings, mix: MixFinding) -> str:
    flagship = summary.settings.ladder.flagship
    changed = {key: tier for key, tier in mix.tiers.items() if tier != flagship}
    return listed(
        f"{one_line(site.label)} on {changed[site.key]}"
        for site in found.sites
        if site.key in changed
    )
