"""A model ends: another one is compared with its recorded answers, and tiers.lock carried over."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.cli import main
from pytest_tiers.lock.reading import read
from pytest_tiers.records import LockEntry
from tests.integration.test_gate import edit
from tests.integration.test_lock import PROMPT, TESTS, text_of, wrong
from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

REPLACE_FULL = ("--tiers=mini,full", "--tiers-replace=full", "--tiers-report=out.json")
REPLACE_NANO = ("--tiers=mini,nano", "--tiers-replace=nano", "--tiers-report=out.json")


def gone(model: str) -> Callable[[Mapping[str, Any]], str | Reply]:
    """A server that does not know a model any more."""
    return lambda request: Reply(status=404) if request["model"] == model else "OK"


def entry_of(project: pytest.Pytester) -> LockEntry:
    return read(Path(project.path, "tiers.lock")).prompts[PROMPT]


def test_a_flagship_is_replaced_and_what_was_proven_against_it_is_not_proven_any_more(
    locked: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    before, calls = entry_of(locked), server.calls["full-model"]
    server.answer = gone("full-model")
    result = locked.runpytest(*REPLACE_FULL)
    assert result.ret == 0
    assert (server.calls["full-model"], server.calls["mini-model"]) == (calls, 8)
    [prompt] = report()["prompts"]
    assert prompt["comparisons"]["mini"]["verdict"] == "safe"
    assert report()["settings"]["replaced"] == "full"
    shown = text_of(result)
    assert "test_ask: nano stays, unproven against mini; its evidence is against full." in shown
    assert '1. Put mini (model = "mini-model") in the place of full: in pyproject.toml' in shown
    assert "2. Prove what is locked: pytest --tiers=nano,mini --tiers-update-lock" in shown
    after = entry_of(locked)
    assert (after.tier, after.replaces, after.replaces_model) == ("nano", "mini", "mini-model")
    assert (after.verdict, after.versus, after.versus_model) == ("unproven", "full", "full-model")
    assert (after.largest_drop, after.date) == (before.largest_drop, before.date)
    assert after.replaces_usd_per_1000 is not None
    assert after.replaces_usd_per_1000 != before.replaces_usd_per_1000

    everyday = locked.runpytest("--tiers-report=out.json")
    assert everyday.ret == 0
    assert re.search(
        r"on nano: its evidence is against full \(full-model\), and a model was replaced on "
        r"20\S+: unproven against mini \(mini-model\): compare again with --tiers=nano,mini "
        r"--tiers-update-lock\.",
        text_of(everyday),
    )
    assert "unproven" in [each["kind"] for each in report()["gate"]["warnings"]]
    locked.runpytest("--tiers=nano,mini", "--tiers-update-lock")
    proven = entry_of(locked)
    assert (proven.verdict, proven.replaces, proven.versus) == ("safe", "mini", None)


def test_a_locked_tiers_successor_takes_its_place_unproven(
    locked: pytest.Pytester, server: OpenAIServer
) -> None:
    before = entry_of(locked)
    server.answer = wrong("question 3", model="mini")
    locked.makepyfile(test_it=TESTS.replace("range(8)", "range(9)"))
    result = locked.runpytest(*REPLACE_NANO)
    assert result.ret == 0
    shown = text_of(result)
    assert (
        "1 case without a recorded answer of nano left out: test_it.py::test_ask[case-8]" in shown
    )
    assert "test_ask: nano -> mini, unproven against full (at most " in shown
    assert re.search(r"worse than nano, 8 cases\); costs \d+% more: \$\S+ per 1,000 runs\.", shown)
    after = entry_of(locked)
    assert (after.tier, after.model, after.replaces) == ("mini", "mini-model", "full")
    assert (after.verdict, after.versus, after.cases) == ("unproven", "nano", 8)
    assert after.known_misses == {"case-3": (1,)}
    assert after.replaces_usd_per_1000 == before.replaces_usd_per_1000
    assert locked.runpytest("--deselect", "test_it.py::test_ask[case-8-mini]").ret == 0


def test_a_successor_that_is_worse_takes_no_place(
    locked: pytest.Pytester, server: OpenAIServer
) -> None:
    before = Path(locked.path, "tiers.lock").read_text()
    server.answer = wrong("question", model="mini")
    shown = text_of(locked.runpytest(*REPLACE_NANO))
    assert "nano stays locked: mini beside it is worse; lock another tier." in shown
    assert "mini is not proven as good as nano for test_ask: what would prove it" in shown
    server.answer = lambda request: Reply(status=500) if "question 3" in str(request) else "OK"
    shown = text_of(locked.runpytest(*REPLACE_NANO, "--tiers-record=all"))
    assert "nano stays locked: the comparison with mini is incomplete (1 trial without" in shown
    assert Path(locked.path, "tiers.lock").read_text() == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--tiers=nano,mini", "--tiers-replace=full"), "give both tiers and no other"),
        (("--tiers=nano,mini,full", "--tiers-replace=full"), 'e.g. --tiers=NEW=MODEL,full: "full"'),
        ((*REPLACE_FULL, "--tiers-update-lock"), "tiers.lock is carried over: leave out"),
        (REPLACE_FULL, "no selected test has a recorded answer of full"),
    ],
)
def test_what_cannot_be_replaced_is_said(
    project: pytest.Pytester, server: OpenAIServer, args: tuple[str, ...], message: str
) -> None:
    project.makepyfile(test_it=TESTS)
    result = project.runpytest(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in " ".join(result.stderr.str().split())
    assert not server.requests


@pytest.mark.parametrize("args", [(), ("--yes", "--", "--tiers-report=out.json", "-k", "case")])
def test_the_command_plans_first_and_records_only_when_told(
    locked: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    args: tuple[str, ...],
) -> None:
    edit(locked, "pyproject.toml", "mini-model", "mini-model-2")
    monkeypatch.chdir(locked.path)
    monkeypatch.setenv("CI", "true")
    capfd.readouterr()
    assert main(["replace", "full", "mini", *args]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "$ pytest --tiers=mini,full --tiers-replace=full --tiers-record=once" in said
    assert "- mini: 8 trials of test_ask: about 8 calls, about $" in said
    assert "if it needs as many tokens as full" in said
    assert server.calls["mini-model-2"] == (8 if args else 0)
    if args:
        assert report()["prompts"][0]["comparisons"]["mini"]["verdict"] == "safe"
        assert entry_of(locked).replaces_model == "mini-model-2"
    else:
        assert "Nothing was recorded. To record and compare, add --yes." in said
        assert entry_of(locked).replaces == "full"
