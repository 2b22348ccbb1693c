"""``pytest-tiers merge`` and ``compare``: read JSON reports, write others, say what is in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_tiers import nights
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.merging.changes_markdown import markdown
from pytest_tiers.merging.differences import compare
from pytest_tiers.merging.shards import Merged, merge
from pytest_tiers.modes import GateMode
from pytest_tiers.reports.numbers import count
from pytest_tiers.reports.terminal import summary_lines
from pytest_tiers.reports.text import NARROWEST, prose
from pytest_tiers.reports.writers import SUFFIXES, save, write


def merge_reports(
    shards: Sequence[Path],
    output: Path,
    reports: Sequence[Path],
    gate: GateMode | None,
    nights_file: Path | None = None,
) -> tuple[str, bool]:
    """Merge JSON reports into ``output`` and ``reports``; what to print, and if the gate passed.

    The gate counts the nights of ``nights_file``, which this one is added to. Raises
    ConfigurationError where a report can neither be read, merged nor written, OSError where the
    nights cannot.
    """
    if output.suffix != ".json":
        raise ConfigurationError(
            f'-o: "{output}" must end in .json; --report writes other formats.'
        )
    for path in reports:
        if path.suffix not in SUFFIXES:
            raise ConfigurationError(
                f'--report: "{path}": the suffix decides the format; valid: {", ".join(SUFFIXES)}.'
            )
    earlier = () if nights_file is None else nights.read(nights_file)
    merged = merge(shards, gate, earlier)
    if nights_file is not None:
        nights.append(nights_file, merged.summary.gate.tonight)
    for path in (output, *reports):
        write(merged.summary, path)
    return "\n".join(_lines(merged, output)), merged.summary.gate.passed


def compare_reports(old: Path, new: Path, output: Path | None) -> str:
    """What changed from one JSON report to another, as Markdown; what to print.

    Raises ConfigurationError where a report cannot be read or ``output`` not be written.
    """
    found = markdown(compare(old, new))
    if output is None:
        return found.rstrip("\n")
    if output.suffix != ".md":
        raise ConfigurationError(f'-o: "{output}" must end in .md: this is Markdown.')
    save([found.encode(errors="backslashreplace")], output, "-o")
    return f"{output}: {found.partition(chr(10))[0].removeprefix('### ')}"


def _lines(merged: Merged, output: Path) -> Iterator[str]:
    width = max(NARROWEST, shutil.get_terminal_size().columns)
    trials = count(len(merged.summary.trials), "trial")
    text = f"{output}: {trials} from {count(merged.shards, 'report')}."
    if merged.duplicates:
        text += f" {count(merged.duplicates, 'trial')} in more than one counted once."
    if merged.missing:
        text += f" {count(merged.missing, 'case')} of these files in none of them."
    yield prose(text, width)
    yield ""
    for line, _ in summary_lines(merged.summary, width=width, verbosity=0):
        yield line
