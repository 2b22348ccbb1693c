"""What a run would record, decide and cost, from what earlier runs recorded."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.findings import PromptSummary, RunSummary
from pytest_tiers.mix_runs import LadderTrials
from pytest_tiers.modes import RecordMode
from pytest_tiers.pricing import price_of
from pytest_tiers.records import Trial
from pytest_tiers.run_costs import run_costs
from pytest_tiers.standings import is_behind
from pytest_tiers.tiers import Tier
from pytest_tiers.verdicts import Comparison, Evidence, Verdict, gather

#: Verdicts that more evidence can still turn into "safe".
_OPEN: frozenset[Verdict] = frozenset({"inconclusive", "matches"})

#: More samples of each case than anybody pays for.
_MOST_SAMPLES = 20


class MissingTrial(Struct, frozen=True):
    """A trial that was collected and has no recording.

    Not ``is_certain``: what the run finds decides whether it is needed. ``may_stop``: it is not
    where its tier is proven worse, say.
    """

    prompt: str
    tier: str
    is_certain: bool = True
    may_stop: bool = False


class ToRecord(Struct, frozen=True):
    """The trials of one prompt and tier that a run would record.

    ``calls`` and ``usd`` are expected from recorded trials of the same prompt and tier, calls
    that are left alone included; where there is none, from those of the tier ``like``, at this
    tier's price. None where there is nothing to go by, or no known cost.
    """

    prompt: str
    tier: str
    trials: int
    calls: int | None
    usd: Decimal | None
    like: str | None = None


class ToDecide(Struct, frozen=True):
    """What would decide a comparison that the recordings leave open.

    ``comparison.more_cases`` are the cases (at the least, as things go), ``cases_usd`` what they
    cost on both tiers. ``samples`` more of each case decide it if they all agree, None where
    they cannot; they cost ``samples_usd``. ``missing`` trials of it are not recorded yet.
    """

    prompt: str
    comparison: Comparison
    missing: int
    cases_usd: tuple[Decimal | None, Decimal | None]
    samples: int | None
    samples_usd: Decimal | None


class MixPlan(Struct, frozen=True):
    """What the search for a prompt's mix takes besides what is recorded, at the most.

    ``recorded`` mixes need no call. So many more ``mixes`` may follow, none where the search is
    recorded to its end. ``usd`` is as if each call were the flagship's, None where that is unknown.
    """

    prompt: str
    sites: int
    recorded: int
    mixes: int
    calls: int
    usd: Decimal | None


class Plan(Struct, frozen=True):
    """What a run in ``mode`` would do.

    ``trials`` were collected, of which ``recorded`` have a recording that still answers;
    ``stale`` have one that does not and that this mode keeps. ``unjudged`` are prompts and
    candidates without any pair of answers. ``if_needed`` is what the run records besides at the
    most, where it is for the answers to say. ``mixes`` are the searches for mixes, as far as the
    flagship's recordings show call sites.
    """

    mode: RecordMode
    trials: int
    recorded: int
    stale: int
    to_record: tuple[ToRecord, ...]
    if_needed: tuple[ToRecord, ...]
    decided: tuple[tuple[str, Comparison], ...]
    undecided: tuple[ToDecide, ...]
    unjudged: tuple[tuple[str, str], ...]
    mixes: tuple[MixPlan, ...] = ()


class _Expected(Struct, frozen=True):
    """What one more trial of a prompt and tier is expected to take; None: unknown."""

    calls: float | None = None
    usd: Decimal | None = None
    like: str | None = None

    def times(self, trials: int) -> Decimal | None:
        """The cost of so many trials in USD."""
        return None if self.usd is None else self.usd * trials


def make_plan(summary: RunSummary, missing: Sequence[MissingTrial], mode: RecordMode) -> Plan:
    """The plan of a run in ``mode``, from the replay of what is recorded and what is missing."""
    stale = [trial for trial in summary.trials if trial.stale]
    lost = [trial for trial in summary.trials if _has_no_recording(trial)]
    by_mode = {"all": list(summary.trials), "new_episodes": [*stale, *lost]}
    again = [each for each in by_mode.get(mode, lost) if each.tier != summary.settings.replaced]
    stopped = _stopped(summary)
    missing = [one for one in missing if not (one.may_stop and (one.prompt, one.tier) in stopped)]
    certain = [one for one in missing if one.is_certain]
    wanted = [*certain, *(MissingTrial(trial.prompt, trial.tier) for trial in again)]
    expected = _expectations(summary)
    ladder = summary.settings.ladder.names
    to_record = _to_record(wanted, ladder, expected)
    left = Counter({(one.prompt, one.tier): one.trials for one in to_record})
    compared = [
        (prompt.id, comparison)
        for prompt in summary.prompts
        for comparison in prompt.comparisons.values()
    ]
    judged = {(prompt, one.tier) for prompt, one in compared if one.verdict != "no-data"}
    known = [
        *((trial.prompt, trial.tier) for trial in certain),
        *((trial.prompt, trial.tier) for trial in summary.trials),
    ]
    unjudged = {pair for pair in known if pair[1] != summary.settings.ladder.flagship} - judged
    return Plan(
        mode=mode,
        trials=len(certain) + len(summary.trials),
        recorded=len(summary.trials) - len(stale) - len(lost),
        stale=len(stale) if mode == "once" else 0,
        to_record=to_record,
        if_needed=_to_record(_if_needed(missing, compared), ladder, expected),
        decided=tuple(
            (prompt, one)
            for prompt, one in compared
            if one.verdict not in _OPEN and one.verdict != "no-data"
        ),
        undecided=tuple(
            _to_decide(prompt, one, summary, expected, left)
            for prompt, one in compared
            if one.verdict in _OPEN
        ),
        unjudged=tuple(sorted(unjudged, key=lambda pair: (pair[0], ladder.index(pair[1])))),
        mixes=tuple(_mixes(summary, {one.prompt for one in wanted}, mode))
        if summary.settings.mix
        else (),
    )


def _mixes(summary: RunSummary, incomplete: Container[str], mode: RecordMode) -> Iterator[MixPlan]:
    """The searches for mixes, of prompts with more than one call site.

    How far one has come is known from its replay, unless the prompt is ``incomplete``: then other
    mixes may follow.
    """
    settings = summary.settings
    searches = {each.prompt: each for each in summary.searches if mode != "all"}
    names = settings.ladder.names
    for prompt in summary.prompts:
        trials = LadderTrials(
            [trial for trial in summary.trials if trial.prompt == prompt.id],
            names[: names.index(settings.ladder.flagship) + 1],
            prompt.margin,
            settings.alpha,
            prompt.cases,
            wrappers=settings.wrappers,
        )
        if trials.obstacle is not None:
            continue
        search = None if prompt.id in incomplete else searches.get(prompt.id)
        if search is not None and search.end in ("blind", "unfit"):
            continue
        recorded = 0 if search is None else len(search.tried) - (search.end == "error")
        is_over = search is not None and search.end != "error"
        mixes = 0 if is_over else trials.task().most_runs - recorded
        costs = list(run_costs(list(trials.flagships.values())).values())
        usd = sum(costs, Decimal(0)) if len(costs) == len(trials.flagships) else None
        yield MixPlan(
            prompt.id,
            len(trials.sites),
            recorded,
            mixes,
            mixes * trials.calls_of_all,
            None if usd is None else mixes * usd,
        )


def _stopped(summary: RunSummary) -> set[tuple[str, str]]:
    """The prompts and tiers of which sampling in rounds calls no more: the candidate is stopped.

    A flagship's where all its candidates are.
    """
    found = set()
    for prompt in summary.prompts:
        over = {
            tier for tier, one in prompt.comparisons.items() if _is_stopped(prompt, one, summary)
        }
        if over and over == prompt.comparisons.keys():
            over.add(summary.settings.ladder.flagship)
        found |= {(prompt.id, tier) for tier in over}
    return found


def _is_stopped(prompt: PromptSummary, comparison: Comparison, summary: RunSummary) -> bool:
    if comparison.verdict == "worse":
        return True
    if comparison.verdict not in ("inconclusive", "unsupported") or comparison.difference is None:
        return False
    settings = summary.settings
    enough = statistics.cases_needed(comparison.margin, settings.alpha)
    if enough is None or prompt.cases * settings.max_samples < enough:
        return False
    pairs = _evidence(prompt.id, comparison, summary).pairs
    return is_behind(comparison.difference, pairs, comparison.margin)


def _evidence(prompt: str, comparison: Comparison, summary: RunSummary) -> Evidence:
    """What the recorded trials say of a candidate."""
    return gather(
        [trial for trial in summary.trials if trial.prompt == prompt],
        candidate=comparison.tier,
        flagship=comparison.flagship,
        margin=comparison.margin,
        alpha=summary.settings.alpha,
    )


def _if_needed(
    missing: Iterable[MissingTrial], compared: Iterable[tuple[str, Comparison]]
) -> list[MissingTrial]:
    """What may have to be recorded for comparisons that the recordings do not decide."""
    verdicts: defaultdict[str, set[Verdict]] = defaultdict(set)
    for prompt, one in compared:
        verdicts[prompt].add(one.verdict)
    open_ones = _OPEN | {"no-data"}
    return [
        one
        for one in missing
        if not one.is_certain and (one.prompt not in verdicts or verdicts[one.prompt] & open_ones)
    ]


def _to_record(
    missing: Iterable[MissingTrial],
    ladder: Sequence[str],
    expected: Mapping[tuple[str, str], _Expected],
) -> tuple[ToRecord, ...]:
    """The trials by tier and prompt, with what they are expected to take."""
    found = []
    ordered = sorted(missing, key=lambda one: (ladder.index(one.tier), one.prompt))
    for (tier, prompt), group in groupby(ordered, key=attrgetter("tier", "prompt")):
        trials = len(list(group))
        each = expected[prompt, tier]
        calls = None if each.calls is None else math.ceil(each.calls * trials)
        found.append(ToRecord(prompt, tier, trials, calls, each.times(trials), each.like))
    return tuple(found)


def _has_no_recording(trial: Trial) -> bool:
    """Whether a trial was tried because another tier's recording might answer, and did not."""
    return trial.outcome == "error" and not trial.stale and not trial.calls


