"""Redirects: each hop is recorded, replayed or left alone by itself, with every client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.echo_server import EchoServer
from tests.integration.one_test import outcomes, run_one

Report = Callable[[], dict[str, Any]]

OFFLINE = ("--tiers=nano", "-p", "tests.no_network")

#: Each way sends a request with a key and returns the last answer's JSON and how it came there.
CLIENTS = """
import asyncio, json
from pathlib import Path
import aiohttp, httpx, requests

KEY = {{"Authorization": "Bearer of-the-first-host"}}

def ask_httpx(method, url, **body):
    with httpx.Client(follow_redirects=True, max_redirects=3) as client:
        answer = client.request(method, url, headers=KEY, **body)
    return answer.json(), str(answer.url), [each.status_code for each in answer.history]

def ask_requests(method, url, **body):
    with requests.Session() as session:
        session.max_redirects = 3
        answer = session.request(method, url, headers=KEY, **body)
    return answer.json(), answer.url, [each.status_code for each in answer.history]

def ask_aiohttp(method, url, **body):
    async def asked():
        async with aiohttp.ClientSession(headers=KEY, raise_for_status=True) as session:
            async with session.request(method, url, max_redirects=3, **body) as answer:
                history = [each.status for each in answer.history]
                return await answer.json(), str(answer.url), history
    return asyncio.run(asked())

def ask(text):
    try:
        said = ask_{client}({method!r}, "{url}/start", **{body!r})
    except (httpx.TooManyRedirects, requests.TooManyRedirects, aiohttp.TooManyRedirects):
        said = "too many"
    first = Path("first.json")
    if not first.exists():
        first.write_text(json.dumps(said))
    return json.loads(json.dumps(said)) == json.loads(first.read_text())
"""

EVERY_CLIENT = pytest.mark.parametrize("client", ["httpx", "requests", "aiohttp"])


def app(client: str, url: str, method: str = "GET", **body: Any) -> str:
    return CLIENTS.format(client=client, url=url, method=method, body=body)


def bearers(echo: EchoServer) -> list[bool]:
    """Whether each request had the key."""
    return [each is not None for each in echo.authorizations]


@EVERY_CLIENT
@pytest.mark.parametrize(
    ("status", "method", "arrives"),
    [(302, "GET", "GET /end"), (303, "POST", "GET /end"), (307, "POST", "POST /end")],
)
def test_another_host_is_recorded_and_gets_no_key(
    project: pytest.Pytester, echo: EchoServer, client: str, status: int, method: str, arrives: str
) -> None:
    shop, files = echo.at("shop.example.com"), echo.at("files.example.com")
    echo.redirects = {"/start": (status, "/again"), "/again": (status, f"{files}/end")}
    body = {"json": {"n": 1}} if method == "POST" else {}
    text = app(client, shop, method, **body)
    run_one(project, "--tiers=nano", app=text).assert_outcomes(passed=1)
    assert [echo.requests[0], echo.requests[-1]] == [f"{method} /start", arrives]
    assert (b'"n"' in echo.bodies[-1]) == (status == 307)
    assert bearers(echo) == [True, True, False]
    run_one(project, *OFFLINE, app=text).assert_outcomes(passed=1)
    assert len(echo.requests) == 3


@EVERY_CLIENT
def test_the_application_under_test_may_lead_to_a_remote_host(
    project: pytest.Pytester, echo: EchoServer, client: str
) -> None:
    echo.redirects = {"/start": (302, echo.at("files.example.com") + "/end")}
    text = app(client, echo.url)
    for asked in (["GET /start", "GET /end"], ["GET /start"], ["GET /start"]):
        run_one(project, "--tiers=nano", app=text).assert_outcomes(passed=1)
        assert echo.requests == asked
        echo.requests.clear()
    (cassette,) = (project.path / "cassettes").rglob("*.yaml")
    assert "/start" not in cassette.read_text()


@EVERY_CLIENT
def test_a_remote_host_may_lead_to_the_application_under_test(
    project: pytest.Pytester, echo: EchoServer, client: str
) -> None:
    echo.redirects = {"/start": (302, f"{echo.url}/end")}
    text = app(client, echo.at("shop.example.com"))
    run_one(project, "--tiers=nano", app=text).assert_outcomes(passed=1)
    assert echo.requests == ["GET /start", "GET /end"]
    (project.path / "first.json").unlink()  # the application counts on
    run_one(project, "--tiers=nano", app=text).assert_outcomes(passed=1)
    assert echo.requests == ["GET /start", "GET /end", "GET /end"]


@EVERY_CLIENT
def test_a_circle_ends_as_the_client_says(
    project: pytest.Pytester, echo: EchoServer, client: str, report: Report
) -> None:
    echo.redirects = {"/start": (302, "/start")}
    text = app(client, echo.at("shop.example.com"))
    run_one(project, "--tiers=nano", app=text).assert_outcomes(passed=1)
    asked = len(echo.requests)
    assert asked >= 3
    run_one(project, *OFFLINE, app=text).assert_outcomes(passed=1)
    assert outcomes(report()) == ["passed"]
    assert (project.path / "first.json").read_text() == '"too many"'


AIOHTTP = """
import asyncio
import aiohttp

