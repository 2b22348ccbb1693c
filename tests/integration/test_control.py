"""Control trials: tests that pass with another case's answers prove nothing. Nobody sees them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pytest_tiers.lock.reading import read
from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-report=out.json")

HEAD = """
import pytest
from app import ask

pytestmark = pytest.mark.tiers
CASES = pytest.mark.parametrize("number", range({cases}))
"""

#: One test that sees a wrong answer and one that does not.
TESTS = (
    HEAD
    + """
@CASES
def test_sees(number):
    assert ask(f"question {{number}}") == f"answer {{number}}"

@CASES
def test_is_blind(number):
    assert ask(f"blind question {{number}}")
"""
)


BLIND = """
@CASES
def test_is_blind(number):
    assert ask(f"blind question {number}")
"""

WITH_JUDGE = """
import pytest_tiers

@CASES
def test_it(number):
    answer = ask(f"first {number}")
    with pytest_tiers.as_is():
        assert ask(f"good? {answer}")
    assert answer == f"answer {number}"
"""


def answers(request: dict[str, Any]) -> str:
    """The answer that belongs to the question."""
    return f"answer {request['messages'][-1]['content'].split()[-1]}"


@pytest.fixture(autouse=True)
def _honest(server: OpenAIServer) -> None:
    server.answer = answers


def recorded(project: pytest.Pytester, server: OpenAIServer, test: str, *args: str) -> None:
    """A project with this test, all of whose answers are recorded, and no server any more."""
    project.makepyfile(test_it=test)
    project.runpytest("--tiers=nano,full", *args)
    server.stop()


def control_of(report: dict[str, Any], test: str = "") -> Any:
    (prompt,) = [prompt for prompt in report["prompts"] if prompt["id"].endswith(test)]
    return prompt["control"]


def verdict_of(report: dict[str, Any], test: str = "") -> str:
    (prompt,) = [prompt for prompt in report["prompts"] if prompt["id"].endswith(test)]
    return str(prompt["comparisons"]["nano"]["verdict"])


def test_a_blind_prompt_is_not_safe_and_one_that_sees_is(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(test_it=TESTS.format(cases=44))
    result = project.runpytest(*COMPARE)
    assert result.parseoutcomes() == {"passed": 176}
    first = report()

    server.stop()
    alone = project.runpytest(*COMPARE, "--tiers-report=out.html")
    replayed = report()
    assert control_of(replayed, "test_sees") == {"tried": 8, "passed": 0, "blind": False}
    assert control_of(replayed, "test_is_blind") == {"tried": 8, "passed": 8, "blind": True}
    assert verdict_of(replayed, "test_sees") == "safe"
    assert verdict_of(replayed, "test_is_blind") == "blind"
    # The run that recorded the answers has tried them, too.
    for name in ("test_sees", "test_is_blind"):
        assert control_of(first, name) == control_of(replayed, name)
        assert verdict_of(first, name) == verdict_of(replayed, name)
    assert alone.parseoutcomes() == {"passed": 176}
    text = " ".join(alone.stdout.str().split())
    blind = "test_is_blind: its tests pass 8 of 8 times with another answer than the case's own"
    assert blind in text
    assert text.index(blind) < text.index("passes your tests at most")
    assert "1. Make the tests of test_is_blind see a wrong answer" in text
    assert "Not checked" not in text
    assert '<span class="verdict blind">blind</span>' in (project.path / "out.html").read_text()

    workers = project.runpytest(*COMPARE, "-n2")
    assert workers.parseoutcomes() == {"passed": 176}
    assert report()["prompts"] == replayed["prompts"]


LOCK = ("--tiers=nano,full", "--tiers-update-lock", "--tiers-report=out.json")


@pytest.mark.parametrize("args", [(), ("--tiers-record=all",), ("-n2",)])
def test_a_run_that_records_locks_no_blind_prompt(
    project: pytest.Pytester, report: Report, args: tuple[str, ...]
) -> None:
    project.makepyfile(test_it=HEAD.format(cases=8).replace("tiers", "tiers(margin=0.5)") + BLIND)
    assert project.runpytest(*LOCK, *args).parseoutcomes() == {"passed": 16}
    assert verdict_of(report()) == "blind"
    assert control_of(report())["blind"]
    assert not read(project.path / "tiers.lock").prompts


def test_what_only_a_replay_can_check_is_not_locked_before(
    project: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here a judge answers the trials, too: what it said of them stands in no cassette yet."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-judge")
    head = HEAD.format(cases=8).replace("tiers", "tiers(margin=0.5)")
    project.makepyfile(test_it=head + WITH_JUDGE)
    text = " ".join(project.runpytest(*LOCK).stdout.str().split())
    assert verdict_of(report()) == "safe"
    assert "Not checked whether these tests can fail: test_it." in text
    assert (
        "test_it: nano is not locked on this evidence yet: whether the tests can fail is checked "
        "in a replay. Run --tiers-update-lock again, which costs nothing."
    ) in text
    assert not read(project.path / "tiers.lock").prompts
    project.runpytest(*LOCK)
    assert [entry.tier for entry in read(project.path / "tiers.lock").prompts.values()] == ["nano"]


def test_nobody_sees_the_control_trials(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    """They fail here, print, warn, and use fixtures of every scope."""
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def shared(request):
            made = []
            yield made
            print("TORN DOWN", len(made), "of", request.scope)

        @pytest.fixture(scope="module", params=["a", "b"])
        def module_wide(request, shared):
            shared.append(request.param)
            return request.param
        """
    )
    recorded(
        project,
        server,
        HEAD.format(cases=3)
        + """
import warnings

@CASES
def test_sees(number, module_wide, record_property, tmp_path, caplog):
    print("PRINTED", number)
    warnings.warn("WARNED")
    record_property("number", number)
    (tmp_path / "file").touch(exist_ok=False)
    assert ask(f"question {number} {module_wide}") == f"answer {module_wide}"
    assert number != 2, "a real miss"
""",
        "-W",
        "always",
    )
    args = (*COMPARE, "-rA", "--junitxml=out.xml", "-W", "always", "-s", "-vv", "--durations=0")
    plain = project.runpytest(*args, "--tiers-control=off")
    xml = _without_times((project.path / "out.xml").read_text())
    without = report()
    controlled = project.runpytest(*args)
    assert control_of(report()) == {"tried": 4, "passed": 0, "blind": False}
    assert _seen(controlled) == _seen(plain)
    assert _without_times((project.path / "out.xml").read_text()) == xml
    assert "TORN DOWN 2 of session" in controlled.stdout.str()
    without["prompts"][0]["control"] = control_of(report())
    assert without["prompts"] == report()["prompts"]
    trials = [{**each, "controls": []} for each in report()["trials"]]
    assert without["trials"] == trials
    assert not list(project.path.rglob("lastfailed"))


