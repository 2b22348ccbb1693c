"""Keys: none is needed for a replay, none is invented, and a missing one is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import APP, TIERS
from tests.openai_server import OpenAIServer

VARIABLE = "OPENAI_API_KEY"

TESTS = """
import os
from app import ask

import pytest

@pytest.mark.tiers
def test_ask():
    assert ask("q") == "OK"
"""

#: The environment as a test that is not ours, its fixtures and its neighbours see it.
UNTIERED = """
import os

def test_before_any_trial():
    assert os.environ.get("OPENAI_API_KEY") == {value!r}
"""

TIER_WITH_KEY = """
[tool.pytest-tiers.tiers.paid]
model = "paid-model"
base_url = "{url}"
api_key_env = "PAID_KEY"
price_as = "gpt-5.4-mini"
"""


@pytest.fixture
def keyed(project: pytest.Pytester, server: OpenAIServer) -> pytest.Pytester:
    """The project with a tier that needs PAID_KEY."""
    project.makepyprojecttoml((TIERS + TIER_WITH_KEY).format(url=server.url))
    project.makepyfile(test_it=TESTS)
    return project


def test_an_application_that_conftest_imports_replays_without_a_key(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makeconftest("import app")
    project.makepyfile(test_it=TESTS)
    monkeypatch.setenv(VARIABLE, "sk-of-the-developer")
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=2)
    server.stop()
    monkeypatch.delenv(VARIABLE)
    project.runpytest_subprocess("--tiers=nano,full").assert_outcomes(passed=2)


@pytest.mark.parametrize("value", [None, "", "sk-of-the-developer"])
def test_other_tests_and_the_process_see_the_environment_as_it_is(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    project.makepyfile(
        test_a=UNTIERED.format(value=value),
        test_it=TESTS,
        test_z=UNTIERED.format(value=value),
    )
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=4)
    assert os.environ.get(VARIABLE) == value


@pytest.mark.parametrize("args", [[], ["--collect-only"], ["--tiers=unknown"], ["-k", "nothing"]])
def test_the_placeholder_does_not_outlive_the_session(
    project: pytest.Pytester, args: list[str]
) -> None:
    project.makepyfile(test_it="import app\ndef test_a(): ...")
    project.runpytest(*args)
    assert VARIABLE not in os.environ


def test_without_any_trial_no_test_sees_the_placeholder(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=UNTIERED.format(value=None))
    project.runpytest().assert_outcomes(passed=1)


def test_a_trial_sees_the_placeholder_and_has_no_key(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import os
        import pytest, pytest_tiers

        @pytest.mark.tiers
        @pytest.mark.skipif(not pytest_tiers.has_key(), reason="no key")
        def test_with_key(): ...

        @pytest.mark.tiers
        def test_client():
            from openai import OpenAI
            assert OpenAI().api_key
            assert not pytest_tiers.has_key()
        """
    )
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=2, skipped=2)


