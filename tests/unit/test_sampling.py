"""Who needs no more samples: the decisions, and that they follow from the verdicts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_tiers import statistics, verdicts
from pytest_tiers.records import Call, Outcome, Trial
from pytest_tiers.sampling import PromptRounds, Slot
from pytest_tiers.standings import Goal, Standing, Yardstick
from pytest_tiers.verdicts import Pair

ALPHA = 0.05
CALL = Call("gpt-5.4", "gpt-5.4-nano", "gpt-5.4-nano", "chat/completions", 200)

Judge = Callable[[str, str, int], Outcome]


def trial(tier: str, case: str, sample: int, outcome: Outcome = "passed") -> Trial:
    return Trial("p", case, tier, sample, outcome, f"{case}-{tier}-{sample}", calls=(CALL,))


def goal(cases: int, rounds: int, margin: float = 0.1, among: int = 1) -> Goal:
    return Goal(cases, rounds, margin, ALPHA, among)


def slots(cases: int, rounds: int, *tiers: str) -> list[Slot]:
    return [
        (tier, str(case), sample)
        for sample in range(1, rounds + 1)
        for case in range(cases)
        for tier in tiers
    ]


def run(plan: list[Slot], rounds: PromptRounds, judge: Judge) -> list[Trial]:
    """Run a prompt's trials, and return those that were not left out."""
    made = []
    for slot in plan:
        tier, case, sample = slot
        if rounds.begins(slot) is not None:
            rounds.ended(slot, None)
            continue
        made.append(trial(tier, case, sample, judge(tier, case, sample)))
        rounds.ended(slot, made[-1])
    return made


def prompt(
    cases: int, most: int, judge: Judge, among: int = 1, tiers: tuple[str, ...] = ("nano", "full")
) -> tuple[PromptRounds, list[Trial]]:
    plan = slots(cases, most, *tiers)
    goals = {tier: goal(cases, most, among=among) for tier in tiers[:-1]}
    rounds = PromptRounds(plan, tiers[-1], goals)
    return rounds, run(plan, rounds, judge)


def misses(**which: set[tuple[int, int]]) -> Judge:
    """Trials of the tiers that miss at (case, sample)."""
    return lambda tier, case, sample: (
        "missed" if (int(case), sample) in which.get(tier, set()) else "passed"
    )


def by_lot(seed: int, **shares: float) -> Judge:
    lots = random.Random(seed)
    return lambda tier, *_: "missed" if lots.random() < shares.get(tier, 0) else "passed"


def test_a_clean_prompt_is_decided_with_one_sample_of_32_cases() -> None:
    rounds, made = prompt(32, 10, misses())
    assert rounds.stops == {"nano": "decided"}
    assert len(made) == 64


def test_31_cases_take_a_second_sample_to_match() -> None:
    rounds, made = prompt(31, 10, misses())
    assert rounds.stops == {"nano": "decided"}
    assert len(made) == 31 * 2 * 2


def test_too_few_cases_for_anything_get_one_complete_round() -> None:
    rounds, made = prompt(3, 10, misses(nano={(0, 1)}))
    assert rounds.stops == {"nano": "out-of-reach"}
    assert len(made) == 6


def test_five_misses_of_a_perfect_flagships_answers_are_proof() -> None:
    rounds, made = prompt(32, 10, misses(nano={(case, 1) for case in range(0, 32, 3)}))
    assert rounds.stops == {"nano": "worse"}
    assert len(made) == 2 * 13


@pytest.mark.parametrize("cases", [32, 60])
@pytest.mark.parametrize("flagship", [1.0, 0.97, 0.9])
def test_a_candidate_30_points_worse_is_stopped_within_25_pairs_on_average(
    cases: int, flagship: float
) -> None:
    pairs = []
    ends = Counter[str]()
    for seed in range(60):
        judge = by_lot(seed, nano=1 - flagship + 0.3, full=1 - flagship)
        rounds, made = prompt(cases, 10, judge)
        pairs.append(len(made) / 2)
        ends[rounds.stops["nano"]] += 1
    assert sum(pairs) / len(pairs) <= 25
    assert ends.keys() <= {"worse", "behind", "out-of-reach"}
    # Where the flagship never wavers, what stops is proven.
    assert ends["worse"] == 60 if flagship == 1.0 else ends["worse"] > 20


