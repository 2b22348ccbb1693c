"""The search for a prompt's mix, from its trials: what to search, and what a mix has shown."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property

from msgspec import Struct, field

from pytest_tiers import run_costs, verdicts
from pytest_tiers.call_sites import labels_of, stack_of
from pytest_tiers.mix_planner import Shown, Task
from pytest_tiers.mixes import End, Mix, Stopped, site_of
from pytest_tiers.records import CallSite, Trial
from pytest_tiers.settling import settle
from pytest_tiers.standings import Goal, Standing
from pytest_tiers.verdicts import Evidence, Pair

#: Call sites that are searched: those that cost the most. The others stay on the flagship.
MOST_SITES = 8

#: A case and a sample.
Slot = tuple[str, int]


class LadderTrials(Struct, frozen=True, dict=True):
    """A prompt's trials on the tiers of the ladder, from which a search for a mix starts.

    ``trials`` are settled, their calls as they were made; ``tiers`` is the ladder up to the
    flagship. ``left_out`` are the trials (tier, case, sample) that sampling left out, ``cases``
    is how many cases there are. ``blind``: the tests do not see a wrong answer.
    """

    trials: Sequence[Trial]
    tiers: tuple[str, ...]
    margin: float
    alpha: float
    cases: int
    left_out: Collection[tuple[str, str, int]] = ()
    blind: bool = False
    wrappers: Sequence[str] | None = None

    @property
    def flagship(self) -> str:
        """The tier that the others are compared with."""
        return self.tiers[-1]

    @cached_property
    def flagships(self) -> Mapping[Slot, Trial]:
        """The flagship's trials that say something, in the order in which a mix runs them.

        By sample; and as a mix can be stopped early, in no order of cases that their author knew.
        """
        counted = [one for one in self.trials if one.tier == self.flagship and one.counts]
        counted.sort(key=lambda trial: (trial.sample, _digest(trial.case)))
        return {(trial.case, trial.sample): trial for trial in counted}

    @cached_property
    def sites(self) -> tuple[CallSite, ...]:
        """The call sites of the flagship's trials, in the order in which a trial first calls."""
        in_order = sorted(self.flagships.values(), key=lambda trial: (trial.case, trial.sample))
        found = labels_of(in_order, self.wrappers)
        called = self._calls(self.flagship, found)

        def weight(key: str) -> tuple[Decimal, int, str]:
            return -sum(called[key].usd, Decimal(0)), -called[key].number, key

        kept = sorted(called, key=weight)[:MOST_SITES]
        return tuple(CallSite(label, key) for key, label in found.items() if key in kept)

    @property
    def goal(self) -> Goal:
        """What a mix is to show."""
        rounds = len({sample for _, sample in self.flagships})
        return Goal(self.cases, max(1, rounds), self.margin, self.alpha, among=1)

    @property
    def obstacle(self) -> End | None:
        """Why there is nothing to search."""
        if not self.flagships:
            return "no-answers"
        if len(self.sites) < 2:
            return "one-site"
        failed = sum(not trial.is_success for trial in self.flagships.values())
        if verdicts.flagship_fails(failed, len(self.flagships)):
            return "flagship-fails"
        return "blind" if self.blind else None

    def task(self) -> Task:
        """What to search."""
        keys = tuple(site.key for site in self.sites)
        called = {tier: self._calls(tier, keys) for tier in self.tiers}
        flagship = called[self.flagship]
        runs = sum(trial.counts for trial in self.flagships.values())
        in_usd = all(each.each for each in flagship.values()) and all(
            _ratio(called[tier], flagship) is not None for tier in self.tiers
        )
        return Task(
            keys,
            self.tiers,
            {
                (key, tier): (
                    _expected(key, called[tier], flagship) / runs if in_usd else Decimal(rank + 1)
                )
                for rank, tier in enumerate(self.tiers)
                for key in keys
            },
            in_usd,
            self.alpha,
            self.goal.has_enough_cases,
        )

    @property
    def calls_of_all(self) -> int:
        """How many calls of models it takes to run all cases and samples once, on the flagship."""
        return sum(len(trial.tier_calls) for trial in self.flagships.values())

    def _calls(self, tier: str, sites: Container[str]) -> dict[str, _Calls]:
        """What a tier's trials called from each site."""
        found: defaultdict[str, _Calls] = defaultdict(_Calls)
        for trial in self.trials:
            if trial.tier != tier or not trial.counts:
                continue
            for call in trial.tier_calls:
                if (site := site_of(stack_of(call), sites)) is not None:
                    found[site].number += 1
                    usd = (
                        call.cost_usd if call.uncached_cost_usd is None else call.uncached_cost_usd
                    )
                    found[site].usd += [] if usd is None else [usd]
        return dict(found)

    def shown(self, name: str, trials: Iterable[Trial] = (), stopped: bool = False) -> Shown:
        """What the trials of a mix show, or those of a tier of the ladder."""
        evidence = self.evidence(name, trials, stopped)
        compared = evidence.comparison
        costs = run_costs.paired_costs(
            run_costs.run_costs([*trials, *(one for one in self.trials if one.tier == name)]),
            run_costs.run_costs(list(self.flagships.values())),
        )
        return Shown(
            evidence.log_cases if evidence.undecided else -math.inf,
            evidence.undecided
            and compared.difference is not None
            and compared.difference >= 0
            and not compared.missing_trials,
            costs.candidate,
        )

    def evidence(self, name: str, trials: Iterable[Trial] = (), stopped: bool = False) -> Evidence:
        """As `verdicts.gather`, of a mix or of a tier of the ladder.

        What a mix that was ``stopped`` did not run is not missing.
        """
        settled = settle([*self.trials, *trials], self.flagship)
        run = {(one.case, one.sample) for one in settled if one.tier == name}
        left = {(name, *slot) for slot in self.flagships if slot not in run} if stopped else set()
        return verdicts.gather(
            settled,
            candidate=name,
            flagship=self.flagship,
            margin=self.margin,
            alpha=self.alpha,
            planned_cases=self.cases,
            not_asked={*self.left_out, *left},
        )


