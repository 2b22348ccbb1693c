"""What changed since the last recording: numbers, and what of them is more than chance."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from pytest_tiers.drift import Drift, drifts
from pytest_tiers.records import Earlier, Outcome, Tokens, Trial
from pytest_tiers.reports.drift import drift_sentences
from tests.unit.summaries import call, everyday, prompt, trial

ALPHA = 0.05


def pair(number: int, before: Outcome, now: Outcome, **changes: Any) -> Trial:
    """A trial that was recorded before; its answers are the outcomes unless said otherwise."""
    earlier = {
        "outcome": before,
        "worth": float(before == "passed"),
        "answer": before,
        "input_tokens": 160,
        "output_tokens": 13,
        "cost_usd": Decimal("0.001"),
        "seconds": 0.24,
        "recorded_at": f"2026-11-{10 + number % 3}T09:00:00Z",
        **changes.pop("earlier", {}),
    }
    known: dict[str, Any] = {
        "tier": "nano",
        "answer": now,
        "calls": (call("nano", uncached_cost_usd=Decimal("0.001")),),
        "earlier": Earlier(**earlier),
        **changes,
    }
    return trial("p", f"c{number}", outcome=now, **known)


def found(*trials: Trial) -> Drift:
    [drift] = drifts(trials, ALPHA)
    return drift


def said(*trials: Trial) -> str:
    summary = everyday(recorded_anew=drifts(trials, ALPHA), prompts=(prompt("p"),))
    return " ".join(drift_sentences(summary))


def test_nothing_was_replaced() -> None:
    assert drifts([trial()], ALPHA) == ()


def test_a_recording_that_says_the_same() -> None:
    same = [pair(number, "passed", "passed") for number in range(30)]
    drift = found(*same)
    assert (drift.verdict, drift.pairs, drift.unknown, drift.outputs_changed) == ("same", 30, 0, 0)
    assert drift.since == ("2026-11-10", "2026-11-12")
    assert said(*same) == "p on nano: the same results and answers as before"


@pytest.mark.parametrize(
    ("worse", "better", "verdict"),
    [
        (5, 0, "not-proven"),
        # One of two directions, half of the stake on everything: 0.5 · 0.5 · 2⁷ = 32.
        (7, 0, "worse"),
        (0, 7, "better"),
        (7, 6, "not-proven"),
        (0, 0, "same"),
    ],
)
def test_a_few_trials_that_end_differently_prove_nothing(
    worse: int, better: int, verdict: str
) -> None:
    trials = [
        *(pair(number, "passed", "missed") for number in range(worse)),
        *(pair(100 + number, "missed", "passed") for number in range(better)),
        *(pair(200 + number, "passed", "passed") for number in range(20)),
    ]
    drift = found(*trials)
    assert (drift.verdict, drift.worse, drift.better) == (verdict, worse, better)
    total = len(trials)
    assert drift.difference == pytest.approx((better - worse) / total)
    if worse == 5:
        assert "passes 20 of 25, 25 before (5 end worse, 0 better: may be chance)" in said(*trials)
    if worse == 7 and not better:
        assert "passes 20 of 27, 27 before: measurably worse (7 end worse, 0" in said(*trials)


def test_many_prompts_share_what_may_be_chance() -> None:
    alone = [pair(number, "passed", "missed") for number in range(7)]
    assert found(*alone).verdict == "worse"
    others = [
        trial("q", f"c{number}", outcome="passed", tier=f"t{number}", earlier=alone[0].earlier)
        for number in range(9)
    ]
    [drift, *_] = drifts([*alone, *others], ALPHA)
    assert (drift.prompt, drift.verdict) == ("p", "not-proven")


def test_scores_and_samples_count() -> None:
    trials = [
        pair(1, "passed", "passed", score=0.4, earlier={"worth": 0.9}, sample=sample)
        for sample in (1, 2)
    ]
    drift = found(*trials)
    assert (drift.worse, drift.difference) == (2, pytest.approx(-0.5))
    assert (drift.passed_before, drift.passed_now) == (2, 2)


def test_what_is_unknown_is_counted_and_proves_nothing() -> None:
    trials = [
        pair(1, "passed", "passed"),
        trial("p", "c2", "nano", earlier=Earlier()),
        pair(3, "passed", "error"),
    ]
    drift = found(*trials)
    assert (drift.pairs, drift.unknown, drift.verdict) == (1, 2, "same")
    assert said(*trials).startswith("p on nano since 2026-11-11: not compared: 2 trials, whose req")
    alone = found(trials[1])
    assert (alone.verdict, alone.pairs, alone.difference, alone.since) == ("unknown", 0, None, None)
    assert alone.log_evidence == 0.0
    assert said(trials[1]).startswith("p on nano: unknown: 1 trial, whose requests changed")
    priceless = pair(4, "passed", "passed", earlier={"cost_usd": None, "output_tokens": None})
    drift = found(priceless)
    assert (drift.usd_before, drift.usd_now) == (None, None)
    assert "output_tokens" not in drift.before


def test_answers_are_compared_deeply_and_by_how_much_they_vary_anyway() -> None:
    changed = [
        pair(1, "passed", "passed", answer='{"a": 1, "b": 2}', earlier={"answer": '{"b":2,"a":1}'}),
        pair(2, "passed", "passed", answer='{"a": 1}', earlier={"answer": '{"a": 3}'}),
        pair(2, "passed", "passed", answer='{"a": 3}', earlier={"answer": '{"a": 3}'}, sample=2),
        pair(
            3, "passed", "passed", answer="Yes,\n  of course", earlier={"answer": "yes, of course"}
        ),
        pair(4, "passed", "passed", answer="[1" * 9, earlier={"answer": None}),
    ]
    drift = found(*changed)
    assert (drift.outputs_changed, drift.outputs_vary) == (2, 1.0)
    assert drift.examples == (
        ("c2", 1, "Value of root['a'] changed from 3 to 1."),
        ("c4", 1, "no answer -> " + "[1" * 9),
    )
    text = "answers differ in 2 of 5 (of two samples made now: in 100%), first c2: Value of root"
    assert text in said(*changed)


def test_tokens_cost_and_seconds_that_moved_are_told() -> None:
    now = call(
        "nano",
        tokens=Tokens(160, 0, 26, 0),
        uncached_cost_usd=Decimal("0.0015"),
        seconds=0.27,
    )
    trials = [pair(number, "passed", "passed", calls=(now,)) for number in range(2)]
    drift = found(*trials)
    assert (drift.usd_before, drift.usd_now) == (Decimal("0.001"), Decimal("0.0015"))
    assert drift.now == {"input_tokens": 160, "output_tokens": 26, "seconds": 0.27}
    assert said(*trials) == (
        "p on nano since 2026-11-10: output tokens +100% (13 -> 26), cost +50% ($1.00 -> $1.50 per "
        "1,000 runs)"
    )
    assert math.isclose(drift.before["seconds"], 0.24)
