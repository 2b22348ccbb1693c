"""``--tiers`` where no test is tiered yet: which tests reach a client, and what to add."""

from __future__ import annotations

import pytest


def usage_error(pytester: pytest.Pytester) -> str:
    result = pytester.runpytest("--tiers=nano,full")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str()
    assert "Traceback" not in said + result.stdout.str()
    return said


def test_tests_that_reach_an_openai_client_are_listed(project: pytest.Pytester) -> None:
    package = project.mkpydir("shop")
    (package / "triage.py").write_text("from . import llm\n")
    (package / "llm.py").write_text("import app\n")
    project.makepyfile(
        test_prompts="""
        import shop.triage
        import pytest

        @pytest.mark.parametrize("x", [1, 2])
        def test_ask(x): ...

        class TestIt:
            def test_it(self): ...
        """,
        test_inside="""
        def test_late():
            from openai import OpenAI
        """,
        test_other="def test_of_something_else(): ...",
    )
    said = usage_error(project)
    assert "--tiers: no test here is tiered. These reach an OpenAI client:" in said
    assert [line for line in said.splitlines() if line.startswith("  ")] == [
        "  test_inside.py::test_late",
        "  test_prompts.py::test_ask",
        "  test_prompts.py::TestIt::test_it",
    ]
    assert "@pytest.mark.tiers" in said
    assert 'tests = ["tests/llm/**"]' in said


def test_a_client_in_a_fixture_of_conftest_is_seen(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def client():
            from openai import OpenAI
            return OpenAI
        """
    )
    pytester.makepyfile(
        test_it="""
        def test_a(client): ...
        def test_b(tmp_path): ...
        """
    )
    said = usage_error(pytester)
    assert "test_it.py::test_a" in said
    assert "test_it.py::test_b" not in said


def test_a_long_list_is_cut(pytester: pytest.Pytester) -> None:
    functions = "\n".join(f"def test_{number}(): ..." for number in range(13))
    pytester.makepyfile(f"import openai\n{functions}")
    said = usage_error(pytester)
    assert "::test_9\n  ... and 3 more\n" in said
    assert "::test_10" not in said


def test_a_suite_without_any_client_is_told_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): ...")
    said = usage_error(pytester)
    assert "none was seen to use an OpenAI client" in said
    assert "@pytest.mark.tiers" in said


def test_modules_that_import_each_other_are_read_once(pytester: pytest.Pytester) -> None:
    pytester.syspathinsert()
    pytester.makepyfile(one="import two", two="import one", test_it="import one\ndef test_a(): ...")
    assert "none was seen to use an OpenAI client" in usage_error(pytester)


def test_items_that_are_no_functions_do_no_harm(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_text.txt").write_text(">>> 1 + 1\n2\n")
    assert "no test here is tiered" in usage_error(pytester)


def test_a_test_that_cannot_be_imported_is_shown_first(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import missing_module")
    result = pytester.runpytest("--tiers=nano,full")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*missing_module*"])
    assert "no test here is tiered" not in result.stdout.str() + result.stderr.str()


def test_last_failed_of_an_untiered_file_is_no_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_one="def test_broken(): assert False",
        test_two="import pytest\n@pytest.mark.tiers\ndef test_tiered(): ...",
    )
    pytester.runpytest("--tiers=nano,full").assert_outcomes(failed=1, passed=2)
    pytester.runpytest("--tiers=nano,full", "--lf").assert_outcomes(failed=1)


def test_without_the_option_nothing_is_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import openai\ndef test_a(): ...")
    result = pytester.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*tiered*")
