from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_tiers.errors import ConfigurationError
from pytest_tiers.findings import LadderEntry, PassRate, RunSummary, Savings
from pytest_tiers.reports.json import parts
from pytest_tiers.reports.writers import write
from pytest_tiers.settings import IgnoreRule, PromptSettings, Settings
from pytest_tiers.tiers import Ladder, Tier
from tests.unit.summaries import (
    LADDER,
    call,
    comparison,
    prompt,
    run,
    safe,
    small_suite,
    stats,
    support_desk,
    trial,
)


def one() -> RunSummary:
    """One prompt, one candidate, two trials."""
    return run(
        prompt("t.py::test_x", safe(), recommended="mini"),
        trials=(
            trial("t.py::test_x", tier="mini", outcome="missed", reason="AssertionError: no"),
            trial("t.py::test_x"),
        ),
    )


def report(summary: RunSummary) -> dict[str, Any]:
    """The document, read again."""
    return dict(json.loads("".join(parts(summary))))


def test_top_level_keys_in_order() -> None:
    document = report(one())
    contract = [
        "schema",
        "version",
        "created",
        "settings",
        "ladder",
        "prompts",
        "savings",
        "spent_usd",
        "replayed_usd",
        "stale_trials",
        "unused_recordings",
        "gate",
        "trials",
    ]
    assert [key for key in document if key in contract] == contract
    assert document["schema"] == "pytest-tiers/report"
    assert document["version"] == 1
    assert document["created"] == "2026-11-23T21:00:00Z"
    assert document["spent_usd"] == "0"
    assert document["replayed_usd"] == "0.0123"
    assert document["gate"] == {
        "passed": True,
        "mode": "off",
        "failures": [],
        "warnings": [],
        "detectable_drops": {},
    }


def test_prompt_as_in_the_contract() -> None:
    [found] = report(one())["prompts"]
    contract = [
        "id",
        "cases",
        "flagship",
        "margin",
        "min_pass_rate",
        "monthly_runs",
        "tiers",
        "comparisons",
        "as_is",
        "recommended",
        "locked",
    ]
    assert [key for key in found if key in contract] == contract
    assert found["locked"] is None
    assert found["recommended"] == "mini"
    assert found["as_is"] == {"calls": 0, "cost_usd": "0"}
    assert list(found["tiers"]["mini"].items())[:10] == [
        ("trials", 60),
        ("passed", 60),
        ("missed", 0),
        ("unsupported", 0),
        ("errors", 0),
        ("no_calls", 0),
        ("calls", 60),
        ("tokens", {"input": 9600, "cached_input": 0, "output": 780, "reasoning": 0}),
        ("cost_usd", "0.01044"),
        ("unpriced_calls", 0),
    ]
    assert found["tiers"]["mini"]["seconds"] == {"p50": 0.24, "p95": 0.31}
    assert list(found["comparisons"]["mini"].items())[:11] == [
        ("verdict", "safe"),
        ("difference", 0.0),
        ("largest_drop", 0.0544),
        ("largest_drop_these_cases", 0.4853),
        ("log_evidence", 5.8498),
        ("log_evidence_these_cases", 0.4361),
        ("log_evidence_worse", 0.0),
        ("more_cases", [0, 0]),
        ("missing_trials", 0),
        ("output_mismatches", 0),
        ("saving", 0.707563025),
    ]


def test_pass_rate_and_latency_of_a_tier() -> None:
    rate = PassRate(0.96, 0.85, 0.99)
    document = report(
        run(
            prompt("t.py::test_x", safe(), tiers={"mini": stats(58, 2, "mini", pass_rate=rate)}),
            ladder=(LadderEntry("mini", "m", None, 0.2, 0.3), LadderEntry("full", "f", None)),
        )
    )
    tiers = document["prompts"][0]["tiers"]
    assert tiers["mini"]["pass_rate"] == {"estimate": 0.96, "low": 0.85, "high": 0.99}
    assert tiers["full"]["pass_rate"] is None
    assert [entry["seconds"] for entry in document["ladder"]] == [
        {"p50": 0.2, "p95": 0.3},
        {"p50": None, "p95": None},
    ]


def test_trial_and_call_as_in_the_contract() -> None:
    found = report(one())["trials"][0]
    assert list(found)[:13] == [
        "prompt",
        "case",
        "tier",
        "sample",
        "outcome",
        "reason",
        "score",
        "check",
        "output_match",
        "agreement",
        "output_difference",
        "replayed",
        "calls",
    ]
    assert (found["tier"], found["outcome"]) == ("mini", "missed")
    assert list(found["calls"][0].items())[:10] == [
        ("model_asked", "gpt-5.4"),
        ("model", "gpt-5.4-mini"),
        ("answered_by", "gpt-5.4-mini-2026-03-17"),
        ("endpoint", "chat/completions"),
        ("status", 200),
        ("stream", False),
        ("tokens", {"input": 160, "cached_input": 0, "output": 13, "reasoning": 0}),
        ("cost_usd", "0.000174"),
        ("seconds", 0.24),
        ("site", "app/triage.py:3 route"),
    ]


