"""One question to many tiers at once: what the first trial of a case asks, its others will too."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct

from pytest_tiers.cassettes.format import RecordedCall
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.senders import SendAgain, Sender
from pytest_tiers.cassettes.tape import Ahead, Exchange, Tape, WireAnswer
from pytest_tiers.errors import CallRefused
from pytest_tiers.override.charges import Charge, Till
from pytest_tiers.override.gates import LONGEST_PAUSE, retry_after
from pytest_tiers.override.rewrite import as_tier
from pytest_tiers.override.router import OWNER, Owner
from pytest_tiers.records import Call, Part
from pytest_tiers.tiers import Tier

#: How often a call is sent again while its endpoint asks to come later.
_RETRIES = 3

#: An answer of so many characters does not stand in a prompt by chance.
_QUOTABLE = 20

_POLL = 0.005


class Follower(Struct, frozen=True):
    """A trial whose first question may be asked before it runs.

    ``tape`` journals what is answered, and hands it on to the trial.
    """

    tier: Tier
    prompt: str
    ahead: Ahead
    tape: Tape


class FanOut:
    """Sends the first request of a case's first trial for its other trials too.

    A prompt whose trials do not ask the same is left to ask one after the other.
    """

    def __init__(self, till: Till) -> None:
        self._till = till
        self._led: set[Hashable] = set()
        self._said: dict[str, list[str]] = defaultdict(list)
        #: Prompts whose trials ask differently, with what was paid in vain.
        self._off: dict[str, list[Ahead]] = {}
        self._indirect: set[str] = set()
        #: Those that may still be waiting for an answer.
        self.threads: list[threading.Thread] = []

    def lead(
        self, case: Hashable, prompt: str, followers: Callable[[], Sequence[Follower]]
    ) -> CaseLead | None:
        """Who hears of the first trial's first call; None where another trial led the case."""
        if case in self._led or prompt in self._off:
            return None
        return CaseLead(self, case, prompt, followers)

    def ask(self, lead: CaseLead, request: SentRequest, sender: Sender) -> bool:
        """Send a request for all followers that want it; False: too early."""
        if lead.case in self._led or lead.prompt in self._off:
            return True
        charges = [
            (one, charge_of(self._till, one.tier, one.prompt, request)) for one in lead.followers
        ]
        if not all(charge.estimate().bounded for _, charge in charges):
            return False  # the first call of a prompt goes alone, to learn what it takes
        self._led.add(lead.case)
        again: SendAgain | None = None
        for follower, charge in charges:
            try:
                observer = _AheadCall(charge)
                exchange = follower.tape.begin(charge.request, observer)
            except CallRefused:
                continue  # its own trial will say so
            if exchange.replays:
                continue
            again = again or sender()
            if again is None:
                exchange.failed(ConnectionError("no way to send"))
                self._indirect.add(lead.prompt)
                return True
            self._start(exchange, observer, again)
        return True

    def quotes(self, prompt: str, request: SentRequest, earlier: Sequence[str]) -> bool:
        """Whether a request repeats an answer: another trial had another one to repeat."""
        text = str(request.json)
        answers = (*earlier, *self._said[prompt])
        return any(len(said) >= _QUOTABLE and repr(said)[1:-1] in text for said in answers)

    def _start(self, exchange: Exchange, observer: _AheadCall, again: SendAgain) -> None:
        def run() -> None:
            OWNER.set(Owner(None))
            _send(exchange, observer, again, self._till)

        thread = threading.Thread(target=run, name="pytest-tiers fan-out", daemon=True)
        self.threads = [one for one in self.threads if one.is_alive()]
        self.threads.append(thread)
        thread.start()

    def ended(self, prompt: str, said: Sequence[str], ahead: Ahead | None, asked: bool) -> None:
        """A trial has ended: learn what it said, and whether it asked what was foreseen."""
        self._said[prompt] += said
        if asked and ahead is not None and ahead.left:
            self._off.setdefault(prompt, []).append(ahead)

    @property
    def notes(self) -> list[str]:
        """What the user should know: what was paid in vain."""
        notes = [_in_vain(prompt, aheads) for prompt, aheads in sorted(self._off.items())]
        notes += [
            f"{prompt}: its HTTP client goes through a proxy, a socket or TLS settings that are "
            "its own, so its calls were recorded one after the other."
            for prompt in sorted(self._indirect)
        ]
        return notes


