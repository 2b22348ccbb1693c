"""Models that end: from how many days before it is said, of which tiers, and in which words."""

from __future__ import annotations

from datetime import date

import pytest
from msgspec.structs import replace

from pytest_tiers.ends import gone_models, retirements
from pytest_tiers.findings import GoneModel
from pytest_tiers.reports.ends import gone_sentences, retiring_sentences
from pytest_tiers.reports.terminal import one_line_summary
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import BUILT_IN, Ladder
from tests.unit.summaries import call, everyday, trial
from tests.unit.test_lock_file import ENTRY

FULL = replace(BUILT_IN["full"], retires=date(2027, 3, 1))
ENDS = Settings(ladder=Ladder((BUILT_IN["nano"], FULL), "full"))


@pytest.mark.parametrize(
    ("today", "words"),
    [
        ("2026-12-30", None),
        ("2026-12-31", "retires in 60 days"),
        ("2027-02-28", "retires in 1 day"),
        ("2027-03-01", "retires today"),
        ("2027-03-02", "retired 1 day ago"),
    ],
)
def test_an_end_is_said_60_days_ahead_and_ever_after(today: str, words: str | None) -> None:
    summary = everyday(retiring=tuple(retirements(ENDS, today)))
    expected = [
        f"full (gpt-5.4) {words}, on 2027-03-01. Compare its successor: pytest-tiers replace full "
        "NEW=MODEL"
    ]
    assert list(retiring_sentences(summary)) == (expected if words else [])
    assert one_line_summary(summary).endswith(f"; full {words}" if words else " ran")


def test_only_tiers_in_use_are_watched() -> None:
    old = replace(BUILT_IN["mini"], retires=date(2026, 1, 1))
    known = {**BUILT_IN, "mini": old}
    without = Settings(known_tiers=known)
    assert not list(retirements(without, "2026-06-01"))
    locked = replace(without, locked={ENTRY.prompt: ENTRY})
    [found] = retirements(locked, "2026-06-01")
    assert (found.tier, found.locked, found.days) == ("mini", (ENTRY.prompt,), -151)
    [sentence] = retiring_sentences(everyday(retiring=(found,)))
    assert "retired 151 days ago, on 2026-01-01; tiers.lock names it for 1 prompt." in sentence
    # Of a prompt on another tier, the flagship that it was compared with counts too.
    flagship = replace(ENTRY, tier="nano", replaces="mini")
    assert list(retirements(replace(without, locked={ENTRY.prompt: flagship}), "2026-06-01"))


def test_a_gone_model_is_one_message() -> None:
    refused = call("nano", status=404, error="The model `x` does not exist.")
    first = trial("p::test_a", "a", "nano", "error", calls=(refused,), model_gone=True)
    later = trial("p::test_b", "a", "nano", "error", calls=(), model_gone=True)
    judged = call("nano", status=500, error="other", left_alone="as_is")
    [gone] = gone_models([later, replace(first, calls=(judged, refused)), trial()])
    reason = "404: The model `x` does not exist."
    assert gone == GoneModel("nano", "gpt-5.4-nano", reason, 2, ("p::test_b", "p::test_a"))
    assert list(gone_sentences(everyday(gone=(gone,)))) == [
        "nano: gpt-5.4-nano is gone (404: The model `x` does not exist). 2 trials of p::test_b and "
        "p::test_a without an answer. Is the name right, and may your key use it? If it was "
        "retired: pytest-tiers replace nano NEW=MODEL"
    ]
    [unknown] = gone_models([later])
    assert (unknown.model, unknown.reason) == (None, None)
