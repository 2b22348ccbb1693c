"""The test server must be what the official client takes for OpenAI."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from pytest_tiers.records import Tokens
from pytest_tiers.statuses import read_status
from pytest_tiers.usage import read_answer
from tests.openai_server import CHAT, OpenAIServer, Reply

ASK: Any = [{"role": "user", "content": "Which team handles refunds?"}]


class Team(BaseModel):
    team: str


class Desk:
    """A server whose next reply a test sets, and a client of it."""

    def __init__(self, server: OpenAIServer, client: openai.OpenAI) -> None:
        self.server = server
        self.client = client

    def says(self, reply: str | Reply) -> openai.OpenAI:
        self.server.answer = lambda _: reply
        return self.client


@pytest.fixture
def desk() -> Iterator[Desk]:
    with (
        OpenAIServer() as server,
        openai.OpenAI(base_url=server.url, api_key="sk-test", max_retries=0) as client,
    ):
        yield Desk(server, client)


def test_chat(desk: Desk) -> None:
    client = desk.says(Reply("the billing team", cached=2, reasoning=5))
    answer = client.chat.completions.create(model="nano", messages=ASK)
    assert answer.choices[0].message.content == "the billing team"
    assert answer.model == "nano"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 8)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 2


def test_requests_are_recorded(desk: Desk) -> None:
    client = desk.says("yes")
    for model in ("nano", "mini", "nano"):
        client.chat.completions.create(model=model, messages=ASK)
    assert desk.server.calls == {"nano": 2, "mini": 1}
    assert [request.json["model"] for request in desk.server.requests] == ["nano", "mini", "nano"]
    first = desk.server.requests[0]
    assert (first.method, first.path) == ("POST", "/v1/chat/completions")
    assert first.headers["authorization"] == "Bearer sk-test"


def test_the_answer_may_depend_on_the_request() -> None:
    with (
        OpenAIServer(lambda request: request["messages"][0]["content"].upper()) as server,
        openai.OpenAI(base_url=server.url, api_key="k") as client,
    ):
        answer = client.chat.completions.create(model="nano", messages=ASK)
    assert answer.choices[0].message.content == "WHICH TEAM HANDLES REFUNDS?"


def test_chat_stream(desk: Desk) -> None:
    client = desk.says("the billing team")
    stream = client.chat.completions.create(
        model="nano", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert text == ["", "the ", "billing ", "team", None]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 7


def test_usage_in_a_stream_comes_only_on_request(desk: Desk) -> None:
    client = desk.says("yes")
    stream = client.chat.completions.create(model="nano", messages=ASK, stream=True)
    assert [chunk.usage for chunk in stream] == [None, None, None]


def test_chat_tool_calls(desk: Desk) -> None:
    reply = Reply(tool_calls=(("route", {"team": "billing desk"}), ("log", {})))
    message = desk.says(reply).chat.completions.create(model="n", messages=ASK).choices[0].message
    assert message.tool_calls is not None
    assert [call.type for call in message.tool_calls] == ["function", "function"]
    with desk.client.chat.completions.stream(model="n", messages=ASK) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert streamed.tool_calls is not None
    calls = [(call.function.name, call.function.arguments) for call in streamed.tool_calls]
    assert calls == [("route", '{"team": "billing desk"}'), ("log", "{}")]


def test_parse(desk: Desk) -> None:
    client = desk.says('{"team": "billing"}')
    chat = client.chat.completions.parse(model="n", messages=ASK, response_format=Team)
    assert chat.choices[0].message.parsed == Team(team="billing")
    assert client.responses.parse(model="n", input="Hi", text_format=Team).output_parsed == Team(
        team="billing"
    )


def test_responses(desk: Desk) -> None:
    client = desk.says(Reply("the billing team", model="nano-2026-03-17", cached=1))
    answer = client.responses.create(model="nano", input="Which team?", instructions="Be brief")
    assert answer.output_text == "the billing team"
    assert answer.model == "nano-2026-03-17"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 3)
    assert answer.usage.input_tokens_details.cached_tokens == 1


def test_responses_stream(desk: Desk) -> None:
    client = desk.says("the billing team")
    with client.responses.stream(model="nano", input="Which team?") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert deltas == ["the ", "billing ", "team"]
    assert final.output_text == "the billing team"
    assert final.usage is not None
    assert final.usage.total_tokens == 5


def test_responses_tool_call_and_refusal(desk: Desk) -> None:
    for reply, expected in (
        (Reply(tool_calls=(("route", {"team": "x y"}),)), 'route({"team":"x y"})'),
        (Reply(refusal="I can not."), "I can not."),
    ):
        desk.says(reply)
        with desk.client.responses.stream(model="nano", input="Hi") as stream:
            final = stream.get_final_response()
        assert read_answer("responses", final.to_json(), "application/json").text == expected


@pytest.mark.parametrize("how", [{}, {"encoding_format": "float"}])
def test_embeddings(desk: Desk, how: Any) -> None:
    answer = desk.client.embeddings.create(model="embed", input=["one two", "three"], **how)
    assert [len(item.embedding) for item in answer.data] == [3, 3]
    assert answer.data[0].embedding != answer.data[1].embedding
    assert answer.usage.total_tokens == 3


def test_embeddings_are_the_same_in_both_encodings(desk: Desk) -> None:
    packed = desk.client.embeddings.create(model="embed", input="one")
    plain = desk.client.embeddings.create(model="embed", input="one", encoding_format="float")
    assert packed.data[0].embedding == plain.data[0].embedding


def test_legacy_completions(desk: Desk) -> None:
    client = desk.says("for two")
    whole = client.completions.create(model="nano", prompt="Tea")
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("for two", "stop")
    stream = client.completions.create(model="nano", prompt="Tea", stream=True)
    assert [chunk.choices[0].text for chunk in stream] == ["for ", "two", ""]


@pytest.mark.parametrize(
    ("status", "kind", "code", "reading"),
    [
        (400, openai.BadRequestError, "unsupported_parameter", "refused"),
        (401, openai.AuthenticationError, "invalid_api_key", "error"),
        (403, openai.PermissionDeniedError, "unsupported_country_region_territory", "error"),
        (404, openai.NotFoundError, "model_not_found", "error"),
        (422, openai.UnprocessableEntityError, None, "refused"),
        (429, openai.RateLimitError, "rate_limit_exceeded", "error"),
        (500, openai.InternalServerError, None, "error"),
        (503, openai.InternalServerError, None, "error"),
    ],
)
def test_errors(
    desk: Desk, status: int, kind: type[openai.APIStatusError], code: str | None, reading: str
) -> None:
    with pytest.raises(kind) as failed:
        desk.says(Reply(status=status)).chat.completions.create(model="nano", messages=ASK)
    assert failed.value.code == code
    assert read_status(status, read_answer(CHAT, failed.value.response.text)) == reading


def test_a_missing_endpoint() -> None:
    with (
        OpenAIServer(endpoints=frozenset({CHAT})) as server,
        openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client,
    ):
        with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(POST /v1/responses\)") as no:
            client.responses.create(model="nano", input="Hi")
        with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(GET /v1/models\)"):
            client.models.list()
    assert read_status(404, read_answer("responses", no.value.response.text)) == "refused"


def test_a_client_retries_after_429(desk: Desk) -> None:
    replies = [Reply(status=429, retry_after=0.001), Reply("yes")]
    desk.server.answer = lambda _: replies.pop(0)
    client = desk.client.with_options(max_retries=1)
    answer = client.chat.completions.create(model="nano", messages=ASK)
    assert answer.choices[0].message.content == "yes"
    assert desk.server.calls["nano"] == 2


@pytest.mark.parametrize("drop", ["before", "headers", "midway"])
def test_dropped_connections(desk: Desk, drop: Any) -> None:
    client = desk.says(Reply("one two three four", drop=drop))
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="n", messages=ASK)
    with pytest.raises(openai.APIConnectionError):
        client.responses.create(model="n", input="Hi")


def test_a_stream_dropped_midway(desk: Desk) -> None:
    client = desk.says(Reply("one two three four", drop="midway"))
    stream = client.chat.completions.create(model="n", messages=ASK, stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(3)] == ["", "one ", "two "]
    with pytest.raises(openai.APIConnectionError):
        next(stream)


def test_other_bodies_headers_and_cookies(desk: Desk) -> None:
    desk.says(Reply(body=b"<h1>Bad gateway</h1>", status=502, content_type="text/html"))
    with pytest.raises(openai.InternalServerError) as failed:
        desk.client.chat.completions.create(model="nano", messages=ASK)
    assert failed.value.response.headers["content-type"] == "text/html"
    desk.says(Reply("yes", headers={"x-request-id": "req_of_mine"}))
    raw = desk.client.chat.completions.with_raw_response.create(model="nano", messages=ASK)
    assert raw.headers["x-request-id"] == "req_of_mine"
    assert raw.headers["openai-organization"] == "org-of-the-test"
    assert raw.headers["set-cookie"].startswith("__cf_bm=")


@pytest.mark.parametrize("stream", [False, True])
def test_gzip(desk: Desk, stream: bool) -> None:
    desk.says(Reply("the billing team", gzip=True))
    create = desk.client.chat.completions.with_raw_response.create
    raw: Any = create(model="nano", messages=ASK, stream=stream)
    assert raw.headers["content-encoding"] == "gzip"
    parsed = raw.parse()
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in parsed)
    else:
        text = parsed.choices[0].message.content
    assert text == "the billing team"


def test_no_usage(desk: Desk) -> None:
    client = desk.says(Reply("yes", usage=False))
    assert client.chat.completions.create(model="nano", messages=ASK).usage is None
    assert client.responses.create(model="nano", input="Hi").usage is None


def test_chunks_arrive_one_at_a_time(desk: Desk) -> None:
    client = desk.says(Reply("one two three", pause=60))
    stream = client.chat.completions.create(model="nano", messages=ASK, stream=True)
    assert next(stream).choices[0].delta.role == "assistant"
    desk.server.stop()
    with pytest.raises(openai.APIConnectionError):
        next(stream)


def test_stopping_ends_slow_answers_and_all_threads() -> None:
    before = threading.active_count()
    arrived = threading.Event()

    def slow(_: object) -> Reply:
        arrived.set()
        return Reply("late", seconds=60)

    with OpenAIServer(slow) as server:
        client = openai.OpenAI(base_url=server.url, api_key="k", max_retries=0)
        failures: list[Exception] = []

        def call() -> None:
            try:
                client.chat.completions.create(model="nano", messages=ASK)
            except openai.APIConnectionError as error:
                failures.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        assert arrived.wait(30)
        server.stop()
        caller.join()
        client.close()
    assert len(failures) == 1
    assert threading.active_count() == before


def test_an_exception_in_the_answer_is_raised_when_the_block_ends() -> None:
    def broken(request: dict[str, Any]) -> str:
        return str(request["no such key"])

    def use() -> None:
        with (
            OpenAIServer(broken) as server,
            openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client,
            pytest.raises(openai.InternalServerError),
        ):
            client.chat.completions.create(model="nano", messages=ASK)

    with pytest.raises(KeyError, match="no such key"):
        use()


def test_usage_reads_what_the_server_writes(desk: Desk) -> None:
    desk.says(Reply("the billing team", cached=2, reasoning=5, model="nano-1"))
    wanted = Tokens(4, 2, 8, 5)
    chat: dict[str, Any] = {"model": "nano", "messages": ASK}
    include = {"include_usage": True}
    for endpoint, body in (
        (CHAT, chat),
        (CHAT, {**chat, "stream": True, "stream_options": include}),
        ("responses", {"model": "nano", "input": ASK}),
        ("responses", {"model": "nano", "input": ASK, "stream": True}),
    ):
        raw = httpx.post(f"{desk.server.url}/{endpoint}", json=body)
        answer = read_answer(endpoint, raw.content, raw.headers["content-type"])
        assert (answer.tokens, answer.text) == (wanted, "the billing team")
        assert (answer.model, answer.service_tier) == ("nano-1", "default")
        assert read_status(raw.status_code, answer) == "answer"
