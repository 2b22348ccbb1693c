"""The one place that touches HTTP libraries and vcrpy's stubs for them.

The patches stay in place for the session; a library gets its own when it is imported. A call
that no trial owns goes to the original at once, so that tests that are not tiered (and their
streams) run as if we were not there.
Tried with vcrpy 8.2 to 9.4: its stubs for httpx and aiohttp take an object with the methods of
`Exchange` as their cassette.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol
from unittest import mock

from msgspec import Struct

from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.redirects import IN_THE_REQUEST, ExactHeaders, follow, no_check
from pytest_tiers.cassettes.senders import Sender, like_aiohttp, like_httpx
from pytest_tiers.cassettes.tape import Exchange
from pytest_tiers.cassettes.tls import certificates_on_demand
from pytest_tiers.cassettes.when_imported import Patch, when_imported


class OpenedCall(Struct, frozen=True):
    """A call that a trial owns: the request as it shall go out, and its exchange."""

    request: SentRequest
    exchange: Exchange


class Router(Protocol):
    """Whoever knows the running trial."""

    @property
    def runs_trial(self) -> bool:
        """Whether a trial runs now."""
        raise NotImplementedError

    def ignores(self, method: str, url: str) -> bool:
        """Whether no trial owns a call made now, so that its body need not be read."""
        raise NotImplementedError

    def discards(self, url: str) -> bool:
        """Whether a request shall neither go out nor be recorded; it is answered with 204."""
        raise NotImplementedError

    def open(self, request: SentRequest, sender: Sender) -> OpenedCall | None:
        """The call that the running trial opens for a request; None to leave it alone.

        ``sender`` makes something that sends further requests the way this one goes.
        """


#: Seconds between two looks whether a call can go on. Asked for, not notified: the same question
#: serves threads, asyncio and trio.
_POLL = 0.002


@contextlib.contextmanager
def patched(router: Router) -> Iterator[None]:
    """Send every request of the known HTTP libraries through ``router``, as long as it lasts."""
    with contextlib.ExitStack() as stack:
        patches: dict[str, Patch] = {
            "httpx": lambda module: _patch_httpx(stack, module, router),
            "httpx2": lambda module: _patch_httpx(stack, module, router),
            "requests": lambda _: _patch_requests(stack, router),
            "aiohttp": lambda _: _patch_aiohttp(stack, router),
            "openai._base_client": lambda module: _keep_send_order(stack, module),
        }
        stack.enter_context(when_imported(patches))
        yield


def _wait(exchange: Exchange) -> None:
    """Wait until the call can be made, or its answer is there. Raises CallRefused."""
    while not exchange.starts():
        time.sleep(_POLL)


async def _wait_async(exchange: Exchange) -> None:
    """Wait as `_wait` does, and let the event loop go on."""
    while not exchange.starts():
        import anyio  # not at the top: most replays never wait

        await anyio.sleep(_POLL)


@contextlib.contextmanager
def _noticing(exchange: Exchange) -> Iterator[None]:
    """Tell the exchange when its call ends without an answer."""
    try:
        yield
    except BaseException as error:  # a cancelled call has no answer either
        exchange.failed(error)
        raise


def _keep_send_order(stack: contextlib.ExitStack, module: Any) -> None:
    """Let OpenAI's async clients send calls in the order in which the application made them.

    The first calls of each client look up the platform's name (for a header) in a thread each.
    Made together, they would go out in another order in each run, and equal ones among them
    would replay each other's answers.
    """
    if not hasattr(module, "asyncify"):
        return

    def asyncify(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        async def at_once(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return at_once

    stack.enter_context(mock.patch.object(module, "asyncify", asyncify))


def _patch_httpx(stack: contextlib.ExitStack, module: Any, router: Router) -> None:
    original = module.HTTPTransport.handle_request
    original_async = module.AsyncHTTPTransport.handle_async_request

    def rebuilt(request: Any, received: SentRequest, sent: SentRequest) -> Any:
        if sent is received:
            return request
        return module.Request(
            sent.method,
            sent.url,
            headers=dict(sent.headers),
            content=sent.body,
            extensions=request.extensions,
        )

    def replayed(exchange: Exchange) -> Any:
        """The recorded answer, made as vcrpy's stub makes it, which need not be imported for it."""
        recorded = exchange.play_response()
        message = recorded["status"]["message"]
        return module.Response(
            recorded["status"]["code"],
            headers=[(name, each) for name, all in recorded["headers"].items() for each in all],
            stream=module.ByteStream(recorded["body"]["string"]),
            extensions={"reason_phrase": message.encode("ascii")} if message else None,
        )

    def handle_request(self: Any, request: Any) -> Any:
        if router.discards(str(request.url)):
            return module.Response(204, request=request)
        if router.ignores(request.method, str(request.url)):
            return original(self, request)
        body = b"".join(request.stream)
        request.stream = module.ByteStream(body)
        received = _sent(request.method, str(request.url), request.headers, body)
        call = router.open(received, partial(like_httpx, module, self, request))
        if call is None:
            return original(self, request)
        with _noticing(call.exchange):
            _wait(call.exchange)
            if call.exchange.replays:
                return replayed(call.exchange)
            from vcr.stubs.httpx_stubs import vcr_handle_request

            return vcr_handle_request(call.exchange, original, module)(
                self, rebuilt(request, received, call.request)
            )

    async def handle_async_request(self: Any, request: Any) -> Any:
        if router.ignores(request.method, str(request.url)):
            return await original_async(self, request)
        body = b"".join([part async for part in request.stream])
        request.stream = module.ByteStream(body)
        received = _sent(request.method, str(request.url), request.headers, body)
        call = router.open(received, partial(like_httpx, module, self, request))
        if call is None:
            return await original_async(self, request)
        with _noticing(call.exchange):
            await _wait_async(call.exchange)
            if call.exchange.replays:
                return replayed(call.exchange)
            from vcr.stubs.httpx_stubs import vcr_handle_async_request

            return await vcr_handle_async_request(call.exchange, original_async, module)(
                self, rebuilt(request, received, call.request)
            )

    patch = mock.patch.object
    stack.enter_context(certificates_on_demand(module, lambda: router.runs_trial))
    stack.enter_context(patch(module.HTTPTransport, "handle_request", handle_request))
    stack.enter_context(
        patch(module.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    )


def _patch_requests(stack: contextlib.ExitStack, router: Router) -> None:
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPResponse

    original = HTTPAdapter.send

    def response_of(
        adapter: Any, request: Any, recorded: Mapping[str, Any], live: Any = None
    ) -> Any:
        headers = {name: ", ".join(values) for name, values in recorded["headers"].items()}
        return adapter.build_response(
            request,
            HTTPResponse(
                body=io.BytesIO(recorded["body"]["string"]),
                headers=headers,
                status=recorded["status"]["code"],
                reason=recorded["status"]["message"],
                preload_content=False,
                original_response=live,  # requests reads its cookies from there
            ),
        )

    def sent_like(
        adapter: Any, request: Any, args: Any, kwargs: Any, asked: SentRequest
    ) -> tuple[Any, dict[str, Any]]:
        """Send what is asked the way ``request`` goes: the answer, and what of it is recorded."""
        sent = request.copy()
        sent.url, sent.body = asked.url, asked.body
        sent.headers = type(request.headers)(asked.headers)
        response = original(adapter, sent, *args, **kwargs)
        recorded: dict[str, Any] = {
            "status": {"code": response.status_code, "message": response.reason},
            "headers": {name: [value] for name, value in response.headers.items()},
            "body": {"string": response.content},
        }
        # requests has decompressed the content already.
        recorded["headers"].pop("Content-Encoding", None)
        return response, recorded

    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if router.ignores(request.method, request.url):
            return original(self, request, *args, **kwargs)
        body = request.body = _uploaded(request.body)
        if "Transfer-Encoding" in request.headers:
            del request.headers["Transfer-Encoding"]
            request.headers["Content-Length"] = str(len(body))

        received = _sent(request.method, request.url, request.headers, body)
        another = partial(sent_like, self, request, args, kwargs)
        call = router.open(received, lambda: lambda asked: another(asked)[1])
        if call is None:
            return original(self, request, *args, **kwargs)
        with _noticing(call.exchange):
            _wait(call.exchange)
            if call.exchange.replays:
                return response_of(self, request, call.exchange.play_response())
            response, recorded = another(call.request)
            call.exchange.append(None, recorded)
            live = getattr(response.raw, "_original_response", None)
            return response_of(self, request, recorded, live)

    stack.enter_context(mock.patch.object(HTTPAdapter, "send", send))


def _uploaded(body: Any) -> bytes:
    """The body of a request of ``requests``: text, bytes, an open file or chunks."""
    if isinstance(body, str):
        return body.encode()
    if body is None or isinstance(body, bytes | bytearray):
        return bytes(body or b"")
    return bytes(body.read()) if hasattr(body, "read") else b"".join(body)


def _patch_aiohttp(stack: contextlib.ExitStack, router: Router) -> None:
    from aiohttp import ClientSession

    original: Any = ClientSession._request

    async def _request(self: Any, method: str, url: Any, **kwargs: Any) -> Any:
        # A WebSocket goes on after its answer, which no recording can.
        if router.runs_trial and "Sec-WebSocket-Key" not in (kwargs.get("headers") or ()):
            return await follow(hop, self, method, url, kwargs)
        router.ignores(method.upper(), _address(self, url, kwargs))
        return await original(self, method, url, **kwargs)

    async def hop(
        session: Any, method: str, url: Any, kwargs: dict[str, Any]
    ) -> tuple[Any, SentRequest | None]:
        one: dict[str, Any] = {"allow_redirects": False, "raise_for_status": no_check}
        full = _address(session, url, kwargs)
        if router.ignores(method.upper(), full):
            return await original(session, method, url, **kwargs, **one), None
        received = await _sent_by_aiohttp(session, method, full, kwargs)
        one |= {key: kwargs[key] for key in kwargs.keys() - IN_THE_REQUEST}
        call = router.open(received, partial(like_aiohttp, session, kwargs))
        sent = received if call is None else call.request
        one |= {"headers": dict(sent.headers), "data": sent.body or None}
        exact = ExactHeaders(session)
        if call is None:
            return await original(exact, sent.method, sent.url, **one), received
        with _noticing(call.exchange):
            await _wait_async(call.exchange)
            from vcr.stubs.aiohttp_stubs import vcr_request

            answer = await vcr_request(call.exchange, original)(exact, sent.method, sent.url, **one)
            return answer, received

    stack.enter_context(mock.patch.object(ClientSession, "_request", _request))


def _address(session: Any, url: Any, kwargs: Mapping[str, Any]) -> str:
    """Where a request of aiohttp goes, with what its parameters add."""
    return str(session._build_url(url).extend_query(kwargs.get("params") or {}))


class _Sink:
    """Takes what an aiohttp payload writes."""

    def __init__(self) -> None:
        self.body = b""

    async def write(self, chunk: Any) -> None:
        self.body += bytes(chunk)


async def _sent_by_aiohttp(session: Any, method: str, url: str, kwargs: Any) -> SentRequest:
    """The request with its body as aiohttp would write it: JSON, form, file or stream."""
    from aiohttp import FormData
    from aiohttp.payload import PAYLOAD_REGISTRY, JsonPayload, LookupError

    headers = session._prepare_headers(kwargs.get("headers"))
    if (auth := kwargs.get("auth") or session._default_auth) is not None:
        headers.setdefault("Authorization", auth.encode())
    data: Any = kwargs.get("data")
    if kwargs.get("json") is not None:
        data = JsonPayload(kwargs["json"], dumps=session._json_serialize)
    if data is None:
        return _sent(method, url, headers, b"")
    written: Any = data() if isinstance(data, FormData) else data
    try:
        payload = PAYLOAD_REGISTRY.get(written, disposition=None)
    except LookupError:
        payload = FormData(written)()
    sink = _Sink()
    await payload.write(sink)  # type: ignore[arg-type]
    for name, value in (payload.headers or {}).items():
        headers.setdefault(name, value)
    # It goes out as one piece, whatever it was read from.
    headers.popall("Transfer-Encoding", None)
    headers["Content-Length"] = str(len(sink.body))
    return _sent(method, url, headers, sink.body)


def _sent(method: str, url: str, headers: Any, body: bytes) -> SentRequest:
    return SentRequest(
        method.upper(), url, {name.lower(): value for name, value in headers.items()}, body
    )
