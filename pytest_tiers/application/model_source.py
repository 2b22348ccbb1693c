"""Where the application writes the model that a call asks for."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.findings import ModelSource
from pytest_tiers.override.sources import Function, SourceFile
from pytest_tiers.records import CallSite

_UNKNOWN = ModelSource("unknown")

#: Names are followed so far: through arguments, defaults and assignments.
_MOST_STEPS = 12

#: Longer expressions are no help to a reader.
_LONGEST_TEXT = 60


class _Step(Struct, frozen=True):
    """An expression that gives the model, in line ``lines[at]`` of the call's stack."""

    value: ast.expr
    at: int


class ModelFinder:
    """Finds where models are written; ``source`` gives a file by its name below pytest's root."""

    def __init__(self, source: Callable[[str], SourceFile]) -> None:
        self._source = source

    def find(self, lines: Sequence[CallSite], asked: str) -> ModelSource:
        """Where the model ``asked`` for by a call comes from, by the lines that made the call.

        ``lines`` are the application's, innermost first.
        """
        if not lines or self._source(lines[0].file).tree is None:
            return _UNKNOWN
        found = [
            self._follow(lines, _Step(keyword.value, 0), asked)
            if keyword.arg == "model"
            else ModelSource(
                "computed", f"**{_text(keyword.value)}", lines[0].file, keyword.value.lineno
            )
            for call in _calls(self._tree(lines[0]), lines[0].line)
            for keyword in call.keywords
            if keyword.arg in ("model", None)
        ]
        exact = [each for each in found if each.kind == "literal"]
        if len(exact) > 1:  # several calls in one line: any of them may be meant
            return replace(exact[0], span=None)
        return next(iter([*exact, *found]), None) or self._only_mention(lines[0], asked)

    def _tree(self, line: CallSite) -> ast.Module:
        tree = self._source(line.file).tree
        assert tree is not None
        return tree

    def _only_mention(self, line: CallSite, asked: str) -> ModelSource:
        """The one place of the file that names the model, for a call that names none."""
        mentions = [
            node
            for node in ast.walk(self._tree(line))
            if isinstance(node, ast.Constant) and node.value == asked
        ]
        if len(mentions) != 1:
            return _UNKNOWN
        return ModelSource("unknown", asked, line.file, mentions[0].lineno)

    def _follow(
        self, lines: Sequence[CallSite], step: _Step, asked: str, left: int = _MOST_STEPS
    ) -> ModelSource:
        value, line = step.value, lines[step.at]
        here = ModelSource("computed", _text(value), line.file, value.lineno)
        if variable := _environment(value):
            return replace(here, kind="environment", text=variable)
        match value:
            case ast.Constant(value=str(text)):
                if text != asked:
                    return replace(here, kind="unknown")
                span = _span(self._source(line.file).content, value)
                return replace(here, kind="literal", span=span)
            case ast.Attribute():
                return replace(here, kind="attribute")
            case ast.Name(id=name) if left:
                return self._named(lines, step, name, asked, left - 1)
        return here

    def _named(
        self, lines: Sequence[CallSite], step: _Step, name: str, asked: str, left: int
    ) -> ModelSource:
        line = lines[step.at]
        here = ModelSource("computed", name, line.file, step.value.lineno)
        _, function = self._source(line.file).around(step.value.lineno)
        if isinstance(function, Function):
            if name in _parameters(function):
                return self._argument(lines, step.at, function, name, asked, left)
            if local := _assigned(function, name):
                return self._variable(lines, step.at, local, name, asked, left, "variable")
        tree = self._tree(line)
        if module := _imported(tree, name):
            return replace(here, kind="imported", text=f"{name} of {module}")
        if values := _assigned(tree, name):
            return self._variable(lines, step.at, values, name, asked, left, "constant")
        return here

    def _variable(
        self,
        lines: Sequence[CallSite],
        at: int,
        values: Sequence[ast.expr],
        name: str,
        asked: str,
        left: int,
        kind: str,
    ) -> ModelSource:
        """What a name was given; it is known only where that happens once."""
        if len(values) > 1:
            return ModelSource("computed", name, lines[at].file, values[0].lineno)
        found = self._follow(lines, _Step(values[0], at), asked, left)
        if found.kind != "literal":
            return found
        return ModelSource(
            "variable" if kind == "variable" else "constant", name, found.file, found.line
        )

    def _argument(
        self,
        lines: Sequence[CallSite],
        at: int,
        function: Function,
        name: str,
        asked: str,
        left: int,
    ) -> ModelSource:
        """The value of a parameter: what the caller passes, else its default."""
        what = f"{name} of {function.name}()"
        here = ModelSource("argument", what, lines[at].file, function.lineno)
        caller = self._caller(lines, at)
        passed: ast.expr | None = None
        if caller is not None:
            calls = [
                call
                for call in _calls(self._tree(lines[caller]), lines[caller].line)
                if _called_name(call) == function.name
            ]
            if len(calls) != 1 or any(isinstance(each, ast.Starred) for each in calls[0].args):
                return here
            passed = _passed(calls[0], function, name)
            if passed is None and any(keyword.arg is None for keyword in calls[0].keywords):
                return here
        if passed is not None and caller is not None:
            return self._follow(lines, _Step(passed, caller), asked, left)
        default = _default(function, name)
        if default is None:
            return here
        found = self._follow(lines, _Step(default, at), asked, left)
        if found.kind == "literal":
            return replace(here, kind="default", line=found.line)
        # A test passed something else than the default.
        return here if found.kind == "unknown" else found

    def _caller(self, lines: Sequence[CallSite], at: int) -> int | None:
        """The line that called the function of ``lines[at]``; a comprehension is no function."""
        own, _ = self._source(lines[at].file).around(lines[at].line)
        for number in range(at + 1, len(lines)):
            if self._source(lines[number].file).tree is None:
                return None
            is_inside = lines[number - 1].label.rpartition(" ")[2].startswith("<")
            around, _ = self._source(lines[number].file).around(lines[number].line)
            if not (is_inside and lines[number].file == lines[at].file and around == own):
                return number
        return None


