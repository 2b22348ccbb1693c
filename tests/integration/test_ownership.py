"""Which trial a call belongs to, and which calls belong to none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_tiers.cassettes.format import load
from tests.echo_server import EchoServer
from tests.integration.one_test import calls, outcomes, run_one
from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-report=out.json")

TIERED = """
import pytest
from app import ask, client

@pytest.mark.tiers
def test_ask({fixture}):
    assert ask("hello")
"""


def texts(server: OpenAIServer) -> list[tuple[str, str]]:
    """Model and question of each request, in order."""
    return [(got.json["model"], got.json["messages"][0]["content"]) for got in server.requests]


# No trial's calls


def test_a_call_between_tests_is_reported_and_not_attached(
    project: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    project.makeconftest(
        """
        def pytest_runtest_logfinish(nodeid):
            from app import ask
            if "nano" in nodeid:
                ask("between tests")
        """
    )
    project.makepyfile(test_it=TIERED.format(fixture=""))
    result = project.runpytest(*COMPARE)
    result.assert_outcomes(passed=2)
    assert sorted(texts(server)) == [
        ("full-model", "hello"),
        ("gpt-5.4", "between tests"),
        ("nano-model", "hello"),
    ]
    assert len(calls(report())) == 2
    said = " ".join(" ".join(result.outlines).split())
    assert f"{server.url}/chat/completions" in said
    assert "belongs to no trial" in said


def test_a_call_at_import_is_reported_and_not_attached(
    project: pytest.Pytester, server: OpenAIServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    project.makepyfile(test_it=TIERED.format(fixture="") + "\nask('at import')\n")
    project.runpytest(*COMPARE).assert_outcomes(passed=2)
    assert len(calls(report())) == 2
    assert ("gpt-5.4", "at import") in texts(server)


def test_an_answer_that_comes_after_its_trial_stays_with_it(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    sent, next_trial = threading.Event(), threading.Event()

    def answer(request: dict[str, Any]) -> str:
        question = str(request["messages"][0]["content"])
        if question == "in the background":
            sent.set()
            next_trial.wait(60)
        elif question == "case a":
            sent.wait(60)
        else:
            next_trial.set()
        return question

    server.answer = answer
    project.makepyfile(
        test_it="""
        import pytest, threading
        from app import ask

        thread = threading.Thread(target=ask, args=["in the background"])

        @pytest.mark.tiers
        @pytest.mark.parametrize("case", ["a", "b"])
        def test_ask(case):
            if case == "a":
                thread.start()
            assert ask(f"case {case}") == f"case {case}"
            if case == "b":
                thread.join()
        """
    )
    project.runpytest("--tiers=nano", "--tiers-report=out.json").assert_outcomes(passed=2)
    assert [len(trial["calls"]) for trial in report()["trials"]] == [1, 1]
    cassette = load(project.path / "cassettes/test_it/test_ask[nano].yaml")
    said = {
        key: [json.loads(call.body) for call in trial.calls]
        for key, trial in cassette.recordings.items()
    }
    assert {
        case: sorted(answer["choices"][0]["message"]["content"] for answer in answers)
        for (case, _), answers in said.items()
    } == {"a": ["case a", "in the background"], "b": ["case b"]}


# Fixtures that trials share


SHARED = """
import pytest
from app import ask

@pytest.fixture(scope="{scope}")
def answer():
    try:
        return ask("from the fixture")
    except Exception:
        return "a default"
"""


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_a_call_inside_a_wider_fixture_makes_its_trials_errors(
    project: pytest.Pytester, server: OpenAIServer, report: Report, scope: str
) -> None:
    project.makepyfile(
        test_it=SHARED.format(scope=scope)
        + """
@pytest.mark.tiers
def test_answer(answer):
    assert answer

@pytest.mark.tiers
def test_own():
    assert ask("hello")
"""
    )
    project.runpytest(*COMPARE)
    by_prompt = {trial["prompt"].rpartition("::")[2]: trial for trial in report()["trials"]}
    assert outcomes(report()) == ["error", "error", "passed", "passed"]
    reason = by_prompt["test_answer"]["reason"]
    assert reason.startswith('fixture "answer" calls a model')
    assert 'scope="function"' in reason
    assert [question for _, question in texts(server)] == ["hello"] * 2


def test_a_wider_fixture_that_is_asked_for_by_name_counts_too(
    project: pytest.Pytester, report: Report
) -> None:
    project.makepyfile(
        test_it=SHARED.format(scope="module")
        + """
