"""OpenAI clients of a session, for tests that ask for one and for judges."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from pytest_tiers.override.keys import NOT_NEEDED, PLACEHOLDER, VARIABLE
from pytest_tiers.tiers import Tier

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI


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

                self._sync[tier.name] = OpenAI(**endpoint(tier))
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
            clients[tier.name] = AsyncOpenAI(**endpoint(tier), default_headers=headers)
        return clients[tier.name]

    def close(self) -> None:
        """Close the connections of the clients that are not bound to a loop."""
        for client in self._sync.values():
            client.close()


#: The clients of a session.
CLIENTS = pytest.StashKey[Clients]()


def endpoint(tier: Tier) -> dict[str, Any]:
    """Where a client finds a tier, and with which key."""
    if tier.base_url is None:
        return {"api_key": os.environ.get(VARIABLE) or PLACEHOLDER}
    # The application's own key never goes there.
    if tier.api_key_env is None:
        return {"api_key": NOT_NEEDED, "base_url": tier.base_url}
    return {
        "api_key": os.environ.get(tier.api_key_env) or PLACEHOLDER,
        "base_url": tier.base_url,
    }
