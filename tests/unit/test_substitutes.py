from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_tiers.cassettes.format import Cassette, RecordedCall, Recording
from pytest_tiers.cassettes.substitutes import (
    Answers,
    answers_by_case,
    most_different,
    nothing_and_refusal,
)
from pytest_tiers.usage import read_answer

CHAT = {"choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}


def recorded(
    body: Any, endpoint: str = "chat/completions", status: int = 200, asked: Any = None
) -> RecordedCall:
    text = body if isinstance(body, str) else json.dumps(body)
    request = {"model": "m", "messages": []} if asked is None else asked
    interaction = {
        "request": {
            "method": "POST",
            "uri": f"https://api.test/v1/{endpoint}",
            "body": json.dumps(request),
        },
        "response": {
            "status": {"code": status, "message": ""},
            "headers": {"content-type": ["application/json"]},
            "body": {"string": text},
        },
    }
    return RecordedCall(interaction, {"seconds": 0.1})


def saying(text: str) -> RecordedCall:
    message = {"role": "assistant", "content": text}
    return recorded({"choices": [{"message": message, "finish_reason": "stop"}]})


def cassette(**cases: Any) -> Cassette:
    """A cassette whose cases have these calls."""
    recordings = {(case, 1): Recording(tuple(calls)) for case, calls in cases.items()}
    return Cassette("t.py::test", "full", recordings)


def test_whole_answers_are_found_by_case_and_nothing_else() -> None:
    found = answers_by_case(
        cassette(
            good=[saying("Yes,  Sir")],
            two=[saying("first"), recorded({"other": 1}, "files"), saying("last")],
            refused=[recorded({"error": {"message": "no"}}, status=400)],
            error_inside=[recorded({"error": {"message": "no"}})],
            cut=[recorded('{"choices": [')],
            no_model=[recorded({"other": 1}, asked={"query": 1})],
            nothing=[],
        ),
        1,
    )
    assert {case: answers.text for case, answers in found.items()} == {
        "good": "yes, sir",
        "two": "last",
    }
    assert len(found["two"].calls) == 2
    assert answers_by_case(cassette(good=[saying("yes")]), 2) == {}


def test_the_answer_that_differs_most_is_taken() -> None:
    found = answers_by_case(
        cassette(
            a=[saying("It comes on Tuesday.")],
            b=[saying("It comes on Tuesday, I think.")],
            c=[saying("Northline brings it.")],
            d=[saying("it COMES  on tuesday.")],
        ),
        1,
    )
    assert most_different(found, "a") == found["c"]
    assert most_different(found, "c") == found["b"]
    same = answers_by_case(cassette(a=[saying("Yes")], b=[saying("yes ")]), 1)
    assert most_different(same, "a") is None


def test_only_answers_with_as_many_calls_fit() -> None:
    found = answers_by_case(
        cassette(a=[saying("x"), saying("one")], b=[saying("two")], c=[saying("y"), saying("3")]),
        1,
    )
    assert most_different(found, "a") == found["c"]
    assert most_different(found, "b") == found["a"]


TOOLS = {"choices": [{"message": {"content": None, "tool_calls": [1]}, "finish_reason": "x"}]}
RESPONSE = {
    "output": [
        {"type": "reasoning", "id": "r"},
        {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "yes"}]},
    ]
}
CALLS = {"output": [{"type": "function_call", "name": "f", "arguments": "{}"}]}


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat/completions", CHAT),
        ("chat/completions", TOOLS),
        ("completions", {"choices": [{"text": "yes", "finish_reason": "stop"}]}),
        ("responses", RESPONSE),
        ("responses", CALLS),
    ],
)
def test_nothing_and_a_refusal_in_the_shape_of_the_answer(endpoint: str, body: Any) -> None:
    original = recorded(body, endpoint)
    both = list(nothing_and_refusal(Answers((original,), "yes")))
    said = [read_answer(endpoint, answers.calls[0].body).text for answers in both]
    assert said == ["", "I'm sorry, but I can't help with that."]
    assert original.body == json.dumps(body).encode()
    assert both[0].calls[0].request == original.request


@pytest.mark.parametrize("body", ["data: {}\n\n", "[]", "{}", '{"choices": []}', "7"])
def test_other_shapes_cannot_be_emptied(body: str) -> None:
    assert list(nothing_and_refusal(Answers((recorded(body),), ""))) == []