def _without_times(text: str) -> str:
    """The text without what differs from run to run."""
    return re.sub(r"\d+\.\d+s?|timestamp=\"[^\"]*\"|pytest-\d+", "", text)


def _seen(result: pytest.RunResult) -> str:
    """What the terminal shows, without the list of durations."""
    text, _, after = result.stdout.str().partition("slowest durations")
    return _without_times(text + after.partition("= tiers =")[2])


def test_a_failing_control_starts_no_debugger_and_stops_no_run(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    recorded(project, server, TESTS.format(cases=3), "-k", "sees")
    result = project.runpytest(*COMPARE, "-k", "sees", "-x", "--pdb", "--maxfail=1")
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 6, "deselected": 6}
    assert control_of(report()) == {"tried": 3, "passed": 0, "blind": False}


@pytest.mark.parametrize(
    ("test", "control"),
    [
        pytest.param(
            """
@CASES
def test_it(number):
    assert ask(f"first {number}") == f"answer {number}"
    assert ask(f"then {number}") == f"answer {number}"
""",
            {"tried": 3, "passed": 0, "blind": False},
            id="several-calls",
        ),
        pytest.param(
            """
@CASES
def test_it(number):
    first = ask(f"first {number}")
    assert ask(f"{first} and {number}").startswith("answer")
""",
            {"tried": 3, "passed": 3, "blind": True},
            id="quotes-the-answer",
        ),
        pytest.param(
            """
@CASES
def test_it(number):
    for turn in range(number + 1):
        assert ask(f"{turn} of {number}").startswith("answer")
""",
            {"tried": 2, "passed": 2, "blind": True},
            id="more-calls-than-most",
        ),
        pytest.param(
            """
@CASES
def test_it(number, subtests):
    with subtests.test():
        assert ask(f"first {number}")
""",
            None,
            id="subtests",
        ),
        pytest.param(
            """
import pytest_tiers

@CASES
def test_it(number):
    answer = ask(f"first {number}")
    with pytest_tiers.as_is():
        assert ask(f"good? {answer}")
""",
            None,
            id="judge",
        ),
        pytest.param(
            """
@pytest.mark.tiers(control=False)
@CASES
def test_it(number):
    assert ask(f"first {number}")
""",
            None,
            id="opted-out",
        ),
        pytest.param(
            """
@CASES
def test_it(number):
    assert ask("the same 1")
""",
            {"tried": 6, "passed": 3, "blind": False},
            id="all-answers-alike",
        ),
        pytest.param(
            """
def test_it():
    assert ask("one 1")
""",
            None,
            id="one-case",
        ),
        pytest.param(
            """
@CASES
def test_it(number, tier):
    tier.compare(ask(f"first {number}"))
""",
            {"tried": 3, "passed": 0, "blind": False},
            id="compare",
        ),
        pytest.param(
            """
@CASES
def test_it(number, tier):
    tier.score(0.9 if ask(f"first {number}") == f"answer {number}" else 0.4)
""",
            {"tried": 3, "passed": 0, "blind": False},
            id="score",
        ),
        pytest.param(
            """
@CASES
def test_it(number):
    if ask(f"first {number}") != f"answer {number}":
        pytest.skip("cannot tell")
""",
            None,
            id="skipped",
        ),
        pytest.param(
            """
@CASES
def test_it(number):
    assert ask(f"first {number}") == "answer 1"
""",
            {"tried": 1, "passed": 0, "blind": False},
            id="only-what-passes-itself",
        ),
        pytest.param(
            """
import pytest

@pytest.fixture
def answer(number):
    answer = ask(f"first {number}")
    assert answer == f"answer {number}"
    return answer

@CASES
def test_it(answer):
    pass
""",
            {"tried": 3, "passed": 0, "blind": False},
            id="asked-in-a-fixture",
        ),
    ],
)
def test_what_a_control_says(
    project: pytest.Pytester, server: OpenAIServer, report: Report, test: str, control: Any
) -> None:
    recorded(project, server, HEAD.format(cases=3) + test)
    project.runpytest(*COMPARE)
    assert control_of(report()) == control


