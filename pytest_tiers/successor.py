"""The command ``pytest-tiers replace``: plans, asks, and runs pytest."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add ``replace`` to the commands."""
    command = commands.add_parser(
        "replace",
        help="compare a new model with an old one's recorded answers, and carry tiers.lock over",
        epilog="Arguments for pytest stand after --, such as: -- tests/llm -n 4",
    )
    command.add_argument("old", metavar="OLD", help="the tier whose model ends: NAME or NAME=MODEL")
    command.add_argument("new", metavar="NEW", help="the tier that takes its place")
    command.add_argument("--yes", action="store_true", help="record without asking")
    return command


def replace(asked: argparse.Namespace) -> int:
    """Say what recording the new model's answers costs, and record and compare if that is wanted.

    The exit code is pytest's.
    """
    tiers = [f"--tiers={asked.new},{asked.old}", f"--tiers-replace={asked.old.partition('=')[0]}"]
    mode = [each for each in asked.for_pytest if each.startswith("--tiers-record")]
    arguments = [*tiers, *([] if mode else ["--tiers-record=once"]), *asked.for_pytest]
    planned = _pytest([*arguments, "--tiers-plan", "-q"])
    if planned or not (asked.yes or _is_wanted()):
        return planned
    return _pytest(arguments)


def _is_wanted() -> bool:
    sys.stdout.flush()
    if sys.stdin.isatty():
        return input("Record and compare? [y/N] ").strip().lower() in ("y", "yes")
    print("Nothing was recorded. To record and compare, add --yes.")
    return False


def _pytest(arguments: Sequence[str]) -> int:
    command = ["pytest", *arguments]
    print(f"$ {shlex.join(command)}", flush=True)
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode
