from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tiers import statistics
from pytest_tiers.statistics import tally

DATA = Path(__file__).parent.parent / "data" / "stats"
LOG_20 = math.log(20)

differences = st.floats(-1, 1, allow_nan=False)
outcomes = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])
margins = st.floats(0.01, 0.9)


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def read_samples(text: str) -> list[float]:
    if "," in text or "." in text:
        return [float(each) for each in text.split(",")]
    return [float(each) for each in text]


def read_cases(text: str) -> list[list[float]]:
    """The differences of each case's samples, from ``FLAGSHIP/CANDIDATE*REPEAT;...``."""
    cases = []
    for part in text.split(";"):
        pair, repeat = part.split("*")
        flagship, candidate = map(read_samples, pair.split("/"))
        samples = [ours - theirs for theirs, ours in zip(flagship, candidate, strict=True)]
        cases += [samples] * int(repeat)
    return cases


def number(text: str) -> int | None:
    return int(text) if text else None


@pytest.mark.parametrize("row", rows("reference.csv"), ids=lambda row: row["name"])
def test_reference(row: dict[str, str]) -> None:
    samples = read_cases(row["cases"])
    cases = tally(math.fsum(each) / len(each) for each in samples)
    pairs = tally(difference for each in samples for difference in each)
    margin, alpha = float(row["delta"]), float(row["alpha"])

    def reference(column: str) -> object:
        return pytest.approx(float(row[column]), abs=0.5e-4 + 1e-9)

    assert statistics.log_evidence(cases, margin) == reference("ln_e_cases")
    assert statistics.log_evidence(pairs, margin) == reference("ln_e_pairs")
    assert statistics.log_evidence_worse(pairs, 0.0) == reference("ln_e_worse0")
    assert statistics.log_evidence_worse(pairs, margin) == reference("ln_e_worse_delta")
    assert statistics.largest_drop(cases, alpha) == reference("bound_cases")
    assert statistics.largest_drop(pairs, alpha) == reference("bound_pairs")
    needed = statistics.log_needed(alpha)
    for name, values in (("cases", cases), ("pairs", pairs)):
        assert statistics.more_needed(values, margin, needed) == (
            number(row[f"more_{name}_tie"]),
            number(row[f"more_{name}_expected"]),
        )


@pytest.mark.parametrize("row", rows("e_bh.csv"), ids=lambda row: row["evalues"])
def test_e_bh_reference(row: dict[str, str]) -> None:
    logs: list[float] = []
    for part in row["evalues"].replace(",", " ").split():
        value, _, repeat = part.partition("x")
        logs += [math.log(float(value))] * int(repeat or 1)
    held, log_threshold = statistics.e_bh(logs, len(logs), float(row["q"]))
    assert held == int(row["n_safe"])
    assert math.exp(log_threshold) == pytest.approx(float(row["threshold"]), abs=1e-4)


def test_e_bh_counts_comparisons_without_an_e_value() -> None:
    logs = [math.log(50)] * 2
    assert statistics.e_bh(logs, 2, 0.05)[0] == 2
    assert statistics.e_bh(logs, 5, 0.05) == (2, pytest.approx(math.log(50)))
    assert statistics.e_bh(logs, 6, 0.05) == (0, math.inf)


def test_e_bh_of_nothing() -> None:
    assert statistics.e_bh([], 3, 0.05) == (0, math.inf)


@given(st.lists(st.floats(-5, 12), min_size=1, max_size=30), st.integers(0, 5))
def test_e_bh_agrees_with_its_definition(logs: list[float], others: int) -> None:
    among = len(logs) + others
    held, log_threshold = statistics.e_bh(logs, among, 0.05)
    ranked = sorted(map(math.exp, logs), reverse=True)
    holds = [k for k in range(1, len(logs) + 1) if ranked[k - 1] * 0.05 * k >= among * (1 + 1e-9)]
    nearly = [k for k in range(1, len(logs) + 1) if ranked[k - 1] * 0.05 * k >= among * (1 - 1e-9)]
    assert max(holds, default=0) <= held <= max(nearly, default=0)
    assert sum(statistics.reaches(each, log_threshold) for each in logs) == held


