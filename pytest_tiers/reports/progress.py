"""How far a recording has come, in one line."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from pytest_tiers.reports.numbers import count, money


class SoFar(Struct, frozen=True):
    """What a run has recorded: trials ``done`` of ``trials``, and calls ``under_way``.

    ``spent`` is in USD, ``unpriced`` counts the calls that are not in it, ``seconds`` is how long
    it took.
    """

    done: int
    trials: int
    under_way: int
    spent: Decimal
    unpriced: int
    seconds: float


def progress_line(so_far: SoFar, width: int) -> str:
    """The line, with as much as the width has room for, the most important first.

    The time left is what the trials to come take if they take as long as those that are done.
    """
    parts = [
        f"tiers: {so_far.done} of {so_far.trials} trials",
        f"{count(so_far.under_way, 'call')} under way",
        f"{money(so_far.spent)}{'+' if so_far.unpriced else ''} spent",
    ]
    if so_far.done:
        left = so_far.seconds / so_far.done * (so_far.trials - so_far.done)
        parts.append(f"about {_clock(left)} left")
    while len(" · ".join(parts)) > width and len(parts) > 1:
        parts.pop()
    return " · ".join(parts)[:width]


def _clock(seconds: float) -> str:
    """Minutes and seconds: ``2:05``; with hours where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
