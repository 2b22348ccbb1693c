"""Cassettes read back byte for byte, load in plain vcrpy, and can be read in a review."""

from __future__ import annotations

import gzip
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

from pytest_tiers.cassettes import plain_yaml
from pytest_tiers.cassettes.format import Cassette, RecordedCall, Recording, load
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.scrub import Scrubber
from pytest_tiers.cassettes.unused import read_index
from pytest_tiers.cassettes.writing import dump, recorded_call
from pytest_tiers.errors import CassetteError

ABOUT = {"model": "nano-model", "recorded_at": "2026-11-23T10:00:00Z", "seconds": 0.25}
URL = "https://api.example.com/v1/chat/completions"


def call(
    answer: bytes = b"{}", request: bytes = b"{}", headers: dict[str, Any] | None = None
) -> RecordedCall:
    sent = SentRequest("POST", URL, {"content-type": "application/json"}, request)
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": headers or {"Content-Type": ["application/json"]},
        "body": {"string": answer},
    }
    return recorded_call(sent, response, ABOUT, Scrubber())


def cassette(*calls: RecordedCall) -> Cassette:
    return Cassette("tests/test_it.py::test_it", "nano", {("case", 1): Recording(calls)})


def read_back(text: str) -> Cassette:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cassette.yaml")
        path.write_bytes(text.encode())
        return load(path)


def test_generations_are_kept_and_take_a_line_only_where_there_are_any() -> None:
    plain = cassette(call())
    assert "generation" not in dump(plain)
    anew = Cassette(plain.function, "nano", {("case", 1): Recording((call(),), generation=3)})
    assert dump(anew).count("generation: 3\n") == 1
    assert read_back(dump(anew)) == anew


def test_a_generation_is_a_number() -> None:
    anew = Cassette("t.py::test", "nano", {("case", 1): Recording((call(),), generation=3)})
    with pytest.raises(CassetteError, match="often"):
        read_back(dump(anew).replace("generation: 3", "generation: often"))


def read_by_vcr(text: str) -> tuple[list[Any], list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cassette.yaml")
        path.write_bytes(text.encode())
        requests, responses, _ = FilesystemPersister.load_cassette(path, yamlserializer)
    return requests, responses


def through_a_file(body: bytes) -> bytes:
    """The body after being recorded, written and read; plain vcrpy must read the same."""
    text = dump(cassette(call(body, body)))
    (recording,) = read_back(text).recordings.values()
    requests, responses = read_by_vcr(text)
    read = recording.calls[0].body
    assert recording.calls[0].request.body == read
    assert responses[0]["body"]["string"] == read
    assert (requests[0].body or b"") == read
    return read


TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("\x85\u2028\u2029\r\n\t \ufeff😀你"))


@given(st.binary())
def test_any_bytes_read_back(body: bytes) -> None:
    read = through_a_file(body)
    assert read == body or json.loads(read) == json.loads(body)


@given(TEXTS.filter(lambda text: text[:1] not in ("{", "[")))
@example("data: 你好 😀\n\ndata: [DONE]\n\n")
@example("trailing spaces  \n\ttab\n")
@example("CRLF\r\nand CR\rand NEL\x85and LS\u2028\n")
@example("  leading spaces\nnext")
@example("\n\n leading line breaks")
@example("no line break at the end\nof this")
@example("# no comment: 'quotes' \"and\" --- {marks}\n...\n---\n")
@example("\ufeffbyte order mark\n")
@example("\x00\x07 control characters\x7f\n")
@example("yes")
@example("1e3")
@example("null")
@example("2026-01-01")
def test_any_text_reads_back_exactly(text: str) -> None:
    assert through_a_file(text.encode()) == text.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.characters(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=3) | st.dictionaries(TEXTS, JSON, max_size=3), st.booleans())
def test_any_json_reads_back_as_the_same_value(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    body = text.encode("utf-8", "surrogatepass")
    read = through_a_file(body)
    assert read == body or repr(json.loads(read)) == repr(value)


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1e400}',
        '{"a": 0.1000000000000000055511151231257827}',
        '{"a": 12345678901234567890.12345678901234567890}',
        f'{{"a": {"9" * 5000}}}',
        "[" * 100_000,
        "not json",
        '"one string"',
        "12",
        "",
    ],
    ids=[
        "repeated key",
        "beyond a float",
        "more digits than a float has",
        "a long decimal",
        "5000 digits",
        "too deep",
        "no json",
        "a string",
        "a number",
        "nothing",
    ],
)
def test_what_python_would_change_is_left_as_it_came(body: str) -> None:
    assert through_a_file(body.encode()) == body.encode()


