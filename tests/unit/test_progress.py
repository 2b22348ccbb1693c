"""The line that says how far a recording has come."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pytest_tiers.reports.progress import SoFar, progress_line
from pytest_tiers.searching import Searching

SOME = SoFar(done=12, trials=45, under_way=14, spent=Decimal("0.0123"), unpriced=0, seconds=60.0)


def test_it_says_what_is_done_under_way_spent_and_left() -> None:
    assert progress_line(SOME, 79) == (
        "tiers: 12 of 45 trials · 14 calls under way · $0.0123 spent · about 2:45 left"
    )


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (76, "tiers: 12 of 45 trials · 14 calls under way · $0.0123 spent"),
        (50, "tiers: 12 of 45 trials · 14 calls under way"),
        (30, "tiers: 12 of 45 trials"),
        (10, "tiers: 12 "),
    ],
)
def test_it_says_less_where_there_is_no_room(width: int, said: str) -> None:
    assert progress_line(SOME, width) == said


def test_nobody_knows_how_long_it_takes_before_a_trial_is_done() -> None:
    first = SoFar(0, 3, 1, Decimal(0), 0, 5.0)
    assert progress_line(first, 79) == "tiers: 0 of 3 trials · 1 call under way · $0 spent"


def test_calls_without_a_price_are_not_in_the_sum() -> None:
    some = SoFar(1, 3, 1, Decimal("0.5"), 1, 5.0)
    assert "$0.50+ spent" in progress_line(some, 79)


def test_a_search_for_a_mix_says_which_step_it_tries() -> None:
    search = Searching("tests/test_agent.py::test_agent", 3, 18, 12)
    during = SoFar(90, 90, 2, Decimal("0.0213"), 0, 60.0, [search])
    assert progress_line(during, 79) == (
        "tiers: mix of test_agent, step 3 of at most 18, 12 calls · $0.0213 spent"
    )
    assert progress_line(during, 120).endswith(" spent · 2 calls under way · 90 of 90 trials")
    long = SoFar(9, 90, 1, Decimal(0), 0, 9.0, [Searching("a.py::test_" + "x" * 99, 1, 2, 0)])
    assert progress_line(long, 79) == (
        "tiers: mix of test_xxxxxxxxxxxxxxxxxx…, step 1 of at most 2, 0 calls · $0 spent"
    )
    several = SoFar(9, 90, 1, Decimal(0), 0, 9.0, [search, search])
    assert progress_line(several, 50) == "tiers: 2 searches for mixes, 24 calls · $0 spent"


def test_hours_are_said_as_such() -> None:
    long = SoFar(1, 3, 1, Decimal(0), 0, 3600.0)
    assert progress_line(long, 79).endswith("about 2:00:00 left")