async def asked(**how):
    async with aiohttp.ClientSession() as session:
        async with session.get("{url}/start", **how) as answer:
            return answer.status

def refused(**how):
    try:
        return asyncio.run(asked(**how))
    except {error} as error:
        return "refused"

async def never(response):
    raise RuntimeError(response.status)

def ask(text):
    return [refused(), asyncio.run(asked(allow_redirects=False))] == ["refused", 302]
"""


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("ftp://files.example.com/", "aiohttp.NonHttpUrlRedirectClientError"),
        ("http://[not", "aiohttp.InvalidUrlRedirectClientError"),
    ],
)
def test_aiohttp_refuses_what_is_no_address(
    project: pytest.Pytester, echo: EchoServer, location: str, error: str
) -> None:
    echo.redirects = {"/start": (302, location)}
    text = AIOHTTP.format(url=echo.at("shop.example.com"), error=error)
    run_one(project, "--tiers=nano", app=text).assert_outcomes(passed=1)
    run_one(project, *OFFLINE, app=text).assert_outcomes(passed=1)


def test_aiohttp_judges_the_last_answer_only(project: pytest.Pytester, echo: EchoServer) -> None:
    echo.redirects = {"/start": (302, "/end"), "/end": (200, "")}
    text = AIOHTTP.format(url=echo.at("shop.example.com"), error="RuntimeError").replace(
        '[refused(), asyncio.run(asked(allow_redirects=False))] == ["refused", 302]',
        '[refused(raise_for_status=never), refused(raise_for_status=True)] == ["refused", 200]',
    )
    run_one(project, "--tiers=nano", app=text).assert_outcomes(passed=1)
    assert len(echo.requests) == 4
    run_one(project, *OFFLINE, app=text).assert_outcomes(passed=1)


UPLOADS = """
import asyncio, io
import aiohttp

async def pieces():
    yield b"up"

async def asked(**body):
    async with aiohttp.ClientSession() as session:
        async with session.post("{url}/start", **body) as answer:
            return (await answer.json())["body"]

def ask(text):
    said = []
    for body in ({{"data": b"up"}}, {{"data": {{"a": 1}}}}, {{"json": [1]}}, {{}},
                 {{"data": io.BytesIO(b"up")}}, {{"data": pieces()}}):
        try:
            said.append(asyncio.run(asked(**body)))
        except aiohttp.ClientPayloadError:
            said.append("used up")
    return said == ["up", "a=1", "[1]", "", {file!r}, {pieces!r}]
"""


@pytest.mark.parametrize(
    ("host", "file", "pieces"),
    [("shop.example.com", "up", "up"), ("127.0.0.1", "used up", "used up")],
    ids=["recorded", "left alone"],
)
def test_aiohttp_sends_a_body_again_or_says_that_it_cannot(
    project: pytest.Pytester, echo: EchoServer, host: str, file: str, pieces: str
) -> None:
    echo.redirects = {"/start": (307, "/end")}
    url = echo.url.replace("127.0.0.1", host)
    text = UPLOADS.format(url=url, file=file, pieces=pieces)
    run_one(project, "--tiers=nano", app=text).assert_outcomes(passed=1)
