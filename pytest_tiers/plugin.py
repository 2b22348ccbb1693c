"""pytest's hooks; each hands its work to the object that does it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_tiers import command_line, hookspecs, markers
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.fixtures import tier
from pytest_tiers.override.keys import PlaceholderKey
from pytest_tiers.standby import Standby, wants_placeholder

__all__ = ["tier"]

#: Everything of ours in this pytest session.
STANDBY = pytest.StashKey[Standby]()
#: The placeholder for a missing key.
PLACEHOLDER = pytest.StashKey[PlaceholderKey]()


def pytest_addoption(parser: pytest.Parser) -> None:
    command_line.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    placeholder = early_config.stash.setdefault(PLACEHOLDER, PlaceholderKey())
    if wants_placeholder(args, early_config.inipath, early_config.rootpath):
        placeholder.put()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", markers.DESCRIPTION)
    config.addinivalue_line("markers", markers.MUST_PASS_DESCRIPTION)
    try:
        # A conftest that loads us comes after the hook that makes the placeholder.
        placeholder = config.stash.setdefault(PLACEHOLDER, PlaceholderKey())
        config.stash[STANDBY] = Standby(config, placeholder)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, Any, Any]:
    result = yield
    metafunc.config.stash[STANDBY].parametrize(metafunc)
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[PLACEHOLDER].take_away()
    if STANDBY in config.stash:
        config.stash[STANDBY].close()
