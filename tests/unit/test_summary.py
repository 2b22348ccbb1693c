from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_tiers.findings import LadderEntry, PromptSummary, RunSummary
from pytest_tiers.records import Call, Outcome, Tokens, Trial
from pytest_tiers.settings import Settings
from pytest_tiers.summary import (
    NO_MODEL,
    Attainable,
    PlannedPrompt,
    attainable,
    summarise,
)
from pytest_tiers.tiers import BUILT_IN, Ladder

LADDER = Ladder(tuple(BUILT_IN[name] for name in ("nano", "mini", "full")), "full")
COMPARISON = Settings(ladder=LADDER, comparison=True)
COST = {"nano": Decimal("0.001"), "mini": Decimal("0.004"), "full": Decimal("0.010")}


def call(cost: str | Decimal | None = "0.001", **more: Any) -> Call:
    fields: dict[str, Any] = {
        "model_asked": "gpt-5.4",
        "model": "gpt-5.4-nano",
        "answered_by": "gpt-5.4-nano",
        "endpoint": "chat/completions",
        "status": 200,
        "tokens": Tokens(100, 20, 10, 4),
        "cost_usd": None if cost is None else Decimal(cost),
    }
    return Call(**{**fields, **more})


def trial(
    prompt: str, case: str, tier: str, outcome: Outcome = "passed", sample: int = 1, **more: Any
) -> Trial:
    more.setdefault("calls", (call(COST.get(tier, "0.001")),))
    return Trial(prompt, case, tier, sample, outcome, f"{prompt}[{case}-{tier}-{sample}]", **more)


def sweep(
    prompt: str, cases: int, missed: Iterable[tuple[str, int]] = (), **more: Any
) -> list[Trial]:
    """One trial per case and tier, all passed but those named by (tier, number of misses)."""
    misses = dict(missed)
    return [
        trial(
            prompt,
            f"c{case:03}",
            tier,
            "missed" if case < misses.get(tier, 0) else "passed",
            **more,
        )
        for case in range(cases)
        for tier in LADDER.names
    ]


def run(trials: Iterable[Trial], settings: Settings = COMPARISON, **more: Any) -> RunSummary:
    return summarise(trials, settings, created="2026-11-23T12:00:00Z", **more)


def only(trials: Iterable[Trial], settings: Settings = COMPARISON) -> PromptSummary:
    (prompt,) = run(trials, settings).prompts
    return prompt


