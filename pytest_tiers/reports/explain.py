"""Everything that is known about one prompt, as ``--tiers-explain`` prints it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from pytest_tiers.findings import PromptSummary, RunSummary, TierStats
from pytest_tiers.gate_rates import floor_of
from pytest_tiers.records import Trial
from pytest_tiers.reports.advice import kept_lock
from pytest_tiers.reports.cascades import cascade_in_words
from pytest_tiers.reports.differences import difference_lines, differing
from pytest_tiers.reports.flakiness import own_disagreement
from pytest_tiers.reports.numbers import (
    count,
    exact_percent,
    exact_points,
    money,
    passed_of,
    percent,
    points_about,
    points_at_most,
    score,
    seconds,
)
from pytest_tiers.reports.text import display_width, listed, one_line, wrap
from pytest_tiers.reports.words import explanations
from pytest_tiers.statistics import log_needed

#: Names that are offered where none fits.
_MOST_NAMES = 5

_LETTERS = {"passed": ".", "missed": "m", "unsupported": "u", "error": "E", "no-call": "n"}


def explain_lines(summary: RunSummary, asked: str, *, width: int) -> Iterator[str]:
    """All about the prompt that is ``asked`` for: by its id, or a part that only one id has."""
    found = _asked_for(summary, asked)
    if len(found) != 1:
        yield from wrap(_not_found(summary, asked, found), width)
        return
    (prompt,) = found
    trials = [trial for trial in summary.trials if trial.prompt == prompt.id]
    yield from wrap(one_line(prompt.id), width)
    yield from _wrapped(_facts(summary, prompt, trials), width)
    yield ""
    yield from _tiers(prompt, width)
    why = explanations(summary)
    for tier in prompt.comparisons:
        yield ""
        yield from _comparison(summary, prompt, tier, why[prompt.id, tier], width)
    yield ""
    yield from _cases(prompt, trials, width)
    yield from _reasons(trials, width)
    yield from _differences(summary, prompt, width)


def _asked_for(summary: RunSummary, asked: str) -> list[PromptSummary]:
    """The prompt of that id, else those that end so, else those that hold it."""
    fits = (
        lambda prompt: prompt.id == asked,
        lambda prompt: prompt.id.endswith(f"::{asked}"),
        lambda prompt: asked in prompt.id,
    )
    for fit in fits:
        if found := list(filter(fit, summary.prompts)):
            return found
    return []


def _not_found(summary: RunSummary, asked: str, found: Sequence[PromptSummary]) -> str:
    shown = one_line(asked)
    if found:
        names = listed([one_line(prompt.id) for prompt in found], _MOST_NAMES)
        return f'--tiers-explain: "{shown}" could be {names}. Give more of the id.'
    ids = [prompt.id for prompt in summary.prompts]
    near = get_close_matches(asked, ids, _MOST_NAMES, cutoff=0.4) or ids
    names = listed(map(one_line, near), _MOST_NAMES) or "no prompt"
    return f'--tiers-explain: this run has no prompt "{shown}". It has {names}.'


def _wrapped(sentences: Iterable[str], width: int) -> Iterator[str]:
    for sentence in sentences:
        yield from wrap(sentence, width, first="  ", rest="    ")


def _facts(summary: RunSummary, prompt: PromptSummary, trials: Sequence[Trial]) -> Iterator[str]:
    samples = Counter((trial.case, trial.tier) for trial in trials)
    yield (
        f"{count(prompt.cases, 'case')}, {count(max(samples.values(), default=0), 'sample')} at "
        f"most; margin {exact_points(prompt.margin)}, "
        f"{exact_percent(summary.settings.confidence)} confidence"
    )
    floor = floor_of(prompt, summary.locked.get(prompt.id))
    if prompt.min_pass_rate is not None:
        said = ' ("auto")' if prompt.min_pass_rate == "auto" else ""
        yield f"min_pass_rate {percent(floor)}{said}"
    if prompt.monthly_runs is not None:
        yield f"{prompt.monthly_runs:,} runs a month"
    compared = sorted({trial.compared_by or "type" for trial in trials if trial.has_output})
    if compared:
        yield f"outputs compared by {listed(compared)}"
    entry = summary.locked.get(prompt.id)
    if entry is not None:
        yield f"locked to {entry.tier} since {entry.date} ({entry.verdict})"
    if prompt.notice:
        yield f"no verdict: {one_line(prompt.notice)}"
    if prompt.recommended is not None:
        yield (
            f"recommended: {prompt.recommended}, saves "
            f"{percent(prompt.savings.get(prompt.recommended))}"
        )
    elif prompt.comparisons:
        kept = kept_lock(summary, prompt)
        stay = f"{kept.tier}, as locked" if kept else prompt.flagship or "the flagship"
        yield f"recommended: stay on {stay}"
    for site in prompt.sites:
        yield (
            f"{one_line(site.site)}: {count(site.calls, 'call')}, {percent(site.cost_share)} of "
            f"cost, {site.tokens.input:,} tokens in, {site.tokens.output:,} out, median "
            f"{seconds(site.seconds_p50)}"
        )
    if prompt.as_is_calls:
        yield (
            f"judges and other calls left alone: {count(prompt.as_is_calls, 'call')}, "
            f"{money(prompt.as_is_cost_usd)}"
        )


def _tiers(prompt: PromptSummary, width: int) -> Iterator[str]:
    for name, stats in prompt.tiers.items():
        yield from wrap(f"{name}: {'; '.join(_stats(stats))}", width, first="  ", rest="    ")


def _stats(stats: TierStats) -> Iterator[str]:
    answered = stats.passed + stats.missed + stats.unsupported
    text = f"{passed_of(stats.passed, answered)} passed"
    if (rate := stats.pass_rate) is not None:
        text += f", {percent(rate.estimate)} ({percent(rate.low)} to {percent(rate.high)})"
    yield text
    if stats.mean_score is not None:
        yield f"mean score {score(stats.mean_score)}"
    others = (
        (stats.unsupported, "unsupported"),
        (stats.errors, "without an answer"),
        (stats.no_calls, "without a call"),
        (stats.inconsistent, "unlike its own sample before"),
    )
    if known := [f"{number:,} {what}" for number, what in others if number]:
        yield ", ".join(known)
    yield f"{money(stats.cost_per_1000)} per 1,000 runs"
    yield (
        f"{count(stats.calls, 'call')}, {stats.tokens.input:,} tokens in, "
        f"{stats.tokens.output:,} out"
    )
    if stats.unpriced_calls:
        yield f"{stats.unpriced_calls:,} unpriced"
    yield f"median {seconds(stats.seconds_p50)}, 95th percentile {seconds(stats.seconds_p95)}"


def _comparison(
    summary: RunSummary, prompt: PromptSummary, tier: str, why: str, width: int
) -> Iterator[str]:
    found = prompt.comparisons[tier]
    yield from wrap(f"{tier} against {found.flagship}: {found.verdict}", width)
    yield from _wrapped([why], width)
    facts = [
        f"{count(found.cases, 'case')} in {count(found.pairs, 'pair')} with both answers, "
        f"{found.agreeing:,} of {found.cases:,} cases agree"
    ]
    if found.difference is not None:
        direction = "worse" if found.difference < 0 else "better"
        known = f"{points_about(found.difference)} {direction}" if found.difference else "no drop"
        facts.append(f"seen on average: {known}")
    if found.largest_drop is not None and found.largest_drop_these_cases is not None:
        facts.append(
            f"not excluded: up to {points_at_most(found.largest_drop)} worse on inputs like "
            f"these, up to {points_at_most(found.largest_drop_these_cases)} on these very cases"
        )
    if found.log_evidence is not None:
        needed = math.exp(log_needed(summary.settings.alpha))
        facts.append(
            f"evidence that it is at most {exact_points(found.margin)} worse: e-value "
            f"{_e_value(found.log_evidence)}, {needed:.0f} needed for a prompt on its own"
        )
    if found.missing_trials:
        facts.append(f"{count(found.missing_trials, 'pair')} missing, counted against it")
    if found.output_mismatches:
        facts.append(f"{count(found.output_mismatches, 'output')} unlike the flagship's")
    own, its = own_disagreement(prompt), prompt.disagreements.get(tier)
    if own is not None and its is not None:
        facts.append(
            f"ends differently from {found.flagship} in {percent(its.estimate)}, which ends "
            f"differently from itself in {percent(own.estimate)}"
        )
    if (one := prompt.cascades.get(tier)) is not None:
        check = "the test" if one.check == "test" else "the application"
        facts.append(f"as a cascade that {check} checks: {cascade_in_words(one, found.flagship)}")
    saving = prompt.savings.get(tier)
    facts.append(f"saves {percent(saving)}" if saving is not None else "saving unknown")
    yield from _wrapped(facts, width)


def _e_value(log: float) -> str:
    value = math.exp(min(log, 700.0))
    return f"{value:,.1f}" if value < 1e6 else f"10^{log / math.log(10):.0f}"


def _cases(prompt: PromptSummary, trials: Sequence[Trial], width: int) -> Iterator[str]:
    """A line for each case: a letter for each sample on each tier."""
    meaning = ", ".join(f"{letter} {outcome}" for outcome, letter in _LETTERS.items())
    yield from wrap(f"Cases ({meaning})", width)
    found: dict[str, dict[str, str]] = {}
    for trial in trials:
        tiers = found.setdefault(trial.case, {})
        tiers[trial.tier] = tiers.get(trial.tier, "") + _LETTERS[trial.outcome]
    for case, tiers in found.items():
        marks = "  ".join(f"{tier} {tiers[tier]}" for tier in prompt.tiers if tier in tiers)
        name = one_line(case, width) or "(one case)"
        if display_width(name) + display_width(marks) + 4 <= width:
            yield f"  {marks}  {name}"
        else:
            yield from wrap(marks, width, first="  ", rest="    ")
            yield from wrap(name, width, first="      ", rest="      ")


def _reasons(trials: Sequence[Trial], width: int) -> Iterator[str]:
    """Each reason once, with how many trials have it."""
    found = Counter(
        (trial.tier, trial.outcome, one_line(trial.reason)) for trial in trials if trial.reason
    )
    if found:
        yield ""
        yield "Reasons"
    for (tier, outcome, reason), number in found.items():
        yield from wrap(f"{number:,} {outcome} on {tier}: {reason}", width, first="  ", rest="    ")


def _differences(summary: RunSummary, prompt: PromptSummary, width: int) -> Iterator[str]:
    pairs = [pair for pair in differing(summary) if pair[1].prompt == prompt.id]
    if not pairs:
        return
    yield ""
    yield f"Cases that differ (- {one_line(pairs[0][0].tier)}'s answer, + the candidate's)"
    for flagship, candidate in pairs:
        yield from difference_lines(flagship, candidate, width=width)
