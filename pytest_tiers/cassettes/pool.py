"""Answers that trials share: what one of them was given, another one need not pay for again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable

from pytest_tiers.cassettes.format import RecordedCall
from pytest_tiers.cassettes.matching import Matcher

#: What was asked, and where: two providers may give one name to two models.
_Question = tuple[str, str]


class Pool:
    """The answers of several trials, sorted by what must be the same for another to take them.

    That is the test, case and sample, and the request with its address.
    """

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._answers: defaultdict[Hashable, defaultdict[_Question, list[RecordedCall]]]
        self._answers = defaultdict(lambda: defaultdict(list))

    def add(self, trial: Hashable, calls: Iterable[RecordedCall]) -> None:
        """Take in what was answered to a trial of this test, case and sample."""
        for call in calls:
            request = call.request
            self._answers[trial][self._matcher.key(request), request.url].append(call)

    def drawer(self, trial: Hashable) -> Drawer:
        """The answers that one more trial may take, each of them once."""
        return Drawer(self._answers[trial])

    def forget(self, trial: Hashable) -> None:
        """Nobody asks for these any more."""
        self._answers.pop(trial, None)


class Drawer:
    """What one trial may take from a pool; what the pool gets later too."""

    def __init__(self, answers: dict[_Question, list[RecordedCall]]) -> None:
        self._answers = answers
        self._taken: Counter[_Question] = Counter()

    def take(self, key: str, url: str) -> RecordedCall | None:
        """The next answer to a request, by the matcher's key and its address without secrets."""
        asked = (key, url)
        known = self._answers.get(asked, [])
        number = self._taken[asked]
        self._taken[asked] += 1
        return known[number] if number < len(known) else None
