"""A cheap tier first, and the flagship where a check fails: what that would come to, in words."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import Cascade, RunSummary
from pytest_tiers.reports.numbers import count, passed_of, percent, seconds
from pytest_tiers.reports.words import short_names

#: What the check is that a cascade goes by, and what that takes in production.
_CHECKS = {
    "test": "the test fails, which production cannot see: it needs a check of its own (tier.check)",
    "application": "the application's check fails",
}


def cascade_lines(summary: RunSummary, most: int | None = None) -> Iterator[tuple[str, str]]:
    """What would pay where, as a heading ("") and one line for each prompt ("- ").

    The prompts that save the most come first; ``most`` limits each list.
    """
    names = short_names(summary)
    flagship = summary.settings.ladder.flagship
    for check, meaning in _CHECKS.items():
        found = [
            (prompt, prompt.cascades[prompt.best_cascade])
            for prompt in summary.prompts
            if prompt.best_cascade is not None
            and prompt.cascades[prompt.best_cascade].check == check
        ]
        found.sort(key=lambda each: (-(each[1].saving or 0.0), each[0].id))
        if found:
            yield "", f"A cheap tier first, {flagship} where {meaning}:"
        for prompt, one in found[:most]:
            yield "- ", f"{names[prompt.id]}: {cascade_in_words(one, flagship)}"
        if left := len(found[most:] if most else ()):
            yield "- ", f"{left:,} more (-v lists all)"


def cascade_in_words(one: Cascade, flagship: str) -> str:
    """One cascade: what it saves, how often it goes on, and how often it passes."""
    saving = "saves an unknown amount" if one.saving is None else f"saves {percent(one.saving)}"
    on = one.escalated_share
    text = f"{one.tier} first {saving}; {one.escalated:,} of {one.runs:,} "
    text += f"({percent(on.low)} to {percent(on.high)}) go on to {flagship}"
    if one.added_seconds_if_escalated is not None:
        text += f", {seconds(one.added_seconds_if_escalated)} later"
    text += f"; passes {passed_of(one.passed, one.runs)}"
    text += f" ({percent(one.pass_rate.low)} to {percent(one.pass_rate.high)})"
    if one.stops_paying_at is not None:
        at = max(0.0, one.stops_paying_at)
        text += f"; stops paying where {percent(at)} go on"
    if one.left_out:
        text += f"; {count(one.left_out, 'run')} left out for want of {flagship}'s answer"
    return text
