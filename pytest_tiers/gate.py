"""What fails a run beside its tests: locked prompts that no longer are what they were locked as.

Nothing here fails a run for what its author did not cause: what depends on time, on price data or
on which part of the suite ran only warns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from decimal import Decimal

from pytest_tiers.findings import Gate, GateReason, PromptSummary, RunSummary
from pytest_tiers.fingerprints import fingerprint
from pytest_tiers.gate_rates import RateTest, conclude, rate_tests
from pytest_tiers.mixes import place
from pytest_tiers.model_names import is_another
from pytest_tiers.nights import fresh, night_of, of_entry
from pytest_tiers.records import Call, LockEntry, Night, Trial
from pytest_tiers.statistics import Tally
from pytest_tiers.verdicts import gather

#: How much the cost of a locked tier may change, either way, before that is said.
_COST_MAY_CHANGE = Decimal("0.10")


def judge(summary: RunSummary, existing: Collection[str] | None) -> Gate:
    """What fails the run, and what it warns of.

    ``existing`` are the prompts that exist, None where only part of the suite was collected.
    """
    if summary.settings.gate == "off":
        return Gate()
    trials: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in summary.trials:
        trials[trial.prompt].append(trial)
    mixed: defaultdict[str, list[Trial]] = defaultdict(list)
    for search in summary.searches:
        mixed[search.prompt] += search.trials
    failures: list[GateReason] = []
    warnings: list[GateReason] = []
    tests: list[RateTest] = []
    tonight: list[Night] = []
    is_fresh = False
    for prompt in sorted(summary.prompts, key=lambda prompt: prompt.id):
        entry = summary.locked.get(prompt.id)
        tier = _in_production(summary, entry)
        if tier is None:
            continue
        own = [trial for trial in (*trials[prompt.id], *mixed[prompt.id]) if trial.tier == tier]
        failures += _broken(prompt, tier, own, entry)
        failures += _too_dear(prompt, tier)
        night = None if entry is None else _tonight(summary, entry, trials[prompt.id])
        nights: list[Night] = []
        if entry is not None and night is not None:
            nights = [*of_entry(summary.settings.nights, entry, night.holds_for), night]
            tonight.append(night)
        tests += rate_tests(prompt, tier, own, entry, nights)
        is_fresh = is_fresh or any(trial.calls and not trial.replayed for trial in own)
        if entry is not None:
            asking = list(_asking_another(entry, trials[prompt.id]))
            (failures if summary.settings.strict_lock else warnings).extend(asking)
            warnings += _changed(summary, prompt, own, entry)
    if existing is not None:
        warnings += [
            GateReason("no-test", entry.prompt, entry.tier)
            for entry in summary.locked.values()
            if entry.prompt not in existing
        ]
    rates = conclude(tests, len(summary.locked), summary.settings.alpha)
    return Gate(
        (*failures, *rates.proven),
        (*warnings, *rates.not_proven),
        rates.power if is_fresh else (),
        tuple(tonight),
    )


def _tonight(summary: RunSummary, entry: LockEntry, trials: list[Trial]) -> Night | None:
    """What the run adds to the evidence on a locked prompt."""
    settings = summary.settings
    own = [trial for trial in trials if trial.tier == entry.tier]
    flagship = settings.ladder.flagship
    differences: Tally = ()
    # A flagship's answer that is replayed every night would count every night.
    beside = fresh(trial for trial in trials if trial.tier == flagship)
    if settings.comparison and entry.tier != flagship and beside:
        evidence = gather(
            [*fresh(own), *beside],
            candidate=entry.tier,
            flagship=flagship,
            margin=settings.margin,
            alpha=settings.alpha,
        )
        differences = evidence.pairs
    versus = settings.ladder[flagship].model
    return night_of(summary.created, entry, own, versus, differences)


def _in_production(summary: RunSummary, entry: LockEntry | None) -> str | None:
    """The tier that production runs a prompt on, as far as the gate is to know."""
    if entry is not None:
        return entry.tier
    return summary.settings.ladder.flagship if summary.settings.gate == "flagship" else None


def _broken(
    prompt: PromptSummary, tier: str, trials: Iterable[Trial], entry: LockEntry | None
) -> Iterator[GateReason]:
    """Replayed trials that passed when the tier was locked, and trials that are out of date.

    Recorded answers are frozen: that they no longer pass is the doing of who changed the test or
    the application. Fresh answers vary.
    """
    trials = list(trials)
    stale = [trial for trial in trials if trial.stale]
    missed = [
        trial
        for trial in trials
        if trial.replayed
        and trial.outcome in ("missed", "unsupported")
        and not (entry is not None and _was_no_pass(entry, trial))
    ]
    if missed:
        yield GateReason("missed", prompt.id, tier, cases=_cases(missed), nodeid=missed[0].nodeid)
    if stale:
        yield GateReason("stale", prompt.id, tier, cases=_cases(stale), nodeid=stale[0].nodeid)


def _was_no_pass(entry: LockEntry, trial: Trial) -> bool:
    """Whether the trial missed when the tier was locked, or was not there."""
    return trial.sample > entry.samples or entry.knows_miss(trial.case, trial.sample)


def _cases(trials: Iterable[Trial]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(trial.case for trial in trials))


def _too_dear(prompt: PromptSummary, tier: str) -> Iterator[GateReason]:
    stats = prompt.tiers.get(tier)
    cost, limit = stats.cost_per_1000 if stats else None, prompt.max_cost_per_1000
    if cost is not None and limit is not None and cost > limit:
        yield GateReason("cost", prompt.id, tier, usd=cost, usd_before=limit)


def _asking_another(entry: LockEntry, trials: Iterable[Trial]) -> Iterator[GateReason]:
    """Call sites that ask for another model than the locked one, so that nothing is saved.

    Tests with the `tier` fixture ask for the tier's own model and show nothing of the code.
    """
    sites = {
        f"{call.site.rpartition(' ')[0]} asks {call.model_asked}": trial.nodeid
        for trial in trials
        if not trial.expects_call
        for call in trial.tier_calls
        if call.site is not None and _asks_another(entry, call)
    }
    if sites:
        yield GateReason(
            "other-model",
            entry.prompt,
            entry.tier,
            entry.model,
            sites=tuple(sorted(sites)),
            nodeid=next(iter(sites.values())),
        )


def _asks_another(entry: LockEntry, call: Call) -> bool:
    """Whether a call asks for another model than what it is locked to."""
    if not entry.sites:
        return is_another(entry.model, call.model_asked)
    models = {place(site.key): site.model for site in entry.sites}
    model = models.get(place(call.site_key or ""))
    return model is not None and is_another(model, call.model_asked)


def _is_new_model(summary: RunSummary, entry: LockEntry) -> bool:
    """Whether the locked tier, or one of a mix, stands for another model now."""
    settings = summary.settings
    if entry.sites:
        known = settings.known_tiers
        return any(
            known[site.tier].model not in (None, site.model)
            for site in entry.sites
            if site.tier in known
        )
    models = {tier.name: tier.model for tier in settings.ladder.tiers}
    return models.get(entry.tier, entry.model) != entry.model


def _changed(
    summary: RunSummary, prompt: PromptSummary, trials: list[Trial], entry: LockEntry
) -> Iterator[GateReason]:
    """What is different from when the tier was locked, through nobody's fault."""
    stats = prompt.tiers.get(entry.tier)
    now, before = stats.cost_per_1000 if stats else None, entry.usd_per_1000
    if now is not None and before and abs(now / before - 1) > _COST_MAY_CHANGE:
        yield GateReason("cost-changed", prompt.id, entry.tier, usd=now, usd_before=before)
    if entry.versus is not None:
        yield GateReason("unproven", prompt.id, entry.tier, date=entry.replaced_on)
    if _is_new_model(summary, entry):
        yield GateReason("new-model", prompt.id, entry.tier, entry.model)
    is_stale = any(trial.stale for trial in trials)
    asks = fingerprint(trial.request_parts for trial in trials)
    if entry.holds_for.differs(asks) and not is_stale:
        yield GateReason("changed", prompt.id, entry.tier, date=entry.date)
    age = date.fromisoformat(summary.created[:10]) - date.fromisoformat(entry.date)
    if summary.settings.max_age is not None and age.days > summary.settings.max_age:
        yield GateReason("old", prompt.id, entry.tier, date=entry.date)
