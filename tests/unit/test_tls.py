"""Certificates are loaded late, and checked all the same."""

from __future__ import annotations

import importlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from pytest_tiers.cassettes.tls import ContextOnDemand, certificates_on_demand


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


class _Server(ThreadingHTTPServer):
    def get_request(self) -> Any:
        connection, address = super().get_request()
        try:
            return self.context.wrap_socket(connection, server_side=True), address
        except ssl.SSLError as error:  # the client does not trust us
            connection.close()
            raise ConnectionError from error

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(("127.0.0.1", 0), _Handler)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Signs the server's certificate; nobody trusts it unless told."""
    return trustme.CA()


@pytest.fixture(scope="module")
def url(authority: trustme.CA) -> Iterator[str]:
    """A server that speaks TLS only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with _Server(context) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"https://localhost:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    """A file with the authority's certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(autouse=True)
def _usual_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client library as it is while a trial runs."""
    module = importlib.import_module(request.param)
    with certificates_on_demand(module, lambda: True):
        yield module


def context_of(client: Any) -> Any:
    """The context with which a client would connect."""
    return client._transport._pool._ssl_context


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Files from which certificates were loaded."""
    loaded: list[Any] = []
    original = ssl.create_default_context
    usual = importlib.import_module("httpcore2").default_ssl_context

    def create_default_context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        loaded.append(kwargs.get("cafile"))
        return original(*args, **kwargs)

    def default_ssl_context(**kwargs: Any) -> ssl.SSLContext:
        before = len(loaded)
        context: ssl.SSLContext = usual(**kwargs)
        if len(loaded) == before:
            loaded.append(None)
        return context

    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    monkeypatch.setattr("httpcore2.default_ssl_context", default_ssl_context)
    return loaded


def test_a_client_that_does_not_connect_loads_nothing(library: Any, made: list[Any]) -> None:
    with library.Client() as one, library.Client() as other:
        assert context_of(one) is not context_of(other)
        assert isinstance(context_of(one), ssl.SSLContext)
    assert made == []


def test_unknown_authorities_are_refused(library: Any, made: list[Any], url: str) -> None:
    with (
        library.Client() as client,
        pytest.raises(library.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get(url)
    assert len(made) == 1


@pytest.mark.asyncio
async def test_unknown_authorities_are_refused_async(library: Any, url: str) -> None:
    async with library.AsyncClient() as client:
        with pytest.raises(library.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(url)


def test_the_environment_of_its_making_holds(
    library: Any, made: list[Any], url: str, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with library.Client() as early:
        monkeypatch.delenv("SSL_CERT_FILE")
        with library.Client() as late:
            assert early.get(url).text == "OK"
            with pytest.raises(library.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                late.get(url)
    assert made[0] == str(trusted)


@pytest.mark.asyncio
async def test_the_environment_holds_async(
    library: Any, url: str, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with library.AsyncClient() as client:
        assert (await client.get(url)).text == "OK"


def test_a_client_that_ignores_the_environment(
    library: Any, url: str, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with (
        library.Client(trust_env=False) as client,
        pytest.raises(library.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get(url)


def test_what_an_application_does_to_one_client_changes_no_other(
    library: Any, url: str, trusted: Path
) -> None:
    with library.Client() as trusting, library.Client() as other:
        context_of(trusting).load_verify_locations(str(trusted))
        context_of(trusting).options |= ssl.OP_NO_COMPRESSION
        assert trusting.get(url).text == "OK"
        with pytest.raises(library.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            other.get(url)
        context_of(other).check_hostname = False
        context_of(other).verify_mode = ssl.CERT_NONE
        assert other.get(url).text == "OK"
        assert context_of(trusting).verify_mode == ssl.CERT_REQUIRED


def test_a_context_of_the_applications_own_is_taken_as_it_is(
    library: Any, made: list[Any], url: str, trusted: Path
) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    own.load_verify_locations(str(trusted))
    with library.Client(verify=own) as client:
        assert context_of(client) is own
        assert client.get(url).text == "OK"
    assert made == []


def test_a_client_that_does_not_verify(library: Any, url: str) -> None:
    with library.Client(verify=False) as client:
        assert type(context_of(client)) is ssl.SSLContext
        assert client.get(url).text == "OK"


def test_a_missing_file_is_told_at_once(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    with pytest.raises(FileNotFoundError):
        library.Client()


def test_clients_outside_a_trial_are_built_as_always() -> None:
    import httpx2

    with certificates_on_demand(httpx2, lambda: False), httpx2.Client() as client:
        assert type(context_of(client)) is not ContextOnDemand
    with httpx2.Client() as client:
        assert type(context_of(client)) is not ContextOnDemand


def test_a_library_that_is_built_otherwise_stays_as_it_is() -> None:
    with certificates_on_demand(ssl, lambda: True):
        assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