class TestRun:
    def test_nothing(self) -> None:
        found = run([])
        assert found.prompts == ()
        assert found.trials == ()
        assert (found.spent_usd, found.replayed_usd) == (Decimal(0), Decimal(0))
        assert found.savings.flagship_usd_per_1000 is None
        assert (found.savings.priced_prompts, found.savings.unpriced_prompts) == (0, 0)

    def test_what_is_handed_through(self) -> None:
        price = {"input": "0.20", "cached_input": "0.02", "output": "1.25", "source": "here"}
        found = run([], commit="abc", selection=True, unused=[], prices={"nano": price})
        assert (found.settings, found.created) == (COMPARISON, "2026-11-23T12:00:00Z")
        assert (found.commit, found.selection, found.unused_recordings) == ("abc", True, 0)
        assert found.ladder[0] == LadderEntry("nano", "gpt-5.4-nano", price)
        assert found.ladder[2] == LadderEntry("full", "gpt-5.4", None)

    def test_seconds_of_a_tier_are_those_of_all_prompts(self) -> None:
        trials = [
            trial(prompt, "a", "nano", calls=(call(seconds=seconds),))
            for prompt, seconds in (("p", 3.0), ("q", 1.0), ("r", 2.0))
        ]
        found = run(trials).ladder
        assert (found[0].seconds_p50, found[0].seconds_p95) == (2.0, 3.0)
        assert (found[2].seconds_p50, found[2].seconds_p95) == (None, None)

    def test_order(self) -> None:
        trials = [
            trial("b", "x", "nano"),
            trial("a", "y", "nano"),
            trial("a", "x", "other"),
            trial("a", "x", "full"),
            trial("a", "x", "nano", sample=2),
            trial("a", "x", "nano", sample=10),
            trial("a", "x", "nano", sample=1),
        ]
        found = run(trials)
        assert [(each.prompt, each.case, each.tier, each.sample) for each in found.trials] == [
            ("a", "x", "nano", 1),
            ("a", "x", "nano", 2),
            ("a", "x", "nano", 10),
            ("a", "x", "full", 1),
            ("a", "x", "other", 1),
            ("a", "y", "nano", 1),
            ("b", "x", "nano", 1),
        ]
        assert [prompt.id for prompt in found.prompts] == ["a", "b"]
        assert list(found.prompts[0].tiers) == ["nano", "full", "other"]

    def test_trials_are_settled(self) -> None:
        found = run([trial("p", "a", "nano", calls=()), trial("p", "a", "full")])
        assert [each.outcome for each in found.trials] == ["no-call", "passed"]
        assert found.prompts[0].tiers["nano"].no_calls == 1

    def test_spent_and_replayed(self) -> None:
        calls = (
            call("0.5"),
            call("0.25", left_alone="as_is"),
            call(None),
            call(None, status=None, error="timeout"),
            call("0.125", replayed=True),
            call(None, replayed=True),
        )
        found = run([trial("p", "a", "nano", "error", calls=calls)])
        assert found.spent_usd == Decimal("0.75")
        assert found.unpriced_spent_calls == 1
        assert found.replayed_usd == Decimal("0.125")

    def test_stale(self) -> None:
        assert run([trial("p", "a", "nano", stale=True), trial("p", "a", "full")]).stale_trials == 1

    def test_sites(self) -> None:
        calls = (
            call(site="app/triage.py:3 route"),
            call(site="app/triage.py:3 route"),
            call(site="app/a.py:1 f", model_asked=None),
            call(site=None),
            call(site="tests/judge.py:12 grade", left_alone="as_is"),
            call(site="app/find.py:1 embed", left_alone="embeddings", model_asked=None),
        )
        found = run([trial("p", "a", "nano", calls=calls), trial("p", "a", "full", calls=calls)])
        assert found.rewritten == ("app/a.py:1 f", "app/triage.py:3 route (gpt-5.4)")
        assert found.left_alone == (
            "app/find.py:1 embed (embeddings)",
            "tests/judge.py:12 grade (as_is: gpt-5.4)",
        )

    def test_current_rewrites_nothing(self) -> None:
        found = run([trial("p", "a", "current", calls=(call(site="app/x.py:1 f"),))], Settings())
        assert found.rewritten == ()


