"""Where our table stands: ``[tool.pytest-tiers]`` of a pyproject.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_tiers.errors import ConfigurationError


def find_table(start: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The nearest pyproject.toml with our table, from the folder ``start`` upwards."""
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        try:
            raw = path.read_bytes()
        except OSError:
            continue
        # Most projects do not use us: do not parse their file to learn that.
        if b"pytest-tiers" not in raw:
            continue
        import tomllib

        try:
            table = tomllib.loads(raw.decode()).get("tool", {}).get("pytest-tiers")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: not valid TOML: {error}") from error
        if table is not None:
            return path, table
    return None


def configuration_folder(inipath: Path | None, rootpath: Path) -> Path:
    """The folder from which our table is looked for, upwards."""
    return rootpath if inipath is None else inipath.parent
