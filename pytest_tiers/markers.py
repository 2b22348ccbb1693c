"""How a test shows that it is tiered. Imported when pytest starts: see `pytest_tiers.standby`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

MARKER = "tiers"

#: Marks a case that no tier may miss.
MUST_PASS = "must_pass"

MUST_PASS_DESCRIPTION = (
    "must_pass: a tier that misses this case is ruled out for its prompt (pytest-tiers)"
)

DESCRIPTION = (
    "tiers(*names, samples=, max_samples=, margin=, min_pass_rate=, prompt=, monthly_runs=, "
    "max_cost_per_1000=, concurrent=, control=): run this test on every tier of the ladder; "
    "names restrict the candidates (pytest-tiers)"
)

#: The parameter that our parametrization adds; no test names it.
PARAMETER = "_tiers_trial"

#: The module that defines our own ``tier`` fixture.
_FIXTURES = "pytest_tiers.fixtures"


def is_marked(node: pytest.Item) -> bool:
    """Whether the marker stands on the test, its class or its module."""
    return node.get_closest_marker(MARKER) is not None


def asks_for_tier(
    names: Iterable[str], found: Mapping[str, Sequence[pytest.FixtureDef[Any]]]
) -> bool:
    """Whether ``tier`` is our own fixture there, not a project's fixture or parameter."""
    definitions = found.get("tier", ()) if "tier" in names else ()
    return bool(definitions) and getattr(definitions[-1].func, "__module__", "") == _FIXTURES


def is_trial(item: object) -> bool:
    """Whether an item, which need not be in order yet, runs a test on a tier."""
    return PARAMETER in getattr(getattr(item, "callspec", None), "params", ())
