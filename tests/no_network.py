"""A pytest plugin (``-p tests.no_network``): every attempt to connect fails the run."""

from __future__ import annotations

import socket
from typing import Any, NoReturn
from unittest import mock

import pytest


class NoNetwork:
    """Refuses and counts attempts to reach anything."""

    def __init__(self) -> None:
        self.attempts: list[str] = []
        patch = mock.patch.object
        self.patches = [
            patch(socket.socket, "connect", self._refuse),
            patch(socket.socket, "connect_ex", self._refuse),
            patch(socket, "getaddrinfo", self._refuse),
        ]
        for each in self.patches:
            each.start()

    def _refuse(self, *args: Any, **_: Any) -> NoReturn:
        self.attempts.append(repr(args))
        raise OSError(f"the network is cut: {args}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.attempts:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(f"connections attempted: {len(self.attempts)}")
        terminalreporter.write("".join(f"{attempt}\n" for attempt in self.attempts))

    def pytest_unconfigure(self) -> None:
        for each in self.patches:
            each.stop()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(NoNetwork(), "no-network")
