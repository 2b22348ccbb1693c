"""Shards that are merged: what is refused and why, what is counted once, what is still missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_tiers.cli import main
from pytest_tiers.control_cases import chosen
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.extent import Extent, PromptExtent
from pytest_tiers.findings import Control, Coverage, UntestedSite
from pytest_tiers.merging.shards import Merged, merge
from pytest_tiers.records import (
    CallSite,
    Fingerprint,
    LockedSite,
    LockEntry,
    NotRun,
    RequestParts,
    Trial,
)
from pytest_tiers.reports.writers import write
from pytest_tiers.settings import IgnoreRule, Judge, PromptSettings, Settings
from pytest_tiers.summary import summarise
from tests.conftest import says
from tests.unit.summaries import LADDER, call, trial

PROMPT = "tests/test_triage.py::test_route"
CASES = ("a", "b", "c", "d")

ENTRY = LockEntry(
    prompt=PROMPT,
    tier="mini",
    model="gpt-5.4-mini",
    replaces="full",
    verdict="safe",
    date="2026-11-20",
    cases=40,
    samples=1,
    margin=0.1,
    confidence=0.95,
    cassette_format=1,
    usd_per_1000=Decimal("0.174"),
    known_misses={"d": (1,)},
    holds_for=Fingerprint(request="abc"),
    sites=(LockedSite("app/triage.py:route/y", "app/triage.py:3 route", "mini", "gpt-5.4-mini"),),
)

#: Settings in which nothing has its default.
SETTINGS = Settings(
    ladder=LADDER,
    comparison=True,
    samples=2,
    margin=0.2,
    ignore=(IgnoreRule("messages[*].content", r"\d+"),),
    prompts={PROMPT: PromptSettings(tiers=("mini",), max_cost_per_1000=Decimal("0.5"))},
    judge=Judge("full", "same facts"),
    locked={PROMPT: ENTRY},
    gate="locked",
    max_age=30,
)


EXTENT = Extent(
    {PROMPT: PromptExtent(("full",), ("refund",), (), 0.2)}, is_whole=True, knows_left_out=True
)


@pytest.fixture
def shard(tmp_path: Path) -> Callable[..., Path]:
    """Writes the report of a shard that ran some cases of one prompt."""

    def make(name: str, cases: Iterable[str] = CASES, **changes: Any) -> Path:
        cases = list(cases)
        settings = changes.pop("settings", SETTINGS)
        trials = changes.pop("trials", None) or [
            trial(PROMPT, case, tier) for case in cases for tier in ("nano", "mini", "full")
        ]
        left_out = tuple(changes.pop("left_out", ()))
        prompt = PromptExtent(("nano", "mini", "full"), tuple(cases), left_out, 0.2)
        known = {
            "created": "2026-11-28T10:00:00Z",
            "commit": "abc123",
            "extent": Extent({PROMPT: prompt}, is_whole=True, knows_left_out=True),
            **changes,
        }
        write(summarise(trials, settings, **known), tmp_path / name)
        return tmp_path / name

    return make


def merged(*paths: Path) -> Merged:
    return merge(paths)


def test_everything_that_a_summary_is_made_of_is_read_back(shard: Callable[..., Path]) -> None:
    parts = RequestParts(("l1", "l2"), "s", "p")
    stack = (CallSite("app/llm.py:2 chat", "app/llm.py:chat/x"),)
    trials = [
        trial(
            PROMPT,
            case,
            tier,
            outcome="missed" if case == "c" else "passed",
            question="why?",
            score=0.25,
            controls=(True, False) if tier == "full" else (),
            has_output=True,
            output={"é": [1, None]},
            stale=case == "d",
            request_parts=parts,
            recording=(f"/p/{tier}.yaml", case),
            generation=1,
            calls=(call(tier, site_key="app/triage.py:route/y", callers=stack, status=200),),
            settings={"must_pass": case == "c"},
        )
        for case in CASES
        for tier in ("mini", "full")
    ]
    not_run = [NotRun(PROMPT, case, "nano", 1, "", "worse", 10) for case in CASES]
    path = shard("a.json", trials=trials, not_run=not_run)
    found = merged(path).summary
    extent = found.extent
    assert extent is not None
    one = summarise(
        [replace(each, settings={**each.settings, **_of(extent)}) for each in trials],
        SETTINGS,
        created="2026-11-28T10:00:00Z",
        commit="abc123",
        not_run=not_run,
        extent=extent,
    )
    assert found.settings == SETTINGS
    assert found.prompts == one.prompts
    assert found.prompts[0].ruled_out["mini"].cases == ("c",)
    assert found.not_run == one.not_run
    again = path.with_name("again.json")
    write(found, again)
    assert json.loads(again.read_text())["trials"] == json.loads(path.read_text())["trials"]


def _of(extent: Extent) -> dict[str, Any]:
    return {**extent.prompts[PROMPT].settings, "cases": 4, "reachable": {"nano": 0, "mini": 0}}


def test_what_is_no_shard_of_the_same_run_is_refused(shard: Callable[..., Path]) -> None:
    one = shard("a.json", "ab")
    others = {
        "settings.margin is 0.2 in the first and 0.1 in the second": {
            "settings": replace(SETTINGS, margin=0.1)
        },
        'commit is "abc123" in the first and "def456" in the second': {"commit": "def456"},
        'commit is "abc123" in the first and not said in the second': {"commit": None},
        f'tiers.lock.{PROMPT}.tier is "mini" in the first and "nano"': {
            "settings": replace(SETTINGS, locked={PROMPT: replace(ENTRY, tier="nano")})
        },
        "ladder.nano.price is not said in the first": {"prices": {"nano": {"input": "1"}}},
        f"{PROMPT}.margin is 0.2 in the first and 0.1": {
            "extent": Extent({PROMPT: PromptExtent(("nano",), ("c",), (), 0.1)}, True, True)
        },
    }
    for reason, changes in others.items():
        other = shard("b.json", "cd", **changes)
        with pytest.raises(ConfigurationError) as caught:
            merged(one, other)
        assert str(caught.value).startswith(f"{one} and {other} are no shards of one run: ")
        assert reason in str(caught.value)
    assert merged(one, shard("b.json", "cd", commit="abc123def")).summary.commit == "abc123def"


def test_a_trial_in_two_shards_is_counted_once_or_refused(shard: Callable[..., Path]) -> None:
    one, same = shard("a.json", "abc"), shard("b.json", "cd")
    found = merged(one, same)
    assert (found.duplicates, len(found.summary.trials)) == (3, 12)
    other = shard("c.json", "d", trials=[trial(PROMPT, "c", "mini", outcome="missed")])
    with pytest.raises(ConfigurationError) as caught:
        merged(one, other)
    assert str(caught.value) == (
        f"{PROMPT}[c-mini] is in {one} and in {other} with another result: passed, answered "
        "2026-11-20T09:00:00Z and missed, answered 2026-11-20T09:00:00Z. A trial belongs to one "
        "shard; merge reports of one run only."
    )


def test_a_merge_is_a_selection_until_every_case_is_in_it(
    shard: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    one = shard("a.json", "ab", left_out="cd", selection=True)
    two = shard("b.json", "c", left_out="abd", selection=True)
    found = merged(one, two)
    assert (found.missing, found.summary.selection) == (1, True)
    assert main(["merge", str(one), str(two), "-o", str(one.with_name("all.json"))]) == 0
    assert "1 case of these files in none of them" in " ".join(capsys.readouterr().out.split())
    whole = merged(one, two, shard("c.json", "d", left_out="abc", selection=True))
    assert (whole.missing, whole.summary.selection) == (0, False)
    unknown = Extent({PROMPT: PromptExtent(("nano",), ("d",), (), 0.2)}, False, False)
    assert merged(one, two, shard("c.json", "d", extent=unknown, selection=True)).summary.selection


def test_the_gate_fails_the_command(
    shard: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [trial(PROMPT, "a", tier, outcome="missed") for tier in ("nano", "mini", "full")]
    paths = [str(shard("a.json", "a", trials=trials)), str(shard("b.json", "bcd"))]
    output = ["-o", str(Path(paths[0]).with_name("all.json"))]
    assert main(["merge", *paths, *output]) == 1
    assert f"- FAILED {PROMPT} on mini: 1 case (a) passed when it was" in capsys.readouterr().out
    assert main(["merge", *paths, *output, "--gate=off"]) == 0


def test_the_nights_of_shards_are_kept_and_counted(
    shard: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entry = replace(ENTRY, sites=(), pass_rate_at_least=0.9)
    settings = replace(SETTINGS, comparison=False, locked={PROMPT: entry})
    paths = [
        str(
            shard(
                f"{cases}.json",
                cases,
                settings=settings,
                trials=[
                    trial(PROMPT, case, "mini", outcome=outcome, replayed=False)
                    for case, outcome in zip(cases, ("passed", "missed"), strict=True)
                ],
            )
        )
        for cases in ("ab", "cd")
    ]
    nights = tmp_path / "nights.jsonl"
    merge_all = ["merge", *paths, "-o", str(tmp_path / "all.json"), "--nights", str(nights)]
    assert main(merge_all) == 0
    assert says(capsys.readouterr().out, "passes 50%, below the 90% at least")
    for night in range(2, 7):
        code = main(merge_all)
        assert len(nights.read_text().splitlines()) == night
    assert code == 1
    assert says(capsys.readouterr().out, "passes 50% over 6 nights, below the 90% at least")
    nights.write_text("{}")
    assert main(merge_all) == 2
    assert says(capsys.readouterr().err, "line 1: no night that --tiers-nights wrote")


@pytest.mark.parametrize("replayed", [True, False])
def test_control_trials_of_a_candidate_count(shard: Callable[..., Path], replayed: bool) -> None:
    """It stands in for a flagship that is called lazily; what is recorded anew is tried late."""
    numbers = [f"{number:02}" for number in range(20)]
    halves = [
        shard(
            name,
            cases,
            trials=[
                trial(
                    PROMPT,
                    case,
                    "mini",
                    replayed=replayed,
                    controls=(True,) if case in chosen(cases, "auto") else (),
                    recording=("/p/mini.yaml", case),
                )
                for case in cases
            ],
        )
        for name, cases in (("a.json", numbers[:10]), ("b.json", numbers[10:]))
    ]
    (prompt,) = merged(*halves).summary.prompts
    assert prompt.control == Control(8, 8)


def test_what_no_shard_calls_is_untested(shard: Callable[..., Path]) -> None:
    sites = {line: UntestedSite("app/a.py", line, "f", seen_elsewhere=line == 2) for line in (1, 2)}

    def with_coverage(name: str, *lines: int) -> Path:
        untested = tuple(sites[line] for line in lines)
        found = replace(
            summarise([trial(PROMPT)], SETTINGS, created="2026-11-28T10:00:00Z", extent=EXTENT),
            coverage=Coverage(untested, 2, 3, is_complete=True, is_certain=len(lines) == 1),
        )
        path = shard(name)  # in the folder of the others
        write(found, path)
        return path

    paths = [with_coverage("a.json", 1, 2), with_coverage("b.json", 2)]
    together = merged(*paths).summary.coverage
    assert together == Coverage((sites[2],), 2, 3, is_complete=True, is_certain=False)
    assert merged(paths[0], shard("c.json", commit=None)).summary.coverage is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no JSON report of pytest-tiers, or is damaged"),
        ("[1]", "is no JSON report of pytest-tiers, or is damaged"),
        ('{"schema": "other", "version": 1}', 'schema "other"'),
        ('{"schema": "pytest-tiers/report", "version": 2}', "reads version 1"),
        ('{"schema": "pytest-tiers/report", "version": 1}', "was written by an older pytest-tiers"),
        (
            '{"schema": "pytest-tiers/report", "version": 1, "merging": {"extent": null},'
            ' "settings": {"commit": null}}',
            "damaged",
        ),
        ('{"schema": "pytest-tiers/report", "version": 1, "merging": {}}', "KeyError: 'settings'"),
        ("[" * 100_000, "RecursionError"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_report_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, reason: str
) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    assert main(["merge", str(path), "-o", str(tmp_path / "all.json")]) == 2
    said = capsys.readouterr().err
    assert says(said, f"pytest-tiers: {path} ")
    assert says(said, reason)
    assert all(len(line) <= 80 or line.split() == [f"{path}"] for line in said.splitlines())


def test_a_shard_whose_workers_crashed_is_refused(shard: Callable[..., Path]) -> None:
    path = shard("a.json", extent=None)
    with pytest.raises(ConfigurationError, match="its workers crashed"):
        merged(path)


def test_output_names_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "a.json", "-o", "all.html"]) == 2
    assert main(["merge", "a.json", "-o", "all.json", "--report", "x.txt"]) == 2
    assert '"x.txt": the suffix decides the format' in capsys.readouterr().err


def test_a_report_that_another_program_wrote_again_is_read(shard: Callable[..., Path]) -> None:
    path = shard("a.json")
    expected = merged(path).summary
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert merged(path).summary.prompts == expected.prompts


def test_outputs_of_two_shards_are_compared(shard: Callable[..., Path]) -> None:
    def with_output(tier: str, output: str) -> Trial:
        return trial(PROMPT, "a", tier, has_output=True, output=output)

    one = shard("a.json", "a", trials=[with_output("mini", "yes")])
    two = shard("b.json", "a", trials=[with_output("full", "no")])
    found = merged(one, two).summary
    assert [(each.tier, each.outcome) for each in found.trials] == [
        ("mini", "missed"),
        ("full", "passed"),
    ]


def test_everyday_runs_are_merged_too(
    shard: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(locked={PROMPT: ENTRY}, gate="locked")
    paths = [
        str(
            shard(
                name,
                cases,
                settings=settings,
                trials=[trial(PROMPT, case, "current") for case in cases],
            )
        )
        for name, cases in (("a.json", "ab"), ("b.json", "cd"))
    ]
    assert main(["merge", *paths, "-o", str(Path(paths[0]).with_name("all.json"))]) == 0
    assert "tiers: " not in capsys.readouterr().err
    found = merged(*map(Path, paths)).summary
    assert (len(found.trials), found.settings.comparison) == (4, False)


def test_a_trial_that_is_none_is_damage(shard: Callable[..., Path]) -> None:
    path = shard("a.json")
    path.write_text(path.read_text().replace('"outcome":"passed"', '"outcome":"fine"'))
    with pytest.raises(ConfigurationError, match=r"damaged \(ValidationError: .*'fine'.*outcome"):
        merged(path)


def test_a_search_of_mixes_is_not_merged(shard: Callable[..., Path]) -> None:
    path = shard("a.json", settings=replace(SETTINGS, mix=True))
    with pytest.raises(ConfigurationError, match="run it on one machine"):
        merged(path, path)
