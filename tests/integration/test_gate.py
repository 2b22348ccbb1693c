"""The gate: what fails a run of a locked prompt, with prompt, tier, cause and remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.lock.reading import read
from pytest_tiers.reports.numbers import money
from tests.integration.test_lock import PROMPT, TESTS, UPDATE, text_of, wrong
from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,mini,full", "--tiers-report=out.json")


@pytest.fixture
def locked(project: pytest.Pytester) -> pytest.Pytester:
    """A project whose one prompt is locked to nano, and whose code asks for nano's model."""
    project.makepyfile(test_it=TESTS)
    app = project.path / "app.py"
    app.write_text(app.read_text().replace('"gpt-5.4"', '"nano-model"'))
    assert project.runpytest(*UPDATE).ret == 0
    return project


def edit(project: pytest.Pytester, file: str, old: str, new: str) -> None:
    path = Path(project.path, file)
    assert re.search(old, path.read_text())
    path.write_text(re.sub(old, new, path.read_text()))


def configure(project: pytest.Pytester, keys: str) -> None:
    path = project.path / "pyproject.toml"
    path.write_text(f"{path.read_text()}\n[tool.pytest-tiers]\n{keys}\n")


def test_nothing_changed_nothing_fails(locked: pytest.Pytester, report: Report) -> None:
    for args in (COMPARE, ("--tiers-report=out.json",)):
        result = locked.runpytest(*args)
        assert result.ret == 0
        assert report()["gate"] == {
            "passed": True,
            "mode": "locked",
            "failures": [],
            "warnings": [],
            "detectable_drops": {},
        }
        assert "FAILED" not in result.stdout.str()


