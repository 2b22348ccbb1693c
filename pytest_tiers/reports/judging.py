"""What is to be said of judges that decided whether outputs agree."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_tiers.agreements import CONTRADICTS
from pytest_tiers.findings import RunSummary
from pytest_tiers.reports.numbers import count


def judge_sentences(summary: RunSummary) -> Iterator[str]:
    """How often the judge's answer depended on the order of the outputs."""
    judge = summary.settings.judge
    judged = [
        trial
        for trial in summary.trials
        if trial.compared_by == "judge" and trial.agreement is not None
    ]
    contradicted = sum(trial.output_difference == CONTRADICTS for trial in judged)
    if judge is not None and contradicted:
        yield (
            f"The judge ({judge.tier}) contradicted itself in {contradicted:,} of "
            f"{count(len(judged), 'comparison')} when the order of the outputs changed; they count "
            "as different. Give it clearer criteria, or take a better judge."
        )
