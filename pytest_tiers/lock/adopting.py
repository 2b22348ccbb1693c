"""What a comparison changes in tiers.lock: only what it proved, and never to a higher price."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Context, Decimal

from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.cassettes.format import FORMAT
from pytest_tiers.findings import LockChange, MixFinding, PassRate, PromptSummary, RunSummary
from pytest_tiers.fingerprints import fingerprint
from pytest_tiers.mixes import PLUS, MixSearch
from pytest_tiers.pass_rates import pass_rate
from pytest_tiers.records import UNPROVEN, LockedSite, LockEntry, Trial
from pytest_tiers.reports.numbers import count
from pytest_tiers.run_costs import run_tokens
from pytest_tiers.savings import is_cheaper
from pytest_tiers.settling import settle
from pytest_tiers.verdicts import Comparison

#: Decimals of the rates and bounds in the file; bounds are rounded to the safe side.
_DIGITS = 4

#: Significant digits of costs.
_COSTS = Context(prec=4)


def decide(
    summary: RunSummary,
    locked: Mapping[str, LockEntry],
    *,
    skipped: Mapping[str, Collection[str]],
) -> list[LockChange]:
    """What the run changes in the lock; prompts about which there is nothing to say are left out.

    ``skipped`` are the cases of a prompt that its tests skip.
    """
    proven = _proven(summary, locked)
    trials: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in summary.trials:
        trials[trial.prompt].append(trial)
    changes = (
        _decide(
            summary,
            prompt,
            [*trials[prompt.id], *_trials_of_best_mix(summary, prompt, trials[prompt.id])],
            locked.get(prompt.id),
            proven,
            skipped.get(prompt.id, ()),
        )
        for prompt in summary.prompts
    )
    return [change for change in changes if change is not None]


def _trials_of_best_mix(
    summary: RunSummary, prompt: PromptSummary, ladder: Iterable[Trial]
) -> list[Trial]:
    best = prompt.mix.recommended if prompt.mix is not None else None
    return [] if best is None else trials_of_mix(prompt, best, summary.searches, ladder)


def trials_of_mix(
    prompt: PromptSummary, mix: MixFinding, searches: Iterable[MixSearch], ladder: Iterable[Trial]
) -> list[Trial]:
    """The settled trials of a mix of a prompt; ``ladder`` are those on the prompt's tiers."""
    own = [
        trial
        for search in searches
        if search.prompt == prompt.id
        for trial in search.trials
        if trial.tier == mix.mix.name
    ]
    settled = settle([*ladder, *own], mix.comparison.flagship)
    return [trial for trial in settled if trial.tier == mix.mix.name]


def _proven(summary: RunSummary, locked: Mapping[str, LockEntry]) -> frozenset[tuple[str, str]]:
    """The prompts with the tiers that are safe among the run's and all locked prompts.

    A run of one file after the other must not prove what one run of all would not.
    """
    here = {prompt.id for prompt in summary.prompts}
    others = [
        _log(None if entry.verdict == UNPROVEN else entry.log_evidence)
        for name, entry in locked.items()
        if name not in here
    ]
    by_tier: defaultdict[str, dict[str, Comparison]] = defaultdict(dict)
    for prompt in summary.prompts:
        for tier, comparison in prompt.comparisons.items():
            by_tier[tier][prompt.id] = comparison
        for mix in prompt.mix.mixes if prompt.mix is not None else ():
            if mix.put_forward:
                # All that were put forward share one step, whatever their tiers.
                by_tier[PLUS][f"{prompt.id} {mix.mix.name}"] = mix.comparison
    found = set()
    for tier, comparisons in by_tier.items():
        logs = {name: _log(each.log_evidence) for name, each in comparisons.items()}
        among = max(each.among for each in comparisons.values()) + len(others)
        counted = [logs[name] for name, each in comparisons.items() if each.verdict == "safe"]
        _, threshold = statistics.e_bh([*counted, *others], among, summary.settings.alpha)
        found |= {
            (name, tier)
            for name, each in comparisons.items()
            if each.verdict == "safe" and statistics.reaches(logs[name], threshold)
        }
    for prompt in summary.prompts:
        best = prompt.mix.recommended if prompt.mix is not None else None
        if best is not None and (f"{prompt.id} {best.mix.name}", PLUS) in found:
            found.add((prompt.id, best.mix.name))
    return frozenset(found)


