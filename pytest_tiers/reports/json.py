"""The JSON report, version 1: a run as one plain document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec.json
from msgspec import Struct, to_builtins

from pytest_tiers.drift import Drift
from pytest_tiers.findings import (
    BySite,
    Change,
    Control,
    GateReason,
    LadderEntry,
    MixFindings,
    PromptSummary,
    RunSummary,
    SiteStats,
    TierStats,
)
from pytest_tiers.gate_rates import floor_of
from pytest_tiers.records import LockEntry
from pytest_tiers.reports.gates import gate_sentence
from pytest_tiers.reports.json_trials import (
    Tables,
    TrialEntry,
    money_entry,
    not_run_entries,
    to_json,
)
from pytest_tiers.reports.numbers import plain
from pytest_tiers.reports.table import by_id
from pytest_tiers.settings import Embeddings, PromptSettings, Settings
from pytest_tiers.tiers import Tier
from pytest_tiers.verdicts import Comparison

SCHEMA = "pytest-tiers/report"
VERSION = 1


def _document(summary: RunSummary) -> dict[str, Any]:
    """The report. What there may be thousands of comes one at a time, and is never held at once."""
    tables = Tables.of(summary)
    locked = summary.locked
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": summary.created,
        "settings": _settings(summary),
        "ladder": [_ladder_entry(entry) for entry in summary.ladder],
        "prompts": (_prompt(prompt, locked.get(prompt.id)) for prompt in by_id(summary)),
        "recorded_anew": [_drift(each) for each in summary.recorded_anew],
        "suite": {name: _entry(found) for name, found in summary.suite.items()},
        "sites": _sites(summary.by_site),
        "coverage": to_builtins(summary.coverage),
        "changes": [_change(change) for change in summary.changes],
        "savings": _entry(summary.savings),
        "spent_usd": plain(summary.spent_usd),
        "replayed_usd": plain(summary.replayed_usd),
        "stale_trials": summary.stale_trials,
        "unused_recordings": summary.unused_recordings,
        "unpriced_spent_calls": summary.unpriced_spent_calls,
        "rewritten": list(summary.rewritten),
        "left_alone": list(summary.left_alone),
        "other_models": list(summary.other_models),
        "drift": list(summary.drift),
        "gate": _gate(summary),
        "models_gone": to_builtins(summary.gone),
        "retiring": to_builtins(summary.retiring),
        "merging": _merging(summary, tables),
        "trials": (TrialEntry.of(trial, tables) for trial in summary.trials),
    }


def _merging(summary: RunSummary, tables: Tables) -> dict[str, Any]:
    """What `pytest-tiers merge` needs beside the rest (docs/ci.md)."""
    settings = summary.settings
    return {
        "extent": to_builtins(summary.extent),
        # As it was when the run began: what the run changed there it proved by itself.
        "lock": {
            "prompts": [_entry(entry) for entry in settings.locked.values()],
            "reverts": to_builtins(settings.reverts),
        },
        "not_run": not_run_entries(summary.not_run),
        **tables.to_builtins(),
    }


def parts(summary: RunSummary) -> Iterator[str]:
    """The document in pieces: a line for each prompt, site and trial, the rest indented."""
    before = "{\n"
    for key, value in _document(summary).items():
        yield f'{before} "{key}": '
        if isinstance(value, Iterator):
            yield from _in_lines(value)
        else:
            yield msgspec.json.format(to_json(value), indent=1).replace("\n", "\n ")
        before = ",\n"
    yield "\n}\n"


def _in_lines(entries: Iterator[Any]) -> Iterator[str]:
    before = "[\n  "
    for entry in entries:
        yield before + to_json(entry)
        before = ",\n  "
    yield "\n ]" if before.startswith(",") else "[]"


def _settings(summary: RunSummary) -> dict[str, Any]:
    settings = summary.settings
    return {
        "flagship": settings.ladder.flagship,
        "samples": settings.samples,
        "margin": settings.margin,
        "confidence": settings.confidence,
        "record": settings.record,
        "commit": summary.commit,
        "max_samples": settings.max_samples,
        "flagship_calls": settings.flagship_calls,
        "control": settings.control,
        "comparison": settings.comparison,
        "by": settings.by,
        "mix": settings.mix,
        "replaced": settings.replaced,
        "selection": summary.selection,
        "max_cost_usd": plain(settings.max_cost),
        "max_calls": settings.max_calls,
        "replaces": list(settings.replaces),
        "ignore": to_builtins(settings.ignore),
        "ignore_hosts": list(settings.ignore_hosts),
        "wrappers": None if settings.wrappers is None else list(settings.wrappers),
        "tiers": {tier.name: _tier_settings(tier) for tier in settings.ladder.tiers},
        "prompts": _prompts_settings(settings),
        "strict_lock": settings.strict_lock,
        "max_age": settings.max_age,
        "judge": to_builtins(settings.judge),
        "embeddings": _embeddings(settings.embeddings),
    }


def _embeddings(embeddings: Embeddings | None) -> dict[str, Any] | None:
    if embeddings is None:
        return None
    return {
        "tier": embeddings.tier,
        "model": embeddings.model,
        "threshold": embeddings.threshold,
    }


def _tier_settings(tier: Tier) -> dict[str, Any]:
    return {
        "base_url": _without_secrets(tier.base_url),
        "params": dict(tier.params),
        "drop_params": list(tier.drop_params),
        "rename_params": dict(tier.rename_params),
        "retires": None if tier.retires is None else tier.retires.isoformat(),
    }


def _without_secrets(url: str | None) -> str | None:
    """Scheme, host and path alone: user names, passwords and queries may be keys."""
    if url is None:
        return None
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _prompts_settings(settings: Settings) -> dict[str, Any]:
    return {name: _prompt_settings(settings.prompts[name]) for name in sorted(settings.prompts)}


def _prompt_settings(settings: PromptSettings) -> dict[str, Any]:
    """What the configuration file says of a prompt; what it does not say is left out."""
    return {name: value for name, value in _entry(settings).items() if value is not None}


def _ladder_entry(entry: LadderEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "model": entry.model,
        "price": entry.price,
        "seconds": {"p50": entry.seconds_p50, "p95": entry.seconds_p95},
    }


def _prompt(prompt: PromptSummary, locked: LockEntry | None = None) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "cases": prompt.cases,
        "flagship": prompt.flagship,
        "margin": prompt.margin,
        "min_pass_rate": floor_of(prompt, locked),
        "monthly_runs": prompt.monthly_runs,
        "max_cost_per_1000": money_entry(prompt.max_cost_per_1000),
        "tiers": {name: _stats(stats) for name, stats in prompt.tiers.items()},
        "comparisons": {
            name: _comparison(comparison, prompt.savings)
            for name, comparison in prompt.comparisons.items()
        },
        "as_is": {"calls": prompt.as_is_calls, "cost_usd": money_entry(prompt.as_is_cost_usd)},
        "recommended": prompt.recommended,
        "locked": None if locked is None else _entry(locked),
        "notice": prompt.notice,
        "ruled_out": to_builtins(prompt.ruled_out),
        "control": _control(prompt.control),
        "disagreements": to_builtins(prompt.disagreements),
        "sites": [_site(site) for site in prompt.sites],
        "left_out": {name: _entry(each) for name, each in prompt.left_out.items()},
        "cascades": {tier: _entry(one) for tier, one in prompt.cascades.items()},
        "best_cascade": prompt.best_cascade,
        "mixes": [] if prompt.mix is None else _mixes(prompt.mix),
        "mix_search": None if prompt.mix is None else _mix_search(prompt.mix),
    }


def _mixes(found: MixFindings) -> list[dict[str, Any]]:
    """Each mix that was run, as a comparison with more to it."""
    labels = {site.key: site.label for site in found.sites}
    return [
        {
            "name": mix.mix.name,
            "tiers": {labels[key]: tier for key, tier in mix.tiers.items()},
            **_comparison(mix.comparison, {mix.comparison.tier: mix.saving}),
            "recommended": mix == found.recommended,
            "put_forward": mix.put_forward,
            "stopped": mix.stopped,
            "trials": mix.trials,
            "calls": mix.calls,
            "usd_per_1000": money_entry(mix.cost_per_1000),
            "ruled_out": to_builtins(mix.ruled_out),
        }
        for mix in found.mixes
    ]


def _mix_search(found: MixFindings) -> dict[str, Any]:
    return {
        "end": found.end,
        "reason": found.reason,
        "calls": found.calls,
        "exhaustive_mixes": found.exhaustive_mixes,
        "exhaustive_calls": found.exhaustive_calls,
    }


def _sites(by_site: BySite | None) -> Iterator[dict[str, Any]]:
    """The verdicts by call site, shaped like those by prompt."""
    if by_site is None:
        return
    for site in by_id(by_site.summary):
        yield {
            **_prompt(site),
            "prompts": list(by_site.prompts[site.id]),
            "called_with": list(by_site.called_with[site.id]),
        }


def _change(change: Change) -> dict[str, Any]:
    return {
        "units": list(change.units),
        "site": change.site,
        "tier": change.tier,
        "present_model": change.present,
        "model": change.model,
        "source": {
            "kind": change.source.kind,
            "text": change.source.text,
            "file": change.source.file,
            "line": change.source.line,
        },
        "in_diff": change.in_diff,
        "held_back_by": list(change.held_back_by),
        "also": list(change.also),
    }


def _site(stats: SiteStats) -> dict[str, Any]:
    return {
        "site": stats.site,
        "key": stats.key,
        "calls": stats.calls,
        "cost_share": stats.cost_share,
        "tokens": to_builtins(stats.tokens),
        "cost_usd": money_entry(stats.cost_usd),
        "seconds": {"p50": stats.seconds_p50, "p95": stats.seconds_p95},
    }


def _gate(summary: RunSummary) -> dict[str, Any]:
    return {
        "passed": summary.gate.passed,
        "mode": summary.settings.gate,
        "failures": [_gate_reason(summary, reason) for reason in summary.gate.failures],
        "warnings": [_gate_reason(summary, reason) for reason in summary.gate.warnings],
        "detectable_drops": dict(summary.gate.power),
    }


def _gate_reason(summary: RunSummary, reason: GateReason) -> dict[str, Any]:
    return {
        "kind": reason.kind,
        "prompt": reason.prompt,
        "tier": reason.tier,
        "cases": list(reason.cases),
        "message": gate_sentence(summary, reason),
    }


def _entry(record: Struct) -> dict[str, Any]:
    """The fields of a record, with exact amounts of money."""
    return {
        name: plain(value) if isinstance(value := getattr(record, name), Decimal) else entry
        for name, entry in to_builtins(record).items()
    }


def _control(control: Control | None) -> dict[str, Any] | None:
    if control is None:
        return None
    return {"tried": control.tried, "passed": control.passed, "blind": control.is_blind}


def _stats(stats: TierStats) -> dict[str, Any]:
    return {
        "trials": stats.trials,
        "passed": stats.passed,
        "missed": stats.missed,
        "unsupported": stats.unsupported,
        "errors": stats.errors,
        "no_calls": stats.no_calls,
        "calls": stats.calls,
        "tokens": to_builtins(stats.tokens),
        "cost_usd": money_entry(stats.cost_usd),
        "unpriced_calls": stats.unpriced_calls,
        "seconds": {"p50": stats.seconds_p50, "p95": stats.seconds_p95},
        "usd_per_1000": money_entry(stats.cost_per_1000),
        "pass_rate": to_builtins(stats.pass_rate),
        "mean_score": stats.mean_score,
        "inconsistent": stats.inconsistent,
    }


def _comparison(comparison: Comparison, savings: Mapping[str, float | None]) -> dict[str, Any]:
    return {
        "verdict": comparison.verdict,
        "difference": comparison.difference,
        "largest_drop": comparison.largest_drop,
        "largest_drop_these_cases": comparison.largest_drop_these_cases,
        "log_evidence": comparison.log_evidence,
        "log_evidence_these_cases": comparison.log_evidence_these_cases,
        "log_evidence_worse": comparison.log_evidence_worse,
        "more_cases": list(comparison.more_cases),
        "missing_trials": comparison.missing_trials,
        "output_mismatches": comparison.output_mismatches,
        "saving": savings.get(comparison.tier),
        "held_back": comparison.held_back,
        "measurably_worse": comparison.measurably_worse,
        "spared_pairs": comparison.spared_pairs,
        "scored": comparison.scored,
        "made_anew": list(comparison.made_anew),
        "recorded_again": comparison.recorded_again,
    }


def _drift(drift: Drift) -> dict[str, Any]:
    return {
        **_entry(drift),
        "examples": [
            {"case": case, "sample": sample, "difference": difference}
            for case, sample, difference in drift.examples
        ],
    }
