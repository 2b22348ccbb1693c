"""What is wrong with a cassette that cannot be read, and in which line."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from pytest_tiers.cassettes.plain_yaml import LOADER
from pytest_tiers.errors import CassetteError

#: What git leaves in the first column; no line of an answer begins there.
_CONFLICT = re.compile(rb"^(<<<<<<<|=======|>>>>>>>)( |\r?$)", re.MULTILINE)


class MisshapenError(Exception):
    """A document that is no cassette: the problem, and the keys that lead to its place."""

    def __init__(self, problem: str, *place: str | int) -> None:
        super().__init__(problem)
        self.place = place


def damaged(path: Path, data: bytes, error: Exception) -> CassetteError:
    """The error for a cassette with the content ``data``; ``error`` is what reading it raised."""
    conflict = _CONFLICT.search(data)
    if conflict is not None:
        line, problem = _line_at(data, conflict.start()), "a merge conflict was left in it"
    elif not data.strip():
        line, problem = 1, "it is empty"
    elif isinstance(error, UnicodeDecodeError):
        line, problem = _line_at(data, error.start), f"not UTF-8 at byte {error.start}"
    elif isinstance(error, MisshapenError):
        line, problem = _line_of(data, error.place), f"not a cassette of pytest-tiers: {error}"
    elif not data.endswith(b"\n"):
        line, problem = _line_at(data, len(data)), "it is cut off"
    elif isinstance(error, RecursionError):
        line, problem = 1, "not readable as YAML: nested too deep"
    else:
        line, problem = _line_of_yaml_error(data, error), f"not readable as YAML: {_said(error)}"
    return CassetteError(f"{path}: line {line}: {problem}.")


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _line_of_yaml_error(data: bytes, error: Exception) -> int:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    if isinstance(error, yaml.YAMLError):
        return _line_at(data, getattr(error, "position", None) or 0)
    return _line_of_misfit(data)


def _said(error: Exception) -> str:
    """The error's own words, on one line."""
    if not isinstance(error, yaml.YAMLError):
        return "a value does not fit its tag"
    return str(getattr(error, "problem", None) or error).partition("\n")[0]


def _line_of_misfit(data: bytes) -> int:
    """The line of the first value that is not what its tag says, of which PyYAML tells none."""
    loader = yaml.SafeLoader(data)
    waiting = [loader.get_single_node()]
    seen = set()  # a value may hold itself
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, yaml.ScalarNode):
            try:
                loader.construct_object(node)
            except Exception:
                return int(node.start_mark.line) + 1
        elif isinstance(node, yaml.MappingNode):
            waiting += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
    return 1


def _line_of(data: bytes, place: tuple[str | int, ...]) -> int:
    """The line of what stands at ``place``, or of the last that is there on the way to it."""
    node = yaml.compose(data, Loader=LOADER)
    line = 1
    for step in place:
        node = _inside(node, step)
        if node is None:
            break
        line = node.start_mark.line + 1
    return line


def _inside(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step]  # type: ignore[no-any-return]
    return None