def _digest(case: str) -> str:
    return hashlib.sha256(case.encode("utf-8", "surrogatepass")).hexdigest()


class _Calls(Struct):
    """Calls from one site: how many, and what those that are priced cost each in USD."""

    number: int = 0
    usd: list[Decimal] = field(default_factory=list)

    @property
    def each(self) -> Decimal | None:
        """What a call costs; None where that is unknown."""
        return run_costs.mean(self.usd)


def _ratio(tier: Mapping[str, _Calls], flagship: Mapping[str, _Calls]) -> Decimal | None:
    """What a tier's calls cost as a share of the flagship's, over the sites that both called."""
    both = [
        (tier[key].each, flagship[key].each) for key in flagship if key in tier and tier[key].each
    ]
    theirs = sum((cost for _, cost in both if cost), Decimal(0))
    return sum((cost for cost, _ in both if cost), Decimal(0)) / theirs if theirs else None


def _expected(key: str, tier: Mapping[str, _Calls], flagship: Mapping[str, _Calls]) -> Decimal:
    """What a tier's calls from a site cost in all runs, if it is called as on the flagship.

    Where the tier was not called there, by what it costs elsewhere.
    """
    each, yardstick = tier[key].each if key in tier else None, flagship[key].each
    if each is None:
        ratio = _ratio(tier, flagship)
        assert ratio is not None
        assert yardstick is not None
        each = yardstick * ratio
    return each * flagship[key].number


class MixRun:
    """One run of a mix while it goes on: what is to be run, and when it need not go on."""

    def __init__(self, ladder: LadderTrials, mix: Mix) -> None:
        self.mix = mix
        self._ladder, self._standing = ladder, Standing(ladder.goal)
        samples = sorted({sample for _, sample in ladder.flagships})
        self._rounds = {sample: number for number, sample in enumerate(samples, 1)}
        self._pairs: defaultdict[str, list[Pair]] = defaultdict(list)
        self.trials: list[Trial] = []
        self.calls = 0
        self.stopped: Stopped | None = None

    def put(self, slot: Slot, trial: Trial | None, calls: int) -> None:
        """Learn what became of a trial: None where its test was skipped; ``calls`` were new."""
        case, sample = slot
        self.calls += calls
        if trial is not None:
            self.trials.append(trial)
        flagship = self._ladder.flagships[slot]
        of_case = [one for one in self.trials if one.case == case]
        settled = {
            (one.tier, one.sample): one for one in settle([flagship, *of_case], flagship.tier)
        }
        self._pairs[case].append(Pair(case, sample, settled.get((self.mix.name, sample)), flagship))
        self._standing.put(case, self._pairs[case])
        if len(self.trials) < len(self._ladder.flagships):
            stop = self._standing.within_round(self._rounds[sample])
            self.stopped = stop if stop in ("worse", "behind", "out-of-reach") else None

    @property
    def shown(self) -> Shown:
        """What it has shown so far."""
        return self._ladder.shown(self.mix.name, self.trials, self.stopped is not None)
