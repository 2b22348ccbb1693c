"""Which line of the application made a call, and which lines called that one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

from pytest_tiers.override.named_site import named_site
from pytest_tiers.override.sources import SourceFile
from pytest_tiers.records import CallSite

#: Libraries whose own model calls judge answers; a tier does not stand in for them.
EVALUATION_LIBRARIES = frozenset(
    {"deepeval", "ragas", "autoevals", "openevals", "pydantic_evals", "inspect_ai"}
)

#: Lines of the application that a call remembers.
_MOST_LINES = 12

#: How far from where a coroutine was made the application's line may be: SDKs wrap theirs.
_ORIGIN_DEPTH = 16

#: Where an event loop begins to run a task: what stands further out did not make the call.
_LOOP_RUNS: CodeType = asyncio.Handle._run.__code__

#: A line that may be a call site: its file, number and function.
_Line = tuple[str, int, str]


class SiteFinder:
    """Finds the application's lines on the stack of a call.

    The application is what stands below ``root``, in no installed package and in no test.
    """

    def __init__(self, root: Path, is_test_file: Callable[[Path], bool]) -> None:
        self._root, self._is_test_file = root, is_test_file
        #: The project's file of a name; None for what is not the project's.
        self._file = functools.cache(self._look_up)
        self._tests: set[str] = set()
        self._sites: dict[_Line, CallSite] = {}

    def find(self) -> tuple[CallSite, ...]:
        """The application's lines that are calling now, innermost first.

        Inside ``pytest_tiers.site()`` it is the name alone. A call of no line of the
        application is the test's own. Empty for a call from nowhere in the project.
        """
        if (name := named_site()) is not None:
            return (CallSite(name, f"site:{name}"),)
        return self.lines()

    def lines(self) -> tuple[CallSite, ...]:
        """As `find`, whatever name the application gives them."""
        lines = self._lines()
        found = [line for line in lines if line[0] not in self._tests] or lines[:1]
        return tuple(map(self._site, found[:_MOST_LINES]))

    def innermost(self) -> CallSite | None:
        """The application's innermost line, None where no line of it is calling."""
        found = (line for line in self._lines() if line[0] not in self._tests)
        line = next(found, None)
        return None if line is None else self._site(line)

    def _lines(self) -> list[_Line]:
        """The project's lines that are calling now, of its application and its tests."""
        lines = list(self._lines_from(sys._getframe(1)))
        if all(line[0] in self._tests for line in lines) and not _in_main_thread():
            # A library's thread calls for the line that waits for it.
            frame = sys._current_frames().get(threading.main_thread().ident or 0)
            lines += self._lines_from(frame)
        return lines

    def _lines_from(self, frame: FrameType | None) -> Iterator[_Line]:
        """The project's lines on a stack; for a task of asyncio also those that made it."""
        while frame is not None:
            code = frame.f_code
            if code is _LOOP_RUNS and (origin := _task_origin()):
                yield from (line for line in origin if self._file(line[0]) is not None)
                return
            if self._file(code.co_filename) is not None:
                yield code.co_filename, frame.f_lineno, code.co_name
            frame = frame.f_back

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Have each coroutine remember where it was made: a task's stack does not tell."""
        depth = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(max(depth, _ORIGIN_DEPTH))
        try:
            yield
        finally:
            sys.set_coroutine_origin_tracking_depth(depth)

    def _site(self, line: _Line) -> CallSite:
        if line not in self._sites:
            file, number, function = line
            source = self._file(file)
            assert source is not None
            label = f"{source.name}:{number} {function}"
            self._sites[line] = CallSite(label, source.place(number, function))
        return self._sites[line]

    def _look_up(self, file: str) -> SourceFile | None:
        path = Path(file)
        if not path.is_relative_to(self._root) or _is_installed(path):
            return None
        if self._is_test_file(path):
            self._tests.add(file)
        return SourceFile(path, path.relative_to(self._root).as_posix())


def evaluation_library() -> str | None:
    """The evaluation library on whose behalf the caller calls, if any."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if library := _library(str(frame.f_globals.get("__name__"))):
            return library
        frame = frame.f_back
    return None


@functools.lru_cache(maxsize=4096)  # each call looks through its whole stack
def _library(module: str) -> str | None:
    package = module.partition(".")[0]
    return package if package in EVALUATION_LIBRARIES else None


def _task_origin() -> tuple[_Line, ...]:
    """Where the coroutine of the running task was made, innermost first, if that is known."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return ()
    return getattr(task.get_coro(), "cr_origin", None) or () if task is not None else ()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_installed(path: Path) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
