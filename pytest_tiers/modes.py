"""The words that options and keys take. Imported when pytest starts: see `pytest_tiers.standby`."""

from __future__ import annotations

from typing import Literal

#: When the flagship is called: for every trial, or only where a candidate's result needs it.
FlagshipCalls = Literal["all", "lazy"]
FLAGSHIP_CALLS: tuple[FlagshipCalls, ...] = ("all", "lazy")

RecordMode = Literal["none", "once", "new_episodes", "all"]
RECORD_MODES: tuple[RecordMode, ...] = ("none", "once", "new_episodes", "all")

#: Whose results may fail a run: of locked tiers, of what production runs otherwise too, of none.
GateMode = Literal["locked", "flagship", "off"]
GATE_MODES: tuple[GateMode, ...] = ("locked", "flagship", "off")
#: Whether tests are tried with other answers: a few of several cases, all of all, none.
ControlMode = Literal["auto", "on", "off"]
CONTROL_MODES: tuple[ControlMode, ...] = ("auto", "on", "off")

#: Samples go on until every comparison is decided (docs/verdicts.md).
AUTO: Literal["auto"] = "auto"
Samples = int | Literal["auto"]

#: Which recordings to delete: those that no test reads, and those of undefined tiers too.
Prune = Literal["unused", "tiers"]

#: What a verdict of the summary is about.
By = Literal["prompt", "site"]
