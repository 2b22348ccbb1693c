"""Which tests may run in several threads at once, and with which arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

#: Plugins whose fixtures of function scope do nothing without a ``vcr`` marker, which a tiered test
#: cannot have.
_HARMLESS = frozenset({"pytest_recording.plugin", "cassetter.pytest_plugin.fixtures"})

#: How pytest calls the function behind a parameter of `parametrize` that is no fixture's.
_DIRECT = "get_direct_param_fixture_func"

#: pytest's names of the fixtures that run a class's or a module's own set-up for each test.
_SETUP = re.compile(r"_xunit_(setup_\w+?)_fixture_")


def obstacle(item: pytest.Function, is_given: Callable[[str], bool]) -> str | None:
    """Why a test's body cannot run in several threads at once, and what to do; None: it can.

    ``is_given`` tells the names of fixtures that each thread is given one of its own of.
    """
    if inspect.iscoroutinefunction(item.function) or inspect.isasyncgenfunction(item.function):
        return (
            "it is async. Remove `concurrent`: the first call of each case goes to all tiers at "
            "once all the same."
        )
    if hasattr(item.function, "patchings"):
        return (
            "@mock.patch changes what all threads see. Patch in a fixture of wider scope, or "
            "remove `concurrent`."
        )
    for name in item._fixtureinfo.initialnames:
        if name == "request":
            return _needs(name, "")
        found = item._fixtureinfo.name2fixturedefs.get(name)
        if found is None or is_given(name) or _is_direct(found[-1]):
            continue
        if found[-1].scope == "function" and found[-1].func.__module__ not in _HARMLESS:
            shown = _SETUP.match(name)
            return _needs(shown.group(1) if shown else name, " give it a wider scope,")
    return None


def _needs(fixture: str, or_else: str) -> str:
    return (
        f'it needs "{fixture}", which each test has one of its own of; only `tier`, parameters and '
        "fixtures of wider scope can be had in several threads. Do its work in the test,"
        f"{or_else} or remove `concurrent`."
    )


def is_same_for_all_cases(item: pytest.Function, given: str) -> bool:
    """Whether each fixture has the same value in all cases of a test, but for ``given``."""
    fixtures = item._fixtureinfo.name2fixturedefs
    found = {name: fixtures.get(name) for name in item.callspec.params if name != given}
    return all(
        each is not None and _is_direct(each[-1]) and each[-1].scope == "function"
        for each in found.values()
    )


def body(
    item: pytest.Function, shared: Mapping[str, Any], given: Mapping[str, Any]
) -> Callable[[], object]:
    """The test's body as it runs beside another of the same test.

    ``shared`` are the fixture values of that other one, ``given`` those that are its own. A
    method gets an instance of its own.
    """
    fixtures = item._fixtureinfo.name2fixturedefs
    arguments = {}
    for name in item._fixtureinfo.argnames:
        if name in given:
            arguments[name] = given[name]
        elif name in fixtures and _is_direct(fixtures[name][-1]):
            arguments[name] = item.callspec.params[name]
        else:
            arguments[name] = shared[name]

    def run() -> object:
        if not isinstance(item.parent, pytest.Class):
            return item.obj(**arguments)
        return getattr(item.parent.obj(), item.originalname)(**arguments)

    return run


def _is_direct(fixture: pytest.FixtureDef[Any]) -> bool:
    return getattr(fixture.func, "__name__", "") == _DIRECT
