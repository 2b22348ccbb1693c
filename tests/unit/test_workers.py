"""Which trials stay on one worker."""

from __future__ import annotations

import pytest

from pytest_tiers.workers import case_of

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
