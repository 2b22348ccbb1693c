"""What a judge is asked, how its answers are read, and when its votes cannot count."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from pytest_tiers.agreements import CONTRADICTS, Degree
from pytest_tiers.comparing.judge import CRITERIA, NoVoteError, judged, useless
from pytest_tiers.comparing.semantic import cosine, similar, vector


class Judge:
    """Answers by what stands first and second; remembers what it was asked."""

    def __init__(self, answer: Callable[[Any, Any], str]) -> None:
        self._answer = answer
        self.asked: list[tuple[str, Any]] = []

    def __call__(self, instructions: str, question: str) -> str:
        pair = json.loads(question)
        self.asked.append((instructions, pair))
        return self._answer(pair["first"], pair["second"])


def fair(first: Any, second: Any) -> str:
    """Knows numbers and whether something was refused."""

    def gist(text: Any) -> Any:
        return "refused" in str(text), "20" in str(text)

    return "SAME" if gist(first) == gist(second) else "DIFFERENT"


def test_both_orders_are_asked() -> None:
    judge = Judge(fair)
    assert judged(judge, "approved", {"said": "refused"}, None) == Degree(0.0)
    assert judged(judge, "refused", "was refused", "Mind the decision only.") == Degree(1.0)
    instructions, questions = zip(*judge.asked, strict=True)
    assert questions[:2] == (
        {"first": "approved", "second": {"said": "refused"}},
        {"first": {"said": "refused"}, "second": "approved"},
    )
    assert CRITERIA in instructions[0]
    assert "Mind the decision only." in instructions[2]


def test_a_judge_that_goes_by_the_order_has_not_called_them_the_same() -> None:
    judge = Judge(lambda first, _: "SAME" if first == "a" else "DIFFERENT")
    assert judged(judge, "a", "b", None) == Degree(0.0, CONTRADICTS)


@pytest.mark.parametrize("answer", ["SAME", "same.", " **Same** ", '"SAME"', "Same\n"])
def test_same(answer: str) -> None:
    assert judged(Judge(lambda *_: answer), "a", "b", None).value == 1.0


@pytest.mark.parametrize(
    "answer", ["", "The first.", "SAME or DIFFERENT", "not the same", "1", "x" * 500]
)
def test_any_other_answer_is_no_vote(answer: str) -> None:
    with pytest.raises(NoVoteError, match="instead of SAME or DIFFERENT") as raised:
        judged(Judge(lambda *_: answer), "a", "b", None)
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (fair, None),
        (lambda *_: "SAME", "calls two texts the same that say the opposite"),
        (lambda *_: "DIFFERENT", "calls two texts different that say the same"),
        (
            lambda first, second: "SAME" if first < second else "DIFFERENT",
            "calls two texts different that say the same",
        ),
    ],
)
def test_control(answer: Callable[[Any, Any], str], why: str | None) -> None:
    found = useless(Judge(answer))
    assert (found is None) if why is None else why in str(found)


def test_a_lone_surrogate_can_be_sent() -> None:
    judge = Judge(fair)
    judged(judge, "\ud800", "é", None)
    assert judge.asked[0][1] == {"first": "\ud800", "second": "é"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([1, 0], [2, 0], 1.0), ([1, 0], [0, 1], 0.0), ([1, 0], [-1, 0], -1.0), ([3, 4], [4, 3], 0.96)],
)
def test_cosine(one: list[float], other: list[float], expected: float) -> None:
    assert cosine(one, other) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ([1.0], [1.0, 2.0], "1 and 2 numbers"),
        ([0.0], [1.0], "without a direction"),
        ([float("nan")], [1.0], "without a direction"),
    ],
)
def test_vectors_that_cannot_be_compared(one: list[float], other: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        cosine(one, other)


def test_similar_against_a_threshold() -> None:
    def embed(texts: list[str]) -> list[list[float]]:
        assert texts == ["refund", '{"a": "é"}']
        return [[3, 4], [4, 3]]

    assert similar(embed, "refund", {"a": "é"}, 0.9).value == 1.0
    assert similar(embed, "refund", {"a": "é"}, 0.97) == Degree(0.0, "0.96, threshold 0.97")
    assert similar(lambda _: [[1], [-1]], "", "\ud800", 0.5).value == 0.0


def test_an_embedding_is_numbers_or_base64() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2.0)).decode()
    assert vector(packed) == vector([0.5, -2.0]) == [0.5, -2.0]
