"""A cassette's file: safe on every file system, unique, and short."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pytest_tiers.cassettes.names import CassetteFile, cassette_file

BASE = Path("/project")


def name_of(test: str, tier: str = "nano") -> str:
    return cassette_file(None, BASE, BASE / "tests/test_it.py", test, tier).path.name


def test_beside_the_test_module_by_default() -> None:
    found = cassette_file(None, BASE, BASE / "tests/test_triage.py", "TestRoute.test_it", "nano")
    root = BASE / "tests/cassettes"
    assert found == CassetteFile(root, root / "test_triage/TestRoute.test_it[nano].yaml")


def test_below_a_given_root_the_modules_path_keeps_namesakes_apart() -> None:
    root = BASE / "recordings"
    one, other = (
        cassette_file(root, BASE, BASE / folder / "test_x.py", "test_it", "nano").path
        for folder in ("a", "b")
    )
    assert one == root / "a/test_x/test_it[nano].yaml"
    assert other == root / "b/test_x/test_it[nano].yaml"


def test_a_test_file_outside_the_project_has_its_name_as_folder() -> None:
    found = cassette_file(BASE / "c", BASE, Path("/elsewhere/test_x.py"), "test_it", "full")
    assert found.path == BASE / "c/test_x/test_it[full].yaml"


def test_a_class_and_a_function_of_one_name_have_two_files() -> None:
    assert name_of("TestA.test_it") != name_of("test_it") != name_of("TestB.test_it")


TIERS = st.from_regex(r"[A-Za-z0-9._-]{1,80}", fullmatch=True)


@given(test=st.text(min_size=1, max_size=300), tier=TIERS)
def test_any_test_name_gives_a_short_and_portable_file_name(test: str, tier: str) -> None:
    name = name_of(test, tier)
    assert re.fullmatch(r"[A-Za-z0-9._\[\]-]+", name)
    assert len(name) < 120
    assert name.endswith("].yaml")


def test_a_long_test_name_begins_alike_on_all_tiers() -> None:
    starts = {name_of("test_" + "x" * 200, tier).partition("[")[0] for tier in ("a", "a-longer")}
    assert len(starts) == 1


@given(st.lists(TIERS, min_size=2, max_size=2, unique_by=str.casefold))
def test_different_tiers_have_different_files(tiers: list[str]) -> None:
    one, other = tiers
    assert name_of("test_it", one).casefold() != name_of("test_it", other).casefold()


@given(st.lists(st.text("aA_-/é你 ", min_size=1, max_size=200), unique_by=str.casefold))
def test_different_tests_have_different_files_even_where_case_does_not_count(
    tests: list[str],
) -> None:
    assert len({name_of(test).casefold() for test in tests}) == len(tests)


def test_two_tiers_of_a_comparison_stand_in_its_name() -> None:
    assert name_of("test_ask", "nano~full") == "test_ask[nano~full].yaml"
    long = name_of("t" * 200, f"{'a' * 60}~{'b' * 60}")
    assert len(long) < 120
    assert long != name_of("t" * 200, f"{'a' * 61}~{'b' * 60}")
