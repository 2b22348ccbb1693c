"""Where a line stands in its source file, said so that moving lines does not change it."""

from __future__ import annotations

import ast
import hashlib
from functools import cached_property
from pathlib import Path

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class SourceFile:
    """One Python file of the application, parsed when a call first comes from it."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self.name = path, name

    def place(self, line: int, function: str) -> str:
        """The place of ``line``, as ``app/triage.py:Desk.route/2#1f3a9c2e``.

        File, function, which of its statements, and a hash of the function's source without
        comments and blank lines. ``function`` names it where the source cannot be read; the
        line number then stands for the rest.
        """
        if self._tree is None:
            return f"{self.name}:{function}/line {line}"
        name = "<module>"
        body: ast.AST = self._tree
        for qualified, node in self._functions:
            if _first_line(node) <= line <= (node.end_lineno or 0):
                name, body = qualified, node  # the innermost comes last
        statements = sorted(
            (node for node in ast.walk(body) if isinstance(node, ast.stmt) and node is not body),
            key=lambda node: (node.lineno, node.col_offset),
        )
        before = [node for node in statements if node.lineno <= line]
        hashed: ast.AST = body if isinstance(body, _Function) else before[-1] if before else body
        digest = hashlib.sha256(ast.unparse(hashed).encode(errors="replace")).hexdigest()[:8]
        # Lines of a module come and go, and say nothing about the call: only its own counts.
        number = len(before) if isinstance(body, _Function) else 0
        return f"{self.name}:{name}/{number}#{digest}"

    @cached_property
    def _tree(self) -> ast.Module | None:
        try:
            return ast.parse(self._path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return None

    @cached_property
    def _functions(self) -> list[tuple[str, _Function]]:
        """Every function with its qualified name, outer ones first."""
        assert self._tree is not None
        return list(_functions(self._tree, ""))


def _functions(node: ast.AST, prefix: str) -> list[tuple[str, _Function]]:
    found: list[tuple[str, _Function]] = []
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, _Function | ast.ClassDef):
            inner = f"{prefix}{child.name}."
        if isinstance(child, _Function):
            found.append((f"{prefix}{child.name}", child))
        found += _functions(child, inner)
    return found


def _first_line(node: _Function) -> int:
    """The line of the first decorator, or of the function itself."""
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])
