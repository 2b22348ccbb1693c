"""tiers.lock as text: what is read, what is refused, what an update leaves alone."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_tiers.errors import ConfigurationError
from pytest_tiers.lock.reading import parse, read
from pytest_tiers.lock.writing import update, updated
from pytest_tiers.records import Fingerprint, Lock, LockEntry, Revert

ENTRY = LockEntry(
    prompt="tests/test_a.py::test_a",
    tier="mini",
    model="gpt-5.4-mini",
    replaces="full",
    replaces_model="gpt-5.4",
    verdict="safe",
    date="2026-11-25",
    cases=60,
    samples=2,
    margin=0.1,
    confidence=0.95,
    cassette_format=1,
    pass_rate=0.9833,
    pass_rate_at_least=0.8912,
    replaces_pass_rate=1.0,
    largest_drop=0.0822,
    log_evidence=3.9,
    usd_per_1000=Decimal("0.00001234"),
    replaces_usd_per_1000=Decimal("0.63"),
    known_misses={"late": (1, 2)},
    holds_for=Fingerprint("0123456789ab", None, "ab"),
    changed_on="2026-12-01",
    accepted="because",
    accepted_on="2026-12-02",
)
OTHER = replace(ENTRY, prompt="tests/test_b.py::test_b", known_misses={})

TEXT = """\
# About this file.
version = 1

[prompts."tests/test_a.py::test_a"]
tier = "mini"
model = "gpt-5.4-mini"
replaces = "full"

[prompts."tests/test_a.py::test_a".evidence]
verdict = "safe"
date = 2026-11-25
cases = 60
samples = 1
margin = 0.1
confidence = 0.95
cassette_format = 1
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "tiers.lock"


def test_no_file_locks_nothing(lock: Path) -> None:
    assert read(lock) == Lock()


def test_what_is_written_is_read(lock: Path) -> None:
    update(lock, [OTHER, ENTRY])
    assert read(lock).prompts == {ENTRY.prompt: ENTRY, OTHER.prompt: OTHER}
    assert list(read(lock).prompts) == [ENTRY.prompt, OTHER.prompt]
    assert "0.00001234" in lock.read_text()


def test_a_revert_stands_beside_the_prompts(lock: Path) -> None:
    nano = Revert(ENTRY.prompt, "nano", "m", "too rude", "2026-11-25", Fingerprint("a"))
    mini = Revert(ENTRY.prompt, "mini", "m", "too slow", "2026-11-26")
    update(lock, [ENTRY, OTHER])
    update(lock, removed=[ENTRY.prompt], reverts=[nano])
    update(lock, reverts=[mini])
    assert read(lock) == Lock({OTHER.prompt: OTHER}, (mini, nano))
    text = lock.read_text().replace("[reverted.", "# Ask Ada.\n[reverted.")
    lock.write_text(text)
    update(lock, [ENTRY])
    assert read(lock).reverts == (mini, nano)
    assert text.count("# Ask Ada.") == lock.read_text().count("# Ask Ada.")


def test_the_order_of_writing_does_not_matter(lock: Path) -> None:
    update(lock, [OTHER])
    update(lock, [ENTRY])
    one_by_one = lock.read_text()
    lock.unlink()
    update(lock, [ENTRY, OTHER])
    assert lock.read_text() == one_by_one


def test_an_update_changes_its_lines_only(lock: Path) -> None:
    lines = TEXT.splitlines()
    lines[3:4] = ["# Checked by Ada.", lines[3]]
    lines[5] += "  # not nano: it is rude"
    lines += ["", "# the end"]
    text = "\n".join(lines) + "\n"
    lock.write_text(text)
    entry = read(lock).prompts[ENTRY.prompt]
    update(lock, [entry])
    assert lock.read_text() == text
    update(lock, [replace(entry, cases=61)])
    assert lock.read_text() == text.replace("cases = 60", "cases = 61")
    update(lock, [replace(entry, cases=61, tier="nano", known_misses={"a b": (1,)}), OTHER])
    after = lock.read_text()
    assert after.index("# Checked by Ada.") < after.index('tier = "nano"  # not nano: it is rude')
    assert after.index('"a b" = [1]') < after.index(OTHER.prompt)
    assert "# the end" in after
    update(lock, [replace(entry, cases=61, tier="nano")])
    assert "known_misses" not in lock.read_text()


