"""Recordings that are out of date or that no test reads, one by one, with what to do."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from decimal import Decimal

from pytest_tiers.findings import RunSummary, UnusedCase
from pytest_tiers.reports.numbers import count, money
from pytest_tiers.reports.text import one_line, wrap
from pytest_tiers.tiers import BUILT_IN, Tier


def stale_lines(summary: RunSummary, *, width: int) -> Iterator[str]:
    """Each stale trial, and the one command that records them all again."""
    stale = [trial for trial in summary.trials if trial.stale]
    if not stale:
        return
    yield "Stale trials"
    for trial in stale:
        yield from wrap(one_line(trial.nodeid), width, first="  ", rest="    ")
    functions = dict.fromkeys(_function(trial.nodeid) for trial in stale)
    words = ["pytest", *functions]
    if summary.settings.comparison:
        tiers = {trial.tier for trial in stale}
        ladder = [tier for tier in summary.settings.ladder.tiers if tier.name in tiers]
        words.append(f"--tiers={','.join(map(_as_option, ladder))}")
    if (samples := max(trial.sample for trial in stale)) > 1:
        words.append(f"--tiers-samples={samples}")
    # Not wrapped: it is there to be copied.
    yield f"  record them again: {shlex.join([*words, '--tiers-record=new_episodes'])}"


def _function(nodeid: str) -> str:
    """A node id without parameters; a folder may have a bracket in its name."""
    file, colons, test = nodeid.partition("::")
    return file + colons + test.partition("[")[0]


def _as_option(tier: Tier) -> str:
    """A tier as ``--tiers`` takes it, also one that only this command line has named."""
    is_plain = tier.model is not None and tier == Tier(tier.name, tier.model)
    return (
        f"{tier.name}={tier.model}" if is_plain and tier != BUILT_IN.get(tier.name) else tier.name
    )


def unused_lines(unused: Collection[UnusedCase], *, width: int) -> Iterator[str]:
    """Each case whose recordings no test reads."""
    if unused:
        yield "Unused recordings"
    for one in unused:
        yield from wrap(_described(one), width, first="  ", rest="    ")


def pruned_lines(pruned: Collection[UnusedCase], *, width: int, dry_run: bool) -> Iterator[str]:
    """What ``--tiers-prune`` deleted, or would delete, with what it cost."""
    if not pruned:
        yield "tiers: nothing to prune: every recording has its test."
        return
    for one in pruned:
        cost = "unpriced" if one.cost_usd is None else money(one.cost_usd)
        yield from wrap(f"{_described(one)}, {cost}", width, first="  ", rest="    ")
    recordings = count(sum(len(one.samples) for one in pruned), "recording")
    answers = count(sum(one.answers for one in pruned), "answer")
    cost = money(sum((one.cost_usd for one in pruned if one.cost_usd), Decimal(0)))
    if unpriced := sum(one.cost_usd is None for one in pruned):
        cost += f" and {count(unpriced, 'unpriced case')}"
    done = "would delete" if dry_run else "deleted"
    yield f"tiers: {done} {recordings} with {answers} ({cost})."


def _described(one: UnusedCase) -> str:
    case = f"case {one_line(one.case)}, " if one.case else ""
    samples = f"sample{'s' * (len(one.samples) > 1)} {', '.join(map(str, one.samples))}"
    gone = f"its {one.gone} is gone" if one.gone else f"tier {one.tier} is not defined"
    place = one.cassette.relative_to(one.root.parent).as_posix()
    return f"{place}: {case}{samples}, {count(one.answers, 'answer')}; {gone}"
