"""Runs that die: nothing that was paid for is lost, torn, or paid for again.

The tests of the killed runs write each answer that they get, fsynced, to a file of their own. What
stands there must be in a journal or cassette, whenever the run died.
"""

from __future__ import annotations

import functools
import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

from pytest_tiers.cassettes import format
from pytest_tiers.cassettes.format import RecordedCall
from pytest_tiers.cassettes.journal import FOLDER, entries
from tests.forks import Forks, Run
from tests.openai_server import OpenAIServer

NANO = "--tiers=nano"

KILLS = 100

#: How many calls a trial of each of a module's functions makes; each has three cases.
CALLS = {"test_one_call": 1, "test_conversation": 3, "test_threads": 3}
QUESTIONS = 3 * sum(CALLS.values())

TESTS = """
import json, os
from concurrent.futures import ThreadPoolExecutor
import pytest
from openai import OpenAI

client = OpenAI(max_retries=0)

def ask(question):
    made = client.chat.completions.create(
        model="gpt-5.4", max_tokens=9, messages=[{"role": "user", "content": question}]
    )
    answer = made.choices[0].message.content
    line = json.dumps([question, answer]) + "\\n"
    got = os.open("got.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(got, line.encode())
    os.fsync(got)
    os.close(got)
    return answer

@pytest.mark.tiers
@pytest.mark.parametrize("case", range(3))
def test_one_call(case):
    assert ask(f"{__name__} one {case}")

@pytest.mark.tiers(concurrent=True)
@pytest.mark.parametrize("case", range(3))
def test_conversation(case):
    answer = f"{__name__} talk {case}"
    for _ in range(3):
        answer = ask(f"what about {answer}")

@pytest.mark.tiers
@pytest.mark.parametrize("case", range(3))
def test_threads(case):
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(ask, [f"{__name__} thread {case} {number}" for number in range(3)]))
"""


def question(request: dict[str, Any]) -> str:
    text: str = request["messages"][0]["content"]
    return text


class Killed:
    """A project whose runs are killed, and what is known of it."""

    def __init__(self, project: pytest.Pytester, server: OpenAIServer, modules: int) -> None:
        self.modules = [f"test_{number}" for number in range(modules)]
        project.makepyfile(**dict.fromkeys(self.modules, TESTS))
        self.path, self.server = project.path, server
        self.root = project.path / "cassettes"
        self.served: Counter[str] = Counter()
        self._checked: dict[Path, tuple[bytes, list[RecordedCall]]] = {}
        server.answer = self._answer

    def _answer(self, request: dict[str, Any]) -> str:
        """Says how often this was asked: an answer that was paid for again is another one."""
        asked = question(request)
        self.served[asked] += 1
        return f"({asked}: {self.served[asked]})"

    @property
    def got(self) -> list[tuple[str, str]]:
        """Question and answer, for each answer that reached a test."""
        path = self.path / "got.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def check(self) -> None:
        """All cassettes can be read, and no answer is lost."""
        on_disk = set(map(said, [*self._cassettes(), *self._journals()]))
        assert [one for one in self.got if one not in on_disk] == []

    def _cassettes(self) -> Iterator[RecordedCall]:
        for path in self.root.rglob("*.yaml"):
            data = path.read_bytes()
            if self._checked.get(path, (b"", []))[0] != data:
                cassette = format.load(path)
                found = [*cassette.recordings.values(), *cassette.unfinished.values()]
                _, _, function = cassette.function.partition("::")
                # What is called complete is.
                assert {len(one.calls) for one in cassette.recordings.values()} <= {CALLS[function]}
                calls = [call for recording in found for call in recording.calls]
                # Plain vcrpy reads it too, and the same.
                _, answers, _ = FilesystemPersister.load_cassette(path, yamlserializer)
                read = [answer["body"]["string"] for answer in answers]
                assert sorted(read) == sorted(call.body for call in calls)
                self._checked[path] = data, calls
            yield from self._checked[path][1]

    def _journals(self) -> Iterator[RecordedCall]:
        for path in self.root.glob(f"{FOLDER}/journal-*"):
            for entry in entries(path):
                if "interaction" in entry:
                    yield RecordedCall(entry["interaction"], entry["about"])

    @property
    def unfinished(self) -> list[str]:
        """The modules that have not all answers yet; all of them where every one has."""
        got = Counter(module for module, _ in {self._source(asked) for asked, _ in self.got})
        return [module for module in self.modules if got[module] < QUESTIONS] or self.modules

    @staticmethod
    def _source(asked: str) -> tuple[str, str]:
        """The module that a question comes from, and the question."""
        found = re.search(r"test_\d+", asked)
        assert found is not None
        return found[0], asked

    def is_replacing(self, module: str) -> bool:
        """Whether a cassette of a module is being written just now."""
        return any(self.root.glob(f"{module}/.*.tmp"))

    def check_that_nothing_was_paid_twice(self) -> None:
        """A question was asked again only where its answers before had reached no test."""
        answers = dict(self.got)
        assert answers.keys() == self.served.keys()
        assert set(self.got) == set(answers.items())
        assert answers == {asked: f"({asked}: {times})" for asked, times in self.served.items()}


