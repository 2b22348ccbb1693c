"""``pytest-tiers merge``: shards of one suite give what one run of all of it gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.cli import main
from tests.openai_server import OpenAIServer

#: An application whose call sites only all tests together tell apart: `ask` is a wrapper, because
#: two lines call it.
DESK = """
from app import ask

def greet(word):
    return ask(word)

def part(word):
    return ask(word)
"""

MANY = """
import pytest
from desk import greet

@pytest.mark.tiers(monthly_runs=1000)
@pytest.mark.parametrize("n", range(8))
def test_many(n):
    assert greet(f"many {n}") == "OK"

@pytest.mark.tiers(prompt="joined")
@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.must_pass), 2])
def test_joined(n):
    assert greet(f"joined {n}") == "OK"
"""

OTHERS = """
import pytest
from desk import part

@pytest.mark.parametrize("n", range(3))
def test_compares(tier, n):
    tier.compare(part(f"compares {n}"))

@pytest.mark.tiers(prompt="joined")
@pytest.mark.parametrize("n", range(2))
def test_joined(n):
    assert part(f"joined too {n}") == "OK"

@pytest.mark.tiers
def test_skipped():
    pytest.skip("not today")
"""

#: Cuts a run as pytest-split does: anywhere between two items, also within a case.
CUT = """
import os

def pytest_collection_modifyitems(config, items):
    part = os.environ.get("PART")
    if part:
        first, rest = items[:10], items[10:]
        items[:] = first if part == "1" else rest
        config.hook.pytest_deselected(items=rest if part == "1" else first)
"""

ARGS = ("--tiers=nano,full", "--tiers-samples=2", "--tiers-margin=0.5", "-q")


def answer(request: dict[str, Any]) -> str:
    text, model = request["messages"][0]["content"], request["model"]
    misses = {"nano-model": ("joined 1", "many 7", "compares 2"), "full-model": ("many 7",)}
    return "No" if text in misses.get(model, ()) else "OK"


@pytest.fixture
def suite(project: pytest.Pytester, server: OpenAIServer) -> pytest.Pytester:
    """A recorded suite in two folders, and what one run of it says in one.json."""
    server.answer = answer
    project.makepyfile(desk=DESK)
    files = {"a/test_many.py": MANY, "b/test_others.py": OTHERS, "b/conftest.py": CUT}
    for name, tests in files.items():
        path = project.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(tests)
    assert project.runpytest(*ARGS).ret == 0
    server.stop()
    assert project.runpytest(*ARGS, "--tiers-report=one.json").ret == 0
    return project


def load(project: pytest.Pytester, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(project.path) / name).read_text())
    return found


def merge(*args: str) -> int:
    return main(["merge", *args])


def test_shards_give_what_one_run_gives(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = [f"shard-{number}.json" for number in range(4)]
    reports = [f"--tiers-report={name}" for name in shards]
    suite.runpytest(*ARGS, reports[0], "a", "-k", "2")
    suite.runpytest_subprocess(*ARGS, reports[1], "a", "-k", "not 2", "-n2")
    for part in ("1", "2"):
        monkeypatch.setenv("PART", part)
        suite.runpytest(*ARGS, reports[1 + int(part)], "b")
    one, parts = load(suite, "one.json"), [load(suite, name) for name in shards]
    assert [part["settings"]["selection"] for part in parts] == [True] * 4
    assert all(part["prompts"] != one["prompts"] for part in parts)
    verdicts = {
        prompt["id"]: {tier: each["verdict"] for tier, each in prompt["comparisons"].items()}
        for prompt in one["prompts"]
    }
    assert verdicts["a/test_many.py::test_many"] == {"nano": "safe"}
    capsys.readouterr()
    assert merge(*shards, "-o", "all.json", "--report", "all.html", "--report", "all.md") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"all.json: {len(one['trials'])} trials from 4 reports.\n\nprompt ")
    assert "for this selection" not in said
    assert "merged" not in said
    together = load(suite, "all.json")
    for document in (one, together):
        del document["created"], document["merging"]["extent"]["is_whole"]
    assert together["prompts"] == one["prompts"]
    assert together["sites"] == one["sites"]
    assert together["trials"] == one["trials"]
    for key in ("stacks", "cassettes", "requests"):  # numbered in the order of the trials
        assert together["merging"].pop(key) == one["merging"].pop(key)
    extents = [document["merging"]["extent"].pop("prompts") for document in (one, together)]
    assert extents[0].keys() == extents[1].keys()
    # Only a run looks into the application's code.
    assert one.pop("changes")
    assert together.pop("changes") == []
    assert one["coverage"]["found"] == 1
    # Unused recordings are looked for where the whole suite is collected.
    assert (one.pop("unused_recordings"), together.pop("unused_recordings")) == (0, None)
    assert together == one
    assert "every case" not in (suite.path / "all.md").read_text()
    assert "<html" in (suite.path / "all.html").read_text()
    # A merged report is a report: merged with a shard of it, nothing is counted twice.
    assert merge("all.json", "shard-1.json", "-o", "again.json") == 0
    assert f"{len(parts[1]['trials'])} trials in more than one counted once" in " ".join(
        capsys.readouterr().out.split()
    )
    assert load(suite, "again.json")["prompts"] == one["prompts"]
