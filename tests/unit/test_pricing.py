from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Context, Decimal, localcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price, types
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot

from pytest_tiers.budget import Budget, Spending
from pytest_tiers.errors import BudgetReached
from pytest_tiers.pricing import Estimate, estimate, list_price, price_of
from pytest_tiers.records import Tokens
from pytest_tiers.tiers import BUILT_IN, Price, Tier

CURRENT = BUILT_IN["current"]
AUTUMN = "2026-11-01T12:00:00Z"


def D(text: str | int) -> Decimal:  # noqa: N802
    return Decimal(text)


@pytest.fixture(autouse=True)
def listed() -> Any:
    """Prices of our own, so that no test depends on the release of genai-prices."""
    tiered = types.TieredPrices
    flagship = types.ModelInfo(
        id="big",
        match=types.ClauseOr(
            or_=[types.ClauseEquals(equals="big"), types.ClauseEquals(equals="big-2026-03-05")]
        ),
        context_window=500_000,
        prices=[
            types.ConditionalPrice(prices=types.ModelPrice(input_mtok=D("4"), output_mtok=D("20"))),
            types.ConditionalPrice(
                types.StartDateConstraint(datetime(2026, 6, 1).date()),
                prices=types.ModelPrice(
                    input_mtok=tiered(D("2.5"), [types.Tier(200_000, D("5"))]),
                    cache_read_mtok=tiered(D("0.25"), [types.Tier(200_000, D("0.5"))]),
                    cache_write_mtok=tiered(D("3"), [types.Tier(200_000, D("6"))]),
                    output_mtok=tiered(D("15"), [types.Tier(200_000, D("22.5"))]),
                ),
            ),
        ],
        price_variants=[
            types.PriceVariant(
                when={"service_tier": "flex"},
                prices=types.ModelPrice(input_mtok=D("1"), output_mtok=D("7")),
                constraint=types.StartDateConstraint(datetime(2026, 10, 12).date()),
            ),
            types.PriceVariant(
                when={"processing": "batch"},
                prices=types.ModelPrice(input_mtok=D("1"), output_mtok=D("6")),
            ),
        ],
    )
    small = types.ModelInfo(
        id="big-small",
        match=types.ClauseOr(
            or_=[
                types.ClauseStartsWith(starts_with="big-small"),
                types.ClauseEndsWith(ends_with="big-tiny"),
                types.ClauseContains(contains="big-odd"),
            ]
        ),
        prices=types.ModelPrice(input_mtok=D("0.2"), output_mtok=D("1.25")),
    )
    embedding = types.ModelInfo(
        id="big-embed",
        match=types.ClauseEquals(equals="big-embed"),
        prices=types.ModelPrice(input_mtok=D("0.02")),
    )
    nothing = types.ModelInfo(id="big-none", match=types.ClauseEquals(equals="big-none"))
    nothing.prices = types.ModelPrice()
    maker = types.Provider(
        id="maker",
        name="Maker",
        api_pattern=r"https://api\.maker\.test",
        model_match=types.ClauseContains(contains="big"),
        models=[flagship, small, embedding, nothing],
    )
    reseller = types.Provider(
        id="reseller",
        name="Reseller",
        api_pattern=r"https://reseller\.test",
        fallback_model_providers=["maker"],
        models=[
            types.ModelInfo(
                id="own/model",
                match=types.ClauseEquals(equals="own/model"),
                prices=types.ModelPrice(input_mtok=D("1"), output_mtok=D("1")),
            )
        ],
    )
    set_custom_snapshot(DataSnapshot([maker, reseller], from_auto_update=False))
    yield
    set_custom_snapshot(None)


USED = Tokens(1000, 0, 100, 0)


def price(name: str | None, tokens: Tokens | None = USED, **how: Any) -> Decimal | None:
    return price_of(tokens, CURRENT, answered_by=name, **{"recorded_at": AUTUMN, **how})


# Prices


def test_the_issue_s_example_is_exact() -> None:
    tier = Tier("nano", "gpt-5.4-nano", price=Price(D("0.20"), D("1.25"), D("0.02")))
    cost = price_of(Tokens(160, 0, 13, 0), tier, answered_by=None)
    assert str(cost) == "0.00004825"


