"""The one place that touches HTTP libraries and vcrpy's stubs for them.

The patches stay in place for the session. A call that no trial owns goes to the original at
once, so that tests that are not tiered (and their streams) run as if we were not there.
Tried with vcrpy 8.2 to 9.4: its stubs for httpx and aiohttp take an object with the methods of
`Exchange` as their cassette.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from unittest import mock

from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.tape import Exchange


@dataclass(frozen=True, slots=True)
class OpenedCall:
    """A call that a trial owns: the request as it shall go out, and its exchange."""

    request: SentRequest
    exchange: Exchange


class Router(Protocol):
    """Whoever knows the running trial."""

    def ignores(self, method: str, url: str) -> bool:
        """Whether no trial owns a call made now, so that its body need not be read."""

    def open(self, request: SentRequest) -> OpenedCall | None:
        """The call that the running trial opens for a request; None to leave it alone."""


@contextlib.contextmanager
def patched(router: Router) -> Iterator[None]:
    """Send every request of the known HTTP libraries through ``router``, as long as it lasts."""
    with contextlib.ExitStack() as stack:
        for name in ("httpx", "httpx2"):
            if importlib.util.find_spec(name):
                _patch_httpx(stack, importlib.import_module(name), router)
        if importlib.util.find_spec("requests"):
            _patch_requests(stack, router)
        if importlib.util.find_spec("aiohttp"):
            _patch_aiohttp(stack, router)
        yield


@contextlib.contextmanager
def _noticing(exchange: Exchange) -> Iterator[None]:
    """Tell the exchange when its call ends without an answer."""
    try:
        yield
    except Exception as error:
        exchange.failed(error)
        raise


def _patch_httpx(stack: contextlib.ExitStack, module: Any, router: Router) -> None:
    from vcr.stubs.httpx_stubs import vcr_handle_async_request, vcr_handle_request

    original = module.HTTPTransport.handle_request
    original_async = module.AsyncHTTPTransport.handle_async_request

    def rebuilt(request: Any, sent: SentRequest) -> Any:
        return module.Request(
            sent.method,
            sent.url,
            headers=dict(sent.headers),
            content=sent.body,
            extensions=request.extensions,
        )

    def handle_request(self: Any, request: Any) -> Any:
        if router.ignores(request.method, str(request.url)):
            return original(self, request)
        body = b"".join(request.stream)
        request.stream = module.ByteStream(body)
        call = router.open(_sent(request.method, str(request.url), request.headers, body))
        if call is None:
            return original(self, request)
        with _noticing(call.exchange):
            return vcr_handle_request(call.exchange, original, module)(
                self, rebuilt(request, call.request)
            )

    async def handle_async_request(self: Any, request: Any) -> Any:
        if router.ignores(request.method, str(request.url)):
            return await original_async(self, request)
        body = b"".join([part async for part in request.stream])
        request.stream = module.ByteStream(body)
        call = router.open(_sent(request.method, str(request.url), request.headers, body))
        if call is None:
            return await original_async(self, request)
        with _noticing(call.exchange):
            return await vcr_handle_async_request(call.exchange, original_async, module)(
                self, rebuilt(request, call.request)
            )

    patch = mock.patch.object
    stack.enter_context(patch(module.HTTPTransport, "handle_request", handle_request))
    stack.enter_context(
        patch(module.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    )


def _patch_requests(stack: contextlib.ExitStack, router: Router) -> None:
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPResponse

    original = HTTPAdapter.send

    def response_of(adapter: Any, request: Any, recorded: Mapping[str, Any]) -> Any:
        headers = {name: ", ".join(values) for name, values in recorded["headers"].items()}
        return adapter.build_response(
            request,
            HTTPResponse(
                body=io.BytesIO(recorded["body"]["string"]),
                headers=headers,
                status=recorded["status"]["code"],
                reason=recorded["status"]["message"],
                preload_content=False,
            ),
        )

    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if router.ignores(request.method, request.url):
            return original(self, request, *args, **kwargs)
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        if not isinstance(body, bytes):
            return original(self, request, *args, **kwargs)  # an upload from a file
        call = router.open(_sent(request.method, request.url, request.headers, body))
        if call is None:
            return original(self, request, *args, **kwargs)
        with _noticing(call.exchange):
            if call.exchange.replays:
                return response_of(self, request, call.exchange.play_response())
            sent = request.copy()
            sent.url, sent.body = call.request.url, call.request.body
            sent.headers = type(request.headers)(call.request.headers)
            response = original(self, sent, *args, **kwargs)
            recorded: dict[str, Any] = {
                "status": {"code": response.status_code, "message": response.reason},
                "headers": {name: [value] for name, value in response.headers.items()},
                "body": {"string": response.content},
            }
            # requests has decompressed the content already.
            recorded["headers"].pop("Content-Encoding", None)
            call.exchange.append(None, recorded)
            return response_of(self, request, recorded)

    stack.enter_context(mock.patch.object(HTTPAdapter, "send", send))


def _patch_aiohttp(stack: contextlib.ExitStack, router: Router) -> None:
    from aiohttp import ClientSession
    from vcr.stubs.aiohttp_stubs import vcr_request

    original = ClientSession._request

    async def _request(self: Any, method: str, url: Any, **kwargs: Any) -> Any:
        sent = _sent_by_aiohttp(self, method, url, kwargs)
        call = router.open(sent) if sent is not None else None
        if call is None:
            return await original(self, method, url, **kwargs)
        rewritten = {key: kwargs[key] for key in kwargs.keys() - {"json", "data", "headers"}}
        rewritten |= {"headers": dict(call.request.headers), "data": call.request.body}
        with _noticing(call.exchange):
            return await vcr_request(call.exchange, original)(
                self, call.request.method, call.request.url, **rewritten
            )

    stack.enter_context(mock.patch.object(ClientSession, "_request", _request))


def _sent_by_aiohttp(session: Any, method: str, url: Any, kwargs: Any) -> SentRequest | None:
    """The request, or None where its body is read from somewhere while it is sent."""
    body = kwargs.get("data")
    headers = {**session._prepare_headers(kwargs.get("headers"))}
    if kwargs.get("json") is not None:
        body = json.dumps(kwargs["json"])
        headers.setdefault("Content-Type", "application/json")
    body = body.encode() if isinstance(body, str) else body or b""
    if not isinstance(body, bytes):
        return None
    return _sent(method, str(session._build_url(url)), headers, body)


def _sent(method: str, url: str, headers: Any, body: bytes) -> SentRequest:
    return SentRequest(
        method.upper(), url, {name.lower(): value for name, value in headers.items()}, body
    )
