"""The flow of a prompt's calls as a small picture: its sites in order, tier and cost of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from markupsafe import Markup
from msgspec import Struct

from pytest_tiers.findings import PromptSummary, SiteStats
from pytest_tiers.reports.html.svg import Drawing
from pytest_tiers.reports.site_costs import SiteRow, site_rows
from pytest_tiers.reports.text import cut, one_line

#: A box and the way to the next, in pixels; the bar of cost stands at its foot.
_WIDTH, _HEIGHT, _GAP, _BAR = 132, 66, 26, 5
#: Boxes in one picture; a row is as wide as a column of text.
_MOST_BOXES, _IN_ROW = 12, 4
_ROW = _HEIGHT + _GAP
#: Characters that fit into a box.
_LONGEST = 17


class Step(Struct, frozen=True):
    """One call site of a prompt by its short ``name``; ``tier`` is the one it should run on."""

    row: SiteRow
    name: str
    tier: str


def steps(prompt: PromptSummary) -> Iterator[Step]:
    """The sites of a prompt in the order of a trial, each on the tier that is recommended."""
    mix = prompt.mix.recommended if prompt.mix is not None else None
    whole = prompt.recommended or prompt.flagship or ""
    for site, row in zip(prompt.sites, site_rows(prompt), strict=True):
        yield Step(
            row=row,
            name=row.site if site.key.startswith("site:") else row.site.rpartition(" ")[2],
            tier=whole if mix is None else mix.tiers.get(site.key, whole),
        )


def flow(prompt: PromptSummary, found: Iterable[Step]) -> Markup | None:
    """The picture; None where there is one step only."""
    boxes = list(zip(found, prompt.sites, strict=True))
    if len(boxes) < 2:
        return None
    shown = boxes[:_MOST_BOXES]
    columns = min(len(shown), _IN_ROW)
    rows = -(-len(shown) // _IN_ROW)
    words = "; ".join(
        f"{step.name} on {step.tier}, {step.row.cost_share} of cost" for step, _ in boxes
    )
    drawing = Drawing(
        columns * _WIDTH + (columns - 1) * _GAP,
        rows * _ROW - _GAP,
        f"{one_line(prompt.id)}: {len(boxes)} steps",
        f"{words}.",
        class_="panel flow",
    )
    for number, (step, site) in enumerate(shown):
        _box(drawing, number, step, site, is_today=step.tier == prompt.flagship)
        if number + 1 < len(shown):
            _arrow(drawing, number)
    return drawing.markup


def _corner(number: int) -> tuple[int, int]:
    row, column = divmod(number, _IN_ROW)
    return column * (_WIDTH + _GAP), row * _ROW


def _box(drawing: Drawing, number: int, step: Step, site: SiteStats, *, is_today: bool) -> None:
    x, y = _corner(number)
    middle = x + _WIDTH / 2
    kind = "today" if is_today else "best"
    drawing.add("rect", class_=f"step {kind}", x=x, y=y, width=_WIDTH, height=_HEIGHT - _BAR)
    drawing.text("text", cut(step.name, _LONGEST), class_="middle", x=middle, y=y + 18)
    tier = cut(step.tier, _LONGEST)
    drawing.text("text", tier, class_=f"label {kind} middle", x=middle, y=y + 35)
    cost = f"{step.row.cost_share} of cost"
    drawing.text("text", cost, class_="axis middle", x=middle, y=y + 51)
    foot = y + _HEIGHT - _BAR
    drawing.add("rect", class_="track", x=x, y=foot, width=_WIDTH, height=_BAR)
    if site.cost_share:
        width = max(1.0, site.cost_share * _WIDTH)
        drawing.add("rect", class_="share", x=x, y=foot, width=width, height=_BAR)


def _arrow(drawing: Drawing, number: int) -> None:
    """From a box to the next one: to the right, or from the end of a row down to the next."""
    (x, y), (next_x, next_y) = _corner(number), _corner(number + 1)
    middle = y + (_HEIGHT - _BAR) / 2
    if next_y == y:
        tip = next_x - 3
        points = f"{x + _WIDTH + 3},{middle} {tip},{middle}"
        head = f"{tip},{middle} {tip - 6},{middle - 4} {tip - 6},{middle + 4}"
    else:
        low, tip, right = y + _HEIGHT + _GAP / 2, next_y - 3, x + _WIDTH / 2
        left = next_x + _WIDTH / 2
        points = f"{right},{y + _HEIGHT} {right},{low} {left},{low} {left},{tip}"
        head = f"{left},{tip} {left - 4},{tip - 6} {left + 4},{tip - 6}"
    drawing.add("polyline", class_="way", points=points)
    drawing.add("polygon", class_="tip", points=head)
