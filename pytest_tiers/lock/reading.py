"""Reads tiers.lock."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pytest_tiers.configuration import Place
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.lock.layout import VERSION, from_table, revert_from_table
from pytest_tiers.records import Lock

#: A line that git writes where two branches changed the same place.
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)")


def read(path: Path) -> Lock:
    """What a lock file says; nothing where there is no file.

    Raises ConfigurationError naming file and line where it cannot be used.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        return parse(path, raw.decode())
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path} line {line}: not UTF-8; restore the file.") from error


def parse(path: Path, text: str) -> Lock:
    """What the text of a lock file says. Raises ConfigurationError naming file and line."""
    import tomllib

    for number, line in enumerate(text.split("\n"), start=1):
        if _CONFLICT.match(line):
            raise ConfigurationError(
                f"{path} line {number}: a merge conflict. Keep one side of each entry, or take "
                "either file and run pytest --tiers-update-lock."
            )
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}. Mend or restore it.") from error
    top = _Line(str(path), "tiers.lock", text, ())
    top.known_keys(document, ("version", "prompts", "reverted"))
    if document.get("version") != VERSION:
        raise top.key("version").wrong(
            f"expected {VERSION}, got {document.get('version')!r}. Use the pytest-tiers that "
            "wrote it, or a newer one."
        )
    prompts = top.key("prompts").table(document.get("prompts", {}))
    reverted = top.key("reverted").table(document.get("reverted", {}))
    return Lock(
        {
            prompt: from_table(
                _Line(str(path), f'[prompts."{prompt}"]', text, (prompt,)), prompt, table
            )
            for prompt, table in sorted(prompts.items())
        },
        tuple(
            revert_from_table(
                _Line(str(path), f'[reverted."{prompt}".{tier}]', text, ("reverted", prompt, tier)),
                prompt,
                tier,
                table,
            )
            for prompt, tiers in sorted(reverted.items())
            for tier, table in sorted(top.key("reverted").table(tiers).items())
        ),
    )


class _Line(Place, frozen=True):
    """A place whose errors name the line. ``keys`` lead there from the prompt's name."""

    document: str
    keys: tuple[str, ...]

    def key(self, key: str) -> Place:
        return _Line(self.source, f"{self.name} {key}", self.document, (*self.keys, key))

    def wrong(self, problem: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.source} line {_line_of(self.document, self.keys)}: {self.name}: {problem}"
        )


def _line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line of the last of ``keys`` that can be found, each after the one before."""
    lines = text.split("\n")
    at = 0
    for key in keys:
        shown = re.escape(key.replace("\\", "\\\\").replace('"', '\\"'))
        word = re.compile(rf"""(^\s*|[\["'.{{,\s]){shown}(?=["'\].\s=])""")
        at = next((n for n in range(at, len(lines)) if word.search(lines[n])), at)
    return at + 1


def header_of(line: str) -> tuple[Any, ...]:
    """The keys of a table's header line, ``[prompts."a".evidence]``; () for any other line."""
    import tomllib

    if not line.lstrip().startswith("["):
        return ()
    try:
        value: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    keys = []
    while isinstance(value, dict) and value:
        key, value = next(iter(value.items()))
        keys.append(key)
    return tuple(keys)
