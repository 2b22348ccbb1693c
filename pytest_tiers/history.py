"""Whether the answers at hand are all that were seen, or those that someone liked.

Cassettes are the ledger: evidence of earlier runs counts on, because replay brings it back. An
answer that is recorded again for the same request discards one whose outcome was known. Where that
was done to all trials alike, what is left is as good as the first time; where only some were asked
again, say those that missed, it proves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from pytest_tiers.records import Trial


def made_anew_in_part(trials: Iterable[Trial]) -> bool:
    """Whether only some recordings of one prompt and tier were made anew.

    Within a cassette all must be of one generation. A test that joins the prompt later has a
    cassette of its own, which may have fewer generations if it was recorded later.
    """
    asked = [trial for trial in trials if trial.counts and trial.tier_calls]
    if len({trial.generation for trial in asked}) <= 1:
        return False
    by_cassette: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in asked:
        by_cassette[trial.recording[0] if trial.recording else ""].append(trial)
    generations = []
    for group in by_cassette.values():
        if len({trial.generation for trial in group}) > 1:
            return True
        times = [recorded_at(trial) for trial in group]
        generations.append((group[0].generation, min(times), max(times)))
    return any(
        fewer < more and first < last
        for fewer, first, _ in generations
        for more, _, last in generations
    )


def recorded_at(trial: Trial) -> str:
    """When the trial's latest answer was recorded (ISO 8601, UTC); "" without an answer."""
    return max((call.recorded_at or "" for call in trial.tier_calls), default="")
