"""What a call of a model may cost before it is sent, and what it did cost."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.budget import Budget
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.tape import WireAnswer
from pytest_tiers.errors import BudgetReached, MissingKey, RunEnded, TierStopped
from pytest_tiers.override.gates import LONGEST_PAUSE, Gates, origin_of, retry_after
from pytest_tiers.override.keys import PLACEHOLDER, VARIABLE
from pytest_tiers.pricing import Estimate, estimate, price_of
from pytest_tiers.records import Call, Tokens
from pytest_tiers.statuses import Reading, is_gone, read_status, stops_tier
from pytest_tiers.tiers import Tier
from pytest_tiers.usage import Answer, read_answer

#: Seconds that a call waits for calls under way to cost less than was set aside for them. They
#: may be a killed worker's, which never end.
_LONGEST_WAIT = 60.0


class Till:
    """What the calls of a session share: the budget, the gates, and what earlier calls showed."""

    def __init__(self, budget: Budget, gates: Gates) -> None:
        self.budget, self.gates = budget, gates
        #: Set when the session ends: what is not under way by then stays undone.
        self.is_closing = threading.Event()
        #: Whether a call has waited to the end for others to cost less: once is enough.
        self.has_waited_in_vain = False
        #: What to raise where a tier must not be called again.
        self.stopped: dict[str, TierStopped] = {}
        self._largest_use: dict[tuple[str, str], Tokens] = {}

    def try_enter(self, url: str) -> bool:
        """Take a place at an endpoint; False where there is none now, or it rests.

        Whichever worker it asked for that.
        """
        if not self.gates.try_enter(url):
            return False
        left = self.budget.rest_left(origin_of(url))
        if left > 0:
            self.gates.leave(url)
            self.gates.rest(url, left)
        return left <= 0

    def rest(self, url: str, seconds: float) -> None:
        """Leave an endpoint in peace, in all workers; for `LONGEST_PAUSE` at most."""
        self.gates.rest(url, seconds)
        self.budget.rest(origin_of(url), min(seconds, LONGEST_PAUSE))

    def largest_use(self, prompt: str, tier: str) -> Tokens | None:
        """The most tokens that a call of the prompt took: on this tier, else on any."""
        own = self._largest_use.get((prompt, tier))
        others = [used for (of, _), used in list(self._largest_use.items()) if of == prompt]
        return own or max(others, key=lambda used: used.output, default=None)

    def note_use(self, prompt: str, tier: str, used: Tokens) -> None:
        """Learn what a call of the prompt took."""
        before = self._largest_use.get((prompt, tier))
        if before is None or used.output > before.output:
            self._largest_use[prompt, tier] = used


class Paid(Struct, frozen=True):
    """An answer after its price was taken: the call, what it said, and how it counts."""

    call: Call
    answer: Answer
    reading: Reading
    reason: str
    model_gone: bool = False


class Charge:
    """One call of a model: let through, reserved, and settled."""

    def __init__(
        self, till: Till, tier: Tier, prompt: str, request: SentRequest, call: Call
    ) -> None:
        self._till, self._tier, self._prompt = till, tier, prompt
        self.request, self.call = request, call
        self._reservation: str | None = None
        self._waits_since: float | None = None

    @property
    def is_tiers(self) -> bool:
        """Whether the tier stands in for the call."""
        return self.call.left_alone is None

    @property
    def _priced_as(self) -> Tier:
        """A call that was left alone is priced by its own model.

        Embeddings are always left alone; those of a comparison have a tier that is their model.
        """
        is_own = self.call.endpoint == "embeddings" and self.call.model == self._tier.model
        return self._tier if self.is_tiers or is_own else Tier("", None)

    def about(self, content_type: str | None, body: bytes) -> Mapping[str, Any]:
        """What to note of the call: the model asked for, the one sent, the one that answered."""
        named = read_answer(self.call.endpoint, body, content_type).model
        answered_by = {} if named is None else {"answered_by": named}
        return {"model_asked": self.call.model_asked, "model": self.call.model, **answered_by}

    def is_worth_keeping(self, status: int, content_type: str | None, body: bytes) -> bool:
        """Whether an answer says something about the model, not what a retry may mend."""
        answer = read_answer(self.call.endpoint, body, content_type)
        return read_status(status, answer) != "error"

    def estimate(self) -> Estimate:
        """What it may cost at most."""
        return estimate(
            self.request.body,
            self._priced_as,
            endpoint=self.call.endpoint,
            sent=self.call.model,
            base_url=self.request.url,
            measured=self._till.largest_use(self._prompt, self._tier.name),
        )

    def starts(self) -> bool:
        """Whether the call goes out now; False: ask again soon.

        Raises CallRefused where it must not go out.
        """
        if self._till.is_closing.is_set():
            raise RunEnded("the run has ended.")
        self._check_key()
        stopped = self._till.stopped.get(self._tier.name)
        if stopped is not None and self.is_tiers:
            raise TierStopped(str(stopped), model_gone=stopped.model_gone)
        if not self._till.try_enter(self.request.url):
            return False
        try:
            reserved = self._reserve()
        except BaseException:
            self._till.gates.leave(self.request.url)
            raise
        if not reserved:
            self._till.gates.leave(self.request.url)
        return reserved

    def _check_key(self) -> None:
        tier = self._tier
        if self.is_tiers and tier.api_key_env and not os.environ.get(tier.api_key_env):
            raise MissingKey(
                f'tier "{tier.name}" needs the variable {tier.api_key_env}, which is not set.'
            )
        if any(PLACEHOLDER in value for value in self.request.headers.values()):
            raise MissingKey(
                f"{VARIABLE} is not set, so this call cannot go out. Set it to record, or "
                "give the tier its own api_key_env."
            )

    def _reserve(self) -> bool:
        """Set aside what it may cost; False where that may fit when other calls are answered."""
        key, what = uuid.uuid4().hex, f'a call of "{self.call.model}" (tier {self._tier.name})'
        try:
            self._till.budget.reserve(key, self.estimate().usd, what)
        except BudgetReached as refusal:
            now = time.monotonic()
            self._waits_since = self._waits_since or now
            if refusal.may_fit_later and not self._till.has_waited_in_vain:
                if now - self._waits_since < _LONGEST_WAIT:
                    return False
                self._till.has_waited_in_vain = True
            raise
        self._reservation = key
        return True

    def settle(self, wire: WireAnswer) -> Paid:
        """Price an answer, and learn from it."""
        till, call = self._till, self.call
        said = read_answer(call.endpoint, wire.body, wire.content_type)
        reading = read_status(wire.status, said)
        cost = self._price(said, wire)
        paid = replace(
            call,
            answered_by=said.model,
            status=wire.status,
            tokens=said.tokens,
            cost_usd=cost,
            uncached_cost_usd=(
                self._price(said, wire, uncached=True)
                if said.tokens and (said.tokens.cached_input or said.tokens.cache_write)
                else cost
            ),
            reported_cost_usd=said.reported_cost,
            seconds=wire.seconds,
            recorded_at=wire.at,
            replayed=wire.replayed,
            error=said.error_message if reading == "error" else None,
        )
        if self._reservation is not None:
            # No provider bills a request that it refused or failed.
            spent = paid.cost_usd if reading == "answer" else Decimal(0)
            till.budget.settle(self._reservation, spent)
            self._leave()
        reason = f"{wire.status} from {call.model}: {said.error_message or 'no message'}"
        gone = is_gone(wire.status, said)
        if reading == "error":
            if (pause := retry_after(wire.retry_after)) is not None:
                till.rest(self.request.url, pause)
            if self.is_tiers and stops_tier(wire.status, said):
                why = f'tier "{self._tier.name}" stopped: {reason}'
                till.stopped[self._tier.name] = TierStopped(why, model_gone=gone)
        elif reading == "answer" and self.is_tiers and said.tokens is not None:
            till.note_use(self._prompt, self._tier.name, said.tokens)
        return Paid(paid, said, reading, reason, model_gone=self.is_tiers and gone)

    def release(self) -> None:
        """Give back what was set aside: no answer came."""
        if self._reservation is not None:
            self._till.budget.release(self._reservation)
            self._leave()

    def _leave(self) -> None:
        self._reservation = None
        self._till.gates.leave(self.request.url)

    def _price(self, answer: Answer, wire: WireAnswer, *, uncached: bool = False) -> Decimal | None:
        """USD of an answer; None where it is unknown."""
        return price_of(
            answer.tokens,
            self._priced_as,
            answered_by=answer.model,
            sent=self.call.model,
            recorded_at=wire.at,
            service_tier=answer.service_tier,
            base_url=self.request.url,
            uncached=uncached,
            billed_apart=answer.billed_apart,
        )
