"""Which requests count as the same, and what a miss says."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tiers.cassettes.matching import Matcher, SentRequest
from pytest_tiers.settings import IgnoreRule

CHAT = "https://api.example.com/v1/chat/completions"


def chat(text: str = "hello", url: str = CHAT, **more: Any) -> SentRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    return SentRequest("POST", url, {}, json.dumps(body).encode())


def get(url: str, body: bytes = b"", **headers: str) -> SentRequest:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return SentRequest("POST" if body else "GET", url, names, body)


def same(one: SentRequest, other: SentRequest, matcher: Matcher | None = None) -> bool:
    matcher = matcher or Matcher()
    return matcher.key(one) == matcher.key(other)


# What a request is


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        (CHAT, "chat/completions"),
        ("http://127.0.0.1:1/v1/completions?x=1", "completions"),
        ("https://host/openai/deployments/d/chat/completions?api-version=1", "chat/completions"),
        ("https://host/v1/responses", "responses"),
        ("https://host/v1/responses/resp_1/cancel", None),
        ("https://host/v1/embeddings", None),
        ("https://host/v1/mycompletions", None),
    ],
)
def test_the_endpoint_is_the_end_of_the_path(url: str, endpoint: str | None) -> None:
    assert SentRequest("POST", url, {}, b"").endpoint == endpoint
    assert SentRequest("GET", url, {}, b"").endpoint is None


@pytest.mark.parametrize(
    ("body", "asks"),
    [
        ('{"model": "m"}', True),
        ('{"messages": []}', True),
        ('{"prompt": {"id": "pmpt_1"}}', True),
        ('{"answers": ["a form"]}', False),
        ("[1]", False),
        ("no json", False),
        ("[" * 100_000, False),
    ],
)
def test_a_service_with_such_a_path_is_no_model(body: str, asks: bool) -> None:
    request = SentRequest("POST", "https://forms.example.com/form/responses", {}, body.encode())
    assert request.asks_model is asks


# What is compared


def test_an_older_recording_with_a_secret_is_the_same_as_one_without() -> None:
    form = {"content_type": "application/x-www-form-urlencoded"}
    for old, new in (
        (chat(api_key="of the developer"), chat(api_key="<api_key>")),
        (get("https://host/?pwd=old"), get("https://host/?pwd=<pwd>")),
        (get("https://host/", b"pwd=old", **form), get("https://host/", b"pwd=<pwd>", **form)),
    ):
        assert same(old, new)
    assert not same(chat(key="one"), chat(key="two"))


def test_a_model_is_asked_the_same_at_any_address() -> None:
    assert same(chat(), chat(url="http://127.0.0.1:4000/chat/completions?api-version=2"))


@pytest.mark.parametrize("name", ["metadata", "user", "safety_identifier", "prompt_cache_key"])
def test_who_asks_does_not_count(name: str) -> None:
    assert same(chat(**{name: "a"}), chat(**{name: "b"}))
    assert same(chat(**{name: "a"}), chat())


@pytest.mark.parametrize(
    "more",
    [{"model": "other"}, {"temperature": 0}, {"stream": True}, {"tools": []}, {"seed": None}],
    ids=str,
)
def test_everything_else_counts(more: dict[str, Any]) -> None:
    assert not same(chat(), chat(**more))


def test_the_order_of_keys_does_not_count_the_order_of_messages_does() -> None:
    one = SentRequest("POST", CHAT, {}, b'{"model": "m", "seed": 1}')
    other = SentRequest("POST", CHAT, {}, b'{"seed":1,"model":"m"}')
    assert same(one, other)
    forth = chat(messages=[{"content": "a"}, {"content": "b"}])
    back = chat(messages=[{"content": "b"}, {"content": "a"}])
    assert not same(forth, back)


def test_other_requests_are_compared_by_full_url_and_body() -> None:
    url = "https://weather.example.com/now?city=Bern"
    assert same(get(url), get(url))
    assert not same(get(url), get(url.replace("Bern", "Basel")))
    assert not same(get(url, b"a"), get(url, b"b"))
    assert not same(get(url), SentRequest("DELETE", url, {}, b""))


def test_a_multipart_body_is_compared_by_its_parts() -> None:
    def upload(boundary: str, text: str) -> SentRequest:
        body = f'--{boundary}\r\ncontent-disposition: form-data; name="f"\r\n\r\n{text}\r\n'
        return get(
            "https://host/upload",
            f"{body}--{boundary}--".encode(),
            content_type=f'multipart/form-data; boundary="{boundary}"',
        )

    assert same(upload("abc", "text"), upload("xyz", "text"))
    assert not same(upload("abc", "text"), upload("abc", "other"))


@given(st.binary(), st.binary())
def test_any_two_bodies_are_compared_exactly(one: bytes, other: bytes) -> None:
    url = "https://host/upload"
    here, there = (SentRequest("POST", url, {}, body) for body in (one, other))
    equal = (here.json or here.body) == (there.json or there.body)
    assert same(here, there) == equal


# What is left out


DATED = (chat("Today is 2026-11-22. Hello."), chat("Today is 2026-11-23. Hello."))


@pytest.mark.parametrize(
    "rule",
    [
        IgnoreRule("messages[*].content", r"\d{4}-\d\d-\d\d"),
        IgnoreRule("messages[0].content", r"\d{4}-\d\d-\d\d"),
        IgnoreRule("messages[*].content"),
        IgnoreRule("messages[*]"),
        IgnoreRule("messages"),
    ],
    ids=str,
)
def test_an_ignore_rule_takes_out_what_it_names(rule: IgnoreRule) -> None:
    assert same(*DATED, Matcher([rule]))


@pytest.mark.parametrize(
    "rule",
    [
        IgnoreRule("messages[1].content"),
        IgnoreRule("messages[*].content", r"\d\d:\d\d"),
        IgnoreRule("messages.content"),
        IgnoreRule("messages[*].content.text"),
        IgnoreRule("nothing.there"),
        IgnoreRule("model[*]"),
    ],
    ids=str,
)
def test_an_ignore_rule_takes_out_nothing_else(rule: IgnoreRule) -> None:
    assert not same(*DATED, Matcher([rule]))


def test_with_a_pattern_the_rest_of_the_text_still_counts() -> None:
    matcher = Matcher([IgnoreRule("messages[*].content", r"\d{4}-\d\d-\d\d")])
    assert not same(chat("2026-11-22 hello"), chat("2026-11-23 bye"), matcher)


def test_the_projects_hook_changes_what_is_compared_not_what_is_sent() -> None:
    def normalise(request: dict[str, Any]) -> None:
        request["body"]["messages"] = "any"

    one, other = chat("a"), chat("b")
    assert same(one, other, Matcher(normalise=normalise))
    assert one.json["messages"][0]["content"] == "a"


# What a miss says


def explained(request: SentRequest, *recorded: SentRequest) -> str:
    matcher = Matcher()
    return matcher.explain(request, matcher.nearest(request, recorded))


def test_a_miss_shows_the_nearest_request_and_only_what_differs() -> None:
    text = explained(chat("hello there"), chat("bye", seed=3, n=2), chat("hello"))
    assert text == (
        "the nearest recorded request differs:\n"
        "--- recorded\n"
        "+++ now\n"
        '-    "content": "hello",\n'
        '+    "content": "hello there",'
    )


def test_a_long_prompt_is_shown_where_it_differs() -> None:
    start, end = "x" * 5000, "y" * 5000
    text = explained(chat(f"{start} new {end}"), chat(f"{start} old {end}"))
    assert " old " in text
    assert " new " in text
    assert len(text) < 1000
    assert "characters)" in text


def test_a_prompt_of_many_lines_is_compared_line_by_line() -> None:
    lines = [f"line {number}" for number in range(100)]
    changed = [*lines[:50], "another line", *lines[51:]]
    text = explained(chat("\n".join(changed)), chat("\n".join(lines)))
    assert text.endswith("-line 50\n+another line")


def test_a_miss_with_many_changes_is_cut() -> None:
    lines = [f"{number}" for number in range(100)]
    text = explained(chat("\n".join(lines)), chat("\n".join(f"old {line}" for line in lines)))
    assert text.splitlines()[-1] == "... 182 more lines differ"


def test_a_miss_without_any_request_and_one_too_many() -> None:
    assert explained(chat()) == "nothing is recorded for this trial."
    assert explained(chat(), chat()) == "every recorded answer to this request is used already."


def test_a_lone_surrogate_can_be_shown() -> None:
    assert "\\ud83d" in explained(chat("\ud83d"), chat("a"))


def rules(text: str) -> list[IgnoreRule]:
    """The rules that a miss tells the user to add, read as the user's file will be."""
    found = re.search(r"^  ignore = .*$", text, re.MULTILINE)
    assert found is not None
    read = tomllib.loads(found.group())["ignore"]
    return [IgnoreRule(rule["path"], rule["pattern"]) for rule in read]


