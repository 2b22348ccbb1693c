"""The picture of a prompt's calls: its sites in order, with tier and cost."""

from __future__ import annotations

from decimal import Decimal
from xml.etree import ElementTree

from msgspec.structs import astuple, replace

from pytest_tiers.findings import PromptSummary, SiteStats
from pytest_tiers.records import CallSite, Tokens
from pytest_tiers.reports.html.flow import flow, steps
from pytest_tiers.reports.html.page import build_page
from tests.unit.summaries import HOSTILE, mix_of, prompt, run, safe


def site(label: str, share: float | None, *, named: bool = False) -> SiteStats:
    key = f"site:{label}" if named else f"{label}/1"
    return SiteStats(label, key, 40, Tokens(4000, 0, 200, 0), Decimal("0.01"), share, 0.24, 0.31)


def made(*sites: SiteStats, recommended: str | None = None) -> PromptSummary:
    return replace(prompt("p", safe("mini")), sites=sites, recommended=recommended)


def texts(one: PromptSummary) -> list[str]:
    picture = flow(one, steps(one))
    assert picture is not None
    return [each.text or "" for each in ElementTree.fromstring(picture).iter("text")]


PLAN, WRITE = site("app/agent.py:12 plan", 0.7), site("writer", 0.3, named=True)


def test_steps_in_order() -> None:
    assert texts(made(PLAN, WRITE)) == [
        *("plan", "full", "70% of cost"),
        *("writer", "full", "30% of cost"),
    ]
    assert texts(made(PLAN, WRITE, recommended="mini"))[1] == "mini"
    mix = mix_of({CallSite(PLAN.site, PLAN.key): "full", CallSite(WRITE.site, WRITE.key): "nano"})
    assert texts(replace(made(PLAN, WRITE, recommended="mini"), mix=mix))[1::3] == ["full", "nano"]
    unknown = made(site("a.py:1 a", None), site("b.py:2 b", None))
    assert texts(unknown)[2] == "unknown of cost"


def test_one_step_needs_no_picture_but_has_its_numbers() -> None:
    one = made(PLAN)
    assert flow(one, steps(one)) is None
    (step,) = steps(one)
    assert astuple(step.row) == (
        "app/agent.py:12 plan",
        "40",
        "70%",
        "4,000 in, 200 out",
        "0.24 s",
        "0.31 s",
    )


def test_many_steps_stand_in_rows() -> None:
    one = made(*(site(f"app.py:{number} step_{number}", 0.05) for number in range(20)))
    picture = ElementTree.fromstring(flow(one, steps(one)) or "")
    boxes = [each for each in picture.iter("rect") if each.get("class", "").startswith("step")]
    assert len(boxes) == 12
    assert {each.get("x") for each in boxes} == {"0", "158", "316", "474"}
    assert {each.get("y") for each in boxes} == {"0", "92", "184"}
    assert len(list(picture.iter("polygon"))) == 11


def test_names_that_would_break_the_page() -> None:
    one = made(*(site(text, 0.1, named=True) for text in HOSTILE[:6]))
    assert len(texts(one)) == 18
    (page_prompt,) = build_page(run(one)).prompts
    assert page_prompt.flow is not None
    assert "<script>" not in page_prompt.flow
