"""The whole suite in a sentence for each candidate: an average, which speaks for no prompt."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import RunSummary, SuiteFinding
from pytest_tiers.reports.numbers import count, exact_percent, points_about, points_at_most
from pytest_tiers.reports.text import listed
from pytest_tiers.reports.words import short_names


def suite_sentences(summary: RunSummary) -> Iterator[str]:
    """How much worse each candidate is on average over all prompts, and where it may be more."""
    names = short_names(summary)
    for found in summary.suite.values():
        if not found.cases:
            continue
        text = (
            f"{found.tier} on average over {_these(summary)}{count(found.prompts, 'prompt')}, "
            f"by their {count(found.cases, 'case')}: at most {points_at_most(found.largest_drop)} "
            f"worse than {found.flagship} "
            f"({exact_percent(summary.settings.confidence)} confidence; {_seen(found)})"
        )
        named = [
            f"{what}: {listed(names[prompt] for prompt in prompts)}"
            for what, prompts in (
                ("worse", found.worse),
                ("unproven", found.unproven),
                ("left out, because they tell nothing", found.left_out),
            )
            if prompts
        ]
        yield ". ".join([text, *map(_capitalised, named)]) + "."


def _these(summary: RunSummary) -> str:
    return "the selected " if summary.selection else "these "


def _seen(found: SuiteFinding) -> str:
    if not found.difference:
        return "no drop seen"
    return f"seen: {points_about(found.difference)} {'worse' if found.difference < 0 else 'better'}"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
