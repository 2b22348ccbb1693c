"""Which requests of a trial ended without a usable answer: only their last attempts count."""

from __future__ import annotations

import hashlib
import threading

from msgspec import Struct

from pytest_tiers.cassettes.matching import SentRequest


class _Failure(Struct, eq=False):
    """An attempt that got no usable answer. One that is retried counts until the retry ends."""

    reason: str
    is_retried: bool = False


class Attempts:
    """The attempts of one trial's requests.

    An attempt retries one of the same request that had failed when it was sent, whoever repeats
    it: the client library or the application. Equal requests that are sent together are not
    retries of each other.
    """

    def __init__(self) -> None:
        self._failures: dict[str, list[_Failure]] = {}
        self._answers = 0
        self._lock = threading.Lock()

    @property
    def failures(self) -> tuple[str, ...]:
        """Why requests have no usable answer, one reason for each."""
        with self._lock:
            return tuple(failure.reason for found in self._failures.values() for failure in found)

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return self._answers

    def begin(self, request: SentRequest) -> Attempt:
        """A new attempt of a request, which is about to be sent."""
        text = f"{request.method} {request.url}".encode() + request.body
        with self._lock:
            failures = self._failures.setdefault(hashlib.sha256(text).hexdigest(), [])
            retried = next((failure for failure in failures if not failure.is_retried), None)
            if retried is not None:
                retried.is_retried = True
            return Attempt(self, failures, retried)

    def end(self, failures: list[_Failure], retried: _Failure | None, reason: str | None) -> None:
        """Take what an attempt retried off its request's failures, and add its own."""
        with self._lock:
            if retried is not None:
                failures.remove(retried)
            if reason is None:
                self._answers += 1
            else:
                failures.append(_Failure(reason))


class Attempt:
    """One attempt of a request."""

    def __init__(
        self, attempts: Attempts, failures: list[_Failure], retried: _Failure | None
    ) -> None:
        self._attempts, self._failures, self._retried = attempts, failures, retried

    def failed(self, reason: str) -> None:
        """It got no usable answer; a later attempt may."""
        self._end(reason)

    def answered(self) -> None:
        """It got an answer: the failure that it retried does not count."""
        self._end(None)

    def _end(self, reason: str | None) -> None:
        retried, self._retried = self._retried, None
        self._attempts.end(self._failures, retried, reason)
