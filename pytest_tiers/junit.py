"""pytest's JUnit report (``--junitxml``): what it says of trials beside their outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_tiers.findings import RunSummary
    from pytest_tiers.records import Trial


def describe(config: pytest.Config, report: pytest.TestReport, trial: Trial) -> None:
    """Let a trial's test case have properties, where its family of JUnit files allows that.

    pytest's default family, xunit2, does not.
    """
    if getattr(config.option, "xmlpath", None) is None:
        return
    if config.getini("junit_family") == "xunit2":
        return
    from pytest_tiers.reports.junit import trial_properties

    report.user_properties += trial_properties(trial)


def complete(config: pytest.Config, summary: RunSummary) -> None:
    """Write the report once more, now with what only the end of the session knows."""
    if getattr(config.option, "xmlpath", None) is None:
        return
    from _pytest.junitxml import xml_key

    from pytest_tiers.reports.junit import suite_properties

    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    for name, value in suite_properties(summary):
        xml.add_global_property(_valid(name), value)
    xml.pytest_sessionfinish()


def _valid(name: str) -> str:
    """A name as XML can hold it; pytest sees to values only."""
    from _pytest.junitxml import bin_xml_escape

    return bin_xml_escape(name)
