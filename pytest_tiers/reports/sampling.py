"""What adaptive sampling left out, and why: one line for each prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from pytest_tiers.findings import LeftOut, PromptSummary, RunSummary
from pytest_tiers.reports.numbers import count, money
from pytest_tiers.reports.text import listed
from pytest_tiers.reports.words import short_names


def left_out_sentences(summary: RunSummary) -> Iterator[str]:
    """Why trials were left out, for each prompt; one sentence for prompts that are alike."""
    names = short_names(summary)
    prompts_of: dict[str, list[str]] = defaultdict(list)
    for prompt in summary.prompts:
        if any(each.trials > each.spared for each in prompt.left_out.values()):
            prompts_of[_left_out(prompt)].append(names[prompt.id])
    for text, prompts in prompts_of.items():
        each = " each" if len(prompts) > 1 else ""
        yield f"{listed(prompts)}: {text}{each}"


def spared_sentences(summary: RunSummary) -> Iterator[str]:
    """What a flagship that is called lazily saved."""
    flagship = summary.settings.ladder.flagship
    found = [
        (prompt, each)
        for prompt in summary.prompts
        if (each := prompt.left_out.get(flagship)) is not None and each.spared
    ]
    if not found:
        return
    spared, of = sum(each.spared for _, each in found), sum(each.of for _, each in found)
    known = [each.spared_usd for _, each in found if each.spared_usd is not None]
    text = f"{flagship} was not called for {spared:,} of {count(of, 'trial')}"
    if known:
        text += f", which saved about {money(sum(known, Decimal(0)))}"
    names = short_names(summary)
    unknown = [names[prompt.id] for prompt, each in found if each.spared_usd is None]
    if unknown:
        text += f"; what that saved is not known for {listed(unknown)}"
    yield f"{text}. Where it was not, its result is unknown and counted against the candidate."


def _left_out(prompt: PromptSummary) -> str:
    reasons = [
        f"{tier} {_reason(prompt, tier, left_out)}"
        for tier, left_out in prompt.left_out.items()
        if tier != prompt.flagship and left_out.why != "scattered"
    ]
    if any(each.why == "scattered" for each in prompt.left_out.values()):
        reasons.append("its trials are on several workers, so no new samples were taken")
    total = count(sum(each.trials - each.spared for each in prompt.left_out.values()), "trial")
    return f"{', '.join(reasons) or 'nothing to compare'}; {total} left out"


def _reason(prompt: PromptSummary, tier: str, left_out: LeftOut) -> str:
    after = f"after {count(left_out.of - left_out.trials, 'trial')}"
    if left_out.why == "limit":
        return "stopped at the limit"
    comparison = prompt.comparisons.get(tier)
    if comparison is not None and comparison.verdict != "inconclusive":
        return f"{comparison.verdict} {after}"
    if left_out.why == "out-of-reach":
        return f"cannot be decided with {count(left_out.samples, 'sample')}, seen {after}"
    if left_out.why == "behind":
        return f"too far behind to become safe, seen {after}"
    return f"as sure as more samples can make it {after}"
