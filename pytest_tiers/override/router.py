"""Which trial owns a call: the one whose item is running when the call is made."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from urllib.parse import urlsplit

from msgspec import Struct

from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.senders import Sender
from pytest_tiers.cassettes.transports import OpenedCall
from pytest_tiers.errors import SharedFixtureCall
from pytest_tiers.override.active import ActiveTrial
from pytest_tiers.override.sites import SiteFinder
from pytest_tiers.records import CallSite

#: Where OpenAI's client sends its calls unless told otherwise.
_BASE_URL_VARIABLE = "OPENAI_BASE_URL"

#: Where openai-agents sends its traces, from a thread and at times of its own. No trial can own
#: them (no replay would send the same), and a replay must not send them.
_TRACES = "https://api.openai.com/v1/traces/ingest"


class Owner(Struct, frozen=True):
    """Whose the calls of one of our own threads are; None: ours, and no trial's."""

    trial: ActiveTrial | None


#: Set only in threads that we started ourselves. Elsewhere the running item owns a call: the
#: context of an event loop may be that of an older trial.
OWNER: ContextVar[Owner | None] = ContextVar("pytest_tiers_owner", default=None)


class TrialRouter:
    """Hands each call to the running trial, or leaves it alone.

    ``shared_fixture`` names the fixture of wider scope than one test that is being set up;
    ``shared_answers`` collects those that called a model then. ``item_is_running`` is True
    while any test runs, tiered or not. ``strays`` are model calls made while none did;
    ``elsewhere`` the application's lines that called a model for a test that is not tiered, where
    ``sites`` finds them.
    """

    def __init__(
        self,
        base_urls: Iterable[str],
        ignore_hosts: Iterable[str],
        sites: SiteFinder | None = None,
    ) -> None:
        self.active: ActiveTrial | None = None
        self.item_is_running = False
        self.shared_fixture: str | None = None
        self.shared_answers: set[str] = set()
        self.strays: list[str] = []
        self.elsewhere: set[CallSite] = set()
        self._sites = sites
        self._model_origins = {_origin(url) for url in base_urls}
        self._ignored = frozenset(ignore_hosts)

    def _owner(self) -> ActiveTrial | None:
        """Whose a call is that is made now."""
        owner = OWNER.get()
        return self.active if owner is None else owner.trial

    @property
    def runs_trial(self) -> bool:
        """Whether a trial runs now."""
        return self._owner() is not None

    def ignores(self, method: str, url: str) -> bool:
        """Whether no trial owns a call made now."""
        request = SentRequest(method, url, {}, b"")
        if (owner := OWNER.get()) is not None and owner.trial is None:
            return True
        if self._owner() is not None:
            return request.endpoint is None and not self._is_recorded(request)
        if request.endpoint is not None:
            if self.shared_fixture is not None:
                self.shared_answers.add(self.shared_fixture)
            elif not self.item_is_running:
                self.strays.append(url)
            elif self._sites is not None and (site := self._sites.innermost()) is not None:
                self.elsewhere.add(site)
        return True

    def discards(self, url: str) -> bool:
        """Whether a request goes nowhere while the session lasts."""
        return url == _TRACES

    def open(self, request: SentRequest, sender: Sender) -> OpenedCall | None:
        """Open the call in the running trial's name. Raises CallRefused."""
        trial = self._owner()
        if trial is None or not self._is_recorded(request):
            return None
        if self.shared_fixture is None or OWNER.get() is not None:
            return trial.open(request, sender)
        if request.endpoint is None:
            return None  # what a shared fixture fetches belongs to no trial
        self.shared_answers.add(self.shared_fixture)
        raise trial.refuse(SharedFixtureCall(shared_fixture_reason(self.shared_fixture)))

    def _is_recorded(self, request: SentRequest) -> bool:
        """Whether the host is a model's or any other remote one, not the application under test."""
        parts = urlsplit(request.url)
        if not self._ignored.isdisjoint({parts.hostname, parts.netloc}):
            return False
        if not _is_local(parts.hostname or ""):
            return True
        origin = _origin(request.url)
        return (
            origin in self._model_origins
            or origin == _origin(os.environ.get(_BASE_URL_VARIABLE, ""))
            # OpenAI's client calls it, so it is the application's own model server.
            or (request.endpoint is not None and "x-stainless-lang" in request.headers)
        )


def flush_traces() -> None:
    """Let openai-agents send its last traces while they go nowhere; else it does when Python ends.

    To be called while the router still gets every request.
    """
    tracing = sys.modules.get("agents.tracing")
    with contextlib.suppress(Exception):  # a project may have a module of that name
        if tracing is not None:
            tracing.get_trace_provider().force_flush()


def shared_fixture_reason(name: str) -> str:
    """Why an answer that a wider fixture got is no trial's answer, and what to do."""
    return (
        f'fixture "{name}" calls a model, but its scope is wider than one test: all tiers would '
        'share one answer. Give it scope="function", or put the call into the test.'
    )


def _is_local(host: str) -> bool:
    if host in ("localhost", "testserver") or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
