"""The trial that is running: what goes out in its name, and what came of it."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.agreements import How
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.senders import Sender
from pytest_tiers.cassettes.tape import Tape, WireAnswer
from pytest_tiers.cassettes.transports import OpenedCall
from pytest_tiers.errors import BudgetReached, CallRefused, TierStopped
from pytest_tiers.outcomes import WireEvidence
from pytest_tiers.override.as_is import is_as_is
from pytest_tiers.override.attempts import Attempts
from pytest_tiers.override.charges import Charge, Till
from pytest_tiers.override.rewrite import as_tier
from pytest_tiers.override.site_tiers import SiteTiers
from pytest_tiers.override.sites import SiteFinder, evaluation_library
from pytest_tiers.questions import question
from pytest_tiers.records import Call, CallSite, Part
from pytest_tiers.tiers import Tier

#: Requests that are looked at to tell whether a prompt has changed.
_MOST_ASKED = 20


class CallRules(Struct, frozen=True):
    """What decides how a call is treated, the same for all trials of a session."""

    replaces: tuple[str, ...]
    sites: SiteFinder
    till: Till
    keeps_requests: bool = False


class Lead(Protocol):
    """Whoever asks other trials' questions as soon as one trial asks its own."""

    def ask(self, request: SentRequest, sender: Sender, earlier: Sequence[str]) -> bool:
        """Ask what the application asks; False where it is too early to know the cost.

        ``earlier`` are the answers that the trial had before.
        """
        raise NotImplementedError


class ActiveTrial:
    """One running trial: opens its calls, and remembers how each ended.

    ``lead`` hears of its first call of the tier. With ``site_tiers`` each call goes to the tier
    of its call site.
    """

    def __init__(
        self,
        tier: Tier,
        prompt: str,
        tape: Tape,
        rules: CallRules,
        lead: Lead | None = None,
        site_tiers: SiteTiers | None = None,
    ) -> None:
        self.tier, self.prompt, self.tape, self.rules = tier, prompt, tape, rules
        self._site_tiers = site_tiers
        self.calls: list[Call] = []
        self.attempts = Attempts()
        #: The texts of all answers of models so far.
        self.said: list[str] = []
        #: The bodies of the first requests for the tier, as the application wrote them.
        self.asked: list[Mapping[str, Any]] = []
        self.last_answer: str | None = None
        #: The last request that got an answer or a refusal.
        self._last_asked: SentRequest | None = None
        self.output: Any = None
        self.has_output = False
        self.how = How()
        self.score: float | None = None
        self.check: bool | None = None
        self.stale = False
        #: The parts in which requests of a stale trial differ from what is recorded.
        self.changed: set[Part] = set()
        self.out_of_budget = False
        #: Whether the tier's model does not exist (any more).
        self.model_gone = False
        self._lead = lead
        self._lock = threading.Lock()
        self._refused_by_us: list[str] = []
        self._refusals: list[str] = []

    @property
    def question(self) -> str | None:
        """What the last answered request asked, as text without secrets."""
        if self._last_asked is None:
            return None
        return question(self.tape.without_secrets(self._last_asked).json)

    def note_answer(self, request: SentRequest, text: str | None) -> None:
        """The tier answered a request with ``text``, or refused it as such (None)."""
        self._last_asked = request
        if text is not None:
            self.last_answer = text

    def open(self, request: SentRequest, sender: Sender) -> OpenedCall:
        """Open a call: rewrite it, find its answer or see that it may go out.

        Raises CallRefused.
        """
        if not (request.asks_model or request.is_embeddings):
            return OpenedCall(request, self.tape.begin(request, OtherCall(self, request)))
        body = request.json if isinstance(request.json, dict) else {}
        asked = body.get("model")
        left_alone = self._reason_to_leave(request, asked)
        sites = self.rules.sites.find()
        tier = self.tier if left_alone is not None else self._tier_at(sites)
        sent = request if left_alone is not None else as_tier(request, tier)
        call = Call(
            model_asked=asked,
            model=asked if sent is request else tier.model,
            answered_by=None,
            endpoint=request.endpoint or "embeddings",
            status=None,
            stream=body.get("stream") is True,
            site=sites[0].label if sites else None,
            site_key=sites[0].key if sites else None,
            callers=sites[1:],
            within=self.rules.sites.lines() if sites and sites[0].is_named else (),
            left_alone=left_alone,
        )
        if left_alone is None and self.rules.keeps_requests and len(self.asked) < _MOST_ASKED:
            self.asked.append(body)
        lead = self._first_call(request, sender) if left_alone is None else None
        charge = Charge(self.rules.till, tier, self.prompt, sent, call)
        exchange = self.tape.begin(sent, ModelCall(self, sent, charge, lead))
        if lead is not None:
            lead()
        return OpenedCall(sent, exchange)

    def _first_call(self, request: SentRequest, sender: Sender) -> Callable[[], None] | None:
        """What tells the lead of the trial's first call, until it has listened."""
        lead, self._lead = self._lead, None
        if lead is None:
            return None
        earlier = tuple(self.said)
        listened = False

        def tell() -> None:
            nonlocal listened
            listened = listened or lead.ask(request, sender, earlier)

        return tell

    def _tier_at(self, sites: Sequence[CallSite]) -> Tier:
        """The tier that stands in for a call from these lines. Raises CallRefused."""
        if self._site_tiers is None:
            return self.tier
        try:
            return self._site_tiers.at(sites)
        except CallRefused as refusal:
            raise self.refuse(refusal) from None

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
            if isinstance(refusal, TierStopped):
                self.model_gone = self.model_gone or refusal.model_gone
        return refusal

    def note_misuse(self, reason: str) -> None:
        """Remember that the test asked for something that cannot be: no word about the model."""
        self.note_miss(reason, stale=False)

    def note_miss(self, reason: str, stale: bool, changed: Sequence[Part] = ()) -> None:
        """Remember that replay found no answer."""
        with self._lock:
            self._refused_by_us.append(reason)
            self.stale = self.stale or stale
            self.changed.update(changed)

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

    @property
    def is_tiers(self) -> bool:
        """It asks no model."""
        return False

    def sending(self) -> bool:
        """It may always go out."""
        return True

    def about(self, content_type: str | None, body: bytes) -> Mapping[str, Any]:
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
        url = self._trial.tape.without_secrets(self._request).url
        self._attempt.failed(f"{url}: {reason}")

    def missed(self, reason: str, *, stale: bool, changed: Sequence[Part] = ()) -> None:
        """Replay found no answer."""
        self._trial.note_miss(reason, stale, changed)


