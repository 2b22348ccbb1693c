"""What is saved in all, where some prompts move to a mix of tiers."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from pytest_tiers.findings import PromptSummary, RunSummary
from pytest_tiers.records import CallSite
from pytest_tiers.reports.html.page import build_page
from pytest_tiers.reports.terminal import one_line_summary
from pytest_tiers.reports.totals import cost_sentences
from pytest_tiers.savings import total_savings
from tests.unit.summaries import comparison, mix_of, prompt, run, safe

PLAN, WRITE = CallSite("agent.py:5 plan", "plan"), CallSite("agent.py:9 write", "write")


def with_mix(one: PromptSummary, usd_per_1000: str) -> PromptSummary:
    """The prompt with a recommended mix that costs so much; it costs 0.595 on full."""
    found = mix_of({PLAN: "full", WRITE: "nano"})
    best = replace(found.mixes[0], cost_per_1000=Decimal(usd_per_1000))
    return replace(one, mix=replace(found, mixes=(best,), recommended=best))


#: 0.174 on mini, which is safe; 0.1 in the mix.
BOTH = with_mix(prompt("t.py::test_both", safe("mini"), recommended="mini"), "0.1")
#: Nothing is safe as a whole; 0.395 in the mix.
STEPS = with_mix(prompt("t.py::test_steps", comparison("mini")), "0.395")
STAYS = prompt("t.py::test_stays", comparison("mini"))


def ran(*prompts: PromptSummary) -> RunSummary:
    return run(*prompts, savings=total_savings(prompts))


def test_a_prompt_moves_to_its_tier_or_to_its_mix() -> None:
    found = ran(BOTH, STEPS, STAYS)
    savings = found.savings
    assert savings.flagship_usd_per_1000 == Decimal("1.785")
    assert savings.recommended_usd_per_1000 == Decimal("1.364")  # 0.174, and twice as today
    assert savings.with_mixes_usd_per_1000 == Decimal("1.09")  # 0.1 + 0.395 + 0.595
    assert savings.mixes == ("t.py::test_both", "t.py::test_steps")
    assert list(cost_sentences(found)) == [
        "1,000 runs of each prompt cost $1.78 on full, $1.36 after the safe downgrades: 24% less.",
        "With the safe mixes of test_both and test_steps: $1.09, 39% less than on full.",
    ]
    assert one_line_summary(found).startswith(
        "tiers: 1 of 3 prompts safe to downgrade (saves 24% of the flagship's cost), 2 by a mix of "
        "tiers (39% with it);"
    )
    save, sure, _ = build_page(found).statements
    assert save.answer == "39% of the cost"
    assert sure.rest.endswith("A mix of tiers is safe for 2.")


def test_only_a_mix_is_safe() -> None:
    found = ran(replace(STEPS, monthly_runs=200_000))
    assert list(cost_sentences(found))[-1] == (
        "With the safe mix of test_steps: $0.395, 34% less than on full; $40.00 a month more is "
        "saved."
    )
    assert "1 by a mix of tiers (saves 34% of the flagship's cost);" in one_line_summary(found)
    page = build_page(found)
    assert page.statements[0].answer == "34% of the cost, $40.00 a month"
    assert page.prompts[0].mix is not None
    assert page.prompts[0].mix.headline == (
        "Mix of tiers for test_steps: safe, saves 40% of full's cost"
    )
    assert page.prompts[0].mix.steps == (("agent.py:5 plan", "full"), ("agent.py:9 write", "nano"))


def test_without_a_mix_that_saves_more_nothing_is_added() -> None:
    costly = with_mix(prompt("t.py::test_both", safe("mini"), recommended="mini"), "0.2")
    savings = ran(costly, STAYS).savings
    assert savings.mixes == ()
    assert savings.with_mixes_usd_per_1000 == savings.recommended_usd_per_1000
    assert savings.with_mixes_share == savings.share
    assert not any("mix" in each for each in cost_sentences(ran(costly, STAYS)))
