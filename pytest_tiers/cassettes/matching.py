"""Which recorded request a new request is the same as, and why none is."""

from __future__ import annotations

import copy
import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.cassettes.fields import hide_secret_fields, hide_secret_query
from pytest_tiers.fingerprints import parts_that_differ
from pytest_tiers.records import Part
from pytest_tiers.settings import IgnoreRule

#: Paths of the calls that a tier stands in for, longest first.
ENDPOINTS = ("chat/completions", "completions", "responses")

#: Fields that say who asks, not what is asked (platform.openai.com/docs/api-reference/chat).
NOT_COMPARED = frozenset({"metadata", "user", "safety_identifier", "prompt_cache_key"})

#: One of these is in the body of every call of a model.
_IN_A_MODEL_CALL = frozenset({"model", "messages", "prompt", "input"})

#: The same for the APIs of other makers, which no tier stands in for.
_IN_ANY_MODEL_CALL = _IN_A_MODEL_CALL | {"contents"}

#: Text that differs from run to run, by the name a message gives it.
_PASSING = {
    "a date": r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?",
    "a uuid": r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
    "a temporary path": r'(?:/private)?/(?:tmp|var/folders)/[^\s"\x27]+',
}


class SentRequest(Struct, frozen=True, dict=True):
    """An HTTP request as it goes out; header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def endpoint(self) -> str | None:
        """Which model endpoint this calls, e.g. ``chat/completions``; None for anything else."""
        path = urlsplit(self.url).path
        if self.method != "POST":
            return None
        return next((end for end in ENDPOINTS if path.endswith("/" + end)), None)

    @property
    def is_embeddings(self) -> bool:
        """Whether this asks for embeddings."""
        return self.method == "POST" and urlsplit(self.url).path.endswith("/embeddings")

    @cached_property
    def json(self) -> Any:
        """The parsed JSON body, not to be changed; None where it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def asks_model(self) -> bool:
        """Whether this is a call of a model, and not of a service with a path like a model's."""
        body = self.json
        return (
            self.endpoint is not None
            and isinstance(body, dict)
            and not _IN_A_MODEL_CALL.isdisjoint(body)
        )

    @property
    def may_ask_any_model(self) -> bool:
        """Whether a model of whatever API may have written the answer."""
        body = self.json
        return isinstance(body, dict) and not _IN_ANY_MODEL_CALL.isdisjoint(body)


#: What a project's hook ``pytest_tiers_normalise_request`` may change: method, url and body.
Normalise = Callable[[dict[str, Any]], None]


