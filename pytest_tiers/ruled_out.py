"""Why a candidate is no choice for a prompt, whatever its pass rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pytest_tiers.findings import RuledOut
from pytest_tiers.fingerprints import fingerprint
from pytest_tiers.mixes import Mix
from pytest_tiers.records import Revert, Trial
from pytest_tiers.settings import Settings


def ruled_out(
    prompt: str, trials: Sequence[Trial], settings: Settings, mix: Mix | None = None
) -> dict[str, RuledOut]:
    """The tiers that are no choice for a prompt, from its trials on them; or the mix that is none.

    A tier that misses a case that must pass; and one that somebody went back from, until its
    model or the prompt changes.
    """
    models = {tier.name: tier.model for tier in settings.ladder.tiers}
    if mix is not None:
        models[mix.name] = mix.model(settings.ladder)
    found = {}
    for revert in settings.reverts:
        if revert.prompt != prompt:
            continue
        if models.get(revert.tier) == revert.model and not _has_changed(trials, revert):
            found[revert.tier] = RuledOut("reverted", reason=revert.reason, date=revert.date)
    missed: defaultdict[str, list[str]] = defaultdict(list)
    for trial in trials:
        if trial.settings.get("must_pass") and trial.outcome in ("missed", "unsupported"):
            missed[trial.tier].append(trial.case)
    for tier, cases in missed.items():
        found[tier] = RuledOut("must-pass", cases=tuple(dict.fromkeys(cases)))
    return found


def _has_changed(trials: Iterable[Trial], revert: Revert) -> bool:
    now = fingerprint(trial.request_parts for trial in trials if trial.tier == revert.tier)
    return revert.holds_for.differs(now)
