"""Text that fits a terminal and cannot harm it: width, wrapping, shortening, escapes."""

from __future__ import annotations

import re
import shutil
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

#: Narrower terminals get lines of this width all the same.
NARROWEST = 60

#: Longer lines of prose are hard to read, however wide the terminal is.
WIDEST_PROSE = 120

_WIDE = ("F", "W")
_ZERO_WIDTH = ("Mn", "Me")
_NEVER_RAW = ("Cc", "Cf", "Zl", "Zp")
_ELLIPSIS = "…"
_ESCAPE = re.compile(r"(?<!\\)\\(?:x[89a-f][0-9a-f]|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})")


def display_width(text: str) -> int:
    """How many terminal columns the text takes: wide East Asian characters take two."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def visible(text: str) -> str:
    """The text with every control and format character spelled out, except line feeds.

    A model's answer may hold ANSI escapes or marks that reverse the text; a terminal must
    show them, not obey them. Lone surrogates cannot be written and become U+FFFD.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    if category in _NEVER_RAW and character != "\n":
        return character.encode("unicode_escape").decode("ascii")
    return character


def unescaped(case: str) -> str:
    """A case's name as its author wrote it: pytest spells out what is not ASCII."""
    return _ESCAPE.sub(lambda found: chr(int(found.group()[2:], 16)), case)


def one_line(text: str, limit: int = 200) -> str:
    """The first line that is not blank, made visible, cut after ``limit`` characters."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    shown = visible(first[: limit + 1]).strip()
    return shown if len(first) <= limit else cut(shown, limit)


def cut(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis, in at most ``width`` columns."""
    if display_width(text) <= width:
        return text
    return _head(text, width - 1) + _ELLIPSIS


def cut_start(text: str, width: int) -> str:
    """The text, or an ellipsis and its end, in at most ``width`` columns."""
    if display_width(text) <= width:
        return text
    return _ELLIPSIS + _tail(text, width - 1)


def _head(text: str, width: int) -> str:
    taken = 0
    for index, character in enumerate(text):
        taken += _columns(character)
        if taken > width:
            return text[:index]
    return text


def _tail(text: str, width: int) -> str:
    return _head(text[::-1], width)[::-1]


def shorten_id(prompt: str, width: int) -> str:
    """A prompt's id in at most ``width`` columns: the path is cut before the function name."""
    if display_width(prompt) <= width:
        return prompt
    path, separator, name = prompt.rpartition("::")
    room = width - display_width(separator + name) - 1
    if path and room >= 1:
        return _head(path, room) + _ELLIPSIS + separator + name
    half = (width - 1) // 2
    return _head(name, width - 1 - half) + _ELLIPSIS + _tail(name, half)


def shorten_ids(prompts: Sequence[str], width: int) -> list[str]:
    """`shorten_id` for each; those that would look alike keep their end instead."""
    short = [shorten_id(prompt, width) for prompt in prompts]
    owners: dict[str, set[str]] = {}
    for label, prompt in zip(short, prompts, strict=True):
        owners.setdefault(label, set()).add(prompt)
    return [
        label if len(owners[label]) == 1 else cut_start(prompt, width)
        for label, prompt in zip(short, prompts, strict=True)
    ]


def wrap(
    text: str, width: int, *, first: str = "", rest: str = "", keeps_words: bool = False
) -> list[str]:
    """Prose in lines of at most ``width`` columns, with the given indents.

    With ``keeps_words`` a longer word, which may be a path to copy, stays whole.
    """
    lines: list[str] = []
    # textwrap counts characters. Where some are wide, a smaller limit makes every line fit.
    for limit in range(width, width // 2 - 1, -1):
        lines = textwrap.wrap(
            text,
            limit,
            initial_indent=first,
            subsequent_indent=rest,
            break_on_hyphens=False,
            break_long_words=not keeps_words,
        )
        fitting = [line for line in lines if not (keeps_words and len(line.split()) == 1)]
        if all(display_width(line) <= width for line in fitting):
            break
    return lines


def prose(text: str, width: int | None = None) -> str:
    """A message in lines that fit a terminal of that width; without it, the one there is.

    Only a word that is longer, a path or a test's id, does not.
    """
    columns = shutil.get_terminal_size().columns if width is None else width
    room = max(NARROWEST, min(WIDEST_PROSE, columns))
    return "\n".join(wrap(text, room, rest="  ", keeps_words=True))


def chunks(line: str, width: int) -> list[str]:
    """The line cut into pieces of at most ``width`` columns, every blank kept."""
    pieces: list[str] = []
    while display_width(line) > width:
        piece = _head(line, width)
        pieces.append(piece)
        line = line[len(piece) :]
    return [*pieces, line]


def listed(names: Iterable[str], most: int = 3) -> str:
    """Names in one phrase: "a, b and c", or "a, b, c and 17 more"."""
    known = list(names)
    shown = known[:most]
    if len(known) > most:
        return f"{', '.join(shown)} and {len(known) - most:,} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
