"""JSON reports read back: what a run was asked to do, and its trials."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

import msgspec.json
from msgspec import MsgspecError, Struct, convert

from pytest_tiers.errors import ConfigurationError
from pytest_tiers.extent import Extent
from pytest_tiers.findings import Coverage, Retirement
from pytest_tiers.modes import GateMode
from pytest_tiers.records import (
    Agreement,
    Call,
    CallSite,
    LockEntry,
    NotRun,
    RequestParts,
    Revert,
    Trial,
)
from pytest_tiers.reports.json import SCHEMA, VERSION
from pytest_tiers.reports.json_trials import CallEntry, TrialEntry
from pytest_tiers.settings import Embeddings, IgnoreRule, Judge, PromptSettings, Settings
from pytest_tiers.settling import own_pair
from pytest_tiers.tiers import Ladder, Tier

#: The line with which our own writer begins a list, each of whose entries has a line of its own.
_LIST = re.compile(rb' "(\w+)": \[\n')

#: The line that ends it.
_LIST_ENDS = (b" ],\n", b" ]\n")

#: What `pytest-tiers merge` needs, and older reports lack.
_MERGING = "merging"


#: What reading something else than our own report may end in.
_DAMAGE = (
    MsgspecError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class Head(Struct, frozen=True):
    """A report without its trials. Money in ``document`` is text, as in the file."""

    path: Path
    document: Mapping[str, Any]

    @property
    def extent(self) -> Extent | None:
        """What the run was to do, None where nobody knows."""
        plain = self.document[_MERGING]["extent"]
        return None if plain is None else convert(plain, Extent)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a report into a ConfigurationError that names it."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}.") from error
    except _DAMAGE as error:
        raise ConfigurationError(
            f"{path} is no JSON report of pytest-tiers, or is damaged "
            f"({type(error).__name__}: {error}). Write it again: pytest --tiers-report={path.name}"
        ) from error


def read_head(path: Path, *, to_merge: bool = False) -> Head:
    """Everything but the trials. Raises ConfigurationError.

    ``to_merge``: the report must hold what `read_trials` needs.
    """
    # What is computed anew needs no room: of thousands of prompts it is most of a report.
    left_out = ("trials", *(("prompts", "sites") if to_merge else ()))
    with reading(path), path.open("rb") as file:
        document = dict(json.loads(b"".join(_without(file, left_out))))
        for key in left_out:  # written again by another program
            document.pop(key, None)
        if document["schema"] != SCHEMA:
            raise ValueError(f'schema "{document["schema"]}"')
        if document["version"] != VERSION:
            raise ConfigurationError(
                f"{path} is version {document['version']} of the report; this pytest-tiers reads "
                f"version {VERSION}. Use the version that wrote it."
            )
    if to_merge and _MERGING not in document:
        raise ConfigurationError(
            f"{path} was written by an older pytest-tiers, which did not keep what merging needs. "
            "Run the shard again."
        )
    return Head(path, document)


def _without(file: BinaryIO, left_out: Container[str]) -> Iterator[bytes]:
    """The lines of a document, with some of its lists empty."""
    for line in file:
        begins = _LIST.fullmatch(line)
        if begins and begins[1].decode() in left_out:
            yield line.rstrip() + next((each for each in file if each in _LIST_ENDS), b"")
        else:
            yield line


def read_trials(head: Head, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Trial]:
    """The report's trials, as they were before a summary was made of them, one at a time.

    ``settings`` is what the trials of each prompt say of it. Raises ConfigurationError.
    """
    with reading(head.path), head.path.open("rb") as file:
        maker = _Maker(head.document, settings)
        decode = msgspec.json.Decoder(TrialEntry).decode
        for line in _trials(file):
            yield maker.trial(decode(line))


def plain_trials(head: Head) -> Iterator[Mapping[str, Any]]:
    """The report's trials as they stand there, one at a time. Raises ConfigurationError."""
    with reading(head.path), head.path.open("rb") as file:
        yield from map(json.loads, _trials(file))


def _trials(file: BinaryIO) -> Iterator[bytes]:
    """Each trial's JSON."""
    for line in file:
        if (begins := _LIST.fullmatch(line)) and begins[1] == b"trials":
            break
    else:  # none, or written again by another program
        file.seek(0)
        yield from (json.dumps(trial).encode() for trial in json.load(file)["trials"])
        return
    for line in takewhile(lambda line: line not in _LIST_ENDS, file):
        yield line.rstrip().removesuffix(b",")


