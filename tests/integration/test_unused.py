"""Recordings that no test reads any more: counted in full collections, deleted when asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

REPORT = "--tiers-report=out.json"
COMPARE = ("--tiers=nano,full", REPORT)

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("word", [{words}])
def test_word(word):
    assert ask(word)
"""

ONE = """
import pytest
from app import ask

@pytest.mark.tiers
def test_alone():
    assert ask("alone")
"""


def words(*names: str) -> str:
    return TESTS.format(words=", ".join(map(repr, names)))


def files(project: pytest.Pytester) -> list[str]:
    """The cassettes under the project, relative to it."""
    return sorted(str(path.relative_to(project.path)) for path in project.path.rglob("*.yaml"))


def contents(project: pytest.Pytester) -> dict[str, bytes]:
    return {name: (project.path / name).read_bytes() for name in files(project)}


def output(result: pytest.RunResult) -> str:
    return " ".join(" ".join(result.outlines + result.errlines).split())


@pytest.fixture
def recorded(project: pytest.Pytester) -> pytest.Pytester:
    """A project with the cases one and two, and a test in a module of its own, recorded."""
    project.makepyfile(test_it=words("one", "two"), test_other=ONE)
    project.runpytest(*COMPARE).assert_outcomes(passed=6)
    return project


# What is unused


def test_nothing_is_unused_while_all_tests_exist(recorded: pytest.Pytester, report: Report) -> None:
    result = recorded.runpytest(*COMPARE, "-v")
    assert report()["unused_recordings"] == 0
    assert "recordings" not in output(result).partition("= tiers =")[2]


def test_a_case_that_is_gone_is_counted_and_listed(
    recorded: pytest.Pytester, report: Report
) -> None:
    recorded.makepyfile(test_it=words("one"))
    result = recorded.runpytest(*COMPARE)
    assert report()["unused_recordings"] == 2
    assert "2 recordings unused: no test or case reads them any more." in output(result)
    assert "case two" not in output(result)
    listed = output(recorded.runpytest(*COMPARE, "-v"))
    for tier in ("nano", "full"):
        place = f"cassettes/test_it/test_word[{tier}].yaml"
        assert f"{place}: case two, sample 1, 1 answer; its case is gone" in listed


@pytest.mark.parametrize("change", ["function", "module", "untiered"])
def test_a_test_that_is_gone(recorded: pytest.Pytester, report: Report, change: str) -> None:
    other = recorded.path / "test_other.py"
    if change == "function":
        other.write_text("def test_else(): ...\n")
    elif change == "module":
        other.unlink()
    else:
        other.write_text(ONE.replace("@pytest.mark.tiers", ""))
        (recorded.path / "app.py").write_text("def ask(text): return text\n")
        (recorded.path / "test_it.py").write_text(words("one", "two").replace("ask(word)", "1"))
    recorded.runpytest(*COMPARE)
    assert report()["unused_recordings"] == 2


def test_a_folder_whose_tests_are_all_gone(project: pytest.Pytester, report: Report) -> None:
    for folder in ("old", "new"):
        (project.path / folder).mkdir()
        (project.path / folder / f"test_{folder}.py").write_text(ONE)
    project.runpytest(*COMPARE)
    (project.path / "old" / "test_old.py").unlink()
    project.runpytest(*COMPARE)
    assert report()["unused_recordings"] == 2


# What is not


@pytest.mark.parametrize(
    "args",
    [("--tiers=nano",), ("--tiers=nano,mini",), (), ("--tiers=nano,full", "--tiers-samples=2")],
    ids=["nano", "mini", "everyday", "samples"],
)
def test_what_did_not_run_this_time_is_used(
    recorded: pytest.Pytester, report: Report, args: tuple[str, ...]
) -> None:
    recorded.runpytest("--tiers=nano,full", "--tiers-samples=3")
    recorded.runpytest(*args, REPORT)
    assert report()["unused_recordings"] == 0


@pytest.mark.parametrize(
    "mark",
    [
        "pytest.mark.skip",
        "pytest.mark.skipif(True, reason='not now')",
        "pytest.mark.xfail",
        "pytest.mark.tiers('nano')",
    ],
)
def test_a_marked_test_exists(recorded: pytest.Pytester, report: Report, mark: str) -> None:
    recorded.makepyfile(test_other=ONE.replace("def test", f"@{mark}\ndef test"))
    recorded.runpytest(*COMPARE)
    assert report()["unused_recordings"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\npytest.skip('x', allow_module_level=True)",
        "import pytest\npytest.importorskip('no_such')",
    ],
    ids=["skip", "importorskip"],
)
def test_a_module_that_is_skipped_exists(
    recorded: pytest.Pytester, report: Report, text: str
) -> None:
    recorded.makepyfile(test_other=text)
    recorded.runpytest(*COMPARE)
    assert report()["unused_recordings"] == 0


def test_a_test_whose_parameters_are_missing_exists(
    recorded: pytest.Pytester, report: Report
) -> None:
    recorded.makepyfile(test_it=words())
    recorded.runpytest(*COMPARE)
    assert report()["unused_recordings"] == 0


