"""The trial that is running: what goes out in its name, and what came of it."""

from __future__ import annotations

import fnmatch
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pytest_tiers.budget import Budget
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.tape import Tape, WireAnswer
from pytest_tiers.cassettes.transports import OpenedCall
from pytest_tiers.errors import BudgetReached, CallRefused, MissingKey, TierStopped
from pytest_tiers.outcomes import WireEvidence
from pytest_tiers.override.as_is import is_as_is
from pytest_tiers.override.attempts import Attempts
from pytest_tiers.override.keys import PLACEHOLDER, VARIABLE
from pytest_tiers.override.rewrite import rewritten
from pytest_tiers.override.sites import call_site, evaluation_library
from pytest_tiers.pricing import estimate, price_of
from pytest_tiers.records import Call, Tokens
from pytest_tiers.statuses import read_status, stops_tier
from pytest_tiers.tiers import Tier
from pytest_tiers.usage import Answer, read_answer


@dataclass(frozen=True, slots=True)
class CallRules:
    """What decides how a call is treated, the same for all trials of a session.

    ``stopped`` maps a tier to the answer after which it is not called again, ``largest_use`` a
    (prompt, tier) to the most tokens that one of its calls took, for the next one's reserve.
    """

    replaces: tuple[str, ...]
    root: Path
    is_test_file: Callable[[Path], bool]
    budget: Budget
    stopped: dict[str, str]
    largest_use: dict[tuple[str, str], Tokens]


class ActiveTrial:
    """One running trial: opens its calls, and remembers how each ended."""

    def __init__(self, tier: Tier, prompt: str, tape: Tape, rules: CallRules) -> None:
        self.tier, self.prompt, self.tape, self.rules = tier, prompt, tape, rules
        self.calls: list[Call] = []
        self.attempts = Attempts()
        self.last_answer: str | None = None
        self.output: Any = None
        self.has_output = False
        self.stale = False
        self.out_of_budget = False
        self._lock = threading.Lock()
        self._refused_by_us: list[str] = []
        self._refusals: list[str] = []

    def open(self, request: SentRequest) -> OpenedCall:
        """Open a call: rewrite it, find its answer or see that it may go out.

        Raises CallRefused.
        """
        observer: ModelCall | OtherCall
        if not (request.asks_model or request.is_embeddings):
            observer = OtherCall(self, request)
            return OpenedCall(request, self.tape.begin(request, observer))
        site = call_site(self.rules.root, self.rules.is_test_file)
        body = request.json if isinstance(request.json, dict) else {}
        asked = body.get("model")
        left_alone = self._reason_to_leave(request, asked)
        sent = request
        if left_alone is None and not self.tier.is_current:
            key = os.environ.get(self.tier.api_key_env) if self.tier.api_key_env else None
            sent = rewritten(request, self.tier, key)
        call = Call(
            model_asked=asked,
            model=asked if sent is request else self.tier.model,
            answered_by=None,
            endpoint=request.endpoint or "embeddings",
            status=None,
            stream=body.get("stream") is True,
            site=site,
            left_alone=left_alone,
        )
        observer = ModelCall(self, sent, call)
        return OpenedCall(sent, self.tape.begin(sent, observer))

    def _reason_to_leave(self, request: SentRequest, asked: Any) -> str | None:
        """Why the tier does not stand in for this call; None where it does."""
        if is_as_is():
            return "as_is"
        if library := evaluation_library():
            return library
        if request.endpoint is None:
            return "embeddings"
        names = self.rules.replaces
        if names and not any(fnmatch.fnmatchcase(str(asked), name) for name in names):
            return "replaces"
        return None

    def refuse(self, refusal: CallRefused) -> CallRefused:
        """Remember a call that we did not make, whatever the application makes of it."""
        with self._lock:
            self._refused_by_us.append(str(refusal))
            self.out_of_budget = self.out_of_budget or isinstance(refusal, BudgetReached)
        return refusal

    def note_miss(self, reason: str, stale: bool) -> None:
        """Remember that replay found no answer."""
        with self._lock:
            self._refused_by_us.append(reason)
            self.stale = self.stale or stale

    def note_refusal(self, reason: str) -> None:
        """The tier refused a request as such."""
        with self._lock:
            self._refusals.append(reason)

    @property
    def wire(self) -> WireEvidence:
        """What happened on the wire so far."""
        with self._lock:
            return WireEvidence(
                (*self._refused_by_us, *self.attempts.failures),
                tuple(self._refusals),
                self.attempts.answers,
            )


class OtherCall:
    """A request that asks no model: recorded, not rewritten, not judged by its status."""

    def __init__(self, trial: ActiveTrial, request: SentRequest) -> None:
        self._trial, self._request = trial, request
        self._attempt = trial.attempts.begin(request)

    def sending(self) -> None:
        """It may always go out."""

    def about(self) -> Mapping[str, Any]:
        """There is nothing to note."""
        return {}

    def keeps(self, status: int, content_type: str | None, body: bytes) -> bool:
        """Whatever another service answers is its answer, unless it asks to come again."""
        return status not in (408, 425, 429) and status < 500

    def answered(self, answer: WireAnswer) -> None:
        """An answer ends what failed before it."""
        if self.keeps(answer.status, answer.content_type, answer.body):
            self._attempt.answered()
        else:
            self.failed(f"status {answer.status}")

    def failed(self, reason: str) -> None:
        """The service could not be reached, or could not answer."""
        self._attempt.failed(f"{self._request.url}: {reason}")

    def missed(self, reason: str, *, stale: bool) -> None:
        """Replay found no answer."""
        self._trial.note_miss(reason, stale)


