"""One trial's recording while the trial runs: which calls replay, which go out and are kept."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.cassettes.format import Cassette, RecordedCall, Recording
from pytest_tiers.cassettes.generations import Repeats
from pytest_tiers.cassettes.library import Library, says_the_same
from pytest_tiers.cassettes.matching import Matcher, SentRequest
from pytest_tiers.cassettes.names import VERSUS, CassetteFile
from pytest_tiers.cassettes.pool import Drawer
from pytest_tiers.cassettes.renamed import RenamedCases
from pytest_tiers.cassettes.scrub import Scrubber
from pytest_tiers.errors import AnswerNotSaved, CallRefused, CassetteError, CassetteMiss
from pytest_tiers.modes import RecordMode
from pytest_tiers.records import Part


class WireAnswer(Struct, frozen=True):
    """An answer as it came or as it was recorded; ``seconds`` and ``at`` (UTC) of the recording.

    ``retry_after`` is what the header of that name says.
    """

    status: int
    content_type: str | None
    body: bytes
    seconds: float | None
    at: str | None
    replayed: bool
    retry_after: str | None = None


class CallObserver(Protocol):
    """Whoever is told what becomes of a call."""

    @property
    def is_tiers(self) -> bool:
        """Whether a model is called in the tier's name."""
        raise NotImplementedError

    def sending(self) -> bool:
        """Whether the call goes out now; False: ask again soon. Raises CallRefused."""
        raise NotImplementedError

    def about(self, content_type: str | None, body: bytes) -> Mapping[str, Any]:
        """What to note of this call beside request and answer."""
        raise NotImplementedError

    def keeps(self, status: int, content_type: str | None, body: bytes) -> bool:
        """Whether such an answer is kept, or counts as a failed attempt."""
        raise NotImplementedError

    def answered(self, answer: WireAnswer) -> None:
        """The call has an answer."""

    def failed(self, reason: str) -> None:
        """The call has no answer."""

    def missed(self, reason: str, *, stale: bool, changed: Sequence[Part] = ()) -> None:
        """Replay found no answer; of a stale recording, in which parts the request changed."""


class TapeLabel(Struct, frozen=True):
    """Whose tape it is. ``again`` are the options of a run that records it, if it says more than
    the tier's name.
    """

    file: CassetteFile
    function: str
    tier: str
    case: str
    sample: int
    again: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Case and sample."""
        return self.case, self.sample


class Shelf:
    """Recorded calls of one trial, found by what was asked."""

    def __init__(self, recording: Recording, matcher: Matcher) -> None:
        self.calls = recording.calls
        self._free: dict[str, deque[int]] = defaultdict(deque)
        for index, call in enumerate(recording.calls):
            self._free[matcher.key(call.request)].append(index)

    def take(self, key: str) -> int | None:
        """Reserve the first free answer to a request; None where there is none."""
        free = self._free.get(key)
        return free.popleft() if free else None


#: What becomes of a call that was made ahead: what is kept of its answer, or None.
Promise = Future[RecordedCall | None]


class Ahead:
    """Answers to one trial's requests that were asked for before the trial asks itself."""

    def __init__(self) -> None:
        self._promises: dict[str, deque[Promise]] = defaultdict(deque)
        #: Those that somebody has asked for, and did not wait for.
        self._given_back: dict[str, deque[Promise]] = defaultdict(deque)
        self._lock = threading.Lock()

    def expect(self, key: str) -> Promise:
        """Announce the answer to a request."""
        promise: Promise = Future()
        with self._lock:
            self._promises[key].append(promise)
        return promise

    def take(self, key: str) -> Promise | None:
        """Reserve the first answer to a request, perhaps still to come; None: there is none."""
        with self._lock:
            for waiting in (self._given_back[key], self._promises[key]):
                while waiting:
                    promise = waiting.popleft()
                    if not promise.done() or promise.result() is not None:
                        return promise
        return None

    def give_back(self, key: str, promise: Promise) -> None:
        """Let another call have an answer that the one it was reserved for did not wait for."""
        with self._lock:
            self._given_back[key].append(promise)

    @property
    def left(self) -> tuple[Promise, ...]:
        """The answers that the trial did not ask for, and those still to come."""
        with self._lock:
            promises = [promise for left in self._promises.values() for promise in left]
        return tuple(one for one in promises if not one.done() or one.result() is not None)


