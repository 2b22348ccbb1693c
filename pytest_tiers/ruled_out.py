"""Why a candidate is no choice for a prompt, whatever its pass rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pytest_tiers.findings import RuledOut
from pytest_tiers.fingerprints import fingerprint
from pytest_tiers.records import Revert, Trial


def ruled_out(
    trials: Sequence[Trial], reverts: Iterable[Revert], models: Mapping[str, str | None]
) -> dict[str, RuledOut]:
    """The tiers that are no choice for the prompt of these trials.

    A tier that misses a case that must pass; and one that somebody went back from, until the
    model (``models`` by tier) or the prompt changes.
    """
    found = {}
    for revert in reverts:
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
