"""A cheap tier first, and the flagship where a check fails: the test's, or the application's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("text", "0123456789")
def test_by_its_test(text):
    assert ask(text) == text

@pytest.mark.parametrize("text", "0123456789")
def test_by_the_application(text, tier):
    answer = ask(text)
    tier.check(answer.isdigit())
    assert answer == text
"""


def answer(request: dict[str, Any]) -> Reply:
    """The text itself; nano has a word for "1" and another number for "2"."""
    text = request["messages"][-1]["content"]
    is_nano = request["model"] == "nano-model"
    return Reply({"1": "one", "2": "3"}.get(text, text) if is_nano else text)


def test_what_a_cascade_would_come_to(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = answer
    project.makepyfile(test_app=TESTS)
    run = ["--tiers=nano,full", "--tiers-report=out.json"]
    result = project.runpytest(*run)
    assert result.ret == 0
    by_check = {each["id"].rpartition("_")[2]: each["cascades"] for each in report()["prompts"]}
    of_test, of_application = by_check["test"]["nano"], by_check["application"]["nano"]
    facts = ("check", "runs", "escalated", "passed")
    assert [of_test[fact] for fact in facts] == ["test", 10, 2, 10]
    # The application cannot see that "3" is the wrong number.
    assert [of_application[fact] for fact in facts] == ["application", 10, 1, 9]
    assert of_application["saving"] == pytest.approx(of_test["saving"] + 0.1, abs=0.01)
    result.stdout.re_match_lines(
        [
            r"A cheap tier first, full where the test fails, which production cannot see: it",
            r"needs a check of its own \(tier\.check\):",
            r"- test_by_its_test: nano first saves 7\d%; 2 of 10 \(.*% to \d+%\) go on to full,",
            r"  .* s later; passes 10/10 \(\d+% to 100%\); stops paying where 9\d% go on",
            r"A cheap tier first, full where the application's check fails:",
            r"- test_by_the_application: nano first saves 8\d%; 1 of 10 .* go on to",
        ]
    )
    server.stop()
    project.runpytest(*run)
    again = {each["id"].rpartition("_")[2]: each["cascades"] for each in report()["prompts"]}
    assert again == by_check


def test_a_check_that_is_none(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_it(tier):
            tier.client.chat.completions.create(
                model=tier.model, messages=[{"role": "user", "content": "x"}]
            )
            tier.check(True)
            tier.check("yes")
        """
    )
    result = project.runpytest("--tiers=nano,full")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*tier.check() expects True or False, got 'yes' (str).*"])
