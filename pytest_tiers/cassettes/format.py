"""A cassette's text: VCR's format, made to be read in a review."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field

from pytest_tiers.cassettes.damage import MisshapenError, damaged
from pytest_tiers.cassettes.fields import hide_secret_fields
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.plain_yaml import parse
from pytest_tiers.cassettes.scrub import Scrubber
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


def recorded_call(
    request: SentRequest, response: Mapping[str, Any], about: Mapping[str, Any], scrub: Scrubber
) -> RecordedCall:
    """A call as it may be written: decompressed, indented, without secrets.

    ``response`` is as vcrpy's stubs hand it over. What a model wrote is kept as it is, save for
    the values of key variables.
    """
    body, encoding = _decompressed(response)
    headers = {
        name: values
        for name, values in scrub.headers(response["headers"]).items()
        if name != "content-encoding" or encoding
    }
    body = scrub.content(body)
    if not request.may_ask_any_model:
        body = hide_secret_fields(body, headers.get("content-type", [""])[0])
    interaction = {
        "request": {
            "method": request.method,
            "uri": scrub.url(request.url),
            "headers": scrub.headers(request.headers),
            "body": _readable(scrub.body(request.body, request.headers.get("content-type"))),
        },
        "response": {
            "status": dict(response["status"]),
            "headers": headers,
            "body": {"string": _readable(body)},
        },
    }
    return RecordedCall(interaction, about)


def dump(cassette: Cassette) -> str:
    """The cassette's text, after reading it back to the same values.

    Raises CassetteError where no text reads back the same.
    """
    trials = sorted(
        [*cassette.recordings.items(), *cassette.unfinished.items()],
        key=lambda item: (item[0], not item[1].complete),
    )
    document = {
        "version": 1,
        "interactions": [dict(call.interaction) for _, trial in trials for call in trial.calls],
        "metadata": {
            "pytest-tiers": FORMAT,
            "test": cassette.function,
            "tier": cassette.tier,
            "trials": [
                {
                    "case": case,
                    "sample": sample,
                    **({} if trial.complete else {"complete": False}),
                    **({"generation": trial.generation} if trial.generation else {}),
                    "calls": [dict(call.about) for call in trial.calls],
                }
                for (case, sample), trial in trials
            ],
        },
    }
    for dumper in (_Readable, _Quoted):
        # The Python emitter: libyaml's turns a body with one emoji into one escaped line.
        with contextlib.suppress(RecursionError):  # what somebody wrote by hand may hold itself
            text = yaml.dump(
                document, Dumper=dumper, allow_unicode=True, sort_keys=False, width=10**6
            )
            if parse(text) == document:
                return text
    raise CassetteError(f"the answers to {cassette.function} cannot be written as YAML.")


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
    return cassette


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


#: What no block of YAML text can hold; none of it is part of JSON's own syntax.
_NOT_IN_A_BLOCK = re.compile(
    "[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffe]"
)


class _Readable(yaml.SafeDumper):
    """Writes text of several lines as a block, other text in its own script."""


class _Quoted(yaml.SafeDumper):
    """Writes all text quoted: for the few characters that a block would lose."""


def _block_or_quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lossless = _NOT_IN_A_BLOCK.search(text) is None
    style = None if lossless and "\n" not in text else "|" if lossless else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Readable.add_representer(str, _block_or_quoted)
_Quoted.add_representer(str, _quoted)
for _dumper in (_Readable, _Quoted):
    # No anchors: each part of the file is read on its own.
    _dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]


def _decompressed(response: Mapping[str, Any]) -> tuple[bytes, str]:
    """The answer's body, and what it is still compressed with: nothing, if that can be undone."""
    body: bytes = response["body"].get("string") or b""
    names = [
        value
        for name, values in response["headers"].items()
        if name.lower() == "content-encoding"
        for value in (values if isinstance(values, list) else [values])
    ]
    if not names or not body:
        return body, ""
    encoding = ", ".join(names)
    # The clients' own decoders: the one that asked has said which encodings it accepts.
    for name in filter(importlib.util.find_spec, ("httpx2", "httpx")):
        client = importlib.import_module(name)
        try:
            plain = client.Response(200, headers={"content-encoding": encoding}, content=body)
        except client.DecodingError:
            return body, ""  # aiohttp and requests have decompressed it already
        if plain.content != body:
            return plain.content, ""
    return body, encoding


def _readable(body: bytes) -> str | bytes:
    """The body as text, JSON indented; bytes where it is not text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    try:
        value = json.loads(text)
        if isinstance(value, dict | list):
            indented = json.dumps(value, indent=2, ensure_ascii=False)
            indented = _NOT_IN_A_BLOCK.sub(lambda found: json.dumps(found[0])[1:-1], indented)
            if _exact(indented) == _exact(text):
                return indented
    except (ValueError, RecursionError):
        pass
    return text


def _exact(text: str) -> Any:
    """JSON with order, repeated keys and every digit kept."""
    return json.loads(text, object_pairs_hook=list, parse_float=Decimal)


def _bytes(body: str | bytes | None) -> bytes:
    if not isinstance(body, str | bytes | None):
        raise TypeError(f"a body is {body!r}")
    return body.encode() if isinstance(body, str) else body or b""
