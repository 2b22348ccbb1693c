"""Other answers in place of a trial's own: what a control trial is answered with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.cassettes.format import Cassette, RecordedCall
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.tape import CallObserver, Exchange, Tape
from pytest_tiers.errors import CassetteMiss
from pytest_tiers.usage import read_answer

#: What a model says that will not answer.
_REFUSAL = "I'm sorry, but I can't help with that."


class Answers(Struct, frozen=True):
    """A trial's calls of models as recorded, and the text of the last answer, folded."""

    calls: tuple[RecordedCall, ...]
    text: str

    @property
    def words(self) -> frozenset[str]:
        """The words of the last answer."""
        return frozenset(re.findall(r"\w+", self.text))


def answers_by_case(cassette: Cassette, sample: int) -> dict[str, Answers]:
    """What each case's recording of one sample says, where every answer is whole."""
    return {
        case: answers
        for (case, its_sample), recording in sorted(cassette.recordings.items())
        if its_sample == sample and (answers := whole_answers(recording.calls)) is not None
    }


def whole_answers(of_trial: Iterable[RecordedCall]) -> Answers | None:
    """What a trial's calls of models were answered; None where an answer is missing or broken."""
    calls = tuple(call for call in of_trial if call.request.asks_model)
    read = [read_answer(_endpoint(call), call.body, call.content_type) for call in calls]
    whole = all(answer.complete and answer.error_message is None for answer in read)
    if not calls or not whole or any(not 200 <= call.status < 300 for call in calls):
        return None
    return Answers(calls, " ".join(read[-1].text.split()).casefold())


def _endpoint(call: RecordedCall) -> str:
    return call.request.endpoint or ""


def most_different(answers: Mapping[str, Answers], case: str) -> Answers | None:
    """The answers of the case whose last one has the fewest words in common with this case's.

    The most different one, because a good test may accept any answer that means the same, of
    those with as many calls or more. None where no other case says anything else.
    """
    own = answers[case]
    others = [
        (_similarity(own, other), name)
        for name, other in answers.items()
        if other.text != own.text and len(other.calls) >= len(own.calls)
    ]
    return answers[min(others)[1]] if others else None


def _similarity(one: Answers, other: Answers) -> float:
    """The share of words that both have (Jaccard)."""
    together = one.words | other.words
    return len(one.words & other.words) / len(together) if together else 1.0


def nothing_and_refusal(answers: Answers) -> Iterator[Answers]:
    """The same answers with an empty text, and with a refusal; none where they are streams."""
    for text in ("", _REFUSAL):
        calls = [_saying(call, text) for call in answers.calls]
        if all(call is not None for call in calls):
            yield Answers(tuple(call for call in calls if call is not None), text)


def _saying(call: RecordedCall, text: str) -> RecordedCall | None:
    """A recorded call whose answer says ``text`` and nothing else; None for a stream."""
    try:
        body = json.loads(call.body)
        _put(body, _endpoint(call), text)
    except (ValueError, KeyError, IndexError, TypeError, StopIteration):
        return None
    response = {**call.interaction["response"], "body": {"string": json.dumps(body)}}
    return replace(call, interaction={**call.interaction, "response": response})


def _put(body: dict[str, Any], endpoint: str, text: str) -> None:
    if endpoint == "responses":
        message = next((item for item in body["output"] if item["type"] == "message"), None)
        part = {"type": "output_text", "text": text, "annotations": []}
        known = message or {"id": "msg_0", "type": "message", "role": "assistant"}
        body["output"] = [{**known, "status": "completed", "content": [part]}]
        return
    choice = body["choices"][0]
    if endpoint == "completions":
        choice["text"] = text
        return
    for key in ("tool_calls", "function_call", "refusal"):
        choice["message"].pop(key, None)
    choice["message"]["content"] = text
    choice["finish_reason"] = "stop"


class SubstituteTape(Tape):
    """Answers a trial's calls of its tier with others, in the order in which they are made.

    Other calls are answered from the trial's own recording. Nothing goes out, nothing is kept.
    """

    def __init__(self, answers: Sequence[RecordedCall], *args: Any) -> None:
        super().__init__(*args)
        self._answers = answers
        self._asked = 0

    def begin(self, request: SentRequest, observer: CallObserver) -> Exchange:
        """Start a call. Raises CassetteMiss where the other answers have none that fits."""
        with self._lock:
            position = self._asked
            self._asked += request.asks_model
        if not observer.is_tiers:
            return super().begin(request, observer)
        answer = self._answers[position] if position < len(self._answers) else None
        if answer is None or not _fits(request, answer.request):
            reason = "the other case's recording has no answer to a call like this one."
            observer.missed(reason, stale=False)
            raise CassetteMiss(reason)
        return Exchange(self, request, observer, position, answer)


def _fits(request: SentRequest, recorded: SentRequest) -> bool:
    """Whether an answer to the recorded request has the shape that this request asks for."""
    ours, theirs = request.json, recorded.json
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return False
    return request.endpoint == recorded.endpoint and bool(ours.get("stream")) == bool(
        theirs.get("stream")
    )
