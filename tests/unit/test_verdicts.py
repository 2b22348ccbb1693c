from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_tiers import statistics, verdicts
from pytest_tiers.records import Call, Outcome, Trial
from pytest_tiers.settling import settle
from pytest_tiers.verdicts import Comparison, Evidence, decide, gather

ALPHA = 0.05
DATA = Path(__file__).parent.parent / "data" / "stats"
CALL = Call("gpt-5.4", "gpt-5.4-nano", "gpt-5.4-nano", "chat/completions", 200)
OUTCOMES: dict[str, Outcome] = {
    "1": "passed",
    "0": "missed",
    "u": "unsupported",
    "e": "error",
    "n": "no-call",
}


def trial(case: str, tier: str, sample: int = 1, outcome: Outcome = "passed", **more: Any) -> Trial:
    more.setdefault("calls", (CALL,))
    return Trial("p", case, tier, sample, outcome, f"t.py::p[{case}-{tier}-{sample}]", **more)


def trials_of(text: str) -> list[Trial]:
    """Trials from ``FLAGSHIP/CANDIDATE*REPEAT;...``, one character per sample, - for no trial.

    A list with commas gives scores.
    """
    found = []
    for group, part in enumerate(text.split(";")):
        pair, _, repeat = part.partition("*")
        for case in range(int(repeat or 1)):
            for tier, side in zip(("full", "nano"), pair.split("/"), strict=True):
                found += side_of(f"{group}.{case}", tier, side)
    return found


def side_of(case: str, tier: str, side: str) -> Iterable[Trial]:
    scored = "," in side
    for sample, each in enumerate(side.split(",") if scored else side, 1):
        if scored:
            yield trial(case, tier, sample, score=float(each))
        elif each != "-":
            yield trial(case, tier, sample, OUTCOMES[each])


def evidence(text: str, margin: float = 0.1, planned_cases: int = 0) -> Evidence:
    return gather(
        trials_of(text),
        candidate="nano",
        flagship="full",
        margin=margin,
        alpha=ALPHA,
        planned_cases=planned_cases,
    )


def compare(text: str, margin: float = 0.1) -> Comparison:
    return decide({"p": evidence(text, margin)}, alpha=ALPHA)["p"]


def reference() -> list[dict[str, str]]:
    with (DATA / "reference.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", reference(), ids=lambda row: row["name"])
def test_reference(row: dict[str, str]) -> None:
    found = compare(row["cases"], float(row["delta"]))

    def number(column: str) -> object:
        return pytest.approx(float(row[column]), abs=0.5e-4 + 1e-9)

    assert found.verdict == row["verdict"]
    assert (found.cases, found.pairs) == (int(row["n_cases"]), int(row["n_pairs"]))
    assert found.difference == number("est")
    assert found.log_evidence == number("ln_e_cases")
    assert found.log_evidence_these_cases == number("ln_e_pairs")
    assert found.log_evidence_worse == number("ln_e_worse0")
    assert found.largest_drop == number("bound_cases")
    assert found.largest_drop_these_cases == number("bound_pairs")
    more = (row["more_cases_tie"], row["more_cases_expected"])
    assert found.more_cases == tuple(int(each) if each else None for each in more)
    assert (found.missing_trials, found.output_mismatches, found.held_back) == (0, 0, False)
    assert found.measurably_worse == (row["name"] == "safe_but_measurable_drop_300")


def test_counts() -> None:
    found = compare("1/1*3;1/0*2;0/1*1;0/0*1")
    assert (found.cases, found.pairs, found.agreeing) == (7, 7, 4)
    assert (found.candidate_passed, found.flagship_passed) == (4, 5)
    assert found.difference == pytest.approx(-1 / 7)
    assert (found.tier, found.flagship, found.margin, found.among) == ("nano", "full", 0.1, 1)


def test_five_of_five_excludes_only_large_drops() -> None:
    found = compare("1/1*5")
    assert found.verdict == "inconclusive"
    assert found.largest_drop == pytest.approx(0.4853, abs=1e-4)
    assert found.more_cases == (27, 27)


