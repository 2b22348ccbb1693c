"""A diff that git applies, and that changes nothing but the models' names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_tiers.application.patch import patch, repository
from pytest_tiers.findings import Change, ModelSource

LINES = [b"# %d" % number for number in range(30)]


def change(content: bytes, file: str, old: bytes, new: str, **more: bool) -> Change:
    start = content.index(old) - 1
    source = ModelSource("literal", "", file, 1, (start, start + len(old) + 2))
    return Change(("p",), file, "nano", old.decode(), new, source, in_diff=more.get("yes", True))


def applied(folder: Path, files: dict[str, bytes], diff: bytes) -> dict[str, bytes]:
    """The files after git has applied a diff to them."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "apply", "-"], cwd=folder, input=diff, check=True)
    return {name: (folder / name).read_bytes() for name in files}


@pytest.mark.parametrize(
    "content",
    [
        b"\n".join([*LINES, b'ask(model="gpt-5.4")', *LINES, b"ask(model='gpt-4.1')"]),
        b"\r\n".join([*LINES, b'ask(model="gpt-5.4")  # \xe4', *LINES, b"x(model='gpt-4.1')", b""]),
        b"\xef\xbb\xbfask(model=\"gpt-5.4\"); ask(model='gpt-4.1')\n",
    ],
    ids=["no line feed at the end", "crlf and latin-1", "byte order mark"],
)
@pytest.mark.parametrize("file", ["app.py", "an app/ünï \\ code.py", "sp ace.py"])
def test_git_applies_it(tmp_path: Path, content: bytes, file: str) -> None:
    changes = [
        change(content, file, b"gpt-5.4", "gpt-5.4-nano"),
        change(content, file, b"gpt-4.1", "m"),
    ]
    files = {f"sub/{file}": content}
    diff = patch(changes, lambda name: files[f"sub/{name}"], "sub/")
    after = applied(tmp_path, files, diff)[f"sub/{file}"]
    assert after == content.replace(b"gpt-5.4", b"gpt-5.4-nano").replace(b"gpt-4.1", b"m")


def test_only_what_can_be_changed_is_in_it() -> None:
    content = b'ask(model="gpt-5.4")\n'
    assert (
        patch([change(content, "a.py", b"gpt-5.4", "m", yes=False)], lambda _: content, "") == b""
    )


def test_the_repository_around_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: elsewhere")  # as in a worktree
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    assert repository(inner) == tmp_path
