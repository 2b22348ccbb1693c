"""Puts a run into the words and numbers of its page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

from pytest_tiers.findings import LadderEntry, PromptSummary, RunSummary
from pytest_tiers.modes import AUTO
from pytest_tiers.records import Trial
from pytest_tiers.reports.advice import moves, next_steps
from pytest_tiers.reports.cascades import cascade_lines
from pytest_tiers.reports.changes import change_sentences
from pytest_tiers.reports.control import unchecked_sentences
from pytest_tiers.reports.coverage import coverage_sentences
from pytest_tiers.reports.flakiness import flakiness_sentences, own_disagreement
from pytest_tiers.reports.html.cases import PromptCases, differing_cases, matrix
from pytest_tiers.reports.html.flow import flow, steps
from pytest_tiers.reports.html.plots import (
    CostPanel,
    choices,
    cost_range,
    latency_bar,
)
from pytest_tiers.reports.html.verdicts import candidates, cost, exact, judged_sites
from pytest_tiers.reports.html.view import (
    Group,
    Latency,
    LinkedMove,
    Number,
    Page,
    Prompt,
    Statement,
    Tier,
)
from pytest_tiers.reports.judging import judge_sentences
from pytest_tiers.reports.mixes import told_mixes
from pytest_tiers.reports.numbers import (
    count,
    exact_percent,
    exact_points,
    money,
    passed_of,
    percent,
    seconds,
)
from pytest_tiers.reports.sampling import left_out_sentences, spared_sentences
from pytest_tiers.reports.sites import site_sentences
from pytest_tiers.reports.suite import suite_sentences
from pytest_tiers.reports.table import (
    by_id,
    has_scores,
    headings,
    state,
)
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.reports.totals import (
    cost_sentences,
    everyday_sentence,
    money_sentences,
    proven,
    safe_mixes,
    sites_sentence,
    trouble_sentences,
)
from pytest_tiers.reports.words import agreement, explanations, own_names
from pytest_tiers.settings import Settings

_TITLES: Mapping[str, str] = {
    "safe": "Can move now",
    "safe without a known saving": "Safe, saving unknown",
    "undecided": "Undecided: more cases would tell",
    "worse": "Stay",
    "without a verdict": "Without a verdict",
}


#: So many downgrades stand on top; the table has them all.
_MOST_MOVES = 5


def build_page(summary: RunSummary) -> Page:
    """The page of a run."""
    settings = summary.settings
    is_comparison = settings.comparison and bool(settings.ladder.candidates)
    groups = tuple(_groups(summary))
    if is_comparison:
        what_next, steps = _what_next(summary, groups)
        statements = [_saving(summary), _confidence(summary), what_next]
    else:
        statements, steps = list(_everyday(summary)), []
    longest = _longest_seconds(summary)
    return Page(
        created=summary.created,
        headings=headings(settings.ladder.flagship, scored=has_scores(summary)),
        confidence=exact_percent(settings.confidence),
        is_comparison=is_comparison,
        statements=tuple(statements),
        steps=tuple(steps),
        groups=groups,
        suite=tuple(suite_sentences(summary)),
        sites=tuple(judged_sites(summary)),
        site_notes=tuple(site_sentences(summary)),
        latencies=tuple(_latencies(summary, longest)),
        longest=seconds(longest),
        changes=tuple(change_sentences(summary)),
        trouble=tuple(trouble_sentences(summary)),
        notes=tuple(_notes(summary)),
        about=tuple(_about(summary)),
    )


def _everyday(summary: RunSummary) -> Iterator[Statement]:
    if summary.settings.comparison:
        yield Statement("What to compare", "Nothing", "Give two tiers or more with --tiers.")
    yield Statement("What ran", "", everyday_sentence(summary))


def _saving(summary: RunSummary) -> Statement:
    share, monthly = proven(summary.savings)
    saved = f"{percent(share)} of the cost" if share else "Nothing proven yet"
    if share and monthly:
        saved += f", {money(monthly)} a month"
    return Statement("What you can save", saved, " ".join(cost_sentences(summary)))


def _what_next(summary: RunSummary, groups: Iterable[Group]) -> tuple[Statement, list[str]]:
    """What to do next, and further steps."""
    question = "What to do next"
    found = moves(summary)
    if not found:
        steps = next_steps(summary) if summary.prompts else ["Run tests that call a model."]
        return Statement(question, "", steps[0]), steps[1:]
    names = own_names(summary)
    anchors = {prompt.name: prompt.anchor for group in groups for prompt in group.prompts}
    more = len(found) - _MOST_MOVES
    statement = Statement(
        question,
        f"Move {len(found):,} of {count(len(summary.prompts), 'prompt')}",
        "Safe for this selection." if summary.selection else "",
        tuple(LinkedMove(anchors[names[each.prompt]], each) for each in found[:_MOST_MOVES]),
        f"and {count(more, 'more prompt')}" if more > 0 else "",
    )
    return statement, next_steps(summary, with_moves=False)


def _confidence(summary: RunSummary) -> Statement:
    settings = summary.settings
    states = Counter(map(state, summary.prompts))
    margins = sorted({prompt.margin for prompt in summary.prompts} or {settings.margin})
    margin = " to ".join(dict.fromkeys(map(exact_points, (margins[0], margins[-1]))))
    safe = sum(number for each, number in states.items() if each.startswith("safe"))
    selection = ", for this selection" if summary.selection else ""
    rest = [f"{states[each]:,} {each}" for each in ("worse", "undecided", "without a verdict")]
    mixes = safe_mixes(summary)
    scores = " (scores so much lower, where tests score)" if has_scores(summary) else ""
    others = ", ".join(text for text in rest if not text.startswith("0 "))
    return Statement(
        "How sure that is",
        f"{exact_percent(settings.confidence)} confidence",
        f"A cheaper tier is safe for {safe:,} of {count(len(summary.prompts), 'prompt')}"
        f"{selection}: it passes your tests at most {margin} less often than "
        f"{settings.ladder.flagship}{scores}, on inputs like these."
        + (f" The other prompts: {others}." if others else "")
        + (f" A mix of tiers is safe for {mixes:,}." if mixes else ""),
    )


def _groups(summary: RunSummary) -> Iterator[Group]:
    """The prompts by what is to be done, the decided ones first; within a group by id."""
    ordered = by_id(summary)
    trials = {
        prompt: tuple(group) for prompt, group in groupby(summary.trials, attrgetter("prompt"))
    }
    builder = _PromptBuilder(summary, cost_range(ordered))
    by_state: dict[str, list[Prompt]] = {each: [] for each in _TITLES}
    for prompt, anchor in zip(ordered, _anchors(ordered), strict=True):
        built = builder.build(prompt, anchor, trials.get(prompt.id, ()))
        by_state[state(prompt)].append(built)
    for each, prompts in by_state.items():
        if prompts:
            yield Group(_TITLES[each], tuple(prompts))


def _anchors(prompts: Iterable[PromptSummary]) -> list[str]:
    """An id for each prompt's section, readable and unlike any other."""
    found: dict[str, None] = {}
    for prompt in prompts:
        name = "prompt-" + re.sub(r"[^A-Za-z0-9._]+", "-", prompt.id)[:150].strip("-")
        number = 1
        anchor = name
        while anchor in found:
            number += 1
            anchor = f"{name}-{number}"
        found[anchor] = None
    return list(found)


