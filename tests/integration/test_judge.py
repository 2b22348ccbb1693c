"""``tier.compare(by="judge")`` and ``by="semantic"``: models decide, and all of it is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.openai_server import OpenAIServer, Reply

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-report=out.json")

CONFIGURED = """
[tool.pytest-tiers.tiers.arbiter]
model = "arbiter-model"
base_url = "{url}"
price_as = "gpt-5.4-mini"

[tool.pytest-tiers.judge]
tier = "arbiter"

[tool.pytest-tiers.embeddings]
tier = "arbiter"
model = "text-embedding-3-small"
threshold = 0.9
price = {{ input = 0.02 }}
"""

TEST = """
import pytest
from app import ask

@pytest.mark.parametrize("number", range({cases}))
def test_ask(number, tier):
    tier.compare(ask(f"question {{number}}"), {how})
"""


@pytest.fixture
def judged(project: pytest.Pytester, server: OpenAIServer) -> pytest.Pytester:
    """A project with a judge and embeddings."""
    config = project.path / "pyproject.toml"
    config.write_text(config.read_text() + CONFIGURED.format(url=server.url))
    project.makepyfile(TEST.format(cases=3, how="by='judge'"))
    return project


def gist(text: str) -> tuple[bool, bool]:
    return "refused" in text, "20" in text


def answers(
    nano: str = "We shall refund $20.",
    full: str = "A refund of 20 dollars.",
    judge: Callable[[str, str], str | Reply] | None = None,
) -> Callable[[dict[str, Any]], str | Reply]:
    """A server whose judge looks for the gist, unless said otherwise."""

    def fair(first: str, second: str) -> str:
        return "SAME" if gist(first) == gist(second) else "DIFFERENT"

    def answer(request: dict[str, Any]) -> str | Reply:
        if request["model"] == "arbiter-model":
            pair = json.loads(request["messages"][-1]["content"])
            return (judge or fair)(pair["first"], pair["second"])
        return nano if request["model"] == "nano-model" else full

    return answer


def nano_trials(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in report["trials"] if each["tier"] == "nano"]


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["serial", "workers"])
def test_a_judge_decides_and_is_replayed(
    judged: pytest.Pytester, server: OpenAIServer, report: Report, workers: tuple[str, ...]
) -> None:
    server.answer = answers()
    run = judged.runpytest_subprocess if workers else judged.runpytest
    result = run(*COMPARE, *workers)
    assert result.ret == 0
    recorded = report()
    assert [each["output_match"] for each in nano_trials(recorded)] == [True] * 3
    processes = 2 if workers else 1
    # Two orders for each case; two control pairs in both orders, once in each process.
    assert server.calls["arbiter-model"] <= 3 * 2 + processes * 4
    made = recorded["prompts"][0]["as_is"]
    assert made["calls"] == server.calls["arbiter-model"]
    assert float(made["cost_usd"]) > 0
    kinds = {call["left_alone"] for each in recorded["trials"] for call in each["calls"]}
    assert kinds == {None, "judge"}
    stats = recorded["prompts"][0]["tiers"]
    assert stats["nano"]["calls"] == stats["full"]["calls"] == 3
    assert all("test_ask[" in path.name for path in Path(judged.path).rglob("*.yaml"))
    assert {path.name for path in Path(judged.path).rglob("*~*.yaml")} == {
        "test_ask[nano~full].yaml",
        "test_ask[arbiter~arbiter].yaml",
    }

    server.stop()
    replayed = run(*COMPARE, *workers, "--tiers-record=none")
    assert replayed.ret == 0
    assert [each["output_match"] for each in nano_trials(report())] == [True] * 3
    assert report()["prompts"][0]["comparisons"] == recorded["prompts"][0]["comparisons"]
    assert report()["spent_usd"] == "0"
    assert report()["unused_recordings"] == 0


def test_what_the_judge_calls_different_is_missed(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = answers(nano="Your refund of $20 was refused.")
    assert judged.runpytest(*COMPARE).ret == 0
    found = nano_trials(report())
    assert [each["outcome"] for each in found] == ["missed"] * 3


def test_equal_outputs_need_no_judge(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = answers(nano="Refund.", full=" refund. ")
    judged.runpytest(*COMPARE)
    assert [each["output_match"] for each in nano_trials(report())] == [True] * 3
    assert server.calls["arbiter-model"] == 4  # the control


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        (lambda *_: "SAME", "it calls two texts the same that say the opposite"),
        (lambda *_: "DIFFERENT", "it calls two texts different that say the same"),
        (
            lambda first, second: "SAME" if first < second else "DIFFERENT",
            "it calls two texts different that say the same",
        ),
        (lambda *_: "Both are fine.", "the judge gave no vote: it answered 'Both are fine.'"),
        (lambda *_: Reply(status=400), "the judge cannot be relied on"),
    ],
    ids=["always same", "always different", "by order", "unparsable", "refused"],
)
def test_a_useless_judge_is_no_evidence(
    judged: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    judge: Callable[[str, str], str | Reply],
    reason: str,
) -> None:
    server.answer = answers(judge=judge)
    result = judged.runpytest(*COMPARE)
    assert result.ret == 1
    found = nano_trials(report())
    assert [each["outcome"] for each in found] == ["error"] * 3
    assert reason in found[0]["reason"]
    assert report()["prompts"][0]["comparisons"]["nano"]["verdict"] == "no-data"
    assert reason in " ".join(result.stdout.str().split())


def test_a_judge_that_goes_by_the_order_of_two_outputs_is_told(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    """It passes the control, but prefers one order where it is unsure."""

    def unsure(first: str, second: str) -> str:
        if "approved" in first or "approved" in second:
            return "SAME" if gist(first) == gist(second) else "DIFFERENT"
        return "SAME" if first.startswith("A") else "DIFFERENT"

    server.answer = answers(judge=unsure)
    result = judged.runpytest(*COMPARE)
    assert [each["output_match"] for each in nano_trials(report())] == [False] * 3
    assert "contradicts itself" in nano_trials(report())[0]["output_difference"]
    text = " ".join(result.stdout.str().split())
    assert "The judge (arbiter) contradicted itself in 3 of 3 comparisons" in text


def test_one_answer_that_is_no_vote_is_one_error(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    seen: list[str] = []

    def moody(first: str, second: str) -> str:
        if "approved" not in first + second:
            seen.append(first)
            if len(seen) == 3:
                return "Hard to say."
        return "SAME" if gist(first) == gist(second) else "DIFFERENT"

    server.answer = answers(judge=moody)
    assert judged.runpytest(*COMPARE).ret == 1
    assert sorted(each["outcome"] for each in nano_trials(report())) == [
        "error",
        "passed",
        "passed",
    ]
    # An answer is an answer: it is paid for, and a replay gives the same.
    server.answer, before = answers(), server.calls["arbiter-model"]
    assert judged.runpytest(*COMPARE).ret == 1
    assert server.calls["arbiter-model"] == before
    assert judged.runpytest(*COMPARE, "--tiers-record=all").ret == 0
    assert [each["outcome"] for each in nano_trials(report())] == ["passed"] * 3


def test_the_flagship_against_itself_is_judged_too(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    numbers = iter(range(100))
    server.answer = lambda request: (
        f"A refund of $20, number {next(numbers)}."
        if request["model"] != "arbiter-model"
        else answers()(request)
    )
    judged.runpytest(*COMPARE, "--tiers-samples=2")
    full = [each for each in report()["trials"] if each["tier"] == "full"]
    assert [each["output_match"] for each in full] == [True] * 6
    assert [each["output_match"] for each in nano_trials(report())] == [True] * 6
    # Six candidates' outputs and three pairs of the flagship's, in two orders, and the control.
    assert server.calls["arbiter-model"] == (6 + 3) * 2 + 4


def test_a_changed_answer_is_stale_for_the_judge_too(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = answers()
    judged.runpytest(*COMPARE)
    (judged.path / "cassettes" / "test_a_changed_answer_is_stale_for_the_judge_too").joinpath(
        "test_ask[nano].yaml"
    ).unlink()
    server.answer = answers(nano="We pay $20 back.")
    result = judged.runpytest(*COMPARE)
    assert result.ret == 1
    reason = nano_trials(report())[0]["reason"]
    assert "has no answer to a request" in reason
    assert "--tiers=nano,full --tiers-record=new_episodes" in reason
    before = server.calls["arbiter-model"]
    assert judged.runpytest(*COMPARE, "--tiers-record=new_episodes").ret == 0
    assert server.calls["arbiter-model"] == before + 6
    assert [each["output_match"] for each in nano_trials(report())] == [True] * 3


def test_the_limit_holds_for_judges(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = answers()
    result = judged.runpytest(*COMPARE, "--tiers-max-calls=8")
    assert result.ret == 0
    assert sum(server.calls.values()) <= 8
    assert "error" in {each["outcome"] for each in nano_trials(report())}
    assert judged.runpytest(*COMPARE).ret == 0
    assert [each["outcome"] for each in nano_trials(report())] == ["passed"] * 3


def test_equal_outputs_need_no_embeddings(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    judged.makepyfile(TEST.format(cases=1, how="by='semantic', threshold=1.0"))
    server.answer = answers(nano="A  Refund.", full="a refund.")
    assert judged.runpytest(*COMPARE).ret == 0
    assert nano_trials(report())[0]["output_match"] is True
    assert "text-embedding-3-small" not in server.calls


@pytest.mark.parametrize(
    ("nano", "threshold", "match"),
    [("other words", "", False), ("other words", ", threshold=0.01", True)],
)
def test_embeddings_decide_and_are_replayed(
    judged: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    nano: str,
    threshold: str,
    match: bool,
) -> None:
    judged.makepyfile(TEST.format(cases=1, how=f"by='semantic'{threshold}"))
    server.answer = answers(nano=nano, full="a refund")
    for _ in range(2):
        assert judged.runpytest(*COMPARE).ret == 0
        (found,) = nano_trials(report())
        assert found["output_match"] is match
        server.stop()
    assert server.calls["text-embedding-3-small"] == 1
    calls = [call for each in report()["trials"] for call in each["calls"]]
    assert {call["left_alone"] for call in calls} == {None, "semantic"}
    assert all(float(call["cost_usd"]) > 0 for call in calls)


def test_a_projects_own_embeddings(
    judged: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    how = "by='semantic', embed=lambda texts: [[len(text), 1] for text in texts], threshold=0.5"
    judged.makepyfile(TEST.format(cases=1, how=how))
    server.answer = answers()
    assert judged.runpytest(*COMPARE).ret == 0
    assert nano_trials(report())[0]["output_match"] is True
    assert "arbiter-model" not in server.calls


OWN = """
from openai import OpenAI
from app import client

