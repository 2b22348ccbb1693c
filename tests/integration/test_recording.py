"""What is recorded, what replays, and what a miss says: real runs, a real server, real files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.one_test import PYTEST, TIER, calls, outcomes, run_one
from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

NANO = ("--tiers=nano",)
OFFLINE = ("--tiers=nano", "-p", "tests.no_network")

#: Asks what the test says, and once more what the answer was.
TWO_CALLS = """
from openai import OpenAI
client = OpenAI(max_retries=0)

def chat(text):
    made = client.chat.completions.create(
        model="gpt-5.4", max_tokens=9, messages=[{"role": "user", "content": text}]
    )
    return made.choices[0].message.content

def ask(text):
    return chat(f"Are you sure of {chat(text)}?")
"""

#: As above, with one call and a prompt to fill in.
ONE_CALL = """
from openai import OpenAI
client = OpenAI(max_retries=0)

def ask(text):
    made = client.chat.completions.create(
        model="gpt-5.4", max_tokens=9, messages=[{{"role": "user", "content": {prompt}}}]
    )
    return made.choices[0].message.content
"""


def cassette(project: pytest.Pytester, tier: str = "nano") -> Path:
    return project.path / "cassettes" / "test_it" / f"test_ask[{tier}].yaml"


def texts(server: OpenAIServer) -> list[str]:
    """What the server was asked, in order."""
    return [got.json["messages"][0]["content"] for got in server.requests]


def output(result: pytest.RunResult) -> str:
    """What pytest printed."""
    return "\n".join(result.outlines)


def numbered(server: OpenAIServer) -> Callable[[dict[str, Any]], str]:
    """Answers with the number of the request: a second recording is not the first."""
    return lambda _: f"answer {len(server.requests)}"


# Modes


@pytest.mark.parametrize(
    ("args", "asked_first", "asked_again", "asked_when_changed"),
    [
        (["--tiers-record=none"], 0, 0, 0),
        (["--tiers-record=once"], 1, 0, 0),
        (["--tiers-record=new_episodes"], 1, 0, 1),
        (["--tiers-record=all"], 1, 1, 1),
        ([], 1, 0, 0),
    ],
    ids=["none", "once", "new_episodes", "all", "default"],
)
def test_which_mode_asks_when(
    project: pytest.Pytester,
    server: OpenAIServer,
    args: list[str],
    asked_first: int,
    asked_again: int,
    asked_when_changed: int,
) -> None:
    def asked(prompt: str) -> int:
        before = len(server.requests)
        run_one(project, *NANO, *args, app=ONE_CALL.format(prompt=prompt))
        return len(server.requests) - before

    assert asked("text") == asked_first
    assert asked("text") == asked_again
    assert asked("'another prompt'") == asked_when_changed


def test_ci_replays_only_unless_told_otherwise(
    project: pytest.Pytester, server: OpenAIServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    run_one(project, *NANO).assert_outcomes(failed=1)
    assert outcomes(report()) == ["error"]
    assert server.requests == []
    run_one(project, *NANO, "--tiers-record=once").assert_outcomes(passed=1)
    run_one(project, *OFFLINE).assert_outcomes(passed=1)


@pytest.mark.parametrize("mode", ["once", "none"])
def test_a_stale_trial_is_an_error_that_shows_the_change_and_the_command(
    project: pytest.Pytester, server: OpenAIServer, report: Report, mode: str
) -> None:
    run_one(project, *NANO, app=ONE_CALL.format(prompt="'Say hello.'"))
    before = cassette(project).read_bytes()
    result = run_one(
        project,
        *NANO,
        f"--tiers-record={mode}",
        app=ONE_CALL.format(prompt="'Say hello, please.'"),
    )
    result.assert_outcomes(failed=1)
    assert outcomes(report()) == ["error"]
    assert report()["stale_trials"] == 1
    assert '"content": "Say hello."' in output(result)
    assert '"content": "Say hello, please."' in output(result)
    assert "--tiers=nano --tiers-record=new_episodes" in output(result)
    assert cassette(project).read_bytes() == before
    assert len(server.requests) == 1


def test_the_command_of_a_miss_works_as_printed(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    run_one(project, *NANO, app=ONE_CALL.format(prompt="'old'"))
    missed = run_one(project, *NANO, app=ONE_CALL.format(prompt="'new'"))
    command = re.search(r'pytest "(\S+)" (--tiers=\S+) (--tiers-record=\S+)', output(missed))
    assert command is not None
    project.runpytest(*command.groups()).assert_outcomes(passed=1)
    run_one(project, *OFFLINE).assert_outcomes(passed=1)
    assert texts(server) == ["old", "new"]


def test_another_model_behind_a_tiers_name_is_stale(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    config = TIER.format(name="nano", url=server.url, more="")
    run_one(project, *NANO, config=config).assert_outcomes(passed=1)
    result = run_one(project, *NANO, config=config.replace("nano-model", "nano-2"))
    result.assert_outcomes(failed=1)
    assert report()["stale_trials"] == 1
    assert '-  "model": "nano-model"' in output(result)
    assert '+  "model": "nano-2"' in output(result)


def test_another_address_of_a_tier_is_not_stale(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    config = TIER.format(name="nano", url=server.url, more="")
    run_one(project, *NANO, config=config)
    moved = config.replace(server.url, "https://models.example.com/v9")
    run_one(project, *OFFLINE, config=moved).assert_outcomes(passed=1)


def test_new_episodes_pays_from_the_first_change_on(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = numbered(server)
    run_one(project, *NANO, app=TWO_CALLS)
    changed = TWO_CALLS.replace("Are you sure of", "Is it really")
    run_one(project, *NANO, "--tiers-record=new_episodes", app=changed)
    assert texts(server) == ["hello", "Are you sure of answer 1?", "Is it really answer 1?"]
    run_one(project, *OFFLINE).assert_outcomes(passed=1)
    assert "Are you sure" not in cassette(project).read_text()


# What is left out when requests are compared


DATED = ONE_CALL.format(prompt="f'Today is {DAY}. Now: ' + text")


def test_the_ignore_line_that_a_miss_prints_makes_it_match(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    run_one(project, *NANO, app="DAY = '2026-11-22'\n" + DATED)
    project.makepyfile(app="DAY = '2026-11-23'\n" + DATED)
    missed = run_one(project, *NANO)
    assert "Only a date differs." in output(missed)
    (line,) = (line.strip() for line in missed.outlines if line.strip().startswith("ignore = ["))
    pyproject = project.path / "pyproject.toml"
    pyproject.write_text(f"{pyproject.read_text()}\n[tool.pytest-tiers]\n{line}\n")
    run_one(project, *OFFLINE).assert_outcomes(passed=1)
    assert len(server.requests) == 1


def test_the_projects_hook_takes_out_what_no_pattern_can(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    project.makeconftest(
        """
        def pytest_tiers_normalise_request(request):
            for message in request["body"]["messages"]:
                message["content"] = message["content"].rpartition(". Now: ")[2]
        """
    )
    for day in ("today", "tomorrow"):
        run_one(project, *NANO, app=f"DAY = '{day}'\n{DATED}").assert_outcomes(passed=1)
    assert texts(server) == ["Today is today. Now: hello"]


# Order


def test_the_same_question_again_replays_its_own_answer(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = numbered(server)
    app = TWO_CALLS.replace(
        'chat(f"Are you sure of {chat(text)}?")', "[chat(text), chat(text)] == EXPECTED"
    )
    app += "EXPECTED = ['answer 1', 'answer 2']\n"
    run_one(project, *NANO, app=app).assert_outcomes(passed=1)
    run_one(project, *OFFLINE).assert_outcomes(passed=1)


# What is not kept


@pytest.mark.parametrize("status", [429, 500, 503])
def test_attempts_that_the_client_retried_are_not_kept(
    project: pytest.Pytester, server: OpenAIServer, report: Report, status: int
) -> None:
    failing = Reply(status=status, retry_after=0.001)
    replies = iter([failing, failing, Reply("OK")])
    server.answer = lambda _: next(replies)
    app = ONE_CALL.format(prompt="text").replace("max_retries=0", "max_retries=2")
    run_one(project, *NANO, app=app).assert_outcomes(passed=1)
    assert [call["status"] for call in calls(report())] == [status, status, 200]
    run_one(project, *OFFLINE).assert_outcomes(passed=1)
    assert [call["status"] for call in calls(report())] == [200]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500),
        Reply(status=429),
        Reply(drop="before"),
        Reply(drop="headers"),
        Reply("a long answer", drop="midway"),
        Reply("too late", seconds=5),
    ],
    ids=["500", "429", "no-byte", "no-body", "cut-off", "timeout"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_call_that_failed_for_good_is_not_kept_and_only_it_is_made_again(
    project: pytest.Pytester, server: OpenAIServer, report: Report, reply: Reply, stream: bool
) -> None:
    app = TWO_CALLS.replace("max_retries=0", "max_retries=0, timeout=0.3")
    if stream:
        app = app.replace("max_tokens=9", "stream=True").replace(
            "made.choices[0].message.content",
            '"".join(chunk.choices[0].delta.content or "" for chunk in made)',
        )
    server.answer = lambda request: reply if "sure" in str(request) else "a fact"
    run_one(project, *NANO, app=app).assert_outcomes(failed=1)
    assert outcomes(report()) == ["error"]

    server.answer = lambda _: "yes"
    run_one(project, *NANO, app=app).assert_outcomes(passed=1)
    assert texts(server) == ["hello", *["Are you sure of a fact?"] * 2]
    run_one(project, *OFFLINE).assert_outcomes(passed=1)


def test_a_refusal_is_an_answer_and_kept(project: pytest.Pytester, server: OpenAIServer) -> None:
    server.answer = lambda _: Reply(status=400)
    assert run_one(project, "--tiers=nano,full").parseoutcomes() == {"unsupported": 2}
    offline = run_one(project, "--tiers=nano,full", "-p", "tests.no_network")
    assert offline.parseoutcomes() == {"unsupported": 2}
    assert "connections attempted: 0" in output(offline)


# The files


def test_one_cassette_for_each_function_and_tier_and_nothing_else(
    project: pytest.Pytester,
) -> None:
    run_one(project, "--tiers=nano,full", "--tiers-samples=2").assert_outcomes(passed=4)
    files = [path for path in (project.path / "cassettes").rglob("*") if path.is_file()]
    assert {path.relative_to(project.path).as_posix() for path in files} == {
        "cassettes/.gitattributes",
        "cassettes/.pytest-tiers/.gitignore",
        "cassettes/.pytest-tiers/fold.lock",
        "cassettes/test_it/test_ask[full].yaml",
        "cassettes/test_it/test_ask[nano].yaml",
    }


def test_a_cassette_can_be_read_in_a_review(project: pytest.Pytester, server: OpenAIServer) -> None:
    server.answer = lambda _: Reply("你好 😀", gzip=True, model="nano-model-2026-03-17")
    run_one(project, *NANO, app=ONE_CALL.format(prompt="'早上好'")).assert_outcomes(passed=1)
    text = cassette(project).read_text()
    assert '          "content": "早上好"\n' in text
    assert '            "content": "你好 😀",\n' in text
    assert "gzip" not in text
    assert "binary" not in text
    models = ("model_asked: gpt-5.4", "model: nano-model", "answered_by: nano-model-2026-03-17")
    metadata = text[text.index("\nmetadata:") :]
    assert "\n      ".join([f"    - {models[0]}", *models[1:], "recorded_at: '20"]) in metadata
    run_one(project, *OFFLINE).assert_outcomes(passed=1)


def test_no_secret_is_in_a_cassette(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-app")
    monkeypatch.setenv("NANO_KEY", "sk-secret-of-the-tier")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    server.answer = lambda _: "No, sk-secret-of-the-tier is no key of org-x."
    config = TIER.format(
        name="nano",
        url=f"{server.url}?api_key=secret-in-the-url",
        more='api_key_env = "NANO_KEY"',
    )
    prompt = "'Is sk-secret-of-the-app my key?'"
    app = ONE_CALL.format(prompt=prompt)
    run_one(project, *NANO, app=app, config=config).assert_outcomes(passed=1)
    for file in (project.path / "cassettes").rglob("*"):
        assert not file.is_file() or "secret" not in file.read_text()
    text = cassette(project).read_text()
    assert "Is <OPENAI_API_KEY> my key?" in text
    assert "No, <NANO_KEY> is no key" in text
    assert "org-of-the-test" not in text
    assert "cookie-of-the-test" not in text
    run_one(project, *OFFLINE).assert_outcomes(passed=1)


CASES = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("name", {names})
def test_ask(name):
    assert ask(f"Is {{name}} a name?")
"""


