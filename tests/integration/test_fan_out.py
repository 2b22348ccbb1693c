"""One question to all tiers at once while recording: what goes out, who takes it, and when not."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.cassettes.journal import FOLDER
from tests.conftest import says
from tests.forks import Forks
from tests.openai_server import OpenAIServer, Reply, words

RECORD = ("--tiers=nano,mini,full", "--tiers-report=out.json", "-p", "no:randomly")

ONE_CASE = """
import pytest
from app import ask

@pytest.mark.tiers(samples={samples})
def test_ask():
    assert ask("Where is my order?") == "OK"
"""

Report = Callable[[], dict[str, Any]]


class Meeting:
    """Answers nobody before ``size`` requests are there at the same time."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size, timeout=60)

    def __call__(self, _: dict[str, Any]) -> str:
        self._barrier.wait()
        return "OK"


def outcomes(report: dict[str, Any]) -> Counter[str]:
    return Counter(trial["outcome"] for trial in report["trials"])


def test_all_trials_of_a_case_are_asked_at_once(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    # Fewer than all of them at once, and the barrier breaks: a 500 for everybody.
    server.answer = Meeting(15)
    project.makepyfile(test_it=ONE_CASE.format(samples=5))
    project.runpytest(*RECORD).assert_outcomes(passed=15)
    assert server.calls == {"nano-model": 5, "mini-model": 5, "full-model": 5}
    said = report()
    assert not any(trial["replayed"] for trial in said["trials"])
    spent = said["spent_usd"]
    server.stop()
    project.runpytest(*RECORD).assert_outcomes(passed=15)
    assert all(trial["replayed"] for trial in report()["trials"])
    assert report()["replayed_usd"] == spent


def test_the_first_call_of_a_prompt_without_a_token_limit_goes_alone(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    together: list[int] = []
    meeting = Meeting(2)
    under_way = 0
    lock = threading.Lock()

    def answer(body: dict[str, Any]) -> str:
        nonlocal under_way
        with lock:
            under_way += 1
            first = not together
            together.append(under_way)
        if not first:
            meeting(body)
        with lock:
            under_way -= 1
        return "OK"

    server.answer = answer
    app = (project.path / "app.py").read_text()
    project.makepyfile(app=app.replace("max_tokens=50, ", ""), test_it=ONE_CASE.format(samples=1))
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert together[0] == 1
    assert server.calls == {"nano-model": 1, "mini-model": 1, "full-model": 1}


def test_no_more_calls_are_under_way_than_allowed(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    under_way = most = 0
    lock = threading.Lock()

    def answer(_: dict[str, Any]) -> Reply:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.05)
        with lock:
            under_way -= 1
        return Reply("OK")

    server.answer = answer
    config = project.path / "pyproject.toml"
    config.write_text(config.read_text() + "\n[tool.pytest-tiers]\nmax_in_flight = 4\n")
    project.makepyfile(test_it=ONE_CASE.format(samples=5))
    project.runpytest(*RECORD).assert_outcomes(passed=15)
    assert 2 <= most <= 4


def test_trials_that_ask_differently_are_paid_in_vain_for_one_case_only(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    project.makepyfile(
        test_it="""
        import uuid
        import pytest
        from app import ask

        @pytest.mark.tiers
        @pytest.mark.parametrize("text", ["a", "b", "c"])
        def test_ask(text):
            assert ask(f"{text} {uuid.uuid4()}") == "OK"
        """
    )
    result = project.runpytest(*RECORD)
    result.assert_outcomes(passed=9)
    assert server.calls == {"nano-model": 3, "mini-model": 4, "full-model": 4}
    result.stdout.re_match_lines_random(["tiers: test_it.py::test_ask: "])
    assert says(result.stdout.str(), "paid in vain")


def test_a_question_that_repeats_an_answer_is_asked_by_its_own_trial(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    said = "a story of many words that no other model would tell in the same way"
    server.answer = lambda body: f"{body['model']}: {said}"
    project.makepyfile(
        test_it="""
        import pytest
        from app import ask

        memory = []

        @pytest.mark.tiers
        @pytest.mark.parametrize("turn", [1, 2])
        def test_ask(turn):
            memory.append(ask("Go on: " + "".join(memory[-1:])))
        """
    )
    project.runpytest(*RECORD).assert_outcomes(passed=6)
    # The first case is asked in vain for two tiers; nothing after that.
    assert sum(server.calls.values()) <= 8


def test_an_answer_that_asks_to_wait_is_asked_again_after_it(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    refused: set[str] = set()

    def answer(body: dict[str, Any]) -> Reply:
        if body["model"] != "nano-model" and body["model"] not in refused:
            refused.add(body["model"])
            return Reply(status=429, retry_after=0.2)
        return Reply("OK")

    server.answer = answer
    project.makepyfile(test_it=ONE_CASE.format(samples=1))
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert server.calls == {"nano-model": 1, "mini-model": 2, "full-model": 2}
    assert outcomes(report()) == {"passed": 3}


def test_a_broken_connection_in_advance_is_the_trials_own_to_mend(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    dropped: set[str] = set()

    def answer(body: dict[str, Any]) -> Reply:
        if body["model"] == "full-model" and not dropped:
            dropped.add("full-model")
            return Reply(drop="before")
        return Reply("OK")

    server.answer = answer
    project.makepyfile(test_it=ONE_CASE.format(samples=1))
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert outcomes(report()) == {"passed": 3}
    assert server.calls["full-model"] == 2


def test_a_run_that_ends_early_keeps_what_was_asked_in_advance(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    project.makepyfile(test_it=ONE_CASE.format(samples=2) + "    raise KeyboardInterrupt\n")
    assert project.runpytest_subprocess(*RECORD).ret == pytest.ExitCode.INTERRUPTED
    assert sum(server.calls.values()) == 6
    server.stop()
    project.makepyfile(test_it=ONE_CASE.format(samples=2))
    project.runpytest(*RECORD).assert_outcomes(passed=6)


def test_who_interrupts_twice_waits_no_longer(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    arrived = threading.Semaphore(0)

    def journals() -> Iterator[Path]:
        return (project.path / "cassettes" / FOLDER).glob("journal-*")

    def answer(request: dict[str, Any]) -> Reply:
        arrived.release()
        return Reply("OK", seconds=0 if request["model"] == "nano-model" else 60)

    server.answer = answer
    project.makepyfile(test_it=ONE_CASE.format(samples=1))
    with Forks(project.path) as forks:
        run = forks.start("--tiers=nano,mini,full")
        assert all(arrived.acquire(timeout=30) for _ in range(3))
        while b'"complete": true' not in b"".join(map(Path.read_bytes, journals())):
            time.sleep(0.01)  # the first trial has its answer
        run.kill(signal.SIGINT)
        while "2 under way and paid for: waiting" not in run.output and run.is_running:
            time.sleep(0.01)
        run.kill(signal.SIGINT)
        assert run.ended() == pytest.ExitCode.INTERRUPTED
    assert "Traceback" not in run.output
    assert (project.path / "cassettes/test_it/test_ask[nano].yaml").exists()
    assert not list(journals())


def test_the_cost_limit_holds_for_calls_in_advance_too(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(test_it=ONE_CASE.format(samples=5))
    project.runpytest(*RECORD, "--tiers-max-calls=7")
    assert sum(server.calls.values()) == 7
    assert outcomes(report()) == {"passed": 7, "error": 8}


def test_an_async_application_closes_its_client_at_once(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = Meeting(3)
    project.makepyfile(
        app="""
        import asyncio
        from openai import AsyncOpenAI

        def ask(text):
            async def main():
                async with AsyncOpenAI() as client:
                    completion = await client.chat.completions.create(
                        model="gpt-5.4", max_tokens=50,
                        messages=[{"role": "user", "content": text}])
                    return completion.choices[0].message.content
            return asyncio.run(main())
        """,
        test_it=ONE_CASE.format(samples=1),
    )
    project.runpytest(*RECORD).assert_outcomes(passed=3)


def test_who_does_not_wait_for_an_answer_finds_it_when_asking_again(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    gave_up = project.path / "gave_up"

    def answer(request: dict[str, Any]) -> str:
        while request["model"] != "nano-model" and not gave_up.exists():
            time.sleep(0.01)
        return "OK"

    server.answer = answer
    project.makepyfile(
        app="""
        import asyncio
        from pathlib import Path
        from openai import AsyncOpenAI

        async def main(text):
            async with AsyncOpenAI(max_retries=0) as client:
                while True:
                    try:
                        completion = await asyncio.wait_for(client.chat.completions.create(
                            model="gpt-5.4", max_tokens=50,
                            messages=[{"role": "user", "content": text}]), 0.5)
                        return completion.choices[0].message.content
                    except TimeoutError:
                        Path("gave_up").touch()

        def ask(text):
            return asyncio.run(main(text))
        """,
        test_it=ONE_CASE.format(samples=1),
    )
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert server.calls["mini-model"] == server.calls["full-model"] == 1


def posting(url: str, library: str, session: str = "") -> str:
    """An application that asks by an HTTP library; ``session`` are aiohttp's own arguments."""
    send = {
        "requests": "return requests.post(url, json=body, headers=key).json()",
        "httpx": "return httpx.post(url, json=body, headers=key).json()",
        "aiohttp": (
            "return asyncio.run(fetch())\n\n"
            "async def fetch():\n"
            f"    async with aiohttp.ClientSession({session}) as session:\n"
            "        async with session.post(url, json=body, headers=key) as answer:\n"
            "            return await answer.json()"
        ),
    }[library]
    return (
        f"import asyncio\nimport {library}\n\n"
        f'url = "{url}/chat/completions"\n'
        'key = {"Authorization": "Bearer sk-of-the-application"}\n'
        'body = {"model": "gpt-5.4", "max_tokens": 50,\n'
        '        "messages": [{"role": "user", "content": "q"}]}\n\n'
        f"def post():\n    {send}\n\n"
        'def ask(text):\n    return post()["choices"][0]["message"]["content"]\n'
    )


@pytest.mark.parametrize("library", ["requests", "aiohttp", "httpx"])
def test_every_http_library_is_asked_in_advance(
    project: pytest.Pytester, server: OpenAIServer, library: str
) -> None:
    server.answer = Meeting(3)
    project.makepyfile(app=posting(server.url, library), test_it=ONE_CASE.format(samples=1))
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert server.calls == {"nano-model": 1, "mini-model": 1, "full-model": 1}


def test_the_tier_fixture_asks_each_tier_at_its_own_endpoint(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = Meeting(3)
    project.makepyfile(
        test_it="""
        def test_own(tier):
            reply = tier.client.responses.create(
                model=tier.model, input="q", max_output_tokens=50)
            assert reply.output_text == "OK"
        """
    )
    project.runpytest(*RECORD).assert_outcomes(passed=3)


def test_tokens_of_answers_in_advance_are_their_trials(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = lambda body: "OK " * {"nano-model": 1, "mini-model": 2}.get(body["model"], 3)
    project.makepyfile(test_it=ONE_CASE.format(samples=1).replace('== "OK"', ""))
    project.runpytest(*RECORD)
    tokens = {trial["tier"]: trial["calls"][0]["tokens"]["output"] for trial in report()["trials"]}
    assert tokens == {"nano": 1, "mini": 2, "full": 3}
    assert words("Where is my order?") == 4
    assert {trial["calls"][0]["site"] for trial in report()["trials"]} == {"app.py:7 ask"}


@pytest.mark.parametrize("library", ["openai", "requests", "aiohttp", "httpx"])
def test_calls_through_a_proxy_are_recorded_and_replayed(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """The server is its own proxy: it is sent whole addresses then."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        proxy = "" if name == "no_proxy" else server.url.removesuffix("/v1")
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)
    project.makepyfile(test_it=ONE_CASE.format(samples=1))
    if library != "openai":
        project.makepyfile(app=posting(server.url, library, session="trust_env=True"))
    result = project.runpytest(*RECORD)
    result.assert_outcomes(passed=3)
    assert server.calls == {"nano-model": 1, "mini-model": 1, "full-model": 1}
    assert {got.path for got in server.requests} == {f"{server.url}/chat/completions"}
    said = " ".join(" ".join(result.outlines).split())
    assert ("its HTTP client goes through a proxy" in said) == (library != "requests")
    server.stop()
    project.runpytest(*RECORD, "-p", "tests.no_network").assert_outcomes(passed=3)