@pytest.mark.tiers
def test_answer(request):
    assert request.getfixturevalue("answer")
"""
    )
    project.runpytest(*COMPARE)
    assert outcomes(report()) == ["error", "error"]
    assert all("answer" in trial["reason"] for trial in report()["trials"])


def test_a_wider_fixture_that_an_untiered_test_set_up_counts_too(
    project: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    project.makepyfile(
        test_it=SHARED.format(scope="session")
        + """
def test_untiered(answer):
    assert answer == "OK"

@pytest.mark.tiers
def test_answer(answer):
    assert answer
"""
    )
    project.runpytest(*COMPARE)
    assert texts(server) == [("gpt-5.4", "from the fixture")]
    assert outcomes(report()) == ["error", "error"]
    assert all('fixture "answer"' in trial["reason"] for trial in report()["trials"])


def test_a_function_scoped_fixtures_call_belongs_to_the_trial(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(
        test_it=SHARED.format(scope="function")
        + """
@pytest.mark.tiers
def test_answer(answer):
    assert answer
"""
    )
    project.runpytest(*COMPARE).assert_outcomes(passed=2)
    assert sorted(model for model, _ in texts(server)) == ["full-model", "nano-model"]
    assert outcomes(report()) == ["passed"] * 2


def test_what_a_wider_fixture_fetches_elsewhere_belongs_to_no_trial(
    project: pytest.Pytester, echo: EchoServer
) -> None:
    project.makepyfile(
        test_it=f"""
import pytest, requests
from app import ask

@pytest.fixture(scope="module")
def page():
    return requests.get("{echo.at("docs.example.com")}/page").json()["number"]

@pytest.mark.tiers
def test_page(page):
    assert page == 1 and ask("hello")
"""
    )
    project.runpytest(*COMPARE).assert_outcomes(passed=2)
    assert "example.com" not in "".join(
        path.read_text() for path in (project.path / "cassettes").rglob("*.yaml")
    )


# Tests that are not tiered


def test_untiered_tests_between_trials_run_as_without_us(
    project: pytest.Pytester, server: OpenAIServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    project.makepyfile(
        test_it="""
import pytest, threading
from app import ask

def test_before():
    assert ask("untiered") == "OK"

@pytest.mark.tiers
def test_ask():
    assert ask("hello")

def test_after():
    assert ask("untiered") == "OK"
"""
    )
    for number in (1, 2):
        project.runpytest(*COMPARE).assert_outcomes(passed=4)
        asked = texts(server)
        assert asked.count(("gpt-5.4", "untiered")) == 2 * number
        assert len(asked) == 2 * number + 2
    assert len(calls(report())) == 2


# Hosts


#: Calls the application under test, and a model.
LOCAL = """
import asyncio
import aiohttp, httpx, httpx2, requests
from openai import OpenAI
client = OpenAI()

async def over_aiohttp(url):
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            return (await answer.json())["number"]

async def over_async_httpx(url):
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).json()["number"]

def ask(text):
    url = "{url}"
    numbers = [
        httpx.get(url).json()["number"],
        httpx2.get(url).json()["number"],
        requests.get(url).json()["number"],
        asyncio.run(over_aiohttp(url)),
        asyncio.run(over_async_httpx(url)),
    ]
    client.chat.completions.create(
        model="gpt-5.4", max_tokens=9, messages=[{{"role": "user", "content": text}}]
    )
    return numbers
"""


def test_the_application_under_test_on_loopback_runs_and_is_not_recorded(
    project: pytest.Pytester, server: OpenAIServer, echo: EchoServer
) -> None:
    app = LOCAL.format(url=echo.url)
    for times in (1, 2):
        run_one(project, "--tiers=nano", app=app).assert_outcomes(passed=1)
        assert len(echo.requests) == 5 * times
    assert len(server.requests) == 1
    (file,) = (project.path / "cassettes").rglob("*.yaml")
    assert str(echo.port) not in file.read_text()


def test_an_application_under_test_with_a_models_path_runs_too(
    project: pytest.Pytester, echo: EchoServer
) -> None:
    app = f"""
import asyncio
import aiohttp, httpx, requests