class Matcher:
    """Tells which requests count as the same."""

    def __init__(self, ignore: Sequence[IgnoreRule] = (), normalise: Normalise | None = None):
        self._ignore = [(_path(rule.path), rule.pattern) for rule in ignore]
        self._normalise = normalise

    def normalised(self, request: SentRequest) -> dict[str, Any]:
        """What of a request is compared: method, path or URL, and body without what is ignored.

        Secrets neither: an older recording may hold one that is not written any more.
        """
        content_type = request.headers.get("content-type", "")
        clean = hide_secret_fields(request.body, content_type)
        request = replace(request, body=clean) if clean != request.body else request
        # A hook may change whatever it is handed.
        body = request.json if self._normalise is None else copy.deepcopy(request.json)
        if request.asks_model:
            body = {key: value for key, value in body.items() if key not in NOT_COMPARED}
            for path, pattern in self._ignore:
                body = _without(body, path, pattern)
            compared = {"method": request.method, "url": request.endpoint, "body": body}
        else:
            boundary = _boundary(content_type)
            raw = request.body.replace(boundary, b"BOUNDARY") if boundary else request.body
            compared = {
                "method": request.method,
                "url": hide_secret_query(request.url),
                "body": raw.decode("utf-8", "backslashreplace") if body is None else body,
            }
        if self._normalise is not None:
            self._normalise(compared)
        return compared

    def key(self, request: SentRequest) -> str:
        """The same text for requests that count as the same."""
        text = json.dumps(self.normalised(request), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def nearest(self, request: SentRequest, recorded: Iterable[SentRequest]) -> SentRequest | None:
        """The most similar recorded request; None where there is none."""
        lines = _lines(self.normalised(request))
        return max(
            recorded,
            key=lambda other: _similarity(_lines(self.normalised(other)), lines),
            default=None,
        )

    def changed(self, request: SentRequest, nearest: SentRequest | None) -> tuple[Part, ...]:
        """In which parts a model is asked something else than in the nearest recorded request."""
        if nearest is None or not (request.asks_model and nearest.asks_model):
            return ()
        return parts_that_differ(self.normalised(nearest)["body"], self.normalised(request)["body"])

    def explain(self, request: SentRequest, nearest: SentRequest | None) -> str:
        """How ``request`` differs from the nearest recorded one, in lines of text."""
        if nearest is None:
            return "nothing is recorded for this trial."
        wanted, near = self.normalised(request), self.normalised(nearest)
        if near == wanted:
            return "every recorded answer to this request is used already."
        lines = _lines(wanted)
        changes = _changes(_lines(near), lines)
        shown = "\n".join(changes[:20])
        more = f"\n... {len(changes) - 20} more lines differ" if len(changes) > 20 else ""
        hint = _ignore_hint(near["body"], wanted["body"]) if request.asks_model else ""
        return f"the nearest recorded request differs:\n{shown}{more}{hint}"


def _similarity(one: list[str], other: list[str]) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _lines(compared: dict[str, Any]) -> list[str]:
    """The request as JSON, a prompt of several lines as several lines."""
    text = json.dumps(compared, indent=1, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode().replace("\\n", "\n").split("\n")


def _changes(recorded: list[str], now: list[str], longest: int = 300) -> list[str]:
    """The lines that differ; of long ones the part where they do."""
    changes = [
        line
        for line in difflib.unified_diff(recorded, now, "recorded", "now", n=0, lineterm="")
        if not line.startswith("@@")
    ]
    old, new = ([line for line in changes[2:] if line[0] == sign] for sign in "-+")
    starts = {
        line: max(0, _same_until(one[1:], other[1:]) - 100)
        for one, other in itertools.zip_longest(old, new, fillvalue="")
        for line in (one, other)
    }
    return [
        line if len(line) <= longest else _part(line, starts.get(line, 0), longest)
        for line in changes
    ]


def _same_until(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)


def _part(line: str, start: int, longest: int) -> str:
    """A changed line's sign and the part of it from ``start``."""
    text = line[1:]
    before, after = "... " * (start > 0), " ..." * (start + longest < len(text))
    return f"{line[0]}{before}{text[start : start + longest]}{after} ({len(text)} characters)"


def _ignore_hint(recorded: Any, now: Any) -> str:
    """The configuration line to add where only something passing differs."""
    differences = list(dict.fromkeys(_differences(recorded, now)))
    # One kind of text is named where that is enough, else all that are there.
    for names in (*((name,) for name in _PASSING), tuple(_PASSING)):
        rules = {
            f"{{ path = \"{path}\", pattern = '{_PASSING[name]}' }}": name
            for path, *texts in differences
            for name in names
            if any(re.search(_PASSING[name], text) for text in texts)
        }
        blank = [re.compile(_PASSING[name]) for name in names]
        if rules and all(
            _blanked(one, blank) == _blanked(other, blank) for _, one, other in differences
        ):
            kinds = " and ".join(dict.fromkeys(rules.values()))
            return (
                f"\nOnly {kinds} {'differs' if len(names) == 1 else 'differ'}. To match all the "
                f"same, add to [tool.pytest-tiers]:\n  ignore = [{', '.join(rules)}]"
            )
    return ""


def _blanked(text: str, patterns: Iterable[re.Pattern[str]]) -> str:
    for pattern in patterns:
        text = pattern.sub("", text)
    return text


def _differences(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Where two bodies differ, as an ignore rule names it, with both values as text."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _differences(one[key], other[key], f"{path}.{key}" if path else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for here, there in zip(one, other, strict=True):
            yield from _differences(here, there, f"{path}[*]")
    elif isinstance(one, str) and isinstance(other, str):
        if one != other:
            yield path, one, other
    elif one != other:
        yield path, "", "not text"


def _boundary(content_type: str) -> bytes:
    """The separator of a multipart body, which is random in each request."""
    found = re.search(r'boundary="?([^";]+)', content_type)
    return found.group(1).encode() if found else b""


def _path(text: str) -> list[str]:
    """``messages[*].content`` as the steps messages, [*], content."""
    return re.findall(r"\[\*\]|\[\d+\]|[^.\[\]]+", text)


def _without(value: Any, path: list[str], pattern: str | None) -> Any:
    """A copy of ``value`` without what stands at ``path`` (only what ``pattern`` matches)."""
    if not path:
        return re.sub(pattern, "", value) if pattern and isinstance(value, str) else value
    step, rest = path[0], path[1:]
    if isinstance(value, list) and step.startswith("["):
        at = range(len(value)) if step == "[*]" else [int(step[1:-1])]
        return [
            _without(item, rest, pattern) if index in at and (rest or pattern) else item
            for index, item in enumerate(value)
            if rest or pattern or index not in at
        ]
    if not isinstance(value, dict) or step not in value:
        return value
    if not rest and not pattern:
        return {key: item for key, item in value.items() if key != step}
    return {**value, step: _without(value[step], rest, pattern)}
