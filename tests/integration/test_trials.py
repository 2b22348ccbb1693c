"""From tests to trials: what is tiered, what a trial is called, and in which order they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

COMPARE = ("--tiers=nano,full", "--tiers-report=out.json")


def collected(pytester: pytest.Pytester, *args: str) -> list[str]:
    """Names of the collected items, in order, after the module's name."""
    result = pytester.runpytest("--collect-only", "-q", *args)
    assert result.ret == 0
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def usage_error(pytester: pytest.Pytester, *args: str) -> str:
    result = pytester.runpytest(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    shown = result.stderr.str()
    assert "Traceback" not in shown + result.stdout.str()
    return shown


def cases(report: dict[str, Any]) -> list[str]:
    """Names of the cases, in order."""
    return list(dict.fromkeys(trial["case"] for trial in report["trials"]))


# What is tiered.


def test_functions_methods_classes_and_modules_are_tiered_by_the_marker(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tiers
        def test_function(): ...

        def test_other(): ...

        class TestSome:
            @pytest.mark.tiers
            def test_method(self): ...
            def test_other(self): ...

        @pytest.mark.tiers
        class TestAll:
            def test_method(self): ...
        """
    )
    assert collected(pytester, "--tiers=nano,full") == [
        "test_function[nano]",
        "test_function[full]",
        "test_other",
        "TestSome::test_method[nano]",
        "TestSome::test_method[full]",
        "TestSome::test_other",
        "TestAll::test_method[nano]",
        "TestAll::test_method[full]",
    ]


def test_pytestmark_makes_a_module_tiered(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = [pytest.mark.tiers("nano")]
        def test_a(): ...
        class TestB:
            def test_c(self): ...
        """
    )
    assert collected(pytester, "--tiers=nano,mini,full") == [
        "test_a[nano]", "test_a[full]", "TestB::test_c[nano]", "TestB::test_c[full]",
    ]  # fmt: skip


def test_the_tier_fixture_alone_makes_a_test_tiered(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def model(tier):
            return tier.model

        def test_direct(tier):
            assert tier.name in ("nano", "full")
            assert tier.is_flagship == (tier.name == "full")
            assert tier.sample == 1

        def test_through_a_fixture(model):
            assert model in ("gpt-5.4-nano", "gpt-5.4")
        """
    )
    pytester.runpytest("--tiers=nano,full").assert_outcomes(passed=4)


@pytest.mark.parametrize(
    "patterns", ["'llm/**'", "'llm'", "'llm/test_*.py'", "'llm/deep/*', 'llm/test_top.py'"]
)
def test_tests_of_the_configuration_need_no_marker(
    pytester: pytest.Pytester, patterns: str
) -> None:
    pytester.makepyprojecttoml(f"[tool.pytest-tiers]\ntests = [{patterns}]")
    for folder, name in (("llm", "top"), ("llm/deep", "deep"), ("other", "plain")):
        path = pytester.path / folder / f"test_{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def test_{name}(): ...\n")
    found = collected(pytester, "--tiers=nano,full")
    assert "test_top[nano]" in found
    assert ("test_deep[nano]" in found) == ("test_*" not in patterns)
    assert "test_plain" in found


def test_what_the_tier_fixture_tells(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    project.makepyprojecttoml(
        """
        [tool.pytest-tiers.tiers.nano]
        params = { seed = 7 }
        """
    )
    project.makepyfile(
        test_it="""
        import pytest
        clients = []

        @pytest.mark.tiers(samples=2)
        def test_it(tier):
            assert tier.name in ("nano", "full")
            assert tier.params == ({"seed": 7} if tier.name == "nano" else {})
            assert tier.calls == ()
            clients.append(tier.client)
            reply = tier.client.responses.create(model=tier.model, input="q")
            assert reply.output_text == "OK"
            (call,) = tier.calls
            assert (call.model, call.tokens.output) == (tier.model, 1)
            assert call.cost_usd > 0
            assert call.seconds >= 0

        def test_one_client_for_each_tier():
            assert clients[0] is clients[1] is not clients[2] is clients[3]
        """
    )
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=5)
    sent = [(request.json["model"], request.json.get("seed")) for request in server.requests]
    assert Counter(sent) == {("gpt-5.4-nano", 7): 2, ("gpt-5.4", None): 2}


def test_a_projects_own_tier_fixture_is_left_alone(
    pytester: pytest.Pytester, report: Report
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(params=["gold", "silver"])
        def tier(request):
            return request.param

        def test_customer(tier):
            assert tier in ("gold", "silver")

        @pytest.mark.tiers
        def test_both(tier):
            assert tier in ("gold", "silver")
        """
    )
    pytester.runpytest(*COMPARE).assert_outcomes(passed=6)
    assert cases(report()) == ["gold", "silver"]


@pytest.mark.parametrize("marker", ["", "@pytest.mark.tiers"])
def test_a_projects_own_tier_parameter_is_left_alone(
    pytester: pytest.Pytester, marker: str
) -> None:
    pytester.makepyfile(
        test_it=f"""
import pytest

{marker}
@pytest.mark.parametrize("tier", ["gold", "silver"])
def test_customer(tier):
    assert tier in ("gold", "silver")

@pytest.mark.tiers
def test_other(): ...
"""
    )
    expected = ["gold", "silver"] if not marker else [
        "gold-nano", "gold-full", "silver-nano", "silver-full",
    ]  # fmt: skip
    found = collected(pytester, "--tiers=nano,full")
    assert found[:-2] == [f"test_customer[{name}]" for name in expected]
    pytester.runpytest("--tiers=nano,full").assert_outcomes(passed=len(expected) + 2)


def test_our_fixture_in_a_test_that_is_not_tiered_says_what_to_do(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_late(request):
            request.getfixturevalue("tier")
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_late is not tiered*@pytest.mark.tiers*"])
    assert "KeyError" not in result.stdout.str()


# Names.


def test_ids_end_with_the_tier_and_further_samples_with_their_number(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tiers(samples=2)
        @pytest.mark.parametrize("text", ["one", "two"])
        def test_route(text): ...
        """
    )
    assert collected(pytester, "--tiers=nano,full") == [
        f"test_route[{case}-{tier}]"
        for case in ("one", "two")
        for tier in ("nano", "nano-2", "full", "full-2")
    ]


def test_cases_of_stacked_indirect_and_fixture_parameters(
    pytester: pytest.Pytester, report: Report
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(params=["de", "en"])
        def language(request):
            return request.param

        @pytest.fixture
        def account(request):
            return request.param * 2

        @pytest.mark.tiers
        @pytest.mark.parametrize("number", [1, 2])
        @pytest.mark.parametrize("account", ["a"], indirect=True)
        @pytest.mark.parametrize("text", ["x"], ids=["a-nano"])
        def test_all(language, account, text, number):
            assert account == "aa"
            assert text == "x"
        """
    )
    pytester.runpytest(*COMPARE).assert_outcomes(passed=8)
    assert sorted(cases(report())) == [
        f"{language}-a-nano-a-{number}" for language in ("de", "en") for number in (1, 2)
    ]


def test_parameters_that_pytest_only_numbers_keep_their_name_when_reordered(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    def write(*questions: str) -> None:
        project.makepyfile(
            test_it=f"""
import dataclasses, pytest
from app import ask

@dataclasses.dataclass
class Case:
    text: str
    tags: frozenset = frozenset("abc")

@pytest.mark.tiers
@pytest.mark.parametrize("case, extra", [(Case(t), {{"k": [t]}}) for t in {questions!r}])
def test_it(case, extra):
    assert ask(case.text) == "OK"
"""
        )

    write("one", "two", "three")
    project.runpytest(*COMPARE).assert_outcomes(passed=6)
    before = cases(report())
    assert len(set(before)) == 3
    assert all(case.startswith("case:") and "-extra:" in case for case in before)

    server.stop()
    write("three", "one", "two")
    project.runpytest(*COMPARE).assert_outcomes(passed=6)
    assert sorted(cases(report())) == sorted(before)
    assert all(trial["replayed"] for trial in report()["trials"])


def test_values_of_every_kind_have_a_lasting_name(
    pytester: pytest.Pytester, report: Report
) -> None:
    def names(order: slice) -> list[str]:
        pytester.makepyfile(
            test_it=f"""
import enum, pathlib, pydantic, pytest

class Team(enum.Enum):
    BILLING = 1

class Order(pydantic.BaseModel):
    number: int

VALUES = [
    {{"team": Team.BILLING}}, {{"kind": int}}, Order(number=3), {{"b", "a"}}, pathlib.Path("a"),
    (1, None, 2.5), {{"lone": "\\ud83d"}},
]

@pytest.mark.tiers
@pytest.mark.parametrize("value", VALUES[{order.start}:{order.stop}:{order.step}])
def test_it(value): ...
"""
        )
        pytester.runpytest(*COMPARE)
        return cases(report())

    forwards = names(slice(None, None, 1))
    assert len(set(forwards)) == 7
    assert all(name.startswith("value:") for name in forwards)
    assert sorted(names(slice(None, None, -1))) == sorted(forwards)


def test_long_texts_that_pytest_numbers_have_a_lasting_name_too(
    pytester: pytest.Pytester, report: Report
) -> None:
    def names(*texts: str) -> list[str]:
        pytester.makepyfile(
            test_it=f"""
import pytest

@pytest.mark.tiers
@pytest.mark.parametrize("text", {[text * 60 for text in texts]})
def test_it(text): ...
"""
        )
        pytester.runpytest(*COMPARE)
        return cases(report())

    assert set(names("term ", "word ")) < set(names("new ", "word ", "term "))


def test_a_text_that_looks_numbered_keeps_its_name(
    pytester: pytest.Pytester, report: Report
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tiers
        @pytest.mark.parametrize("v", ["v2", "v1"])
        def test_it(v): ...
        """
    )
    pytester.runpytest(*COMPARE)
    assert cases(report()) == ["v1", "v2"]


def test_parameters_without_a_lasting_text_keep_pytests_numbers(
    pytester: pytest.Pytester, report: Report
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from unittest import mock
        loop = []
        loop.append(loop)

        @pytest.mark.tiers
        @pytest.mark.parametrize("x", [object(), mock.Mock(), loop, {(1, 2): object()}])
        def test_it(x): ...
        """
    )
    pytester.runpytest(*COMPARE).assert_outcomes(passed=8)
    assert cases(report()) == ["x0", "x1", "x2", "x3"]


def test_the_same_parameters_twice_are_two_cases(pytester: pytest.Pytester, report: Report) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tiers
        @pytest.mark.parametrize("x", ["a", "a", {"k": 1}, {"k": 1}])
        def test_it(x): ...
        """
    )
    pytester.runpytest(*COMPARE).assert_outcomes(passed=8)
    found = report()
    assert len(cases(found)) == 4
    assert found["prompts"][0]["cases"] == 4


# Order.


def test_order_is_prompt_case_ladder_sample(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module", params=["m1", "m2"])
        def wide(request): ...

        @pytest.mark.tiers(prompt="joined", samples=2)
        def test_a(wide): ...

        def test_between(): ...

        @pytest.mark.tiers(prompt="alone")
        def test_b(wide): ...

        @pytest.mark.tiers(prompt="joined", samples=2)
        def test_c(): ...
        """
    )
    sampled = ("full", "full-2", "nano", "nano-2")
    assert [
        name for name in collected(pytester, "--tiers=full,nano") if name != "test_between"
    ] == [
        *(f"test_a[m1-{tier}]" for tier in sampled),
        *(f"test_a[m2-{tier}]" for tier in sampled),
        *(f"test_c[{tier}]" for tier in sampled),
        *(f"test_b[{case}-{tier}]" for case in ("m1", "m2") for tier in ("full", "nano")),
    ]


def test_order_holds_whatever_other_plugins_do(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(items):
            items.reverse()
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tiers(samples=2)
        @pytest.mark.parametrize("x", ["a", "b"])
        def test_it(x): ...
        """
    )
    assert collected(pytester, "--tiers=nano,full") == [
        f"test_it[{case}-{tier}]"
        for case in ("b", "a")
        for tier in ("nano", "nano-2", "full", "full-2")
    ]


# The marker's keys.


JOINED = """
import pytest

@pytest.mark.tiers(prompt="triage"{0})
@pytest.mark.parametrize("x", ["a", "b"])
def test_it(x): ...
"""


def test_functions_joined_in_one_prompt_keep_their_cases_apart(
    pytester: pytest.Pytester, report: Report
) -> None:
    pytester.makepyfile(test_one=JOINED.format(""), test_two=JOINED.format(""))
    pytester.runpytest(*COMPARE).assert_outcomes(passed=8)
    (prompt,) = report()["prompts"]
    assert (prompt["id"], prompt["cases"]) == ("triage", 4)
    assert cases(report()) == [
        f"test_{module}.py::test_it[{case}]" for module in ("one", "two") for case in "ab"
    ]


def test_joined_functions_must_agree(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_one=JOINED.format(", margin=0.2"), test_two=JOINED.format(""))
    shown = usage_error(pytester, "--tiers=nano,full")
    assert (
        'prompt "triage" joins test_one.py::test_it and test_two.py::test_it, but their settings '
        "differ: margin 0.2 and 0.1." in shown
    )


def test_settings_of_a_joined_prompt_can_stand_in_the_file(
    pytester: pytest.Pytester, report: Report
) -> None:
    pytester.makepyprojecttoml("[tool.pytest-tiers.prompts.triage]\nmargin = 0.3\nsamples = 2")
    pytester.makepyfile(
        test_one=JOINED.format(", samples=1"), test_two=JOINED.format(", samples=1")
    )
    pytester.runpytest(*COMPARE).assert_outcomes(passed=8)  # the marker's samples win
    assert report()["prompts"][0]["margin"] == 0.3


def test_settings_come_from_command_line_then_marker_then_class_then_file(
    pytester: pytest.Pytester, report: Report
) -> None:
    pytester.makepyprojecttoml(
        """
        [tool.pytest-tiers]
        margin = 0.3
        [tool.pytest-tiers.prompts."test_it.py::TestA::test_a"]
        margin = 0.2
        min_pass_rate = 0.5
        monthly_runs = 7
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.tiers(samples=2, min_pass_rate=0.8)
        class TestA:
            @pytest.mark.tiers(min_pass_rate=0.9)
            def test_a(self): ...
            def test_b(self): ...
        """
    )
    pytester.runpytest(*COMPARE).assert_outcomes(passed=8)
    keys = ("margin", "min_pass_rate", "monthly_runs")
    assert [[prompt[key] for key in keys] for prompt in report()["prompts"]] == [
        [0.2, 0.9, 7],
        [0.3, 0.8, None],
    ]
    pytester.runpytest(*COMPARE, "--tiers-samples=1", "--tiers-margin=0.4").assert_outcomes(
        passed=4
    )
    assert [prompt["margin"] for prompt in report()["prompts"]] == [0.4, 0.4]


def test_names_restrict_the_candidates_and_the_flagship_runs_all_the_same(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tiers("mini")
        def test_a(): ...

        @pytest.mark.tiers("kimi")
        def test_b(): ...
        """
    )
    assert collected(pytester, "--tiers=nano,mini,full", "--tiers-flagship=nano") == [
        "test_a[nano]", "test_a[mini]", "test_b[nano]",
    ]  # fmt: skip


# What cannot be a trial.


@pytest.mark.parametrize("marked", ["class", "module"])
def test_a_unittest_class_is_refused(pytester: pytest.Pytester, marked: str) -> None:
    pytester.makepyfile(
        f"""
        import unittest, pytest
        {"pytestmark = pytest.mark.tiers" if marked == "module" else ""}

        {"@pytest.mark.tiers" if marked == "class" else ""}
        class TestOld(unittest.TestCase):
            def test_a(self): ...
        """
    )
    shown = usage_error(pytester, "--tiers=nano,full")
    assert "::TestOld::test_a: a unittest.TestCase cannot run on tiers" in shown
    assert "Make the class a plain one" in shown


def test_a_unittest_class_in_the_tests_of_the_file_runs_as_always(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyprojecttoml("[tool.pytest-tiers]\ntests = ['test_*.py']")
    pytester.makepyfile(
        test_it="""
        import unittest

        class TestOld(unittest.TestCase):
            def test_a(self): ...

        def test_new(): ...
        """
    )
    result = pytester.runpytest("--tiers=nano,full")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*test_it.py::TestOld::test_a is in `tests`*"])


def test_a_vcr_marker_on_a_tiered_test_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers = vcr: of pytest-recording")
    pytester.makepyfile(
        test_it="""
        import pytest
        pytestmark = pytest.mark.vcr

        @pytest.mark.tiers
        def test_a(): ...

        def test_b(): ...
        """
    )
    shown = usage_error(pytester, "--tiers=nano,full")
    assert "test_it.py::test_a: @pytest.mark.vcr on a tiered test" in shown
    assert "Remove the vcr marker" in shown
    assert "test_b" not in shown


@pytest.mark.parametrize(
    "how",
    [
        """
        @pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.tiers)])
        def test_late(x): ...
        """,
        """
        def test_late(): ...
        def test_x(): ...
        """,
    ],
    ids=["on-one-parameter", "by-a-hook"],
)
def test_a_marker_that_comes_too_late_is_refused(pytester: pytest.Pytester, how: str) -> None:
    pytester.makeconftest(
        """
        def pytest_collection_modifyitems(items):
            for item in items:
                if item.name == "test_late":
                    item.add_marker("tiers")
        """
    )
    pytester.makepyfile(f"import pytest\n{how}".replace("\n        ", "\n"))
    shown = usage_error(pytester)
    assert "::test_late" in shown
    assert "too late to run it on tiers. Put it on the function, class or module" in shown


def test_skipped_tests_are_no_trials(pytester: pytest.Pytester, report: Report) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.tiers

        @pytest.mark.skip
        def test_marked(): ...

        def test_while_running():
            pytest.skip("not today")

        @pytest.fixture
        def unable():
            pytest.skip("no device")

        def test_by_a_fixture(unable): ...

        @pytest.mark.parametrize("x", [])
        def test_of_nothing(x): ...

        def test_real(): ...
        """
    )
    pytester.runpytest(*COMPARE).assert_outcomes(passed=2, skipped=8)
    assert {trial["prompt"].partition("::")[2] for trial in report()["trials"]} == {"test_real"}


def test_expected_failures_are_trials_that_missed(
    pytester: pytest.Pytester, report: Report
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tiers
        @pytest.mark.xfail
        def test_hard(tier):
            assert tier.name == "full"
        """
    )
    result = pytester.runpytest(*COMPARE)
    assert result.ret == 0
    assert [trial["outcome"] for trial in report()["trials"]] == ["missed", "passed"]


def test_doctests_beside_tiered_tests_do_no_harm(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml("[tool.pytest-tiers]\ntests = ['**']")
    pytester.makepyfile(
        test_it='''
        def double(x):
            """
            >>> double(2)
            4
            """
            return 2 * x

        def test_double():
            assert double(1) == 2
        '''
    )
    (pytester.path / "test_text.txt").write_text(">>> 1 + 1\n2\n")
    result = pytester.runpytest("--tiers=nano,full", "--doctest-modules")
    result.assert_outcomes(passed=4)


# Selecting and running.


SELECTED = """
import pytest

@pytest.mark.tiers
@pytest.mark.parametrize("x", ["a", "b"])
def test_it(x): ...

def test_plain(): ...
"""


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["-k", "nano"], ["test_it[a-nano]", "test_it[b-nano]"]),
        (["-k", "not full"], ["test_it[a-nano]", "test_it[b-nano]", "test_plain"]),
        (["test_it.py::test_it[a-full]"], ["test_it[a-full]"]),
        (
            ["test_it.py::test_plain", "test_it.py::test_it[b-nano]"],
            ["test_plain", "test_it[b-nano]"],
        ),
        (
            ["--deselect=test_it.py::test_it[a-nano]"],
            ["test_it[a-full]", "test_it[b-nano]", "test_it[b-full]", "test_plain"],
        ),
        (["-m", "not tiers"], ["test_plain"]),
    ],
)  # fmt: skip
def test_selections(pytester: pytest.Pytester, args: list[str], expected: list[str]) -> None:
    pytester.makepyfile(test_it=SELECTED)
    assert collected(pytester, "--tiers=nano,full", *args) == expected


