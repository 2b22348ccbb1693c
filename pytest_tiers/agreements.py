"""Whether two outputs say the same: as text, as JSON, or deeply. Builtins in, an answer out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

#: Ways to compare that need nothing but the two outputs: any process can settle them.
PLAIN = ("deep", "text", "json")

#: Ways to compare that ask a model.
ASKING = ("semantic", "judge")

#: What is said of a judge whose answer changes with the order of the outputs.
CONTRADICTS = "the judge contradicts itself when the order of the two outputs changes"

#: Outputs may be nested this deeply: JSON, pytest-xdist and DeepDiff recurse into them.
DEEPEST = 100

#: Lists up to this length are aligned, to tell what was inserted: for 2,000 labels DeepDiff takes
#: minutes for that. Longer ones are compared element by element, with the same answer.
_LONGEST_ALIGNED = 100

#: Options that say themselves how lists are compared.
_LIST_OPTIONS = {"ignore_order", "iterable_compare_func", "zip_ordered_iterables"}

#: A difference is kept for reports up to this many characters.
_LONGEST_DIFFERENCE = 2000

#: A project's own comparison: the flagship's output, the candidate's; a degree of agreement.
Judgement = Callable[[Any, Any], Any]


class How(Struct, frozen=True):
    """How a test wants its output compared.

    ``by`` is the name of a way, None for the default: text as ``text``, anything else ``deep``.
    ``judgement`` is the test's own callable, which is not sent to another process.
    ``has_hook`` means that the project's hook is asked first.
    """

    by: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    judgement: Judgement | None = None
    has_hook: bool = False

    @property
    def asks(self) -> bool:
        """Whether it asks a configured model."""
        return self.judgement is None and self.by in ASKING and "embed" not in self.options

    @property
    def travels(self) -> bool:
        """Whether any process can settle it: a plain way whose options are builtins."""
        is_plain = self.by is None or self.by in PLAIN
        return is_plain and not self.has_hook and _is_builtin(self.options)


class Degree(Struct, frozen=True):
    """How far two outputs agree, from 0 to 1, and what differs; None where that cannot be told."""

    value: float | None
    difference: str | None = None
    error: str | None = None


def plainly(by: str | None, flagship: Any, candidate: Any, options: Mapping[str, Any]) -> Degree:
    """Compare two outputs in one of the ways in `PLAIN`; None: by their type.

    Text agrees apart from case and white space. JSON is parsed and then compared deeply, by
    DeepDiff and its ``options``.
    """
    if by is None:
        both_text = isinstance(flagship, str) and isinstance(candidate, str)
        by = "text" if both_text and not options else "deep"
    if by == "text":
        return Degree(float(_folded(flagship) == _folded(candidate)))
    if by == "json":
        try:
            flagship, candidate = _parsed("the flagship's", flagship), _parsed("its", candidate)
        except ValueError as error:
            return Degree(0.0, str(error))
    return _deeply(flagship, candidate, options)


def check_options(by: str | None, options: Mapping[str, Any]) -> None:
    """See that DeepDiff takes the options. Raises ValueError or TypeError saying why not."""
    if by == "text" and options:
        raise ValueError(f'by="text" takes no options, got {", ".join(options)}')
    if options:
        from deepdiff import DeepDiff

        DeepDiff({"a": [1]}, {"a": [2]}, **options)


def check_depth(value: Any) -> None:
    """See that a value from JSON is not nested deeper than `DEEPEST`. Raises ValueError."""
    level = [value]
    for _ in range(DEEPEST + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return
        level = [
            inner
            for each in containers
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def degree_of(value: Any, threshold: float | None) -> Degree:
    """What a project's own comparison answered: True, False, or a number from 0 to 1.

    With a ``threshold`` a number is a yes or a no. Raises ValueError for anything else.
    """
    plain = value.item() if hasattr(value, "item") else value  # numpy's
    if not isinstance(plain, bool | int | float) or not 0 <= plain <= 1:
        raise ValueError(f"expected True, False or a number from 0 to 1, got {value!r}")
    if threshold is None or isinstance(plain, bool):
        return Degree(float(plain))
    return Degree(float(plain >= threshold), f"{plain:.3g}, threshold {threshold:g}")


def _deeply(flagship: Any, candidate: Any, options: Mapping[str, Any]) -> Degree:
    # Settles nearly every pair, 100 times faster than DeepDiff would.
    if repr(flagship) == repr(candidate):
        return Degree(1.0)
    from deepdiff import DeepDiff

    if _longest_list(flagship) > _LONGEST_ALIGNED and _LIST_OPTIONS.isdisjoint(options):
        options = {**options, "zip_ordered_iterables": True}
    try:
        # Builtins that came from JSON: no cycles, and nothing whose comparison has side effects.
        found = DeepDiff(flagship, candidate, **options)
    except Exception as error:  # options may hold the project's own functions
        return Degree(None, error=f"DeepDiff: {type(error).__name__}: {error}")
    return Degree(0.0, _shortened(found.pretty())) if found else Degree(1.0)


def _longest_list(value: Any) -> int:
    if isinstance(value, dict):
        return max(map(_longest_list, value.values()), default=0)
    if isinstance(value, list):
        return max(len(value), *map(_longest_list, value), 0)
    return 0


def _parsed(whose: str, output: Any) -> Any:
    if not isinstance(output, str):
        return output
    try:
        parsed = json.loads(output)
        check_depth(parsed)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{whose} output is no JSON: {error}") from None
    return parsed


def _folded(text: Any) -> str:
    return " ".join(str(text).split()).casefold()


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_DIFFERENCE:
        return text
    return f"{text[:_LONGEST_DIFFERENCE]}…"


def _is_builtin(value: Any) -> bool:
    """Whether a value survives the way to another process unchanged."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_builtin(each) for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_builtin, value))
    return value is None or isinstance(value, bool | int | float | str)
