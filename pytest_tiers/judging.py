"""What a finished test says of its trial, and what pytest's report shows of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from pytest_tiers.collection import TRIAL, PlannedTrial, case_parameters
from pytest_tiers.comparing.desk import Desk, Settled
from pytest_tiers.errors import CallRefused
from pytest_tiers.fingerprints import request_parts
from pytest_tiers.outcomes import TestEnd, WireEvidence, judge
from pytest_tiers.override.active import ActiveTrial
from pytest_tiers.override.router import TrialRouter, shared_fixture_reason
from pytest_tiers.records import PARTS, RequestParts, Trial
from pytest_tiers.settings import Settings
from pytest_tiers.settling import NO_CALL
from pytest_tiers.tapes import Tapes


class Judging:
    """Judges the trials of a session as their tests end."""

    def __init__(self, settings: Settings, tapes: Tapes, router: TrialRouter, desk: Desk) -> None:
        self._settings, self._tapes, self._router, self._desk = settings, tapes, router, desk
        self._cases_with_calls: set[tuple[str, str]] = set()

    def judge(
        self,
        item: pytest.Item,
        active: ActiveTrial,
        report: pytest.TestReport,
        call: pytest.CallInfo[Any],
    ) -> Trial:
        """The trial of an item whose test has ended."""
        planned = item.stash[TRIAL]
        outcome, reason = judge(_end(report), _message(call), self._evidence(item, active, call))
        case = (planned.prompt, planned.case)
        called = any(made.left_alone is None for made in active.calls)
        if called:
            self._cases_with_calls.add(case)
        elif outcome in ("passed", "missed") and case in self._cases_with_calls:
            outcome, reason = "no-call", NO_CALL
        settings, settled = planned.settings, Settled()
        has_output = active.has_output and self._settings.comparison
        if has_output and outcome in ("passed", "missed"):
            settled = self._desk.settle(planned, active.output, active.how)
        replayed = bool(active.calls) and all(made.replayed for made in active.calls)
        active.calls += settled.calls
        file = self._tapes.file(planned)
        return Trial(
            prompt=planned.prompt,
            case=planned.case,
            tier=planned.tier.name,
            sample=planned.sample,
            outcome=outcome,
            nodeid=item.nodeid,
            reason=reason,
            replayed=replayed,
            calls=tuple(active.calls),
            answer=active.last_answer,
            # Reports show it only where two tiers end differently: one of them did not pass, or
            # turns out to differ in its output. 100,000 requests would be a burden.
            question=None if outcome == "passed" and not active.has_output else active.question,
            score=active.score,
            check=active.check,
            output=active.output if has_output else None,
            has_output=has_output,
            compared_by=active.how.by,
            compare_options=dict(active.how.options) if active.how.travels else None,
            settled=settled.agreements,
            stale=active.stale,
            changed=tuple(part for part in PARTS if part in active.changed),
            budget=active.out_of_budget,
            model_gone=active.model_gone,
            expects_call=planned.uses_tier_fixture,
            file=str(file.root),
            recording=(str(file.path), planned.case_in_function),
            generation=active.tape.generation,
            settings={
                "margin": settings.margin,
                "min_pass_rate": settings.min_pass_rate,
                "monthly_runs": settings.monthly_runs,
                "max_cost_per_1000": _text(settings.max_cost_per_1000),
                "cases": planned.cases,
                "reachable": planned.reachable,
                "left_out": planned.left_out,
                "must_pass": planned.must_pass,
                "control": settings.control,
            },
            request_parts=self._request_parts(item, active),
        )

    def _request_parts(self, item: pytest.Item, active: ActiveTrial) -> RequestParts | None:
        """What tells whether the prompt has changed, where that matters."""
        bodies, active.asked = active.asked, []
        if not bodies:
            return None
        tier = active.tier
        changes = [dict(tier.params), list(tier.drop_params), dict(tier.rename_params)]
        return request_parts(bodies, case_parameters(item), {"tier": changes})

    def _evidence(
        self, item: pytest.Item, active: ActiveTrial, call: pytest.CallInfo[Any]
    ) -> WireEvidence:
        """The wire's evidence, and the answers that the trial got from a shared fixture."""
        wire = active.wire
        if not wire.errors and call.excinfo is not None:
            # A shared fixture fails in each of its tests with what the first one was refused.
            refused = [call.excinfo.value] if isinstance(call.excinfo.value, CallRefused) else []
            wire = structs.replace(wire, errors=tuple(map(str, refused)))
        fixtures = getattr(item, "fixturenames", ())
        shared = sorted(self._router.shared_answers.intersection(fixtures))
        reasons = tuple(map(shared_fixture_reason, shared))
        return structs.replace(wire, errors=(*reasons, *wire.errors))

    def show(
        self,
        report: pytest.TestReport,
        trial: Trial,
        call: pytest.CallInfo[Any],
        planned: PlannedTrial,
        active: ActiveTrial,
    ) -> None:
        """Let pytest's report say what the trial's outcome means."""
        is_plan = self._settings.plan is not None  # only its verdicts are wanted
        reason = trial.reason or ""
        no_result = trial.outcome in ("error", "no-call")
        # The first trial that heard of it fails the run; hundreds more would say the same.
        is_repetition = trial.model_gone and not trial.calls
        if trial.budget or is_repetition or (no_result and is_plan):
            report.outcome = "skipped"
            report.longrepr = (*report.location[:1], report.location[1] or 0, f"Skipped: {reason}")
        elif trial.outcome in ("missed", "unsupported") and self._excuses(planned, trial, active):
            report.outcome = "skipped"
            report.wasxfail = reason
        elif no_result:
            refused = call.excinfo is not None and isinstance(call.excinfo.value, CallRefused)
            if report.passed or refused or hasattr(report, "wasxfail"):
                report.longrepr = f"{trial.outcome}: {reason}"
            else:
                report.sections.append(("pytest-tiers", f"{trial.outcome}: {reason}"))
            report.__dict__.pop("wasxfail", None)
            report.outcome = "failed"

    def _excuses(self, planned: PlannedTrial, judged: Trial, active: ActiveTrial) -> bool:
        """Whether a miss is no failure by itself, as in a comparison.

        In an everyday run known ones are none, which replay brings back; nor those of a locked
        prompt that is asked the same anew: fresh answers vary, and the gate decides whether they
        are worse.
        """
        if self._settings.comparison:
            return True
        if judged.replayed:
            return planned.is_known_miss
        is_asked_anew = self._settings.record == "all" and active.tape.repeats is not None
        return is_asked_anew and planned.locked is not None and self._settings.gate != "off"


def has_ended(report: pytest.TestReport) -> bool:
    """Whether this report tells how the test ended; a skipped test is no trial."""
    is_expected_failure = hasattr(report, "wasxfail")
    if report.skipped and not is_expected_failure:
        return False
    return report.when == "call" or (report.when == "setup" and not report.passed)


def _text(usd: Decimal | None) -> str | None:
    """An amount as a builtin."""
    return None if usd is None else str(usd)


def _end(report: pytest.TestReport) -> TestEnd:
    if report.passed:
        return "passed"
    return "setup" if report.when == "setup" else "call"


def _message(call: pytest.CallInfo[Any]) -> str | None:
    """The first line of what the test failed with."""
    if call.excinfo is None:
        return None
    return call.excinfo.exconly(tryshort=True).partition("\n")[0]
