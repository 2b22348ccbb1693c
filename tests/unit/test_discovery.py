"""Which modules reach an OpenAI client, as their source says."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from pytest_tiers.discovery import nothing_tiered


def module(path: Path, source: bytes | None) -> ModuleType:
    made = ModuleType(path.stem)
    made.__file__ = str(path)
    if source is not None:
        path.write_bytes(source)
    return made


@pytest.mark.parametrize(
    "source",
    [
        b"import openai",
        b"from openai import OpenAI",
        b"import openai.types as types",
        b"def late():\n    import openai",
    ],
)
def test_an_import_of_openai_is_seen(tmp_path: Path, source: bytes) -> None:
    tests = [("test_a", [module(tmp_path / "test_it.py", source)])]
    assert "\n  test_a\n" in nothing_tiered(tests, tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b"import openai_like", id="other-name"),
        pytest.param(b"# import openai", id="comment"),
        pytest.param(b"\x7fELF\0", id="binary"),
        pytest.param(b"def (", id="broken"),
        pytest.param(None, id="gone"),
    ],
)
def test_what_is_no_import_of_openai(tmp_path: Path, source: bytes | None) -> None:
    tests = [("test_a", [module(tmp_path / "test_it.py", source)])]
    assert "none was seen to use an OpenAI client" in nothing_tiered(tests, tmp_path)


def test_modules_outside_the_project_are_not_read(tmp_path: Path) -> None:
    root = tmp_path / "project"
    installed = root / "venv" / "site-packages"
    installed.mkdir(parents=True)
    modules = [
        None,
        ModuleType("built_in"),
        module(tmp_path / "outside.py", b"import openai"),
        module(installed / "library.py", b"import openai"),
    ]
    assert "none was seen" in nothing_tiered([("test_a", modules)], root)
