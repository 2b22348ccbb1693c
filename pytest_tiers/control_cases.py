"""Which cases of a test are tried with other answers than their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pytest_tiers.modes import ControlMode

#: Cases of a test that are tried unless all are asked for: enough to see a test that never fails,
#: few enough that a replay takes no longer to speak of.
MOST_CASES = 8


def chosen(recorded: Iterable[str], mode: ControlMode) -> list[str]:
    """Of a test's recorded cases those that are tried: not the author's first ones.

    The same in each process, and the first of several parts' choices together are the whole's.
    """
    most = None if mode == "on" else MOST_CASES
    return sorted(recorded, key=_digest)[:most]


def _digest(case: str) -> str:
    return hashlib.sha256(case.encode("utf-8", "surrogatepass")).hexdigest()