def test_equal_candidates_are_given_up_in_one_of_ten_runs_at_most() -> None:
    """Exactly, over every way that 150 pairs can go: each tier passes 90% by chance."""
    going = {(0, 0): 1.0}
    given_up = 0.0
    for pairs in range(1, 151):
        following: dict[tuple[int, int], float] = {}
        for (lost, won), chance in going.items():
            for more, probability in (((1, 0), 0.09), ((0, 1), 0.09), ((0, 0), 0.82)):
                state = (lost + more[0], won + more[1])
                following[state] = following.get(state, 0.0) + chance * probability
        going = {}
        for (lost, won), chance in following.items():
            if lost <= won:
                is_over = False
            else:
                counted = statistics.tally(
                    [-1.0] * lost + [0.0] * (pairs - lost - won) + [1.0] * won
                )
                log_e = statistics.log_evidence_worse_hedged(counted)
                is_over = statistics.reaches(log_e, statistics.log_needed(0.10))
            if is_over:
                given_up += chance
            elif chance > 1e-9:
                going[lost, won] = chance
    assert 0.02 < given_up <= 0.10


def sampled_again(recorded: Mapping[tuple[int, int], str], first: Mapping[int, str]) -> int:
    """The samples of 40 cases until a candidate that always agrees is decided.

    ``recorded``: when the samples of a case were, before; ``first``: when the first one was
    that counts in this run.
    """
    plan = slots(40, 5, "nano", "full")
    rounds = PromptRounds(
        plan,
        "full",
        {"nano": goal(40, 5)},
        recorded_before=lambda slot: recorded.get((int(slot[1]), slot[2]), ""),
    )
    taken = 0
    for tier, case, sample in plan:
        if rounds.begins((tier, case, sample)) is None:
            at = first.get(int(case)) if sample == 1 else recorded.get((int(case), sample))
            call = replace(CALL, recorded_at=at or "2026-11-27T10:00:00Z")
            rounds.ended((tier, case, sample), replace(trial(tier, case, sample), calls=(call,)))
            taken = max(taken, sample)
    assert rounds.stops == {"nano": "decided"}
    return taken


def test_cases_that_joined_later_catch_up_before_anything_is_decided() -> None:
    days = {sample: f"2026-11-2{sample}T10:00:00Z" for sample in range(1, 6)}
    old = {(case, sample): days[sample] for case in range(32) for sample in (1, 2, 3)}
    assert sampled_again(old, dict.fromkeys(range(32), days[1])) == 3
    # In the same order they are one and the same run's.
    together = {(case, sample): days[sample] for case in range(40) for sample in (1, 2, 3)}
    assert sampled_again(together, dict.fromkeys(range(40), days[1])) == 1
    # A prompt that was changed begins anew: what follows was asked of the old one.
    assert sampled_again(old, dict.fromkeys(range(40), days[5])) == 1
    assert sampled_again({}, {}) == 1


@pytest.mark.parametrize(
    ("cases", "most", "margin", "is_behind"),
    [(150, 1, 0.05, True), (150, 1, 0.1, False), (20, 1, 0.1, False), (20, 2, 0.1, True)],
)
def test_who_loses_within_the_margin_or_could_show_nothing_anyway_is_not_behind(
    cases: int, most: int, margin: float, is_behind: bool
) -> None:
    standing = Standing(goal(cases, most, margin))
    for case in map(str, range(cases)):
        ours, theirs = trial("nano", case, 1), trial("full", case, 1)
        if int(case) < 10:
            ours = trial("nano", case, 1, "missed")
        elif int(case) == 10:
            theirs = trial("full", case, 1, "missed")
        standing.put(case, [Pair(case, 1, ours, theirs)])
    assert standing.is_behind == is_behind


def test_what_cannot_be_reached_any_more_stops_within_the_round() -> None:
    rounds, made = prompt(32, 1, misses(nano={(4, 1)}))
    assert rounds.stops == {"nano": "out-of-reach"}
    assert len(made) == 2 * 5


def test_a_miss_that_more_samples_can_outweigh_takes_them() -> None:
    rounds, made = prompt(40, 10, misses(nano={(7, 1)}))
    assert rounds.stops == {"nano": "decided"}
    evidence = verdicts.gather(made, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA)
    assert verdicts.decide({"p": evidence}, alpha=ALPHA)["p"].verdict == "safe"
    assert 2 <= max(each.sample for each in made) < 10


