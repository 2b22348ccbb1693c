"""Aligned columns of text, of which the first may hold wide characters."""

from __future__ import annotations

from collections.abc import Container, Sequence

from pytest_tiers.reports.text import display_width


def columns(lines: Sequence[tuple[str, Sequence[str]]], right: Container[int]) -> list[str]:
    """A line for each label with its cells; the columns numbered in ``right`` end together.

    The label's column is number 0.
    """
    from tabulate import tabulate

    # tabulate counts characters unless wcwidth is installed. So it lays out a stand-in for the
    # only column that may hold wide characters, and the label takes its place afterwards.
    cells = [["x" * display_width(label), *others] for label, others in lines]
    aligned = ["right" if number in right else "left" for number in range(len(cells[0]))]
    table = tabulate(cells, tablefmt="plain", disable_numparse=True, colalign=aligned)
    return [
        label + line[display_width(label) :]
        for (label, _), line in zip(lines, table.split("\n"), strict=True)
    ]