def test_a_tier_s_own_price() -> None:
    own = Tier("own", "big", price=Price(D("0.28"), D("0.42"), D("0.028")), price_as="big")
    tokens = Tokens(1000, 600, 100, 90, cache_write=50)
    assert price_of(tokens, own, answered_by="big") == D("0.0001708")
    assert price_of(tokens, own, answered_by="big", uncached=True) == D("0.000322")
    plain = Tier("own", "big", price=Price(D("0.28"), D("0.42")))
    assert price_of(tokens, plain, answered_by="other") == D("0.000322")


def test_cached_input_cache_writes_and_reasoning() -> None:
    tokens = Tokens(1000, 600, 100, 90, cache_write=100)
    # 300 at 2.5, 600 at 0.25, 100 at 3, 100 at 15: reasoning is output already.
    assert price("big", tokens) == D("0.0027")
    assert price("big", tokens, uncached=True) == D("0.004")


def test_cached_input_without_a_price_of_its_own_costs_as_other_input() -> None:
    assert price("big-small", Tokens(1000, 600, 100, 0)) == D("0.000325")


def test_a_long_input_is_dearer_as_a_whole() -> None:
    assert price("big", Tokens(200_000, 0, 10, 0)) == D("0.50015")
    assert price("big", Tokens(200_001, 0, 10, 0)) == D("1.00023")


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-05-31T23:59:59Z", D("0.006")),
        ("2026-06-01T00:00:00+00:00", D("0.004")),
        ("2026-06-01T01:00:00+02:00", D("0.006")),
        ("2026-06-01", D("0.004")),
        (datetime(2026, 5, 31, tzinfo=timezone.utc), D("0.006")),  # noqa: UP017
        ("yesterday", None),
    ],
)
def test_the_price_is_that_of_the_recorded_time(
    at: datetime | str, expected: Decimal | None
) -> None:
    assert price("big", recorded_at=at) == expected


def test_without_a_time_today_s_price_counts() -> None:
    assert price("big", recorded_at=None) == D("0.004")


@pytest.mark.parametrize(
    ("service_tier", "at", "expected"),
    [
        (None, AUTUMN, D("0.004")),
        ("default", AUTUMN, D("0.004")),
        ("auto", AUTUMN, D("0.004")),
        ("on_demand", AUTUMN, D("0.004")),
        ("flex", AUTUMN, D("0.0017")),
        ("flex", "2026-10-11", None),
        ("batch", AUTUMN, D("0.0016")),
        ("priority", AUTUMN, None),
        ("scale", AUTUMN, None),
    ],
)
def test_service_tiers(service_tier: str | None, at: str, expected: Decimal | None) -> None:
    assert price("big", service_tier=service_tier, recorded_at=at) == expected


def test_a_borrowed_price_knows_no_service_tier() -> None:
    url = "https://reseller.test/v1"
    assert price("big", base_url=url) == D("0.004")
    assert price("big", base_url=url, service_tier="flex") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("big", D("0.004")),
        ("BIG", D("0.004")),
        ("big-2026-03-05", D("0.004")),
        ("big-20260305", D("0.004")),
        ("big-2026-12-24", D("0.004")),
        ("big-small", D("0.000325")),
        ("big-small-2026-01-01", D("0.000325")),
        ("big-small-0613", D("0.000325")),
        ("big-small-001", D("0.000325")),
        ("big-tiny", D("0.000325")),
        ("big-small-foo", None),
        ("big-small:8b", None),
        ("my-big-tiny", None),
        ("big-odd", None),
        ("big-0613", None),
        ("big-foo", None),
        ("my-model", None),
        ("big-none", None),
        ("", None),
        (None, None),
    ],
)
def test_only_names_that_are_listed_are_priced(name: str | None, expected: Decimal | None) -> None:
    assert price(name) == expected


def test_a_model_without_an_output_price() -> None:
    assert price("big-embed", Tokens(1000, 0, 0, 0)) == D("0.00002")
    assert price("big-embed", Tokens(1000, 0, 1, 0)) is None


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("https://api.maker.test/v1", "big", D("0.004")),
        ("https://gateway.example.com/v1", "big", D("0.004")),
        ("http://127.0.0.1:8080/v1", "big", D("0.004")),
        ("https://reseller.test/v1", "own/model", D("0.0011")),
        ("https://gateway.example.com/v1", "own/model", None),
        ("https://api.maker.test/v1", "own/model", None),
    ],
)
def test_the_url_tells_the_provider(url: str, name: str, expected: Decimal | None) -> None:
    assert price(name, base_url=url) == expected
    tier = Tier("t", name, base_url=url)
    assert price_of(USED, tier, answered_by=name) == expected