def test_a_selection_without_a_trial_is_no_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SELECTED)
    result = pytester.runpytest("--tiers=nano,full", "-k", "plain")
    result.assert_outcomes(passed=1, deselected=4)
    assert result.ret == 0
    nothing = pytester.runpytest("--tiers=nano,full", "-k", "no_such_test")
    assert nothing.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_last_failed_runs_the_trials_that_failed(pytester: pytest.Pytester, report: Report) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.fixture
        def broken(tier):
            assert tier.name != "nano"

        @pytest.mark.parametrize("x", range(40))
        def test_it(x, tier, request):
            if x == 3:
                request.getfixturevalue("broken")

        @pytest.fixture
        def fails(tier, x):
            assert (tier.name, x) != ("nano", 2)

        @pytest.mark.parametrize("x", range(3))
        def test_other(x, fails): ...
        """
    )
    first = pytester.runpytest(*COMPARE)
    assert [t["outcome"] for t in report()["trials"]].count("error") == 1
    assert first.ret == 1
    second = pytester.runpytest(*COMPARE, "--lf")
    second.stdout.fnmatch_lines(["tiers: 0 of 1 prompt can become safe*1 has one case"])
    assert [(t["case"], t["tier"]) for t in report()["trials"]] == [("2", "nano")]


def test_failed_first_keeps_the_trials_of_a_case_together(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.fixture
        def broken(tier, x):
            assert (tier.name, x) != ("full", "b")

        @pytest.mark.parametrize("x", ["a", "b"])
        def test_it(x, broken): ...
        """
    )
    pytester.runpytest("--tiers=nano,full")
    assert collected(pytester, "--tiers=nano,full", "--ff") == [
        "test_it[b-nano]", "test_it[b-full]", "test_it[a-nano]", "test_it[a-full]",
    ]  # fmt: skip


