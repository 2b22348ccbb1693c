"""A real HTTP server on loopback that answers as OpenAI does, errors and broken streams included.

    with OpenAIServer(lambda request: "billing") as server:
        client = OpenAI(base_url=server.url, api_key="sk-test")

The callable gets the request's JSON body and returns the text, or a `Reply`. Tokens are words:
see `words`. Everything is deterministic but the order in which parallel requests arrive.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import math
import re
import socket
import socketserver
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from msgspec import Struct, field

CHAT = "chat/completions"
ENDPOINTS = frozenset({CHAT, "responses", "completions", "embeddings"})

#: Error type, code, param and message by status, as OpenAI words them.
ERRORS: Mapping[int, tuple[str, str | None, str | None, str]] = {
    400: (
        "invalid_request_error",
        "unsupported_parameter",
        "max_tokens",
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
    ),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        None,
        "Incorrect API key provided: sk-wrong.",
    ),
    403: ("request_forbidden", "unsupported_country_region_territory", None, "Not supported."),
    404: (
        "invalid_request_error",
        "model_not_found",
        None,
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    422: ("invalid_request_error", None, "messages", "Input should be a valid list."),
    429: ("requests", "rate_limit_exceeded", None, "Rate limit reached for {model}."),
    500: ("server_error", None, None, "The server had an error while processing your request."),
    503: ("server_error", None, None, "The server is overloaded."),
}


class Reply(Struct, frozen=True):
    """One answer: what it says, or how it fails.

    ``tool_calls`` are (name, arguments) pairs. An error ``status`` has OpenAI's usual body,
    of which ``message``, ``code``, ``param`` replace parts (``code=""``: null); ``body`` replaces
    any body as it is. ``retry_after`` and ``seconds`` (before the first byte) and ``pause``
    (between the chunks of a stream) are in seconds. ``drop`` closes the connection: without a
    byte, after the headers, or midway through body or stream. ``model`` is the name that the
    answer gives; ``gzip`` compresses it, stream or not.
    """

    text: str = ""
    tool_calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    refusal: str | None = None
    status: int = 200
    message: str | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    body: bytes | None = None
    content_type: str = "application/json"
    usage: bool = True
    cached: int = 0
    reasoning: int = 0
    model: str | None = None
    service_tier: str | None = "default"
    finish_reason: str | None = None
    seconds: float = 0.0
    pause: float = 0.0
    drop: Literal["before", "headers", "midway"] | None = None
    gzip: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class Received(Struct, frozen=True):
    """One request as it arrived; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def words(value: object) -> int:
    """How many words the texts in a JSON value have: what this server counts as tokens."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, Mapping):
        return sum(words(value[key]) for key in ("content", "text", "output") if key in value)
    return sum(map(words, value)) if isinstance(value, list) else 0


class OpenAIServer:
    """The server, in a thread of its own while the ``with`` block runs.

    ``requests`` holds every request in order of arrival, ``calls`` counts them by model. An
    exception in ``answer`` is a 500 for the client and raised again when the block ends.
    ``endpoints`` are those that exist; others answer 404 as OpenAI does.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], str | Reply] = lambda _: "OK",
        *,
        endpoints: frozenset[str] = ENDPOINTS,
    ) -> None:
        self.answer = answer
        self.endpoints = endpoints
        self.requests: list[Received] = []
        self.calls: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._http = _HTTPServer(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.01])

    @property
    def url(self) -> str:
        """The base URL for a client: ``http://127.0.0.1:PORT/v1``."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.stop()
        if self.errors and kind is None:
            raise self.errors[0]

    def stop(self) -> None:
        """Stop now: open connections are closed, whatever they are doing."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.close_connections()
        self._http.server_close()

    def record(self, request: Received) -> int:
        """Note a request and return its number, from 1."""
        with self._lock:
            self.requests.append(request)
            self.calls[str(request.json.get("model"))] += 1
            return len(self.requests)


