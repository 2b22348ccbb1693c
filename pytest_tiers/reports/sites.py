"""What the call sites say that their prompts alone do not."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import BySite, PromptSummary, RunSummary
from pytest_tiers.reports.numbers import count, exact_percent, exact_points, percent
from pytest_tiers.reports.table import by_id
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.verdicts import Comparison

#: Verdicts that end the question.
_DECIDED = ("safe", "worse")

#: Sites named one by one.
_MOST_SITES = 6


def judged(summary: RunSummary) -> RunSummary:
    """The run as it was asked to be judged: by prompt or by call site."""
    if summary.settings.by == "site" and summary.by_site is not None:
        return summary.by_site.summary
    return summary


def told_by_site(summary: RunSummary) -> RunSummary | None:
    """The run by call site, where somebody asked or that decides more than the prompts do."""
    by_site = summary.by_site
    if by_site is None:
        return None
    is_told = summary.settings.by == "site" or any(True for _ in _decided_more(summary, by_site))
    return by_site.summary if is_told else None


def site_sentences(summary: RunSummary) -> Iterator[str]:
    """A sentence for each call site and candidate that is decided where a prompt of it is not.

    Where the run is judged by call site, which tells these, only what must move along.
    """
    by_site = summary.by_site
    if by_site is None:
        return
    if summary.settings.by == "site":
        yield from _moving_along(by_site)
        return
    found = list(_decided_more(summary, by_site))
    for site, comparison in found[:_MOST_SITES]:
        yield _sentence(summary, by_site, site, comparison)
    if (left := len(found) - _MOST_SITES) > 0:
        yield f"{left:,} more by call site: --tiers-by=site"


def site_steps(summary: RunSummary) -> Iterator[str]:
    """What to do: the call sites that may move though none of their prompts may alone."""
    by_site = summary.by_site
    if by_site is None or summary.settings.by == "site":
        return
    found = [
        f"{one_line(site.id)} to {comparison.tier}"
        for site, comparison in _decided_more(summary, by_site)
        if comparison.tier == site.recommended
    ]
    if found:
        yield f"By call site these can move: {listed(found)}. --tiers-by=site says what to change."


def _decided_more(
    summary: RunSummary, by_site: BySite
) -> Iterator[tuple[PromptSummary, Comparison]]:
    for site in by_id(by_site.summary):
        for comparison in site.comparisons.values():
            if comparison.verdict in _DECIDED and not _prompts_say_so(
                summary, by_site, site, comparison
            ):
                yield site, comparison


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
    if others := _others(by_site, site, comparison.tier):
        text += f"; {others}"
    return text


def _moving_along(by_site: BySite) -> Iterator[str]:
    """For each site and candidate that is safe, what its trials called on the candidate too."""
    for site in by_id(by_site.summary):
        for comparison in site.comparisons.values():
            others = _others(by_site, site, comparison.tier)
            if comparison.verdict == "safe" and others:
                yield f"{one_line(site.id)} on {comparison.tier}: {others}"


def _others(by_site: BySite, site: PromptSummary, tier: str) -> str:
    others = by_site.called_with[site.id]
    return (
        f"its trials also call {listed(map(one_line, others), 3)}, on {tier} too" if others else ""
    )
