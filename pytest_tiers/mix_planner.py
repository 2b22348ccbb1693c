"""Which mix of a prompt to run next, from what those before have shown: numbers in, a mix out.

The cheapest mixes come first, by what each call site costs on each tier. A mix of several cheaper
steps is run when each of its steps has held alone; and what holds alone need not hold together, so
only its own joint run confirms it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.mixes import Mix

#: Mixes put forward in vain after which a search gives up: each costs evidence and money.
MOST_FAILED_RUNS = 12


class Shown(Struct, frozen=True):
    """What the run of a mix has shown.

    ``log_evidence`` is the log e-value against "worse by more than the margin", ``agrees`` that
    all is there and the mean shows no drop. ``usd`` is what a run costs, None where unknown.
    """

    log_evidence: float
    agrees: bool
    usd: Decimal | None = None

    @property
    def refused(self) -> Shown:
        """The same of a mix that is no choice, whatever it has shown."""
        return replace(self, log_evidence=-math.inf, agrees=False)


class Task(Struct, frozen=True):
    """What to search: ``sites`` (keys) times ``tiers``, which are the ladder up to the flagship.

    ``expected`` is what the calls from a site cost on a tier in a run: in USD where ``in_usd``,
    else in ranks of the ladder. ``is_large``: the prompt has enough cases for a mix to become
    safe. Else a mix holds as long as no drop is seen, which proves nothing.
    """

    sites: tuple[str, ...]
    tiers: tuple[str, ...]
    expected: Mapping[tuple[str, str], Decimal]
    in_usd: bool
    alpha: float
    is_large: bool

    @property
    def flagship(self) -> str:
        """The tier that the others are compared with."""
        return self.tiers[-1]

    def mix(self, tiers: Mapping[str, str]) -> Mix:
        """The mix with these tiers at some sites, the flagship at the others."""
        return Mix.of({**dict.fromkeys(self.sites, self.flagship), **tiers})

    def on(self, tier: str) -> Mix:
        """The whole prompt on one tier, which the ladder's own trials have run."""
        return self.mix(dict.fromkeys(self.sites, tier))

    def cost(self, mix: Mix) -> Decimal:
        """What a run of the mix is expected to cost."""
        return sum((self.expected[step] for step in mix.steps), Decimal(0))

    def holds(self, shown: Shown, among: int) -> bool:
        """Whether a mix is as good as the flagship, as one of so many put forward."""
        if not self.is_large:
            return shown.agrees
        return statistics.reaches(shown.log_evidence, math.log(among / self.alpha))

    @property
    def exhaustive(self) -> int:
        """How many mixes there are, without those that the ladder's own trials have run."""
        return int(len(self.tiers) ** len(self.sites) - len(self.tiers))

    @property
    def most_runs(self) -> int:
        """How many mixes a search runs at most."""
        alone = len(self.sites) * (len(self.tiers) - 1)
        return min(alone + MOST_FAILED_RUNS, self.exhaustive)


class Stand(Struct, frozen=True):
    """Where a search stands: the mix to run ``next``, None at its end.

    ``put_forward`` are the mixes that were to be adopted, one after the other, each if those
    before did not hold; the last of them may be ``next``. ``held`` did: at the end the cheapest
    of them is the one. ``has_tried_most``: it gave up.
    """

    next: Mix | None
    put_forward: tuple[Mix, ...]
    held: Mix | None
    has_tried_most: bool = False


def stand(task: Task, shown: Mapping[Mix, Shown]) -> Stand:
    """Where the search stands, from everything ``shown`` so far, whole tiers included.

    The same for the same results, in whatever order they came.
    """
    put_forward: list[Mix] = []
    failed: list[frozenset[tuple[str, str]]] = []
    whole = [task.on(tier) for tier in task.tiers[:-1]]
    held = next((mix for mix in whole if mix in shown and task.holds(shown[mix], 1)), None)
    for mix in _cheapest_first(task, _options(task, shown)):
        if held is not None and task.cost(mix) >= _cost(task, held, shown):
            break
        changes = mix.changes(task.flagship)
        if mix in whole or any(combination <= changes for combination in failed):
            continue
        steps = sorted(changes, key=lambda step: (_saving(task, step), step), reverse=True)
        alone = (task.mix(dict([step])) for step in steps)
        if (unknown := next((each for each in alone if each not in shown), None)) is not None:
            return Stand(unknown, tuple(put_forward), held)
        if len(failed) == MOST_FAILED_RUNS:
            return Stand(None, tuple(put_forward), held, has_tried_most=True)
        put_forward.append(mix)
        if mix not in shown:
            return Stand(mix, tuple(put_forward), held)
        if not task.holds(shown[mix], len(put_forward)):
            failed.append(changes)
        elif held is None or _cost(task, mix, shown) < _cost(task, held, shown):
            held = mix
    return Stand(None, tuple(put_forward), held)


def _cost(task: Task, mix: Mix, shown: Mapping[Mix, Shown]) -> Decimal:
    """What a mix cost when it ran, as far as that is known."""
    usd = shown[mix].usd
    return usd if task.in_usd and usd is not None else task.cost(mix)


def _options(task: Task, shown: Mapping[Mix, Shown]) -> list[list[str]]:
    """For each site the tiers that may be tried there, cheapest first, the flagship last.

    Without those that cost no less than the flagship, and those that did not hold alone.
    """
    options = []
    for site in task.sites:
        cheaper = [
            tier
            for tier in task.tiers[:-1]
            if _saving(task, (site, tier)) > 0
            and (
                (alone := task.mix({site: tier})) not in shown or task.holds(shown[alone], among=1)
            )
        ]
        cheaper.sort(key=lambda tier, site=site: task.expected[site, tier])  # type: ignore[misc]
        options.append([*cheaper, task.flagship])
    return options


def _saving(task: Task, step: tuple[str, str]) -> Decimal:
    return task.expected[step[0], task.flagship] - task.expected[step]


def _cheapest_first(task: Task, options: Sequence[Sequence[str]]) -> Iterator[Mix]:
    """All mixes of the options by expected cost, without the flagship alone.

    Each after the mixes that it follows from by one more costly step, so that they need not all
    be made to find the first.
    """

    def entry(chosen: tuple[int, ...]) -> tuple[Decimal, tuple[int, ...], Mix]:
        tiers = (of_site[number] for of_site, number in zip(options, chosen, strict=True))
        mix = Mix.of(dict(zip(task.sites, tiers, strict=True)))
        return task.cost(mix), chosen, mix

    first = tuple(0 for _ in options)
    waiting, seen = [entry(first)], {first}
    while waiting:
        _, chosen, mix = heapq.heappop(waiting)
        if mix.changes(task.flagship):
            yield mix
        for site, number in enumerate(chosen):
            following = (*chosen[:site], number + 1, *chosen[site + 1 :])
            if number + 1 < len(options[site]) and following not in seen:
                seen.add(following)
                heapq.heappush(waiting, entry(following))