ASYNC_STREAM = """
import pytest
from openai import AsyncOpenAI

@pytest.mark.tiers
@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(3))
class TestStreams:
    async def test_it(self, number):
        self.parts = getattr(self, "parts", [])
        client = AsyncOpenAI()
        stream = await client.chat.completions.create(
            model="gpt-5.4", messages=[{"role": "user", "content": f"q {number}"}], stream=True
        )
        async for chunk in stream:
            if chunk.choices:
                self.parts.append(chunk.choices[0].delta.content or "")
        await client.close()
        assert "".join(self.parts) == f"answer {number}"
"""


def test_async_methods_that_stream(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    recorded(project, server, ASYNC_STREAM)
    assert project.runpytest(*COMPARE).parseoutcomes() == {"passed": 6}
    assert control_of(report()) == {"tried": 3, "passed": 0, "blind": False}


@pytest.mark.parametrize(
    ("assertion", "passed"),
    [("True", 2), ("ask('one 1') == ''", 0), ("'answer' in ask('one 1')", 0)],
)
def test_a_single_case_gets_nothing_and_a_refusal_where_that_is_asked_for(
    project: pytest.Pytester, server: OpenAIServer, report: Report, assertion: str, passed: int
) -> None:
    test = HEAD.format(cases=1) + f"\ndef test_it():\n    ask('two 2')\n    assert {assertion}\n"
    recorded(project, server, test)
    project.runpytest(*COMPARE, "--tiers-control=on")
    flagship_passes = assertion != "ask('one 1') == ''"
    expected = {"tried": 2, "passed": passed, "blind": passed == 2} if flagship_passes else None
    assert control_of(report()) == expected
    assert verdict_of(report()) == (
        "blind" if passed == 2 else "inconclusive" if flagship_passes else "flagship-fails"
    )


@pytest.mark.parametrize(("says", "blind"), [("OK", False), ("", True)])
def test_cases_that_are_all_answered_alike_get_nothing_and_a_refusal(
    project: pytest.Pytester, server: OpenAIServer, report: Report, says: str, blind: bool
) -> None:
    server.answer = lambda _: Reply("OK")
    test = (
        HEAD.format(cases=3)
        + f"""
@CASES
def test_it(number):
    assert ask(f"question {{number}}").startswith("{says}")
"""
    )
    recorded(project, server, test)
    project.runpytest(*COMPARE)
    assert control_of(report()) == {"tried": 6, "passed": 6 if blind else 0, "blind": blind}


def test_on_tries_all_cases_and_off_none(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    recorded(project, server, TESTS.format(cases=12), "-k", "blind")
    project.runpytest(*COMPARE, "-k", "blind", "--tiers-control=on")
    assert control_of(report()) == {"tried": 12, "passed": 12, "blind": True}
    assert report()["settings"]["control"] == "on"
    project.runpytest(*COMPARE, "-k", "blind", "--tiers-control=off")
    assert control_of(report()) is None


def test_one_tier_alone_needs_no_control(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    recorded(project, server, TESTS.format(cases=3))
    project.runpytest("--tiers=full", "--tiers-report=out.json").assert_outcomes(passed=6)
    assert control_of(report(), "test_is_blind") is None


def test_refusals_and_broken_recordings_answer_nobody(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = lambda request: (
        Reply(status=400) if "question 1" in str(request) else answers(request)
    )
    recorded(project, server, TESTS.format(cases=2), "-k", "sees")
    project.runpytest(*COMPARE, "-k", "sees", "--tiers-control=on")
    assert control_of(report()) == {"tried": 2, "passed": 0, "blind": False}
    for cassette in project.path.rglob("*full*.yaml"):
        cassette.write_text("{")
    project.runpytest(*COMPARE, "-k", "sees")
    assert control_of(report()) is None


def test_an_unknown_mode_is_a_usage_error(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=TESTS.format(cases=1))
    result = project.runpytest(*COMPARE, "--tiers-control=maybe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*--tiers-control: unknown mode "maybe". Valid modes: auto, on*'])