def test_json_is_indented_and_text_stays_in_its_own_script() -> None:
    body = '{"text": "\\u4f60\\u597d 😀 \\"q\\"", "n": [1.50, 123456789012345678901234567890]}'
    text = dump(cassette(call(body.encode())))
    block = """\
      string: |-
        {
          "text": "你好 😀 \\"q\\"",
          "n": [
            1.5,
            123456789012345678901234567890
          ]
        }
"""
    assert block in text


@pytest.mark.parametrize("odd", ["\\ud83d", "\\u2028", "\\u0085", "\\u007f", "\\ufeff", "\\udbff"])
def test_one_odd_character_leaves_the_rest_readable(odd: str) -> None:
    body = f'{{"odd": "{odd}", "text": "\\u4f60\\n"}}'
    text = dump(cassette(call(body.encode())))
    assert f'"odd": "{odd}",\n' in text
    assert '"text": "你\\n"\n' in text
    assert json.loads(through_a_file(body.encode())) == json.loads(body)


def test_a_stream_is_written_as_its_lines() -> None:
    stream = 'data: {"delta": "你 "}\n\ndata: [DONE]\n\n'
    text = dump(cassette(call(stream.encode())))
    assert 'string: |+\n        data: {"delta": "你 "}\n\n        data: [DONE]\n' in text


def test_one_answer_that_no_block_can_hold_leaves_the_others_as_they_are() -> None:
    readable, odd = call(b'{"a": [1, 2]}'), call("line\u2028separator\n".encode())
    alone, both = dump(cassette(readable)), dump(cassette(readable, odd))
    part = alone[alone.index("- request") : alone.index("metadata")]
    assert part in both


def test_adding_a_case_changes_only_its_part() -> None:
    before = cassette(call(b'{"a": 1}'))
    after = cassette(call(b'{"a": 1}'))
    after.recordings["other", 1] = Recording((call(b'{"b": 2}'),))
    old, new = dump(before).splitlines(), dump(after).splitlines()
    added = [line for line in new if line not in old]
    assert not [line for line in old if line not in new]
    assert any('"b": 2' in line for line in added)
    assert len(new) - len(old) < 40


def test_cases_stand_in_fixed_order_whatever_order_they_were_recorded_in() -> None:
    keys = [("a", 1), ("a", 2), ("b", 1)]
    texts = set()
    for order in (keys, keys[::-1]):
        made = cassette()
        made.recordings = {key: Recording((call(repr(key).encode()),)) for key in order}
        texts.add(dump(made))
    assert len(texts) == 1
    assert re.findall(r"case: (\w)\n\s+sample: (\d)", texts.pop()) == [
        ("a", "1"),
        ("a", "2"),
        ("b", "1"),
    ]


def test_what_was_not_finished_is_kept_beside_a_complete_recording() -> None:
    made = cassette(call(b"old"))
    made.unfinished["case", 1] = Recording((call(b"new"),), complete=False)
    read = read_back(dump(made))
    assert [found.body for found in read.recordings["case", 1].calls] == [b"old"]
    assert [found.body for found in read.unfinished["case", 1].calls] == [b"new"]
    assert not read.unfinished["case", 1].complete


@pytest.mark.parametrize("name", ["content-encoding", "Content-Encoding"])
def test_a_compressed_answer_is_written_as_text(name: str) -> None:
    headers = {name: ["gzip"], "content-type": ["application/json"]}
    recorded = call(gzip.compress(b'{"a":"\xc3\xa9"}'), headers=headers)
    assert recorded.body.decode() == '{\n  "a": "é"\n}'
    assert recorded.interaction["response"]["headers"] == {"content-type": ["application/json"]}


def test_an_answer_that_the_client_has_decompressed_stays() -> None:
    recorded = call(b"plain", headers={"content-encoding": ["gzip"]})
    assert (recorded.body, recorded.interaction["response"]["headers"]) == (b"plain", {})


def test_an_answer_in_an_encoding_that_nobody_here_knows_keeps_it() -> None:
    recorded = call(b"\x01\x02", headers={"content-encoding": ["x-rot13"]})
    assert recorded.body == b"\x01\x02"
    assert recorded.interaction["response"]["headers"] == {"content-encoding": ["x-rot13"]}
    assert through_a_file(b"\x01\xff") == b"\x01\xff"


