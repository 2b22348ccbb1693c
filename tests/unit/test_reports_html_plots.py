"""Where the marks of the plots stand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest

from pytest_tiers.findings import LadderEntry, PassRate, PromptSummary
from pytest_tiers.reports.html.plots import (
    Choice,
    CostPanel,
    choices,
    cost_range,
    evidence_bar,
    frontier,
    latency_bar,
)
from tests.unit.summaries import comparison, prompt, safe, stats


def drawn(markup: Any) -> ElementTree.Element:
    assert markup is not None
    return ElementTree.fromstring(str(markup))


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if name in (each.get("class") or "").split()]


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name) or "nan")


def three(costs: dict[str, str], rates: dict[str, float], **changes: Any) -> PromptSummary:
    tiers = {
        tier: stats(
            10,
            cost_per_1000=Decimal(cost),
            pass_rate=PassRate(rates[tier], max(0, rates[tier] - 0.1), min(1, rates[tier] + 0.1)),
        )
        for tier, cost in costs.items()
    }
    return prompt("t.py::test_x", tiers=tiers, **changes)


USUAL = {"nano": "0.1", "mini": "1", "full": "10"}


def choice(tier: str, cost: str, rate: float) -> Choice:
    return Choice(tier, Decimal(cost), PassRate(rate, 0, 1), False, False)


def test_the_frontier_leaves_out_what_a_cheaper_tier_equals() -> None:
    found = [
        choice("full", "10", 0.9),
        choice("mini", "2", 0.9),
        choice("small", "1", 0.5),
        choice("tiny", "1", 0.4),
        choice("odd", "3", 0.2),
    ]
    assert [each.tier for each in frontier(found)] == ["small", "mini"]
    assert frontier([]) == []


def test_a_panel_places_each_tier() -> None:
    one = three(USUAL, {"nano": 0.5, "mini": 1.0, "full": 1.0}, recommended="mini")
    root = drawn(CostPanel(one, (-1.0, 1.0)).draw())
    nano, mini, full = of_class(root, "dot")
    assert [each.get("class") for each in (nano, mini, full)] == [
        "dot other",
        "dot best",
        "dot today",
    ]
    assert (number(nano, "cx"), number(mini, "cx"), number(full, "cx")) == (50, 179, 308)
    assert number(mini, "cy") == number(full, "cy") == 40
    assert number(nano, "cy") == 107
    bounds = of_class(root, "bounds")[0]
    assert (number(bounds, "y1"), number(bounds, "y2")) == pytest.approx((93.6, 120.4))
    [line] = of_class(root, "frontier")
    assert line.get("points") == "50.0,107.0 179.0,40.0"
    assert [
        each.text for each in of_class(root, "axis") if "middle" in (each.get("class") or "")
    ] == [
        "$0.10",
        "$0.30",
        "$1.00",
        "$3.00",
        "$10.00",
    ]
    assert [each.text for each in of_class(root, "name")] == ["USD per 1,000 runs", "cases passed"]


def test_a_panel_says_in_words_what_it_shows() -> None:
    one = three(USUAL, {"nano": 0.5, "mini": 1.0, "full": 1.0}, recommended="mini")
    root = drawn(CostPanel(one, (-1.0, 1.0)).draw())
    assert root.get("role") == "img"
    title, description = root[0], root[1]
    assert (title.tag, title.text) == (
        "title",
        "t.py::test_x: cost of 1,000 runs against pass rate",
    )
    assert description.tag == "desc"
    assert description.text == (
        "nano: $0.10, passes 50% (40% to 60%). "
        "mini (recommended): $1.00, passes 100% (90% to 100%). "
        "full (today): $10.00, passes 100% (90% to 100%)."
    )


def test_a_free_tier_stands_at_the_left_edge() -> None:
    one = three({"nano": "0", "full": "1"}, {"nano": 0.5, "full": 1.0})
    span = cost_range([one])
    assert span == pytest.approx((-0.15, 0.15))
    assert number(of_class(drawn(CostPanel(one, span).draw()), "dot")[0], "cx") == 50


def test_labels_of_near_costs_stand_in_two_lines() -> None:
    one = three(
        {"nano": "1", "mini": "1.01", "full": "100"}, {"nano": 0.5, "mini": 0.6, "full": 1.0}
    )
    labels = of_class(drawn(CostPanel(one, (0.0, 2.0)).draw()), "label")
    assert [(each.text, number(each, "y")) for each in labels] == [
        ("nano", 29),
        ("mini", 15),
        ("full", 29),
    ]


def test_labels_of_many_near_costs_make_room_for_themselves() -> None:
    costs = {"nano": "1", "deepseek": "1.01", "kimi": "1.02", "full": "100"}
    root = drawn(CostPanel(three(costs, dict.fromkeys(costs, 0.5)), (0.0, 2.0)).draw())
    labels = of_class(root, "label")
    assert [number(each, "y") for each in labels] == [29, 15, 1, 29]
    assert (root.get("viewBox"), root.get("height")) == ("0 -14 332 228", "228")


def test_a_panel_without_numbers_says_so() -> None:
    one = prompt("t.py::test_x", comparison())
    assert choices(one) == []
    root = drawn(CostPanel(one, cost_range([one])).draw())
    assert root[1].text == "No tier has a known cost and pass rate."
    assert of_class(root, "dot") == []


def test_a_wide_range_has_few_ticks() -> None:
    one = three({"nano": "0.001", "full": "1000"}, {"nano": 0.5, "full": 1.0})
    root = drawn(CostPanel(one, cost_range([one])).draw())
    ticks = [each.text for each in of_class(root, "middle") if "axis" in (each.get("class") or "")]
    assert ticks == ["$0.001", "$0.01", "$0.10", "$1.00", "$10.00", "$100.00", "$1,000"]


def test_an_evidence_bar_ends_at_the_largest_drop() -> None:
    root = drawn(evidence_bar(safe(margin=0.1)))
    assert root[0].text == "Drops of more than 6 points are ruled out; the margin is 10 points."
    track, bar = root.iter("rect")
    assert number(track, "width") == 160
    assert number(bar, "width") == pytest.approx(1 + 0.0544 * 158, abs=0.06)
    assert bar.get("class") == "safe"
    [margin] = of_class(root, "margin")
    assert number(margin, "x1") == pytest.approx(16.8)


def test_an_evidence_bar_marks_the_drop_seen_inside_the_track() -> None:
    worse = drawn(evidence_bar(comparison(difference=-0.5)))
    better = drawn(evidence_bar(comparison(difference=0.5)))
    assert number(of_class(worse, "seen")[0], "cx") == 80
    assert number(of_class(better, "seen")[0], "cx") == 1
    assert of_class(drawn(evidence_bar(comparison(difference=None))), "seen") == []
    assert evidence_bar(comparison(largest_drop=None)) is None


def test_a_latency_bar_goes_from_p50_to_p95() -> None:
    prompts = [
        prompt("a", tiers={"nano": stats(1, tier="nano", seconds_p50=2.5)}),
        prompt("b", tiers={"nano": stats(1, tier="nano", seconds_p50=None)}),
        prompt("c"),
    ]
    root = drawn(latency_bar(LadderEntry("nano", "m", None, 5.0, 10.0), prompts, 10.0))
    assert root[0].text == "Half of the calls took at most 5.0 s, 95% at most 10.0 s."
    [spread], [tick] = of_class(root, "spread"), of_class(root, "tick")
    assert (number(spread, "x"), number(spread, "width")) == (160, 159)
    assert number(tick, "x1") == 80.5
    assert latency_bar(LadderEntry("nano", "m", None), prompts, 10.0) is None
    assert latency_bar(LadderEntry("nano", "m", None, 0.0, 0.0), [], 0.0) is not None