def _log(evidence: float | None) -> float:
    return -math.inf if evidence is None else evidence


def _decide(
    summary: RunSummary,
    prompt: PromptSummary,
    trials: list[Trial],
    before: LockEntry | None,
    proven: frozenset[tuple[str, str]],
    skipped: Collection[str],
) -> LockChange | None:
    mix = prompt.mix.recommended if prompt.mix is not None else None
    tier = prompt.recommended if mix is None else mix.mix.name
    if tier is None or (mix is None and summary.settings.ladder[tier].is_current):
        return _not_safe_anew(summary, prompt, trials, before, skipped)

    def keep(why: str) -> LockChange:
        return LockChange(prompt.id, "kept", before, why=why)

    comparison = prompt.comparisons[tier] if mix is None else mix.comparison
    if missing := gap(trials, comparison, skipped):
        return keep(f"{tier} is not adopted: the comparison is incomplete ({missing})")
    if _may_be_checked(summary, prompt, trials):
        return keep(
            f"{tier} is not locked on this evidence yet: whether the tests can fail is checked in "
            "a replay. Run --tiers-update-lock again, which costs nothing"
        )
    if (prompt.id, tier) not in proven:
        return keep(
            f"{tier} is safe for this selection, not among all locked prompts; compare the whole "
            "suite, or add cases"
        )
    if mix is None:
        entry = entry_of(summary, prompt, trials, comparison)
    else:
        entry = entry_of_mix(summary, prompt, trials, mix)
    if (
        before is not None
        and before.tier != tier
        and not is_cheaper(prompt, entry.usd_per_1000, before)
    ):
        return keep(
            f"{before.tier} stays locked: {tier} is safe and not known to be cheaper than it"
        )
    if before is None or before.tier != tier:
        return LockChange(prompt.id, "adopted", before, entry)
    if replace(entry, date=before.date) == before:
        return None
    return LockChange(prompt.id, "renewed", before, entry)


def _may_be_checked(summary: RunSummary, prompt: PromptSummary, trials: Sequence[Trial]) -> bool:
    """Whether nobody has seen if the prompt's tests can fail, and a replay may.

    This run could not, because it recorded the answers that its control trials would get.
    """
    if prompt.control is not None or prompt.cases == 1 or summary.settings.control == "off":
        return False
    yardstick = summary.settings.ladder.flagship
    asked = [each for each in trials if each.tier == yardstick] or trials
    return any(
        trial.calls and not trial.replayed and trial.settings.get("control") for trial in asked
    )


def _not_safe_anew(
    summary: RunSummary,
    prompt: PromptSummary,
    trials: list[Trial],
    before: LockEntry | None,
    skipped: Collection[str],
) -> LockChange | None:
    """What to say of a prompt for which no candidate is recommended."""
    if before is None:
        missing = max((each.missing_trials for each in prompt.comparisons.values()), default=0)
        trials_missing = f"{count(missing, 'trial')} missing"
        why = f"nothing is adopted: the comparison is incomplete ({trials_missing})"
        return LockChange(prompt.id, "kept", None, why=why) if missing else None
    comparison = prompt.comparisons.get(before.tier)
    if comparison is None or comparison.verdict == "safe" or before.accepted is not None:
        return None
    own = [trial for trial in trials if trial.tier == before.tier]
    now = fingerprint(trial.request_parts for trial in own)
    if (
        before.holds_for.differs(now)
        and gap(trials, comparison, skipped) is None
        and all(_passes_as_before(trial, before) for trial in own)
    ):
        after = replace(before, holds_for=now, changed_on=summary.created[:10])
        return LockChange(prompt.id, "carried", before, after)
    return LockChange(
        prompt.id,
        "kept",
        before,
        why=f"{before.tier} stays locked on its old evidence: this run says {comparison.verdict}",
    )


def _passes_as_before(trial: Trial, before: LockEntry) -> bool:
    return trial.outcome == "passed" or before.knows_miss(trial.case, trial.sample)


def gap(trials: Iterable[Trial], comparison: Comparison, skipped: Collection[str]) -> str | None:
    """What is missing in a comparison; None where it is complete.

    ``Trial.settings`` says how many cases there are (``cases``), and how many more of the prompt
    were not selected (``left_out``).
    """
    own = [trial for trial in trials if trial.tier in (comparison.tier, comparison.flagship)]
    without = sum(not trial.counts for trial in own)
    if without:
        return f"{count(without, 'trial')} without an answer"
    settings = own[0].settings
    known = {trial.case for trial in own}.union(skipped)
    gone = max(0, (settings.get("cases") or 0) - len(known)) + (settings.get("left_out") or 0)
    if gone:
        return f"{count(gone, 'case')} did not run"
    if comparison.missing_trials:
        return f"{count(comparison.missing_trials, 'trial')} missing"
    return None


