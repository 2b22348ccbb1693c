"""What a person decides about tiers.lock: accept, revert, must_pass; and what a change undoes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_tiers.cli import main
from pytest_tiers.lock.reading import read
from pytest_tiers.records import Lock
from tests.conftest import says
from tests.integration.test_gate import edit
from tests.integration.test_lock import PROMPT, TESTS, UPDATE, text_of, wrong
from tests.openai_server import OpenAIServer

COMPARE = ("--tiers=nano,full", "-p", "cacheprovider")

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def suite(project: pytest.Pytester) -> pytest.Pytester:
    """Three cases: too few for anything to be safe."""
    project.makepyfile(test_it=TESTS.replace("range(8)", "range(3)"))
    return project


@pytest.fixture
def command(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs ``pytest-tiers`` in the project: its exit code and what it says."""
    monkeypatch.chdir(suite.path)

    def run(*args: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(args)
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return run


def lock_of(project: pytest.Pytester) -> Lock:
    return read(Path(project.path, "tiers.lock"))


def test_a_person_accepts_what_is_not_proven(suite: pytest.Pytester, command: Command) -> None:
    suite.runpytest(*COMPARE)
    code, said = command("accept", "test_ask=nano", "--reason", "cheap,\n and good enough")
    assert code == 0
    assert says(said, f"{PROMPT} on nano, accepted: inconclusive, at most ")
    assert all(len(line) <= 80 for line in said.splitlines())
    entry = lock_of(suite).prompts[PROMPT]
    assert (entry.tier, entry.verdict, entry.cases) == ("nano", "inconclusive", 3)
    assert entry.accepted == "cheap, and good enough"
    assert entry.accepted_on is not None
    everyday = suite.runpytest()
    assert everyday.ret == 0
    shown = text_of(everyday)
    assert "3 trials on nano: 3 passed" in shown
    assert f"Accepted without proof: {PROMPT} on nano (inconclusive, at most " in shown
    assert "per 1,000 runs)." in shown
    again = suite.runpytest("--tiers=nano,full", "--tiers-update-lock")
    assert "nothing changed, 1 prompt locked" in text_of(again)


def test_proof_takes_the_place_of_a_decision(suite: pytest.Pytester, command: Command) -> None:
    suite.runpytest(*COMPARE)
    command("accept", f"{PROMPT}=nano", "--reason", "cheap")
    suite.makepyfile(test_it=TESTS)
    suite.runpytest("--tiers=nano,full", "--tiers-update-lock")
    entry = lock_of(suite).prompts[PROMPT]
    assert (entry.verdict, entry.accepted) == ("safe", None)
    assert "Accepted" not in text_of(suite.runpytest())


def test_going_back_is_remembered_until_the_prompt_or_the_model_changes(
    suite: pytest.Pytester, command: Command
) -> None:
    suite.makepyfile(test_it=TESTS)
    suite.runpytest(*UPDATE)
    code, said = command("revert", "test_ask", "--reason", "customers complained")
    assert code == 0
    assert says(said, "nano is not proposed again until its model or the prompt changes.")
    assert PROMPT not in lock_of(suite).prompts
    [revert] = lock_of(suite).reverts
    assert (revert.tier, revert.model, revert.reason) == (
        "nano",
        "nano-model",
        "customers complained",
    )
    again = text_of(suite.runpytest("--tiers=nano,full", "--tiers-update-lock"))
    assert "nano for test_ask is ruled out: reverted on 20" in again
    assert '("customers complained"); it is proposed again when its model or the prompt' in again
    assert "Downgrade now" not in again
    assert PROMPT not in lock_of(suite).prompts
    # Another tier is none of its business.
    suite.runpytest(*UPDATE)
    assert lock_of(suite).prompts[PROMPT].tier == "mini"

    edit(suite, "app.py", '"content": text', '"content": "Please: " + text')
    suite.runpytest(*UPDATE, "--tiers-record=new_episodes")
    assert lock_of(suite).prompts[PROMPT].tier == "nano"
    command("revert", PROMPT, "--reason", "again")
    assert len(lock_of(suite).reverts) == 1
    edit(suite, "pyproject.toml", "nano-model", "nano-model-2")
    suite.runpytest(*UPDATE, "--tiers-record=new_episodes")
    assert lock_of(suite).prompts[PROMPT].model == "nano-model-2"


def test_other_data_is_no_other_prompt(suite: pytest.Pytester, command: Command) -> None:
    suite.makepyfile(test_it=TESTS)
    suite.runpytest("--tiers=nano,full", "--tiers-update-lock")
    command("revert", PROMPT, "--reason", "rude")
    suite.makepyfile(test_it=TESTS.replace("range(8)", "range(3, 14)"))
    suite.runpytest("--tiers=nano,full", "--tiers-update-lock")
    assert PROMPT not in lock_of(suite).prompts


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("accept", "test_ask"), 'expected PROMPT=TIER, got "test_ask"'),
        (("accept", "test_aks=nano"), f'"test_aks" in the last comparison. Did you mean {PROMPT}?'),
        (("accept", "test_ask=mini"), 'has no candidate "mini"'),
        (("revert", "test_ask"), "no tiers.lock in"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    suite: pytest.Pytester, command: Command, args: tuple[str, ...], message: str
) -> None:
    suite.runpytest(*COMPARE)
    code, said = command(*args, "--reason", "because")
    assert code == 2
    assert says(said, message)
    assert all(len(line) <= 80 for line in said.splitlines())
    assert not Path(suite.path, "tiers.lock").exists()


