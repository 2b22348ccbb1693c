"""Which line of the application made a call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

#: Libraries whose own model calls judge answers; a tier does not stand in for them.
EVALUATION_LIBRARIES = frozenset(
    {"deepeval", "ragas", "autoevals", "openevals", "pydantic_evals", "inspect_ai"}
)


def call_site(root: Path, is_test_file: Callable[[Path], bool]) -> str | None:
    """The application's line that is calling now, as ``app/triage.py:3 route``.

    The first frame of the project (below ``root``, not an installed package) that is no test;
    if there is none, the first of the project. None for a call from nowhere in the project.
    """
    in_test = None
    for frame in _stack():
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(root) or _is_installed(path):
            continue
        site = f"{path.relative_to(root).as_posix()}:{frame.f_lineno} {frame.f_code.co_name}"
        if not is_test_file(path):
            return site
        in_test = in_test or site
    return in_test


def evaluation_library() -> str | None:
    """The evaluation library on whose behalf the caller calls, if any."""
    for frame in _stack():
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in EVALUATION_LIBRARIES:
            return package
    return None


def _stack() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_installed(path: Path) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
