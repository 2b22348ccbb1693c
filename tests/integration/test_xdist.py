"""Workers of pytest-xdist: every trial comes home, whatever worker it ran on."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-report=out.json")

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", range(4))
def test_ask(number):
    assert "OK" in ask(f"question {number}")

@pytest.mark.tiers
def test_ask_once():
    assert "OK" in ask("one question")

def test_untiered():
    pass
"""


def cassettes(root: Path) -> dict[str, Any]:
    """The cassettes under a folder, by name, without what differs from call to call."""
    found = {}
    for path in sorted(root.rglob("*.yaml")):
        text = re.sub(
            r"chatcmpl-\d+|\"created\": \d+|(recorded_at|seconds): .*", "", path.read_text()
        )
        found[path.name] = yaml.safe_load(text)
    return found


def verdicts(report: dict[str, Any]) -> str:
    """All that is said of the prompts, but for control trials: each worker chooses its own."""
    prompts = [{**prompt, "control": None} for prompt in report["prompts"]]
    return json.dumps(prompts, sort_keys=True)


@pytest.mark.parametrize(
    ("mode", "together"),
    [
        ("load", True),
        ("loadgroup", True),
        ("worksteal", True),
        ("loadfile", False),
        ("loadscope", False),
    ],
)
def test_workers_record_what_one_process_would(
    project: pytest.Pytester, server: OpenAIServer, report: Report, mode: str, together: bool
) -> None:
    meetings = defaultdict(lambda: threading.Barrier(2, timeout=30))

    def answer(request: dict[str, Any]) -> str:
        if together:  # all tiers of a case ask at once, or this never ends
            meetings[request["messages"][0]["content"]].wait()
        return "OK"

    server.answer = answer
    project.makepyfile(test_it=TESTS)
    recorded = project.runpytest_subprocess(*COMPARE, "-n2", f"--dist={mode}")
    assert recorded.parseoutcomes() == {"passed": 11}
    alone = f"tiers: With --dist={mode} each call waits"
    assert (alone in recorded.stdout.str()) is not together
    assert sum(server.calls.values()) == 10
    by_workers = report()
    assert len(by_workers["trials"]) == 10
    project.runpytest(*COMPARE, "--tiers-cassettes=serial").assert_outcomes(passed=11)
    assert cassettes(project.path / "cassettes") == cassettes(project.path / "serial")

    server.stop()
    project.runpytest(*COMPARE).assert_outcomes(passed=11)
    assert all(trial["replayed"] for trial in report()["trials"])
    assert verdicts(report()) == verdicts(by_workers)


def test_a_trial_that_every_worker_runs_is_one_trial(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(test_it=TESTS)
    project.runpytest_subprocess(*COMPARE, "-n2", "--dist=each").assert_outcomes(passed=22)
    by_workers = report()
    assert len(by_workers["trials"]) == 10
    project.runpytest(*COMPARE, "--tiers-cassettes=serial").assert_outcomes(passed=11)
    assert cassettes(project.path / "cassettes") == cassettes(project.path / "serial")

    server.stop()
    project.runpytest(*COMPARE).assert_outcomes(passed=11)
    # Two workers measured each call; which of the two times was kept is chance.
    for ours, theirs in zip(report()["prompts"], by_workers["prompts"], strict=True):
        assert ours["comparisons"] == theirs["comparisons"]


def test_a_usage_error_of_the_workers_is_said_once(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.tiers(sampels=2)
        def test_ask(): ...
        """
    )
    result = project.runpytest_subprocess("--tiers=nano,full", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.outlines if line.startswith("ERROR:")]
    assert len(errors) == 1
    assert 'unknown key "sampels"; did you mean "samples"?' in errors[0]
    assert "INTERNALERROR" not in result.stdout.str()


def test_a_missing_key_is_named_once_before_any_call(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    key = "[tool.pytest-tiers.tiers.full]\napi_key_env = 'NO_SUCH_KEY'"
    text = (project.path / "pyproject.toml").read_text()
    project.makepyprojecttoml(text.replace("[tool.pytest-tiers.tiers.full]", key))
    project.makepyfile(TESTS)
    result = project.runpytest_subprocess("--tiers=nano,full", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stdout.str().count('tier "full" needs NO_SUCH_KEY, which is not set') == 1
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert server.requests == []


def test_the_limit_of_calls_holds_for_all_workers_together(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(TESTS)
    result = project.runpytest_subprocess(*COMPARE, "-n2", "--tiers-max-calls=3")
    assert sum(server.calls.values()) == 3
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*7 trials not run, 3 complete and kept*"])
    left = [trial for trial in report()["trials"] if not trial["calls"]]
    assert {trial["outcome"] for trial in left} == {"error"}

    project.runpytest_subprocess(*COMPARE, "-n2").assert_outcomes(passed=11)
    assert sum(server.calls.values()) == 10
    journals = list((Path(project.path) / "cassettes" / ".pytest-tiers").glob("journal-*"))
    assert journals == []
