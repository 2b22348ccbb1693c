from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tiers.reports import numbers
from pytest_tiers.reports.table import Row, headings, rows
from pytest_tiers.reports.text import (
    chunks,
    cut,
    cut_start,
    display_width,
    listed,
    one_line,
    shorten_id,
    shorten_ids,
    visible,
    wrap,
)
from tests.unit.summaries import comparison, prompt, run, safe, stats, support_desk


def test_rows_are_sorted_by_prompt_then_up_the_ladder() -> None:
    found = rows(support_desk())
    assert [(row.prompt.rpartition("_")[2], row.tier) for row in found[:4]] == [
        ("arithmetic", "nano"),
        ("arithmetic", "mini"),
        ("language", "nano"),
        ("language", "mini"),
    ]
    assert len(found) == 16


def test_a_row_holds_every_cell_as_text() -> None:
    [row] = rows(run(prompt("test_a.py::test_a", safe("mini"))))
    assert row == Row(
        prompt="test_a.py::test_a",
        cases="60",
        tier="mini",
        passed="60/60",
        flagship_passed="60/60",
        verdict="safe",
        saving="71%",
        cost="$0.174",
        flagship_cost="$0.595",
        drop="6 points",
    )
    assert headings("full").flagship_passed == "on full"


def test_unknown_is_said_and_never_zero() -> None:
    bare = comparison("mini", "no-data", largest_drop=None)
    unknown = {"mini": stats(0, cost_per_1000=None, errors=5)}
    [row] = rows(run(prompt("a::b", bare, tiers=unknown, savings={"mini": None})))
    assert (row.passed, row.saving, row.cost, row.drop) == ("-", "-", "unknown", "unknown")
    [unpriced] = rows(run(prompt("a::b", comparison(), savings={})))
    assert unpriced.saving == "unknown"


def test_a_tier_without_trials_has_no_pass_rate() -> None:
    [row] = rows(run(prompt("a::b", comparison(flagship="other"))))
    assert (row.flagship_passed, row.flagship_cost) == ("-", "unknown")


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "unknown"),
        ("0", "$0"),
        ("0E-9", "$0"),
        ("0.000412", "$0.000412"),
        ("0.0004125", "$0.000412"),
        ("0.0123", "$0.0123"),
        ("0.4", "$0.40"),
        ("0.412", "$0.412"),
        ("0.9999", "$1.00"),
        ("4.1E-9", "$0.0000000041"),
        ("1.5", "$1.50"),
        ("2900", "$2,900"),
        ("-0.4", "-$0.40"),
    ],
)
def test_money(usd: str | None, text: str) -> None:
    assert numbers.money(None if usd is None else Decimal(usd)) == text


@given(st.decimals(min_value=0, max_value=10**6, allow_nan=False, places=12))
def test_money_that_is_not_zero_never_reads_as_zero(usd: Decimal) -> None:
    shown = numbers.money(usd)
    assert "E" not in shown
    assert (Decimal(shown.strip("$").replace(",", "")) == 0) == (usd == 0)


@pytest.mark.parametrize(
    ("usd", "unpriced", "text"),
    [
        ("0", 0, "$0"),
        ("0", 1, "an unknown amount (1 unpriced call)"),
        ("0.5", 12, "$0.50 and 12 unpriced calls"),
    ],
)
def test_amount_says_what_it_lacks(usd: str, unpriced: int, text: str) -> None:
    assert numbers.amount(Decimal(usd), unpriced) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "unknown"),
        (0.0, "0%"),
        (0.004, "<1%"),
        (-0.004, ">-1%"),
        (0.415, "42%"),
        (0.996, ">99%"),
        (1.0, "100%"),
        (-0.12, "-12%"),
        (-12.5, "-1,250%"),
    ],
)
def test_percent(share: float | None, text: str) -> None:
    assert numbers.percent(share) == text


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (0.0995, "10 points"),
        (0.07, "7 points"),
        (0.1, "10 points"),
        (0.101, "11 points"),
        (0.01, "1 point"),
        (-0.02, "0 points"),
    ],
)
def test_a_bound_is_never_rounded_down(bound: float, text: str) -> None:
    assert numbers.points_at_most(bound) == text