def test_an_untouched_file_is_not_written(lock: Path) -> None:
    update(lock, [ENTRY])
    before = lock.stat().st_mtime_ns, lock.stat().st_ino
    update(lock, [ENTRY])
    assert (lock.stat().st_mtime_ns, lock.stat().st_ino) == before


def test_a_file_without_entries_is_made(lock: Path) -> None:
    update(lock, [])
    assert read(lock) == Lock()
    assert "version = 1" in lock.read_text()


def test_a_layout_that_cannot_be_edited_is_left_alone(lock: Path) -> None:
    text = "version = 1\nprompts.a = { tier = 'mini', model = 'm', replaces = 'full', evidence = "
    text += "{ verdict = 'safe', date = 2026-01-01, cases = 1, samples = 1, margin = 0.1, "
    text += "confidence = 0.9, cassette_format = 1 } }\n"
    lock.write_text(text)
    assert list(read(lock).prompts) == ["a"]
    with pytest.raises(ConfigurationError, match="cannot be updated"):
        update(lock, [replace(ENTRY, prompt="a")])
    assert lock.read_text() == text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tier = "mini"', "tier = 3", r'line 5: \[prompts."tests/.*"\] tier: expected text'),
        ('tier = "mini"', "tear = 3", r'line 5?.*unknown key "tear"; did you mean "tier"'),
        ('tier = "mini"', 'tier = "a,b"', 'line 5: .*"a,b" cannot name a tier'),
        ('model = "gpt-5.4-mini"\n', "", 'line 4: .*"model" is missing'),
        ("cases = 60", "cases = 0", "line 12: .* evidence cases: expected a whole number"),
        ("date = 2026-11-25", 'date = "today"', "line 11: .*expected a date such as"),
        ("version = 1", "version = 9", "line 2: tiers.lock version: expected 1, got 9"),
        ("cases = 60", "cases = ", r"not valid TOML: .*line 12"),
        ("cases = 60", "<<<<<<< ours\ncases = 60", "line 12: a merge conflict"),
        ("cases = 60", "=======", "line 12: a merge conflict"),
        ("margin = 0.1", "log_evidence = 'x'\nmargin = 0.1", "expected a number, got 'x'"),
        (
            'replaces = "full"',
            'replaces = "a"\nusd_per_1000 = "cheap"',
            "line 8: .*expected an amount in USD",
        ),
        (
            'replaces = "full"',
            'replaces = "a"\nusd_per_1000 = "-1"',
            "line 8: .*expected an amount in USD",
        ),
        ('replaces = "full"', "known_misses = { a = 1 }", "line 7: .*samples that missed"),
        ("cassette_format = 1", "cassette_format = 1\n[reverted.a.b]", '"model" is missing'),
        ("cassette_format = 1", "cassette_format = 1\n[prompts.b]", '"tier" is missing'),
        ("# About", "[other]\n# About", 'unknown key "other"'),
    ],
)
def test_a_damaged_file_is_named_with_its_line(
    lock: Path, old: str, new: str, message: str
) -> None:
    lock.write_text(TEXT.replace(old, new))
    with pytest.raises(ConfigurationError, match=message) as error:
        read(lock)
    assert str(lock) in str(error.value)


def test_a_file_that_is_no_text(lock: Path) -> None:
    lock.write_bytes(b"version = 1\n# \xff\n")
    with pytest.raises(ConfigurationError, match="line 2: not UTF-8"):
        read(lock)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path)


NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.just((1,)), max_size=3), max_size=3))
def test_any_name_of_a_prompt_or_case_survives(
    misses: dict[str, dict[str, tuple[int, ...]]],
) -> None:
    lock, text = Path("tiers.lock"), ""
    wanted = {
        name: replace(ENTRY, prompt=name, known_misses=known) for name, known in misses.items()
    }
    for entry in wanted.values():
        text = updated(lock, text, [entry])
    assert parse(lock, text or "version = 1").prompts == wanted
