"""Recording everything anew says what changed since the last recording, and calls nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_gate import edit
from tests.integration.test_lock import PROMPT, TESTS, text_of, wrong
from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

ANEW = ("--tiers-record=all", "--tiers-report=out.json")


@pytest.fixture
def recorded(project: pytest.Pytester) -> pytest.Pytester:
    """A project whose answers are recorded on nano and full."""
    project.makepyfile(test_it=TESTS)
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=16)
    return project


def test_what_changed_is_told_by_prompt_and_tier(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = wrong("question", model="nano")
    recorded.makepyfile(test_it=TESTS.replace("range(8)", "range(9)"))
    result = recorded.runpytest("--tiers=nano,full", *ANEW, "--tiers-report=out.md")
    assert result.parseoutcomes() == {"passed": 9, "missed": 9}
    assert (server.calls["nano-model"], server.calls["full-model"]) == (8 + 9, 8 + 9)
    nano, full = report()["recorded_anew"]
    assert (nano["prompt"], nano["tier"], nano["verdict"], nano["pairs"]) == (
        PROMPT,
        "nano",
        "worse",
        8,
    )
    assert (nano["passed_before"], nano["passed_now"], nano["outputs_changed"]) == (8, 0, 8)
    assert nano["examples"][0] == {"case": "case-0", "sample": 1, "difference": "OK -> No"}
    assert (full["tier"], full["verdict"], full["unknown"]) == ("full", "same", 0)
    assert set(full["now"]) == {"input_tokens", "output_tokens", "seconds"}
    assert nano["usd_before"] == nano["usd_now"]
    for shown in (text_of(result), " ".join(Path(recorded.path, "out.md").read_text().split())):
        assert "Since the last recording" in shown
        assert "passes 0 of 8, 8 before: measurably worse (8 end worse, 0 better); " in shown
        assert "answers differ in 8 of 8, first case-0: OK -" in shown
    replayed = recorded.runpytest("--tiers=nano,full", "--tiers-report=out.json")
    assert "Since the last recording" not in replayed.stdout.str()
    assert report()["recorded_anew"] == []


def test_workers_tell_the_same_and_a_changed_request_is_unknown(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = wrong("question 3", model="nano")
    text = TESTS + TESTS[TESTS.index("@") :].replace("test_ask", "test_other")
    recorded.makepyfile(test_it=text.replace('"question {number}"', '"{number}?"', 1))
    recorded.runpytest("--tiers=nano,full", *ANEW, "-n2").assert_outcomes(passed=31)
    drift = report()["recorded_anew"]
    assert [(each["verdict"], each["pairs"], each["unknown"]) for each in drift] == [
        ("unknown", 0, 8),
        ("unknown", 0, 8),
    ]


def test_an_everyday_run_tells_it_too(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    recorded.runpytest("--tiers=nano,full", "--tiers-update-lock")
    server.answer = wrong("question 3", model="nano")
    edit(recorded, "test_it.py", "range\\(8\\)", "range(5)")
    result = recorded.runpytest(*ANEW)
    assert "passes 4 of 5, 5 before (1 ends worse, 0 better: may be chance)" in text_of(result)
    assert [each["tier"] for each in report()["recorded_anew"]] == ["nano"]
