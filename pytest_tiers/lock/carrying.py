"""What becomes of tiers.lock when one model takes another's place: it is carried over, unproven.

A proof is about two models. When one of them goes, what was proven of the pair says nothing certain
about its successor: the entry stays, so that production stays as it is, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from pytest_tiers.findings import LockChange, PromptSummary, RunSummary
from pytest_tiers.lock.adopting import cost, entry_of, gap
from pytest_tiers.records import UNPROVEN, LockEntry
from pytest_tiers.verdicts import Verdict

#: Verdicts with which the new model does not take the old one's place.
_NO_SUCCESSOR: frozenset[Verdict] = frozenset(
    {"worse", "unsupported", "no-data", "flagship-fails", "blind"}
)


def carry_over(summary: RunSummary, locked: Mapping[str, LockEntry]) -> Iterator[LockChange]:
    """What changes where ``summary`` compares the new model with the replaced one's recordings.

    Entries that replace the old tier replace the new one from now on; entries of the old tier are
    of the new one, where it is not known to be worse.
    """
    old = summary.settings.replaced
    assert old is not None
    new = next(name for name in summary.settings.ladder.names if name != old)
    prompts = {prompt.id: prompt for prompt in summary.prompts}
    for entry in locked.values():
        if entry.tier == old:
            yield _new_tier(summary, entry, prompts.get(entry.prompt), new)
        elif entry.replaces == old and entry.tier != new:
            after = _new_flagship(summary, entry, prompts.get(entry.prompt), new)
            yield LockChange(entry.prompt, "replaced", entry, after)


def _new_flagship(
    summary: RunSummary, entry: LockEntry, prompt: PromptSummary | None, new: str
) -> LockEntry:
    """The same tier on the same evidence, which is against the flagship that was replaced."""
    measured = prompt.tiers.get(new) if prompt is not None else None
    return replace(
        entry,
        replaces=new,
        replaces_usd_per_1000=cost(measured.cost_per_1000 if measured else None),
        replaces_model=summary.settings.ladder[new].model,
        verdict=UNPROVEN,
        # Of an entry that was carried over before, the evidence is older still.
        versus=entry.versus or entry.replaces,
        versus_model=entry.versus_model or entry.replaces_model,
        replaced_on=summary.created[:10],
    )


def _new_tier(
    summary: RunSummary, entry: LockEntry, prompt: PromptSummary | None, new: str
) -> LockChange:
    """The new tier in the old one's place, with what this run says of the two."""
    comparison = prompt.comparisons.get(new) if prompt is not None else None

    def keep(why: str) -> LockChange:
        return LockChange(
            entry.prompt, "kept", entry, why=f"{entry.tier} stays locked: {why}; lock another tier"
        )

    if prompt is None or comparison is None or not comparison.cases:
        return keep(f"{new} was not compared with its recorded answers")
    if comparison.verdict in _NO_SUCCESSOR:
        return keep(f"{new} beside it is {comparison.verdict}")
    trials = [trial for trial in summary.trials if trial.prompt == prompt.id]
    if missing := gap(trials, comparison, ()):
        return keep(f"the comparison with {new} is incomplete ({missing})")
    after = replace(
        entry_of(summary, prompt, trials, comparison),
        replaces=entry.replaces,
        replaces_model=entry.replaces_model,
        replaces_usd_per_1000=entry.replaces_usd_per_1000,
        verdict=UNPROVEN,
        versus=entry.tier,
        versus_model=entry.model,
        replaced_on=summary.created[:10],
    )
    return LockChange(entry.prompt, "replaced", entry, after)
