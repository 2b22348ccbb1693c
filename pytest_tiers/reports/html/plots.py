"""The page's plots: where each mark stands. What it stands for comes from the summary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from operator import itemgetter

from markupsafe import Markup
from msgspec import Struct

from pytest_tiers.findings import LadderEntry, PassRate, PromptSummary
from pytest_tiers.reports.html.svg import Drawing
from pytest_tiers.reports.numbers import (
    exact_points,
    money,
    percent,
    points_at_most,
    seconds,
)
from pytest_tiers.reports.text import cut, one_line
from pytest_tiers.verdicts import Comparison

_BAR_WIDTH, _BAR_HEIGHT = 160, 16
_PANEL_WIDTH, _PANEL_HEIGHT = 332, 214
#: Room for the labels around a panel: left, right, top, bottom.
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 24, 40, 40
_LONGEST_LABEL = 12
#: A character of a label takes about so many pixels, a line so many.
_CHARACTER, _LINE = 7, 14
#: A panel has room for so many lines of labels; more make it taller.
_ROWS = 2


def evidence_bar(comparison: Comparison) -> Markup | None:
    """How large a drop may still be, up to 100 points; beyond the bar it is ruled out.

    None where nothing was compared.
    """
    bound = comparison.largest_drop
    if bound is None:
        return None
    drawing = Drawing(
        _BAR_WIDTH,
        _BAR_HEIGHT,
        f"Drops of more than {points_at_most(bound)} are ruled out; "
        f"the margin is {exact_points(comparison.margin)}.",
        class_="bar",
        # Narrow screens and paper press it together; it keeps its height.
        preserveAspectRatio="none",
    )

    def at(share: float) -> float:
        return 1 + max(0.0, min(share, 1.0)) * (_BAR_WIDTH - 2)

    drawing.add("rect", class_="track", x=0, y=5, width=_BAR_WIDTH, height=6)
    drawing.add("rect", class_=comparison.verdict, x=0, y=5, width=max(2.0, at(bound)), height=6)
    if comparison.difference is not None:
        drawing.add("circle", class_="seen", cx=at(-comparison.difference), cy=8, r=3)
    margin = at(comparison.margin)
    drawing.add("line", class_="margin", x1=margin, y1=0, x2=margin, y2=_BAR_HEIGHT)
    return drawing.markup


def latency_bar(
    entry: LadderEntry, prompts: Iterable[PromptSummary], longest: float
) -> Markup | None:
    """One tier's recorded seconds: from p50 to p95, and a tick for each prompt's p50.

    ``longest`` seconds are the full width. None where no call has a time.
    """
    p50, p95 = entry.seconds_p50, entry.seconds_p95
    if p50 is None or p95 is None:
        return None
    drawing = Drawing(
        2 * _BAR_WIDTH,
        _BAR_HEIGHT,
        f"Half of the calls took at most {seconds(p50)}, 95% at most {seconds(p95)}.",
        class_="bar",
        preserveAspectRatio="none",
    )

    def at(value: float) -> float:
        return 1 + (value / longest if longest else 0.0) * (2 * _BAR_WIDTH - 2)

    drawing.add("rect", class_="track", x=0, y=5, width=2 * _BAR_WIDTH, height=6)
    drawing.add(
        "rect", class_="spread", x=at(p50), y=5, width=max(2.0, at(p95) - at(p50)), height=6
    )
    for prompt in prompts:
        stats = prompt.tiers.get(entry.name)
        if stats is not None and stats.seconds_p50 is not None:
            x = at(stats.seconds_p50)
            drawing.add("line", class_="tick", x1=x, y1=3, x2=x, y2=13)
    drawing.add("circle", class_="seen", cx=at(p50), cy=8, r=4)
    return drawing.markup


class Choice(Struct, frozen=True):
    """One tier of a prompt in the plot; ``cost`` in USD for 1,000 runs."""

    tier: str
    cost: Decimal
    rate: PassRate
    is_today: bool
    is_recommended: bool


def choices(prompt: PromptSummary) -> list[Choice]:
    """The tiers whose cost and pass rate are known, in the order of the ladder."""
    return [
        Choice(
            tier,
            stats.cost_per_1000,
            stats.pass_rate,
            is_today=tier == prompt.flagship,
            is_recommended=tier == prompt.recommended,
        )
        for tier, stats in prompt.tiers.items()
        if stats.cost_per_1000 is not None and stats.pass_rate is not None
    ]


def frontier(found: Iterable[Choice]) -> list[Choice]:
    """The choices that no cheaper one, or one as cheap, equals in pass rate: cheapest first."""
    best: list[Choice] = []
    for choice in sorted(found, key=lambda each: (each.cost, -each.rate.estimate)):
        if not best or choice.rate.estimate > best[-1].rate.estimate:
            best.append(choice)
    return best


def cost_range(prompts: Iterable[PromptSummary]) -> tuple[float, float]:
    """The decades' part that holds every known cost above 0, as log10 of USD per 1,000 runs."""
    logs = [
        math.log10(choice.cost)
        for prompt in prompts
        for choice in choices(prompt)
        if choice.cost > 0
    ]
    low, high = min(logs, default=-1.0), max(logs, default=0.0)
    room = max(0.15, (high - low) * 0.12)
    return low - room, high + room