def test_a_test_that_the_recorded_answers_no_longer_pass_fails_a_comparison(
    locked: pytest.Pytester, report: Report
) -> None:
    edit(locked, "test_it.py", '== "OK"', '== ("OK" if number < 6 else "Yes")')
    result = locked.runpytest(*COMPARE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    shown = text_of(result)
    assert (
        "- FAILED test_it.py::test_ask on nano: 2 cases (case-6 and case-7) passed when it was "
        "locked, and the recorded answers fail now. Mend the code or the test, or compare again "
        "with --tiers=nano,full --tiers-update-lock."
    ) in shown
    [failure] = report()["gate"]["failures"]
    assert (failure["kind"], failure["prompt"], failure["tier"]) == ("missed", PROMPT, "nano")
    assert failure["cases"] == ["case-6", "case-7"]
    assert report()["gate"]["passed"] is False
    everyday = locked.runpytest()
    assert "- FAILED test_it.py::test_ask on nano: 2 cases" in text_of(everyday)
    quiet = locked.runpytest(*COMPARE, "-q")
    quiet.stdout.fnmatch_lines(["tiers: *; 1 gate failure"])
    for width in ("80", "200"):
        assert all(len(line) <= int(width) for line in result.outlines if "on nano" in line)


def test_a_gate_that_is_off_fails_nothing(locked: pytest.Pytester, report: Report) -> None:
    edit(locked, "test_it.py", '== "OK"', '== "Yes"')
    assert locked.runpytest(*COMPARE, "--tiers-gate=off").ret == 0
    assert report()["gate"]["mode"] == "off"


def test_a_known_miss_and_a_new_sample_fail_nothing(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = wrong("question 3", model="nano")
    project.makepyfile(test_it=TESTS.replace("range(8)", "range(14)"))
    assert project.runpytest("--tiers=nano,full", "--tiers-update-lock").ret == 0
    assert project.runpytest("--tiers=nano,full").ret == 0
    server.answer = wrong("question 4", model="nano")
    assert project.runpytest("--tiers=nano,full", "--tiers-samples=2").ret == 0
    assert project.runpytest("--tiers=nano,full", "--tiers-samples=2").ret == 0


def test_fresh_answers_that_miss_are_no_reason_by_themselves(
    locked: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = wrong("question 3", model="nano")
    assert locked.runpytest(*COMPARE, "--tiers-record=all").ret == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("app.py", '"content": text', '"content": "Please: " + text', "prompt"),
        ("app.py", "max_tokens=50", "response_format={'type': 'json_object'}", "schema and param"),
        ("app.py", "max_tokens=50", "max_tokens=60", "parameters"),
        ("pyproject.toml", "nano-model", "micro-model", "model"),
    ],
)
def test_what_changed_in_a_request_is_named(
    locked: pytest.Pytester, report: Report, file: str, old: str, new: str, changed: str
) -> None:
    edit(locked, file, old, new)
    for args in (COMPARE, ("--tiers-report=out.json",)):
        result = locked.runpytest(*args)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        shown = text_of(result)
        assert f"FAILED test_it.py::test_ask on nano: its {changed}" in shown
        assert (
            "changed since 8 cases were recorded. Record them again with "
            "--tiers-record=new_episodes, or take the change back."
        ) in shown
        assert [failure["kind"] for failure in report()["gate"]["failures"]] == ["stale"]
    again = locked.runpytest("--tiers-record=new_episodes")
    assert again.ret == 0
    if changed != "model":
        assert f"its {changed}" in text_of(again)
        assert "changed since it was locked, so its evidence is from before" in text_of(again)
    assert locked.runpytest().ret == 0


def test_another_model_behind_a_tiers_name_is_said(locked: pytest.Pytester) -> None:
    edit(locked, "pyproject.toml", "nano-model", "micro-model")
    edit(locked, "app.py", "nano-model", "micro-model")
    result = locked.runpytest()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (
        "- test_it.py::test_ask on nano: the tier is micro-model now, its evidence is for "
        "nano-model: compare again with --tiers=nano,full --tiers-update-lock."
    ) in text_of(result)
    recorded = locked.runpytest("--tiers-record=new_episodes")
    assert recorded.ret == 0
    assert "its evidence is for nano-model" in text_of(recorded)


@pytest.mark.parametrize("strict", [False, True])
def test_code_that_asks_for_another_model_saves_nothing(
    locked: pytest.Pytester, report: Report, strict: bool
) -> None:
    edit(locked, "app.py", '"nano-model"', '"gpt-5.4"')
    if strict:
        configure(locked, "strict_lock = true")
    result = locked.runpytest("--tiers-report=out.json")
    result.assert_outcomes(passed=8)
    assert result.ret == strict
    assert (
        "test_it.py::test_ask on nano: app.py:7 asks gpt-5.4, locked to nano-model: saving not "
        "realised. Change the model there."
    ) in text_of(result)
    assert len(report()["gate"]["failures"]) == strict
    assert len(report()["gate"]["warnings"]) == (not strict)


def test_a_snapshot_of_the_locked_model_is_the_locked_model(locked: pytest.Pytester) -> None:
    edit(locked, "app.py", '"nano-model"', '"nano-model-2026-03-17"')
    configure(locked, "strict_lock = true")
    assert locked.runpytest().ret == 0


def test_a_test_with_the_tier_fixture_shows_nothing_of_the_code(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.tiers(margin=0.5)
        @pytest.mark.parametrize("number", range(8))
        def test_ask(number, tier):
            tier.client.responses.create(model=tier.model, input=f"q {number}")
        """
    )
    configure(project, "strict_lock = true")
    assert project.runpytest(*UPDATE).ret == 0
    assert project.runpytest().ret == 0


def test_a_prompt_over_its_cost_fails(locked: pytest.Pytester, report: Report) -> None:
    edit(locked, "test_it.py", "margin=0.5", "margin=0.5, max_cost_per_1000=0.000001")
    for args in (COMPARE, ("--tiers-report=out.json",)):
        result = locked.runpytest(*args)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert "over its max_cost_per_1000 of $0.000001. Shorten the prompt" in text_of(result)
        assert [failure["kind"] for failure in report()["gate"]["failures"]] == ["cost"]
    assert report()["prompts"][0]["max_cost_per_1000"] == "0.000001"
    edit(locked, "test_it.py", "max_cost_per_1000=0.000001", "max_cost_per_1000=5")
    assert locked.runpytest(*COMPARE).ret == 0


def test_a_limit_that_prices_alone_exceed_only_warns(
    locked: pytest.Pytester, report: Report
) -> None:
    cost = read(locked.path / "tiers.lock").prompts[PROMPT].usd_per_1000
    assert cost is not None
    edit(locked, "test_it.py", "margin=0.5", f"margin=0.5, max_cost_per_1000={2 * cost}")
    edit(locked, "pyproject.toml", '"gpt-5.4-nano"', '"gpt-5.4"')  # the provider asks for more
    for args in (COMPARE, ("--tiers-report=out.json",)):
        result = locked.runpytest(*args)
        assert result.ret == 0
        assert (
            f"over its max_cost_per_1000 of {money(2 * cost)} only because prices changed since "
            "it was locked. Raise the limit, or compare cheaper tiers."
        ) in text_of(result)
        assert [each["kind"] for each in report()["gate"]["warnings"]] == ["cost"]

    # A prompt that would be as dear at the old prices fails, but not in a run of chosen cases.
    edit(locked, "app.py", '"content": text', '"content": "Please! " * 200 + text')
    again = locked.runpytest("--tiers-record=new_episodes")
    assert again.ret == pytest.ExitCode.TESTS_FAILED
    assert "Shorten the prompt, or raise the limit." in text_of(again)
    for chosen in (("-k", "case-3"), (f"{PROMPT}[case-3-nano]",)):
        part = locked.runpytest(*chosen)
        assert part.ret == 0
        assert f"of {money(2 * cost)}: only a part of its cases ran." in text_of(part)


def test_what_time_and_prices_do_only_warns(locked: pytest.Pytester, report: Report) -> None:
    configure(locked, "max_age = 90")
    lock = Path(locked.path, "tiers.lock")
    text = re.sub("date = .*", "date = 2020-01-31", lock.read_text())
    text = re.sub("\nusd_per_1000 = .*", '\nusd_per_1000 = "0.01"', text)
    head, entry = text.split("\n\n", 1)
    lock.write_text("\n\n".join([head, entry.replace(PROMPT, "gone.py::test_gone"), entry]))
    result = locked.runpytest("--tiers-report=out.json")
    assert result.ret == 0
    shown = text_of(result)
    assert (
        "on nano: its evidence is of 2020-01-31: compare again with --tiers=nano,full "
        "--tiers-update-lock."
    ) in shown
    assert "$0.01 when it was locked. Check that it still pays." in shown
    assert "gone.py::test_gone on nano: tiers.lock names it, and there is no such test." in shown
    assert [each["kind"] for each in report()["gate"]["warnings"]] == [
        "cost-changed",
        "old",
        "no-test",
    ]
    part = locked.runpytest("-k", "case", "test_it.py")
    assert "there is no such test" not in text_of(part)
    locked.makepyfile(test_a="import pytest\n@pytest.mark.tiers\ndef test_a(): assert 0")
    stopped = text_of(locked.runpytest("-x"))
    assert "gone.py::test_gone on nano: tiers.lock names it" in stopped
    assert "test_it.py::test_ask on nano: tiers.lock names it" not in stopped


def test_a_model_that_ends_only_warns(locked: pytest.Pytester, report: Report) -> None:
    edit(
        locked,
        "pyproject.toml",
        'model = "nano-model"',
        'model = "nano-model"\nretires = 2020-01-31',
    )
    result = locked.runpytest("--tiers-report=out.json", "--tiers-report=out.md")
    assert result.ret == 0
    assert (
        "on 2020-01-31; tiers.lock names it for 1 prompt. Compare its successor: pytest-tiers "
        "replace nano NEW=MODEL"
    ) in text_of(result)
    [retiring] = report()["retiring"]
    assert (retiring["tier"], retiring["on"], retiring["locked"]) == (
        "nano",
        "2020-01-31",
        [PROMPT],
    )
    assert "- nano (nano-model) retired " in Path(locked.path, "out.md").read_text()
    quiet = locked.runpytest("-q")
    quiet.stdout.fnmatch_lines(["tiers: 8 trials on nano: *; nano retired * days ago"])


def test_the_flagship_can_be_gated_where_nothing_is_locked(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = wrong("question 3", model="full")
    project.makepyfile(test_it=TESTS)
    assert project.runpytest(*COMPARE).ret == 0
    assert report()["gate"]["mode"] == "off"
    result = project.runpytest(*COMPARE, "--tiers-gate=flagship")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (
        "FAILED test_it.py::test_ask on full: the recorded answers fail in 1 case (case-3). Mend "
        "the prompt, and record it again."
    ) in text_of(result)


def test_an_unknown_gate(project: pytest.Pytester) -> None:
    result = project.runpytest("--tiers-gate=all")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ['ERROR: *--tiers-gate: unknown value "all". Valid values: locked, flagship, off.']
    )


def test_an_updated_lock_is_what_counts(locked: pytest.Pytester, server: OpenAIServer) -> None:
    locked.makepyfile(test_it=TESTS.replace("range(8)", "range(14)"))
    locked.runpytest(*UPDATE)
    server.answer = wrong("question 3", model="nano")
    locked.runpytest(*COMPARE, "--tiers-record=all")
    assert locked.runpytest(*COMPARE).ret == pytest.ExitCode.TESTS_FAILED
    assert locked.runpytest("--tiers=nano,full", "--tiers-update-lock").ret == 0
    assert locked.runpytest(*COMPARE).ret == 0


def test_a_locked_tier_that_answers_worse_fails_a_recording_on_evidence(
    locked: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = wrong("question", model="nano")
    result = locked.runpytest(*COMPARE, "--tiers-record=all")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    shown = text_of(result)
    assert (
        "- FAILED test_it.py::test_ask on nano: measurably worse than the flagship, by about 100 "
        'points. Mend the prompt, or: pytest-tiers revert "test_it.py::test_ask" --reason "..."'
    ) in shown
    assert "The gate would have caught a drop of " in shown
    assert [failure["kind"] for failure in report()["gate"]["failures"]] == ["worse"]
    assert 0 < report()["gate"]["detectable_drops"][PROMPT] < 1


def test_a_rate_below_its_floor_is_said_until_it_is_proven(
    locked: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    edit(locked, "test_it.py", "margin=0.5", "margin=0.5, min_pass_rate='auto'")
    server.answer = wrong("question 1", "question 2", "question 3", "question 4")
    result = locked.runpytest(*COMPARE, "--tiers-record=all")
    assert result.ret == 0
    floor = report()["prompts"][0]["min_pass_rate"]
    assert floor == report()["prompts"][0]["locked"]["pass_rate_at_least"]
    assert f"on nano: passes 50%, below its min_pass_rate of {floor:.0%}, not proven." in text_of(
        result
    )
    server.answer = wrong("question")
    result = locked.runpytest(*COMPARE, "--tiers-record=all")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "and that is no accident. Mend the prompt, or: pytest-tiers revert" in text_of(result)
    replayed = locked.runpytest(*COMPARE)
    assert replayed.ret == pytest.ExitCode.TESTS_FAILED
    assert "The gate would have caught" not in text_of(replayed)


def test_a_bad_floor_is_a_usage_error(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=TESTS.replace("margin=0.5", "min_pass_rate='high'"))
    result = project.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*expected a number from 0 to 1, or "auto" for the locked rate*'])
