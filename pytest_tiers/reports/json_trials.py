"""Trials in the JSON report, each in a line of its own, and what many of them share."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.json import Encoder

from pytest_tiers.call_sites import stack_of
from pytest_tiers.findings import RunSummary
from pytest_tiers.fingerprints import common_parts
from pytest_tiers.records import (
    Call,
    CallSite,
    Earlier,
    NotRun,
    Outcome,
    Part,
    RequestParts,
    Tokens,
    Trial,
    sendable,
)
from pytest_tiers.reports.numbers import plain


class Tables(Struct, frozen=True):
    """What trials name by its number: the same few stacks and cassettes stand in all of them.

    A cassette stands beside its test, where prompts join several. ``telling`` are the cases whose
    answers a report may show. ``requests`` are what tells whether prompts changed, by prompt and
    tier.
    """

    stacks: Mapping[tuple[CallSite, ...], int]
    cassettes: Mapping[tuple[str, str | None], int]
    telling: frozenset[tuple[str, str]]
    requests: Mapping[str, Mapping[str, list[RequestParts]]]
    root: Path | None

    @classmethod
    def of(cls, summary: RunSummary) -> Tables:
        """Number what the trials of a run share."""
        stacks: dict[tuple[CallSite, ...], int] = {}
        cassettes: dict[tuple[str, str | None], int] = {}
        asked: defaultdict[str, defaultdict[str, list[RequestParts]]]
        asked = defaultdict(lambda: defaultdict(list))
        for trial in summary.trials:
            for call in trial.calls:
                stacks.setdefault(stack_of(call), len(stacks))
            if (cassette := cassette_of(trial)) is not None:
                cassettes.setdefault(cassette, len(cassettes))
            if trial.request_parts is not None:
                asked[trial.prompt][trial.tier].append(trial.request_parts)
        lock_file = summary.settings.lock_file
        return cls(
            stacks,
            cassettes,
            frozenset(_telling(summary)),
            {
                prompt: {tier: common_parts(parts) for tier, parts in tiers.items()}
                for prompt, tiers in asked.items()
            },
            None if lock_file is None else lock_file.parent,
        )

    def to_builtins(self) -> dict[str, Any]:
        """The tables as they stand in the report; cassettes relative to the project."""
        return {
            "stacks": [[[site.label, site.key] for site in stack] for stack in self.stacks],
            "cassettes": [
                [self._in_project(Path(path)), function] for path, function in self.cassettes
            ],
            "requests": to_builtins(self.requests),
        }

    def _in_project(self, path: Path) -> str:
        inside = self.root is not None and path.is_relative_to(self.root)
        return (path.relative_to(self.root) if inside and self.root else path).as_posix()


def cassette_of(trial: Trial) -> tuple[str, str | None] | None:
    """A trial's cassette, and its test where the case is named after that too."""
    if trial.recording is None:
        return None
    path, case = trial.recording
    return path, None if case == trial.case else trial.case.removesuffix(f"[{case}]")


def _telling(summary: RunSummary) -> Iterator[tuple[str, str]]:
    """The cases that did not simply pass, or of which another shard may have the rest."""
    trials: Counter[tuple[str, str]] = Counter()
    tiers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    most: defaultdict[str, int] = defaultdict(int)
    for trial in summary.trials:
        case = (trial.prompt, trial.case)
        if trial.outcome != "passed" or trial.output_match is False:
            yield case
        trials[case] += 1
        tiers[case].add(trial.tier)
        most[trial.prompt] = max(most[trial.prompt], trials[case])
    if summary.settings.ladder.candidates:
        for case, number in trials.items():
            if number < most[case[0]] or len(tiers[case]) == 1:
                yield case


class CallEntry(Struct, frozen=True, gc=False):
    """A call as it stands in the report; ``stack`` is the number of its lines in the tables."""

    model_asked: str | None
    model: str | None
    answered_by: str | None
    endpoint: str
    status: int | None
    stream: bool
    tokens: Tokens | None
    cost_usd: str | None
    seconds: float | None
    site: str | None
    site_key: str | None
    left_alone: str | None
    error: str | None
    uncached_cost_usd: str | None
    recorded_at: str | None
    replayed: bool
    stack: int

    @classmethod
    def of(cls, call: Call, tables: Tables) -> CallEntry:
        """The entry of a call."""
        return cls(
            model_asked=call.model_asked,
            model=call.model,
            answered_by=call.answered_by,
            endpoint=call.endpoint,
            status=call.status,
            stream=call.stream,
            tokens=call.tokens,
            cost_usd=money_entry(call.cost_usd),
            seconds=call.seconds,
            site=call.site,
            site_key=call.site_key,
            left_alone=call.left_alone,
            error=call.error,
            uncached_cost_usd=money_entry(call.uncached_cost_usd),
            recorded_at=call.recorded_at,
            replayed=call.replayed,
            stack=tables.stacks[stack_of(call)],
        )


