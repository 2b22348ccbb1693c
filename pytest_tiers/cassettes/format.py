"""A cassette as it is read: VCR's format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field

from pytest_tiers.cassettes.damage import MisshapenError, damaged
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.plain_yaml import parse
from pytest_tiers.errors import CassetteError

#: Version of what stands in a cassette's ``metadata``.
FORMAT = 1


class RecordedCall(Struct, frozen=True):
    """One HTTP exchange as it stands in a cassette.

    ``interaction`` is VCR's request and response; ``about`` tells what VCR has no place for:
    models, time (UTC), seconds.
    """

    interaction: Mapping[str, Any]
    about: Mapping[str, Any]

    @property
    def request(self) -> SentRequest:
        """The recorded request."""
        request = self.interaction["request"]
        headers = {name: values[0] for name, values in request.get("headers", {}).items()}
        return SentRequest(request["method"], request["uri"], headers, _bytes(request["body"]))

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return int(self.interaction["response"]["status"]["code"])

    @property
    def body(self) -> bytes:
        """The answer's body, not compressed."""
        return _bytes(self.interaction["response"]["body"]["string"])

    @property
    def content_type(self) -> str | None:
        """The answer's content type."""
        return self.header("content-type")

    def header(self, name: str) -> str | None:
        """One of the answer's headers; its name in lower case."""
        values = self.interaction["response"]["headers"].get(name)
        return values[0] if values else None

    def vcr_response(self) -> dict[str, Any]:
        """The answer as vcrpy's HTTP stubs want it."""
        response = self.interaction["response"]
        return {
            "status": dict(response["status"]),
            "headers": {name: list(values) for name, values in response["headers"].items()},
            "body": {"string": self.body},
        }


class Recording(Struct, frozen=True):
    """The calls of one trial, in order. Not ``complete``: the trial did not come to its end.

    ``generation`` grows when the same requests are asked anew.
    """

    calls: tuple[RecordedCall, ...]
    complete: bool = True
    generation: int = 0


#: Case and sample.
TrialKey = tuple[str, int]


class Cassette(Struct):
    """All recordings of one test function on one tier.

    ``unfinished`` holds answers that were paid for in a trial that did not come to its end,
    while ``recordings`` may still hold an older, complete recording of that trial.
    """

    function: str
    tier: str
    recordings: dict[TrialKey, Recording] = field(default_factory=dict)
    unfinished: dict[TrialKey, Recording] = field(default_factory=dict)


#: What reading a value of another shape than expected raises, in PyYAML too (``!!bool maybe``).
WRONG_SHAPE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def load(path: Path) -> Cassette:
    """Read a cassette.

    Raises CassetteError naming file and line; FileNotFoundError where there is none. Nothing in
    the file is executed.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise CassetteError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        text = data.decode()
        if not text.endswith("\n"):
            raise ValueError("it is cut off")
        return _cassette(parse(text))
    except (MisshapenError, yaml.YAMLError, RecursionError, *WRONG_SHAPE) as error:
        raise damaged(path, data, error) from error


def _cassette(document: Any) -> Cassette:
    """The cassette in a document. Raises MisshapenError.

    The metadata stand last and end in a time for every interaction: none of a file's beginnings
    is a cassette with fewer answers.
    """
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or "pytest-tiers" not in metadata:
        raise MisshapenError("it has no metadata, because it is cut off or another tool wrote it")
    if metadata["pytest-tiers"] != FORMAT:
        raise MisshapenError(
            f"format {metadata['pytest-tiers']}, expected {FORMAT}", "metadata", "pytest-tiers"
        )
    try:
        cassette = Cassette(str(metadata["test"]), str(metadata["tier"]))
        interactions = list(enumerate(document["interactions"]))[::-1]
        trials = list(enumerate(metadata["trials"]))
    except WRONG_SHAPE as error:
        raise MisshapenError(_wrong(error), "metadata") from error
    for number, trial in trials:
        place = ("metadata", "trials", number)
        try:
            key = (str(trial["case"]), int(trial["sample"]))
            calls = tuple(
                _recorded(interactions.pop() if interactions else None, about)
                for about in trial["calls"]
            )
            recording = Recording(
                calls, trial.get("complete", True), int(trial.get("generation", 0))
            )
        except WRONG_SHAPE as error:
            raise MisshapenError(_wrong(error), *place) from error
        trials_of_its_kind = cassette.recordings if recording.complete else cassette.unfinished
        if key in trials_of_its_kind:
            raise MisshapenError(f"a second recording of case {key[0]}, sample {key[1]}", *place)
        trials_of_its_kind[key] = recording
    if interactions:
        raise MisshapenError(
            "more interactions than the metadata lists", "interactions", interactions[-1][0]
        )
    _check_that_nothing_stands_twice(document)
    return cassette


def _check_that_nothing_stands_twice(document: Any) -> None:
    """Raise MisshapenError for an alias: a few lines of them can stand for gigabytes."""
    seen: set[int] = set()
    waiting: list[Any] = [document]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            raise MisshapenError("it has YAML aliases, which are never written here")
        seen.add(id(one))
        values = one.values() if isinstance(one, dict) else one
        waiting += [value for value in values if isinstance(value, dict | list | tuple)]


def _recorded(numbered: tuple[int, Any] | None, about: Mapping[str, Any]) -> RecordedCall:
    """A call of the shape that is used later. Raises MisshapenError, or what is in WRONG_SHAPE."""
    if numbered is None:
        raise ValueError("more calls than interactions")
    # The seconds are the last line of a call, and of the file.
    seconds = about["seconds"]
    if not isinstance(seconds, float | int | None) or not math.isfinite(seconds or 0):
        raise TypeError(f"seconds are {seconds!r}")
    if not isinstance(about.get("recorded_at"), str | None):
        raise TypeError(f"recorded_at is {about['recorded_at']!r}")
    number, interaction = numbered
    call = RecordedCall(interaction, about)
    try:
        for message in (interaction["request"], interaction["response"]):
            for name, values in message["headers"].items():
                if not isinstance(values, list) or not values or not _are_text(name, *values):
                    raise TypeError(f"header {name} is {values!r}")
        for name in ("method", "uri"):
            if not _are_text(value := interaction["request"][name]):
                raise TypeError(f"{name} is {value!r}")
        if not isinstance(reason := interaction["response"]["status"].get("message"), str | None):
            raise TypeError(f"a status's message is {reason!r}")
        _ = call.request.endpoint, call.status, call.vcr_response()
    except WRONG_SHAPE as error:
        raise MisshapenError(_wrong(error), "interactions", number) from error
    return call


def _are_text(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _wrong(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _bytes(body: str | bytes | None) -> bytes:
    if not isinstance(body, str | bytes | None):
        raise TypeError(f"a body is {body!r}")
    return body.encode() if isinstance(body, str) else body or b""
