"""Hand-built summaries for the tests of reports.

In `support_desk` and `small_suite` each bound (``largest_drop``) is what
`pytest_tiers.statistics` gives for such cases; test_reports_terminal.py holds them to it. Logs
of evidence, which no text shows, and sums of money are plausible only.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from pytest_tiers.findings import (
    Control,
    LadderEntry,
    MixFinding,
    MixFindings,
    PromptSummary,
    RunSummary,
    Savings,
    TierStats,
)
from pytest_tiers.mixes import Mix
from pytest_tiers.records import Call, CallSite, Outcome, Tokens, Trial
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import BUILT_IN, CURRENT, Ladder
from pytest_tiers.verdicts import Comparison

LADDER = Ladder(tuple(BUILT_IN[name] for name in ("nano", "mini", "full")), "full")
COST_PER_1000 = {"nano": Decimal("0.04825"), "mini": Decimal("0.174"), "full": Decimal("0.595")}
SAVINGS: dict[str, float | None] = {"nano": 0.918907563025, "mini": 0.707563025}
SITE = "app/triage.py:3 route"


def comparison(tier: str = "mini", verdict: Any = "inconclusive", **changes: Any) -> Comparison:
    """A clean sweep of five cases, unless said otherwise; ``n`` sets all its counts."""
    n = changes.pop("n", 5)
    base = Comparison(
        tier=tier,
        flagship="full",
        verdict=verdict,
        margin=0.1,
        cases=n,
        pairs=n,
        agreeing=n,
        candidate_passed=n,
        flagship_passed=n,
        difference=0.0,
        largest_drop=0.4853,
        largest_drop_these_cases=0.4853,
        log_evidence=0.4361,
        log_evidence_these_cases=0.4361,
        log_evidence_worse=0.0,
        more_cases=(27, 27),
        missing_trials=0,
        output_mismatches=0,
    )
    return replace(base, **changes)


def safe(tier: str = "mini", n: int = 60, **changes: Any) -> Comparison:
    """A clean sweep that is large enough."""
    known = {"largest_drop": 0.0544, "log_evidence": 5.8498, "more_cases": (0, 0), "among": 8}
    return comparison(tier, "safe", n=n, **{**known, **changes})


def mix_of(tiers: dict[CallSite, str]) -> MixFindings:
    """A search that found that mix."""
    by_key = {site.key: tier for site, tier in tiers.items()}
    mix = Mix.of(by_key)
    best = MixFinding(mix, by_key, safe(), True, None, 60, 60, 0.4, Decimal("0.1"))
    return MixFindings(tuple(tiers), (best,), "confirmed", 60, 8, 1440, recommended=best)


def stats(passed: int, missed: int = 0, tier: str = "full", **changes: Any) -> TierStats:
    """One call for each trial, at the tier's usual cost."""
    answered = passed + missed
    base = TierStats(
        trials=answered,
        passed=passed,
        missed=missed,
        unsupported=0,
        errors=0,
        no_calls=0,
        calls=answered,
        tokens=Tokens(160 * answered, 0, 13 * answered, 0),
        cost_usd=COST_PER_1000[tier] * answered / 1000,
        unpriced_calls=0,
        cost_per_1000=COST_PER_1000[tier],
        seconds_p50=0.24,
        seconds_p95=0.31,
    )
    return replace(base, **changes)


def prompt(
    id: str, *comparisons: Comparison, tiers: dict[str, TierStats] | None = None, **changes: Any
) -> PromptSummary:
    """A prompt whose tiers passed what its comparisons say."""
    found = {
        one.tier: stats(one.candidate_passed, one.pairs - one.candidate_passed, one.tier)
        for one in comparisons
    }
    if comparisons:
        first = comparisons[0]
        failed = first.pairs - first.flagship_passed
        found["full"] = stats(first.flagship_passed, failed)
    base = PromptSummary(
        id=id,
        cases=comparisons[0].cases if comparisons else 1,
        flagship="full",
        margin=0.1,
        min_pass_rate=None,
        monthly_runs=None,
        tiers={**found, **(tiers or {})},
        comparisons={one.tier: one for one in comparisons},
        savings={one.tier: SAVINGS[one.tier] for one in comparisons},
        as_is_calls=0,
        as_is_cost_usd=Decimal(0),
        recommended=None,
        notice=None,
        control=Control(8, 0),
    )
    return replace(base, **changes)


