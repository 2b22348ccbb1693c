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
