"""Whether a prompt's tests can fail, in words."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import PromptSummary, RunSummary
from pytest_tiers.reports.numbers import count
from pytest_tiers.reports.text import listed, one_line


def blindness(prompt: PromptSummary) -> str:
    """Why a prompt's tests prove nothing."""
    if prompt.control is None:
        return "its tests pass with wrong answers too: passing them proves nothing"
    return (
        f"its tests pass {prompt.control.passed:,} of {count(prompt.control.tried, 'time')} with "
        "another answer than the case's own: they would not see a model that answers wrong, so "
        "passing them proves nothing"
    )


def unchecked_sentences(summary: RunSummary) -> Iterator[str]:
    """The prompts that are safe by tests of which it is not known whether they can fail."""
    if summary.settings.control == "off":
        return
    unchecked = [
        one_line(prompt.id.rpartition("::")[2])
        for prompt in sorted(summary.prompts, key=lambda prompt: prompt.id)
        if prompt.control is None
        and any(one.verdict == "safe" for one in prompt.comparisons.values())
    ]
    if unchecked:
        yield (
            f"Not checked whether these tests can fail: {listed(unchecked)}. A replay does that, "
            "at no cost, unless a judge or control=False keeps it from it."
        )
