"""Replaying 300 one-call trials, against pytest-recording and cassetter.

Compared is the CPU time that each adds to the same tests without HTTP. Each replays what it
recorded itself, with the server gone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measuring import Project, least, number_of_runs, show, show_machine
from tests.openai_server import OpenAIServer

#: The same for everybody, but for the marker. With BUILD each test builds a client of its own.
APP = """
import os
from openai import OpenAI

shared = OpenAI()


def ask(text):
    if "NO_HTTP" in os.environ:
        return text
    client = OpenAI() if "BUILD" in os.environ else shared
    messages = [{"role": "system", "content": "Say it again."}, {"role": "user", "content": text}]
    completion = client.chat.completions.create(model="gpt-5.4", messages=messages)
    return completion.choices[0].message.content
"""

TEST = """
import pytest
from app import ask


@pytest.mark.MARKER
@pytest.mark.parametrize("number", range(300))
def test_ask(number):
    assert ask(f"question {number}") == f"question {number}"
"""


@dataclass(frozen=True)
class Recorder:
    """A plugin, its marker, and how it records and replays."""

    plugin: str
    marker: str
    record: str
    replay: tuple[str, ...]


RECORDERS = {
    "tiers": Recorder("tiers", "tiers", "--tiers=full", ("--tiers=full", "--tiers-record=none")),
    "everyday": Recorder("tiers", "tiers", "--tiers-record=once", ("--tiers-record=none",)),
    "pytest-recording": Recorder("recording", "vcr", "--record-mode=once", ()),
    "cassetter": Recorder("cassetter", "vcr", "--record-mode=once", ("--record-mode=none",)),
}


def main() -> None:
    """Record with each, then replay in turn."""
    runs = number_of_runs(__doc__)
    show_machine("pytest", "openai", "vcrpy", "pytest-recording", "cassetter")
    with tempfile.TemporaryDirectory() as folder:
        projects = recorded(Path(folder))
        shared = added(projects, runs)
        print("A client that all tests share:")
        for name in ("tiers", "everyday"):
            show(f"  {name} / pytest-recording", shared[name] / shared["pytest-recording"], 1 / 2)
            show(f"  {name} / cassetter", shared[name] / shared["cassetter"], 1)
        built = added(projects, runs, BUILD="1")
        print("A client built in each test:")
        for name in ("tiers", "everyday"):
            show(f"  {name} / pytest-recording", built[name] / built["pytest-recording"], 1 / 5)


def recorded(folder: Path) -> dict[str, Project]:
    """A project for each recorder, with its cassettes."""
    projects = {}
    with OpenAIServer(lambda request: request["messages"][-1]["content"]) as server:
        for name, each in RECORDERS.items():
            files = {"app.py": APP, "test_app.py": TEST.replace("MARKER", each.marker)}
            projects[name] = Project(folder / name, server.url, files)
            projects[name].pytest(each.plugin, each.record)
    return projects


def added(projects: Mapping[str, Project], runs: int, **environment: str) -> dict[str, float]:
    """The CPU seconds that each recorder's replay adds to the tests without HTTP."""

    def replay(name: str) -> float:
        each = RECORDERS[name]
        return projects[name].pytest(each.plugin, *each.replay, **environment).cpu

    def without_http() -> float:
        return projects["tiers"].pytest(None, **environment, NO_HTTP="1").cpu

    measures = {name: partial(replay, name) for name in RECORDERS}
    taken = least({**measures, "": without_http}, runs)
    seconds = {name: taken[name] - taken[""] for name in RECORDERS}
    print(f"without HTTP {taken['']:.2f} s, and:", seconds)
    return seconds


if __name__ == "__main__":
    main()
