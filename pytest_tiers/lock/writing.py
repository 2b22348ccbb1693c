"""Writes tiers.lock: only what changed, in stable order, with the comments of humans kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_tiers.cassettes.journal import write_atomically
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.lock.layout import VERSION, as_table
from pytest_tiers.lock.reading import entries, header_of
from pytest_tiers.records import LockEntry

_PREAMBLE = f"""\
# The tier each prompt runs on, and the evidence for it. Written by pytest --tiers-update-lock;
# comments are kept.
version = {VERSION}
"""


def update(path: Path, changed: Iterable[LockEntry]) -> None:
    """Write the changed entries over those of the same prompts, and leave all others alone.

    Raises ConfigurationError where the file cannot be read, or not be edited entry by entry;
    OSError where it cannot be written.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = updated(path, before, changed)
    if after != before:
        write_atomically(path, after)


def updated(path: Path, before: str, changed: Iterable[LockEntry]) -> str:
    """The text of the file at ``path`` with the changed entries. Raises ConfigurationError."""
    before = before or _PREAMBLE
    wanted = {**entries(path, before), **{entry.prompt: entry for entry in changed}}
    preamble, blocks = _blocks(before)
    for entry in wanted.values():
        blocks[entry.prompt] = _edited(blocks.get(entry.prompt, ""), entry)
    after = "\n".join([preamble.rstrip("\n") + "\n", *(blocks[name] for name in sorted(blocks))])
    if _is_lost(path, after, wanted):
        raise ConfigurationError(
            f'{path}: its entries are not in the form [prompts."..."], so it cannot be updated '
            "without a risk. Delete it (git keeps it) and run again."
        )
    return after


def _is_lost(path: Path, text: str, wanted: Mapping[str, LockEntry]) -> bool:
    """Whether the text says anything else than it should."""
    try:
        return entries(path, text) != wanted
    except ConfigurationError:
        return True


def _blocks(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first prompt, and each prompt's part of the file.

    A comment right above a header belongs to its prompt.
    """
    owner = ""
    parts: dict[str, list[str]] = {owner: []}
    above: list[str] = []
    for line in text.split("\n"):
        keys = header_of(line)
        if keys[:1] == ("prompts",) and len(keys) > 1:
            owner = keys[1]
        elif line.lstrip().startswith("#"):
            above.append(line)
            continue
        parts.setdefault(owner, []).extend([*above, line])
        above = []
    parts[owner] += above
    found = {name: "\n".join(lines).strip("\n") + "\n" for name, lines in parts.items()}
    return found.pop(""), found


def _edited(block: str, entry: LockEntry) -> str:
    """The prompt's part of the file, changed only where it says something else."""
    import tomlkit

    document = tomlkit.parse(block)
    if not block:
        prompts = document["prompts"] = tomlkit.table(is_super_table=True)
        prompts[entry.prompt] = tomlkit.table()
    table: Any = document["prompts"][entry.prompt]
    _edit(table, as_table(entry))
    return tomlkit.dumps(document).strip("\n") + "\n"


def _edit(table: Any, wanted: Mapping[str, Any]) -> None:
    """Make a table of tomlkit say what is wanted, empty tables left out."""
    import tomlkit

    for key in [key for key in table if wanted.get(key) in (None, {})]:
        del table[key]
    for key, value in wanted.items():
        if isinstance(value, dict):
            if value and key not in table:
                table[key] = tomlkit.table()
            if value:
                _edit(table[key], value)
        elif key not in table or table[key] != value:
            table[key] = value
