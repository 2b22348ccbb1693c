"""Scores: a graded answer counts by its grade, and a bad grade says nothing about the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-report=out.json")

#: The model's answer is the mark out of ten.
GRADED = """
import pytest
from app import ask

@pytest.mark.parametrize("number", range({cases}))
def test_ask(number, tier):
    mark = float(ask(f"question {{number}}"))
    tier.score(mark / 10)
    assert mark > 2
"""


def marks(nano: str, full: str) -> Callable[[dict[str, Any]], str]:
    return lambda request: nano if request["model"] == "nano-model" else full


def one_test(body: str) -> str:
    return f"from app import ask\n\ndef test_ask(tier):\n    ask('q')\n    {body}\n"


def test_a_difference_in_scores_is_seen_where_every_test_passes(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = marks("4", "9")
    project.makepyfile(GRADED.format(cases=20))
    result = project.runpytest(*COMPARE)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "prompt * passed (score) * on full *",
            "*20/20 (0.40) * 20/20 (0.90) * worse *",
            "*scores about 50 points lower on average*",
        ]
    )
    (prompt,) = report()["prompts"]
    assert (prompt["tiers"]["nano"]["passed"], prompt["tiers"]["nano"]["mean_score"]) == (20, 0.4)
    comparison = prompt["comparisons"]["nano"]
    assert comparison["difference"] == pytest.approx(-0.5)
    assert (comparison["verdict"], comparison["scored"]) == ("worse", True)
    assert {trial["score"] for trial in report()["trials"]} == {0.4, 0.9}


def test_recording_and_replay_on_workers_give_the_same_scores(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = marks("8.9", "9")
    project.makepyfile(GRADED.format(cases=40))
    project.runpytest(*COMPARE)
    recorded = report()
    server.stop()
    result = project.runpytest(*COMPARE, "-n2", "--tiers-report=out.html")
    replayed = report()
    assert replayed["prompts"][0]["comparisons"] == recorded["prompts"][0]["comparisons"]
    assert recorded["prompts"][0]["comparisons"]["nano"]["verdict"] == "safe"
    assert recorded["prompts"][0]["comparisons"]["nano"]["measurably_worse"] is False
    text = " ".join(result.stdout.str().split())
    assert "scores at most 10 points lower in your tests than full" in text
    page = (project.path / "out.html").read_text()
    assert "passed (score)" in page
    assert "40/40 (0.89)" in page


def test_a_failed_test_is_worth_nothing_whatever_it_scored(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = marks("2", "10")
    project.makepyfile(GRADED.format(cases=1))
    project.runpytest(*COMPARE)
    found = report()
    nano = next(trial for trial in found["trials"] if trial["tier"] == "nano")
    assert (nano["outcome"], nano["score"]) == ("missed", 0.2)
    assert found["prompts"][0]["comparisons"]["nano"]["difference"] == -1.0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("tier.score(7)", "expects a number from 0 to 1, got 7 (int)"),
        ("tier.score(True)", "got True (bool)"),
        ("tier.score(float('nan'))", "got nan (float)"),
        ("tier.score(0.5); tier.score(0.75)", "called twice in one trial, with 0.5 and 0.75"),
        (
            "import contextlib\n    with contextlib.suppress(ValueError): tier.score('good')",
            "got 'good' (str)",
        ),
    ],
    ids=["7", "True", "nan", "twice", "swallowed"],
)
def test_what_is_no_score_is_an_error_and_no_miss(
    project: pytest.Pytester, report: Report, body: str, reason: str
) -> None:
    project.makepyfile(one_test(body))
    result = project.runpytest(*COMPARE)
    assert result.ret == 1
    assert {trial["outcome"] for trial in report()["trials"]} == {"error"}
    assert reason in report()["trials"][0]["reason"]


def test_a_passed_test_without_a_score_counts_one(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = marks("5", "10")
    project.makepyfile(one_test("tier.is_flagship or tier.score(0.25)"))
    project.runpytest(*COMPARE)
    (prompt,) = report()["prompts"]
    assert {name: tier["mean_score"] for name, tier in prompt["tiers"].items()} == {
        "nano": 0.25,
        "full": 1.0,
    }
    assert prompt["comparisons"]["nano"]["difference"] == -0.75
