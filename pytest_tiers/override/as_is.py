"""``pytest_tiers.as_is()``: calls that no tier stands in for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_LEFT_ALONE: ContextVar[bool] = ContextVar("pytest_tiers_as_is", default=False)


@contextlib.contextmanager
def as_is() -> Iterator[None]:
    """Leave the model calls made inside alone: a judge keeps its own model.

    They are recorded all the same, and their cost is shown apart. Outside a run of
    pytest-tiers this does nothing. A thread started inside does not inherit it; an asyncio
    task does.
    """
    token = _LEFT_ALONE.set(True)
    try:
        yield
    finally:
        _LEFT_ALONE.reset(token)


def is_as_is() -> bool:
    """Whether the caller is inside ``as_is()``."""
    return _LEFT_ALONE.get()
