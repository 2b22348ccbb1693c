"""The main job: record on three tiers, replay without a server, say what it found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", range(32))
def test_parity(number):
    assert ask(f"Is {number} even?") == ("yes" if number % 2 == 0 else "no")

def test_of_something_else():
    assert 1 + 1 == 2
"""


def parity(request: dict[str, Any]) -> str:
    """Full and mini know; nano says yes to everything."""
    number = int(request["messages"][0]["content"].split()[1])
    return "yes" if number % 2 == 0 or request["model"] == "nano-model" else "no"


def test_record_then_replay_without_a_server(
    project: pytest.Pytester, server: OpenAIServer, report: Callable[[], dict[str, Any]]
) -> None:
    server.answer = parity
    project.makepyfile(TESTS)
    args = ("--tiers=nano,mini,full", "--tiers-report=out.json")

    recorded = project.runpytest(*args)
    recorded.assert_outcomes(passed=81)
    first = report()
    assert server.calls == {"nano-model": 32, "mini-model": 32, "full-model": 32}

    server.stop()
    replayed = project.runpytest(*args)
    replayed.assert_outcomes(passed=81)
    second = report()

    (prompt,) = second["prompts"]
    assert prompt["comparisons"]["mini"]["verdict"] == "safe"
    assert prompt["comparisons"]["nano"]["verdict"] == "worse"
    assert prompt["recommended"] == "mini"
    assert prompt["control"] == {"tried": 8, "passed": 0, "blind": False}
    assert second["prompts"] == first["prompts"]
    assert second["spent_usd"] == "0"
    assert second["replayed_usd"] == first["spent_usd"] != "0"
    assert all(trial["replayed"] for trial in second["trials"])
