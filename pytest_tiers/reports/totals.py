"""Sentences about the run as a whole: money, call sites, and trials without an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Literal

from pytest_tiers.findings import RunSummary, Savings
from pytest_tiers.records import PARTS, Call, Outcome, Trial
from pytest_tiers.reports.ends import gone_sentences
from pytest_tiers.reports.numbers import amount, count, money, percent
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.reports.words import short_names

#: Call sites named in one line.
_MOST_SITES = 6

_OUTCOMES: tuple[Outcome, ...] = ("passed", "missed", "unsupported", "error", "no-call")


def cost_sentences(summary: RunSummary) -> Iterator[str]:
    """What the prompts cost today and after the safe downgrades, per 1,000 runs and per month."""
    savings = summary.savings
    flagship = summary.settings.ladder.flagship
    if savings.flagship_usd_per_1000 is None:
        yield f"Cost of 1,000 runs of each prompt on {flagship}: unknown, no prompt has a price."
    else:
        today = f"1,000 runs of each prompt cost {money(savings.flagship_usd_per_1000)} on "
        today += flagship
        if savings.share:
            yield (
                f"{today}, {money(savings.recommended_usd_per_1000)} after the safe downgrades: "
                f"{percent(savings.share)} less."
            )
        elif safe_mixes(summary):
            yield f"{today}; no prompt is proven safe to move as a whole yet, only in steps."
        elif summary.by_site is not None and summary.by_site.summary.savings.share:
            yield f"{today}; no prompt is proven safe to move by itself yet, only by call site."
        else:
            yield f"{today}; no downgrade is proven safe yet."
        if savings.unpriced_prompts:
            yield (
                f"{count(savings.unpriced_prompts, 'prompt')} not counted there: "
                "their cost is not fully known."
            )
    if savings.flagship_usd_per_month is not None:
        yield _per_month(summary, savings.flagship_usd_per_month)
    if savings.mixes:
        yield _with_mixes(summary)


def _with_mixes(summary: RunSummary) -> str:
    """What the safe mixes of tiers bring where they save more than moving the whole prompt."""
    savings = summary.savings
    names = short_names(summary)
    of = listed(names[prompt] for prompt in savings.mixes)
    text = (
        f"With the safe {'mix' if len(savings.mixes) == 1 else 'mixes'} of {of}: "
        f"{money(savings.with_mixes_usd_per_1000)}, {percent(savings.with_mixes_share)} less than "
        f"on {summary.settings.ladder.flagship}"
    )
    whole, then = savings.recommended_usd_per_month, savings.with_mixes_usd_per_month
    if whole is not None and then is not None and then < whole:
        text += f"; {money(whole - then)} a month more is saved"
    return f"{text}."


def safe_mixes(summary: RunSummary) -> int:
    """How many prompts have a mix of tiers that is safe."""
    return sum(
        prompt.mix is not None and prompt.mix.recommended is not None for prompt in summary.prompts
    )


def _whole_per_month(savings: Savings) -> Decimal | None:
    """What the safe downgrades of whole prompts save in USD a month, where that is known."""
    today, then = savings.flagship_usd_per_month, savings.recommended_usd_per_month
    return None if today is None or then is None else today - then


def proven(savings: Savings) -> tuple[float | None, Decimal | None]:
    """All that is proven, mixes of tiers included: the share saved, and what that is a month."""
    if not savings.mixes:
        return savings.share, _whole_per_month(savings)
    today, then = savings.flagship_usd_per_month, savings.with_mixes_usd_per_month
    return savings.with_mixes_share, None if today is None or then is None else today - then


def _per_month(summary: RunSummary, today: Decimal) -> str:
    savings = summary.savings
    text = f"At your monthly_runs: {money(today)} a month today"
    if (saved := _whole_per_month(savings)) is not None:
        text += f"; proven saving {money(saved)} a month"
    if savings.possible_usd_per_month is not None:
        text += f", possible {money(savings.possible_usd_per_month)}"
    return f"{text}."


def spent_sentence(summary: RunSummary) -> str:
    """What this run spent, and what replaying saved: "spent $0, replayed $0.0123"."""
    return f"spent {spent(summary)}, replayed {replayed(summary)}"


def spent(summary: RunSummary) -> str:
    """The price of the calls that went out in this run."""
    return amount(summary.spent_usd, summary.unpriced_spent_calls)


def replayed(summary: RunSummary) -> str:
    """What the replayed calls would have cost."""
    unpriced = sum(call.replayed for call in _unpriced(summary.trials))
    return amount(summary.replayed_usd, unpriced)


def money_sentences(summary: RunSummary) -> Iterator[str]:
    """What was spent, what the application's other calls cost, and which calls have no price."""
    yield f"This run spent {spent(summary)}; replay saved {replayed(summary)}."
    calls = sum(prompt.as_is_calls for prompt in summary.prompts)
    if calls:
        yield f"Judges and other calls left alone: {count(calls, 'call')}, {_as_is_cost(summary)}."
    yield from unpriced_sentences(summary)


def _as_is_cost(summary: RunSummary) -> str:
    costs = (prompt.as_is_cost_usd for prompt in summary.prompts)
    known = sum((cost for cost in costs if cost is not None), Decimal(0))
    unpriced = sum(call.left_alone is not None for call in _unpriced(summary.trials))
    return amount(known, unpriced)


