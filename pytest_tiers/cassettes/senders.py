"""Sending further requests the way an application's own request goes, from any thread.

Not over the application's own connections: an application may close its client, and with it
every connection, as soon as it has its own answer.
"""

from __future__ import annotations

import importlib
import importlib.util
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from pytest_tiers.cassettes.matching import SentRequest

#: Sends a request and returns its answer as vcrpy's stubs hand it over. Raises what the HTTP
#: library raises.
SendAgain = Callable[[SentRequest], Mapping[str, Any]]

#: Makes one; None where the application's way cannot be gone from another thread.
Sender = Callable[[], SendAgain | None]


def like_httpx(module: Any, transport: Any, request: Any) -> SendAgain | None:
    """A sender like a transport of httpx or httpx2; None where that goes through a proxy."""
    pool = transport._pool
    is_direct = type(pool).__name__ in ("ConnectionPool", "AsyncConnectionPool")
    if not is_direct or pool._proxy is not None or pool._uds is not None:
        return None
    timeout = {"timeout": request.extensions.get("timeout", {})}
    return _over_httpx(module, pool._ssl_context, timeout)


def like_aiohttp(session: Any, arguments: Mapping[str, Any]) -> SendAgain | None:
    """A sender like an aiohttp session; None where that has a connector or TLS of its own."""
    from aiohttp import TCPConnector

    connector = session.connector
    is_direct = type(connector) is TCPConnector and connector._ssl is True
    own = {"proxy", "ssl", "ssl_context", "verify_ssl"} & arguments.keys()
    if not is_direct or own or session.trust_env or getattr(session, "_default_proxy", None):
        return None
    # OpenAI's client, which we depend on, brings one of them.
    name = "httpx2" if importlib.util.find_spec("httpx2") else "httpx"
    seconds = getattr(arguments.get("timeout"), "total", session.timeout.total)
    timeout = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)}
    return _over_httpx(importlib.import_module(name), ssl.create_default_context(), timeout)


def _over_httpx(module: Any, context: Any, extensions: Mapping[str, Any]) -> SendAgain:
    def send(sent: SentRequest) -> Mapping[str, Any]:
        request = module.Request(
            sent.method,
            sent.url,
            headers=dict(sent.headers),
            content=sent.body,
            extensions=dict(extensions),
        )
        with module.HTTPTransport(verify=context) as transport:
            answer = transport.handle_request(request)
            body = b"".join(answer.stream)
        headers: dict[str, list[str]] = {}
        for name, value in answer.headers.multi_items():
            headers.setdefault(name, []).append(value)
        status = {"code": answer.status_code, "message": answer.reason_phrase}
        return {"status": status, "headers": headers, "body": {"string": body}}

    return send