def test_among_many_prompts_sampling_goes_on_to_what_surely_holds() -> None:
    alone = prompt(60, 10, misses(nano={(7, 1)}), among=1)[1]
    among_20 = prompt(60, 10, misses(nano={(7, 1)}), among=20)[1]
    assert max(each.sample for each in alone) < max(each.sample for each in among_20)


def test_more_samples_that_add_nothing_are_not_taken() -> None:
    # A clean sweep of 32 cases is safe on its own; more samples make it no surer among 20.
    rounds, made = prompt(32, 10, misses(), among=20)
    assert rounds.stops == {"nano": "decided"}
    assert len(made) == 64


def test_where_safe_is_out_of_the_question_matches_decides() -> None:
    rounds, made = prompt(32, 10, misses(nano={(7, 1)}), among=0)
    assert rounds.stops == {"nano": "decided"}
    assert max(each.sample for each in made) == 3


def test_each_candidate_has_its_own_end_and_the_flagship_runs_for_the_last() -> None:
    rounds, made = prompt(
        20, 4, misses(nano={(case, 1) for case in range(9)}), tiers=("nano", "mini", "full")
    )
    assert rounds.stops == {"nano": "out-of-reach", "mini": "decided"}
    assert [sum(each.tier == tier for each in made) for tier in ("nano", "mini", "full")] == [
        2,
        40,
        40,
    ]


def test_a_flagship_that_fails_stops_everything() -> None:
    rounds, made = prompt(40, 10, lambda *_: "missed")
    assert rounds.stops == {"nano": "flagship-fails"}
    assert len(made) < 40


def test_a_flagship_that_may_recover_gets_another_round() -> None:
    missed = {(case, 1) for case in range(0, 40, 4)}
    rounds, made = prompt(40, 3, misses(full=missed, nano=missed))
    assert rounds.stops == {"nano": "decided"}
    assert max(each.sample for each in made) == 2


def test_a_tier_that_refuses_every_request_is_unsupported() -> None:
    def judge(tier: str, *_: object) -> Outcome:
        return "unsupported" if tier == "nano" else "passed"

    rounds, made = prompt(3, 10, judge)
    assert rounds.stops == {"nano": "unsupported"}
    assert len(made) == 6


def test_what_says_nothing_stops_nobody_within_a_round() -> None:
    rounds, made = prompt(32, 1, lambda tier, *_: "error" if tier == "nano" else "passed")
    assert rounds.stops == {}
    assert len(made) == 64


def test_missing_trials_count_against_the_candidate_after_a_round() -> None:
    rounds, made = prompt(32, 3, lambda tier, *_: "error" if tier == "nano" else "passed")
    assert rounds.stops == {"nano": "out-of-reach"}
    assert len(made) == 64


def test_without_a_candidate_one_sample_is_all() -> None:
    assert len(prompt(3, 5, misses(), tiers=("full",))[1]) == 3


def test_a_trial_that_ran_elsewhere_ends_all_decisions() -> None:
    plan = slots(2, 3, "nano", "full")
    rounds = PromptRounds(plan, "full", {"nano": goal(2, 3)})
    assert [rounds.begins(slot) for slot in plan[2:4]] == [None, None]
    assert rounds.begins(plan[4]) == "scattered"
    assert rounds.is_scattered


def test_a_limit_begins_no_further_round() -> None:
    plan = slots(20, 3, "nano", "full")
    rounds = PromptRounds(plan, "full", {"nano": goal(20, 3)})
    for slot in plan[:40]:
        assert rounds.begins(slot) is None
        is_refused = slot == ("nano", "19", 1)
        one = Trial("p", slot[1], slot[0], 1, "error" if is_refused else "passed", "id")
        rounds.ended(slot, Trial(**{**one.to_builtins(), "budget": is_refused}))
    assert rounds.begins(plan[40]) == "limit"


def test_nobody_is_asked_beyond_the_round_or_after_being_stopped() -> None:
    plan = slots(20, 3, "nano", "mini", "full")
    rounds = PromptRounds(plan, "full", {"nano": goal(20, 3), "mini": goal(20, 3)})
    run(plan[:60], rounds, misses(nano={(case, 1) for case in range(9)}))
    assert rounds.stops == {"nano": "out-of-reach"}
    assert not rounds.may_follow(("mini", "19", 2))
    assert rounds.begins(plan[60]) == "out-of-reach"
    _, case, _ = plan[60]
    assert [rounds.may_follow((tier, case, 2)) for tier in ("nano", "mini", "full")] == [
        False,
        True,
        True,
    ]
    assert not rounds.may_follow(("mini", "3", 2))
    assert not rounds.may_follow(("mini", case, 3))


