"""What each call site of a prompt takes: its calls, tokens, seconds and share of the cost."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import astuple

from pytest_tiers.findings import PromptSummary, RunSummary
from pytest_tiers.reports.columns import columns
from pytest_tiers.reports.numbers import count, percent, seconds
from pytest_tiers.reports.table import by_id
from pytest_tiers.reports.text import cut, display_width, one_line
from pytest_tiers.reports.words import short_names

#: Prompts whose call sites are told one by one.
_MOST_PROMPTS = 3
#: A label is cut, but not to less than this.
_SHORTEST_LABEL = 12
#: The columns of numbers that end together: all but the label.
_RIGHT = range(1, 6)


class SiteRow(Struct, frozen=True):
    """One call site of a prompt, every cell as text; ``p50`` and ``p95`` are of its calls."""

    site: str
    calls: str
    cost_share: str
    tokens: str
    p50: str
    p95: str


SITE_HEADINGS = SiteRow("call site", "calls", "cost", "tokens", "p50", "p95")


def site_rows(prompt: PromptSummary) -> list[SiteRow]:
    """A row for each call site, in the order in which a trial first calls from it."""
    return [
        SiteRow(
            site=one_line(site.site),
            calls=f"{site.calls:,}",
            cost_share=percent(site.cost_share),
            tokens=f"{site.tokens.input:,} in, {site.tokens.output:,} out",
            p50=seconds(site.seconds_p50),
            p95=seconds(site.seconds_p95),
        )
        for site in prompt.sites
    ]


def of_several_sites(summary: RunSummary) -> list[PromptSummary]:
    """The prompts that call models from two lines or more, by id."""
    return [prompt for prompt in by_id(summary) if len(prompt.sites) > 1]


def of_tier(prompt: PromptSummary) -> str:
    """The tier whose calls the sites of a prompt count: " on full"; empty where it is all tiers."""
    left_out = prompt.left_out.get(prompt.flagship or "")
    is_known = prompt.flagship in prompt.tiers and not (left_out and left_out.spared)
    return f" on {prompt.flagship}" if is_known else ""


def site_tables(
    summary: RunSummary, width: int, *, everything: bool
) -> Iterator[tuple[str, list[str]]]:
    """For each prompt of several call sites a title and its table, in lines of ``width`` columns.

    Of many prompts the first three, or ``everything``.
    """
    names = short_names(summary)
    found = of_several_sites(summary)
    shown = found if everything else found[:_MOST_PROMPTS]
    for prompt in shown:
        yield f"Call sites of {names[prompt.id]}{of_tier(prompt)}", _fitted(prompt, width)
    if left := len(found) - len(shown):
        yield f"… and of {count(left, 'more prompt')} (-v lists all)", []


def _fitted(prompt: PromptSummary, width: int) -> list[str]:
    cells = [astuple(row) for row in (SITE_HEADINGS, *site_rows(prompt))]
    labels = [label for label, *_ in cells]
    lines = columns([(label, others) for label, *others in cells], _RIGHT)
    over = max(map(display_width, lines)) - width
    if over > 0:
        room = max(_SHORTEST_LABEL, max(map(display_width, labels)) - over)
        lines = columns([(cut(label, room), others) for label, *others in cells], _RIGHT)
    return lines