class _PromptBuilder:
    """Builds each prompt's part from what holds for all of them."""

    def __init__(self, summary: RunSummary, span: tuple[float, float]) -> None:
        self._span = span
        self._number = 0
        self._names = own_names(summary)
        self._why = explanations(summary)
        self._differing = differing_cases(summary)
        self._mixes = {told.prompt: told for told in told_mixes(summary)}

    def build(self, prompt: PromptSummary, anchor: str, trials: tuple[Trial, ...]) -> Prompt:
        self._number += 1
        cases = self._differing.get(prompt.id, PromptCases())
        name = self._names[prompt.id]
        drawn = {choice.tier for choice in choices(prompt)}
        differing = [
            (f"case-{self._number}-{number}", case)
            for number, case in enumerate(cases.shown, start=1)
        ]
        # The first sample of a case is the one to begin with.
        anchors = {case.name: its_anchor for its_anchor, case in reversed(differing)}
        its_steps = tuple(steps(prompt))
        missing = [tier for tier in prompt.tiers if tier not in drawn]
        return Prompt(
            anchor=anchor,
            id=one_line(prompt.id),
            name=name,
            name_parts=tuple(re.findall(r"[^_]*_|[^_]+", name)),
            file=one_line(prompt.id.removesuffix(f"::{name}")) if name != prompt.id else "",
            cases=count(prompt.cases, "case"),
            candidates=tuple(candidates(prompt, self._why)),
            tiers=tuple(_tier(name, prompt) for name in prompt.tiers),
            flow=flow(prompt, its_steps),
            steps=its_steps,
            mix=self._mixes.get(prompt.id),
            panel=CostPanel(prompt, self._span).draw(),
            not_drawn=f"Not drawn: {listed(missing)} (cost or pass rate unknown)."
            if missing
            else "",
            notice=one_line(prompt.notice or ""),
            matrix=matrix(prompt, trials, anchors),
            differing=tuple(differing),
            left_out=_left_out(cases.left_out),
        )