class TestUnsupported:
    def test_every_trial(self) -> None:
        found = compare("1/u*40")
        assert found.verdict == "unsupported"
        assert (found.difference, found.candidate_passed) == (-1.0, 0)

    def test_errors_beside_it_do_not_count(self) -> None:
        assert compare("1/u*3;1/e*3").verdict == "unsupported"

    def test_needs_no_flagship(self) -> None:
        assert compare("e/u*3").verdict == "unsupported"

    def test_in_some_cases_it_is_a_miss(self) -> None:
        assert compare("1/1*36;1/u*4").difference == -0.1
        assert compare("1/1*36;1/u*4").log_evidence == compare("1/1*36;1/0*4").log_evidence


class TestNoData:
    @pytest.mark.parametrize("text", ["1/e*40", "e/1*40", "1/n*3", "1/-*3;-/1*3", "e/e"])
    def test_no_complete_pair(self, text: str) -> None:
        found = compare(text)
        assert found.verdict == "no-data"
        assert (found.cases, found.pairs, found.difference) == (0, 0, None)
        assert (found.largest_drop, found.largest_drop_these_cases) == (None, None)
        assert (found.log_evidence, found.log_evidence_these_cases) == (None, None)
        assert found.log_evidence_worse is None

    def test_candidate_without_trials(self) -> None:
        assert compare("1/-*3").verdict == "no-data"
        assert compare("1/-*3").missing_trials == 0


class TestFlagshipFails:
    def test_on_a_fifth_it_still_is_a_yardstick(self) -> None:
        assert compare("1/1*40;0/0*10").verdict == "safe"

    def test_on_more_than_a_fifth(self) -> None:
        assert compare("1/1*40;0/0*11").verdict == "flagship-fails"

    def test_unsupported_is_a_failure(self) -> None:
        assert compare("1/1*40;u/1*11").verdict == "flagship-fails"

    def test_its_samples_without_a_partner_count(self) -> None:
        assert compare("1/1*39;0/e*10").verdict == "flagship-fails"

    def test_its_errors_do_not(self) -> None:
        assert compare("1/1*40;e/0*20").verdict != "flagship-fails"

    def test_is_never_zero_cases_away_from_safe(self) -> None:
        found = compare("1/1*40;0/1*30")
        assert found.verdict == "flagship-fails"
        assert found.more_cases == (None, None)


class TestMissingTrials:
    def test_ten_timeouts_are_no_agreement(self) -> None:
        found = compare("1/1*32;1/e*10")
        assert found.verdict == "inconclusive"
        assert (found.cases, found.missing_trials, found.difference) == (32, 10, 0.0)
        assert found.log_evidence == pytest.approx(3.0118, abs=1e-4)
        least, _ = found.more_cases
        assert least is not None
        assert least > 30
        assert not found.held_back

    def test_a_few_do_no_harm_where_evidence_is_plenty(self) -> None:
        found = compare("1/1*100;1/e*1")
        assert (found.verdict, found.missing_trials) == ("safe", 1)

    @pytest.mark.parametrize("missing", ["1/n", "1/-", "e/e", "e/n", "n/0", "-/0", "e/u"])
    def test_each_counts_as_a_loss(self, missing: str) -> None:
        found = evidence(f"1/1*40;{missing}*4")
        assert found.comparison.missing_trials == 4
        assert found.log_cases == evidence("1/1*40;1/0*4").log_cases
        assert compare(f"1/1*40;{missing}*4").verdict == "inconclusive"

    def test_a_pass_without_a_flagship_is_no_evidence_either_way(self) -> None:
        found = evidence("1/1*31;e/1*10")
        assert found.comparison.missing_trials == 10
        assert found.log_cases == evidence("1/1*31").log_cases
        assert compare("1/1*31;e/1*10").verdict == "inconclusive"
        assert compare("1/1*32;e/1*10").verdict == "safe"

    def test_a_score_without_a_flagship_counts_against_a_perfect_one(self) -> None:
        found = evidence("1.0,1.0/1.0,1.0*40;e/0.5,0.5*1")
        assert found.cautious_cases == ((-0.5, 1), (0.0, 40))

    def test_lost_samples_of_a_case_count_within_it(self) -> None:
        found = evidence("111/11e*12")
        assert found.cautious_cases == ((pytest.approx(-1 / 3), 12),)
        assert found.comparison.missing_trials == 12
        assert compare("111/11e*12").verdict == "inconclusive"

    def test_matches_must_hold_with_them_too(self) -> None:
        assert compare("111/111*12").verdict == "matches"
        assert compare("111/111*11;111/1ee").verdict == "inconclusive"

    def test_a_sample_that_one_tier_never_ran_was_not_asked_for(self) -> None:
        assert compare("111/11-*20").missing_trials == 0
        assert compare("11-/111*20").missing_trials == 0
        assert compare("111/11-*19;111/111").missing_trials == 19


