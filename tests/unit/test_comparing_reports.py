"""``pytest-tiers compare``: what changed from one report to another, and how far to trust it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_tiers.cli import main
from pytest_tiers.extent import Extent
from pytest_tiers.findings import Gate, GateReason
from pytest_tiers.records import Trial
from pytest_tiers.reports.writers import write
from pytest_tiers.settings import Settings
from pytest_tiers.summary import summarise
from tests.conftest import says
from tests.unit.summaries import LADDER, call, trial

SETTINGS = Settings(ladder=LADDER, comparison=True)
CASES = [f"case {number}" for number in range(10)]


def trials(
    prompt: str, *, misses: Iterable[str] = (), day: str = "20", **changes: Any
) -> list[Trial]:
    """A prompt on mini, which misses some cases, and on full, all recorded on a day."""
    return [
        replace(
            trial(prompt, case, tier, "missed" if tier == "mini" and case in misses else "passed"),
            calls=(call(tier, recorded_at=f"2026-11-{day}T09:00:00Z", **changes),),
        )
        for case in CASES
        for tier in ("mini", "full")
    ]


def report(path: Path, found: Iterable[Trial], **changes: Any) -> Path:
    gate = changes.pop("gate", Gate())
    settings = changes.pop("settings", SETTINGS)
    known: Mapping[str, Any] = {
        "created": "2026-11-28T10:00:00Z",
        "commit": "aaaaaaa",
        "extent": Extent({}, is_whole=True, knows_left_out=True),
        **changes,
    }
    write(replace(summarise(found, settings, **known), gate=gate), path)
    return path


def compared(capsys: pytest.CaptureFixture[str], old: Path, new: Path) -> str:
    assert main(["compare", str(old), str(new)]) == 0
    return capsys.readouterr().out.replace("&#95;", "_")


def test_nothing_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = report(tmp_path / "a.json", trials("t.py::test_a"))
    assert compared(capsys, one, one) == (
        "### tiers: nothing changed, gate passes\n\nFrom aaaaaaa to aaaaaaa.\n"
    )


def test_a_mix_is_compared_where_both_runs_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = report(tmp_path / "plain.json", trials("t.py::test_a"))
    paths = [tmp_path / "full+nano.json", tmp_path / "mini+nano.json"]
    for path, share in zip(paths, (0.25, 0.5), strict=True):
        document = json.loads(plain.read_text())
        document["settings"]["mix"] = True
        document["prompts"][0]["mixes"] = [{"name": path.stem, "recommended": True}]
        document["savings"]["with_mixes_share"] = share
        path.write_text(json.dumps(document))
    found = compared(capsys, *paths)
    assert "- t.py::test_a: recommended full+nano, now mini+nano\n" in found
    assert "- proven saving: 25% of the flagship's cost before, 50% now\n" in found
    assert "recommended" not in compared(capsys, paths[0], plain)


def test_what_changed_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = report(tmp_path / "a.json", [*trials("t.py::test_a"), *trials("t.py::test_gone")])
    failure = GateReason("stale", "t.py::test_a", "mini", cases=("case 1",))
    new = report(
        tmp_path / "b.json",
        [*trials("t.py::test_a", misses=CASES[:3]), *trials("t.py::test_new")],
        commit="bbbbbbb",
        gate=Gate(failures=(failure,)),
        settings=replace(SETTINGS, margin=0.3),
    )
    assert compared(capsys, old, new) == (
        "### tiers: 1 new prompt, 1 prompt gone, gate fails now\n"
        "\n"
        "From aaaaaaa to bbbbbbb.\n"
        "\n"
        "**Gate: failed**\n"
        "\n"
        "- t.py::test_a on mini: its requests changed since 1 case was recorded. Record it again "
        "with --tiers-record=new_episodes, or take the change back.\n"
        "\n"
        "**Not like for like**\n"
        "\n"
        "- settings.margin: 0.1 before, 0.3 now\n"
        "\n"
        "**What changed**\n"
        "\n"
        "- new: t.py::test_new\n"
        "- gone: t.py::test_gone\n"
        "\n"
        "| prompt | tier | verdict | passed | 1,000 runs |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| t.py::test_a | mini | inconclusive | 10/10 → 7/10 | $0.174 |\n"
        "\n"
        "**How far to trust it**\n"
        "\n"
        "- t.py::test_a on mini: 3 trials with the same recorded answer ended otherwise. The code "
        "or the test did that.\n"
    )


def test_other_answers_prove_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = report(tmp_path / "a.json", trials("t.py::test_a"))
    few = report(tmp_path / "b.json", trials("t.py::test_a", misses=CASES[:1], day="27"))
    said = compared(capsys, old, few)
    assert "### tiers: no verdict changed, gate passes" in said
    assert "1 trial with another answer ended otherwise. The bounds of the two pass" in said
    assert "overlap: this may be chance." in said
    all_of_them = report(tmp_path / "c.json", trials("t.py::test_a", misses=CASES, day="27"))
    said = compared(capsys, old, all_of_them)
    assert "### tiers: 1 verdict changed, gate passes" in said
    assert "- t.py::test_a on mini: inconclusive → worse\n" in said
    assert "10 trials with another answer ended otherwise. The bounds of the two pass" in said
    assert "exclude each other: chance rarely does that." in said


def test_a_part_of_the_suite_has_lost_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = report(tmp_path / "a.json", [*trials("t.py::test_a"), *trials("t.py::test_b")])
    new = report(tmp_path / "b.json", trials("t.py::test_a"), selection=True)
    assert "not in this run: t.py::test_b" in compared(capsys, old, new)


def test_hostile_names_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = report(tmp_path / "a.json", [])
    new = report(tmp_path / "b.json", trials("t.py::<script>|`x`\n## no"))
    said = compared(capsys, old, new)
    assert "<script>" not in said
    assert "\n## no" not in said


def test_it_is_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = str(report(tmp_path / "a.json", trials("t.py::test_a")))
    output = tmp_path / "out.md"
    assert main(["compare", one, one, "-o", str(output)]) == 0
    assert says(capsys.readouterr().out, f"{output}: tiers: nothing changed, gate passes")
    assert output.read_text().startswith("### tiers: nothing changed")
    assert main(["compare", one, one, "-o", "out.txt"]) == 2
    assert main(["compare", one, str(tmp_path / "none.json")]) == 2
    assert says(capsys.readouterr().err, "none.json cannot be read")
