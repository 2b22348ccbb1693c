"""aiohttp's redirects, followed here: each hop is recorded, replayed or left alone by itself.

aiohttp follows them inside one request, though a host that is recorded may lead to one that is
not, and the other way round.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pytest_tiers.cassettes.matching import SentRequest

#: Makes one request without following redirects, given the session, method, URL and arguments of
#: ``ClientSession._request``: the answer, and the request if it was read.
Hop = Callable[[Any, str, Any, dict[str, Any]], Awaitable[tuple[Any, SentRequest | None]]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: Headers that no other host may see.
_FOR_ONE_HOST = ("Authorization", "Cookie", "Proxy-Authorization", "api-key")

#: Headers that every request makes anew.
_FOR_ONE_REQUEST = ("Host", "Content-Length", "Transfer-Encoding")


async def follow(hop: Hop, session: Any, method: str, url: Any, kwargs: Mapping[str, Any]) -> Any:
    """Make a request, and those that its answers redirect to, as aiohttp would.

    ``kwargs`` are arguments of ``ClientSession._request``. Raises what aiohttp raises.
    """
    from aiohttp import TooManyRedirects

    kwargs = dict(kwargs)
    follows = kwargs.pop("allow_redirects", True)
    most = kwargs.pop("max_redirects", 10)
    check = kwargs.pop("raise_for_status", None)
    history: list[Any] = []
    at: tuple[Any, str, Any, dict[str, Any]] = (session, method, url, kwargs)
    while True:
        response, sent = await hop(*at)
        if not follows or response.status not in _REDIRECTS:
            break
        history.append(response)
        if most and len(history) >= most:
            response.close()
            raise TooManyRedirects(history[0].request_info, tuple(history))
        following = _next(response, sent, at)
        if following is None:
            history.pop()
            break
        response.release()
        at = following
    response._history = tuple(history)
    await _check_status(response, session._raise_for_status if check is None else check)
    return response


def _next(
    response: Any, sent: SentRequest | None, at: tuple[Any, str, Any, dict[str, Any]]
) -> tuple[Any, str, Any, dict[str, Any]] | None:
    """The next request; None where the answer does not say to where."""
    from multidict import CIMultiDict
    from yarl import URL

    session, method, _, kwargs = at
    location = response.headers.get("Location") or response.headers.get("URI")
    if location is None:
        return None
    url = _target(response, location, session)
    headers: Any = CIMultiDict(response.request_info.headers if sent is None else sent.headers)
    asked = response.url if sent is None else URL(sent.url)
    dropped = {*_FOR_ONE_REQUEST}
    body: dict[str, Any]
    if (response.status == 303 and method.upper() != "HEAD") or (
        response.status in (301, 302) and method.upper() == "POST"
    ):
        method, body = "GET", {}
        dropped.add("Content-Type")
    else:
        body = _body_again(response, kwargs) if sent is None else {"data": sent.body or None}
    others = {name: kwargs[name] for name in kwargs.keys() - IN_THE_REQUEST}
    if url.origin() != asked.origin():
        dropped |= {*_FOR_ONE_HOST}
        others.pop("cookies", None)
    for name in dropped:
        headers.popall(name, None)
    return ExactHeaders(session), method, url, {**others, **body, "headers": headers}


def _body_again(response: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for the body of a request that was not read, to be sent once more.

    Raises ClientPayloadError where it is used up: what could be read once only.
    """
    from aiohttp import ClientPayloadError

    data = kwargs.get("data")
    parts = data.values() if isinstance(data, Mapping) else (data,)
    if all(isinstance(part, str | bytes | bytearray | int | float | None) for part in parts):
        return {name: kwargs[name] for name in ("data", "json") if name in kwargs}
    response.close()
    raise ClientPayloadError(
        "Cannot follow a redirect with a request body that was read once. Use bytes, or set "
        "allow_redirects=False."
    )


def _target(response: Any, location: str, session: Any) -> Any:
    """Where an answer redirects to. Raises what aiohttp raises where that is no address."""
    from aiohttp import InvalidUrlRedirectClientError, NonHttpUrlRedirectClientError
    from yarl import URL

    try:
        url = URL(location, encoded=not session._requote_redirect_url)
        url = url if url.absolute else response.url.join(url)
        if url.scheme in ("http", "https"):
            url.origin()
            return url
    except ValueError as error:
        response.close()
        raise InvalidUrlRedirectClientError(location, "this does not look like a URL") from error
    response.close()
    raise NonHttpUrlRedirectClientError(location)


async def no_check(_: Any) -> None:
    """aiohttp's ``raise_for_status`` for a hop: only the last answer is judged."""


async def _check_status(
    response: Any, check: Callable[[Any], Awaitable[None]] | bool | None
) -> None:
    if callable(check):
        await check(response)
    elif check:
        response.raise_for_status()


#: Arguments of an aiohttp request that stand in the request as it is sent.
IN_THE_REQUEST = frozenset({"json", "data", "headers", "params", "auth"})


class ExactHeaders:
    """An aiohttp session that adds no header of its own: the key in it may not be for this host."""

    _default_auth = None

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _prepare_headers(self, headers: Any) -> Any:
        from multidict import CIMultiDict

        return CIMultiDict(headers or {})