class TestTierStats:
    def test_outcomes_and_tokens(self) -> None:
        outcomes: list[Outcome] = ["passed", "passed", "missed", "unsupported", "error", "no-call"]
        trials = [trial("p", str(n), "nano", each) for n, each in enumerate(outcomes)]
        stats = only(trials).tiers["nano"]
        assert (stats.trials, stats.passed, stats.missed, stats.unsupported) == (6, 2, 1, 1)
        assert (stats.errors, stats.no_calls, stats.calls) == (1, 1, 6)
        assert stats.tokens == Tokens(600, 120, 60, 24)

    def test_pass_rate_is_the_mean_over_cases(self) -> None:
        found: list[tuple[str, Outcome]] = [
            ("a", "passed"),
            ("a", "missed"),
            ("b", "passed"),
            ("b", "error"),
            ("c", "unsupported"),
        ]
        trials = [
            trial("p", case, "nano", each, sample) for sample, (case, each) in enumerate(found)
        ]
        rate = only(trials).tiers["nano"].pass_rate
        assert rate is not None
        assert rate.estimate == pytest.approx(0.5)
        assert 0 <= rate.low < 0.5 < rate.high <= 1
        assert only([trial("p", "a", "nano", "error")]).tiers["nano"].pass_rate is None

    def test_calls_left_alone_are_apart(self) -> None:
        calls = (call("0.5"), call("0.25", left_alone="as_is"), call(None, left_alone="as_is"))
        prompt = only([trial("p", "a", "nano", calls=calls)])
        assert (prompt.tiers["nano"].calls, prompt.tiers["nano"].cost_usd) == (1, Decimal("0.5"))
        assert (prompt.as_is_calls, prompt.as_is_cost_usd) == (2, Decimal("0.25"))

    def test_unpriced_is_never_0(self) -> None:
        calls = (call(None, tokens=None), call(None, status=None))
        prompt = only([trial("p", "a", "nano", calls=calls)])
        stats = prompt.tiers["nano"]
        assert (stats.cost_usd, stats.unpriced_calls, stats.cost_per_1000) == (None, 1, None)
        assert stats.tokens == Tokens(100, 20, 10, 4)
        judged = only([trial("p", "a", "nano", calls=(call(None, left_alone="as_is"),))])
        assert judged.as_is_cost_usd is None

    def test_some_unpriced(self) -> None:
        stats = only([trial("p", "a", "nano", calls=(call("0.5"), call(None)))]).tiers["nano"]
        assert (stats.cost_usd, stats.unpriced_calls) == (Decimal("0.5"), 1)
        assert stats.cost_per_1000 is None

    def test_no_calls_cost_nothing(self) -> None:
        prompt = only([trial("p", "a", "nano", calls=())])
        assert prompt.tiers["nano"].cost_usd == 0
        assert prompt.tiers["nano"].cost_per_1000 is None
        assert prompt.as_is_cost_usd == 0

    @pytest.mark.parametrize(
        ("count", "p50", "p95"), [(1, 1.0, 1.0), (2, 1.0, 2.0), (20, 10.0, 19.0), (21, 11.0, 20.0)]
    )
    def test_nearest_rank(self, count: int, p50: float, p95: float) -> None:
        calls = tuple(call(seconds=float(n)) for n in range(count, 0, -1))
        stats = only([trial("p", "a", "nano", calls=(*calls, call()))]).tiers["nano"]
        assert (stats.seconds_p50, stats.seconds_p95) == (p50, p95)

    def test_no_seconds(self) -> None:
        stats = only([trial("p", "a", "nano")]).tiers["nano"]
        assert (stats.seconds_p50, stats.seconds_p95) == (None, None)


class TestMeasuredCost:
    def test_uncached_and_exact(self) -> None:
        cached = call("0.0001", uncached_cost_usd=Decimal("0.0003"))
        trials = [
            trial("p", "a", "nano", calls=(cached, call("0.0005"))),
            trial("p", "a", "full", calls=(call("0.0016"),)),
        ]
        prompt = only(trials)
        assert prompt.tiers["nano"].cost_usd == Decimal("0.0006")
        assert prompt.tiers["nano"].cost_per_1000 == Decimal("0.8")
        assert prompt.tiers["full"].cost_per_1000 == Decimal("1.6")
        assert prompt.savings == {"nano": 0.5}

    def test_only_complete_pairs(self) -> None:
        trials = [
            trial("p", "a", "nano", calls=(call("1"),)),
            trial("p", "a", "full", calls=(call("4"),)),
            trial("p", "b", "nano", calls=(call("9"),)),
            trial("p", "b", "full", "error", calls=(call("9"),)),
            trial("p", "c", "nano", calls=(call(None),)),
            trial("p", "c", "full", calls=(call("2"),)),
            trial("p", "d", "nano", calls=(call("9"),)),
        ]
        prompt = only(trials)
        assert prompt.tiers["nano"].cost_per_1000 == 1000
        assert prompt.tiers["full"].cost_per_1000 == 3000
        assert prompt.savings == {"nano": 0.75}

    def test_an_attempt_without_an_answer_does_not_unprice_a_trial(self) -> None:
        calls = (call(None, status=None), call("1"))
        trials = [trial("p", "a", "nano", calls=calls), trial("p", "a", "full")]
        assert only(trials).tiers["nano"].cost_per_1000 == 1000

    def test_dearer_is_a_negative_saving(self) -> None:
        trials = [
            trial("p", "a", "nano", calls=(call("3"),)),
            trial("p", "a", "full", calls=(call("2"),)),
        ]
        assert only(trials).savings == {"nano": -0.5}

    @pytest.mark.parametrize(("nano", "full"), [("1", "0"), ("1", None), (None, "1")])
    def test_unknown(self, nano: str | None, full: str | None) -> None:
        trials = [
            trial("p", "a", "nano", calls=(call(nano),)),
            trial("p", "a", "full", calls=(call(full),)),
        ]
        assert only(trials).savings == {"nano": None}


