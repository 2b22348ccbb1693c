"""What happened, as plain values that travel on pytest's reports (so pytest-xdist works)."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, convert, field, to_builtins
from msgspec.structs import force_setattr, replace

Outcome = Literal["passed", "missed", "unsupported", "error", "no-call"]

#: Outcomes that say something about the model; the others never count as evidence.
ANSWERED: frozenset[str] = frozenset({"passed", "missed", "unsupported"})


def sendable(value: Any) -> Any:
    """Builtins as pytest-xdist can send them: lone surrogates, which JSON can hold, as U+FFFD."""
    if isinstance(value, str):
        # UTF-16 is what can hold them; most text is known to hold none.
        is_safe = value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value)
        return (
            value
            if is_safe
            else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if isinstance(value, dict):
        return {sendable(key): sendable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(sendable, value))
    return value


class Tokens(Struct, frozen=True, gc=False, omit_defaults=True):
    """Tokens of one call. ``input`` includes ``cached_input``, ``output`` includes ``reasoning``.

    ``cache_write`` is the part of ``input`` that was written to the provider's cache, which
    some models bill above the input price.
    """

    input: int
    cached_input: int
    output: int
    reasoning: int
    cache_write: int = 0


class CallSite(Struct, frozen=True, gc=False):
    """A line of the application: ``label`` to read, as ``app/triage.py:3 route``, ``key`` to
    compare, which stays the same where edits only move lines.
    """

    label: str
    key: str

    @property
    def function(self) -> str:
        """The function that the line stands in, as ``app/triage.py:Desk.route``.

        Empty for a site that the application named itself.
        """
        return "" if self.is_named else self.key.rpartition("/")[0]

    @property
    def is_named(self) -> bool:
        """Whether the application named the site itself, so that it is no line."""
        return self.key.startswith("site:")

    @property
    def file(self) -> str:
        """The file of the line, relative to pytest's root."""
        return self.label.rpartition(" ")[0].rpartition(":")[0]

    @property
    def line(self) -> int:
        """The number of the line."""
        return int(self.label.rpartition(" ")[0].rpartition(":")[2])


class Call(Struct, frozen=True, gc=False):
    """One HTTP exchange with a model inside a trial.

    ``model_asked`` is what the application asked for, ``model`` what was sent, ``answered_by``
    what the answer names. ``status`` is None where no answer came, with ``error`` saying why.
    ``cost_usd`` None means unpriced (never 0). ``seconds`` and ``recorded_at`` (ISO 8601, UTC)
    are those of the recording. ``left_alone`` says why the call was not rewritten, None where
    it was. ``site`` is the label of its call site and ``site_key`` the key; ``callers`` are the
    application's lines that called that one, innermost first, and ``within`` those that it called
    itself: in wrappers, or in a site that the application named. ``reported_cost_usd`` is the
    provider's own figure, where it gives one.
    ``uncached_cost_usd`` is what the call costs where no input token is cached: the fair figure
    for comparing tiers, whose caches were warm by chance.
    """

    model_asked: str | None
    model: str | None
    answered_by: str | None
    endpoint: str
    status: int | None
    stream: bool = False
    tokens: Tokens | None = None
    cost_usd: Decimal | None = None
    reported_cost_usd: Decimal | None = None
    seconds: float | None = None
    recorded_at: str | None = None
    site: str | None = None
    site_key: str | None = None
    callers: tuple[CallSite, ...] = ()
    within: tuple[CallSite, ...] = ()
    left_alone: str | None = None
    replayed: bool = False
    error: str | None = None
    uncached_cost_usd: Decimal | None = None

    @property
    def is_unpriced(self) -> bool:
        """Whether an answer came whose cost is unknown. Refusals and failures are not billed."""
        answered = self.status is not None and 200 <= self.status < 300
        return answered and self.cost_usd is None

    @property
    def lines(self) -> tuple[CallSite, ...]:
        """The application's lines that made the call, innermost first."""
        if self.site is None or self.site_key is None:
            return ()
        site = CallSite(self.site, self.site_key)
        return (*self.within, *(() if site.is_named else (site,)), *self.callers)


