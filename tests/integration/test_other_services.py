"""Requests of a trial that ask no model: recorded with it, whatever they carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.echo_server import EchoServer
from tests.integration.one_test import run_one

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
