"""The flagship against itself: what its own wavering does, and does not do, to verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-samples=2", "--tiers-report=out.json")

TEST = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", range(20))
def test_ask(number):
    assert "OK" in ask(f"question {number}")
"""


def wavers(every: int) -> Callable[[dict[str, Any]], str]:
    """The flagship gets its second answer to one question in so many wrong; nano none."""
    asked: Counter[str] = Counter()

    def answer(request: dict[str, Any]) -> str:
        question = request["messages"][0]["content"]
        if request["model"] != "full-model":
            return "OK"
        asked[question] += 1
        number = int(question.split()[-1])
        return "no idea" if number % every == 0 and asked[question] == 2 else "OK"

    return answer


def test_a_wavering_flagship_is_shown_beside_the_candidate_and_not_blamed_on_it(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = wavers(every=5)
    project.makepyfile(TEST)
    result = project.runpytest(*COMPARE, "--tiers-report=out.html")
    text = " ".join(result.stdout.str().split())
    assert "full against itself for test_ask: two samples of a case end differently in 20%" in text
    assert "nano in 10% from it" in text
    assert "neither held against a candidate, nor does it widen the margin" in text
    recorded = report()
    (prompt,) = recorded["prompts"]
    own, candidates = (prompt["disagreements"][tier] for tier in ("full", "nano"))
    assert (own["estimate"], candidates["estimate"]) == (0.2, 0.1)
    assert 0 < own["low"] < 0.2 < own["high"] < 0.6
    assert prompt["comparisons"]["nano"]["difference"] == 0.1
    page = (project.path / "out.html").read_text()
    assert (
        f'<data value="0.2">20% from itself ({own["low"]:.0%} to {own["high"]:.0%})</data>' in page
    )

    server.stop()
    project.runpytest(*COMPARE, "-n2")
    assert report()["prompts"][0]["disagreements"] == prompt["disagreements"]


def test_one_sample_says_nothing_of_it(project: pytest.Pytester, report: Report) -> None:
    project.makepyfile(TEST)
    result = project.runpytest("--tiers=nano,full", "--tiers-report=out.json")
    result.stdout.no_fnmatch_line("*against itself*")
    assert report()["prompts"][0]["disagreements"].keys() == {"nano"}
