"""Which calls of a trial replay, which may go out, and what is kept of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.cassettes import format
from pytest_tiers.cassettes.format import Cassette
from pytest_tiers.cassettes.library import Library
from pytest_tiers.cassettes.matching import Matcher, SentRequest
from pytest_tiers.cassettes.names import CassetteFile
from pytest_tiers.cassettes.scrub import Scrubber
from pytest_tiers.cassettes.tape import Ahead, Exchange, Tape, TapeLabel, WireAnswer
from pytest_tiers.errors import AnswerNotSaved, CallRefused, CassetteMiss
from pytest_tiers.modes import RecordMode
from pytest_tiers.records import Part

MODES: tuple[RecordMode, ...] = ("none", "once", "new_episodes", "all")


class Observer:
    """Remembers what it was told of one call."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.stale = False

    def sending(self) -> bool:
        self.told.append("sending")
        return True

    def about(self, *_: object) -> Mapping[str, Any]:
        return {"model": "m"}

    def keeps(self, status: int, *_: object) -> bool:
        return status < 500

    def answered(self, answer: WireAnswer) -> None:
        self.told.append(f"{'replayed' if answer.replayed else 'answered'} {answer.body.decode()}")

    def failed(self, reason: str) -> None:
        self.told.append(f"failed {reason}")

    def missed(self, reason: str, *, stale: bool, changed: Sequence[Part] = ()) -> None:
        self.told.append(f"missed {reason}")
        self.changed = changed
        self.stale = stale


def request(question: str) -> SentRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": question}]}
    return SentRequest("POST", "https://host/v1/chat/completions", {}, json.dumps(body).encode())


def answer(text: str, status: int = 200) -> dict[str, Any]:
    return {
        "status": {"code": status, "message": "OK"},
        "headers": {},
        "body": {"string": text.encode()},
    }


def begun(tape: Tape, question: str, observer: Observer) -> Exchange:
    """A call that has got as far as it can without an answer."""
    exchange = tape.begin(request(question), observer)
    assert exchange.starts()
    return exchange


class Run:
    """One pytest run with one trial, on the cassettes of one folder."""

    def __init__(
        self, root: Path, mode: RecordMode, tier: str = "nano", others: tuple[str, ...] = ()
    ) -> None:
        self.library = Library()
        self.library.fold([root])
        found = [self.library.cassette(self.file(root, other).path) for other in others]
        label = TapeLabel(self.file(root, tier), "t.py::test_it", tier, "case", 1)
        self.tape = Tape(
            self.library, label, mode, Matcher(), Scrubber(), [one for one in found if one]
        )
        self.sent: list[str] = []

    @staticmethod
    def file(root: Path, tier: str) -> CassetteFile:
        return CassetteFile(root, root / f"test_it[{tier}].yaml")

    def begin(self, question: str, observer: Observer) -> Exchange:
        """A call that is left open."""
        try:
            return begun(self.tape, question, observer)
        finally:
            self.library.close()

    def ask(self, question: str, text: str = "", status: int = 200) -> str:
        """One call: the answer that is recorded, else ``text``."""
        exchange = begun(self.tape, question, Observer())
        if exchange.replays:
            body: bytes = exchange.play_response()["body"]["string"]
            return body.decode()
        self.sent.append(question)
        exchange.append(None, answer(text, status))
        return text

    def end(self, *, complete: bool = True) -> Cassette | None:
        self.tape.finish(complete=complete)
        self.library.close()
        path = self.tape.label.file.path
        assert self.library.fold([path.parent]) == []
        return format.load(path) if path.exists() else None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cassettes"


def record(
    root: Path, *answers: tuple[str, str], tier: str = "nano", complete: bool = True
) -> None:
    run = Run(root, "once", tier)
    for question, text in answers:
        run.ask(question, text)
    run.end(complete=complete)


def recorded(cassette: Cassette | None) -> list[str]:
    assert cassette is not None
    return [call.body.decode() for call in cassette.recordings["case", 1].calls]


# Modes, with VCR's meaning


@pytest.mark.parametrize(
    ("mode", "unrecorded", "replayed", "changed"),
    [
        ("none", "miss", "replay", "stale"),
        ("once", "sent", "replay", "stale"),
        ("new_episodes", "sent", "replay", "sent"),
        ("all", "sent", "sent", "sent"),
    ],
)
def test_what_each_mode_does(
    root: Path, mode: RecordMode, unrecorded: str, replayed: str, changed: str
) -> None:
    def outcome(question: str) -> str:
        observer = Observer()
        try:
            exchange = Run(root, mode).begin(question, observer)
        except CassetteMiss:
            return "stale" if observer.stale else "miss"
        return "replay" if exchange.replays else "sent"

    assert outcome("q") == unrecorded
    record(root, ("q", "A"))
    assert outcome("q") == replayed
    assert outcome("changed") == changed


