"""litellm."""

from __future__ import annotations

import pytest

from tests.openai_server import OpenAIServer
from tests.round_trip import START, round_trip

APP = """
import litellm

CALL = {"messages": MESSAGES, "temperature": 0, "api_key": KEY, "num_retries": 0}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}

def completion():
    return litellm.completion(MODEL, **CALL).choices[0].message.content

def stream():
    return _joined(litellm.completion(MODEL, **CALL, **USAGE))

def structured():
    made = litellm.completion(MODEL, **CALL, response_format=Said)
    return Said.model_validate_json(made.choices[0].message.content).text

def another_provider():
    '''Over litellm's own HTTP client, not OpenAI's.'''
    return litellm.completion(f"deepseek/{MODEL}", **CALL).choices[0].message.content

def another_providers_stream():
    return _joined(litellm.completion(f"deepseek/{MODEL}", **CALL, **USAGE))

def own_base_url():
    made = litellm.completion(
        f"openai/{MODEL}", **CALL, api_base="https://gateway.example.com/v1"
    )
    return made.choices[0].message.content

def azure():
    made = litellm.completion(
        f"azure/{MODEL}", **CALL, api_base="https://r.openai.azure.com", api_version="2024-10-21"
    )
    return made.choices[0].message.content

def router():
    how = {"model": MODEL, "api_key": KEY}
    router = litellm.Router([{"model_name": "any", "litellm_params": how}], num_retries=0)
    return router.completion("any", MESSAGES, temperature=0).choices[0].message.content

def batch_in_threads():
    made = litellm.batch_completion(MODEL, [MESSAGES] * 3, temperature=0, api_key=KEY)
    (said,) = {each.choices[0].message.content for each in made}
    return said

def responses():
    made = litellm.responses(INPUT["input"], MODEL, temperature=0, api_key=KEY)
    return made.output[0].content[0].text

def text_completion():
    made = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="how is it?", temperature=0, api_key=KEY
    )
    return made.choices[0].text

@_run
async def acompletion():
    return (await litellm.acompletion(MODEL, **CALL)).choices[0].message.content

@_run
async def astream():
    chunks = await litellm.acompletion(MODEL, **CALL, **USAGE)
    return _joined([chunk async for chunk in chunks])

@_run
async def another_provider_async():
    made = await litellm.acompletion(f"deepseek/{MODEL}", **CALL)
    return made.choices[0].message.content

@_run
async def another_providers_async_stream():
    chunks = await litellm.acompletion(f"deepseek/{MODEL}", **CALL, **USAGE)
    return _joined([chunk async for chunk in chunks])

@_run
async def aresponses():
    made = await litellm.aresponses(INPUT["input"], MODEL, temperature=0, api_key=KEY)
    return made.output[0].content[0].text

@_run
async def gathered():
    made = await asyncio.gather(*(litellm.acompletion(MODEL, **CALL) for _ in range(3)))
    (said,) = {each.choices[0].message.content for each in made}
    return said
"""


def test_round_trip(project: pytest.Pytester, server: OpenAIServer) -> None:
    assert len(round_trip(project, server, START + APP)) == 2 * 17
