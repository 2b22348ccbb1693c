"""Adaptive sampling: as few samples as it takes, the same in any order, process and replay."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

AUTO = (
    "--tiers-samples=auto",
    "--tiers-max-samples=6",
    "--tiers-control=off",
    "--tiers-report=out.json",
)

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", range({cases}))
def test_ask(number):
    assert ask(f"question {{number}}") == "OK"
"""


class Failing:
    """A model's server: each tier misses a share of all trials, the same ones in every run.

    What is asked for the n-th time gets the n-th answer.
    """

    def __init__(self, **shares: float) -> None:
        self._shares, self._asked = shares, Counter[str]()

    def __call__(self, body: dict[str, Any]) -> str:
        tier, question = body["model"].removesuffix("-model"), body["messages"][0]["content"]
        self._asked[tier + question] += 1
        key = f"{tier} {question} {self._asked[tier + question]}"
        lot = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 16**8
        return "wrong" if lot < self._shares.get(tier, 0) else "OK"


def samples(report: dict[str, Any]) -> Counter[tuple[str, int]]:
    """How many trials of each tier and sample there are."""
    return Counter((trial["tier"], trial["sample"]) for trial in report["trials"])


def test_an_equal_candidate_is_decided_at_32_cases_and_a_much_worse_one_is_stopped(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = Failing(nano=0.3)
    project.makepyfile(test_it=TESTS.format(cases=32))
    result = project.runpytest("--tiers=nano,mini,full", *AUTO)
    found = report()
    (prompt,) = found["prompts"]
    assert prompt["comparisons"]["mini"]["verdict"] == "safe"
    assert prompt["comparisons"]["nano"]["verdict"] == "worse"
    assert prompt["comparisons"]["nano"]["missing_trials"] == 0
    assert prompt["cases"] == 32
    run = samples(found)
    stopped = run["nano", 1]
    assert run == {("mini", 1): 32, ("full", 1): 32, ("nano", 1): stopped}
    assert 5 <= stopped <= 25
    assert server.calls == {"mini-model": 32, "full-model": 32, "nano-model": stopped}
    missed = prompt["tiers"]["nano"]["missed"]
    left_out = 32 * 3 * 6 - 64 - stopped
    assert result.parseoutcomes() == {
        "passed": 64 + stopped - missed,
        "missed": missed,
        "skipped": left_out,
    }
    result.stdout.fnmatch_lines(
        [
            f"- test_ask: nano worse after {stopped} trials, mini safe after 32 trials; {left_out} "
            "trials",
            "  left out",
        ]
    )
    assert {
        name: (each["why"], each["trials"], each["of"]) for name, each in prompt["left_out"].items()
    } == {
        "nano": ("worse", 192 - stopped, 192),
        "mini": ("decided", 160, 192),
        "full": ("not-needed", 160, 192),
    }
    settings = found["settings"]
    assert (settings["samples"], settings["max_samples"]) == ("auto", 6)
    # Neither does a plan ask for what nano was stopped before.
    plan = project.runpytest("--tiers=nano,mini,full", *AUTO[:2], "--tiers-plan").stdout.str()
    assert "A run would record nothing: " in " ".join(plan.split())


def test_replay_workers_and_any_order_give_the_same(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = Failing(mini=0.03, full=0.02)
    project.makepyfile(test_it=TESTS.format(cases=20))
    compare = ("--tiers=mini,full", *AUTO)
    project.runpytest(*compare)
    recorded = report()
    assert 1 < max(trial["sample"] for trial in recorded["trials"]) < 6
    assert server.calls == {"mini-model": 80, "full-model": 80}

    # What is recorded beyond the decision changes nothing.
    project.runpytest("--tiers=mini,full", "--tiers-samples=6")
    server.stop()
    project.makeconftest(
        """
        import random
        def pytest_collection_modifyitems(items):
            random.Random(7).shuffle(items)
        """
    )
    assert project.runpytest(*compare, "--tiers-record=none").ret == 0
    assert report()["prompts"] == recorded["prompts"]
    assert samples(report()) == samples(recorded)
    (project.path / "conftest.py").unlink()
    replay = project.runpytest_subprocess(*compare, "--tiers-record=none", "-n2")
    assert replay.ret == 0
    assert report()["prompts"] == recorded["prompts"]


def test_cases_that_are_added_catch_up_before_anything_is_decided(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    asked = Counter[str]()

    def answer(body: dict[str, Any]) -> str:
        key = f"{body['model']} {body['messages'][0]['content']}"
        asked[key] += 1
        return "wrong" if key == "mini-model question 0" and asked[key] == 1 else "OK"

    server.answer = answer
    compare = ("--tiers=mini,full", "--tiers-margin=0.3", *AUTO)
    project.makepyfile(test_it=TESTS.format(cases=11))
    project.runpytest(*compare)
    assert server.calls == {"mini-model": 33, "full-model": 33}
    for cassette in project.path.rglob("cassettes/**/*.yaml"):  # on another day
        text = re.sub(r"recorded_at: '20..", "recorded_at: '2020", cassette.read_text())
        cassette.write_text(text)
    # Two samples of 14 cases would do, and were no look that the first run took.
    project.makepyfile(test_it=TESTS.format(cases=14))
    project.runpytest(*compare)
    assert server.calls == {"mini-model": 42, "full-model": 42}
    recorded = report()
    assert recorded["prompts"][0]["comparisons"]["mini"]["verdict"] == "safe"
    server.stop()
    project.runpytest(*compare, "--tiers-record=none")
    assert report()["prompts"] == recorded["prompts"]


def test_workers_record_what_one_process_would(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = Failing(mini=0.03, full=0.02)
    project.makepyfile(
        test_it=TESTS.format(cases=9).replace("tiers\n", 'tiers(samples="auto", max_samples=4)\n'),
        test_untiered="def test_this(): pass\ndef test_that(): pass",
    )
    by_workers = project.runpytest_subprocess(
        "--tiers=mini,full",
        "--tiers-report=out.json",
        "--tiers-control=off",
        "-n2",
        "-p",
        "no:randomly",
    )
    assert by_workers.ret == 0
    found = report()
    assert server.calls == {"mini-model": 27, "full-model": 27}
    assert found["prompts"][0]["comparisons"]["mini"]["verdict"] == "matches"
    project.runpytest("--tiers=mini,full", "--tiers-control=off", "--tiers-report=out.json")
    assert report()["prompts"] == found["prompts"]


def test_where_workers_share_a_prompt_only_recorded_samples_are_added(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    one = """
        import pytest
        from app import ask

        @pytest.mark.tiers(prompt="both", samples="auto", max_samples=3)
        @pytest.mark.parametrize("number", range(6))
        def test_{name}(number):
            assert ask(f"{name} {{number}}") == "OK"
    """
    project.makepyfile(test_a=one.format(name="a"), test_b=one.format(name="b"))
    compare = ("--tiers=mini,full", "--tiers-report=out.json")
    result = project.runpytest_subprocess(*compare, "-n2", "--dist=loadscope")
    assert result.ret == 0
    assert server.calls == {"mini-model": 12, "full-model": 12}
    result.stdout.fnmatch_lines(["*its trials are on several workers*"])
    project.runpytest(*compare)
    assert report()["prompts"][0]["comparisons"]["mini"]["verdict"] == "matches"
    assert server.calls == {"mini-model": 36, "full-model": 36}
    server.stop()
    project.runpytest_subprocess(*compare, "-n2", "--dist=loadscope", "--tiers-record=none")
    assert report()["prompts"][0]["comparisons"]["mini"]["verdict"] == "matches"


def test_a_limit_begins_no_further_round(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(test_it=TESTS.format(cases=9))
    result = project.runpytest("--tiers=mini,full", *AUTO, "--tiers-max-calls=10")
    assert sum(server.calls.values()) == 10
    result.stdout.fnmatch_lines(["*8 trials not run, 10 complete and kept*"])
    assert len(report()["trials"]) == 18
    result.stdout.fnmatch_lines(["- test_ask: mini stopped at the limit; 90 trials left out"])

    project.runpytest("--tiers=mini,full", *AUTO)
    assert sum(server.calls.values()) == 72
    assert report()["prompts"][0]["comparisons"]["mini"]["verdict"] == "matches"


def test_an_everyday_run_and_a_single_tier_take_one_sample(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    project.makepyfile(test_it=TESTS.format(cases=2))
    project.runpytest("--tiers=full", *AUTO).assert_outcomes(passed=2, skipped=10)
    assert server.calls == {"full-model": 2}
    project.runpytest(*AUTO).stdout.fnmatch_lines(["collected 2 items"])


def test_skipped_tests_and_errors_stop_nobody_within_a_round(
    project: pytest.Pytester, report: Report
) -> None:
    project.makepyfile(
        test_it="""
        import pytest
        from app import ask

        @pytest.mark.tiers
        @pytest.mark.parametrize("number", range(34))
        def test_ask(number, tier):
            if number == 33 or number == 32 and tier.name == "mini":
                pytest.skip("not today")
            if number < 8 and tier.name == "mini" and tier.sample == 1:
                return
            assert ask(f"question {number}") == "OK"
        """
    )
    project.runpytest("--tiers=mini,full", *AUTO)
    (prompt,) = report()["prompts"]
    assert prompt["tiers"]["mini"]["no_calls"] == 8
    assert prompt["comparisons"]["mini"]["missing_trials"] >= 9
    assert samples(report())["full", 1] == 33


def test_no_key_is_asked_for_that_no_call_may_need(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "[tool.pytest-tiers.tiers.full]\napi_key_env = 'FULL_KEY'"
    text = (project.path / "pyproject.toml").read_text()
    project.makepyprojecttoml(text.replace("[tool.pytest-tiers.tiers.full]", key))
    project.makepyfile(test_it=TESTS.format(cases=2))
    monkeypatch.setenv("FULL_KEY", "a key of full")
    project.runpytest("--tiers=mini,full", *AUTO).assert_outcomes(passed=4, skipped=20)
    monkeypatch.delenv("FULL_KEY")
    project.runpytest("--tiers=mini,full", *AUTO).assert_outcomes(passed=4, skipped=20)
    assert server.calls == {"mini-model": 2, "full-model": 2}
    fixed = project.runpytest("--tiers=mini,full", "--tiers-samples=2")
    fixed.stderr.fnmatch_lines(['*tier "full" needs FULL_KEY, which is not set*'])


def test_a_plan_counts_what_is_certain(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=TESTS.format(cases=3))
    lazily = "--tiers-flagship-calls=lazy"
    plan = project.runpytest("--tiers=mini,full", *AUTO[:2], lazily, "--tiers-plan").stdout
    plan.fnmatch_lines(
        [
            "*a run would record 3 of 3 trials:",
            "- mini: 3 trials of test_ask: *",
            "- samples are taken as they are needed: this is the first of each case, of at",
            "  most 6",
            "- full is called where a candidate misses, which nobody knows",
            "- besides, as far as it is needed, at most 33 trials: calls and cost unknown, no",
            "  recording of it to go by",
        ]
    )


def test_bodies_that_run_ahead_are_those_of_trials_that_nothing_can_stop(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = Failing(nano=0.6)
    project.makepyfile(
        test_it=TESTS.format(cases=12).replace("tiers\n", "tiers(concurrent=True)\n")
    )
    project.runpytest("--tiers=nano,full", *AUTO)
    assert report()["prompts"][0]["left_out"]["nano"]["trials"] > 60
    assert sum(server.calls.values()) == len(report()["trials"])


def test_a_downgrade_found_so_is_locked(project: pytest.Pytester, server: OpenAIServer) -> None:
    project.makepyfile(test_it=TESTS.format(cases=32))
    compare = ("--tiers=mini,full", *AUTO)
    project.runpytest(*compare, "--tiers-update-lock")
    assert 'tier = "mini"' in (project.path / "tiers.lock").read_text()
    server.stop()
    project.runpytest().assert_outcomes(passed=32)
    assert project.runpytest(*compare, "--tiers-record=none").ret == 0
