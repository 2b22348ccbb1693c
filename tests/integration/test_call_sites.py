"""A feature of several steps: each call is its application line's, however it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_tiers.cli import main
from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

#: One library wrapper, called from two steps; bare coroutines in a gather; a pool of threads.
STEPS = {
    "llm": """
from openai import OpenAI

client = OpenAI()


def message(text):
    return {"model": "gpt-5.4", "messages": [{"role": "user", "content": text}]}


def chat(text):
    return client.chat.completions.create(**message(text)).choices[0].message.content
""",
    "agent": """
import asyncio
from concurrent.futures import ThreadPoolExecutor
import pytest_tiers
from llm import chat, client, message
from openai import AsyncOpenAI


def run(text):
    steps = chat(f"plan {text}")
    facts = asyncio.run(look_up(text))
    with ThreadPoolExecutor() as pool:
        checks = list(
            pool.map(lambda each: each(), [check, check])
        )
    with pytest_tiers.site("writer"):
        return chat(f"write {steps} {facts} {checks}")


async def look_up(text):
    async with AsyncOpenAI() as async_client:
        ask = async_client.chat.completions.create
        return len(await asyncio.gather(ask(**message("a")), ask(**message(f"b {text}"))))


def check():
    return client.chat.completions.create(**message("check")).choices[0].message.content


def title(text):
    return chat(f"title {text}")
""",
    "test_agent": """
import pytest
from agent import run, title

@pytest.mark.tiers
@pytest.mark.parametrize("text", ["x", "y"])
def test_run(text):
    assert run(text) == "OK"

@pytest.mark.tiers
def test_title():
    assert title("x") == "OK"
""",
}


def sites(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["site"]: each for prompt in report["prompts"] for each in prompt["sites"]}


def test_every_step_is_found(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(**STEPS)
    run = ["--tiers=nano,full", "--tiers-report=out.json"]
    result = project.runpytest(*run, "--tiers-report=out.md", "-v")
    result.assert_outcomes(passed=6)
    result.stdout.re_match_lines(
        [
            "Call sites of test_run on full",
            "call site +calls +cost +tokens +p50 +p95",
            r"agent.py:9 run +2 +\d+% +4 in, 2 out +\d+.\d+ s +\d+.\d+ s",
            r"writer +2 +\d+% +10 in, 2 out +\d+.\d+ s +\d+.\d+ s",
        ]
    )
    shown = (project.path / "out.md").read_text()
    assert "<summary>Calls by call site on full</summary>" in shown
    assert "| test&#95;agent.py::test&#95;run | agent.py:9 run | 2 |" in shown
    found = report()
    steps = sites(found)
    assert {site: each["calls"] for site, each in steps.items()} == {
        "agent.py:9 run": 2,
        "agent.py:22 look_up": 4,
        "agent.py:26 check": 4,
        "writer": 2,
        "agent.py:30 title": 1,
    }
    (run_prompt,) = (each for each in found["prompts"] if each["id"].endswith("test_run"))
    assert sum(each["cost_share"] for each in run_prompt["sites"]) == pytest.approx(1)
    # Replay by workers finds the same, and a file whose lines have moved has the same keys.
    server.stop()
    moved = "# one line more\n\n\n" + STEPS["agent"].replace("def title", "# and\n\n\ndef title")
    project.makepyfile(**{**STEPS, "agent": moved})
    project.runpytest(*run, "-n2").assert_outcomes(passed=6)
    again = sites(report())
    assert {each["key"] for each in again.values()} == {each["key"] for each in steps.values()}
    assert "agent.py:9 run" not in again


def test_the_configuration_may_say_that_nothing_is_a_wrapper(
    project: pytest.Pytester, report: Report
) -> None:
    project.makepyfile(**STEPS)
    config = project.path / "pyproject.toml"
    text = config.read_text()
    config.write_text(text + "\n[tool.pytest-tiers]\nwrappers = []\n")
    project.runpytest("--tiers=nano,full", "--tiers-report=out.json").assert_outcomes(passed=6)
    assert "llm.py:11 chat" in sites(report())
    assert report()["settings"]["wrappers"] == []
    config.write_text(text + '\n[tool.pytest-tiers]\nwrappers = "llm.py:chat"\n')
    result = project.runpytest("--tiers=nano,full")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*wrappers: expected a list of texts, got 'llm.py:chat' (str).*"])


def test_a_site_means_nothing_outside_a_trial(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest_tiers

        def test_it():
            with pytest_tiers.site("planner"):
                pass
        """
    )
    project.runpytest().assert_outcomes(passed=1)
    assert not list(project.path.glob("**/*.yaml"))


