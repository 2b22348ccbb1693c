"""Tests that reach an OpenAI client, for a suite in which none is tiered yet."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType


def nothing_tiered(tests: Iterable[tuple[str, Sequence[ModuleType | None]]], root: Path) -> str:
    """What to say when ``--tiers`` finds nothing to run.

    ``tests`` are names of test functions with the modules of each and of its fixtures, ``root``
    is the project's folder.
    """
    found = (name for name, modules in tests if _reach_openai(modules, root))
    functions = list(dict.fromkeys(found))
    how = (
        "Mark the tests that prompt a model with @pytest.mark.tiers, or name their files in "
        'pyproject.toml: [tool.pytest-tiers] tests = ["tests/llm/**"].'
    )
    if not functions:
        return f"--tiers: no test here is tiered, and none was seen to use an OpenAI client. {how}"
    more = f"\n  ... and {len(functions) - 10} more" if len(functions) > 10 else ""
    listed = "".join(f"\n  {function}" for function in functions[:10])
    return f"--tiers: no test here is tiered. These reach an OpenAI client:{listed}{more}\n{how}"


def _reach_openai(modules: Sequence[ModuleType | None], root: Path) -> bool:
    """Whether one of these modules, or one of the project that they import, imports openai."""
    waiting, seen = list(modules), set()
    while waiting:
        current = waiting.pop()
        if current is None or current in seen or not _is_in_project(current, root):
            continue
        seen.add(current)
        imported = _imports(current)
        if any(name.partition(".")[0] == "openai" for name in imported):
            return True
        waiting += [sys.modules.get(name) for name in imported]
    return False


def _is_in_project(module: ModuleType, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(root) and "site-packages" not in file


def _imports(module: ModuleType) -> set[str]:
    """Names of the modules that a module's source imports, at any depth."""
    try:
        tree = ast.parse(Path(str(module.__file__)).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    names = set()
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, [start, node.module]))
            names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return names
