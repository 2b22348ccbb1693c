"""A cassette as it is written: VCR's format, made to be read in a review."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import yaml

from pytest_tiers.cassettes.fields import hide_secret_fields
from pytest_tiers.cassettes.format import FORMAT, Cassette, RecordedCall
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.plain_yaml import parse
from pytest_tiers.cassettes.scrub import Scrubber
from pytest_tiers.errors import CassetteError


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
        with contextlib.suppress(RecursionError):  # what somebody wrote by hand may be nested deep
            text = yaml.dump(
                document, Dumper=dumper, allow_unicode=True, sort_keys=False, width=10**6
            )
            if parse(text) == document:
                return text
    raise CassetteError(f"the answers to {cassette.function} cannot be written as YAML.")


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
