"""tiers.lock from a comparison to the everyday run, in whole projects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.lock.reading import read
from pytest_tiers.records import LockEntry
from tests.openai_server import OpenAIServer

#: Eight cases prove a margin of 0.5.
TESTS = """
import pytest
from app import ask

@pytest.mark.tiers(margin=0.5)
@pytest.mark.parametrize("number", range(8), ids="case-{}".format)
def test_ask(number):
    assert ask(f"question {number}") == "OK"
"""
PROMPT = "test_it.py::test_ask"
UPDATE = ("--tiers=nano,mini,full", "--tiers-update-lock")

Answer = Callable[[Mapping[str, Any]], str]


def wrong(*questions: str, model: str = "") -> Answer:
    """A server that answers these questions wrongly, on one model or on all."""

    def answer(request: Mapping[str, Any]) -> str:
        asked = str(request["messages"])
        is_wrong = model in request["model"] and any(one in asked for one in questions)
        return "No" if is_wrong else "OK"

    return answer


@pytest.fixture
def suite(project: pytest.Pytester) -> pytest.Pytester:
    project.makepyfile(test_it=TESTS)
    return project


@pytest.fixture
def locked(suite: pytest.Pytester) -> Callable[[], Mapping[str, LockEntry]]:
    """Reads the project's lock file."""
    return lambda: read(Path(suite.path, "tiers.lock")).prompts


def text_of(result: pytest.RunResult) -> str:
    """The output with line breaks as blanks."""
    return re.sub(r"\s+", " ", result.stdout.str())


