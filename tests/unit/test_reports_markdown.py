"""The Markdown report as text: complete, short enough, and with nothing that Markdown obeys."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from pytest_tiers.findings import Gate, GateReason
from pytest_tiers.reports.github import marks
from pytest_tiers.reports.markdown import escaped, parts
from tests.unit.summaries import hostile, prompt, safe, small_suite, support_desk


def test_every_prompt_has_its_rows() -> None:
    summary = support_desk()
    text = "".join(parts(summary))
    rows = [line for line in text.split("\n") if line.startswith("| ")][2:]
    assert len(rows) == sum(len(prompt.comparisons) for prompt in summary.prompts)
    assert all(row.count(" | ") == 8 for row in rows)


def test_a_large_suite_fits_a_comment() -> None:
    summary = small_suite()
    many = tuple(prompt(f"tests/test_{n}.py::test_it", safe()) for n in range(3000))
    text = "".join(parts(replace(summary, prompts=many)))
    assert len(text) < 65_536
    assert "2,850 more rows" in text


def test_hostile_text_is_text() -> None:
    text = "".join(parts(hostile()))
    assert "<script" not in text
    assert escaped("a|b `c` @me <b> [x](y) *z*") == (
        "a&#124;b &#96;c&#96; &#64;<!-- -->me &lt;b&gt; &#91;x&#93;(y) &#42;z&#42;"
    )


def test_no_text_calls_a_person_or_becomes_a_link() -> None:
    assert escaped("o/r#12 https://x.test WWW.x.test javascript:a v1.5 &#64;me") == (
        "o/r&#35;<!-- -->12 https&#58;<!-- -->//x.test WWW&#46;<!-- -->x.test javascript:a v1.5 "
        "&amp;&#35;<!-- -->64;me"
    )


def test_a_failure_without_a_test_has_no_place() -> None:
    reason = GateReason("no-test", "tests/a,b.py::test%", "mini", nodeid="n")
    summary = replace(support_desk(), gate=Gate((reason,)))
    [bare] = marks(summary, {}, Path("/w"))
    assert bare.startswith("::error title=pytest-tiers::tests/a,b.py::test%25 on mini: ")
    [placed] = marks(summary, {"n": (Path("/w/tests/a,b.py"), 4)}, Path("/w"))
    assert placed.startswith("::error file=tests/a%2Cb.py,line=5,title=")
    [outside] = marks(summary, {"n": (Path("/x/a.py"), None)}, Path("/w"))
    assert outside.startswith("::error file=/x/a.py,line=1,title=")
