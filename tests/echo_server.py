"""A plain HTTP service on loopback that says what it was asked: no model."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from unittest import mock


class EchoServer:
    """Answers ``{"number", "path", "body"}``; ``number`` counts the requests from 1.

    While the ``with`` block runs, any ``*.example.com`` in this process is this service too, so
    that it can play a remote one. ``statuses`` are the next answers' statuses; then 200.
    ``also`` is in every answer. ``redirects`` maps a path to status and location.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.authorizations: list[str | None] = []
        self.statuses: list[int] = []
        self.also: dict[str, Any] = {}
        self.redirects: dict[str, tuple[int, str]] = {}
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.01])
        self._resolve = socket.getaddrinfo
        self._patch = mock.patch.object(socket, "getaddrinfo", self._at_home)

    @property
    def url(self) -> str:
        """The service's address on loopback."""
        return f"http://127.0.0.1:{self.port}"

    def at(self, host: str) -> str:
        """The service's address as ``host``, which must end in ``.example.com``."""
        return f"http://{host}:{self.port}"

    def _at_home(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        home = "127.0.0.1" if str(name).endswith(".example.com") else host
        return self._resolve(home, *args, **kwargs)

    def __enter__(self) -> Self:
        self._thread.start()
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    owner: EchoServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        owner = self.server.owner
        body = self._body()
        owner.requests.append(f"{self.command} {self.path}")
        owner.bodies.append(body)
        owner.authorizations.append(self.headers.get("Authorization"))
        said = {"number": len(owner.requests), "path": self.path, "body": body.decode("latin-1")}
        answer = json.dumps(said | owner.also).encode()
        status, location = owner.redirects.get(self.path, (200, ""))
        self.send_response(owner.statuses.pop(0) if owner.statuses else status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "application/json")
        self.send_header("Set-Cookie", "session=abc")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: tests read stderr."""
