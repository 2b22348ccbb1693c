"""What changed since the last recording, in sentences; chance is called chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from pytest_tiers.drift import Drift
from pytest_tiers.findings import RunSummary
from pytest_tiers.reports.numbers import count, money, percent
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.reports.words import short_names

#: What is measured: how it is called, its decimals, and from what change on it is told. Seconds
#: differ from call to call.
_MEASURES = {
    "input_tokens": ("input tokens", 0, 0.05),
    "output_tokens": ("output tokens", 0, 0.05),
    "seconds": ("seconds", 2, 0.25),
}

#: From what change on a cost is told.
_COST_TOLD_FROM = Decimal("0.05")


def drift_sentences(summary: RunSummary) -> Iterator[str]:
    """Each prompt and tier of which something changed, those that are proven first."""
    names = short_names(summary)
    same: defaultdict[str, list[str]] = defaultdict(list)
    ranked = sorted(summary.recorded_anew, key=lambda one: one.verdict not in ("worse", "better"))
    for drift in ranked:
        said = list(filter(None, (_result(drift), _outputs(drift), _measures(drift))))
        if drift.verdict == "unknown":
            said = [f"unknown: {_unknown(drift)}"]
        elif drift.unknown:
            said.append(f"not compared: {_unknown(drift)}")
        if said:
            since = f" since {drift.since[0]}" if drift.since else ""
            yield f"{names[drift.prompt]} on {one_line(drift.tier)}{since}: {'; '.join(said)}"
        else:
            same[drift.tier].append(names[drift.prompt])
    for tier, prompts in same.items():
        yield f"{listed(prompts)} on {one_line(tier)}: the same results and answers as before"


def _unknown(drift: Drift) -> str:
    return (
        f"{count(drift.unknown, 'trial')}, whose requests changed, or whose test cannot be tried "
        "with earlier answers"
    )


def _result(drift: Drift) -> str | None:
    if not drift.pairs or drift.verdict == "same":
        return None
    text = f"passes {drift.passed_now:,} of {drift.pairs:,}, {drift.passed_before:,} before"
    ends = f"{drift.worse:,} {'ends' if drift.worse == 1 else 'end'} worse, {drift.better:,} better"
    if drift.verdict == "not-proven":
        return f"{text} ({ends}: may be chance)"
    return f"{text}: measurably {drift.verdict} ({ends})"


def _outputs(drift: Drift) -> str | None:
    if not drift.outputs_changed:
        return None
    text = f"answers differ in {drift.outputs_changed:,} of {drift.pairs:,}"
    if drift.outputs_vary is not None:
        text += f" (of two samples made now: in {percent(drift.outputs_vary)})"
    case, _, difference = drift.examples[0]
    return f"{text}, first {one_line(case)}: {one_line(difference).rstrip('.')}"


def _measures(drift: Drift) -> str | None:
    """The means that moved, from and to."""
    said = []
    for name, (label, digits, least) in _MEASURES.items():
        before, now = drift.before.get(name), drift.now.get(name)
        if before and now is not None and abs(now / before - 1) >= least:
            shown = f"{before:,.{digits}f} -> {now:,.{digits}f}"
            said.append(f"{label} {now / before - 1:+.0%} ({shown})")
    costs = drift.usd_before, drift.usd_now
    if costs[0] and costs[1] is not None and abs(costs[1] / costs[0] - 1) >= _COST_TOLD_FROM:
        shown = f"{money(costs[0] * 1000)} -> {money(costs[1] * 1000)} per 1,000 runs"
        said.append(f"cost {float(costs[1] / costs[0] - 1):+.0%} ({shown})")
    return ", ".join(said) or None
