"""Verdicts in words for a developer: what was seen, how sure that is, what would settle it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from pytest_tiers.findings import PromptSummary, RunSummary
from pytest_tiers.reports.control import blindness
from pytest_tiers.reports.numbers import (
    count,
    exact_percent,
    exact_points,
    points_about,
    points_at_most,
    span,
)
from pytest_tiers.reports.table import by_id, unit
from pytest_tiers.reports.text import listed, one_line, shorten_ids
from pytest_tiers.verdicts import Comparison

#: What a prompt with one case gets instead of a verdict.
ONE_CASE = "no verdict can come from one case"

#: Of a prompt's name so many columns stand in a sentence.
_LONGEST_NAME = 48

#: Prompts that say the same in different numbers are told one by one up to here.
_MOST_ALIKE = 3


class _Reason(Struct, frozen=True):
    """Why one candidate of one prompt got its verdict.

    ``kind`` groups reasons that differ in numbers alone; ``rank`` is the candidate's place on
    the ladder, ``prompt`` the prompt's short name. ``noun`` says what it is: a prompt or a call
    site.
    """

    kind: str
    rank: int
    prompt: str
    noun: str
    text: str
    comparison: Comparison

    @property
    def tier(self) -> str:
        """The candidate."""
        return self.comparison.tier


class _Context(Struct, frozen=True):
    """What the words need besides the comparison itself."""

    summary: RunSummary
    first_reasons: Mapping[tuple[str, str, str], str]


def reasons(summary: RunSummary) -> list[str]:
    """One sentence for each group of prompts and candidates that share a reason.

    What takes a verdict away is told first, then the most certain: safe, worse, a flagship that
    fails, then what is open.
    """
    context = _Context(summary, _first_reasons(summary))
    names = short_names(summary)
    ranks = {entry.name: rank for rank, entry in enumerate(summary.ladder)}
    by_kind: dict[str, list[_Reason]] = {kind: [] for kind in _KINDS}
    gone = {each.tier for each in summary.gone}
    noun = unit(summary.settings.by)
    for prompt in by_id(summary):
        for tier, comparison in prompt.comparisons.items():
            if comparison.verdict == "no-data" and gone & {tier, comparison.flagship}:
                continue  # told once, for all prompts
            kind, text = _kind_and_text(context, prompt, comparison)
            reason = _Reason(kind, ranks[tier], names[prompt.id], noun, text, comparison)
            by_kind[kind].append(reason)
    sentences = [text for kind, found in by_kind.items() for text in _KINDS[kind](found)]
    return sentences + list(_notices(summary, names))


def explanations(summary: RunSummary) -> dict[tuple[str, str], str]:
    """Why each comparison got its verdict, by prompt and candidate."""
    context = _Context(summary, _first_reasons(summary))
    return {
        (prompt.id, tier): _kind_and_text(context, prompt, comparison)[1] or ONE_CASE
        for prompt in summary.prompts
        for tier, comparison in prompt.comparisons.items()
    }


def explanation(summary: RunSummary, prompt: PromptSummary, comparison: Comparison) -> str:
    """Why one comparison of a prompt got its verdict."""
    context = _Context(summary, _first_reasons(summary))
    return _kind_and_text(context, prompt, comparison)[1] or ONE_CASE


def agreement(summary: RunSummary) -> str | None:
    """How often each candidate agrees with the flagship over all prompts; None without cases."""
    is_spared = any(
        each.spared_pairs for prompt in summary.prompts for each in prompt.comparisons.values()
    )
    counts: dict[str, list[int]] = {entry.name: [0, 0] for entry in summary.ladder}
    for prompt in summary.prompts:
        for tier, comparison in prompt.comparisons.items():
            counts[tier][0] += comparison.agreeing
            counts[tier][1] += comparison.cases
    parts = [f"{tier} on {same:,} of {of:,}" for tier, (same, of) in counts.items() if of]
    if not parts:
        return None
    flagship = summary.settings.ladder.flagship
    same = "no worse" if is_spared else "the same"
    than = "than" if is_spared else "as"
    return f"Cases with {same} result {than} on {flagship}: {listed(parts, len(parts))}."


def short_names(summary: RunSummary) -> dict[str, str]:
    """Each prompt's id with its name in prose: `own_names`, long ones without their middle."""
    names = own_names(summary)
    return dict(zip(names, shorten_ids(list(names.values()), _LONGEST_NAME), strict=True))


def own_names(summary: RunSummary) -> dict[str, str]:
    """Each prompt's id with its own name: the function alone where that is unique."""
    names = {prompt.id: prompt.id.rpartition("::")[2] for prompt in summary.prompts}
    owners = Counter(names.values())
    return {
        prompt: one_line(name if owners[name] == 1 else prompt) for prompt, name in names.items()
    }


