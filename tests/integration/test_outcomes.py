"""Outcomes of trials: the wire decides first, and nothing that is no answer looks like one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-report=out.json")

ONE_TEST = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", range({cases}))
def test_ask(number):
    assert "OK" in ask(f"question {{number}}")
"""

#: An application that makes up an answer when the API fails.
FORGIVING_APP = """
import openai

client = openai.OpenAI(max_retries=0)


def ask(text):
    try:
        completion = client.chat.completions.create(
            model="gpt-5.4", messages=[{"role": "user", "content": text}]
        )
    except openai.APIError:
        return "unknown, but OK"
    return completion.choices[0].message.content
"""


def outcomes(report: dict[str, Any]) -> dict[str, list[str]]:
    """Outcomes of the trials by tier, in order."""
    found: dict[str, list[str]] = {}
    for trial in report["trials"]:
        found.setdefault(trial["tier"], []).append(trial["outcome"])
    return found


def reasons(report: dict[str, Any], tier: str) -> list[str]:
    return [trial["reason"] for trial in report["trials"] if trial["tier"] == tier]


def nano_says(reply: str | Reply) -> Callable[[dict[str, Any]], str | Reply]:
    """The flagship says OK, nano what is given."""
    return lambda request: reply if request["model"] == "nano-model" else "OK"


@pytest.fixture
def forgiving(project: pytest.Pytester) -> pytest.Pytester:
    """A project whose application catches every API error and answers with a default."""
    project.makepyfile(app=FORGIVING_APP)
    return project


def test_a_wrong_answer_is_missed_and_fails_nothing(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = nano_says("no idea")
    project.makepyfile(ONE_TEST.format(cases=2))
    result = project.runpytest(*COMPARE)
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 2, "missed": 2}
    assert outcomes(report()) == {"nano": ["missed"] * 2, "full": ["passed"] * 2}
    assert "AssertionError" in reasons(report(), "nano")[0]


def test_a_missed_flagship_fails_nothing_either(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = lambda _: "no idea"
    project.makepyfile(ONE_TEST.format(cases=1))
    assert project.runpytest(*COMPARE).ret == 0
    assert outcomes(report()) == {"nano": ["missed"], "full": ["missed"]}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=401),
        Reply(status=404),
        Reply(status=429),
        Reply(status=500),
        Reply(status=503),
        Reply(drop="before"),
        Reply(drop="midway"),
    ],
    ids=["401", "model-not-found", "429", "500", "503", "no-byte", "cut-off"],
)
def test_a_default_after_a_failed_call_is_an_error_and_no_agreement(
    forgiving: pytest.Pytester, server: OpenAIServer, report: Report, reply: Reply
) -> None:
    server.answer = nano_says(reply)
    forgiving.makepyfile(ONE_TEST.format(cases=1))
    result = forgiving.runpytest(*COMPARE)
    assert result.ret == 1
    assert result.parseoutcomes() == {"passed": 1, "failed": 1}
    found = report()
    assert outcomes(found) == {"nano": ["error"], "full": ["passed"]}
    (prompt,) = found["prompts"]
    assert prompt["comparisons"]["nano"]["verdict"] == "no-data"
    assert prompt["comparisons"]["nano"]["missing_trials"] == 1


def test_a_refused_request_that_fails_the_test_is_unsupported(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = nano_says(Reply(status=400))
    project.makepyfile(ONE_TEST.format(cases=2))
    result = project.runpytest(*COMPARE)
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 2, "unsupported": 2}
    found = report()
    assert outcomes(found)["nano"] == ["unsupported"] * 2
    assert "max_tokens" in reasons(found, "nano")[0]
    assert found["prompts"][0]["comparisons"]["nano"]["verdict"] == "unsupported"
    server.stop()
    assert project.runpytest(*COMPARE).parseoutcomes() == {"passed": 2, "unsupported": 2}


