"""HTTP/2, httpx over aiohttp, and trio."""

from __future__ import annotations

import pytest
import zstandard

from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.scrub import Scrubber
from pytest_tiers.cassettes.writing import recorded_call
from tests.openai_server import OpenAIServer
from tests.round_trip import START, round_trip

APP = """
import anyio, httpx, httpx2
from httpx_aiohttp import HttpxAiohttpClient
from openai import AsyncOpenAI, OpenAI

URL = "https://api.openai.com/v1/chat/completions"
HEADERS = {"Authorization": f"Bearer {KEY}"}

def http2():
    with httpx.Client(http2=True, headers=HEADERS) as client:
        return _text(client.post(URL, json=ASKED).json())

def http2_of_httpx2():
    with httpx2.Client(http2=True, headers=HEADERS) as client:
        return _text(client.post(URL, json=ASKED).json())

def openai_over_http2():
    with httpx.Client(http2=True) as http, OpenAI(api_key=KEY, http_client=http) as client:
        return _joined(client.chat.completions.create(**STREAMED))

@_run
async def httpx_over_aiohttp():
    async with HttpxAiohttpClient(headers=HEADERS) as client:
        return _text((await client.post(URL, json=ASKED)).json())

@_run
async def httpx_over_aiohttp_streams():
    async with HttpxAiohttpClient(headers=HEADERS) as client:
        async with client.stream("POST", URL, json=STREAMED) as answer:
            return _of_lines([line async for line in answer.aiter_lines()])

async def _on_trio():
    said = set()

    async def ask():
        made = await client.chat.completions.create(**ASKED)
        said.add(made.choices[0].message.content)

    async with AsyncOpenAI(api_key=KEY) as client, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    (only,) = said
    return only

def trio():
    return anyio.run(_on_trio, backend="trio")
"""

TEST = """
import pytest
import app

@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.fixture(scope="module")
async def client(anyio_backend):
    async with app.AsyncOpenAI(api_key=app.KEY) as client:
        yield client

@pytest.mark.tiers
@pytest.mark.anyio
async def test_ask(client):
    made = await client.chat.completions.create(**app.ASKED)
    assert made.choices[0].message.content == "it is fine"
"""


def test_round_trip(project: pytest.Pytester, server: OpenAIServer) -> None:
    assert len(round_trip(project, server, START + APP)) == 2 * 6


def test_round_trip_of_async_tests_on_trio(project: pytest.Pytester, server: OpenAIServer) -> None:
    assert len(round_trip(project, server, START + APP, test=TEST)) == 2 * 2


def test_what_only_httpx_can_decompress_is_written_as_text() -> None:
    answer = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-encoding": ["zstd"]},
        "body": {"string": zstandard.compress(b"it is fine")},
    }
    asked = SentRequest("POST", "https://api.openai.com/v1/chat/completions", {}, b"{}")
    recorded = recorded_call(asked, answer, {}, Scrubber())
    assert recorded.body == b"it is fine"
    assert recorded.interaction["response"]["headers"] == {}
