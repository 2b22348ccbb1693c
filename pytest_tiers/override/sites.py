"""Which line of the application made a call, and which lines called that one."""

from __future__ import annotations

import asyncio
import contextlib
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
        #: By file name; None for what is not the project's.
        self._files: dict[str, SourceFile | None] = {}
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
        found = [self._site(line) for line in lines if self._is_application(line[0])]
        if not found:
            found = [self._site(line) for line in lines if self._file(line[0])][:1]
        return tuple(found[:_MOST_LINES])

    def innermost(self) -> CallSite | None:
        """The application's innermost line, None where no line of it is calling."""
        found = (line for line in self._lines() if self._is_application(line[0]))
        line = next(found, None)
        return None if line is None else self._site(line)

    def _lines(self) -> list[_Line]:
        lines = list(_stack_lines())
        if not self._has_application(lines) and not _in_main_thread():
            # A library's thread calls for the line that waits for it.
            frame = sys._current_frames().get(threading.main_thread().ident or 0)
            lines += _lines_from(frame)
        return lines

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Have each coroutine remember where it was made: a task's stack does not tell."""
        depth = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(max(depth, _ORIGIN_DEPTH))
        try:
            yield
        finally:
            sys.set_coroutine_origin_tracking_depth(depth)

    def _has_application(self, lines: list[_Line]) -> bool:
        return any(self._is_application(file) for file, _, _ in lines)

    def _is_application(self, file: str) -> bool:
        return self._file(file) is not None and file not in self._tests

    def _site(self, line: _Line) -> CallSite:
        if line not in self._sites:
            file, number, function = line
            source = self._file(file)
            assert source is not None
            label = f"{source.name}:{number} {function}"
            self._sites[line] = CallSite(label, source.place(number, function))
        return self._sites[line]

    def _file(self, file: str) -> SourceFile | None:
        """The project's file of this name; None where it is not the project's."""
        if file not in self._files:
            path = Path(file)
            is_ours = path.is_relative_to(self._root) and not _is_installed(path)
            name = path.relative_to(self._root).as_posix() if is_ours else ""
            if is_ours and self._is_test_file(path):
                self._tests.add(file)
            self._files[file] = SourceFile(path, name) if is_ours else None
        return self._files[file]


def evaluation_library() -> str | None:
    """The evaluation library on whose behalf the caller calls, if any."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in EVALUATION_LIBRARIES:
            return package
        frame = frame.f_back
    return None


def _stack_lines() -> Iterator[_Line]:
    """The lines that are calling now; for a task of asyncio also those that made it."""
    return _lines_from(sys._getframe(1))


def _lines_from(frame: FrameType | None) -> Iterator[_Line]:
    while frame is not None:
        code = frame.f_code
        if code is _LOOP_RUNS and (origin := _task_origin()):
            yield from origin
            return
        yield code.co_filename, frame.f_lineno, code.co_name
        frame = frame.f_back


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