class Tape:
    """Replays and records the calls of one running trial.

    ``mode`` has VCR's words and meaning. ``others`` are recordings of other tiers that may
    answer too, where the same was asked (for the tier ``current``); an error stands for one that
    cannot be read. ``has_recording`` tells
    whether the trial was recorded to its end, ``damage`` why its cassette cannot be read.
    ``ahead`` holds answers that came before the trial; a tape with ``feeds`` gets them.
    ``renamed`` finds the recording of a case that had another name. ``drawer`` holds answers of
    other trials that may answer too.
    """

    def __init__(
        self,
        library: Library,
        label: TapeLabel,
        mode: RecordMode,
        matcher: Matcher,
        scrubber: Scrubber,
        others: Sequence[Cassette | CassetteError] = (),
        *,
        ahead: Ahead | None = None,
        feeds: Ahead | None = None,
        renamed: RenamedCases | None = None,
        drawer: Drawer | None = None,
    ) -> None:
        self._library, self.label, self._mode = library, label, mode
        self._ahead, self._feeds, self._drawer = ahead, feeds, drawer
        self._matcher, self._scrubber = matcher, scrubber
        self._lock = threading.Lock()
        self._attempt = uuid.uuid4().hex
        self._sent = 0
        self._records = False
        self._not_journalled: dict[int, RecordedCall] = {}
        self._keys: dict[int, str] = {}
        self._used: dict[int, RecordedCall] = {}
        self._shared: set[int] = set()
        self.damage: str | None = None
        cassette = self._own_cassette()
        unfinished = cassette.unfinished.get(label.key) if cassette else None
        complete = cassette.recordings.get(label.key) if cassette else None
        self.has_recording = complete is not None
        self._before = complete
        if mode == "all" or (mode == "new_episodes" and unfinished):
            base = unfinished
        else:
            base = complete or unfinished
        self._resumes = base is not None and not base.complete
        #: Whether what is not recorded may be asked for.
        self._goes_out = (
            mode == "all"
            or (mode == "new_episodes" and (self._resumes or not self.has_recording))
            or (mode == "once" and not self.has_recording)
        )
        self._unread = [other for other in others if isinstance(other, CassetteError)]
        readable = [other for other in others if isinstance(other, Cassette)]
        found = [
            other.recordings[label.key]
            for other in readable
            if mode != "all" and label.key in other.recordings
        ]
        #: Its own recording first, then those of other tiers.
        self._shelves = [Shelf(recording, matcher) for recording in (base, *found) if recording]
        self._renamed = None if self._shelves or mode == "all" else renamed
        self._cassettes = [one for one in (cassette, *readable) if one is not None]
        self._old_name: str | None = None

    def _own_cassette(self) -> Cassette | None:
        try:
            return self._library.cassette(self.label.file.path)
        except CassetteError as error:
            self.damage = (
                f"{error} It is not recorded over: restore it, or record it again with "
                f"{self._record_again('all')}, which keeps it beside the new one."
            )
            return None

    def without_secrets(self, request: SentRequest) -> SentRequest:
        """The request as it is written and compared, save for its headers."""
        url = self._scrubber.url(request.url)
        body = self._scrubber.body(request.body, request.headers.get("content-type"))
        if (url, body) == (request.url, request.body):
            return request
        return SentRequest(request.method, url, request.headers, body)

    def reason_without_secrets(self, reason: str, request: SentRequest) -> str:
        """Why a request failed; some clients tell its whole address."""
        query, clean = (
            urlsplit(url).query for url in (request.url, self._scrubber.url(request.url))
        )
        return self._scrubber.text(reason.replace(query, clean) if query else reason)

    def begin(self, request: SentRequest, observer: CallObserver) -> Exchange:
        """Start a call: reserves its answer, or makes sure that one may be asked for.

        Raises CallRefused.
        """
        self._check_cassette_is_readable(observer)
        scrubbed = self.without_secrets(request)
        key = self._matcher.key(scrubbed)
        with self._lock:
            position, self._sent = self._sent, self._sent + 1
            self._keys[position] = key
            self._look_for_old_name(key)
            shared = self._from_drawer(position, key, scrubbed.url)
            found = self._find(key) or shared
            if found is not None:
                self._use(position, found)
            else:
                self._check_may_go_out(scrubbed, observer)
        exchange = Exchange(self, request, observer, position, found)
        if found is None and self._ahead is not None:
            exchange.looks_ahead(self._ahead, key)
        if found is None and self._feeds is not None:
            exchange.promise = self._feeds.expect(key)
        return exchange

    def _check_cassette_is_readable(self, observer: CallObserver) -> None:
        """Play no other recording either: its own may hold another answer."""
        if self.damage is not None and self._mode != "all":
            observer.missed(self.damage, stale=False)
            raise CassetteMiss(self.damage)

    def _look_for_old_name(self, key: str) -> None:
        """At the first request of a trial without a recording: was its case renamed?"""
        renamed, self._renamed = self._renamed, None
        found = renamed and renamed.find(self._cassettes, self.label.function, *self.label.key, key)
        if found:
            self._old_name, recording = found
            self._shelves = [Shelf(recording, self._matcher)]
            self._before = recording
            self.has_recording, self._goes_out = True, False

    def _find(self, key: str) -> RecordedCall | None:
        """Reserve a recorded answer."""
        for shelf in self._shelves:
            if (index := shelf.take(key)) is not None:
                return shelf.calls[index]
        return None

    def _from_drawer(self, position: int, key: str, url: str) -> RecordedCall | None:
        """What another trial was answered; asked for also where the trial's own recording has it,
        so that a replay counts what was recorded.
        """
        found = self._drawer.take(key, url) if self._drawer is not None else None
        if found is not None:
            self._shared.add(position)
        return found

    def _check_may_go_out(self, request: SentRequest, observer: CallObserver) -> None:
        """Go on, or raise CassetteMiss with what changed and how to record.

        Raises AnswerNotSaved where no answer could be kept.
        """
        if self._mode == "new_episodes" and not self._goes_out:
            # From here on the old answers belong to another conversation.
            self._shelves, self._goes_out = [], True
        if not self._goes_out:
            recorded = [call.request for shelf in self._shelves for call in shelf.calls]
            nearest = self._matcher.nearest(request, recorded)
            message = self._explain(request, nearest)
            changed = self._matcher.changed(request, nearest) if self.has_recording else ()
            observer.missed(message, stale=self.has_recording, changed=changed)
            raise CassetteMiss(message)
        try:
            # Before anything is paid for.
            self._library.open_journal(self.label.file)
        except OSError as error:
            refusal = self._not_saved(error)
            observer.missed(str(refusal), stale=False)
            raise refusal from error

    def _explain(self, request: SentRequest, nearest: SentRequest | None) -> str:
        who = f"{self.label.function}[{self.label.case}] on {self.label.tier}"
        if self.has_recording:
            return (
                f"the recording of {who} has no answer to a request:\n"
                f"{self._matcher.explain(request, nearest)}\n"
                f"Record it again with {self._record_again('new_episodes')}"
            )
        elsewhere = f"\nElsewhere, {self._matcher.explain(request, nearest)}" if nearest else ""
        unread = "".join(f"\nNot looked into: {error}" for error in self._unread)
        return (
            f"no recording of {who} in {self.label.file.path}; record it with "
            f"{self._record_again('once')}{elsewhere}{unread}"
        )

    def _record_again(self, mode: str) -> str:
        compared = ",".join(dict.fromkeys(self.label.tier.split(VERSUS)))
        tiers = "" if compared == "current" else f"--tiers={compared} "
        again = tiers if self.label.again is None else f"{self.label.again} ".lstrip()
        return f'pytest "{self.label.function}" {again}--tiers-record={mode}'

    def as_recorded(self, request: SentRequest, response: Mapping[str, Any]) -> RecordedCall:
        """The call as it may be written; nothing is noted of it yet."""
        from pytest_tiers.cassettes.writing import recorded_call  # a replay needs none of it

        return recorded_call(request, response, {}, self._scrubber)

    def save(self, position: int, call: RecordedCall) -> None:
        """Journal an answer. Raises AnswerNotSaved where the disk does not take it."""
        with self._lock:
            self._records = True
            self._use(position, call)
            try:
                self._write_calls()
            except OSError as error:
                raise self._not_saved(error) from error

    def adopt(self, position: int, call: RecordedCall) -> None:
        """Take over an answer that was asked for, and journalled, ahead of this trial."""
        with self._lock:
            self._records = True
            self._use(position, call)

    def _use(self, position: int, call: RecordedCall) -> None:
        self._not_journalled[position] = self._used[position] = call

    @property
    def answers(self) -> list[RecordedCall]:
        """The answers that the trial was given, in the order in which it asked."""
        with self._lock:
            return [self._used[position] for position in sorted(self._used)]

    @property
    def own_answers(self) -> list[RecordedCall]:
        """Those that no other trial had been given before."""
        with self._lock:
            return [self._used[at] for at in sorted(self._used) if at not in self._shared]

    @property
    def generation(self) -> int:
        """The generation of the trial's recording, 0 where it has none."""
        return self._before.generation if self._before is not None else 0

    @property
    def repeats(self) -> Repeats | None:
        """What the trial's own recording became; None where it has none or asks other things.

        The first change tells: an answer that changed changes the requests that quote it, a
        request that changed is another question.
        """
        if self._before is None:
            return None
        shelf = Shelf(self._before, self._matcher)
        for position in sorted(self._used):
            index = shelf.take(self._keys[position])
            if index is None:
                return None
            if not says_the_same(shelf.calls[index], self._used[position]):
                return "other"
        return "same"

    def _not_saved(self, error: OSError) -> AnswerNotSaved:
        return AnswerNotSaved(
            f"answers cannot be saved under {self.label.file.root}: {error}. Make room or fix "
            "the folder's permissions, then run again."
        )

    def finish(self, *, complete: bool) -> None:
        """End the trial. A trial that replayed everything leaves its recording untouched."""
        with self._lock:
            if self._old_name is not None and complete and not self._records:
                self._store_new_name()
                return
            if not (self._records or (complete and self._mode != "none" and self._is_to_write)):
                return
            # What cannot be written now was said when an answer could not: the next run
            # completes the trial from the answers that stand in the journal.
            with contextlib.suppress(OSError):
                self._write_calls()
                self._write(complete=complete, repeats=self.repeats if complete else None)

    @property
    def _is_to_write(self) -> bool:
        """Whether a trial that called nobody has something to be kept.

        Its last missing call was never made; or all its answers are those of other trials, which
        may be recorded anew without it.
        """
        takes_all = len(self._shared) == len(self._used) > 0
        return self._resumes or (takes_all and (self._mode == "all" or not self.has_recording))

    def _store_new_name(self) -> None:
        if self._mode != "none":
            with contextlib.suppress(OSError):
                self._write(renamed_from=self._old_name)

    def _write_calls(self) -> None:
        """Journal the trial's calls so far, replayed ones too: it shall not need the cassette."""
        while self._not_journalled:
            position, call = next(iter(self._not_journalled.items()))
            self._write(position=position, interaction=call.interaction, about=call.about)
            del self._not_journalled[position]

    def _write(self, **entry: Any) -> None:
        label = self.label
        self._library.journal(
            label.file,
            {
                "test": label.function,
                "tier": label.tier,
                "case": label.case,
                "sample": label.sample,
                "attempt": self._attempt,
                "anew": self.damage is not None,
                **entry,
            },
        )


