"""When a prompt's comparisons need no more samples: trials of its rounds in, a decision out.

A round is one sample of all cases of the prompt on all tiers. `Standing` says what a candidate's
pairs mean so far and could still come to; `PromptRounds` says which trials are still needed.
Both use the formulas of the verdicts. Why the verdicts stay valid: docs/verdicts.md, "As few
samples as it takes".
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pytest_tiers import statistics, verdicts
from pytest_tiers.records import Trial
from pytest_tiers.settings import FLAGSHIP_MAY_MISS
from pytest_tiers.settling import settle
from pytest_tiers.statistics import Tally
from pytest_tiers.verdicts import Pair

#: Why a candidate is not called again. ``decided``: it has the best verdict that more samples can
#: bring. ``out-of-reach``: neither `safe` nor `matches` can be reached, even if all further trials
#: agree. ``limit``: the cost or call limit was reached.
Stop = Literal["decided", "worse", "unsupported", "flagship-fails", "out-of-reach", "limit"]

#: Why a trial is not run: its candidate was stopped; it is the flagship's, and no candidate needs
#: it (``not-needed``), or what the candidates did with this case says enough (``spared``). Where
#: the trials before it ran in another process, a further sample is ``scattered``, and a flagship
#: that might be spared ``unseen``.
Why = Stop | Literal["not-needed", "spared", "scattered", "unseen"]

#: Tier, case, sample of one prompt.
Slot = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a candidate of a prompt is to show, known before any answer.

    ``cases`` is how many cases the prompt has, ``rounds`` how many samples each can get.
    ``among`` comparisons of the run share the e-BH step; 0 where this one takes no part, so
    that it cannot become safe.
    """

    cases: int
    rounds: int
    margin: float
    alpha: float
    among: int

    @property
    def has_enough_cases(self) -> bool:
        """Whether a candidate that always agrees becomes `safe`, as far as this prompt goes."""
        return self._is_enough(self.cases)

    @property
    def is_within_reach(self) -> bool:
        """Whether a candidate that always agrees becomes `safe` or `matches`."""
        return self._is_enough(self.cases * self.rounds)

    def sharing(self, among: int) -> Goal:
        """The goal of a comparison that shares the e-BH step with so many."""
        return replace(self, among=among)

    def _is_enough(self, agreeing: int) -> bool:
        clean = statistics.cases_needed(self.margin, self.alpha)
        return clean is not None and agreeing >= clean


class _Counts:
    """Counts of anything by case, and over all cases; each case can be counted anew."""

    def __init__(self) -> None:
        self._by_case: dict[str, Counter[Hashable]] = {}
        self._all: Counter[Hashable] = Counter()

    def put(self, case: str, things: Iterable[Hashable]) -> None:
        counts = Counter(things)
        self._all.subtract(self._by_case.get(case, {}))
        self._all.update(counts)
        self._by_case[case] = counts

    def __getitem__(self, thing: Hashable) -> int:
        return self._all[thing]

    def items(self) -> list[tuple[Hashable, int]]:
        return [(thing, count) for thing, count in self._all.items() if count]


class _Sums:
    """Differences by pair, and by case in a form that can be carried on."""

    def __init__(self, cases: int) -> None:
        self._cases = cases
        self._pairs, self._by_case = _Counts(), _Counts()

    def put(self, case: str, differences: Sequence[float], ended: int) -> None:
        self._pairs.put(case, differences)
        self._by_case.put(case, [(math.fsum(differences), len(differences), ended)])

    def pairs(self, agreeing: int = 0) -> Tally:
        """Each pair's difference, with so many more that agree."""
        counts: Counter[float] = Counter({0.0: agreeing} if agreeing else {})
        for value, count in self._pairs.items():
            assert isinstance(value, float)
            counts[value] += count
        return tuple(sorted(counts.items()))

    def cases(self, rounds: int | None = None, *, hopeful: bool = False) -> Tally:
        """Each case's mean difference; with ``rounds``, if all further pairs up to then agree.

        ``hopeful``: what is missing could still be answered, in another run.
        """
        counts: Counter[float] = Counter()
        seen = 0
        for state, count in self._by_case.items():
            assert isinstance(state, tuple)
            total, pairs, ended = state
            if rounds is not None:
                pairs += max(0, rounds - (pairs if hopeful else ended))
            seen += count
            if pairs:
                counts[total / pairs] += count
        if rounds is not None and self._cases > seen:
            counts[0.0] += self._cases - seen
        return tuple(sorted(counts.items()))


