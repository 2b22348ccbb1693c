"""The tables of verdicts: a prompt's candidates, and call sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_tiers.findings import PromptSummary, RunSummary, TierStats
from pytest_tiers.reports.html.plots import evidence_bar
from pytest_tiers.reports.html.view import Candidate, Number, Site
from pytest_tiers.reports.numbers import count, plain
from pytest_tiers.reports.sites import told_by_site
from pytest_tiers.reports.table import in_order_of_telling, prompt_rows
from pytest_tiers.reports.text import one_line

#: So many call sites are told at most.
_MOST_SITES = 100


def judged_sites(summary: RunSummary) -> Iterator[Site]:
    """The call sites, where their verdicts are told, the decided ones first."""
    by_site, found = summary.by_site, told_by_site(summary)
    if by_site is None or found is None:
        return
    for site in in_order_of_telling(found)[:_MOST_SITES]:
        yield Site(
            name=one_line(site.id),
            cases=f"{count(len(by_site.prompts[site.id]), 'prompt')}, {count(site.cases, 'case')}",
            candidates=tuple(candidates(site, {})),
        )


def candidates(prompt: PromptSummary, why: Mapping[tuple[str, str], str]) -> Iterator[Candidate]:
    """The comparisons of a prompt or a call site; ``why`` by its id and the candidate, if told."""
    for row in prompt_rows(prompt):
        comparison = prompt.comparisons[row.tier]
        yield Candidate(
            tier=row.tier,
            verdict=row.verdict,
            is_recommended=row.tier == prompt.recommended,
            bar=evidence_bar(comparison),
            drop=Number(row.drop, exact(comparison.largest_drop)),
            saving=Number(row.saving, exact(prompt.savings.get(row.tier))),
            passed=row.passed,
            flagship_passed=row.flagship_passed,
            cost=cost(row.cost, prompt.tiers.get(row.tier)),
            flagship_cost=cost(row.flagship_cost, prompt.tiers.get(comparison.flagship)),
            why=why.get((prompt.id, row.tier), ""),
        )


def exact(number: float | None) -> str | None:
    """As the JSON report writes it."""
    return None if number is None else repr(number)


def cost(text: str, stats: TierStats | None) -> Number:
    """What 1,000 runs cost, as ``text`` and exactly."""
    known = stats.cost_per_1000 if stats else None
    return Number(text, None if known is None else plain(known))
