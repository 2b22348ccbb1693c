"""What a request asks a model, as text for a reader."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

#: Characters of a request that are kept.
_MOST = 4_000

#: Where the text of a part of a message stands, in any of the APIs.
_TEXTS = ("text", "content", "output", "refusal")


def question(body: Any) -> str:
    """The messages, input or prompt of a request's parsed JSON body, each under its role.

    Never raises. At most about 4,000 characters; what is no text (images, audio) is only named.
    """
    if not isinstance(body, Mapping):
        return ""
    return shortened("\n\n".join(_parts(body)), _MOST)


def shortened(text: str, most: int) -> str:
    """About ``most`` characters of a request: it loses its middle.

    Instructions begin it, and the question itself, of which more is kept, ends it.
    """
    left_out = len(text) - most
    if left_out <= 0:
        return text
    start = most * 3 // 8
    return f"{text[:start]}\n… ({left_out:,} characters) …\n{text[start + left_out :]}"


def _parts(body: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(body.get("instructions"), str):
        yield _said("instructions", body["instructions"])
    asked = next((body[key] for key in ("messages", "input", "prompt") if key in body), None)
    for each in asked if isinstance(asked, list) else [asked]:
        if isinstance(each, Mapping):
            yield _said(str(each.get("role") or each.get("type") or "input"), _text(each))
        elif each is not None:
            yield _text(each)


def _said(role: str, text: str) -> str:
    return f"{role}:\n{text}"


def _text(value: Any) -> str:
    """The text of a message, or of a part of one."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(map(_text, value))
    if not isinstance(value, Mapping):
        return _compact(value)
    found = next((value[key] for key in _TEXTS if value.get(key)), None)
    calls = [_call(call) for call in value.get("tool_calls") or [] if isinstance(call, Mapping)]
    if "arguments" in value:
        calls.append(_call({"function": value}))
    parts = [*([] if found is None else [_text(found)]), *calls]
    return "\n".join(parts) if parts else f"({value.get('type') or 'nothing'})"


def _call(call: Mapping[str, Any]) -> str:
    function = call.get("function")
    if not isinstance(function, Mapping):
        return _compact(call)
    arguments = function.get("arguments")
    shown = arguments if isinstance(arguments, str) else _compact(arguments)
    return f"{function.get('name')}({shown})"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
