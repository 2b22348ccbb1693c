"""``tier.compare``: the flagship's output is the yardstick, however the trials are run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-report=out.json")


def says(**by_tier: str) -> Callable[[dict[str, Any]], str]:
    return lambda request: by_tier[request["model"].removesuffix("-model")]


def a_test(*lines: str, parameters: str = "") -> str:
    """A test module whose one test ends with ``lines``; ``said`` is the answer."""
    body = "\n    ".join(lines)
    return f"""
import dataclasses, json, pydantic, pytest
from app import ask

class Broken(pydantic.BaseModel):
    def model_dump(self, **how):
        return 1 / 0

{parameters}
def test_ask(tier, number=1):
    said = ask(f"question {{number}}")
    {body}
"""


def matches(report: dict[str, Any], tier: str = "nano") -> list[bool | None]:
    return [each["output_match"] for each in report["trials"] if each["tier"] == tier]


def outcomes(report: dict[str, Any], tier: str = "nano") -> list[str]:
    return [each["outcome"] for each in report["trials"] if each["tier"] == tier]


@pytest.mark.parametrize(
    ("line", "nano", "full", "match"),
    [
        ("tier.compare(said)", "Pay  THE bill", "pay the bill", True),
        ("tier.compare(said, by='deep')", "Pay", "pay", False),
        ("tier.compare(said, by='json')", '{"a": [1, 2]}', '{"a":[1,2]}', True),
        ("tier.compare(json.loads(said), ignore_order=True)", "[1, 2]", "[2, 1]", True),
        ("tier.compare(json.loads(said))", "[1, 2]", "[2, 1]", False),
        ("tier.compare(said, by=lambda one, other: len(one) == len(other))", "abc", "xyz", True),
        ("tier.compare(said, by=lambda *both: 0.7, threshold=0.8)", "abc", "abc", False),
        (
            "tier.compare(pydantic.create_model('Said', text=str)(text=said))",
            "abc",
            "xyz",
            False,
        ),
        (
            "tier.compare([dataclasses.make_dataclass('Said', ['text'])(said)])",
            "abc",
            "abc",
            True,
        ),
        (
            "tier.compare(json.loads(said), exclude_obj_callback=lambda *found: True)",
            "[1]",
            "[2]",
            True,
        ),
        # Nested so deeply that Python cannot parse it: the model's fault, and the run goes on.
        ("tier.compare(said, by='json')", "[" * 50_000 + "]" * 50_000, "[]", False),
    ],
)
def test_ways_to_compare(
    project: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    line: str,
    nano: str,
    full: str,
    match: bool,
) -> None:
    server.answer = says(nano=nano, full=full)
    project.makepyfile(a_test(line))
    assert project.runpytest(*COMPARE).ret == 0
    assert matches(report()) == [match]
    assert outcomes(report()) == ["passed" if match else "missed"]
    assert matches(report(), "full") == [None]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("tier.compare(said, by='deap')", 'did you mean "deep"?'),
        ("tier.compare(said, by='deep', ignoreorder=True)", "not valid: ignoreorder"),
        ("tier.compare({said})", "cannot keep this output"),
        ("tier.compare(said); tier.compare(said)", "called twice in one trial"),
        ("loop = []; loop.append(loop); tier.compare(loop)", "cannot keep this output"),
        ("tier.compare(json.loads('[' * 400 + ']' * 400))", "more than 100 levels deep"),
        ("tier.compare(Broken())", "cannot keep this output (ZeroDivisionError: "),
    ],
)
def test_misuse_is_an_error_that_says_how(
    project: pytest.Pytester, report: Report, line: str, reason: str
) -> None:
    project.makepyfile(a_test(line))
    assert project.runpytest(*COMPARE).ret == 1
    assert outcomes(report()) == outcomes(report(), "full") == ["error"]
    assert reason in report()["trials"][0]["reason"]


def test_a_test_without_an_assertion_is_decided_by_agreement(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    """The flagship is the yardstick of a prompt that has no other."""
    server.answer = says(nano="Refund", mini="refund", full="refund")
    cases = "@pytest.mark.parametrize('number', range(40))"
    project.makepyfile(a_test("tier.compare(said)", parameters=cases).replace("=1", ""))
    server.answer = lambda request: (
        "no idea" if request["model"] == "nano-model" else "Refund." + " " * len(request["model"])
    )
    result = project.runpytest("--tiers=nano,mini,full", "--tiers-report=out.json")
    assert result.ret == 0
    found = report()["prompts"][0]["comparisons"]
    assert (found["nano"]["verdict"], found["mini"]["verdict"]) == ("worse", "safe")
    assert (found["nano"]["output_mismatches"], found["mini"]["output_mismatches"]) == (40, 0)
    assert found["nano"]["difference"] == -1
    result.stdout.fnmatch_lines(["*mini * 40/40 * safe *"])


def test_a_degree_of_agreement_is_a_score(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = says(nano="ab", full="abcd")
    project.makepyfile(a_test("tier.compare(said, by=lambda one, other: len(other) / len(one))"))
    result = project.runpytest(*COMPARE)
    assert outcomes(report()) == ["passed"]
    nano, _ = report()["trials"]
    assert (nano["agreement"], nano["output_match"]) == (0.5, None)
    assert report()["prompts"][0]["comparisons"]["nano"]["difference"] == -0.5
    result.stdout.fnmatch_lines(["*1/1 (0.50)*"])


OWN = """
def pytest_tiers_compare(by, flagship, candidate, options):
    if by == "first":
        return flagship[:options["letters"]] == candidate[:options["letters"]]
    if by is None and isinstance(flagship, str):
        return flagship[-1] == candidate[-1]
