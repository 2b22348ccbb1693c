"""Which line of the application made a call, and on whose behalf."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pytest_tiers.override.sites import EVALUATION_LIBRARIES, call_site, evaluation_library

CALLING = """
def ask(done):
    return done()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "project"


def module(root: Path, path: str, name: str = "module", code: str = CALLING) -> ModuleType:
    """A module as if imported from ``path`` below the project."""
    made = ModuleType(name)
    exec(compile(code, str(root / path), "exec"), made.__dict__)
    return made


def is_test(path: Path) -> bool:
    return path.name.startswith("test_")


def site(root: Path) -> Callable[[], str | None]:
    return lambda: call_site(root, is_test)


def test_the_applications_own_line(root: Path) -> None:
    assert module(root, "app/llm.py").ask(site(root)) == "app/llm.py:3 ask"


def test_the_innermost_line_of_the_application(root: Path) -> None:
    inner, outer = module(root, "app/llm.py"), module(root, "app/triage.py")
    assert outer.ask(lambda: inner.ask(site(root))) == "app/llm.py:3 ask"


def test_a_test_is_the_site_only_where_no_application_is(root: Path) -> None:
    test, app = module(root, "tests/test_it.py"), module(root, "app/llm.py")
    assert test.ask(site(root)) == "tests/test_it.py:3 ask"
    assert app.ask(lambda: test.ask(site(root))) == "app/llm.py:3 ask"


def test_installed_packages_are_not_the_application(root: Path) -> None:
    app = module(root, "app/llm.py")
    for folder in (".venv/lib/python3.12/site-packages", "usr/lib/python3/dist-packages"):
        library = module(root, f"{folder}/openai/client.py")
        assert library.ask(site(root)) is None
        assert app.ask(lambda made=library: made.ask(site(root))) == "app/llm.py:3 ask"


def test_nowhere_in_the_project(root: Path) -> None:
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(call_site(root, is_test)))
    thread.start()
    thread.join()
    assert found == [None]


@pytest.mark.parametrize("name", sorted(EVALUATION_LIBRARIES))
def test_an_evaluation_library_anywhere_on_the_stack(root: Path, name: str) -> None:
    library = module(root, "judge.py", f"{name}.metrics.base")
    app = module(root, "app/llm.py", "app.llm")
    assert app.ask(lambda: library.ask(lambda: app.ask(evaluation_library))) == name


def test_no_evaluation_library(root: Path) -> None:
    lookalike = module(root, "judge.py", "my_ragas.ragas")
    assert lookalike.ask(evaluation_library) is None
    assert evaluation_library() is None


def test_a_frame_whose_globals_have_no_name(root: Path) -> None:
    nameless = module(root, "judge.py")
    nameless.__dict__["__name__"] = None
    assert nameless.ask(evaluation_library) is None
    assert sys.modules.get("judge") is None