def test_what_is_safe_is_locked_and_runs_every_day(
    suite: pytest.Pytester, server: OpenAIServer, locked: Callable[[], Mapping[str, LockEntry]],
    report: Callable[[], dict[str, Any]],
) -> None:  # fmt: skip
    result = suite.runpytest(*UPDATE, "--tiers-report=out.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["test_ask: full -> nano, safe (at most * worse, 8 cases), saves*"])
    result.stdout.fnmatch_lines(["tiers.lock: 1 entry written, 1 prompt locked."])
    entry = locked()[PROMPT]
    assert (entry.tier, entry.model, entry.replaces, entry.replaces_model) == (
        "nano",
        "nano-model",
        "full",
        "full-model",
    )
    assert (entry.verdict, entry.cases, entry.samples, entry.pass_rate) == ("safe", 8, 1, 1.0)
    assert entry.usd_per_1000 is not None
    assert entry.replaces_usd_per_1000 is not None
    assert entry.usd_per_1000 < entry.replaces_usd_per_1000
    shown = report()["prompts"][0]["locked"]
    assert (shown["tier"], shown["usd_per_1000"]) == ("nano", str(entry.usd_per_1000))

    server.stop()
    everyday = suite.runpytest("-v", "--tiers-report=out.json")
    everyday.assert_outcomes(passed=8)
    everyday.stdout.fnmatch_lines(["test_it.py::test_ask[[]case-0-nano] PASSED*"])
    everyday.stdout.fnmatch_lines(["8 trials on nano: 8 passed; replayed $*, spent $0"])
    assert report()["prompts"][0]["locked"]["tier"] == "nano"
    assert "tiers.lock: " not in everyday.stdout.str()


def test_a_second_update_changes_nothing(suite: pytest.Pytester) -> None:
    suite.runpytest(*UPDATE)
    lock = Path(suite.path, "tiers.lock")
    lock.write_text("# Read by Ada.\n" + re.sub("date = .*", "date = 2020-01-01", lock.read_text()))
    before = lock.read_text()
    suite.runpytest(*UPDATE).stdout.fnmatch_lines(["tiers.lock: nothing changed, 1 prompt locked."])
    assert lock.read_text() == before


def test_a_known_miss_is_excused_in_replay_and_a_new_one_is_not(
    suite: pytest.Pytester, server: OpenAIServer, locked: Callable[[], Mapping[str, LockEntry]]
) -> None:
    server.answer = wrong("question 3")
    suite.makepyfile(test_it=TESTS.replace("range(8)", "range(14)"))
    suite.runpytest(*UPDATE)
    assert locked()[PROMPT].known_misses == {"case-3": (1,)}
    everyday = suite.runpytest("-rA")
    everyday.stdout.fnmatch_lines(["*= 13 passed, 1 missed in *"])
    assert everyday.ret == 0

    server.answer = wrong("question 3", "question 5")
    recorded = suite.runpytest("--tiers-record=all")
    assert recorded.parseoutcomes() == {"passed": 12, "missed": 2}
    assert recorded.ret == 0
    replayed = suite.runpytest()
    replayed.stdout.fnmatch_lines(["FAILED test_it.py::test_ask[[]case-5-nano] - *"])
    replayed.stdout.fnmatch_lines(["*= 1 failed, 12 passed, 1 missed in *"])


def test_a_new_case_that_is_missed_fails(suite: pytest.Pytester, server: OpenAIServer) -> None:
    suite.runpytest(*UPDATE)
    suite.makepyfile(test_it=TESTS.replace("range(8)", "range(9)"))
    server.answer = wrong("question 8")
    suite.runpytest("--tiers-record=once").assert_outcomes(passed=8, failed=1)
    suite.runpytest().assert_outcomes(passed=8, failed=1)


@pytest.mark.parametrize("change", ["prompt", "model"])
def test_a_changed_request_of_a_locked_prompt_fails_with_the_remedy(
    suite: pytest.Pytester, change: str
) -> None:
    suite.runpytest(*UPDATE)
    file, old, new = {
        "prompt": (suite.path / "app.py", '"content": text', '"content": "Please: " + text'),
        "model": (suite.path / "pyproject.toml", "nano-model", "nano-model-2"),
    }[change]
    file.write_text(file.read_text().replace(old, new))
    result = suite.runpytest()
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines(
        [
            "*the recording of test_it.py::test_ask[[]case-0] on nano has no answer*",
            'Record it again with pytest "test_it.py::test_ask" --tiers=nano *new_episodes',
        ]
    )


def test_a_dearer_tier_is_never_taken_unasked(suite: pytest.Pytester, server: OpenAIServer) -> None:
    suite.runpytest(*UPDATE)
    before = Path(suite.path, "tiers.lock").read_text()
    server.answer = wrong("question", model="nano")
    result = suite.runpytest(*UPDATE, "--tiers-record=all")
    assert "nano stays locked: mini is safe and not known to be cheaper" in text_of(result)
    only_mini = suite.runpytest("--tiers=mini,full", "--tiers-update-lock")
    assert "nano stays locked: mini is safe and not known to be cheaper" in text_of(only_mini)
    assert Path(suite.path, "tiers.lock").read_text() == before


def test_a_locked_tier_that_is_not_safe_anew_stays_and_that_is_said(
    suite: pytest.Pytester, server: OpenAIServer
) -> None:
    suite.runpytest(*UPDATE)
    before = Path(suite.path, "tiers.lock").read_text()
    server.answer = wrong("question", model="nano")
    args = ("--tiers=nano,full", "--tiers-update-lock", "--tiers-record=all")
    shown = text_of(suite.runpytest(*args))
    assert "nano stays locked on its old evidence: this run says worse." in shown
    assert Path(suite.path, "tiers.lock").read_text() == before


def test_a_cheaper_tier_takes_over(
    suite: pytest.Pytester, locked: Callable[[], Mapping[str, LockEntry]]
) -> None:
    suite.runpytest("--tiers=mini,full", "--tiers-update-lock")
    assert locked()[PROMPT].tier == "mini"
    result = suite.runpytest(*UPDATE)
    result.stdout.fnmatch_lines(["test_ask: mini -> nano, safe *"])
    assert locked()[PROMPT].tier == "nano"


def test_new_cases_renew_the_evidence(
    suite: pytest.Pytester, locked: Callable[[], Mapping[str, LockEntry]]
) -> None:
    suite.runpytest(*UPDATE)
    suite.makepyfile(test_it=TESTS.replace("range(8)", "range(10)"))
    result = suite.runpytest(*UPDATE)
    result.stdout.fnmatch_lines(["test_ask: nano has new evidence: safe (at most *, 10 cases)*"])
    assert locked()[PROMPT].cases == 10


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("-k", "not case-7"), "the comparison is incomplete (1 case did not run)"),
        (("--tiers-max-calls=21",), "the comparison is incomplete (1 trial missing)"),
        (("--maxfail=1",), ""),
    ],
)
def test_an_incomplete_comparison_locks_nothing(
    suite: pytest.Pytester, args: tuple[str, ...], why: str
) -> None:
    (suite.path / "test_zz.py").write_text("def test_fails(): assert False\n")
    result = suite.runpytest(*UPDATE, *args)
    assert why in text_of(result) or "did not come to its end" in text_of(result)
    assert PROMPT not in read(Path(suite.path, "tiers.lock")).prompts
    if args == ("--maxfail=1",):
        assert "tiers.lock is left as it is: the run did not come to its end" in text_of(result)


