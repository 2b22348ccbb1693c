"""Whether a locked tier's pass rate fell, on evidence: fresh answers vary, and a few misses are
no proof.

A rate is tested with the bets of `pytest_tiers.statistics`: e-values, which may be looked at after
every run. Over all prompts of the gate they share one e-BH step, so that a suite of many prompts
does not fail for one fluke.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.findings import GateReason, PromptSummary
from pytest_tiers.nights import accumulate, pass_rates
from pytest_tiers.records import LockEntry, Night, Trial

#: The probability with which the drop that is named would have been caught.
POWER = 0.80

#: A floor of 1 is disproved by one miss, which the bets can only say of a floor just below.
_HIGHEST_FLOOR = 1 - 1e-9

_ACCURACY = 1e-4


class RateTest(Struct, frozen=True):
    """One question about one prompt: is its pass rate below a floor, or below the flagship's?

    ``log_evidence`` is the natural log of the e-value for that, ``seems_so`` whether the estimate
    says so. ``cases`` were run; ``log_evidence_of`` gives what so many misses among them would be.
    """

    reason: GateReason
    log_evidence: float
    seems_so: bool
    cases: int
    log_evidence_of: Callable[[int], float]
    before: float


class Outcome(Struct, frozen=True):
    """``proven`` reasons fail a run, the others only look so. ``power`` is the smallest drop of
    each tested prompt that would have been caught; None where no drop would.
    """

    proven: tuple[GateReason, ...]
    not_proven: tuple[GateReason, ...]
    power: tuple[tuple[str, float | None], ...]


def rate_tests(
    prompt: PromptSummary,
    tier: str,
    trials: Iterable[Trial],
    entry: LockEntry | None,
    nights: Sequence[Night] = (),
) -> list[RateTest]:
    """The questions about one prompt on the tier that production runs it on.

    ``nights`` are earlier fresh answers that count with this run's, the last of them.
    """
    trials = [trial for trial in trials if trial.counts]
    tests = []
    floor = floor_of(prompt, entry)
    if trials and floor is not None:
        tests.append(_against_floor(prompt, tier, trials, floor, entry, nights))
    elif entry is not None and _is_asked_alone(prompt, trials) and entry.pass_rate_at_least:
        floor = entry.pass_rate_at_least
        tests.append(_against_floor(prompt, tier, trials, floor, entry, nights, "dropped"))
    comparison = prompt.comparisons.get(tier)
    # What somebody accepted without proof is not held against it, nor what was proven against a
    # model that is no more.
    if comparison is not None and comparison.cases and entry is not None and entry.is_proven:
        margin, pairs = comparison.margin, comparison.pairs

        def worse(misses: int) -> float:
            if misses <= margin * pairs:
                return -math.inf
            tally = ((-1.0, misses), (0.0, pairs - misses))
            return statistics.log_evidence_worse(tally, 0.0)

        difference, log_worse = comparison.difference or 0.0, comparison.log_evidence_worse
        differences = [
            night.differences
            for night in nights
            if night.differences and night.versus == nights[-1].versus
        ]
        together = None
        if len(differences) > 1:
            together = accumulate(differences, _log_worse)
            difference, log_worse = together.mean, together.log_evidence
        seems_so = difference < -margin
        tests.append(
            RateTest(
                GateReason(
                    "worse",
                    prompt.id,
                    tier,
                    rate=difference,
                    floor=-margin,
                    nodeid=trials[0].nodeid if trials else None,
                    nights=together.nights if together else 1,
                ),
                log_worse if seems_so and log_worse is not None else -math.inf,
                seems_so,
                pairs,
                worse,
                before=1.0,
            )
        )
    return tests


def of_part(test: RateTest) -> RateTest:
    """The question about a prompt of which only chosen cases ran: they do not speak for all."""
    return replace(
        test,
        reason=replace(test.reason, only="part"),
        log_evidence=-math.inf,
        log_evidence_of=lambda _: -math.inf,
    )


def floor_of(prompt: PromptSummary, entry: LockEntry | None) -> float | None:
    """The pass rate that a prompt must not fall below; None where nobody said.

    "auto" is the locked rate, as far as it was known: its lower bound. The estimate itself may
    have been luck.
    """
    if prompt.min_pass_rate == "auto":
        return None if entry is None else entry.pass_rate_at_least
    return prompt.min_pass_rate


def conclude(tests: Iterable[RateTest], prompts: int, alpha: float) -> Outcome:
    """Which answers hold together, at 1 − ``alpha``, among all ``prompts`` of the gate."""
    tests = list(tests)
    among = max(prompts, len(tests))
    _, threshold = statistics.e_bh([test.log_evidence for test in tests], among, alpha)
    proven = [test for test in tests if statistics.reaches(test.log_evidence, threshold)]
    others = [test for test in tests if test.seems_so and test not in proven]
    needed = statistics.log_e_bh_threshold(1, among, alpha) if tests else 0.0
    smallest: defaultdict[str, list[float]] = defaultdict(list)
    for test in tests:
        drop = detectable_drop(test, needed)
        smallest[test.reason.prompt] += [] if drop is None else [drop]
    return Outcome(
        tuple(test.reason for test in proven),
        tuple(test.reason for test in others),
        tuple((prompt, min(drops, default=None)) for prompt, drops in smallest.items()),
    )


def detectable_drop(test: RateTest, log_needed: float) -> float | None:
    """The smallest drop below ``before`` that so many cases prove with 80% power, else None.

    Cases miss independently; the number of misses is binomial.
    """
    enough = next(
        (
            misses
            for misses in range(test.cases + 1)
            if statistics.reaches(test.log_evidence_of(misses), log_needed)
        ),
        None,
    )
    if enough is None:
        return None
    low, high = 0.0, 1.0
    while high - low > _ACCURACY:
        middle = (low + high) / 2
        low, high = (low, middle) if _tail(test.cases, middle, enough) >= POWER else (middle, high)
    return max(0.0, high - (1 - test.before))


def _tail(trials: int, probability: float, least: int) -> float:
    """P(X ≥ ``least``) of a binomial X."""
    if least == 0:
        return 1.0
    if probability in (0.0, 1.0):
        return probability
    log_p, log_q = math.log(probability), math.log1p(-probability)
    return math.fsum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(hits + 1)
            - math.lgamma(trials - hits + 1)
            + hits * log_p
            + (trials - hits) * log_q
        )
        for hits in range(least, trials + 1)
    )


def _is_asked_alone(prompt: PromptSummary, trials: Sequence[Trial]) -> bool:
    """Whether the tier was asked anew with no flagship beside it.

    Then the rate that it was locked with is the yardstick.
    """
    return not prompt.comparisons and bool(trials) and not any(each.replayed for each in trials)


def _log_worse(differences: statistics.Tally) -> float:
    return statistics.log_evidence_worse(differences, 0.0)


def _against_floor(
    prompt: PromptSummary,
    tier: str,
    trials: list[Trial],
    floor: float,
    entry: LockEntry | None,
    nights: Sequence[Night],
    kind: Literal["below", "dropped"] = "below",
) -> RateTest:
    bar = min(floor, _HIGHEST_FLOOR)
    rates = pass_rates(trials)
    cases = sum(number for _, number in rates)
    each_night = [night.rates for night in nights] if len(nights) > 1 else [rates]
    found = accumulate(
        [tuple((-rate, number) for rate, number in reversed(night)) for night in each_night],
        lambda tally: statistics.log_evidence(tally, bar),
    )
    estimate = -found.mean

    def below(misses: int) -> float:
        passed = cases - misses
        return statistics.log_evidence(((-1.0, passed), (0.0, misses)), bar)

    locked = None if entry is None else entry.pass_rate
    first = next((trial for trial in trials if trial.outcome != "passed"), trials[0])
    return RateTest(
        GateReason(
            kind,
            prompt.id,
            tier,
            rate=estimate,
            floor=floor,
            nodeid=first.nodeid,
            nights=found.nights,
        ),
        found.log_evidence,
        estimate < floor,
        cases,
        below,
        before=max(floor, estimate if locked is None else locked),
    )
