"""What all trials of a run say together, computed once for every report."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers import call_totals, statistics, verdicts
from pytest_tiers.call_sites import SiteCases, attribute, site_stats
from pytest_tiers.cascades import NO_CASCADE, cascades, pays
from pytest_tiers.disagreement import disagreements
from pytest_tiers.drift import drifts
from pytest_tiers.ends import gone_models, retirements
from pytest_tiers.extent import Extent
from pytest_tiers.findings import (
    BySite,
    Control,
    LadderEntry,
    LeftOut,
    PromptSummary,
    RunSummary,
    SuiteFinding,
    TierStats,
    UnusedCase,
)
from pytest_tiers.mix_findings import mix_findings
from pytest_tiers.mixes import MixSearch
from pytest_tiers.model_names import is_another
from pytest_tiers.pass_rates import pass_rate
from pytest_tiers.records import Call, NotRun, Trial
from pytest_tiers.ruled_out import ruled_out
from pytest_tiers.run_costs import PairedCosts, RunCosts, mean, paired_costs, run_cost, run_costs
from pytest_tiers.savings import total_savings
from pytest_tiers.scores import is_scored, mean_score
from pytest_tiers.settings import Settings
from pytest_tiers.settling import settle
from pytest_tiers.suite import suite_finding
from pytest_tiers.tiers import CURRENT, Ladder, Tier
from pytest_tiers.verdicts import Comparison

#: Why a prompt has no verdict.
NO_MODEL = "no trial called a model: the answers came from a mock, a cache or an unknown client"


class PlannedPrompt(Struct, frozen=True):
    """What a prompt will be tried on; ``margin`` None means that of the run."""

    cases: int
    samples: int = 1
    margin: float | None = None


class Attainable(Struct, frozen=True):
    """What a run could show at best, if every candidate always agreed with the flagship.

    Of ``prompts``, ``safe`` have enough cases; ``matches`` have too few, but enough with their
    samples; ``one_case`` have a single case. ``cases_needed`` is for the run's margin; None
    where no number is enough.
    """

    prompts: int
    safe: int
    matches: int
    one_case: int
    cases_needed: int | None


def attainable(plan: Iterable[PlannedPrompt], margin: float, confidence: float) -> Attainable:
    """Say what a run could show at best, before anything is paid."""
    plan = list(plan)
    alpha = 1 - confidence

    def enough(count: int, prompt: PlannedPrompt) -> bool:
        its_margin = margin if prompt.margin is None else prompt.margin
        needed = statistics.cases_needed(its_margin, alpha)
        return needed is not None and count >= needed

    return Attainable(
        prompts=len(plan),
        safe=sum(enough(prompt.cases, prompt) for prompt in plan),
        matches=sum(
            enough(prompt.cases * prompt.samples, prompt) and not enough(prompt.cases, prompt)
            for prompt in plan
        ),
        one_case=sum(prompt.cases == 1 for prompt in plan),
        cases_needed=statistics.cases_needed(margin, alpha),
    )


@contextlib.contextmanager
def no_search_for_garbage() -> Iterator[None]:
    """Make a million objects, all of them needed, without a look for garbage every now and then.

    A quarter of a large summary's time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@no_search_for_garbage()
