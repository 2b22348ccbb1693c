"""Which trials a run was to make, and which exist beside them: a shard is a part of a suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct, field

from pytest_tiers import statistics


class PromptExtent(Struct, frozen=True):
    """What one prompt was to be tried on.

    ``cases`` were selected, for ``tiers``; ``left_out`` exist in the files that were collected,
    and were not. The rest are the prompt's own settings, ``max_cost_per_1000`` in USD as text.
    """

    tiers: tuple[str, ...]
    cases: tuple[str, ...]
    left_out: tuple[str, ...]
    margin: float
    min_pass_rate: float | Literal["auto"] | None = None
    monthly_runs: int | None = None
    max_cost_per_1000: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What trials of the prompt say of its settings."""
        return {
            "margin": self.margin,
            "min_pass_rate": self.min_pass_rate,
            "monthly_runs": self.monthly_runs,
            "max_cost_per_1000": self.max_cost_per_1000,
        }


class Extent(Struct, frozen=True):
    """What a run was to do, by prompt.

    ``is_whole``: every file of the suite was collected. ``knows_left_out``: of those that were,
    it is known which tests did not run.
    """

    prompts: Mapping[str, PromptExtent] = field(default_factory=dict)
    is_whole: bool = False
    knows_left_out: bool = False

    @property
    def left_out(self) -> int:
        """How many known cases were not to run."""
        return sum(len(prompt.left_out) for prompt in self.prompts.values())


def together(extents: Iterable[Extent]) -> Extent:
    """What several parts of one suite come to. Prompts' settings are the first part's."""
    extents = list(extents)
    prompts: dict[str, PromptExtent] = {}
    for extent in extents:
        for name, prompt in extent.prompts.items():
            prompts[name] = _joined(prompts[name], prompt) if name in prompts else prompt
    return Extent(
        dict(sorted(prompts.items())),
        any(extent.is_whole for extent in extents),
        all(extent.knows_left_out for extent in extents),
    )


def _joined(one: PromptExtent, other: PromptExtent) -> PromptExtent:
    # The first part with cases of its own knows the tiers in their order.
    tiers = dict.fromkeys((*one.tiers, *other.tiers))
    cases = dict.fromkeys((*one.cases, *other.cases))
    left_out = dict.fromkeys(case for case in (*one.left_out, *other.left_out) if case not in cases)
    return PromptExtent(tuple(tiers), tuple(cases), tuple(left_out), **one.settings)


def reachable(prompts: Iterable[tuple[Iterable[str], int, float]], alpha: float) -> dict[str, int]:
    """By tier, how many prompts have enough cases to become safe if all agree.

    ``prompts`` are their tiers, their number of cases and their margin.
    """
    found: dict[str, int] = {}
    for tiers, cases, margin in prompts:
        needed = statistics.cases_needed(margin, alpha)
        for tier in tiers:
            found.setdefault(tier, 0)
            found[tier] += needed is not None and cases >= needed
    return found