"""


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("tier.compare(said, by='first', letters=2)", True),
        ("tier.compare(said, by='first', letters=3)", False),
        ("tier.compare(said)", False),
        ("tier.compare([said[0]])", True),
        ("tier.compare(said, by='deep')", False),
    ],
)
def test_a_projects_own_comparison(
    project: pytest.Pytester, server: OpenAIServer, report: Report, line: str, match: bool
) -> None:
    server.answer = says(nano="abX", full="abY")
    project.makeconftest(OWN)
    project.makepyfile(a_test(line))
    assert project.runpytest(*COMPARE).ret == 0
    assert matches(report()) == [match]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("tier.compare(said, by='furst')", 'no hook pytest_tiers_compare knows by="furst"'),
        ("tier.compare(said, by='first')", "KeyError: 'letters'"),
        ("tier.compare(said, by=lambda one, other: 'yes')", "expected True, False or a number"),
    ],
)
def test_a_comparison_that_fails_is_an_error_and_no_vote(
    project: pytest.Pytester, report: Report, line: str, reason: str
) -> None:
    """It shows when the flagship has run: the run fails all the same."""
    project.makeconftest(OWN)
    project.makepyfile(a_test(line))
    result = project.runpytest(*COMPARE)
    assert result.ret == 1
    assert outcomes(report()) == ["error"]
    assert reason in report()["trials"][0]["reason"]
    assert report()["prompts"][0]["comparisons"]["nano"]["verdict"] == "no-data"


MANY = a_test(
    "tier.compare(said, by=lambda one, other: one == other)",
    parameters="@pytest.mark.parametrize('number', range(6))",
).replace("=1", "")


@pytest.mark.parametrize("mode", ["load", "loadfile"])
def test_workers_settle_what_one_process_would(
    project: pytest.Pytester, server: OpenAIServer, report: Report, mode: str
) -> None:
    """A callable does not travel, so the trials of a case stay together, in replay too."""
    server.answer = lambda request: (
        "no" if "4" in str(request["messages"]) and request["model"] == "nano-model" else "yes"
    )
    project.makepyfile(MANY)
    project.runpytest(*COMPARE, "--tiers-samples=2")
    serial = report()
    assert matches(serial) == [True] * 8 + [False] * 2 + [True] * 2
    assert matches(serial, "full") == [True] * 12
    server.stop()
    result = project.runpytest_subprocess(*COMPARE, "--tiers-samples=2", "-n2", f"--dist={mode}")
    assert result.ret == 0
    replayed = report()
    assert json.dumps(replayed["prompts"]) == json.dumps(serial["prompts"])
    assert [each["output_match"] for each in replayed["trials"]] == [
        each["output_match"] for each in serial["trials"]
    ]


def test_the_order_of_trials_does_not_matter(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = says(nano="no", full="yes")
    project.makepyfile(MANY)
    project.runpytest("--tiers=full,nano", "--tiers-flagship=full", "--tiers-report=out.json")
    assert matches(report()) == [False] * 6


def test_free_text_that_never_repeats_is_not_held_against_the_candidate(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    numbers = iter(range(1000))
    server.answer = lambda _: f"words {next(numbers)}"
    cases = "@pytest.mark.parametrize('number', range(12))"
    project.makepyfile(a_test("tier.compare(said)", parameters=cases).replace("=1", ""))
    once = project.runpytest(*COMPARE)
    assert report()["prompts"][0]["comparisons"]["nano"]["verdict"] == "worse"
    text = " ".join(once.stdout.str().split())
    assert "whether full repeats its own is not known: --tiers-samples=2" in text
    result = project.runpytest(*COMPARE, "--tiers-samples=2")
    found = report()["prompts"][0]
    assert found["comparisons"]["nano"]["verdict"] == "flagship-fails"
    assert found["comparisons"]["nano"]["difference"] == 0
    assert found["tiers"]["full"]["inconsistent"] == 24
    assert found["recommended"] is None
    text = " ".join(result.stdout.str().split())
    assert "passes and repeats its output in only 0 of 24" in text


def test_what_differs_is_shown(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = says(nano='{"team": "tech"}', full='{"team": "billing"}')
    project.makepyfile(a_test("tier.compare(json.loads(said))"))
    result = project.runpytest(*COMPARE, "--tiers-report=out.html", "-v")
    difference = """Value of root['team'] changed from "billing" to "tech"."""
    result.stdout.fnmatch_lines([f"  {difference.replace('[', '[[]')}"])
    assert report()["trials"][0]["output_difference"] == difference
    assert "Value of root[&#39;team&#39;]" in (project.path / "out.html").read_text()


def test_an_everyday_run_compares_nothing(
    project: pytest.Pytester, server: OpenAIServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    numbers = iter(range(100))
    server.answer = lambda _: f"words {next(numbers)}"
    project.makepyfile(MANY)
    args = ("--tiers-report=out.json", "--tiers-samples=2", "--tiers-record=once")
    project.runpytest(*args).assert_outcomes(passed=12)
    assert {each["output_match"] for each in report()["trials"]} == {None}
