"""``--tiers-explain``: everything known about one prompt, whatever stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_tiers.findings import Cascade, Disagreement, PassRate, RunSummary, SiteStats
from pytest_tiers.records import Tokens
from pytest_tiers.reports.explain import explain_lines
from pytest_tiers.reports.text import display_width
from tests.unit.summaries import comparison, prompt, run, small_suite, stats, support_desk, trial

GOLDEN = Path(__file__).parent / "golden" / "explain.txt"


def explained(summary: RunSummary, asked: str, width: int = 80) -> str:
    return "".join(f"{line}\n" for line in explain_lines(summary, asked, width=width))


def test_golden_text() -> None:
    assert explained(support_desk(), "test_route") == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("build", [support_desk, small_suite])
def test_every_line_fits(build: object, width: int) -> None:
    summary = build()  # type: ignore[operator]
    for one in summary.prompts:
        for line in explain_lines(summary, one.id, width=width):
            assert display_width(line) <= width, line


@pytest.mark.parametrize("asked", ["t.py::test_a", "test_a"])
def test_an_id_wins_over_its_end_and_that_over_a_part(asked: str) -> None:
    summary = run(prompt("t.py::test_a", comparison()), prompt("t.py::test_a_b", comparison()))
    assert explained(summary, asked).startswith("t.py::test_a\n")
    assert explained(summary, "_b").startswith("t.py::test_a_b\n")


def test_what_fits_several_prompts_is_asked_again() -> None:
    summary = run(prompt("t.py::test_a", comparison()), prompt("t.py::test_b", comparison()))
    assert explained(summary, "test_") == (
        '--tiers-explain: "test_" could be t.py::test_a and t.py::test_b. Give more of\nthe id.\n'
    )


def test_what_fits_none_is_said_with_the_nearest() -> None:
    summary = run(prompt("t.py::test_route", comparison()), prompt("x/y.py::q", comparison()))
    shown = " ".join(explained(summary, "t.py::test_rout_\x1b[31m").split())
    assert 'no prompt "t.py::test_rout_\\x1b[31m". It has t.py::test_route.' in shown
    assert "It has no prompt" in explained(run(), "x")


def cascade_of_mini() -> Cascade:
    return Cascade(
        "mini",
        "application",
        runs=10,
        escalated=2,
        escalated_share=PassRate(0.2, 0.05, 0.5),
        left_out=1,
        passed=9,
        pass_rate=PassRate(0.9, 0.6, 0.99),
        usd_per_1000=None,
        saving=None,
        stops_paying_at=None,
        added_seconds=None,
        added_seconds_if_escalated=None,
    )


def test_all_that_may_be_known_is_told() -> None:
    flagship = stats(9, 1, pass_rate=PassRate(0.9, 0.6, 0.99), mean_score=0.8, inconsistent=2)
    mini = stats(5, 1, "mini", errors=3, no_calls=1, unpriced_calls=2)
    known = {"full": Disagreement(0.2, 0.1, 0.3, 10), "mini": Disagreement(0.4, 0.1, 0.6, 10)}
    one = prompt(
        "t.py::test_a",
        comparison(difference=-0.4, output_mismatches=2, missing_trials=3),
        tiers={"full": flagship, "mini": mini},
        disagreements=known,
        min_pass_rate=0.9,
        monthly_runs=20_000,
        notice="only a notice",
        savings={"mini": None},
        sites=(
            SiteStats("a.py:1 plan", "a.py:plan/1", 2, Tokens(90, 0, 7, 0), None, 0.7, 0.2, 0.3),
        ),
        cascades={"mini": cascade_of_mini()},
    )
    outputs = [
        trial("t.py::test_a", "客" * 70, tier, output="x", has_output=True, compared_by="judge")
        for tier in ("mini", "full")
    ]
    shown = explained(replace(run(one), trials=tuple(outputs)), "test_a")
    for expected in (
        "min_pass_rate 90%",
        "20,000 runs a month",
        "outputs compared by judge",
        "no verdict: only a notice",
        "recommended: stay on full",
        "90% (60% to 99%); mean score 0.80; 2 unlike its own sample before",
        "3 without an answer, 1 without a call",
        "2 unpriced",
        "about 40 points worse",
        "3 pairs missing, counted against it",
        "2 outputs unlike the flagship's",
        "in 40%, which ends differently from itself in 20%",
        "saving unknown",
        "a.py:1 plan: 2 calls, 70% of cost, 90 tokens in, 7 out, median 0.20 s",
        "as a cascade that the application checks: mini first saves an unknown amount; 2 of 10 "
        "(5% to 50%) go on to full; passes 9/10 (60% to 99%); 1 run left out for want of full's",
        "  mini .  full .\n      客",
    ):
        assert " ".join(expected.split()) in " ".join(shown.split()), expected
    assert all(display_width(line) <= 80 for line in shown.splitlines())


def test_a_very_large_e_value_is_a_power_of_ten() -> None:
    one = prompt("t.py::test_a", comparison(log_evidence=2000.0))
    assert "e-value 10^869, 20 needed" in " ".join(explained(run(one), "test_a").split())