def call(tier: str = "full", **changes: Any) -> Call:
    """A replayed, priced call to the tier."""
    model = f"gpt-5.4-{tier}" if tier != "full" else "gpt-5.4"
    base = Call(
        model_asked="gpt-5.4",
        model=model,
        answered_by=f"{model}-2026-03-17",
        endpoint="chat/completions",
        status=200,
        tokens=Tokens(160, 0, 13, 0),
        cost_usd=COST_PER_1000.get(tier, Decimal("0.1")) / 1000,
        seconds=0.24,
        recorded_at="2026-11-20T09:00:00Z",
        site=SITE,
        replayed=True,
    )
    return replace(base, **changes)


def trial(
    prompt: str = "tests/test_triage.py::test_route",
    case: str = "refund",
    tier: str = "full",
    outcome: Outcome = "passed",
    **changes: Any,
) -> Trial:
    """A replayed trial with one call."""
    base = Trial(
        prompt=prompt,
        case=case,
        tier=tier,
        sample=1,
        outcome=outcome,
        nodeid=f"{prompt}[{case}-{tier}]",
        replayed=True,
        calls=(call(tier),),
        answer='{"team": "billing"}',
    )
    return replace(base, **changes)


def run(*prompts: PromptSummary, **changes: Any) -> RunSummary:
    """A comparison of nano, mini and full over ``prompts``, replayed."""
    base = RunSummary(
        settings=Settings(ladder=LADDER, comparison=True),
        created="2026-11-23T21:00:00Z",
        commit="abc123",
        selection=False,
        ladder=tuple(
            LadderEntry(
                tier.name,
                tier.model,
                {"input": "0.20", "cached_input": None, "output": "1.25", "source": "test"},
            )
            for tier in LADDER.tiers
        ),
        prompts=prompts,
        savings=Savings(Decimal("1.19"), Decimal("1.19"), 0.0, len(prompts), 0, None, None, None),
        spent_usd=Decimal(0),
        unpriced_spent_calls=0,
        replayed_usd=Decimal("0.0123"),
        stale_trials=0,
        unused_recordings=0,
        rewritten=(f"{SITE} (gpt-5.4)",),
        left_alone=(),
        trials=(trial(),),
    )
    return replace(base, **changes)


def everyday(*trials: Trial, **changes: Any) -> RunSummary:
    """An everyday run of ``trials``."""
    settings = Settings(ladder=Ladder((BUILT_IN[CURRENT],), CURRENT))
    nothing = Savings(None, None, None, 0, 0, None, None, None)
    known: dict[str, Any] = {
        "settings": settings,
        "ladder": (LadderEntry(CURRENT, None, None),),
        "savings": nothing,
        "replayed_usd": Decimal("0.0012"),
        "trials": trials,
    }
    return run(**{**known, **changes})


def _fails(tier: str, verdict: Any, n: int, failed: int, drop: float, **changes: Any) -> Comparison:
    known = {
        "agreeing": n - failed,
        "candidate_passed": n - failed,
        "difference": -failed / n,
        "largest_drop": drop,
        "largest_drop_these_cases": drop,
        "among": 8,
    }
    return comparison(tier, verdict, n=n, **{**known, **changes})


