"""How a candidate of a prompt stands while samples are taken, and what it could still come to.

By the formulas of the verdicts.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers import statistics, verdicts
from pytest_tiers.records import Trial
from pytest_tiers.settings import FLAGSHIP_MAY_MISS
from pytest_tiers.statistics import Tally
from pytest_tiers.verdicts import Pair

#: Why a candidate is not called again. ``decided``: it has the best verdict that more samples can
#: bring. ``out-of-reach``: neither `safe` nor `matches` can be reached, even if all further trials
#: agree; ``behind``: as things go neither will be, and that is hardly an accident. ``limit``: the
#: cost or call limit was reached.
Stop = Literal[
    "decided", "worse", "unsupported", "flagship-fails", "out-of-reach", "behind", "limit"
]

#: How many equal candidates are given up as too far behind, at the most.
_GIVEN_UP = 0.10


class Goal(Struct, frozen=True):
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
        log_worse = statistics.log_evidence_worse(self._highest.pairs(), 0.0)
        return verdicts.proves_worse(
            self._highest_difference, log_worse, self.goal.margin, self.goal.alpha
        )

    @property
    def is_behind(self) -> bool:
        """Whether paying on for `safe` or `matches` is no longer worth it.

        Said only of who could come to something at all.
        """
        return self.goal.is_within_reach and is_behind(
            self._highest_difference, self._highest.pairs(), self.goal.margin
        )

    @property
    def _highest_difference(self) -> float:
        """The mean difference, at the most; 0.0 without any."""
        cases = self._highest.cases()
        return statistics.mean(cases) if cases else 0.0

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
        if self.is_behind:
            return "behind"
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
        if self.is_behind:
            return "behind"
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


def is_behind(difference: float, pairs: Tally, margin: float) -> bool:
    """Whether a mean difference and the pairs' mean: too far behind to become `safe`.

    A mean below −margin loses each bet on `safe` and `matches`, so neither is ever reached as
    things go. An equal candidate gets there in at most `_GIVEN_UP` of all runs, whenever one
    looks.
    """
    log_e = statistics.log_evidence_worse_hedged(pairs)
    return difference < -margin and statistics.reaches(log_e, statistics.log_needed(_GIVEN_UP))


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
