"""Whether a prompt changed: instructions count, a case's own data does not."""

from __future__ import annotations

from typing import Any

from pytest_tiers.fingerprints import fingerprint, parts_that_differ, request_parts
from pytest_tiers.records import Fingerprint


def chat(system: str, user: Any, **others: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return {"model": "m", "messages": messages, **others}


def of(*trials: tuple[dict[str, Any], dict[str, Any]]) -> Fingerprint:
    return fingerprint(request_parts([body], case, {}) for body, case in trials)


def test_the_cases_data_is_left_out() -> None:
    one = of((chat("Be brief.", "Sort: apples"), {"what": "apples"}))
    other = of((chat("Be brief.", "Sort: pears and plums"), {"what": "pears and plums"}))
    assert one == other
    assert one.request is not None


def test_data_in_lists_mappings_and_lines_is_left_out() -> None:
    case = {"mail": {"lines": ["Dear Ada", "Bye"], "number": 17}, "flag": True}
    one = of((chat("s", "Dear Ada\n17\nBye"), case))
    two = of((chat("s", "Dear Bob\n18\nCiao"), {"m": ["Dear Bob", "Ciao"], "n": 18}))
    assert one == two


def test_data_that_no_parameter_names_is_left_out_where_cases_differ() -> None:
    first = of((chat("Be brief.", "from a file: a"), {}), (chat("Be brief.", "from a file: b"), {}))
    second = of((chat("Be brief.", "from a file: c"), {}), (chat("Be brief.", "other: d"), {}))
    assert first == second
    assert of((chat("x", "a"), {}), (chat("y", "b"), {})).request is None


def test_instructions_count() -> None:
    one, other = of((chat("Be brief.", "a"), {})), of((chat("Be kind.", "a"), {}))
    assert one.request != other.request
    assert one.differs(other)
    assert not one.differs(Fingerprint())


def test_what_changed_is_named() -> None:
    body = chat("Be brief.", "a")
    one = of((body, {}))
    assert one.changes(one) == ()
    assert one.changes(of((chat("Be kind.", "a", seed=1), {}))) == ("prompt", "parameters")
    in_json = {**body, "response_format": {"type": "json_object"}}
    assert one.changes(of((in_json, {}))) == ("schema",)  # there was none before
    assert parts_that_differ(body, {**in_json, "model": "n", "user": "u"}) == (
        "schema",
        "model",
        "parameters",
    )


def test_earlier_answers_and_tool_results_do_not_count() -> None:
    body = chat("s", "u")
    more = {
        **body,
        "messages": [
            *body["messages"],
            {"role": "assistant", "content": "hello"},
            {"role": "tool", "content": "42"},
        ],
    }
    assert of((body, {})) == of((more, {}))


def test_content_in_parts_and_responses_input_count() -> None:
    one = of(({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]}, {}))
    other = of(
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "b"}]}]}, {})
    )
    assert one.request is not None
    assert one.request != other.request
    assert of(({"instructions": "a", "input": "x"}, {})) != of(
        ({"instructions": "b", "input": "x"}, {})
    )
    result = {"type": "function_call_output", "output": "42", "content": "42"}
    assert of(({"input": [result]}, {})).request is None


def test_schema_and_parameters_count_apart() -> None:
    plain = of((chat("s", "u"), {}))
    shaped = of((chat("s", "u", response_format={"type": "json_object"}), {}))
    warm = of((chat("s", "u", temperature=1), {}))
    assert plain.schema is None
    assert shaped.schema is not None
    assert (shaped.request, shaped.parameters) == (plain.request, plain.parameters)
    assert (warm.request, warm.schema) == (plain.request, plain.schema)
    assert warm.parameters != plain.parameters
    streamed = {**chat("s", "u"), "stream": True, "user": "u-1", "metadata": {"run": "7"}}
    assert of((streamed, {})) == plain


def test_what_the_tier_changes_counts() -> None:
    one = fingerprint([request_parts([chat("s", "u")], {}, {"tier": ["low"]})])
    other = fingerprint([request_parts([chat("s", "u")], {}, {"tier": ["high"]})])
    assert one.parameters != other.parameters


def test_no_requests_no_fingerprint() -> None:
    assert fingerprint([None]) == Fingerprint()
    assert not Fingerprint(request="a").differs(Fingerprint())