def test_the_model_that_answered_counts() -> None:
    tier = Tier("t", "big")
    assert price_of(USED, tier, answered_by="big-small") == D("0.000325")
    assert price_of(USED, tier, answered_by=None) == D("0.004")
    assert price_of(USED, tier, answered_by=None, sent="big-small") == D("0.000325")
    assert price_of(USED, tier, answered_by="qwen.gguf") is None
    assert price_of(USED, tier, answered_by="big-0613") == D("0.004")


def test_price_as_names_the_model_whatever_answered() -> None:
    tier = Tier("t", "qwen", base_url="https://reseller.test/v1", price_as="big-small")
    assert price_of(USED, tier, answered_by="big") == D("0.000325")
    unknown = Tier("t", "big", price_as="nonsense")
    assert price_of(USED, unknown, answered_by="big") is None


def test_unknown_use_is_unpriced_not_free() -> None:
    own = Tier("own", "big", price=Price(D("1"), D("1")))
    assert price_of(None, own, answered_by="big") is None
    assert price_of(Tokens(1, 0, 1, 0), own, answered_by="big", billed_apart=True) is None
    assert price("big", Tokens(5, 9, 1, 0)) is None


def test_prices_are_those_that_genai_prices_computes() -> None:
    set_custom_snapshot(None)
    uses = [Tokens(1000, 300, 70, 0), Tokens(400_000, 0, 9, 0), Tokens(900, 200, 50, 0, 600)]
    when = datetime.fromisoformat(AUTUMN)
    ids = {model.id for provider in get_snapshot().providers for model in provider.models}
    compared = 0
    for name in sorted(ids):
        for used in uses:
            usage = Usage(
                input_tokens=used.input,
                cache_read_tokens=used.cached_input,
                cache_write_tokens=used.cache_write,
                output_tokens=used.output,
            )
            if (ours := price(name, used)) is not None:
                with localcontext(Context(prec=80)):
                    theirs = calc_price(usage, name, genai_request_timestamp=when).total_price
                assert str(ours) == str(theirs)
                compared += 1
    assert compared > 1_000


def test_the_application_s_decimal_context_does_not_round_prices() -> None:
    own = Tier("own", "m", price=Price(D("0.123456"), D("1")))
    with localcontext(Context(prec=2)):
        assert str(price("big", Tokens(1234, 0, 0, 0))) == "0.003085"
        assert price_of(Tokens(7, 0, 0, 0), own, answered_by=None) == D("8.64192E-7")


def test_list_price() -> None:
    source = f"genai-prices {version('genai-prices')}"
    assert list_price(Tier("t", "big"), AUTUMN) == {
        "input": "2.50",
        "cached_input": "0.25",
        "output": "15.00",
        "source": source,
    }
    assert list_price(Tier("t", "big"), "2026-01-01") == {
        "input": "4.00",
        "cached_input": None,
        "output": "20.00",
        "source": source,
    }
    assert list_price(Tier("t", "qwen", price_as="big-small")) == {
        "input": "0.20",
        "cached_input": None,
        "output": "1.25",
        "source": f"as big-small, {source}",
    }


def test_list_price_from_configuration_and_built_in() -> None:
    own = Tier("deepseek", "m", price=Price(D("100"), D("1E+3"), D("0.0281")))
    assert list_price(own) == {
        "input": "100.00",
        "cached_input": "0.0281",
        "output": "1000.00",
        "source": "configuration",
    }
    assert list_price(BUILT_IN["deepseek"]) == {
        "input": "0.28",
        "cached_input": "0.028",
        "output": "0.42",
        "source": "built in",
    }


