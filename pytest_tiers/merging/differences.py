"""What two JSON reports of the same suite say differently, say of a base branch and of a pull
request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

from pytest_tiers.merging.alike import settings_that_differ
from pytest_tiers.merging.reading import Head, plain_trials, read_head, reading


class Side(Struct, frozen=True):
    """What one report says of a prompt on a tier; None where it says nothing.

    ``verdict`` is None for the flagship and where nothing was compared. ``answered`` are the trials
    that count, ``usd_per_1000`` what 1,000 runs cost. ``low`` and ``high`` bound the pass rate.
    """

    verdict: str | None
    passed: int
    answered: int
    usd_per_1000: Decimal | None
    low: float | None
    high: float | None


class TierChange(Struct, frozen=True):
    """One prompt on one tier, before and after; None where it was not there.

    Of the trials that both reports have, ``judged`` end otherwise though the answer is the same
    recording, ``answered`` end otherwise with another answer.
    """

    prompt: str
    tier: str
    before: Side | None
    after: Side | None
    judged: int = 0
    answered: int = 0

    @property
    def verdict_changed(self) -> bool:
        """Whether both have the tier, and the verdict is another."""
        return bool(self.before and self.after and self.before.verdict != self.after.verdict)

    @property
    def cost_change(self) -> float | None:
        """The change of the cost of 1,000 runs, as a share of what it was; None where unknown."""
        old = self.before.usd_per_1000 if self.before else None
        new = self.after.usd_per_1000 if self.after else None
        return None if not old or new is None else float(new / old - 1)

    @property
    def rates_are_apart(self) -> bool:
        """Whether the bounds of the two pass rates exclude each other."""
        one, other = self.before, self.after
        if one is None or other is None or one.low is None or other.low is None:
            return False
        assert one.high is not None
        assert other.high is not None
        return one.high < other.low or other.high < one.low


class Differences(Struct, frozen=True):
    """What changed from one report to another.

    ``unlike`` are settings that differ, each with both values: what follows from them is no change
    of the suite. ``recommended`` are a prompt's tiers, or mixes, before and after (None: stay).
    ``is_part``: the later report is not of the whole suite, so that what it lacks may exist.
    """

    commits: tuple[str | None, str | None]
    unlike: tuple[tuple[str, Any, Any], ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    is_part: bool
    tiers: tuple[TierChange, ...]
    recommended: tuple[tuple[str, str | None, str | None], ...]
    gates: tuple[bool, bool]
    new_failures: tuple[str, ...]
    mended_failures: tuple[str, ...]
    savings: tuple[float | None, float | None]
    flagship_usd_per_1000: tuple[Decimal | None, Decimal | None]
    spent_usd: Decimal


class _Told(Struct, frozen=True):
    """What one report tells: its prompts' tiers and recommendations, its gate, its money."""

    commit: str | None
    tiers: Mapping[str, Mapping[str, Side]]
    recommended: Mapping[str, str | None]
    gate: bool
    failures: tuple[str, ...]
    saving: float | None
    flagship_usd_per_1000: Decimal | None
    spent_usd: Decimal
    is_part: bool


def compare(old: Path, new: Path) -> Differences:
    """Compare two reports. Raises ConfigurationError where one cannot be read."""
    heads = [read_head(path) for path in (old, new)]
    # A run that did not search proposes no mix, which is no change.
    with_mixes = all(map(_has_searched, heads))
    before, after = (_told(head, with_mixes) for head in heads)
    flipped = _flipped(*heads)
    with reading(new):
        unlike = tuple(settings_that_differ(heads[0].document, heads[1].document))
    both = [id for id in after.tiers if id in before.tiers]
    return Differences(
        commits=(before.commit, after.commit),
        unlike=unlike,
        added=tuple(id for id in after.tiers if id not in before.tiers),
        removed=tuple(id for id in before.tiers if id not in after.tiers),
        is_part=after.is_part,
        tiers=tuple(
            TierChange(
                id,
                tier,
                before.tiers[id].get(tier),
                after.tiers[id].get(tier),
                *flipped.get((id, tier), (0, 0)),
            )
            for id in both
            for tier in dict.fromkeys((*before.tiers[id], *after.tiers[id]))
        ),
        recommended=tuple(
            (id, before.recommended[id], after.recommended[id])
            for id in both
            if before.recommended[id] != after.recommended[id]
        ),
        gates=(before.gate, after.gate),
        new_failures=tuple(each for each in after.failures if each not in before.failures),
        mended_failures=tuple(each for each in before.failures if each not in after.failures),
        savings=(before.saving, after.saving),
        flagship_usd_per_1000=(before.flagship_usd_per_1000, after.flagship_usd_per_1000),
        spent_usd=after.spent_usd,
    )


