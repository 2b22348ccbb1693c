"""Cassettes that cannot be read: said with file, line and remedy, and never written over."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import says
from tests.integration.one_test import outcomes
from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

TWO_CASES = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("word", ["one", "two"])
def test_ask(word):
    assert ask(word)
"""

BOTH = ("--tiers=nano,full", "--tiers-report=out.json")


@pytest.fixture
def recorded(project: pytest.Pytester) -> pytest.Pytester:
    """A project with two cases, recorded on nano and full."""
    project.makepyfile(test_it=TWO_CASES)
    project.runpytest(*BOTH).assert_outcomes(passed=4)
    return project


def cassette(project: pytest.Pytester, tier: str = "nano") -> Path:
    return project.path / "cassettes" / "test_it" / f"test_ask[{tier}].yaml"


def output(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines + result.errlines)


def cut(path: Path) -> bytes:
    """Cut off the last case of a cassette, and with it the time of a call; what is left."""
    path.write_bytes(path.read_bytes().rpartition(b"  - case: ")[0])
    return path.read_bytes()


#: Kinds of damage: what becomes of a cassette, and what is said of it.
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "quarter": (lambda data: data[: len(data) // 4], r"\d+: (it is cut off|not a cassette)"),
    "last_case": (lambda data: data.rpartition(b"  - case: ")[0], r"\d+: not a cassette"),
    "last_line": (lambda data: data[:-8], r"\d+: it is cut off"),
    "conflict": (lambda data: b"<<<<<<< HEAD\n" + data, "1: a merge conflict was left in it"),
    "encoding": (lambda data: data.replace(b"OK", b"n\xe9"), r"\d+: not UTF-8"),
    "version": (
        lambda data: data.replace(b"pytest-tiers: 1", b"pytest-tiers: 99"),
        r"\d+: .*format 99",
    ),
    "call": (
        lambda data: data.replace(b" 200", b" !!python/object/apply:os.mkdir [executed]"),
        r"\d+: not readable as YAML: could not determine a constructor",
    ),
    "new": (
        lambda data: data.replace(b" 1", b" !!python/object/new:os.mkdir [executed]", 1),
        "1: not readable as YAML: could not determine a constructor",
    ),
    "alias": (  # a few more lines like this one would be gigabytes when they are written
        lambda data: data + b"more: [&one [x], *one]\n",
        r"\d+: not a cassette of pytest-tiers: it has YAML aliases",
    ),
    "empty": (lambda _: b"", "1: it is empty"),
    "vcr": (lambda _: b'{"interactions": []}\n', "1: not a cassette of pytest-tiers"),
}


def test_a_damaged_cassette_is_an_error_of_each_of_its_trials_and_not_recorded_over(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    names = [*DAMAGES, "sound"]
    tests = [TWO_CASES.partition("@")[2].replace("test_ask", f"test_{name}") for name in names]
    project.makepyfile(test_it="import pytest\nfrom app import ask\n@" + "\n@".join(tests))
    project.runpytest("--tiers=nano").assert_outcomes(passed=2 * len(names))
    asked = len(server.requests)
    broken: dict[Path, bytes] = {}
    for name, (damage, _) in DAMAGES.items():
        path = cassette(project).with_name(f"test_{name}[nano].yaml")
        broken[path] = damage(path.read_bytes())
        path.write_bytes(broken[path])
    result = project.runpytest("--tiers=nano", "--tiers-report=out.json")
    result.assert_outcomes(passed=2, failed=2 * len(DAMAGES))
    told = output(result)
    for path, (name, (_, said)) in zip(broken, DAMAGES.items(), strict=True):
        function = f"test_it.py::test_{name}"
        trials = [trial for trial in report()["trials"] if trial["prompt"] == function]
        assert outcomes({"trials": trials}) == ["error"] * 2
        for trial in trials:
            assert re.match(f"{re.escape(str(path))}: line {said}", trial["reason"])
        assert f'record it again with pytest "{function}" --tiers=nano --tiers-record=all' in told
        assert path.read_bytes() == broken[path]
    assert len(server.requests) == asked
    assert not (project.path / "executed").exists()


@pytest.mark.parametrize("mode", ["none", "once", "new_episodes"])
def test_no_mode_but_all_records_over_it(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report, mode: str
) -> None:
    asked, broken = len(server.requests), cut(cassette(recorded))
    recorded.runpytest(*BOTH, f"--tiers-record={mode}").assert_outcomes(passed=2, failed=2)
    assert outcomes(report()) == ["error", "passed"] * 2
    assert report()["trials"][0]["reason"].startswith(str(cassette(recorded)))
    assert cassette(recorded).read_bytes() == broken
    assert len(server.requests) == asked


def test_the_command_that_is_named_records_it_again_and_keeps_the_old_one(
    recorded: pytest.Pytester, server: OpenAIServer
) -> None:
    asked, broken = len(server.requests), cut(cassette(recorded))
    said = output(recorded.runpytest(*BOTH))
    command = re.search(r"record it again with (pytest .*?--tiers-record=all)", said)
    assert command
    again = recorded.runpytest(*shlex.split(command[1])[1:])
    again.assert_outcomes(passed=2)
    assert says(output(again), "could not be read and is recorded anew; it is kept as")
    assert len(server.requests) == asked + 2
    assert cassette(recorded).with_name("test_ask[nano].yaml.damaged").read_bytes() == broken
    recorded.runpytest(*BOTH, "-p", "tests.no_network").assert_outcomes(passed=4)


def test_no_other_tiers_recording_stands_in_for_a_damaged_one(
    recorded: pytest.Pytester, report: Report
) -> None:
    app = (recorded.path / "app.py").read_text()
    recorded.makepyfile(app=app.replace("gpt-5.4", "nano-model"))
    everyday = ("--tiers-report=out.json", "-p", "tests.no_network")
    recorded.runpytest(*everyday).assert_outcomes(passed=2)
    cassette(recorded, "current").write_text("<<<<<<< ours\n")
    result = recorded.runpytest(*everyday)
    result.assert_outcomes(failed=2)
    assert outcomes(report()) == ["error"] * 2
    assert 'pytest "test_it.py::test_ask" --tiers-record=all' in output(result)


def test_a_miss_of_the_everyday_tier_names_the_cassettes_that_cannot_be_read(
    recorded: pytest.Pytester, report: Report
) -> None:
    cut(cassette(recorded))
    recorded.runpytest("--tiers-report=out.json").assert_outcomes(failed=2)
    reason = report()["trials"][0]["reason"]
    assert "no recording of test_it.py::test_ask[one] on current" in reason
    assert f"Not looked into: {cassette(recorded)}: line " in reason


def test_no_key_is_asked_for_a_damaged_cassette(recorded: pytest.Pytester, report: Report) -> None:
    pyproject = recorded.path / "pyproject.toml"
    text = pyproject.read_text().replace("tiers.nano]", 'tiers.nano]\napi_key_env = "NOT_SET"')
    pyproject.write_text(text)
    cut(cassette(recorded))
    recorded.runpytest(*BOTH).assert_outcomes(passed=2, failed=2)
    assert outcomes(report()) == ["error", "passed"] * 2


def test_answers_that_wait_for_a_damaged_cassette_get_into_it_once_it_is_restored(
    recorded: pytest.Pytester, server: OpenAIServer
) -> None:
    good = cassette(recorded).read_bytes()
    asked = len(server.requests)
    recorded.makepyfile(test_it=TWO_CASES.replace('"two"', '"two", "three"'))
    recorded.makeconftest(f"""
        import pathlib, pytest

        @pytest.hookimpl(trylast=True)
        def pytest_runtest_teardown(item):
            if "three-nano" in item.nodeid:  # a merge goes wrong while tests run
                pathlib.Path({str(cassette(recorded))!r}).write_text("<<<<<<< HEAD\\n")
    """)
    result = recorded.runpytest(*BOTH)
    assert len(server.requests) == asked + 2
    assert says(output(result), "a merge conflict was left in it. New answers are kept in")
    cassette(recorded).write_bytes(good)
    (recorded.path / "conftest.py").unlink()
    recorded.runpytest(*BOTH).assert_outcomes(passed=6)
    assert len(server.requests) == asked + 2


def test_pruning_leaves_alone_a_cassette_that_lost_its_last_cases(
    recorded: pytest.Pytester,
) -> None:
    broken = cut(cassette(recorded))
    recorded.makepyfile(test_it=TWO_CASES.replace('"one", ', ""))
    result = recorded.runpytest(*BOTH, "--tiers-prune")
    assert says(output(result), "test_ask[nano].yaml cannot be read; it is left alone.")
    assert cassette(recorded).read_bytes() == broken
    assert "case: one" not in cassette(recorded, "full").read_text()
