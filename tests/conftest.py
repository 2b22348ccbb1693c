"""What the plugin's own tests share: a real server, and projects that know nothing of us."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore2  # noqa: F401
import hypothesis
import openai  # noqa: F401
import pytest

import pytest_tiers.reports.terminal
import pytest_tiers.runner  # noqa: F401
from tests.openai_server import OpenAIServer

# Imported above, though not used: pytester removes from sys.modules what a run has imported, and
# yaml's compiled module does not work when it is imported again. It saves a second a run, too.

pytest_plugins = ["pytester"]

# A machine that is busy with something else fails no test.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

#: Three tiers on one server: the model's name in the request tells them apart.
TIERS = """
[tool.pytest.ini_options]
asyncio_default_fixture_loop_scope = "function"
addopts = ["--strict-markers"]

[tool.pytest-tiers.tiers.nano]
model = "nano-model"
base_url = "{url}"
price_as = "gpt-5.4-nano"

[tool.pytest-tiers.tiers.mini]
model = "mini-model"
base_url = "{url}"
price_as = "gpt-5.4-mini"

[tool.pytest-tiers.tiers.full]
model = "full-model"
base_url = "{url}"
price_as = "gpt-5.4"
"""

#: An application as a team has it: its own client, made at import, and a hard-coded model.
APP = """
from openai import OpenAI

client = OpenAI()


def ask(text):
    completion = client.chat.completions.create(
        model="gpt-5.4", max_tokens=50, messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content
"""


@pytest.fixture(autouse=True)
def _no_outer_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither CI's nor a developer's environment may decide what a test sees."""
    for name in (
        "CI",
        "GITHUB_ACTIONS",
        "GITHUB_STEP_SUMMARY",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "NO_COLOR",
        "FORCE_COLOR",
        "PY_COLORS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    # A module that a test writes again within a second, at the same length, must not be taken for
    # the one before. Of this process only: others need not compile us anew each time.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def says(text: str, part: str) -> bool:
    """Whether a text has a part, wherever its lines were broken: within a long path, too."""
    return "".join(part.split()) in "".join(text.split())


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A server that answers OK; a test sets ``server.answer``."""
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def project(pytester: pytest.Pytester, server: OpenAIServer) -> pytest.Pytester:
    """A project with `APP` as app.py and `TIERS` for ``server`` in its pyproject.toml."""
    pytester.makepyprojecttoml(TIERS.format(url=server.url))
    pytester.makepyfile(app=APP)
    pytester.syspathinsert()
    return pytester


@pytest.fixture
def report(pytester: pytest.Pytester) -> Callable[[], dict[str, Any]]:
    """Reads the JSON report that the last run wrote to out.json."""

    def read() -> dict[str, Any]:
        written: dict[str, Any] = json.loads((Path(pytester.path) / "out.json").read_text())
        return written

    return read
