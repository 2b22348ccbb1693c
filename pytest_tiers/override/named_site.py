"""``pytest_tiers.site("planner")``: a name for the calls that are made inside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_NAME: ContextVar[str | None] = ContextVar("pytest_tiers_site", default=None)


@contextlib.contextmanager
def site(name: str) -> Iterator[None]:
    """Name the call site of the model calls made inside, where the stack cannot tell it.

    Outside a run of pytest-tiers this does nothing. The innermost name counts. A thread started
    inside does not inherit it, except by `asyncio.to_thread`; an asyncio task does.
    Raises ValueError where the name is empty or no text.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'pytest_tiers.site: expected a name such as "planner", got {name!r}.')
    token = _NAME.set(name)
    try:
        yield
    finally:
        _NAME.reset(token)


def named_site() -> str | None:
    """The name that holds for a call made now, if any."""
    return _NAME.get()
