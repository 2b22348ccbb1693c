"""The ``tier`` fixture: for tests that want to know which tier they run on."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from pytest_tiers.collection import SETTINGS, TRIAL, PlannedTrial
from pytest_tiers.markers import MARKER
from pytest_tiers.override.keys import NOT_NEEDED, PLACEHOLDER, VARIABLE
from pytest_tiers.scores import checked_score
from pytest_tiers.tiers import Tier

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

    from pytest_tiers.override.active import ActiveTrial
    from pytest_tiers.records import Call

#: The running trial of an item.
ACTIVE = pytest.StashKey["ActiveTrial"]()


class Clients:
    """OpenAI clients of a session, one per tier; async ones one per event loop too."""

    def __init__(self) -> None:
        self._sync: dict[str, OpenAI] = {}
        self._async: WeakKeyDictionary[Any, dict[str, AsyncOpenAI]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def sync(self, tier: Tier) -> OpenAI:
        """The client for a tier's endpoint."""
        with self._lock:
            if tier.name not in self._sync:
                from openai import OpenAI

                self._sync[tier.name] = OpenAI(**_endpoint(tier))
            return self._sync[tier.name]

    def for_loop(self, tier: Tier) -> AsyncOpenAI:
        """The client for a tier's endpoint on the running event loop."""
        from asyncio import get_running_loop

        with self._lock:
            clients = self._async.setdefault(get_running_loop(), {})
        if tier.name not in clients:
            from openai import AsyncOpenAI

            # Nobody closes it before its loop ends: it keeps no connection open.
            headers = {"Connection": "close"}
            clients[tier.name] = AsyncOpenAI(**_endpoint(tier), default_headers=headers)
        return clients[tier.name]

    def close(self) -> None:
        """Close the connections of the clients that are not bound to a loop."""
        for client in self._sync.values():
            client.close()


#: The clients of a session.
CLIENTS = pytest.StashKey[Clients]()


class TierHandle:
    """The tier that a trial runs on, as the ``tier`` fixture gives it to a test.

    On the tier ``current`` the model is the one that the configuration calls flagship: a test
    that asks for a model by ``tier.model`` has no application model of its own.
    """

    def __init__(
        self, planned: PlannedTrial, active: ActiveTrial, clients: Clients, flagship: str, own: Tier
    ) -> None:
        self._planned, self._active, self._clients = planned, active, clients
        self._own = own
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

    def compare(self, output: Any) -> None:
        """Ask that this output agree with the flagship's for the same case and sample.

        Text agrees after whitespace and case folding, anything else when it is deeply equal.
        Never raises: the comparison is settled when both outputs are known. An output that is
        neither JSON, a dataclass nor a pydantic model makes the trial an error.
        """
        try:
            self._active.output = json.loads(json.dumps(output, default=_plain))
            self._active.has_output = True
        except (TypeError, ValueError) as error:
            self._active.note_misuse(
                f"tier.compare() cannot keep this output ({error}); hand it JSON values, a "
                "dataclass or a pydantic model."
            )

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


@pytest.fixture
def tier(request: pytest.FixtureRequest) -> TierHandle:
    """The model tier this trial runs on: name, model, params, client, calls, compare(), score()."""
    item = request.node
    if TRIAL not in item.stash:
        pytest.fail(
            f"{item.name} is not tiered: it reaches the fixture `tier` in a way that is not seen "
            f"when tests are collected. Mark it with @pytest.mark.{MARKER}, or name `tier` among "
            "its arguments.",
            pytrace=False,
        )
    return tier_handle(request.config, item.stash[TRIAL], item.stash[ACTIVE])


def tier_handle(config: pytest.Config, planned: PlannedTrial, active: ActiveTrial) -> TierHandle:
    """What the fixture gives to a trial."""
    settings = config.stash[SETTINGS]
    own = settings.default_tier if planned.tier.is_current else planned.tier
    return TierHandle(planned, active, config.stash[CLIENTS], settings.ladder.flagship, own)


def _endpoint(tier: Tier) -> dict[str, Any]:
    if tier.base_url is None:
        return {"api_key": os.environ.get(VARIABLE) or PLACEHOLDER}
    # The application's own key never goes there.
    if tier.api_key_env is None:
        return {"api_key": NOT_NEEDED, "base_url": tier.base_url}
    return {
        "api_key": os.environ.get(tier.api_key_env) or PLACEHOLDER,
        "base_url": tier.base_url,
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if (dump := getattr(type(value), "model_dump", None)) is not None:
        return dump(value, mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON value")
