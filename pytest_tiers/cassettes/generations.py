"""Which recordings were made together: a number for each, which grows when they are made anew.

An answer that is replaced after its outcome was seen is a discarded sample: who replaces only
those that missed will find any model good. Recordings of one prompt and tier that are not of one
generation give no verdict (see `pytest_tiers.history`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec.structs import replace

from pytest_tiers.cassettes.format import Cassette, Recording, TrialKey

#: What a trial that was recorded before became when it was recorded again: the same answers, or
#: another answer to a request that it had made before. A trial whose requests changed does not
#: repeat anything.
Repeats = Literal["same", "other"]


class Repeated(Protocol):
    """What is asked of an attempt here."""

    @property
    def key(self) -> TrialKey:
        """Case and sample."""
        raise NotImplementedError

    @property
    def repeats(self) -> Repeats | None:
        """Whether a complete trial made its requests before, None where it did not."""
        raise NotImplementedError


def next_number(recorded: Iterable[tuple[Cassette | None, Sequence[Repeated]]]) -> int:
    """The generation of all that was recorded again together, on one tier.

    ``recorded`` are the cassettes as they were, with the attempts that go into each. It is a new
    number where an answer changed, or where all lag behind others of their cassettes; otherwise
    nothing was discarded, and it is the highest that one of them has.
    """
    number = newest = 0
    changed = False
    for cassette, attempts in recorded:
        before = cassette.recordings if cassette else {}
        repeated = [each for each in attempts if each.repeats is not None and each.key in before]
        if repeated:
            number = max(number, *(before[each.key].generation for each in repeated))
            newest = max(newest, *(recording.generation for recording in before.values()))
            changed = changed or any(each.repeats == "other" for each in repeated)
    return number + (changed or number < newest)


def count(
    cassette: Cassette,
    before: Mapping[TrialKey, Recording],
    attempts: Iterable[Repeated],
    number: int,
) -> None:
    """Set the generations of a cassette that has taken attempts in; ``before`` it was so.

    All that were recorded again together get the same ``number``, also where the answer stayed
    the same: it could have changed. What is new joins the newest generation of its cassette.
    """
    again = {attempt.key for attempt in attempts if attempt.repeats is not None}
    repeated = again & before.keys() & cassette.recordings.keys()
    for key in repeated:
        _set(cassette, key, number)
    fresh = [
        key
        for key, recording in cassette.recordings.items()
        if key not in repeated and before.get(key) is not recording
    ]
    newest = max(
        (each.generation for key, each in cassette.recordings.items() if key not in fresh),
        default=0,
    )
    for key in fresh:
        _set(cassette, key, newest)


def _set(cassette: Cassette, key: TrialKey, number: int) -> None:
    cassette.recordings[key] = replace(cassette.recordings[key], generation=number)
