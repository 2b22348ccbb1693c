"""What calls cost in USD, exactly, and what a request may cost before it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.records import Tokens
from pytest_tiers.tiers import BUILT_IN, Price, Tier

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo, ModelPrice, Provider, TieredPrices

#: Enough digits for exact sums, whatever precision the application under test has set.
EXACT = Context(prec=80)

#: Service tiers that are billed at the standard price; ``on_demand`` is Groq's word for it.
_STANDARD = frozenset({None, "", "auto", "default", "standard", "on_demand"})

#: The date of a snapshot at the end of a model name.
_DATE = re.compile(r"-20\d\d-?\d\d-?\d\d$")

#: A date or a short version (``-0613``, ``-2506``, ``-001``) at the end of a model name.
_VERSION = re.compile(r"-(20\d\d-?\d\d-?\d\d|\d{3,4})$")

#: Tokens that a price is for.
_MILLION = 1_000_000

#: Prices of tokens that we count, and of what no call of ours reports.
_PLAIN_PRICES = frozenset(
    {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"}
    | {"web_searches_kcount", "storage_searches_kcount"}
)

#: Largest context window assumed where the model's own is unknown, in tokens.
_LARGEST_CONTEXT = 1_048_576

#: Output assumed for a prompt's first call when the request sets no limit, in tokens.
_FIRST_OUTPUT = 4_096

#: How many times the measured use another call of the same prompt may need.
_HEADROOM = 4


# Prices


def price_of(
    tokens: Tokens | None,
    tier: Tier,
    *,
    answered_by: str | None,
    sent: str | None = None,
    recorded_at: datetime | str | None = None,
    service_tier: str | None = None,
    base_url: str | None = None,
    uncached: bool = False,
    billed_apart: bool = False,
) -> Decimal | None:
    """The cost of one call in USD, or None where it is unknown (never 0 for unknown).

    The tier's own ``price`` counts, else its ``price_as``, else what genai-prices lists at
    ``recorded_at`` (ISO 8601; without a zone UTC; None: now) for the model that answered, or
    the model ``sent`` where the answer names none or a snapshot of it. ``base_url`` (else the
    tier's) tells the provider; at an unknown host, such as a gateway, the name alone does.
    ``uncached`` prices all input at the uncached price, to compare tiers whose caches were not
    equally warm.

    A listed name must match whole, or but for its date or version (``gpt-5.4-2026-03-05``):
    genai-prices matches some models by a part of the name, and a wrong price is worse than
    none. A service tier for which nothing is listed at that time is unknown too, and so is a
    call that was ``billed_apart`` for more than tokens (`pytest_tiers.usage.Answer`).
    """
    if tokens is None or billed_apart:
        return None
    if uncached:
        tokens = replace(tokens, cached_input=0, cache_write=0)
    query = _Query(tier, answered_by, sent, recorded_at, service_tier, base_url)
    return _price(tokens, query)


def list_price(tier: Tier, at: datetime | str | None = None) -> dict[str, str | None] | None:
    """The tier's price for a report: USD per million tokens as text, and where it comes from.

    None where it is unknown, and for `CURRENT`, which has no model of its own. ``cached_input``
    None means that cached input costs as much as other input. Where the price rises with the
    length of the input, it is that of a short one.
    """
    if tier.price is not None:
        built_in = BUILT_IN.get(tier.name)
        is_ours = built_in is not None and built_in.price == tier.price
        return _price_entry(tier.price, "built in" if is_ours else "configuration")
    found = _find(_Query(tier, tier.model, at=at))
    # One token of each: a model with a price for only one of them is unknown.
    if found is None or not _is_priced(Tokens(1, 0, 1, 0), found.prices):
        return None
    from genai_prices import __version__

    listed = found.prices
    price = Price(
        input=_base(listed.input_mtok) or Decimal(0),
        output=_base(listed.output_mtok) or Decimal(0),
        cached_input=_base(listed.cache_read_mtok),
    )
    source = f"genai-prices {__version__}"
    return _price_entry(price, f"as {tier.price_as}, {source}" if tier.price_as else source)


class _Query(Struct, frozen=True):
    """What decides the price of a token, beside the tokens."""

    tier: Tier
    answered_by: str | None
    sent: str | None = None
    at: datetime | str | None = None
    service_tier: str | None = None
    base_url: str | None = None

    @property
    def names(self) -> list[str]:
        """The names to price by, best first."""
        if self.tier.price_as is not None:
            return [self.tier.price_as]
        sent = self.sent or self.tier.model
        if not self.answered_by:
            return [sent] if sent else []
        if sent and _VERSION.sub("", self.answered_by) == sent:
            return [self.answered_by, sent]
        return [self.answered_by]

    @property
    def provider_url(self) -> str | None:
        """The URL that tells the provider, None where the name alone has to."""
        url = None if self.tier.price_as is not None else self.base_url or self.tier.base_url
        return url if _is_known_host(url) else None

    @property
    def when(self) -> datetime:
        """The time whose prices count. Raises ValueError where it is not ISO 8601."""
        when = datetime.fromisoformat(self.at) if isinstance(self.at, str) else self.at
        return when or datetime.now(UTC)

    @property
    def context(self) -> dict[str, str] | None:
        """genai-prices' context of the service tier; None at the standard price."""
        if self.service_tier in _STANDARD:
            return None
        if self.service_tier == "batch":
            return {"processing": "batch"}
        return {"service_tier": str(self.service_tier)}


class _Listed(Struct, frozen=True):
    """What genai-prices lists for a model, and the prices that apply to a query."""

    provider: Provider
    model: ModelInfo
    prices: ModelPrice


def _price(tokens: Tokens, query: _Query) -> Decimal | None:
    price = query.tier.price
    if price is None:
        return _listed_price(tokens, query)
    cached = price.input if price.cached_input is None else price.cached_input
    with localcontext(EXACT):
        full = price.input * (tokens.input - tokens.cached_input) + price.output * tokens.output
        return (full + cached * tokens.cached_input) / 1_000_000


def _listed_price(tokens: Tokens, query: _Query) -> Decimal | None:
    found = _find(query)
    if found is None or not _is_priced(tokens, found.prices):
        return None
    with localcontext(EXACT):
        try:
            return _total(tokens, found.prices)
        except ValueError:  # more tokens cached than there are
            return None


def _total(tokens: Tokens, prices: ModelPrice) -> Decimal:
    """What genai-prices computes, without its general way, which takes a millisecond a call."""
    from genai_prices import Usage
    from genai_prices.types import calc_unit_price

    priced = {key for key, price in vars(prices).items() if price is not None}
    rest = tokens.input
    total = Decimal(0)
    for key, count in (
        ("cache_read_mtok", tokens.cached_input),
        ("cache_write_mtok", tokens.cache_write),
    ):
        if key in priced:  # else it costs what other input costs
            rest -= count
            total += calc_unit_price(getattr(prices, key), count, tokens.input, _MILLION)
    if not priced <= _PLAIN_PRICES or rest < 0:
        usage = Usage(
            input_tokens=tokens.input,
            cache_read_tokens=tokens.cached_input,
            cache_write_tokens=tokens.cache_write,
            output_tokens=tokens.output,
        )
        return prices.calc_price(usage)["total_price"]
    total += calc_unit_price(prices.input_mtok, rest, tokens.input, _MILLION)
    return total + calc_unit_price(prices.output_mtok, tokens.output, tokens.input, _MILLION)


def _find(query: _Query) -> _Listed | None:
    """What genai-prices lists for the first name that it really knows; None: nothing.

    It reads the prices that came with it, never the network.
    """
    url = query.provider_url
    for name in query.names:
        for spelling in dict.fromkeys((name, _DATE.sub("", name))):
            found = _model(spelling, url)
            if found is None:
                continue
            provider, model = found
            try:
                when = query.when
            except ValueError:
                return None
            if query.context is None:
                return _Listed(provider, model, model.get_prices(when))
            if not _has_variant(provider, model, query.context, when):
                return None
            return _Listed(provider, model, model.get_prices(when, query.context))
    return None


@lru_cache(maxsize=1_000)  # a run asks for each of its calls, of a few models
def _model(name: str, url: str | None) -> tuple[Provider, ModelInfo] | None:
    """The model of that name, whole or but for its date or version; None: it is not listed.

    Other matches are by a mere part of the name.
    """
    from genai_prices.data_snapshot import get_snapshot

    try:
        provider, model = get_snapshot().find_provider_model(name, None, None, url)
    except (LookupError, ValueError):
        return None
    names = {name.lower(), _VERSION.sub("", name.lower())}
    is_listed = model.id.lower() in names or not names.isdisjoint(_spelled_out(model.match))
    return (provider, model) if is_listed else None


@lru_cache(maxsize=1_000)
def _is_known_host(url: str | None) -> bool:
    from genai_prices.data_snapshot import get_snapshot

    if url is None:
        return False
    try:
        get_snapshot().find_provider(None, None, url)
    except LookupError:
        return False
    return True


def _spelled_out(match: MatchLogic) -> Iterator[str]:
    """The names in a match: whole ones, and those that it takes for a beginning or an end."""
    from genai_prices import types

    if isinstance(match, types.ClauseOr):
        for clause in match.or_:
            yield from _spelled_out(clause)
    elif isinstance(match, types.ClauseEquals):
        yield match.equals.lower()
    elif isinstance(match, types.ClauseStartsWith):
        yield match.starts_with.lower()
    elif isinstance(match, types.ClauseEndsWith):
        yield match.ends_with.lower()


def _is_priced(tokens: Tokens, prices: ModelPrice) -> bool:
    """Whether all that was used has a price: genai-prices counts what has none as 0."""
    is_missing = (tokens.input and prices.input_mtok is None) or (
        tokens.output and prices.output_mtok is None
    )
    return not is_missing


def _has_variant(
    provider: Provider, model: ModelInfo, context: dict[str, str], when: datetime
) -> bool:
    """Whether genai-prices has a price for the context; else it takes the standard one.

    It does so for unknown service tiers, before the date of the variant, and where one provider
    borrows the prices of another (Azure).
    """
    if not any(one is model for one in provider.models):
        return False
    return any(
        variant.when.items() <= context.items()
        and (variant.constraint is None or variant.constraint.active(when))
        for variant in model.price_variants or ()
    )


def _base(price: Decimal | TieredPrices | None) -> Decimal | None:
    return price if price is None or isinstance(price, Decimal) else price.base


def _price_entry(price: Price, source: str) -> dict[str, str | None]:
    cached = None if price.cached_input is None else plain(price.cached_input)
    return {
        "input": plain(price.input),
        "cached_input": cached,
        "output": plain(price.output),
        "source": source,
    }


def plain(amount: Decimal) -> str:
    """An amount without exponent, to the cent or as exact as it is: 0.20, 0.028."""
    exponent = amount.normalize(EXACT).as_tuple().exponent
    places = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{amount:.{places}f}"


# What a request may cost


class Estimate(Struct, frozen=True):
    """What a request may cost at most, in USD.

    ``usd`` is None where the tier cannot be priced, or nothing bounds the input. ``bounded`` is
    False where neither the request nor an earlier call limits the output: ``usd`` then assumes
    4,096 tokens of it, and the call should go alone.
    """

    usd: Decimal | None
    bounded: bool


def estimate(
    body: bytes,
    tier: Tier,
    *,
    endpoint: str,
    sent: str | None = None,
    base_url: str | None = None,
    measured: Tokens | None = None,
) -> Estimate:
    """What a request as it will be sent may cost at most, at today's prices.

    Input: half the body's bytes, but no more than the model's context window. Tokenizers take
    3 to 4 bytes of English, JSON or Chinese for a token; only random text comes near 2. Attached
    images count far too much this way, until the context window caps them.
    Output: the request's own token limit, else 4 times ``measured``, the largest use of this
    prompt on this tier so far. Where the request continues a conversation that the provider
    keeps, its earlier turns count as 4 times ``measured`` too.
    """
    request = _json_object(body)
    output = 0 if endpoint == "embeddings" else _output_limit(request)
    if output is None and measured is not None:
        output = _HEADROOM * measured.output
    taken = len(body) // 2 + 1
    if request.get("previous_response_id") or request.get("conversation"):
        if measured is None:
            return Estimate(None, bounded=False)
        taken += _HEADROOM * (measured.input + measured.output)
    service_tier = request.get("service_tier")
    query = _Query(
        tier,
        sent,
        service_tier=service_tier if isinstance(service_tier, str) else None,
        base_url=base_url,
    )
    taken = min(taken, _context_window(query))
    most = Tokens(taken, 0, _FIRST_OUTPUT if output is None else output, 0)
    return Estimate(_price(most, query), bounded=output is not None)


def _output_limit(request: dict[str, Any]) -> int | None:
    """The request's limit of output tokens, for all the answers that it asks for."""
    for key in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
        limit = request.get(key)
        if type(limit) is int and limit > 0:
            answers = [request.get(each) for each in ("n", "best_of")]
            return limit * max([1, *(each for each in answers if type(each) is int)])
    return None


def _context_window(query: _Query) -> int:
    found = None if query.tier.price is not None else _find(query)
    return (found.model.context_window if found else None) or _LARGEST_CONTEXT


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