OUTCOMES = st.sampled_from(["passed", "passed", "passed", "missed", "unsupported", "error"])


@st.composite
def rounds_of_pairs(draw: st.DrawFn) -> dict[str, list[Pair]]:
    cases = draw(st.integers(1, 6))
    samples = draw(st.integers(1, 3))
    return {
        str(case): [
            Pair(
                str(case),
                sample,
                trial("nano", str(case), sample, draw(OUTCOMES)),
                trial("full", str(case), sample, draw(OUTCOMES)),
            )
            for sample in range(1, samples + 1)
        ]
        for case in range(cases)
    }


def both(pairs: dict[str, list[Pair]]) -> Iterator[Trial]:
    for each in pairs.values():
        for pair in each:
            assert pair.candidate
            assert pair.flagship
            yield pair.candidate
            yield pair.flagship


@settings(deadline=None, max_examples=50)
@given(rounds_of_pairs(), st.sampled_from([0.03, 0.1, 0.4]))
def test_a_standing_says_what_the_verdict_says(pairs: dict[str, list[Pair]], margin: float) -> None:
    standing = Standing(goal(len(pairs), 3, margin))
    yardstick = Yardstick(ALPHA, 100)
    for case, each in pairs.items():
        standing.put(case, each[:1])  # a case is counted anew each time
        standing.put(case, each)
        yardstick.put(case, [pair.flagship for pair in each if pair.flagship])
    evidence = verdicts.gather(
        both(pairs), candidate="nano", flagship="full", margin=margin, alpha=ALPHA
    )
    assert standing.log_cases == evidence.log_cases
    assert standing.log_pairs == evidence.log_pairs
    verdict = verdicts.decide({"p": evidence}, alpha=ALPHA)["p"].verdict
    if verdict == "worse":
        assert standing.is_worse
    if evidence.undecided:
        assert not yardstick.fails
        assert not standing.is_unsupported
    if verdict == "unsupported":
        assert standing.is_unsupported
    if verdict == "flagship-fails":
        assert yardstick.fails


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_what_is_stopped_as_out_of_reach_does_not_become_safe_or_matches(
    data: st.DataObject,
) -> None:
    cases, most = data.draw(st.integers(4, 40)), data.draw(st.integers(1, 4))
    missed = data.draw(st.sets(st.tuples(st.integers(0, cases - 1), st.just(1)), max_size=6))
    rounds, made = prompt(cases, most, misses(nano=missed))
    if rounds.stops.get("nano") != "out-of-reach":
        return
    # All further trials agree.
    have = {(each.tier, each.case, each.sample) for each in made}
    made += [trial(*slot) for slot in slots(cases, most, "nano", "full") if slot not in have]
    for until in range(1, most + 1):
        evidence = verdicts.gather(
            [each for each in made if each.sample <= until],
            candidate="nano",
            flagship="full",
            margin=0.1,
            alpha=ALPHA,
        )
        verdict = verdicts.decide({"p": evidence}, alpha=ALPHA)["p"].verdict
        assert verdict not in ("safe", "matches")


def lazily(
    cases: int, judge: Judge, *, most: int = 1, is_adaptive: bool = False
) -> tuple[PromptRounds, list[Trial], set[Slot]]:
    """Run a prompt whose flagship is spared; also what was left out."""
    candidates, flagships = slots(cases, most, "nano"), slots(cases, most, "full")
    plan = sorted(candidates + flagships, key=lambda slot: (slot[2], slot[0] == "full"))
    goals = {"nano": goal(cases, most)}
    rounds = PromptRounds(plan, "full", goals, is_adaptive=is_adaptive, spares_flagship=True)
    made: list[Trial] = []
    left_out = set()
    for slot in plan:
        why = rounds.begins(slot)
        if why is None:
            tier, case, sample = slot
            made.append(trial(tier, case, sample, judge(tier, case, sample)))
            rounds.ended(slot, made[-1])
        else:
            rounds.left_out(slot, why)
            left_out.add(slot)
    return rounds, made, left_out


def called(made: list[Trial]) -> int:
    return sum(each.tier == "full" for each in made)


