"""Whatever way an application calls a model, a trial's tier answers; what is not its own stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.echo_server import EchoServer
from tests.integration.one_test import TIER, calls, outcomes, run_one
from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]


# What arrives


def test_parameters_of_the_tier_arrive(project: pytest.Pytester, server: OpenAIServer) -> None:
    more = """
params = { reasoning_effort = "low", seed = 7 }
drop_params = ["temperature"]
rename_params = { max_tokens = "max_completion_tokens" }
"""
    app = """
from openai import OpenAI
def ask(text):
    return OpenAI().chat.completions.create(
        model="gpt-5.4", messages=[], temperature=1, max_tokens=5, top_p=0.5
    )
"""
    config = TIER.format(name="nano", url=server.url, more=more)
    run_one(project, "--tiers=nano", app=app, config=config).assert_outcomes(passed=1)
    (got,) = server.requests
    assert got.json == {
        "model": "nano-model",
        "messages": [],
        "top_p": 0.5,
        "max_completion_tokens": 5,
        "reasoning_effort": "low",
        "seed": 7,
    }


def test_the_tiers_key_arrives_as_bearer_and_the_applications_nowhere(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-application")
    monkeypatch.setenv("NANO_KEY", "sk-of-the-tier-nano")
    config = TIER.format(name="nano", url=server.url, more='api_key_env = "NANO_KEY"')
    config += TIER.format(name="free", url=server.url, more="")
    run_one(project, "--tiers=free,nano", config=config).assert_outcomes(passed=2)
    free, nano = sorted(server.requests, key=lambda got: str(got.json["model"]))
    assert nano.headers["authorization"] == "Bearer sk-of-the-tier-nano"
    assert "authorization" not in free.headers
    assert "of-the-application" not in str([free.headers, nano.headers])


def test_the_applications_own_server_gets_its_own_key(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    result = run_one(project, "--tiers=small=m1,large=m2", "--tiers-max-calls=9", config="")
    result.assert_outcomes(passed=2)
    assert server.calls == {"m1": 1, "m2": 1}
    keys = [got.headers["authorization"] for got in server.requests]
    assert keys == ["Bearer sk-of-the-application"] * 2


def test_an_azure_deployment_is_the_tiers(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    app = f"""
from openai import AzureOpenAI
client = AzureOpenAI(
    api_key="azure-key", api_version="2024-10-21", azure_endpoint="{server.url}"
)
def ask(text):
    return client.chat.completions.create(model="gpt-5", messages=[])
"""
    run_one(
        project, "--tiers=small=m1,large=m2", "--tiers-max-calls=9", app=app, config=""
    ).assert_outcomes(passed=2)
    assert [got.path.partition("/openai/")[2] for got in server.requests] == [
        f"deployments/{model}/chat/completions?api-version=2024-10-21" for model in ("m1", "m2")
    ]
    assert [got.headers["api-key"] for got in server.requests] == ["azure-key"] * 2
    assert [call["model_asked"] for call in calls(report())] == ["gpt-5"] * 2


# What is left alone


def test_embeddings_keep_their_model_and_are_recorded(
    project: pytest.Pytester, server: OpenAIServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    app = """
from openai import OpenAI
client = OpenAI()
def ask(text):
    client.embeddings.create(model="text-embedding-3-small", input=text)
    return client.chat.completions.create(model="gpt-5.4", max_tokens=5, messages=[])
"""
    for replayed in (False, True):
        result = run_one(project, "--tiers=nano,full", "--tiers-max-calls=9", app=app)
        result.assert_outcomes(passed=2)
        found = calls(report(), endpoint="embeddings")
        assert [(call["model"], call["left_alone"]) for call in found] == [
            ("text-embedding-3-small", "embeddings")
        ] * 2
        assert [trial["replayed"] for trial in report()["trials"]] == [replayed] * 2
    assert server.calls == {"text-embedding-3-small": 2, "nano-model": 1, "full-model": 1}


#: Asks one model, and another one to judge its answer.
JUDGED = """
import asyncio
from openai import AsyncOpenAI, OpenAI
import pytest_tiers
{imports}
client = OpenAI()

def chat(model, text):
    made = client.chat.completions.create(
        model=model, max_tokens=5, messages=[{{"role": "user", "content": text}}]
    )
    return made.choices[0].message.content

async def achat(model, text):
    async with AsyncOpenAI() as client:
        await client.chat.completions.create(
            model=model, max_tokens=5, messages=[{{"role": "user", "content": text}}]
        )

def ask(text):
    answer = chat("gpt-5.4", text)
    {judge}
    return answer
