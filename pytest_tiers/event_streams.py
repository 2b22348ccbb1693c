"""Server-sent events, and JSON that may be damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any


def is_event_stream(text: str, content_type: str | None) -> bool:
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return True
    # A body without a useful type; no JSON text starts like this.
    return text.lstrip().startswith(("data:", "event:"))


def events(text: str) -> Iterator[Mapping[str, Any] | None]:
    """The data of each event; None for ``[DONE]``. What does not parse is left out.

    Lines end as the specification of event streams says, not where `str.splitlines` would
    split: U+2028 and U+0085 occur inside JSON strings.
    """
    data: list[str] = []
    for line in [*re.split(r"\r\n|\n|\r", text), ""]:
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
        if line or not data:
            continue
        joined, data = "\n".join(data), []
        if joined.strip() == "[DONE]":
            yield None
        elif isinstance(event := parse_json(joined), dict):
            yield event


def parse_json(text: str) -> Any:
    """The JSON value, or None. A number of 5,000 digits is a ValueError, deep nesting another."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
