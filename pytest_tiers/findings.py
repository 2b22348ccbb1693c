"""Everything a report shows about a run: plain values, computed by `pytest_tiers.summary`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from pytest_tiers.drift import Drift
from pytest_tiers.extent import Extent
from pytest_tiers.mixes import End, Mix, MixSearch, Stopped
from pytest_tiers.records import CallSite, LockEntry, Night, NotRun, Part, Tokens, Trial
from pytest_tiers.settings import Settings
from pytest_tiers.verdicts import Comparison


class LadderEntry(Struct, frozen=True):
    """One tier of the run as a report names it; prices in USD per million tokens, as text.

    ``seconds_p50`` and ``seconds_p95`` are nearest-rank percentiles of recorded seconds per call,
    over all prompts.
    """

    name: str
    model: str | None
    price: dict[str, str | None] | None
    seconds_p50: float | None = None
    seconds_p95: float | None = None


class PassRate(Struct, frozen=True):
    """How often a tier passes a prompt's tests, or another share, from 0 to 1: the mean over cases.

    ``low`` and ``high`` hold together at the run's confidence, for inputs like these cases.
    """

    estimate: float
    low: float
    high: float


class Disagreement(Struct, frozen=True):
    """How differently two trials of the same case end, from 0 to 1: the mean over ``cases``.

    A candidate's trial against the flagship's, or one of the flagship's against another of its
    own. ``low`` and ``high`` hold together at the run's confidence, for inputs like these cases.
    """

    estimate: float
    low: float
    high: float
    cases: int


class TierStats(Struct, frozen=True):
    """One prompt on one tier. ``cost_usd`` is None where nothing could be priced.

    ``cost_per_1000`` is the measured cost of 1,000 runs of the prompt in USD, from the trials
    whose calls are all priced, at uncached input; None where there is none. A candidate's are
    the trials whose pair on the flagship is complete and priced too. ``seconds_p50`` and
    ``seconds_p95`` are nearest-rank percentiles of recorded seconds per call. ``pass_rate`` is
    None where no trial counts, ``mean_score`` (from 0 to 1, the mean over cases) also where no
    test of the prompt gives a score. ``inconsistent`` of the ``passed`` gave an output that
    contradicts the flagship's own sample before; of the flagship only.
    """

    trials: int
    passed: int
    missed: int
    unsupported: int
    errors: int
    no_calls: int
    calls: int
    tokens: Tokens
    cost_usd: Decimal | None
    unpriced_calls: int
    cost_per_1000: Decimal | None
    seconds_p50: float | None
    seconds_p95: float | None
    pass_rate: PassRate | None = None
    mean_score: float | None = None
    inconsistent: int = 0


class SiteStats(Struct, frozen=True):
    """The calls that one line of the application made for a prompt.

    ``cost_share`` is the part of the cost of all the prompt's sites, from 0 to 1, None where a
    call has no price. ``cost_usd`` and the seconds are as in `TierStats`.
    """

    site: str
    key: str
    calls: int
    tokens: Tokens
    cost_usd: Decimal | None
    cost_share: float | None
    seconds_p50: float | None
    seconds_p95: float | None


class RuledOut(Struct, frozen=True):
    """Why a candidate is no choice for a prompt.

    ``must-pass``: it misses ``cases`` that must pass; ``reverted``: somebody went back from it,
    for a ``reason``, on a day.
    """

    kind: Literal["must-pass", "reverted"]
    cases: tuple[str, ...] = ()
    reason: str = ""
    date: str = ""


class LeftOut(Struct, frozen=True):
    """So many trials of a tier that sampling left out.

    ``why`` is one of `pytest_tiers.sampling.Why`; ``of`` counts all the tier's trials, run or not.
    ``spared`` of the trials are the flagship's where the candidates' results said enough;
    ``spared_usd`` is what those would have cost, by the mean of the ones that ran, None where that
    is unknown.
    """

    why: str
    trials: int
    of: int
    samples: int
    spared: int = 0
    spared_usd: Decimal | None = None


class Control(Struct, frozen=True):
    """How many control trials of a prompt were tried, and passed with another case's answers.

    More than half: the tests are blind.
    """

    tried: int
    passed: int

    @property
    def is_blind(self) -> bool:
        """Whether the prompt's tests do not see a wrong answer."""
        return 2 * self.passed > self.tried