def summarise(
    trials: Iterable[Trial],
    settings: Settings,
    *,
    created: str,
    commit: str | None = None,
    selection: bool = False,
    unused: Collection[UnusedCase] | None = None,
    prices: Mapping[str, dict[str, str | None] | None] | None = None,
    not_run: Iterable[NotRun] = (),
    extent: Extent | None = None,
    searches: Iterable[MixSearch] = (),
) -> RunSummary:
    """Compute all that a report shows; the order of ``trials`` does not matter.

    ``created`` is the time as ISO 8601 in UTC, ``selection`` whether only part of the suite ran,
    ``unused`` the recordings that no test reads (None where that is unknown), ``prices`` each
    tier's price as a report names it, ``not_run`` the trials that sampling left out, ``extent``
    what was to run, where that is known, ``searches`` what was tried to find mixes.
    ``Trial.settings`` may say ``margin``, ``min_pass_rate``, ``monthly_runs``,
    ``max_cost_per_1000`` (as text), ``cases`` (how many the prompt has) and ``reachable`` (for
    each candidate, how many prompts of the run have enough cases to become safe).
    """
    ladder = settings.ladder
    settled = attribute(settle(trials, ladder.flagship), settings.wrappers)
    ordered = tuple(sorted(settled, key=_sort_key(ladder)))
    not_run = _not_run_at_all(not_run, ordered)
    prompts, suite = _summarise_prompts(ordered, settings, not_run)
    searches = tuple(sorted(searches, key=attrgetter("prompt")))
    prompts = _with_mixes(prompts, searches, ordered, settings, not_run)
    prompts = tuple(_with_cascades(prompts, ordered, settings))
    calls = [call for trial in ordered for call in trial.calls]
    of_mixes = (trial for search in searches for trial in search.trials)
    all_calls = chain(calls, (call for trial in of_mixes for call in trial.calls))
    paid = [call for call in all_calls if not call.replayed]
    summary = RunSummary(
        settings=settings,
        created=created,
        commit=commit,
        selection=selection,
        ladder=tuple(
            _ladder_entry(tier, (prices or {}).get(tier.name), ordered) for tier in ladder.tiers
        ),
        prompts=prompts,
        savings=total_savings(prompts),
        spent_usd=call_totals.priced_sum(paid),
        unpriced_spent_calls=call_totals.unpriced(paid),
        replayed_usd=call_totals.priced_sum(call for call in calls if call.replayed),
        stale_trials=sum(trial.stale for trial in ordered),
        unused_recordings=None if unused is None else sum(len(one.samples) for one in unused),
        unused=tuple(unused or ()),
        rewritten=_rewritten(ordered),
        left_alone=_left_alone(calls),
        trials=ordered,
        rest_usd=_rest_usd(ordered),
        other_models=_other_models(ordered),
        drift=_drift(ordered),
        suite=suite,
        gone=tuple(gone_models(ordered)),
        retiring=tuple(retirements(settings, created[:10])),
        not_run=tuple(not_run),
        extent=extent,
        searches=searches,
        recorded_anew=drifts(ordered, settings.alpha),
    )
    return replace(summary, by_site=_by_site(summary, not_run))


def _summarise_prompts(
    ordered: Iterable[Trial], settings: Settings, not_run: Iterable[NotRun]
) -> tuple[tuple[PromptSummary, ...], dict[str, SuiteFinding]]:
    """Each prompt, and each candidate's statement for all of them; ``ordered`` by prompt."""
    groups = {prompt: tuple(group) for prompt, group in groupby(ordered, key=attrgetter("prompt"))}
    left_out: defaultdict[str, list[NotRun]] = defaultdict(list)
    for one in not_run:
        left_out[one.prompt].append(one)
    comparisons, suite = _compare(groups, settings, left_out)
    prompts = (
        _summarise_prompt(prompt, group, comparisons[prompt], settings, left_out[prompt])
        for prompt, group in groups.items()
    )
    return tuple(prompts), suite


def _with_mixes(
    prompts: tuple[PromptSummary, ...],
    searches: Sequence[MixSearch],
    ordered: Iterable[Trial],
    settings: Settings,
    not_run: Iterable[NotRun],
) -> tuple[PromptSummary, ...]:
    """The prompts with what was found of their mixes."""
    if not searches:
        return prompts
    trials: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in ordered:
        trials[trial.prompt].append(trial)
    left_out: defaultdict[str, set[tuple[str, str, int]]] = defaultdict(set)
    for one in not_run:
        left_out[one.prompt].add((one.tier, one.case, one.sample))
    found = mix_findings(searches, prompts, trials, settings, left_out)
    return tuple(replace(prompt, mix=found.get(prompt.id)) for prompt in prompts)


def _with_cascades(
    prompts: Iterable[PromptSummary], ordered: Iterable[Trial], settings: Settings
) -> Iterator[PromptSummary]:
    """The prompts with what each candidate, and the flagship after it, would come to."""
    groups = {prompt: tuple(group) for prompt, group in groupby(ordered, key=attrgetter("prompt"))}
    flagship = settings.ladder.flagship
    for prompt in prompts:
        tiers = [
            tier
            for tier, comparison in prompt.comparisons.items()
            if comparison.verdict not in NO_CASCADE
        ]
        trials = groups[prompt.id]
        found = cascades(trials, tiers, flagship=flagship, alpha=settings.alpha)
        proven = prompt.savings[prompt.recommended] if prompt.recommended else None
        stats = prompt.tiers.get(flagship)
        rate = stats.pass_rate.estimate if stats and stats.pass_rate else None
        best = pays(found, prompt.margin, proven, rate)
        yield replace(prompt, cascades=found, best_cascade=best)


