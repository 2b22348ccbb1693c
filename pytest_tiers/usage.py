"""What a model's recorded answer says: tokens, text, errors; JSON and event streams.

Nothing here raises on a damaged or hostile body: what cannot be read is None or empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from pytest_tiers.event_streams import events, is_event_stream, parse_json
from pytest_tiers.records import Tokens

#: Above this a count is damage, not use; below it every price is exact.
_MOST_TOKENS = 2**53

#: Longest error message that is kept, in characters.
_LONGEST_MESSAGE = 2_000

#: Output items of the Responses API whose tools OpenAI bills per call, beside tokens
#: (https://platform.openai.com/docs/pricing, "Built-in tools").
_BILLED_TOOLS = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"}
)


class Answer(Struct, frozen=True):
    """One model's answer as recorded.

    ``model`` is the model that the answer names. ``tokens`` is None where usage is missing or
    malformed, never zeros. ``text`` is what the model said: content, then tool calls as
    ``name(arguments)``, or its refusal. ``reported_cost`` is the provider's own figure in USD.
    ``complete`` is False where a stream or JSON text breaks off, or is no answer at all.
    ``billed_apart`` means that the answer used what tokens do not pay for: audio, or a hosted
    tool such as web search. ``error_status`` is the status that an error inside a 200 answer
    names.
    """

    model: str | None = None
    tokens: Tokens | None = None
    text: str = ""
    service_tier: str | None = None
    reported_cost: Decimal | None = None
    finish_reason: str | None = None
    complete: bool = False
    billed_apart: bool = False
    error_message: str | None = None
    error_code: str | None = None
    error_type: str | None = None
    error_param: str | None = None
    error_status: int | None = None


def read_answer(endpoint: str, body: bytes | str, content_type: str | None = None) -> Answer:
    """Read a decompressed response body. Never raises.

    ``endpoint`` is ``chat/completions``, ``responses``, ``completions`` or ``embeddings``.
    """
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    text = text.removeprefix("\ufeff")
    if is_event_stream(text, content_type):
        stream = list(events(text))
        if endpoint == "responses":
            return _read_responses_stream(stream)
        return _read_chunks(endpoint, stream)
    value = parse_json(text)
    if isinstance(value, list) and value:
        value = value[0]  # Google's OpenAI endpoint wraps its errors in a list.
    if isinstance(value, dict):
        return _read_object(endpoint, value)
    message = " ".join(text.split())[:_LONGEST_MESSAGE]
    return Answer(error_message=message or None)


def _read_object(endpoint: str, value: Mapping[str, Any]) -> Answer:
    holder = {"responses": "output", "embeddings": "data"}.get(endpoint, "choices")
    complete = isinstance(value.get(holder), list) or bool(_error(value))
    if endpoint == "responses":
        said, finish = _items_text(_objects(value.get("output"))), _response_finish(value)
    else:
        choice = _first_choice(value)
        said, finish = _choice_text(choice), _string(choice.get("finish_reason"))
    return _answer(endpoint, value, _usage_of(value), text=said, finish=finish, complete=complete)


def _read_chunks(endpoint: str, events: Iterable[Mapping[str, Any] | None]) -> Answer:
    """A stream of chat or completion chunks, folded into the answer that they make up."""
    folded: dict[str, Any] = {}
    usage: Mapping[str, Any] | None = None
    finish: str | None = None
    done = False
    message = _StreamedMessage()
    for event in events:
        if event is None:
            done = True
            continue
        usage = _usage_of(event) or usage
        for key in ("model", "service_tier", "error"):
            folded[key] = event.get(key) or folded.get(key)
        if event.get("object") == "error":  # vLLM
            folded["error"] = event
        choice = _first_choice(event)
        finish = _string(choice.get("finish_reason")) or finish
        message.add(choice)
    complete = done or finish is not None or bool(folded.get("error"))
    return _answer(endpoint, folded, usage, text=message.text, finish=finish, complete=complete)


def _read_responses_stream(events: Iterable[Mapping[str, Any] | None]) -> Answer:
    """A stream of Responses events; the last one carries the whole response."""
    first: Mapping[str, Any] = {}
    items: list[Mapping[str, Any]] = []
    deltas: list[str] = []
    error: Mapping[str, Any] | None = None
    for event in events:
        kind = _string((event or {}).get("type")) or ""
        if event is None:
            continue
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            response = _object(event.get("response"))
            output = _objects(response.get("output")) or items
            return _read_object("responses", {**response, "output": output})
        if kind == "response.created":
            first = _object(event.get("response"))
        elif kind == "response.output_item.done":
            items.append(_object(event.get("item")))
        elif kind == "response.output_text.delta":
            deltas.append(_string(event.get("delta")) or "")
        elif kind == "error" or event.get("error"):
            error = _object(event.get("error")) or event
    partial = {key: first.get(key) for key in ("model", "service_tier")}
    text = _items_text(items) or "".join(deltas)
    return _answer("responses", {**partial, "error": error}, None, text=text, complete=bool(error))


def _answer(
    endpoint: str,
    value: Mapping[str, Any],
    usage: Mapping[str, Any] | None,
    *,
    text: str,
    complete: bool,
    finish: str | None = None,
) -> Answer:
    error = _error(value)
    # Usage in a chunk before the end counts only what came so far.
    counted = usage if usage is not None and complete else {}
    return Answer(
        model=_string(value.get("model")),
        tokens=_tokens(endpoint, counted),
        text=text,
        service_tier=_string(value.get("service_tier")),
        reported_cost=_money(counted.get("cost")),
        finish_reason=finish,
        complete=complete,
        billed_apart=_billed_apart(value, counted),
        error_message=error.get("message"),
        error_code=error.get("code"),
        error_type=error.get("type"),
        error_param=error.get("param"),
        error_status=_error_status(value.get("error")),
    )


# Tokens


def _usage_of(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The usage of an answer or chunk: at the top, in Groq's ``x_groq``, in Moonshot's choice."""
    for holder in (value, _object(value.get("x_groq")), _first_choice(value)):
        if usage := _object(holder.get("usage")):
            return usage
    return None


