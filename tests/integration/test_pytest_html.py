"""Our section in the report of the real pytest-html."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("word", ["one", "<script>alert(1)</script>"])
def test_ask(word):
    assert ask(word) == "OK"
"""

ARGS = ("--tiers=nano,full", "--html=out.html", "--self-contained-html")


def nano_misses(request: dict[str, Any]) -> str:
    return "<script>alert(2)</script>" if request["model"] == "nano-model" else "OK"


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["serial", "workers"])
def test_the_summary_is_in_its_report(
    project: pytest.Pytester, server: OpenAIServer, workers: tuple[str, ...]
) -> None:
    server.answer = nano_misses
    project.makepyfile(test_it=TESTS)
    run = project.runpytest_subprocess if workers else project.runpytest
    result = run(*ARGS, *workers)
    assert result.ret == 0
    page = (project.path / "out.html").read_text(encoding="utf-8")
    section = page.partition("<h2>pytest-tiers</h2>\n<pre>")[2].partition("</pre>")[0]
    assert "<" not in section
    shown = unescape(section)
    assert shown.startswith("prompt ")
    assert "- nano for test_ask: undecided" in shown
    assert "What to do next\n1. " in shown
    # The terminal says the same, in fewer columns.
    assert "This run spent $" in result.stdout.str()
    assert "This run spent $" in shown


def test_a_run_without_trials_has_no_section(project: pytest.Pytester) -> None:
    project.makepyfile("def test_plain(): pass")
    assert project.runpytest("--html=out.html").ret == 0
    assert "pytest-tiers</h2>" not in (project.path / "out.html").read_text()
