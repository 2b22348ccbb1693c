"""The everyday run: plain ``pytest`` runs each tiered test as production would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

APP_OF_FULL = """
from openai import OpenAI

client = OpenAI()
MODEL = "full-model"


def ask(text):
    completion = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content
"""

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers(samples=2)
@pytest.mark.parametrize("text", ["one", "two"])
def test_ask(text):
    assert ask(text) == "OK"
"""

OWN_CLIENT = """
def test_own_client(tier):
    reply = tier.client.responses.create(model=tier.model, input="q")
    assert reply.output_text == "OK"
"""


@pytest.fixture
def production(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project whose application asks for full's model, at the test's server."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    project.makepyfile(app=APP_OF_FULL, test_it=TESTS)
    return project


def test_current_replays_what_another_tier_was_asked_in_the_same_words(
    production: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    production.runpytest("--tiers=nano,full").assert_outcomes(passed=8)
    server.stop()
    result = production.runpytest("--tiers-report=out.json")
    result.assert_outcomes(passed=2)
    assert [(t["case"], t["tier"], t["sample"], t["replayed"]) for t in report()["trials"]] == [
        ("one", "current", 1, True),
        ("two", "current", 1, True),
    ]
    assert not list((production.path / "cassettes").rglob("*current*"))


def test_another_model_than_any_recorded_is_not_replayed(
    production: pytest.Pytester, server: OpenAIServer
) -> None:
    production.runpytest("--tiers=nano,full")
    app = production.path / "app.py"
    app.write_text(app.read_text().replace('"full-model"', '"next-model"'))
    before = len(server.requests)
    result = production.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(['-*"model": "full-model"', '+*"model": "next-model"'])
    assert len(server.requests) == before


@pytest.mark.parametrize("ci", ["true", None])
def test_nothing_is_recorded_unasked(
    production: pytest.Pytester,
    server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
    ci: str | None,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    if ci:
        monkeypatch.setenv("CI", ci)
    result = production.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*no recording of test_it.py::test_ask?one? on current*"])
    assert server.requests == []
    assert not list(production.path.rglob("*.yaml"))


def test_current_can_be_recorded_and_then_is_asked_first(
    production: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    unpriced = production.runpytest("--tiers-record=once", "-rs")
    unpriced.assert_outcomes(skipped=2)
    unpriced.stdout.fnmatch_lines(["SKIPPED*full-model*--tiers-max-calls*"])
    production.runpytest("--tiers-record=once", "--tiers-max-calls=9").assert_outcomes(passed=2)
    assert server.calls == {"full-model": 2}
    server.stop()
    monkeypatch.delenv("OPENAI_API_KEY")
    production.runpytest().assert_outcomes(passed=2)


def test_what_is_missed_fails(production: pytest.Pytester, server: OpenAIServer) -> None:
    server.answer = lambda request: "No" if "two" in str(request["messages"]) else "OK"
    compared = production.runpytest("--tiers=nano,full")
    assert compared.ret == 0
    everyday = production.runpytest()
    everyday.assert_outcomes(passed=1, failed=1)
    everyday.stdout.fnmatch_lines(["*assert 'No' == 'OK'*"])


def test_current_is_a_tier_of_a_comparison_too(
    production: pytest.Pytester, server: OpenAIServer, report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    args = ("--tiers=nano,current", "--tiers-max-calls=9", "--tiers-report=out.json")
    production.runpytest(*args).assert_outcomes(passed=8)
    assert server.calls == {"nano-model": 4, "full-model": 4}
    assert report()["settings"]["flagship"] == "current"


def test_a_test_with_the_tier_fixture_replays_the_flagships_answer(
    production: pytest.Pytester, server: OpenAIServer
) -> None:
    production.makepyfile(test_it=OWN_CLIENT)
    production.runpytest("--tiers=nano,full").assert_outcomes(passed=2)
    server.stop()
    production.runpytest().assert_outcomes(passed=1)


def test_a_test_with_the_tier_fixture_can_be_recorded_on_current(
    production: pytest.Pytester, server: OpenAIServer
) -> None:
    production.makepyfile(test_it=OWN_CLIENT)
    # Its model has a server of its own, and no api_key_env: no key is needed.
    production.runpytest("--tiers-record=once", "--tiers-max-calls=9").assert_outcomes(passed=1)
    assert server.calls == {"full-model": 1}