def _by_site(summary: RunSummary, not_run: Iterable[NotRun]) -> BySite | None:
    """The same run with a verdict per call site; None where it would say nothing new."""
    settings = summary.settings
    sites = SiteCases(summary.trials, settings.margin)
    if not settings.ladder.candidates or not (settings.by == "site" or sites.join_prompts):
        return None
    trials = tuple(sorted(sites.trials(), key=_sort_key(settings.ladder)))
    prompts, suite = _summarise_prompts(trials, settings, sites.not_run(not_run))
    found = replace(
        summary, prompts=prompts, suite=suite, savings=total_savings(prompts), trials=trials
    )
    return BySite(found, sites.prompts, sites.called_with)


def _ladder_entry(
    tier: Tier, price: dict[str, str | None] | None, trials: tuple[Trial, ...]
) -> LadderEntry:
    calls = [call for trial in trials if trial.tier == tier.name for call in trial.tier_calls]
    return LadderEntry(tier.name, tier.model, price, *call_totals.seconds(calls))


def _sort_key(ladder: Ladder) -> Callable[[Trial], tuple[str, str, int, str, int]]:
    """Prompt, case, ladder, sample; tiers outside the ladder (a locked one) come last."""
    rank = {name: position for position, name in enumerate(ladder.names)}

    def key(trial: Trial) -> tuple[str, str, int, str, int]:
        position = rank.get(trial.tier, len(rank))
        return trial.prompt, trial.case, position, trial.tier, trial.sample

    return key


def _setting(trials: Iterable[Trial], name: str) -> Any:
    """A prompt's own setting; its trials agree on it where they name it at all."""
    said = (trial.settings.get(name) for trial in trials)
    return next((value for value in said if value is not None), None)


def _usd(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)


def _margin(trials: Iterable[Trial], settings: Settings) -> float:
    own: float | None = _setting(trials, "margin")
    return settings.margin if own is None else own


def _compare(
    groups: Mapping[str, tuple[Trial, ...]],
    settings: Settings,
    left_out: Mapping[str, Sequence[NotRun]],
) -> tuple[dict[str, dict[str, Comparison]], dict[str, SuiteFinding]]:
    """Every candidate's comparison for each prompt that calls a model, and over all of them."""
    found: dict[str, dict[str, Comparison]] = {prompt: {} for prompt in groups}
    suite: dict[str, SuiteFinding] = {}
    if not settings.comparison:
        return found, suite
    judged = {prompt: group for prompt, group in groups.items() if verdicts.calls_a_model(group)}
    for candidate in settings.ladder.candidates:
        evidence = {
            prompt: verdicts.gather(
                group,
                candidate=candidate.name,
                flagship=settings.ladder.flagship,
                margin=_margin(group, settings),
                alpha=settings.alpha,
                planned_cases=_setting(group, "cases") or 0,
                not_asked={(one.tier, one.case, one.sample) for one in left_out[prompt]},
                blind=(control := _control(group)) is not None and control.is_blind,
            )
            for prompt, group in judged.items()
            if any(trial.tier == candidate.name for trial in group)
        }
        reachable = _reachable(groups.values(), candidate.name)
        decided = verdicts.decide(evidence, alpha=settings.alpha, reachable=reachable)
        for prompt, comparison in decided.items():
            found[prompt][candidate.name] = comparison
        if together := suite_finding(evidence, decided, settings.alpha):
            suite[candidate.name] = together
    return found, suite


def _not_run_at_all(not_run: Iterable[NotRun], trials: Iterable[Trial]) -> list[NotRun]:
    """What was left out, but for what another process ran all the same."""
    run = {(trial.prompt, trial.tier, trial.case, trial.sample) for trial in trials}
    return [one for one in not_run if (one.prompt, one.tier, one.case, one.sample) not in run]