class ModelCall:
    """One call of a model in a trial's name.

    ``on_answer`` is called when the model has answered, and not refused.
    """

    def __init__(
        self,
        trial: ActiveTrial,
        request: SentRequest,
        charge: Charge,
        on_answer: Callable[[], None] | None = None,
    ) -> None:
        self._trial, self._request = trial, request
        self._charge, self._on_answer = charge, on_answer
        self._attempt = trial.attempts.begin(request)

    @property
    def is_tiers(self) -> bool:
        """Whether it goes to the trial's tier."""
        return self._charge.is_tiers

    def sending(self) -> bool:
        """Whether it may go out now. Raises CallRefused where it must not."""
        try:
            return self._charge.starts()
        except CallRefused as refusal:
            raise self._trial.refuse(refusal) from None

    def about(self, content_type: str | None, body: bytes) -> Mapping[str, Any]:
        """The models: the one asked for, the one sent, and the one that answered."""
        return self._charge.about(content_type, body)

    def keeps(self, status: int, content_type: str | None, body: bytes) -> bool:
        """Keep what says something about the model, not what a retry or a repair may mend."""
        return self._charge.is_worth_keeping(status, content_type, body)

    def answered(self, answer: WireAnswer) -> None:
        """Price the answer, and judge its status."""
        trial, paid = self._trial, self._charge.settle(answer)
        trial.calls.append(paid.call)
        if paid.reading == "error":
            trial.model_gone = trial.model_gone or paid.model_gone
            self._attempt.failed(paid.reason)
            return
        self._attempt.answered()
        trial.said.append(paid.answer.text)
        if not self._charge.is_tiers:
            return
        if paid.reading == "refused":
            trial.note_answer(self._request, None)
            trial.note_refusal(paid.reason)
        else:
            trial.note_answer(self._request, paid.answer.text)
            if self._on_answer is not None:
                self._on_answer()

    def failed(self, reason: str) -> None:
        """Connection error, timeout, or a disk that did not take the answer."""
        self._charge.release()
        call = self._charge.call
        self._trial.calls.append(replace(call, error=reason))
        self._attempt.failed(f"no answer from {call.model}: {reason}")

    def missed(self, reason: str, *, stale: bool, changed: Sequence[Part] = ()) -> None:
        """Replay found no answer."""
        self._trial.note_miss(reason, stale, changed)
