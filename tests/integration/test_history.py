"""Evidence counts on from run to run, and answers that were thrown away are noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

#: Enough for "safe" at this margin where none is missed, and too few where one is.
CASES, MARGIN = 12, "0.3"

TEST = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("n", range({cases}), ids="c{{}}".format)
def test_ask(n):
    assert ask(f"{question} {{n}}.") == "OK"
"""


class Project:
    """A prompt whose candidate misses what ``misses`` says, until somebody asks again."""

    def __init__(self, project: pytest.Pytester, server: OpenAIServer, report: Report) -> None:
        self._project, self._server, self._report = project, server, report
        self.misses: set[tuple[str, str]] = set()
        server.answer = self._answer
        self.write()

    def _answer(self, request: dict[str, Any]) -> str:
        number = request["messages"][0]["content"].split()[-1].rstrip(".")
        asked = (request["model"].removesuffix("-model"), number)
        return "no" if asked in self.misses else "OK"

    def write(self, cases: int = CASES, question: str = "Say OK to") -> None:
        self._project.makepyfile(test_it=TEST.format(cases=cases, question=question))

    def run(self, *args: str, tiers: str = "nano,full") -> pytest.RunResult:
        return self._project.runpytest(
            f"--tiers={tiers}", f"--tiers-margin={MARGIN}", "--tiers-report=out.json", *args
        )

    def again(self, *args: str, **more: Any) -> pytest.RunResult:
        """Record anew, and let all that is asked pass."""
        self.misses = set()
        return self.run("--tiers-record=all", *args, **more)

    def verdict(self) -> tuple[str, list[str]]:
        """What the last run found, and which tiers' recordings were made anew in part."""
        found = self._report()["prompts"][0]["comparisons"]["nano"]
        return found["verdict"], found["made_anew"]

    def replayed(self) -> tuple[str, list[str]]:
        """The same, of a run that calls nothing."""
        self.run("--tiers-record=none", "-p", "tests.no_network")
        return self.verdict()

    def cassette(self, tier: str = "nano") -> Path:
        return self._project.path / "cassettes" / "test_it" / f"test_ask[{tier}].yaml"

    def generations(self, tier: str = "nano") -> list[int]:
        trials = yaml.safe_load(self.cassette(tier).read_text())["metadata"]["trials"]
        return [trial.get("generation", 0) for trial in trials]


@pytest.fixture
def prompt(project: pytest.Pytester, server: OpenAIServer, report: Report) -> Project:
    return Project(project, server, report)


def test_asking_again_what_missed_gives_no_verdict_until_all_is_asked_again(
    prompt: Project,
) -> None:
    prompt.misses = {("nano", "3")}
    prompt.run()
    assert prompt.verdict() == ("inconclusive", [])
    # It passes now, as it may by chance. All pass: without the first answer, that is "safe".
    prompt.again("-k", "c3-nano")
    assert prompt.generations().count(1) == 1
    result = prompt.run()
    assert prompt.verdict() == ("inconclusive", ["nano"])
    assert (
        "nano for test_ask: no verdict, because only some answers of nano were recorded again, "
        "when their outcome was known; record all of this prompt's again together, with "
        "--tiers=nano --tiers-record=all" in " ".join(" ".join(result.outlines).split())
    )
    assert prompt.replayed() == ("inconclusive", ["nano"])
    prompt.again(tiers="nano")  # none of the answers changes
    assert set(prompt.generations()) == {1}
    result = prompt.run()
    assert prompt.verdict() == ("safe", [])
    assert (
        "(95% confidence); earlier answers were thrown away, and each further try adds up to 5%"
        in " ".join(" ".join(result.outlines).split())
    )


def test_the_flagship_too(prompt: Project) -> None:
    prompt.misses = {("full", "3")}
    prompt.run()
    prompt.again("-k", "c3-full")
    assert prompt.replayed() == ("inconclusive", ["full"])


