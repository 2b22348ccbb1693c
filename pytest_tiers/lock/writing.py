"""Writes tiers.lock: only what changed, in stable order, with the comments of humans kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_tiers.cassettes.journal import write_atomically
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.lock.layout import VERSION, as_table, revert_as_table
from pytest_tiers.lock.reading import header_of, parse
from pytest_tiers.records import Lock, LockEntry, Revert

#: A part of the file: ``prompts`` or ``reverted``, and the prompt.
_Owner = tuple[str, str]
_NOBODY: _Owner = ("", "")

_PREAMBLE = f"""\
# The tier each prompt runs on, and the evidence for it. Written by pytest --tiers-update-lock;
# comments are kept.
version = {VERSION}
"""


def update(
    path: Path,
    changed: Iterable[LockEntry] = (),
    *,
    removed: Collection[str] = (),
    reverts: Iterable[Revert] = (),
) -> None:
    """Write the changed entries and the reverts over older ones, and leave all else alone.

    ``removed`` are the prompts that are not locked any more. Raises ConfigurationError where the
    file cannot be read, or not be edited entry by entry; OSError where it cannot be written.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = updated(path, before, changed, removed=removed, reverts=reverts)
    if after != before:
        write_atomically(path, after)


def updated(
    path: Path,
    before: str,
    changed: Iterable[LockEntry] = (),
    *,
    removed: Collection[str] = (),
    reverts: Iterable[Revert] = (),
) -> str:
    """The text of the file at ``path`` after `update`. Raises ConfigurationError."""
    before = before or _PREAMBLE
    known = parse(path, before)
    entries = {**known.prompts, **{entry.prompt: entry for entry in changed}}
    entries = {prompt: entries[prompt] for prompt in entries if prompt not in removed}
    gone = {(each.prompt, each.tier): each for each in (*known.reverts, *reverts)}
    tables: dict[_Owner, Mapping[str, Any]] = {
        ("prompts", prompt): as_table(entry) for prompt, entry in entries.items()
    }
    for prompt in {prompt for prompt, _ in gone}:
        tables["reverted", prompt] = {
            tier: revert_as_table(each)
            for (of_prompt, tier), each in sorted(gone.items())
            if of_prompt == prompt
        }
    preamble, blocks = _blocks(before)
    edited = {owner: _edited(blocks.get(owner, ""), owner, tables[owner]) for owner in tables}
    after = "\n".join([preamble.rstrip("\n") + "\n", *(edited[owner] for owner in sorted(edited))])
    wanted = Lock(entries, tuple(gone[key] for key in sorted(gone)))
    if _is_lost(path, after, wanted):
        raise ConfigurationError(
            f'{path}: its entries are not in the form [prompts."..."], so it cannot be updated '
            "without a risk. Delete it (git keeps it) and run again."
        )
    return after


def _is_lost(path: Path, text: str, wanted: Lock) -> bool:
    """Whether the text says anything else than it should."""
    try:
        return parse(path, text) != wanted
    except ConfigurationError:
        return True


def _blocks(text: str) -> tuple[str, dict[_Owner, str]]:
    """What stands before the first prompt, and each prompt's part of the file.

    A comment right above a header belongs to its prompt.
    """
    owner = _NOBODY
    parts: dict[_Owner, list[str]] = {owner: []}
    above: list[str] = []
    for line in text.split("\n"):
        keys = header_of(line)
        if keys[:1] in (("prompts",), ("reverted",)) and len(keys) > 1:
            owner = (keys[0], keys[1])
        elif line.lstrip().startswith("#"):
            above.append(line)
            continue
        parts.setdefault(owner, []).extend([*above, line])
        above = []
    parts[owner] += above
    found = {name: "\n".join(lines).strip("\n") + "\n" for name, lines in parts.items()}
    return found.pop(_NOBODY), found


def _edited(block: str, owner: _Owner, wanted: Mapping[str, Any]) -> str:
    """A prompt's part of the file, changed only where it says something else."""
    import tomlkit

    document = tomlkit.parse(block)
    section, prompt = owner
    if not block:
        sections = document[section] = tomlkit.table(is_super_table=True)
        sections[prompt] = tomlkit.table(is_super_table=section == "reverted")
    table: Any = document[section]
    _edit(table[prompt], wanted)
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
