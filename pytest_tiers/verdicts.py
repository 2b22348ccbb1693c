"""What the trials of one prompt say about each candidate (design: docs/verdicts.md)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.history import made_anew_in_part
from pytest_tiers.records import Trial
from pytest_tiers.scores import is_scored
from pytest_tiers.settings import FLAGSHIP_MAY_MISS
from pytest_tiers.statistics import Tally

Verdict = Literal[
    "unsupported",
    "no-data",
    "flagship-fails",
    "blind",
    "safe",
    "matches",
    "worse",
    "inconclusive",
]


class Comparison(Struct, frozen=True):
    """What the evidence says about one candidate of one prompt.

    ``difference`` is the mean over cases of (candidate − flagship) pass rate, or mean score where
    ``scored``: a test of the two gave a score; ``largest_drop``
    the largest plausible drop on inputs like these, ``largest_drop_these_cases`` on these very
    cases. ``log_*`` are natural logs of e-values, before any correction for missing trials.
    ``more_cases`` is (least, expected), None where not reachable. ``held_back`` means safe on
    its own but not among all comparisons of the run; ``measurably_worse`` that a drop within
    the margin is nevertheless real. ``agreeing`` of ``cases`` complete cases have D = 0.
    ``candidate_passed`` and ``flagship_passed`` count the complete ``pairs``;
    ``missing_trials`` the pairs left out because one side, or both, has no result. In
    ``spared_pairs`` of the pairs the flagship was not called: there each number holds whatever
    it would have said, so that ``difference`` is the lowest that it can be. ``made_anew`` names
    the tiers of which only some recordings were made anew: then there is no verdict.
    ``recorded_again``: these are not the first answers to these requests.
    """

    tier: str
    flagship: str
    verdict: Verdict
    margin: float
    cases: int
    pairs: int
    agreeing: int
    candidate_passed: int
    flagship_passed: int
    difference: float | None
    largest_drop: float | None
    largest_drop_these_cases: float | None
    log_evidence: float | None
    log_evidence_these_cases: float | None
    log_evidence_worse: float | None
    more_cases: tuple[int | None, int | None]
    missing_trials: int
    output_mismatches: int
    made_anew: tuple[str, ...] = ()
    recorded_again: bool = False
    held_back: bool = False
    measurably_worse: bool = False
    among: int = 1
    scored: bool = False
    spared_pairs: int = 0


class Evidence(Struct, frozen=True):
    """What the trials of one prompt say about one candidate, before other prompts are known.

    ``comparison`` lacks ``more_cases``, and where ``undecided`` its verdict: these depend on the
    other prompts of the run. ``highest_difference`` exceeds the comparison's own where the
    flagship was spared in some pairs. The tallies hold the differences by case and by pair: of
    complete pairs, and ``cautious``, with what is missing counted against the candidate.
    ``unasked_cases`` are those that a stopped candidate was never tried on. ``planned_cases`` is
    how many cases the prompt has, known before any answer.
    """

    comparison: Comparison
    undecided: bool
    planned_cases: int
    unasked_cases: int
    highest_difference: float
    cases: Tally
    pairs: Tally
    cautious_cases: Tally
    cautious_pairs: Tally

    @property
    def log_cases(self) -> float:
        """The log e-value by case that holds with and without what is missing."""
        return self._log_lower(self.cases, self.cautious_cases)

    @property
    def log_pairs(self) -> float:
        """The log e-value by pair that holds with and without what is missing."""
        return self._log_lower(self.pairs, self.cautious_pairs)

    def _log_lower(self, *tallies: Tally) -> float:
        return min(statistics.log_evidence(each, self.comparison.margin) for each in set(tallies))

    def more_cases(self, log_threshold: float) -> tuple[int | None, int | None]:
        """How many more cases reach a threshold, with and without what is missing."""
        margin = self.comparison.margin
        counted = statistics.more_needed(self.cases, margin, log_threshold)
        cautious = statistics.more_needed(self.cautious_cases, margin, log_threshold)
        return _more(counted[0], cautious[0]), _more(counted[1], cautious[1])


class Pair(Struct, frozen=True):
    """The candidate's and the flagship's trial of the same case and sample, where they exist.

    ``is_spared``: the flagship was left out because the candidate's result says enough
    (`pytest_tiers.sampling`). Its own is unknown then, and the difference has bounds only.
    """

    case: str
    sample: int
    candidate: Trial | None
    flagship: Trial | None
    is_spared: bool = False

    @property
    def difference(self) -> float | None:
        """Candidate minus flagship, at the least; None unless both have a result."""
        return self._difference(1.0)

    @property
    def highest_difference(self) -> float | None:
        """Candidate minus flagship, at the most; None unless both have a result."""
        return self._difference(0.0)

    def _difference(self, spared: float) -> float | None:
        """``spared`` is what the flagship is taken for where it was left out."""
        candidate, flagship = _worth(self.candidate), _worth(self.flagship)
        if candidate is not None and flagship is None and self.is_spared:
            assert self.candidate is not None
            # An output that was not compared may be worth nothing.
            unsettled = spared == 1.0 and self.candidate.has_output
            return (0.0 if unsettled else candidate) - spared
        return None if candidate is None or flagship is None else candidate - flagship

    @property
    def cautious_difference(self) -> float:
        """Candidate minus flagship, with what is missing counted against the candidate."""
        candidate, flagship = _worth(self.candidate), _worth(self.flagship)
        if candidate is None:
            return -1.0
        return candidate - (1.0 if flagship is None else flagship)


def calls_a_model(trials: Iterable[Trial]) -> bool:
    """Whether the trials of a prompt say anything about models at all."""
    return any(
        trial.tier_calls or trial.expects_call or trial.outcome == "error" for trial in trials
    )


def gather(
    trials: Iterable[Trial],
    *,
    candidate: str,
    flagship: str,
    margin: float,
    alpha: float,
    planned_cases: int = 0,
    not_asked: Collection[tuple[str, str, int]] = (),
    blind: bool = False,
) -> Evidence:
    """Collect what the settled trials of one prompt say about one candidate.

    Trials of other tiers are left out. ``alpha`` is 1 − confidence. ``not_asked`` are the trials
    (tier, case, sample) that sampling left out: nothing is missing there. ``blind``: the prompt's
    tests do not see a wrong answer, so that passing them says nothing.
    """
    trials = list(trials)
    spared = _spared(trials, flagship, not_asked)
    trials = [trial for trial in trials if trial.tier in (candidate, flagship)]
    pairs = [
        pair
        for pair in _pairs(trials, candidate, flagship, spared)
        if (candidate, pair.case, pair.sample) not in not_asked
    ]
    complete = [(pair, value) for pair in pairs if (value := pair.difference) is not None]
    by_case = _means((pair.case, value) for pair, value in complete)
    cases = statistics.tally(by_case)
    each = statistics.tally(value for _, value in complete)
    # The highest and the cautious differences are others only where a result is unknown.
    highest = [(pair.case, value) for pair, value in complete]
    cautious_cases, cautious_pairs = cases, each
    if any(_worth(one) is None for pair in pairs for one in (pair.candidate, pair.flagship)):
        highest = [
            (pair.case, value)
            for pair, _ in complete
            if (value := pair.highest_difference) is not None
        ]
        cautious = [(pair.case, pair.cautious_difference) for pair in pairs]
        cautious_cases = statistics.tally(_means(cautious))
        cautious_pairs = statistics.tally(value for _, value in cautious)
    verdict = _own_verdict(
        trials, candidate, flagship, has_pairs=bool(complete), spared=len(spared), blind=blind
    )
    made_anew = tuple(
        tier
        for tier in (candidate, flagship)
        if made_anew_in_part(trial for trial in trials if trial.tier == tier)
    )
    if verdict is None and made_anew:
        verdict = "inconclusive"
    comparison = Comparison(
        tier=candidate,
        flagship=flagship,
        verdict=verdict or "inconclusive",
        margin=margin,
        cases=len(by_case),
        pairs=len(complete),
        agreeing=by_case.count(0.0),
        candidate_passed=sum(_passed(pair.candidate) for pair, _ in complete),
        flagship_passed=sum(_passed(pair.flagship) for pair, _ in complete),
        difference=_mean(by_case) if complete else None,
        largest_drop=statistics.largest_drop(cases, alpha) if complete else None,
        largest_drop_these_cases=statistics.largest_drop(each, alpha) if complete else None,
        log_evidence=statistics.log_evidence(cases, margin) if complete else None,
        log_evidence_these_cases=statistics.log_evidence(each, margin) if complete else None,
        log_evidence_worse=statistics.log_evidence_worse(
            statistics.tally(value for _, value in highest), 0.0
        )
        if complete
        else None,
        more_cases=(None, None),
        missing_trials=len(pairs) - len(complete),
        output_mismatches=sum(
            trial.tier == candidate and trial.output_match is False for trial in trials
        ),
        made_anew=made_anew,
        recorded_again=any(trial.generation for trial in trials if trial.counts),
        scored=is_scored(trials),
        spared_pairs=sum(pair.flagship is None for pair, _ in complete),
    )
    return Evidence(
        comparison=comparison,
        undecided=verdict is None,
        unasked_cases=len(
            {case for tier, case, _ in not_asked if tier == candidate}
            - {pair.case for pair in pairs}
        ),
        highest_difference=_mean(_means(highest)) if highest else 0.0,
        planned_cases=max(planned_cases, len({trial.case for trial in trials})),
        cases=cases,
        pairs=each,
        cautious_cases=cautious_cases,
        cautious_pairs=cautious_pairs,
    )


def decide(
    evidence: Mapping[str, Evidence], *, alpha: float, reachable: int = 0
) -> dict[str, Comparison]:
    """Give the verdicts of one candidate tier, from its evidence by prompt.

    ``reachable`` is how many prompts of the run have enough cases to become safe if all agree,
    also those that got no evidence. Only such prompts share the e-BH step, since who takes part
    must be known before any answer. Where there is none, all share it: a few cases that the
    candidate passes and the flagship misses can be enough.
    """
    large = {prompt for prompt, each in evidence.items() if _is_large(each, alpha)}
    members = large if large or reachable else set(evidence)
    among = max(reachable, len(members))
    logs = {prompt: evidence[prompt].log_cases for prompt in members if evidence[prompt].undecided}
    held, log_threshold = statistics.e_bh(list(logs.values()), among, alpha)
    safe = {prompt for prompt, log_e in logs.items() if statistics.reaches(log_e, log_threshold)}
    comparisons = {}
    for prompt, each in evidence.items():
        # A prompt that is still too small would be one more among those that share the step.
        sharing = max(reachable, len(large)) + (prompt not in large)
        more = _more_for_safe(each, _log_threshold(held + 1, sharing, alpha), alpha)
        final = _conclude(each, prompt in safe, alpha) if each.undecided else each.comparison
        if final.verdict == "safe":
            more = (0, 0)
        elif more == (0, 0) or final.made_anew:  # what stands in the way is not their number
            more = (None, None)
        comparisons[prompt] = replace(final, more_cases=more, among=among)
    return comparisons


def _conclude(evidence: Evidence, safe: bool, alpha: float) -> Comparison:
    """The comparison with the verdict that its evidence and the other prompts give it."""
    comparison = evidence.comparison
    needed = statistics.log_needed(alpha)
    log_worse = comparison.log_evidence_worse or 0.0
    measurably_worse = statistics.reaches(log_worse, needed)
    if safe:
        return replace(comparison, verdict="safe", measurably_worse=measurably_worse)
    if statistics.reaches(evidence.log_cases, needed):
        return replace(comparison, verdict="inconclusive", held_back=True)
    if statistics.reaches(evidence.log_pairs, needed):
        return replace(comparison, verdict="matches")
    if proves_worse(evidence.highest_difference, log_worse, comparison.margin, alpha):
        return replace(comparison, verdict="worse")
    return comparison


def _own_verdict(
    trials: list[Trial],
    candidate: str,
    flagship: str,
    *,
    has_pairs: bool,
    spared: int,
    blind: bool,
) -> Verdict | None:
    """The verdict that depends on no evidence at all, if there is one.

    ``spared`` trials of the flagship are taken for passed: it was called where a candidate
    missed, so its share of failures among the called ones says nothing of all.
    """
    tried = [trial.outcome for trial in trials if trial.tier == candidate and trial.counts]
    if tried and all(outcome == "unsupported" for outcome in tried):
        return "unsupported"
    if not has_pairs:
        return "no-data"
    yardstick = [trial for trial in trials if trial.tier == flagship and trial.counts]
    failed = sum(not trial.is_success for trial in yardstick)
    if flagship_fails(failed, len(yardstick) + spared):
        return "flagship-fails"
    return "blind" if blind else None


def proves_worse(difference: float, log_worse: float, margin: float, alpha: float) -> bool:
    """Whether a mean difference and its log e-value over pairs mean `worse`."""
    return difference < -margin and statistics.reaches(log_worse, statistics.log_needed(alpha))


def flagship_fails(failed: int, tried: int) -> bool:
    """Whether the flagship failed too often to be a yardstick."""
    return tried > 0 and failed / tried > FLAGSHIP_MAY_MISS


def _spared(
    trials: list[Trial], flagship: str, not_asked: Collection[tuple[str, str, int]]
) -> set[tuple[str, int]]:
    """Case and sample of the flagship's trials that were left out though a candidate's ran."""
    run = {(trial.case, trial.sample) for trial in trials if trial.tier != flagship}
    return {(case, sample) for tier, case, sample in not_asked if tier == flagship} & run


def _pairs(
    trials: list[Trial], candidate: str, flagship: str, spared: Collection[tuple[str, int]]
) -> list[Pair]:
    """The pairs that were asked for.

    A trial that another tier has is missed here, whatever became of it (skipped, say). But a
    sample that one of the two ran for no case at all was not asked for.
    """
    by_tier: dict[str, dict[tuple[str, int], Trial]] = {candidate: {}, flagship: {}}
    for trial in trials:
        by_tier[trial.tier][trial.case, trial.sample] = trial
    ours, theirs = by_tier[candidate], by_tier[flagship]
    asked = {sample for _, sample in ours} & {sample for _, sample in (*theirs, *spared)}
    return [
        Pair(
            case,
            sample,
            ours.get((case, sample)),
            theirs.get((case, sample)),
            is_spared=(case, sample) in spared,
        )
        for case, sample in dict.fromkeys((*ours, *theirs, *sorted(spared)))
        if sample in asked
    ]


def _worth(trial: Trial | None) -> float | None:
    """What a trial is worth, from 0 to 1; None where it has no result."""
    return None if trial is None else trial.worth


def _passed(trial: Trial | None) -> bool:
    return trial is not None and trial.is_success


def _means(differences: Iterable[tuple[str, float]]) -> list[float]:
    """The mean difference of each case."""
    by_case: defaultdict[str, list[float]] = defaultdict(list)
    for case, difference in differences:
        by_case[case].append(difference)
    return [_mean(each) for each in by_case.values()]


def _mean(values: list[float]) -> float:
    """The mean, exactly rounded, so that the order of trials cannot matter."""
    return math.fsum(values) / len(values)


def _is_large(evidence: Evidence, alpha: float) -> bool:
    """Whether the prompt has enough cases to become safe if all agree."""
    needed = statistics.cases_needed(evidence.comparison.margin, alpha)
    return needed is not None and evidence.planned_cases >= needed


def _log_threshold(k: int, among: int, alpha: float) -> float:
    """The log e-value that one more prompt needs to be safe; never below a single one's."""
    return max(statistics.log_needed(alpha), statistics.log_e_bh_threshold(k, among, alpha))


def _more_for_safe(
    evidence: Evidence, log_threshold: float, alpha: float
) -> tuple[int | None, int | None]:
    """How many more cases make a prompt safe, which also has to be large enough to take part."""
    more = evidence.more_cases(log_threshold)
    needed = statistics.cases_needed(evidence.comparison.margin, alpha)
    if needed is None:
        return more
    short = max(0, needed - evidence.planned_cases)
    return _more(more[0], short), _more(more[1], short)


def _more(one: int | None, other: int | None) -> int | None:
    """The larger number of cases; None, which is not reachable, is the largest."""
    return None if one is None or other is None else max(one, other)