class Agreement(Struct, frozen=True, gc=False):
    """How far the output of a trial agrees with the flagship's of the same case and sample.

    ``tier`` and ``sample`` are the trial's; the flagship's own sample is compared with the one
    before. ``value`` is from 0 to 1; None where it cannot be told, with ``error`` saying why.
    ``difference`` is text for reports; ``budget`` means that the cost or call limit stopped it.
    """

    tier: str
    sample: int
    value: float | None
    difference: str | None = None
    error: str | None = None
    budget: bool = False


class RequestParts(Struct, frozen=True, gc=False):
    """Hashes of what a trial asked: of the ``lines`` of its prompts, without the case's data, of
    the ``schema`` of the answer (None: free text) and of the other ``parameters``.
    """

    lines: tuple[str, ...]
    schema: str | None
    parameters: str

    def __post_init__(self) -> None:
        # The same few in all of a prompt's trials.
        force_setattr(self, "lines", tuple(map(sys.intern, self.lines)))


#: A part of what a prompt asks, in which it may have changed.
Part = Literal["prompt", "schema", "model", "parameters"]

#: All of them, in the order in which they are named.
PARTS: tuple[Part, ...] = get_args(Part)


class Fingerprint(Struct, frozen=True):
    """What all cases of a prompt ask alike, as hashes; None where that is unknown or nothing."""

    request: str | None = None
    schema: str | None = None
    parameters: str | None = None

    def changes(self, other: Fingerprint) -> tuple[Part, ...]:
        """The parts in which the prompt has changed, as far as both sides are known."""
        # Where the parameters are known, no schema means that free text is asked for.
        is_known = self.parameters is not None and other.parameters is not None
        found = {
            "prompt": self.request and other.request and self.request != other.request,
            "schema": self.schema != other.schema
            and (is_known or (self.schema is not None and other.schema is not None)),
            "parameters": is_known and self.parameters != other.parameters,
        }
        return tuple(part for part in PARTS if found.get(part))

    def differs(self, other: Fingerprint) -> bool:
        """Whether the prompt has changed, as far as both sides are known."""
        return bool(self.changes(other))


class Earlier(Struct, frozen=True, gc=False):
    """What today's test makes of the answers that a trial had before they were recorded anew.

    ``outcome`` None: unknown, because its requests changed, or its test could not be run with
    them. ``worth`` is as `Trial.worth_alone`, ``answer`` the text of the last answer. Tokens, cost
    in USD (as if no input were cached) and seconds are those of all its calls of the tier, None
    where one is unknown. ``recorded_at`` is when the last was recorded (ISO 8601, UTC).
    """

    outcome: Outcome | None = None
    worth: float | None = None
    answer: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    seconds: float | None = None
    recorded_at: str | None = None

    @classmethod
    def of(cls, trial: Trial) -> Earlier:
        """The same of a trial that has run."""
        calls = trial.tier_calls
        tokens = [call.tokens for call in calls if call.tokens is not None]
        costs = [call.uncached_cost_usd for call in calls if call.uncached_cost_usd is not None]
        seconds = [call.seconds for call in calls if call.seconds is not None]
        known = len(calls) or None
        return cls(
            outcome=trial.outcome if trial.counts else None,
            worth=trial.worth_alone,
            answer=trial.answer,
            input_tokens=sum(each.input for each in tokens) if len(tokens) == known else None,
            output_tokens=sum(each.output for each in tokens) if len(tokens) == known else None,
            cost_usd=sum(costs, Decimal(0)) if len(costs) == known else None,
            seconds=math.fsum(seconds) if len(seconds) == known else None,
            recorded_at=max((call.recorded_at or "" for call in calls), default="") or None,
        )


class NotRun(Struct, frozen=True):
    """A trial that sampling left out; ``why`` is one of `pytest_tiers.sampling.Why`.

    ``samples`` is how many samples its prompt can get at most.
    """

    prompt: str
    case: str
    tier: str
    sample: int
    nodeid: str
    why: str
    samples: int


