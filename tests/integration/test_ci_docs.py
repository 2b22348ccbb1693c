"""The workflows of docs/ci.md: valid YAML, and commands that do what the page says.

Actions of GitHub are not run, nor is pip: the project is there, and pytest-tiers is installed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.openai_server import OpenAIServer

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"

WORKFLOWS: dict[str, dict[Any, Any]] = {
    found["name"]: found
    for found in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))
}

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", range({cases}))
def test_ask(number):
    assert ask(f"{{__name__}} {{number}}") == "OK"
"""

COMMIT = """
git init -q -b main
git config user.name n
git config user.email e
git add .
git commit -qm one
git init -q --bare "$ORIGIN"
git remote add origin "$ORIGIN"
"""

#: As few as can be safe among two prompts at this margin.
CASES = 6

Run = partial[subprocess.CompletedProcess[str]]


def nano_misses_one(request: dict[str, Any]) -> str:
    is_first = request["messages"][0]["content"].endswith("billing 0")
    return "No" if is_first and request["model"] == "nano-model" else "OK"


def steps(workflow: str) -> Iterator[dict[str, Any]]:
    for job in WORKFLOWS[workflow]["jobs"].values():
        yield from job["steps"]


def commands(workflow: str) -> list[str]:
    """What the workflow runs, but for pip."""
    scripts = [step.get("run", "") for step in steps(workflow)]
    return [script for script in scripts if script and not script.startswith("pip install")]


@pytest.fixture
def shell(project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a step as GitHub does: in bash, with what its steps find in the environment.

    The project is a git repository of two folders of tests, with an `origin`; `gh` only says what
    it was asked.
    """
    toml = project.path / "pyproject.toml"
    text = toml.read_text().replace("addopts =", 'pythonpath = ["."]\naddopts =')
    toml.write_text(f"{text}\n[tool.pytest-tiers]\nmargin = 0.5\n")
    for folder in ("tests/support", "tests/billing"):
        path = project.path / folder / f"test_{Path(folder).name}.py"
        path.parent.mkdir(parents=True)
        path.write_text(TESTS.format(cases=CASES))
    gh = tmp_path / "gh"
    gh.write_text('#!/bin/sh\necho "gh $*"\n')
    gh.chmod(0o755)
    places = [str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(places))
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_RUN_ID", "77")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ORIGIN", str(tmp_path / "origin.git"))
    return partial(bash, project.path)


def bash(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def record(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record and lock, as a developer does, and commit."""
    monkeypatch.delenv("CI")
    assert project.runpytest("--tiers=nano,mini,full", "--tiers-update-lock").ret == 0
    monkeypatch.setenv("CI", "true")
    done = bash(project.path, COMMIT)
    assert done.returncode == 0, done.stderr


def summary() -> str:
    return Path(os.environ["GITHUB_STEP_SUMMARY"]).read_text()


def test_workflows_are_complete() -> None:
    assert list(WORKFLOWS) == ["tests", "tiers changes", "tiers in shards", "tiers nightly"]
    for name, workflow in WORKFLOWS.items():
        assert workflow[True], name  # YAML 1.1 reads the key `on` as true
        for job in workflow["jobs"].values():
            assert job["runs-on"] == "ubuntu-latest"
            assert job["steps"][0]["uses"].startswith("actions/checkout@")
        for each in steps(name):
            assert ("uses" in each) is not ("run" in each)
            # What GitHub puts into a script could be anybody's text: environments hold it.
            assert "${{" not in each.get("run", "")
            subprocess.run(["bash", "-n", "-c", each.get("run", "")], check=True)


def test_pushes_and_pull_requests_are_replayed(
    project: pytest.Pytester, server: OpenAIServer, shell: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(project, monkeypatch)
    server.stop()
    assert shell("git clone -q . base").returncode == 0
    # A pull request changes what one test expects.
    billing = project.path / "tests/billing/test_billing.py"
    billing.write_text(billing.read_text().replace('"OK"', '("OK" if number else "Yes")'))
    [everyday] = commands("tests")
    done = shell(f"{everyday} --ignore=base")
    assert done.returncode == 1, done.stdout
    assert "::error file=tests/billing/test_billing.py,line=" in done.stdout
    assert "**Gate: failed**" in summary()
    assert (project.path / "junit.xml").exists()
    base, new, what, comment = commands("tiers changes")
    assert bash(project.path / "base", base).returncode == 0
    for command in (new, what):
        done = shell(command)
        assert done.returncode == 0, done.stdout + done.stderr
    changes = (project.path / "changes.md").read_text().replace("&#95;", "_")
    assert "gate fails now" in changes.splitlines()[0]
    assert "1 trial with the same recorded answer ended otherwise" in changes
    assert changes in summary().replace("&#95;", "_")
    assert shell(comment, NUMBER="3").stdout.startswith("gh pr comment 3 --body-file changes.md")


def test_shards_are_merged(
    project: pytest.Pytester, server: OpenAIServer, shell: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(project, monkeypatch)
    server.stop()
    shard, merge, show = commands("tiers in shards")
    matrix = WORKFLOWS["tiers in shards"]["jobs"]["shard"]["strategy"]["matrix"]["include"]
    for each in matrix:
        done = shell(shard, NUMBER=str(each["number"]), TESTS=each["tests"])
        assert done.returncode == 0, done.stdout
    done = shell(merge)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("all.json: 36 trials from 2 reports.")
    assert shell(show).returncode == 0
    assert (project.path / "all.md").read_text() in summary()


def test_nights_ask_again(
    project: pytest.Pytester, server: OpenAIServer, shell: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(project, monkeypatch)
    server.answer = nano_misses_one
    earlier, ask, cost, offer = commands("tiers nightly")
    assert "gh run download" in shell(earlier).stdout
    before = sum(server.calls.values())
    done = shell(ask, OPENAI_API_KEY="sk-test")
    assert sum(server.calls.values()) == before + 36
    # A miss of the locked tier is no proof.
    assert done.returncode == 0, done.stdout
    assert len((project.path / "nights.jsonl").read_text().splitlines()) == 2
    assert shell(cost).returncode == 0
    assert re.search(r"This night cost \$0\.000\d: about \$0\.0\d a month\.", summary())
    done = shell(offer)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("gh pr create --fill")
    log = shell("git log --oneline --stat origin/tiers-77").stdout
    assert "Answers of 20" in log
    assert "nightly.json" not in log