def test_a_refusal_that_the_application_copes_with_is_passed(
    forgiving: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = nano_says(Reply(status=400))
    forgiving.makepyfile(ONE_TEST.format(cases=1))
    assert forgiving.runpytest(*COMPARE).ret == 0
    assert outcomes(report())["nano"] == ["passed"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_model_that_is_gone_stops_its_tier_only_and_is_one_message(
    project: pytest.Pytester, server: OpenAIServer, report: Report, status: int
) -> None:
    server.answer = nano_says(Reply(status=status, message="It was retired.", code=""))
    if status == 404:
        server.answer = nano_says(Reply(status=404, message="No such model: it was retired."))
    project.makepyfile(ONE_TEST.format(cases=3))
    result = project.runpytest(*COMPARE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 3, "failed": 1, "skipped": 2}
    assert outcomes(report()) == {"nano": ["error"] * 3, "full": ["passed"] * 3}
    assert server.calls == {"nano-model": 1, "full-model": 3}
    assert 'tier "nano" stopped' in reasons(report(), "nano")[2]
    summary = " ".join(result.stdout.str().partition("= tiers =")[2].split())
    assert f"- nano: nano-model is gone ({status}: " in summary
    assert "it was retired). 3 trials of test_" in summary.replace("It was", "it was")
    assert "If it was retired: pytest-tiers replace nano NEW=MODEL" in summary
    assert summary.count("was retired)") == 1
    [gone] = report()["models_gone"]
    assert (gone["tier"], gone["model"], gone["trials"]) == ("nano", "nano-model", 3)


def test_an_answer_that_a_cache_gave_to_another_tier_is_noticed(
    project: pytest.Pytester, report: Report
) -> None:
    project.makepyfile(
        """
        import functools
        import pytest
        from app import ask

        cached = functools.lru_cache(ask)

        @pytest.mark.tiers
        def test_cached():
            assert cached("question") == "OK"
        """
    )
    result = project.runpytest(*COMPARE)
    assert result.ret == 1
    found = report()
    assert outcomes(found) == {"nano": ["passed"], "full": ["no-call"]}
    assert "cache" in reasons(found, "full")[0]
    assert found["prompts"][0]["comparisons"]["nano"]["verdict"] == "no-data"


def test_a_no_call_that_shows_only_later_fails_the_run_all_the_same(
    project: pytest.Pytester, report: Report
) -> None:
    project.makepyfile(
        """
        import pytest
        from app import ask

        answers = {"nano": "OK"}

        @pytest.mark.tiers
        def test_half_mocked(request):
            answer = answers.get("nano" if "nano" in request.node.name else "full")
            assert (answer or ask("question")) == "OK"
        """
    )
    result = project.runpytest(*COMPARE)
    assert result.parseoutcomes() == {"passed": 2}
    assert outcomes(report()) == {"nano": ["no-call"], "full": ["passed"]}
    assert result.ret == 1


def test_a_prompt_that_never_calls_a_model_has_no_verdict(
    project: pytest.Pytester, report: Report
) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.tiers
        def test_mocked():
            assert "OK"
        """
    )
    result = project.runpytest(*COMPARE)
    assert result.ret == 0
    assert report()["prompts"][0]["comparisons"] == {}
    result.stdout.fnmatch_lines(["*test_mocked*no*model*"])


def test_a_fixture_wider_than_a_test_may_not_call_a_model(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(
        """
        import pytest
        from app import ask

        @pytest.fixture(scope="module")
        def shared():
            return ask("question")

        @pytest.mark.tiers
        def test_shared(shared):
            assert shared == "OK"
        """
    )
    result = project.runpytest(*COMPARE)
    assert result.ret == 1
    assert outcomes(report()) == {"nano": ["error"], "full": ["error"]}
    assert 'fixture "shared"' in reasons(report(), "nano")[0]
    assert 'scope="function"' in reasons(report(), "nano")[0]
    assert not server.calls


def test_a_shared_answer_is_noticed_when_an_untiered_test_asked_first(
    project: pytest.Pytester, server: OpenAIServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    project.makepyfile(
        """
        import pytest
        from app import ask

        @pytest.fixture(scope="module")
        def shared():
            return ask("question")

        def test_first(shared):
            assert shared == "OK"

        @pytest.mark.tiers
        def test_shared(shared):
            assert shared == "OK"
        """
    )
    project.runpytest(*COMPARE)
    assert outcomes(report()) == {"nano": ["error"], "full": ["error"]}
    assert server.calls == {"gpt-5.4": 1}


def test_a_function_fixture_that_fails_is_missed_after_an_answer_and_an_error_before(
    project: pytest.Pytester, report: Report
) -> None:
    project.makepyfile(
        """
        import pytest
        from app import ask

        @pytest.fixture
        def wrong_answer():
            assert ask("question") == "something else"

        @pytest.fixture
        def broken():
            raise RuntimeError("no database")

        @pytest.mark.tiers
        def test_after(wrong_answer): ...

        @pytest.mark.tiers
        def test_before(broken): ...
        """
    )
    result = project.runpytest("--tiers=full", "--tiers-report=out.json")
    by_prompt = {trial["prompt"].rpartition("::")[2]: trial for trial in report()["trials"]}
    assert by_prompt["test_after"]["outcome"] == "missed"
    assert by_prompt["test_before"]["outcome"] == "error"
    assert "no database" in by_prompt["test_before"]["reason"]
    assert result.ret == 1


def test_compare_makes_an_output_unlike_the_flagships_a_miss(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = nano_says("Nearly")
    project.makepyfile(
        """
        def test_summary(tier):
            reply = tier.client.responses.create(model=tier.model, input="text")
            tier.compare(reply.output_text)
            assert [call.model for call in tier.calls] == [tier.model]
        """
    )
    server.answer = lambda request: "Nearly" if request["model"] == "nano-model" else "OK"
    assert project.runpytest(*COMPARE).ret == 0
    found = report()
    assert outcomes(found) == {"nano": ["missed"], "full": ["passed"]}
    assert found["prompts"][0]["comparisons"]["nano"]["output_mismatches"] == 1


def test_an_output_that_cannot_be_kept_is_an_error_that_says_so(
    project: pytest.Pytester, report: Report
) -> None:
    project.makepyfile(
        """
        def test_summary(tier):
            tier.client.responses.create(model=tier.model, input="text")
            tier.compare(object())
        """
    )
    assert project.runpytest(*COMPARE).ret == 1
    assert outcomes(report())["full"] == ["error"]
    assert "tier.compare()" in reasons(report(), "full")[0]


def test_a_judges_failure_is_an_error_too(
    project: pytest.Pytester, server: OpenAIServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    server.answer = lambda request: Reply(status=500) if request["model"] == "judge" else "OK"
    project.makepyfile(
        """
        import openai
        import pytest
        import pytest_tiers
        from app import ask

        judge = openai.OpenAI(max_retries=0)

        @pytest.mark.tiers
        def test_judged():
            answer = ask("question")
            with pytest_tiers.as_is():
                judge.chat.completions.create(
                    model="judge", max_tokens=5, messages=[{"role": "user", "content": answer}]
                )
        """
    )
    project.runpytest(*COMPARE, "--tiers-max-calls=20")
    assert outcomes(report()) == {"nano": ["error"], "full": ["error"]}


def test_an_everyday_run_fails_what_is_missed(project: pytest.Pytester, report: Report) -> None:
    project.makepyfile(
        """
        import pytest
        from openai import OpenAI

        @pytest.mark.tiers
        @pytest.mark.parametrize("wanted", ["OK", "something else"])
        def test_ask(wanted):
            reply = OpenAI().responses.create(model="full-model", input="question")
            assert reply.output_text == wanted
        """
    )
    project.runpytest("--tiers=full")
    result = project.runpytest("--tiers-report=out.json")
    assert result.ret == 1
    assert result.parseoutcomes() == {"passed": 1, "failed": 1}
    assert outcomes(report()) == {"current": ["passed", "missed"]}


@pytest.mark.parametrize("marked", [True, False], ids=["by-marker", "by-option"])
def test_rerun_plugins_do_not_run_a_trial_again(
    project: pytest.Pytester, server: OpenAIServer, marked: bool
) -> None:
    server.answer = lambda _: Reply(status=400)
    project.makepyfile(
        f"""
        import pytest
        from app import ask

        pytestmark = [pytest.mark.flaky(reruns=2)] if {marked} else []

        @pytest.mark.tiers
        def test_ask():
            assert ask("question") == "OK"

        untiered = []

        def test_untiered():
            untiered.append(1)
            assert len(untiered) == 2
        """
    )
    result = project.runpytest("--tiers=full", *([] if marked else ["--reruns=1"]))
    assert result.parseoutcomes() == {"unsupported": 1, "rerun": 1, "passed": 1}
    assert server.calls == {"full-model": 1}
    result.stdout.fnmatch_lines(["tiers: Trials are not run again*"])