def test_has_key_with_a_real_key(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "sk-of-the-developer")
    pytester.makepyfile(
        """
        import pytest_tiers

        def test_a():
            assert pytest_tiers.has_key()
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize("opted_in_by", ["option", "table", "lock", None])
def test_only_projects_that_opted_in_get_a_placeholder(
    pytester: pytest.Pytester, opted_in_by: str | None
) -> None:
    pytester.makepyfile(app=APP, test_it="import app\ndef test_a(): ...\ndef test_b(tier): ...")
    pytester.syspathinsert()
    if opted_in_by == "table":
        pytester.makepyprojecttoml("[tool.pytest-tiers]")
    if opted_in_by == "lock":
        Path(pytester.path, "tiers.lock").write_text("version = 1\n")
    result = pytester.runpytest(*["--tiers=nano,full"][: opted_in_by == "option"])
    if opted_in_by is None:
        result.stdout.fnmatch_lines(["*OpenAIError: Missing credentials*"])
    else:
        result.assert_outcomes(passed=3 if opted_in_by == "option" else 2)


def test_placeholder_key_false_turns_it_off(project: pytest.Pytester) -> None:
    project.makepyprojecttoml("[tool.pytest-tiers]\nplaceholder_key = false")
    project.makepyfile(
        test_it="""
        import os, pytest

        @pytest.mark.tiers
        def test_a():
            assert "OPENAI_API_KEY" not in os.environ
        """
    )
    project.runpytest("--tiers=nano,full", "--tiers-record=none").assert_outcomes(passed=2)
    project.makepyfile(test_it=TESTS)
    assert project.runpytest("--tiers=nano,full").ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("value", [None, ""])
def test_a_call_with_the_placeholder_does_not_go_out(
    project: pytest.Pytester,
    server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    project.makepyprojecttoml("[tool.pytest-tiers]")
    project.makepyfile(test_it=TESTS)
    result = project.runpytest("--tiers=nano,full")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*error: OPENAI_API_KEY is not set, so this call cannot go out.*"])
    assert server.requests == []


def test_a_missing_variable_is_named_before_the_first_call(
    keyed: pytest.Pytester, server: OpenAIServer
) -> None:
    result = keyed.runpytest("--tiers=nano,paid,full")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ['ERROR: recording: tier "paid" needs PAID_KEY, which is not set. Set it, leave the tier*']
    )
    assert server.requests == []


def test_a_tiers_own_variable_is_used_and_not_needed_in_a_replay(
    keyed: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAID_KEY", "pk-secret-of-the-vendor")
    monkeypatch.setenv(VARIABLE, "sk-of-the-developer-123")
    keyed.runpytest("--tiers=nano,paid").assert_outcomes(passed=2)
    sent = {request.json["model"]: request.headers for request in server.requests}
    assert sent["paid-model"]["authorization"] == "Bearer pk-secret-of-the-vendor"
    assert "authorization" not in sent["nano-model"]
    assert not any("sk-of-the-developer" in str(request) for request in server.requests)

    server.stop()
    monkeypatch.delenv("PAID_KEY")
    monkeypatch.delenv(VARIABLE)
    keyed.runpytest("--tiers=nano,paid").assert_outcomes(passed=2)
    for file in (keyed.path / "cassettes").rglob("*.*"):
        if file.is_file():
            text = file.read_text()
            assert "pk-secret" not in text
            assert "sk-of-the-developer" not in text


def test_a_missing_variable_is_no_matter_where_nothing_is_recorded(
    keyed: pytest.Pytester, server: OpenAIServer
) -> None:
    result = keyed.runpytest("--tiers=nano,paid", "--tiers-record=none")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*error: no recording of test_it.py::test_ask*"])
    assert server.requests == []


def test_only_a_trial_that_needs_recording_needs_its_variable(
    keyed: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAID_KEY", "pk-secret-of-the-vendor")
    keyed.runpytest("--tiers=paid").assert_outcomes(passed=1)
    monkeypatch.delenv("PAID_KEY")
    # nano is recorded now, paid replays
    keyed.runpytest("--tiers=nano,paid").assert_outcomes(passed=2)
    anew = keyed.runpytest("--tiers=nano,paid", "--tiers-record=all")
    assert anew.ret == pytest.ExitCode.USAGE_ERROR
    anew.stderr.fnmatch_lines(['*tier "paid" needs PAID_KEY*'])


def test_the_tier_fixtures_client_has_the_tiers_own_key(
    keyed: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAID_KEY", "pk-secret-of-the-vendor")
    monkeypatch.setenv(VARIABLE, "sk-of-the-developer")
    keyed.makepyfile(
        test_it="""
        def test_own(tier):
            reply = tier.client.responses.create(model=tier.model, input="q")
            assert reply.output_text == "OK"
        """
    )
    keyed.runpytest("--tiers=nano,paid").assert_outcomes(passed=2)
    authorizations = [request.headers.get("authorization") for request in server.requests]
    assert authorizations == ["Bearer no-key-needed", "Bearer pk-secret-of-the-vendor"]
