"""A project whose application calls a model in one client's way: recorded on two tiers, replayed.

Used by tests/integration/test_clients.py and, for libraries above the clients, tests/clients/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.openai_server import OpenAIServer, Reply

#: What the application names and sends itself; a tier replaces all of it.
FLAGSHIP = "gpt-5.4"
KEY = "sk-of-the-application"

#: What all the applications below share; each builds its client where it needs it.
START = f"""
import asyncio, json, threading
from concurrent.futures import ThreadPoolExecutor
from pydantic import BaseModel

KEY = "{KEY}"
MODEL = "gpt-5.4"
MESSAGES = [{{"role": "user", "content": "how is it?"}}]
ASKED = {{"model": MODEL, "messages": MESSAGES, "max_tokens": 9, "temperature": 0}}
STREAMED = {{**ASKED, "stream": True, "stream_options": {{"include_usage": True}}}}
INPUT = {{"model": MODEL, "input": "how is it?", "max_output_tokens": 9, "temperature": 0}}

class Said(BaseModel):
    text: str

def _run(ask):
    def way():
        return asyncio.run(ask())
    way.__module__ = __name__
    return way

def _text(answer):
    return answer["choices"][0]["message"]["content"]

def _joined(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

def _of_lines(lines):
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: {{")]
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
"""

#: Both tiers set a parameter, drop another and rename a third.
CONFIG = """
[tool.pytest.ini_options]
asyncio_default_fixture_loop_scope = "function"
addopts = ["--strict-markers"]
filterwarnings = ["default"]  # pytester's runs would inherit this suite's "error"
"""

TIER = """
[tool.pytest-tiers.tiers.{name}]
model = "{name}-model"
base_url = "{url}"
price_as = "{price}"
params = {{ seed = {seed} }}
drop_params = ["temperature"]
"""

#: Knows nothing of tiers but the marker.
TEST = """
import pytest
import app

@pytest.mark.tiers
@pytest.mark.parametrize("way", app.WAYS)
def test_way(way):
    assert getattr(app, way)() == "it is fine"
"""

#: Ends an application: all public functions of it are ways to ask.
COLLECT = """
WAYS = [
    name for name, value in list(globals().items())
    if getattr(value, "__module__", "") == __name__
    and callable(value) and not isinstance(value, type) and not name.startswith("_")
]
"""


def answer(request: dict[str, Any]) -> Reply:
    """The better model says another thing than the worse, and each uses its own tokens.

    It is said by the first tool, where there are tools and none has answered yet, else as the
    JSON that was asked for, else as it is.
    """
    is_full = request["model"] == "full-model"
    text = "it is fine" if is_full else "it is poor"
    usage = Reply(reasoning=5 if is_full else 3, cached=1)
    tools = request.get("tools") or []
    said = json.dumps([request.get("messages"), request.get("input")])
    if tools and '"tool_call_id"' not in said and '"function_call_output"' not in said:
        name = tools[0].get("name") or tools[0]["function"]["name"]
        return replace(usage, tool_calls=((name, {"text": text}),))
    wanted = json.dumps([request.get("response_format"), request.get("text")])
    as_json = "json_schema" in wanted or "json_object" in wanted
    return replace(usage, text=json.dumps({"text": text}) if as_json else text)


def config(url: str) -> str:
    """The project's settings: two tiers on one server."""
    nano = TIER.format(name="nano", url=url, price="gpt-5.4-nano", seed=7)
    return CONFIG + nano + TIER.format(name="full", url=url, price="gpt-5.4", seed=11)


def round_trip(
    project: pytest.Pytester,
    server: OpenAIServer,
    app: str,
    *,
    test: str = TEST,
    args: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Record ``app`` on nano and full, stop the server, replay; the trials as recorded.

    Checked: what the server saw, that each tier's own answer reached the application, and that
    the replay sent nothing and reports the same outcomes, answers, tokens and costs.
    """
    server.answer = answer
    project.makepyprojecttoml(config(server.url))
    project.makepyfile(app=app + COLLECT, test_it=test)
    recorded = _run(project, *args)
    _check_sent(server)
    _check_outcomes(recorded)
    for trial in recorded["trials"]:
        assert trial["replayed"] is False, trial
        for call in trial["calls"]:
            assert call["model_asked"] == FLAGSHIP, trial
            assert call["model"] == call["answered_by"] == f"{trial['tier']}-model", trial
            assert call["tokens"]["output"] > 0, trial
            assert float(call["cost_usd"]) > 0, trial
    assert len(server.requests) == sum(len(trial["calls"]) for trial in recorded["trials"])

    server.stop()
    replayed = _run(project, *args, "-p", "tests.no_network")
    assert all(trial["replayed"] for trial in replayed["trials"])
    assert _comparable(replayed) == _comparable(recorded)
    assert replayed["spent_usd"] == "0"
    for name, tier in replayed["prompts"][0]["tiers"].items():
        assert tier == recorded["prompts"][0]["tiers"][name]
    return list(recorded["trials"])


def _run(project: pytest.Pytester, *args: str) -> dict[str, Any]:
    """Run the tests on both tiers; the JSON report."""
    result = project.runpytest("--tiers=nano,full", "--tiers-report=out.json", *args)
    if "tests.no_network" in args:
        result.stdout.fnmatch_lines(["connections attempted: 0"])
    report: dict[str, Any] = json.loads((Path(project.path) / "out.json").read_text())
    return report


def _check_outcomes(report: dict[str, Any]) -> None:
    """The better tier passes; the other misses with its own answer, which came through."""
    assert report["trials"]
    for trial in report["trials"]:
        outcome, reason = ("passed", None)
        if trial["tier"] == "nano":
            outcome, reason = "missed", "AssertionError: assert 'it is poor' == 'it is fine'"
        assert (trial["outcome"], trial["reason"]) == (outcome, reason), trial


def _check_sent(server: OpenAIServer) -> None:
    """Each request is a tier's: its model and parameters, nothing of the application's own."""
    for request in server.requests:
        sent = request.json
        assert (sent["model"], sent["seed"]) in {("nano-model", 7), ("full-model", 11)}
        assert "temperature" not in sent
        assert KEY not in str(request)
        assert "authorization" not in request.headers
        assert "api-key" not in request.headers
        assert f'"{FLAGSHIP}"' not in request.body.decode()


def _comparable(report: dict[str, Any]) -> list[Any]:
    """What record and replay must agree in. Calls made together may end in another order.

    Only a replay makes control trials.
    """
    apart = {"replayed": None, "controls": None}
    return [
        {**trial, **apart, "calls": sorted(_calls(trial, report), key=json.dumps)}
        for trial in report["trials"]
    ]


def _calls(trial: dict[str, Any], report: dict[str, Any]) -> list[dict[str, Any]]:
    """A trial's calls, each with its stack: the number of it says which call came first."""
    return [
        {**call, "replayed": None, "stack": report["merging"]["stacks"][call["stack"]]}
        for call in trial["calls"]
    ]