class MixFinding(Struct, frozen=True):
    """What the run of one mix of a prompt's call sites shows; ``tiers`` by key, in their order.

    ``put_forward``, ``stopped`` and ``calls`` are those of `pytest_tiers.mixes.TriedMix`. Only
    mixes put forward share the e-BH step; the verdict of the others is of a step alone.
    ``saving`` is the share of the flagship's cost that it saves, ``cost_per_1000`` what 1,000 runs
    cost in USD: both measured on its own trials, None where unknown. ``ruled_out`` says why it is
    no choice all the same.
    """

    mix: Mix
    tiers: Mapping[str, str]
    comparison: Comparison
    put_forward: bool
    stopped: Stopped | None
    trials: int
    calls: int
    saving: float | None
    cost_per_1000: Decimal | None
    ruled_out: RuledOut | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its run came to its end, with an answer for each trial."""
        return self.stopped is None and not self.comparison.missing_trials


class MixFindings(Struct, frozen=True):
    """What the search for a prompt's cheapest mix of tiers found.

    ``recommended`` is the mix to adopt: the cheapest that is safe, cheaper than any tier that is
    for the prompt as a whole. The rest is as in `pytest_tiers.mixes.MixSearch`.
    """

    sites: tuple[CallSite, ...]
    mixes: tuple[MixFinding, ...]
    end: End
    calls: int
    exhaustive_mixes: int
    exhaustive_calls: int
    recommended: MixFinding | None = None
    reason: str | None = None


class Cascade(Struct, frozen=True):
    """A prompt answered by ``tier`` first, and by the flagship where a ``check`` fails.

    ``check``: the ``test`` itself, an oracle that production does not have, or what the
    ``application`` itself checks (``tier.check``). ``escalated`` of the ``runs`` (case and sample)
    went on to the flagship, ``escalated_share`` of them (the mean over cases, with bounds); in
    ``left_out`` more it is unknown what the flagship would have said.
    ``saving`` is the share of the flagship's cost; ``stops_paying_at`` the share of runs going on
    from which on it costs as much as the flagship alone. ``added_seconds`` is the mean over all
    runs, compared with the flagship alone (negative: faster), ``added_seconds_if_escalated`` that
    of the escalated: the sum of recorded seconds of their calls. None where unknown.
    """

    tier: str
    check: Literal["test", "application"]
    runs: int
    escalated: int
    escalated_share: PassRate
    left_out: int
    passed: int
    pass_rate: PassRate
    usd_per_1000: Decimal | None
    saving: float | None
    stops_paying_at: float | None
    added_seconds: float | None
    added_seconds_if_escalated: float | None


class PromptSummary(Struct, frozen=True):
    """One prompt: its numbers per tier, its comparisons, and what to do.

    ``savings`` maps a candidate to the share of the flagship's cost that it saves (negative
    where it costs more), None where unknown. ``notice`` says why there is no verdict, e.g.
    because no trial called a model. ``disagreements`` says how often each tier ends differently
    from the flagship, and the flagship from itself, which takes two samples of a case. ``control``
    is None where no control trial could be made. ``sites`` are the application's lines that called
    for it, in the order of a trial: on the flagship, where that ran. ``left_out`` names the tiers
    of which sampling left trials out. ``mix`` is None where no mix was searched. ``cascades`` are
    those from each candidate to the flagship, and ``best_cascade`` is the candidate of the one that
    saves more than the recommended tier, if it saves anything at the run's confidence.
    """

    id: str
    cases: int
    flagship: str | None
    margin: float
    min_pass_rate: float | Literal["auto"] | None
    monthly_runs: int | None
    tiers: dict[str, TierStats]
    comparisons: dict[str, Comparison]
    savings: dict[str, float | None]
    as_is_calls: int
    as_is_cost_usd: Decimal | None
    recommended: str | None
    notice: str | None
    max_cost_per_1000: Decimal | None = None
    disagreements: dict[str, Disagreement] = field(default_factory=dict)
    control: Control | None = None
    sites: tuple[SiteStats, ...] = ()
    ruled_out: dict[str, RuledOut] = field(default_factory=dict)
    mix: MixFindings | None = None
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    cascades: dict[str, Cascade] = field(default_factory=dict)
    best_cascade: str | None = None


class SuiteFinding(Struct, frozen=True):
    """What all cases of several prompts together say about one candidate.

    ``difference`` (candidate − flagship) and ``largest_drop`` are of the average over
    ``prompts``, each weighted by its number of cases. ``worse`` and ``unproven`` are the prompts
    for which that average promises nothing, ``left_out`` those that are not in it, because their
    tests tell nothing, or only some of their answers were recorded again.
    """

    tier: str
    flagship: str
    prompts: int
    cases: int
    difference: float | None
    largest_drop: float
    worse: tuple[str, ...]
    unproven: tuple[str, ...]
    left_out: tuple[str, ...]


class Savings(Struct, frozen=True):
    """Cost of 1,000 runs of every priced prompt, in USD: on the flagship, and as recommended.

    ``share`` is what the recommendations save of the flagship's cost. ``*_per_month`` cover the
    priced prompts whose monthly runs are known; ``possible_usd_per_month`` is what a month would
    save if every prompt moved to its cheapest candidate that agrees so far, proven or not.
    ``decided_share`` is the part of the flagship's cost that is spent on prompts whose verdicts
    leave nothing open: a candidate is safe, or none can be; by month where all priced prompts
    say how often they run, else by 1,000 runs of each.

    ``mixes`` are the prompts whose recommended mix of tiers costs less than what is recommended
    for them as a whole. ``with_mixes_*`` are what ``recommended_*`` and ``share`` come to if these
    prompts move to their mix instead; without such a prompt they are equal.
    """

    flagship_usd_per_1000: Decimal | None
    recommended_usd_per_1000: Decimal | None
    share: float | None
    priced_prompts: int
    unpriced_prompts: int
    flagship_usd_per_month: Decimal | None
    recommended_usd_per_month: Decimal | None
    possible_usd_per_month: Decimal | None
    decided_prompts: int = 0
    decided_share: float | None = None
    decided_by_month: bool = False
    mixes: tuple[str, ...] = ()
    with_mixes_usd_per_1000: Decimal | None = None
    with_mixes_share: float | None = None
    with_mixes_usd_per_month: Decimal | None = None


class UnusedCase(Struct, frozen=True):
    """Recordings of one case in one cassette that no test reads any more.

    ``gone`` is what does not exist any more, None where only the tier is not defined any more.
    ``root`` is the folder of the cassettes, ``cost_usd`` what the answers cost when they were
    recorded, None where that is unknown.
    """

    cassette: Path
    root: Path
    test: str
    tier: str
    case: str
    samples: tuple[int, ...]
    answers: int
    gone: Literal["test", "case"] | None
    of_defined_tier: bool = True
    cost_usd: Decimal | None = None


class ModelSource(Struct, frozen=True):
    """Where the application writes the model of a call.

    ``kind``: a ``literal`` in the call, a ``default`` argument, an ``argument`` that nothing in the
    application passes, a ``variable`` or ``constant`` with a literal, an ``attribute``, the
    ``environment``, ``imported``, ``computed``, or ``unknown``. ``text`` names it, ``file`` and
    ``line`` are where it stands (relative to pytest's root), as far as that is known. ``span`` is
    where a literal begins and ends in its file, in bytes, None where it cannot simply be exchanged.
    """

    kind: Literal[
        "literal",
        "default",
        "argument",
        "variable",
        "constant",
        "attribute",
        "environment",
        "imported",
        "computed",
        "unknown",
    ]
    text: str = ""
    file: str | None = None
    line: int | None = None
    span: tuple[int, int] | None = None


class Change(Struct, frozen=True):
    """What a safe downgrade changes at one line of the application.

    ``units`` are the ids of the prompts (or call sites, where those are judged) that move to
    ``tier`` with it, ``present`` the model that the line asks for now. ``held_back_by`` are those
    that reach the same lines and are not safe on the tier: then nothing is to be changed.
    ``in_diff``: a literal, like all others that must change with it. ``also`` is what else the
    tier's calls need.
    """

    units: tuple[str, ...]
    site: str
    tier: str
    present: str | None
    model: str
    source: ModelSource
    held_back_by: tuple[str, ...] = ()
    in_diff: bool = False
    also: tuple[str, ...] = ()


class GoneModel(Struct, frozen=True):
    """A tier whose model does not exist (any more), as its endpoint says in ``reason``.

    So many ``trials`` of ``prompts`` have no answer for it.
    """

    tier: str
    model: str | None
    reason: str | None
    trials: int
    prompts: tuple[str, ...]


class Retirement(Struct, frozen=True):
    """A tier whose model ends on a day (ISO 8601), in so many ``days`` (below 0: it has ended).

    ``locked`` are the prompts whose entry in tiers.lock names it.
    """

    tier: str
    model: str | None
    on: str
    days: int
    locked: tuple[str, ...]


class UntestedSite(Struct, frozen=True):
    """A line of the application that calls a model, and no tiered test calls from it.

    ``seen_elsewhere``: a test that is not tiered does.
    """

    file: str
    line: int
    function: str
    seen_elsewhere: bool


class Coverage(Struct, frozen=True):
    """How much of the application's model calls the tiered tests of the run reach.

    ``found`` calls stand in the source of ``files`` files; not all were read unless it
    ``is_complete``. It ``is_certain`` where every trial got its answers: what a failed one would
    have called is not known.
    """

    untested: tuple[UntestedSite, ...]
    found: int
    files: int
    is_complete: bool
    is_certain: bool


class LockChange(Struct, frozen=True):
    """What became of a prompt's entry in tiers.lock.

    ``adopted``: a tier that is new for the prompt; ``renewed``: new evidence for the same tier;
    ``carried``: the prompt changed and passes, so its older evidence is carried over;
    ``replaced``: a model took another's place, and the evidence is against the old one; ``kept``:
    something stood in the way, and ``why`` says what. ``after`` is None where nothing
    is written, ``before`` where there was no entry.
    """

    prompt: str
    kind: Literal["adopted", "renewed", "carried", "replaced", "kept"]
    before: LockEntry | None
    after: LockEntry | None = None
    why: str = ""


#: Why a run fails, or what it warns of; see docs/lock.md.
GateKind = Literal[
    "missed",
    "stale",
    "cost",
    "other-model",
    "cost-changed",
    "no-test",
    "old",
    "unproven",
    "new-model",
    "changed",
    "below",
    "dropped",
    "worse",
]


class GateReason(Struct, frozen=True):
    """One reason why the gate fails a run, or warns: what is wrong with one prompt on its tier.

    ``cases`` are those concerned, ``sites`` the call sites with the model they ask for.
    ``rate`` is the pass rate that was found and ``floor`` the least it may be; for ``worse`` the
    difference from the flagship's, and the margin as a negative number. ``usd`` is what 1,000 runs
    cost, ``usd_before`` the most they may cost or did cost when the
    tier was locked. ``nodeid`` is a test to look at. Fresh answers of so many ``nights``, the last
    of them this run's, have shown it. ``only`` is why it warns, and would fail a run otherwise:
    ``prices`` alone changed, or the run was of a ``part`` of the prompt's cases. ``changed`` are
    the parts in which the prompt asks something else than when it was recorded or locked.
    """

    kind: GateKind
    prompt: str
    tier: str
    model: str | None = None
    cases: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    rate: float | None = None
    floor: float | None = None
    usd: Decimal | None = None
    usd_before: Decimal | None = None
    date: str | None = None
    nodeid: str | None = None
    nights: int = 1
    only: Literal["prices", "part"] | None = None
    changed: tuple[Part, ...] = ()


class Gate(Struct, frozen=True):
    """What fails a run although its tests may have passed, and what it only warns of.

    ``power`` is the smallest drop in pass rate of each prompt that would have been caught with 80%
    power, None where none would; empty where no answer was fresh. ``tonight`` is what this run adds
    to the evidence of later ones.
    """

    failures: tuple[GateReason, ...] = ()
    warnings: tuple[GateReason, ...] = ()
    power: tuple[tuple[str, float | None], ...] = ()
    tonight: tuple[Night, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is no reason to fail."""
        return not self.failures


class RunSummary(Struct, frozen=True):
    """All that any report renders; ``trials`` sorted by prompt, case, ladder and sample.

    ``rewritten`` and ``left_alone`` are the call sites with the models they asked for:
    ``app/triage.py:3 route (gpt-5.4)``, ``tests/judge.py:12 grade (as_is: gpt-5.4)``.
    ``spent_usd`` and ``replayed_usd`` include calls that were left alone. ``rest_usd`` is what
    the trials that the cost or call limit kept out would cost, None where that is unknown;
    ``other_models`` says where an answer names another model than the one asked, ``drift`` where
    several snapshots of one model answered; ``unused`` are
    the recordings that ``unused_recordings`` counts. ``locked`` is what tiers.lock says after
    the run, by prompt, and ``lock_changes`` what the run changed there, or could not; ``gate``
    what fails the run for it; ``suite`` is what all prompts together say of a candidate, where it
    was compared on several; ``changes`` what the safe downgrades change in the application.
    ``coverage`` is None unless tiers were compared. ``by_site`` is None where call sites would
    say the same as the prompts. ``gone`` are the tiers whose model is, ``retiring`` those whose
    model ends soon or has. ``not_run`` are the trials that sampling left out, ``extent`` is what
    was to run, None where nobody asked.
    ``recorded_anew`` is what changed since the last recording, where that was replaced.
    """

    settings: Settings
    created: str
    commit: str | None
    selection: bool
    ladder: tuple[LadderEntry, ...]
    prompts: tuple[PromptSummary, ...]
    savings: Savings
    spent_usd: Decimal
    unpriced_spent_calls: int
    replayed_usd: Decimal
    stale_trials: int
    unused_recordings: int | None
    rewritten: tuple[str, ...]
    left_alone: tuple[str, ...]
    trials: tuple[Trial, ...]
    rest_usd: Decimal | None = Decimal(0)
    other_models: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    unused: tuple[UnusedCase, ...] = ()
    suite: dict[str, SuiteFinding] = field(default_factory=dict)
    by_site: BySite | None = None
    changes: tuple[Change, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    extent: Extent | None = None
    coverage: Coverage | None = None
    locked: Mapping[str, LockEntry] = field(default_factory=dict)
    lock_changes: tuple[LockChange, ...] = ()
    gate: Gate = field(default_factory=Gate)
    gone: tuple[GoneModel, ...] = ()
    retiring: tuple[Retirement, ...] = ()
    searches: tuple[MixSearch, ...] = ()
    recorded_anew: tuple[Drift, ...] = ()


class BySite(Struct, frozen=True):
    """The run judged by call site: what a team would edit, with all tests that reach it.

    In ``summary`` a call site stands for a prompt, and the cases of its tests for its cases; a
    trial that calls from several sites counts for each, with the calls of that site alone.
    ``prompts`` are the ids of the prompts of each site, ``called_with`` the sites that the same
    trials call too: they ran on the candidate as well.
    """

    summary: RunSummary
    prompts: Mapping[str, tuple[str, ...]]
    called_with: Mapping[str, tuple[str, ...]]