@pytest.mark.parametrize(
    ("margin", "alpha", "needed"), [(0.10, 0.05, 32), (0.05, 0.05, 66), (0.0, 0.05, None)]
)
def test_cases_needed(margin: float, alpha: float, needed: int | None) -> None:
    assert statistics.cases_needed(margin, alpha) == needed


def test_eight_prompts_with_three_clean_ones_want_42_cases_each() -> None:
    threshold = statistics.log_e_bh_threshold(3, 8, 0.05)
    assert statistics.more_needed((), 0.10, threshold)[0] == 42


def test_nothing_is_no_evidence() -> None:
    assert statistics.log_evidence((), 0.1) == 0.0
    assert statistics.log_evidence_worse((), 0.1) == 0.0
    assert statistics.largest_drop((), 0.05) == 1.0
    assert statistics.more_needed((), 0.1, LOG_20) == (32, None)


def test_a_bet_that_lost_everything_leaves_the_others() -> None:
    """D = −1 takes the whole stake of the bet that risks all: 0, not NaN."""
    value = statistics.log_evidence(((-1.0, 1),), 0.1)
    assert value == pytest.approx(math.log(0.2 * 0.1 + 0.15 * 0.4 + 0.1 * 0.7 + 0.05 * 0.9))
    worse = statistics.log_evidence_worse(((1.0, 1),), 0.0)
    assert worse == pytest.approx(value)


def test_the_hedged_bets_outlast_a_pair_that_only_the_candidate_passes() -> None:
    value = statistics.log_evidence_worse_hedged(tally([-1.0, -1.0, 0.0, 1.0]))
    each = 2 * (0.2 * 1.9**2 * 0.1 + 0.15 * 1.6**2 * 0.4 + 0.1 * 1.3**2 * 0.7 + 0.05 * 1.1**2 * 0.9)
    assert value == pytest.approx(math.log(each))
    assert statistics.log_evidence_worse_hedged(()) == pytest.approx(0.0)


def test_no_drop_can_be_excluded_where_all_is_lost() -> None:
    assert statistics.largest_drop(tally([-1.0] * 50), 0.05) == 1.0


def test_a_gain_is_no_negative_drop() -> None:
    assert statistics.largest_drop(tally([1.0] * 50), 0.05) == 0.0


def test_at_margin_0_only_gains_are_evidence() -> None:
    assert statistics.more_needed(tally([0.0] * 50), 0.0, LOG_20) == (None, None)
    assert statistics.more_needed(tally([1.0, 0.0]), 0.0, LOG_20) == (None, 8)
    # One gain in two cases: after 10 cases the bets stand at Σ w (1 + u)⁵.
    assert 0.5 * 2**5 + 0.2 * 1.9**5 + 0.15 * 1.6**5 + 0.1 * 1.3**5 + 0.05 * 1.1**5 > 20
    assert 0.5 * 2**4.5 + 0.2 * 1.9**4.5 + 0.15 * 1.6**4.5 + 0.1 * 1.3**4.5 + 0.05 < 20


def test_a_trend_exactly_at_the_margin_leads_nowhere() -> None:
    """Each D is −margin: the logs are 0 but for rounding, which must not count as a trend."""
    least, expected = statistics.more_needed(tally([0.9 - 1.0] * 40), 0.1, LOG_20)
    assert least == 32
    assert expected is None


def test_100_000_different_values_stay_finite() -> None:
    values = tally((index % 7919) / 7919 / 50 for index in range(100_000))
    assert statistics.log_evidence(values, 0.1) == pytest.approx(
        sum(count * math.log1p((value + 0.1) / 0.9) for value, count in values) + math.log(0.5)
    )
    assert 0 < statistics.largest_drop(tally([0.0] * 100_000), 0.05) < 0.0001
    assert statistics.more_needed(tally([-1.0] * 100_000), 0.1, LOG_20)[1] is None


