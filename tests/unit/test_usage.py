from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tiers.records import Tokens
from pytest_tiers.statuses import is_unsupported, read_status, stops_tier
from pytest_tiers.usage import Answer, read_answer

CHAT = "chat/completions"


def chat(message: dict[str, Any] | None = None, **top: Any) -> bytes:
    body = {
        "model": "nano-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message or {"content": "Hi"}}],
        **top,
    }
    return json.dumps(body).encode()


def responses(*output: dict[str, Any], **top: Any) -> bytes:
    return json.dumps({"model": "nano-1", "status": "completed", "output": output, **top}).encode()


def sse(*events: object, end: str = "\n\n") -> str:
    lines = (event if isinstance(event, str) else json.dumps(event) for event in events)
    return "".join(f"data: {line}{end}" for line in lines)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **top: Any) -> Any:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"model": "nano-1", "choices": [choice], **top}


def tokens_of(usage: object, endpoint: str = CHAT) -> Tokens | None:
    return read_answer(endpoint, chat(usage=usage), "application/json").tokens


def error(message: str, *, code: str | int | None = None, param: str | None = None) -> Answer:
    body = {"error": {"message": message, "type": "t", "code": code, "param": param}}
    return read_answer(CHAT, json.dumps(body), "application/json")


# Tokens


def test_chat_usage_with_details() -> None:
    usage = {
        "prompt_tokens": 120,
        "completion_tokens": 30,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 16},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    assert tokens_of(usage) == Tokens(120, 64, 30, 20, cache_write=16)


def test_responses_usage_with_details() -> None:
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 16,
    }
    answer = read_answer("responses", responses(usage=usage), "application/json")
    assert answer.tokens == Tokens(9, 4, 7, 5)


@pytest.mark.parametrize(
    ("extra", "cached"),
    [
        ({"prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2}, 8),
        ({"cached_tokens": 6}, 6),
        ({"prompt_tokens_details": None, "completion_tokens_details": None}, 0),
        ({"prompt_tokens_details": {"cached_tokens": None}}, 0),
        ({"prompt_tokens_details": {"cached_tokens": 3}, "prompt_cache_hit_tokens": 3}, 3),
    ],
    ids=["deepseek", "moonshot", "null details", "null cached", "both"],
)
def test_cached_input_in_the_shapes_of_providers(extra: dict[str, Any], cached: int) -> None:
    assert tokens_of({"prompt_tokens": 10, "completion_tokens": 1, **extra}) == Tokens(
        10, cached, 1, 0
    )


@pytest.mark.parametrize(
    ("output", "reasoning", "total", "expected"),
    [
        (30, 20, 40, Tokens(10, 0, 30, 20)),
        (30, 20, 60, Tokens(10, 0, 50, 20)),
        (30, None, 90, Tokens(10, 0, 80, 50)),
        (5, 20, None, Tokens(10, 0, 25, 20)),
        (30, 20, None, Tokens(10, 0, 30, 20)),
        (5, 20, 15, Tokens(10, 0, 5, 5)),
        (30, 20, 3, Tokens(10, 0, 30, 20)),
    ],
    ids=[
        "included",
        "beside the output, as xAI",
        "only in the total, as Google",
        "more than the output, no total",
        "no total",
        "another tokenizer's count",
        "total too small",
    ],
)
def test_output_includes_reasoning(
    output: int, reasoning: int | None, total: int | None, expected: Tokens
) -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": output,
        "total_tokens": total,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert tokens_of(usage) == expected


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "12",
        {"prompt_tokens": 10},
        {"completion_tokens": 10},
        {"prompt_tokens": "10", "completion_tokens": 1},
        {"prompt_tokens": 10.0, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 10**40, "completion_tokens": 1},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": "5"},
        {"prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": 11},
        {
            "prompt_tokens": 10,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cache_write_tokens": -1},
        },
        {
            "prompt_tokens": 10,
            "completion_tokens": 1,
            "completion_tokens_details": {"reasoning_tokens": False},
        },
    ],
)
def test_missing_or_malformed_usage_is_unknown(usage: object) -> None:
    assert tokens_of(usage) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 8, "total_tokens": 8}, Tokens(8, 0, 0, 0)),
        ({"total_tokens": 8}, Tokens(8, 0, 0, 0)),
        ({"total_tokens": None}, None),
    ],
)
def test_embeddings_have_no_output(usage: dict[str, Any], expected: Tokens | None) -> None:
    body = json.dumps({"model": "embed", "data": [], "usage": usage})
    answer = read_answer("embeddings", body, "application/json")
    assert (answer.tokens, answer.model, answer.complete) == (expected, "embed", True)


