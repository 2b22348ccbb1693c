"""What travels from a worker."""

from __future__ import annotations

from pytest_tiers.records import sendable


def test_lone_surrogates_are_replaced_wherever_they_stand() -> None:
    hostile = {"a\ud800": ["x", ("\udfff é", 1, None, 0.5)], "b": "é \U0001f600 \n"}
    assert sendable(hostile) == {
        "a\N{REPLACEMENT CHARACTER}": ["x", ("\N{REPLACEMENT CHARACTER} é", 1, None, 0.5)],
        "b": "é \U0001f600 \n",
    }