def test_nothing_can_be_accepted_that_was_not_compared(command: Command) -> None:
    code, said = command("accept", "test_ask=nano", "--reason", "because")
    assert code == 2
    assert "Compare first: pytest --tiers=..." in said


def test_a_decision_needs_a_reason(suite: pytest.Pytester, command: Command) -> None:
    suite.runpytest(*COMPARE)
    assert command("accept", "test_ask=nano", "--reason", " ")[0] == 2
    with pytest.raises(SystemExit):
        command("accept", "test_ask=nano")


def test_a_memory_that_is_damaged_is_named(suite: pytest.Pytester, command: Command) -> None:
    suite.runpytest(*COMPARE)
    [memory] = suite.path.rglob("comparison.json")
    memory.write_text("{}")
    code, said = command("accept", "test_ask=nano", "--reason", "because")
    assert code == 2
    assert says(said, f"{memory} cannot be used")


def test_a_case_that_must_pass_rules_a_tier_out(
    suite: pytest.Pytester, server: OpenAIServer
) -> None:
    cases = "[*range(13), pytest.param(13, marks=pytest.mark.must_pass)]"
    suite.makepyfile(test_it=TESTS.replace("range(8)", cases))
    server.answer = wrong("question 13", model="nano")
    result = suite.runpytest(*UPDATE)
    assert "nano for test_ask is ruled out: it misses what must pass (case-13)" in text_of(result)
    assert lock_of(suite).prompts[PROMPT].tier == "mini"


def test_a_changed_prompt_that_passes_keeps_its_tier_with_older_evidence(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile(test_it=TESTS)
    suite.runpytest("--tiers=nano,full", "--tiers-update-lock")
    locked = lock_of(suite).prompts[PROMPT]
    suite.makepyfile(test_it=TESTS.replace("margin=0.5", "margin=0.01"))
    edit(suite, "app.py", '"content": text', '"content": "Please: " + text')
    recorded = suite.runpytest("--tiers-record=new_episodes")
    assert recorded.ret == 0
    shown = text_of(recorded)
    assert "so its evidence is from before the change: compare again with --tiers=nano" in shown
    compared = suite.runpytest("--tiers=nano,full", "--tiers-update-lock", "--tiers-record=all")
    assert "nano stays; the prompt changed and passes, evidence: from before the change." in (
        text_of(compared)
    )
    carried = lock_of(suite).prompts[PROMPT]
    assert (carried.date, carried.verdict) == (locked.date, "safe")
    assert carried.changed_on is not None
    assert carried.holds_for.request != locked.holds_for.request
    assert carried.holds_for.parameters == locked.holds_for.parameters
    assert "evidence is from before the change: compare" not in text_of(suite.runpytest())


def test_a_changed_parameter_is_a_change(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=TESTS)
    suite.runpytest("--tiers=nano,full", "--tiers-update-lock")
    before = lock_of(suite).prompts[PROMPT].holds_for
    edit(suite, "app.py", "max_tokens=50", "max_tokens=60, response_format={'type': 'text'}")
    suite.runpytest("--tiers=nano,full", "--tiers-update-lock", "--tiers-record=all")
    after = lock_of(suite).prompts[PROMPT].holds_for
    assert after.request == before.request
    assert after.parameters != before.parameters
    assert before.schema is None
    assert re.fullmatch("[0-9a-f]{12}", str(after.schema))
