"""Requests of a trial that ask no model: recorded with it, whatever they carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.echo_server import EchoServer
from tests.integration.one_test import run_one
from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

#: Each sends the same upload in another way.
UPLOADS = """
import asyncio, io
import aiohttp, httpx, requests

async def over_aiohttp(url, **how):
    async with aiohttp.ClientSession() as session:
        async with session.post(url, **how) as answer:
            return (await answer.json())["number"]

def pieces():
    yield b"up"
    yield b"load"

async def async_pieces():
    for piece in pieces():
        yield piece

WAYS = [
    lambda url: httpx.post(url, content=pieces()).json()["number"],
    lambda url: httpx.post(url, files={{"file": b"upload"}}).json()["number"],
    lambda url: requests.post(url, data=pieces()).json()["number"],
    lambda url: requests.post(url, data=io.BytesIO(b"upload")).json()["number"],
    lambda url: requests.post(url, files={{"file": b"upload"}}).json()["number"],
    lambda url: requests.post(url, data="upload").json()["number"],
    lambda url: asyncio.run(over_aiohttp(url, data=async_pieces())),
    lambda url: asyncio.run(over_aiohttp(url, data=io.BytesIO(b"upload"))),
    lambda url: asyncio.run(over_aiohttp(url, data={{"file": "upload"}})),
    lambda url: asyncio.run(over_aiohttp(url, data=aiohttp.FormData({{"file": "upload"}}))),
    lambda url: asyncio.run(over_aiohttp(url, data=b"upload", params={{"b": "2"}})),
    lambda url: asyncio.run(over_aiohttp(url, data=b"upload", params={{"b": "3"}})),
]
numbers = []

def ask(text):
    numbers.append([way("{url}/files?a=1") for way in WAYS])
    return numbers
"""


def test_uploads_of_every_kind_are_recorded_and_replayed(
    project: pytest.Pytester, echo: EchoServer
) -> None:
    app = UPLOADS.format(url=echo.at("files.example.com"))
    for connected in (True, False):
        project.makepyfile(
            """
            import pytest, app

            @pytest.mark.tiers
            def test_uploads():
                assert app.ask("") == [list(range(1, len(app.WAYS) + 1))]
            """,
            app=app,
        )
        guard = () if connected else ("-p", "tests.no_network")
        project.runpytest("--tiers=nano", "--tiers-max-calls=99", *guard).assert_outcomes(passed=1)
    assert len(echo.bodies) == 12
    assert all(b"upload" in body for body in echo.bodies)
    assert echo.requests[-2:] == ["POST /files?a=1&b=2", "POST /files?a=1&b=3"]


def test_a_service_that_is_down_is_an_error_until_a_retry_gets_through(
    project: pytest.Pytester, echo: EchoServer, report: Report
) -> None:
    app = f"""
import requests
def ask(text):
    return requests.get("{echo.at("weather.example.com")}/now").status_code != 500
"""
    echo.statuses = [503, 404]
    run_one(project, "--tiers=nano", app=app).assert_outcomes(failed=1)
    (trial,) = report()["trials"]
    assert (trial["outcome"], "weather.example.com" in trial["reason"]) == ("error", True)
    run_one(project, "--tiers=nano").assert_outcomes(passed=1)
    run_one(project, "--tiers=nano", "-p", "tests.no_network").assert_outcomes(passed=1)
    assert len(echo.requests) == 2


def test_a_login_over_requests_keeps_its_cookie_while_recording(
    project: pytest.Pytester, echo: EchoServer
) -> None:
    app = f"""
import requests
def ask(text):
    session = requests.Session()
    session.get("{echo.at("shop.example.com")}/login")
    return dict(session.cookies) == {{"session": "abc"}}
"""
    run_one(project, "--tiers=nano", app=app).assert_outcomes(passed=1)


def test_a_password_goes_to_the_service_and_into_no_file(
    project: pytest.Pytester, echo: EchoServer
) -> None:
    app = f"""
import asyncio
import aiohttp, httpx, requests

url = "{echo.at("shop.example.com")}/orders"

async def over_aiohttp(in_session, in_call):
    async with aiohttp.ClientSession(**in_session) as session:
        async with session.get(url, **in_call) as answer:
            return (await answer.json())["number"]

def ask(text):
    auth = {{"auth": aiohttp.BasicAuth("me", "open sesame")}}
    return [
        asyncio.run(over_aiohttp(auth, {{}})),
        asyncio.run(over_aiohttp({{}}, auth)),
        httpx.get(url, auth=("me", "open sesame")).json()["number"],
        requests.get(url, auth=("me", "open sesame")).json()["number"],
    ] == [1, 2, 3, 4]
"""
    run_one(project, "--tiers=nano", app=app).assert_outcomes(passed=1)
    assert echo.authorizations == ["Basic bWU6b3BlbiBzZXNhbWU="] * 4
    run_one(project, "--tiers=nano", "-p", "tests.no_network").assert_outcomes(passed=1)
    (file,) = (project.path / "cassettes").rglob("*.yaml")
    assert "bWU6b3BlbiBzZXNhbWU=" not in file.read_text()


def test_secrets_in_bodies_and_addresses_are_in_no_file(
    project: pytest.Pytester, echo: EchoServer, server: OpenAIServer, report: Report
) -> None:
    """A login whose answer is used in the calls that follow: recorded, and replayed."""
    echo.also = {"access_token": "s3cr3t-1", "client_secret": {"value": "s3cr3t-2"}, "expires": 9}
    echo.also |= {"path": "not said again", "body": ""}
    app = f"""