class CaseLead:
    """Hears of the first call of a case's first trial."""

    def __init__(
        self,
        fan_out: FanOut,
        case: Hashable,
        prompt: str,
        followers: Callable[[], Sequence[Follower]],
    ) -> None:
        self._fan_out, self.case, self.prompt = fan_out, case, prompt
        self._followers = followers

    @cached_property
    def followers(self) -> Sequence[Follower]:
        """The case's other trials."""
        return self._followers()

    def ask(self, request: SentRequest, sender: Sender, earlier: Sequence[str]) -> bool:
        """Ask for the others, unless the request quotes an answer; False: too early."""
        if self._fan_out.quotes(self.prompt, request, earlier):
            return True
        return self._fan_out.ask(self, request, sender)


def charge_of(till: Till, tier: Tier, prompt: str, request: SentRequest) -> Charge:
    """What an application's request would be charged on another tier."""
    sent, body = as_tier(request, tier), request.json
    call = Call(
        model_asked=body.get("model"),
        model=sent.json.get("model"),
        answered_by=None,
        endpoint=str(request.endpoint),
        status=None,
        stream=body.get("stream") is True,
    )
    return Charge(till, tier, prompt, sent, call)


class _AheadCall:
    """A call in the name of a trial that has not begun."""

    def __init__(self, charge: Charge) -> None:
        self.charge = charge

    @property
    def is_tiers(self) -> bool:
        """Whether it goes to the trial's tier."""
        return self.charge.is_tiers

    def sending(self) -> bool:
        """Whether it may go out now. Raises CallRefused where it must not."""
        return self.charge.starts()

    def about(self, content_type: str | None, body: bytes) -> Mapping[str, Any]:
        """The models."""
        return self.charge.about(content_type, body)

    def keeps(self, status: int, content_type: str | None, body: bytes) -> bool:
        """Keep what says something about the model."""
        return self.charge.is_worth_keeping(status, content_type, body)

    def answered(self, answer: WireAnswer) -> None:
        """Take its price."""
        self.charge.settle(answer)

    def failed(self, reason: str) -> None:
        """Its trial will ask again itself."""
        self.charge.release()

    def missed(self, reason: str, *, stale: bool, changed: Sequence[Part] = ()) -> None:
        """Its trial will find no answer either, and say so."""


def _send(exchange: Exchange, observer: _AheadCall, again: SendAgain, till: Till) -> None:
    """Make one call to its end."""
    charge = observer.charge
    try:
        answer = _sent(exchange, charge, again)
        for _ in range(_RETRIES):
            pause = _pause(answer)
            if pause is None:
                break
            charge.release()
            till.rest(charge.request.url, pause)
            answer = _sent(exchange, charge, again)
        exchange.append(None, answer)
    except BaseException as error:  # CallRefused is none of the Exceptions
        exchange.failed(error)


def _sent(exchange: Exchange, charge: Charge, again: SendAgain) -> Mapping[str, Any]:
    """Send the call once, as soon as it may go out."""
    while not exchange.starts():
        time.sleep(_POLL)
    return again(charge.request)


def _pause(answer: Mapping[str, Any]) -> float | None:
    """How long to wait before the same call is made again; None where it is not to be."""
    if answer["status"]["code"] not in (429, 503):
        return None
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    pause = retry_after(headers["retry-after"][0]) if "retry-after" in headers else None
    return pause if pause is not None and pause <= LONGEST_PAUSE else None


def _in_vain(prompt: str, aheads: Sequence[Ahead]) -> str:
    answers = [promise.result() for ahead in aheads for promise in ahead.left if promise.done()]
    paid: list[RecordedCall] = [answer for answer in answers if answer is not None]
    return (
        f"{prompt}: its trials do not ask the same of all tiers, so that {len(paid)} answers asked "
        "for in advance were paid in vain; the rest was recorded one after the other. A date or "
        "an id in the request can be left out with `ignore`."
    )
