"""`--tiers-mix`: each call site's cheapest tier, searched on models that are known functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_tiers.cli import main
from pytest_tiers.lock.reading import read
from tests.conftest import says
from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

#: Plan, extract, write: each step asks with what the one before it answered.
AGENT = """
from llm import chat


def run(text):
    plan = chat(f"plan {text}")
    facts = chat(f"extract {plan}")
    return write(facts)


def write(facts):
    return chat(f"write {facts}")
"""

LLM = """
from openai import OpenAI

client = OpenAI()


def chat(text):
    answer = client.chat.completions.create(
        model="gpt-5.4", messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content
"""

TESTS = """
import pytest
from agent import run

@pytest.mark.tiers(margin=0.3)
@pytest.mark.parametrize("number", range({cases}))
def test_agent(number):
    assert run(f"task {number}") == f"good task {number}"
"""

#: The weakest tier that does each step.
NEEDS = {"plan": "full", "extract": "nano", "write": "mini"}
TIERS = ("nano", "mini", "full")


def model(body: dict[str, Any]) -> str:
    """Each tier does its steps well if it is able to, and if it was handed something good."""
    tier = body["model"].removesuffix("-model")
    step, *rest = body["messages"][0]["content"].split()
    able = TIERS.index(tier) >= TIERS.index(NEEDS[step])
    is_good = step == "plan" or rest[0] == "good"
    what = rest if step == "plan" else rest[1:]
    return " ".join(["good" if able and is_good else "bad", *what])


@pytest.fixture
def agent(project: pytest.Pytester, server: OpenAIServer) -> pytest.Pytester:
    """An application of three steps."""
    server.answer = model
    project.makepyfile(agent=AGENT, llm=LLM, test_agent=TESTS.replace("{cases}", "10"))
    return project


MIX = ("--tiers=nano,mini,full", "--tiers-mix", "--tiers-report=out.json")


def test_the_search_finds_exactly_the_mix_and_replays_it(
    agent: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    result = agent.runpytest(*MIX)
    result.assert_outcomes(passed=10)  # the ladder's own trials; those of mixes are unseen
    result.stdout.fnmatch_lines(
        [
            "Mix of tiers for test_agent: safe, saves 55% of full's cost",
            "    agent.py:5 run     full",
            "    agent.py:6 run     nano",
            "    agent.py:11 write  mini",
            "- passes your tests at most 30 points less often than full, on inputs like these",
            "- 23 calls to try 6 mixes; all 24 mixes of 3 call sites would take 720",
            "1. Mix tiers in test_agent: agent.py:6 run on nano and agent.py:11 write on mini",
        ],
        consecutive=False,
    )
    summary = result.outlines[result.outlines.index(f"{' tiers ':=^80}") :]
    assert all(len(line) <= 80 for line in summary)
    (prompt,) = report()["prompts"]
    recommended = [mix for mix in prompt["mixes"] if mix["recommended"]]
    assert [mix["tiers"] for mix in recommended] == [
        {"agent.py:5 run": "full", "agent.py:6 run": "nano", "agent.py:11 write": "mini"}
    ]
    assert [mix["verdict"] for mix in recommended] == ["safe"]
    assert [mix["put_forward"] for mix in prompt["mixes"]] == [False] * 5 + [True]
    # What another trial was answered is not paid for again, and what fails alone is soon given up.
    assert len(server.requests) == 90 + 23
    search = prompt["mix_search"]
    assert (search["end"], search["calls"], search["exhaustive_calls"]) == ("confirmed", 23, 720)
    assert search["calls"] <= search["exhaustive_calls"] / 3

    server.stop()
    plan = agent.runpytest("--tiers-plan", *MIX[:2])
    plan.stdout.fnmatch_lines(
        ["- the search for the mix of test_agent is recorded to its end: it calls nothing"]
    )
    cassettes = {path: path.read_bytes() for path in agent.path.rglob("*.yaml")}
    assert len(cassettes) == 3 + 6
    replay = (*MIX, "--tiers-report=out.md", "--tiers-record=none", "-n2")
    agent.runpytest(*replay).assert_outcomes(passed=10)
    shown = (agent.path / "out.md").read_text()
    assert "**Mix of tiers for test&#95;agent: safe, saves 55% of full's cost**" in shown
    assert (
        "| agent.py:5 run | full |\n| agent.py:6 run | nano |\n| agent.py:11 write | mini" in shown
    )
    (again,) = report()["prompts"]
    assert (again["mixes"], again["mix_search"]) == (prompt["mixes"], search)
    assert {path: path.read_bytes() for path in agent.path.rglob("*.yaml")} == cassettes


def test_steps_that_are_safe_alone_and_bad_together_are_refused(
    agent: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    def careless(body: dict[str, Any]) -> str:
        """Mini writes well from the facts that full has found, not from those of nano."""
        said = model(body)
        if said.startswith("good") and body["messages"][0]["content"].startswith("extract"):
            return f"{said} by {body['model']}" if body["model"] == "nano-model" else said
        if said.endswith("by nano-model"):
            said = said.removesuffix(" by nano-model")
            return f"bad {said}" if body["model"] == "mini-model" else said
        return said

    server.answer = careless
    # A mix that is put forward after another one needs more evidence than the first.
    agent.makepyfile(test_agent=TESTS.replace("{cases}", "14"))
    result = agent.runpytest(*MIX)
    result.stdout.fnmatch_lines(
        ["- good alone, refused together: agent.py:6 run on nano and agent.py:11 write on*"]
    )
    (prompt,) = report()["prompts"]
    together = {"agent.py:5 run": "full", "agent.py:6 run": "nano", "agent.py:11 write": "mini"}
    (refused,) = (mix for mix in prompt["mixes"] if mix["tiers"] == together)
    assert refused["put_forward"]
    assert not refused["recommended"]
    assert refused["stopped"] is not None
    for step in ("agent.py:6 run", "agent.py:11 write"):
        alone = {**dict.fromkeys(together, "full"), step: together[step]}
        assert [mix["verdict"] for mix in prompt["mixes"] if mix["tiers"] == alone] == ["safe"]


def test_nothing_is_searched_for_tests_that_cannot_fail(
    agent: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    blind = TESTS.replace("{cases}", "4").replace(' == f"good task {number}"', "")
    agent.makepyfile(test_agent=blind)
    agent.runpytest(*MIX)
    (prompt,) = report()["prompts"]
    assert prompt["control"] == {"tried": 4, "passed": 4, "blind": True}
    assert (prompt["mix_search"]["end"], prompt["mixes"]) == ("blind", [])
    assert len(server.requests) == 4 * 3 * 3


def test_a_mix_that_is_cheaper_than_a_whole_tier_that_is_safe(
    agent: pytest.Pytester, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NEEDS, "plan", "mini")
    result = agent.runpytest(*MIX)
    (prompt,) = report()["prompts"]
    assert prompt["recommended"] == "mini"
    recommended = [list(mix["tiers"].values()) for mix in prompt["mixes"] if mix["recommended"]]
    assert recommended == [["mini", "nano", "mini"]]
    assert says(
        result.stdout.str(),
        "2. Mix tiers in test_agent, rather than move it to mini: agent.py:5 run on mini, "
        "agent.py:6 run on nano and agent.py:11 write on mini",
    )
    savings = report()["savings"]
    assert savings["with_mixes_share"] > savings["share"]


def test_a_locked_mix_runs_each_site_on_its_tier(
    agent: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    result = agent.runpytest(*MIX, "--tiers-update-lock")
    result.stdout.fnmatch_lines(["test_agent: full -> full+nano+mini, safe (at most 29 points*"])
    lock = (agent.path / "tiers.lock").read_text()
    assert 'tier = "full+nano+mini"' in lock
    assert 'site = "agent.py:11 write"' in lock
    assert agent.runpytest(*MIX, "--tiers-update-lock", "--tiers-record=none").ret == 0
    assert (agent.path / "tiers.lock").read_text() == lock

    server.stop()
    everyday = agent.runpytest("--tiers-report=out.json")
    everyday.assert_outcomes(passed=10)
    (prompt,) = report()["prompts"]
    assert [site["site"] for site in prompt["locked"]["sites"]] == [
        "agent.py:5 run",
        "agent.py:6 run",
        "agent.py:11 write",
    ]
    models = [call["model"] for call in report()["trials"][0]["calls"]]
    assert models == ["full-model", "nano-model", "mini-model"]
    refused = agent.runpytest("--tiers=full+nano+mini,full")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*Known tiers: current, deepseek, full, kimi, mini, nano.*"])

    # An edit beside the calls is none of the lock's business; one that moves them is.
    agent.makepyfile(agent=AGENT.replace("def write(facts):", "def write(facts, *more):"))
    agent.runpytest().assert_outcomes(passed=10)
    agent.makepyfile(agent=AGENT.replace("return write(facts)", "return chat(f'write {facts}')"))
    moved = agent.runpytest()
    assert moved.ret == pytest.ExitCode.TESTS_FAILED
    moved.stdout.fnmatch_lines(
        [
            "*llm.py:7 chat (called from agent.py:7 run) calls a model, and tiers.lock names no*"
            "--tiers=nano,mini,full --tiers-mix --tiers-update-lock.*"
        ]
    )
    # What the recorded answers do not pass any more fails, and the gate says so.
    agent.makepyfile(agent=AGENT, test_agent=TESTS.replace("{cases}", "10").replace("good", "fine"))
    worse = agent.runpytest("--tiers-gate=locked")
    worse.assert_outcomes(failed=10)
    worse.stdout.fnmatch_lines(["*passed when it was locked, and the recorded answers fail now*"])


def test_a_limit_stops_a_search_and_the_next_run_pays_only_for_the_rest(
    agent: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    # The ladder takes 90 calls, the whole search 23.
    stopped = agent.runpytest(*MIX, "--tiers-max-calls=97")
    stopped.stdout.fnmatch_lines(
        [
            "Mix of tiers for test_agent: not found yet",
            "- the search stopped at the limit of cost or calls; what is recorded is kept: a",
            "1. Run the same command again: the limit, which is for each run, stopped the",
            "   search for the mix of test_agent.",
        ]
    )
    stopped = agent.runpytest(*MIX, "--tiers-max-calls=3", "-q")
    assert len(server.requests) == 100
    assert report()["prompts"][0]["mix_search"]["end"] == "limit"
    assert "1 worse; a search for a mix stopped at the limit; spent $" in stopped.stdout.str()
    tried = report()["prompts"][0]["mixes"]
    assert tried[-1]["calls"] < 10
    # The plan replays what is recorded; of the mix that it broke off it counts all calls.
    plan = agent.runpytest("--tiers-plan", *MIX[:2])
    assert plan.ret == 0
    most = 18 - (len(tried) - 1)
    plan.stdout.fnmatch_lines(
        [
            f"- the search for the mix of test_agent tries at most {most} mixes of 3 call sites",
            f"  beyond the {len(tried) - 1} recorded: at most {30 * most} calls, $* at the*",
        ]
    )
    assert len(server.requests) == 100
    update = agent.runpytest(*MIX, "--tiers-update-lock")
    assert len(server.requests) == 90 + 23
    update.stdout.fnmatch_lines(["test_agent: full -> full+nano+mini, safe (at most 29 points*"])

    # An everyday run records what is missing of a locked mix, each line on its tier.
    for cassette in agent.path.rglob("test_agent[[]*.yaml"):
        if cassette.name != "test_agent[full].yaml":
            cassette.unlink()
    before = len(server.requests)
    assert agent.runpytest().ret == pytest.ExitCode.TESTS_FAILED
    agent.runpytest("--tiers-record=once").assert_outcomes(passed=10)
    models = [request.json["model"] for request in server.requests[before:]]
    assert models == ["nano-model", "mini-model"] * 10
    # A night asks all of it anew.
    before = len(server.requests)
    night = agent.runpytest("--tiers-record=all", "--tiers-nights=nights.jsonl")
    night.assert_outcomes(passed=10)
    assert len(server.requests) == before + 30
    assert '"tier":"full+nano+mini"' in (agent.path / "nights.jsonl").read_text()
    server.stop()
    agent.runpytest().assert_outcomes(passed=10)


def test_a_person_decides_about_a_mix(
    agent: pytest.Pytester,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(agent.path)
    tests = TESTS.replace("margin=0.3", "margin=0.5")
    agent.makepyfile(test_agent=tests.replace("{cases}", "3"))
    few = agent.runpytest(*MIX, "-p", "cacheprovider")
    few.stdout.fnmatch_lines(
        [
            "Mix of tiers for test_agent: inconclusive, saves 55% of full's cost",
            "- to take it unproven: pytest-tiers accept test_agent=full+nano+mini --reason*",
        ]
    )
    capsys.readouterr()
    assert main(["accept", "test_agent=nano+nano+mini", "--reason", "cheap"]) == 2
    refused = capsys.readouterr().err
    assert says(refused, 'no mix "nano+nano+mini" for test_agent.py::test_agent; it has ')
    assert says(refused, "Only a mix that ran to its end can be accepted")
    assert main(["accept", "test_agent=full+nano+mini", "--reason", "cheap"]) == 0
    accepted = capsys.readouterr().out
    assert says(accepted, "on full+nano+mini, accepted: inconclusive, at most ")
    everyday = agent.runpytest("--tiers-report=out.json")
    everyday.assert_outcomes(passed=3)
    models = [call["model"] for call in report()["trials"][0]["calls"]]
    assert models == ["full-model", "nano-model", "mini-model"]
    everyday.stdout.fnmatch_lines(["Accepted without proof: *::test_agent on full+nano+mini*"])

    # Proof takes its place; and who goes back is offered the next cheapest.
    agent.makepyfile(test_agent=tests.replace("{cases}", "7"))
    agent.runpytest(*MIX, "--tiers-update-lock")
    (locked,) = read(agent.path / "tiers.lock").prompts.values()
    assert (locked.tier, locked.verdict, locked.accepted) == ("full+nano+mini", "safe", None)
    assert main(["revert", "test_agent", "--reason", "rude"]) == 0
    again = agent.runpytest(*MIX, "--tiers-update-lock")
    again.stdout.fnmatch_lines(
        [
            "Mix of tiers for test_agent: safe, saves 47% of full's cost",
            "- good alone, refused together: agent.py:6 run on nano and agent.py:11 write on",
            "  mini (ruled out)",
        ]
    )
    (locked,) = read(agent.path / "tiers.lock").prompts.values()
    assert locked.tier == "full+mini+mini"


ASYNC_AGENT = """
from openai import AsyncOpenAI


async def run(text):
    async with AsyncOpenAI() as client:
        return await write(client, await chat(client, f"plan {text}"))


async def write(client, plan):
    return await chat(client, f"write {plan}")


async def chat(client, text):
    answer = await client.chat.completions.create(
        model="gpt-5.4", messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content
"""

METHODS = """
import pytest
from agent import run

class TestAgent:
    @pytest.mark.asyncio
    @pytest.mark.tiers(margin=0.3)
    @pytest.mark.parametrize("number", range(10))
    async def test_run(self, number):
        assert not vars(self)  # each run has an instance of its own
        self.has_run = True
        assert await run(f"task {number}") == f"good task {number}"
"""


def test_adaptive_samples_of_async_methods(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = model
    project.makepyfile(agent=ASYNC_AGENT, test_agent=METHODS)
    arguments = (*MIX, "--tiers-samples=auto")
    project.runpytest(*arguments)
    (prompt,) = report()["prompts"]
    # nano and mini are soon proven worse, and the flagship still answers each case once.
    trials = {tier: found["trials"] for tier, found in prompt["tiers"].items()}
    assert trials == {"nano": 5, "mini": 5, "full": 10}
    (best,) = (mix for mix in prompt["mixes"] if mix["recommended"])
    assert (list(best["tiers"].values()), best["verdict"]) == (["full", "mini"], "safe")
    server.stop()
    project.runpytest(*arguments, "--tiers-record=none")
    assert report()["prompts"][0]["mixes"] == prompt["mixes"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "*--tiers-mix: a mix is searched in a comparison: give --tiers=nano,mini,full too.*"),
        (["--tiers=full"], '*--tiers-mix: "full" is the flagship, and no tier of --tiers=full*'),
        (
            ["--tiers=nano,full", "--tiers-flagship-calls=lazy"],
            "*--tiers-mix: the flagship's own calls show the call sites*",
        ),
    ],
)
def test_a_run_that_has_nothing_to_mix(
    project: pytest.Pytester, arguments: list[str], problem: str
) -> None:
    result = project.runpytest("--tiers-mix", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([problem])
