"""Reports where teams look: Markdown for a pull request, and what GitHub Actions shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.test_gate import COMPARE, edit, locked
from tests.integration.test_lock import TESTS, UPDATE
from tests.openai_server import OpenAIServer

__all__ = ["locked"]  # a fixture

MARKDOWN = (*COMPARE[:1], "--tiers-report=out.md")


def markdown(project: pytest.Pytester) -> str:
    return (Path(project.path) / "out.md").read_text()


def test_what_is_new_comes_first(project: pytest.Pytester, server: OpenAIServer) -> None:
    project.makepyfile(test_it=TESTS)
    assert project.runpytest(*MARKDOWN).ret == 0
    text = markdown(project)
    assert text.startswith("### tiers: 1 of 1 prompt safe to downgrade")
    news = "- test&#95;ask: full -&gt; nano is safe, saves 92% of the flagship's cost\n"
    row = "| test&#95;it.py::test&#95;ask | 8 | nano | 8/8 | 8/8 | safe | "
    assert text.index("**Since tiers.lock**") < text.index(news) < text.index(row)
    assert "<details><summary>Why, and what it costs</summary>" in text
    project.runpytest(*UPDATE)
    server.stop()
    again = project.runpytest(*MARKDOWN)
    text = markdown(project)
    assert "Since tiers.lock" not in text
    assert re.search(rf"{re.escape(row)}\d+ points \| 92% \| yes \|\n", text)
    again.stdout.fnmatch_lines(["1. Nothing: every proven downgrade is locked."])
    project.runpytest("--tiers-report=out.md")
    assert markdown(project).startswith("### tiers: 8 trials on nano: 8 passed;")


def test_gate_failures_are_marked_on_their_line(
    locked: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(locked, "test_it.py", '== "OK"', '== "Yes"')
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(locked.path.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(locked.path / "summary.md"))
    (locked.path / "summary.md").write_text("before\n")
    result = locked.runpytest(*COMPARE, "-n0")
    folder = locked.path.name
    result.stdout.fnmatch_lines(
        [f"::error file={folder}/test_it.py,line=4,title=pytest-tiers::test_it.py::test_ask on *"]
    )
    shown = (locked.path / "summary.md").read_text()
    assert shown.startswith("before\n### tiers: ")
    assert shown.index("**Gate: failed**") < shown.index("| prompt |")
    assert "passed when it was locked" in shown


def test_nothing_is_said_elsewhere(locked: pytest.Pytester) -> None:
    edit(locked, "test_it.py", '== "OK"', '== "Yes"')
    result = locked.runpytest(*COMPARE)
    assert "::error" not in result.stdout.str()


def test_a_summary_that_cannot_be_written_is_said(
    locked: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(locked.path))
    result = locked.runpytest(*COMPARE)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["tiers: $GITHUB_STEP_SUMMARY: cannot write*"])
