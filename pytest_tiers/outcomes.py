"""What a finished trial says: a pure function of what the wire and pytest saw."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pytest_tiers.records import Outcome

#: How pytest saw the test end; "setup" and "call" name the phase that failed.
TestEnd = Literal["passed", "setup", "call"]


class WireEvidence(Struct, frozen=True):
    """What happened on the wire during one trial.

    ``errors`` are the reasons of requests whose last attempt got no usable answer, of refusals
    of ours (a cassette miss, the budget, a missing key) included; ``refusals`` those of
    requests that the tier refused as such (400, 422, no such endpoint).
    """

    errors: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    answers: int = 0


def judge(end: TestEnd, message: str | None, wire: WireEvidence) -> tuple[Outcome, str | None]:
    """The outcome of a trial and its reason.

    The wire decides first: an application that catches an error and answers with a default
    has not given a wrong answer. ``message`` is the failed test's own.
    """
    if wire.errors:
        return "error", wire.errors[0]
    if end == "passed":
        return "passed", None
    if wire.refusals:
        return "unsupported", wire.refusals[0]
    if end == "setup" and not wire.answers:
        return "error", f"a fixture failed before any answer: {message}"
    return "missed", message
