"""What the safe downgrades change in the application, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.findings import Change, ModelSource, RunSummary
from pytest_tiers.reports.text import listed, one_line
from pytest_tiers.reports.words import short_names


def change_sentences(summary: RunSummary) -> Iterator[str]:
    """Each line of the application that a safe downgrade changes: those of the diff first."""
    names = short_names(summary)
    for change in sorted(
        summary.changes, key=lambda each: (bool(each.held_back_by), not each.in_diff)
    ):
        yield _sentence(change, names)
    for tier, also in {change.tier: change.also for change in summary.changes}.items():
        if also:
            yield f"{tier} also needs {listed(also, len(also))}"


def diff_sentence(summary: RunSummary) -> str | None:
    """Where the diff is, or how to get one; None where nothing can simply be changed."""
    ready = sum(change.in_diff for change in summary.changes)
    diff = summary.settings.diff
    if diff is not None and ready:
        return f"{diff.name} holds {_lines(ready)}: git apply {diff.name}"
    if diff is not None:
        return f"{diff.name} is empty: no line can simply be changed."
    return f"--tiers-diff=out.patch writes {_lines(ready)} as a diff." if ready else None


def _lines(number: int) -> str:
    return "the one line" if number == 1 else f"these {number:,} lines"


def _sentence(change: Change, names: dict[str, str]) -> str:
    present = "what it asks for" if change.present is None else one_line(change.present)
    text = f"{_where(change)}: {present} -> {one_line(change.model)}"
    if change.source.kind != "literal" or change.source.span is None:
        text += f"; {_origin(change.source)}"
    if change.held_back_by:
        units = listed((names.get(each, one_line(each)) for each in change.units), 3)
        others = listed((names.get(each, one_line(each)) for each in change.held_back_by), 3)
        text += f"; not yet, though safe for {units}: {others} would change with it"
    return text


def _where(change: Change) -> str:
    source = change.source
    if source.kind == "unknown" or source.file is None:
        return one_line(change.site) or "a call of an unknown line"
    place = f"{one_line(source.file)}:{source.line}"
    # Said where the line that names the model is not the one that calls.
    return place if change.site.startswith(f"{source.file}:") else f"{place}, for {change.site}"


def _origin(source: ModelSource) -> str:
    """Where a model comes from that is no plain literal in the call."""
    text = one_line(source.text)
    match source.kind:
        case "literal":
            return "change it by hand: the line names it in several calls, or in no plain quotes"
        case "default":
            return f"the default of {text}"
        case "argument":
            return f"passed as {text}, by whom was not seen"
        case "variable" | "constant":
            return f"written in {text}"
        case "attribute":
            return f"from the attribute {text}"
        case "environment":
            return f"from the environment variable {text}"
        case "imported":
            return f"imported: {text}"
        case "computed":
            return f"computed: {text}"
        case "unknown":
            if source.line is not None:
                return f"the call names no model; {text} stands in line {source.line} of its file"
            return f"named by {text}" if text else "where it is named is not known"
