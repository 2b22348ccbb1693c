"""Async tests on the event loops of pytest-asyncio and anyio, and streams that are nobody's."""

from __future__ import annotations

import pytest

from tests.openai_server import OpenAIServer
from tests.round_trip import KEY, round_trip

SCOPES = ["function", "class", "module", "package", "session"]

#: A client that lives as long as its event loop; calls from tasks, threads and the test itself.
#: What is asked at the same time in several ways is not the same: threads have no order.
APP = f"""
import asyncio
import aiohttp
from openai import AsyncOpenAI, OpenAI

URL = "https://api.openai.com/v1/chat/completions"

def asked(way):
    messages = [{{"role": "user", "content": way}}]
    return {{"model": "gpt-5.4", "messages": messages, "max_tokens": 9, "temperature": 0}}

class Assistant:
    async def __aenter__(self):
        self.client = AsyncOpenAI(api_key="{KEY}")
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_):
        await self.client.close()
        await self.session.close()

    async def ask(self):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(way())
                for way in (self.one, self.one, self.stream, self.over_aiohttp, self.in_a_thread)
            ]
        (said,) = {{task.result() for task in tasks}} | {{await self.one()}}
        return said

    async def one(self):
        made = await self.client.chat.completions.create(**asked("one"))
        return made.choices[0].message.content

    async def stream(self):
        options = {{"include_usage": True}}
        chunks = await self.client.chat.completions.create(
            **asked("stream"), stream=True, stream_options=options
        )
        found = [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]
        return "".join(found)

    async def over_aiohttp(self):
        async with self.session.post(URL, json=asked("aiohttp")) as answer:
            return (await answer.json())["choices"][0]["message"]["content"]

    async def in_a_thread(self):
        return await asyncio.to_thread(self.blocking)

    def blocking(self):
        with OpenAI(api_key="{KEY}") as client:
            made = client.chat.completions.create(**asked("thread"))
            return made.choices[0].message.content
"""

PYTEST_ASYNCIO = """
import pytest, pytest_asyncio
from app import Assistant

@pytest_asyncio.fixture(loop_scope="{scope}", scope="{scope}")
async def assistant():
    async with Assistant() as assistant:
        yield assistant

class TestAssistant:
    @pytest.mark.tiers
    @pytest.mark.asyncio(loop_scope="{scope}")
    @pytest.mark.parametrize("case", range(2))
    async def test_ask(self, assistant, case):
        assert await assistant.ask() == "it is fine"
"""

ANYIO = """
import pytest
from app import Assistant

@pytest.fixture(scope="{scope}")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="{scope}")
async def assistant(anyio_backend):
    async with Assistant() as assistant:
        yield assistant

class TestAssistant:
    @pytest.mark.tiers
    @pytest.mark.anyio
    @pytest.mark.parametrize("case", range(2))
    async def test_ask(self, assistant, case):
        assert await assistant.ask() == "it is fine"
"""


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("runner", [PYTEST_ASYNCIO, ANYIO], ids=["pytest-asyncio", "anyio"])
def test_calls_belong_to_their_trial_on_a_loop_of_any_scope(
    project: pytest.Pytester, server: OpenAIServer, runner: str, scope: str
) -> None:
    trials = round_trip(project, server, APP, test=runner.format(scope=scope))
    assert [len(trial["calls"]) for trial in trials] == [6] * 4


#: A service that says its second word only when its first one was read.
STREAMS = """
import asyncio, json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import aiohttp, httpx, httpx2, requests
from openai import AsyncOpenAI, OpenAI

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.chunk("first")
        self.server.was_read = self.server.read.wait(10)
        self.chunk("second")
        self.wfile.write(b"0\\r\\n\\r\\n")

    def chunk(self, word):
        delta = {"choices": [{"index": 0, "delta": {"content": word}}]}
        data = f"data: {json.dumps(delta)}\\n\\n".encode()
        self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(data), data))

    def log_message(self, *_):
        pass

ASKED = {"model": "of-the-application", "messages": [], "stream": True}

def streams_with(way):
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.read, server.was_read = threading.Event(), None
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        way(f"http://127.0.0.1:{server.server_port}/v1", server.read.set)
        return server.was_read
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

def over_openai(url, read):
    with OpenAI(base_url=url, api_key="x", max_retries=0) as client:
        for _ in client.chat.completions.create(**ASKED):
            read()

def over_async_openai(url, read):
    async def main():
        async with AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
            async for _ in await client.chat.completions.create(**ASKED):
                read()
    asyncio.run(main())

def over_httpx(url, read, http=httpx):
    with http.stream("POST", f"{url}/chat/completions", json=ASKED) as answer:
        for _ in answer.iter_lines():
            read()

def over_httpx2(url, read):
    over_httpx(url, read, httpx2)

def over_async_httpx(url, read):
    async def main():
        async with httpx.AsyncClient() as client:
            async with client.stream("POST", f"{url}/chat/completions", json=ASKED) as answer:
                async for _ in answer.aiter_lines():
                    read()
    asyncio.run(main())

def over_requests(url, read):
    with requests.post(f"{url}/chat/completions", json=ASKED, stream=True) as answer:
        for _ in answer.iter_lines(chunk_size=1):
            read()

def over_aiohttp(url, read):
    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/chat/completions", json=ASKED) as answer:
                async for _ in answer.content:
                    read()
    asyncio.run(main())
"""


def test_streams_that_no_trial_owns_arrive_as_they_are_sent(project: pytest.Pytester) -> None:
    """Outside trials; inside them from the application under test on loopback."""
    project.makepyfile(
        streams=STREAMS,
        test_it="""
        import pytest, streams
        from app import ask

        WAYS = [name for name in vars(streams) if name.startswith("over_")]

        @pytest.mark.parametrize("way", WAYS)
        def test_untiered(way):
            assert streams.streams_with(getattr(streams, way))

        @pytest.mark.tiers
        @pytest.mark.parametrize("way", [way for way in WAYS if "openai" not in way])
        def test_tiered(way):
            assert streams.streams_with(getattr(streams, way))
            assert ask("hello")
        """,
    )
    for guard in ((), ("--tiers-record=none",)):
        project.runpytest("--tiers=nano", *guard).assert_outcomes(passed=7 + 5)
