"""What several calls took together: tokens, USD, seconds."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from operator import attrgetter

from pytest_tiers.records import Call, Tokens


def seconds(calls: Iterable[Call]) -> tuple[float | None, float | None]:
    """The recorded seconds that half of the calls, and 95% of them, did not exceed."""
    known = sorted(call.seconds for call in calls if call.seconds is not None)
    return _percentile(known, 50), _percentile(known, 95)


#: The numbers of a `Tokens`, in its order.
_NUMBERS = tuple(attrgetter(each) for each in Tokens.__struct_fields__)


def total_tokens(calls: Iterable[Call]) -> Tokens:
    """The tokens of all calls whose tokens are known."""
    known = [call.tokens for call in calls if call.tokens is not None]
    return Tokens(*(sum(map(number, known)) for number in _NUMBERS))


def _percentile(ordered: list[float], percent: int) -> float | None:
    """The nearest-rank percentile: the smallest value that so many percent do not exceed."""
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)
    return ordered[rank - 1]


def cost(calls: Iterable[Call]) -> Decimal | None:
    """What the priced calls cost in USD; None where there are calls but none is priced."""
    calls = list(calls)
    if calls and all(call.cost_usd is None for call in calls):
        return None
    return priced_sum(calls)


def priced_sum(calls: Iterable[Call]) -> Decimal:
    """What the priced calls cost in USD."""
    return sum((call.cost_usd for call in calls if call.cost_usd is not None), Decimal(0))


def unpriced(calls: Iterable[Call]) -> int:
    """How many answers came whose cost is unknown."""
    return sum(call.is_unpriced for call in calls)