def how_many_more(more_cases: tuple[int | None, int | None]) -> str:
    """What it takes until a comparison is decided, e.g. "9 to 14 more cases would decide"."""
    least, expected = more_cases
    if least is None:
        return "not reachable at this margin"
    if expected is None:
        return (
            f"{_more(least)} would make it safe if all agree; "
            "as things go, not reachable at this margin"
        )
    low, high = sorted((least, expected))
    return f"{span(low, high)} more {'case' if high == 1 else 'cases'} would decide"


def _more(cases: int) -> str:
    return f"{cases:,} more {'case' if cases == 1 else 'cases'}"


def _if_all_agree(cases: int) -> str:
    return f"{_more(cases)}, if all agree, would make it safe"


def _first_reasons(summary: RunSummary) -> dict[tuple[str, str, str], str]:
    found: dict[tuple[str, str, str], str] = {}
    for trial in summary.trials:
        if trial.reason and trial.outcome not in ("passed", "missed"):
            key = (trial.prompt, trial.tier, trial.outcome)
            found.setdefault(key, one_line(trial.reason))
    return found


def _kind_and_text(
    context: _Context, prompt: PromptSummary, comparison: Comparison
) -> tuple[str, str]:
    match comparison.verdict:
        case "safe":
            return "safe", _safe(context.summary, comparison)
        case "worse":
            return "worse", _worse(comparison)
        case "matches":
            return "matches", _matches(comparison)
        case "flagship-fails":
            return "flagship-fails", _flagship_fails(prompt, comparison)
        case "blind":
            return "blind", blindness(prompt)
        case "unsupported":
            why = context.first_reasons.get((prompt.id, comparison.tier, "unsupported"))
            return "unsupported", "cannot run this prompt as it is" + (f": {why}" if why else "")
        case "no-data":
            return "no-data", _no_data(context, prompt, comparison)
    return _inconclusive(prompt, comparison)


def _safe(summary: RunSummary, comparison: Comparison) -> str:
    at_most = exact_points(comparison.margin)
    what = f"passes your tests at most {at_most} less often than"
    if comparison.scored:
        what = f"scores at most {at_most} lower in your tests than"
    text = (
        f"{what} {comparison.flagship}, on inputs like these "
        f"({exact_percent(summary.settings.confidence)} confidence)"
    )
    if summary.selection:
        text += ", for this selection"
    if comparison.measurably_worse and comparison.difference is not None:
        text += f"; measurably worse, by {points_about(comparison.difference)}"
    if comparison.recorded_again:
        wrong = exact_percent(round(1 - summary.settings.confidence, 12))
        text += f"; earlier answers were thrown away, and each further try adds up to {wrong}"
    return text


def _worse(comparison: Comparison) -> str:
    if comparison.scored and comparison.difference is not None:
        return f"scores {points_about(comparison.difference)} lower on average, measurably"
    unit = "cases" if comparison.pairs == comparison.cases else "trials"
    text = (
        f"fails {comparison.pairs - comparison.candidate_passed:,} of {comparison.pairs:,} {unit}"
    )
    failed_too = comparison.pairs - comparison.spared_pairs - comparison.flagship_passed
    if failed_too:
        text += f" ({comparison.flagship} fails {failed_too:,})"
    if comparison.difference is None:
        return text
    return f"{text}; measurably worse by {points_about(comparison.difference)}"


def _matches(comparison: Comparison) -> str:
    text = f"repeats well on your {count(comparison.cases, 'case')}"
    if comparison.largest_drop is not None:
        text += (
            f"; on other inputs it could be up to {points_at_most(comparison.largest_drop)} worse"
        )
    least = comparison.more_cases[0]
    return f"{text}; {_if_all_agree(least)}" if least else text


def _flagship_fails(prompt: PromptSummary, comparison: Comparison) -> str:
    passed, of = comparison.flagship_passed, comparison.pairs
    stats = prompt.tiers.get(comparison.flagship)
    if stats:  # the verdict rests on all its answers, also those without a candidate's beside
        passed, of = stats.passed, stats.passed + stats.missed + stats.unsupported
    if stats and stats.inconsistent:
        return (
            f"the flagship itself passes and repeats its output in only "
            f"{passed - stats.inconsistent:,} of {of:,}: outputs that do not repeat tell no tiers "
            "apart; compare what must agree, or compare by meaning"
        )
    return (
        f"the flagship itself passes only {passed:,} of {of:,}: two broken tiers look equal; "
        "mend the test or the prompt first"
    )


