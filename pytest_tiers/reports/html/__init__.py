"""The HTML report: one file that needs neither network nor script."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import RunSummary


def parts(summary: RunSummary) -> Iterator[str]:
    """The report in pieces of text."""
    from pytest_tiers.reports.html.render import render

    return render(summary)