"""


@pytest.mark.parametrize(
    ("imports", "judge", "config", "reason"),
    [
        ("", "with pytest_tiers.as_is(): chat('judge', answer)", "", "as_is"),
        ("", "with pytest_tiers.as_is(): asyncio.run(achat('judge', answer))", "", "as_is"),
        ("", "chat('judge', answer)", 'replaces = ["gpt-*"]', "replaces"),
        ("import deepeval.metrics", "deepeval.metrics.measure(chat, answer)", "", "deepeval"),
    ],
    ids=["as_is", "as_is-async", "replaces", "evaluation-library"],
)
def test_a_judge_keeps_its_own_model(
    project: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    imports: str,
    judge: str,
    config: str,
    reason: str,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    project.mkpydir("deepeval").joinpath("metrics.py").write_text(
        "def measure(judge, answer):\n    return judge('judge', answer)\n"
    )
    with project.path.joinpath("pyproject.toml").open("a") as file:
        file.write(f"\n[tool.pytest-tiers]\n{config}\n")
    result = run_one(
        project,
        "--tiers=nano,full",
        "--tiers-max-calls=9",
        app=JUDGED.format(imports=imports, judge=judge),
    )
    result.assert_outcomes(passed=2)
    assert server.calls == {"nano-model": 1, "full-model": 1, "judge": 2}
    assert [call["left_alone"] for call in calls(report(), model="judge")] == [reason] * 2
    assert [call["left_alone"] for call in calls(report(), model_asked="gpt-5.4")] == [None] * 2
    (prompt,) = report()["prompts"]
    assert prompt["as_is"]["calls"] == 2
    assert prompt["tiers"]["nano"]["calls"] == 1


def test_a_service_with_a_path_like_a_models_is_not_rewritten(
    project: pytest.Pytester, server: OpenAIServer, echo: EchoServer
) -> None:
    app = f"""
import httpx
from openai import OpenAI
client = OpenAI()
def ask(text):
    httpx.post("{echo.at("forms.example.com")}/form/responses", json={{"answers": [text]}})
    return client.chat.completions.create(model="gpt-5.4", max_tokens=5, messages=[])
"""
    run_one(project, "--tiers=nano,full", app=app).assert_outcomes(passed=2)
    assert echo.bodies == [b'{"answers":["hello"]}'] * 2
    assert server.calls == {"nano-model": 1, "full-model": 1}


# How calls end


def test_a_retry_by_the_application_itself_is_a_retry(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    app = """
import openai
client = openai.OpenAI(max_retries=0)
def ask(text):
    for _ in range(3):
        try:
            return client.chat.completions.create(model="gpt-5.4", max_tokens=5, messages=[])
        except openai.InternalServerError:
            pass
"""
    replies = iter([Reply(status=500), Reply(status=503), Reply("OK"), Reply("OK")])
    server.answer = lambda _: next(replies)
    run_one(project, "--tiers=nano,full", app=app).assert_outcomes(passed=2)
    server.stop()
    run_one(project, "--tiers=nano,full", "-p", "tests.no_network").assert_outcomes(passed=2)
    assert [call["status"] for call in calls(report())] == [200, 200]


def test_one_failure_among_equal_calls_sent_together_is_an_error(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    app = """
import asyncio
from openai import AsyncOpenAI
def ask(text):
    async def all_of():
        async with AsyncOpenAI(max_retries=0) as client:
            made = [client.chat.completions.create(model="m", messages=[]) for _ in range(4)]
            return await asyncio.gather(*made, return_exceptions=True)
    return asyncio.run(all_of())
"""
    replies = iter([Reply(status=500), *[Reply("OK", seconds=0.1)] * 3])
    server.answer = lambda _: next(replies)
    run_one(project, "--tiers=nano", app=app).assert_outcomes(failed=1)
    assert outcomes(report()) == ["error"]


def test_a_call_that_the_application_cancels_is_an_error(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    app = """
import asyncio
from openai import AsyncOpenAI
def ask(text):
    async def in_time():
        async with AsyncOpenAI(max_retries=0) as client:
            call = client.chat.completions.create(model="m", messages=[])
            await asyncio.wait_for(call, 0.2)
    try:
        asyncio.run(in_time())
    except TimeoutError:
        return "a default"
"""
    server.answer = lambda _: Reply("too late", seconds=5)
    run_one(project, "--tiers=nano", app=app).assert_outcomes(failed=1)
    (trial,) = report()["trials"]
    assert trial["outcome"] == "error"
    assert "CancelledError" in trial["reason"]
    assert report()["spent_usd"] == "0"


def test_a_refusal_is_no_connection_error_where_aiohttp_raises_it(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    app = """
import aiohttp, asyncio
URL = "https://api.openai.com/v1/chat/completions"
def ask(text):
    async def post():
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            async with session.post(URL, json={"model": "m", "messages": []}) as answer:
                return await answer.json()
    return asyncio.run(post())
"""
    server.answer = lambda _: Reply(status=400)
    result = run_one(project, "--tiers=nano,full", app=app)
    assert result.parseoutcomes() == {"unsupported": 2}
