"""Writes the reports of a run: the suffix of each path decides its format."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tiers.errors import ConfigurationError

if TYPE_CHECKING:
    from pytest_tiers.findings import RunSummary


def write(summary: RunSummary, path: Path) -> None:
    """Write the report to ``path``, whose suffix is one of `SUFFIXES`, as `save` does."""
    # Half a character, which an answer's own JSON can hold, has no UTF-8 form.
    parts = (part.encode(errors="backslashreplace") for part in _FORMATS[path.suffix](summary))
    save(parts, path, "--tiers-report")


def save(parts: Iterable[bytes], path: Path, option: str) -> None:
    """Write a file at once or not at all, with its folder where it is missing.

    Raises `ConfigurationError`, which names the ``option``, where the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, parts)
    except OSError as error:
        raise ConfigurationError(
            f"{option}: cannot write {path}: {error.strerror or error}; "
            "give a path of a file in a folder that can be written"
        ) from error


def _json(summary: RunSummary) -> Iterator[str]:
    from pytest_tiers.reports.json import parts

    return parts(summary)


def _html(summary: RunSummary) -> Iterator[str]:
    from pytest_tiers.reports.html import parts

    return parts(summary)


def _markdown(summary: RunSummary) -> Iterator[str]:
    from pytest_tiers.reports.markdown import parts

    return parts(summary)


#: What renders a report, in pieces of text, by suffix.
_FORMATS: Mapping[str, Callable[[RunSummary], Iterable[str]]] = {
    ".json": _json,
    ".html": _html,
    ".md": _markdown,
}

SUFFIXES = tuple(_FORMATS)


def _replace(path: Path, parts: Iterable[bytes]) -> None:
    # Not tempfile: its files are for the owner alone, and a report is for the team.
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
