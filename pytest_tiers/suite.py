"""One statement about a candidate over all prompts of a run, from all their cases together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pytest_tiers import statistics
from pytest_tiers.findings import SuiteFinding
from pytest_tiers.statistics import Tally
from pytest_tiers.verdicts import Comparison, Evidence, Verdict

#: Verdicts that say that the tests tell nothing: agreement there must not dilute what others show.
_TELL_NOTHING: frozenset[Verdict] = frozenset({"flagship-fails", "blind"})

#: Verdicts that say that the candidate cannot take over.
_WORSE: frozenset[Verdict] = frozenset({"worse", "unsupported"})


def suite_finding(
    evidence: Mapping[str, Evidence], comparisons: Mapping[str, Comparison], alpha: float
) -> SuiteFinding | None:
    """What all cases together say about one candidate, from its evidence by prompt.

    None with fewer than two prompts. The e-value over all cases is valid for the average over
    prompts, each weighted by its number of cases: where the mean of all cases' expectations is
    below −m, the expectation of the product of bets is at most 1, since the geometric mean of its
    factors is at most their arithmetic mean. Cases without an answer count against the candidate
    where that is worse than leaving them out; so do those that it was not tried on because it
    was proven worse before, which must not make the prompt weigh less.
    """
    counted = sorted(
        prompt
        for prompt in evidence
        if comparisons[prompt].verdict not in _TELL_NOTHING and not comparisons[prompt].made_anew
    )
    if len(counted) < 2:
        return None
    cases = _pooled(evidence[prompt].cases for prompt in counted)
    unasked = sum(evidence[prompt].unasked_cases for prompt in counted)
    cautious = _pooled(
        [*(evidence[prompt].cautious_cases for prompt in counted), ((-1.0, unasked),)]
        if unasked
        else (evidence[prompt].cautious_cases for prompt in counted)
    )
    number = sum(count for _, count in cases)
    return SuiteFinding(
        tier=comparisons[counted[0]].tier,
        flagship=comparisons[counted[0]].flagship,
        prompts=len(counted),
        cases=number,
        difference=statistics.mean(cases) if number else None,
        largest_drop=max(statistics.largest_drop(each, alpha) for each in (cases, cautious)),
        worse=tuple(prompt for prompt in counted if comparisons[prompt].verdict in _WORSE),
        unproven=tuple(
            prompt for prompt in counted if comparisons[prompt].verdict not in {"safe", *_WORSE}
        ),
        left_out=tuple(sorted(set(evidence).difference(counted))),
    )


def _pooled(tallies: Iterable[Tally]) -> Tally:
    together: Counter[float] = Counter()
    for each in tallies:
        together.update(dict(each))
    return tuple(sorted(together.items()))
