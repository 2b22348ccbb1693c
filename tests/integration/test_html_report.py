"""``--tiers-report=out.html``: what a user's own run puts on the page."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import says
from tests.openai_server import OpenAIServer, Reply

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("name", ["ann", "bob"])
def test_ask(name):
    assert ask(f"Greet {name}, my key is very-secret-key-123") == "OK"
"""

COMPARES = """
def test_compare(tier):
    reply = tier.client.chat.completions.create(
        model=tier.model, messages=[{"role": "user", "content": "Say something."}]
    )
    tier.compare(reply.choices[0].message.content)
"""

ARGS = ("--tiers=nano,full", "--tiers-report=out.html")


def nano_fails_bob(request: dict[str, Any]) -> str:
    is_bob = "bob" in str(request["messages"])
    return "<i>No</i>" if is_bob and request["model"] == "nano-model" else "OK"


def page(project: pytest.Pytester) -> str:
    return unescape(Path(project.path, "out.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_a_differing_case_is_shown_with_its_request(
    project: pytest.Pytester,
    server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
    workers: tuple[str, ...],
) -> None:
    monkeypatch.setenv("MY_SECRET_TOKEN", "very-secret-key-123")
    server.answer = nano_fails_bob
    project.makepyfile(test_it=TESTS)
    project.runpytest_subprocess(*ARGS, *workers)
    recorded = page(project)
    assert "user:\nGreet bob, my key is <MY_SECRET_TOKEN>" in recorded
    assert "Greet ann" not in recorded
    assert "very-secret-key-123" not in recorded
    assert "<mark><i>No</i></mark>" in recorded
    server.stop()
    project.runpytest_subprocess(*ARGS, *workers)
    replayed = page(project)
    assert "user:\nGreet bob, my key is <MY_SECRET_TOKEN>" in replayed


def test_a_refused_request_is_shown(project: pytest.Pytester, server: OpenAIServer) -> None:
    server.answer = lambda request: Reply(status=400) if request["model"] == "nano-model" else "OK"
    project.makepyfile(test_it=TESTS)
    project.runpytest(*ARGS)
    shown = page(project)
    assert "nano unsupported, full passed" in shown
    assert "user:\nGreet ann" in shown
    assert "no answer" in shown


def test_a_differing_output_is_shown_with_its_request(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = lambda request: str(request["model"])
    project.makepyfile(test_it=COMPARES)
    project.runpytest(*ARGS)
    shown = page(project)
    assert "user:\nSay something." in shown
    assert "<mark>full</mark>-model" in shown
    assert "<mark>nano</mark>-model" in shown


def test_several_reports_in_one_run(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=TESTS)
    project.runpytest(*ARGS, "--tiers-report=sub/out.json", "--tiers-report=sub/two.html")
    assert Path(project.path, "sub", "out.json").exists()
    assert "test_ask" in Path(project.path, "sub", "two.html").read_text()
    assert "test_ask" in page(project)


def test_an_everyday_run_has_a_page(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    project.makepyfile(test_it=TESTS)
    project.runpytest("--tiers-report=out.html", "--tiers-record=once")
    assert "2 trials on current: 2 passed" in page(project)


def test_a_page_that_cannot_be_written_is_named(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=TESTS)
    Path(project.path, "out.html").mkdir()
    result = project.runpytest(*ARGS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    path = project.path / "out.html"
    assert says(result.stdout.str(), f"--tiers-report: cannot write {path}: Is a directory")
    assert not list(project.path.glob(".out*"))
