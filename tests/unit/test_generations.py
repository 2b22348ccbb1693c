from __future__ import annotations

from dataclasses import dataclass

import pytest

from pytest_tiers.cassettes import generations
from pytest_tiers.cassettes.format import Cassette, Recording, TrialKey
from pytest_tiers.cassettes.generations import Repeats
from pytest_tiers.history import made_anew_in_part
from pytest_tiers.records import Call, Trial


@dataclass
class Attempt:
    key: TrialKey
    repeats: Repeats | None


def counted(before: dict[str, int], attempts: dict[str, Repeats | None]) -> dict[str, int]:
    """The generations by case, after attempts at some of them."""
    old = {(case, 1): Recording((), generation=number) for case, number in before.items()}
    cassette = Cassette("t.py::test", "nano", dict(old))
    made = [Attempt((case, 1), repeats) for case, repeats in attempts.items()]
    for attempt in made:
        cassette.recordings[attempt.key] = Recording(())
    number = generations.next_number([(Cassette("t.py::test", "nano", old), made)])
    generations.count(cassette, old, made, number)
    return {case: recording.generation for (case, _), recording in cassette.recordings.items()}


@pytest.mark.parametrize(
    ("before", "attempts", "after"),
    [
        ({}, {"a": None, "b": None}, {"a": 0, "b": 0}),
        ({"a": 0, "b": 0}, {"a": "other"}, {"a": 1, "b": 0}),
        ({"a": 0, "b": 0}, {"a": "same"}, {"a": 0, "b": 0}),
        ({"a": 0, "b": 0}, {"a": "same", "b": "other"}, {"a": 1, "b": 1}),
        # Lagging behind, they catch up, whatever they answer.
        ({"a": 1, "b": 0}, {"b": "same"}, {"a": 1, "b": 1}),
        ({"a": 1, "b": 0}, {"b": "other"}, {"a": 1, "b": 1}),
        ({"a": 1, "b": 0}, {"a": "same", "b": "same"}, {"a": 1, "b": 1}),
        ({"a": 1, "b": 0}, {"a": "other", "b": "same"}, {"a": 2, "b": 2}),
        ({"a": 1, "b": 1}, {"a": "other"}, {"a": 2, "b": 1}),
        ({"a": 3, "b": 0}, {"b": "other"}, {"a": 3, "b": 1}),
        # What is new joins the rest; what asks something else does, too.
        ({"a": 2, "b": 2}, {"c": None}, {"a": 2, "b": 2, "c": 2}),
        ({"a": 2, "b": 0}, {"a": None}, {"a": 0, "b": 0}),
        ({"a": 2, "b": 1}, {"a": None, "b": None}, {"a": 0, "b": 0}),
        ({"a": 0}, {"a": "other", "c": None}, {"a": 1, "c": 1}),
    ],
)
def test_count(
    before: dict[str, int], attempts: dict[str, Repeats | None], after: dict[str, int]
) -> None:
    assert counted(before, attempts) == after


def trial(case: str, generation: int, cassette: str = "a.yaml", day: int = 1) -> Trial:
    call = Call("m", "m", "m", "chat/completions", 200, recorded_at=f"2026-01-{day:02}T00:00:00Z")
    return Trial(
        "p",
        case,
        "nano",
        1,
        "passed",
        case,
        calls=(call,),
        recording=(cassette, case),
        generation=generation,
    )


def test_within_a_cassette_all_are_of_one_generation() -> None:
    assert not made_anew_in_part([])
    assert not made_anew_in_part([trial("a", 0), trial("b", 0)])
    assert not made_anew_in_part([trial("a", 2, day=1), trial("b", 2, day=9)])
    assert made_anew_in_part([trial("a", 1), trial("b", 0)])


def test_a_test_that_joins_later_has_a_cassette_of_its_own() -> None:
    anew = [trial("a", 1, day=5), trial("b", 1, day=5)]
    assert not made_anew_in_part([*anew, trial("c", 0, "b.yaml", day=6)])
    assert made_anew_in_part([*anew, trial("c", 0, "b.yaml", day=4)])
    assert made_anew_in_part([trial("c", 0, "b.yaml", day=4), *anew])
    assert not made_anew_in_part([*anew, trial("c", 1, "b.yaml", day=4)])


def test_trials_without_an_answer_say_nothing() -> None:
    lost = trial("b", 0).with_outcome("error", "timeout")
    assert not made_anew_in_part([trial("a", 1), lost])


def test_all_that_is_recorded_again_together_is_of_one_generation() -> None:
    def cassette(generation: int) -> Cassette:
        return Cassette("t.py::test", "nano", {("a", 1): Recording((), generation=generation)})

    same, other = Attempt(("a", 1), "same"), Attempt(("a", 1), "other")
    assert generations.next_number([(cassette(0), [same]), (cassette(0), [other])]) == 1
    assert generations.next_number([(cassette(3), [same]), (cassette(0), [other])]) == 4
    assert generations.next_number([(cassette(3), [same]), (cassette(0), [same])]) == 3
    assert generations.next_number([(None, [other]), (cassette(0), [same])]) == 0
