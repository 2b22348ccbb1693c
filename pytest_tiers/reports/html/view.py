"""What the page shows, as plain values: the templates only put them in their places."""

from __future__ import annotations

from markupsafe import Markup
from msgspec import Struct

from pytest_tiers.reports.advice import Move
from pytest_tiers.reports.html.cases import Case, MatrixRow
from pytest_tiers.reports.html.flow import Step
from pytest_tiers.reports.mixes import ToldMix
from pytest_tiers.reports.table import Row


class Number(Struct, frozen=True):
    """A number as a reader sees it, and exactly as in the JSON report where it is known."""

    text: str
    exact: str | None = None


class LinkedMove(Struct, frozen=True):
    """A prompt to downgrade now, with the anchor of its section."""

    anchor: str
    move: Move


class Statement(Struct, frozen=True):
    """One of the lines on top: what it answers, the answer in a word, and the rest of it.

    ``more_moves`` are not listed in ``moves``.
    """

    question: str
    answer: str
    rest: str
    moves: tuple[LinkedMove, ...] = ()
    more_moves: str = ""


class Candidate(Struct, frozen=True):
    """One comparison in the table of prompts."""

    tier: str
    verdict: str
    is_recommended: bool
    bar: Markup | None
    drop: Number
    saving: Number
    passed: str
    flagship_passed: str
    cost: Number
    flagship_cost: Number
    why: str


class Site(Struct, frozen=True):
    """One call site in the table of call sites, as a prompt in that of prompts."""

    name: str
    cases: str
    candidates: tuple[Candidate, ...]


class Tier(Struct, frozen=True):
    """One tier of a prompt: how it did, and what it takes.

    ``differs`` is how often it ends differently from the flagship.
    """

    name: str
    passed: str
    pass_rate: Number
    bounds: str
    cost: Number
    tokens: str
    p50: Number
    p95: Number
    others: str
    differs: Number | None


class Prompt(Struct, frozen=True):
    """One prompt with all that is known about it; ``differing`` cases have an anchor each.

    ``flow`` is a picture of its ``steps``, its call sites, where it has several; ``mix`` what is
    told of the search for a tier for each.
    ``name`` is the short name of ``id``, in ``name_parts`` between which a line may break;
    ``file`` is what it leaves out.
    """

    anchor: str
    id: str
    name: str
    name_parts: tuple[str, ...]
    file: str
    cases: str
    candidates: tuple[Candidate, ...]
    tiers: tuple[Tier, ...]
    flow: Markup | None
    steps: tuple[Step, ...]
    mix: ToldMix | None
    panel: Markup
    not_drawn: str
    notice: str
    matrix: tuple[MatrixRow, ...]
    differing: tuple[tuple[str, Case], ...]
    left_out: str

    @property
    def knows_differences(self) -> bool:
        """Whether the flagship was compared with itself, and so all tiers can be with it."""
        return any(tier.differs for tier in self.tiers)


class Group(Struct, frozen=True):
    """Prompts of which the same can be said."""

    title: str
    prompts: tuple[Prompt, ...]


class Latency(Struct, frozen=True):
    """Recorded seconds per call of one tier, over all prompts."""

    tier: str
    model: str
    p50: Number
    p95: Number
    bar: Markup | None


class Page(Struct, frozen=True):
    """All that the page shows; ``longest`` is where the scale of the latencies ends.

    ``sites`` are judged where that says more than the prompts; ``site_notes`` stand beside.
    """

    created: str
    headings: Row
    confidence: str
    is_comparison: bool
    statements: tuple[Statement, ...]
    steps: tuple[str, ...]
    groups: tuple[Group, ...]
    suite: tuple[str, ...]
    sites: tuple[Site, ...]
    site_notes: tuple[str, ...]
    latencies: tuple[Latency, ...]
    longest: str
    changes: tuple[str, ...]
    trouble: tuple[str, ...]
    notes: tuple[str, ...]
    about: tuple[tuple[str, str], ...]

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts of all groups, in the order of the page."""
        return tuple(prompt for group in self.groups for prompt in group.prompts)
