"""Folders that take nothing, and one folder for two runs at once: nothing lost, nothing torn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.cassettes import format
from tests.forks import Forks, Run
from tests.integration.one_test import outcomes
from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

TESTS = """
import os, pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("case", [{cases}])
def test_ask(case):
    assert ask(f"case {{case}}")
    if case == {killed_after!r}:
        os.kill(os.getpid(), 9)
"""

#: A conftest that takes from root the privilege to write wherever it likes (CAP_DAC_OVERRIDE).
AS_ANYBODY = """
import ctypes
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
sets = (ctypes.c_uint32 * 6)()
libc = ctypes.CDLL(None)
assert libc.capget(header, sets) == 0
sets[0] &= ~2
assert libc.capset(header, sets) == 0
"""

NANO = ("--tiers=nano", "--tiers-report=out.json")


def module(*cases: str, killed_after: str = "") -> str:
    return TESTS.format(cases=", ".join(map(repr, cases)), killed_after=killed_after)


def asked(server: OpenAIServer) -> list[str]:
    """What the server was asked, in order."""
    return [got.json["messages"][0]["content"] for got in server.requests]


def journals(project: pytest.Pytester) -> list[Path]:
    return [*(project.path / "cassettes" / ".pytest-tiers").glob("journal-*")]


class Folder:
    """The cassettes of a project whose runs heed what may be done with them."""

    def __init__(self, project: pytest.Pytester) -> None:
        self.root = project.path / "cassettes"
        project.makeconftest(AS_ANYBODY)

    def may_be(self, read_only: bool) -> None:
        for path in (self.root, *self.root.rglob("*")):
            path.chmod((0o555 if path.is_dir() else 0o444) | (0 if read_only else 0o200))


@pytest.fixture
def folder(project: pytest.Pytester) -> Iterator[Folder]:
    if sys.platform != "linux":
        pytest.skip("root's privileges are dropped in Linux's way")
    made = Folder(project)
    yield made
    made.may_be(read_only=False)


@pytest.fixture
def forks(project: pytest.Pytester) -> Iterator[Forks]:
    with Forks(project.path) as forking:
        yield forking


def said(run: Run, code: int = 0) -> str:
    """What a run printed, in one line, once it has ended with ``code``."""
    assert run.ended() == code, run.output
    return " ".join(run.output.split())


def test_a_folder_that_may_only_be_read_stops_calls_before_they_are_paid_for(
    project: pytest.Pytester, server: OpenAIServer, report: Report, folder: Folder, forks: Forks
) -> None:
    project.makepyfile(test_it=module("one"))
    assert "1 passed" in said(forks.start(*NANO))
    project.makepyfile(test_it=module("one", "two", "three", killed_after="two"))
    assert forks.start(*NANO).ended() == -9
    project.makepyfile(test_it=module("one", "two", "three"))
    assert len(journals(project)) == 1
    paid = ["case one", "case two"]
    assert asked(server) == paid

    folder.may_be(read_only=True)
    told = said(forks.start(*NANO), code=1)
    assert outcomes(report()) == ["passed", "error", "error"]
    assert f"answers cannot be saved under {folder.root}: " in told
    assert "Permission denied" in told
    assert "Make room or fix the folder's permissions, then run again." in told
    assert "New answers are kept in" in told  # those of the run that was killed
    assert asked(server) == paid
    assert "1 passed" in said(forks.start(*NANO, "-k", "one", "-p", "tests.no_network"))

    folder.may_be(read_only=False)
    assert "3 passed" in said(forks.start(*NANO))
    assert asked(server) == [*paid, "case three"]
    assert journals(project) == []


def test_a_cassette_that_may_not_be_replaced_any_more_leaves_the_answers_in_the_journal(
    project: pytest.Pytester, server: OpenAIServer, folder: Folder, forks: Forks
) -> None:
    project.makepyfile(test_it=module("one"))
    assert "1 passed" in said(forks.start(*NANO))
    cassette = folder.root / "test_it" / "test_ask[nano].yaml"
    before = cassette.read_bytes()
    project.makepyfile(test_it=module("one", "two"))
    cassette.parent.chmod(0o555)
    told = said(forks.start(*NANO))
    assert "2 passed" in told
    assert "Permission denied" in told
    assert f"New answers are kept in {folder.root / '.pytest-tiers'}" in told
    assert cassette.read_bytes() == before
    folder.may_be(read_only=False)
    assert "2 passed" in said(forks.start(*NANO))
    assert asked(server) == ["case one", "case two"]
    assert "2 passed" in said(forks.start(*NANO, "-p", "tests.no_network"))


def test_two_runs_that_record_at_once_into_one_cassette_lose_nothing(
    project: pytest.Pytester, server: OpenAIServer, forks: Forks
) -> None:
    together = threading.Barrier(2)
    arrived = threading.local()

    def answer(request: dict[str, Any]) -> str:
        if not hasattr(arrived, "before"):  # one connection is one thread is one run
            arrived.before = True
            together.wait(30)
        return f"about {request['messages'][0]['content']}"

    server.answer = answer
    project.makepyfile(test_it=module("a", "b", "c", "d", "e"))
    runs = [
        forks.start("--tiers=nano", "-k", " or ".join(f"{case}-nano" for case in cases))
        for cases in ("abc", "cde")
    ]
    assert [run.ended() for run in runs] == [0, 0]
    assert len(server.requests) == 6
    assert journals(project) == []
    (path,) = (project.path / "cassettes").rglob("*.yaml")
    assert [case for case, _ in format.load(path).recordings] == list("abcde")
    server.stop()
    assert "5 passed" in said(forks.start("--tiers=nano"))