class _HTTPServer(ThreadingHTTPServer):
    """Knows its open connections, so that idle ones do not outlive it."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, owner: OpenAIServer) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks DNS for a name.
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in tuple(self._open):
            _shut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away: `_Handler` keeps every other error itself."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Chunks leave one at a time.
    server: _HTTPServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # The client was killed while it was sending.
            self.close_connection = True
            return
        received = Received(
            self.command,
            self.path,
            {key.lower(): value for key, value in self.headers.items()},
            body,
        )
        number = self.server.owner.record(received)
        try:
            self._reply(received, number)
        except ConnectionError:
            self.close_connection = True
        except Exception as error:
            self.server.owner.errors.append(error)
            self._send(Reply(status=500), _error_body(Reply(status=500), received.json), number)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: tests read stderr."""

    def _reply(self, received: Received, number: int) -> None:
        owner, request = self.server.owner, received.json
        path = received.path.partition("?")[0]
        endpoint = next((each for each in ENDPOINTS if path.endswith(f"/{each}")), None)
        if endpoint == "completions" and path.endswith(f"/{CHAT}"):
            endpoint = CHAT
        if endpoint not in owner.endpoints or endpoint is None or received.method != "POST":
            missing = f"Invalid URL ({received.method} {path})"
            reply = Reply(status=404, message=missing, code="")
        else:
            said = owner.answer(request)
            reply = Reply(said) if isinstance(said, str) else said
        owner.stopping.wait(reply.seconds)
        if reply.drop == "before" or owner.stopping.is_set():
            self._hang_up()
        elif reply.body is not None:
            self._send(reply, reply.body, number)
        elif reply.status >= 400:
            self._send(reply, _error_body(reply, request), number)
        else:
            assert endpoint is not None
            self._send_answer(reply, endpoint, request, number)

    def _send_answer(
        self, reply: Reply, endpoint: str, request: dict[str, Any], number: int
    ) -> None:
        made = _Answer(reply, request, number)
        events = {CHAT: made.chat_chunks, "completions": made.completion_chunks}
        if endpoint == "embeddings":
            self._send(reply, _dump(made.embeddings()), number)
        elif endpoint == "responses" and request.get("stream"):
            self._send_stream(reply, list(made.response_events()), number)
        elif request.get("stream"):
            self._send_stream(reply, list(events[endpoint]()), number)
        else:
            bodies = {CHAT: made.chat, "completions": made.completion, "responses": made.response}
            self._send(reply, _dump(bodies[endpoint]()), number)

    def _send(self, reply: Reply, body: bytes, number: int) -> None:
        if reply.gzip:
            body = gzip.compress(body, mtime=0)
        self._send_head(reply, number, {"Content-Length": str(len(body))}, reply.content_type)
        if reply.drop == "midway":
            self.wfile.write(body[: len(body) // 2])
        if reply.drop:
            self._hang_up()
        else:
            self.wfile.write(body)

    def _send_stream(self, reply: Reply, events: list[bytes], number: int) -> None:
        head = {"Transfer-Encoding": "chunked"}
        self._send_head(reply, number, head, "text/event-stream; charset=utf-8")
        if reply.drop:
            events = events[: len(events) // 2 if reply.drop == "midway" else 0]
        compressor = zlib.compressobj(wbits=31) if reply.gzip else None
        for place, event in enumerate(events):
            if place and self.server.owner.stopping.wait(reply.pause):
                break
            if compressor:
                event = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
            self._send_chunk(event)
        if reply.drop or self.server.owner.stopping.is_set():
            self._hang_up()
            return
        if compressor:
            self._send_chunk(compressor.flush())
        self.wfile.write(b"0\r\n\r\n")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _send_head(
        self, reply: Reply, number: int, framing: Mapping[str, str], content_type: str
    ) -> None:
        self.send_response(reply.status)
        headers = {
            "Content-Type": content_type,
            "x-request-id": f"req_{number}",
            "openai-organization": "org-of-the-test",
            "openai-processing-ms": "7",
            "set-cookie": "__cf_bm=cookie-of-the-test; path=/; HttpOnly",
            **framing,
        }
        if reply.gzip:
            headers["Content-Encoding"] = "gzip"
        if reply.retry_after is not None:
            headers["Retry-After"] = str(math.ceil(reply.retry_after))
            headers["Retry-After-Ms"] = str(round(reply.retry_after * 1000))
        for name, value in {**headers, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _hang_up(self) -> None:
        self.close_connection = True
        _shut(self.connection)


class _Answer:
    """One reply in the shape of each endpoint."""

    def __init__(self, reply: Reply, request: dict[str, Any], number: int) -> None:
        self.reply = reply
        self.request = request
        self.number = number
        self.model = reply.model or request.get("model")
        self.calls = [
            (f"call_{number}_{place}", name, json.dumps(arguments))
            for place, (name, arguments) in enumerate(reply.tool_calls)
        ]

    @property
    def _top(self) -> dict[str, Any]:
        return {"created": 1_790_000_000 + self.number, "model": self.model}

    @property
    def _finish(self) -> str:
        return self.reply.finish_reason or ("tool_calls" if self.calls else "stop")

    def _counts(self) -> tuple[int, int]:
        asked = [self.request.get(key) for key in ("messages", "instructions", "input", "prompt")]
        said = [self.reply.text, self.reply.refusal, *(call[2] for call in self.calls)]
        return max(words(asked), self.reply.cached, 1), words(said) + self.reply.reasoning

    def _usage(self) -> dict[str, Any] | None:
        given, output = self._counts()
        if not self.reply.usage:
            return None
        return {
            "prompt_tokens": given,
            "completion_tokens": output,
            "total_tokens": given + output,
            "prompt_tokens_details": {"cached_tokens": self.reply.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": self.reply.reasoning},
        }

    # chat/completions

    def chat(self) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self.calls or self.reply.refusal else self.reply.text,
            "refusal": self.reply.refusal,
        }
        if self.calls:
            message["tool_calls"] = self._tool_calls()
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        return self._with_usage(
            {
                "id": f"chatcmpl-{self.number}",
                "object": "chat.completion",
                **self._top,
                "choices": [choice],
                "service_tier": self.reply.service_tier,
                "system_fingerprint": "fp_test",
            }
        )

    def _tool_calls(self) -> list[dict[str, Any]]:
        return [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id_, name, arguments in self.calls
        ]

    def _with_usage(self, body: dict[str, Any]) -> dict[str, Any]:
        usage = self._usage()
        return body if usage is None else {**body, "usage": usage}

    def chat_chunks(self) -> Iterator[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in _pieces(self.reply.text)]
        deltas += [{"refusal": piece} for piece in _pieces(self.reply.refusal or "")]
        for place, call in enumerate(self._tool_calls()):
            arguments = call["function"].pop("arguments")
            call["function"]["arguments"] = ""
            deltas.append({"tool_calls": [{"index": place, **call}]})
            deltas += [
                {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}
                for piece in _pieces(arguments)
            ]
        choices: list[dict[str, Any]] = [
            {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
        ]
        choices.append({"index": 0, "delta": {}, "finish_reason": self._finish})
        yield from self._chunks("chat.completion.chunk", choices)

    def _chunks(self, kind: str, choices: list[dict[str, Any]]) -> Iterator[bytes]:
        top: dict[str, Any] = {
            "id": f"chatcmpl-{self.number}",
            "object": kind,
            **self._top,
            "service_tier": self.reply.service_tier,
        }
        options = self.request.get("stream_options") or {}
        wanted = options.get("include_usage") and self.reply.usage
        extra: dict[str, Any] = {"usage": None} if wanted else {}
        for choice in choices:
            yield _event({**top, "choices": [choice], **extra})
        if wanted:
            yield _event({**top, "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    # completions

    def completion(self) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": 0,
            "text": self.reply.text,
            "logprobs": None,
            "finish_reason": self._finish,
        }
        top = {"id": f"cmpl-{self.number}", "object": "text_completion", **self._top}
        return self._with_usage({**top, "choices": [choice]})

    def completion_chunks(self) -> Iterator[bytes]:
        pieces = _pieces(self.reply.text)
        choices = [{"index": 0, "text": piece, "finish_reason": None} for piece in pieces]
        choices.append({"index": 0, "text": "", "finish_reason": self._finish})
        yield from self._chunks("text_completion", choices)

    # embeddings

    def embeddings(self) -> dict[str, Any]:
        asked = self.request.get("input")
        texts = asked if isinstance(asked, list) else [asked]
        tokens = max(words(asked), 1)
        body = {
            "object": "list",
            "model": self.model,
            "data": [
                {"object": "embedding", "index": place, "embedding": self._vector(text)}
                for place, text in enumerate(texts)
            ],
        }
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {**body, "usage": usage} if self.reply.usage else body

    def _vector(self, text: object) -> list[float] | str:
        code = zlib.crc32(str(text).encode())
        vector = [(code >> shift & 255) / 256 for shift in (0, 8, 16)]
        if self.request.get("encoding_format") == "base64":
            return base64.b64encode(struct.pack("<3f", *vector)).decode()
        return vector

    # responses

    def response(self, status: str = "completed") -> dict[str, Any]:
        done = status == "completed"
        given, output = self._counts()
        usage = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": self.reply.cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": self.reply.reasoning},
            "total_tokens": given + output,
        }
        return {
            "id": f"resp_{self.number}",
            "object": "response",
            "created_at": 1_790_000_000 + self.number,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": self.request.get("instructions"),
            "model": self.model,
            "output": self._items() if done else [],
            "parallel_tool_calls": True,
            "previous_response_id": self.request.get("previous_response_id"),
            "service_tier": self.reply.service_tier if done else "auto",
            "temperature": 1.0,
            "text": self.request.get("text") or {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": self.request.get("tools") or [],
            "top_p": 1.0,
            "usage": usage if done and self.reply.usage else None,
            "metadata": {},
        }

    def _items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = [
            {
                "type": "function_call",
                "id": f"fc_{id_}",
                "call_id": id_,
                "name": name,
                "arguments": arguments,
                "status": "completed",
            }
            for id_, name, arguments in self.calls
        ]
        if self.reply.refusal is not None:
            items.append(self._message({"type": "refusal", "refusal": self.reply.refusal}))
        elif self.reply.text or not items:
            items.append(self._message(_output_text(self.reply.text)))
        return items

    def _message(self, part: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "message",
            "id": f"msg_{self.number}",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }

    def response_events(self) -> Iterator[bytes]:
        events: list[tuple[str, dict[str, Any]]] = [
            ("created", {"response": self.response("in_progress")}),
            ("in_progress", {"response": self.response("in_progress")}),
        ]
        for place, item in enumerate(self._items()):
            at = {"output_index": place}
            empty: dict[str, Any] = {"content": []}
            if item["type"] == "function_call":
                empty = {"arguments": ""}
            begun = {**item, **empty, "status": "in_progress"}
            events.append(("output_item.added", {**at, "item": begun}))
            events += [(kind, {**at, "item_id": item["id"], **more}) for kind, more in _inner(item)]
            events.append(("output_item.done", {**at, "item": item}))
        events.append(("completed", {"response": self.response()}))
        for number, (kind, fields) in enumerate(events):
            name = f"response.{kind}"
            event = _event({"type": name, "sequence_number": number, **fields})
            yield f"event: {name}\n".encode() + event


def _inner(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events between the beginning and the end of one output item."""
    if item["type"] == "function_call":
        for piece in _pieces(item["arguments"]):
            yield "function_call_arguments.delta", {"delta": piece}
        done = {"name": item["name"], "arguments": item["arguments"]}
        yield "function_call_arguments.done", done
        return
    part = item["content"][0]
    at = {"content_index": 0}
    if part["type"] == "refusal":
        yield "content_part.added", {**at, "part": {"type": "refusal", "refusal": ""}}
        for piece in _pieces(part["refusal"]):
            yield "refusal.delta", {**at, "delta": piece}
        yield "refusal.done", {**at, "refusal": part["refusal"]}
    else:
        yield "content_part.added", {**at, "part": _output_text("")}
        for piece in _pieces(part["text"]):
            yield "output_text.delta", {**at, "delta": piece, "logprobs": []}
        yield "output_text.done", {**at, "text": part["text"], "logprobs": []}
    yield "content_part.done", {**at, "part": part}


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _pieces(text: str) -> list[str]:
    """A text cut where a stream would: after each word."""
    return re.findall(r"\s*\S+\s?|\s+", text)


def _error_body(reply: Reply, request: dict[str, Any]) -> bytes:
    type_, code, param, message = ERRORS.get(
        reply.status, ("invalid_request_error", None, None, "")
    )
    return _dump(
        {
            "error": {
                "message": (reply.message or message).replace("{model}", str(request.get("model"))),
                "type": type_,
                "param": param if reply.param is None else reply.param,
                "code": (code if reply.code is None else reply.code) or None,
            }
        }
    )


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + _dump(data) + b"\n\n"


def _dump(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can escape
        return json.dumps(value).encode()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # It may be closed already.
        connection.shutdown(socket.SHUT_RDWR)
