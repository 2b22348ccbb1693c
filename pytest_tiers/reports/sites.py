"""What the call sites say that their prompts alone do not."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import BySite, PromptSummary, RunSummary
from pytest_tiers.reports.numbers import count, exact_percent, exact_points, percent
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.verdicts import Comparison

#: Verdicts that end the question.
_DECIDED = ("safe", "worse")

#: Sites named one by one.
_MOST_SITES = 6


def site_sentences(summary: RunSummary) -> Iterator[str]:
    """A sentence for each call site and candidate that is decided where a prompt of it is not."""
    by_site = summary.by_site
    if by_site is None:
        return
    found = [
        (site, comparison)
        for site in sorted(by_site.summary.prompts, key=lambda site: site.id)
        for comparison in site.comparisons.values()
        if comparison.verdict in _DECIDED
        and not _prompts_say_so(summary, by_site, site, comparison)
    ]
    for site, comparison in found[:_MOST_SITES]:
        yield _sentence(summary, by_site, site, comparison)
    if (left := len(found) - _MOST_SITES) > 0:
        yield f"{left:,} more by call site: --tiers-by=site"


def _prompts_say_so(
    summary: RunSummary, by_site: BySite, site: PromptSummary, comparison: Comparison
) -> bool:
    """Whether each prompt of a site has that verdict itself."""
    ids = by_site.prompts[site.id]
    prompts = (prompt for prompt in summary.prompts if prompt.id in ids)
    return all(
        comparison.tier in prompt.comparisons
        and prompt.comparisons[comparison.tier].verdict == comparison.verdict
        for prompt in prompts
    )


def _sentence(
    summary: RunSummary, by_site: BySite, site: PromptSummary, comparison: Comparison
) -> str:
    prompts = count(len(by_site.prompts[site.id]), "prompt")
    text = f"{one_line(site.id)} ({prompts}, {count(site.cases, 'case')}) on {comparison.tier}: "
    flagship = summary.settings.ladder.flagship
    if comparison.verdict == "safe":
        sure = exact_percent(summary.settings.confidence)
        text += (
            f"its tests together make it safe: at most {exact_points(site.margin)} less often "
            f"than {flagship}, on inputs like these ({sure} confidence)"
        )
    else:
        text += f"its tests together show it to be worse than {flagship}"
    saving = site.savings.get(comparison.tier)
    if saving is not None:
        text += f"; saves {percent(saving)} there"
    if others := by_site.called_with[site.id]:
        text += (
            f"; its trials also call {listed(map(one_line, others), 3)}, on {comparison.tier} too"
        )
    return text
