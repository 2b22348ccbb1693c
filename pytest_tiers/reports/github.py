"""What GitHub Actions shows of a run: a summary of the step, and marks on lines of tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_tiers.findings import RunSummary
from pytest_tiers.reports.gates import gate_sentence
from pytest_tiers.reports.markdown import parts

#: Where a test stands: its file, and its line counted from 0, if known.
Location = tuple[Path, int | None]


def append_summary(summary: RunSummary, path: Path) -> None:
    """Append the Markdown report to the file of ``$GITHUB_STEP_SUMMARY``. Raises OSError."""
    with path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(parts(summary))


def marks(summary: RunSummary, locations: Mapping[str, Location], workspace: Path) -> Iterator[str]:
    """A workflow command for each gate failure, on the line of its test where that is known.

    ``locations`` are by node id; GitHub wants paths relative to ``workspace``.
    """
    for reason in summary.gate.failures:
        where = ""
        if reason.nodeid is not None and reason.nodeid in locations:
            file, line = locations[reason.nodeid]
            inside = file.is_relative_to(workspace)
            shown = (file.relative_to(workspace) if inside else file).as_posix()
            where = f"file={_property(shown)},line={(line or 0) + 1},"
        yield f"::error {where}title=pytest-tiers::{_data(gate_sentence(summary, reason))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