def support_desk() -> RunSummary:
    """Eight prompts as a team has them: some safe, some worse, some open, one broken."""
    triage, desk = "tests/test_triage.py::", "tests/test_assistant.py::"
    held_back = {"largest_drop": 0.0995, "held_back": True, "among": 8}
    broken = {"flagship_passed": 24}
    prompts = (
        prompt(
            f"{triage}test_route",
            _fails("nano", "worse", 60, 28, 0.6701, more_cases=(453, None)),
            safe("mini"),
            recommended="mini",
            as_is_calls=60,
            as_is_cost_usd=Decimal("0.0357"),
        ),
        prompt(f"{triage}test_sentiment", safe("nano"), safe("mini"), recommended="nano"),
        prompt(
            f"{triage}test_amount",
            _fails("nano", "inconclusive", 60, 2, 0.1503, more_cases=(50, 134)),
            _fails("mini", "inconclusive", 60, 1, 0.1155, more_cases=(22, 35)),
        ),
        prompt(
            f"{desk}test_language",
            comparison("nano", n=32, more_cases=(14, 14), **held_back),
            comparison("mini", n=32, more_cases=(10, 10), **held_back),
        ),
        prompt(
            f"{desk}test_order_id",
            _fails("nano", "inconclusive", 32, 3, 0.3195, more_cases=(100, 54071)),
            comparison("mini", n=32, more_cases=(10, 10), **held_back),
        ),
        prompt(
            f"{desk}test_arithmetic",
            # The flagship fails eight of the same cases: 12 and 1 are lost, the others agree.
            _fails("nano", "flagship-fails", 32, 12, 0.6525, candidate_passed=12, **broken),
            _fails("mini", "flagship-fails", 32, 1, 0.2068, candidate_passed=23, **broken),
        ),
        prompt(
            f"{desk}test_reply",
            comparison("nano", "unsupported", n=32, candidate_passed=0, agreeing=0),
            comparison("mini", n=22, missing_trials=10, largest_drop=0.1413, more_cases=(20, 20)),
            cases=32,
            tiers={
                "nano": stats(0, tier="nano", unsupported=32, trials=32),
                "mini": stats(22, tier="mini", errors=10, trials=32),
                "full": stats(32),
            },
        ),
        prompt(
            f"{desk}test_plan",
            _fails("nano", "worse", 32, 12, 0.6525, more_cases=(246, None)),
            _fails("mini", "worse", 32, 5, 0.4059, more_cases=(132, None)),
        ),
    )
    timeout = {"calls": (call("mini", status=None, cost_usd=None, error="timeout"),)}
    refused = {"calls": (call("nano", status=400, cost_usd=Decimal(0)),), "answer": None}
    route, reply = f"{triage}test_route", f"{desk}test_reply"
    missed = "AssertionError: assert 'shipping' == 'billing'"
    trials = (
        *(
            trial(reply, f"c{n}", "mini", "error", reason="APITimeoutError: timed out", **timeout)
            for n in range(10)
        ),
        trial(
            reply,
            "c0",
            "nano",
            "unsupported",
            reason="400: model gpt-5.4-nano does not support response_format json_schema",
            **refused,
        ),
        trial(route, "refund", "nano", "missed", answer='{"team": "shipping"}', reason=missed),
        trial(route, "refund", "mini"),
        trial(route, "refund", "full"),
        trial(route, "silent", "nano", "missed", answer=None, reason="TypeError: no content"),
        trial(route, "silent", "full"),
    )
    return run(
        *prompts,
        savings=Savings(
            Decimal("4.76"), Decimal("3.79225"), 0.203308823529, 8, 0, None, None, None
        ),
        replayed_usd=Decimal("0.2781"),
        rewritten=("app/assistant.py:9 plan (gpt-5.4)", f"{SITE} (gpt-5.4)"),
        left_alone=("tests/judge.py:12 grade (as_is: gpt-5.4)",),
        trials=trials,
    )