def mine(flagship, candidate):
    said = client.chat.completions.create(
        model="my-judge", messages=[{"role": "user", "content": flagship + candidate}]
    )
    return said.choices[0].message.content == "yes"
"""


def test_the_calls_of_a_projects_own_comparison_are_recorded(
    judged: pytest.Pytester, server: OpenAIServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    test = TEST.format(cases=2, how="by=mine")
    judged.makepyfile(own=OWN)
    judged.makepyfile("from own import mine\n" + test)
    server.answer = lambda request: "yes" if request["model"] == "my-judge" else request["model"]
    args = (*COMPARE, "--tiers-max-calls=100")
    assert judged.runpytest_subprocess(*args).ret == 0
    assert [each["output_match"] for each in nano_trials(report())] == [True] * 2
    assert server.calls["my-judge"] == 2
    server.stop()
    assert judged.runpytest_subprocess(*args).ret == 0
    assert [each["output_match"] for each in nano_trials(report())] == [True] * 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('judge]\ntier = "ful"', 'unknown tier "ful"; did you mean "full"?'),
        ('judge]\ntier = "current"', "name a tier with a model"),
        ('judge]\ncriteria = "x"', '"tier" is missing'),
        ('judge]\ntiers = "full"', 'unknown key "tiers"; did you mean "tier"?'),
        ('embeddings]\ntier = "full"', '"model" is missing'),
        ('embeddings]\ntier = "full"\nmodel = "m"\nprice = {}', '"input" is missing'),
        ('embeddings]\ntier = "full"\nmodel = "m"\nthreshold = 7', "expected a number between"),
    ],
)
def test_configuration_is_checked(project: pytest.Pytester, table: str, message: str) -> None:
    config = project.path / "pyproject.toml"
    config.write_text(f"{config.read_text()}\n[tool.pytest-tiers.{table}\n")
    result = project.runpytest(*COMPARE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*pyproject.toml: *tool.pytest-tiers.*{message}*"])
