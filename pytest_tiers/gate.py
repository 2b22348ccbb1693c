"""What fails a run beside its tests: locked prompts that no longer are what they were locked as.

Nothing here fails a run for what its author did not cause: what depends on time, on price data or
on which part of the suite ran only warns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal

from msgspec.structs import replace

from pytest_tiers.findings import Gate, GateReason, PromptSummary, RunSummary
from pytest_tiers.fingerprints import fingerprint
from pytest_tiers.gate_rates import RateTest, conclude, of_part, rate_tests
from pytest_tiers.mixes import place
from pytest_tiers.model_names import is_another
from pytest_tiers.nights import fresh, night_of, of_entry
from pytest_tiers.records import PARTS, Call, LockEntry, Night, Trial
from pytest_tiers.run_costs import RunTokens, run_tokens
from pytest_tiers.statistics import Tally
from pytest_tiers.verdicts import gather

#: How much the cost of a locked tier may change, either way, before that is said.
_COST_MAY_CHANGE = Decimal("0.10")

#: Costs in tiers.lock have four digits: a smaller difference is none.
_ROUNDING = Decimal("1.001")


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
        is_part = _is_part(summary, prompt, entry)
        too_dear = _too_dear(summary, prompt, tier, own, entry, is_part=is_part)
        if too_dear is not None:
            (warnings if too_dear.only else failures).append(too_dear)
        # The cases that somebody chose are no evidence on all of them.
        night = None if entry is None or is_part else _tonight(summary, entry, trials[prompt.id])
        nights: list[Night] = []
        if entry is not None and night is not None:
            nights = [*of_entry(summary.settings.nights, entry, night.holds_for), night]
            tonight.append(night)
        about_rates = rate_tests(prompt, tier, own, entry, nights)
        tests += [of_part(test) for test in about_rates] if is_part else about_rates
        is_fresh = is_fresh or any(trial.calls and not trial.replayed for trial in own)
        if entry is not None:
            asking = list(_asking_another(entry, trials[prompt.id]))
            (failures if summary.settings.strict_lock else warnings).extend(asking)
            warnings += _changed(summary, prompt, own, entry, too_dear)
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
        parts = {part for trial in stale for part in trial.changed}
        yield GateReason(
            "stale",
            prompt.id,
            tier,
            cases=_cases(stale),
            nodeid=stale[0].nodeid,
            changed=tuple(part for part in PARTS if part in parts),
        )


def _was_no_pass(entry: LockEntry, trial: Trial) -> bool:
    """Whether the trial missed when the tier was locked, or was not there."""
    return trial.sample > entry.samples or entry.knows_miss(trial.case, trial.sample)


def _cases(trials: Iterable[Trial]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(trial.case for trial in trials))


def _is_part(summary: RunSummary, prompt: PromptSummary, entry: LockEntry | None) -> bool:
    """Whether cases of the prompt exist that were not to run."""
    known = summary.extent.prompts.get(prompt.id) if summary.extent is not None else None
    if known is not None and known.left_out:
        return True
    # Of a test that was named by its id, pytest collects no other case.
    return summary.selection and entry is not None and prompt.cases < entry.cases


def _too_dear(
    summary: RunSummary,
    prompt: PromptSummary,
    tier: str,
    trials: Sequence[Trial],
    entry: LockEntry | None,
    *,
    is_part: bool,
) -> GateReason | None:
    """A prompt over its limit; where prices alone took it there, or only a part ran, a warning."""
    stats = prompt.tiers.get(tier)
    cost, limit = stats.cost_per_1000 if stats else None, prompt.max_cost_per_1000
    if cost is None or limit is None or cost <= limit:
        return None
    reason = GateReason("cost", prompt.id, tier, usd=cost, usd_before=limit)
    if is_part:
        return replace(reason, only="part")
    if entry is not None and not _is_new_model(summary, entry):
        most = _most_at_locked_prices(entry, trials)
        if most is not None and most <= limit and cost > most * _ROUNDING:
            return replace(reason, only="prices")
    return reason


def _most_at_locked_prices(entry: LockEntry, trials: Sequence[Trial]) -> Decimal | None:
    """The most that 1,000 runs would cost in USD at the prices of the day of the lock.

    None where that is unknown, or the tier is asked in another way since: it may be served dearer.
    """
    tokens, usd = run_tokens(trials), entry.usd_per_1000
    sizes = (entry.input_tokens_per_1000, entry.output_tokens_per_1000)
    if tokens is None or usd is None or sizes[0] is None or sizes[1] is None:
        return None
    parameters = fingerprint(trial.request_parts for trial in trials).parameters
    if parameters is None or parameters != entry.holds_for.parameters:
        return None
    before = RunTokens(sizes[0] / 1000, sizes[1] / 1000)
    return usd * Decimal(str(tokens.growth(before)))


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
    summary: RunSummary,
    prompt: PromptSummary,
    trials: list[Trial],
    entry: LockEntry,
    too_dear: GateReason | None,
) -> Iterator[GateReason]:
    """What is different from when the tier was locked, through nobody's fault.

    ``too_dear`` says of the cost what is to be said, where the prompt is.
    """
    stats = prompt.tiers.get(entry.tier)
    now, before = stats.cost_per_1000 if stats else None, entry.usd_per_1000
    has_moved = now is not None and before and abs(now / before - 1) > _COST_MAY_CHANGE
    if has_moved and too_dear is None:
        yield GateReason("cost-changed", prompt.id, entry.tier, usd=now, usd_before=before)
    if entry.versus is not None:
        yield GateReason("unproven", prompt.id, entry.tier, date=entry.replaced_on)
    if _is_new_model(summary, entry):
        yield GateReason("new-model", prompt.id, entry.tier, entry.model)
    is_stale = any(trial.stale for trial in trials)
    asks = fingerprint(trial.request_parts for trial in trials)
    changes = entry.holds_for.changes(asks)
    if changes and not is_stale:
        yield GateReason("changed", prompt.id, entry.tier, date=entry.date, changed=changes)
    age = date.fromisoformat(summary.created[:10]) - date.fromisoformat(entry.date)
    if summary.settings.max_age is not None and age.days > summary.settings.max_age:
        yield GateReason("old", prompt.id, entry.tier, date=entry.date)