def _no_data(context: _Context, prompt: PromptSummary, comparison: Comparison) -> str:
    for tier in (comparison.flagship, comparison.tier):
        stats = prompt.tiers.get(tier)
        failed = stats.errors + stats.no_calls if stats else 0
        if stats and failed == stats.trials and failed:
            outcome = "error" if stats.errors else "no-call"
            why = context.first_reasons.get((prompt.id, tier, outcome))
            which = "the only trial" if failed == 1 else f"all {failed:,} trials"
            text = f"nothing to compare: {which} on {tier} gave no answer"
            return f"{text}, first: {why}" if why else text
    return f"nothing to compare: no case has an answer from both it and {comparison.flagship}"


def _inconclusive(prompt: PromptSummary, comparison: Comparison) -> tuple[str, str]:
    if comparison.made_anew:
        return "made-anew", _made_anew(comparison.made_anew)
    if comparison.held_back:
        text = (
            "safe on its own, not yet among the "
            f"{count(comparison.among, 'comparison')} of this run"
        )
        least = comparison.more_cases[0]
        return "held-back", f"{text}; {_if_all_agree(least)}" if least else text
    if comparison.missing_trials:
        return "missing", (
            f"{_missing(comparison.missing_trials)}, each counted against it until it has an "
            f"answer; agrees on {comparison.agreeing:,} of {comparison.cases:,} answered cases"
        )
    if prompt.cases == 1:
        return "one-case", ""
    if comparison.agreeing == comparison.cases:
        return "agrees", _agrees(comparison)
    return "undecided", _undecided(comparison)


def _made_anew(tiers: Sequence[str]) -> str:
    return (
        f"no verdict, because only some answers of {listed(tiers)} were recorded again, when "
        "their outcome was known; record all of this prompt's again together, with "
        f"--tiers={','.join(tiers)} --tiers-record=all"
    )


def _missing(trials: int) -> str:
    return f"{count(trials, 'trial')} missing"


def _agrees(comparison: Comparison) -> str:
    so_far = "no drop" if comparison.spared_pairs else "agrees"
    text = f"{so_far} so far ({comparison.agreeing:,} of {comparison.cases:,})"
    least = comparison.more_cases[0]
    text += f"; {_if_all_agree(least)}" if least else "; not reachable at this margin"
    if comparison.largest_drop is not None:
        drop = points_at_most(comparison.largest_drop)
        text += f"; drops of up to {drop} are not excluded yet"
    return text


def _undecided(comparison: Comparison) -> str:
    differing = (
        f"{comparison.cases - comparison.agreeing:,} of {count(comparison.cases, 'case')} differ"
    )
    drop = comparison.difference or 0.0
    seen = f"{points_about(drop)} worse so far" if drop < 0 else "no drop so far"
    return f"undecided ({seen}, {differing}): {how_many_more(comparison.more_cases)}"


# How the reasons of one kind become sentences.

_Sentences = Callable[[Sequence[_Reason]], Iterator[str]]


def _by_tier(found: Sequence[_Reason]) -> dict[str, list[_Reason]]:
    by_tier: dict[str, list[_Reason]] = {}
    for reason in sorted(found, key=lambda reason: reason.rank):
        by_tier.setdefault(reason.tier, []).append(reason)
    return by_tier


def _one_by_one(found: Sequence[_Reason]) -> Iterator[str]:
    """One sentence for each text, with every prompt and tier that it holds for."""
    by_text: dict[str, dict[str, list[str]]] = {}
    for reason in found:
        by_text.setdefault(reason.text, {}).setdefault(reason.prompt, []).append(reason.tier)
    for text, tiers_of in by_text.items():
        prompts_of: dict[tuple[str, ...], list[str]] = {}
        for prompt, tiers in tiers_of.items():
            prompts_of.setdefault(tuple(tiers), []).append(prompt)
        for tiers_alike, prompts in prompts_of.items():
            yield f"{listed(tiers_alike)} for {listed(prompts)}: {text}"


def _by_prompt(found: Sequence[_Reason]) -> Iterator[str]:
    """As `_one_by_one`, where the reason lies with the prompt and not with a candidate."""
    by_text: dict[str, dict[str, None]] = {}
    for reason in found:
        by_text.setdefault(reason.text, {})[reason.prompt] = None
    for text, prompts in by_text.items():
        yield f"{listed(prompts)}: {text}"