def small_suite() -> RunSummary:
    """What most teams have: many prompts with one case, a few with up to twelve."""
    folder = "tests/llm/test_generated_summaries.py::"
    single = [
        prompt(
            f"{folder}test_summary_{number:02}",
            _fails("nano", "inconclusive", 1, 1, 1.0, more_cases=(69, None))
            if number % 5 == 0
            else comparison("nano", n=1, largest_drop=0.9594, more_cases=(31, 31)),
            comparison("mini", n=1, largest_drop=0.9594, more_cases=(31, 31)),
        )
        for number in range(20)
    ]
    clean = {3: (0.6668, 29), 5: (0.4853, 27), 7: (0.3787, 25), 8: (0.3409, 24)}
    few = [
        prompt(
            f"tests/llm/test_tools.py::test_tool_{cases}",
            _fails("nano", "inconclusive", cases, 1, 0.9509, more_cases=(67, None))
            if cases == 3
            else comparison("nano", n=cases, largest_drop=drop, more_cases=(more, more)),
            comparison("mini", n=cases, largest_drop=drop, more_cases=(more, more)),
        )
        for cases, (drop, more) in clean.items()
    ]
    better = {
        "agreeing": 10,
        "flagship_passed": 10,
        "difference": 2 / 12,
        "largest_drop": 0.1496,
        "more_cases": (20, 20),
    }
    noisy = prompt(
        "tests/llm/test_tools.py::test_noisy",
        comparison("nano", n=12, **better),
        comparison("mini", n=12, **better),
        monthly_runs=200_000,
    )
    shared = prompt("tests/llm/test_faq.py::test_faq", notice="no trial called a model")
    month = (Decimal("119.00"), Decimal("119.00"), Decimal("109.35"))
    return run(
        *single,
        *few,
        noisy,
        shared,
        savings=Savings(Decimal("14.875"), Decimal("14.875"), 0.0, 25, 0, *month),
    )


#: What a model may say to break a report, each as one answer.
HOSTILE = (
    "<script>document.title = 'taken over'</script>",
    "</style></pre></details><img src=x onerror=\"document.title = 'taken over'\">",
    "]]> --> <!-- {{ 7 * 7 }} {% raw %}",
    "\x1b[31mred\x1b[0m nul\x00 bell\x07",
    "\u202egnp.exe\u2066 \u2028 \ufeff",
    "half \ud83d of an emoji",
    "x" * 1_000_000,
    "z" + "\u0301" * 5_000,
    "<b>" * 3_000,
    "\n" * 3_000,
)


def hostile() -> RunSummary:
    """A run whose case names, reasons, requests and answers all try to break the page."""
    id = "tests/test_<i>.py::test_\"'>&"
    trials = [
        trial(
            id,
            f"{number} {text}",
            tier,
            "passed" if tier == "full" else "missed",
            answer=text if tier != "full" else text[::-1],
            reason=None if tier == "full" else text,
            question=None if tier == "full" else text[:4_000],
        )
        for number, text in enumerate(HOSTILE)
        for tier in ("nano", "mini", "full")
    ]
    return run(
        prompt(id, _fails("nano", "worse", 10, 10, 1.0), comparison(n=10), notice=HOSTILE[0]),
        trials=tuple(trials),
        rewritten=(HOSTILE[1],),
        other_models=(HOSTILE[0],),
        drift=(HOSTILE[0],),
        stale_trials=1,
    )


def large() -> RunSummary:
    """50 prompts on 3 tiers with 32 cases, where nothing agrees and every text is long."""
    ids = [f"tests/llm/test_generated_{number:02}.py::test_prompt" for number in range(50)]
    prompts = (
        prompt(id, _fails("nano", "worse", 32, 32, 1.0), _fails("mini", "worse", 32, 32, 1.0))
        for id in ids
    )
    said = {tier: f"{tier} says: " + "<ä> " * 2_000 for tier in ("nano", "mini", "full")}
    trials = tuple(
        trial(
            id,
            f"case-{number:02}",
            tier,
            "passed" if tier == "full" else "missed",
            answer=said[tier],
            question=None if tier == "full" else "Why? " * 800,
        )
        for id in ids
        for number in range(32)
        for tier in said
    )
    return run(*prompts, trials=trials)
