"""Which comparisons a process makes, when, and what becomes of one that fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_tiers.agreements import How
from pytest_tiers.comparing.desk import Desk
from pytest_tiers.records import Agreement
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import BUILT_IN, Ladder

SETTINGS = Settings(ladder=Ladder((BUILT_IN["nano"], BUILT_IN["full"]), "full"), comparison=True)


class Silent:
    """A consultation in which nothing is called."""

    problem: str | None = None
    out_of_budget = False

    @contextlib.contextmanager
    def owning(self) -> Iterator[None]:
        yield

    def end(self) -> list[Any]:
        return []


class NoCalls:
    """Opens consultations in which nothing is called."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int]] = []

    def between(self, _trial: Any, tier: str, sample: int) -> Any:
        self.opened.append((tier, sample))
        return Silent()


@pytest.fixture
def counsel() -> NoCalls:
    return NoCalls()


@pytest.fixture
def desk(counsel: NoCalls) -> Desk:
    """Where the flagship is `full`, and the hook knows nothing."""
    return Desk(SETTINGS, lambda **_: None, counsel)  # type: ignore[arg-type]


def equal(flagship: Any, candidate: Any) -> bool:
    return bool(flagship == candidate)


def settled(
    desk: Desk, *outputs: tuple[str, int, Any], how: How | None = None, case: str = "a"
) -> list[tuple[Agreement, ...]]:
    """What was settled as the outputs (tier, sample, value) became known."""
    how = how or How("equal", {}, equal)
    found = []
    for tier, sample, value in outputs:
        names = {"prompt": "p", "case": case, "function": "t.py::p", "sample": sample}
        trial: Any = SimpleNamespace(tier=SimpleNamespace(name=tier), **names)
        found.append(desk.settle(trial, value, how).agreements)
    return found


@pytest.mark.parametrize("first", ["nano", "full"])
def test_a_pair_is_compared_when_the_later_one_is_known(desk: Desk, first: str) -> None:
    later = {"nano": "full", "full": "nano"}[first]
    assert settled(desk, (first, 1, "x"), (later, 1, "x")) == [(), (Agreement("nano", 1, 1.0),)]


def test_each_output_is_compared_with_the_flagships_of_its_sample(desk: Desk) -> None:
    outputs = [("nano", 1, "x"), ("nano", 2, "x"), ("full", 2, "y"), ("full", 1, "x")]
    assert settled(desk, *outputs)[2:] == [
        (Agreement("nano", 2, 0.0),),
        (Agreement("nano", 1, 1.0), Agreement("full", 2, 0.0)),
    ]


def test_the_flagships_samples_are_compared_once_in_any_order(desk: Desk, counsel: NoCalls) -> None:
    settled(desk, ("full", 1, "x"), ("full", 3, "x"), ("full", 2, "x"))
    assert counsel.opened == [("full", 2), ("full", 3)]


def test_other_cases_are_other_cases(desk: Desk) -> None:
    settled(desk, ("full", 1, "x"))
    assert settled(desk, ("nano", 1, "x"), case="b") == [()]


def test_what_travels_is_left_to_the_controller(desk: Desk, counsel: NoCalls) -> None:
    assert settled(desk, ("full", 1, "x"), ("nano", 1, "x"), how=How()) == [(), ()]
    assert not counsel.opened


def test_a_judgement_that_fails_is_an_error_and_no_vote(desk: Desk) -> None:
    def fails(*_: Any) -> bool:
        raise KeyError("total")

    outputs = (("full", 1, {}), ("nano", 1, {}))
    ((), (found,)) = settled(desk, *outputs, how=How("fails", {}, fails))
    assert (found.value, found.error) == (
        None,
        "comparing its output with the flagship's failed: KeyError: 'total'",
    )


def test_where_the_hook_knows_nothing_the_default_holds(desk: Desk) -> None:
    asked_first = How(None, {}, has_hook=True)
    ((), (found,)) = settled(desk, ("full", 1, "Yes"), ("nano", 1, "yes "), how=asked_first)
    assert found.value == 1.0
