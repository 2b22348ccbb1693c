"""pydantic-ai."""

from __future__ import annotations

import pytest

from tests.openai_server import OpenAIServer
from tests.round_trip import START, round_trip

APP = """
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

def _agent(model=OpenAIChatModel, **how):
    model = model(MODEL, provider=OpenAIProvider(api_key=KEY))
    return Agent(model, model_settings={"temperature": 0}, **how)

def run_sync():
    return _agent().run_sync("how is it?").output

def again_on_the_cached_http_client():
    return _agent().run_sync("how is it again?").output

def structured_by_a_tool():
    return _agent(output_type=Said).run_sync("how is it?").output.text

def structured_natively():
    return _agent(output_type=NativeOutput(Said)).run_sync("how is it?").output.text

def own_tool():
    agent = _agent()
    heard = []

    @agent.tool_plain
    def say(text: str) -> str:
        heard.append(text)
        return text

    said = agent.run_sync("how is it?").output
    assert heard == [said]
    return said

def responses():
    return _agent(OpenAIResponsesModel).run_sync("how is it?").output

def responses_structured():
    return _agent(OpenAIResponsesModel, output_type=Said).run_sync("how is it?").output.text

@_run
async def run():
    return (await _agent().run("how is it?")).output

@_run
async def run_on_another_loop():
    return (await _agent().run("how is it on another loop?")).output

@_run
async def stream():
    async with _agent().run_stream("how is it?") as result:
        return "".join([piece async for piece in result.stream_text(delta=True)])

@_run
async def responses_stream():
    async with _agent(OpenAIResponsesModel).run_stream("how is it?") as result:
        return "".join([piece async for piece in result.stream_text(delta=True)])

@_run
async def gathered():
    agent = _agent()
    made = await asyncio.gather(*(agent.run("how is it?") for _ in range(3)))
    (said,) = {result.output for result in made}
    return said
"""


def test_round_trip(project: pytest.Pytester, server: OpenAIServer) -> None:
    assert len(round_trip(project, server, START + APP)) == 2 * 12