class Compared(Struct, frozen=True):
    """What a test handed to ``tier.compare``, and how.

    ``options`` is None where only the trial's own process can compare, ``output`` too where JSON
    cannot hold it.
    """

    by: str | None
    output: Any
    options: dict[str, Any] | None


class TrialEntry(Struct, frozen=True, gc=False):
    """A trial as it stands in the report. Its answer stands there only where a report may show it.

    ``cassette`` is its number in the tables.
    """

    prompt: str
    case: str
    tier: str
    sample: int
    outcome: Outcome
    reason: str | None
    score: float | None
    check: bool | None
    output_match: bool | None
    agreement: float | None
    output_difference: str | None
    replayed: bool
    calls: tuple[CallEntry, ...]
    nodeid: str
    must_pass: bool
    expects_call: bool
    stale: bool
    changed: tuple[Part, ...]
    budget: bool
    model_gone: bool
    controls: tuple[bool, ...]
    cassette: int | None
    generation: int
    earlier: Earlier | None
    compared: Compared | None
    answer: str | None
    question: str | None

    @classmethod
    def of(cls, trial: Trial, tables: Tables) -> TrialEntry:
        """The entry of a trial."""
        tells = (trial.prompt, trial.case) in tables.telling
        cassette = cassette_of(trial)
        return cls(
            prompt=trial.prompt,
            case=trial.case,
            tier=trial.tier,
            sample=trial.sample,
            outcome=trial.outcome,
            reason=trial.reason,
            score=trial.score,
            check=trial.check,
            output_match=trial.output_match,
            agreement=trial.agreement,
            output_difference=trial.output_difference,
            replayed=trial.replayed,
            calls=tuple([CallEntry.of(call, tables) for call in trial.calls]),
            nodeid=trial.nodeid,
            must_pass=bool(trial.settings.get("must_pass")),
            expects_call=trial.expects_call,
            stale=trial.stale,
            changed=trial.changed,
            budget=trial.budget,
            model_gone=trial.model_gone,
            controls=trial.controls,
            cassette=None if cassette is None else tables.cassettes[cassette],
            generation=trial.generation,
            earlier=trial.earlier,
            compared=_compared(trial),
            answer=trial.answer if tells else None,
            question=trial.question if tells else None,
        )


def _compared(trial: Trial) -> Compared | None:
    if not trial.has_output:
        return None
    options = None if trial.compare_options is None else dict(trial.compare_options)
    return Compared(trial.compared_by, _exact(trial.output), _exact(options))


def _exact(value: Any) -> Any:
    """The value, or None where it is another one when it is read again."""
    try:
        again = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return None
    return value if again == value else None


def not_run_entries(not_run: Iterable[NotRun]) -> list[dict[str, Any]]:
    """What sampling left out, by prompt, tier and reason."""
    found: defaultdict[tuple[str, str, str, int], defaultdict[str, list[int]]]
    found = defaultdict(lambda: defaultdict(list))
    for one in not_run:
        found[one.prompt, one.tier, one.why, one.samples][one.case].append(one.sample)
    return [
        {"prompt": prompt, "tier": tier, "why": why, "samples": samples, "cases": dict(cases)}
        for (prompt, tier, why, samples), cases in found.items()
    ]


def to_json(value: Any) -> str:
    """The value in one line; what JSON has no word for, infinite numbers and NaN, is null."""
    try:
        return _ENCODER.encode(value).decode()
    except UnicodeEncodeError:  # half a character, which an answer's own JSON can hold
        return _ENCODER.encode(sendable(to_builtins(value, enc_hook=str))).decode()


_ENCODER = Encoder(enc_hook=str)


def money_entry(usd: Decimal | None) -> str | None:
    """An exact amount in USD, or None where it is unknown."""
    return None if usd is None else plain(usd)