RESPONSES = "https://api.example.com/v1/responses"


def respond(**body: Any) -> SentRequest:
    return SentRequest("POST", RESPONSES, {}, json.dumps({"model": "m", **body}).encode())


@pytest.mark.parametrize(
    ("what", "recorded", "now"),
    [
        ("a date", *DATED),
        ("a date", chat("at 2026-11-22T10:00:00.5Z!"), chat("at 2026-11-23T11:30:00+01:00!")),
        ("a uuid", chat(f"id {'a' * 8}-{'b-' * 3}".replace("b", "bbbb") + "c" * 12),
         chat("id 01234567-89ab-cdef-0123-456789abcdef")),
        ("a temporary path", chat("in /tmp/pytest-1/a.txt it's"),
         chat("in /tmp/pytest-22/a.txt it's")),
        ("a temporary path", chat("/private/var/folders/ab/x"), chat("/private/var/folders/cd/y")),
        ("a date", respond(input="on 2026-11-22"), respond(input="on 2026-11-23")),
        ("a date", respond(input="a", instructions="2026-11-22"),
         respond(input="a", instructions="2026-11-23")),
        ("a date", chat(messages=[{"content": [{"type": "text", "text": "2026-11-22"}]}]),
         chat(messages=[{"content": [{"type": "text", "text": "2026-11-23"}]}])),
        ("a date", chat("2026-11-22", tools=[{"description": "2026-11-22"}]),
         chat("2026-11-23", tools=[{"description": "2026-11-23"}])),
    ],
)  # fmt: skip
def test_the_line_to_add_makes_the_requests_match(
    what: str, recorded: SentRequest, now: SentRequest
) -> None:
    text = explained(now, recorded)
    assert f"\nOnly {what} differs." in text
    assert same(recorded, now, Matcher(rules(text)))


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        ("2026-11-22 in /tmp/a/1", "2026-11-23 in /tmp/b/1"),
        (
            [{"text": "2026-11-22"}, {"text": "/tmp/a"}],
            [{"text": "2026-11-23"}, {"text": "/tmp/b"}],
        ),
    ],
    ids=["one text", "two texts"],
)
def test_one_line_makes_up_for_several_kinds_of_passing_text(recorded: Any, now: Any) -> None:
    one, other = (respond(input=said, instructions="a") for said in (recorded, now))
    text = explained(other, one)
    assert "\nOnly a date and a temporary path differ." in text
    assert same(one, other, Matcher(rules(text)))


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        (chat("on 2026-11-22"), chat("at 2026-11-23")),
        (chat("2026-11-22", seed=1), chat("2026-11-23", seed=2)),
        (chat("2026-11-22", n=1), chat("2026-11-23")),
        (chat(messages=["2026-11-22"]), chat(messages=["2026-11-23", "more"])),
        (get("https://host/2026-11-22"), get("https://host/2026-11-23")),
    ],
    ids=["text too", "number too", "key too", "message too", "another service"],
)
def test_no_line_is_given_where_it_would_not_help(recorded: SentRequest, now: SentRequest) -> None:
    assert "ignore" not in explained(now, recorded)