@given(st.lists(outcomes, max_size=60), st.integers(0, 59), margins)
def test_evidence_grows_with_each_difference(
    values: list[float], index: int, margin: float
) -> None:
    better = [*values]
    if index < len(values):
        better[index] = 1.0
    else:
        better.append(0.0)
    rounding = 1e-9
    before, after = tally(values), tally(better)
    assert statistics.log_evidence(after, margin) >= (
        statistics.log_evidence(before, margin) - rounding
    )
    assert statistics.largest_drop(after, 0.05) <= (
        statistics.largest_drop(before, 0.05) + 2 * rounding
    )


@given(
    st.lists(differences, max_size=30).flatmap(lambda v: st.tuples(st.just(v), st.permutations(v)))
)
def test_order_does_not_matter(both: tuple[list[float], list[float]]) -> None:
    one, other = map(tally, both)
    assert one == other
    assert statistics.log_evidence(one, 0.1) == statistics.log_evidence(other, 0.1)


@given(st.lists(differences, min_size=1, max_size=40))
def test_the_bound_is_where_the_evidence_reaches_the_threshold(values: list[float]) -> None:
    counted = tally(values)
    bound = statistics.largest_drop(counted, 0.05)
    if 0 < bound < 1:
        assert statistics.log_evidence(counted, bound) >= LOG_20 - 1e-9
        assert statistics.log_evidence(counted, bound - 1e-6) < LOG_20
    elif bound == 0:
        assert statistics.log_evidence(counted, 0.0) >= LOG_20 - 1e-9
    else:
        assert statistics.log_evidence(counted, 0.999_999) < LOG_20


@given(st.lists(outcomes, min_size=1, max_size=60), margins)
def test_the_least_number_is_exact(values: list[float], margin: float) -> None:
    least, _ = statistics.more_needed(tally(values), margin, LOG_20)
    assert least is not None
    assert statistics.log_evidence(tally([*values, *[0.0] * least]), margin) >= LOG_20 - 1e-9
    if least:
        before = tally([*values, *[0.0] * (least - 1)])
        assert statistics.log_evidence(before, margin) < LOG_20


def test_false_claims_are_as_rare_as_promised() -> None:
    """The chance that e ever reaches 20 for a candidate exactly 10 points worse, exactly.

    Every way that 60 cases can go (each lost with probability 0.1), stopped at the first look
    that says safe.
    """
    going = {0: 1.0}
    claimed = 0.0
    for cases in range(1, 61):
        following: dict[int, float] = {}
        for lost, chance in going.items():
            for more, probability in ((0, 0.9), (1, 0.1)):
                following[lost + more] = following.get(lost + more, 0.0) + chance * probability
        going = {}
        for lost, chance in following.items():
            counted = tally([0.0] * (cases - lost) + [-1.0] * lost)
            if statistics.reaches(statistics.log_evidence(counted, 0.1), LOG_20):
                claimed += chance
            else:
                going[lost] = chance
    assert 0.01 < claimed <= 0.05


@pytest.mark.parametrize(
    ("passed", "of", "low", "high"),
    # In exact fractions: a sweep of n solves sum_g w_g (1 + u_g m / (1 - m))^n = 2 / α.
    [(32, 32, 0.8802, 1.0), (0, 32, 0.0, 0.1198), (1, 1, 0.0202, 1.0)],
)
def test_bounds_of_a_mean(passed: int, of: int, low: float, high: float) -> None:
    values = tally([1.0] * passed + [0.0] * (of - passed))
    assert statistics.mean_bounds(values, 0.05) == pytest.approx((low, high), abs=1e-4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_bounds_hold_the_mean_and_mirror(values: list[float], alpha: float) -> None:
    low, high = statistics.mean_bounds(tally(values), alpha)
    assert 0 <= low <= math.fsum(values) / len(values) + 1e-9
    assert math.fsum(values) / len(values) - 1e-9 <= high <= 1
    mirrored = statistics.mean_bounds(tally(1 - value for value in values), alpha)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)
