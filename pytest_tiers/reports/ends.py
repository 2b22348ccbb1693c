"""Models that are gone or will be, each in one message that names tier, model and remedy."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import Retirement, RunSummary
from pytest_tiers.reports.numbers import count
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.reports.words import short_names


def gone_sentences(summary: RunSummary) -> Iterator[str]:
    """Each tier whose model is gone."""
    names = short_names(summary)
    for gone in summary.gone:
        model = one_line(gone.model or "its model")
        why = f" ({one_line(gone.reason).rstrip('.')})" if gone.reason else ""
        prompts = listed(names.get(prompt, one_line(prompt)) for prompt in gone.prompts)
        yield (
            f"{one_line(gone.tier)}: {model} is gone{why}. {count(gone.trials, 'trial')} of "
            f"{prompts} without an answer. Is the name right, and may your key use it? If it was "
            f"retired: {_replace(gone.tier)}"
        )


def retiring_sentences(summary: RunSummary) -> Iterator[str]:
    """Each tier whose model ends soon, or has ended."""
    for each in summary.retiring:
        locked = f"; tiers.lock names it for {count(len(each.locked), 'prompt')}"
        yield (
            f"{one_line(each.tier)} ({one_line(each.model or '')}) {_when(each)}, on {each.on}"
            f"{locked if each.locked else ''}. Compare its successor: {_replace(each.tier)}"
        )


def retiring_in_short(summary: RunSummary) -> Iterator[str]:
    """The same for a summary in one line."""
    return (f"{one_line(each.tier)} {_when(each)}" for each in summary.retiring)


def _when(each: Retirement) -> str:
    if each.days == 0:
        return "retires today"
    days = count(abs(each.days), "day")
    return f"retires in {days}" if each.days > 0 else f"retired {days} ago"


def _replace(tier: str) -> str:
    return f"pytest-tiers replace {one_line(tier)} NEW=MODEL"
