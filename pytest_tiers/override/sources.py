"""Where a line stands in its source file, said so that moving lines does not change it."""

from __future__ import annotations

import ast
import hashlib
from functools import cached_property
from pathlib import Path
from typing import cast

Function = ast.FunctionDef | ast.AsyncFunctionDef


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
        if self.tree is None:
            return f"{self.name}:{function}/line {line}"
        name, body = self.around(line)
        statements = sorted(
            (node for node in ast.walk(body) if isinstance(node, ast.stmt) and node is not body),
            key=lambda node: (node.lineno, node.col_offset),
        )
        before = [node for node in statements if node.lineno <= line]
        hashed: ast.AST = body if isinstance(body, Function) else before[-1] if before else body
        digest = hashlib.sha256(ast.unparse(hashed).encode(errors="replace")).hexdigest()[:8]
        # Lines of a module come and go, and say nothing about the call: only its own counts.
        number = len(before) if isinstance(body, Function) else 0
        return f"{self.name}:{name}/{number}#{digest}"

    def around(self, line: int) -> tuple[str, ast.AST]:
        """The innermost function around a line, by its qualified name; else the module."""
        assert self.tree is not None
        name, body = "<module>", cast("ast.AST", self.tree)
        for qualified, node in self.functions:
            if _first_line(node) <= line <= (node.end_lineno or 0):
                name, body = qualified, node  # the innermost comes last
        return name, body

    @cached_property
    def content(self) -> bytes:
        """The file as it is; empty where it cannot be read."""
        try:
            return self._path.read_bytes()
        except OSError:
            return b""

    @cached_property
    def tree(self) -> ast.Module | None:
        """The file's syntax tree, None where it has none."""
        try:
            return ast.parse(self.content) if self.content else None
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    @cached_property
    def functions(self) -> list[tuple[str, Function]]:
        """Every function with its qualified name, outer ones first."""
        assert self.tree is not None
        return list(_functions(self.tree, ""))


def _functions(node: ast.AST, prefix: str) -> list[tuple[str, Function]]:
    found: list[tuple[str, Function]] = []
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, Function | ast.ClassDef):
            inner = f"{prefix}{child.name}."
        if isinstance(child, Function):
            found.append((f"{prefix}{child.name}", child))
        found += _functions(child, inner)
    return found


def _first_line(node: Function) -> int:
    """The line of the first decorator, or of the function itself."""
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])