def _left_out(cases: int) -> str:
    if not cases:
        return ""
    verb = "is" if cases == 1 else "are"
    return (
        f"{count(cases, 'more differing case')} {verb} left out to keep this file small: "
        "pytest -v shows them all."
    )


def _tier(name: str, prompt: PromptSummary) -> Tier:
    stats = prompt.tiers[name]
    rate = stats.pass_rate
    others = (
        ("unsupported", stats.unsupported),
        ("unlike its own sample before", stats.inconsistent),
        ("without an answer", stats.errors),
        ("without a call", stats.no_calls),
        ("unpriced", stats.unpriced_calls),
    )
    return Tier(
        name=name,
        passed=passed_of(stats.passed, stats.passed + stats.missed + stats.unsupported),
        pass_rate=Number(
            percent(rate.estimate if rate else None), exact(rate.estimate if rate else None)
        ),
        bounds=f"{percent(rate.low)} to {percent(rate.high)}" if rate else "unknown",
        cost=cost(money(stats.cost_per_1000), stats),
        tokens=f"{stats.tokens.input:,} in, {stats.tokens.output:,} out",
        p50=_seconds(stats.seconds_p50),
        p95=_seconds(stats.seconds_p95),
        others=", ".join(f"{number:,} {what}" for what, number in others if number),
        differs=_differs(name, prompt),
    )


def _differs(name: str, prompt: PromptSummary) -> Number | None:
    """How often a tier ends differently from the flagship, where the flagship's own is known."""
    found = prompt.disagreements.get(name)
    if found is None or own_disagreement(prompt) is None:
        return None
    itself = " from itself" if name == prompt.flagship else ""
    bounds = f"{percent(found.low)} to {percent(found.high)}"
    return Number(f"{percent(found.estimate)}{itself} ({bounds})", exact(found.estimate))


def _seconds(known: float | None) -> Number:
    return Number(seconds(known), exact(known))


def _longest_seconds(summary: RunSummary) -> float:
    """The largest number that the plot of latencies shows."""
    tails = [entry.seconds_p95 or 0.0 for entry in summary.ladder]
    medians = [
        stats.seconds_p50 or 0.0 for prompt in summary.prompts for stats in prompt.tiers.values()
    ]
    return max([*tails, *medians], default=0.0)


def _latencies(summary: RunSummary, longest: float) -> Iterator[Latency]:
    for entry in summary.ladder:
        yield Latency(
            tier=entry.name,
            model=one_line(entry.model or "as the application asks"),
            p50=_seconds(entry.seconds_p50),
            p95=_seconds(entry.seconds_p95),
            bar=latency_bar(entry, summary.prompts, longest),
        )


def _notes(summary: RunSummary) -> Iterator[str]:
    if summary.settings.comparison and (agreed := agreement(summary)):
        yield agreed
    yield from unchecked_sentences(summary)
    yield from flakiness_sentences(summary)
    yield from judge_sentences(summary)
    if summary.settings.comparison:
        yield from coverage_sentences(summary, everything=True)
    yield from (text for _, text in cascade_lines(summary))
    yield from left_out_sentences(summary)
    yield from spared_sentences(summary)
    yield from money_sentences(summary)
    if sites := sites_sentence(summary):
        yield sites


def _about(summary: RunSummary) -> Iterator[tuple[str, str]]:
    settings = summary.settings
    yield "Created", summary.created
    if summary.commit:
        yield "Commit", one_line(summary.commit)
    yield "Trials", f"{len(summary.trials):,}, recorded with {settings.record}"
    yield "Samples per case and tier", _samples(settings)
    yield "Margin", exact_points(settings.margin)
    yield "Confidence", exact_percent(settings.confidence)
    for entry in summary.ladder:
        yield f"Tier {entry.name}", _model(entry)


def _samples(settings: Settings) -> str:
    if settings.samples == AUTO:
        return f"as many as it takes, at most {settings.max_samples:,}"
    return f"{settings.samples:,}"


def _model(entry: LadderEntry) -> str:
    """A tier's model and price in USD per million tokens."""
    model = one_line(entry.model or "as the application asks")
    if not entry.price:
        return f"{model}, no list price"
    prices = [
        f"{money(Decimal(entry.price[key] or 0))} {key.replace('_', ' ')}"
        for key in ("input", "cached_input", "output")
        if entry.price.get(key) is not None
    ]
    source = entry.price.get("source")
    text = f"{model}: {', '.join(prices)} per million tokens"
    return f"{text} ({one_line(source)})" if source else text
