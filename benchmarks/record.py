"""Recording one case on 3 tiers with 5 samples, where each answer takes 300 ms.

Measured at the server: the wall clock time from the first request to the last answer, in the time
that one trial takes (15 trials one after the other: 15). With ``concurrent=True`` each trial is a
conversation of three answers. Counted besides: calls that were paid for, and those that are used.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import Project, number_of_runs, show, show_machine
from tests.openai_server import OpenAIServer

SECONDS = 0.3

TIERS = "--tiers=nano,mini,full"

APP = """
from openai import OpenAI

client = OpenAI()


def ask(text):
    completion = client.chat.completions.create(
        model="gpt-5.4", max_tokens=50, messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content
"""

TEST = """
import pytest
from app import ask


@pytest.mark.tiers(samples=5, concurrent=CONCURRENT)
def test_ask():
    said = "Hello"
    for _ in range(TURNS):
        said = ask(f"Go on from: {said}")
    assert said
"""


class Server:
    """What the server sees of one recording."""

    def __init__(self) -> None:
        self.calls, self.first, self.last = 0, float("inf"), 0.0
        self._lock = threading.Lock()

    def answer(self, request: dict[str, Any]) -> str:
        """Another text for each question, after some time."""
        with self._lock:
            self.calls += 1
            self.first = min(self.first, time.perf_counter())
        time.sleep(SECONDS)
        with self._lock:
            self.last = time.perf_counter()
        return f"{request['model']} on {request['messages'][-1]['content'][-20:]}"


def main() -> None:
    """Record both, several times."""
    runs = number_of_runs(__doc__, default=3)
    show_machine("pytest", "openai", "vcrpy")
    with tempfile.TemporaryDirectory() as folder, OpenAIServer() as server:
        for name, concurrent, turns, bar in (
            ("one call each, fan-out", False, 1, 2.5),
            ("conversations of 3 calls, concurrent", True, 3, 2.0),
        ):
            test = TEST.replace("CONCURRENT", str(concurrent)).replace("TURNS", str(turns))
            files = {"app.py": APP, "test_app.py": test}
            project = Project(Path(folder, name), server.url, files)
            taken = []
            for number in range(runs):
                seen = Server()
                server.answer = seen.answer
                where = f"--tiers-cassettes={number}"
                project.pytest("tiers", TIERS, where, "--tiers-report=out.json")
                taken.append((seen.last - seen.first) / (turns * SECONDS))
                print(f"{name}: {seen.calls} calls paid, {calls_used(project)} used")
            show(f"{name}: time in that of one trial", min(taken), bar)


def calls_used(project: Project) -> int:
    """How many calls the trials of the last run made."""
    report = json.loads((project.folder / "out.json").read_text())
    return sum(len(trial["calls"]) for trial in report["trials"])


if __name__ == "__main__":
    main()
