"""Certificates are loaded when a client connects, which in a replay is never.

httpx and httpx2 load them for each client, 25 to 35 ms: all that a replay takes in an application
that builds its client anew for each call.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from unittest import mock

#: Where a client looks for certificates, if they say.
_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextlib.contextmanager
def certificates_on_demand(module: Any, applies: Callable[[], bool]) -> Iterator[None]:
    """Let clients of ``module`` (httpx or httpx2) that are built while ``applies`` wait with it.

    Each keeps a context of its own, made by the library from the environment in which the client
    was built, so that what an application does to one client changes no other. A client that is
    given a context or certificates, or whose certificates cannot be found, is built as always.
    """
    transports = getattr(getattr(module, "_transports", None), "default", None)
    original = getattr(transports, "create_ssl_context", None)
    if original is None:
        yield
        return

    def create_ssl_context(verify: Any = True, cert: Any = None, **others: Any) -> Any:
        make = partial(original, verify=verify, cert=cert, **others)
        if verify is not True or cert is not None or not applies():
            return make()
        places = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
        if not all(map(os.path.exists, places.values())):
            return make()
        return ContextOnDemand(partial(_make_with, places, make))

    with mock.patch.object(transports, "create_ssl_context", create_ssl_context):
        yield


def _make_with(places: Mapping[str, str], make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A context made as if the variables still had the values of ``places``."""
    now = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    if now == places:
        return make()
    with mock.patch.dict(os.environ):
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(places)
        return make()


class ContextOnDemand:
    """An SSL context that is made when something is first asked of it."""

    def __init__(self, make: Callable[[], ssl.SSLContext]) -> None:
        made: list[ssl.SSLContext] = []
        lock = threading.Lock()

        def context() -> ssl.SSLContext:
            with lock:
                if not made:
                    made.append(make())
            return made[0]

        object.__setattr__(self, "_context", context)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_context")(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_context")(), name, value)

    # asyncio takes nothing that is no instance of it.
    __class__ = ssl.SSLContext  # type: ignore[assignment]
