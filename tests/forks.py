"""pytest runs that start in a tenth of a second: forks of one process that has imported it all.

    with Forks(project.path) as forks:
        run = forks.start("--tiers=nano")
        run.kill(signal.SIGKILL)
        assert run.ended() == -9

Each run is a process of its own, as if it had been started from a shell, only without the second
that the imports take. `main` is what the forking process does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest
from _pytest.config import default_plugins

#: What a run imports, or its tests do.
_IMPORTED = (
    "_pytest._argcomplete",
    "aiohttp",
    "genai_prices.data",
    "genai_prices.decompose",
    "httpcore2",
    "httpx",
    "openai.resources.chat.chat",
    "openai.resources.chat.completions.completions",
    "pdb",
    "pytest_tiers.ledger",
    "pytest_tiers.plugin",
    "pytest_tiers.progress",
    "pytest_tiers.reports.terminal",
    "pytest_tiers.runner",
    "pytest_tiers.session",
    "pytest_tiers.summary",
    "requests",
    "tomllib",
    "vcr.stubs.aiohttp_stubs",
    "vcr.stubs.httpx_stubs",
)


class Forks:
    """The forking process; ``folder`` is the directory that the runs are started in."""

    def __init__(self, folder: Path) -> None:
        self._output = folder / "output.txt"
        # Of a killed process coverage learns nothing, and measuring would slow down the others.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COV", "PYTEST_"))
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks"],
            cwd=Path(__file__).parent.parent,
            env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "FOLDER": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def say(self, value: Any) -> Any:
        """Send one line of JSON, and wait for one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        return json.loads(self._process.stdout.readline())

    def start(self, *args: str) -> Run:
        """Start ``pytest args`` in a process group of its own."""
        return Run(self, self.say({"start": args}), self._output)


class Run:
    """One pytest run."""

    def __init__(self, forks: Forks, process: int, output: Path) -> None:
        self._forks, self._process, self._output = forks, process, output

    def kill(self, number: int) -> None:
        """Send a signal to the run and its workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, number)

    @property
    def is_running(self) -> bool:
        """Whether the run has not ended yet."""
        return self._forks.say({"poll": self._process}) is None

    def ended(self) -> int:
        """Wait for the end: the exit code, or the negative number of the signal."""
        code: int = self._forks.say({"wait": self._process})
        return code

    @property
    def output(self) -> str:
        """What the run has printed."""
        return self._output.read_text()


def main() -> None:
    """Start and wait for what standard input says, a line at a time."""
    folder = Path(os.environ["FOLDER"])
    for name in (*_IMPORTED, *(f"_pytest.{name}" for name in default_plugins)):
        importlib.import_module(name)
    gc.freeze()  # pytest collects garbage twice at its end
    ended: dict[int, int] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            said: int | None = os.fork() or _run(folder, asked["start"])
        else:
            process = asked.get("wait") or asked["poll"]
            if process not in ended:
                done, status = os.waitpid(process, 0 if "wait" in asked else os.WNOHANG)
                if done:
                    ended[process] = os.waitstatus_to_exitcode(status)
            said = ended.get(process)
        print(json.dumps(said), flush=True)


def _run(folder: Path, args: list[str]) -> NoReturn:
    os.setsid()
    # A shell has its background jobs ignore Ctrl-C; these runs are to hear it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path.insert(0, str(folder))
    code = 1
    try:
        code = int(pytest.main(["-p", "pytest_tiers.plugin", "-p", "no:cacheprovider", *args]))
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
