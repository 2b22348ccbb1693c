"""Settles what only this process can: comparisons by a model, or by the project's own code.

Neither travels to another process. So they are made here, when the later one of the two trials has
ended, whatever their order; what came of them travels on that trial's report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.agreements import Degree, How, degree_of, plainly
from pytest_tiers.collection import PlannedTrial
from pytest_tiers.comparing import judge, semantic
from pytest_tiers.comparing.calls import Consultation, Counsel, options_of
from pytest_tiers.errors import CallRefused
from pytest_tiers.records import Agreement, Call
from pytest_tiers.settings import Settings

#: How many comparisons ask their models at once; the endpoint's own limit holds besides.
_AT_ONCE = 8

#: What to do about a judge that cannot be used.
_ANOTHER_JUDGE = "Name another judge, or ask this one again with --tiers-record=all."


class Output(Struct, frozen=True):
    """What one trial handed to ``tier.compare``."""

    tier: str
    sample: int
    value: Any
    how: How


class Settled(Struct, frozen=True):
    """What was compared when a trial ended, and the calls that this took."""

    agreements: tuple[Agreement, ...] = ()
    calls: tuple[Call, ...] = ()


class _Job(Struct, frozen=True):
    """One comparison to be made now."""

    one: Output
    flagship: Output
    consultation: Consultation


class Desk:
    """Takes in the outputs of this process, and compares those that do not travel.

    ``hook`` is pytest's caller of ``pytest_tiers_compare``.
    """

    def __init__(self, settings: Settings, hook: Any, counsel: Counsel) -> None:
        self._settings, self._hook, self._counsel = settings, hook, counsel
        self._flagship = settings.ladder.flagship
        self._outputs: dict[tuple[str, str], dict[tuple[str, int], Output]] = defaultdict(dict)
        #: Why the judge cannot be relied on, by function; None: it passed the control.
        self._controlled: dict[str, str | None] = {}

    def settle(self, trial: PlannedTrial, value: Any, how: How) -> Settled:
        """What can be compared now that the output of one more trial is known."""
        known = self._outputs[trial.prompt, trial.case]
        output = Output(trial.tier.name, trial.sample, value, how)
        known[output.tier, output.sample] = output
        jobs = [
            _Job(one, other, self._counsel.between(trial, one.tier, one.sample))
            for one, other in self._pairs(known, output)
            if not one.how.travels
        ]
        if not jobs:
            return Settled()
        calls = self._control(trial, jobs)
        asking = [job for job in jobs if job.one.how.asks]
        # A project's own code is called in this thread: nobody said that it can bear others.
        here = [self._settled(trial, job) for job in jobs if not job.one.how.asks]
        with ThreadPoolExecutor(_AT_ONCE, "pytest-tiers comparing") as threads:
            there = list(threads.map(lambda job: self._settled(trial, job), asking))
        for _, made in (*here, *there):
            calls += made
        return Settled(tuple(agreement for agreement, _ in (*here, *there)), tuple(calls))

    def _pairs(
        self, known: dict[tuple[str, int], Output], new: Output
    ) -> Iterator[tuple[Output, Output]]:
        """The new output with the flagship's, or the other way round."""
        flagship = self._flagship
        if new.tier != flagship:
            if (other := known.get((flagship, new.sample))) is not None:
                yield new, other
            return
        for (tier, sample), one in known.items():
            if tier != flagship and sample == new.sample:
                yield one, new
        # With its own sample before: see `pytest_tiers.settling.own_pair`.
        if (before := known.get((flagship, new.sample - 1))) is not None:
            yield new, before
        if (after := known.get((flagship, new.sample + 1))) is not None:
            yield after, new

    def _control(self, trial: PlannedTrial, jobs: list[_Job]) -> list[Call]:
        """Before a judge's first votes on a function: is it any good? The calls that this took."""
        if trial.function in self._controlled or all(job.one.how.by != "judge" for job in jobs):
            return []
        consultation = self._counsel.control(trial)
        ask = consultation.asks_judge()
        degree = _made(consultation, lambda: Degree(1.0, judge.useless(ask)))
        why = degree.error or degree.difference
        self._controlled[trial.function] = why and why.removesuffix(f". {_ANOTHER_JUDGE}")
        return consultation.end()

    def _settled(self, trial: PlannedTrial, job: _Job) -> tuple[Agreement, list[Call]]:
        one, consultation = job.one, job.consultation
        compare = self._comparison(one.how, job.flagship.value, one.value, consultation)
        degree = _made(consultation, compare)
        calls = consultation.end()
        why = self._controlled.get(trial.function) if one.how.by == "judge" else None
        if why is not None:
            degree = Degree(None, error=f"the judge cannot be relied on: {why}. {_ANOTHER_JUDGE}")
        agreement = Agreement(one.tier, one.sample, degree.value, degree.difference)
        if degree.error is None:
            return agreement, calls
        error = f"comparing its output with the flagship's failed: {degree.error}"
        budget = consultation.out_of_budget
        return replace(agreement, error=error, budget=budget), calls

    def _comparison(
        self, how: How, flagship: Any, candidate: Any, consultation: Consultation
    ) -> Any:
        """What makes one comparison when it is called."""
        options = how.options
        criteria, threshold = options_of(self._settings, options)
        if how.asks and plainly(None, flagship, candidate, {}).value == 1.0:
            return lambda: Degree(1.0)  # nothing to ask
        if how.by == "judge" and how.asks:
            ask = consultation.asks_judge()
            return lambda: judge.judged(ask, flagship, candidate, criteria)
        if how.by == "semantic" and how.judgement is None:
            embed = consultation.asks_embeddings() if how.asks else options["embed"]
            return lambda: semantic.similar(embed, flagship, candidate, threshold)
        if how.judgement is not None:
            judgement = how.judgement
            return lambda: degree_of(judgement(flagship, candidate), options.get("threshold"))
        return lambda: self._by_hook(how, flagship, candidate)

    def _by_hook(self, how: How, flagship: Any, candidate: Any) -> Degree:
        if how.has_hook:
            answer = self._hook(
                by=how.by, flagship=flagship, candidate=candidate, options=dict(how.options)
            )
            if answer is not None:
                return degree_of(answer, None)
            if how.by is not None:
                return Degree(None, error=f'no hook pytest_tiers_compare knows by="{how.by}"')
        return plainly(how.by, flagship, candidate, how.options)


def _made(consultation: Consultation, compare: Any) -> Degree:
    """What a comparison says, or why it says nothing."""
    degree = Degree(None, error="nothing")
    try:
        with consultation.owning():
            degree = compare()
    except CallRefused as error:
        degree = Degree(None, error=str(error))
    except judge.NoVoteError as error:
        degree = Degree(None, error=f"the judge gave no vote: {error}. {_ANOTHER_JUDGE}")
    except Exception as error:  # the project's own code, or a client's error
        degree = Degree(None, error=f"{type(error).__name__}: {error}")
    problem = consultation.problem
    return degree if problem is None else Degree(None, error=problem)
