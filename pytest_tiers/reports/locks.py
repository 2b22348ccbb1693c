"""What a run changed in tiers.lock, or could not, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import LockChange, RuledOut, RunSummary
from pytest_tiers.records import LockEntry
from pytest_tiers.reports.numbers import count, money, percent, points_at_most
from pytest_tiers.reports.table import by_id
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.reports.words import short_names
from pytest_tiers.savings import is_cheaper


def lock_sentences(summary: RunSummary) -> Iterator[str]:
    """Each change of tiers.lock, and each change that was not made, with the reason."""
    is_replacing = summary.settings.replaced is not None and summary.locked
    if not (summary.settings.update_lock or is_replacing):
        return
    names = short_names(summary)
    for change in summary.lock_changes:
        yield _changed(names.get(change.prompt, one_line(change.prompt)), change)
    written = sum(change.after is not None for change in summary.lock_changes)
    locked = count(len(summary.locked), "prompt")
    if written:
        yield f"tiers.lock: {_entries(written)} written, {locked} locked."
    else:
        yield f"tiers.lock: nothing changed, {locked} locked."


def accepted_sentence(summary: RunSummary) -> str | None:
    """What was accepted without proof, with its bound and saving; None where nothing was."""
    entries = [entry for entry in summary.locked.values() if entry.accepted is not None]
    if not entries:
        return None
    monthly = {prompt.id: prompt.monthly_runs for prompt in summary.prompts}
    shown = listed(_accepted(entry, monthly.get(entry.prompt)) for entry in entries)
    return f"Accepted without proof: {shown}."


def _accepted(entry: LockEntry, monthly_runs: int | None) -> str:
    drop = "unknown" if entry.largest_drop is None else points_at_most(entry.largest_drop)
    text = f"{one_line(entry.prompt)} on {entry.tier} ({entry.verdict}, at most {drop} worse"
    if entry.usd_per_1000 is not None and entry.replaces_usd_per_1000 is not None:
        saving = entry.replaces_usd_per_1000 - entry.usd_per_1000
        text += f", saves {money(saving)} per 1,000 runs"
        if monthly_runs:
            text += f", {money(saving * monthly_runs / 1000)} a month"
    return f"{text})"


def ruled_out_sentences(summary: RunSummary) -> Iterator[str]:
    """Each candidate that is no choice, whatever its pass rate, with the reason."""
    names = short_names(summary)
    for prompt in by_id(summary):
        for tier, why in prompt.ruled_out.items():
            yield f"{tier} for {names[prompt.id]} is ruled out: {why_ruled_out(why)}"


def why_ruled_out(why: RuledOut) -> str:
    """Why a tier or a mix is no choice."""
    if why.kind == "must-pass":
        return f"it misses what must pass ({listed(map(one_line, why.cases))})"
    return (
        f'reverted on {why.date} ("{one_line(why.reason)}"); it is proposed again when its model '
        "or the prompt changes"
    )


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"


def new_downgrades(summary: RunSummary) -> Iterator[str]:
    """Each tier that is safe now and not locked yet. News, never a failure."""
    names = short_names(summary)
    for prompt in by_id(summary):
        entry = summary.locked.get(prompt.id)
        if prompt.recommended is None:
            continue
        cost = prompt.tiers[prompt.recommended].cost_per_1000
        if entry and (entry.tier == prompt.recommended or not is_cheaper(prompt, cost, entry)):
            continue
        now = entry.tier if entry else prompt.comparisons[prompt.recommended].flagship
        saving = percent(prompt.savings.get(prompt.recommended))
        yield (
            f"{names[prompt.id]}: {now} -> {prompt.recommended} is safe, saves {saving} of the "
            "flagship's cost"
        )


def _changed(name: str, change: LockChange) -> str:
    if change.after is None:
        return f"{name}: {change.why}."
    if change.kind == "carried":
        return (
            f"{name}: {change.after.tier} stays; the prompt changed and passes, evidence: from "
            "before the change."
        )
    if change.kind == "replaced":
        return f"{name}: {_replaced(change.before, change.after)}."
    if change.kind == "renewed":
        return f"{name}: {change.after.tier} has new evidence: {_evidence(change.after)}."
    came_from = change.before.tier if change.before else change.after.replaces
    return f"{name}: {came_from} -> {change.after.tier}, {_evidence(change.after)}."


def _replaced(before: LockEntry | None, after: LockEntry) -> str:
    """What became of an entry when a model took another's place."""
    if before is None or before.tier == after.tier:
        return (
            f"{after.tier} stays, unproven against {after.replaces}; its evidence is against "
            f"{after.versus}"
        )
    drop = "" if after.largest_drop is None else points_at_most(after.largest_drop)
    text = f"{before.tier} -> {after.tier}, unproven against {after.replaces}"
    if drop:
        text += f" (at most {drop} worse than {before.tier}, {count(after.cases, 'case')})"
    if before.usd_per_1000 and after.usd_per_1000:
        change = float(after.usd_per_1000 / before.usd_per_1000 - 1)
        if change > 0:
            text += f"; costs {percent(change)} more: {money(after.usd_per_1000)} per 1,000 runs"
    return text


def _evidence(entry: LockEntry) -> str:
    text = entry.verdict
    if entry.largest_drop is not None:
        cases = count(entry.cases, "case")
        text += f" (at most {points_at_most(entry.largest_drop)} worse, {cases})"
    if entry.usd_per_1000 is not None and entry.replaces_usd_per_1000:
        saving = float(1 - entry.usd_per_1000 / entry.replaces_usd_per_1000)
        text += f", saves {percent(saving)}: {money(entry.usd_per_1000)} instead of "
        text += f"{money(entry.replaces_usd_per_1000)} per 1,000 runs"
    return text
