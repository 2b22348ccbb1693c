"""What a safe downgrade changes in the application: as a list, and as a diff that git applies."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

FILES = {
    "llm": """
from openai import OpenAI

client = OpenAI()

def chat(text, model):
    completion = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content
""",
    "steps": """
import pytest_tiers
from llm import chat

def route(text):
    return chat(f"route {text}", "gpt-5.4")

def title(text):
    with pytest_tiers.site("title"):
        return chat(
            f"title {text}",
            model='gpt-5.4',
        )

def plan(text):
    return chat(f"plan {text}", model="gpt-5.4")
""",
    "test_steps": """
import pytest

import steps

@pytest.mark.tiers
@pytest.mark.parametrize("text", "abcdefgh")
@pytest.mark.parametrize("step", [steps.route, steps.title])
def test_steps(step, text):
    assert step(text) == "OK"

@pytest.mark.tiers
def test_plan():
    assert steps.plan("x") == "OK"
""",
}


def test_the_list_and_the_diff(project: pytest.Pytester, report: Report) -> None:
    project.makepyfile(**FILES)
    subprocess.run(["git", "init", "-q"], cwd=project.path.parent, check=True)
    run = ["--tiers=nano,full", "--tiers-margin=0.5", "--tiers-report=out.json"]
    result = project.runpytest(*run, "--tiers-diff=out.patch")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "What to change in the application",
            "- steps.py:5: gpt-5.4 -> nano-model",
            "- steps.py:11, for title: gpt-5.4 -> nano-model",
            "out.patch holds these 2 lines: git apply out.patch",
        ]
    )
    assert [(each["site"], each["in_diff"]) for each in report()["changes"]] == [
        ("steps.py:5 route", True),
        ("title", True),
    ]
    diff = (project.path / "out.patch").read_bytes()
    subprocess.run(["git", "apply", "-"], cwd=project.path.parent, input=diff, check=True)
    text = FILES["steps"].strip()
    changed = text.replace('"gpt-5.4")\n\ndef title', '"nano-model")\n\ndef title')
    changed = changed.replace("'gpt-5.4'", "'nano-model'")
    assert (project.path / "steps.py").read_text() == changed


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (
            ["--tiers=nano,full", "--tiers-diff=out.txt"],
            '*--tiers-diff: "out.txt": a file for git apply; valid suffixes: .patch, .diff.*',
        ),
        (["--tiers-diff=out.patch"], "*--tiers-diff: only a comparison knows what is safe: *"),
        (
            ["--tiers=nano,full", "--tiers-plan", "--tiers-diff=out.patch"],
            "*a plan is printed, and is no run: leave out --tiers-diff.*",
        ),
    ],
)
def test_a_file_that_cannot_be(project: pytest.Pytester, args: list[str], error: str) -> None:
    result = project.runpytest(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([error])


OTHER_CALLS = {
    "untested": """
from app import client

def subject(text):
    return client.responses.create(model="gpt-5.4", input=text).output_text

def footer(text):
    return client.responses.create(model="gpt-5.4", input=text).output_text
""",
    "test_app": """
import pytest

import untested
from app import ask

@pytest.mark.tiers
def test_ask():
    assert ask("x") == "OK"

def test_subject(monkeypatch, server_url):
    monkeypatch.setattr(untested.client, "base_url", server_url)
    assert untested.subject("x") == "OK"
""",
}


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_call_sites_that_no_tiered_test_calls(
    project: pytest.Pytester, server: OpenAIServer, report: Report, workers: list[str]
) -> None:
    project.makepyfile(**OTHER_CALLS)
    project.makeconftest(
        f"import pytest\n@pytest.fixture\ndef server_url():\n    return {server.url!r}\n"
    )
    result = project.runpytest("--tiers=nano,full", "--tiers-report=out.json", *workers)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "2 call sites of the application are called by no tiered test: untested.py:4",
            "  subject (other tests do) and untested.py:7 footer.",
        ]
    )
    found = report()["coverage"]
    assert (found["found"], found["is_complete"], found["is_certain"]) == (3, True, True)
