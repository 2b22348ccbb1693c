"""How many calls an endpoint takes at a time, and when it is left in peace."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from pytest_tiers.budget import Budget
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.errors import BudgetReached
from pytest_tiers.override import charges
from pytest_tiers.override.charges import Till
from pytest_tiers.override.fan_out import charge_of
from pytest_tiers.override.gates import LONGEST_PAUSE, Gates, retry_after
from pytest_tiers.tiers import Price, Tier

URL = "https://api.example.com/v1/chat/completions"
OTHER = "https://other.example.com/v1/chat/completions"


@pytest.fixture
def workers(tmp_path: Path) -> tuple[Till, Till]:
    """What two processes of one run have."""
    ledger = tmp_path / "ledger.sqlite"
    one, other = (Till(Budget(ledger, Decimal(1)), Gates(2)) for _ in range(2))
    return one, other


def test_an_endpoint_has_so_many_places(workers: tuple[Till, Till]) -> None:
    till, _ = workers
    assert [till.try_enter(URL) for _ in range(3)] == [True, True, False]
    assert till.try_enter(OTHER)
    till.gates.leave(URL)
    assert till.try_enter(URL)


def test_all_workers_leave_an_endpoint_in_peace(workers: tuple[Till, Till]) -> None:
    asked, other = workers
    asked.rest(URL, 3600)
    assert not asked.try_enter(URL)
    assert not other.try_enter(URL)
    assert other.try_enter(OTHER)
    assert 0 < other.budget.rest_left("https://api.example.com") <= LONGEST_PAUSE


def test_a_rest_keeps_no_place(workers: tuple[Till, Till]) -> None:
    asked, other = workers
    asked.budget.rest("https://api.example.com", 0.01)
    while not other.try_enter(URL):
        pass
    assert other.try_enter(URL)
    assert not other.try_enter(URL)


def test_what_a_killed_worker_set_aside_is_waited_for_only_once(
    workers: tuple[Till, Till], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charges, "_LONGEST_WAIT", 0.02)
    killed, till = workers
    killed.budget.reserve("never settled", Decimal("0.999"))
    tier = Tier("nano", "m", price=Price(Decimal(0), Decimal(100)))
    asked = SentRequest("POST", URL, {}, b'{"model": "m", "messages": [], "max_tokens": 100}')
    first, second = (charge_of(till, tier, "prompt", asked) for _ in range(2))
    assert not first.starts()
    with pytest.raises(BudgetReached):
        list(iter(first.starts, True))  # asks again as long as it is to wait
    with pytest.raises(BudgetReached):
        second.starts()


def test_a_shorter_rest_does_not_end_a_longer_one(workers: tuple[Till, Till]) -> None:
    asked, other = workers
    asked.rest(URL, 50)
    other.rest(URL, 0)
    assert asked.budget.rest_left("https://api.example.com") > 1
    assert not other.try_enter(URL)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("2", 2.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None)],
)
def test_retry_after_in_seconds(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    far = retry_after("Fri, 31 Dec 2999 23:59:59 GMT")
    assert far is not None
    assert far > 3600
