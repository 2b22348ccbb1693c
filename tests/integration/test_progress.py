"""Progress on a real terminal: seen while calls are under way, gone afterwards, dots intact."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")

RECORD = ("--tiers=nano,mini,full", "-p", "no:randomly")

TEST = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("text", ["a", "b"])
def test_ask(text):
    assert ask(text) == "OK"
"""


class Screen:
    """A terminal of 80 columns: what is on it, and what has ever been."""

    def __init__(self, awaited: str = "under way") -> None:
        self.awaited = awaited
        self.lines = [""]
        self.ever = ""
        self.has_seen = threading.Event()
        self._row = self._column = 0

    def write(self, text: str) -> None:
        """Do what a terminal does; an escape sequence must come in one piece."""
        self.ever += text
        for part in re.findall(r"\x1b\[[\d;]*[A-Za-z]|.|\n|\r", text, re.DOTALL):
            self._put(part)
        if self.awaited in self.ever:
            self.has_seen.set()

    def _put(self, part: str) -> None:
        line = self.lines[self._row]
        if part == "\n":
            self._row += 1
            self.lines += [""] * (self._row + 1 - len(self.lines))
        elif part == "\r":
            self._column = 0
        elif part == "\x1b[A":
            self._row -= 1
        elif part == "\x1b[K":
            self.lines[self._row] = line[: self._column]
        elif part.startswith("\x1b[") and part.endswith("G"):
            self._column = int(part[2:-1]) - 1
        elif not part.startswith("\x1b"):
            if self._column == 80:
                self._put("\r")
                self._put("\n")
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + part + line[self._column + 1 :]
            self._column += 1


@contextlib.contextmanager
def on_terminal(
    project: pytest.Pytester, *args: str, awaited: str = "under way"
) -> Iterator[tuple[Screen, Any]]:
    """A run whose output is a terminal; the screen ``has_seen`` the text that is awaited."""
    screen = Screen(awaited)
    ours, theirs = pty.openpty()
    seen_by_run = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "pytest", *args]
    run = subprocess.Popen(command, cwd=project.path, stdout=theirs, stderr=theirs, env=seen_by_run)
    os.close(theirs)

    def read() -> None:
        left = b""
        with contextlib.suppress(OSError):  # the other side is closed
            while data := os.read(ours, 65536):
                data = left + data
                whole = re.match(rb"(?s)(.*?)(\x1b[^A-Za-z]*|[\xc0-\xff][\x80-\xbf]*)?\Z", data)
                assert whole is not None
                left = whole.group(2) or b""
                screen.write(whole.group(1).decode())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield screen, run
        assert run.wait(300) == 0
        reader.join(10)
    finally:
        run.kill()
        run.wait()
        screen.has_seen.set()
        reader.join(10)
        os.close(ours)


@pytest.mark.parametrize(
    ("more", "lines"),
    [
        ((), [r"test_it.py \.{6} +\[100%\]"]),
        (("-v",), [r"test_it.py::test_ask\[[ab]-\w+\] PASSED +\[ *\d+%\]"] * 6),
        (("-n2",), [r"\.{6} +\[100%\]"]),
    ],
    ids=["dots", "verbose", "workers"],
)
def test_a_terminal_shows_how_far_a_recording_is(
    project: pytest.Pytester, server: OpenAIServer, more: tuple[str, ...], lines: list[str]
) -> None:
    project.makepyfile(test_it=TEST)
    waiting = threading.Event()
    seen: list[Screen] = []

    def answer(_: dict[str, Any]) -> str:
        assert waiting.wait(30)
        assert seen[0].has_seen.wait(30)
        return "OK"

    server.answer = answer
    with on_terminal(project, *RECORD, *more) as (screen, _):
        seen.append(screen)
        waiting.set()
    drawn = re.search(r"tiers: 0 of 6 trials · \d calls? under way · \$0 spent", screen.ever)
    assert drawn, screen.ever
    assert not any("under way" in line for line in screen.lines)
    found = [line for line in screen.lines if re.fullmatch(lines[0], line.rstrip())]
    assert len(found) == len(lines), screen.lines


STEPS = """
from app import ask

def run(text):
    return write(ask(f"plan {text}"))

def write(text):
    return ask(f"write {text}")
"""

TEST_OF_STEPS = """
import pytest
from steps import run

@pytest.mark.tiers(margin=0.3)
@pytest.mark.parametrize("number", range(10))
def test_run(number):
    assert run(number) == "OK"
"""


def test_a_terminal_shows_how_far_a_search_for_a_mix_is(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    project.makepyfile(steps=STEPS, test_it=TEST_OF_STEPS)
    begun = threading.Event()
    seen: list[Screen] = []

    def answer(body: dict[str, Any]) -> str:
        """nano does not plan well; what it writes from a good plan waits for the line."""
        step, what = body["messages"][0]["content"].split()
        on_nano = body["model"] == "nano-model"
        if step == "plan":
            return "bad" if on_nano else "good"
        if on_nano and what == "good":
            assert begun.wait(30)
            assert seen[0].has_seen.wait(30)
        return "OK" if what == "good" else "no"

    server.answer = answer
    line = r"tiers: mix of test_run, step 2 of at most 2, 1 call · \$[\d.]+ spent"
    arguments = ("--tiers=nano,full", "--tiers-mix", "-p", "no:randomly")
    with on_terminal(project, *arguments, awaited="step 2") as (screen, _):
        seen.append(screen)
        begun.set()
    assert re.search(line, screen.ever), screen.ever
    assert not any("spent" in text and "mix of" in text for text in screen.lines)


@pytest.mark.parametrize("more", ["-q", "-s", "into a pipe"])
def test_nothing_is_drawn_where_somebody_else_writes(project: pytest.Pytester, more: str) -> None:
    project.makepyfile(test_it=TEST)
    if more == "into a pipe":
        out = project.runpytest_subprocess(*RECORD).stdout.str()
    else:
        with on_terminal(project, *RECORD, more) as (screen, _):
            pass
        out = screen.ever
    assert "6 passed" in out
    assert "under way" not in out
    assert "\x1b[A" not in out


def test_a_replay_draws_nothing(project: pytest.Pytester, server: OpenAIServer) -> None:
    project.makepyfile(test_it=TEST)
    project.runpytest(*RECORD).assert_outcomes(passed=6)
    server.stop()
    with on_terminal(project, *RECORD) as (screen, _):
        pass
    assert "\x1b[A" not in screen.ever