def test_a_module_that_the_project_leaves_out_exists(
    recorded: pytest.Pytester, report: Report
) -> None:
    recorded.makeconftest("collect_ignore = ['test_other.py']")
    recorded.runpytest(*COMPARE)
    assert report()["unused_recordings"] == 0


def test_cassettes_of_other_plugins_are_not_ours(recorded: pytest.Pytester, report: Report) -> None:
    folder = recorded.path / "cassettes" / "test_it"
    (folder / "test_else[a].yaml").write_text("interactions: []\nversion: 1\n")
    (folder / "test_else.yaml").write_text("interactions: []\nversion: 1\n")
    result = recorded.runpytest(*COMPARE, "--tiers-prune")
    assert report()["unused_recordings"] == 0
    assert "nothing to prune" in output(result)
    assert "cannot be read" not in output(result)
    assert len(files(recorded)) == 6


def test_another_project_in_the_same_folder_keeps_its_recordings(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = "[tool.pytest-tiers]\ncassettes = '../shared'\n\n[tool.pytest-tiers.tiers.nano]"
    table = (project.path / "pyproject.toml").read_text()
    for name in ("one", "two"):
        folder = project.path / name
        folder.mkdir()
        (folder / "pyproject.toml").write_text(
            table.replace("[tool.pytest-tiers.tiers.nano]", ours)
        )
        (folder / f"test_{name}.py").write_text(ONE)
        monkeypatch.chdir(folder)
        project.runpytest("--tiers=nano,full").assert_outcomes(passed=2)
    before = contents(project)
    assert len(before) == 4
    result = project.runpytest("--tiers=nano,full", "--tiers-prune", REPORT)
    assert "Other projects may use them: nothing was deleted there." in output(result)
    assert contents(project) == before
    assert json.loads(Path("out.json").read_text())["unused_recordings"] is None


# When nobody knows


PARTIAL = [
    (("-k", "one"), "-k"),
    (("-m", "tiers"), "-m"),
    (("test_it.py",), 'the path "test_it.py"'),
    (("test_it.py::test_word",), 'the path "test_it.py::test_word"'),
    ((".", "--lf"), "--lf"),
    (("--deselect=test_other.py::test_alone",), "--deselect"),
    (("--ignore=test_other.py",), "--ignore"),
    (("--ignore-glob=*other.py",), "--ignore-glob"),
]


@pytest.mark.parametrize(("args", "why"), PARTIAL, ids=[why for _, why in PARTIAL])
def test_a_partial_run_does_not_know_and_does_not_prune(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report, args: tuple[str, ...], why: str
) -> None:
    recorded.makepyfile(test_it=words("one"))
    before, asked = contents(recorded), len(server.requests)
    recorded.runpytest(*COMPARE, *args)
    assert report()["unused_recordings"] is None
    result = recorded.runpytest(*COMPARE, *args, "--tiers-prune")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"{why} narrows this run" in output(result)
    assert contents(recorded) == before
    assert len(server.requests) == asked


@pytest.mark.parametrize("args", [(), (".",), ("tests", "more")], ids=["plain", "dot", "testpaths"])
def test_whole_runs_in_any_words_are_full(
    project: pytest.Pytester, report: Report, args: tuple[str, ...]
) -> None:
    table = (project.path / "pyproject.toml").read_text()
    project.makepyprojecttoml(
        table.replace(
            "[tool.pytest.ini_options]", "[tool.pytest.ini_options]\ntestpaths = ['tests', 'more']"
        )
    )
    for name in ("tests", "more", "aside"):
        (project.path / name).mkdir()
        (project.path / name / f"test_{name}.py").write_text(ONE)
    project.runpytest("--tiers=nano", "aside", "tests", "more").assert_outcomes(passed=3)
    (project.path / "aside" / "test_aside.py").unlink()
    (project.path / "more" / "test_more.py").unlink()
    project.runpytest("--tiers=nano", REPORT, *args)
    # What lies outside of what was collected is nobody's business.
    assert report()["unused_recordings"] == (2 if args == (".",) else 1)


def test_a_module_that_cannot_be_collected(recorded: pytest.Pytester, report: Report) -> None:
    recorded.makepyfile(test_it=words("one"), test_other="import no_such_module")
    before = contents(recorded)
    recorded.runpytest(*COMPARE, "--continue-on-collection-errors")
    assert report()["unused_recordings"] is None
    result = recorded.runpytest(*COMPARE, "--continue-on-collection-errors", "--tiers-prune")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "not all tests are known: a file could not be collected" in output(result)
    assert "Nothing was pruned" in output(recorded.runpytest(*COMPARE, "--tiers-prune"))
    assert contents(recorded) == before


def test_a_plugin_that_leaves_tests_out(recorded: pytest.Pytester, report: Report) -> None:
    recorded.makeconftest("def pytest_collection_modifyitems(items): items.pop()")
    recorded.runpytest(*COMPARE)
    assert report()["unused_recordings"] is None


# Pruning


@pytest.mark.parametrize("args", [COMPARE, ()], ids=["comparison", "everyday"])
def test_prune_deletes_what_no_test_reads_and_nothing_else(
    recorded: pytest.Pytester, server: OpenAIServer, report: Report, args: tuple[str, ...]
) -> None:
    recorded.makepyfile(test_it=words("one"))
    (recorded.path / "test_other.py").unlink()
    result = recorded.runpytest(*args, "--tiers-prune")
    shown = output(result)
    assert "cassettes/test_it/test_word[nano].yaml: case two, sample 1, 1 answer; its case" in shown
    assert "cassettes/test_other/test_alone[full].yaml: sample 1, 1 answer; its test" in shown
    assert "tiers: deleted 4 recordings with 4 answers ($0.00" in shown
    assert not (recorded.path / "cassettes" / "test_other").exists()
    assert len(files(recorded)) == 2
    server.stop()
    recorded.runpytest(*COMPARE, "--tiers-record=none").assert_outcomes(passed=2)
    assert report()["unused_recordings"] == 0


def test_collect_only_shows_and_deletes_nothing(recorded: pytest.Pytester) -> None:
    recorded.makepyfile(test_it=words("one"))
    before = contents(recorded)
    result = recorded.runpytest("--collect-only", "--tiers-prune")
    assert "tiers: would delete 2 recordings with 2 answers" in output(result)
    assert contents(recorded) == before


def test_undefined_tiers_go_only_when_named(recorded: pytest.Pytester, report: Report) -> None:
    adhoc = "--tiers=passing=gpt-5.4-nano"
    # The built-in address is not ours to call: the tier's recordings are made by hand.
    for path in list((recorded.path / "cassettes").rglob("*[[]nano].yaml")):
        text = path.read_text().replace("tier: nano", "tier: passing")
        path.with_name(path.name.replace("nano", "passing")).write_text(text)
    before = contents(recorded)
    kept = recorded.runpytest(*COMPARE, "--tiers-prune")
    assert "not defined: passing. They stay unless you say --tiers-prune=tiers." in output(kept)
    assert report()["unused_recordings"] == 0
    recorded.runpytest(adhoc, "--tiers-record=none", "--tiers-prune=tiers")
    assert contents(recorded) == before
    gone = recorded.runpytest(*COMPARE, "--tiers-prune=tiers")
    assert "tier passing is not defined" in output(gone)
    assert contents(recorded) == {k: v for k, v in before.items() if "passing" not in k}


def test_what_cannot_be_read_is_never_deleted(recorded: pytest.Pytester) -> None:
    damaged = recorded.path / "cassettes" / "test_other" / "test_alone[nano].yaml"
    damaged.write_text(damaged.read_text()[:300])
    text = damaged.read_bytes()
    (recorded.path / "test_other.py").unlink()
    result = recorded.runpytest(*COMPARE, "--tiers-prune")
    assert "test_alone[nano].yaml cannot be read; it is left alone." in output(result)
    assert damaged.read_bytes() == text
    assert not damaged.with_name("test_alone[full].yaml").exists()


def test_a_value_that_is_a_path_is_a_usage_error(recorded: pytest.Pytester) -> None:
    result = recorded.runpytest("--tiers-prune", "test_it.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 'unknown value "test_it.py"' in output(result)


# Workers


def test_workers_know_together_what_exists(recorded: pytest.Pytester, report: Report) -> None:
    recorded.makepyfile(test_it=words("one"))
    recorded.runpytest_subprocess(*COMPARE, "-n2")
    assert report()["unused_recordings"] == 2
    result = recorded.runpytest_subprocess(*COMPARE, "-n2", "--tiers-prune")
    assert "deleted 2 recordings" in output(result)
    assert report()["unused_recordings"] == 0


def test_a_worker_that_crashed_leaves_it_unknown(recorded: pytest.Pytester, report: Report) -> None:
    recorded.makepyfile(test_it=words("one"), test_crash="import os\ndef test_it(): os._exit(1)\n")
    before = contents(recorded)
    result = recorded.runpytest_subprocess(*COMPARE, "-n2", "--tiers-prune")
    assert report()["unused_recordings"] is None
    assert "not all tests are known: a worker crashed" in output(result)
    assert contents(recorded) == before


# Stale


def test_stale_trials_are_listed_with_one_command_that_works(
    recorded: pytest.Pytester, report: Report
) -> None:
    app = (recorded.path / "app.py").read_text()
    (recorded.path / "app.py").write_text(app.replace("max_tokens=50", "max_tokens=51"))
    assert "Stale trials" not in output(recorded.runpytest(*COMPARE))
    assert report()["stale_trials"] == 6
    result = recorded.runpytest(*COMPARE, "-v")
    assert "Stale trials test_it.py::test_word[one-nano] test_it.py::test_word[one-full]" in output(
        result
    )
    command = next(line for line in result.outlines if "record them again: " in line)
    command = command.partition("again: pytest ")[2]
    assert command == (
        "test_it.py::test_word test_other.py::test_alone --tiers=nano,full "
        "--tiers-record=new_episodes"
    )
    recorded.runpytest(*command.split()).assert_outcomes(passed=6)
    recorded.runpytest(*COMPARE, "--tiers-record=none").assert_outcomes(passed=6)
    assert report()["stale_trials"] == 0
