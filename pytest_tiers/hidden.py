"""Runs a test once more unseen: neither pytest's totals nor --lf, junitxml or xdist count it."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import pytest
from _pytest.runner import runtestprotocol


class HiddenRuns:
    """Hidden runs of a session's items. They leave set up what the tests of a parent share."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._by_parent: dict[pytest.Item | pytest.Collector | None, list[pytest.Item]] = {}

    def sibling(self, item: pytest.Item) -> pytest.Item | None:
        """Another test of the same parent: what they share outlives a run with it to follow."""
        if not self._by_parent:
            for other in item.session.items:
                self._by_parent.setdefault(other.parent, []).append(other)
        found = self._by_parent.get(item.parent, [])
        return next((other for other in found[:2] if other is not item), None)

    def may_run(self, item: pytest.Item) -> bool:
        """Whether nothing of a hidden run of an item would be seen."""
        option = self._config.option
        return not (
            option.setuponly
            or option.setupshow
            or option.trace
            or "subtests" in getattr(item, "fixturenames", ())
        )

    def run(self, item: pytest.Item, sibling: pytest.Item) -> None:
        """Run an item; the reports of its phases are made, and logged nowhere."""
        with _as_it_was(item), _silence(self._config):
            runtestprotocol(item, log=False, nextitem=sibling)


@contextlib.contextmanager
def stashed(item: pytest.Item, values: Mapping[Any, Any]) -> Iterator[None]:
    """Let an item have other values in its stash; none where one is None. Then those it had."""
    before = {key: item.stash.get(key, None) for key in values}
    try:
        _put(item, values)
        yield
    finally:
        _put(item, before)


def _put(item: pytest.Item, values: Mapping[Any, Any]) -> None:
    for key, value in values.items():
        if value is not None:
            item.stash[key] = value
        elif key in item.stash:
            del item.stash[key]


def conceal(report: pytest.TestReport) -> None:
    """Keep the failure of a hidden run from everybody."""
    if not report.passed or hasattr(report, "wasxfail"):
        report.outcome = "skipped"
        report.wasxfail = "hidden"


@contextlib.contextmanager
def _as_it_was(item: pytest.Item) -> Iterator[None]:
    """Leave no trace on an item: it may still have to run, on an instance of its own."""
    properties, sections = list(item.user_properties), list(item._report_sections)
    with contextlib.ExitStack() as stack:
        if isinstance(item, pytest.Function) and isinstance(item.parent, pytest.Class):
            another = item.parent.newinstance()  # type: ignore[no-untyped-call]  # pytest's
            method = getattr(another, item.originalname)
            stack.enter_context(mock.patch.object(item, "_instance", another))
            stack.enter_context(mock.patch.object(item, "_obj", method))
        try:
            yield
        finally:
            item.user_properties[:] = properties
            item._report_sections[:] = sections


@contextlib.contextmanager
def _silence(config: pytest.Config) -> Iterator[None]:
    """Keep warnings, and without capture what tests print, from being shown twice."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(record=True))
        if config.option.capture == "no":
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield
