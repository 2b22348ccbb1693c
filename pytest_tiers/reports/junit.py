"""What pytest's JUnit report says of trials, as names and values of properties."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pytest_tiers import call_totals
from pytest_tiers.findings import RunSummary
from pytest_tiers.records import Trial
from pytest_tiers.reports.gates import gate_sentence
from pytest_tiers.reports.numbers import plain

#: What a value says that is not known.
_UNKNOWN = "unknown"


def trial_properties(trial: Trial) -> list[tuple[str, str]]:
    """The properties of a trial's test case, as far as they are known when its test has ended."""
    return [
        (f"tiers.{name}", _UNKNOWN if value is None else str(value))
        for name, value in _facts(trial).items()
    ]


def suite_properties(summary: RunSummary) -> Iterator[tuple[str, str]]:
    """The properties of the test suite: every trial, every verdict, and the gate.

    The schema of xunit2 knows properties of suites only. A trial's value is a JSON object.
    """
    yield "tiers.gate", "passed" if summary.gate.passed else "failed"
    for reason in summary.gate.failures:
        yield "tiers.gate.failure", gate_sentence(summary, reason)
    verdicts = {
        (prompt.id, tier): comparison.verdict
        for prompt in summary.prompts
        for tier, comparison in prompt.comparisons.items()
    }
    for (prompt, tier), verdict in verdicts.items():
        yield f"tiers.verdict {prompt} {tier}", verdict
    for trial in summary.trials:
        facts = {**_facts(trial), "verdict": verdicts.get((trial.prompt, trial.tier))}
        yield f"tiers.trial {trial.nodeid}", json.dumps(facts, ensure_ascii=False)


def _facts(trial: Trial) -> dict[str, Any]:
    """What is known of one trial; the cost in USD, None where a call has no price."""
    calls = trial.tier_calls
    cost: Decimal | None = call_totals.cost(calls)
    if call_totals.unpriced(calls):
        cost = None
    tokens = call_totals.total_tokens(calls) if all(call.tokens for call in calls) else None
    return {
        "tier": trial.tier,
        "model": ", ".join(dict.fromkeys(call.model for call in calls if call.model)) or None,
        "outcome": trial.outcome,
        "cost_usd": None if cost is None else plain(cost),
        "input_tokens": None if tokens is None else tokens.input,
        "output_tokens": None if tokens is None else tokens.output,
    }