def test_one_after_the_other_is_all_in_the_end(prompt: Project) -> None:
    prompt.misses = {("nano", str(n)) for n in range(CASES)}
    prompt.run()
    prompt.again("-k", "c1 and nano")
    assert prompt.replayed() == ("inconclusive", ["nano"])
    prompt.again("-k", "not c1 and nano")
    assert set(prompt.generations()) == {1}
    assert prompt.replayed() == ("safe", [])


def test_the_same_answer_again_discards_nothing(prompt: Project) -> None:
    prompt.run()
    before = prompt.cassette().read_bytes()
    prompt.again("-k", "c3-nano")
    assert prompt.cassette().read_bytes() == before
    assert prompt.replayed() == ("safe", [])


def test_what_is_added_later_counts_with_the_rest(prompt: Project) -> None:
    prompt.write(cases=8)
    prompt.misses = {("nano", "3")}
    prompt.run()
    prompt.again(tiers="nano")
    prompt.write()
    prompt.run()
    assert set(prompt.generations()) == {1}
    assert prompt.verdict() == ("safe", [])
    prompt.run("--tiers-samples=2")
    assert prompt.verdict() == ("safe", [])
    # What was added is no free try either.
    prompt.misses = {("nano", "10")}
    prompt.run("--tiers-record=all", "-k", "c10-nano")
    assert prompt.replayed()[1] == ["nano"]


def test_a_changed_request_starts_afresh(prompt: Project) -> None:
    prompt.misses = {("nano", "3")}
    prompt.run()
    prompt.again("-k", "c3-nano")
    prompt.write(question="Please say OK to")
    prompt.run("--tiers-record=new_episodes")
    assert set(prompt.generations()) == {0}
    assert prompt.verdict() == ("safe", [])


def test_workers_agree(prompt: Project) -> None:
    prompt.misses = {("nano", "3")}
    prompt.run()
    prompt.again("-n2", "-k", "c3 or c4")
    assert prompt.generations().count(1) == 2
    prompt.run("-n2")
    assert prompt.verdict() == ("inconclusive", ["nano"])


def test_an_answer_that_never_came_may_be_asked_for_again(
    prompt: Project, server: OpenAIServer
) -> None:
    answer = server.answer
    server.answer = lambda request: Reply(status=401) if "3." in str(request) else "OK"
    prompt.run()
    assert prompt.verdict()[0] == "inconclusive"
    server.answer = answer
    prompt.run()
    assert set(prompt.generations()) == {0}
    assert prompt.verdict() == ("safe", [])


def test_a_renamed_case_keeps_its_history(prompt: Project, project: pytest.Pytester) -> None:
    prompt.misses = {("nano", "3")}
    prompt.run()
    prompt.again("-k", "c3-nano")
    test = project.path / "test_it.py"
    test.write_text(test.read_text().replace('"c{}"', '"case {}"'))
    prompt.run()
    assert prompt.generations().count(1) == 1
    assert prompt.verdict() == ("inconclusive", ["nano"])


def test_tests_of_one_prompt_stand_together(prompt: Project, project: pytest.Pytester) -> None:
    """What no cassette shows by itself: only one of the prompt's tests was recorded again."""
    joined = """

        @pytest.mark.tiers(prompt="both")
        @pytest.mark.parametrize("n", range(6))
        def test_{}(n):
            assert ask(f"{} {{n}}.") == "OK"
    """
    project.makepyfile(
        test_it="import pytest\nfrom app import ask\n"
        + "".join(dedent(joined.format(name, name)) for name in ("one", "two"))
    )
    prompt.misses = {("nano", "3")}
    prompt.run()
    # A second later: times are recorded to the second.
    for tier in ("nano", "full"):
        path = prompt.cassette(tier).with_name(f"test_two[{tier}].yaml")
        path.write_text(re.sub(r"recorded_at: '20..", "recorded_at: '2020", path.read_text()))
    prompt.again("-k", "one and nano")
    assert prompt.replayed() == ("inconclusive", ["nano"])
    prompt.again(tiers="nano")
    assert prompt.replayed() == ("safe", [])
