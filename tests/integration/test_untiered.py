"""Tests that are not tiered run as if we were not installed, even in a session with trials."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.openai_server import OpenAIServer

TIERED = """
import pytest
from app import ask

@pytest.mark.tiers
def test_a_tiered():
    assert ask("q") == "OK"
"""

#: None of these may be imported before a project uses us: pytest's start would be slower.
HEAVY = (
    "aiohttp", "asyncio", "deepdiff", "difflib", "genai_prices", "httpx", "jinja2", "openai",
    "requests", "scipy", "sqlite3", "subprocess", "tabulate", "tomllib", "unittest", "vcr", "yaml",
)  # fmt: skip

#: All of ours that is imported before a project shows that it uses us; each takes a millisecond or
#: less, and more than twenty together may not.
OURS = {
    "pytest_tiers", "pytest_tiers.census", "pytest_tiers.command_line", "pytest_tiers.errors",
    "pytest_tiers.fixtures", "pytest_tiers.hookspecs", "pytest_tiers.lock", "pytest_tiers.markers",
    "pytest_tiers.modes", "pytest_tiers.override", "pytest_tiers.override.as_is",
    "pytest_tiers.override.keys", "pytest_tiers.override.named_site", "pytest_tiers.plugin",
    "pytest_tiers.reports", "pytest_tiers.reports.writers", "pytest_tiers.standby",
    "pytest_tiers.table",
}  # fmt: skip

#: A server whose second chunk waits until the client has shown the first.
STREAM = """
import http.server, threading
import httpx, pytest

seen = threading.Event()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"first")
        self.wfile.flush()
        self.wfile.write(b" in time" if seen.wait(10) else b" too late")

    def log_message(self, *args): ...

@pytest.fixture
def url():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
    seen.clear()

def check(chunks):
    assert next(chunks) == b"first"
    seen.set()
    assert b"".join(chunks) == b" in time"

def test_httpx(url):
    with httpx.stream("GET", url) as response:
        check(response.iter_raw())

def test_requests(url):
    import requests
    with requests.get(url, stream=True) as response:
        check(response.iter_content(5))

@pytest.mark.asyncio
async def test_httpx_async(url):
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"first"
        seen.set()
        assert b"".join([chunk async for chunk in chunks]) == b" in time"

@pytest.mark.asyncio
async def test_aiohttp(url):
    import aiohttp
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert await response.content.readany() == b"first"
        seen.set()
        assert await response.content.read() == b" in time"
"""

FAKED = """
import sys

import httpx
from app import client, ask

REPLY = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "faked"}}]}

def test_respx_like(monkeypatch):
    transport = type(client._client._transport)  # of httpx or, with newer clients, httpx2
    library = sys.modules[transport.__module__.partition(".")[0]]

    def handle(self, request):
        return library.Response(200, json=REPLY, request=request)

    monkeypatch.setattr(transport, "handle_request", handle)
    assert ask("q") == "faked"

def test_mock_transport():
    def handle(request):
        return httpx.Response(200, text=request.headers["host"])
    with httpx.Client(transport=httpx.MockTransport(handle)) as client:
        assert client.get("https://api.example.com/").text == "api.example.com"
"""

OWN_CASSETTE = """
import vcr
from app import ask

def test_own(tmp_path):
    with vcr.use_cassette({path!r}, record_mode="once") as cassette:
        assert ask("own") == "OK"
        assert len(cassette) == 1
"""


def test_streams_are_not_held_back(project: pytest.Pytester) -> None:
    project.makepyfile(test_a=TIERED, test_stream=STREAM)
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=6)


def test_faked_transports_work(project: pytest.Pytester, server: OpenAIServer) -> None:
    project.makepyfile(test_a=TIERED, test_faked=FAKED)
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=4)
    assert len(server.requests) == 2


def test_a_cassette_of_its_own_works_beside_tiered_tests(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    own = Path(project.path, "own.yaml")
    project.makepyfile(test_a=TIERED, test_own=OWN_CASSETTE.format(path=str(own)), test_z=TIERED)
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=5)
    assert "gpt-5.4" in own.read_text()
    server.stop()
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=5)
    project.runpytest("-p", "no:tiers", "test_own.py").assert_outcomes(passed=1)


def test_a_call_goes_where_it_went_before(
    project: pytest.Pytester, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    project.makepyfile(
        test_a=TIERED, test_live="from app import ask\ndef test_live():\n  assert ask('x') == 'OK'"
    )
    for _ in range(2):
        project.runpytest("--tiers=nano,full").assert_outcomes(passed=3)
    live = [request for request in server.requests if request.json["model"] == "gpt-5.4"]
    assert len(live) == 2
    assert {request.headers["authorization"] for request in live} == {"Bearer sk-of-the-developer"}


def test_a_suite_without_tiers_prints_what_it_prints_without_us(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import unittest, pytest

        def test_passes(): ...
        def test_fails(): assert False
        @pytest.mark.xfail
        def test_xfails(): assert False
        @pytest.mark.parametrize("x", [1, 2])
        def test_skips(x): pytest.skip("no")
        class TestOld(unittest.TestCase):
            def test_a(self): ...
        """
    )

    def shown(*args: str) -> list[str]:
        lines = pytester.runpytest("-rA", "-p", "no:cacheprovider", *args).outlines
        varying = ("plugins:", "rootdir:")
        return [line.partition(" in ")[0] for line in lines if not line.startswith(varying)]

    assert shown() == shown("-p", "no:tiers")


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    # pytest itself imports some of them at its start: those are not ours to avoid.
    code = f"""
import sys
import pytest, _pytest.config
before = set(sys.modules)
import pytest_tiers.plugin
print(sorted(set({HEAVY!r}) & (set(sys.modules) - before)))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_a_session_without_trials_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    # pytest and coverage import these themselves
    heavy = {*HEAVY} - {"difflib", "sqlite3", "subprocess", "tomllib", "unittest"}
    pytester.makeconftest(
        f"""
        import sys

        def pytest_unconfigure():
            print("heavy:", sorted({heavy!r} & set(sys.modules)))
            ours = {{name for name in sys.modules if name.partition(".")[0] == "pytest_tiers"}}
            print("ours:", sorted(ours - {OURS!r}))
        """
    )
    pytester.makepyfile("def test_it(): ...")
    plugins = ("no:asyncio", "no:anyio", "no:cov", "no:pytest_cov", "no:hypothesispytest",
               "no:xdist", "no:xdist.looponfail", "no:rerunfailures", "no:html")  # fmt: skip
    args = [arg for name in plugins for arg in ("-p", name)]
    result = pytester.runpytest_subprocess(*args)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["heavy: []", "ours: []"])


def test_a_test_that_is_marked_after_it_was_collected_is_told_so(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_itemcollected(item):
            item.add_marker("tiers")
        """
    )
    pytester.makepyfile("def test_it(): ...")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*too late to run it on tiers*"])