def unpriced_sentences(summary: RunSummary) -> Iterator[str]:
    """The calls that have no price, by the reason, with the remedy."""
    without_usage = 0
    models: Counter[tuple[str, bool]] = Counter()
    for call in _unpriced(summary.trials):
        if call.tokens is None:
            without_usage += 1
        else:
            name = call.answered_by or call.model or call.model_asked or "(no name)"
            models[name, call.left_alone is None] += 1
    for (model, is_tiers), calls in sorted(models.items()):
        remedy = '; add price = {...} or price_as = "..." to its tier' if is_tiers else ""
        yield (
            f"{count(calls, 'call')} unpriced: no price known for model '{one_line(model)}'"
            f"{remedy}."
        )
    if without_usage:
        yield f"{count(without_usage, 'call')} unpriced: the answer carries no token usage."


def _unpriced(trials: Iterable[Trial]) -> Iterator[Call]:
    """Calls that were answered and have no price, as `pytest_tiers.summary` counts them."""
    for trial in trials:
        for call in trial.calls:
            if call.is_unpriced:
                yield call


def sites_sentence(summary: RunSummary) -> str | None:
    """Which call sites went to the tiers and which did not; None where there was no call."""
    parts = [
        f"{word}: {listed(map(one_line, sites), _MOST_SITES)}"
        for word, sites in (("rewritten", summary.rewritten), ("left alone", summary.left_alone))
        if sites
    ]
    return " · ".join(parts) if parts else None


def outcomes(trials: Iterable[Trial]) -> str:
    """How many trials had each outcome: "11 passed, 1 error"."""
    found = Counter(trial.outcome for trial in trials)
    return ", ".join(f"{found[outcome]:,} {outcome}" for outcome in _OUTCOMES if found[outcome])


def everyday_sentence(summary: RunSummary) -> str:
    """An everyday run in one sentence: no verdicts, only what ran and what it cost."""
    trials = summary.trials
    if not trials:
        return "no tiered test ran"
    used = {trial.tier for trial in trials}
    known = [entry.name for entry in summary.ladder if entry.name in used]
    tiers = listed([*known, *sorted(used.difference(known))])
    return (
        f"{count(len(trials), 'trial')} on {tiers}: {outcomes(trials)}; "
        f"replayed {replayed(summary)}, spent {spent(summary)}"
    )


def trouble_sentences(summary: RunSummary) -> Iterator[str]:
    """Trials without an answer and recordings out of date, each with the remedy."""
    yield from gone_sentences(summary)
    yield from _failed(summary, "error")
    yield from _failed(summary, "no-call")
    yield from _over_budget(summary)
    for other in summary.other_models:
        yield f"Another model answered: {one_line(other)}. Its verdicts speak of that model."
    for versions in summary.drift:
        yield (
            f"Several versions of a model answered (calls): {one_line(versions)}. Verdicts count "
            "them as one; --tiers-record=all asks today's version again."
        )
    if summary.stale_trials:
        changed = {part for trial in summary.trials for part in trial.changed}
        what = listed((part for part in PARTS if part in changed), len(PARTS))
        yield (
            f"{count(summary.stale_trials, 'trial')} stale: {what or 'requests'} changed since the "
            "recording; record again with --tiers-record=new_episodes."
        )
    if summary.unused_recordings:
        yield (
            f"{count(summary.unused_recordings, 'recording')} unused: no test or case reads "
            f"{'it' if summary.unused_recordings == 1 else 'them'} any more."
        )


_WHAT_FAILED = {"error": "ended in an error", "no-call": "made no call of their own"}
_REMEDIES = {
    "error": "An error says nothing about the model: mend the cause and run again with "
    "--tiers-record=once; only what is missing is recorded.",
    "no-call": "No call means that the answer came from a cache, a mock or a shared fixture: "
    "let each test make its own call.",
}


def _failed(summary: RunSummary, outcome: Literal["error", "no-call"]) -> Iterator[str]:
    """The trials that ended so, for each tier, with the first reason; the remedy once."""
    by_tier: dict[str, list[Trial]] = {}
    for trial in summary.trials:
        is_told = trial.budget or trial.stale or trial.model_gone
        if trial.outcome == outcome and not is_told:
            by_tier.setdefault(trial.tier, []).append(trial)
    alike: dict[tuple[int, str | None], list[str]] = {}
    for entry in summary.ladder:
        trials = by_tier.get(entry.name, [])
        why = next((one_line(trial.reason) for trial in trials if trial.reason), None)
        if trials:
            alike.setdefault((len(trials), why), []).append(entry.name)
    for (trials_each, why), tiers in alike.items():
        each = " each" if len(tiers) > 1 else ""
        reason = f", first: {why}" if why else ""
        yield (
            f"{count(trials_each, 'trial')}{each} on {listed(tiers)} "
            f"{_WHAT_FAILED[outcome]}{reason}"
        )
    if by_tier:
        yield _REMEDIES[outcome]


def _over_budget(summary: RunSummary) -> Iterator[str]:
    """What the limit kept out, what that would cost, and how to go on."""
    left = sum(trial.budget for trial in summary.trials)
    if not left:
        return
    rest = "an unknown amount" if summary.rest_usd is None else f"about {money(summary.rest_usd)}"
    done = len(summary.trials) - left
    yield (
        f"{_limit(summary)}: {count(left, 'trial')} not run, {done:,} complete and kept. The rest "
        f"would cost {rest}: run the same command again (the limit is for each run), or raise it."
    )


def _limit(summary: RunSummary) -> str:
    settings = summary.settings
    text = f"The limit of {money(settings.max_cost)} (--tiers-max-cost)"
    if settings.max_calls is not None:
        text += f" or {count(settings.max_calls, 'call')} (--tiers-max-calls)"
    return f"{text} was reached"
