"""A plan says what a run would record, decide and cost, and calls nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import TIERS
from tests.openai_server import OpenAIServer

PLAN = ("--tiers=nano,full", "--tiers-plan")

TEST = """
import pytest
from app import ask

def test_of_the_application():
    raise AssertionError("a plan does not run this")

@pytest.mark.tiers
@pytest.mark.parametrize("number", range({cases}))
def test_ask(number):
    assert "OK" in ask(f"question {{number}}")
"""


def plan_of(result: pytest.RunResult) -> str:
    """The plan as one line of words, whatever its line breaks."""
    lines = result.stdout.lines
    start = next(number for number, line in enumerate(lines) if "= tiers plan =" in line)
    plan = lines[start + 1 : -1]
    assert max(map(len, plan)) <= 80
    return " ".join(" ".join(plan).split())


def record(project: pytest.Pytester, cases: int, *args: str) -> None:
    project.makepyfile(test_it=TEST.format(cases=cases))
    project.runpytest("--tiers=nano,full", "-m", "tiers", *args)


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["alone", "workers"])
def test_before_anything_is_recorded(
    project: pytest.Pytester, server: OpenAIServer, args: tuple[str, ...]
) -> None:
    project.makepyfile(test_it=TEST.format(cases=4))
    result = project.runpytest(*PLAN, *args)
    assert result.ret == 0
    assert plan_of(result) == (
        "A plan: no model was called, and what has no recording was not run. With "
        "--tiers-record=once a run would record 8 of 8 trials: - nano: 4 trials of test_ask: calls "
        "and cost unknown, no recording of it to go by - full: 4 trials of test_ask: calls and "
        "cost unknown, no recording of it to go by With the 0 trials recorded so far: - nano "
        "cannot be judged yet for test_ask: no answers to compare"
    )
    assert server.requests == []
    assert "1.00" not in result.stdout.str()


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["alone", "workers"])
def test_more_cases_cost_what_the_recorded_ones_did(
    project: pytest.Pytester, server: OpenAIServer, args: tuple[str, ...]
) -> None:
    record(project, 4)
    server.requests.clear()
    server.stop()
    project.makepyfile(test_it=TEST.format(cases=10))
    result = project.runpytest(*PLAN, *args)
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] == 8
    plan = plan_of(result)
    assert (
        "would record 12 of 20 trials: - nano: 6 trials of test_ask: about 6 calls, about " in plan
    )
    assert "- full: 6 trials of test_ask: about 6 calls, about $0.00" in plan
    assert "in all: about 12 calls, about $0.00" in plan
    assert "nano for test_ask is undecided: 12 trials of it missing, to be recorded first" in plan


def test_what_would_decide_and_what_that_costs(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = lambda request: (
        "no" if request["model"] == "nano-model" and "question 1?" in str(request) else "OK"
    )
    project.makepyfile(
        test_it=TEST.replace("{{number}}", "{{number}}?").format(cases=40),
    )
    project.runpytest("--tiers=nano,full", "-m", "tiers")
    server.stop()
    plan = plan_of(project.runpytest(*PLAN))
    assert "A run would record nothing: all 80 trials are replayed, at no cost." in plan
    assert (
        "nano for test_ask is undecided: 30 to 66 more cases would decide (about $0.00065 to "
        "$0.00143); or 1 more sample of each case, if all agree, would make it safe (about "
        "$0.000866)"
    ) in plan


def test_decided_prompts_are_named_and_stale_ones_counted(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    record(project, 34)
    server.stop()
    plan = plan_of(project.runpytest(*PLAN))
    assert "With the 68 trials recorded so far: - nano is safe for test_ask" in plan
    project.makepyfile(test_it=TEST.replace("question", "riddle").format(cases=34))
    result = project.runpytest(*PLAN)
    assert result.ret == 0
    assert result.parseoutcomes() == {"skipped": 68, "deselected": 1}
    assert "68 trials stale, which this mode keeps: --tiers-record=new_episodes" in plan_of(result)
    plan = plan_of(project.runpytest(*PLAN, "--tiers-record=new_episodes"))
    assert "a run would record 68 of 68 trials: - nano: 34 trials of test_ask" in plan


def test_everything_anew_costs_what_it_cost(project: pytest.Pytester, server: OpenAIServer) -> None:
    record(project, 3)
    server.stop()
    plan = plan_of(project.runpytest(*PLAN, "--tiers-record=all", "--tiers-max-cost=0.000001"))
    assert "With --tiers-record=all a run would record 6 of 6 trials: - nano: 3 trials" in plan
    assert "the limit of $0.000001 (--tiers-max-cost) stops it before its end" in plan


def test_the_files_ladder_is_planned_and_ci_does_not_change_the_plan(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    tables = TIERS.format(url=server.url)
    project.makepyprojecttoml(f'[tool.pytest-tiers]\nladder = ["nano", "full"]\n{tables}')
    project.makepyfile(test_it=TEST.format(cases=2))
    assert "With --tiers-record=once a run would record 4 of 4" in plan_of(
        project.runpytest("--tiers-plan")
    )


def test_the_applications_own_model_replays_from_other_tiers(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    project.makepyfile(test_it=TEST.format(cases=2))
    own = "--tiers=same=gpt-5.4,current"
    project.runpytest("--tiers=same=gpt-5.4", "-m", "tiers", "--tiers-max-calls=9")
    server.stop()
    assert "all 4 trials are replayed, at no cost" in plan_of(
        project.runpytest(own, "--tiers-plan")
    )
    project.makepyfile(test_it=TEST.format(cases=3))
    plan = plan_of(project.runpytest(own, "--tiers-plan"))
    assert "would record 2 of 6 trials: - same: 1 trial of test_ask" in plan
    assert "- current: 1 trial of test_ask: about 1 call" in plan


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "--tiers-plan: which tiers? Give --tiers=nano,mini,full, or ladder"),
        (("--tiers=nano,full", "--tiers-record=none"), "records nothing, so there is nothing to"),
        (("--tiers=nano,full", "--tiers-report=a.json"), "leave out --tiers-report."),
        (("--tiers=nano,full", "--tiers-prune"), "leave out --tiers-prune."),
        (("--tiers=nano,full", "--tiers-update-lock"), "leave out --tiers-update-lock."),
        (("--tiers=nano,full", "--tiers-record=never"), 'unknown mode "never"'),
    ],
)
def test_what_cannot_be_planned(
    project: pytest.Pytester, args: tuple[str, ...], message: str
) -> None:
    result: Any = project.runpytest("--tiers-plan", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*"])