def _per_tier(
    left_out: Sequence[NotRun],
    run: Mapping[str, Sequence[Trial]],
    flagship_cost: Decimal | None,
    ladder: Ladder,
) -> dict[str, LeftOut]:
    """What was left out of one prompt, by tier; ``flagship_cost`` is that of a run in USD."""
    by_tier: defaultdict[str, list[NotRun]] = defaultdict(list)
    for one in left_out:
        by_tier[one.tier].append(one)
    found = {}
    for name in ladder.names:
        each = by_tier[name]
        if each:
            spared = sum(one.why in ("spared", "unseen") for one in each)
            found[name] = LeftOut(
                why=Counter(sorted(one.why for one in each)).most_common(1)[0][0],
                trials=len(each),
                of=len(each) + len(run.get(name, ())),
                samples=each[0].samples,
                spared=spared,
                spared_usd=spared * flagship_cost if spared and flagship_cost is not None else None,
            )
    return found


def _control(trials: Iterable[Trial]) -> Control | None:
    """What a prompt's control trials came to; None where there was none."""
    found = [passed for trial in trials for passed in trial.controls]
    return Control(len(found), sum(found)) if found else None


def _reachable(groups: Iterable[tuple[Trial, ...]], candidate: str) -> int:
    """How many prompts could become safe, as the run knew beforehand; 0 where it did not say."""
    said = (trial.settings.get("reachable") for trial in chain.from_iterable(groups))
    return max((each.get(candidate, 0) for each in said if each), default=0)


def _summarise_prompt(
    prompt: str,
    trials: tuple[Trial, ...],
    comparisons: dict[str, Comparison],
    settings: Settings,
    not_run: Sequence[NotRun],
) -> PromptSummary:
    flagship = settings.ladder.flagship
    by_tier: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_tier[trial.tier].append(trial)
    costs = {name: run_costs(group) for name, group in by_tier.items()}
    paired = {name: paired_costs(costs[name], costs.get(flagship, {})) for name in comparisons}
    as_is = [call for trial in trials for call in trial.calls if call.left_alone is not None]
    names = [name for name in settings.ladder.names if by_tier[name]]
    others = sorted(set(by_tier) - set(settings.ladder.names))
    scored = is_scored(trials)
    found = ruled_out(prompt, trials, settings)
    out = {name: found[name] for name in comparisons if name in found}
    left_out = _per_tier(not_run, by_tier, mean(costs.get(flagship, {}).values()), settings.ladder)
    # Called where a candidate missed, the flagship's own results there say nothing of the rest.
    is_spared = flagship in left_out and left_out[flagship].spared > 0
    return PromptSummary(
        id=prompt,
        cases=len({trial.case for trial in trials} | {one.case for one in not_run}),
        flagship=flagship if by_tier[flagship] or is_spared else None,
        margin=_margin(trials, settings),
        min_pass_rate=_setting(trials, "min_pass_rate"),
        monthly_runs=_setting(trials, "monthly_runs"),
        max_cost_per_1000=_usd(_setting(trials, "max_cost_per_1000")),
        tiers={
            name: _tier_stats(
                by_tier[name],
                _cost_of_a_run(costs[name], paired.get(name), is_spared),
                settings.alpha,
                scored,
                is_selected=is_spared and name == flagship,
            )
            for name in [*names, *others]
        },
        comparisons=comparisons,
        savings={name: pair.saving for name, pair in paired.items()},
        as_is_calls=len(as_is),
        as_is_cost_usd=call_totals.cost(as_is),
        recommended=_recommended(comparisons, paired, out),
        ruled_out=out,
        notice=None if verdicts.calls_a_model(trials) else NO_MODEL,
        control=_control(trials),
        disagreements=disagreements(trials, flagship, settings.alpha)
        if comparisons and not is_spared
        else {},
        sites=site_stats(trials if is_spared else by_tier[flagship] or trials),
        left_out=left_out,
    )


def _cost_of_a_run(costs: RunCosts, pairs: PairedCosts | None, is_spared: bool) -> Decimal | None:
    """Mean cost of a tier's run in USD; a candidate's over its pairs, as far as there are any."""
    if pairs is None or (is_spared and pairs.candidate is None):
        return mean(costs.values())
    return pairs.candidate