def test_a_skipped_case_is_no_gap(
    suite: pytest.Pytester, locked: Callable[[], Mapping[str, LockEntry]]
) -> None:
    test = TESTS.replace("    assert", "    if number == 7: pytest.skip()\n    assert")
    suite.makepyfile(test_it=test)
    suite.runpytest(*UPDATE)
    assert locked()[PROMPT].cases == 7


def test_a_selection_locks_only_what_holds_among_all_locked_prompts(
    suite: pytest.Pytester, locked: Callable[[], Mapping[str, LockEntry]]
) -> None:
    # 5 cases prove the margin for one prompt alone, not for one among four without evidence.
    suite.makepyfile(test_it=TESTS.replace("range(8)", "range(5)"))
    for name in ("b", "c", "d", "e"):
        text = TESTS.replace("test_ask", f"test_{name}").replace("range(8)", "range(5)")
        (suite.path / f"test_{name}.py").write_text(text)
    alone = suite.runpytest("test_it.py", "--tiers=nano,full", "--tiers-update-lock")
    alone.stdout.fnmatch_lines(["test_ask: full -> nano, safe *"])
    lock = Path(suite.path, "tiers.lock")
    text = lock.read_text().replace("test_it.py::test_ask", "gone.py::test_{}")
    text = re.sub("log_evidence = .*", "log_evidence = 0.0", text)
    head, entry = text.split("\n\n", 1)
    lock.write_text("\n\n".join([head, *(entry.replace("{}", name) for name in "wxyz")]))
    result = suite.runpytest("test_it.py", "--tiers=nano,full", "--tiers-update-lock")
    assert "nano is safe for this selection, not among all locked prompts" in text_of(result)
    assert PROMPT not in locked()


def test_workers_change_nothing(suite: pytest.Pytester, server: OpenAIServer) -> None:
    server.answer = wrong("question 3")
    suite.makepyfile(test_it=TESTS.replace("range(8)", "range(14)"))
    suite.runpytest("--tiers=nano,full", "--tiers-update-lock")
    alone = Path(suite.path, "tiers.lock").read_text()
    Path(suite.path, "tiers.lock").unlink()
    suite.runpytest("--tiers=nano,full", "--tiers-update-lock", "-n2")
    assert Path(suite.path, "tiers.lock").read_text() == alone


def test_an_ad_hoc_tier_is_remembered(
    suite: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    args = ("--tiers=tiny=gpt-5.4-nano,full", "--tiers-update-lock")
    suite.runpytest(*args).stdout.fnmatch_lines(["test_ask: full -> tiny, safe*"])
    suite.runpytest().stdout.fnmatch_lines(["8 trials on tiny: 8 passed; *"])
    suite.runpytest("--tiers=tiny,full").assert_outcomes(passed=16)


def test_the_configured_ladder_is_taken_where_none_is_given(suite: pytest.Pytester) -> None:
    refused = suite.runpytest("--tiers-update-lock")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["ERROR: *--tiers-update-lock: which tiers? Give --tiers=*"])
    file = suite.path / "pyproject.toml"
    ladder = '\n[tool.pytest-tiers]\nladder = ["mini", "full"]\n'
    file.write_text(file.read_text() + ladder)
    result = suite.runpytest("--tiers-update-lock")
    result.stdout.fnmatch_lines(["test_ask: full -> mini, safe*"])


def test_a_damaged_lock_is_a_usage_error(suite: pytest.Pytester) -> None:
    suite.runpytest(*UPDATE)
    lock = Path(suite.path, "tiers.lock")
    lock.write_text(lock.read_text().replace("cases = 8", "cases = 8\n=======\ncases = 9"))
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {lock} line *: a merge conflict. Keep one side*"])


def test_a_lock_that_cannot_be_written_is_said_and_fails(suite: pytest.Pytester) -> None:
    Path(suite.path, ".tiers.lock.tmp").mkdir()
    result = suite.runpytest(*UPDATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "tiers.lock is left as it is: " in text_of(result)
