"""Where the application's source calls a model the way OpenAI's clients do."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from msgspec import Struct

from pytest_tiers.override.sources import SourceFile

#: More files than this are not looked at, nor larger ones, nor parsed so many: a comparison ends
#: with this, and nobody waits for it.
_MOST_FILES, _LARGEST_FILE, _MOST_PARSED = 5_000, 1_000_000, 500

#: Seconds that git may take to list them.
_GIT_TIMEOUT = 5

_NEVER_LOOKED_INTO = frozenset(
    {"site-packages", "dist-packages", "node_modules", "__pycache__", "tests", "test"}
)

_METHODS = frozenset({"create", "parse", "stream"})
_RESOURCES = frozenset({"completions", "responses"})
_RAW = frozenset({"with_raw_response", "with_streaming_response"})
#: What a file that holds such a call cannot do without.
_MENTIONS = re.compile(rb"\.\s*(?:completions|responses)\b")


class WrittenCall(Struct, frozen=True):
    """A call in the source: from its first to its last line, in a function."""

    file: str
    line: int
    last_line: int
    function: str


class Scan(Struct, frozen=True):
    """What was found in ``files`` files; ``is_complete``: nothing was left out for its size."""

    calls: tuple[WrittenCall, ...]
    files: int
    is_complete: bool


def scan(root: Path, is_test: Callable[[str], bool], source: Callable[[str], SourceFile]) -> Scan:
    """Look for calls like ``client.chat.completions.create(...)`` below a folder.

    In files that git tracks or would track, outside git in all; never in tests, virtual
    environments and installed packages. Files are parsed, never imported; what cannot be read or
    parsed holds no call.
    """
    calls: list[WrittenCall] = []
    seen = parsed = 0
    is_complete = True
    for name in _python_files(root):
        if is_test(name):
            continue
        if seen == _MOST_FILES or parsed == _MOST_PARSED:
            is_complete = False
            break
        seen += 1
        if _size(root / name) > _LARGEST_FILE:
            is_complete = False
            continue
        file = source(name)
        if _MENTIONS.search(file.content):
            parsed += 1
            calls += sorted(_calls(file), key=lambda each: each.line)
    return Scan(tuple(calls), seen, is_complete)


def _python_files(root: Path) -> Iterator[str]:
    """Names below ``root``, in order."""

    @cache
    def is_environment(folder: Path) -> bool:
        return (folder / "pyvenv.cfg").exists()

    for name in sorted(_of_git(root) or _of_folder(root)):
        folders = Path(name).parts[:-1]
        if any(part in _NEVER_LOOKED_INTO or part.startswith(".") for part in folders):
            continue
        if not any(map(is_environment, (root / name).parents[: len(folders)])):
            yield name


def _of_git(root: Path) -> list[str]:
    """What git tracks, or would; nothing where git cannot say."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.py"]
    try:
        found = subprocess.run(
            command, cwd=root, capture_output=True, timeout=_GIT_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [os.fsdecode(name) for name in found.stdout.split(b"\0") if name]


def _of_folder(root: Path) -> Iterable[str]:
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        is_environment = "pyvenv.cfg" in files and Path(folder) != root
        folders[:] = [
            each
            for each in sorted(folders)
            if not is_environment and each not in _NEVER_LOOKED_INTO and not each.startswith(".")
        ]
        if not is_environment:
            below = Path(folder).relative_to(root)
            found += [(below / each).as_posix() for each in files if each.endswith(".py")]
        if len(found) > 2 * _MOST_FILES:
            break
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _calls(file: SourceFile) -> Iterator[WrittenCall]:
    if file.tree is None:
        return
    called = {
        id(node.func): node.end_lineno for node in ast.walk(file.tree) if isinstance(node, ast.Call)
    }
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Attribute) and _asks_model(node):
            function, _ = file.around(node.lineno)
            # Not called here, it is handed on under another name.
            last = called.get(id(node)) or node.end_lineno or node.lineno
            yield WrittenCall(file.name, node.lineno, last, function)


def _asks_model(node: ast.Attribute) -> bool:
    """Whether it reads like ``client.responses.create``."""
    if node.attr not in _METHODS or not isinstance(node.value, ast.Attribute):
        return False
    owner = node.value
    if owner.attr in _RAW and isinstance(owner.value, ast.Attribute):
        owner = owner.value
    return owner.attr in _RESOURCES
