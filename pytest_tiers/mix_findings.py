"""What the searches for mixes found, from their trials and those of the ladder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter

from msgspec import Struct

from pytest_tiers import verdicts
from pytest_tiers.findings import MixFinding, MixFindings, PromptSummary
from pytest_tiers.mix_runs import LadderTrials
from pytest_tiers.mixes import MixSearch, TriedMix
from pytest_tiers.records import Trial
from pytest_tiers.ruled_out import ruled_out
from pytest_tiers.run_costs import PairedCosts, paired_costs, run_costs
from pytest_tiers.settings import Settings
from pytest_tiers.verdicts import Comparison, Evidence


class _Run(Struct, frozen=True):
    """One mix of one prompt, before the others are known."""

    prompt: str
    tried: TriedMix
    evidence: Evidence
    costs: PairedCosts

    @property
    def key(self) -> str:
        """What no other run of a mix has."""
        return f"{self.prompt} {self.tried.mix.name}"


def mix_findings(
    searches: Iterable[MixSearch],
    prompts: Iterable[PromptSummary],
    trials: Mapping[str, Sequence[Trial]],
    settings: Settings,
    left_out: Mapping[str, Collection[tuple[str, str, int]]],
) -> dict[str, MixFindings]:
    """What each search found, by prompt.

    ``trials`` are the settled trials of each prompt on the ladder, ``left_out`` those (tier,
    case, sample) that sampling left out.
    """
    searches = list(searches)
    by_id = {prompt.id: prompt for prompt in prompts}
    runs = {
        search.prompt: _runs(
            search, _ladder(by_id[search.prompt], trials[search.prompt], settings, left_out)
        )
        for search in searches
        if search.prompt in by_id
    }
    decided = _decide([run for each in runs.values() for run in each], settings.alpha)
    return {
        search.prompt: _findings(
            search, runs[search.prompt], decided, by_id[search.prompt], settings
        )
        for search in searches
        if search.prompt in runs
    }


def _ladder(
    prompt: PromptSummary,
    trials: Sequence[Trial],
    settings: Settings,
    left_out: Mapping[str, Collection[tuple[str, str, int]]],
) -> LadderTrials:
    names, flagship = settings.ladder.names, settings.ladder.flagship
    planned = max((trial.settings.get("cases") or 0 for trial in trials), default=0)
    return LadderTrials(
        trials,
        names[: names.index(flagship) + 1],
        prompt.margin,
        settings.alpha,
        max(planned, prompt.cases),
        left_out.get(prompt.id, ()),
        blind=prompt.control is not None and prompt.control.is_blind,
    )


def _runs(search: MixSearch, ladder: LadderTrials) -> list[_Run]:
    flagships = run_costs(list(ladder.flagships.values()))
    return [
        _Run(
            search.prompt,
            each,
            ladder.evidence(each.mix.name, each.trials, each.stopped is not None),
            paired_costs(run_costs(each.trials), flagships),
        )
        for each in search.tried
    ]


def _decide(runs: Iterable[_Run], alpha: float) -> dict[str, Comparison]:
    """The verdict of each mix: those put forward share one e-BH step, over all prompts."""
    runs = list(runs)
    together = {run.key: run.evidence for run in runs if run.tried.put_forward}
    decided = verdicts.decide(together, alpha=alpha)
    for run in runs:
        if not run.tried.put_forward:
            decided |= verdicts.decide({run.key: run.evidence}, alpha=alpha)
    return decided


def _findings(
    search: MixSearch,
    runs: Sequence[_Run],
    decided: Mapping[str, Comparison],
    prompt: PromptSummary,
    settings: Settings,
) -> MixFindings:
    found = [_finding(search, run, decided[run.key], settings) for run in runs]
    ratios = [
        (ratio, number)
        for number, run in enumerate(runs)
        if found[number].put_forward
        and found[number].comparison.verdict == "safe"
        and found[number].ruled_out is None
        and (ratio := run.costs.ratio) is not None
        and ratio < _ratio_to_beat(prompt)
    ]
    best = min(ratios, key=itemgetter(0))[1] if ratios else None
    return MixFindings(
        sites=search.sites,
        mixes=tuple(found),
        end=search.end,
        calls=search.calls,
        exhaustive_mixes=search.exhaustive_mixes,
        exhaustive_calls=search.exhaustive_calls,
        recommended=None if best is None else found[best],
        reason=search.reason,
    )


def _ratio_to_beat(prompt: PromptSummary) -> Decimal:
    """The cost of the tier that is recommended for the whole prompt, as a share of the flagship's.

    1 where there is none: a mix has to cost less than the flagship.
    """
    saving = None if prompt.recommended is None else prompt.savings.get(prompt.recommended)
    return Decimal(1) if saving is None else 1 - Decimal(str(saving))


def _finding(
    search: MixSearch, run: _Run, comparison: Comparison, settings: Settings
) -> MixFinding:
    tried, costs = run.tried, run.costs
    tiers = tried.mix.tiers
    out = ruled_out(run.prompt, tried.trials, settings, tried.mix)
    return MixFinding(
        mix=tried.mix,
        tiers={site.key: tiers[site.key] for site in search.sites},
        comparison=comparison,
        put_forward=tried.put_forward,
        stopped=tried.stopped,
        trials=len(tried.trials),
        calls=tried.calls,
        saving=costs.saving,
        cost_per_1000=None if costs.candidate is None else 1000 * costs.candidate,
        ruled_out=out.get(tried.mix.name),
    )