@given(st.floats(0, 1))
def test_a_shown_bound_covers_the_bound(bound: float) -> None:
    shown = int(numbers.points_at_most(bound).split()[0])
    assert Decimal(shown) >= Decimal(str(bound)) * 100 > shown - 1


def test_estimates_and_settings_in_points() -> None:
    assert numbers.points_about(-0.04) == "about 4 points"
    assert numbers.points_about(-0.014) == "about 1 point"
    assert numbers.points_about(-0.004) == "less than 1 point"
    assert numbers.exact_points(0.075) == "7.5 points"
    assert numbers.exact_points(0.07) == "7 points"
    assert numbers.exact_points(0.01) == "1 point"
    assert numbers.exact_percent(0.999) == "99.9%"


def test_spans_and_counts() -> None:
    assert numbers.span(14, 9) == "9 to 14"
    assert numbers.span(5, 5) == "5"
    assert numbers.span(100, 54_071) == "100 to over 1,000"
    assert numbers.span(1_200, 1_300) == "1,200 to 1,300"
    assert numbers.count(1, "case") == "1 case"
    assert numbers.count(1081, "case") == "1,081 cases"


@pytest.mark.parametrize(
    ("usd", "text"),
    [("1E+3", "1000"), ("0E-9", "0"), ("-0.0", "0"), ("0.0015440", "0.001544"), ("100", "100")],
)
def test_plain_money_has_no_exponent(usd: str, text: str) -> None:
    assert numbers.plain(Decimal(usd)) == text


def test_display_width_counts_columns() -> None:
    assert display_width("abc") == 3
    assert display_width("路由") == 4
    assert display_width("e\N{COMBINING ACUTE ACCENT}") == 1


def test_visible_shows_what_a_terminal_would_obey() -> None:
    assert visible("plain\ntext") == "plain\ntext"
    assert visible("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert visible("a\N{RIGHT-TO-LEFT OVERRIDE}b\r\t") == "a\\u202eb\\r\\t"
    assert visible("\ud83d!") == "\N{REPLACEMENT CHARACTER}!"
    assert visible("你好") == "你好"


def test_one_line_is_the_first_with_text() -> None:
    assert one_line("\n \nfirst\nsecond") == "first"
    assert one_line("") == ""
    assert one_line("x" * 300, 10) == "xxxxxxxxx…"


def test_ids_are_shortened_before_the_function_name() -> None:
    assert shorten_id("tests/test_routing.py::test_route", 27) == "tests/test_rou…::test_route"
    assert shorten_id("test_a.py::test_a", 27) == "test_a.py::test_a"
    assert shorten_id("tests/t.py::test_" + "long_" * 8, 16) == "test_lon…g_long_"


def test_ids_that_would_look_alike_keep_their_end() -> None:
    ids = ["tests/test_routing.py::test_x", "tests/test_routes.py::test_x"]
    assert shorten_ids(ids, 22) == ["…st_routing.py::test_x", "…est_routes.py::test_x"]
    assert shorten_ids([ids[0], ids[0]], 22) == ["tests/test_ro…::test_x"] * 2


@given(st.text(max_size=60), st.integers(12, 60))
def test_shortened_ids_fit(text: str, width: int) -> None:
    assert display_width(shorten_id(f"tests/{text}.py::test_{text}", width)) <= width
    assert display_width(cut(text, width)) <= width
    assert display_width(cut_start(text, width)) <= width


@given(st.text(st.sampled_from("ab 路由。-/"), max_size=200), st.integers(20, 80))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = wrap(text, width, first="- ", rest="  ")
    assert all(display_width(line) <= width for line in lines)
    kept = "".join(line[2:] for line in lines).replace(" ", "")
    assert kept == text.replace(" ", "")


@given(st.text(st.sampled_from("ab 路"), max_size=80), st.integers(4, 20))
def test_chunks_keep_every_blank(text: str, width: int) -> None:
    pieces = chunks(text, width)
    assert "".join(pieces) == text
    assert all(display_width(piece) <= width for piece in pieces)


def test_names_in_one_phrase() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed("abc") == "a, b and c"
    assert listed("abcd") == "a, b, c and 1 more"
