"""What a prompt's requests have in common, as short hashes: whether a prompt has changed."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from pytest_tiers.records import PARTS, Fingerprint, Part, RequestParts

#: Keys of a request's body that say what is asked, not how.
_TEXT = frozenset({"messages", "input", "prompt", "instructions"})

#: Keys that change nothing of an answer, or that a tier sets.
_LEFT_OUT = frozenset(
    {"model", "stream", "metadata", "user", "safety_identifier", "prompt_cache_key"}
)

#: Where the shape of an answer is asked for.
_SCHEMA = frozenset({"response_format", "text", "tools", "functions"})

#: Who speaks in what a model said earlier, which differs from tier to tier.
_ANSWERS = frozenset({"assistant", "tool", "function"})

#: Lines that are looked at; the instructions stand among the first.
_MOST_LINES = 500

#: Shorter values of a parameter occur in any text.
_SHORTEST = 3


def request_parts(
    bodies: Iterable[Mapping[str, Any]], case: Mapping[str, Any], tier: Mapping[str, Any]
) -> RequestParts:
    """The parts of a trial's requests: parsed JSON bodies as the application wrote them.

    ``case`` are the parameters of the trial's case, whose values are left out of the text where
    they stand there; ``tier`` is what the tier changes in requests.
    """
    bodies = list(bodies)
    # Longest first: one value may be the beginning of another.
    data = sorted(
        {line for value in case.values() for line in _values(value)},
        key=lambda value: (-len(value), value),
    )
    said = (
        (role, line)
        for body in bodies
        for role, text in _texts(body)
        for line in text.split("\n")
        if line.strip()
    )
    lines = {
        _hash([role, _without(data, line)]) for role, line in itertools.islice(said, _MOST_LINES)
    }
    schemas = [{key: body[key] for key in sorted(_SCHEMA.intersection(body))} for body in bodies]
    known = _TEXT | _LEFT_OUT | _SCHEMA
    others = [{key: body[key] for key in sorted(set(body) - known)} for body in bodies]
    return RequestParts(
        tuple(sorted(lines)),
        _hash(_distinct(schemas)) if any(schemas) else None,
        _hash([_distinct(others), tier]),
    )


def parts_that_differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Part, ...]:
    """In which parts the bodies of two requests differ."""
    keys = {key for key in (*one, *other) if one.get(key) != other.get(key)}
    found = {
        "model": "model" in keys,
        "prompt": bool(keys & _TEXT),
        "schema": bool(keys & _SCHEMA),
        "parameters": bool(keys - _TEXT - _SCHEMA - {"model"}),
    }
    return tuple(part for part in PARTS if found[part])


def common_parts(trials: Iterable[RequestParts | None]) -> list[RequestParts]:
    """As few parts as have the same `fingerprint`, alone or together with those of other trials."""
    known = [parts for parts in trials if parts is not None]
    if not known:
        return []
    common = set(known[0].lines).intersection(*(parts.lines for parts in known[1:]))
    lines = tuple(sorted(common))
    schemas = sorted({parts.schema for parts in known if parts.schema is not None})
    parameters = sorted({parts.parameters for parts in known})
    pairs = zip_longest(schemas, parameters, fillvalue=None)
    return [
        RequestParts(lines, schema or next(iter(schemas), None), others or parameters[0])
        for schema, others in pairs
    ]


def fingerprint(trials: Iterable[RequestParts | None]) -> Fingerprint:
    """What the trials of one prompt on one tier have in common.

    ``request`` is of the lines that all cases share, None where they share none.
    """
    known = common_parts(trials)
    if not known:
        return Fingerprint()
    schemas = {parts.schema for parts in known if parts.schema is not None}
    return Fingerprint(
        request=_hash(known[0].lines) if known[0].lines else None,
        schema=_hash(sorted(schemas)) if schemas else None,
        parameters=_hash(sorted({parts.parameters for parts in known})),
    )


def _distinct(values: Iterable[Any]) -> list[str]:
    """The different values, so that another turn of the same conversation changes nothing."""
    return sorted({json.dumps(value, sort_keys=True, default=str) for value in values})


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without(data: Sequence[str], line: str) -> str:
    """The line with ``{}`` in place of each value that stands there as a word of its own."""
    parts: list[str] = []
    end = 0
    while found := min(
        ((at, rank) for rank, value in enumerate(data) if (at := _find(value, line, end)) >= 0),
        default=None,
    ):
        at, rank = found
        parts += [line[end:at], "{}"]
        end = at + len(data[rank])
    return "".join((*parts, line[end:]))


def _find(value: str, line: str, start: int) -> int:
    """Where a value next stands between what is no letter, digit or underscore; -1: nowhere."""
    at, size = line.find(value, start), len(value)
    while at >= 0 and (_in_word(line[at - 1 : at]) or _in_word(line[at + size : at + size + 1])):
        at = line.find(value, at + 1)
    return at


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _values(value: Any) -> Iterator[str]:
    """The lines of a parameter's texts, and its numbers."""
    if isinstance(value, str):
        yield from (line for line in value.split("\n") if len(line) >= _SHORTEST)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _values(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _values(each)


def _texts(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who speaks and what is said, answers of models left out."""
    for key in sorted(_TEXT.intersection(body)):
        yield from _said(key, body[key])


def _said(role: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield role, value
    elif isinstance(value, list):
        for each in value:
            yield from _said(role, each)
    elif isinstance(value, Mapping):
        who = str(value.get("role") or role)
        if who in _ANSWERS or str(value.get("type", "")).endswith("_call_output"):
            return
        for key in ("content", "text", "input_text"):
            if key in value:
                yield from _said(who, value[key])