class TestComparisons:
    def test_per_candidate(self) -> None:
        prompt = only(sweep("p", 40, [("nano", 20)]))
        assert (prompt.cases, prompt.flagship, prompt.notice) == (40, "full", None)
        assert {name: each.verdict for name, each in prompt.comparisons.items()} == {
            "nano": "worse",
            "mini": "safe",
        }
        assert prompt.recommended == "mini"

    def test_candidates_without_trials_are_left_out(self) -> None:
        trials = [each for each in sweep("p", 3) if each.tier != "mini"]
        assert list(only(trials).comparisons) == ["nano"]

    def test_without_flagship(self) -> None:
        prompt = only([trial("p", "a", "nano")])
        assert prompt.flagship is None
        assert prompt.comparisons["nano"].verdict == "no-data"
        assert (prompt.savings, prompt.recommended) == ({"nano": None}, None)

    def test_everyday_run(self) -> None:
        prompt = only([trial("p", "a", "current"), trial("p", "b", "mini")], Settings())
        assert (prompt.comparisons, prompt.savings, prompt.recommended) == ({}, {}, None)
        assert list(prompt.tiers) == ["current", "mini"]

    def test_one_tier(self) -> None:
        one = Settings(ladder=Ladder((BUILT_IN["full"],), "full"), comparison=True)
        prompt = only([trial("p", "a", "full")], one)
        assert (prompt.comparisons, prompt.recommended) == ({}, None)

    def test_a_prompt_without_a_model_has_no_verdict(self) -> None:
        prompt = only(sweep("p", 40, calls=()))
        assert (prompt.comparisons, prompt.notice, prompt.recommended) == ({}, NO_MODEL, None)

    def test_unless_it_uses_the_tier(self) -> None:
        prompt = only(sweep("p", 40, calls=(), expects_call=True))
        assert prompt.notice is None
        assert prompt.comparisons["nano"].verdict == "safe"
        assert prompt.recommended is None

    def test_own_settings(self) -> None:
        own = {"margin": 0.05, "min_pass_rate": 0.9, "monthly_runs": 2000, "cases": 40}
        prompt = only(sweep("p", 40, settings=own))
        assert (prompt.margin, prompt.min_pass_rate, prompt.monthly_runs) == (0.05, 0.9, 2000)
        assert prompt.comparisons["nano"].margin == 0.05
        assert prompt.comparisons["nano"].verdict == "inconclusive"

    def test_the_runs_settings(self) -> None:
        strict = Settings(ladder=LADDER, comparison=True, margin=0.2, confidence=0.99)
        prompt = only(sweep("p", 20), strict)
        assert (prompt.margin, prompt.comparisons["nano"].more_cases) == (0.2, (3, 3))

    def test_comparisons_of_a_run_count_together(self) -> None:
        found = run([*sweep("a", 32), *sweep("b", 40, [("nano", 20), ("mini", 0)])])
        first, second = found.prompts
        assert first.comparisons["nano"].held_back
        assert first.comparisons["nano"].among == 2
        assert [each.comparisons["mini"].verdict for each in (first, second)] == ["safe", "safe"]

    def test_what_the_run_planned_counts(self) -> None:
        planned = {"reachable": {"nano": 2}}
        prompt = only([*sweep("p", 32, settings=planned)])
        assert prompt.comparisons["nano"].held_back
        assert prompt.comparisons["mini"].verdict == "safe"

    def test_the_cheapest_safe_candidate_by_measured_cost(self) -> None:
        """nano writes ten times as much here, so mini is the cheaper one."""
        talkative = [
            trial("p", each.case, "nano", calls=(call("0.009"),)) if each.tier == "nano" else each
            for each in sweep("p", 40)
        ]
        assert only(talkative).recommended == "mini"
        assert only(sweep("p", 40)).recommended == "nano"

    def test_stay_where_no_safe_candidate_is_cheaper(self) -> None:
        free = [trial("p", each.case, each.tier, calls=(call("0.01"),)) for each in sweep("p", 40)]
        prompt = only(free)
        assert prompt.comparisons["nano"].verdict == "safe"
        assert prompt.recommended is None


