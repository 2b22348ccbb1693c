"""Which recorded request a new request is the same as, and why none is."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pytest_tiers.settings import IgnoreRule

#: Paths of the calls that a tier stands in for, longest first.
ENDPOINTS = ("chat/completions", "completions", "responses")

#: Fields that say who asks, not what is asked (platform.openai.com/docs/api-reference/chat).
NOT_COMPARED = frozenset({"metadata", "user", "safety_identifier", "prompt_cache_key"})

#: Text that differs from run to run, by the name a message gives it.
_PASSING = {
    "a date": r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?",
    "a uuid": r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
    "a temporary path": r"(?:/private)?/(?:tmp|var/folders)/[^\s\"']+",
}


@dataclass(frozen=True, slots=True)
class SentRequest:
    """An HTTP request as it goes out; header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def endpoint(self) -> str | None:
        """Which model endpoint this calls, e.g. ``chat/completions``; None for anything else."""
        path = urlsplit(self.url).path
        if self.method != "POST":
            return None
        return next((end for end in ENDPOINTS if path.endswith("/" + end)), None)

    @property
    def json(self) -> Any:
        """The parsed JSON body; None where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


#: What a project's hook ``pytest_tiers_normalise_request`` may change: method, url and body.
Normalise = Callable[[dict[str, Any]], None]


class Matcher:
    """Tells which requests count as the same."""

    def __init__(self, ignore: Sequence[IgnoreRule] = (), normalise: Normalise | None = None):
        self._ignore = [(_path(rule.path), rule.pattern) for rule in ignore]
        self._normalise = normalise

    def normalised(self, request: SentRequest) -> dict[str, Any]:
        """What of a request is compared: method, path or URL, and body without what is ignored."""
        body = request.json
        endpoint = request.endpoint
        if endpoint is not None and isinstance(body, dict):
            body = {key: value for key, value in body.items() if key not in NOT_COMPARED}
            for path, pattern in self._ignore:
                body = _without(body, path, pattern)
            compared = {"method": request.method, "url": endpoint, "body": body}
        else:
            boundary = _boundary(request.headers.get("content-type", ""))
            raw = request.body.replace(boundary, b"BOUNDARY") if boundary else request.body
            compared = {
                "method": request.method,
                "url": request.url,
                "body": raw.decode("utf-8", "backslashreplace") if body is None else body,
            }
        if self._normalise is not None:
            self._normalise(compared)
        return compared

    def key(self, request: SentRequest) -> str:
        """The same text for requests that count as the same."""
        text = json.dumps(self.normalised(request), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def explain(self, request: SentRequest, recorded: Iterable[SentRequest]) -> str:
        """How ``request`` differs from the most similar recorded one, in lines of text."""
        wanted = _lines(self.normalised(request))
        others = [_lines(self.normalised(other)) for other in recorded]
        if not others:
            return "nothing is recorded for this trial."
        near = max(others, key=lambda lines: _similarity(lines, wanted))
        if near == wanted:
            return "every recorded answer to this request is used already."
        changes = [
            line
            for line in difflib.unified_diff(near, wanted, "recorded", "now", n=0, lineterm="")
            if not line.startswith("@@")
        ]
        shown = "\n".join(_shortened(line) for line in changes[:20])
        more = f"\n... {len(changes) - 20} more lines differ" if len(changes) > 20 else ""
        return f"the nearest recorded request differs:\n{shown}{more}{_ignore_hint(near, wanted)}"


def _similarity(one: list[str], other: list[str]) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _lines(compared: dict[str, Any]) -> list[str]:
    text = json.dumps(compared, indent=1, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode().splitlines()


def _shortened(line: str, longest: int = 300) -> str:
    return line if len(line) <= longest else f"{line[:longest]}... ({len(line)} characters)"


def _ignore_hint(near: list[str], wanted: list[str]) -> str:
    """The configuration line to add where only something passing differs."""
    for name, pattern in _PASSING.items():
        blank = re.compile(pattern)
        if [blank.sub("", line) for line in near] == [blank.sub("", line) for line in wanted]:
            return (
                f"\nOnly {name} differs. To match all the same, add to [tool.pytest-tiers]:\n"
                f"  ignore = [{{ path = \"messages[*].content\", pattern = '{pattern}' }}]"
            )
    return ""


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
