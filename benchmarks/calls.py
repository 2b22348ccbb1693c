"""One trial with 1,000 calls: what a call takes, against trials with 10 calls each.

Both replay 1,000 calls in all, so that both read the same amount of YAML. Compared is the CPU
time added to the same tests without HTTP.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measuring import Project, least, number_of_runs, show, show_machine
from tests.openai_server import OpenAIServer

APP = """
import os
from openai import OpenAI

client = OpenAI()


def ask(text):
    if "NO_HTTP" in os.environ:
        return text
    messages = [{"role": "user", "content": text}]
    completion = client.chat.completions.create(model="gpt-5.4", messages=messages)
    return completion.choices[0].message.content
"""

TEST = """
import pytest
from app import ask


@pytest.mark.tiers
@pytest.mark.parametrize("trial", range(TRIALS))
def test_ask(trial):
    for number in range(1000 // TRIALS):
        assert ask(f"question {trial} {number}") == f"question {trial} {number}"
"""


def main() -> None:
    """Record both, then replay in turn."""
    runs = number_of_runs(__doc__)
    show_machine("pytest", "openai", "vcrpy")
    with tempfile.TemporaryDirectory() as folder:
        projects = {}
        with OpenAIServer(lambda request: request["messages"][-1]["content"]) as server:
            for trials in (1, 100):
                files = {"app.py": APP, "test_app.py": TEST.replace("TRIALS", str(trials))}
                projects[trials] = Project(Path(folder, str(trials)), server.url, files)
                projects[trials].pytest("tiers", "--tiers=full")
        with_http = {f"{trials}": partial(replay, each) for trials, each in projects.items()}
        without = {f"{trials} -": partial(no_http, each) for trials, each in projects.items()}
        taken = least({**with_http, **without}, runs)
    one, many = (taken[name] - taken[f"{name} -"] for name in ("1", "100"))
    print(f"1 trial of 1,000 calls: {one:.2f} ms a call; 100 of 10 calls: {many:.2f} ms a call")
    show("1,000 calls / 10 calls", one / many, 2)


def replay(project: Project) -> float:
    """CPU seconds with all calls replayed."""
    return project.pytest("tiers", "--tiers=full", "--tiers-record=none").cpu


def no_http(project: Project) -> float:
    """CPU seconds of the tests alone."""
    return project.pytest(None, NO_HTTP="1").cpu


if __name__ == "__main__":
    main()
