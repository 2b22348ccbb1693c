"""Patches for libraries that a project may import late or never: importing them takes time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: What is done with a module as soon as it is imported.
Patch = Callable[[ModuleType], None]


@contextlib.contextmanager
def when_imported(patches: Mapping[str, Patch]) -> Iterator[None]:
    """Hand each module of these names to its patch, now or when somebody imports it."""
    finder = _Finder(patches)
    sys.meta_path.insert(0, finder)
    try:
        for name, patch in patches.items():
            if (module := sys.modules.get(name)) is not None:
                patch(module)
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Finds what the other finders find, and has it patched when it was executed."""

    def __init__(self, patches: Mapping[str, Patch]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As importlib asks."""
        patch = self._patches.get(fullname)
        if patch is None:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                patch(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