class ModelCall:
    """One call of a model in a trial's name."""

    def __init__(self, trial: ActiveTrial, request: SentRequest, call: Call) -> None:
        self._trial, self._request, self._call = trial, request, call
        self._attempt = trial.attempts.begin(request)
        self._reservation: str | None = None

    @property
    def _is_tiers(self) -> bool:
        return self._call.left_alone is None

    @property
    def _priced_as(self) -> Tier:
        """A call that was left alone is priced by its own model."""
        return self._trial.tier if self._is_tiers else Tier("", None)

    def sending(self) -> None:
        """Raises CallRefused where the call must not go out."""
        try:
            self._check_key()
            stopped = self._trial.rules.stopped.get(self._trial.tier.name)
            if stopped is not None and self._is_tiers:
                raise TierStopped(stopped)
            self._reserve()
        except CallRefused as refusal:
            raise self._trial.refuse(refusal) from None

    def _check_key(self) -> None:
        tier = self._trial.tier
        if self._is_tiers and tier.api_key_env and not os.environ.get(tier.api_key_env):
            raise MissingKey(
                f'tier "{tier.name}" needs the variable {tier.api_key_env}, which is not set.'
            )
        if any(PLACEHOLDER in value for value in self._request.headers.values()):
            raise MissingKey(
                f"{VARIABLE} is not set, so this call cannot go out. Set it to record, or "
                "give the tier its own api_key_env."
            )

    def _reserve(self) -> None:
        rules, tier = self._trial.rules, self._trial.tier.name
        most = estimate(
            self._request.body,
            self._priced_as,
            endpoint=self._call.endpoint,
            sent=self._call.model,
            base_url=self._request.url,
            measured=rules.largest_use.get((self._trial.prompt, tier)),
        )
        key = uuid.uuid4().hex
        rules.budget.reserve(key, most.usd, f'a call of "{self._call.model}" (tier {tier})')
        self._reservation = key

    def about(self) -> Mapping[str, Any]:
        """The models, which the rewritten request does not tell."""
        return {"model_asked": self._call.model_asked, "model": self._call.model}

    def keeps(self, status: int, content_type: str | None, body: bytes) -> bool:
        """Keep what says something about the model, not what a retry or a repair may mend."""
        answer = read_answer(self._call.endpoint, body, content_type)
        return read_status(status, answer) != "error"

    def answered(self, answer: WireAnswer) -> None:
        """Price the answer, and judge its status."""
        said = read_answer(self._call.endpoint, answer.body, answer.content_type)
        reading = read_status(answer.status, said)
        call = replace(
            self._call,
            answered_by=said.model,
            status=answer.status,
            tokens=said.tokens,
            cost_usd=self._price(said, answer),
            uncached_cost_usd=self._price(said, answer, uncached=True),
            reported_cost_usd=said.reported_cost,
            seconds=answer.seconds,
            recorded_at=answer.at,
            replayed=answer.replayed,
            error=said.error_message if reading == "error" else None,
        )
        trial, rules = self._trial, self._trial.rules
        trial.calls.append(call)
        if self._reservation is not None:
            # No provider bills a request that it refused or failed.
            spent = call.cost_usd if reading == "answer" else Decimal(0)
            rules.budget.settle(self._reservation, spent)
        reason = f"{answer.status} from {call.model}: {said.error_message or 'no message'}"
        if reading == "error":
            self._attempt.failed(reason)
            if self._is_tiers and stops_tier(answer.status, said):
                rules.stopped[trial.tier.name] = f'tier "{trial.tier.name}" stopped: {reason}'
            return
        self._attempt.answered()
        if reading == "refused" and self._is_tiers:
            trial.note_refusal(reason)
        elif self._is_tiers:
            trial.last_answer = said.text
            if said.tokens is not None:
                used = (trial.prompt, trial.tier.name)
                rules.largest_use[used] = _larger(rules.largest_use.get(used), said.tokens)

    def _price(self, answer: Answer, wire: WireAnswer, *, uncached: bool = False) -> Decimal | None:
        """USD of an answer; None where it is unknown."""
        return price_of(
            answer.tokens,
            self._priced_as,
            answered_by=answer.model,
            sent=self._call.model,
            recorded_at=wire.at,
            service_tier=answer.service_tier,
            base_url=self._request.url,
            uncached=uncached,
            billed_apart=answer.billed_apart,
        )

    def failed(self, reason: str) -> None:
        """Connection error, timeout, or a disk that did not take the answer."""
        if self._reservation is not None:
            self._trial.rules.budget.release(self._reservation)
        self._trial.calls.append(replace(self._call, error=reason))
        self._attempt.failed(f"no answer from {self._call.model}: {reason}")

    def missed(self, reason: str, *, stale: bool) -> None:
        """Replay found no answer."""
        self._trial.note_miss(reason, stale)


def _larger(one: Tokens | None, other: Tokens) -> Tokens:
    return other if one is None or other.output > one.output else one