def _expectations(summary: RunSummary) -> defaultdict[tuple[str, str], _Expected]:
    """What a trial of a prompt and tier takes, by the recorded ones that have an answer.

    A tier that has none is taken to need as many tokens as the flagship, else any other.
    """
    ladder = summary.settings.ladder
    found: defaultdict[str, dict[str, list[Trial]]] = defaultdict(dict)
    for trial in summary.trials:
        if trial.counts and trial.calls:
            found[trial.prompt].setdefault(trial.tier, []).append(trial)
    expected: defaultdict[tuple[str, str], _Expected] = defaultdict(_Expected)
    for prompt, by_tier in found.items():
        like = ladder.flagship if ladder.flagship in by_tier else next(iter(by_tier))
        for tier in ladder.tiers:
            if known := by_tier.get(tier.name):
                expected[prompt, tier.name] = _expected(known, _paid)
            elif not tier.is_current:
                price = functools.partial(_at_price_of, tier)
                expected[prompt, tier.name] = replace(_expected(by_tier[like], price), like=like)
    return expected


def _expected(known: Sequence[Trial], price: Callable[[Trial], Decimal | None]) -> _Expected:
    costs = [cost for trial in known if (cost := price(trial)) is not None]
    return _Expected(
        sum(len(trial.calls) for trial in known) / len(known),
        sum(costs, Decimal(0)) / len(costs) if costs else None,
    )