@pytest.mark.parametrize("tier", [CURRENT, Tier("t", "my-model"), Tier("t", "big-embed")])
def test_list_price_unknown(tier: Tier) -> None:
    assert list_price(tier) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nano", {"input": "0.20", "cached_input": "0.02", "output": "1.25"}),
        ("mini", {"input": "0.75", "cached_input": "0.075", "output": "4.50"}),
        ("full", {"input": "2.50", "cached_input": "0.25", "output": "15.00"}),
    ],
)
def test_the_built_in_tiers_are_listed_by_genai_prices(name: str, expected: dict[str, str]) -> None:
    set_custom_snapshot(None)
    entry = list_price(BUILT_IN[name], AUTUMN)
    assert entry is not None
    assert entry.items() >= expected.items()


# Estimates


def cost_at_most(request: dict[str, Any], **how: Any) -> Estimate:
    body = json.dumps(request).encode()
    tier = Tier("t", "m", price=Price(D("1"), D("1000")))  # outputs count as millis
    return estimate(body, tier, **{"endpoint": "chat/completions", **how})


def output_of(found: Estimate, request: dict[str, Any]) -> Decimal:
    assert found.usd is not None
    taken = len(json.dumps(request)) // 2 + 1
    return (found.usd - D(taken) / 1_000_000) * 1000


@pytest.mark.parametrize(
    ("request_", "output"),
    [
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 60}, 60),
        ({"max_output_tokens": 70}, 70),
        ({"max_tokens": 50, "n": 3}, 150),
        ({"max_tokens": 50, "n": None, "best_of": 2}, 100),
    ],
)
def test_the_request_limits_its_output(request_: dict[str, Any], output: int) -> None:
    found = cost_at_most(request_, measured=Tokens(5, 0, 5, 0))
    assert found.bounded
    assert output_of(found, request_) == output


@pytest.mark.parametrize("request_", [{}, {"max_tokens": None}, {"max_tokens": "9"}])
def test_measured_output_limits_the_rest(request_: dict[str, Any]) -> None:
    found = cost_at_most(request_, measured=Tokens(5, 0, 25, 0))
    assert found.bounded
    assert output_of(found, request_) == 100
    first = cost_at_most(request_)
    assert not first.bounded
    assert output_of(first, request_) == 4096


def test_embeddings_have_no_output() -> None:
    request = {"input": "x" * 1000}
    found = cost_at_most(request, endpoint="embeddings")
    assert found.bounded
    assert output_of(found, request) == 0


