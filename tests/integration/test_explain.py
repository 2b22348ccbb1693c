"""``pytest --tiers-explain=PROMPT``."""

from __future__ import annotations

import pytest

from tests.openai_server import OpenAIServer

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", range(3))
def test_ask(number):
    assert ask(f"question {number}") == "OK"

@pytest.mark.tiers
def test_other():
    assert ask("other")
"""


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_all_about_one_prompt_is_printed(
    project: pytest.Pytester, server: OpenAIServer, quiet: tuple[str, ...]
) -> None:
    server.answer = lambda request: "No" if request["model"] == "nano-model" else "OK"
    project.makepyfile(test_it=TESTS)
    result = project.runpytest("--tiers=nano,full", "--tiers-explain=test_ask", *quiet)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*= tiers: explained =*",
            "test_it.py::test_ask",
            "nano against full: *",
            "  nano m  full .  0",
            "test_it.py::test_ask[[]2[]]: nano missed, full passed",
        ]
    )
    explained = result.stdout.str().partition("tiers: explained")[2]
    assert "test_other" not in explained


def test_a_prompt_that_is_not_there_is_said(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=TESTS)
    result = project.runpytest("--tiers=nano,full", "--tiers-explain=test_aks")
    result.stdout.fnmatch_lines(['--tiers-explain: this run has no prompt "test_aks". It has*'])
