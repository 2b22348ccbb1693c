"""Locked tiers that are asked anew every night: evidence fails a run, a chance miss does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_gate import edit
from tests.integration.test_lock import text_of, wrong
from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]


def test_locked_tiers_that_are_asked_anew_fail_on_evidence_of_several_nights(
    locked: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    """Without a flagship beside them: the yardstick is the rate that they were locked with."""
    lock = Path(locked.path, "tiers.lock")
    lock.write_text(re.sub("pass_rate_at_least = .*", "pass_rate_at_least = 0.9", lock.read_text()))
    args = ("--tiers-record=all", "--tiers-nights=nights.jsonl", "--tiers-report=out.json")
    server.answer = wrong("question 3", "question 4")
    for night in (1, 2):
        result = locked.runpytest(*args)
        assert result.parseoutcomes() == {"passed": 6, "missed": 2}
        assert result.ret == 0
        assert len(Path(locked.path, "nights.jsonl").read_text().splitlines()) == night
    assert "passes 75% over 2 nights, below the 90% at least that it was locked" in text_of(result)
    server.answer = wrong("question")
    result = locked.runpytest(*args)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (
        "- FAILED test_it.py::test_ask on nano: passes 0%, below the 90% at least that it was "
        "locked with, and that is no accident. Mend the prompt, or: pytest-tiers revert"
    ) in text_of(result)
    [failure] = report()["gate"]["failures"]
    assert (failure["kind"], failure["tier"]) == ("dropped", "nano")
    Path(locked.path, "nights.jsonl").write_text("{}\n")
    refused = locked.runpytest(*args)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        ["ERROR: *nights.jsonl line 1: no night that --tiers-nights wrote*"]
    )


def test_a_changed_prompt_needs_a_passing_recording(
    locked: pytest.Pytester, server: OpenAIServer
) -> None:
    edit(locked, "app.py", '"content": text', '"content": "Please: " + text')
    server.answer = wrong("question 3")
    for mode in ("new_episodes", "all"):
        result = locked.runpytest(f"--tiers-record={mode}")
        result.assert_outcomes(passed=7, failed=mode == "new_episodes")
