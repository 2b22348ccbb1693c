"""What the ``tier`` fixture gives to a test that wants to know which tier it runs on."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tiers.agreements import How, check_depth
from pytest_tiers.clients import CLIENTS, Clients
from pytest_tiers.collection import SETTINGS, PlannedTrial
from pytest_tiers.comparing.ways import MisuseError, checked
from pytest_tiers.scores import checked_score
from pytest_tiers.tiers import Tier

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

    from pytest_tiers.override.active import ActiveTrial
    from pytest_tiers.records import Call

#: The running trial of an item.
ACTIVE = pytest.StashKey["ActiveTrial"]()


class TierHandle:
    """The tier that a trial runs on, as the ``tier`` fixture gives it to a test.

    On the tier ``current`` the model is the one that the configuration calls flagship: a test
    that asks for a model by ``tier.model`` has no application model of its own.
    """

    def __init__(
        self,
        planned: PlannedTrial,
        active: ActiveTrial,
        clients: Clients,
        flagship: str,
        own: Tier,
        how: Callable[[Any, Mapping[str, Any]], How],
    ) -> None:
        self._planned, self._active, self._clients = planned, active, clients
        self._own, self._how = own, how
        #: Whether this is the tier that the others are compared with.
        self.is_flagship = planned.tier.name == flagship

    @property
    def name(self) -> str:
        """The tier's name, e.g. ``nano``."""
        return self._planned.tier.name

    @property
    def model(self) -> str:
        """The model's name, to be sent as it is."""
        return str(self._own.model)

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters that the tier sets on every request."""
        return self._own.params

    @property
    def sample(self) -> int:
        """Which repetition of the case this is: 1, 2, ..."""
        return self._planned.sample

    @property
    def client(self) -> OpenAI:
        """An OpenAI client for the tier's endpoint, shared in the session."""
        return self._clients.sync(self._own)

    @property
    def async_client(self) -> AsyncOpenAI:
        """An async OpenAI client for the tier's endpoint, one per event loop."""
        return self._clients.for_loop(self._own)

    @property
    def calls(self) -> Sequence[Call]:
        """What this trial has called so far: model, tokens, cost in USD, recorded seconds."""
        return tuple(self._active.calls)

    def compare(self, output: Any, by: Any = None, **options: Any) -> None:
        """Ask that this output agree with the flagship's for the same case and sample.

        ``by``: ``"text"`` (text, by default: equal apart from case and white space), ``"deep"``
        (anything else, by default: equal by DeepDiff, with its ``options``), ``"json"`` (text
        that is parsed, then deep), ``"semantic"`` (embeddings), ``"judge"`` (a model), a callable
        ``(flagship, candidate) -> bool | float``, or a name that the project's hook
        ``pytest_tiers_compare`` knows. See docs/compare.md.

        Never raises: the comparison is settled when both outputs are known. What cannot be kept
        or compared makes the trial an error: an output that is neither JSON, a dataclass nor a
        pydantic model, an unknown way or option, a second output.
        """
        active = self._active
        if active.has_output:
            active.note_misuse(
                "tier.compare() was called twice in one trial. Hand over all outputs at once: "
                "tier.compare([first, second])."
            )
            return
        try:
            how = self._how(by, options)
            kept = json.loads(json.dumps(output, default=_plain))
            check_depth(kept)
        except MisuseError as error:
            active.note_misuse(str(error))
        except Exception as error:  # a model's own serializers may raise anything
            active.note_misuse(
                f"tier.compare() cannot keep this output ({type(error).__name__}: {error}); hand "
                "it JSON values, a dataclass or a pydantic model."
            )
        else:
            active.output, active.has_output, active.how = kept, True, how

    def score(self, value: float) -> None:
        """Say how good the answer is, from 0 to 1: counted in place of 1 if the test passes.

        A test that fails is worth 0, whatever its score. Raises ValueError for anything but a
        number from 0 to 1, and for a second score; the trial is then an error, and says nothing
        about the model.
        """
        try:
            score = checked_score(value)
            if self._active.score is not None:
                raise ValueError(
                    f"tier.score() was called twice in one trial, with {self._active.score} and "
                    f"{score}. Call it once, e.g. with the mean or the lowest of your scores."
                )
        except ValueError as error:
            self._active.note_misuse(str(error))
            raise
        self._active.score = score

    def check(self, ok: bool) -> None:
        """Say whether the application's own check would accept the answer.

        That is what a cascade could go by in production: this tier first, the flagship where the
        check fails. It changes no outcome and no verdict. Call it before anything is asserted; of
        several checks all must accept. Raises ValueError for anything but True or False; the
        trial is then an error, and says nothing about the model.
        """
        if not isinstance(ok, bool):
            error = f"tier.check() expects True or False, got {ok!r} ({type(ok).__name__})."
            self._active.note_misuse(error)
            raise ValueError(error)
        self._active.check = ok and self._active.check is not False


def tier_handle(config: pytest.Config, planned: PlannedTrial, active: ActiveTrial) -> TierHandle:
    """What the fixture gives to a trial."""
    settings = config.stash[SETTINGS]
    own = settings.default_tier if planned.tier.is_current else planned.tier
    flagship = settings.ladder.flagship
    has_hook = bool(config.hook.pytest_tiers_compare.get_hookimpls())
    how = functools.partial(
        checked, has_hook=has_hook, judge=settings.judge, embeddings=settings.embeddings
    )
    return TierHandle(planned, active, config.stash[CLIENTS], flagship, own, how)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if (dump := getattr(type(value), "model_dump", None)) is not None:
        return dump(value, mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON value")