class Standing:
    """What the pairs of one candidate say so far, and what they could still come to."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self._sums, self._cautious = _Sums(goal.cases), _Sums(goal.cases)
        self._highest = _Sums(goal.cases)
        self._outcomes = _Counts()
        self._ended, self._complete = _Counts(), _Counts()

    def put(self, case: str, pairs: Sequence[Pair]) -> None:
        """Learn all pairs of a case whose two trials have ended."""
        complete = [value for pair in pairs if (value := pair.difference) is not None]
        self._sums.put(case, complete, len(pairs))
        highest = [value for pair in pairs if (value := pair.highest_difference) is not None]
        self._highest.put(case, highest, len(pairs))
        self._cautious.put(case, [pair.cautious_difference for pair in pairs], len(pairs))
        candidates = [pair.candidate for pair in pairs]
        self._outcomes.put(case, [each.outcome for each in candidates if each and each.counts])
        self._ended.put(case, [True] * len(pairs))
        self._complete.put(case, [True] * len(complete))

    @property
    def log_cases(self) -> float:
        """As `verdicts.Evidence.log_cases`."""
        margin = self.goal.margin
        return min(statistics.log_evidence(each.cases(), margin) for each in self._both)

    @property
    def log_pairs(self) -> float:
        """As `verdicts.Evidence.log_pairs`."""
        margin = self.goal.margin
        return min(statistics.log_evidence(each.pairs(), margin) for each in self._both)

    @property
    def _both(self) -> tuple[_Sums, _Sums]:
        return self._sums, self._cautious

    @property
    def is_worse(self) -> bool:
        """Whether the verdict would be `worse`."""
        cases = self._highest.cases()
        number = sum(count for _, count in cases)
        if not number:
            return False
        difference = math.fsum(value * count for value, count in cases) / number
        log_worse = statistics.log_evidence_worse(self._highest.pairs(), 0.0)
        return verdicts.proves_worse(difference, log_worse, self.goal.margin, self.goal.alpha)

    @property
    def is_unsupported(self) -> bool:
        """Whether the tier refused all that it answered at all."""
        found = self._outcomes.items()
        return bool(found) and all(outcome == "unsupported" for outcome, _ in found)

    @property
    def is_on_track(self) -> bool:
        """Whether nothing was missed, or `safe` or `matches` is reached if it goes on so."""
        goal, needed = self.goal, statistics.log_needed(self.goal.alpha)
        if self._level(statistics.log_evidence(self._sums.cases(), goal.margin)):
            return True
        pairs = self._sums.pairs()
        if all(value >= 0 for value, _ in pairs):
            return True
        _, more = statistics.more_needed(pairs, goal.margin, needed)
        return more is not None and more <= goal.cases * goal.rounds - self._complete[True]

    def within_round(self, round_number: int) -> Stop | None:
        """What stops the candidate before the round is complete.

        Only complete pairs count here: a broken connection stops nobody. What is missing may
        still agree, in another run.
        """
        if self.is_worse:
            return "worse"
        if self.goal.is_within_reach and not self._can_come_to_anything(round_number):
            return "out-of-reach"
        return None

    def _can_come_to_anything(self, round_number: int) -> bool:
        goal, sums = self.goal, self._sums
        left = goal.cases * goal.rounds - self._complete[True]
        log_e = statistics.log_evidence(sums.pairs(agreeing=left), goal.margin)
        if statistics.reaches(log_e, statistics.log_needed(goal.alpha)):
            return True
        return any(
            self._level(statistics.log_evidence(sums.cases(rounds, hopeful=True), goal.margin))
            for rounds in range(round_number, goal.rounds + 1)
        )

    def after_round(self, round_number: int) -> Stop | None:
        """What stops the candidate after so many complete rounds; None where more can help."""
        goal = self.goal
        if self.is_unsupported:
            return "unsupported"
        if self.is_worse:
            return "worse"
        level = self._level(self.log_cases)
        further = (
            min(statistics.log_evidence(each.cases(rounds), goal.margin) for each in self._both)
            for rounds in range(round_number + 1, goal.rounds + 1)
        )
        if any(self._level(log_e) > level for log_e in further):
            return None
        needed = statistics.log_needed(goal.alpha)
        if level or statistics.reaches(self.log_pairs, needed):
            return "decided"
        left = goal.cases * goal.rounds - self._ended[True]
        best = min(
            statistics.log_evidence(each.pairs(agreeing=left), goal.margin) for each in self._both
        )
        return None if statistics.reaches(best, needed) else "out-of-reach"

    def _level(self, log_cases: float) -> int:
        """How many of the thresholds M/(αk), k = M ... 1, the evidence by case reaches.

        Which of them will hold is known only at the end of the run, and must not depend on the
        order of prompts or on the worker: so sampling goes on while it can reach one more.
        """
        among, alpha = self.goal.among, self.goal.alpha

        def reached(k: int) -> bool:
            return statistics.reaches(log_cases, statistics.log_e_bh_threshold(k, among, alpha))

        return among - bisect_left(range(1, among + 1), True, key=reached)


class Yardstick:
    """Whether the flagship itself passes too rarely to be compared with."""

    def __init__(self, alpha: float, planned: int) -> None:
        """``planned`` is how many trials the flagship can get."""
        self._alpha, self._planned = alpha, planned
        self._failures = _Counts()

    def put(self, case: str, trials: Iterable[Trial], spared: int = 0) -> None:
        """Learn all trials of the flagship for a case; the spared ones are taken for passed."""
        failures = [not each.is_success for each in trials if each.counts]
        self._failures.put(case, [*failures, *[False] * spared])

    @property
    def fails(self) -> bool:
        """Whether the verdict would be `flagship-fails`."""
        return verdicts.flagship_fails(
            self._failures[True], self._failures[True] + self._failures[False]
        )

    @property
    def fails_for_good(self) -> bool:
        """Whether that is proven, or no more to be changed."""
        if not self.fails:
            return False
        if verdicts.flagship_fails(self._failures[True], self._planned):
            return True
        losses = tuple((-float(bool(failed)), count) for failed, count in self._failures.items())
        log_e = statistics.log_evidence_worse(tuple(sorted(losses)), FLAGSHIP_MAY_MISS)
        return statistics.reaches(log_e, statistics.log_needed(self._alpha))


class PromptRounds:
    """Which trials of one prompt are still needed, while they run one after the other."""

    def __init__(
        self,
        slots: Sequence[Slot],
        flagship: str,
        goals: Mapping[str, Goal],
        *,
        is_adaptive: bool = True,
        spares_flagship: bool = False,
    ) -> None:
        """``slots`` in the order in which they run; ``goals`` by candidate.

        ``is_adaptive``: rounds go on only as long as they are needed. ``spares_flagship``: it
        is called only where the candidates' results of the round ask for it; its trials
        come last in each round.
        """
        self._flagship = flagship
        self._is_adaptive, self._spares_flagship = is_adaptive, spares_flagship
        self._places = {slot: place for place, slot in enumerate(slots)}
        samples = sorted({sample for _, _, sample in slots})
        self._round_of = {sample: number for number, sample in enumerate(samples, 1)}
        self._standings = {name: Standing(goal) for name, goal in goals.items()}
        flagships = sum(tier == flagship for tier, _, _ in slots)
        self._yardstick = Yardstick(
            min((goal.alpha for goal in goals.values()), default=1.0), flagships
        )
        self._trials: dict[str, list[Trial]] = defaultdict(list)
        self._ended: dict[str, set[tuple[str, int]]] = defaultdict(set)
        #: The samples of each case for which the flagship was spared.
        self._spared: dict[str, set[int]] = defaultdict(set)
        #: The round that `_calls_all` is about.
        self._planned_round = 0
        self._calls_all = False
        self._passed_by = 0
        self._round = 1
        self._group: tuple[str, int] | None = None
        self._asked: set[str] = set()
        self._changed = False
        self._out_of_budget = False
        #: Whether outputs are compared with the flagship's, which takes the flagship's.
        self._compares = False
        #: The candidates that are not called again, and why.
        self.stops: dict[str, Stop] = {}
        #: Whether trials of this prompt ran in another process: nothing can be decided here.
        self.is_scattered = False

    def begins(self, slot: Slot) -> Why | None:
        """Why a trial, whose turn it is, is not to be run; None where it is."""
        tier, case, sample = slot
        if self._places[slot] != self._passed_by:
            self.is_scattered = True
        number = self._round_of[sample]
        if self.is_scattered:
            if self._is_adaptive and number > 1:
                return "scattered"
            return "unseen" if self._spares_flagship and tier == self._flagship else None
        # All trials of a case and round are asked at once, so what one of them says changes
        # nothing for the others.
        if self._group != (case, sample):
            self._group = (case, sample)
            if number > self._round:
                self._judge(complete=True)
                self._round = number
            else:
                self._judge(complete=False)
            self._asked = set(self._standings) - set(self.stops)
        if tier != self._flagship:
            return None if tier in self._asked else self.stops[tier]
        if not self._asked and (number > 1 or self._standings):
            return "not-needed"
        return "spared" if self._spares_flagship and self._is_spared(case, sample) else None

    def left_out(self, slot: Slot, why: Why) -> None:
        """A trial was left out."""
        _, case, sample = slot
        if why == "spared":
            self._spared[case].add(sample)
        self.ended(slot, None)
        if why == "spared":
            self._learn(case)

    def ended(self, slot: Slot, trial: Trial | None) -> None:
        """A trial has ended; None where it says nothing at all."""
        tier, case, sample = slot
        self._passed_by += 1
        if self.is_scattered:
            return
        self._ended[case].add((tier, sample))
        if trial is None:
            return
        self._out_of_budget = self._out_of_budget or trial.budget
        self._compares = self._compares or trial.has_output
        self._trials[case].append(trial)
        self._learn(case)
        # A trial that passed stops nobody before its round is complete.
        is_plain = trial.outcome == "passed" and trial.score is None and not trial.has_output
        self._changed = self._changed or not is_plain

    def may_follow(self, slot: Slot) -> bool:
        """Whether a trial may be asked before its turn: if nothing can stop it any more."""
        tier, case, sample = slot
        if tier == self._flagship and self._spares_flagship:
            return False
        if self.is_scattered:
            return not self._is_adaptive or self._round_of[sample] == 1
        if not self._is_adaptive:
            return self._round_of[sample] == self._round
        # Any other case's trials may turn out not to be needed, and would be paid in vain.
        return (case, sample) == self._group and (tier in self._asked or tier == self._flagship)

    def _learn(self, case: str) -> None:
        """Judge a case anew: a trial can change what another of the same case is worth."""
        by_slot = {
            (trial.tier, trial.sample): trial
            for trial in settle(self._trials[case], self._flagship)
        }
        flagships = [trial for (tier, _), trial in by_slot.items() if tier == self._flagship]
        self._yardstick.put(case, flagships, len(self._spared[case]))
        for name, standing in self._standings.items():
            standing.put(case, self._pairs(name, case, by_slot))

    def _pairs(
        self,
        name: str,
        case: str,
        by_slot: Mapping[tuple[str, int], Trial],
        spared: int | None = None,
    ) -> list[Pair]:
        """A candidate's pairs whose two trials have ended, and that of the sample ``spared``."""
        ended = self._ended[case]
        pairs = [
            Pair(
                case,
                sample,
                by_slot.get((name, sample)),
                by_slot.get((self._flagship, sample)),
                is_spared=sample == spared or sample in self._spared[case],
            )
            for tier, sample in sorted(ended)
            if tier == name and (sample == spared or (self._flagship, sample) in ended)
        ]
        return [pair for pair in pairs if pair.candidate or pair.flagship]

    def _is_spared(self, case: str, sample: int) -> bool:
        """Whether no candidate's result of this case asks for the flagship's."""
        if self._planned_round != self._round:
            self._planned_round = self._round
            self._calls_all = not all(self._is_on_track(name, sample) for name in self._asked)
        if self._calls_all or self._compares:
            return False
        return not any(
            trial.sample == sample
            and trial.tier in self._asked
            and trial.counts
            and trial.worth != 1.0
            for trial in self._trials[case]
        )

    def _is_on_track(self, name: str, sample: int) -> bool:
        """Whether a candidate will do even if the flagship passes wherever it misses."""
        standing = Standing(self._standings[name].goal)
        for case, trials in self._trials.items():
            settled = settle(trials, self._flagship)
            by_slot = {(trial.tier, trial.sample): trial for trial in settled}
            standing.put(case, self._pairs(name, case, by_slot, spared=sample))
        return standing.is_on_track

    def _judge(self, *, complete: bool) -> None:
        """See who needs no more trials."""
        if not self._is_adaptive or not (complete or self._changed):
            return
        stop: Stop | None
        for name in self._standings.keys() - self.stops.keys():
            if complete and self._out_of_budget:
                stop = "limit"
            elif self._yardstick.fails:  # no other verdict counts while it does
                stop = "flagship-fails" if self._yardstick.fails_for_good else None
            elif complete:
                stop = self._standings[name].after_round(self._round)
            else:
                stop = self._standings[name].within_round(self._round)
            if stop is not None:
                self.stops[name] = stop
        self._changed = False
