"""What to do next: at most three concrete steps, the surest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from msgspec import Struct

from pytest_tiers.findings import PromptSummary, RunSummary
from pytest_tiers.records import LockEntry
from pytest_tiers.reports.mixes import mix_steps
from pytest_tiers.reports.numbers import MANY, money, percent
from pytest_tiers.reports.sites import site_steps
from pytest_tiers.reports.table import by_id
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.reports.words import how_many_more, short_names
from pytest_tiers.savings import is_cheaper
from pytest_tiers.verdicts import Comparison

#: Verdicts that more cases can still turn into "safe".
_OPEN = ("inconclusive", "matches")

#: Verdicts with which a tier should not stay locked.
_OUT = ("worse", "unsupported", "blind")

_MOST_STEPS = 3


class _Option(Struct, frozen=True):
    """One candidate of one prompt; ``gain`` is what it saves in 1,000 runs, in USD.

    ``is_news``: it would save more than the tier that the prompt is locked to.
    """

    prompt: PromptSummary
    name: str
    comparison: Comparison
    share: float | None
    gain: Decimal | None
    is_news: bool

    @property
    def tier(self) -> str:
        """The candidate."""
        return self.comparison.tier

    @property
    def weight(self) -> Decimal:
        """The gain in a month where the prompt says how often it runs, else in 1,000 runs."""
        return (self.gain or Decimal(0)) * (self.prompt.monthly_runs or 1000) / 1000

    @property
    def distance(self) -> int:
        """The further cases that a decision takes as things go; 0 where that is not reachable."""
        return self.comparison.more_cases[1] or 0

    def gain_in_words(self) -> str:
        """What the change saves, as far as it is known."""
        if self.gain is None:
            return "saving unknown"
        text = f"saves {percent(self.share)}, {money(self.gain)} per 1,000 runs"
        return f"{text}, {money(self.weight)} a month" if self.prompt.monthly_runs else text


class Move(Struct, frozen=True):
    """A downgrade that is proven and not locked yet; ``gain`` is what it saves, in words.

    ``prompt`` is its id, ``name`` its short name.
    """

    prompt: str
    name: str
    tier: str
    gain: str


def moves(summary: RunSummary) -> list[Move]:
    """What to downgrade now, the richest first."""
    proven = _proven(_options(summary))
    return [Move(each.prompt.id, each.name, each.tier, each.gain_in_words()) for each in proven]


def next_steps(
    summary: RunSummary, *, with_moves: bool = True, by_prompt: RunSummary | None = None
) -> list[str]:
    """What to downgrade now, what to mend, what is closest to a decision, what pays most.

    Without the sentence about the former where `moves` are shown beside. ``by_prompt`` is the
    run with its mixes, where the ``summary`` is by call site.
    """
    if summary.settings.replaced is not None:
        return list(_replace(summary, summary.settings.replaced))
    options = list(_options(summary))
    downgrades = list(_downgrade(summary, options))
    steps = [
        *_mend_blind(summary),
        *downgrades,
        *mix_steps(by_prompt or summary),
        *site_steps(summary),
        *_run_again(options),
        *_add_prices(options),
    ]
    pursued = [option for option in options if _worth_pursuing(option)]
    closest = min(pursued, key=lambda option: (option.distance, -option.weight), default=None)
    if closest is not None:
        more = how_many_more(closest.comparison.more_cases)
        steps.append(
            f"Closest to a decision: {closest.tier}: {more} {closest.name} "
            f"({closest.gain_in_words()}{_price_of_proof(closest)})."
        )
    others = [option for option in pursued if closest and option.prompt is not closest.prompt]
    richest = max(others, key=lambda option: option.weight, default=None)
    if richest is not None and richest.weight:
        more = how_many_more(richest.comparison.more_cases)
        steps.append(
            f"Most to gain: {richest.tier}: {more} {richest.name} "
            f"({richest.gain_in_words()}{_price_of_proof(richest)})."
        )
    shown = steps[:_MOST_STEPS] or [_stay(summary)]
    return [step for step in shown if with_moves or step not in downgrades]


def _replace(summary: RunSummary, old: str) -> Iterator[str]:
    """How to let one tier take another's place."""
    new = next(tier for tier in summary.settings.ladder.tiers if tier.name != old)
    unproven = [
        names[prompt.id]
        for names in [short_names(summary)]
        for prompt in by_id(summary)
        if prompt.comparisons[new.name].verdict != "safe"
    ]
    if unproven:
        yield (
            f"{new.name} is not proven as good as {old} for {listed(unproven)}: what would prove "
            "it stands above, and -v shows what differs."
        )
    yield (
        f'Put {new.name} (model = "{one_line(new.model or "")}") in the place of {old}: in '
        "pyproject.toml (as a tier, in ladder, flagship) and in your code."
    )
    tiers = [
        entry.tier for entry in summary.locked.values() if new.name in (entry.tier, entry.replaces)
    ]
    locked = dict.fromkeys(tier for tier in tiers if tier != new.name)
    if locked:
        ladder = ",".join([*locked, new.name])
        yield f"Prove what is locked: pytest --tiers={ladder} --tiers-update-lock"


