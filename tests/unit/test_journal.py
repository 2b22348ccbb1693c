"""Answers on disk at once, folded into cassettes once, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.cassettes import format
from pytest_tiers.cassettes.format import Cassette, RecordedCall, Recording
from pytest_tiers.cassettes.journal import FOLDER, Journal, entries, finished_journals
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
    assert "kept in" in problem
    assert file.path.read_text() == "<<<<<<< HEAD\n"
    file.path.unlink()  # mended: the answers are still there
    assert answers(folded(file).recordings["c", 1]) == ["A"]


def test_a_damaged_cassette_is_replaced_where_the_user_asked_for_everything_anew(
    file: CassetteFile,
) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_text("<<<<<<< HEAD\n")
    run(file, called(0, "q", "A"), DONE, anew=True)
    assert answers(folded(file).recordings["c", 1]) == ["A"]


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


@pytest.mark.parametrize("line", ['{"other": "version"}', "[1]", '"text"'])
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


def test_a_full_disk_stops_this_journal_and_loses_nothing_before(
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


def test_a_line_that_did_not_fit_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(root)
    journal.close()
    monkeypatch.setattr(journal, "_file", _Cramped())
    with pytest.raises(OSError, match="No space left"):
        journal.write({"n": 1})


class _Cramped:
    """A disk that takes three bytes."""

    def write(self, line: bytes) -> int:
        return len(line[:3])


def test_a_cassette_that_cannot_be_written_keeps_the_journal(file: CassetteFile) -> None:
    run(file, called(0, "q", "A"), DONE)
    file.path.parent.write_text("in the way")
    (problem,) = fold(file.root)
    assert "The new answers are kept in" in problem
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
    (file.root / FOLDER / "fold.lock").mkdir()
    (problem,) = fold(file.root)
    assert f"New answers are kept in {file.root / FOLDER}." in problem


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