class TestSavings:
    def test_totals(self) -> None:
        found = run([*sweep("a", 40), *sweep("b", 5), *sweep("c", 3, calls=(call(None),))])
        assert [prompt.recommended for prompt in found.prompts] == ["nano", None, None]
        savings = found.savings
        assert savings.flagship_usd_per_1000 == 20
        assert savings.recommended_usd_per_1000 == 11
        assert savings.share == 0.45
        assert (savings.priced_prompts, savings.unpriced_prompts) == (2, 1)
        assert savings.flagship_usd_per_month is None
        assert savings.recommended_usd_per_month is None
        assert savings.possible_usd_per_month is None

    def test_prompts_without_a_model_are_not_unpriced(self) -> None:
        found = run([*sweep("a", 3, calls=()), *sweep("b", 3)])
        assert (found.savings.priced_prompts, found.savings.unpriced_prompts) == (1, 0)

    def test_per_month(self) -> None:
        found = run(
            [
                *sweep("proven", 40, settings={"monthly_runs": 100_000}),
                *sweep("open", 5, settings={"monthly_runs": 200_000}),
                *sweep("unknown", 40),
            ]
        )
        savings = found.savings
        assert savings.flagship_usd_per_month == 3000
        assert savings.recommended_usd_per_month == 2100
        assert savings.possible_usd_per_month == 2700

    def test_possible_only_where_the_candidate_agrees_so_far(self) -> None:
        monthly = {"monthly_runs": 100_000}
        worse = sweep("p", 40, [("nano", 20), ("mini", 20)], settings=monthly)
        assert run(worse).savings.possible_usd_per_month == 0
        drop = sweep("p", 5, [("nano", 1)], settings=monthly)
        assert run(drop).savings.possible_usd_per_month == 600
        at_the_margin = sweep("p", 10, [("nano", 1)], settings=monthly)
        assert run(at_the_margin).savings.possible_usd_per_month == 900
        flagship_fails = sweep("p", 10, [("full", 5)], settings=monthly)
        assert run(flagship_fails).savings.possible_usd_per_month == 0

    def test_free_of_charge(self) -> None:
        savings = run(sweep("p", 3, calls=(call("0"),))).savings
        assert (savings.flagship_usd_per_1000, savings.share) == (0, None)

    def test_everyday_run_saves_nothing(self) -> None:
        savings = run([trial("p", "a", "current")], Settings()).savings
        assert (savings.flagship_usd_per_1000, savings.recommended_usd_per_1000) == (1, 1)
        assert savings.share == 0.0


class TestAttainable:
    def test_small_suite(self) -> None:
        plan = [
            *[PlannedPrompt(1, 3)] * 20,
            *[PlannedPrompt(11, 3)] * 15,
            *[PlannedPrompt(9, 3)] * 5,
        ]
        assert attainable(plan, 0.1, 0.95) == Attainable(40, 0, 15, 20, 32)

    def test_enough_cases(self) -> None:
        plan = [PlannedPrompt(32), PlannedPrompt(32, 3), PlannedPrompt(31), PlannedPrompt(16, 2)]
        assert attainable(plan, 0.1, 0.95) == Attainable(4, 2, 1, 0, 32)

    def test_margins(self) -> None:
        plan = [PlannedPrompt(65, 2), PlannedPrompt(65, margin=0.1), PlannedPrompt(65, margin=0.0)]
        assert attainable(plan, 0.05, 0.95) == Attainable(3, 1, 1, 0, 66)
        assert attainable(plan, 0.0, 0.95).cases_needed is None

    def test_nothing(self) -> None:
        assert attainable([], 0.1, 0.95) == Attainable(0, 0, 0, 0, 32)