class _Maker:
    """Makes trials of what a report says of them. What many have in common is made once."""

    def __init__(
        self, document: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]]
    ) -> None:
        tables = document[_MERGING]
        self._flagship: str = document["settings"]["flagship"]
        self._stacks = [
            tuple(CallSite(label, key) for label, key in stack) for stack in tables["stacks"]
        ]
        self._cassettes: list[tuple[str, str | None]] = [
            (path, function) for path, function in tables["cassettes"]
        ]
        self._settings = {
            (prompt, must_pass): {**said, "must_pass": must_pass}
            for prompt, said in settings.items()
            for must_pass in (False, True)
        }

    def trial(self, entry: TrialEntry) -> Trial:
        tier, case, compared = sys.intern(entry.tier), entry.case, entry.compared
        settled: tuple[Agreement, ...] = ()
        if entry.agreement is not None:
            number = own_pair(entry.sample)[0] if tier == self._flagship else entry.sample
            settled = (Agreement(tier, number, entry.agreement, entry.output_difference),)
        return Trial(
            prompt=sys.intern(entry.prompt),
            case=case,
            tier=tier,
            sample=entry.sample,
            outcome=entry.outcome,
            nodeid=entry.nodeid,
            reason=entry.reason,
            score=entry.score,
            check=entry.check,
            controls=entry.controls,
            output_match=entry.output_match,
            replayed=entry.replayed,
            calls=tuple(map(self._call, entry.calls)),
            answer=entry.answer,
            question=entry.question,
            output=None if compared is None else compared.output,
            has_output=compared is not None,
            compared_by=None if compared is None else compared.by,
            compare_options={} if compared is None else compared.options,
            settled=settled,
            agreement=entry.agreement,
            output_difference=entry.output_difference,
            stale=entry.stale,
            changed=entry.changed,
            budget=entry.budget,
            model_gone=entry.model_gone,
            expects_call=entry.expects_call,
            settings=self._settings[entry.prompt, entry.must_pass],
            recording=None if entry.cassette is None else self._recording(entry.cassette, case),
            generation=entry.generation,
            earlier=entry.earlier,
        )

    def _recording(self, cassette: int, case: str) -> tuple[str, str]:
        path, function = self._cassettes[cassette]
        return path, case if function is None else case[len(function) + 1 : -1]

    def _call(self, entry: CallEntry) -> Call:
        stack = self._stacks[entry.stack]
        is_named = bool(stack) and stack[0].is_named
        return Call(
            model_asked=entry.model_asked and sys.intern(entry.model_asked),
            model=entry.model and sys.intern(entry.model),
            answered_by=entry.answered_by and sys.intern(entry.answered_by),
            endpoint=sys.intern(entry.endpoint),
            status=entry.status,
            stream=entry.stream,
            tokens=entry.tokens,
            cost_usd=_usd(entry.cost_usd),
            uncached_cost_usd=_usd(entry.uncached_cost_usd),
            seconds=entry.seconds,
            recorded_at=entry.recorded_at,
            replayed=entry.replayed,
            site=stack[0].label if stack else entry.site,
            site_key=stack[0].key if stack else entry.site_key,
            callers=() if is_named else stack[1:],
            within=stack[1:] if is_named else (),
            left_alone=entry.left_alone,
            error=entry.error,
        )


@lru_cache(maxsize=10_000)  # most calls of a tier cost one of few amounts
def _usd(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def read_not_run(head: Head) -> Iterator[NotRun]:
    """The trials that sampling left out."""
    with reading(head.path):
        for group in head.document[_MERGING]["not_run"]:
            for case, samples in group["cases"].items():
                for sample in samples:
                    yield NotRun(
                        group["prompt"],
                        case,
                        group["tier"],
                        sample,
                        "",
                        group["why"],
                        group["samples"],
                    )


def read_retiring(head: Head) -> tuple[Retirement, ...]:
    """The models that end soon: of tiers beyond the ladder too."""
    with reading(head.path):
        return convert(head.document["retiring"], tuple[Retirement, ...])


def read_coverage(head: Head) -> Coverage | None:
    """How much of the application's model calls the tests reach; None where nobody looked."""
    with reading(head.path):
        return convert(head.document["coverage"], Coverage | None)


def read_requests(head: Head) -> Iterator[tuple[tuple[str, str], RequestParts]]:
    """What tells whether prompts changed: prompt and tier, and parts of their requests."""
    with reading(head.path):
        for prompt, tiers in head.document[_MERGING]["requests"].items():
            for tier, found in tiers.items():
                for parts in convert(found, list[RequestParts]):
                    yield (prompt, tier), parts


def read_settings(head: Head, gate: GateMode | None) -> Settings:
    """What the run was asked to do, with another gate if one is named."""
    with reading(head.path):
        said, lock = head.document["settings"], head.document[_MERGING]["lock"]
        tiers = tuple(
            _tier(entry["name"], entry["model"], said["tiers"][entry["name"]])
            for entry in head.document["ladder"]
        )
        return Settings(
            ladder=Ladder(tiers, said["flagship"]),
            comparison=said["comparison"],
            samples=said["samples"],
            max_samples=said["max_samples"],
            flagship_calls=said["flagship_calls"],
            margin=said["margin"],
            confidence=said["confidence"],
            record=said["record"],
            max_cost=Decimal(said["max_cost_usd"]),
            max_calls=said["max_calls"],
            replaces=tuple(said["replaces"]),
            ignore=convert(said["ignore"], tuple[IgnoreRule, ...]),
            ignore_hosts=tuple(said["ignore_hosts"]),
            prompts=convert(said["prompts"], dict[str, PromptSettings]),
            control=said["control"],
            wrappers=None if said["wrappers"] is None else tuple(said["wrappers"]),
            by=said["by"],
            locked={entry["prompt"]: convert(entry, LockEntry) for entry in lock["prompts"]},
            reverts=convert(lock["reverts"], tuple[Revert, ...]),
            gate=gate or head.document["gate"]["mode"],
            strict_lock=said["strict_lock"],
            max_age=said["max_age"],
            judge=convert(said["judge"], Judge | None),
            embeddings=convert(said["embeddings"], Embeddings | None),
        )


def _tier(name: str, model: str | None, said: Mapping[str, Any]) -> Tier:
    return Tier(
        name,
        model,
        base_url=said["base_url"],
        params=said["params"],
        drop_params=tuple(said["drop_params"]),
        rename_params=said["rename_params"],
    )
