"""A project with one tiered test, and what a run of it says."""

from __future__ import annotations

from typing import Any

import pytest

PYTEST = """
[tool.pytest.ini_options]
asyncio_default_fixture_loop_scope = "function"
"""

#: A tier on a server of its own.
TIER = """
[tool.pytest-tiers.tiers.{name}]
model = "{name}-model"
base_url = "{url}"
price_as = "gpt-5.4-nano"
{more}
"""

ONE_TEST = """
import pytest
from app import ask

@pytest.mark.tiers
def test_ask():
    assert ask("hello")
"""


def run_one(
    project: pytest.Pytester, *args: str, app: str | None = None, config: str | None = None
) -> pytest.RunResult:
    """Run one test of the application's ``ask()``, which must say something."""
    if app is not None:
        project.makepyfile(app=app)
    if config is not None:
        project.makepyprojecttoml(PYTEST + config)
    project.makepyfile(test_it=ONE_TEST)
    return project.runpytest("--tiers-report=out.json", *args)


def calls(report: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    """The calls of a run's trials, in order, that have these values."""
    found = [call for trial in report["trials"] for call in trial["calls"]]
    return [call for call in found if all(call[key] == wanted[key] for key in wanted)]


def outcomes(report: dict[str, Any]) -> list[str]:
    """The outcomes of a run's trials, in order."""
    return [trial["outcome"] for trial in report["trials"]]