class TestSamplesAndScores:
    def test_the_case_is_the_unit(self) -> None:
        found = compare("11/10*8")
        assert (found.cases, found.pairs, found.agreeing) == (8, 16, 0)
        assert found.difference == -0.5

    def test_pairs_are_by_sample(self) -> None:
        found = evidence("10/01*4")
        assert found.pairs == ((-1.0, 4), (1.0, 4))
        assert found.cases == ((0.0, 4),)

    def test_incomplete_samples_are_left_out_of_the_mean(self) -> None:
        assert evidence("111/1e0*1").cases == ((-0.5, 1),)

    def test_scores(self) -> None:
        found = evidence("1.0,0.75/0.5,0.75*2")
        assert found.pairs == ((-0.5, 2), (0.0, 2))
        assert found.cases == ((-0.25, 2),)

    def test_a_missed_trial_is_worth_nothing_whatever_its_score(self) -> None:
        trials = [trial("a", "full"), trial("a", "nano", outcome="missed", score=0.75)]
        found = gather(trials, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
        assert found.cases == ((-1.0, 1),)

    def test_a_wrong_output_is_worth_nothing_whatever_its_score(self) -> None:
        trials = [
            trial("a", "full", score=1.0, output="yes", has_output=True),
            trial("a", "nano", score=1.0, output="no", has_output=True),
        ]
        found = gather(
            settle(trials, "full"), candidate="nano", flagship="full", margin=0.1, alpha=ALPHA
        )
        assert found.cases == ((-1.0, 1),)
        assert found.comparison.output_mismatches == 1

    def test_other_tiers_are_left_out(self) -> None:
        trials = [*trials_of("1/1*5"), *(trial(f"0.{n}", "mini", 1, "error") for n in range(9))]
        found = gather(trials, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
        assert found == evidence("1/1*5", planned_cases=5)


class TestMadeAnew:
    def decided(self, text: str, anew: set[tuple[str, str]]) -> Comparison:
        trials = [
            replace(trial, generation=(trial.tier, trial.case) in anew) for trial in trials_of(text)
        ]
        found = gather(trials, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
        return decide({"p": found}, alpha=ALPHA)["p"]

    def test_of_some_trials_there_is_no_verdict(self) -> None:
        for text in ("1/1*60", "111/111*12", "1/0*40"):
            found = self.decided(text, {("nano", "0.3")})
            assert (found.verdict, found.made_anew) == ("inconclusive", ("nano",))
            assert (found.more_cases, found.held_back) == ((None, None), False)
        assert self.decided("1/1*60", {("full", "0.3")}).made_anew == ("full",)
        both = self.decided("1/1*60", {("full", "0.3"), ("nano", "0.3")})
        assert both.made_anew == ("nano", "full")

    def test_of_all_trials_of_a_tier_they_are_as_good_as_the_first(self) -> None:
        anew = {("nano", f"0.{case}") for case in range(60)}
        found = self.decided("1/1*60", anew)
        assert (found.verdict, found.made_anew) == ("safe", ())
        assert found.recorded_again
        assert not self.decided("1/1*60", set()).recorded_again

    def test_without_answers_there_is_nothing_to_be_said_of_them(self) -> None:
        assert self.decided("1/e*40", {("full", "0.3")}).verdict == "no-data"
        assert self.decided("0/0*40", {("full", "0.3")}).verdict == "flagship-fails"

    def test_it_counts_among_the_comparisons_of_the_run(self) -> None:
        anew = [replace(trial, generation=trial.case == "0.3") for trial in trials_of("1/1*60")]
        found = {
            "a": gather(anew, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA),
            "b": evidence("1/1*32"),
        }
        decided = decide(found, alpha=ALPHA)
        assert (decided["b"].among, decided["b"].held_back) == (2, True)


class TestWorse:
    def test_real_but_within_the_margin_is_not_worse(self) -> None:
        found = compare("1/1*95;1/0*8", margin=0.1)
        assert found.log_evidence_worse is not None
        assert found.difference is not None
        assert found.difference > -0.1
        assert found.verdict == "inconclusive"

    def test_beyond_the_margin_but_not_proven_is_not_worse(self) -> None:
        found = compare("1/1*3;1/0*1")
        assert found.difference == -0.25
        assert found.verdict == "inconclusive"

    def test_both(self) -> None:
        assert compare("1/1*10;1/0*10").verdict == "worse"


class TestManyPrompts:
    def decide(self, *texts: str, reachable: int = 0) -> list[Comparison]:
        found = {f"p{n}": evidence(text) for n, text in enumerate(texts)}
        return list(decide(found, alpha=ALPHA, reachable=reachable).values())

    def test_eight_with_three_clean_ones_want_42_cases_each(self) -> None:
        undecided = ["1/1*38;1/0*4"] * 5
        short = self.decide(*["1/1*41"] * 3, *undecided)
        assert [each.verdict for each in short] == ["inconclusive"] * 8
        assert [each.held_back for each in short] == [True] * 3 + [False] * 5
        assert {each.among for each in short} == {8}
        enough = self.decide(*["1/1*42"] * 3, *undecided)
        assert [each.verdict for each in enough] == ["safe"] * 3 + ["inconclusive"] * 5
        assert not any(each.held_back for each in enough)

    def test_how_many_more_for_one_that_is_held_back(self) -> None:
        found = self.decide("1/1*32", "1/1*30;1/0*10")
        assert (found[0].verdict, found[0].held_back) == ("inconclusive", True)
        # 40 = 2 / 0.05, as the first that is safe among two.
        assert found[0].more_cases == (7, 7)
        assert self.decide("1/1*39", "1/1*30;1/0*10")[0].verdict == "safe"
        assert self.decide("1/1*38", "1/1*30;1/0*10")[0].verdict == "inconclusive"

    def test_all_clean_help_each_other(self) -> None:
        found = self.decide(*["1/1*32"] * 20)
        assert {each.verdict for each in found} == {"safe"}

    def test_planned_prompts_without_evidence_count(self) -> None:
        assert self.decide("1/1*32", reachable=1)[0].verdict == "safe"
        found = self.decide("1/1*32", reachable=38)[0]
        assert (found.verdict, found.held_back, found.among) == ("inconclusive", True, 38)

    @pytest.mark.parametrize("other", ["1/u*40", "1/e*40", "0/0*40"])
    def test_prompts_without_an_e_value_count(self, other: str) -> None:
        found = self.decide("1/1*32", other)
        assert found[0].held_back
        assert found[0].among == 2
        assert found[1].verdict in ("unsupported", "no-data", "flagship-fails")

    def test_prompts_too_small_to_be_safe_do_not_count(self) -> None:
        found = self.decide("1/1*32", *["1/1*5"] * 30)
        assert (found[0].verdict, found[0].among) == ("safe", 1)

    def test_a_small_prompt_wants_enough_cases_to_take_part(self) -> None:
        # Among three prompts, then, and as the second safe one: 3 / (0.05 · 2) = 30.
        found = self.decide("1/1*60", "1/1*38;1/0*4", "1/1*5")
        assert [each.verdict for each in found] == ["safe", "inconclusive", "inconclusive"]
        least, _ = found[2].more_cases
        assert least == 31
        assert self.decide("1/1*60", "1/1*38;1/0*4", "1/1*36")[2].verdict == "safe"
        assert self.decide("1/1*60", "1/1*38;1/0*4", "1/1*35")[2].verdict == "inconclusive"

    def test_gains_in_a_small_prompt_make_it_safe_only_where_no_large_one_is(self) -> None:
        gains = "1/1*28;0/1*2"
        assert self.decide(gains)[0].verdict == "safe"
        small = self.decide("1/1*200", gains)[1]
        assert (small.verdict, small.held_back, small.more_cases) == ("inconclusive", True, (2, 2))
        among_small = self.decide(gains, *["1/1*5"] * 9)
        assert (among_small[0].held_back, among_small[0].among) == (True, 10)
        assert among_small[0].more_cases == (2, 2)

    def test_planned_cases_make_a_prompt_large(self) -> None:
        found = {
            "a": evidence("1/1*32"),
            "b": evidence("1/1*5", planned_cases=32),
        }
        assert decide(found, alpha=ALPHA)["a"].among == 2

    def test_missing_trials_weaken_what_enters(self) -> None:
        found = self.decide("1/1*60", "1/1*60;1/e*9")
        assert [each.verdict for each in found] == ["safe", "inconclusive"]

    def test_nothing(self) -> None:
        assert decide({}, alpha=ALPHA) == {}

    def test_margin_0_is_never_reached_by_agreement(self) -> None:
        found = compare("1/1*200", margin=0.0)
        assert (found.verdict, found.more_cases) == ("inconclusive", (None, None))
        assert compare("1/1*190;0/1*10", margin=0.0).verdict == "safe"


class TestSettleCalls:
    def test_a_trial_without_a_call_where_another_made_one(self) -> None:
        trials = [trial("a", "full"), trial("a", "nano", calls=())]
        settled = settle(trials, "full")
        assert [each.outcome for each in settled] == ["passed", "no-call"]
        assert settled[1].reason is not None
        for cause in ("cache", "mock", "wider fixture"):
            assert cause in settled[1].reason

    def test_a_missed_one_too_and_on_another_sample(self) -> None:
        trials = [trial("a", "nano"), trial("a", "nano", 2, "missed", calls=())]
        assert settle(trials, "full")[1].outcome == "no-call"

    def test_calls_left_alone_are_none(self) -> None:
        judge = Call("gpt-5.4", "gpt-5.4", None, "chat/completions", 200, left_alone="as_is")
        trials = [trial("a", "full"), trial("a", "nano", calls=(judge,))]
        assert settle(trials, "full")[1].outcome == "no-call"
        assert settle([trial("a", "full", calls=(judge,)), trials[1]], "full")[1] == trials[1]

    def test_another_case_says_nothing(self) -> None:
        trials = [trial("a", "full"), trial("b", "nano", calls=())]
        assert settle(trials, "full") == trials

    @pytest.mark.parametrize("outcome", ["error", "unsupported", "no-call"])
    def test_other_outcomes_stay(self, outcome: Outcome) -> None:
        trials = [trial("a", "full"), trial("a", "nano", 1, outcome, calls=(), reason="why")]
        assert settle(trials, "full") == trials


def outputs(flagship: Any, candidate: Any, **more: Any) -> Trial:
    """The settled candidate's trial."""
    trials = [
        trial("a", "full", output=flagship, has_output=True),
        trial("a", "nano", output=candidate, has_output=True, **more),
    ]
    settled = settle(trials, "full")
    assert settled[0] == trials[0]
    return settled[1]


class TestSettleOutputs:
    @pytest.mark.parametrize(
        ("flagship", "candidate"),
        [("Refund  the\nORDER ", "refund the order"), ({"a": [1, 2]}, {"a": [1, 2]}), (None, None)],
    )
    def test_agreement(self, flagship: Any, candidate: Any) -> None:
        settled = outputs(flagship, candidate)
        assert (settled.outcome, settled.output_match, settled.reason) == ("passed", True, None)

    @pytest.mark.parametrize(
        ("flagship", "candidate"),
        [("refund", "re fund"), ({"a": [1, 2]}, {"a": [2, 1]}), ("1", 1), (None, "")],
    )
    def test_disagreement(self, flagship: Any, candidate: Any) -> None:
        settled = outputs(flagship, candidate)
        assert (settled.outcome, settled.output_match) == ("missed", False)
        assert settled.reason == "output differs from the flagship's"

    def test_equal_apart_from_order_of_keys(self) -> None:
        assert outputs({"a": 1, "b": 2}, {"b": 2, "a": 1}).output_match is True

    def test_a_missed_trial_keeps_its_reason(self) -> None:
        settled = outputs("yes", "no", outcome="missed", reason="AssertionError")
        assert (settled.reason, settled.output_match) == ("AssertionError", False)

    def test_an_error_has_no_output_to_compare(self) -> None:
        assert outputs("yes", "no", outcome="error").output_match is None

    @pytest.mark.parametrize("flagship", ["error", "no-call", "unsupported"])
    def test_nor_has_the_flagships(self, flagship: Outcome) -> None:
        trials = [
            trial("a", "full", 1, flagship, output="default", has_output=True),
            trial("a", "nano", output="yes", has_output=True),
        ]
        assert settle(trials, "full") == trials

    def test_only_the_same_sample_is_compared(self) -> None:
        trials = [
            trial("a", "full", 1, output="yes", has_output=True),
            trial("a", "full", 2, output="no", has_output=True),
            trial("a", "nano", 2, output="no", has_output=True),
            trial("a", "nano", 3, output="no", has_output=True),
        ]
        matches = [each.output_match for each in settle(trials, "full")[2:]]
        assert matches == [True, None]

    def test_a_test_that_gives_no_output_where_the_flagships_did_has_not_agreed(self) -> None:
        trials = [
            trial("a", "full", output="yes", has_output=True),
            trial("a", "nano"),
            trial("a", "mini", outcome="missed", reason="AssertionError"),
        ]
        _, nano, mini = settle(trials, "full")
        assert (nano.outcome, nano.output_match, nano.worth) == ("missed", False, 0.0)
        assert nano.reason == "gave no output to tier.compare(), where the flagship's trial did"
        assert (mini.outcome, mini.reason) == ("missed", "AssertionError")

    def test_settling_again_changes_nothing(self) -> None:
        trials = [
            trial("a", tier, sample, output=output, has_output=True)
            for tier, outputs in (("full", "yyn"), ("nano", "yny"))
            for sample, output in enumerate(outputs, 1)
        ]
        trials.append(trial("b", "full", output="y", has_output=True, compare_options=None))
        trials.append(trial("b", "nano", output="y", has_output=True, compare_options=None))
        once = settle(trials, "full")
        assert settle(once, "full") == once
        assert [each.outcome for each in once][3:] == [
            *("passed", "missed", "missed"),
            *("passed", "error"),
        ]
        assert "different processes" in str(once[-1].reason)


def flagship_samples(*outputs: str) -> list[Trial]:
    return [
        trial("a", "full", sample, output=output, has_output=True)
        for sample, output in enumerate(outputs, 1)
    ]


class TestTheFlagshipAgainstItself:
    def test_each_sample_is_compared_with_the_one_before_and_the_first_with_the_second(
        self,
    ) -> None:
        settled = settle(flagship_samples("yes", "YES", "no", "yes"), "full")
        assert [each.agreement for each in settled] == [1.0, 1.0, 0.0, 0.0]
        assert {each.outcome for each in settled} == {"passed"}
        assert [each.worth for each in settled] == [1.0, 1.0, 0.0, 0.0]

    def test_one_sample_says_nothing_about_itself(self) -> None:
        (settled,) = settle(flagship_samples("yes"), "full")
        assert (settled.agreement, settled.worth) == (None, 1.0)

    def test_a_missing_neighbour_leaves_it_unknown(self) -> None:
        first, second, third = flagship_samples("yes", "no", "no")
        settled = settle([first, second.with_outcome("error", "lost"), third], "full")
        assert [each.agreement for each in settled] == [None, None, None]

    def test_a_candidate_like_the_flagship_loses_nothing_by_text_that_varies(self) -> None:
        """One of eight answers of either tier is worded differently: no difference on average."""
        trials = []
        for case in range(64):
            for tier, odd in (("full", case % 8 == 0), ("nano", case % 8 == 4)):
                for sample in (1, 2):
                    text = f"other words {tier}" if odd and sample == 2 else "same"
                    more = {"output": text, "has_output": True}
                    trials.append(trial(str(case), tier, sample, **more))
        found = judged(settle(trials, "full"))
        assert found.difference == pytest.approx((8 * 2 - 8 - 8) / 128 / 1, abs=1e-9)
        assert found.verdict == "safe"

    def test_text_that_never_repeats_is_no_evidence_either_way(self) -> None:
        trials = [
            trial(str(case), tier, sample, output=f"{tier} {sample} {case}", has_output=True)
            for case in range(200)
            for tier in ("full", "nano")
            for sample in (1, 2)
        ]
        found = judged(settle(trials, "full"))
        assert (found.verdict, found.difference) == ("flagship-fails", 0.0)
        assert (found.flagship_passed, found.output_mismatches) == (0, 400)

    def test_a_candidate_that_differs_where_the_flagship_repeats_is_worse(self) -> None:
        trials = [
            trial(str(case), tier, sample, output=tier, has_output=True)
            for case in range(40)
            for tier in ("full", "nano")
            for sample in (1, 2)
        ]
        assert judged(settle(trials, "full")).verdict == "worse"


def judged(trials: list[Trial]) -> Comparison:
    """The comparison of nano with full."""
    found = gather(trials, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
    return decide({"p": found}, alpha=ALPHA)["p"]


class TestOutputsInTheirCase:
    def test_an_answer_from_a_cache_is_not_compared(self) -> None:
        trials = [
            trial("a", "full", output="yes", has_output=True),
            trial("a", "nano", output="no", has_output=True, calls=()),
        ]
        settled = settle(trials, "full")[1]
        assert (settled.outcome, settled.output_match) == ("no-call", None)


def test_calls_a_model() -> None:
    silent = trial("a", "nano", calls=())
    assert not verdicts.calls_a_model([silent])
    assert verdicts.calls_a_model([silent, trial("b", "nano")])
    assert verdicts.calls_a_model([trial("a", "nano", calls=(), expects_call=True)])


sides = st.text("10uen-", min_size=2, max_size=2)
suites = st.lists(st.tuples(sides, sides), min_size=1, max_size=40).map(
    lambda cases: ";".join(f"{flagship}/{candidate}" for flagship, candidate in cases)
)


@given(suites, st.randoms(use_true_random=False))
def test_order_of_trials_does_not_matter(text: str, random: Any) -> None:
    trials = trials_of(text)
    shuffled = random.sample(trials, len(trials))
    one, other = (
        gather(each, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
        for each in (trials, shuffled)
    )
    assert one == other
    assert decide({"p": one}, alpha=ALPHA) == decide({"p": other}, alpha=ALPHA)


@given(suites)
def test_a_lost_trial_never_makes_safe_easier(text: str) -> None:
    """Losing a candidate's miss does not raise the evidence that is left above what was known."""

    def cautious(trials: list[Trial]) -> tuple[float, float]:
        found = gather(trials, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
        return statistics.log_evidence(found.cautious_cases, 0.1), found.log_cases

    trials = trials_of(text)
    before, _ = cautious(trials)
    for index, each in enumerate(trials):
        if each.tier == "nano" and each.outcome == "missed":
            lost = [*trials]
            lost[index] = each.with_outcome("error", "timeout")
            after, entering = cautious(lost)
            assert after <= before + 1e-9
            assert entering <= after


@given(suites)
def test_more_cases_are_zero_only_for_safe(text: str) -> None:
    found = compare(text)
    assert (found.more_cases == (0, 0)) == (found.verdict == "safe")
    if found.log_evidence is not None:
        assert math.isfinite(found.log_evidence)
