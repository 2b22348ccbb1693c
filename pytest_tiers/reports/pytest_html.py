"""Our section in the report of pytest-html, if that is installed."""

from __future__ import annotations

from html import escape

from pytest_tiers.findings import RunSummary
from pytest_tiers.reports.terminal import summary_lines

#: Columns of the section: the page is wider than most terminals.
_WIDTH = 110


def section(summary: RunSummary) -> str:
    """What the terminal says of the run, as HTML."""
    lines = (line for line, _ in summary_lines(summary, width=_WIDTH, verbosity=0))
    return f"<h2>pytest-tiers</h2>\n<pre>{escape(chr(10).join(lines))}</pre>"
