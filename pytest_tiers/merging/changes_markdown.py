"""What changed between two reports, as Markdown for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from pytest_tiers.merging.alike import shown
from pytest_tiers.merging.differences import Differences, Side, TierChange
from pytest_tiers.reports.markdown import bullets, escaped, table_row
from pytest_tiers.reports.numbers import count, money, passed_of, percent
from pytest_tiers.reports.text import one_line

#: GitHub takes comments of up to 65,536 characters.
_MOST_ROWS = 100

#: A smaller change of cost is not worth a row: token counts of fresh answers vary.
_COST_MAY_CHANGE = 0.01


def markdown(found: Differences) -> str:
    """The document."""
    return "".join(_parts(found))


def _parts(found: Differences) -> Iterator[str]:
    changed = [change for change in found.tiers if _tells(change)]
    yield f"### tiers: {_title(found, changed)}\n\n"
    yield f"{_commits(found)}\n\n"
    yield from bullets("Gate: failed", (*found.new_failures, *_old_failures(found)))
    yield from bullets("Not like for like", map(_unlike, found.unlike))
    yield from bullets("What changed", _changes(found))
    if changed:
        head = ("prompt", "tier", "verdict", "passed", "1,000 runs")
        yield table_row(head)
        yield table_row(["---"] * len(head))
        for change in changed[:_MOST_ROWS]:
            yield table_row(map(escaped, _row(change)))
        yield "\n"
        if len(changed) > _MOST_ROWS:
            yield f"and {len(changed) - _MOST_ROWS:,} more rows\n\n"
    yield from bullets("How far to trust it", _trust(changed))


def _title(found: Differences, changed: list[TierChange]) -> str:
    verdicts = sum(change.verdict_changed for change in found.tiers)
    parts = [
        count(verdicts, "verdict") + " changed" if verdicts else "",
        count(len(found.added), "new prompt") if found.added else "",
        _gone(found) if found.removed else "",
    ]
    said = [part for part in parts if part] or (
        ["no verdict changed"] if changed else ["nothing changed"]
    )
    return ", ".join([*said, _gate(found)])


def _gone(found: Differences) -> str:
    return count(len(found.removed), "prompt") + (" not in this run" if found.is_part else " gone")


def _gate(found: Differences) -> str:
    before, after = found.gates
    if before == after:
        return "gate passes" if after else "gate fails, as before"
    return "gate passes now" if after else "gate fails now"


def _commits(found: Differences) -> str:
    before, after = (commit or "an unknown commit" for commit in found.commits)
    spent = f" The later run spent {money(found.spent_usd)}." if found.spent_usd else ""
    return f"From {escaped(before)} to {escaped(after)}.{spent}"


def _old_failures(found: Differences) -> Iterator[str]:
    if not found.gates[1] and not found.new_failures:
        yield "for the same reasons as before"


def _unlike(unlike: tuple[str, Any, Any]) -> str:
    name, before, after = unlike
    return one_line(f"{name}: {shown(before)} before, {shown(after)} now")


def _changes(found: Differences) -> Iterator[str]:
    for failure in found.mended_failures:
        yield f"no longer fails: {failure}"
    for change in found.tiers:
        if change.verdict_changed:
            yield f"{_name(change)}: {_arrow(_verdict(change.before), _verdict(change.after))}"
    for prompt, before, after in found.recommended:
        yield f"{one_line(prompt)}: recommended {before or 'to stay'}, now {after or 'to stay'}"
    for prompt in found.added:
        yield f"new: {one_line(prompt)}"
    for prompt in found.removed:
        yield f"{'not in this run' if found.is_part else 'gone'}: {one_line(prompt)}"
    if found.savings[0] != found.savings[1]:
        share, now = map(percent, found.savings)
        yield f"proven saving: {share} of the flagship's cost before, {now} now"
    costs = [money(usd) for usd in found.flagship_usd_per_1000]
    if costs[0] != costs[1]:
        yield f"1,000 runs of each prompt on the flagship: {_arrow(*costs)}"


def _tells(change: TierChange) -> bool:
    cost = change.cost_change
    return (
        change.verdict_changed
        or (change.before is None) is not (change.after is None)
        or _passed(change.before) != _passed(change.after)
        or bool(change.judged or change.answered)
        or (cost is not None and abs(cost) >= _COST_MAY_CHANGE)
    )


def _row(change: TierChange) -> list[str]:
    before, after = change.before, change.after
    cost = _arrow(_cost(before), _cost(after))
    if change.cost_change:
        cost += f" ({'+' if change.cost_change > 0 else '-'}{percent(abs(change.cost_change))})"
    return [
        one_line(change.prompt),
        one_line(change.tier),
        _arrow(_verdict(before), _verdict(after)),
        _arrow(_passed(before), _passed(after)),
        cost,
    ]


def _trust(changed: Iterable[TierChange]) -> Iterator[str]:
    for change in changed:
        if change.judged:
            yield (
                f"{_name(change)}: {count(change.judged, 'trial')} with the same recorded answer "
                "ended otherwise. The code or the test did that."
            )
        if change.answered:
            apart = (
                "The bounds of the two pass rates exclude each other: chance rarely does that"
                if change.rates_are_apart
                else "The bounds of the two pass rates overlap: this may be chance"
            )
            yield (
                f"{_name(change)}: {count(change.answered, 'trial')} with another answer ended "
                f"otherwise. {apart}."
            )


def _name(change: TierChange) -> str:
    return one_line(f"{change.prompt} on {change.tier}")


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _verdict(side: Side | None) -> str:
    return "-" if side is None or side.verdict is None else side.verdict


def _passed(side: Side | None) -> str:
    return "-" if side is None else passed_of(side.passed, side.answered)


def _cost(side: Side | None) -> str:
    cost: Decimal | None = None if side is None else side.usd_per_1000
    return "-" if side is None else money(cost)