def test_settings_hold_what_a_verdict_depends_on() -> None:
    tier = Tier(
        "mini",
        "gpt-5.4-mini",
        base_url="https://user:secret@llm.example.com:8443/v1?api-key=secret",
        params={"reasoning_effort": "low"},
        drop_params=("temperature",),
        rename_params={"max_tokens": "max_completion_tokens"},
        retires=date(2027, 3, 1),
    )
    settings = Settings(
        ladder=Ladder((tier, LADDER["full"]), "full"),
        comparison=True,
        max_cost=Decimal("1.50"),
        replaces=("gpt-5.4",),
        ignore=(IgnoreRule("messages[*].content", r"\d+"),),
        prompts={"b": PromptSettings(margin=0.05), "a": PromptSettings(tiers=("mini",))},
    )
    found = report(replace(one(), settings=settings, selection=True))["settings"]
    assert list(found.items())[:6] == [
        ("flagship", "full"),
        ("samples", 1),
        ("margin", 0.1),
        ("confidence", 0.95),
        ("record", "none"),
        ("commit", "abc123"),
    ]
    assert found["selection"] is True
    assert found["max_cost_usd"] == "1.5"
    assert found["replaces"] == ["gpt-5.4"]
    assert found["ignore"] == [{"path": "messages[*].content", "pattern": r"\d+"}]
    assert found["tiers"]["mini"] == {
        "base_url": "https://llm.example.com:8443/v1",
        "params": {"reasoning_effort": "low"},
        "drop_params": ["temperature"],
        "rename_params": {"max_tokens": "max_completion_tokens"},
        "retires": "2027-03-01",
    }
    assert found["tiers"]["full"]["base_url"] is None
    assert list(found["prompts"].items()) == [("a", {"tiers": ["mini"]}), ("b", {"margin": 0.05})]


def test_unknown_is_null_and_never_zero() -> None:
    bare = comparison(
        log_evidence=-math.inf,
        log_evidence_worse=math.nan,
        log_evidence_these_cases=None,
        more_cases=(267, None),
    )
    unpriced = {"mini": stats(5, cost_usd=None, cost_per_1000=None, unpriced_calls=5)}
    summary = run(
        prompt("t.py::test_x", bare, tiers=unpriced, savings={}, as_is_cost_usd=None),
        savings=Savings(None, None, None, 0, 1, None, None, None),
        unused_recordings=None,
        trials=(trial(calls=(call(cost_usd=None, tokens=None, seconds=None),), score=math.nan),),
    )
    document = report(summary)
    found = document["prompts"][0]
    shown = found["comparisons"]["mini"]
    assert shown["log_evidence"] is None
    assert shown["log_evidence_worse"] is None
    assert shown["log_evidence_these_cases"] is None
    assert shown["more_cases"] == [267, None]
    assert shown["saving"] is None
    assert found["tiers"]["mini"]["cost_usd"] is None
    assert found["as_is"]["cost_usd"] is None
    assert document["savings"]["flagship_usd_per_1000"] is None
    assert document["savings"]["share"] is None
    assert document["unused_recordings"] is None
    assert document["trials"][0]["score"] is None
    assert document["trials"][0]["calls"][0]["tokens"] is None
    assert document["trials"][0]["calls"][0]["cost_usd"] is None
    json.dumps(document, allow_nan=False)


def test_money_is_exact_and_without_exponent() -> None:
    summary = replace(one(), spent_usd=Decimal("1E-7"), replayed_usd=Decimal("0E-9"))
    assert report(summary)["spent_usd"] == "0.0000001"
    assert report(summary)["replayed_usd"] == "0"


@pytest.mark.parametrize("build", [support_desk, small_suite])
def test_prompts_are_byte_identical_in_any_order(build: Callable[[], RunSummary]) -> None:
    summary = build()
    turned = replace(summary, prompts=summary.prompts[::-1], created="2027-01-01T00:00:00Z")
    texts = [json.dumps(report(each)["prompts"], ensure_ascii=False) for each in (summary, turned)]
    assert texts[0] == texts[1]
    ids = [each["id"] for each in report(turned)["prompts"]]
    assert ids == sorted(ids)


def test_file_is_utf8_with_a_newline_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.json"
    summary = replace(one(), trials=(trial(case="客服", reason="第一\x1b[1m"),))
    write(summary, path)
    data = path.read_bytes()
    assert data.endswith(b"}\n")
    assert "客服".encode() in data
    assert json.loads(data) == report(summary)
    assert [each.name for each in path.parent.iterdir()] == ["out.json"]


@pytest.mark.parametrize("trials", [0, 1, 3])
def test_each_trial_has_a_line(trials: int) -> None:
    summary = replace(one(), trials=tuple(trial(case=f"c{at}") for at in range(trials)))
    text = "".join(parts(summary))
    assert len(report(summary)["trials"]) == trials
    assert text.count('\n  {"prompt":') == trials


def test_a_failed_write_leaves_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")

    def full(*_paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ConfigurationError, match="No space left on device"):
        write(one(), path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]


def test_half_a_character_ends_no_report(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    halves = trial(reason="half \ud83d of an emoji", score=math.nan)
    write(replace(one(), trials=(halves,)), path)
    [found] = json.loads(path.read_text("utf-8"))["trials"]
    assert found["reason"] == "half \ufffd of an emoji"
    assert found["score"] is None


def test_an_old_report_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    write(one(), path)
    assert json.loads(path.read_text("utf-8"))["version"] == 1


@pytest.mark.parametrize("blocked", ["file/out.json", "folder.json"])
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, blocked: str) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    (tmp_path / "folder.json").mkdir()
    path = tmp_path / blocked
    with pytest.raises(ConfigurationError, match="cannot write") as caught:
        write(one(), path)
    assert str(path) in str(caught.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder.json"]
