"""Answers on disk at once, folded into cassettes once, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.cassettes import format, writing
from pytest_tiers.cassettes.format import Cassette, RecordedCall, Recording
from pytest_tiers.cassettes.journal import FOLDER, ROOM, Journal, entries, finished_journals
from pytest_tiers.cassettes.library import Library
from pytest_tiers.cassettes.names import CassetteFile


def interaction(question: str, answer: str | bytes, status: int = 200) -> dict[str, Any]:
    return {
        "request": {
            "method": "POST",
            "uri": "https://api.example.com/v1/chat/completions",
            "headers": {"content-type": ["application/json"]},
            "body": f'{{"model": "m", "messages": "{question}"}}',
        },
        "response": {
            "status": {"code": status, "message": "OK"},
            "headers": {"content-type": ["application/json"]},
            "body": {"string": answer},
        },
    }


def says(text: str, number: int = 1, model: str = "m-1") -> str:
    """A chat completion; ``number`` is what changes in every answer."""
    return (
        f'{{"id": "chatcmpl-{number}", "created": {number}, "model": "{model}", '
        f'"system_fingerprint": "fp_{number}", "choices": [{{"message": {{"content": "{text}"}}, '
        '"finish_reason": "stop"}]}'
    )


def called(position: int, question: str, answer: str, at: str = "now") -> dict[str, Any]:
    """What a journal says of one call."""
    return {
        "position": position,
        "interaction": interaction(question, answer),
        "about": {"recorded_at": at, "seconds": 0.1},
    }


DONE: Mapping[str, Any] = {"complete": True}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cassettes"


@pytest.fixture
def file(root: Path) -> CassetteFile:
    return CassetteFile(root, root / "test_it/test_it[nano].yaml")


def run(file: CassetteFile, *said: Mapping[str, Any], attempt: str = "a", **more: Any) -> None:
    """A process that journals one attempt of one trial and ends without folding."""
    library = Library()
    top = {"test": "t.py::test_it", "tier": "nano", "case": "c", "sample": 1, "anew": False}
    for entry in said:
        library.journal(file, {**top, "attempt": attempt, **more, **entry})
    library.close()


def fold(root: Path) -> list[str]:
    return Library().fold([root])


def answers(recording: Recording) -> list[str]:
    return [call.body.decode() for call in recording.calls]


def folded(file: CassetteFile) -> Cassette:
    assert fold(file.root) == []
    return format.load(file.path)


# The journal's file


def test_an_entry_is_in_the_file_when_write_returns(root: Path) -> None:
    journal = Journal(root)
    journal.write({"n": 1, "text": "你\ud83d", "body": b"\xff\x00"})
    assert list(entries(journal.path)) == [{"n": 1, "text": "你\ud83d", "body": b"\xff\x00"}]
    journal.close()


def test_git_ignores_the_journals(root: Path) -> None:
    Journal(root).close()
    assert (root / FOLDER / ".gitignore").read_text() == "*\n"


def test_a_line_that_was_cut_off_is_no_entry(root: Path) -> None:
    journal = Journal(root)
    journal.write({"n": 1})
    journal.write({"n": 2})
    journal.close()
    whole = journal.path.read_bytes()
    for length in range(len(whole)):
        journal.path.write_bytes(whole[:length])
        assert len(list(entries(journal.path))) == whole[:length].count(b"}")


def test_an_open_journal_is_not_finished(root: Path) -> None:
    journal = Journal(root)
    with finished_journals(root) as found:
        assert found == []
    journal.close()
    with finished_journals(root) as found:
        assert found == [journal.path]


def test_the_journal_of_a_killed_process_is_finished(root: Path) -> None:
    code = (
        "import os, pathlib, sys; from pytest_tiers.cassettes.journal import Journal; "
        "Journal(pathlib.Path(sys.argv[1])).write({'n': 1}); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    assert killed.returncode == -9
    with finished_journals(root) as (found,):
        assert list(entries(found)) == [{"n": 1}]


def test_a_journal_is_never_seen_before_it_is_locked(root: Path) -> None:
    """Another process that folds at this moment would delete it, and what is written later."""
    seen: list[list[Path]] = []
    opened = threading.Event()

    def open_many() -> None:
        for _ in range(30):
            journals.append(Journal(root))
        opened.set()

    journals = [Journal(root)]
    thread = threading.Thread(target=open_many)
    thread.start()
    while not opened.is_set():
        with finished_journals(root) as found:
            seen.append(found)
    thread.join()
    assert all(found == [] for found in seen)
    for journal in journals:
        journal.close()


def test_a_forked_process_writes_a_file_of_its_own_and_holds_none_of_its_parents(
    file: CassetteFile,
) -> None:
    code = """
