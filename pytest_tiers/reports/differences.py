"""Case by case: where a candidate and the flagship ended differently, and what each answered."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pytest_tiers.findings import RunSummary
from pytest_tiers.records import Trial
from pytest_tiers.reports.numbers import count
from pytest_tiers.reports.text import chunks, cut, one_line, visible, wrap

#: An answer is shown up to this many lines and characters.
_MOST_LINES = 6
_MOST_CHARACTERS = 400
#: A longer equal beginning is skipped, save for this many characters before the difference.
_LONG_BEGINNING = 120
_KEPT = 40
_KEPT_LINES = 2


def differing(summary: RunSummary) -> Iterator[tuple[Trial, Trial]]:
    """The flagship's and the candidate's trial of a case and sample, where only one passed."""
    flagship = summary.settings.ladder.flagship
    yardsticks = {
        (trial.prompt, trial.case, trial.sample): trial
        for trial in summary.trials
        if trial.tier == flagship and trial.counts
    }
    for trial in summary.trials:
        if trial.tier == flagship or not trial.counts:
            continue
        yardstick = yardsticks.get((trial.prompt, trial.case, trial.sample))
        if yardstick and (yardstick.outcome == "passed") != (trial.outcome == "passed"):
            yield yardstick, trial


def difference_lines(flagship: Trial, candidate: Trial, *, width: int) -> Iterator[str]:
    """Both answers of one case as a compact diff: "-" the flagship's, "+" the candidate's."""
    sample = f", sample {candidate.sample}" if candidate.sample > 1 else ""
    yield from wrap(
        f"{one_line(candidate.prompt)}[{one_line(candidate.case)}]{sample}: "
        f"{candidate.tier} {candidate.outcome}, {flagship.tier} {flagship.outcome}",
        width,
        rest="  ",
    )
    failed = candidate if candidate.outcome != "passed" else flagship
    if failed.reason:
        yield from wrap(f"{failed.tier}: {one_line(failed.reason)}", width, first="  ", rest="    ")
    lines = _known_difference(candidate, width - 2) or answer_diff(flagship, candidate, width - 2)
    yield from (cut(f"  {line}", width) for line in lines)


def said(trial: Trial) -> str | None:
    """What a trial is judged by: the output that it compared, else the model's last answer."""
    if not trial.has_output:
        return trial.answer
    if isinstance(trial.output, str):
        return trial.output
    return json.dumps(trial.output, indent=1, ensure_ascii=False, default=str)


def _known_difference(candidate: Trial, width: int) -> list[str]:
    """What the comparison itself found to differ, if it says so."""
    return (
        [] if candidate.output_difference is None else _shown(candidate.output_difference, 0, width)
    )


def answer_diff(flagship: Trial, candidate: Trial, width: int) -> Iterator[str]:
    """The lines of the diff of two answers, each at most ``width`` columns."""
    import difflib

    old, new = said(flagship), said(candidate)
    if old is not None and old == new:
        yield "= both gave the same answer, the test judged it differently:"
        yield from (f"  {line}" for line in _shown(old, 0, width - 2))
        return
    if old is None or new is None:
        yield from _marked("-", flagship, width)
        yield from _marked("+", candidate, width)
        return
    skipped = _equal_beginning(old, new)
    if skipped:
        yield f"… ({count(skipped, 'equal character')} before)"
    lines = difflib.ndiff(_shown(old, skipped, width - 2), _shown(new, skipped, width - 2))
    yield from (line for line in lines if not line.startswith("?"))


def _marked(mark: str, trial: Trial, width: int) -> Iterator[str]:
    text = said(trial)
    lines = ["no answer"] if text is None else _shown(text, 0, width - 2)
    return (f"{mark} {line}" for line in lines)


def _equal_beginning(old: str, new: str) -> int:
    """How many characters to leave out because both answers begin with them.

    Only a long beginning is left out, and its end stays, so that the difference is in view.
    """
    pairs = enumerate(zip(old, new, strict=False))
    beginning = old[: next((at for at, (a, b) in pairs if a != b), min(len(old), len(new)))]
    if len(beginning) <= _LONG_BEGINNING and beginning.count("\n") <= _KEPT_LINES:
        return 0
    kept = beginning[-_KEPT:]
    while kept.count("\n") > _KEPT_LINES:
        kept = kept.partition("\n")[2]
    return len(beginning) - len(kept)


def _shown(text: str, start: int, width: int) -> list[str]:
    """The answer from ``start`` on in lines that fit, and how much of it is left out."""
    rest = text[start:]
    shown = "\n".join(rest[:_MOST_CHARACTERS].split("\n")[:_MOST_LINES])
    lines = [part for line in visible(shown).split("\n") for part in chunks(line, width)]
    left_out = len(rest) - len(shown)
    if left_out:
        lines.append(f"… ({count(left_out, 'more character')})")
    return lines
