"""Waits for a sign that the project uses us: until then nothing else of ours is imported.

Importing it takes longer than pytest needs to start.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tiers.census import Census
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.lock import FILE as LOCK_FILE
from pytest_tiers.markers import asks_for_tier, is_marked
from pytest_tiers.override.keys import PlaceholderKey
from pytest_tiers.table import configuration_folder, find_table

if TYPE_CHECKING:
    from pytest_tiers.session import TierSession


class Standby:
    """A plugin object: makes the session when an option, a file or a test asks for it.

    Raises ConfigurationError where the settings of a project that uses us cannot be used.
    """

    def __init__(self, config: pytest.Config, placeholder: PlaceholderKey) -> None:
        self._config, self._placeholder = config, placeholder
        self._census = Census()
        self._session: TierSession | None = None
        if _is_asked_for(config):
            self._begin()
        # Registered later than pytest's own --lf and --ff, so our hooks see what these leave.
        config.pluginmanager.register(self, "tiers-standby")
        config.pluginmanager.register(self._census, "tiers-census")

    def _begin(self) -> TierSession:
        if self._session is None:
            from pytest_tiers.session import TierSession

            self._session = TierSession(self._config, self._placeholder, self._census)
        return self._session

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Add tiers and samples to a tiered test."""
        is_sign = is_marked(metafunc.definition) or asks_for_tier(
            metafunc.fixturenames, metafunc._arg2fixturedefs
        )
        session = self._begin() if is_sign else self._session
        if session is not None:
            session.collection.parametrize(metafunc)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Begin when all other plugins are done."""
        found = len(items)
        yield
        left_out = found - len(items)
        self._census.end(failed=bool(session.testsfailed), left_out=left_out)
        if self._session is not None or any(map(is_marked, items)):
            self._begin().begin(session, items, left_out=left_out)

    def pytest_collection_finish(self) -> None:
        """From here on only trials see the placeholder."""
        self._placeholder.take_away()

    def close(self) -> None:
        """Give back what the session holds."""
        if self._session is not None:
            self._session.close()


def wants_placeholder(args: list[str], inipath: Path | None, rootpath: Path) -> bool:
    """Whether the project opted in, by an option, our table or a lock file, and not out again."""
    try:
        found = find_table(configuration_folder(inipath, rootpath))
    except ConfigurationError:
        return False  # reported when the settings are read
    if found is None:
        asked = any(arg.startswith("--tiers") for arg in args)
        return asked or (rootpath / LOCK_FILE).exists()
    table: Any = found[1]
    return not isinstance(table, dict) or table.get("placeholder_key") is not False


def _is_asked_for(config: pytest.Config) -> bool:
    """Whether the session has to be there from the start.

    Where xdist runs the tests, too: its controller does not collect, so no test tells it.
    """
    if hasattr(config, "workerinput") or config.getoption("dist", "no") != "no":
        return True
    given = (value for name, value in vars(config.option).items() if name.startswith("tiers"))
    if any(value not in (None, False, []) for value in given):
        return True
    found = find_table(configuration_folder(config.inipath, config.rootpath))
    return found is not None or (config.rootpath / LOCK_FILE).exists()
