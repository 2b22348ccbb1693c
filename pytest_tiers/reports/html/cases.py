"""What the page shows of a prompt's cases: the matrix, and the cases that differ."""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import zip_longest

from msgspec import Struct

from pytest_tiers.findings import PromptSummary, RunSummary
from pytest_tiers.questions import shortened
from pytest_tiers.records import Call, Outcome, Trial
from pytest_tiers.reports.differences import differing
from pytest_tiers.reports.html.answers import Shown, side_by_side
from pytest_tiers.reports.numbers import count, money, seconds
from pytest_tiers.reports.text import one_line, unescaped, visible

#: About so many bytes of requests and answers go into a page; the rest is counted. A page for
#: 50 prompts × 3 tiers × 32 cases stays under 1 MB whatever the models said.
_DETAIL_BYTES = 400_000
#: Of an answer at most so many characters are shown; fewer where many prompts share the page.
_LONGEST_ANSWER = 4_000
#: A character's share of the page: it stands in several answers, and escapes take more bytes.
_BYTES_PER_CHARACTER = 20
#: A request may be longer than an answer by this factor.
_REQUEST_TO_ANSWER = 4
#: What the markup of one pair of answers takes, about.
_MARKUP_BYTES = 900

#: Of a case's name so many characters stand in the matrix.
_LONGEST_NAME = 100

#: How a cell of the matrix looks: the worst outcome of its samples decides.
_WORST_FIRST: tuple[Outcome, ...] = ("error", "no-call", "unsupported", "missed", "passed")


class Cell(Struct, frozen=True):
    """A case on a tier: its outcome in a word, and the outcome that decides how it looks."""

    text: str
    outcome: str


class MatrixRow(Struct, frozen=True):
    """A case on each tier; ``anchor`` leads to its answers where they are shown."""

    case: str
    cells: tuple[Cell, ...]
    anchor: str | None


class Side(Struct, frozen=True):
    """One tier's answer: how it ended, why, tokens, cost and seconds of its calls."""

    tier: str
    outcome: str
    reason: str
    facts: str
    shown: Shown


class Pair(Struct, frozen=True):
    """The flagship's and a candidate's answer to the same request."""

    flagship: Side
    candidate: Side


class Case(Struct, frozen=True):
    """A case, and one of its samples, in which a candidate and the flagship ended differently.

    ``name`` is the case as the trials have it, ``title`` as a reader sees it; ``question_note``
    tells whose request is shown.
    """

    name: str
    title: str
    ended: str
    question: str
    question_note: str
    pairs: tuple[Pair, ...]

    @property
    def size(self) -> int:
        """About how many bytes this takes on the page."""
        texts = [self.question, self.title]
        for pair in self.pairs:
            for side in (pair.flagship, pair.candidate):
                texts += [side.reason, *(piece.text for piece in side.shown.pieces)]
        escaped = sum(len(html.escape(text).encode()) for text in texts)
        return escaped + _MARKUP_BYTES * len(self.pairs)


class PromptCases(Struct, frozen=True):
    """The cases of one prompt that differ: those that are shown, and how many are not."""

    shown: tuple[Case, ...] = ()
    left_out: int = 0