import os, pathlib, sys
from pytest_tiers.cassettes.library import Library
from pytest_tiers.cassettes.names import CassetteFile

root = pathlib.Path(sys.argv[1])
library, file = Library(), CassetteFile(root, root / "test_it/test_it[nano].yaml")
entry = {"test": "t", "tier": "nano", "case": "c", "sample": 1, "attempt": "a", "about": {}}
sides = {"parent": os.pipe(), "child": os.pipe()}

def say(who, position, uri):
    request = {"method": "GET", "uri": uri, "headers": {}, "body": ""}
    library.journal(file, {**entry, "position": position, "interaction": {"request": request}})

say("parent", 0, "before")
if os.fork() == 0:
    say("child", 1, "of the child")
    os.write(sides["child"][1], b".")
    os.read(sides["parent"][0], 1)
    os._exit(0)
os.read(sides["child"][0], 1)
say("parent", 1, "of the parent")
library.close()
from pytest_tiers.cassettes.journal import entries, finished_journals
with finished_journals(root) as (one,):
    print(*[entry["interaction"]["request"]["uri"] for entry in entries(one)], sep=", ")
os.write(sides["parent"][1], b".")
os.wait()
with finished_journals(root) as both:
    print(len(both))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, str(file.root)], check=True, capture_output=True, text=True
    )
    assert ended.stdout == "before, of the parent\n2\n"


def test_a_replay_writes_nothing(root: Path) -> None:
    root.mkdir()
    assert fold(root) == []
    assert list(root.iterdir()) == []


# Folding


def test_a_complete_trial_becomes_a_recording_in_the_order_of_sending(file: CassetteFile) -> None:
    run(file, called(1, "second", "B"), called(0, "first", "A"), DONE)
    assert answers(folded(file).recordings["c", 1]) == ["A", "B"]
    assert not list((file.root / FOLDER).glob("journal-*"))
    assert (file.root / ".gitattributes").read_text() == "*.yaml linguist-generated\n"


def test_a_projects_own_gitattributes_stay(file: CassetteFile) -> None:
    file.root.mkdir()
    (file.root / ".gitattributes").write_text("*.yaml text\n")
    run(file, called(0, "q", "A"), DONE)
    folded(file)
    assert (file.root / ".gitattributes").read_text() == "*.yaml text\n"