def said(call: RecordedCall) -> tuple[str, str]:
    """The question and the answer of a recorded call."""
    assert call.status == 200
    return question(call.request.json), json.loads(call.body)["choices"][0]["message"]["content"]


def after(server: OpenAIServer, more: int) -> Callable[[], bool]:
    """Whether the server has got so many more requests than now."""
    last = len(server.requests) + more
    return lambda: len(server.requests) >= last


def wait(run: Run, happens: Callable[[], bool]) -> None:
    """Wait until something happens, or the run has ended."""
    while run.is_running:
        for _ in range(50):
            if happens():
                return
            time.sleep(0.0002)


def test_a_hundred_kills_lose_no_answer_and_pay_for_none_twice(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    dice = random.Random("a hundred kills")
    # So many that there is something left to record until the last kill.
    killed = Killed(project, server, modules=40)
    kills = Counter[str]()
    with Forks(project.path) as forks:
        while kills.total() < KILLS:
            kind = dice.choice(["call", "call", "fold", "fold", "start"])
            # Few trials, so that many runs come to their end, and fold what they have recorded
            # beside what an earlier one has left.
            module = dice.choice(killed.unfinished)
            served = after(server, dice.randint(1, 8))
            run = forks.start(NANO, "-q", f"{module}.py", "-k", dice.choice(["0 or 1", "2"]))
            if kind == "call":
                wait(run, served)
                time.sleep(dice.uniform(0, 0.015))
            elif kind == "fold":
                wait(run, functools.partial(killed.is_replacing, module))
                time.sleep(dice.choice([0, dice.uniform(0, 0.002)]))
            else:
                time.sleep(dice.uniform(0, 0.25))
            run.kill(signal.SIGKILL)
            if run.ended() == -signal.SIGKILL:
                kills[kind] += 1
            killed.check()

        assert min(kills[kind] for kind in ("call", "fold", "start")) >= KILLS // 5
        assert forks.start(NANO, "-q").ended() == 0
        killed.check()
        killed.check_that_nothing_was_paid_twice()
        # No more was paid in vain than what was under way when a run died: three calls at most.
        assert killed.served.total() <= len(killed.served) + 3 * KILLS

        before = killed.got
        server.stop()
        assert forks.start(NANO, "-q").ended() == 0
        assert set(killed.got[len(before) :]) == set(before)
    assert not list((killed.root / FOLDER).glob("journal-*"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 2), (signal.SIGTERM, -signal.SIGTERM)], ids=["INT", "TERM"]
)
def test_a_run_that_is_told_to_stop_loses_nothing(
    project: pytest.Pytester, server: OpenAIServer, number: int, code: int
) -> None:
    dice = random.Random(number)
    killed = Killed(project, server, modules=5)
    with Forks(project.path) as forks:
        for module in killed.modules:
            served = after(server, dice.randint(1, 15))
            run = forks.start(NANO, f"{module}.py")
            wait(run, served)
            time.sleep(dice.uniform(0, 0.01))
            run.kill(number)
            assert run.ended() == code
            assert ("KeyboardInterrupt" in run.output) == (number == signal.SIGINT)
            assert "INTERNALERROR" not in run.output
            # Ctrl-C leaves pytest the time to put its answers into cassettes.
            left = list(killed.root.glob(f"{FOLDER}/journal-*"))
            assert len(left) == (number == signal.SIGTERM)
            killed.check()
        assert forks.start(NANO).ended() == 0
    killed.check()
    killed.check_that_nothing_was_paid_twice()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["KILL", "INT"])
def test_workers_that_die_together_lose_nothing(
    project: pytest.Pytester, server: OpenAIServer, number: int
) -> None:
    dice = random.Random(number)
    killed = Killed(project, server, modules=3)
    workers = (NANO, "-p", "xdist", "-n2")
    with Forks(project.path) as forks:
        for _ in range(3):
            served = after(server, dice.randint(2, 20))
            run = forks.start(*workers)
            wait(run, served)
            time.sleep(dice.uniform(0, 0.01))
            run.kill(number)
            assert run.ended() == (2 if number == signal.SIGINT else -signal.SIGKILL)
            killed.check()
        assert forks.start(*workers).ended() == 0
        killed.check()
        killed.check_that_nothing_was_paid_twice()
        server.stop()
        assert forks.start(NANO).ended() == 0
