"""What only the tests of whole runs share."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import pytest_tiers
from tests.echo_server import EchoServer

# pytester forgets what a run has imported, so that each of hundreds of runs would import it anew
# (nine tenths of a small run's time).
for _name in (
    "aiohttp",
    "genai_prices.data",
    "h11",
    "httpcore2",
    "httpx",
    "hypothesis.database",
    "hypothesis.internal.observability",
    "openai.resources.chat.completions",
    "openai.resources.responses",
    "requests",
    "vcr.stubs.aiohttp_stubs",
    "vcr.stubs.httpx_stubs",
    *(found.name for found in pkgutil.walk_packages(pytest_tiers.__path__, "pytest_tiers.")),
):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """A service that is no model."""
    with EchoServer() as running:
        yield running


@pytest.fixture
def locked(project: pytest.Pytester) -> pytest.Pytester:
    """A project whose one prompt is locked to nano in place of full."""
    from tests.integration.test_lock import TESTS

    project.makepyfile(test_it=TESTS)
    assert project.runpytest("--tiers=nano,full", "--tiers-update-lock").ret == 0
    return project
