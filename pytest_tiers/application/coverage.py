"""Which call sites of the application no tiered test calls from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

from pytest_tiers.application.scan import Scan, WrittenCall
from pytest_tiers.findings import Coverage, UntestedSite
from pytest_tiers.override.sources import SourceFile
from pytest_tiers.records import CallSite, Trial

#: A line of the application: its file and number.
_Line = tuple[str, int]


def coverage(
    trials: Iterable[Trial],
    elsewhere: Collection[CallSite],
    found: Scan,
    source: Callable[[str], SourceFile],
) -> Coverage:
    """What the trials of a run leave out, of the calls in the source and of those ``elsewhere``.

    These were made by tests that are not tiered. A call in the source counts as made where a trial
    called from its lines, or from lines of its function that hold no other call: it may have been
    prepared in one line and made in another.
    """
    trials = list(trials)
    stacks = {call.lines for trial in trials for call in trial.calls}
    reached = {(line.file, line.line) for stack in stacks for line in stack}
    others = {(site.file, site.line): site for site in elsewhere}
    by_function: defaultdict[tuple[str, str], list[WrittenCall]] = defaultdict(list)
    for call in found.calls:
        by_function[call.file, call.function].append(call)
    untested = []
    for (file, function), calls in by_function.items():
        inside = _inside(reached, file, function, source)
        inside_others = _inside(others, file, function, source)
        for call in calls:
            if not _is_made(call, inside, calls):
                seen = _is_made(call, inside_others, calls)
                untested.append(UntestedSite(file, call.line, function, seen_elsewhere=seen))
    for line, site in others.items():
        known = _function(line, source)
        if line not in reached and (line[0], known) not in by_function:
            untested.append(UntestedSite(*line, known or site.label, seen_elsewhere=True))
    return Coverage(
        untested=tuple(sorted(untested, key=lambda each: (each.file, each.line))),
        found=len(found.calls),
        files=found.files,
        is_complete=found.is_complete,
        is_certain=all(trial.counts for trial in trials),
    )


def _function(line: _Line, source: Callable[[str], SourceFile]) -> str | None:
    file = source(line[0])
    return None if file.tree is None else file.around(line[1])[0]


def _inside(
    lines: Iterable[_Line], file: str, function: str, source: Callable[[str], SourceFile]
) -> list[int]:
    """The numbers of the lines that are of a function."""
    return [line[1] for line in lines if line[0] == file and _function(line, source) == function]


def _is_made(call: WrittenCall, lines: Iterable[int], calls: Iterable[WrittenCall]) -> bool:
    return any(
        _holds(call, line) or not any(_holds(other, line) for other in calls) for line in lines
    )


def _holds(call: WrittenCall, line: int) -> bool:
    return call.line <= line <= call.last_line
