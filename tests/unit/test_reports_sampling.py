"""What reports say of trials that sampling left out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pytest_tiers.findings import LeftOut, PromptSummary, RunSummary
from pytest_tiers.reports.html.page import build_page
from pytest_tiers.reports.sampling import left_out_sentences, spared_sentences
from tests.unit.summaries import comparison, prompt, run, safe


def left_out(why: str, trials: int, **more: Any) -> LeftOut:
    return LeftOut(why=why, trials=trials, of=100, samples=10, **more)


def sampled(name: str, *comparisons: Any, **tiers: LeftOut) -> PromptSummary:
    return prompt(f"tests/test_a.py::{name}", *comparisons, left_out=tiers)


@pytest.mark.parametrize(
    ("verdict", "why", "said"),
    [
        ("safe", "decided", "mini safe after 40 trials; 60 trials left out"),
        ("matches", "decided", "mini matches after 40 trials; 60 trials left out"),
        ("worse", "out-of-reach", "mini worse after 40 trials; 60 trials left out"),
        (
            "inconclusive",
            "decided",
            "mini as sure as more samples can make it after 40 trials; 60 trials left out",
        ),
        (
            "inconclusive",
            "out-of-reach",
            "mini cannot be decided with 10 samples, seen after 40 trials; 60 trials left out",
        ),
        (
            "inconclusive",
            "behind",
            "mini too far behind to become safe, seen after 40 trials; 60 trials left out",
        ),
        ("inconclusive", "limit", "mini stopped at the limit; 60 trials left out"),
        (
            "inconclusive",
            "scattered",
            "its trials are on several workers, so no new samples were taken; 60 trials left out",
        ),
    ],
)
def test_why_trials_were_left_out(verdict: str, why: str, said: str) -> None:
    summary = run(sampled("test_a", comparison("mini", verdict), mini=left_out(why, 60)))
    assert list(left_out_sentences(summary)) == [f"test_a: {said}"]


def test_prompts_that_are_alike_are_told_together() -> None:
    found = {"mini": left_out("decided", 60), "full": left_out("not-needed", 60)}
    summary = run(
        sampled("test_a", safe(), **found),
        sampled("test_b", safe(), **found),
        sampled("test_c", safe()),
    )
    assert list(left_out_sentences(summary)) == [
        "test_a and test_b: mini safe after 40 trials; 120 trials left out each"
    ]


def test_a_flagship_alone_has_nothing_to_compare_with() -> None:
    summary = run(sampled("test_a", full=left_out("not-needed", 9)))
    assert list(left_out_sentences(summary)) == ["test_a: nothing to compare; 9 trials left out"]


def spared(trials: int, usd: str | None) -> LeftOut:
    cost = None if usd is None else Decimal(usd)
    return left_out("spared", trials, spared=trials, spared_usd=cost)


def in_all(*prompts: PromptSummary) -> list[str]:
    summary: RunSummary = run(*prompts)
    assert list(left_out_sentences(summary)) == []
    return list(spared_sentences(summary))


def test_what_a_spared_flagship_saved() -> None:
    unknown = ". Where it was not, its result is unknown and counted against the candidate."
    costs = sampled("test_a", safe(), full=spared(90, "0.04"))
    never = sampled("test_b", safe(), full=spared(100, None))
    assert in_all(sampled("test_c", safe())) == []
    assert in_all(costs) == [
        f"full was not called for 90 of 100 trials, which saved about $0.04{unknown}"
    ]
    assert in_all(costs, never) == [
        "full was not called for 190 of 200 trials, which saved about $0.04; what that saved is "
        f"not known for test_b{unknown}"
    ]


def test_the_page_says_it_too() -> None:
    summary = run(sampled("test_a", safe(), mini=left_out("decided", 60), full=spared(90, "0.04")))
    notes = " ".join(build_page(summary).notes)
    assert "mini safe after 40 trials" in notes
    assert "full was not called for 90 of 100 trials" in notes
