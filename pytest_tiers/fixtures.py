"""The ``tier`` fixture: for tests that want to know which tier they run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tiers.markers import MARKER

if TYPE_CHECKING:
    from pytest_tiers.handles import TierHandle


@pytest.fixture
def tier(request: pytest.FixtureRequest) -> TierHandle:
    """The model tier this trial runs on: name, model, calls, compare(), score(), check()."""
    from pytest_tiers.collection import TRIAL
    from pytest_tiers.handles import ACTIVE, tier_handle

    item = request.node
    if TRIAL not in item.stash:
        pytest.fail(
            f"{item.name} is not tiered: it reaches the fixture `tier` in a way that is not seen "
            f"when tests are collected. Mark it with @pytest.mark.{MARKER}, or name `tier` among "
            "its arguments.",
            pytrace=False,
        )
    return tier_handle(request.config, item.stash[TRIAL], item.stash[ACTIVE])
