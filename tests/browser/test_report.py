"""The HTML report in Chromium: whole, quiet, readable, and equal to the JSON report."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Open, Opened, Reports
from tests.unit.summaries import HOSTILE

THEMES = pytest.mark.parametrize("theme", ["light", "dark"])
WIDTHS = pytest.mark.parametrize("width", [1280, 400])
NAMES = pytest.mark.parametrize("name", ["support_desk", "hostile", "large"])

OPEN_DETAILS = "document.querySelectorAll('details').forEach(each => { each.open = true })"

#: Every piece of text whose contrast with what is behind it is too low for WCAG's AA.
LOW_CONTRAST = """
const channel = value => {
  value /= 255
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
}
const parse = color => color.match(/[\\d.]+/g).map(Number)
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b)
const behind = element => {
  for (let each = element; each; each = each.parentElement) {
    const color = parse(getComputedStyle(each).backgroundColor)
    if (color.length === 3 || color[3] > 0) return color
  }
  throw new Error('no background')
}
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
const found = []
let looked = 0
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement
  if (!texts.currentNode.data.trim() || ['title', 'desc'].includes(element.tagName)) continue
  const style = getComputedStyle(element)
  const color = parse(element.ownerSVGElement ? style.fill : style.color)
  const [dark, bright] = [light(color), light(behind(element))].sort((a, b) => a - b)
  looked += 1
  if ((bright + 0.05) / (dark + 0.05) < 4.5) found.push(texts.currentNode.data.trim())
}
return [looked, found]
"""


@NAMES
@THEMES
@WIDTHS
def test_it_opens_without_errors_or_requests(
    open_page: Open, reports: Reports, name: str, theme: str, width: int
) -> None:
    page = open_page(getattr(reports, name), theme=theme, width=width)
    page.run(OPEN_DETAILS)
    assert page.console() == []
    assert page.requests() == [page.url]
    # No scrolling of the page to the side; wide tables scroll in their own frames.
    page_width = page.run("return document.documentElement.clientWidth")
    assert width - 20 < page_width <= width
    assert page.run("return document.documentElement.scrollWidth") == page_width
    outside = "return [...document.querySelectorAll('pre, p, summary, h3')].filter("
    outside += (
        "each => !each.closest('.scroll') && each.getBoundingClientRect().right > innerWidth)"
    )
    assert page.run(f"{outside}.map(each => each.textContent.slice(0, 80))") == []
    assert overflowing(page) == []


@THEMES
def test_the_theme_is_the_readers(open_page: Open, reports: Reports, theme: str) -> None:
    page = open_page(reports.support_desk, theme=theme)
    ground = page.run("return getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(19, 21, 23)"}[theme]


@THEMES
@NAMES
def test_all_text_has_enough_contrast(
    open_page: Open, reports: Reports, theme: str, name: str
) -> None:
    page = open_page(getattr(reports, name), theme=theme)
    page.run(OPEN_DETAILS)
    looked, found = page.run(LOW_CONTRAST)
    assert looked > 50
    assert found == []


def overflowing(page: Opened) -> list[str]:
    """The scales and moves whose text is wider than their room."""
    wide = "each => each.scrollWidth > each.clientWidth + 1"
    places = "document.querySelectorAll('.scale, .moves')"
    found: list[str] = page.run(f"return [...{places}].filter({wide}).map(e => e.innerText)")
    return found


def test_on_paper_it_is_black_on_white(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk, theme="dark", media="print", width=720)
    style = "const style = getComputedStyle(document.documentElement);"
    assert page.run(f"{style} return [style.backgroundColor, style.color]") == [
        "rgb(255, 255, 255)",
        "rgb(0, 0, 0)",
    ]
    assert page.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    table = "return document.querySelector('table.prompts').getBoundingClientRect().right"
    assert page.run(table) <= 720
    assert page.run("return getComputedStyle(document.querySelector('.matrix')).display") == "none"
    assert overflowing(page) == []
    assert page.browser.execute_cdp_cmd("Page.printToPDF", {})["data"]


def fields(page: Opened, rows: str) -> list[dict[str, Any]]:
    """The rows that a selector finds: their first heading and their exact numbers."""
    script = """
    return [...document.querySelectorAll(arguments[0])].map(row => ({
      cells: [...row.cells].map(cell => cell.innerText),
      exact: Object.fromEntries([...row.querySelectorAll('[data-field]')].map(
        cell => [cell.dataset.field, cell.querySelector('data')?.value ?? null])),
      shown: Object.fromEntries([...row.querySelectorAll('[data-field]')].map(
        cell => [cell.dataset.field, cell.querySelector('data')?.innerText ?? null])),
    }))
    """
    found: list[dict[str, Any]] = page.run(script, rows)
    return found


def anchor(prompt: dict[str, Any]) -> str:
    return "prompt-" + prompt["id"].replace("/", "-").replace("::", "-")


def is_rounded(text: str, value: float) -> bool:
    """Whether a text such as "$0.0483", "6.9 s", "6 points" or "92%" is a value, rounded."""
    digits = text.replace(",", "").strip("$%").split()[0]
    unit = 10.0 ** -len(digits.partition(".")[2])
    exact = 100 * value if text.endswith(("%", "points", "point")) else value
    # Bounds are rounded up, everything else to the nearest.
    return abs(float(digits) - exact) <= (unit if "point" in text else unit / 2) * 1.001


def check(row: dict[str, Any], expected: dict[str, Any]) -> None:
    """A row holds these numbers, exactly in its attributes and rounded in its text."""
    assert {name: float(value) for name, value in row["exact"].items()} == {
        name: float(value) for name, value in expected.items()
    }
    for name, value in expected.items():
        assert is_rounded(row["shown"][name], float(value)), (row["shown"][name], value)


def test_the_tables_numbers_are_those_of_the_json_report(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk)
    compared = 0
    for prompt in reports.json["prompts"]:
        link = f"table.prompts tbody:has(a[href='#{anchor(prompt)}']) tr"
        rows = fields(page, link)
        for row, (tier, comparison) in zip(rows, prompt["comparisons"].items(), strict=True):
            stats = prompt["tiers"][tier]
            check(
                row,
                {
                    "saving": comparison["saving"],
                    "largest_drop": comparison["largest_drop"],
                    "usd_per_1000": stats["usd_per_1000"],
                },
            )
            assert comparison["verdict"] in row["cells"]
            assert f"{stats['passed']}/{stats['trials']}" in row["cells"]
            compared += 1
    assert compared == 16


def test_each_prompts_numbers_are_those_of_the_json_report(
    open_page: Open, reports: Reports
) -> None:
    page = open_page(reports.support_desk)
    for prompt in reports.json["prompts"]:
        rows = fields(page, f"[id='{anchor(prompt)}'] table.tiers:not(.sites) tbody tr")
        assert [row["cells"][0] for row in rows] == list(prompt["tiers"])
        for row, stats in zip(rows, prompt["tiers"].values(), strict=True):
            expected = {name: stats["seconds"][name] for name in ("p50", "p95")}
            expected["pass_rate"] = stats["pass_rate"]["estimate"]
            check(row, {**expected, "usd_per_1000": stats["usd_per_1000"]})


def test_latencies_are_those_of_the_json_report(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk)
    rows = fields(page, "section[aria-labelledby=latency] tbody tr")
    assert [row["cells"][0] for row in rows] == ["nano", "mini", "full"]
    for row, entry in zip(rows, reports.json["ladder"], strict=True):
        check(row, entry["seconds"])


def test_the_top_says_what_the_json_report_says(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk)
    save, sure, do = page.run(
        "return [...document.querySelectorAll('.statements > div')].map(each => each.innerText)"
    )
    savings = reports.json["savings"]
    proven = float(savings["flagship_usd_per_month"]) - float(savings["recommended_usd_per_month"])
    assert f"{savings['share']:.0%} of the cost, ${proven:.2f} a month" in save
    for key in ("flagship_usd_per_1000", "recommended_usd_per_1000", "flagship_usd_per_month"):
        assert f"${float(savings[key]):.2f}" in save
    assert f"{reports.json['settings']['confidence']:.0%} confidence" in sure
    movable = [prompt for prompt in reports.json["prompts"] if prompt["recommended"]]
    assert f"{len(movable)} of {len(reports.json['prompts'])} prompts" in sure
    for prompt in movable:
        name = prompt["id"].rpartition("::")[2]
        saving = prompt["comparisons"][prompt["recommended"]]["saving"]
        line = next(each for each in do.splitlines() if each.startswith(f"{name} → "))
        assert line.startswith(f"{name} → {prompt['recommended']}")
        assert f"saves {saving:.0%}, " in line


def test_matrices_and_differing_cases_are_those_of_the_json_report(
    open_page: Open, reports: Reports
) -> None:
    page = open_page(reports.support_desk)
    page.run(OPEN_DETAILS)
    ended: dict[tuple[str, str], dict[str, str]] = {}
    for trial in reports.json["trials"]:
        ended.setdefault((trial["prompt"], trial["case"]), {})[trial["tier"]] = trial["outcome"]
    for prompt in reports.json["prompts"]:
        section = f"[id='{anchor(prompt)}']"
        matrix = {
            row["cells"][0]: row["cells"][1:] for row in fields(page, f"{section} .matrix tbody tr")
        }
        cases = {case: tiers for (id, case), tiers in ended.items() if id == prompt["id"]}
        assert matrix == {case: list(tiers.values()) for case, tiers in cases.items()}
        shown = page.run(
            f'return [...document.querySelectorAll("{section} details.case summary bdi")]'
            ".map(each => each.innerText)"
        )
        differing = [
            case
            for case, tiers in cases.items()
            if any((end == "passed") != (tiers["full"] == "passed") for end in tiers.values())
        ]
        assert shown == differing


def test_a_differing_case_shows_request_and_answers(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk)
    page.run(OPEN_DETAILS)
    section = "[id='prompt-tests-test_orders.py-test_order_id'] details.case"
    request, full, nano = page.run(
        f"return [...document.querySelector(\"{section}\").querySelectorAll('pre')]"
        ".map(each => each.innerText)"
    )
    assert request.endswith("user:\nParcel TRK8842 for ORD-14093 is stuck in customs.")
    assert (full, nano) == ('{"order_id": "ORD-14093"}', '{"order_id": "TRK-8842"}')
    marked = f"return [...document.querySelector(\"{section}\").querySelectorAll('mark')]"
    assert page.run(f"{marked}.map(each => each.innerText)") == [
        "ORD",
        "14093",
        "TRK",
        "8842",
    ]


def test_hostile_text_is_shown_and_nothing_else_happens(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.hostile)
    page.run(OPEN_DETAILS)
    assert page.browser.title == "Model tiers: what you can save"
    assert page.run("return document.querySelectorAll('script, img, iframe, object').length") == 0
    # What follows the hostile texts still stands where it belongs, and can be seen.
    assert page.run("return document.querySelector('#about').closest('main') !== null")
    shown = page.run("return [...document.querySelectorAll('pre')].map(each => each.innerText)")
    assert [text for text in HOSTILE[:3] if text not in shown] == []
    assert "\\x1b[31mred\\x1b[0m nul\\x00 bell\\x07" in shown
    assert "\\u202egnp.exe\\u2066 \\u2028 \\ufeff" in shown
    assert "half \ufffd of an emoji" in shown
    assert page.run("return [...document.querySelectorAll('pre b, pre img')].length") == 0


def test_no_script_can_run_even_if_one_got_in(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk)
    page.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://x.test/\" "
        'onerror="document.title = 1">\');'
        "const script = document.createElement('script');"
        "script.textContent = 'document.title = 2'; document.body.append(script)"
    )
    assert page.browser.title == "Model tiers: what you can save"
    refused = page.console()
    assert len(refused) >= 2
    assert all("Content Security Policy" in message for message in refused)


def test_links_to_prompts_and_cases_work(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk)
    for prompt in reports.json["prompts"]:
        link = page.browser.find_element(
            By.CSS_SELECTOR, f"table.prompts a[href='#{anchor(prompt)}']"
        )
        page.run("arguments[0].click()", link)
        top = "return document.querySelector(':target').getBoundingClientRect().top"
        assert page.run("return document.querySelector(':target').id") == anchor(prompt)
        assert -1 <= page.run(top) < 900
    assert page.run("return document.querySelectorAll('a[href^=\"#case-\"]').length") > 50
    page.run("document.querySelector('.matrix:has(a)').open = true")
    page.run("document.querySelector('.matrix a').click()")
    assert page.run("return document.querySelector(':target').matches('details.case')")
    # Another reader opens the same link directly.
    there = page.run("return location.href")
    page.browser.get("about:blank")
    page.browser.get(there)
    assert page.run("return document.querySelector(':target') !== null")


def test_the_keyboard_reaches_everything_and_focus_shows(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk)

    def press(key: str) -> None:
        page.browser.switch_to.active_element.send_keys(key)

    press(Keys.TAB)
    focus = "const each = document.activeElement; const style = getComputedStyle(each);"
    assert page.run(f"{focus} return each.className") == "skip"
    assert page.run(f"{focus} return each.getBoundingClientRect().left") >= 0
    press(Keys.ENTER)
    assert page.run("return location.hash") == "#main"
    page.run("document.querySelector('summary').focus()")
    press(Keys.ENTER)
    assert page.run("return document.querySelector('details').open") is True
    press(Keys.TAB)
    assert page.run(f"{focus} return [style.outlineStyle, style.outlineWidth]") == ["solid", "3px"]
    reachable = "return [...document.querySelectorAll('a[href], summary, .scroll')]"
    assert page.run(f"{reachable}.filter(each => each.tabIndex < 0)") == []


def test_a_screen_reader_finds_its_way(open_page: Open, reports: Reports) -> None:
    page = open_page(reports.support_desk)
    page.run(OPEN_DETAILS)
    levels = page.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map(each => +each.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.run(
        "return ['main', 'header', 'nav'].map(each => document.querySelectorAll(each).length)"
    ) == [1, 1, 1]
    assert page.run("return document.documentElement.lang") == "en"
    assert page.run("return document.querySelectorAll('table:not(:has(caption))').length") == 0
    assert page.run("return document.querySelectorAll('th:not([scope])').length") == 0
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    images = [node for node in tree if node.get("role", {}).get("value") in ("image", "img")]
    names = [node["name"]["value"] for node in images]
    of_several_steps = [prompt for prompt in reports.json["prompts"] if len(prompt["sites"]) > 1]
    # Evidence, cost against pass rate, latency of each tier, and the steps of a prompt.
    assert len(names) == 16 + 8 + 3 + len(of_several_steps) == 28
    assert all(names)
    regions = [node for node in tree if node.get("role", {}).get("value") == "region"]
    assert all(node["name"]["value"] for node in regions)


def test_a_large_report_is_small(open_page: Open, reports: Reports) -> None:
    assert reports.large.stat().st_size < 1_000_000
    page = open_page(reports.large)
    assert page.run("return document.querySelectorAll('section.prompt').length") == 50
    assert page.run("return document.querySelectorAll('.matrix tbody tr').length") == 50 * 32
