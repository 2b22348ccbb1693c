"""Which of the application's lines a call belongs to, known when all calls are."""

from __future__ import annotations

import fnmatch
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, pairwise
from typing import Any

from msgspec.structs import replace

from pytest_tiers import call_totals
from pytest_tiers.findings import SiteStats
from pytest_tiers.records import Call, CallSite, NotRun, Trial


def attribute(trials: Iterable[Trial], wrappers: Sequence[str] | None = None) -> list[Trial]:
    """The trials with each call at its call site: not in a wrapper, but where one is called.

    A function that two or more lines of the application call is a wrapper, as ``llm.chat()``.
    ``wrappers`` says it instead: patterns of ``app/llm.py:chat``; none where it is empty.
    Attributing again, with the trials of another part of the suite, starts anew.
    """
    trials = list(trials)
    if wrappers is None:
        wrapped = _called_from_many(call for trial in trials for call in trial.calls)
    else:
        calls = chain.from_iterable(trial.calls for trial in trials)
        functions = {site.function for call in calls for site in stack_of(call)}
        wrapped = set(chain.from_iterable(fnmatch.filter(functions, each) for each in wrappers))
    return [_attributed(trial, wrapped) for trial in trials]


def labels_of(trials: Iterable[Trial], wrappers: Sequence[str] | None) -> dict[str, str]:
    """The call sites of some trials by key, each with its label, in the order of the calls."""
    of_trials = attribute(trials, wrappers)
    calls = chain.from_iterable(trial.tier_calls for trial in of_trials)
    return {call.site_key: call.site or "" for call in calls if call.site_key is not None}


def _called_from_many(calls: Iterable[Call]) -> set[str]:
    callers: defaultdict[str, set[str]] = defaultdict(set)
    for call in calls:
        stack = stack_of(call)
        for site, caller in pairwise(() if stack and stack[0].is_named else stack):
            if caller.function != site.function:  # recursion is no second caller
                callers[site.function].add(caller.key)
    return {function for function, keys in callers.items() if len(keys) > 1}


def stack_of(call: Call) -> tuple[CallSite, ...]:
    """Where a call may belong, innermost first: a site that was named, then the lines."""
    if call.site is None or call.site_key is None:
        return ()
    site = CallSite(call.site, call.site_key)
    return (site, *call.lines) if site.is_named else call.lines


def _attributed(trial: Trial, wrapped: set[str]) -> Trial:
    calls = tuple(_at_its_site(call, wrapped) for call in trial.calls)
    changed = any(new is not old for new, old in zip(calls, trial.calls, strict=True))
    return replace(trial, calls=calls) if changed else trial


def _at_its_site(call: Call, wrapped: set[str]) -> Call:
    if not (call.callers or call.within):
        return call
    stack = stack_of(call)
    if stack[0].is_named:
        return call
    inner = 0
    # The outermost line stays, wrapper or not: a test called it.
    while inner < len(stack) - 1 and stack[inner].function in wrapped:
        inner += 1
    if inner == len(call.within):
        return call
    site, *callers = stack[inner:]
    return replace(
        call, site=site.label, site_key=site.key, callers=tuple(callers), within=stack[:inner]
    )


def site_stats(trials: Iterable[Trial]) -> tuple[SiteStats, ...]:
    """What each call site of some trials called, in the order in which a trial first does."""
    by_key: defaultdict[str, list[Call]] = defaultdict(list)
    for trial in trials:
        for call in trial.tier_calls:
            if call.site_key is not None:
                by_key[call.site_key].append(call)
    everything = list(chain.from_iterable(by_key.values()))
    total = call_totals.priced_sum(everything)
    share_is_known = bool(total) and not call_totals.unpriced(everything)
    return tuple(_stats(calls, total if share_is_known else None) for calls in by_key.values())


def _stats(calls: Sequence[Call], total: Decimal | None) -> SiteStats:
    """``total`` is the cost of all sites in USD, None where it is unknown or nothing."""
    cost = call_totals.cost(calls)
    p50, p95 = call_totals.seconds(calls)
    return SiteStats(
        site=calls[0].site or "",
        key=calls[0].site_key or "",
        calls=len(calls),
        tokens=call_totals.total_tokens(calls),
        cost_usd=cost,
        cost_share=None if total is None or cost is None else float(cost / total),
        seconds_p50=p50,
        seconds_p95=p95,
    )


class SiteCases:
    """The trials of a run sorted by the call sites that their cases reach.

    A case belongs to every site that any of its trials calls from: an answer on one tier may
    keep the application from its next step. A case without a call belongs to none. ``margin`` is
    that of prompts which say none.
    """

    def __init__(self, trials: Sequence[Trial], margin: float) -> None:
        self._trials, self._margin = trials, margin
        self._labels: dict[str, str] = {}
        self._sites: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for trial in trials:
            for call in trial.tier_calls:
                if call.site_key is not None:
                    self._labels.setdefault(call.site_key, call.site or call.site_key)
                    self._sites[trial.prompt, trial.case][call.site_key] = None
        prompts: defaultdict[str, dict[str, None]] = defaultdict(dict)
        others: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for (prompt, _), keys in self._sites.items():
            for key in keys:
                prompts[self._labels[key]][prompt] = None
                others[self._labels[key]].update(
                    (self._labels[other], None) for other in keys if other != key
                )
        self.prompts = {site: tuple(ids) for site, ids in prompts.items()}
        self.called_with = {site: tuple(labels) for site, labels in others.items()}

    @property
    def join_prompts(self) -> bool:
        """Whether the tests of several prompts reach one site."""
        return any(len(prompts) > 1 for prompts in self.prompts.values())

    def trials(self) -> Iterator[Trial]:
        """The trials once for each of their sites, which takes the prompt's place."""
        settings = self._settings()
        for trial in self._trials:
            case = f"{trial.prompt} {trial.case}"
            for key in self._sites.get((trial.prompt, trial.case), ()):
                site = self._labels[key]
                calls = tuple(call for call in trial.tier_calls if call.site_key == key)
                yield replace(trial, prompt=site, case=case, calls=calls, settings=settings[site])

    def not_run(self, left_out: Iterable[NotRun]) -> Iterator[NotRun]:
        """What sampling left out, as `trials` puts the trials."""
        for one in left_out:
            for key in self._sites.get((one.prompt, one.case), ()):
                yield replace(one, prompt=self._labels[key], case=f"{one.prompt} {one.case}")

    def _settings(self) -> dict[str, dict[str, Any]]:
        """What each site's prompts say; of several margins the strictest."""
        cases: Counter[str] = Counter()
        for keys in self._sites.values():
            cases.update(self._labels[key] for key in keys)
        own = {trial.prompt: trial.settings.get("margin") for trial in self._trials}
        margins = {
            prompt: self._margin if margin is None else margin for prompt, margin in own.items()
        }
        return {
            site: {"cases": cases[site], "margin": min(margins[prompt] for prompt in prompts)}
            for site, prompts in self.prompts.items()
        }