def _recommended(
    comparisons: Mapping[str, Comparison],
    paired: Mapping[str, PairedCosts],
    ruled_out: Collection[str],
) -> str | None:
    """The cheapest safe candidate that costs less than the flagship."""
    cheaper = [
        (ratio, name)
        for name, comparison in comparisons.items()
        if name not in ruled_out
        and comparison.verdict == "safe"
        and (ratio := paired[name].ratio) is not None
        and ratio < 1
    ]
    return min(cheaper, key=itemgetter(0))[1] if cheaper else None


def _tier_stats(
    trials: list[Trial],
    mean_cost: Decimal | None,
    alpha: float,
    scored: bool,
    *,
    is_selected: bool = False,
) -> TierStats:
    """``mean_cost`` is that of one run in USD; the pass rate's bounds hold at 1 − ``alpha``.

    ``is_selected``: the trials were chosen by what another tier did, so they tell no rate.
    """
    calls = [call for trial in trials for call in trial.tier_calls]
    outcomes = Counter(trial.outcome for trial in trials)
    p50, p95 = call_totals.seconds(calls)
    return TierStats(
        trials=len(trials),
        passed=outcomes["passed"],
        missed=outcomes["missed"],
        unsupported=outcomes["unsupported"],
        errors=outcomes["error"],
        no_calls=outcomes["no-call"],
        calls=len(calls),
        tokens=call_totals.total_tokens(calls),
        cost_usd=call_totals.cost(calls),
        unpriced_calls=call_totals.unpriced(calls),
        cost_per_1000=None if mean_cost is None else 1000 * mean_cost,
        seconds_p50=p50,
        seconds_p95=p95,
        pass_rate=None if is_selected else pass_rate(trials, alpha),
        mean_score=mean_score(trials) if scored and not is_selected else None,
        inconsistent=sum(trial.outcome == "passed" and not trial.is_success for trial in trials),
    )


def _rest_usd(trials: tuple[Trial, ...]) -> Decimal | None:
    """What the trials that the limit kept out would cost, by the mean of their prompt and tier.

    None where one of them has no trial like it that is priced.
    """
    known: defaultdict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for trial in trials:
        if trial.counts and (cost := run_cost(trial)) is not None:
            known[trial.prompt, trial.tier].append(cost)
    left = [mean(known[trial.prompt, trial.tier]) for trial in trials if trial.budget]
    return None if None in left else sum((cost for cost in left if cost is not None), Decimal(0))


def _other_models(trials: Iterable[Trial]) -> tuple[str, ...]:
    """Which model answered in another's name, by tier."""
    calls = [(trial.tier, call) for trial in trials for call in trial.tier_calls]
    found = {
        f'{tier}: asked for "{call.model}", answered by "{call.answered_by}"'
        for tier, call in calls
        if is_another(call.model, call.answered_by)
    }
    return tuple(sorted(found))


def _drift(trials: Iterable[Trial]) -> tuple[str, ...]:
    """Which snapshots of one model answered, and how often, by tier; where there are several."""
    found: dict[tuple[str, str | None], Counter[str]] = defaultdict(Counter)
    for trial in trials:
        for call in trial.tier_calls:
            if call.answered_by and not is_another(call.model, call.answered_by):
                found[trial.tier, call.model][call.answered_by] += 1
    return tuple(
        f"{tier}: " + ", ".join(f'"{name}" ({calls})' for name, calls in sorted(answered.items()))
        for (tier, _), answered in found.items()
        if len(answered) > 1
    )


def _rewritten(trials: Iterable[Trial]) -> tuple[str, ...]:
    return _unique(
        _at_site(call, call.model_asked)
        for trial in trials
        if trial.tier != CURRENT
        for call in trial.tier_calls
    )


def _left_alone(calls: Iterable[Call]) -> tuple[str, ...]:
    return _unique(
        _at_site(call, ": ".join(filter(None, (call.left_alone, call.model_asked))))
        for call in calls
        if call.left_alone is not None
    )


def _at_site(call: Call, what: str | None) -> str | None:
    """A call's site with what it asked for; None where the site is unknown."""
    return f"{call.site} ({what})" if call.site and what else call.site


def _unique(sites: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({site for site in sites if site is not None}))
