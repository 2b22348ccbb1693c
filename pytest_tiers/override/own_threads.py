"""Threads of ours that run an application's code: their calls are theirs, and nobody hears them."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

from pytest_tiers.override.router import OWNER

#: Seconds that the end of a session waits for answers that are paid for, at first without a word.
_PATIENCE, _SILENCE = 30.0, 1.0


def wait_for(threads: Sequence[threading.Thread], tell: Callable[[str], object]) -> None:
    """Wait for calls under way at the end of a session; who presses Ctrl-C does not."""
    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        for seconds in (_SILENCE, _PATIENCE):
            for thread in threads:
                thread.join(max(0.0, started + seconds - time.monotonic()))
            alive = sum(thread.is_alive() for thread in threads)
            if seconds == _SILENCE and alive:
                tell(
                    f"tiers: {alive} under way and paid for: waiting {_PATIENCE:.0f} s at most; "
                    "Ctrl-C waits no longer"
                )


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Keep threads with an `OWNER` apart from the running test, as long as it lasts.

    What the application does in further threads in their name is theirs too. What they print and
    log belongs to no test, and they stop at no breakpoint: the test that runs again says it all.
    """
    with contextlib.ExitStack() as stack:
        patch = mock.patch.object
        stack.enter_context(patch(threading.Thread, "start", _inheriting(threading.Thread.start)))
        submit = _carrying(ThreadPoolExecutor.submit)
        stack.enter_context(patch(ThreadPoolExecutor, "submit", submit))
        for name in ("stdout", "stderr"):
            stack.enter_context(patch(sys, name, _Muted(getattr(sys, name))))
        stack.enter_context(patch(sys, "breakpointhook", _not_there(sys.breakpointhook)))
        for handler in list(logging.getLogger().handlers):
            handler.addFilter(_is_heard)
            stack.callback(handler.removeFilter, _is_heard)
        yield


def _is_heard(_: Any = None) -> bool:
    return OWNER.get() is None


def _inheriting(original: Callable[[threading.Thread], None]) -> Callable[..., None]:
    """`Thread.start`, for whom the starting thread works."""

    def start(self: threading.Thread) -> None:
        owner, run = OWNER.get(), self.run

        def owned() -> None:
            OWNER.set(owner)
            run()

        if owner is not None:
            self.run = owned  # type: ignore[method-assign]
        original(self)

    return start


def _carrying(original: Callable[..., Any]) -> Callable[..., Any]:
    """`ThreadPoolExecutor.submit`: its threads may have been started for somebody else."""

    def submit(self: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        owner = OWNER.get()

        def owned(*args: Any, **kwargs: Any) -> Any:
            token = OWNER.set(owner)
            try:
                return function(*args, **kwargs)
            finally:
                OWNER.reset(token)

        return original(self, owned, *args, **kwargs)

    return submit


def _not_there(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: original(*args, **kwargs) if _is_heard() else None


class _Muted:
    """A text stream that does not take what our own threads write."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or only say so."""
        return int(self._stream.write(text)) if _is_heard() else len(text)

    def writelines(self, lines: Any) -> None:
        """Write lines, or nothing."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
