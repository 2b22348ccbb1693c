"""Which trials stay on one worker."""

from __future__ import annotations

import pytest

from pytest_tiers.workers import case_of, scopes

TIERS = ("nano", "mini", "x-mini", "full")


@pytest.mark.parametrize(
    ("nodeid", "case"),
    [
        ("t.py::test_a[nano]", "t.py::test_a["),
        ("t.py::test_a[full-3]", "t.py::test_a["),
        ("t.py::test_a[case-nano-2]", "t.py::test_a[case-"),
        ("t.py::test_a[case-x-mini]", "t.py::test_a[case-"),
        ("t.py::test_a[a@b-full]", "t.py::test_a[a@b-"),
        ("t.py::test_a[case-full]@group", "group"),
        ("t.py::test_a[piano]", "t.py::test_a[piano]"),
        ("t.py::test_a", "t.py::test_a"),
    ],
)
def test_the_trials_of_a_case_have_one_name(nodeid: str, case: str) -> None:
    assert case_of(nodeid, TIERS) == case


def scoped(*nodeids: str) -> list[set[str]]:
    """The ids by scope, in order."""
    found = scopes(nodeids, TIERS)
    return [{one for one in found if found[one] == name} for name in dict.fromkeys(found.values())]


def test_cases_that_stand_one_after_the_other_are_scopes_of_their_own() -> None:
    assert scoped("test_a[1-nano]", "test_a[1-full]", "test_a[2-nano]", "test_a[2-full]") == [
        {"test_a[1-nano]", "test_a[1-full]"},
        {"test_a[2-nano]", "test_a[2-full]"},
    ]


def test_the_rounds_of_a_prompt_are_one_scope() -> None:
    first = ["test_a[1-nano]", "test_a[1-full]", "test_a[2-nano]", "test_a[2-full]"]
    second = ["test_a[1-nano-2]", "test_a[1-full-2]", "test_a[2-nano-2]", "test_a[2-full-2]"]
    others = ["test_b[nano]", "test_b[full]", "test_c", "test_c[nano-full]"]
    assert scoped("test_0", *first, *second, *others) == [
        {"test_0"},
        {*first, *second},
        {"test_b[nano]", "test_b[full]"},
        {"test_c"},
        {"test_c[nano-full]"},
    ]


def test_functions_that_share_a_prompt_are_one_scope_where_their_rounds_interleave() -> None:
    trials = ["test_a[nano]", "test_b[nano]", "test_a[nano-2]", "test_b[nano-2]"]
    assert scoped(*trials) == [set(trials)]


def test_a_group_keeps_its_tests_and_no_others() -> None:
    assert scoped("test_a[nano]@db", "test_b[nano]", "test_c", "test_d[full]@db") == [
        {"test_a[nano]@db", "test_d[full]@db"},
        {"test_b[nano]"},
        {"test_c"},
    ]
