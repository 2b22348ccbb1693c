"""How far a recording has come, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from pytest_tiers.reports.numbers import count, money
from pytest_tiers.reports.text import cut, one_line
from pytest_tiers.searching import Searching

#: Columns of a prompt's name, so that the money has room beside it.
_LONGEST_NAME = 24


class SoFar(Struct, frozen=True):
    """What a run has recorded: trials ``done`` of ``trials``, and calls ``under_way``.

    ``spent`` is in USD, ``unpriced`` counts the calls that are not in it, ``seconds`` is how long
    it took. ``searches`` for mixes are under way.
    """

    done: int
    trials: int
    under_way: int
    spent: Decimal
    unpriced: int
    seconds: float
    searches: Sequence[Searching] = ()


def progress_line(so_far: SoFar, width: int) -> str:
    """The line, with as much as the width has room for, the most important first.

    The time left is what the trials to come take if they take as long as those that are done; of
    a search nobody knows.
    """
    trials = f"{so_far.done} of {so_far.trials} trials"
    under_way = f"{count(so_far.under_way, 'call')} under way"
    spent = f"{money(so_far.spent)}{'+' if so_far.unpriced else ''} spent"
    if so_far.searches:
        parts = [f"tiers: {_search(so_far.searches)}", spent, under_way, trials]
    else:
        parts = [f"tiers: {trials}", under_way, spent]
    if so_far.done and not so_far.searches:
        left = so_far.seconds / so_far.done * (so_far.trials - so_far.done)
        parts.append(f"about {_clock(left)} left")
    while len(" · ".join(parts)) > width and len(parts) > 1:
        parts.pop()
    return " · ".join(parts)[:width]


def _search(searches: Sequence[Searching]) -> str:
    """What is searched: with one search the mix that is tried, of several how many they are."""
    calls = count(sum(each.calls for each in searches), "call")
    first = searches[0]
    if len(searches) > 1:
        return f"{len(searches)} searches for mixes, {calls}"
    name = cut(one_line(first.prompt.rpartition("::")[2]), _LONGEST_NAME)
    return f"mix of {name}, step {first.step} of at most {first.most}, {calls}"


def _clock(seconds: float) -> str:
    """Minutes and seconds: ``2:05``; with hours where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
