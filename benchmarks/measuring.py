"""What the benchmarks share: a project in a temporary folder, and the CPU time of its runs."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

#: The plugins that record; a run switches on at most one. All other plugins stay as they are.
RECORDERS = ("tiers", "recording", "cassetter")

#: What a run sees of the environment, so that no key or option of the developer's gets in.
_KEPT = frozenset({"PATH", "HOME", "LANG", "SYSTEMROOT", "PYTHONPATH", "VIRTUAL_ENV"})


@dataclass(frozen=True)
class Usage:
    """What one process took: CPU seconds (user and system), and its largest memory in MB."""

    cpu: float
    megabytes: float
    output: str


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Usage:
    """Run a command to its end; a failure ends the benchmark with what it printed."""
    with tempfile.TemporaryFile() as printed:
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=printed, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        output = printed.read().decode()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}\n{output}")
    kilobytes = used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Usage(used.ru_utime + used.ru_stime, kilobytes / 1024, output)


class Project:
    """A project in a folder of its own, whose application calls a model at ``url``."""

    def __init__(self, folder: Path, url: str, files: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = {name: os.environ[name] for name in _KEPT & os.environ.keys()}
        self._environment |= {"OPENAI_API_KEY": "sk-benchmark", "OPENAI_BASE_URL": url}
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)

    def pytest(self, recorder: str | None, *args: str, **environment: str) -> Usage:
        """Run pytest with one of the `RECORDERS`, or none."""
        without = [f"-pno:{name}" for name in RECORDERS if name != recorder]
        command = [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", *without, *args]
        return run(command, self.folder, {**self._environment, **environment})


def least(measures: Mapping[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """The least of several runs of each, taken in turn: what slows the machine slows all."""
    taken = [{name: measure() for name, measure in measures.items()} for _ in range(runs)]
    return {name: min(each[name] for each in taken) for name in measures}


def number_of_runs(description: str | None, default: int = 5) -> int:
    """The option ``--runs``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=default, help=f"of each command ({default})")
    return int(parser.parse_args().runs)


def show(what: str, value: float, bar: float) -> None:
    """Print a measured value beside what it may be at most."""
    verdict = "holds" if value <= bar else f"MISSED, {value / bar - 1:.0%} above"
    print(f"{what}: {value:.3g} (bar {bar:.3g}: {verdict})")


def show_machine(*packages: str) -> None:
    """Print what is measured on: cores, Python, versions of packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