@pytest.mark.parametrize("mode", ["none", "once", "new_episodes"])
def test_a_replay_changes_no_file(root: Path, mode: RecordMode) -> None:
    record(root, ("q", "A"))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    run = Run(root, mode)
    assert run.ask("q") == "A"
    run.end()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_new_episodes_records_everything_from_the_first_change_on(root: Path) -> None:
    record(root, ("one", "1"), ("two", "2"), ("three", "3"))
    run = Run(root, "new_episodes")
    assert [run.ask("one", "x"), run.ask("new", "N"), run.ask("three", "T")] == ["1", "N", "T"]
    assert run.sent == ["new", "three"]
    assert recorded(run.end()) == ["1", "N", "T"]


def test_new_episodes_that_was_interrupted_goes_on_where_it_was(root: Path) -> None:
    record(root, ("old", "O"))
    first = Run(root, "new_episodes")
    first.ask("new", "N")
    first.end(complete=False)
    second = Run(root, "new_episodes")
    assert [second.ask("another", "A"), second.ask("new", "x")] == ["A", "N"]
    assert second.sent == ["another"]
    assert recorded(second.end()) == ["A", "N"]


def test_all_asks_again_and_keeps_the_old_recording_until_it_is_done(root: Path) -> None:
    record(root, ("q", "old"), ("r", "older"))
    first = Run(root, "all")
    assert first.ask("q", "new") == "new"
    assert recorded(first.end(complete=False)) == ["old", "older"]
    second = Run(root, "all")
    assert [second.ask("q", "x"), second.ask("r", "newer")] == ["new", "newer"]
    assert second.sent == ["r"]
    assert recorded(second.end()) == ["new", "newer"]


def test_once_completes_what_is_missing_and_pays_nothing_twice(root: Path) -> None:
    record(root, ("one", "1"), complete=False)
    run = Run(root, "once")
    assert [run.ask("one", "x"), run.ask("two", "2")] == ["1", "2"]
    assert run.sent == ["two"]
    assert recorded(run.end()) == ["1", "2"]


def test_a_trial_that_had_all_its_answers_becomes_complete_without_a_call(root: Path) -> None:
    record(root, ("one", "1"), complete=False)
    run = Run(root, "once")
    run.ask("one")
    assert recorded(run.end()) == ["1"]
    assert run.sent == []


def test_none_does_not_even_complete(root: Path) -> None:
    record(root, ("one", "1"), complete=False)
    run = Run(root, "none")
    assert run.ask("one") == "1"
    cassette = run.end()
    assert cassette is not None
    assert cassette.recordings == {}


# Order and attempts


def test_repeated_requests_replay_in_the_order_they_were_sent(root: Path) -> None:
    record(root, ("q", "first"), ("r", "other"), ("q", "second"))
    run = Run(root, "none")
    assert [run.ask("q"), run.ask("q"), run.ask("r")] == ["first", "second", "other"]
    with pytest.raises(CassetteMiss, match="every recorded answer to this request is used"):
        run.ask("q")


def test_an_answer_that_a_call_did_not_wait_for_is_the_next_ones() -> None:
    ahead = Ahead()
    promise = ahead.expect("question")
    assert ahead.take("question") is promise
    ahead.give_back("question", promise)
    assert ahead.left == ()  # it was asked for
    assert ahead.take("question") is promise
    assert ahead.take("question") is None


def test_answers_are_kept_in_the_order_of_sending_not_of_arrival(root: Path) -> None:
    run = Run(root, "once")
    slow, fast = (begun(run.tape, "q", Observer()) for _ in range(2))
    fast.append(None, answer("sent second"))
    slow.append(None, answer("sent first"))
    assert recorded(run.end()) == ["sent first", "sent second"]


def test_threads_never_share_an_answer(root: Path) -> None:
    texts = [f"{number}" for number in range(200)]
    record(root, *[("q", text) for text in texts])
    run = Run(root, "none")
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(run.ask, ["q"] * 200)) == sorted(texts)


def test_a_failed_attempt_is_not_kept(root: Path) -> None:
    run = Run(root, "once")
    run.ask("q", "overloaded", status=503)
    lost = begun(run.tape, "q", Observer())
    lost.failed(TimeoutError())
    run.ask("q", "A")
    assert recorded(run.end()) == ["A"]


def test_a_call_that_was_answered_has_not_failed(root: Path) -> None:
    run = Run(root, "once")
    observer = Observer()
    exchange = begun(run.tape, "q", observer)
    exchange.append(None, answer("A"))
    exchange.failed(RuntimeError("raise_for_status"))
    assert observer.told == ["sending", "answered A"]
    run.end()


def test_an_answer_after_the_end_of_the_trial_is_kept_with_it(root: Path) -> None:
    run = Run(root, "once")
    late = begun(run.tape, "late", Observer())
    run.ask("q", "A")
    run.tape.finish(complete=True)
    late.append(None, answer("L"))
    assert recorded(run.end(complete=False)) == ["L", "A"]


# What a miss says


def said(root: Path, mode: RecordMode, question: str, tier: str = "nano") -> str:
    observer = Observer()
    with pytest.raises(CallRefused) as caught:
        Run(root, mode, tier).begin(question, observer)
    assert observer.told == [f"missed {caught.value}"]
    return str(caught.value)


