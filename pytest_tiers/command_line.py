"""The ``--tiers...`` options."""

from __future__ import annotations

import pytest

from pytest_tiers.modes import CONTROL_MODES, GATE_MODES, RECORD_MODES
from pytest_tiers.reports.writers import SUFFIXES

#: What a file of differences may be called.
DIFF_SUFFIXES = (".patch", ".diff")


def add_options(parser: pytest.Parser) -> None:
    """Add the ``--tiers...`` options to pytest's command line."""
    group = parser.getgroup("tiers", "compare model tiers (pytest-tiers)")
    add = group.addoption
    add("--tiers", metavar="A,B,C", help="compare these tiers, cheapest first; NAME=MODEL: ad hoc")
    add("--tiers-flagship", metavar="NAME", help="the tier to compare with (the last one)")
    add("--tiers-samples", metavar="N|auto", help="samples per case and tier (1)")
    add("--tiers-max-samples", metavar="N", help="most samples of --tiers-samples=auto (10)")
    add(
        "--tiers-flagship-calls",
        metavar="all|lazy",
        help="lazy: call the flagship only where a candidate missed (all)",
    )
    add(
        "--tiers-record",
        metavar="|".join(RECORD_MODES),
        help="when to call models (never under CI, else once when comparing)",
    )
    add("--tiers-max-cost", metavar="USD", help="stop recording before it costs more (1.00)")
    add("--tiers-max-calls", metavar="N", help="stop recording before it makes more calls")
    add("--tiers-margin", metavar="0.10", help="largest drop in pass rate that is as good")
    add("--tiers-confidence", metavar="0.95", help="how sure a verdict must be")
    add("--tiers-by", metavar="prompt|site", help="what the summary judges (prompt)")
    add(
        "--tiers-mix",
        action="store_true",
        help="search for the cheapest tier of each call site that is as good as the flagship",
    )
    add(
        "--tiers-plan",
        action="store_true",
        help="say what a run would record, decide and cost; call nothing",
    )
    add(
        "--tiers-report",
        metavar="PATH",
        action="append",
        default=[],
        help="write a report; the suffix decides: " + ", ".join(SUFFIXES),
    )
    add(
        "--tiers-diff",
        metavar="PATH",
        help="write what the safe downgrades change, for git apply: " + ", ".join(DIFF_SUFFIXES),
    )
    add(
        "--tiers-gate",
        metavar="|".join(GATE_MODES),
        help="what may fail a run beside its tests (locked where there is a tiers.lock)",
    )
    add(
        "--tiers-nights",
        metavar="FILE",
        help="keep fresh results of locked prompts in this file; the gate counts earlier ones too",
    )
    add("--tiers-update-lock", action="store_true", help="write what is safe to tiers.lock")
    add(
        "--tiers-replace",
        metavar="OLD",
        help="compare the other tier with this one's recordings alone; carry tiers.lock over",
    )
    add(
        "--tiers-explain",
        metavar="PROMPT",
        action="append",
        default=[],
        help="print everything known about a prompt: its id, or a part of it",
    )
    add(
        "--tiers-control",
        metavar="|".join(CONTROL_MODES),
        help="try tests with other cases' answers too: can they fail? (auto: a few cases)",
    )
    add("--tiers-cassettes", metavar="DIR", help="where recordings are (cassettes/ beside tests)")
    add(
        "--tiers-prune",
        nargs="?",
        const="unused",
        metavar="tiers",
        help="delete recordings that no test reads any more; =tiers: of undefined tiers too",
    )
