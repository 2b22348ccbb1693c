"""Whatever a model says appears as text, and neither harms a report nor the run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

Report = Callable[[], dict[str, Any]]

#: What a hostile model may say, by the word that asks for it.
HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)></td></table>",
    "markdown": "@octocat #1 | `code` | [x](javascript:alert(1)) https://x.test",
    "cdata": "]]> &amp; <![CDATA[ <!-- -->",
    "ansi": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J",
    "long": "x" * 1_000_000,
    "bidi": "safe \u202etxt.exe\u2066 \u200b\ufeff",
    "surrogate": "half \ud83d only",
    "control": "nul \x00 bell \x07 back \x08 \x85 \u2028 end",
}

#: How the hostile part of each must look where text is shown.
SHOWN = {
    "markdown": "@octocat #1 | `code` | [x](javascript:alert(1)) https://x.test",
    "markup": "<script>alert(1)</script>",
    "cdata": "]]> &amp; <![CDATA[",
    "ansi": r"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J",
    "bidi": r"safe \u202etxt.exe\u2066 \u200b\ufeff",
    "surrogate": "half \N{REPLACEMENT CHARACTER} only",
    "control": r"nul \x00 bell \x07 back \x08 \x85 \u2028 end",
}

TESTS = """
import pytest
from app import ask

WORDS = {words}

@pytest.mark.parametrize("word", WORDS)
def test_asserts(tier, word):
    said = ask(word)
    print(said)
    assert said == "OK", said

@pytest.mark.parametrize("word", WORDS)
def test_compares(tier, word):
    tier.compare([ask(word)] if word == "bidi" else ask(word))
"""

ARGS = (
    "--tiers=nano,full",
    "--tiers-report=out.json",
    "--tiers-report=out.html",
    "--tiers-report=out.md",
    "--junitxml=out.xml",
    "-v",
    "-rA",
)


def hostile(request: dict[str, Any]) -> str:
    word = request["messages"][0]["content"]
    return HOSTILE[word] if request["model"] == "nano-model" else "OK"


class _Seen(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


#: Characters that no report may hold: controls save line feed and tab, marks that reverse text.
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["serial", "workers"])
def test_hostile_answers_appear_as_text(
    project: pytest.Pytester, server: OpenAIServer, report: Report, workers: tuple[str, ...]
) -> None:
    server.answer = hostile
    project.makepyfile(test_it=TESTS.format(words=list(HOSTILE)))
    run = project.runpytest_subprocess if workers else project.runpytest
    recorded = run(*ARGS, *workers)
    assert recorded.ret == 0
    outcomes = {trial["outcome"] for trial in report()["trials"] if trial["tier"] == "nano"}
    assert outcomes == {"missed"}
    assert len(report()["trials"]) == 4 * len(HOSTILE)

    page = Path(project.path, "out.html").read_text(encoding="utf-8")
    assert len(page) < 1_000_000
    seen = _Seen(page)
    assert seen.tags.isdisjoint({"script", "img", "iframe"})
    assert not seen.handlers
    assert not RAW.search(page)
    summary = recorded.stdout.str().partition("= tiers =")[2]
    for word, shown in SHOWN.items():
        assert shown in seen.text, word
    assert not RAW.search(summary)
    assert all(shown in " ".join(summary.split()) for shown in SHOWN.values())
    assert all(len(line) <= 80 for line in summary.splitlines() if line.startswith("  "))

    markdown = Path(project.path, "out.md").read_text(encoding="utf-8")
    assert not RAW.search(markdown)
    assert not re.search(r"<(script|img|/td)|@\w|#\d+(?![\d;])|\[x|://", markdown)
    assert len(markdown) < 65_536

    suite = ET.parse(project.path / "out.xml").getroot()[0]
    assert len(suite.findall("testcase")) == 4 * len(HOSTILE)
    messages = "".join(each.get("message", "") for each in suite.iter("skipped"))
    assert all(SHOWN[word] in messages for word in ("markup", "markdown", "cdata"))

    server.stop()
    replayed = run(*ARGS, *workers)
    assert replayed.ret == 0
    assert replayed.stdout.str().count("MISSED") == recorded.stdout.str().count("MISSED")
