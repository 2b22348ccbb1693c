"""Which line of the application made a call, and on whose behalf."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from pytest_tiers.override.named_site import site as named
from pytest_tiers.override.sites import EVALUATION_LIBRARIES, SiteFinder, evaluation_library

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


def lines(root: Path) -> list[str]:
    return [site.label for site in SiteFinder(root, is_test).find()]


def site(root: Path) -> Callable[[], str | None]:
    return lambda: next(iter(lines(root)), None)


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
    assert lines(root) == []


def test_the_lines_that_called_the_innermost_one(root: Path) -> None:
    llm, triage = module(root, "app/llm.py"), module(root, "app/triage.py")
    test = module(root, "tests/test_it.py")
    found = test.ask(lambda: triage.ask(lambda: llm.ask(lambda: lines(root))))
    assert found == ["app/llm.py:3 ask", "app/triage.py:3 ask"]


def test_a_thread_of_a_library_calls_for_the_line_that_waits_for_it(root: Path) -> None:
    app = module(root, "app/llm.py")
    with ThreadPoolExecutor(1) as pool:
        found = app.ask(lambda: pool.submit(lines, root).result())
        assert found == ["app/llm.py:3 ask"]


def test_a_thread_that_runs_the_applications_own_function(root: Path) -> None:
    app, other = module(root, "app/llm.py"), module(root, "app/other.py")
    with ThreadPoolExecutor(1) as pool:
        found = other.ask(lambda: pool.submit(app.ask, lambda: lines(root)).result())
        assert found == ["app/llm.py:3 ask"]


GATHERING = """
import asyncio

async def gather(ask):
    return await asyncio.gather(
        ask(),
        ask(),
    )

def run(ask):
    return asyncio.run(gather(ask))
"""


def test_tasks_that_are_a_librarys_coroutines_belong_to_the_line_that_made_them(
    root: Path,
) -> None:
    finder = SiteFinder(root, is_test)

    async def ask() -> list[str]:
        return [site.label for site in finder.find()]

    app = module(root, "app/llm.py", code=GATHERING)
    with finder.watching():
        first, second = app.run(ask)
    assert first == ["app/llm.py:6 gather", "app/llm.py:11 run"]
    assert second == ["app/llm.py:7 gather", "app/llm.py:11 run"]
    assert sys.get_coroutine_origin_tracking_depth() == 0


def test_a_name_for_what_the_stack_cannot_tell(root: Path) -> None:
    app = module(root, "app/llm.py")
    with named("planner"), named("inner"):
        assert app.ask(lambda: lines(root)) == ["inner"]
    with pytest.raises(ValueError, match="expected a name"), named(" "):
        pass
    assert app.ask(lambda: lines(root)) == ["app/llm.py:3 ask"]


SOURCE = """
import functools

def decorated(function):
    return functools.wraps(function)(lambda *args: function(*args))

class Desk:
    @decorated
    def route(self, done):
        first = done()
        second = [done() for _ in range(1)]
        return first, second[0], next(self.lazily(done))

    def lazily(self, done):
        yield done()

AT_IMPORT = DONE() if "DONE" in globals() else None
"""


def keys(root: Path, code: str) -> list[str]:
    """The keys of five calls in a file of the project."""
    path = root / "app/desk.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    finder = SiteFinder(root, is_test)
    made = ModuleType("desk")
    made.__dict__["DONE"] = lambda: finder.find()[0].key
    exec(compile(code, str(path), "exec"), made.__dict__)
    found: list[str] = [*made.Desk().route(made.DONE), made.AT_IMPORT]
    return found


def test_moving_lines_does_not_change_a_sites_key(root: Path) -> None:
    before = keys(root, SOURCE)
    assert [key.partition("#")[0] for key in before] == [
        "app/desk.py:Desk.route/1",
        "app/desk.py:Desk.route/2",
        "app/desk.py:Desk.lazily/1",
        "app/desk.py:<module>/0",
    ]
    moved = SOURCE.replace("        first", "\n        # why\n\n        first")
    assert keys(root, "\n\nimport os\n" + moved) == before


def test_another_function_or_another_source_is_another_site(root: Path) -> None:
    before = keys(root, SOURCE)
    after = keys(root, SOURCE.replace("range(1)", "range(2)"))
    assert [new == old for new, old in zip(after, before, strict=True)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_file_that_cannot_be_read_counts_lines(root: Path) -> None:
    (site,) = module(root, "app/llm.py").ask(SiteFinder(root, is_test).find)
    assert (site.label, site.key) == ("app/llm.py:3 ask", "app/llm.py:ask/line 3")
    assert site.function == "app/llm.py:ask"


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