def differing_cases(summary: RunSummary) -> dict[str, PromptCases]:
    """The differing cases by prompt. Where not all fit, each prompt gets its first ones."""
    pairs: defaultdict[str, defaultdict[tuple[str, int], list[_Trials]]]
    pairs = defaultdict(lambda: defaultdict(list))
    for flagship, candidate in differing(summary):
        pairs[candidate.prompt][candidate.case, candidate.sample].append((flagship, candidate))
    shown: dict[str, list[Case]] = {prompt: [] for prompt in pairs}
    left = _DETAIL_BYTES
    most = min(_LONGEST_ANSWER, _DETAIL_BYTES // (_BYTES_PER_CHARACTER * max(1, len(pairs))))
    for found in _in_turns(by_case.values() for by_case in pairs.values()):
        if left <= 0:
            break
        case = _case(found, most)
        left -= case.size
        shown[found[0][1].prompt].append(case)
    return {
        prompt: PromptCases(tuple(cases), len(pairs[prompt]) - len(cases))
        for prompt, cases in shown.items()
    }


#: The flagship's and a candidate's trial of the same case and sample.
_Trials = tuple[Trial, Trial]


def _in_turns(by_prompt: Iterable[Iterable[list[_Trials]]]) -> Iterator[list[_Trials]]:
    """The first of each prompt, then the second of each, and so on."""
    for turn in zip_longest(*by_prompt):
        yield from filter(None, turn)


def _case(found: list[_Trials], most: int) -> Case:
    first = found[0][1]
    asked = next((each for pair in reversed(found) for each in pair[::-1] if each.question), None)
    sample = f", sample {first.sample}" if first.sample > 1 else ""
    ended = [f"{candidate.tier} {candidate.outcome}" for _, candidate in found]
    return Case(
        name=first.case,
        title=f"{one_line(unescaped(first.case))}{sample}",
        ended=", ".join([*ended, f"{found[0][0].tier} {found[0][0].outcome}"]),
        question=_question(asked, most),
        question_note=_question_note(asked) if asked else "not known",
        pairs=tuple(_pair(*pair, most) for pair in found),
    )


def _question(asked: Trial | None, most: int) -> str:
    if asked is None or asked.question is None:
        return ""
    return visible(shortened(asked.question, _REQUEST_TO_ANSWER * most))


def _question_note(asked: Trial) -> str:
    calls = len(asked.tier_calls)
    return f"as sent to {asked.tier}" + (f", the last of {calls:,} calls" if calls > 1 else "")


def _pair(flagship: Trial, candidate: Trial, most: int) -> Pair:
    old, new = side_by_side(flagship, candidate, most)
    return Pair(_side(flagship, old), _side(candidate, new))


def _side(trial: Trial, shown: Shown) -> Side:
    return Side(
        tier=trial.tier,
        outcome=trial.outcome,
        reason=one_line(_reason(trial), 400),
        facts=_facts(trial.tier_calls),
        shown=shown,
    )


def _reason(trial: Trial) -> str:
    """Why it ended so, with what a comparison found to differ."""
    found = filter(None, (trial.reason, trial.output_difference))
    return ": ".join(each.replace("\n", " ") for each in found)


def _facts(calls: Iterable[Call]) -> str:
    """Tokens, cost and recorded seconds of a trial's calls, as far as they are known."""
    calls = list(calls)
    known = [call.tokens for call in calls if call.tokens is not None]
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    taken = [call.seconds for call in calls if call.seconds is not None]
    parts = [count(len(calls), "call")] if len(calls) != 1 else []
    if known:
        tokens = (sum(each.input for each in known), sum(each.output for each in known))
        parts.append(f"{tokens[0]:,} tokens in, {tokens[1]:,} out")
    parts.append(money(sum(costs, Decimal(0))) if costs else "cost unknown")
    parts.append(seconds(sum(taken)) if taken else "time unknown")
    return " · ".join(parts)


def matrix(
    prompt: PromptSummary, trials: Iterable[Trial], anchors: Mapping[str, str]
) -> tuple[MatrixRow, ...]:
    """A row for each case, a cell for each tier of the prompt; ``anchors`` by case."""
    found: dict[str, defaultdict[str, Counter[str]]] = {}
    for trial in trials:
        tiers = found.setdefault(trial.case, defaultdict(Counter))
        tiers[trial.tier][trial.outcome] += 1
    return tuple(
        MatrixRow(
            one_line(unescaped(case), _LONGEST_NAME),
            tuple(_cell(tiers[tier]) for tier in prompt.tiers),
            anchors.get(case),
        )
        for case, tiers in found.items()
    )


def _cell(outcomes: Counter[str]) -> Cell:
    worst = next((outcome for outcome in _WORST_FIRST if outcomes[outcome]), None)
    if worst is None:
        return Cell("–", "none")
    if outcomes.total() == 1:
        return Cell(worst, worst)
    return Cell(f"{outcomes['passed']:,}/{outcomes.total():,} passed", worst)