def entry_of(
    summary: RunSummary,
    prompt: PromptSummary,
    trials: Iterable[Trial],
    comparison: Comparison,
) -> LockEntry:
    """The entry that locks a prompt to a candidate, whatever its verdict.

    ``trials`` are those of the prompt.
    """
    stats = prompt.tiers[comparison.tier]
    model = str(summary.settings.ladder[comparison.tier].model)
    return _entry(summary, prompt, trials, comparison, model, stats.pass_rate, stats.cost_per_1000)


def entry_of_mix(
    summary: RunSummary, prompt: PromptSummary, trials: Sequence[Trial], mix: MixFinding
) -> LockEntry:
    """The entry that locks each call site of a prompt to its tier, whatever the verdict.

    ``trials`` are those of the prompt and of the mix.
    """
    settings = summary.settings
    own = [trial for trial in trials if trial.tier == mix.mix.name]
    entry = _entry(
        summary,
        prompt,
        trials,
        mix.comparison,
        mix.mix.model(settings.ladder),
        pass_rate(own, settings.alpha),
        mix.cost_per_1000,
    )
    labels = {site.key: site.label for site in prompt.mix.sites} if prompt.mix else {}
    sites = (
        LockedSite(key, labels[key], tier, str(settings.ladder[tier].model or tier))
        for key, tier in mix.mix.steps
    )
    return replace(entry, sites=tuple(sorted(sites, key=lambda site: site.key)))


def _entry(
    summary: RunSummary,
    prompt: PromptSummary,
    trials: Iterable[Trial],
    comparison: Comparison,
    model: str,
    rate: PassRate | None,
    cost_per_1000: Decimal | None,
) -> LockEntry:
    settings = summary.settings
    # A flagship that was spared in all trials has no numbers.
    flagship = prompt.tiers.get(comparison.flagship)
    yardstick = flagship.pass_rate if flagship else None
    misses: defaultdict[str, list[int]] = defaultdict(list)
    samples = set()
    parts = []
    own = [trial for trial in trials if trial.tier == comparison.tier]
    tokens = run_tokens(own)
    for trial in own:
        samples.add(trial.sample)
        parts.append(trial.request_parts)
        if trial.outcome != "passed":
            misses[trial.case].append(trial.sample)
    return LockEntry(
        prompt=prompt.id,
        tier=comparison.tier,
        model=model,
        replaces=comparison.flagship,
        replaces_model=settings.ladder[comparison.flagship].model,
        verdict=comparison.verdict,
        date=summary.created[:10],
        cases=comparison.cases,
        samples=len(samples),
        margin=comparison.margin,
        confidence=settings.confidence,
        cassette_format=FORMAT,
        pass_rate=_rounded(rate.estimate if rate else None),
        pass_rate_at_least=_down(rate.low if rate else None),
        replaces_pass_rate=_rounded(yardstick.estimate if yardstick else None),
        largest_drop=_up(comparison.largest_drop),
        log_evidence=_down(comparison.log_evidence),
        usd_per_1000=cost(cost_per_1000),
        replaces_usd_per_1000=cost(flagship.cost_per_1000 if flagship else None),
        input_tokens_per_1000=_tokens(tokens.input if tokens else 0.0),
        output_tokens_per_1000=_tokens(tokens.output if tokens else 0.0),
        holds_for=fingerprint(parts),
        known_misses={case: tuple(sorted(of_case)) for case, of_case in misses.items()},
    )


def _tokens(of_a_run: float) -> int | None:
    return round(1000 * of_a_run) or None


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, _DIGITS)


def _down(number: float | None) -> float | None:
    return None if number is None else math.floor(number * 10**_DIGITS) / 10**_DIGITS


def _up(number: float | None) -> float | None:
    return None if number is None else min(1.0, math.ceil(number * 10**_DIGITS) / 10**_DIGITS)


def cost(usd: Decimal | None) -> Decimal | None:
    """The cost of 1,000 runs in USD, with as many digits as stand in the file."""
    return None if usd is None else _COSTS.plus(usd)