asked = {{"model": "of-the-application", "messages": []}}
url = "{echo.url}/v1/chat/completions"

async def over_async_httpx():
    async with httpx.AsyncClient() as client:
        return (await client.post(url, json=asked)).json()["body"]

async def over_aiohttp():
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json=asked) as answer:
            return (await answer.json())["body"]

def ask(text):
    bodies = [
        httpx.post(url, json=asked).json()["body"],
        requests.post(url, json=asked).json()["body"],
        asyncio.run(over_async_httpx()),
        asyncio.run(over_aiohttp()),
    ]
    return all("of-the-application" in body for body in bodies)
"""
    for times in (1, 2):
        run_one(project, "--tiers=nano", app=app).assert_outcomes(passed=1)
        assert len(echo.requests) == 4 * times
    assert not list(project.path.rglob("*.yaml"))


def test_ignored_hosts_are_not_recorded(
    project: pytest.Pytester, server: OpenAIServer, echo: EchoServer
) -> None:
    pyproject = project.path / "pyproject.toml"
    pyproject.write_text(
        f"{pyproject.read_text()}\n[tool.pytest-tiers]\nignore_hosts = ['metrics.example.com']\n"
    )
    app = LOCAL.format(url=echo.at("metrics.example.com"))
    for times in (1, 2):
        run_one(project, "--tiers=nano", app=app).assert_outcomes(passed=1)
        assert len(echo.requests) == 5 * times
    assert len(server.requests) == 1


def test_other_remote_hosts_are_recorded(project: pytest.Pytester, echo: EchoServer) -> None:
    app = LOCAL.format(url=echo.at("weather.example.com"))
    for guard in ((), ("-p", "tests.no_network")):
        run_one(project, "--tiers=nano", *guard, app=app).assert_outcomes(passed=1)
    assert len(echo.requests) == 5


def test_a_model_on_loopback_that_openais_client_calls_is_recorded(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    app = f"""
from openai import OpenAI
def ask(text):
    client = OpenAI(base_url="{server.url}", api_key="sk-local")
    return client.chat.completions.create(model="m", max_tokens=9, messages=[])
"""
    args = ("--tiers=small=m1", "--tiers-max-calls=2")
    run_one(project, *args, app=app, config="").assert_outcomes(passed=1)
    run_one(project, *args, "-p", "tests.no_network").assert_outcomes(passed=1)
    assert server.calls == {"m1": 1}


def test_in_process_transports_are_left_alone(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    app = """
import asyncio, httpx, httpx2, json
from openai import OpenAI
client = OpenAI()
numbers = []

def wsgi(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    numbers.append("wsgi")
    return [b"wsgi"]

async def asgi(scope, receive, send):
    numbers.append("asgi")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi"})

def mock(request):
    numbers.append("mock")
    return httpx.Response(200, text="mock")

URL = "https://api.openai.com/v1/chat/completions"

async def over_asgi():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi)) as client:
        return (await client.post(URL, json={"model": "m"})).text

def ask(text):
    numbers.clear()
    said = [
        httpx.Client(transport=httpx.WSGITransport(wsgi)).post(URL, json={"model": "m"}).text,
        httpx.Client(transport=httpx.MockTransport(mock)).post(URL, json={"model": "m"}).text,
        asyncio.run(over_asgi()),
    ]
    client.chat.completions.create(model="gpt-5.4", max_tokens=9, messages=[])
    return said == numbers == ["wsgi", "mock", "asgi"]
"""
    for guard in ((), ("-p", "tests.no_network")):
        run_one(project, "--tiers=nano", *guard, app=app).assert_outcomes(passed=1)
    assert len(server.requests) == 1


def test_the_http_libraries_are_as_before_when_the_run_has_ended(
    project: pytest.Pytester,
) -> None:
    import aiohttp
    import httpx
    import httpx2
    import requests.adapters

    def methods() -> list[object]:
        return [
            httpx.HTTPTransport.handle_request,
            httpx.AsyncHTTPTransport.handle_async_request,
            httpx2.HTTPTransport.handle_request,
            httpx2.AsyncHTTPTransport.handle_async_request,
            requests.adapters.HTTPAdapter.send,
            aiohttp.ClientSession._request,
        ]

    before = methods()
    run_one(project, "--tiers=nano").assert_outcomes(passed=1)
    assert methods() == before
