"""Hooks that a project may implement in its conftest.py."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookspec
def pytest_tiers_normalise_request(request: dict[str, Any]) -> None:
    """Change, in place, what of a request is compared with recorded ones.

    ``request`` has ``method``, ``url`` (the endpoint for calls of a model) and ``body`` (parsed
    JSON where it is JSON, else text). Called for new and for recorded requests; what goes out
    is not changed.
    """


@pytest.hookspec(firstresult=True)
def pytest_tiers_compare(
    by: str | None, flagship: Any, candidate: Any, options: dict[str, Any]
) -> bool | float | None:
    """Whether a candidate's output agrees with the flagship's: a project's own comparison.

    Called for ``tier.compare(output, by=NAME, **options)`` with a name that is none of ours, and
    with ``by`` None where a test names no way. ``flagship`` and ``candidate`` are what JSON makes
    of the outputs. Returns True, False, a degree of agreement from 0 to 1, or None: not mine.
    """
