"""Numbers as a reader sees them: money, percent, points, counts. Unknown is never shown as 0."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

#: More cases than anybody writes.
MANY = 1000

_UNKNOWN = "unknown"


def plain(usd: Decimal) -> str:
    """An exact amount for a file: no exponent, no trailing zeros."""
    text = format(usd, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def money(usd: Decimal | None) -> str:
    """An amount in USD: cents, or three significant digits below a dollar; None is "unknown"."""
    if usd is None:
        return _UNKNOWN
    if not usd:
        return "$0"
    sign, size = ("-" if usd < 0 else ""), abs(usd)
    if size >= 1000:
        return f"{sign}${size:,.0f}"
    if size >= 1:
        return f"{sign}${size:,.2f}"
    digits = max(2, 2 - size.adjusted())
    text = f"{size:.{digits}f}"
    whole, _, fraction = text.partition(".")
    return f"{sign}${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def amount(usd: Decimal, unpriced_calls: int) -> str:
    """What is known of a sum, and how many calls are missing from it."""
    if not unpriced_calls:
        return money(usd)
    calls = count(unpriced_calls, "unpriced call")
    return f"{money(usd)} and {calls}" if usd else f"an unknown amount ({calls})"


def percent(share: float | None) -> str:
    """A share, rounded to whole percent; "100%" and "0%" only where they are exact."""
    if share is None:
        return _UNKNOWN
    exact = Decimal(str(share)) * 100
    rounded = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    if rounded == 100 and exact < 100:
        return ">99%"
    if not rounded and exact:
        return "<1%" if exact > 0 else ">-1%"
    return f"{rounded:,}%"


def exact_percent(share: float) -> str:
    """A setting such as the confidence 0.95, as it was given: "95%"."""
    return f"{plain(Decimal(str(share)) * 100)}%"


def exact_points(share: float) -> str:
    """A setting such as the margin 0.075, as it was given: "7.5 points"."""
    number = plain(Decimal(str(share)) * 100)
    return "1 point" if number == "1" else f"{number} points"


def points_at_most(bound: float) -> str:
    """An upper bound in percentage points, never rounded down: 0.0995 and 0.1 are "10 points"."""
    points = int((Decimal(str(bound)) * 100).to_integral_value(ROUND_CEILING))
    return count(max(0, points), "point")


def points_about(difference: float) -> str:
    """The size of an estimate in percentage points, to the nearest: "about 4 points"."""
    rounded = int((abs(Decimal(str(difference))) * 100).quantize(Decimal(1), ROUND_HALF_UP))
    return f"about {count(rounded, 'point')}" if rounded else "less than 1 point"


def seconds(known: float | None) -> str:
    """Recorded seconds: "0.24 s", "6.9 s", "128 s"."""
    if known is None:
        return _UNKNOWN
    digits = 0 if known >= 99.5 else 1 if known >= 0.995 else 2
    return f"{known:,.{digits}f} s"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 case", "1,081 cases"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def passed_of(passed: int, of: int) -> str:
    """A pass rate as "31/32", which shows how much stands behind it; "-" where nothing does."""
    return f"{passed}/{of}" if of else "-"


def score(mean: float) -> str:
    """A mean score from 0 to 1, "0.83"; "1.00" and "0.00" only where they are exact."""
    exact = Decimal(str(mean))
    rounded = exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    if rounded == 1 and exact < 1:
        return ">0.99"
    return "<0.01" if not rounded and exact else str(rounded)


def span(low: int, high: int) -> str:
    """A range of whole numbers: "9 to 14", or "9" where both are the same."""
    low, high = min(low, high), max(low, high)
    if low == high:
        return f"{low:,}"
    # An extrapolation this far is no forecast, only "many".
    return f"{low:,} to over {MANY:,}" if high > MANY > low else f"{low:,} to {high:,}"
