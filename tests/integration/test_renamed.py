"""Cases that were renamed: their recordings are replayed, stored anew, and never paid twice."""

from __future__ import annotations

from collections.abc import Callable
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
@pytest.mark.parametrize("word", [{cases}])
def test_word(word):
    assert ask(word)
"""

#: Asks what the test says, and once more what the answer was.
TWO_CALLS = """
from openai import OpenAI
client = OpenAI(max_retries=0)

def chat(text):
    made = client.chat.completions.create(
        model="gpt-5.4", max_tokens=9, messages=[{"role": "user", "content": text}]
    )
    return made.choices[0].message.content

def ask(text):
    return chat(f"Are you sure of {chat('hello')}, %s?" % text)
"""


def module(**cases: str) -> str:
    """A test with these cases: name and what is asked."""
    return TESTS.format(
        cases=", ".join(f"pytest.param({asked!r}, id={name!r})" for name, asked in cases.items())
    )


def output(result: pytest.RunResult) -> str:
    return " ".join(" ".join(result.outlines + result.errlines).split())


def names(project: pytest.Pytester, tier: str) -> list[tuple[str, int]]:
    path = project.path / "cassettes" / "test_it" / f"test_word[{tier}].yaml"
    trials = yaml.safe_load(path.read_text())["metadata"]["trials"]
    return [(trial["case"], trial["sample"]) for trial in trials]


@pytest.fixture
def recorded(project: pytest.Pytester, server: OpenAIServer) -> pytest.Pytester:
    """A project whose cases one and two are recorded on nano, mini and full, twice each."""
    server.answer = lambda _: f"OK {len(server.requests)}"
    project.makepyfile(test_it=module(one="1", two="2"))
    made = project.runpytest("--tiers=nano,mini,full", "--tiers-samples=2")
    made.assert_outcomes(passed=12)
    return project


def test_a_renamed_case_is_not_paid_again_and_gets_its_new_name(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    asked = len(server.requests)
    recorded.makepyfile(test_it=module(one="1", second="2"))
    recorded.runpytest(*COMPARE).assert_outcomes(passed=4)
    assert len(server.requests) == asked
    assert all(trial["replayed"] for trial in report()["trials"])
    assert report()["unused_recordings"] == 0
    # Also where the tier or the sample did not run this time.
    for tier in ("nano", "mini", "full"):
        assert names(recorded, tier) == [("one", 1), ("one", 2), ("second", 1), ("second", 2)]
    recorded.runpytest("--tiers=nano,mini,full", "--tiers-samples=2", "--tiers-record=none")
    assert len(server.requests) == asked


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["serial", "workers"])
def test_nothing_is_written_in_mode_none(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report, args: tuple[str, ...]
) -> None:
    recorded.makepyfile(test_it=module(one="1", second="2"))
    cassettes = sorted((recorded.path / "cassettes").rglob("*.yaml"))
    before = [path.read_bytes() for path in cassettes]
    run = (*COMPARE, "--tiers-record=none", *args)
    server.stop()
    result = recorded.runpytest_subprocess(*run)
    result.assert_outcomes(passed=4)
    assert (
        "tiers: 1 case was renamed; run with --tiers-record=once to store it under its new name."
        in output(result)
    )
    assert report()["unused_recordings"] == 0
    recorded.runpytest_subprocess(*run, "--tiers-prune").assert_outcomes(passed=4)
    assert [path.read_bytes() for path in cassettes] == before


def test_an_everyday_run_finds_it_too(recorded: pytest.Pytester, server: OpenAIServer) -> None:
    app = (recorded.path / "app.py").read_text()
    (recorded.path / "app.py").write_text(app.replace('"gpt-5.4"', '"full-model"'))
    recorded.makepyfile(test_it=module(first="1", second="2"))
    server.stop()
    result = recorded.runpytest()
    result.assert_outcomes(passed=2)
    assert "2 cases were renamed; run with --tiers-record=once to store them" in output(result)


def test_a_case_that_exists_keeps_its_recording(
    recorded: pytest.Pytester, server: OpenAIServer
) -> None:
    """Also where it does not run: the new case asks the same and is recorded for itself."""
    asked = len(server.requests)
    recorded.makepyfile(test_it=module(one="1", two="2", twin="2"))
    recorded.runpytest(*COMPARE, "-k", "twin").assert_outcomes(passed=2, deselected=4)
    assert len(server.requests) == asked + 2
    node = "test_it.py::test_word[another-nano]"
    recorded.makepyfile(test_it=module(one="1", two="2", twin="2", another="2"))
    recorded.runpytest(*COMPARE, node).assert_outcomes(passed=1)
    assert len(server.requests) == asked + 3
    assert ("two", 1) in names(recorded, "nano")


def test_a_new_case_that_asks_something_else_is_recorded(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    asked = len(server.requests)
    recorded.makepyfile(test_it=module(one="1", three="3"))
    recorded.runpytest(*COMPARE).assert_outcomes(passed=4)
    assert len(server.requests) == asked + 2
    assert report()["unused_recordings"] == 6


@pytest.mark.parametrize("args", [(), ("-n2", "--dist=load")], ids=["serial", "workers"])
def test_one_recording_is_claimed_by_one_case(
    recorded: pytest.Pytester, server: OpenAIServer, args: tuple[str, ...]
) -> None:
    asked = len(server.requests)
    recorded.makepyfile(test_it=module(one="1", a="2", b="2", c="2"))
    recorded.runpytest_subprocess(*COMPARE, *args).assert_outcomes(passed=8)
    assert len(server.requests) == asked + 4
    recorded.runpytest(*COMPARE, "--tiers-record=none").assert_outcomes(passed=8)


def test_two_recordings_that_fit_go_to_two_cases(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(test_it=module(a="same", b="same"))
    project.runpytest(*COMPARE).assert_outcomes(passed=4)
    project.makepyfile(test_it=module(d="same", c="same"))
    project.runpytest(*COMPARE).assert_outcomes(passed=4)
    assert len(server.requests) == 4
    assert names(project, "nano") == names(project, "full") == [("c", 1), ("d", 1)]
    assert report()["unused_recordings"] == 0


def test_later_requests_are_looked_up_in_the_same_recording(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(app=TWO_CALLS, test_it=module(old="x"))
    project.runpytest(*COMPARE).assert_outcomes(passed=2)
    before = (project.path / "cassettes" / "test_it" / "test_word[nano].yaml").read_bytes()
    # The first request is the same, the second is not.
    project.makepyfile(test_it=module(new="y"))
    project.runpytest(*COMPARE).assert_outcomes(failed=2)
    assert report()["stale_trials"] == 2
    assert len(server.requests) == 4
    assert (project.path / "cassettes/test_it/test_word[nano].yaml").read_bytes() == before
    project.makepyfile(test_it=module(new="x"))
    project.runpytest(*COMPARE).assert_outcomes(passed=2)
    assert len(server.requests) == 4
    assert names(project, "nano") == [("new", 1)]


def test_a_stale_one_is_recorded_anew_and_the_old_one_stays(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(app=TWO_CALLS, test_it=module(old="x"))
    project.runpytest(*COMPARE)
    project.makepyfile(test_it=module(new="y"))
    project.runpytest(*COMPARE, "--tiers-record=new_episodes").assert_outcomes(passed=2)
    assert len(server.requests) == 6
    assert names(project, "nano") == [("new", 1), ("old", 1)]
    project.runpytest(*COMPARE, "--tiers-record=none").assert_outcomes(passed=2)
    assert report()["unused_recordings"] == 2


def test_everything_anew_means_that(recorded: pytest.Pytester, server: OpenAIServer) -> None:
    asked = len(server.requests)
    recorded.makepyfile(test_it=module(one="1", second="2"))
    recorded.runpytest(*COMPARE, "--tiers-record=all").assert_outcomes(passed=4)
    assert len(server.requests) == asked + 4


def test_no_key_is_asked_for_what_was_only_renamed(recorded: pytest.Pytester) -> None:
    tier = "[tool.pytest-tiers.tiers.full]"
    text = (recorded.path / "pyproject.toml").read_text()
    recorded.makepyprojecttoml(text.replace(tier, f"{tier}\napi_key_env = 'NO_SUCH_KEY'"))
    recorded.makepyfile(test_it=module(one="1", second="2"))
    recorded.runpytest(*COMPARE).assert_outcomes(passed=4)
