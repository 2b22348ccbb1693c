"""Which trials of a prompt are still needed, while they run one after the other.

A round is one sample of all cases of the prompt on all tiers. Why the verdicts stay valid when
sampling stops: docs/verdicts.md, "As few samples as it takes".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Literal

from pytest_tiers.history import recorded_at
from pytest_tiers.records import Trial
from pytest_tiers.settling import settle
from pytest_tiers.standings import Goal, Standing, Stop, Yardstick
from pytest_tiers.verdicts import Pair

#: Why a trial is not run: its candidate was stopped; it is the flagship's, and no candidate needs
#: it (``not-needed``), or what the candidates did with this case says enough (``spared``). Where
#: the trials before it ran in another process, a further sample is ``scattered``, and a flagship
#: that might be spared ``unseen``.
Why = Stop | Literal["not-needed", "spared", "scattered", "unseen"]

#: Tier, case, sample of one prompt.
Slot = tuple[str, str, int]


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
        recorded_before: Callable[[Slot], str] = lambda _: "",
        has_steps: Callable[[Iterable[Trial]], bool] = lambda _: False,
    ) -> None:
        """``slots`` in the order in which they run; ``goals`` by candidate.

        ``is_adaptive``: rounds go on only as long as they are needed. ``spares_flagship``: it
        is called only where the candidates' results of the round ask for it; its trials
        come last in each round. ``recorded_before``: when the answers of a trial to come were
        recorded (ISO 8601, UTC), "" where they were not. ``has_steps``: whether these trials of
        the flagship show a prompt whose mix of tiers is searched, for which it answers each case.
        """
        self._has_steps = has_steps
        self._flagship, self._recorded_before = flagship, recorded_before
        self._is_adaptive, self._spares_flagship = is_adaptive, spares_flagship
        self._places = {slot: place for place, slot in enumerate(slots)}
        samples = sorted({sample for _, _, sample in slots})
        self._round_of = {sample: number for number, sample in enumerate(samples, 1)}
        self._standings = {name: Standing(goal) for name, goal in goals.items()}
        #: By candidate, as soon as its first round is complete.
        self._looks_from: dict[str, int] = {}
        flagships = sum(tier == flagship for tier, _, _ in slots)
        self._yardstick = Yardstick(
            min((goal.alpha for goal in goals.values()), default=1.0), flagships
        )
        self._trials: dict[str, list[Trial]] = defaultdict(list)
        self._ended: dict[str, set[tuple[str, int]]] = defaultdict(set)
        #: The samples of each case for which the flagship was spared.
        self._spared: dict[str, set[int]] = defaultdict(set)
        #: The round that `_calls_all` and `_in_doubt` are about.
        self._planned_round = 0
        self._calls_all = False
        #: The candidates whose verdict the flagship can change.
        self._in_doubt: set[str] = set()
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

    def is_certain(self, slot: Slot) -> bool:
        """Whether a trial will run, whatever the others say."""
        tier, _, sample = slot
        is_first = not self._is_adaptive or self._round_of[sample] == 1
        return is_first and not (self._spares_flagship and tier == self._flagship)

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
            return None if number == 1 and self._is_searched else "not-needed"
        return "spared" if self._spares_flagship and self._is_spared(case, sample) else None

    @property
    def _is_searched(self) -> bool:
        """Whether the flagship is compared with a mix of tiers when no candidate needs it."""
        if not {"flagship-fails", "limit"}.isdisjoint(self.stops.values()):
            return False
        trials = chain.from_iterable(self._trials.values())
        return self._has_steps(trial for trial in trials if trial.tier == self._flagship)

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

    def _first_look(self, name: str) -> int:
        """The round from which on a candidate may be decided.

        Cases that joined the prompt when others had several samples first catch up with them:
        looks that begin again at the first sample whenever cases are added would be too many for
        the promised confidence.
        """
        if name not in self._looks_from:
            first = {
                case: recorded_at(trial)
                for case, trials in self._trials.items()
                for trial in trials
                if trial.tier == name and self._round_of[trial.sample] == 1
            }
            latest = max(first.values(), default="")
            self._looks_from[name] = max(
                (self._rounds_before(name, case, at, latest) for case, at in first.items()),
                default=1,
            )
        return self._looks_from[name]

    def _rounds_before(self, name: str, case: str, first: str, latest: str) -> int:
        """How many samples of a case had been taken, in order, when another joined the prompt."""
        rounds, previous = 1, first
        for sample, number in self._round_of.items():
            if number > 1:
                at = self._recorded_before((name, case, sample))
                if not (at and previous <= at < latest):
                    break
                rounds, previous = number, at
        return rounds

    def _is_spared(self, case: str, sample: int) -> bool:
        """Whether no candidate's result of this case asks for the flagship's."""
        if self._planned_round != self._round:
            self._planned_round = self._round
            self._in_doubt = {name for name in self._asked if not self._refuses(name)}
            self._calls_all = not all(self._is_on_track(name, sample) for name in self._in_doubt)
        if self._calls_all or self._compares:
            return False
        return not any(
            trial.sample == sample
            and trial.tier in self._in_doubt
            and trial.counts
            and trial.worth != 1.0
            for trial in self._trials[case]
        )

    def _refuses(self, name: str) -> bool:
        """Whether a candidate refused all that it answered: it is `unsupported` by itself."""
        outcomes = {
            trial.outcome
            for trials in self._trials.values()
            for trial in trials
            if trial.tier == name and trial.counts
        }
        return outcomes == {"unsupported"}

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
                if stop == "decided" and self._round < self._first_look(name):
                    stop = None
            else:
                stop = self._standings[name].within_round(self._round)
            if stop is not None:
                self.stops[name] = stop
        self._changed = False
