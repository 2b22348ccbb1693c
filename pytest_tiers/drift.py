"""What changed since the last recording, where one is replaced: the model, not the test.

Both recordings are judged by the same test (`pytest_tiers.records.Earlier`), trial by trial, so
that a trial is its own yardstick. If nothing changed, which of its two results is the better one
is chance: the bets of `pytest_tiers.statistics` on the differences are an e-value against that, in
either direction half of the stake, and all prompts and tiers of the run share one e-BH step.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby, pairwise
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.agreements import plainly
from pytest_tiers.records import Earlier, Trial

#: Cases whose answers changed that are kept for reports.
_MOST_EXAMPLES = 5

#: What of a trial is compared besides its result and its cost.
_MEASURES = ("input_tokens", "output_tokens", "seconds")

#: A trial, its earlier answers, and its new ones.
_Pair = tuple[Trial, Earlier, Earlier]


class Drift(Struct, frozen=True):
    """What changed between two recordings of one prompt on one tier, in pairs of the same trial.

    Both sides are judged by today's test. Of ``pairs``, ``worse`` and ``better`` end differently
    now; ``verdict`` says whether that is more than chance, with ``log_evidence`` the natural log of
    the e-value against "no change". ``unknown`` trials were recorded before and cannot be compared.
    ``outputs_changed`` of the pairs answer differently; so do ``outputs_vary`` (a share) of two
    fresh samples of a case, None where there is one sample. ``before`` and ``now`` are means of a
    trial by name (``input_tokens``, ``output_tokens``, ``seconds``), over pairs in which both are
    known, ``usd_before`` and ``usd_now`` those of its cost. ``since`` are the first and the last
    day of the earlier answers. ``examples`` are cases with samples that answer differently, and
    how.
    """

    prompt: str
    tier: str
    pairs: int
    unknown: int
    passed_before: int
    passed_now: int
    worse: int
    better: int
    difference: float | None
    log_evidence: float
    verdict: Literal["worse", "better", "not-proven", "same", "unknown"]
    outputs_changed: int
    outputs_vary: float | None
    before: Mapping[str, float]
    now: Mapping[str, float]
    usd_before: Decimal | None
    usd_now: Decimal | None
    since: tuple[str, str] | None
    examples: tuple[tuple[str, int, str], ...] = ()


def drifts(trials: Iterable[Trial], alpha: float) -> tuple[Drift, ...]:
    """What changed of each prompt and tier, in the order of ``trials``, at 1 − ``alpha``.

    Empty where no recording was replaced.
    """
    by_prompt: defaultdict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.earlier is not None:
            by_prompt[trial.prompt, trial.tier].append(trial)
    found = [_drift(*key, group) for key, group in by_prompt.items()]
    tested = [one for one in found if one.pairs]
    if not tested:
        return tuple(found)
    logs = [one.log_evidence for one in tested]
    _, threshold = statistics.e_bh(logs, len(logs), alpha)
    return tuple(_decided(one, threshold) for one in found)


def _decided(drift: Drift, threshold: float) -> Drift:
    if not drift.pairs:
        return drift
    if not (drift.worse or drift.better):
        return replace(drift, verdict="same")
    if statistics.reaches(drift.log_evidence, threshold):
        return replace(drift, verdict="worse" if (drift.difference or 0.0) < 0 else "better")
    return drift


def _drift(prompt: str, tier: str, trials: Sequence[Trial]) -> Drift:
    pairs = [
        (trial, before, now)
        for trial in trials
        if (before := trial.earlier) is not None
        and before.worth is not None
        and (now := Earlier.of(trial)).worth is not None
    ]
    # Exact: scores are few different numbers, and pytest's order must not matter.
    differences = [(now.worth or 0.0) - (before.worth or 0.0) for _, before, now in pairs]
    tally = statistics.tally(differences)
    both = [
        statistics.log_evidence_worse(each, 0.0)
        for each in (tally, statistics.tally(-value for value in differences))
    ]
    highest = max(both)
    changed = list(_changed(pairs))
    days = sorted(before.recorded_at[:10] for _, before, _ in pairs if before.recorded_at)
    measured = {name: _means(pairs, name) for name in _MEASURES}
    costs = [(before.cost_usd, now.cost_usd) for _, before, now in pairs]
    priced = [each for each in costs if None not in each]
    known = {name: means for name, means in measured.items() if means is not None}
    return Drift(
        prompt=prompt,
        tier=tier,
        pairs=len(pairs),
        unknown=len(trials) - len(pairs),
        passed_before=sum(before.outcome == "passed" for _, before, _ in pairs),
        passed_now=sum(now.outcome == "passed" for _, _, now in pairs),
        worse=sum(value < 0 for value in differences),
        better=sum(value > 0 for value in differences),
        difference=statistics.mean(tally) if tally else None,
        log_evidence=highest
        + math.log(math.fsum(math.exp(each - highest) for each in both) / len(both)),
        verdict="not-proven" if pairs else "unknown",
        outputs_changed=len(changed),
        outputs_vary=_vary(trials),
        before={name: means[0] for name, means in known.items()},
        now={name: means[1] for name, means in known.items()},
        usd_before=_mean_cost(before for before, _ in priced),
        usd_now=_mean_cost(now for _, now in priced),
        since=(days[0], days[-1]) if days else None,
        examples=tuple(changed[:_MOST_EXAMPLES]),
    )


def _changed(pairs: Iterable[_Pair]) -> Iterator[tuple[str, int, str]]:
    """Case and sample of each pair that answers differently, with the difference."""
    for trial, before, now in pairs:
        if (difference := _difference(before.answer, now.answer)) is not None:
            yield trial.case, trial.sample, difference


def _difference(before: str | None, now: str | None) -> str | None:
    """What differs, by DeepDiff where both are JSON; None where nothing does but white space."""
    if before is None or now is None:
        return None if before is now else f"{_shown(before)} -> {_shown(now)}"
    ours, theirs = _parsed(before), _parsed(now)
    if ours is not None and theirs is not None:
        degree = plainly("deep", ours, theirs, {})
        return degree.difference if degree.value == 0.0 else None
    return None if plainly("text", before, now, {}).value else f"{_shown(before)} -> {_shown(now)}"


def _parsed(text: str) -> object:
    """The JSON object or list that a text is, else None."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _shown(answer: str | None) -> str:
    text = " ".join((answer or "no answer").split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _vary(trials: Iterable[Trial]) -> float | None:
    """The share of neighbouring samples of a case that answer differently, now."""
    ordered = sorted(trials, key=lambda trial: (trial.case, trial.sample))
    found = [
        _difference(one.answer, other.answer) is not None
        for _, group in groupby(ordered, key=lambda trial: trial.case)
        for one, other in pairwise(each for each in group if each.counts)
    ]
    return sum(found) / len(found) if found else None


def _means(pairs: Iterable[_Pair], field: str) -> tuple[float, float] | None:
    """The mean before and now, of the pairs in which both are known."""
    values = [(getattr(before, field), getattr(now, field)) for _, before, now in pairs]
    known = [(float(one), float(other)) for one, other in values if None not in (one, other)]
    if not known:
        return None
    sums = [math.fsum(each) for each in zip(*known, strict=True)]
    return sums[0] / len(known), sums[1] / len(known)


def _mean_cost(costs: Iterable[Decimal | None]) -> Decimal | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) / len(known) if known else None