def _told(head: Head, with_mixes: bool) -> _Told:
    with reading(head.path):
        document = head.document
        prompts, gate, savings = document["prompts"], document["gate"], document["savings"]
        return _Told(
            commit=document["settings"]["commit"],
            tiers={
                prompt["id"]: {
                    tier: _side(stats, prompt, tier) for tier, stats in prompt["tiers"].items()
                }
                for prompt in prompts
            },
            recommended={
                prompt["id"]: (_mix(prompt) if with_mixes else None) or prompt["recommended"]
                for prompt in prompts
            },
            gate=gate["passed"],
            failures=tuple(dict.fromkeys(failure["message"] for failure in gate["failures"])),
            saving=savings["with_mixes_share" if with_mixes else "share"],
            flagship_usd_per_1000=_usd(savings["flagship_usd_per_1000"]),
            spent_usd=Decimal(document["spent_usd"]),
            is_part=_is_part(document),
        )


def _has_searched(head: Head) -> bool:
    with reading(head.path):
        return bool(head.document["settings"].get("mix"))


def _mix(prompt: Mapping[str, Any]) -> str | None:
    """The mix that is recommended for a prompt, by its name."""
    return next((mix["name"] for mix in prompt["mixes"] if mix["recommended"]), None)


def _is_part(document: Mapping[str, Any]) -> bool:
    extent = document.get("merging", {}).get("extent")
    return bool(document["settings"]["selection"]) or not (extent and extent["is_whole"])


def _side(stats: Mapping[str, Any], prompt: Mapping[str, Any], tier: str) -> Side:
    rate = stats["pass_rate"] or {}
    return Side(
        verdict=prompt["comparisons"].get(tier, {}).get("verdict"),
        passed=stats["passed"],
        answered=stats["passed"] + stats["missed"] + stats["unsupported"],
        usd_per_1000=_usd(stats["usd_per_1000"]),
        low=rate.get("low"),
        high=rate.get("high"),
    )


def _flipped(old: Head, new: Head) -> dict[tuple[str, str], tuple[int, int]]:
    """By prompt and tier, how many trials end otherwise: with the same answer, with another."""
    before = {_key(trial): _end(trial) for trial in plain_trials(old)}
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for trial in plain_trials(new):
        passed, answer = _end(trial)
        was = before.get(_key(trial))
        if was is not None and passed is not None and was[0] is not None and was[0] != passed:
            found[trial["prompt"], trial["tier"]][answer is None or was[1] != answer] += 1
    return {where: (judged, answered) for where, (judged, answered) in found.items()}


def _key(trial: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return trial["prompt"], trial["case"], trial["tier"], trial["sample"]


def _end(trial: Mapping[str, Any]) -> tuple[bool | None, tuple[str, ...] | None]:
    """Whether a trial passed (None: nobody knows), and when its answers were recorded, if known."""
    times = [call.get("recorded_at") for call in trial["calls"]]
    known = tuple(time for time in times if time is not None)
    passed = trial["outcome"] == "passed"
    counts = trial["outcome"] in ("passed", "missed", "unsupported")
    return (passed if counts else None), (known if known and len(known) == len(times) else None)


def _usd(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