def _together(merge: Callable[[Sequence[Comparison]], str]) -> _Sentences:
    """One by one while they are few; else one sentence for each tier, numbers as ranges."""

    def sentences(found: Sequence[_Reason]) -> Iterator[str]:
        few: set[str] = set()
        many: list[str] = []
        for tier, alike in _by_tier(found).items():
            if len({reason.text for reason in alike}) <= _MOST_ALIKE:
                few.add(tier)
                continue
            prompts = listed([reason.prompt for reason in alike])
            text = merge([reason.comparison for reason in alike])
            many.append(f"{tier} for {count(len(alike), alike[0].noun)} ({prompts}): {text}")
        yield from _one_by_one([reason for reason in found if reason.tier in few])
        yield from many

    return sentences


def _merged_agreement(found: Sequence[Comparison]) -> str:
    cases = span(min(one.cases for one in found), max(one.cases for one in found))
    text = f"agrees so far in every case ({cases} cases each)"
    more = [one.more_cases[0] for one in found if one.more_cases[0] is not None]
    if more:
        text += f"; {span(min(more), max(more))} more cases each, if all agree, would make it safe"
    drops = [one.largest_drop for one in found if one.largest_drop is not None]
    if drops:
        text += f"; drops of up to {points_at_most(max(drops))} are not excluded yet"
    return text


def _merged_undecided(found: Sequence[Comparison]) -> str:
    cases = sum(one.cases for one in found)
    differing = cases - sum(one.agreeing for one in found)
    text = f"undecided, {differing:,} of {count(cases, 'case')} differ"
    expected = [one.more_cases[1] for one in found if one.more_cases[1] is not None]
    if expected:
        text += (
            f"; {_reachable(len(expected), len(found))} with {span(min(expected), max(expected))}"
        )
        return text + " more cases each, as things go"
    return text + "; as things go, none is reachable at this margin"


def _reachable(reachable: int, of: int) -> str:
    return "to be decided" if reachable == of else f"{reachable:,} of {of:,} to be decided"


def _merged_missing(found: Sequence[Comparison]) -> str:
    missing = sum(one.missing_trials for one in found)
    return f"{_missing(missing)}, each counted against it until it has an answer"


def _merged_matches(found: Sequence[Comparison]) -> str:
    drops = [one.largest_drop for one in found if one.largest_drop is not None]
    text = "repeats well on your cases"
    if drops:
        text += f"; on other inputs it could be up to {points_at_most(max(drops))} worse"
    return text


def _merged_worse(found: Sequence[Comparison]) -> str:
    drops = [-one.difference * 100 for one in found if one.difference is not None]
    text = "measurably worse"
    return (
        f"{text}, by about {span(round(min(drops)), round(max(drops)))} points" if drops else text
    )


def _merged_held_back(found: Sequence[Comparison]) -> str:
    among = count(max(one.among for one in found), "comparison")
    text = f"safe on its own, not yet among the {among} of this run"
    more = [one.more_cases[0] for one in found if one.more_cases[0] is not None]
    if not more:
        return text
    return f"{text}; {span(min(more), max(more))} more cases each, if all agree, would make it safe"


def _one_case(found: Sequence[_Reason]) -> Iterator[str]:
    """All prompts with a single case in one sentence."""
    if not found:
        return
    prompts = dict.fromkeys(reason.prompt for reason in found)
    more = [one.comparison.more_cases[0] for one in found]
    least = min((cases for cases in more if cases is not None), default=None)
    needs = f"a proof takes {_more(least)} at the least, so begin" if least else "add cases"
    yield (
        f"{count(len(prompts), found[0].noun)} {'has' if len(prompts) == 1 else 'have'} one case "
        f"({listed(prompts)}): {ONE_CASE}; {needs} where the saving is worth it"
    )


#: The kinds of reasons in the order in which they are told, and how.
_KINDS: Mapping[str, _Sentences] = {
    "blind": _by_prompt,
    "safe": _one_by_one,
    "worse": _together(_merged_worse),
    "flagship-fails": _by_prompt,
    "unsupported": _one_by_one,
    "made-anew": _one_by_one,
    "missing": _together(_merged_missing),
    "held-back": _together(_merged_held_back),
    "matches": _together(_merged_matches),
    "agrees": _together(_merged_agreement),
    "undecided": _together(_merged_undecided),
    "no-data": _one_by_one,
    "one-case": _one_case,
}


def _notices(summary: RunSummary, names: Mapping[str, str]) -> Iterator[str]:
    """Prompts that were not compared at all, by what the summary says about them."""
    by_notice: dict[str, list[str]] = {}
    for prompt in by_id(summary):
        if prompt.notice or not prompt.comparisons:
            why = prompt.notice or "no candidate to compare with"
            by_notice.setdefault(one_line(why), []).append(names[prompt.id])
    for notice, prompts in by_notice.items():
        yield f"no verdict for {listed(prompts)}: {notice}"