def test_secrets_are_in_no_part_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-1234567890abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    sent = SentRequest(
        "POST",
        f"https://me:pass@host/v1/chat/completions?key=hidden&x={secret}",
        {"authorization": f"Bearer {secret}", "cookie": "session=hidden"},
        f'{{"messages": "{secret}"}}'.encode(),
    )
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"set-cookie": ["a=hidden"], "openai-organization": ["hidden"]},
        "body": {"string": f'{{"error": "no such key {secret}"}}'.encode()},
    }
    text = dump(cassette(recorded_call(sent, response, {}, Scrubber())))
    assert secret not in text
    assert "hidden" not in text
    assert "pass@" not in text
    assert text.count("<OPENAI_API_KEY>") == 3


@pytest.mark.parametrize(
    ("asked", "is_kept"),
    [
        (b'{"model": "m", "messages": []}', True),
        (b'{"contents": [{"parts": []}]}', True),
        (b'{"model": "m", "input": "text"}', True),
        (b'{"user": "me"}', False),
        (b"", False),
    ],
    ids=["chat", "another maker's", "embeddings", "a service", "nothing"],
)
def test_fields_are_hidden_by_name_where_no_model_wrote_them(asked: bytes, is_kept: bool) -> None:
    recorded = call(b'{"password": "melon", "access_token": ""}', asked)
    assert json.loads(recorded.body) == {
        "password": "melon" if is_kept else "<password>",
        "access_token": "",
    }
    asked_with_key = call(b"{}", b'{"model": "m", "headers": {"Authorization": "Bearer x"}}')
    assert b"Bearer" not in asked_with_key.request.body


# Damage

