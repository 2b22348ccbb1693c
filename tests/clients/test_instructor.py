"""instructor."""

from __future__ import annotations

import pytest

from tests.openai_server import OpenAIServer
from tests.round_trip import START, round_trip

APP = """
import instructor
from openai import AsyncOpenAI, OpenAI

def _ask(client, **how):
    return client.chat.completions.create(**ASKED, response_model=Said, max_retries=1, **how)

def tools():
    return _ask(instructor.from_openai(OpenAI(api_key=KEY))).text

def json_mode():
    return _ask(instructor.from_openai(OpenAI(api_key=KEY), mode=instructor.Mode.JSON)).text

def json_schema():
    client = instructor.from_openai(OpenAI(api_key=KEY), mode=instructor.Mode.JSON_SCHEMA)
    return _ask(client).text

def from_provider():
    return _ask(instructor.from_provider(f"openai/{MODEL}", api_key=KEY)).text

def with_the_completion():
    client = instructor.from_openai(OpenAI(api_key=KEY))
    said, raw = client.chat.completions.create_with_completion(**ASKED, response_model=Said)
    assert raw.usage.total_tokens > 0
    return said.text

@_run
async def asynchronous():
    async with AsyncOpenAI(api_key=KEY) as client:
        return (await _ask(instructor.from_openai(client))).text

@_run
async def gathered():
    async with AsyncOpenAI(api_key=KEY) as client:
        patched = instructor.from_openai(client)
        (said,) = {said.text for said in await asyncio.gather(*(_ask(patched) for _ in range(3)))}
        return said
"""


def test_round_trip(project: pytest.Pytester, server: OpenAIServer) -> None:
    assert len(round_trip(project, server, START + APP)) == 2 * 7