import aiohttp, asyncio, httpx, requests
from openai import OpenAI

url = "{echo.at("shop.example.com")}"
client = OpenAI()

async def over_aiohttp(**how):
    async with aiohttp.ClientSession() as session:
        async with session.post(url, **how) as answer:
            return (await answer.json())["number"]

def ask(text):
    form = {{"grant_type": "password", "username": "me", "password": "s3cr3t-3"}}
    login = httpx.post(url + "/token?client_secret=s3cr3t-4", data=form).json()
    token = login["access_token"]
    assert login["expires"] == 9
    numbers = [
        requests.get(f"{{url}}/orders", params={{"token": token}}).json()["number"],
        requests.post(url, json={{"orders": [{{"id": 1, "apiKey": token}}]}}).json()["number"],
        httpx.post(url, files={{"file": b"x"}}, data={{"password": token}}).json()["number"],
        httpx.post("http://me:s3cr3t-5@" + url[7:], json={{"n": 1}}).json()["number"],
        asyncio.run(over_aiohttp(json={{"id": 2, "refresh_token": token}})),
    ]
    said = client.chat.completions.create(
        model="m", max_tokens=9, messages=[{{"role": "user", "content": "keep: password"}}],
        extra_body={{"headers": {{"Authorization": "Bearer s3cr3t-6"}}}},
    )
    return numbers == [2, 3, 4, 5, 6] and said.usage.total_tokens
"""
    run_one(project, "--tiers=nano", app=app).assert_outcomes(passed=1)
    assert b"s3cr3t-3" in echo.bodies[0]
    assert b"s3cr3t-1" in echo.bodies[3]
    assert "s3cr3t-6" in str(server.requests[0].json)
    written = [path for path in (project.path / "cassettes").rglob("*") if path.is_file()]
    for path in (*written, project.path / "out.json"):
        assert "s3cr3t" not in path.read_text()
    (text,) = [path.read_text() for path in written if path.suffix == ".yaml"]
    assert text.count('"access_token": "<access_token>"') == 6
    assert '"max_tokens": 9' in text
    run_one(project, "--tiers=nano", "-p", "tests.no_network").assert_outcomes(passed=1)
    (trial,) = report()["trials"]
    assert trial["replayed"]


@pytest.mark.usefixtures("echo")
def test_no_secret_of_an_address_is_in_a_report(project: pytest.Pytester, report: Report) -> None:
    app = """
import requests
def ask(text):
    try:
        requests.get("http://me:s3cr3t-1@down.example.com:9/x?api_key=s3cr3t-2&q=of-the-team-1")
    except requests.ConnectionError as error:
        assert "s3cr3t-2" in str(error)  # the client's own words
"""
    project.makeconftest("import os; os.environ['TEAM_KEY'] = 'of-the-team-1'")
    run_one(project, "--tiers=nano", "--tiers-report=out.html", app=app)
    (trial,) = report()["trials"]
    assert trial["outcome"] == "error"
    assert "api_key=<api_key>" in trial["reason"]
    for name in ("out.json", "out.html"):
        text = (project.path / name).read_text()
        assert "s3cr3t" not in text
        assert "of-the-team-1" not in text


def test_traces_of_openai_agents_are_neither_recorded_nor_sent(project: pytest.Pytester) -> None:
    """The library sends them from a thread of its own, so that no replay would find its own."""
    app = """
import httpx, httpx2
from openai import OpenAI
sent = []
def ask(text):
    for http in (httpx, httpx2):
        url = "https://api.openai.com/v1/traces/ingest"
        sent.append(http.post(url, json={"data": [len(sent)]}).status_code)
    return OpenAI().chat.completions.create(model="m", messages=[]) and sent == [204, 204]
"""
    for guard in ((), ("-p", "tests.no_network")):
        result = run_one(project, "--tiers=nano", *guard, app=app)
        result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["connections attempted: 0"])
    (file,) = (project.path / "cassettes").rglob("*.yaml")
    assert "traces" not in file.read_text()


#: Talks to a WebSocket server, which goes by the name of a remote host.
OVER_WEBSOCKET = """
import asyncio
import aiohttp
from aiohttp import web

async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"echo of {message.data}")
    return socket

async def talk():
    service = web.Application()
    service.router.add_get("/", echo)
    runner = web.AppRunner(service)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.ws_connect(f"ws://chat.example.com:{port}/") as socket:
                await socket.send_str("hello")
                return await socket.receive_str(timeout=10)
    finally:
        await runner.cleanup()

def ask(text):
    said = asyncio.run(talk())
    assert said == "echo of hello"
    return said
"""


def test_websockets_are_left_alone(project: pytest.Pytester, echo: EchoServer) -> None:
    for _ in ("recorded", "replayed"):
        run_one(project, "--tiers=nano", app=OVER_WEBSOCKET).assert_outcomes(passed=1)
    assert echo.requests == []
    assert not list(project.path.rglob("test_ask*.yaml"))
