"""What a run was asked to do: one frozen value, built once and passed down."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from pytest_tiers.modes import (
    By,
    ControlMode,
    FlagshipCalls,
    GateMode,
    Prune,
    RecordMode,
    Samples,
)
from pytest_tiers.tiers import BUILT_IN, CURRENT, Ladder, Price, Tier

if TYPE_CHECKING:
    from pytest_tiers.records import LockEntry, Night, Revert

#: The ladder of an everyday run: the application as it is.
_EVERYDAY = Ladder((BUILT_IN[CURRENT],), CURRENT)

#: The largest share of missed flagship samples at which the flagship still is a yardstick.
FLAGSHIP_MAY_MISS = 0.20


class IgnoreRule(Struct, frozen=True):
    """A part of the JSON body that is left out when requests are matched.

    ``path`` reads like ``messages[*].content``; with ``pattern`` (a regular expression) only
    what it matches inside the strings at that path is left out.
    """

    path: str
    pattern: str | None = None


class PromptSettings(Struct, frozen=True):
    """The marker's keys, from the marker or ``[tool.pytest-tiers.prompts]``; None: not said.

    ``monthly_runs`` is how often production runs the prompt in a month; ``min_pass_rate`` a
    rate from 0 to 1. ``concurrent``: the test's body may run in several threads at once.
    ``max_samples`` is the most where ``samples`` is `AUTO`. ``control`` False: its tests are never
    run with other answers.
    """

    tiers: tuple[str, ...] | None = None
    samples: Samples | None = None
    margin: float | None = None
    min_pass_rate: float | Literal["auto"] | None = None
    prompt: str | None = None
    monthly_runs: int | None = None
    max_cost_per_1000: Decimal | None = None
    concurrent: bool | None = None
    max_samples: int | None = None
    control: bool | None = None


class Judge(Struct, frozen=True):
    """Which tier decides whether two outputs say the same, and what that means (None: ours)."""

    tier: str
    criteria: str | None = None


class Embeddings(Struct, frozen=True):
    """The model, at the endpoint of a tier, whose embeddings are compared.

    ``threshold`` is the least cosine of outputs that mean the same, ``price`` what the model costs
    where that is not publicly known.
    """

    tier: str
    model: str
    threshold: float = 0.85
    price: Price | None = None


class Settings(Struct, frozen=True):
    """Everything a run was asked to do.

    ``comparison`` is False in an everyday run, whose ladder is the locked tiers and `CURRENT`.
    ``cassettes`` None means: in ``cassettes/`` beside each test module. ``max_cost`` is in USD
    for the whole run. ``config_file`` is the pyproject.toml that holds our table, if any.
    ``max_in_flight`` is how many calls may be under way to one endpoint. ``default_tier`` is the
    model of ``tier.model`` on `CURRENT`. ``on_command_line`` names what the command line said: it
    wins over a prompt's own settings. ``wrappers`` are patterns of functions that only pass calls
    on, as ``app/llm.py:chat``; None: found from who calls whom. ``locked`` is what ``lock_file``
    says of each prompt, ``reverts`` the tiers that were gone back from, and ``update_lock``
    whether that file is to be written. ``strict_lock``: code that asks for another model than the
    lock says fails the run. ``max_age`` is after how many days evidence is old. ``plan`` is the
    mode of the run that is only planned, None for a run.
    ``mix``: the cheapest tier of each call site is searched for.
    ``max_samples`` is how many samples a case gets at most where ``samples`` is `AUTO`.
    ``replaced`` is the tier whose model another one takes the place of: only its recordings are
    asked. ``nights`` are the fresh answers of earlier runs in ``nights_file``, which this run's are
    added to.
    """

    ladder: Ladder = _EVERYDAY
    comparison: bool = False
    samples: Samples = 1
    max_samples: int = 10
    flagship_calls: FlagshipCalls = "all"
    margin: float = 0.10
    confidence: float = 0.95
    record: RecordMode = "none"
    max_cost: Decimal = Decimal("1.00")
    max_calls: int | None = None
    cassettes: Path | None = None
    tests: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    ignore: tuple[IgnoreRule, ...] = ()
    ignore_hosts: tuple[str, ...] = ()
    max_in_flight: int = 16
    prompts: Mapping[str, PromptSettings] = field(default_factory=dict)
    known_tiers: Mapping[str, Tier] = field(default_factory=lambda: BUILT_IN)
    default_tier: Tier = BUILT_IN["full"]
    reports: tuple[Path, ...] = ()
    diff: Path | None = None
    placeholder_key: bool = True
    config_file: Path | None = None
    on_command_line: frozenset[str] = frozenset()
    prune: Prune | None = None
    plan: RecordMode | None = None
    control: ControlMode = "auto"
    wrappers: tuple[str, ...] | None = None
    by: By = "prompt"
    mix: bool = False
    locked: Mapping[str, LockEntry] = field(default_factory=dict)
    reverts: tuple[Revert, ...] = ()
    lock_file: Path | None = None
    update_lock: bool = False
    gate: GateMode = "off"
    strict_lock: bool = False
    max_age: int | None = None
    explain: tuple[str, ...] = ()
    judge: Judge | None = None
    embeddings: Embeddings | None = None
    replaced: str | None = None
    nights_file: Path | None = None
    nights: tuple[Night, ...] = ()

    def record_for(self, tier: str) -> RecordMode:
        """How the trials of a tier are recorded."""
        return "none" if tier == self.replaced else self.record

    @property
    def keeps_requests(self) -> bool:
        """Whether it matters what prompts ask, for tiers.lock."""
        return self.update_lock or bool(self.locked or self.reverts) or self.comparison

    @property
    def spares_flagship(self) -> bool:
        """Whether the flagship is called only where a candidate's result needs it."""
        return self.comparison and bool(self.ladder.candidates) and self.flagship_calls == "lazy"

    @property
    def alpha(self) -> float:
        """The accepted probability of a false "safe": 1 − confidence."""
        return 1 - self.confidence

    @property
    def base(self) -> Path | None:
        """The folder that paths and patterns in the configuration are relative to."""
        return self.config_file.parent if self.config_file else None