def _tokens(endpoint: str, usage: Mapping[str, Any]) -> Tokens | None:
    total = _count(usage.get("total_tokens"))
    given = _count(_either(usage, "prompt_tokens", "input_tokens"))
    output = _count(_either(usage, "completion_tokens", "output_tokens"))
    if endpoint == "embeddings":
        given, output = total if given is None else given, output or 0
    details = _object(_either(usage, "prompt_tokens_details", "input_tokens_details"))
    cached = _optional_count(
        details.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),  # DeepSeek
        usage.get("cached_tokens"),  # Moonshot
    )
    written = _optional_count(details.get("cache_write_tokens"))
    reasoning = _optional_count(
        _object(_either(usage, "completion_tokens_details", "output_tokens_details")).get(
            "reasoning_tokens"
        )
    )
    if given is None or output is None or cached is None or written is None or reasoning is None:
        return None
    if cached + written > given or given + output == 0:
        return None
    # What the total counts beyond both is reasoning that completion_tokens leaves out (xAI
    # reports it beside them, Google in the total alone); it is billed as output.
    left_out = max(0, total - given - output) if total is not None else 0
    if total is None and reasoning > output:
        left_out = reasoning
    output += left_out
    return Tokens(given, cached, output, min(max(reasoning, left_out), output), written)


def _count(value: object) -> int | None:
    """A token count, or None where it is anything but a plausible whole number."""
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None


def _optional_count(*values: object) -> int | None:
    """The first count that is given, 0 where none is, None where it is malformed."""
    for value in values:
        if value is not None:
            return _count(value)
    return 0


def _money(value: object) -> Decimal | None:
    """A JSON number as USD, exact as written: ``repr`` of a float is its shortest decimal."""
    if type(value) not in (int, float):
        return None
    amount = Decimal(repr(value))
    return amount if amount.is_finite() and amount >= 0 else None


def _billed_apart(value: Mapping[str, Any], usage: Mapping[str, Any]) -> bool:
    details = (
        _object(_either(usage, "prompt_tokens_details", "input_tokens_details")),
        _object(_either(usage, "completion_tokens_details", "output_tokens_details")),
    )
    if any(_count(part.get("audio_tokens")) for part in details):
        return True
    if any(map(_count, _object(usage.get("server_tool_use_details")).values())):  # OpenRouter
        return True
    kinds = (_string(item.get("type")) for item in _objects(value.get("output")))
    return any(kind in _BILLED_TOOLS for kind in kinds)


# Text


