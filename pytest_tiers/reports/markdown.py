"""The report as Markdown, fit for a comment on a pull request: what changed comes first."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import astuple

from pytest_tiers.findings import PromptSummary, RunSummary
from pytest_tiers.reports.cascades import cascade_lines
from pytest_tiers.reports.changes import change_sentences
from pytest_tiers.reports.coverage import coverage_sentences
from pytest_tiers.reports.drift import drift_sentences
from pytest_tiers.reports.ends import retiring_sentences
from pytest_tiers.reports.gates import gate_sentence, power_sentence, warning_sentences
from pytest_tiers.reports.locks import (
    accepted_sentence,
    lock_sentences,
    new_downgrades,
    ruled_out_sentences,
)
from pytest_tiers.reports.mixes import told_mixes
from pytest_tiers.reports.site_costs import SITE_HEADINGS, of_several_sites, of_tier, site_rows
from pytest_tiers.reports.sites import judged, site_sentences, told_by_site
from pytest_tiers.reports.table import Row, headings, in_order_of_telling, prompt_rows
from pytest_tiers.reports.terminal import one_line_summary
from pytest_tiers.reports.text import one_line
from pytest_tiers.reports.totals import cost_sentences, money_sentences, trouble_sentences
from pytest_tiers.reports.words import reasons

#: Rows of the table; GitHub takes comments of up to 65,536 characters.
_MOST_ROWS = 150
#: Prompts whose mixes are told.
_MOST_MIXES = 20
#: Lines of each list.
_MOST_LINES = 40

#: What Markdown or a forge would act on: emphasis, links, tables; mentions, issues, addresses.
_ACTIVE = re.compile(r"[\\`*_\[\]|~#@]|:(?=//)|(?<=www)\.", re.IGNORECASE)
#: These are looked for in what Markdown has made of the text, where an entity is the character:
#: a mention would notify its person (openjdk/skara#1548). A comment behind the character hides it.
_FOUND_LATER = ("@", "#", ":", ".")


def parts(summary: RunSummary) -> Iterator[str]:
    """The document in pieces."""
    gate = summary.gate
    yield f"### {escaped(one_line_summary(summary).partition('; gate')[0])}\n\n"
    yield from bullets("Gate: failed", (gate_sentence(summary, each) for each in gate.failures))
    yield from bullets("Since tiers.lock", (*new_downgrades(summary), *lock_sentences(summary)))
    yield from bullets("Since the last recording", drift_sentences(summary))
    to_look_at = (warning_sentences, trouble_sentences, retiring_sentences)
    yield from bullets("To look at", (text for find in to_look_at for text in find(summary)))
    yield from _table(summary)
    yield from _by_site(summary)
    yield from _mixes(summary)
    yield from bullets("What to change in the application", change_sentences(summary))
    if summary.settings.comparison and summary.settings.ladder.candidates:
        covered = coverage_sentences(summary, everything=True)
        costs = (*cost_sentences(summary), *covered, *money_sentences(summary))
        why = (*reasons(judged(summary)), *ruled_out_sentences(summary))
        yield from _site_costs(summary)
        yield from _folded("A cheap tier first", (text for _, text in cascade_lines(summary)))
        yield from _folded("Why, and what it costs", (*why, *filter(None, _ends(summary)), *costs))


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    shown = html.escape(text, quote=False)
    return _ACTIVE.sub(_inactive, shown)


def _inactive(found: re.Match[str]) -> str:
    character = found.group()
    hidden = "<!-- -->" if character in _FOUND_LATER else ""
    return f"&#{ord(character)};{hidden}"


def _ends(summary: RunSummary) -> Iterator[str | None]:
    yield accepted_sentence(summary)
    yield power_sentence(summary)


def bullets(title: str, sentences: Iterable[str]) -> Iterator[str]:
    """A list under its title; nothing where there is no sentence."""
    lines = list(sentences)
    if lines:
        yield f"**{title}**\n\n"
        yield from _lines(lines)
        yield "\n"


def _folded(title: str, sentences: Iterable[str]) -> Iterator[str]:
    lines = list(sentences)
    if lines:
        yield f"<details><summary>{title}</summary>\n\n"
        yield from _lines(lines)
        yield "\n</details>\n"


def _lines(lines: list[str]) -> Iterator[str]:
    for line in lines[:_MOST_LINES]:
        yield f"- {escaped(line)}\n"
    if len(lines) > _MOST_LINES:
        yield f"- and {len(lines) - _MOST_LINES:,} more\n"


def _table(summary: RunSummary) -> Iterator[str]:
    locked = {prompt: entry.tier for prompt, entry in summary.locked.items()}

    def mark(prompt: PromptSummary, row: Row) -> str:
        return "yes" if locked.get(prompt.id) == row.tier else ""

    head = headings(summary.settings.ladder.flagship)
    yield from _verdicts(summary, head, _MOST_ROWS, ("locked", mark))


def _by_site(summary: RunSummary) -> Iterator[str]:
    """The verdicts by call site, where they were asked for or say more."""
    by_site, found = summary.by_site, told_by_site(summary)
    if by_site is None or found is None:
        return

    def prompts(site: PromptSummary, _: Row) -> str:
        return f"{len(by_site.prompts[site.id]):,}"

    yield "**By call site**\n\n"
    head = headings(summary.settings.ladder.flagship, by="site")
    yield from _verdicts(found, head, _MOST_LINES, ("prompts", prompts))
    if sentences := list(site_sentences(summary)):
        yield from _lines(sentences)
        yield "\n"


def _verdicts(
    summary: RunSummary, head: Row, most: int, last: tuple[str, Callable[[PromptSummary, Row], str]]
) -> Iterator[str]:
    """The table of verdicts, with one more column at its end."""
    prompts = in_order_of_telling(summary)
    found = [(prompt, row) for prompt in prompts for row in prompt_rows(prompt)]
    if not found:
        return
    name, cell = last
    yield table_row([*_cells(head), name])
    yield table_row(["---", "--:", "---", "---", "---", "---", "---", "--:", "---"])
    for prompt, row in found[:most]:
        yield table_row([*map(escaped, _cells(row)), cell(prompt, row)])
    yield "\n"
    if len(found) > most:
        yield f"and {len(found) - most:,} more rows in the JSON or HTML report\n\n"


def _mixes(summary: RunSummary) -> Iterator[str]:
    """What the searches for mixes found: a list for each prompt, as far as there is room."""
    found = list(told_mixes(summary))
    for told in found[:_MOST_MIXES]:
        yield f"**{escaped(told.headline)}**\n\n"
        if told.steps:
            yield table_row(["call site", "tier"])
            yield table_row(["---", "---"])
            yield from (table_row(map(escaped, step)) for step in told.steps)
            yield "\n"
        if told.sentences:
            yield from _lines(list(told.sentences))
            yield "\n"
    if (left := len(found) - _MOST_MIXES) > 0:
        yield f"and {left:,} more mixes in the JSON or HTML report\n\n"


def _site_costs(summary: RunSummary) -> Iterator[str]:
    """What each call site takes, where prompts have several."""
    prompts = of_several_sites(summary)
    if not prompts:
        return
    found = [(prompt.id, row) for prompt in prompts for row in site_rows(prompt)]
    where = set(map(of_tier, prompts))
    title = f"Calls by call site{where.pop() if len(where) == 1 else ''}"
    yield f"<details><summary>{escaped(title)}</summary>\n\n"
    yield table_row(["prompt", *astuple(SITE_HEADINGS)])
    yield table_row(["---", "---", "--:", "--:", "--:", "--:", "--:"])
    for prompt, row in found[:_MOST_LINES]:
        yield table_row(map(escaped, (one_line(prompt), *astuple(row))))
    if len(found) > _MOST_LINES:
        yield f"\nand {len(found) - _MOST_LINES:,} more rows in the JSON or HTML report\n"
    yield "\n</details>\n"


def _cells(row: Row) -> list[str]:
    return [
        row.prompt,
        row.cases,
        row.tier,
        row.passed,
        row.flagship_passed,
        row.verdict,
        row.drop,
        row.saving,
    ]


def table_row(cells: Iterable[str]) -> str:
    """One line of a table; the cells are Markdown."""
    return f"| {' | '.join(cells)} |\n"