def test_exitfirst_goes_on_after_a_miss_and_stops_at_an_error(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(
        test_it="""
        import pytest
        from app import ask

        @pytest.mark.tiers
        @pytest.mark.parametrize("x", ["a", "b"])
        def test_it(x):
            assert ask(x) == "a"

        @pytest.fixture
        def broken(tier):
            raise RuntimeError

        def test_z_broken(broken): ...
        """
    )
    server.answer = lambda request: str(request["messages"][0]["content"])
    result = project.runpytest(*COMPARE, "-x")
    assert [(trial["tier"], trial["outcome"]) for trial in report()["trials"]] == [
        ("nano", "passed"), ("full", "passed"), ("nano", "missed"), ("full", "missed"),
        ("nano", "error"),
    ]  # fmt: skip
    assert result.ret == 1


def test_collect_only_prints_nothing_of_ours(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SELECTED)
    shown = pytester.runpytest("--tiers=nano,full", "--collect-only", "--tiers-report=out.json")
    assert [line for line in shown.outlines if "tiers" in line and "plugins:" not in line] == []
    assert not (pytester.path / "out.json").exists()


# Async.


ASYNC_APP = """
from openai import AsyncOpenAI


async def ask(text):
    async with AsyncOpenAI() as client:
        return await ask_with(client, text)


async def ask_with(client, text):
    completion = await client.chat.completions.create(
        model="gpt-5.4", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content
"""


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_async_tests_record_and_replay(
    project: pytest.Pytester, server: OpenAIServer, report: Report, mode: str
) -> None:
    project.makepyfile(
        async_app=ASYNC_APP,
        test_it=f"""
        import pytest
        from async_app import ask

        {"@pytest.mark.asyncio" if mode == "strict" else ""}
        @pytest.mark.tiers
        @pytest.mark.parametrize("text", ["a", "b"])
        async def test_app(text):
            assert await ask(text) == "OK"

        {"@pytest.mark.asyncio" if mode == "strict" else ""}
        async def test_fixture(tier):
            reply = await tier.async_client.responses.create(model=tier.model, input="c")
            assert reply.output_text == "OK"
            assert [call.model for call in tier.calls] == [tier.model]

        {"@pytest.mark.asyncio(loop_scope='module')" if mode == "strict" else ""}
        async def test_wider_loop(tier):
            assert await ask("d") == "OK"
        """,
    )
    args = (*COMPARE, f"--asyncio-mode={mode}", "-W", "error")
    project.runpytest(*args).assert_outcomes(passed=8)
    assert server.calls == {"nano-model": 4, "full-model": 4}
    server.stop()
    project.runpytest(*args).assert_outcomes(passed=8)
    assert all(trial["replayed"] for trial in report()["trials"])


def test_anyio_tests_record_and_replay(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    project.makepyfile(
        async_app=ASYNC_APP,
        test_it="""
        import pytest
        from async_app import ask

        pytestmark = pytest.mark.anyio

        @pytest.fixture(params=["asyncio"])
        def anyio_backend(request):
            return request.param

        @pytest.fixture
        async def prepared(tier):
            return await ask(f"prepare {tier.sample}")

        async def test_app(prepared):
            assert await ask("a") == prepared == "OK"
        """,
    )
    project.runpytest(*COMPARE, "-W", "error").assert_outcomes(passed=2)
    assert server.calls == {"nano-model": 2, "full-model": 2}
    server.stop()
    project.runpytest(*COMPARE).assert_outcomes(passed=2)
    assert cases(report()) == ["asyncio"]


# Without us.


def test_without_the_plugin_a_registered_marker_passes_strict_markers(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini(
        "[pytest]\naddopts = --strict-markers --strict-config\n"
        "markers = tiers: run on model tiers (pytest-tiers)"
    )
    pytester.makepyfile(test_it=SELECTED)
    without = pytester.runpytest("-p", "no:tiers")
    without.assert_outcomes(passed=3)
    without.stdout.no_fnmatch_line("*tiers*tier*passed*")
    pytester.runpytest("--tiers=nano,full").assert_outcomes(passed=5)