ABOUT_LINES = """\
    - model: nano-model
      recorded_at: '2026-11-23T10:00:00Z'
      seconds: 0.25
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test_it[nano].yaml"


@pytest.fixture
def good() -> str:
    return dump(cassette(call(b'{"answer": "one"}'), call(b'{"answer": "two"}')))


def test_a_missing_file_is_no_damage(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(path)
    path.write_text("")
    with pytest.raises(FileNotFoundError):
        load(path / "below a file")


#: Recorded from small models: a trial of two calls, and twelve cases of one call.
SMALL_SUITE = Path(__file__).parents[2] / "cassettes/small_suite/tests"
TWO_CALLS = SMALL_SUITE / "test_tickets/test_summary[nano].yaml"
TWELVE_CASES = SMALL_SUITE / "test_shelves/test_department[nano].yaml"


def check_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(CassetteError, match=rf"^{re.escape(str(path))}: line \d+: ") as caught:
        load(path)
    line = int(str(caught.value).removeprefix(f"{path}: line ").partition(":")[0])
    assert line <= data.count(b"\n") + 1
    with pytest.raises(CassetteError):
        read_index(path)


def test_a_cassette_that_was_cut_off_at_any_byte_is_refused(path: Path) -> None:
    whole = TWO_CALLS.read_bytes()
    assert [len(recording.calls) for recording in load(TWO_CALLS).recordings.values()] == [2]
    for length in range(len(whole)):
        check_is_refused(path, whole[:length])


def test_a_cassette_that_lost_its_last_cases_is_refused(path: Path) -> None:
    lines = TWELVE_CASES.read_bytes().splitlines(keepends=True)
    assert len(load(TWELVE_CASES).recordings) == 12
    for length in range(lines.index(b"metadata:\n"), len(lines)):
        check_is_refused(path, b"".join(lines[:length]))


@pytest.mark.parametrize(
    ("damage", "line", "said"),
    [
        (lambda text: f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> b\n", 1, "a merge conflict"),
        (lambda text: text.replace("  response:", "=======\n  response:"), 10, "a merge conflict"),
        (lambda text: text.replace("200", "!!python/object/apply:os.abort []"), 12,
         "could not determine a constructor"),
        (lambda text: text.replace("200", "!!python/name:os.abort"), 12, "not readable as YAML"),
        (lambda text: text.replace("string: |-", "string: !!python/object/new:_io.BytesIO"), 18,
         "could not determine a constructor"),
        (lambda text: text.replace("pytest-tiers: 1", "pytest-tiers: 2"), 42,
         "format 2, expected 1"),
        (lambda text: text.replace("200", "!!bool maybe"), 12, "a value does not fit its tag"),
        (lambda text: text.replace("200", "!!timestamp 'x'\n      also: &a [*a]", 1), 12,
         "a value does not fit its tag"),
        (lambda text: text.replace("200", ".inf"), 3, "cannot convert float infinity"),
        (lambda text: text.replace("sample: 1", "sample: .inf"), 46, "cannot convert float"),
        (lambda text: text.replace("seconds: 0.25", "seconds: .nan"), 46, "seconds are nan"),
        (lambda text: text.replace("message: OK", "message: &a [*a]", 1), 3, "message is [[...]]"),
        (lambda text: text.replace("method: POST", "method: 2026-11-23"), 3, "method is datetime"),
        (lambda text: text.replace("metadata:", "other:"), 1, "it has no metadata"),
        (lambda text: text[text.index("metadata:"):], 2, "'interactions' is missing"),
        (lambda text: text.replace("trials:", "others:"), 42, "'trials' is missing"),
        (lambda _: "- a list\n", 1, "another tool wrote it"),
        (lambda _: "", 1, "it is empty"),
        (lambda _: "\n \n", 1, "it is empty"),
        (lambda _: "[" * 100_000 + "\n", 1, "not readable as YAML"),
        (lambda text: text.replace("answer", "\0", 1), 20, "control characters are not allowed"),
        (lambda text: text.replace("code: 200", "code: ok"), 3, "invalid literal"),
        (lambda text: text.replace("string:", "text:"), 3, "'string' is missing"),
        (lambda text: text.replace("body: '{}'", "body: 12"), 3, "a body is 12"),
        (lambda text: text.replace("      - application/json", "        application/json"), 3,
         "header content-type is 'application/json'"),
        (lambda text: text.replace(ABOUT_LINES, "", 1), 22, "more interactions"),
        (lambda text: text.replace(ABOUT_LINES, ABOUT_LINES * 2, 1), 46, "more calls than"),
        (lambda text: text.replace("seconds: 0.25", "seconds: soon"), 46, "seconds are 'soon'"),
        (lambda text: text.replace("'2026-11-23T10:00:00Z'", "2026-11-23"), 46, "recorded_at is"),
        (lambda text: text + text[text.index("  - case"):], 55, "more calls than"),
        (lambda text: text.replace("  - case", "  - case: case\n    sample: 1\n    calls: []\n"
                                   "  - case"), 49, "a second recording of case case, sample 1"),
    ],
    ids=["conflict", "conflict inside", "call in a tag", "name in a tag", "vcr's own tag",
         "no truth", "no time", "infinite status", "infinite sample", "no number", "endless",
         "dated method", "other version", "plain vcr", "no interactions", "no trials", "list",
         "empty", "blank",
         "nested", "nul", "no status", "no answer", "number as body", "header without list",
         "call without its line", "line without its call", "no seconds", "a date", "twice",
         "two recordings"],
)  # fmt: skip
def test_a_damaged_cassette_is_refused_naming_file_and_line(
    path: Path, good: str, damage: Any, line: int, said: str
) -> None:
    broken = damage(good)
    assert broken != good
    path.write_text(broken)
    with pytest.raises(CassetteError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: line {line}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 20), ("utf-16", 1)])
def test_a_cassette_in_another_encoding_is_refused(
    path: Path, good: str, encoding: str, line: int
) -> None:
    path.write_bytes(good.replace("one", "één").encode(encoding))
    with pytest.raises(CassetteError, match=f"line {line}: not UTF-8 at byte"):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data + b"\n\n",
    ],
    ids=["line ends", "byte order mark", "more lines"],
)
def test_what_an_editor_changes_is_no_damage(path: Path, change: Any) -> None:
    path.write_bytes(change(TWO_CALLS.read_bytes()))
    assert load(path) == load(TWO_CALLS)
    assert read_index(path) == read_index(TWO_CALLS)


def test_what_is_nested_too_deep_for_the_loader_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where PyYAML was built without libyaml, which has a limit of its own.
    monkeypatch.setattr(plain_yaml, "LOADER", yaml.SafeLoader)
    path.write_text("[" * 10_000 + "\n")
    with pytest.raises(CassetteError, match="line 1: not readable as YAML: nested too deep"):
        load(path)


@pytest.mark.parametrize("more", ["&a [*a]", "[&a [x], *a]", "{one: &a {}, other: *a}"])
def test_what_stands_twice_is_refused(path: Path, good: str, more: str) -> None:
    path.write_text(good.replace("model: ", f"more: {more}\n      model: ", 1))
    with pytest.raises(CassetteError, match="it has YAML aliases, which are never written here"):
        load(path)


def test_a_folder_in_the_cassettes_place_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(CassetteError, match=r"cannot be read \(Is a directory\)"):
        load(path)


def test_the_text_is_plain_yaml(good: str) -> None:
    document = yaml.safe_load(good)
    assert document["version"] == 1
    assert document["metadata"]["trials"] == [{"case": "case", "sample": 1, "calls": [ABOUT] * 2}]