class Trial(Struct, frozen=True, gc=False):
    """One case of a prompt on one tier, once: one pytest item.

    ``answer`` is the text of the last answer a model gave, ``output`` what the test handed to
    ``tier.compare`` (builtins). ``question`` is the text of the request that got the answer,
    without secrets, None where a report will not need it (see `pytest_tiers.runner`).
    ``score``, from 0 to 1, is what the test gave by ``tier.score``, None where it gave none;
    ``check`` what the application's own check says of the answer, by ``tier.check``.
    ``compared_by`` and ``compare_options`` say how the output is to be compared; options are None
    where only the trial's own process can do it. ``settled`` are the comparisons that could be
    made when this trial ended, of this and of other trials of the case. When all trials are
    known, ``agreement`` is how far the output agrees with the flagship's (the flagship's with its
    own sample before), from 0 to 1, ``output_match`` whether wholly (True) or not at all (False),
    and ``output_difference`` what differs, as text.
    ``controls`` says of each control trial, which got another case's answers, whether it came off
    as well: a test that can fail would not.
    ``stale`` means that a recording of this trial exists but lacks one of its requests, which
    differs from the most similar one there in the parts that ``changed`` (none: it is not known).
    ``budget`` means that the cost or call limit kept it from running, ``model_gone`` that its
    tier's model does not exist (any more). ``expects_call`` is True
    for tests that use the ``tier`` fixture. ``recording`` names its cassette and the case in it;
    ``generation`` is the same for recordings that were made anew together; ``earlier`` is what
    the answers were that this trial's own replace, None where there were none.
    """

    prompt: str
    case: str
    tier: str
    sample: int
    outcome: Outcome
    nodeid: str
    reason: str | None = None
    score: float | None = None
    check: bool | None = None
    controls: tuple[bool, ...] = ()
    output_match: bool | None = None
    replayed: bool = False
    calls: tuple[Call, ...] = ()
    answer: str | None = None
    question: str | None = None
    output: Any = None
    has_output: bool = False
    compared_by: str | None = None
    compare_options: Mapping[str, Any] | None = field(default_factory=dict)
    settled: tuple[Agreement, ...] = ()
    agreement: float | None = None
    output_difference: str | None = None
    stale: bool = False
    changed: tuple[Part, ...] = ()
    budget: bool = False
    model_gone: bool = False
    expects_call: bool = False
    file: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    request_parts: RequestParts | None = None
    recording: tuple[str, str] | None = None
    generation: int = 0
    earlier: Earlier | None = None

    @property
    def counts(self) -> bool:
        """Whether the outcome says something about the model."""
        return self.outcome in ANSWERED

    @property
    def worth(self) -> float | None:
        """What the trial is worth as evidence, from 0 to 1; None where it does not count.

        What its test says of it, times the agreement of its output with the flagship's, where it
        compares one.
        """
        alone = self.worth_alone
        return alone if alone is None or self.agreement is None else alone * self.agreement

    @property
    def worth_alone(self) -> float | None:
        """What the test says of the trial, from 0 to 1; None where it does not count.

        A test that passed is worth its score, 1 without one; whatever else happened is worth 0.
        """
        if not self.counts:
            return None
        if self.outcome != "passed":
            return 0.0
        return 1.0 if self.score is None else self.score

    @property
    def is_success(self) -> bool:
        """Whether the test passed, and its output does not contradict the flagship's."""
        return self.outcome == "passed" and self.output_match is not False

    @property
    def tier_calls(self) -> tuple[Call, ...]:
        """The calls that went to the trial's tier."""
        for call in self.calls:
            if call.left_alone is not None:
                return tuple(call for call in self.calls if call.left_alone is None)
        return self.calls  # nearly always: 100,000 trials are asked eight times

    def with_outcome(self, outcome: Outcome, reason: str | None) -> Trial:
        """The same trial, judged anew when other trials are known."""
        return replace(self, outcome=outcome, reason=reason)

    def to_builtins(self) -> dict[str, Any]:
        """The trial as builtins only: a Decimal on a report breaks pytest-xdist."""
        return {
            **to_builtins(replace(self, output=None, compare_options=None)),
            # As the test gave them: a tuple stays one.
            "output": self.output,
            "compare_options": self.compare_options,
        }

    @classmethod
    def from_builtins(cls, plain: Mapping[str, Any]) -> Trial:
        """The trial that `to_builtins` wrote."""
        return convert(plain, cls)


#: The verdict of an entry whose evidence is against a model that was replaced since.
UNPROVEN = "unproven"


class LockedSite(Struct, frozen=True):
    """A call site (``key``, and ``site`` to read) with its own tier, and that tier's model then."""

    key: str
    site: str
    tier: str
    model: str