def test_usage_in_the_places_of_groq_and_moonshot() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    groq = sse(chunk({"content": "a"}), chunk(finish="stop", x_groq={"usage": usage}), "[DONE]")
    last = chunk(finish="stop")
    last["choices"][0]["usage"] = usage
    moonshot = sse(chunk({"content": "a"}), last)
    for body in (groq, moonshot):
        assert read_answer(CHAT, body, "text/event-stream").tokens == Tokens(3, 0, 2, 0)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("0.0000113", Decimal("0.0000113")),
        ("1.13e-05", Decimal("0.0000113")),
        ("0.0076509169000000005", Decimal("0.0076509169000000005")),
        ("0", Decimal(0)),
        ("-1", None),
        ("NaN", None),
        ("1e999", None),
        ("true", None),
        ('"0.1"', None),
        ("null", None),
    ],
)
def test_reported_cost(cost: str, expected: Decimal | None) -> None:
    body = '{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": %s}}'
    answer = read_answer(CHAT, body % cost, "application/json")
    assert answer.reported_cost == expected
    assert answer.tokens == Tokens(1, 0, 1, 0)


@pytest.mark.parametrize(
    ("usage", "output"),
    [
        ({"prompt_tokens_details": {"audio_tokens": 4}}, []),
        ({"completion_tokens_details": {"audio_tokens": 4}}, []),
        ({"server_tool_use_details": {"web_search_requests": 1}}, []),
        ({}, [{"type": "web_search_call"}]),
    ],
)
def test_what_tokens_do_not_pay_for(usage: dict[str, Any], output: list[Any]) -> None:
    body = responses({"type": "message"}, *output, usage={"input_tokens": 9, **usage})
    assert read_answer("responses", body, "application/json").billed_apart


def test_plain_calls_are_paid_by_tokens() -> None:
    usage = {
        "input_tokens": 9,
        "output_tokens": 1,
        "input_tokens_details": {"audio_tokens": 0},
        "server_tool_use_details": {"web_search_requests": 0},
    }
    body = responses({"type": "function_call", "name": "f"}, usage=usage)
    assert not read_answer("responses", body, "application/json").billed_apart


# Text


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "你好\u2028 there"}, "你好\u2028 there"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "ref"}, {"text": "b"}]}, "ab"),
        ({"content": None, "refusal": "I can't."}, "I can't."),
        (
            {
                "content": None,
                "tool_calls": [
                    {"function": {"name": "f", "arguments": '{"b": 1,\n "a": "é"}'}},
                    {"custom": {"name": "run", "input": "ls -l"}},
                    {"function": {"name": "g", "arguments": ""}},
                    {"function": {"name": "h", "arguments": {"x": [1]}}},
                ],
            },
            'f({"b":1,"a":"é"})\nrun(ls -l)\ng()\nh({"x":[1]})',
        ),
        ({"content": "Wait", "function_call": {"name": "f", "arguments": "{}"}}, "Wait\nf({})"),
        ({"content": 5, "tool_calls": {"a": 1}, "refusal": []}, ""),
    ],
)
def test_chat_text(message: dict[str, Any], text: str) -> None:
    answer = read_answer(CHAT, chat(message), "application/json; charset=utf-8")
    assert answer.text == text
    assert answer.finish_reason == "stop"


def test_responses_text() -> None:
    body = responses(
        {"type": "reasoning", "summary": [{"text": "thinking"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "A"}, {"text": "B"}]},
        {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "function_call", "name": "f", "arguments": '{"a": 1}'},
        {"type": "custom_tool_call", "name": "run", "input": "ls"},
        service_tier="flex",
    )
    answer = read_answer("responses", body, "application/json")
    assert answer.text == 'AB\nNo.\nf({"a":1})\nrun(ls)'
    assert (answer.service_tier, answer.finish_reason) == ("flex", "completed")


