"""One run from its shards: the verdicts, savings and gate that it would have given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.control_cases import chosen
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.extent import Extent, reachable, together
from pytest_tiers.findings import Coverage, RunSummary, UntestedSite
from pytest_tiers.fingerprints import common_parts
from pytest_tiers.gate import judge
from pytest_tiers.merging.alike import shards_that_differ, shown
from pytest_tiers.merging.reading import (
    Head,
    read_coverage,
    read_head,
    read_not_run,
    read_requests,
    read_retiring,
    read_settings,
    read_trials,
    reading,
)
from pytest_tiers.modes import GateMode
from pytest_tiers.records import Night, RequestParts, Trial
from pytest_tiers.settings import Settings
from pytest_tiers.summary import no_search_for_garbage, summarise

#: Prompt, case, tier, sample.
_Key = tuple[str, str, str, int]

#: What a trial says that depends on the selection, though the trial is the same: which texts were
#: kept, addresses in messages, whether it was tried with other answers.
_OF_THE_SELECTION = ("reason", "answer", "question", "output_difference", "nodeid", "recording")


class Merged(Struct, frozen=True):
    """What several shards say together.

    ``duplicates`` trials were in more than one of them, and are counted once. ``missing`` cases
    exist in what the shards collected, and were in none of them.
    """

    summary: RunSummary
    shards: int
    duplicates: int
    missing: int


@no_search_for_garbage()
def merge(
    paths: Sequence[Path], gate: GateMode | None = None, nights: Iterable[Night] = ()
) -> Merged:
    """Sum up the trials of several JSON reports as those of one run.

    ``gate`` None is that of the shards; it counts the fresh answers of earlier ``nights``. Raises
    ConfigurationError where a report cannot be read, or the shards are not of one suite: they
    differ in what they were asked, in models or commit, or in a trial that two of them ran.
    """
    heads = [read_head(path, to_merge=True) for path in paths]
    _check_alike(heads)
    first, settings = heads[0], read_settings(heads[0], gate)
    settings = replace(settings, nights=tuple(nights))
    extent = together(_extents(heads))
    found, duplicates = _trials(heads, _prompt_settings(extent, settings))
    trials = _with_requests(_controlled(found, settings), heads)
    documents = [head.document for head in heads]
    unused = {document["unused_recordings"] for document in documents}
    summary = summarise(
        trials,
        settings,
        created=max(document["created"] for document in documents),
        commit=max((_commit(head) for head in heads), key=lambda commit: len(commit or "")),
        selection=_is_selection(heads, extent),
        prices={entry["name"]: entry["price"] for entry in first.document["ladder"]},
        not_run=chain.from_iterable(map(read_not_run, heads)),
        extent=extent,
    )
    summary = replace(
        summary,
        unused_recordings=unused.pop() if len(unused) == 1 else None,
        locked=settings.locked,
        coverage=_coverage(heads),
        retiring=read_retiring(max(heads, key=lambda head: str(head.document["created"]))),
    )
    existing = None
    if extent.is_whole and extent.knows_left_out:
        existing = set(extent.prompts)
    summary = replace(summary, gate=judge(summary, existing))
    return Merged(summary, len(heads), duplicates, extent.left_out)


def _coverage(heads: Sequence[Head]) -> Coverage | None:
    """What no shard's tests call of the application's model calls; None where one does not say."""
    found = [coverage for head in heads if (coverage := read_coverage(head)) is not None]
    if len(found) < len(heads):
        return None
    # A test that is not tiered calls it in a shard, or a tiered one in another.
    by_site: defaultdict[tuple[str, int, str], list[UntestedSite]] = defaultdict(list)
    for site in chain.from_iterable(each.untested for each in found):
        by_site[site.file, site.line, site.function].append(site)
    untested = (
        replace(sites[0], seen_elsewhere=any(site.seen_elsewhere for site in sites))
        for _, sites in sorted(by_site.items())
        if len(sites) == len(heads)
    )
    return Coverage(
        tuple(untested),
        max(each.found for each in found),
        max(each.files for each in found),
        all(each.is_complete for each in found),
        all(each.is_certain for each in found),
    )


def _is_selection(heads: Iterable[Head], extent: Extent) -> bool:
    """Whether tests are known to exist, or may, that no shard was to run."""
    if extent.left_out:
        return True
    return not extent.knows_left_out and any(
        head.document["settings"]["selection"] for head in heads
    )


def _extents(heads: Iterable[Head]) -> Iterator[Extent]:
    for head in heads:
        with reading(head.path):
            extent = head.extent
        if extent is None:
            raise ConfigurationError(
                f"{head.path} does not say which tests it was to run, because its workers "
                "crashed. Run the shard again."
            )
        yield extent


def _prompt_settings(extent: Extent, settings: Settings) -> dict[str, dict[str, Any]]:
    """What the trials of each prompt say of it, now that all its cases are known."""
    prompts = extent.prompts
    can_be_safe = reachable(
        ((each.tiers, len(each.cases), each.margin) for each in prompts.values() if each.cases),
        settings.alpha,
    )
    return {
        name: {**each.settings, "cases": len(each.cases), "reachable": can_be_safe}
        for name, each in prompts.items()
    }


def _trials(
    heads: Sequence[Head], settings: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Trial], int]:
    """Every trial once, and how many were there more often."""
    found: dict[_Key, Trial] = {}
    whose: dict[_Key, Path] = {}
    duplicates = 0
    for head in heads:
        for trial in read_trials(head, settings):
            key = (trial.prompt, trial.case, trial.tier, trial.sample)
            if key not in found:
                found[key] = trial
                whose[key] = head.path
                continue
            duplicates += 1
            if (kept := _same(found[key], trial)) is None:
                raise ConfigurationError(
                    f"{trial.nodeid} is in {whose[key]} and in {head.path} with another result: "
                    f"{_told(found[key])} and {_told(trial)}. A trial belongs to one shard; merge "
                    "reports of one run only."
                )
            found[key] = kept
    return list(found.values()), duplicates


def _with_requests(trials: Iterable[Trial], heads: Sequence[Head]) -> Iterator[Trial]:
    """The trials with what tells whether their prompt changed; the first ones speak for all."""
    asked: defaultdict[tuple[str, str], list[RequestParts]] = defaultdict(list)
    for where, parts in chain.from_iterable(map(read_requests, heads)):
        asked[where].append(parts)
    left = {where: common_parts(parts) for where, parts in asked.items()}
    for trial in trials:
        known = left.get((trial.prompt, trial.tier))
        yield replace(trial, request_parts=known.pop()) if known else trial


def _controlled(trials: Sequence[Trial], settings: Settings) -> Iterator[Trial]:
    """The trials with the control trials that one run would have made: each shard made its own."""
    # Of each cassette with control trials, whether those had answers that the run recorded.
    is_fresh: dict[str, bool] = {}
    for trial in trials:
        if trial.controls and trial.recording:
            cassette = trial.recording[0]
            is_fresh[cassette] = is_fresh.get(cassette, False) or not trial.replayed
    recorded: defaultdict[str, set[str]] = defaultdict(set)
    for trial in trials:
        if trial.sample == 1 and trial.recording and trial.recording[0] in is_fresh:
            cassette, case = trial.recording
            if trial.replayed or trial.stale or (is_fresh[cassette] and trial.counts):
                recorded[cassette].add(case)
    tried = {
        (cassette, case)
        for cassette, cases in recorded.items()
        for case in chosen(cases, settings.control)
    }
    for trial in trials:
        is_chosen = not trial.controls or trial.recording in tried
        yield trial if is_chosen else replace(trial, controls=())


def _same(one: Trial, other: Trial) -> Trial | None:
    """What is known of a trial from two shards; None where they contradict each other."""
    if _essence(one) != _essence(other):
        return None
    kept = other if one.answer is None else one
    return replace(kept, controls=one.controls or other.controls)


def _essence(trial: Trial) -> Trial:
    settled = tuple(replace(each, difference=None) for each in trial.settled)
    nothing = dict.fromkeys(_OF_THE_SELECTION)
    return replace(trial, **nothing, controls=(), settled=settled)


def _told(trial: Trial) -> str:
    times = sorted(call.recorded_at for call in trial.calls if call.recorded_at)
    return f"{trial.outcome}, answered {times[-1]}" if times else trial.outcome


def _commit(head: Head) -> str | None:
    commit: str | None = head.document["settings"]["commit"]
    return commit


def _check_alike(heads: Sequence[Head]) -> None:
    """Raises ConfigurationError where the reports are not shards of one run."""
    first = heads[0]
    with reading(first.path):
        is_search = first.document["settings"].get("mix")
    if is_search:
        raise ConfigurationError(
            f"{first.path} searched the cheapest tier of each call site (mix), step by step with "
            "all cases of a prompt. Such a search cannot be merged: run it on one machine."
        )
    for other in heads[1:]:
        with reading(other.path):
            found = next(shards_that_differ(first.document, other.document), None)
        if found is not None:
            what, one, another = found
            raise ConfigurationError(
                f"{first.path} and {other.path} are no shards of one run: {what} is "
                f"{shown(one)} in the first and {shown(another)} in the second. Run all shards "
                "on the same commit with the same options."
            )
