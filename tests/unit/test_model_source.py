"""Where the model of a call is written, by the lines that made the call."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tiers.application.model_source import ModelFinder
from pytest_tiers.findings import ModelSource
from pytest_tiers.override.sources import SourceFile
from pytest_tiers.records import CallSite


def find(folder: Path, source: str | bytes, *lines: tuple[int, str]) -> ModelSource:
    """The source of "gpt-5.4" in a file ``app.py``; ``lines`` are numbers and functions."""
    path = folder / "app.py"
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    finder = ModelFinder(lambda name: SourceFile(path, name))
    return finder.find([CallSite(f"app.py:{n} {name}", "key/1") for n, name in lines], "gpt-5.4")


def said(found: ModelSource) -> tuple[str, str, int | None]:
    return found.kind, found.text, found.line


ONE_LINE = 'def ask(text):\n    return client.create(model="gpt-5.4", input=text)\n'


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (ONE_LINE, 2),
        (ONE_LINE.replace('"', "'"), 2),
        ('client.chat.create(\n    messages=[],\n    model="gpt-5.4",\n)\n', 1),
        ('(client\n .chat\n .create(model="gpt-5.4"))\n', 3),
        ('tidy(create(model="gpt-5.4"), model="other")\n', 1),
        ('x = [create(model="other"),\n     create(model="gpt-5.4")]\n', 2),
    ],
)
def test_a_literal_in_the_call(tmp_path: Path, source: str, line: int) -> None:
    found = find(tmp_path, source, (line, "ask"))
    assert found.kind == "literal"
    assert found.span is not None
    start, end = found.span
    assert source[start:end].strip("'\"") == "gpt-5.4"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-8 crlf"])
def test_the_bytes_of_a_literal(tmp_path: Path, encoding: str) -> None:
    name, _, crlf = encoding.partition(" ")
    source = f'# -*- coding: {name} -*-\nask("äöü", model="gpt-5.4")  # ß\n'
    if crlf:
        source = source.replace("\n", "\r\n")
    content = source.encode(name)
    found = find(tmp_path, content, (2, "<module>"))
    assert found.span is not None
    assert content[slice(*found.span)] == b'"gpt-5.4"'


@pytest.mark.parametrize(
    "source",
    [
        'ask(model="gpt" "-5.4")\n',
        'ask(model=r"gpt-5.4")\n',
        'ask(model="""gpt-5.4""")\n',
        'ask(model="gpt\\x2d5.4")\n',
        'ask(model="gpt-5.4"), ask(model="gpt-5.4")\n',
    ],
)
def test_a_literal_that_cannot_simply_be_exchanged(tmp_path: Path, source: str) -> None:
    found = find(tmp_path, source, (1, "<module>"))
    assert (found.kind, found.span) == ("literal", None)


CALL = "    return client.create(model=model)\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('MODEL = "gpt-5.4"\ndef ask():\n    create(model=MODEL)\n', ("constant", "MODEL", 1)),
        (
            'MODEL: str = "gpt-5.4"\ndef ask():\n    create(model=MODEL)\n',
            ("constant", "MODEL", 1),
        ),
        ('def ask():\n    m = "gpt-5.4"\n    create(model=m)\n', ("variable", "m", 2)),
        (
            "\nfrom .config import MODEL\ncreate(model=MODEL)\n",
            ("imported", "MODEL of .config", 3),
        ),
        ("\n\ncreate(model=self.model)\n", ("attribute", "self.model", 3)),
        ("\n\ncreate(model=a or b)\n", ("computed", "a or b", 3)),
        ("\n\ncreate(**request)\n", ("computed", "**request", 3)),
        ('\n\ncreate(model=os.environ["MODEL"])\n', ("environment", "MODEL", 3)),
        ('\n\ncreate(model=os.getenv("M", "gpt-5.4"))\n', ("environment", "M", 3)),
        ('import os\nM = os.environ.get("X") or "y"\ncreate(model=M)\n', ("environment", "X", 2)),
        ('M = "gpt-5.4"\nM += ""\ncreate(model=M)\n', ("computed", "M", 1)),
        ('\n\ncreate(model="other")\n', ("unknown", "'other'", 3)),
        ('llm = LLM(model="gpt-5.4")\n\nllm.invoke("text")\n', ("unknown", "gpt-5.4", 1)),
        ("\n\ninvoke()\n", ("unknown", "", None)),
        ("\n\n\n", ("unknown", "", None)),
        ("not python\n", ("unknown", "", None)),
    ],
)
def test_where_it_comes_from(
    tmp_path: Path, source: str, expected: tuple[str, str, int | None]
) -> None:
    assert said(find(tmp_path, source, (3, "ask"))) == expected


WRAPPER = (
    'def chat(text, model="gpt-5.4"):\n' + CALL + "\n\n" + "def plan(text):\n    return chat({})\n"
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('text, model="gpt-5.4"', ("literal", "'gpt-5.4'", 6)),
        ('text, "gpt-5.4"', ("literal", "'gpt-5.4'", 6)),
        ("text", ("default", "model of chat()", 1)),
        ("text, MODEL", ("computed", "MODEL", 6)),
        ("*everything", ("argument", "model of chat()", 1)),
        ("text, **options", ("argument", "model of chat()", 1)),
    ],
)
def test_a_wrappers_argument(
    tmp_path: Path, arguments: str, expected: tuple[str, str, int | None]
) -> None:
    found = find(tmp_path, WRAPPER.format(arguments), (2, "chat"), (6, "plan"))
    assert said(found) == expected


def test_a_wrapper_that_a_test_calls(tmp_path: Path) -> None:
    assert said(find(tmp_path, WRAPPER, (2, "chat"))) == ("default", "model of chat()", 1)
    other = WRAPPER.replace("gpt-5.4", "gpt-4.1")
    assert said(find(tmp_path, other, (2, "chat"))) == ("argument", "model of chat()", 1)


def test_a_method_and_a_comprehension(tmp_path: Path) -> None:
    source = (
        "class Desk:\n    def ask(self, model):\n"
        "        return [create(model=model) for _ in range(2)]\n\n"
        'def run(desk):\n    desk.ask("gpt-5.4")\n'
    )
    lines = ((3, "<listcomp>"), (3, "ask"), (6, "run"))
    assert find(tmp_path, source, *lines).kind == "literal"
    # From Python 3.12 on a comprehension has no frame of its own.
    assert find(tmp_path, source, *lines[1:]).kind == "literal"


def test_a_default_that_names_itself(tmp_path: Path) -> None:
    source = "def chat(model=model):\n" + CALL
    assert find(tmp_path, source, (2, "chat")).kind == "computed"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    finder = ModelFinder(lambda name: SourceFile(tmp_path / name, name))
    assert finder.find([CallSite("gone.py:1 ask", "key/1")], "gpt-5.4").kind == "unknown"
    assert finder.find([], "gpt-5.4").kind == "unknown"