def test_another_case_changes_only_its_part(project: pytest.Pytester) -> None:
    def record(*names: str) -> list[str]:
        project.makepyfile(test_it=CASES.format(names=names))
        project.runpytest(*NANO).assert_outcomes(passed=len(names))
        return cassette(project).read_text().splitlines()

    before = record("Ada", "Zoe")
    after = record("Zoe", "Ada", "Max")
    removed = [line for line in before if line not in after]
    added = [line for line in after if line not in before]
    assert removed == []
    assert [line for line in added if "Is Max a name?" in line]
    assert not [line for line in added if "Ada" in line or "Zoe" in line]


def test_the_same_answers_again_change_no_cassette(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    run_one(project, *NANO)
    before = cassette(project).read_bytes()
    run_one(project, *NANO, "--tiers-record=all").assert_outcomes(passed=1)
    assert len(server.requests) == 2
    assert cassette(project).read_bytes() == before
    server.answer = lambda _: "another answer"
    run_one(project, *NANO, "--tiers-record=all")
    assert cassette(project).read_bytes() != before


def test_plain_vcrpy_replays_a_cassette(project: pytest.Pytester, server: OpenAIServer) -> None:
    import openai
    import vcr

    run_one(project, *NANO, app=ONE_CALL.format(prompt="'hello'"))
    server.stop()
    client = openai.OpenAI(base_url=server.url, api_key="sk-any", max_retries=0)
    with vcr.use_cassette(str(cassette(project)), record_mode="none"):
        made = client.chat.completions.create(
            model="nano-model", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
        )
    client.close()
    assert made.choices[0].message.content == "OK"


def test_a_function_that_was_recorded_below_another_root_is_recorded_there(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    run_one(project, *NANO, "--tiers-cassettes=elsewhere").assert_outcomes(passed=1)
    assert (project.path / "elsewhere/test_it/test_ask[nano].yaml").exists()
    assert not (project.path / "cassettes").exists()
    run_one(project, *OFFLINE, "--tiers-cassettes=elsewhere").assert_outcomes(passed=1)
    assert len(server.requests) == 1


# Folders that take nothing


def test_a_disk_that_takes_no_journal_stops_the_run_before_it_costs_anything(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    (project.path / "cassettes").mkdir()
    (project.path / "cassettes" / ".pytest-tiers").write_text("in the way")
    result = run_one(project, "--tiers=nano,full")
    result.assert_outcomes(failed=2)
    assert outcomes(report()) == ["error"] * 2
    assert "answers cannot be saved under" in output(result)
    assert "fix the folder's permissions" in output(result)
    assert server.requests == []


def test_a_replay_works_where_nothing_can_be_written(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    run_one(project, *NANO)
    for path in (project.path / "cassettes" / ".pytest-tiers").iterdir():
        path.unlink()
    (project.path / "cassettes" / ".pytest-tiers").rmdir()
    (project.path / "cassettes" / ".pytest-tiers").write_text("in the way")
    run_one(project, *OFFLINE).assert_outcomes(passed=1)
    assert len(server.requests) == 1


# Processes


def test_a_killed_run_loses_nothing_that_it_paid_for(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(
        test_it="""
        import os, pytest
        from app import ask

        @pytest.mark.tiers
        @pytest.mark.parametrize("number", range(3))
        def test_ask(number):
            assert ask(f"question {number}")
            if number == 1 and "KILL" in os.environ:
                os.kill(os.getpid(), 9)
        """
    )
    monkeypatch.setenv("KILL", "now")
    assert project.runpytest_subprocess(*NANO).ret == -9
    assert texts(server) == ["question 0", "question 1"]
    assert not cassette(project).exists()
    monkeypatch.delenv("KILL")
    project.runpytest(*NANO).assert_outcomes(passed=3)
    assert texts(server) == ["question 0", "question 1", "question 2"]
    project.runpytest(*OFFLINE).assert_outcomes(passed=3)


def test_workers_record_into_one_cassette(project: pytest.Pytester, server: OpenAIServer) -> None:
    project.makepyfile(test_it=CASES.format(names=[f"name {number}" for number in range(6)]))
    project.runpytest_subprocess(*NANO, "-n", "2").assert_outcomes(passed=6)
    assert len(server.requests) == 6
    project.runpytest(*OFFLINE).assert_outcomes(passed=6)
    assert not list((project.path / "cassettes" / ".pytest-tiers").glob("journal-*"))


def test_a_second_run_on_the_same_folder_leaves_the_first_ones_answers_alone(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run starts the second one from inside its first test."""
    project.makepyfile(
        test_it="""
        import os, pytest, subprocess, sys
        from app import ask

        @pytest.mark.tiers
        @pytest.mark.parametrize("case", ["a", "b", "c"])
        def test_ask(case):
            assert ask(f"case {case}")
            if os.environ.pop("OUTER", ""):
                command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tiers=nano"]
                subprocess.run([*command, "-k", "b-nano", "."], check=True)
        """
    )
    monkeypatch.setenv("OUTER", "1")
    monkeypatch.setenv("PYTHONPATH", str(project.path), prepend=os.pathsep)
    project.runpytest(*NANO).assert_outcomes(passed=3)
    # The first run had read the cassette before the second one wrote it.
    assert texts(server) == ["case a", "case b", "case b", "case c"]
    project.runpytest(*OFFLINE).assert_outcomes(passed=3)


def test_the_tables_of_the_project_are_needed_for_none_of_this(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    project.makepyprojecttoml(PYTEST)
    args = ("--tiers=small=m1,large=m2", "--tiers-max-calls=9")
    run_one(project, *args).assert_outcomes(passed=2)
    run_one(project, *args, "-p", "tests.no_network").assert_outcomes(passed=2)
