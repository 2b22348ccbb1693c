"""``--junitxml``: what it says of trials, in the shape that each family of JUnit files allows."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("word", ["plain", "<b>&\\x01\\x1b[0m"])
def test_ask(word):
    assert ask(word) == "OK", ask("again")

def test_untiered(record_testsuite_property):
    record_testsuite_property("theirs", "1")
"""

ARGS = ("--tiers=nano,full", "--junitxml=out.xml")

#: What may stand in a test case by the schema that pytest's own tests hold xunit2 to
#: (testing/example_scripts/junit-10.xsd there): no properties.
IN_TESTCASE = {"skipped", "error", "failure", "system-out", "system-err"}
ATTRIBUTES = {"name", "time", "classname"}


def nano_misses(request: dict[str, Any]) -> str:
    return "<No> ]]> \x1b" if request["model"] == "nano-model" else "OK"


def properties(of: ET.Element | None) -> list[tuple[str, str]]:
    assert of is not None
    return [(each.attrib["name"], each.attrib["value"]) for each in of]


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["serial", "workers"])
def test_xunit2_has_them_on_the_suite(
    project: pytest.Pytester, server: OpenAIServer, workers: tuple[str, ...]
) -> None:
    server.answer = nano_misses
    project.makepyfile(test_it=TESTS)
    run = project.runpytest_subprocess if workers else project.runpytest
    assert run(*ARGS, *workers).ret == 0
    [suite] = ET.parse(project.path / "out.xml").getroot()
    cases = suite.findall("testcase")
    assert suite.attrib["tests"] == "5"
    assert len(cases) == 5
    for case in cases:
        assert {child.tag for child in case} <= IN_TESTCASE
        assert set(case.attrib) <= ATTRIBUTES
    assert [child.tag for child in suite] == ["properties", *["testcase"] * 5]
    found = properties(suite.find("properties"))
    assert ("tiers.gate", "passed") in found
    assert ("tiers.verdict test_it.py::test_ask nano", "inconclusive") in found
    # record_testsuite_property does not work with xdist (pytest's issue 7767).
    assert (("theirs", "1") in found) is not bool(workers)
    trials = {name: json.loads(value) for name, value in found if name.startswith("tiers.trial")}
    assert len(trials) == 4
    assert trials["tiers.trial test_it.py::test_ask[plain-nano]"] == {
        "tier": "nano",
        "model": "nano-model",
        "outcome": "missed",
        "cost_usd": "0.0000079",
        "input_tokens": 2,
        "output_tokens": 6,
        "verdict": "inconclusive",
    }
    assert trials["tiers.trial test_it.py::test_ask[plain-full]"]["verdict"] is None


def test_xunit1_has_them_on_each_test_case_too(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = nano_misses
    project.makepyfile(test_it=TESTS)
    project.runpytest(*ARGS, "-o", "junit_family=xunit1")
    [suite] = ET.parse(project.path / "out.xml").getroot()
    of = {case.attrib["name"]: case.find("properties") for case in suite.findall("testcase")}
    assert of.pop("test_untiered") is None
    assert len(of) == 4
    assert properties(of["test_ask[plain-full]"]) == [
        ("tiers.tier", "full"),
        ("tiers.model", "full-model"),
        ("tiers.outcome", "passed"),
        ("tiers.cost_usd", "0.0000175"),
        ("tiers.input_tokens", "1"),
        ("tiers.output_tokens", "1"),
    ]
    assert ("tiers.gate", "passed") in properties(suite.find("properties"))
