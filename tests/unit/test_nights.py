"""Nights: fresh answers that count together, in a file that only grows."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.gate_rates import conclude, rate_tests
from pytest_tiers.nights import accumulate, append, of_entry, pass_rates, read
from pytest_tiers.records import Fingerprint, LockEntry, Night
from pytest_tiers.reports.gates import gate_sentences, warning_sentences
from pytest_tiers.statistics import Tally
from tests.unit.summaries import everyday, prompt, trial
from tests.unit.test_gate_rates import trials
from tests.unit.test_lock_file import ENTRY

ALPHA = 0.05
PROVEN: LockEntry = replace(ENTRY, prompt="p", accepted=None, accepted_on=None)
NIGHT = Night(
    at="2026-11-27T03:00:00Z",
    prompt="p",
    tier="mini",
    model="gpt-5.4-mini",
    holds_for=Fingerprint("0123456789ab", None, "ab"),
    rates=((0.0, 4), (1.0, 36)),
    versus="gpt-5.4",
    differences=((-1.0, 4), (0.0, 36)),
)


def worse(night: Tally) -> float:
    return statistics.log_evidence_worse(night, 0.0)


def test_one_night_keeps_its_whole_stake() -> None:
    assert accumulate([NIGHT.differences], worse).log_evidence == worse(NIGHT.differences)


def test_nights_prove_what_none_of_them_does_and_find_where_it_began() -> None:
    """2⁴ is no proof, 2¹² is; good nights before do not hide it."""
    needed = statistics.log_needed(ALPHA)
    assert worse(NIGHT.differences) < needed
    together = accumulate([NIGHT.differences] * 3, worse)
    assert together.log_evidence > needed
    assert (together.nights, together.mean) == (3, pytest.approx(-0.1))
    late = accumulate([((0.0, 40),)] * 20 + [NIGHT.differences] * 4, worse)
    assert late.log_evidence > needed
    assert late.nights == 4
    parts = [1 / 3, *(math.exp(worse(tally)) / w for tally, w in (
        (((-1.0, 4), (0.0, 76)), 2), (((-1.0, 4), (0.0, 36)), 6)))]  # fmt: skip
    two = accumulate([((0.0, 40),), NIGHT.differences], worse)
    assert two.log_evidence == pytest.approx(math.log(sum(parts)))


def test_looking_every_night_fails_a_tier_that_is_as_good_in_few_histories() -> None:
    chance = random.Random(11)
    needed = statistics.log_needed(ALPHA)
    alarms = 0
    for _ in range(300):
        history: list[Tally] = []
        for _ in range(12):
            history.append(
                statistics.tally(chance.choice((-1.0, 0.0, 0.0, 1.0)) for _ in range(20))
            )
            if accumulate(history, worse).log_evidence >= needed:
                alarms += 1
                break
    assert alarms <= 300 * ALPHA + 3 * (300 * ALPHA * (1 - ALPHA)) ** 0.5


def test_the_file_only_grows_and_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "nights.jsonl"
    assert read(path) == ()
    later = replace(NIGHT, at="2026-11-28T03:00:00Z", versus=None, differences=())
    append(path, [later])
    append(path, [NIGHT])
    append(path, [])
    assert read(path) == (NIGHT, later)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[[0.0,4]", "[[2.0,4]"),
        ("[[0.0,4]", "[[0.0,0]"),
        ('"rates"', '"rate"'),
        ('"mini"', "3"),
        ('"ab"', "[]"),
        ("{", "<<<<<<< ours {"),
        ('"mini"', '"\udcff"'),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "nights.jsonl"
    append(path, [NIGHT, NIGHT])
    head, line = path.read_text().splitlines()
    path.write_text(f"{head}\n{line.replace(old, new)}\n", errors="surrogateescape")
    with pytest.raises(ConfigurationError, match=r"nights\.jsonl line 2: no night that"):
        read(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("other", "counts"),
    [
        (NIGHT, True),
        (replace(NIGHT, prompt="q"), False),
        (replace(NIGHT, tier="nano"), False),
        (replace(NIGHT, model="gpt-6-mini"), False),
        (replace(NIGHT, at="2026-11-24T03:00:00Z"), False),
        (replace(NIGHT, holds_for=Fingerprint("another", None, "ab")), False),
        (replace(NIGHT, holds_for=Fingerprint()), True),
    ],
)
def test_only_nights_of_what_is_locked_count(other: Night, counts: bool) -> None:
    assert bool(of_entry([other], PROVEN, NIGHT.holds_for)) is counts


def test_samples_of_a_case_are_one_rate() -> None:
    found = [
        trial("p", "a", "mini", sample=1),
        trial("p", "a", "mini", "missed", sample=2),
        trial("p", "b", "mini"),
    ]
    assert pass_rates(found) == ((0.5, 1), (1.0, 1))


def test_a_rate_below_what_was_locked_fails_when_nights_prove_it() -> None:
    entry = replace(PROVEN, pass_rate_at_least=0.97)
    fresh = [replace(each, replayed=False, prompt="p") for each in trials(36, 4)]
    for nights, proven in (([NIGHT], False), ([NIGHT] * 4, True)):
        tests = rate_tests(prompt("p"), "mini", fresh, entry, nights)
        outcome = conclude(tests, 1, ALPHA)
        [reason] = outcome.proven if proven else outcome.not_proven
        assert (reason.kind, reason.rate) == ("dropped", pytest.approx(0.9))
        from pytest_tiers.findings import Gate

        gate = Gate(outcome.proven, outcome.not_proven)
        summary = everyday(gate=gate, locked={"p": entry})
        [said] = [*gate_sentences(summary), *warning_sentences(summary)]
        over = " over 4 nights" if proven else ""
        assert f"passes 90%{over}, below the 97% at least that it was locked with" in said
        assert said.endswith('revert "p" --reason "..."' if proven else "not proven.")
    assert rate_tests(prompt("p"), "mini", [replace(fresh[0], replayed=True)], entry) == []
