"""The safe downgrades as a unified diff, which ``git apply`` applies."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pytest_tiers.findings import Change

#: A path that git writes in quotes.
_UNUSUAL = re.compile(rb'[^\x20-\x7e]|["\\]')


def repository(folder: Path) -> Path | None:
    """The root of the git repository that a folder is in."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)


def patch(changes: Iterable[Change], content: Callable[[str], bytes], prefix: str) -> bytes:
    """The changes that are ``in_diff``; a byte that is not to change stays as it is.

    ``content`` gives a file by its name below pytest's root, ``prefix`` is the way from the
    repository's root to that ("" or "sub/").
    """
    edits: defaultdict[str, dict[tuple[int, int], str]] = defaultdict(dict)
    for change in changes:
        source = change.source
        if change.in_diff and source.file is not None and source.span is not None:
            edits[source.file][source.span] = change.model
    return b"".join(
        part
        for file in sorted(edits)
        for part in _file_diff(f"{prefix}{file}", content(file), edits[file])
    )


def _file_diff(path: str, before: bytes, edits: dict[tuple[int, int], str]) -> Iterator[bytes]:
    after = before
    for (start, end), model in sorted(edits.items(), reverse=True):
        # The quotes stay, and a model's name is ASCII: the file's encoding does not matter.
        after = after[: start + 1] + model.encode() + after[end - 1 :]
    old, new = _quoted(f"a/{path}"), _quoted(f"b/{path}")
    yield b"diff --git " + old + b" " + new + b"\n"
    lines = difflib.diff_bytes(
        difflib.unified_diff, _lines(before), _lines(after), _end(old), _end(new), lineterm=b"\n"
    )
    for line in lines:
        yield line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"


def _lines(content: bytes) -> list[bytes]:
    """Lines as git counts them."""
    return re.findall(rb"[^\n]*\n|[^\n]+", content)


def _quoted(path: str) -> bytes:
    """A path as git writes it."""
    raw = path.encode(errors="surrogateescape")
    if not _UNUSUAL.search(raw):
        return raw
    return b'"' + _UNUSUAL.sub(_escaped, raw) + b'"'


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\%03o" % ord(found[0])


def _end(path: bytes) -> bytes:
    """A path as it ends a line: a tab says where one with spaces ends."""
    return path + b"\t" if b" " in path and not path.startswith(b'"') else path