def many_tests(wrong: str) -> str:
    """A suite of one-case tests, as most are: no prompt of it can get a verdict alone."""
    tests = "".join(
        f'@pytest.mark.tiers\ndef test_{name}():\n    assert ask("{name} {{n}}") == "OK"\n\n'
        for name in map("{:02}".format, range(36))
    )
    return f"import pytest\nfrom app import ask\n\n{tests}".replace("{n}", wrong)


def test_small_tests_get_a_verdict_together(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(test_ask=many_tests(""))
    run = ["--tiers=nano,full", "--tiers-report=out.json"]
    result = project.runpytest(*run)
    result.assert_outcomes(passed=72)
    result.stdout.fnmatch_lines(
        [
            "- app.py:7 ask (36 prompts, 36 cases) on nano: its tests together make it safe:",
            "  at most 10 points less often than full, on inputs like these (95% confidence);",
            "  saves 92% there",
            "1. By call site these can move: app.py:7 ask to nano. --tiers-by=site says what",
        ]
    )
    assert {each["comparisons"]["nano"]["verdict"] for each in report()["prompts"]} == {
        "inconclusive"
    }
    (site,) = report()["sites"]
    assert site["comparisons"]["nano"]["verdict"] == "safe"
    assert (site["id"], site["cases"], len(site["prompts"])) == ("app.py:7 ask", 36, 36)
    assert (site["recommended"], site["called_with"]) == ("nano", [])
    # The other reports tell it too, and so do merged ones.
    assert (
        main(
            [
                *[
                    "merge",
                    "out.json",
                    "-o",
                    "again.json",
                    "--report",
                    "out.md",
                    "--report",
                    "out.html",
                ]
            ]
        )
        == 0
    )
    row = "| app.py:7 ask | 36 | nano | 36/36 | 36/36 | safe | 9 points | 92% | 36 |"
    assert row in (project.path / "out.md").read_text()
    page = (project.path / "out.html").read_text()
    assert "app.py:7 ask <small>36 prompts, 36 cases</small>" in page
    server.stop()
    result = project.runpytest(*run, "--tiers-by=site", "--tiers-report=out.md")
    result.stdout.re_match_lines(
        [
            r"call site +cases +tier +passed +on full +verdict +saving",
            r"app.py:7 ask +36 +nano +36/36 +36/36 +safe +9\d%",
            r"1. Downgrade now: app.py:7 ask -> nano .*",
        ]
    )
    assert row in (project.path / "out.md").read_text()
    assert report()["settings"]["by"] == "site"
    assert len(report()["prompts"]) == 36


def test_small_tests_show_a_worse_model_together(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = lambda got: Reply("OK" if got["model"] == "full-model" else "no")
    project.makepyfile(test_ask=many_tests(""))
    result = project.runpytest("--tiers=nano,full")
    result.stdout.fnmatch_lines(
        ["- app.py:7 ask (36 prompts, 36 cases) on nano: its tests together show it to be*"]
    )


def test_an_unknown_word_for_what_to_judge(project: pytest.Pytester) -> None:
    result = project.runpytest("--tiers=nano,full", "--tiers-by=file")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*--tiers-by: unknown value "file". Valid values: prompt, site.*'])
