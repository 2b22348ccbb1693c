"""The flagship against itself, beside the candidates: sentences for every report."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import Disagreement, PromptSummary, RunSummary
from pytest_tiers.reports.numbers import count, percent
from pytest_tiers.reports.table import by_id
from pytest_tiers.reports.text import listed
from pytest_tiers.reports.words import short_names

#: Prompts that are told one by one; the others together.
_MOST_PROMPTS = 3

_MEANING = (
    "Verdicts compare average pass rates: a flagship that wavers is neither held against a "
    "candidate, nor does it widen the margin."
)


def flakiness_sentences(summary: RunSummary) -> Iterator[str]:
    """How often the flagship ends differently from itself, the flakiest prompts first.

    Nothing where no case has two samples on the flagship, unless its outputs are the yardstick.
    """
    yield from _unknown(summary)
    known = [(prompt, own) for prompt in by_id(summary) if (own := own_disagreement(prompt))]
    if not known:
        return
    names = short_names(summary)
    flagship = summary.settings.ladder.flagship
    wavering = sorted(
        ((prompt, own) for prompt, own in known if own.estimate),
        key=lambda each: each[1].estimate,
        reverse=True,
    )
    for prompt, own in wavering[:_MOST_PROMPTS]:
        yield (
            f"{flagship} against itself for {names[prompt.id]}: two samples of a case end "
            f"differently in {_rate(own)}{_candidates(prompt)}"
        )
    if others := wavering[_MOST_PROMPTS:]:
        most = percent(max(own.estimate for _, own in others))
        yield (
            f"{flagship} against itself for {count(len(others), 'more prompt')} "
            f"({listed(names[prompt.id] for prompt, _ in others)}): up to {most} end differently"
        )
    if steady := [(prompt, own) for prompt, own in known if not own.estimate]:
        most = percent(max(own.high for _, own in steady))
        yield (
            f"{flagship} against itself for {listed(names[prompt.id] for prompt, _ in steady)}: "
            f"all samples of a case end alike (at most {most} would not)"
        )
    if wavering:
        yield _MEANING


def _unknown(summary: RunSummary) -> Iterator[str]:
    """What is not known of a flagship whose outputs the candidates' differ from."""
    prompts = [
        prompt
        for prompt in by_id(summary)
        if own_disagreement(prompt) is None
        and any(one.output_mismatches for one in prompt.comparisons.values())
    ]
    if prompts:
        names = short_names(summary)
        flagship = summary.settings.ladder.flagship
        yield (
            f"outputs differ from {flagship}'s for "
            f"{listed(names[prompt.id] for prompt in prompts)}, but whether {flagship} repeats its "
            "own is not known: --tiers-samples=2 compares it with itself"
        )


def own_disagreement(prompt: PromptSummary) -> Disagreement | None:
    """How often the flagship ends differently from itself; None where that is not known."""
    return None if prompt.flagship is None else prompt.disagreements.get(prompt.flagship)


def _rate(found: Disagreement) -> str:
    return f"{percent(found.estimate)} ({percent(found.low)} to {percent(found.high)})"


def _candidates(prompt: PromptSummary) -> str:
    differ = [
        f"{tier} in {percent(found.estimate)}"
        for tier in prompt.comparisons
        if (found := prompt.disagreements.get(tier)) is not None
    ]
    return f"; {listed(differ, len(differ))} from it" if differ else ""