def test_a_flagship_is_spared_where_the_candidate_passes() -> None:
    assert called(lazily(5, misses())[1]) == 0
    assert called(lazily(75, misses(nano={(3, 1)}))[1]) == 1


def test_a_flagship_is_not_spared_where_that_decides_nothing() -> None:
    assert called(lazily(32, misses(nano={(3, 1)}))[1]) == 32


def test_a_tier_that_refuses_every_request_needs_no_flagship() -> None:
    judge: Judge = lambda tier, *_: "unsupported" if tier == "nano" else "passed"  # noqa: E731
    _, made, left_out = lazily(3, judge)
    assert called(made) == 0
    evidence = verdicts.gather(
        made, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA, not_asked=left_out
    )
    assert evidence.comparison.verdict == "unsupported"


def test_a_tier_that_refuses_some_requests_needs_it_as_one_that_misses() -> None:
    judge: Judge = lambda tier, case, _: (  # noqa: E731
        "unsupported" if (tier, case) == ("nano", "3") else "passed"
    )
    assert called(lazily(75, judge)[1]) == 1


def test_a_spared_flagship_waits_for_the_next_round_where_it_may_be_needed() -> None:
    rounds, made, _ = lazily(60, misses(nano={(3, 1)}), most=10, is_adaptive=True)
    assert rounds.stops == {"nano": "decided"}
    assert called(made) == 1
    assert max(each.sample for each in made) == 2


def test_a_flagship_that_may_be_spared_is_not_asked_in_advance() -> None:
    plan = [("nano", "0", 1), ("mini", "0", 1), ("full", "0", 1)]
    rounds = PromptRounds(
        plan, "full", {"nano": goal(1, 1), "mini": goal(1, 1)}, spares_flagship=True
    )
    assert rounds.begins(plan[0]) is None
    assert [rounds.may_follow(slot) for slot in plan] == [True, True, False]


@pytest.mark.parametrize("is_adaptive", [True, False])
def test_a_flagship_is_not_spared_by_who_did_not_see_the_candidates(is_adaptive: bool) -> None:
    plan = [("nano", "0", 1), ("full", "0", 1), ("nano", "0", 2), ("full", "0", 2)]
    rounds = PromptRounds(
        plan, "full", {"nano": goal(1, 2)}, is_adaptive=is_adaptive, spares_flagship=True
    )
    assert rounds.begins(plan[1]) == "unseen"
    rounds.ended(plan[1], None)
    assert rounds.begins(plan[2]) == ("scattered" if is_adaptive else None)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_lazy_verdict_holds_whatever_the_flagship_would_have_said(data: st.DataObject) -> None:
    cases, most = data.draw(st.sampled_from([4, 20, 45, 80])), data.draw(st.integers(1, 3))
    seed = data.draw(st.integers(0, 1000))
    shares = {"nano": data.draw(st.sampled_from([0, 0.02, 0.3])), "full": 0.05}
    lots = random.Random(seed)
    fate = {
        slot: ("missed" if lots.random() < shares[slot[0]] else "passed")
        for slot in slots(cases, most, "nano", "full")
    }
    judge: Judge = lambda *slot: "missed" if fate[slot] == "missed" else "passed"  # noqa: E731
    _, made, left_out = lazily(cases, judge, most=most)
    everything = [trial(*slot, judge(*slot)) for slot in slots(cases, most, "nano", "full")]

    def evidence(trials: list[Trial], not_asked: set[Slot]) -> verdicts.Evidence:
        return verdicts.gather(
            trials, candidate="nano", flagship="full", margin=0.1, alpha=ALPHA, not_asked=not_asked
        )

    lazy, full = evidence(made, left_out), evidence(everything, set())
    assert lazy.comparison.pairs == full.comparison.pairs == cases * most
    assert lazy.log_cases <= full.log_cases + 1e-9
    assert lazy.log_pairs <= full.log_pairs + 1e-9
    worse = lazy.comparison.log_evidence_worse, full.comparison.log_evidence_worse
    assert worse[0] is not None
    assert worse[1] is not None
    assert worse[0] <= worse[1] + 1e-9
    assert lazy.comparison.difference is not None
    assert full.comparison.difference is not None
    assert lazy.comparison.difference <= full.comparison.difference + 1e-9
    assert lazy.highest_difference >= full.comparison.difference - 1e-9
    if not left_out:
        assert lazy == full