def test_a_response_says_why_it_is_incomplete() -> None:
    body = responses(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert read_answer("responses", body, None).finish_reason == "max_output_tokens"


def test_legacy_completion_text() -> None:
    body = json.dumps({"choices": [{"text": " tea", "finish_reason": "length"}]})
    answer = read_answer("completions", body, "application/json")
    assert (answer.text, answer.finish_reason) == (" tea", "length")


def test_text_is_that_of_the_first_choice() -> None:
    choices = [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]
    assert read_answer(CHAT, json.dumps({"choices": choices})).text == "a"


# Streams


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"])
def test_chat_stream(end: str) -> None:
    body = sse(
        {"model": "", "choices": [], "prompt_filter_results": []},
        chunk({"role": "assistant", "content": ""}, service_tier="default", usage=None),
        chunk({"content": "Good\u2028"}),
        chunk({"content": " day\x85"}),
        chunk(finish="stop"),
        {"model": "nano-1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        "[DONE]",
        end=end,
    )
    answer = read_answer(CHAT, body.encode(), "text/event-stream; charset=utf-8")
    assert answer == Answer(
        model="nano-1",
        tokens=Tokens(5, 0, 2, 0),
        text="Good\u2028 day\x85",
        service_tier="default",
        finish_reason="stop",
        complete=True,
    )


def test_unescaped_line_separators_do_not_end_a_line() -> None:
    event = json.dumps(chunk({"content": "a\u2028b\x85c"}, "stop"), ensure_ascii=False)
    assert read_answer(CHAT, f"data: {event}\n\n", "text/event-stream").text == "a\u2028b\x85c"


def test_data_of_several_lines_comments_and_other_fields() -> None:
    event = json.dumps(chunk({"content": "ok"}, "stop"), indent=1)
    lines = "\n".join(f"data:{line}" for line in event.split("\n"))
    body = f"\ufeff: keep-alive\n\nid: 7\nretry: 10\n{lines}\n\nevent: ping\n\ndata: not json\n\n"
    assert read_answer(CHAT, body, "text/event-stream").text == "ok"


def test_streamed_tool_calls_and_refusals() -> None:
    body = sse(
        chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"a'}}]}),
        chunk({"tool_calls": [{"index": 1, "function": {"name": "g", "arguments": {"b": 2}}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '": 1}'}}]}),
        chunk(finish="tool_calls"),
    )
    assert read_answer(CHAT, body, "text/event-stream").text == 'f({"a":1})\ng({"b":2})'
    legacy = sse(chunk({"function_call": {"name": "f", "arguments": "{}"}}), "[DONE]")
    assert read_answer(CHAT, legacy, "text/event-stream").text == "f({})"
    refusal = sse(chunk({"refusal": "I "}), chunk({"refusal": "can't."}, "stop"))
    assert read_answer(CHAT, refusal, "text/event-stream").text == "I can't."


def test_legacy_completion_stream_without_content_type() -> None:
    body = sse({"choices": [{"text": "a"}]}, {"choices": [{"text": "b", "finish_reason": "stop"}]})
    answer = read_answer("completions", body, "")
    assert (answer.text, answer.complete) == ("ab", True)


def test_a_chat_stream_cut_off_has_no_tokens() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    whole = sse(chunk({"content": "one"}, usage=usage), chunk({"content": "two"}, "stop"))
    answer = read_answer(CHAT, whole[: len(whole) // 2 + 40], "text/event-stream")
    assert (answer.text, answer.tokens, answer.complete) == ("one", None, False)
    assert read_status(200, answer) == "error"


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
def test_the_last_event_of_a_responses_stream_counts(kind: str) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    response = {
        "model": "nano-1",
        "status": kind,
        "output": [message],
        "service_tier": "default",
        "usage": {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6},
    }
    body = sse(
        {"type": "response.created", "response": {"model": "nano-1", "service_tier": "auto"}},
        {"type": "response.output_text.delta", "delta": "H"},
        {"type": f"response.{kind}", "response": response},
    )
    answer = read_answer("responses", body, "text/event-stream")
    assert answer == Answer(
        model="nano-1",
        tokens=Tokens(4, 0, 2, 0),
        text="Hi",
        service_tier="default",
        finish_reason=kind,
        complete=True,
    )


def test_items_of_a_responses_stream_stand_in_for_an_empty_output() -> None:
    item = {"type": "function_call", "name": "f", "arguments": "{}"}
    body = sse(
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": {"output": []}},
    )
    assert read_answer("responses", body, "text/event-stream").text == "f({})"


def test_a_responses_stream_cut_off() -> None:
    body = sse(
        {"type": "response.created", "response": {"model": "nano-1", "usage": None}},
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        "[DONE]",
    )
    answer = read_answer("responses", body, "text/event-stream")
    assert answer == Answer(model="nano-1", text="Hello")
    assert read_status(200, answer) == "error"


@pytest.mark.parametrize(
    ("endpoint", "event", "reading"),
    [
        (CHAT, {"error": {"message": "overloaded", "code": "x"}}, "error"),
        (CHAT, {"error": {"message": "overloaded", "code": "x", "status_code": 400}}, "refused"),
        (CHAT, {"object": "error", "message": "overloaded", "code": "x"}, "error"),
        ("responses", {"type": "error", "message": "overloaded", "code": "x"}, "error"),
        ("responses", {"error": {"message": "overloaded", "code": "x"}}, "error"),
        (
            "responses",
            {
                "type": "response.failed",
                "response": {"output": [], "error": {"message": "overloaded", "code": "x"}},
            },
            "error",
        ),
        (
            "responses",
            {
                "type": "response.failed",
                "response": {"error": {"message": "overloaded", "code": "invalid_prompt"}},
            },
            "refused",
        ),
    ],
)
def test_an_error_inside_a_stream(endpoint: str, event: Any, reading: str) -> None:
    answer = read_answer(endpoint, sse(chunk({"content": "so"}), event), "text/event-stream")
    assert answer.error_message == "overloaded"
    assert read_status(200, answer) == reading


# Errors and statuses


def test_openai_error_body() -> None:
    answer = error("Unsupported parameter", code="unsupported_parameter", param="max_tokens")
    assert (answer.error_message, answer.error_code) == (
        "Unsupported parameter",
        "unsupported_parameter",
    )
    assert (answer.error_type, answer.error_param) == ("t", "max_tokens")


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ('{"detail": "Not Found"}', "Not Found", None),
        ('{"detail": [{"msg": "bad"}]}', '[{"msg":"bad"}]', None),
        ('{"object": "error", "message": "too long", "code": 400}', "too long", "400"),
        ('{"error": "model \'x\' not found"}', "model 'x' not found", None),
        ('{"error": {"reason": "odd"}}', '{"reason":"odd"}', None),
        (
            '[{"error": {"code": 400, "message": "API key not valid."}}]',
            "API key not valid.",
            "400",
        ),
        ("  Bad\n gateway ", "Bad gateway", None),
        ("", None, None),
        ("[]", "[]", None),
        ("{}", None, None),
        ('{"choices": [], "error": null, "message": ""}', None, None),
        ('{"choices": [{}], "error": {}, "message": "fine"}', None, None),
    ],
)
def test_error_messages(body: str, message: str | None, code: str | None) -> None:
    answer = read_answer(CHAT, body, "application/json")
    assert (answer.error_message, answer.error_code) == (message, code)


@pytest.mark.parametrize(
    ("status", "message", "code", "param", "reading", "stops"),
    [
        (400, "Unsupported parameter: 'max_tokens'", "unsupported_parameter", "max_tokens", 1, 0),
        (400, "maximum context length is 128", "context_length_exceeded", "messages", 1, 0),
        (400, "The model field 'a' was not found in schema", None, "response_format", 1, 0),
        (422, "temperature is not supported with this model", None, None, 1, 0),
        (413, "Request too large", None, None, 1, 0),
        (413, "Request too large for the limit", "rate_limit_exceeded", None, 0, 0),
        (404, "Invalid URL (POST /v1/responses)", None, None, 1, 0),
        (405, "Method Not Allowed", None, None, 1, 0),
        (501, "not implemented", None, None, 1, 0),
        (404, "This model is only supported in v1/responses", None, "model", 1, 0),
        (404, "Item 'rs_1' not found", None, "previous_response_id", 0, 0),
        (404, "The model `x` does not exist or you do not have access", None, None, 0, 1),
        (404, "gone", "model_not_found", None, 0, 1),
        (404, "Resource missing", "DeploymentNotFound", None, 0, 1),
        (404, "Not found the model x or Permission denied", None, None, 0, 1),
        (404, "No endpoints found for a/b.", 404, None, 0, 1),
        (404, "No endpoints found that support tool use", 404, None, 1, 0),
        (400, "Model Not Exist", "invalid_request_error", None, 0, 1),
        (400, "Invalid model: x", 1500, None, 0, 1),
        (400, "x is not a valid model ID", 400, None, 0, 1),
        (400, "API key not valid. Please pass a valid API key.", 400, None, 0, 1),
        (401, "Incorrect API key", "invalid_api_key", None, 0, 1),
        (403, "forbidden", None, None, 0, 1),
        (402, "Insufficient Balance", None, None, 0, 0),
        (408, "timeout", None, None, 0, 0),
        (409, "conflict", None, None, 0, 0),
        (410, "gone", None, None, 0, 1),
        (429, "slow down", None, None, 0, 0),
        (500, "The model does not exist in cache", None, None, 0, 0),
        (503, "overloaded", None, None, 0, 0),
        (302, "moved", None, None, 0, 0),
    ],
)
def test_statuses(
    status: int,
    message: str,
    code: str | int | None,
    param: str | None,
    reading: int,
    stops: int,
) -> None:
    answer = error(message, code=code, param=param)
    assert read_status(status, answer) == ("refused" if reading else "error")
    assert is_unsupported(status, answer) is bool(reading)
    assert stops_tier(status, answer) is bool(stops)


@pytest.mark.parametrize("body", ['{"detail":"Not Found"}', "404 page not found", ""])
def test_a_404_that_says_nothing_of_a_model_is_a_missing_endpoint(body: str) -> None:
    assert read_status(404, read_answer("responses", body, None)) == "refused"


def test_no_answer_is_an_error() -> None:
    assert read_status(None, Answer()) == "error"
    assert not stops_tier(None, Answer())


def test_an_error_in_a_200_answer_counts_as_one() -> None:
    assert read_status(200, error("upstream", code=502)) == "error"
    assert read_status(200, error("bad schema", code=400)) == "refused"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [(CHAT, '{"hello": 1}'), (CHAT, "<html>"), ("responses", '{"choices": []}'), (CHAT, '{"ch')],
)
def test_what_is_no_answer_is_an_error(endpoint: str, body: str) -> None:
    assert read_status(200, read_answer(endpoint, body, "application/json")) == "error"