suites = st.lists(
    st.tuples(
        st.sampled_from("pq"),
        st.sampled_from("abcde"),
        st.sampled_from(LADDER.names),
        st.sampled_from([1, 2]),
        st.sampled_from(["passed", "missed", "unsupported", "error"]),
        st.sampled_from([(), (call("0.0007"),), (call("0.0003", seconds=0.5), call(None))]),
        st.sampled_from([None, "yes", "no"]),
    ),
    max_size=40,
    unique_by=lambda each: each[:4],
)


@given(suites, st.randoms(use_true_random=False))
def test_order_of_trials_does_not_matter(suite: list[tuple[Any, ...]], random: Any) -> None:
    trials = [
        trial(
            prompt,
            case,
            tier,
            outcome,
            sample,
            calls=calls,
            output=output,
            has_output=output is not None,
        )
        for prompt, case, tier, sample, outcome, calls, output in suite
    ]
    shuffled = random.sample(trials, len(trials))
    found = run(trials)
    assert run(shuffled) == found
    assert run(found.trials) == found
    assert len(found.trials) == len(trials)
    assert found.spent_usd == sum(
        (each.cost_usd or 0 for one in trials for each in one.calls), Decimal(0)
    )


def test_costs_survive_the_way_through_builtins() -> None:
    one = trial("p", "a", "nano", calls=(call("0.1", uncached_cost_usd=Decimal("0.30")),))
    plain = one.to_builtins()
    assert plain["calls"][0]["uncached_cost_usd"] == "0.30"
    assert Trial.from_builtins(plain) == one


def test_the_rest_that_a_limit_kept_out_is_estimated_from_trials_like_it() -> None:
    done = trial("p", "done", "nano", calls=(call("0.002"),))
    left = trial("p", "later", "nano", "error", budget=True, calls=())
    assert run([done, left, replace(left, case="last")]).rest_usd == Decimal("0.004")
    assert run([left]).rest_usd is None
    assert run([done]).rest_usd == 0


@pytest.mark.parametrize(
    ("asked", "answered", "is_told"),
    [
        ("gpt-5.4-nano", "gpt-5.4-nano-2026-03-17", False),
        ("nano", "/models/NANO.gguf", False),
        ("openrouter/gpt-5.4", "gpt-5.4", False),
        ("claude-latest", "claude-4", False),
        ("gpt-5.4-nano", None, False),
        ("gpt-5.4-nano", "gpt-5.4-mini", True),
        ("gpt-5.4", "gpt-5.4-mini", True),
    ],
)
def test_an_answer_of_another_model_is_told(
    asked: str, answered: str | None, is_told: bool
) -> None:
    found = run([trial("p", "c", "nano", calls=(call(model=asked, answered_by=answered),))])
    said = (f'nano: asked for "{asked}", answered by "{answered}"',) if is_told else ()
    assert found.other_models == said


def test_several_snapshots_of_a_model_are_told_with_their_calls() -> None:
    new, old = (
        call(model="gpt-5.4-nano", answered_by=f"gpt-5.4-nano-2026-{month}")
        for month in ("06", "03")
    )
    other = call(model="gpt-5.4-nano", answered_by="gpt-5.4-mini")
    trials = [
        trial("p", "a", "nano", calls=(new, old, other)),
        trial("p", "b", "nano", calls=(new,)),
        trial("p", "b", "full", calls=(old,)),
    ]
    assert run(trials).drift == ('nano: "gpt-5.4-nano-2026-03" (1), "gpt-5.4-nano-2026-06" (2)',)