def _at_price_of(tier: Tier, trial: Trial) -> Decimal | None:
    """What the trial's tokens would cost on another tier in USD; None where that is unknown."""
    costs = [
        price_of(call.tokens, tier, answered_by=None, sent=tier.model, uncached=True)
        if call.left_alone is None
        else call.cost_usd
        for call in trial.calls
        if call.left_alone is None or call.is_unpriced or call.cost_usd
    ]
    return None if None in costs else sum((cost for cost in costs if cost), Decimal(0))


def _paid(trial: Trial) -> Decimal | None:
    """What recording the trial cost in USD; None where an answer has no price."""
    if any(call.is_unpriced for call in trial.calls):
        return None
    return sum((call.cost_usd for call in trial.calls if call.cost_usd is not None), Decimal(0))


def _to_decide(
    prompt: str,
    comparison: Comparison,
    summary: RunSummary,
    expected: defaultdict[tuple[str, str], _Expected],
    left: Mapping[tuple[str, str], int],
) -> ToDecide:
    tiers = (comparison.tier, comparison.flagship)
    of_both = [expected[prompt, tier].usd for tier in tiers]
    per_pair = None if None in of_both else sum((usd for usd in of_both if usd), Decimal(0))
    samples = max(1, round(comparison.pairs / max(1, comparison.cases)))

    def cost(pairs: int | None) -> Decimal | None:
        return None if pairs is None or per_pair is None else per_pair * pairs

    least, as_things_go = comparison.more_cases
    missing = sum(left[prompt, tier] for tier in tiers)
    more = None if missing else _more_samples(prompt, comparison, summary)
    return ToDecide(
        prompt=prompt,
        comparison=comparison,
        missing=missing,
        cases_usd=(
            cost(None if least is None else least * samples),
            cost(None if as_things_go is None else as_things_go * samples),
        ),
        samples=more,
        samples_usd=cost(None if more is None else more * comparison.cases),
    )


def _more_samples(prompt: str, comparison: Comparison, summary: RunSummary) -> int | None:
    """How many more samples of each case make it safe if they all agree; None: they cannot."""
    alpha = summary.settings.alpha
    held = sum(
        one.verdict == "safe"
        for each in summary.prompts
        for tier, one in each.comparisons.items()
        if tier == comparison.tier
    )
    needed = max(
        statistics.log_needed(alpha),
        statistics.log_e_bh_threshold(held + 1, comparison.among, alpha),
    )
    return samples_that_would_decide(_evidence(prompt, comparison, summary), needed)


def samples_that_would_decide(evidence: Evidence, log_threshold: float) -> int | None:
    """How many more samples of each case reach a threshold if all of them agree (D = 0).

    Each case's mean difference shrinks by what is added. None where the cases are too few even
    if nothing is left of it, or where it takes more than 20.
    """
    comparison = evidence.comparison
    if not comparison.cases or comparison.missing_trials:
        return None
    samples = comparison.pairs / comparison.cases
    for more in range(1, _MOST_SAMPLES + 1):
        shrunk = tuple((value * samples / (samples + more), n) for value, n in evidence.cases)
        log_e = statistics.log_evidence(shrunk, comparison.margin)
        if statistics.reaches(log_e, log_threshold):
            return more
    return None
