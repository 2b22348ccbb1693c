"""What the verdicts speak for, and which call sites no tiered test reaches, in words."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import RunSummary, UntestedSite
from pytest_tiers.reports.numbers import count, percent
from pytest_tiers.reports.text import listed, one_line

#: Call sites named in one sentence.
_MOST_SITES = 3


def coverage_sentences(summary: RunSummary, *, everything: bool = False) -> Iterator[str]:
    """The share of spend that is decided, and the call sites that no tiered test calls from.

    Three of them are named, or ``everything``, one by one.
    """
    savings = summary.savings
    if savings.decided_share is not None:
        flagship = summary.settings.ladder.flagship
        spend = (
            f"what your monthly_runs cost on {flagship}"
            if savings.decided_by_month
            else f"what 1,000 runs of each prompt cost on {flagship}"
        )
        prompts = count(len(summary.prompts), "prompt")
        yield (
            f"The verdicts speak for {percent(savings.decided_share)} of {spend} "
            f"({savings.decided_prompts:,} of {prompts} decided)."
        )
    found = summary.coverage
    if found is None:
        return
    if found.untested:
        sites = [_site(each) for each in found.untested]
        most = len(sites) if everything else _MOST_SITES
        verb = "is" if len(sites) == 1 else "are"
        text = (
            f"{count(len(sites), 'call site')} of the application {verb} called by no tiered test"
        )
        yield f"{text}: {listed(sites, most)}." + (
            ""
            if found.is_certain
            else " Trials without an answer may have been on their way there."
        )
    if not found.is_complete:
        yield f"Call sites were looked for in {count(found.files, 'file')} only: there are more."


def _site(site: UntestedSite) -> str:
    text = f"{one_line(site.file)}:{site.line} {one_line(site.function)}"
    return f"{text} (other tests do)" if site.seen_elsewhere else text
