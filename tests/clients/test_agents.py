"""openai-agents."""

from __future__ import annotations

import pytest

from tests.openai_server import OpenAIServer
from tests.round_trip import COLLECT, START, answer, config, round_trip

APP = """
import agents
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner
from agents.tracing import get_trace_provider
from openai import AsyncOpenAI

def _agent(model=OpenAIResponsesModel, **how):
    model = model(model=MODEL, openai_client=AsyncOpenAI(api_key=KEY))
    return Agent("Helper", model=model, model_settings=ModelSettings(temperature=0), **how)

def default_client():
    agents.set_default_openai_key(KEY)
    agent = Agent("Helper", model=MODEL, model_settings=ModelSettings(temperature=0))
    return Runner.run_sync(agent, "how is it?").final_output

def chat():
    return Runner.run_sync(_agent(OpenAIChatCompletionsModel), "how is it?").final_output

def structured():
    return Runner.run_sync(_agent(output_type=Said), "how is it?").final_output.text

def own_tool():
    heard = []

    @agents.function_tool
    def say(text: str) -> str:
        heard.append(text)
        return text

    said = Runner.run_sync(_agent(tools=[say]), "how is it?").final_output
    assert heard == [said]
    return said

def traced():
    said = Runner.run_sync(_agent(), "how is it?").final_output
    get_trace_provider().force_flush()
    return said

@_run
async def run():
    return (await Runner.run(_agent(), "how is it?")).final_output

async def _streamed(agent):
    result = Runner.run_streamed(agent, "how is it?")
    async for _ in result.stream_events():
        pass
    return result.final_output

@_run
async def stream():
    return await _streamed(_agent())

@_run
async def chat_stream():
    return await _streamed(_agent(OpenAIChatCompletionsModel))
"""


def test_round_trip(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key in the environment, the library sends its traces from a thread of its own."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-in-the-environment")
    assert len(round_trip(project, server, START + APP)) == 2 * 8


def test_no_trace_is_sent_when_python_ends(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-in-the-environment")
    server.answer = answer
    project.makepyprojecttoml(config(server.url))
    project.makepyfile(
        app=START + APP + COLLECT,
        test_it="""
        import atexit, socket
        import pytest

        asked, resolve = [], socket.getaddrinfo

        def getaddrinfo(host, *args, **kwargs):
            asked.append(host)
            return resolve("127.0.0.1", *args, **kwargs)

        socket.getaddrinfo = getaddrinfo
        atexit.register(lambda: print("asked for:", {*asked} - {"127.0.0.1"}))  # the last to run
        import app

        @pytest.mark.tiers
        def test_run():
            assert app.run() == "it is fine"
        """,
    )
    result = project.runpytest_subprocess("--tiers=nano,full")
    result.stdout.fnmatch_lines(["asked for: set()"])
