"""Which of a project's files hold tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def is_test_file(path: Path, patterns: Iterable[str]) -> bool:
    """Whether a file holds tests: ``patterns`` are pytest's ``python_files``."""
    return path.name == "conftest.py" or any(path.match(pattern) for pattern in patterns)
