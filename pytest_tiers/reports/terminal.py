"""The summary at the end of a run, as lines that pytest's terminal reporter writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from pytest_tiers.findings import RunSummary
from pytest_tiers.reports.advice import next_steps
from pytest_tiers.reports.cascades import cascade_lines
from pytest_tiers.reports.changes import change_sentences, diff_sentence
from pytest_tiers.reports.columns import columns
from pytest_tiers.reports.control import unchecked_sentences
from pytest_tiers.reports.coverage import coverage_sentences
from pytest_tiers.reports.differences import difference_lines, differing
from pytest_tiers.reports.drift import drift_sentences
from pytest_tiers.reports.ends import retiring_in_short, retiring_sentences
from pytest_tiers.reports.flakiness import flakiness_sentences
from pytest_tiers.reports.gates import gate_sentences, power_sentence, warning_sentences
from pytest_tiers.reports.judging import judge_sentences
from pytest_tiers.reports.locks import accepted_sentence, lock_sentences, ruled_out_sentences
from pytest_tiers.reports.mixes import mix_lines, stopped_searches
from pytest_tiers.reports.numbers import count, percent
from pytest_tiers.reports.recordings import stale_lines, unused_lines
from pytest_tiers.reports.sampling import left_out_sentences, spared_sentences
from pytest_tiers.reports.site_costs import site_tables
from pytest_tiers.reports.sites import judged, site_sentences
from pytest_tiers.reports.suite import suite_sentences
from pytest_tiers.reports.table import (
    STATES,
    Row,
    has_scores,
    headings,
    in_order_of_telling,
    prompt_rows,
    state,
    told,
    unit,
)
from pytest_tiers.reports.text import (
    NARROWEST,
    WIDEST_PROSE,
    cut,
    display_width,
    one_line,
    shorten_ids,
    wrap,
)
from pytest_tiers.reports.totals import (
    cost_sentences,
    everyday_sentence,
    money_sentences,
    safe_mixes,
    sites_sentence,
    spent_sentence,
    trouble_sentences,
    unpriced_sentences,
)
from pytest_tiers.reports.words import agreement, reasons

#: A line and its markup for ``TerminalReporter.write_line``.
Line = tuple[str, dict[str, bool]]

_BOLD = {"bold": True}
_GREEN = {"green": True}
_YELLOW = {"yellow": True}
_RED = {"red": True}
_MARKUP = {
    "safe": _GREEN,
    **dict.fromkeys(("worse", "flagship-fails", "blind", "unsupported"), _YELLOW),
}

_LONGEST_TIER = 10
_SHORTEST_ID = 12
#: Prompts named one by one of which a cascade would pay.
_MOST_CASCADES = 3
#: Lines of the application named one by one.
_MOST_CHANGES = 6


def summary_lines(summary: RunSummary, *, width: int, verbosity: int) -> Iterator[Line]:
    """The summary in lines of at most ``width`` columns (at least 60).

    ``verbosity`` is pytest's: below 0 one single line of any length, from 1 on both answers of
    each case in which a candidate and the flagship ended differently.
    """
    if verbosity < 0:
        yield one_line_summary(summary), {}
        return
    width = max(width, NARROWEST)
    blocks: list[Iterable[Line]]
    if not summary.settings.comparison:
        blocks = [_everyday(summary, width), _gate(summary, width)]
    elif not summary.settings.ladder.candidates:
        blocks = [_one_tier(summary, width), _gate(summary, width)]
    elif not summary.trials:
        blocks = [[("no tiered test ran: nothing to compare", {})]]
    else:
        found = judged(summary)
        blocks = [
            _table(found, width, everything=verbosity > 0),
            _bullets(_findings(found), width),
            _bullets(site_sentences(summary), width),
            *_site_costs(summary, width, everything=verbosity > 0),
            _mixes(summary, width),
            _bullets(ruled_out_sentences(summary), width),
            _differences(found, width) if verbosity > 0 else [],
            _totals(summary, width, everything=verbosity > 0),
            _bullets((*left_out_sentences(summary), *spared_sentences(summary)), width),
            _bullets(trouble_sentences(summary), width, _RED),
            _cascades(summary, width, everything=verbosity > 0),
            _steps(found, summary, width),
            _changes(summary, width, everything=verbosity > 0),
            _lock(summary, width),
            _gate(summary, width),
        ]
    blocks.append(_drift(summary, width))
    blocks.append(_bullets(retiring_sentences(summary), width, _YELLOW))
    if verbosity > 0:
        listed = (stale_lines(summary, width=width), unused_lines(summary.unused, width=width))
        blocks += [[(line, {}) for line in lines] for lines in listed]
    yield from _apart(blocks)


def _findings(summary: RunSummary) -> Iterator[str]:
    yield from reasons(summary)
    yield from flakiness_sentences(summary)
    yield from judge_sentences(summary)


def one_line_summary(summary: RunSummary) -> str:
    """The whole run in one line, for ``-q``."""
    text = _in_one_line(summary)
    failures = len(summary.gate.failures)
    parts = [text, *retiring_in_short(summary)]
    return "; ".join([*parts, count(failures, "gate failure")] if failures else parts)


def _in_one_line(summary: RunSummary) -> str:
    if not summary.settings.comparison:
        return f"tiers: {everyday_sentence(summary)}"
    if not summary.settings.ladder.candidates:
        return f"tiers: nothing to compare; {everyday_sentence(summary)}"
    states = Counter(map(state, summary.prompts))
    prompts = len(summary.prompts)
    text = f"tiers: {states.pop('safe', 0)} of {count(prompts, 'prompt')} safe to downgrade"
    if summary.selection:
        text += " for this selection"
    if summary.savings.share:
        text += f" (saves {percent(summary.savings.share)} of the flagship's cost)"
    if mixes := safe_mixes(summary):
        text += f", {mixes:,} by a mix of tiers"
    if summary.savings.mixes:
        saved = percent(summary.savings.with_mixes_share)
        whole = f"saves {saved} of the flagship's cost"
        text += f" ({f'{saved} with it' if summary.savings.share else whole})"
    rest = [f"{states[each]} {each}" for each in STATES[1:] if states[each]]
    errors = sum(trial.outcome in ("error", "no-call") for trial in summary.trials)
    parts = [text, ", ".join(rest), count(errors, "trial") + " without an answer"]
    parts = parts if errors else parts[:-1]
    return "; ".join([*filter(None, (*parts, stopped_searches(summary))), spent_sentence(summary)])


def attainable_line(
    *,
    prompts: int,
    safe: int,
    matches: int,
    one_case: int,
    cases_needed: int | None,
    margin: float,
    samples: int,
    up_to: bool = False,
) -> str:
    """What a run can show at best, said before anything is paid.

    The counts are those of `pytest_tiers.summary.Attainable`: ``safe`` prompts have the
    ``cases_needed`` at ``margin``, ``matches`` can reach that verdict with ``samples`` samples,
    or ``up_to`` so many; ``one_case`` have a single case. ``cases_needed``
    None: no number of cases is enough.
    """
    at = f"at margin {margin:.2f}" if round(margin, 2) == margin else f"at margin {margin}"
    needed = "no number is enough" if cases_needed is None else count(cases_needed, "case")
    needed = f"{needed} {at}" if cases_needed is None else f"{needed} needed {at}"
    text = f"{safe:,} of {count(prompts, 'prompt')} can become safe ({needed})"
    if matches:
        most = "up to " if up_to else ""
        text += f", {matches:,} can match with {most}{count(samples, 'sample')}"
    if one_case:
        text += f", {one_case:,} {'has' if one_case == 1 else 'have'} one case"
    return text


def _apart(blocks: Iterable[Iterable[Line]]) -> Iterator[Line]:
    """The blocks that say something, with an empty line between."""
    said = False
    for block in blocks:
        lines = list(block)
        if lines and said:
            yield "", {}
        said = said or bool(lines)
        yield from lines


def _everyday(summary: RunSummary, width: int) -> Iterator[Line]:
    yield from _prose(everyday_sentence(summary), width)
    yield from _prose(accepted_sentence(summary), width)
    yield from _prose(sites_sentence(summary), width)
    for sentence in unpriced_sentences(summary):
        yield from _prose(sentence, width)
    for sentence in trouble_sentences(summary):
        yield from _prose(sentence, width, _RED)


def _one_tier(summary: RunSummary, width: int) -> Iterator[Line]:
    flagship = summary.settings.ladder.flagship
    other = "mini" if flagship != "mini" else "nano"
    yield from _prose(
        f"nothing to compare: give two tiers or more, e.g. --tiers={other},{flagship}",
        width,
        _BOLD,
    )
    yield from _everyday(summary, width)


def _table(summary: RunSummary, width: int, *, everything: bool) -> Iterator[Line]:
    prompts = in_order_of_telling(summary)
    shown = prompts if everything else prompts[: told(summary)]
    found = [row for prompt in shown for row in prompt_rows(prompt)]
    if not found:
        return
    flagship = summary.settings.ladder.flagship
    head, *lines = fitted_table(
        found, headings(flagship, scored=has_scores(summary), by=summary.settings.by), width
    )
    yield head, _BOLD
    for row, line in zip(found, lines, strict=True):
        yield line, _MARKUP.get(row.verdict, {})
    left = Counter(map(state, prompts[len(shown) :]))
    if left:
        what = unit(summary.settings.by)
        states = ", ".join(f"{left[each]:,} {each}" for each in STATES if left[each])
        text = f"… and {count(left.total(), f'more {what}')}: {states} (-v lists all)"
        yield from _prose(text, width)


def fitted_table(found: Sequence[Row], head: Row, width: int) -> list[str]:
    """The table with as many columns and as much of the ids as fit into ``width``."""
    ids = [row.prompt for row in found]
    lines = _rendered(found, ids, _wide_cells, head)
    if _widest(lines) <= width:
        return lines
    head = replace(head, flagship_passed=cut(head.flagship_passed, _LONGEST_TIER))
    lines = _rendered(found, ids, _narrow_cells, head)
    if _widest(lines) <= width:
        return lines
    room = _widest(ids) - (_widest(lines) - width)
    return _rendered(found, shorten_ids(ids, max(room, _SHORTEST_ID)), _narrow_cells, head)


def _widest(lines: Iterable[str]) -> int:
    return max(map(display_width, lines))


def _narrow_cells(row: Row) -> list[str]:
    return [
        row.cases,
        cut(row.tier, _LONGEST_TIER),
        row.passed,
        row.flagship_passed,
        row.verdict,
        row.saving,
    ]


def _wide_cells(row: Row) -> list[str]:
    return [
        row.cases,
        row.tier,
        row.passed,
        row.flagship_passed,
        row.verdict,
        row.drop,
        row.saving,
        row.cost,
        row.flagship_cost,
    ]


def _rendered(
    found: Sequence[Row],
    labels: Sequence[str],
    cells: Callable[[Row], list[str]],
    head: Row,
) -> list[str]:
    """The table's lines, headings first; what a prompt's rows share stands in its first only."""
    shown = [(head.prompt, head), *_without_repeats(found, labels)]
    lines = [(label, cells(row)) for label, row in shown]
    names = ["", *lines[0][1]]
    return columns(lines, [names.index(name) for name in (head.cases, head.saving)])


def _without_repeats(found: Sequence[Row], labels: Sequence[str]) -> Iterator[tuple[str, Row]]:
    previous: Row | None = None
    for row, label in zip(found, labels, strict=True):
        if previous is not None and row.prompt == previous.prompt:
            yield "", replace(row, cases="", flagship_passed="", flagship_cost="")
        else:
            yield label, row
        previous = row


def _differences(summary: RunSummary, width: int) -> Iterator[Line]:
    flagship = one_line(summary.settings.ladder.flagship)
    said = False
    for yardstick, trial in differing(summary):
        if not said:
            yield f"Cases that differ (- {flagship}'s answer, + the candidate's)", _BOLD
            said = True
        head, *rest = difference_lines(yardstick, trial, width=width)
        yield head, _YELLOW
        for line in rest:
            yield line, {}


def _totals(summary: RunSummary, width: int, *, everything: bool) -> Iterator[Line]:
    yield from _prose(agreement(summary), width)
    for sentence in (
        *unchecked_sentences(summary),
        *suite_sentences(summary),
        *cost_sentences(summary),
        *coverage_sentences(summary, everything=everything),
        *money_sentences(summary),
    ):
        yield from _prose(sentence, width)
    yield from _prose(accepted_sentence(summary), width)
    yield from _prose(sites_sentence(summary), width)


def _steps(found: RunSummary, summary: RunSummary, width: int) -> Iterator[Line]:
    yield "What to do next", _BOLD
    for number, step in enumerate(next_steps(found, by_prompt=summary), start=1):
        for line in wrap(step, min(width, WIDEST_PROSE), first=f"{number}. ", rest="   "):
            yield line, {}


def _cascades(summary: RunSummary, width: int, *, everything: bool) -> Iterator[Line]:
    for mark, sentence in cascade_lines(summary, None if everything else _MOST_CASCADES):
        rest = "  " if mark else ""
        for line in wrap(sentence, min(width, WIDEST_PROSE), first=mark, rest=rest):
            yield line, {} if mark else _BOLD


def _changes(summary: RunSummary, width: int, *, everything: bool) -> Iterator[Line]:
    sentences = list(change_sentences(summary))
    if not sentences:
        return
    yield "What to change in the application", _BOLD
    shown = sentences if everything else sentences[:_MOST_CHANGES]
    yield from _bullets(shown, width)
    if left := len(sentences) - len(shown):
        yield from _prose(f"… and {left:,} more (-v lists all)", width)
    yield from _prose(diff_sentence(summary), width)


def _site_costs(summary: RunSummary, width: int, *, everything: bool) -> Iterator[Iterable[Line]]:
    """What the steps of prompts take, for who asks about steps or for everything."""
    if everything or summary.settings.mix or summary.settings.by == "site":
        for title, lines in site_tables(summary, width, everything=everything):
            yield [(title, _BOLD), *((line, {}) for line in lines)]


def _mixes(summary: RunSummary, width: int) -> Iterator[Line]:
    for number, (headline, sites, sentences) in enumerate(mix_lines(summary, width - 4)):
        if number:
            yield "", {}
        for line in wrap(headline, min(width, WIDEST_PROSE), rest="  "):
            yield line, _BOLD
        for site in sites:
            yield f"    {site}", {}
        yield from _bullets(sentences, width)


def _gate(summary: RunSummary, width: int) -> Iterator[Line]:
    yield from _bullets(gate_sentences(summary), width, _RED)
    yield from _bullets(warning_sentences(summary), width, _YELLOW)
    yield from _prose(power_sentence(summary), width)


def _drift(summary: RunSummary, width: int) -> Iterator[Line]:
    if summary.recorded_anew:
        yield "Since the last recording", _BOLD
        yield from _bullets(drift_sentences(summary), width)


def _lock(summary: RunSummary, width: int) -> Iterator[Line]:
    for sentence in lock_sentences(summary):
        yield from _prose(sentence, width)


def _bullets(
    sentences: Iterable[str], width: int, markup: dict[str, bool] | None = None
) -> Iterator[Line]:
    for sentence in sentences:
        for line in wrap(sentence, min(width, WIDEST_PROSE), first="- ", rest="  "):
            yield line, markup or {}


def _prose(text: str | None, width: int, markup: dict[str, bool] | None = None) -> Iterator[Line]:
    for line in wrap(text or "", min(width, WIDEST_PROSE), rest="  "):
        yield line, markup or {}