class CostPanel:
    """Cost of 1,000 runs (log) against pass rate with its bounds, for one prompt.

    ``span`` is that of `cost_range`, the same for all panels, so that they can be compared. What
    costs nothing stands at the left edge.
    """

    def __init__(self, prompt: PromptSummary, span: tuple[float, float]) -> None:
        self._low, self._high = span
        self._choices = choices(prompt)
        placed = [(self._x(each), each) for each in self._choices]
        self._labelled = list(_rows_of_labels(placed))
        rows = max((row + 1 for _, row in self._labelled), default=0)
        self._drawing = Drawing(
            _PANEL_WIDTH,
            _PANEL_HEIGHT,
            f"{one_line(prompt.id)}: cost of 1,000 runs against pass rate",
            " ".join(map(_in_words, self._choices)) or "No tier has a known cost and pass rate.",
            above=max(0, rows - _ROWS) * _LINE,
            class_="panel",
        )

    def draw(self) -> Markup:
        """The panel."""
        self._axes()
        line = " ".join(
            f"{self._x(each):.1f},{self._y(each.rate.estimate):.1f}"
            for each in frontier(self._choices)
        )
        self._drawing.add("polyline", class_="frontier", points=line)
        for choice, row in self._labelled:
            self._choice(choice, row)
        return self._drawing.markup

    def _x(self, choice: Choice) -> float:
        return self._x_of(math.log10(choice.cost)) if choice.cost > 0 else float(_LEFT)

    def _x_of(self, log: float) -> float:
        share = (log - self._low) / (self._high - self._low)
        return _LEFT + share * (_PANEL_WIDTH - _LEFT - _RIGHT)

    @staticmethod
    def _y(rate: float) -> float:
        return _TOP + (1 - rate) * (_PANEL_HEIGHT - _TOP - _BOTTOM)

    def _axes(self) -> None:
        drawing = self._drawing
        for rate in (0.0, 0.5, 1.0):
            y = self._y(rate)
            drawing.add("line", class_="grid", x1=_LEFT, y1=y, x2=_PANEL_WIDTH - _RIGHT, y2=y)
            drawing.text("text", f"{rate:.0%}", class_="axis end", x=_LEFT - 5, y=y + 4)
        bottom = _PANEL_HEIGHT - _BOTTOM
        for usd, log in _ticks(self._low, self._high):
            x = self._x_of(log)
            drawing.add("line", class_="grid", x1=x, y1=_TOP, x2=x, y2=bottom)
            drawing.text("text", money(usd), class_="axis middle", x=x, y=bottom + 16)
        across, up = (_LEFT + _PANEL_WIDTH - _RIGHT) / 2, (_TOP + bottom) / 2
        drawing.text("text", "USD per 1,000 runs", class_="name middle", x=across, y=bottom + 32)
        # Turned, what was up is left.
        drawing.text(
            "text", "cases passed", class_="name middle", transform="rotate(-90)", x=-up, y=10
        )

    def _choice(self, choice: Choice, row: int) -> None:
        drawing, x, y = self._drawing, self._x(choice), self._y(choice.rate.estimate)
        kind = "best" if choice.is_recommended else "today" if choice.is_today else "other"
        low, high = self._y(choice.rate.low), self._y(choice.rate.high)
        drawing.add("line", class_=f"bounds {kind}", x1=x, y1=high, x2=x, y2=low)
        drawing.add("circle", class_=f"dot {kind}", cx=x, cy=y, r=5)
        label = cut(choice.tier, _LONGEST_LABEL)
        drawing.text("text", label, class_=f"label {kind} middle", x=x, y=_TOP - 11 - row * _LINE)


def _rows_of_labels(found: Iterable[tuple[float, Choice]]) -> Iterator[tuple[Choice, int]]:
    """Each choice with the line above the plot that its name stands in, so that none overlap."""
    ends: list[float] = []
    for x, choice in sorted(found, key=itemgetter(0)):
        half = _CHARACTER * (min(len(choice.tier), _LONGEST_LABEL) + 1) / 2
        line = next((line for line, end in enumerate(ends) if x - half >= end), len(ends))
        ends[line : line + 1] = [x + half]
        yield choice, line


def _in_words(choice: Choice) -> str:
    rate = choice.rate
    mark = " (today)" if choice.is_today else " (recommended)" if choice.is_recommended else ""
    return (
        f"{choice.tier}{mark}: {money(choice.cost)}, passes {percent(rate.estimate)} "
        f"({percent(rate.low)} to {percent(rate.high)})."
    )


def _ticks(low: float, high: float) -> Sequence[tuple[Decimal, float]]:
    """Round amounts in a range of logs: 1, 2 and 5 of each decade, fewer where it is wide."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [
            (Decimal(step).scaleb(decade), decade + math.log10(step))
            for decade in range(math.floor(low), math.ceil(high) + 1)
            for step in steps
        ]
        inside = [tick for tick in found if low <= tick[1] <= high]
        if len(inside) <= 5:
            break
    return inside