def test_an_interrupted_trial_keeps_its_answers_apart(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"))
    cassette = folded(file)
    assert cassette.recordings == {}
    assert answers(cassette.unfinished["c", 1]) == ["A"]


def test_the_old_recording_stays_until_the_new_one_is_complete(file: CassetteFile) -> None:
    run(file, called(0, "q", "old"), DONE)
    folded(file)
    run(file, called(0, "changed", "new"))
    assert answers(folded(file).recordings["c", 1]) == ["old"]
    run(file, called(0, "changed", "new"), called(1, "more", "last"), DONE)
    cassette = folded(file)
    assert answers(cassette.recordings["c", 1]) == ["new", "last"]
    assert cassette.unfinished == {}


def test_an_attempt_that_asked_nothing_takes_no_paid_answer_away(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"))
    folded(file)
    run(file, DONE, attempt="b")
    assert answers(folded(file).unfinished["c", 1]) == ["A"]


def test_a_new_name_does_not_undo_what_another_run_folded_meanwhile(file: CassetteFile) -> None:
    full = CassetteFile(file.root, file.path.with_name("test_it[full].yaml"))
    for one, tier in ((file, "nano"), (full, "full")):
        run(one, called(0, "q", "A"), DONE, attempt=tier, case="old", tier=tier)
    folded(file)
    library = Library()
    library.cassette(full.path)
    run(full, called(0, "q", "B"), DONE, attempt="b", case="other", tier="full")
    folded(full)
    run(file, {"renamed_from": "old"}, attempt="c", case="new")
    assert library.fold([file.root]) == []
    assert sorted(format.load(file.path).recordings) == [("new", 1)]
    assert sorted(format.load(full.path).recordings) == [("new", 1), ("other", 1)]


def test_a_new_name_takes_no_answer_that_stands_under_it(file: CassetteFile) -> None:
    full = CassetteFile(file.root, file.path.with_name("test_it[full].yaml"))
    run(full, called(0, "q", "A"), attempt="a", case="old", tier="full")
    run(full, called(0, "r", "B"), attempt="b", case="new", tier="full")
    run(file, called(0, "q", "C"), DONE, attempt="c", case="old")
    folded(file)
    run(file, {"renamed_from": "old"}, attempt="d", case="new")
    assert answers(folded(file).recordings["new", 1]) == ["C"]
    unfinished = format.load(full.path).unfinished
    assert {case: answers(trial) for (case, _), trial in unfinished.items()} == {
        "old": ["A"],
        "new": ["B"],
    }


def test_paid_answers_that_a_later_interrupted_attempt_did_not_reach_are_kept(
    file: CassetteFile,
) -> None:
    run(file, called(0, "q0", "A"), called(1, "q1", "B"))
    folded(file)
    run(file, called(0, "q2", "C"), called(1, "q0", "A"))
    assert answers(folded(file).unfinished["c", 1]) == ["C", "A", "B"]


def test_an_answer_that_comes_after_the_trials_end_does_not_undo_it(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"), DONE, called(1, "late", "B"))
    assert answers(folded(file).recordings["c", 1]) == ["A", "B"]


def test_attempts_of_two_processes_on_one_cassette_are_both_kept(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"), DONE, attempt="1", case="one")
    run(file, called(0, "q", "B"), DONE, attempt="2", case="two")
    assert sorted(folded(file).recordings) == [("one", 1), ("two", 1)]


def test_processes_that_fold_at_once_lose_nothing(file: CassetteFile) -> None:
    for number in range(12):
        run(file, called(0, "q", "A"), DONE, attempt=str(number), case=str(number))
    problems: list[str] = []
    threads = [threading.Thread(target=lambda: problems.extend(fold(file.root))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(format.load(file.path).recordings) == 12


def test_folding_waits_for_another_process_that_folds(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"), DONE)
    with (file.root / FOLDER / "fold.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=fold, args=[file.root])
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        assert not file.path.exists()
    thread.join()
    assert file.path.exists()


def test_a_damaged_cassette_is_not_recorded_over(file: CassetteFile) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_text("<<<<<<< HEAD\n")
    run(file, called(0, "q", "A"), DONE)
    (problem,) = fold(file.root)
    assert str(file.path) in problem
    assert problem.endswith(
        f". New answers are kept in {file.root / FOLDER} and wait for the next run."
    )
    assert file.path.read_text() == "<<<<<<< HEAD\n"
    file.path.unlink()  # mended: the answers are still there
    assert answers(folded(file).recordings["c", 1]) == ["A"]


def test_a_damaged_cassette_is_kept_beside_the_new_one_where_all_was_asked_for_anew(
    file: CassetteFile,
) -> None:
    for number, answer in (("", "A"), ("-2", "B")):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(f"<<<<<<< {answer}\n")
        run(file, called(0, "q", answer), DONE, anew=True)
        kept = file.path.with_name(f"test_it[nano].yaml.damaged{number}")
        assert fold(file.root) == [
            f"{file.path} could not be read and is recorded anew; it is kept as {kept}."
        ]
        assert kept.read_text() == f"<<<<<<< {answer}\n"
        assert answers(format.load(file.path).recordings["c", 1]) == [answer]


def test_a_run_killed_between_the_two_steps_of_replacing_a_damaged_cassette_loses_neither(
    file: CassetteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_text("<<<<<<< HEAD\n")
    run(file, called(0, "q", "A"), DONE, anew=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing, "dump", killed)
        with pytest.raises(KeyboardInterrupt):
            fold(file.root)
    assert answers(folded(file).recordings["c", 1]) == ["A"]
    assert file.path.with_name("test_it[nano].yaml.damaged").read_text() == "<<<<<<< HEAD\n"


def test_two_answers_in_one_position_are_both_kept(file: CassetteFile) -> None:
    """A forked process counts its calls from where its parent was."""
    run(file, called(0, "q", "A"), called(1, "q", "B"))
    run(file, called(1, "q", "C"), called(2, "q", "D"), called(2, "q", "D"))
    assert answers(folded(file).unfinished["c", 1]) == ["A", "B", "C", "D"]


def test_of_two_equal_answers_one_that_was_not_reached_again_is_kept(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"), called(1, "q", "A"))
    folded(file)
    run(file, called(0, "q", "A"), attempt="b")
    assert answers(folded(file).unfinished["c", 1]) == ["A", "A"]


def test_folding_again_what_was_folded_already_changes_nothing(
    file: CassetteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the cassette and the end of the journal."""
    run(file, called(0, "q", "A"), called(1, "q", "A"), called(2, "r", "B"))
    run(file, called(0, "q", "C"), DONE, attempt="b", case="other")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda _: None)
        assert fold(file.root) == []
    before = file.path.read_bytes()
    assert len(list((file.root / FOLDER).glob("journal-*"))) == 2
    folded(file)
    assert file.path.read_bytes() == before
    assert not list((file.root / FOLDER).glob("journal-*"))


def test_journals_are_folded_in_the_order_they_were_written_though_one_had_to_wait(
    file: CassetteFile,
) -> None:
    other = CassetteFile(file.root, file.root / "other.yaml")
    library = Library()
    for target in (file, other):
        top = {"test": "t", "tier": "nano", "case": "c", "sample": 1, "attempt": target.path.name}
        library.journal(target, {**top, **called(0, "q", "first"), **DONE})
    library.close()
    other.path.write_text("[")
    assert len(fold(file.root)) == 1
    run(other, called(0, "q", "second"), DONE, anew=True)
    assert len(fold(file.root)) == 1
    assert answers(format.load(other.path).recordings["c", 1]) == ["second"]


def test_what_a_killed_run_left_of_a_cassette_is_written_over(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"), DONE)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.with_name(f".{file.path.name}.tmp").write_text("half a cas")
    folded(file)
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


def test_what_waits_for_one_cassette_does_not_come_back_over_another(file: CassetteFile) -> None:
    damaged = CassetteFile(file.root, file.root / "damaged.yaml")
    library = Library()
    for target in (file, damaged):
        top = {"test": "t", "tier": "nano", "case": "c", "sample": 1, "attempt": target.path.name}
        library.journal(target, {**top, **called(0, "q", "first"), **DONE})
    library.close()
    damaged.path.write_text("[")
    assert len(fold(file.root)) == 1
    run(file, called(0, "q", "second"), DONE)
    assert len(fold(file.root)) == 1
    assert answers(format.load(file.path).recordings["c", 1]) == ["second"]
    damaged.path.unlink()
    folded(file)
    assert answers(format.load(file.path).recordings["c", 1]) == ["second"]
    assert answers(format.load(damaged.path).recordings["c", 1]) == ["first"]


ENTRY = '"test": "t", "tier": "nano", "case": "c", "sample": 1, "attempt": "a"'


@pytest.mark.parametrize(
    "line",
    [
        '{"other": "version"}',
        "[1]",
        '"text"',
        f'{{"cassette": "it.yaml", {ENTRY}, "interaction": {{}}}}',
        f'{{"cassette": "../it.yaml", {ENTRY}}}',
        f'{{"cassette": "/it.yaml", {ENTRY}}}',
    ],
    ids=["names", "list", "text", "no position", "a place outside", "a place of its own"],
)
def test_a_journal_of_another_version_is_left_alone(root: Path, line: str) -> None:
    Journal(root).close()
    path = root / FOLDER / "journal-9-other.jsonl"
    path.write_text(line + "\n")
    (problem,) = fold(root)
    assert problem == f"{path} is not a journal of this version of pytest-tiers; it is left alone."
    assert path.exists()


# What a new recording changes


def rerecorded(file: CassetteFile, old: str, new: str) -> str:
    """The text of what is kept after an answer is recorded again."""
    run(file, called(0, "q", old, at="then"), DONE)
    before = folded(file) and file.path.read_text()
    run(file, called(0, "q", new, at="later"), DONE)
    folded(file)
    return "unchanged" if file.path.read_text() == before else "changed"


def test_the_same_answer_again_leaves_its_part_untouched(file: CassetteFile) -> None:
    assert rerecorded(file, says("yes", 1), says("yes", 2)) == "unchanged"


@pytest.mark.parametrize(
    "new",
    [says("no"), says("yes", model="m-2"), '{"error": {"message": "x"}}'],
    ids=["text", "another snapshot", "error"],
)
def test_another_answer_replaces_the_old_one(file: CassetteFile, new: str) -> None:
    assert rerecorded(file, says("yes"), new) == "changed"


def test_tool_calls_are_part_of_the_answer(file: CassetteFile) -> None:
    def calls(arguments: str, number: int) -> str:
        return says("", number).replace(
            '"content": ""',
            f'"content": null, "tool_calls": [{{"id": "call_{number}", "function": '
            f'{{"name": "look", "arguments": "{arguments}"}}}}]',
        )

    assert rerecorded(file, calls("1", 1), calls("1", 2)) == "unchanged"
    assert rerecorded(file, calls("1", 1), calls("2", 1)) == "changed"


def test_only_the_call_whose_answer_changed_is_new(file: CassetteFile) -> None:
    run(file, called(0, "a", says("1"), "then"), called(1, "b", says("2"), "then"), DONE)
    folded(file)
    run(file, called(0, "a", says("1"), "later"), called(1, "b", says("3"), "later"), DONE)
    recording = folded(file).recordings["c", 1]
    assert [call.about["recorded_at"] for call in recording.calls] == ["then", "later"]


def test_equal_requests_are_paired_once_each(file: CassetteFile) -> None:
    run(file, called(0, "q", says("x"), "then"), called(1, "q", says("y"), "then"), DONE)
    folded(file)
    run(file, called(0, "q", says("x"), "later"), called(1, "q", says("x"), "later"), DONE)
    recording = folded(file).recordings["c", 1]
    assert [call.about["recorded_at"] for call in recording.calls] == ["then", "later"]


def test_another_services_answer_counts_byte_by_byte(file: CassetteFile) -> None:
    def fetched(body: str, at: str) -> dict[str, Any]:
        made = called(0, "q", body, at)
        made["interaction"]["request"]["uri"] = "https://weather.example.com/now"
        return made

    run(file, fetched('{"id": 1}', "then"), DONE)
    folded(file)
    run(file, fetched('{"id": 2}', "later"), DONE)
    (call,) = folded(file).recordings["c", 1].calls
    assert call.about["recorded_at"] == "later"


# A disk that does not take it


def test_a_file_in_the_folders_place_is_an_error_before_anything_is_paid(
    file: CassetteFile,
) -> None:
    file.root.write_text("in the way")
    library = Library()
    for _ in range(2):
        with pytest.raises(OSError, match="cassettes"):
            library.open_journal(file)


def test_a_full_disk_stops_the_next_call_and_loses_nothing_before(
    file: CassetteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = {"test": "t", "tier": "nano", "case": "c", "sample": 1, "attempt": "a"}
    library = Library()
    library.journal(file, {**top, **called(0, "q", "A")})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            library.journal(file, {**top, **called(1, "q", "B")})
    with pytest.raises(OSError, match="No space left"):
        library.open_journal(file)
    library.close()
    assert answers(folded(file).unfinished["c", 1])[0] == "A"


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """Lets no file of this process grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_paid_for_has_its_place_before_the_disk_is_full(
    file: CassetteFile, full_disk: Callable[[int], None]
) -> None:
    top = {"test": "t", "tier": "nano", "case": "c", "sample": 1, "attempt": "a"}
    library = Library()
    library.open_journal(file)
    full_disk(ROOM)
    library.open_journal(file)  # there is room for the next call
    library.journal(file, {**top, **called(0, "q", "A" * (ROOM * 2 // 3))})
    with pytest.raises(OSError, match="too large"):
        library.open_journal(file)  # but not for one more
    library.journal(file, {**top, **called(1, "q", "still under way")})
    library.close()
    full_disk(1 << 30)
    assert [len(text) for text in answers(folded(file).unfinished["c", 1])] == [ROOM * 2 // 3, 15]


def test_a_line_that_did_not_fit_is_an_error_and_the_next_one_stands_alone(
    root: Path, full_disk: Callable[[int], None]
) -> None:
    journal = Journal(root)
    journal.write({"n": 1})
    full_disk(100)
    with pytest.raises(OSError, match="No space left"):
        journal.write({"text": "long" * 99})
    journal.write({"n": 2})
    full_disk(1 << 30)
    assert journal.path.stat().st_size == 100
    assert list(entries(journal.path)) == [{"n": 1}, {"n": 2}]
    journal.close()
    assert journal.path.read_text() == '{"n": 1}\n{"n": 2}\n'


def test_a_cassette_that_cannot_be_written_keeps_the_journal(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"), DONE)
    file.path.parent.write_text("in the way")
    (problem,) = fold(file.root)
    assert "New answers are kept in" in problem
    file.path.parent.unlink()
    assert answers(folded(file).recordings["c", 1]) == ["A"]


def test_a_cassette_that_cannot_be_replaced_stays_as_it_was(
    file: CassetteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(file, called(0, "q", "old"), DONE)
    folded(file)
    run(file, called(0, "q", "new"), DONE)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        (problem,) = fold(file.root)
    assert problem.startswith("No space left on device")
    assert answers(format.load(file.path).recordings["c", 1]) == ["old"]
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]
    assert answers(folded(file).recordings["c", 1]) == ["new"]


def test_a_folder_that_cannot_be_locked_is_said(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"), DONE)
    (file.root / FOLDER / "fold.lock").unlink()
    (file.root / FOLDER / "fold.lock").mkdir()
    (problem,) = fold(file.root)
    assert f"New answers are kept in {file.root / FOLDER} " in problem


def test_after_the_end_of_the_run_nothing_is_journalled(file: CassetteFile) -> None:
    library = Library()
    library.open_journal(file)
    library.close()
    with pytest.raises(OSError, match="this run has ended"):
        library.journal(file, {})


def test_a_cassette_is_read_once(file: CassetteFile) -> None:
    library = Library()
    assert library.cassette(file.path) is None
    run(file, called(0, "q", "A"), DONE)
    fold(file.root)
    assert library.cassette(file.path) is None
    assert isinstance(Library().cassette(file.path), Cassette)


def test_bytes_travel_through_the_journal(file: CassetteFile) -> None:
    entry = called(0, "q", "")
    entry["interaction"] = interaction("q", b"\xff\xfe")
    run(file, entry, DONE)
    (call,) = folded(file).recordings["c", 1].calls
    assert isinstance(call, RecordedCall)
    assert call.body == b"\xff\xfe"
