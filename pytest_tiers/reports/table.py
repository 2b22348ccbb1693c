"""The verdict table as rows of text, the same for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import Struct

from pytest_tiers.findings import PromptSummary, RunSummary, TierStats
from pytest_tiers.modes import By
from pytest_tiers.reports.numbers import money, passed_of, percent, points_at_most, score
from pytest_tiers.reports.text import one_line

#: Verdicts of candidates that gave no answer, so that nothing is known of their cost.
_NO_ANSWERS = ("unsupported", "no-data")


class Row(Struct, frozen=True):
    """One candidate of one prompt, every cell as text.

    ``passed`` and ``flagship_passed`` read "31/32": passed trials of those that count (the
    flagship's only where its output repeats itself), and in
    brackets the mean score where tests give one. The
    costs are of 1,000 runs of the prompt. ``drop`` is the largest plausible drop in pass rate
    on inputs like these.
    """

    prompt: str
    cases: str
    tier: str
    passed: str
    flagship_passed: str
    verdict: str
    saving: str
    cost: str
    flagship_cost: str
    drop: str


def unit(by: By) -> str:
    """What a verdict is about: "prompt" or "call site"."""
    return "prompt" if by == "prompt" else "call site"


def headings(flagship: str, *, scored: bool = False, by: By = "prompt") -> Row:
    """What stands above each column; ``scored``: a prompt of the run has scores."""
    return Row(
        prompt=unit(by),
        cases="cases",
        tier="tier",
        passed="passed (score)" if scored else "passed",
        flagship_passed=f"on {flagship}",
        verdict="verdict",
        saving="saving",
        cost="1,000 runs",
        flagship_cost=f"1,000 on {flagship}",
        drop="drop at most",
    )


def rows(summary: RunSummary) -> list[Row]:
    """A row for each prompt and candidate that were compared: by prompt, then up the ladder."""
    return [row for prompt in by_id(summary) for row in prompt_rows(prompt)]


def has_scores(summary: RunSummary) -> bool:
    """Whether the tests of any prompt give scores."""
    return any(
        stats.mean_score is not None
        for prompt in summary.prompts
        for stats in prompt.tiers.values()
    )


def by_id(summary: RunSummary) -> list[PromptSummary]:
    """The run's prompts in the order of their ids."""
    return sorted(summary.prompts, key=lambda prompt: prompt.id)


#: What may be said of a prompt, in the order of telling.
STATES = ("safe", "safe without a known saving", "worse", "undecided", "without a verdict")


def state(prompt: PromptSummary) -> str:
    """One of `STATES`: what all verdicts of a prompt come to."""
    verdicts = {comparison.verdict for comparison in prompt.comparisons.values()}
    if prompt.recommended is not None:
        return "safe"
    if "safe" in verdicts:
        return "safe without a known saving"
    if verdicts & {"inconclusive", "matches"}:
        return "undecided"
    return "worse" if "worse" in verdicts else "without a verdict"


#: With more prompts than this the decided ones come first, and not all are told.
_MANY = 12
#: So many decided prompts are told at most.
_MOST_DECIDED = 40


def in_order_of_telling(summary: RunSummary) -> list[PromptSummary]:
    """The compared prompts: by id, or where they are many, the decided ones first.

    After these the ones that need the fewest further cases.
    """
    compared = [prompt for prompt in by_id(summary) if prompt.comparisons]
    if len(compared) <= _MANY:
        return compared
    return sorted(compared, key=lambda prompt: (_rank(prompt), _least_more(prompt), prompt.id))


def told(summary: RunSummary) -> int:
    """How many of the prompts `in_order_of_telling` a short summary shows."""
    compared = in_order_of_telling(summary)
    decided = sum(_rank(prompt) < _UNDECIDED for prompt in compared)
    return max(_MANY, min(decided, _MOST_DECIDED))


_UNDECIDED = STATES.index("undecided")


def _rank(prompt: PromptSummary) -> int:
    """Where a prompt comes in telling; from `_UNDECIDED` on it is not decided."""
    verdicts = {comparison.verdict for comparison in prompt.comparisons.values()}
    own = STATES.index(state(prompt))
    if own >= _UNDECIDED and verdicts & {"worse", "flagship-fails", "unsupported"}:
        return _UNDECIDED - 1
    return own


def _least_more(prompt: PromptSummary) -> float:
    """The fewest further cases that could decide one of its candidates."""
    more = [comparison.more_cases[0] for comparison in prompt.comparisons.values()]
    return min((cases for cases in more if cases is not None), default=math.inf)


def prompt_rows(prompt: PromptSummary) -> Iterator[Row]:
    """A row for each candidate of one prompt, up the ladder."""
    for tier, comparison in prompt.comparisons.items():
        stats, flagship = prompt.tiers.get(tier), prompt.tiers.get(comparison.flagship)
        bound = comparison.largest_drop
        yield Row(
            prompt=one_line(prompt.id),
            cases=f"{prompt.cases:,}",
            tier=tier,
            passed=_passed(stats),
            flagship_passed=_passed(flagship),
            verdict=comparison.verdict,
            saving="-" if comparison.verdict in _NO_ANSWERS else percent(prompt.savings.get(tier)),
            cost=_cost(stats),
            flagship_cost=_cost(flagship),
            drop="unknown" if bound is None else points_at_most(bound),
        )


def _passed(stats: TierStats | None) -> str:
    if stats is None:
        return "-"
    succeeded = stats.passed - stats.inconsistent
    passed = passed_of(succeeded, stats.passed + stats.missed + stats.unsupported)
    return passed if stats.mean_score is None else f"{passed} ({score(stats.mean_score)})"


def _cost(stats: TierStats | None) -> str:
    return money(stats.cost_per_1000 if stats else None)