def test_a_proper_answer() -> None:
    assert read_status(200, read_answer(CHAT, chat(), "application/json")) == "answer"


# Hostile input

KEYS = [
    *("choices", "output", "error", "message", "delta", "content", "text", "index", "type"),
    *("tool_calls", "function", "arguments", "name", "response", "item", "usage"),
    *("prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(
    st.sampled_from([CHAT, "responses", "completions", "embeddings"]),
    st.lists(JSON, min_size=1, max_size=3),
    st.sampled_from(["response.completed", "response.output_item.done", "response.created", ""]),
    st.integers(min_value=0, max_value=40),
)
def test_never_raises_on_any_json(endpoint: str, values: list[Any], kind: str, cut: int) -> None:
    read_answer(endpoint, json.dumps(values[0]), "application/json")
    events = [{**value, "type": kind} if isinstance(value, dict) else value for value in values]
    body = sse(*events)
    for text in (body, body[: len(body) - cut]):
        answer = read_answer(endpoint, text, "text/event-stream")
        assert read_status(200, answer) in ("answer", "refused", "error")


@given(st.binary(max_size=60), st.sampled_from([None, "", "text/event-stream", "image/png"]))
def test_never_raises_on_any_bytes(body: bytes, content_type: str | None) -> None:
    assert read_answer(CHAT, body, content_type).tokens is None


def test_deep_nesting() -> None:
    for depth in (*range(sys.getrecursionlimit() - 200, sys.getrecursionlimit()), 100_000):
        nested = "[" * depth + "]" * depth
        for body in (f'{{"choices":[{{"text":{nested}}}]}}', f'{{"detail":{nested}}}'):
            assert read_answer(CHAT, body, "application/json").text == ""


def test_long_numbers() -> None:
    assert read_answer(CHAT, '{"usage": {"prompt_tokens": %s}}' % ("9" * 5000)).tokens is None
