"""A cheap tier first, and the flagship where a check fails: from what was recorded."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_tiers.cascades import cascades, pays
from pytest_tiers.findings import Cascade
from pytest_tiers.records import Outcome, Trial
from tests.unit.summaries import call, trial


def made(case: str, tier: str, outcome: Outcome = "passed", **changes: Any) -> Trial:
    """A trial with one call: nano costs 1 and takes 1 s, full costs 10 and takes 3 s."""
    usd, seconds = (Decimal(1), 1.0) if tier == "nano" else (Decimal(10), 3.0)
    known = {"calls": (call(tier, cost_usd=usd, seconds=seconds),)}
    return trial("p", case, tier, outcome, **{**known, **changes})


def pair(case: str, nano: Outcome, full: Outcome, **changes: Any) -> list[Trial]:
    return [made(case, "nano", nano, **changes), made(case, "full", full)]


def found(*trials: list[Trial]) -> Cascade | None:
    known = cascades(chain.from_iterable(trials), ["nano"], flagship="full", alpha=0.05)
    return known.get("nano")


def test_the_test_is_the_check() -> None:
    one = found(
        *(pair(f"c{n}", "passed", "passed") for n in range(7)),
        pair("d", "missed", "passed"),
        pair("e", "unsupported", "passed"),
        pair("f", "missed", "missed"),
    )
    assert one is not None
    assert (one.check, one.runs, one.escalated, one.passed, one.left_out) == ("test", 10, 3, 9, 0)
    # All ten ask nano, three ask full as well.
    assert one.usd_per_1000 == 1000 * (10 * Decimal(1) + 3 * Decimal(10)) / 10
    assert one.saving == pytest.approx(1 - 4 / 10)
    assert one.stops_paying_at == pytest.approx(1 - 1 / 10)
    assert one.added_seconds == pytest.approx((10 * 1 + 3 * 3) / 10 - 3)
    assert one.added_seconds_if_escalated == 1.0
    assert one.pass_rate.estimate == pytest.approx(0.9)
    assert one.pass_rate.low < 0.9 < one.pass_rate.high


def test_it_costs_as_much_as_the_flagship_at_the_rate_it_names() -> None:
    one = found(
        *(pair(f"c{n}", "missed", "passed") for n in range(9)), pair("d", "passed", "passed")
    )
    assert one is not None
    assert one.escalated / one.runs == pytest.approx(one.stops_paying_at)
    assert one.saving == pytest.approx(0)


def test_the_applications_own_check() -> None:
    one = found(
        pair("right", "passed", "passed", check=True),
        pair("wrong and not seen", "missed", "passed", check=True),
        pair("wrong and seen", "missed", "passed", check=False),
        pair("right and not believed", "passed", "missed", check=False),
        pair("crashed before it was checked", "missed", "passed"),
    )
    assert one is not None
    assert (one.check, one.runs, one.escalated, one.passed) == ("application", 5, 3, 3)


def test_runs_whose_end_is_not_known() -> None:
    one = found(
        [made("no answer of the flagship", "nano", "missed")],
        pair("the flagship has an error", "missed", "error"),
        pair("nano has an error", "error", "passed"),
        [made("passed, and the flagship was spared", "nano")],
        pair("complete", "missed", "passed"),
    )
    assert one is not None
    assert (one.runs, one.left_out, one.escalated) == (2, 2, 1)
    assert one.added_seconds is None
    assert found(pair("c", "missed", "error")) is None


def test_what_has_no_price_is_unknown() -> None:
    calls = (call("nano", cost_usd=None, seconds=None),)
    one = found(pair("c", "passed", "passed"), pair("d", "missed", "passed", calls=calls))
    assert one is not None
    assert (one.usd_per_1000, one.saving, one.stops_paying_at) == (None, None, None)
    assert (one.added_seconds, one.added_seconds_if_escalated) == (None, None)


def test_each_sample_of_a_case_is_a_run() -> None:
    again = [replace(each, sample=2) for each in pair("c", "missed", "passed")]
    one = found(pair("c", "passed", "passed"), again)
    assert one is not None
    assert (one.runs, one.escalated) == (2, 1)
    assert one.pass_rate.estimate == 1.0


def test_which_cascade_pays() -> None:
    most = [pair(f"c{n}", "passed", "passed") for n in range(9)]
    base = found(*most, pair("d", "missed", "passed"))
    few = found(most[0])
    assert base is not None
    assert few is not None
    # It never went on, in one run: that says nothing of the next.
    assert few.saving == pytest.approx(0.9)
    assert pays({"nano": few}, 0.1, None, 1.0) is None
    mini = replace(base, tier="mini", saving=0.85)
    both = {"nano": base, "mini": mini}
    assert pays(both, 0.1, None, 1.0) == "mini"
    assert pays(both, 0.1, 0.9, 1.0) is None  # what is safe alone saves more
    assert pays({"nano": replace(base, saving=-0.1)}, 0.1, None, 1.0) is None
    assert pays({"nano": replace(base, saving=None)}, 0.1, None, 1.0) is None
    seen = replace(mini, check="application")
    assert pays({"mini": seen}, 0.1, None, 1.0) == "mini"
    lower = replace(seen, pass_rate=replace(seen.pass_rate, estimate=0.8))
    assert pays({"mini": lower}, 0.1, None, 1.0) is None
    assert pays({"mini": seen}, 0.1, None, None) is None