def test_a_miss_names_the_trial_the_file_and_the_command(root: Path) -> None:
    assert said(root, "none", "q") == (
        f"no recording of t.py::test_it[case] on nano in {root}/test_it[nano].yaml; record it "
        'with pytest "t.py::test_it" --tiers=nano --tiers-record=once'
    )


def test_a_stale_trial_shows_what_changed_and_how_to_record(root: Path) -> None:
    record(root, ("Say hello", "A"))
    text = said(root, "once", "Say bye")
    assert '-    "content": "Say hello",\n+    "content": "Say bye",' in text
    assert text.endswith(
        'Record it again with pytest "t.py::test_it" --tiers=nano --tiers-record=new_episodes'
    )


def test_the_everyday_tier_is_recorded_without_naming_it(root: Path) -> None:
    assert said(root, "none", "q", "current").endswith('pytest "t.py::test_it" --tiers-record=once')


def test_a_damaged_cassette_stops_every_call_and_is_not_recorded_over(root: Path) -> None:
    path = Run.file(root, "nano").path
    root.mkdir()
    path.write_text("<<<<<<<")
    for mode in MODES[:3]:
        text = said(root, mode, "q")
        assert text.startswith(f"{path}: ")
        assert text.endswith(
            "It is not recorded over: restore it, or record it again with "
            'pytest "t.py::test_it" --tiers=nano --tiers-record=all, which keeps it beside the '
            "new one."
        )
    run = Run(root, "all")
    run.ask("q", "A")
    run.tape.finish(complete=True)
    run.library.close()
    (said_of_it,) = run.library.fold([root])
    assert "is recorded anew" in said_of_it
    assert recorded(format.load(path)) == ["A"]


def test_a_disk_that_takes_nothing_stops_the_call_before_it_is_paid(root: Path) -> None:
    root.write_text("in the way")
    observer = Observer()
    with pytest.raises(AnswerNotSaved, match=f"answers cannot be saved under {root}"):
        Run(root, "once").begin("q", observer)
    assert "sending" not in observer.told


def test_a_disk_that_fills_up_stops_the_next_call(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(root, "once")
    observer = Observer()
    first, second = (begun(run.tape, text, observer) for text in "ab")

    def full(_: int) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(AnswerNotSaved, match="No space left"):
            first.append(None, answer("A"))
    assert observer.told[-1].startswith("failed answers cannot be saved")
    with pytest.raises(AnswerNotSaved, match="No space left"):
        run.ask("c")
    # What is paid for is written all the same, when there is room again.
    second.append(None, answer("B"))
    cassette = run.end(complete=False)
    assert cassette is not None
    unfinished = cassette.unfinished["case", 1]
    assert [call.body.decode() for call in unfinished.calls] == ["A", "B"]


# The tier ``current``


def current(root: Path, mode: RecordMode) -> Run:
    return Run(root, mode, "current", others=("nano", "full"))


def test_current_replays_what_any_other_tier_was_asked(root: Path) -> None:
    record(root, ("to nano", "N"), tier="nano")
    record(root, ("to full", "F1"), ("to full", "F2"), tier="full")
    run = current(root, "none")
    assert [run.ask("to full"), run.ask("to nano"), run.ask("to full")] == ["F1", "N", "F2"]
    assert run.end() is None


def test_current_takes_its_own_recording_first(root: Path) -> None:
    record(root, ("q", "of full"), tier="full")
    record(root, ("q", "its own"), tier="current")
    run = current(root, "none")
    assert [run.ask("q"), run.ask("q")] == ["its own", "of full"]


def test_what_current_records_does_not_need_the_other_tiers_later(root: Path) -> None:
    record(root, ("one", "F"), ("three", "T"), tier="full")
    run = current(root, "once")
    assert [run.ask("one"), run.ask("two", "own"), run.ask("three")] == ["F", "own", "T"]
    assert run.sent == ["two"]
    assert recorded(run.end()) == ["F", "own", "T"]
    alone = Run(root, "none", "current")
    assert [alone.ask("one"), alone.ask("two"), alone.ask("three")] == ["F", "own", "T"]


def test_all_records_current_itself(root: Path) -> None:
    record(root, ("q", "F"), tier="full")
    run = current(root, "all")
    assert run.ask("q", "own") == "own"
    assert recorded(run.end()) == ["own"]


def test_a_miss_on_current_shows_what_other_tiers_were_asked(root: Path) -> None:
    record(root, ("Say hello", "F"), tier="full")
    with pytest.raises(CassetteMiss, match=r"(?s)no recording.*Elsewhere, .*Say hello"):
        current(root, "none").ask("Say bye")


# Secrets


def test_a_key_in_a_request_matches_where_another_key_is_set(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mode, key in (("once", "sk-first-key-123"), ("none", "sk-second-key-456")):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        run = Run(root, mode)  # type: ignore[arg-type]
        assert run.ask(f"Is {key} a key?", "yes") == "yes"
        run.end()


def test_the_exchange_is_what_vcrs_stubs_expect(root: Path) -> None:
    exchange = Run(root, "once").begin("q", Observer())
    assert isinstance(exchange, Exchange)
    assert not exchange.write_protected
    assert not exchange.can_play_response_for(None)
    assert exchange.filter_request("request") == "request"