class LockEntry(Struct, frozen=True):
    """What tiers.lock says of one prompt: the tier it runs on, what for, and on what evidence.

    ``model`` is what the tier stood for when it was locked, ``replaces`` the flagship's name and
    ``replaces_model`` its model then. Costs are of 1,000 runs in USD, None where unknown; the
    tokens of 1,000 runs on ``tier`` tell a longer prompt from a dearer price. ``date`` is the day
    of the evidence (ISO 8601, UTC). ``pass_rate`` and ``replaces_pass_rate`` are means over cases,
    ``pass_rate_at_least`` the former's lower bound, ``largest_drop`` the largest
    plausible drop, ``log_evidence`` the natural log of its e-value. ``known_misses`` are the cases
    that missed when locked, each with the samples that did. ``holds_for`` tells whether the prompt
    has changed since; ``changed_on`` is the day on which it had and was recorded anew, so that the
    evidence is from before the change. ``accepted`` is why somebody took the tier without proof,
    on the day ``accepted_on``. ``sites`` are the steps of a mix, whose name is ``tier`` then.
    ``versus`` is the tier that the evidence is against (its model
    ``versus_model``) where that is not ``replaces``, because a model was replaced on the day
    ``replaced_on``: against ``replaces`` nothing is proven, and the verdict is `UNPROVEN`.
    """

    prompt: str
    tier: str
    model: str
    replaces: str
    verdict: str
    date: str
    cases: int
    samples: int
    margin: float
    confidence: float
    cassette_format: int
    replaces_model: str | None = None
    pass_rate: float | None = None
    pass_rate_at_least: float | None = None
    replaces_pass_rate: float | None = None
    largest_drop: float | None = None
    log_evidence: float | None = None
    usd_per_1000: Decimal | None = None
    replaces_usd_per_1000: Decimal | None = None
    input_tokens_per_1000: int | None = None
    output_tokens_per_1000: int | None = None
    known_misses: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    holds_for: Fingerprint = field(default_factory=Fingerprint)
    changed_on: str | None = None
    accepted: str | None = None
    accepted_on: str | None = None
    versus: str | None = None
    versus_model: str | None = None
    replaced_on: str | None = None
    sites: tuple[LockedSite, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether the tier was locked because it is as good as what it replaces."""
        return self.accepted is None and self.versus is None

    def knows_miss(self, case: str, sample: int) -> bool:
        """Whether the case missed in this sample when the entry was written."""
        return sample in self.known_misses.get(case, ())


#: How often something occurred.
_Times = Annotated[int, Meta(ge=1)]


class Night(Struct, frozen=True):
    """Fresh results of one run, of one prompt on its locked tier.

    ``at`` is when (ISO 8601, UTC). ``rates`` are the pass rates of its cases, ``differences`` those
    of pairs from the flagship, of the model ``versus``, each with how often it occurred: none
    where that gave no fresh answers.
    """

    at: str
    prompt: str
    tier: str
    model: str
    holds_for: Fingerprint
    rates: tuple[tuple[Annotated[float, Meta(ge=0, le=1)], _Times], ...]
    versus: str | None = None
    differences: tuple[tuple[Annotated[float, Meta(ge=-1, le=1)], _Times], ...] = ()

    def speaks_of(self, entry: LockEntry, holds_for: Fingerprint) -> bool:
        """Whether it is evidence on what is locked now: tier, model and prompt, since it is."""
        return (
            (self.prompt, self.tier, self.model) == (entry.prompt, entry.tier, entry.model)
            and self.at[:10] >= entry.date
            and not self.holds_for.differs(holds_for)
        )


class Revert(Struct, frozen=True):
    """Somebody went back from a tier: it is not proposed again until its model or the prompt
    changes. ``date`` is a day (ISO 8601, UTC).
    """

    prompt: str
    tier: str
    model: str
    reason: str
    date: str
    holds_for: Fingerprint = field(default_factory=Fingerprint)


class Lock(Struct, frozen=True):
    """What tiers.lock says: the locked prompts by id, and the tiers gone back from, in order."""

    prompts: Mapping[str, LockEntry] = field(default_factory=dict)
    reverts: tuple[Revert, ...] = ()
