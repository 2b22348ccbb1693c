"""What a replay does not do: wait, ask again, load certificates for each client."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tests.integration.one_test import ONE_TEST, outcomes, run_one
from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

#: Clients as they come, with their own retries; each request that they make is counted.
RETRYING = """
import asyncio, pathlib, time
import httpx2, openai, requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

sent = []

def count(request):
    sent.append(str(request.url))

async def async_count(request):
    count(request)

ASKED = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
sync = openai.OpenAI(http_client=httpx2.Client(event_hooks={"request": [count]}))

def ask_sync():
    return sync.chat.completions.create(**ASKED)

def ask_async():
    async def asked():
        http = httpx2.AsyncClient(event_hooks={"request": [async_count]})
        async with openai.AsyncOpenAI(http_client=http) as client:
            return await client.chat.completions.create(**ASKED)
    return asyncio.run(asked())

def ask_patiently():
    for _ in range(2):
        try:
            return sync.with_options(max_retries=0).chat.completions.create(**ASKED)
        except openai.APIStatusError as error:
            refusal = error
            time.sleep(float(error.response.headers["retry-after"]))
    raise refusal

def ask_requests():
    with requests.Session() as session:
        for start in ("http://", "https://"):
            session.mount(start, HTTPAdapter(max_retries=Retry(2, allowed_methods=None)))
        answer = session.post("https://api.openai.com/v1/chat/completions", json=ASKED)
        count(answer)
        return answer.json()["choices"]
"""


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of 0.1 seconds and more that anything wanted to make; nothing does."""
    wanted: list[float] = []

    def is_pause(seconds: float) -> bool:
        wanted.extend([seconds] if seconds >= 0.1 else [])
        return seconds >= 0.1

    def instead_of(sleep: Callable[..., Any]) -> Callable[..., Any]:
        return lambda seconds, *args: None if is_pause(seconds) else sleep(seconds, *args)

    def instead_of_async(sleep: Callable[..., Any]) -> Callable[..., Any]:
        return lambda seconds, *args: sleep(0 if is_pause(seconds) else seconds, *args)

    monkeypatch.setattr(time, "sleep", instead_of(time.sleep))
    for module in (asyncio, anyio):
        monkeypatch.setattr(module, "sleep", instead_of_async(module.sleep))
    return wanted


def app(ask: str) -> str:
    """The application, which notes in a file how often it asked."""
    return RETRYING + (
        f"\ndef ask(text):\n    try:\n        return {ask}()\n"
        "    finally:\n        pathlib.Path('sent').write_text(str(len(sent)))\n"
    )


@pytest.mark.parametrize(
    ("ask", "status", "sent"),
    [
        ("ask_sync", 400, 3),
        ("ask_async", 422, 3),
        ("ask_patiently", 413, 2),
        ("ask_requests", 413, 3),
    ],
)
def test_a_refusal_that_a_client_would_retry_replays_at_once(
    project: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    slept: list[float],
    ask: str,
    status: int,
    sent: int,
) -> None:
    server.answer = lambda _: Reply(
        status=status, retry_after=30, headers={"x-should-retry": "true"}, message="no"
    )
    run_one(project, "--tiers=nano", app=app(ask))
    recorded = report()["trials"][0]
    assert len(server.requests) == sent
    assert len(slept) >= sent - 1
    slept.clear()
    run_one(project, "--tiers=nano", "-p", "tests.no_network", app=app(ask))
    assert slept == []
    replayed = report()["trials"][0]
    assert (replayed["outcome"], replayed["reason"]) == (recorded["outcome"], recorded["reason"])
    assert {call["status"] for call in replayed["calls"]} == {status}


@pytest.mark.parametrize("ask", ["ask_sync", "ask_async", "ask_patiently", "ask_requests"])
def test_a_miss_is_not_asked_again(
    project: pytest.Pytester, report: Report, slept: list[float], ask: str
) -> None:
    run_one(project, "--tiers=nano", "--tiers-record=none", "-p", "tests.no_network", app=app(ask))
    assert slept == []
    assert outcomes(report()) == ["error"]
    assert (project.path / "sent").read_text() == ("0" if ask == "ask_requests" else "1")


#: Builds a client in each call, as many applications do, and one at import.
MANY_CLIENTS = """
import asyncio
import httpx, httpx2, openai

shared = openai.OpenAI()
ASKED = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}

async def ask_async():
    async with openai.AsyncOpenAI() as client:
        return await client.chat.completions.create(**ASKED)

def ask(text):
    answers = [asyncio.run(ask_async()), shared.chat.completions.create(**ASKED)]
    with openai.OpenAI() as one, openai.OpenAI(http_client=httpx2.Client()) as other:
        answers += [client.chat.completions.create(**ASKED) for client in (one, other)]
    with httpx.Client() as client:
        url = "https://api.openai.com/v1/chat/completions"
        answers.append(client.post(url, json=ASKED).raise_for_status())
    return all(answers)
"""

MANY_TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", [1, 2, 3])
def test_ask(number, tier):
    assert ask("hello")
    assert tier.client.responses.create(model=tier.model, input="hello").output_text
"""


def test_a_replay_makes_at_most_one_ssl_context(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(app=MANY_CLIENTS, test_it=MANY_TESTS)
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=6)
    made: list[type] = []
    usual = ssl.SSLContext.__new__

    def counted(cls: type[ssl.SSLContext], *args: Any, **kwargs: Any) -> ssl.SSLContext:
        made.append(cls)
        return usual(cls, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "__new__", counted)
    result = project.runpytest("--tiers=nano,full", "-p", "tests.no_network")
    result.assert_outcomes(passed=6)
    assert len(made) == 1  # by the client that the application builds at import


#: Imports its HTTP library when it asks, as scripts do.
LATE = """
import sys

def ask(text):
    import requests
    asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
    answer = requests.post("https://api.openai.com/v1/chat/completions", json=asked)
    answer.raise_for_status()
    libraries = ("aiohttp", "httpx", "requests", "vcr")  # genai-prices imports httpx2
    print("imported:", [name for name in libraries if name in sys.modules])
    return answer.json()["choices"]
"""


def test_a_replay_imports_no_library_that_the_application_does_not(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    project.makepyfile(app=LATE, test_it=ONE_TEST)
    project.runpytest_subprocess("--tiers=nano").assert_outcomes(passed=1)
    assert len(server.requests) == 1
    others = ("asyncio", "anyio", "cassetter", "recording")  # plugins that import some of them
    without = [f"-pno:{name}" for name in others]
    result = project.runpytest_subprocess("--tiers=nano", "-s", "-ptests.no_network", *without)
    result.assert_outcomes(passed=1)
    assert "imported: ['requests']\n" in result.stdout.str()