def _options(summary: RunSummary) -> Iterator[_Option]:
    names = short_names(summary)
    for prompt in by_id(summary):
        for tier, comparison in prompt.comparisons.items():
            costs = [_cost(prompt, name) for name in (comparison.flagship, tier)]
            gain = costs[0] - costs[1] if costs[0] is not None and costs[1] is not None else None
            share = prompt.savings.get(tier)
            entry = kept_lock(summary, prompt)
            is_news = entry is None or (
                entry.tier != tier and is_cheaper(prompt, _cost(prompt, tier), entry)
            )
            yield _Option(prompt, names[prompt.id], comparison, share, gain, is_news)


def kept_lock(summary: RunSummary, prompt: PromptSummary) -> LockEntry | None:
    """What a prompt is locked to, unless this run says that it should not be any more."""
    entry = summary.locked.get(prompt.id)
    if entry is None or any(reason.prompt == prompt.id for reason in summary.gate.failures):
        return None
    comparison = prompt.comparisons.get(entry.tier)
    return None if comparison is not None and comparison.verdict in _OUT else entry


def _cost(prompt: PromptSummary, tier: str) -> Decimal | None:
    stats = prompt.tiers.get(tier)
    return stats.cost_per_1000 if stats else None


def _mend_blind(summary: RunSummary) -> Iterator[str]:
    names = short_names(summary)
    blind = [
        names[prompt.id]
        for prompt in by_id(summary)
        if any(one.verdict == "blind" for one in prompt.comparisons.values())
    ]
    if blind:
        yield (
            f"Make the tests of {listed(blind)} see a wrong answer: compare with what each case "
            "expects."
        )


def _proven(options: Iterable[_Option]) -> list[_Option]:
    proven = [
        option for option in options if option.tier == option.prompt.recommended and option.is_news
    ]
    return sorted(proven, key=lambda option: option.weight, reverse=True)


def _downgrade(summary: RunSummary, options: list[_Option]) -> Iterator[str]:
    if proven := _proven(options):
        each = listed(f"{one.name} -> {one.tier} ({one.gain_in_words()})" for one in proven)
        selection = " (safe for this selection)" if summary.selection else ""
        yield f"Downgrade now{selection}: {each}."


def _run_again(options: list[_Option]) -> Iterator[str]:
    waiting = dict.fromkeys(
        option.name
        for option in options
        if option.comparison.missing_trials or option.comparison.verdict == "no-data"
    )
    if waiting:
        yield f"Get the missing answers (causes above): {listed(waiting)}."


def _add_prices(options: list[_Option]) -> Iterator[str]:
    unknown: dict[str, list[str]] = {}
    for option in options:
        if option.comparison.verdict == "safe" and option.share is None:
            unknown.setdefault(option.tier, []).append(option.name)
    for tier, names in unknown.items():
        yield (
            f"Complete the prices: {tier} is safe for {listed(names)}, "
            "but what that saves is unknown."
        )


def _worth_pursuing(option: _Option) -> bool:
    """Whether more cases can lead to a downgrade that saves more than what is proven."""
    comparison, prompt = option.comparison, option.prompt
    if comparison.verdict not in _OPEN or comparison.missing_trials or not option.is_news:
        return False
    if not 0 < option.distance <= MANY:
        return False
    if prompt.recommended is None:
        return option.share is None or option.share > 0
    proven = prompt.savings.get(prompt.recommended) or 0.0
    return option.share is not None and option.share > proven


def _price_of_proof(option: _Option) -> str:
    """What the missing cases would cost to record on both tiers, where that is known."""
    comparison = option.comparison
    costs = [_cost(option.prompt, tier) for tier in (comparison.flagship, comparison.tier)]
    if costs[0] is None or costs[1] is None or not comparison.cases:
        return ""
    trials = option.distance * max(1, round(comparison.pairs / comparison.cases))
    return f"; about {money((costs[0] + costs[1]) * trials / 1000)} to record"


def _stay(summary: RunSummary) -> str:
    flagship = summary.settings.ladder.flagship
    if any(
        prompt.recommended is not None or (prompt.mix is not None and prompt.mix.recommended)
        for prompt in summary.prompts
    ):
        return "Nothing: every proven downgrade is locked."
    names = short_names(summary)
    kept = [names[each.id] for each in by_id(summary) if kept_lock(summary, each) is not None]
    if kept:
        return f"Keep what is locked ({listed(kept)}): nothing else is safe, or close to it."
    if any(prompt.id in summary.locked for prompt in summary.prompts):
        nothing = f"Nothing cheaper than {flagship} is safe, or close to it"
        return f"{nothing}; what is locked does not hold."
    return f"Stay on {flagship}: nothing cheaper is safe, or close to it."