class _StreamedMessage:
    """A message put together from the deltas of a chat or completion stream."""

    def __init__(self) -> None:
        self._parts: dict[str, list[str]] = {"content": [], "refusal": []}
        self._calls: dict[object, dict[str, str]] = {}

    def add(self, choice: Mapping[str, Any]) -> None:
        """Add one chunk's first choice."""
        delta = _object(choice.get("delta"))
        text = _content_text(delta.get("content")) or _string(choice.get("text"))
        self._parts["content"].append(text or "")
        self._parts["refusal"].append(_string(delta.get("refusal")) or "")
        calls = _objects(delta.get("tool_calls"))
        if function := _object(delta.get("function_call")):
            calls.append({"function": function})
        for place, call in enumerate(calls):
            self._add_call(call.get("index", place), call)

    def _add_call(self, index: object, call: Mapping[str, Any]) -> None:
        so_far = self._calls.setdefault(str(index), {"name": "", "arguments": ""})
        name, arguments = _function(call)
        so_far["name"] += name
        so_far["arguments"] += arguments if isinstance(arguments, str) else _compact(arguments)

    @property
    def text(self) -> str:
        """The text so far."""
        calls = [_call_text(call["name"], call["arguments"]) for call in self._calls.values()]
        content, refusal = ("".join(parts) for parts in self._parts.values())
        return "\n".join(filter(None, [content, *calls])) or refusal


def _choice_text(choice: Mapping[str, Any]) -> str:
    message = _object(choice.get("message"))
    content = _content_text(message.get("content")) or _string(choice.get("text")) or ""
    calls = _objects(message.get("tool_calls"))
    if function := _object(message.get("function_call")):
        calls.append({"function": function})
    parts = [content, *(_call_text(*_function(call)) for call in calls)]
    return "\n".join(filter(None, parts)) or _string(message.get("refusal")) or ""


def _content_text(content: object) -> str:
    """A message's content: text, or (Mistral) a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    return "".join(_string(part.get("text")) or "" for part in _objects(content))


def _function(call: Mapping[str, Any]) -> tuple[str, object]:
    """Name and arguments of a chat tool call, function or custom."""
    function = _object(call.get("function")) or _object(call.get("custom"))
    return _string(function.get("name")) or "", _either(function, "arguments", "input") or ""


def _items_text(items: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(filter(None, map(_item_text, items)))


def _item_text(item: Mapping[str, Any]) -> str:
    """The text of one output item of the Responses API."""
    kind = item.get("type")
    if kind == "message":
        parts = _objects(item.get("content"))
        return "".join(
            _string(part.get("text")) or _string(part.get("refusal")) or "" for part in parts
        )
    if kind in ("function_call", "custom_tool_call"):
        arguments = _either(item, "arguments", "input") or ""
        return _call_text(_string(item.get("name")) or "", arguments)
    return ""


def _call_text(name: str, arguments: object) -> str:
    """A tool call as ``name(arguments)``, with JSON arguments compact so that they compare."""
    value = parse_json(arguments) if isinstance(arguments, str) else arguments
    return f"{name}({arguments if value is None else _compact(value)})"


def _compact(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return "..."


def _response_finish(response: Mapping[str, Any]) -> str | None:
    """The Responses counterpart of a finish reason: why it is incomplete, else its status."""
    reason = _string(_object(response.get("incomplete_details")).get("reason"))
    return reason or _string(response.get("status"))


# Errors


def _error(value: Mapping[str, Any]) -> dict[str, str | None]:
    """Message, code, type and param of an error body, as OpenAI, FastAPI and others word it."""
    error = value.get("error")
    if isinstance(error, dict) and error:
        fields = {key: _label(error.get(key)) for key in ("message", "code", "type", "param")}
        return {**fields, "message": fields["message"] or _compact(error)[:_LONGEST_MESSAGE]}
    if isinstance(error, str) and error:
        return {"message": error[:_LONGEST_MESSAGE], "code": _label(value.get("code"))}
    if value.get("choices") or value.get("output") or value.get("data"):
        return {}
    detail = value.get("detail") or value.get("message")
    if not detail:
        return {}
    message = detail if isinstance(detail, str) else _compact(detail)
    return {
        "message": message[:_LONGEST_MESSAGE],
        "code": _label(value.get("code")),
        "type": _label(value.get("type")),
        "param": _label(value.get("param")),
    }


def _label(value: object) -> str | None:
    """A code or message: OpenRouter and Mistral send their codes as numbers."""
    if type(value) is int and value < _MOST_TOKENS:
        return str(value)
    return value[:_LONGEST_MESSAGE] if isinstance(value, str) and value else None


def _error_status(error: object) -> int | None:
    """The HTTP status that an error names: Groq's ``status_code``, OpenRouter's ``code``."""
    fields = _object(error)
    for key in ("status_code", "code"):
        value = fields.get(key)
        if type(value) is int and 100 <= value < 600:
            return value
    return None


# JSON and event streams


def _first_choice(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The choice with index 0 (the application's n may be greater)."""
    for choice in _objects(value.get("choices")):
        if not choice.get("index"):
            return choice
    return {}


def _either(value: Mapping[str, Any], *keys: str) -> Any:
    """The first of the keys that is there and not null."""
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