class Exchange:
    """One HTTP call, in the shape that vcrpy's stubs expect of a cassette."""

    write_protected = False

    def __init__(
        self,
        tape: Tape,
        request: SentRequest,
        observer: CallObserver,
        position: int,
        found: RecordedCall | None,
    ) -> None:
        self._tape, self._request, self._observer = tape, request, observer
        self._position, self._found = position, found
        self._is_settled = False
        self._started = 0.0
        self._is_new = False
        self._takes: Callable[[], Promise | None] = lambda: None
        self._gives_back: Callable[[Promise], None] = lambda _: None
        self._awaited: Promise | None = None
        #: Whom to tell what became of the call.
        self.promise: Promise | None = None

    def looks_ahead(self, ahead: Ahead, key: str) -> None:
        """Take the answer from ``ahead`` where it has, or will have, one."""
        self._takes = functools.partial(ahead.take, key)
        self._gives_back = functools.partial(ahead.give_back, key)
        self._awaited = self._takes()

    def starts(self) -> bool:
        """Whether the call can be made now, or its answer played; False: ask again soon.

        Raises CallRefused.
        """
        while self._found is None and self._awaited is not None:
            if not self._awaited.done():
                return False
            self._found = self._awaited.result()
            if self._found is None:
                self._awaited = self._takes()
            else:
                self._is_new = True
                self._tape.adopt(self._position, self._found)
        if self._found is not None:
            return True
        try:
            if not self._observer.sending():
                return False
        except CallRefused:
            self._is_settled = True
            self._keep_promise(None)
            raise
        self._started = time.perf_counter()
        return True

    @property
    def replays(self) -> bool:
        """Whether the answer is there already."""
        return self._found is not None

    def can_play_response_for(self, request: Any) -> bool:
        """vcrpy's question, answered when the call began."""
        return self.replays

    def filter_request(self, request: Any) -> Any:
        """vcrpy's filter: every request is ours."""
        return request

    def play_response(self, request: Any = None) -> dict[str, Any]:
        """The recorded answer, as vcrpy's stubs want it."""
        assert self._found is not None
        self._is_settled = True
        about = self._found.about
        self._observer.answered(
            WireAnswer(
                self._found.status,
                self._found.content_type,
                self._found.body,
                about.get("seconds"),
                about.get("recorded_at"),
                replayed=not self._is_new,
            )
        )
        response = self._found.vcr_response()
        if "retry-after" in response["headers"]:
            response["headers"]["retry-after"] = ["0"]  # nobody needs to wait for what is there
        return response

    def append(self, request: Any, response: Mapping[str, Any]) -> None:
        """An answer arrived: keep it, then tell. Raises AnswerNotSaved."""
        seconds = round(time.perf_counter() - self._started, 3)
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        call = self._tape.as_recorded(self._request, response)
        about = self._observer.about(call.content_type, call.body)
        call = replace(call, about={**about, "recorded_at": at, "seconds": seconds})
        self._is_settled = True
        status = int(response["status"]["code"])
        kept = self._observer.keeps(status, call.content_type, call.body)
        try:
            if kept:
                self._tape.save(self._position, call)
        except AnswerNotSaved as error:
            self._observer.failed(str(error))
            self._keep_promise(None)
            raise
        self._observer.answered(
            WireAnswer(
                status,
                call.content_type,
                call.body,
                seconds,
                at,
                replayed=False,
                retry_after=call.header("retry-after"),
            )
        )
        self._keep_promise(call if kept else None)

    def failed(self, error: BaseException) -> None:
        """The call ended with an exception: no answer came, unless one was told already."""
        if not self._is_settled:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            self._observer.failed(self._tape.reason_without_secrets(reason, self._request))
        if self._found is None and self._awaited is not None:
            self._gives_back(self._awaited)  # who waits no longer may ask again
            self._awaited = None
        self._keep_promise(None)

    def _keep_promise(self, call: RecordedCall | None) -> None:
        promise, self.promise = self.promise, None
        if promise is not None:
            promise.set_result(call)