def test_a_conversation_kept_by_the_provider_counts() -> None:
    request = {"previous_response_id": "resp_1", "max_output_tokens": 1}
    assert cost_at_most(request) == Estimate(None, bounded=False)
    found = cost_at_most(request, measured=Tokens(100, 0, 25, 0))
    assert found.usd == D(500 + len(json.dumps(request)) // 2 + 1) / 1_000_000 + D("0.001")


def test_the_context_window_caps_the_input() -> None:
    image = b'{"max_tokens": 1, "image": "' + b"A" * 4_000_000 + b'"}'
    big = estimate(image, Tier("t", "big"), endpoint="chat/completions")
    assert big.usd == D(500_000) * 5 / 1_000_000 + D("0.0000225")
    own = Tier("t", "big", price=Price(D("1"), D("0")))
    assert estimate(image, own, endpoint="chat/completions").usd == D("1.048576")


def test_a_requested_service_tier_counts() -> None:
    body = b'{"service_tier": "batch", "max_tokens": 1000}'
    found = estimate(body, CURRENT, endpoint="responses", sent="big")
    assert found.usd == D(len(body) // 2 + 1) / 1_000_000 + D("0.006")


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1]", b"[" * 100_000])
def test_any_body_can_be_estimated(body: bytes) -> None:
    assert estimate(body, Tier("t", "big"), endpoint="responses").bounded is False
    unknown = estimate(
        body, Tier("t", "my-model"), endpoint="responses", measured=Tokens(1, 0, 1, 0)
    )
    assert unknown == Estimate(None, bounded=True)


# The ledger


@pytest.fixture
def budget(tmp_path: Path) -> Callable[..., Budget]:
    def make(max_cost: str = "1.00", max_calls: int | None = None) -> Budget:
        return Budget(tmp_path / "ledger.sqlite", D(max_cost), max_calls)

    return make


def test_the_file_is_created_when_it_is_needed(
    budget: Callable[..., Budget], tmp_path: Path
) -> None:
    ledger = budget()
    assert os.listdir(tmp_path) == []
    assert ledger.spending() == Spending(D("0"), D("0"), 0, 0, 0)
    assert os.listdir(tmp_path) == ["ledger.sqlite"]


def test_reserve_settle_and_release_are_exact(budget: Callable[..., Budget]) -> None:
    ledger = budget()
    ledger.reserve("a", D("0.10"))
    ledger.reserve("b", D("0.20"))
    assert ledger.spending() == Spending(D("0"), D("0.30"), 2, 0, 2)
    ledger.settle("a", D("0.00004825"))
    ledger.release("b")
    assert ledger.spending() == Spending(D("0.00004825"), D("0"), 1, 0, 0)
    assert str(budget().spending().spent) == "0.00004825"


def test_an_answer_without_usage_costs_what_was_reserved(budget: Callable[..., Budget]) -> None:
    ledger = budget(max_calls=9)
    ledger.reserve("a", D("0.10"))
    ledger.settle("a", None)
    ledger.reserve("b", None)
    ledger.settle("b", None)
    assert ledger.spending() == Spending(D("0.10"), D("0"), 2, 2, 0)


def test_the_cost_limit_counts_what_is_under_way(budget: Callable[..., Budget]) -> None:
    ledger = budget("0.50")
    ledger.reserve("a", D("0.20"))
    ledger.settle("a", D("0.15"))
    ledger.reserve("b", D("0.30"))
    ledger.reserve("c", D("0.05"))
    with pytest.raises(BudgetReached) as refused:
        ledger.reserve("d", D("0.000001"), "the call of test_route[a-nano]")
    assert str(refused.value) == (
        "the call of test_route[a-nano] was not made: it could cost up to $0.000001, and of the "
        "limit of $0.50 $0.150000 is spent and $0.350000 reserved for calls under way. "
        "Raise it with --tiers-max-cost=1.01."
    )
    assert ledger.spending() == Spending(D("0.15"), D("0.35"), 3, 0, 2)
    ledger.release("b")
    ledger.reserve("d", D("0.000001"))


def test_the_call_limit(budget: Callable[..., Budget]) -> None:
    ledger = budget(max_calls=2)
    ledger.reserve("a", None)
    ledger.reserve("b", D("0"))
    ledger.settle("a", D("0"))
    with pytest.raises(BudgetReached, match=r"limit of 2 calls is reached.*--tiers-max-calls=4\."):
        ledger.reserve("c", D("0"))
    ledger.release("b")
    ledger.reserve("c", None)


def test_the_cost_limit_holds_beside_a_call_limit(budget: Callable[..., Budget]) -> None:
    ledger = budget("0.10", max_calls=100)
    with pytest.raises(BudgetReached, match="could cost up to"):
        ledger.reserve("a", D("0.11"))


def test_a_call_that_cannot_be_priced_is_refused(budget: Callable[..., Budget]) -> None:
    with pytest.raises(BudgetReached) as refused:
        budget().reserve("a", None)
    message = str(refused.value)
    assert message.startswith("this call was not made: it cannot be priced")
    assert "`price` or `price_as`" in message
    assert "--tiers-max-calls=N" in message


def test_misuse_is_told(budget: Callable[..., Budget]) -> None:
    ledger = budget()
    ledger.reserve("a", D("0.1"))
    with pytest.raises(ValueError, match="'a' is reserved already"):
        ledger.reserve("a", D("0.1"))
    with pytest.raises(KeyError, match="'b' is not reserved"):
        ledger.settle("b", D("0.1"))
    with pytest.raises(KeyError, match="'b' is not reserved"):
        ledger.release("b")
    assert ledger.spending() == Spending(D("0"), D("0.1"), 1, 0, 1)


def test_threads_cannot_pass_the_limit_together(budget: Callable[..., Budget]) -> None:
    refused: list[str] = []

    def work(name: int) -> None:
        ledger = budget("0.10")
        for turn in range(5):
            key = f"{name}-{turn}"
            try:
                ledger.reserve(key, D("0.01"))
            except BudgetReached:
                refused.append(key)
            else:
                ledger.settle(key, D("0.01"))

    threads = [threading.Thread(target=work, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget().spending() == Spending(D("0.10"), D("0"), 10, 0, 0)
    assert len(refused) == 10
