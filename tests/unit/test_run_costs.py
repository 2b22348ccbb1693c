"""What tells a longer prompt from a dearer price."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_tiers.records import Tokens
from pytest_tiers.run_costs import RunTokens, run_tokens
from tests.unit.summaries import call, trial

SIZES = st.floats(0.01, 1e6)
PRICES = st.just(0.0) | st.floats(1e-6, 100)


@given(SIZES, SIZES, SIZES, SIZES, PRICES, PRICES)
def test_no_cost_grows_by_more_than_the_tokens_say_at_the_same_prices(
    old_in: float, old_out: float, new_in: float, new_out: float, input_: float, output: float
) -> None:
    growth = RunTokens(new_in, new_out).growth(RunTokens(old_in, old_out))
    before, after = (
        given * input_ + got * output for given, got in ((old_in, old_out), (new_in, new_out))
    )
    assert after <= before * growth * (1 + 1e-9)


def test_a_run_takes_the_tokens_of_all_its_calls() -> None:
    one = trial(calls=(call(tokens=Tokens(100, 50, 10, 5)), call(tokens=Tokens(20, 0, 2, 0))))
    failed = trial(case="b", outcome="error", calls=())
    assert run_tokens([one, failed]) == RunTokens(120, 12)
    assert run_tokens([one, replace(one, calls=(call(tokens=None),))]) is None
    assert run_tokens([trial(calls=())]) is None
