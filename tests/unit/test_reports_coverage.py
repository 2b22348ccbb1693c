"""What the verdicts speak for, and what no tiered test reaches, in words."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from pytest_tiers.findings import Coverage, UntestedSite
from pytest_tiers.reports.coverage import coverage_sentences
from pytest_tiers.savings import total_savings
from tests.unit.summaries import comparison, prompt, run, safe

DECIDED = (
    prompt("a", safe("mini"), recommended="mini"),
    prompt("b", comparison("nano", "worse"), comparison("mini", "unsupported")),
)
OPEN = (
    prompt("c", comparison("nano", "worse"), comparison("mini")),
    prompt("d", comparison("mini", "blind")),
)


def sites(number: int, **changes: Any) -> Coverage:
    found = tuple(UntestedSite("app.py", n, f"f{n}", n % 2 == 0) for n in range(1, number + 1))
    return replace(Coverage(found, 9, 3, is_complete=True, is_certain=True), **changes)


def test_the_share_of_spend() -> None:
    savings = total_savings((*DECIDED, *OPEN))
    assert list(coverage_sentences(run(*DECIDED, *OPEN, savings=savings))) == [
        "The verdicts speak for 50% of what 1,000 runs of each prompt cost on full (2 of 4 prompts "
        "decided)."
    ]


def test_the_share_of_a_month() -> None:
    prompts = (replace(DECIDED[0], monthly_runs=3000), replace(OPEN[0], monthly_runs=1000))
    savings = total_savings(prompts)
    assert (savings.decided_share, savings.decided_by_month) == (0.75, True)
    (sentence,) = coverage_sentences(run(*prompts, savings=savings))
    assert sentence.startswith("The verdicts speak for 75% of what your monthly_runs cost on full")


def test_an_unknown_share_is_not_shown() -> None:
    unpriced = replace(DECIDED[0], tiers={})
    assert list(coverage_sentences(run(unpriced, savings=total_savings([unpriced])))) == []


def test_call_sites_without_a_tiered_test() -> None:
    def told(found: Coverage, **options: bool) -> list[str]:
        return list(coverage_sentences(run(coverage=found), **options))

    assert told(sites(1)) == [
        "1 call site of the application is called by no tiered test: app.py:1 f1."
    ]
    assert told(sites(4)) == [
        "4 call sites of the application are called by no tiered test: app.py:1 f1, app.py:2 f2 "
        "(other tests do), app.py:3 f3 and 1 more."
    ]
    assert "app.py:4 f4" in told(sites(4), everything=True)[0]
    assert told(sites(0)) == []
    assert told(sites(1, is_certain=False))[0].endswith(
        " Trials without an answer may have been on their way there."
    )
    assert told(sites(0, is_complete=False)) == [
        "Call sites were looked for in 3 files only: there are more."
    ]