def _calls(tree: ast.Module, line: int) -> list[ast.Call]:
    """The calls that a line is part of, the innermost first."""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    # ast.walk goes from the outside in.
    return found[::-1]


def _called_name(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None


def _parameters(function: Function) -> list[str]:
    arguments = function.args
    known = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [each.arg for each in known]


def _passed(call: ast.Call, function: Function, name: str) -> ast.expr | None:
    """What a call gives for a parameter, None where it gives nothing."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    positional = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    if positional[:1] in (["self"], ["cls"]):
        positional = positional[1:]
    if name in positional and positional.index(name) < len(call.args):
        return call.args[positional.index(name)]
    return None


def _default(function: Function, name: str) -> ast.expr | None:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    pairs = [
        *zip(with_default, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return next((value for parameter, value in pairs if parameter.arg == name), None)


def _assigned(scope: ast.AST, name: str) -> list[ast.expr]:
    """What a name is given in a function or module, functions inside left out."""
    found: list[ast.expr] = []
    for node in _own_nodes(scope):
        match node:
            case ast.Assign(targets=targets, value=value):
                if any(isinstance(each, ast.Name) and each.id == name for each in targets):
                    found.append(value)
            case (
                ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value)
                | ast.NamedExpr(target=ast.Name(id=target), value=value)
                | ast.AugAssign(target=ast.Name(id=target), value=value)
            ) if target == name:
                found.append(value)
                if isinstance(node, ast.AugAssign):
                    found.append(value)  # whatever it was before: not known
    return found


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, Function | ast.ClassDef | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _imported(tree: ast.Module, name: str) -> str | None:
    """The module that a name is imported from."""
    for node in _own_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return "." * node.level + (node.module or "")
    return None


def _environment(value: ast.expr) -> str | None:
    """The environment variable that an expression reads."""
    for node in ast.walk(value):
        match node:
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
                if ast.unparse(func) in ("os.getenv", "getenv", "os.environ.get", "environ.get"):
                    return name
            case ast.Subscript(value=source, slice=ast.Constant(value=str(name))):
                if ast.unparse(source) in ("os.environ", "environ"):
                    return name
    return None


def _text(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _span(content: bytes, literal: ast.Constant) -> tuple[int, int] | None:
    """Where a literal stands in a file, in bytes; None unless it is plain text in quotes.

    Python counts the columns of a line in UTF-8, whatever the file's encoding.
    """
    if literal.end_lineno != literal.lineno or literal.end_col_offset is None:
        return None
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
        raw = content.splitlines(keepends=True)
        line = raw[literal.lineno - 1]
        before = sum(map(len, raw[: literal.lineno - 1]))
        mark = b""
        if encoding == "utf-8-sig":
            encoding = "utf-8"
            mark = b"\xef\xbb\xbf" if literal.lineno == 1 else b""
        text = line.removeprefix(mark).decode(encoding).encode()
        start, end = (
            before + len(mark) + len(text[:column].decode().encode(encoding))
            for column in (literal.col_offset, literal.end_col_offset)
        )
        written = content[start:end].decode(encoding)
    except (SyntaxError, UnicodeError, IndexError):
        return None
    is_plain = written[:1] in ("'", '"') and written[1:-1] == literal.value
    return (start, end) if is_plain and written[0] == written[-1] else None
