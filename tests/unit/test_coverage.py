"""Which calls of the application no tiered test makes: by its source, and by other tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pytest_tiers.application.coverage import coverage
from pytest_tiers.application.project import Project
from pytest_tiers.application.scan import Scan, scan
from pytest_tiers.findings import Coverage
from pytest_tiers.override.sources import SourceFile
from pytest_tiers.records import CallSite
from tests.unit.summaries import call, trial

SOURCE = """
def one():
    return client.chat.completions.create(
        model="m",
    )

def two():
    a = client.responses.parse(model="m")
    with client.responses.stream(model="m") as b:
        return a, b

async def later():
    coroutine = client.chat.completions.with_raw_response.create(model="m")
    return await coroutine

def other():
    ask = client.completions.create
    responses.create(), thing.create(), x.completions.list(), client.embeddings.create()
    return ask(model="m")
"""


def scanned(root: Path) -> Scan:
    return scan(root, lambda name: Path(name).name.startswith("test_"), source(root))


def source(root: Path) -> Callable[[str], SourceFile]:
    return lambda name: SourceFile(root / name, name)


def write(root: Path, *names: str, text: str = SOURCE) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def found(root: Path, lines: Sequence[int], elsewhere: Sequence[int] = ()) -> Coverage:
    """What is left out where trials call from some lines of app.py, other tests from others."""
    sites = {n: CallSite(f"app.py:{n} f", f"app.py:f/{n}") for n in (*lines, *elsewhere)}
    calls = tuple(call(site=sites[n].label, site_key=sites[n].key) for n in lines)
    others = [sites[n] for n in elsewhere]
    return coverage([trial(calls=calls)], others, scanned(root), source(root))


def test_calls_like_those_of_openais_clients(tmp_path: Path) -> None:
    write(tmp_path, "app.py")
    calls = scanned(tmp_path).calls
    assert [(each.function, each.line, each.last_line) for each in calls] == [
        ("one", 3, 5),
        ("two", 8, 8),
        ("two", 9, 9),
        ("later", 13, 13),
        ("other", 17, 17),
    ]


def test_files_that_are_no_application(tmp_path: Path) -> None:
    write(tmp_path, "app.py", "src/app.py", "test_app.py", "tests/judge.py", ".hidden/app.py")
    write(tmp_path, "env/lib/app.py", "node_modules/app.py", "x/site-packages/openai/app.py")
    write(tmp_path, "env/pyvenv.cfg", text="")
    write(tmp_path, "broken.py", text="x.completions.create(\n")
    (tmp_path / "latin.py").write_bytes(b"x.completions.create('\xff')\n")
    assert {each.file for each in scanned(tmp_path).calls} == {"app.py", "src/app.py"}
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    write(tmp_path, "build/app.py")
    write(tmp_path, ".gitignore", text="build/\n")
    assert {each.file for each in scanned(tmp_path).calls} == {"app.py", "src/app.py"}


def test_a_large_file_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    write(tmp_path, "app.py")
    assert scanned(tmp_path).is_complete
    write(tmp_path, "generated.py", text=SOURCE + "#" * 1_000_000)
    assert not scanned(tmp_path).is_complete
    assert len(scanned(tmp_path).calls) == 5


@pytest.mark.parametrize(
    ("lines", "untested"),
    [
        ((), [3, 8, 9, 13, 17]),
        ((4,), [8, 9, 13, 17]),
        ((8,), [3, 9, 13, 17]),
        ((3, 8, 9), [13, 17]),
        ((14,), [3, 8, 9, 17]),  # made in one line, awaited in another
        ((19,), [3, 8, 9, 13]),  # called under another name
    ],
)
def test_what_no_trial_calls(tmp_path: Path, lines: Sequence[int], untested: list[int]) -> None:
    write(tmp_path, "app.py")
    assert [each.line for each in found(tmp_path, lines).untested] == untested


def test_what_other_tests_call(tmp_path: Path) -> None:
    write(tmp_path, "app.py")
    left = found(tmp_path, (3, 8, 9, 13), elsewhere=(3, 17)).untested
    assert [(each.line, each.seen_elsewhere) for each in left] == [(17, True)]
    # A call that is written in no way that the source tells.
    write(tmp_path, "app.py", text="def ask():\n    llm.invoke('x')\n")
    left = found(tmp_path, (), elsewhere=(2,)).untested
    assert [(each.function, each.seen_elsewhere) for each in left] == [("ask", True)]


def test_a_trial_without_an_answer_makes_it_uncertain(tmp_path: Path) -> None:
    write(tmp_path, "app.py")
    failed = trial(outcome="error", calls=())
    made = Project(tmp_path, ["test_*.py"]).coverage([failed], ())
    assert (made.is_certain, made.found, made.files, len(made.untested)) == (False, 5, 1, 5)
