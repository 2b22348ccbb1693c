"""--tiers-flagship-calls=lazy: the flagship is called only where a candidate needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

LAZY = (
    "--tiers=mini,full",
    "--tiers-flagship-calls=lazy",
    "--tiers-control=off",
    "--tiers-report=out.json",
)

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("number", range({cases}))
def test_ask(number):
    assert ask(f"question {{number}}") == "OK"
"""


def missing(**numbers: range) -> Callable[[dict[str, Any]], str]:
    """Answers wrongly on the tiers' questions with these numbers."""

    def answer(body: dict[str, Any]) -> str:
        number = int(body["messages"][0]["content"].split()[-1])
        return "wrong" if number in numbers.get(body["model"].split("-")[0], ()) else "OK"

    return answer


@pytest.mark.parametrize("sampling", [(), ("--tiers-samples=auto", "--tiers-max-samples=2")])
def test_a_clean_prompt_makes_no_flagship_call(
    project: pytest.Pytester, server: OpenAIServer, report: Report, sampling: tuple[str, ...]
) -> None:
    project.makepyfile(test_it=TESTS.format(cases=32))
    result = project.runpytest(*LAZY, *sampling)
    assert server.calls == {"mini-model": 32}
    found = report()
    (prompt,) = found["prompts"]
    comparison = prompt["comparisons"]["mini"]
    assert comparison["verdict"] == "safe"
    assert (comparison["spared_pairs"], comparison["missing_trials"]) == (32, 0)
    assert prompt["flagship"] == "full"
    assert prompt["left_out"]["full"]["spared"] == 32
    # Nobody knows what the flagship costs: no saving is claimed.
    assert prompt["left_out"]["full"]["spared_usd"] is None
    assert (comparison["saving"], prompt["recommended"]) == (None, None)
    assert prompt["tiers"]["mini"]["usd_per_1000"] is not None
    result.stdout.fnmatch_lines(
        [
            "Cases with no worse result than on full: mini on 32 of 32.",
            "- full was not called for *",
        ]
    )
    server.stop()
    replay = project.runpytest(*LAZY, *sampling, "--tiers-record=none")
    assert replay.ret == 0
    assert report()["prompts"] == found["prompts"]


def test_it_is_called_where_a_candidate_missed(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    # 75 cases bear a miss, whatever the flagship says there.
    server.answer = missing(mini=range(40, 41))
    project.makepyfile(test_it=TESTS.format(cases=75))
    result = project.runpytest(*LAZY)
    assert server.calls == {"mini-model": 75, "full-model": 1}
    found = report()
    (prompt,) = found["prompts"]
    assert prompt["comparisons"]["mini"]["verdict"] == "safe"
    assert prompt["comparisons"]["mini"]["difference"] == pytest.approx(-1 / 75)
    assert prompt["comparisons"]["mini"]["saving"] is not None
    assert prompt["recommended"] == "mini"
    full = prompt["tiers"]["full"]
    assert (full["passed"], full["missed"], full["pass_rate"]) == (1, 0, None)
    (each,) = [
        float(one["calls"][0]["cost_usd"]) for one in found["trials"] if one["tier"] == "full"
    ]
    assert float(prompt["left_out"]["full"]["spared_usd"]) == pytest.approx(74 * each)
    result.stdout.fnmatch_lines(["- full was not called for 74 of 75 trials, which saved about $*"])
    project.runpytest("--tiers=mini,full", "--tiers-report=out.json")
    assert server.calls == {"mini-model": 75, "full-model": 75}
    in_full = report()["prompts"][0]["comparisons"]["mini"]
    assert in_full["log_evidence"] == prompt["comparisons"]["mini"]["log_evidence"]


def test_it_is_called_for_all_where_lazy_cannot_decide(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = missing(mini=range(7))
    project.makepyfile(test_it=TESTS.format(cases=32))
    project.runpytest(*LAZY)
    assert server.calls == {"mini-model": 32, "full-model": 32}
    (prompt,) = report()["prompts"]
    assert prompt["comparisons"]["mini"]["verdict"] == "worse"
    assert prompt["left_out"] == {}


def test_two_broken_tiers_do_not_look_equal(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = missing(mini=range(20, 40), full=range(20, 40))
    project.makepyfile(test_it=TESTS.format(cases=40))
    project.runpytest(*LAZY)
    (prompt,) = report()["prompts"]
    assert prompt["comparisons"]["mini"]["verdict"] == "flagship-fails"


def test_an_output_to_compare_needs_the_flagships(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = lambda body: "Yes" if body["model"] == "full-model" else "yes"
    project.makepyfile(
        test_it="""
        from app import ask

        def test_ask(tier):
            tier.compare(ask("question"))
        """
    )
    project.runpytest(*LAZY)
    assert server.calls == {"mini-model": 1, "full-model": 1}
    assert report()["trials"][0]["output_match"] is True


@pytest.mark.parametrize(("sees", "verdict"), [(True, "safe"), (False, "blind")])
def test_tests_that_cannot_fail_are_found_without_the_flagship(
    project: pytest.Pytester, server: OpenAIServer, report: Report, sees: bool, verdict: str
) -> None:
    server.answer = lambda body: body["messages"][0]["content"]
    own = ' == f"question {number}"' if sees else ""
    test = TESTS.format(cases=8).replace(' == "OK"', own)
    project.makepyfile(test_it=test.replace("mark.tiers", "mark.tiers(margin=0.5)"))
    compare = (*LAZY[:2], *LAZY[3:])
    project.runpytest(*compare)
    assert server.calls == {"mini-model": 8}
    server.stop()
    project.runpytest(*compare)
    (prompt,) = report()["prompts"]
    assert prompt["comparisons"]["mini"]["verdict"] == verdict
    assert prompt["control"] == {"tried": 8, "passed": 0 if sees else 8, "blind": not sees}


def test_workers_spare_the_flagship_too(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(test_it=TESTS.format(cases=32))
    assert project.runpytest_subprocess(*LAZY, "-n2").ret == 0
    assert server.calls == {"mini-model": 32}
    assert report()["prompts"][0]["comparisons"]["mini"]["verdict"] == "safe"


def test_the_file_can_say_it_and_the_command_line_wins(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    path = project.path / "pyproject.toml"
    path.write_text(path.read_text() + '\n[tool.pytest-tiers]\nflagship_calls = "lazy"\n')
    project.makepyfile(test_it=TESTS.format(cases=2))
    project.runpytest("--tiers=mini,full")
    assert server.calls == {"mini-model": 2}
    project.runpytest("--tiers=mini,full", "--tiers-flagship-calls=all")
    assert server.calls == {"mini-model": 2, "full-model": 2}
    wrong = project.runpytest("--tiers=mini,full", "--tiers-flagship-calls=some")
    wrong.stderr.fnmatch_lines(["*--tiers-flagship-calls: unknown value 'some'. Valid: all, lazy."])
