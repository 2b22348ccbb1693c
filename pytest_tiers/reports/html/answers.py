"""Two answers side by side: what differs between them, and how much of each is shown."""

from __future__ import annotations

import difflib
import re
from itertools import zip_longest

from msgspec import Struct

from pytest_tiers.records import Trial
from pytest_tiers.reports.differences import said
from pytest_tiers.reports.numbers import count
from pytest_tiers.reports.text import visible

#: A long answer is shown from a little before the first difference, in characters.
_KEPT_BEFORE = 200

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


class Piece(Struct, frozen=True):
    """A part of an answer as a reader sees it; ``differs`` from the other one's."""

    text: str
    differs: bool


class Shown(Struct, frozen=True):
    """What is shown of an answer; ``before`` and ``after`` name what is left out, or are empty."""

    pieces: tuple[Piece, ...]
    before: str = ""
    after: str = ""


def side_by_side(flagship: Trial, candidate: Trial, most: int) -> tuple[Shown, Shown]:
    """What each said, at most ``most`` characters of it, with the difference marked.

    Control characters are spelled out.
    """
    old, new = said(flagship), said(candidate)
    if old is None or new is None:
        return _alone(old, most), _alone(new, most)
    start = _first_shown(old, new, most)
    end = start + most
    olds, news = _marked(old[start:end], new[start:end])
    before = f"… {count(start, 'equal character')} before" if start else ""
    return (
        Shown(olds, before, _left_out(old, end)),
        Shown(news, before, _left_out(new, end)),
    )


def _alone(text: str | None, most: int) -> Shown:
    if text is None:
        return Shown((), after="no answer")
    shown = Piece(visible(text[:most]), differs=False)
    return Shown((shown,), after=_left_out(text, most))


def _left_out(text: str, end: int) -> str:
    return f"… {count(len(text) - end, 'more character')}" if len(text) > end else ""


def _first_shown(old: str, new: str, most: int) -> int:
    """Where to begin, so that the first difference is in view."""
    if max(len(old), len(new)) <= most:
        return 0
    pairs = enumerate(zip_longest(old, new))
    differs = next((at for at, (a, b) in pairs if a != b), 0)
    return max(0, differs - _KEPT_BEFORE)


def _marked(old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Both texts in pieces that agree or differ, word by word."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    olds: list[Piece] = []
    news: list[Piece] = []
    # Its "autojunk" keeps hostile answers, the same word a thousand times, from taking minutes.
    matcher = difflib.SequenceMatcher(None, before, after)
    for what, a, b, c, d in matcher.get_opcodes():
        for pieces, words in ((olds, before[a:b]), (news, after[c:d])):
            if words:
                pieces.append(Piece(visible("".join(words)), differs=what != "equal"))
    return tuple(olds), tuple(news)
