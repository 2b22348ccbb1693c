"""The bundled examples, as the README runs them: offline, from their recordings."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


def run_example(name: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run an example's tests with the network cut, 80 columns wide and without colour."""
    drop = ("CI", "OPENAI_API_KEY", "OPENAI_BASE_URL", "PYTEST_ADDOPTS", "FORCE_COLOR")
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", f"fixtures/{name}", "-p", "tests.no_network"),
            *("-p", "no:cacheprovider", "-W", "ignore", *args),
        ],
        cwd=ROOT,
        env={**environment, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def summary_of(output: str) -> str:
    """The text between the heading "tiers" and what follows it."""
    _, _, after = output.partition("= tiers =")
    text = after.partition("\n")[2].partition("connections attempted")[0]
    return re.sub(r"\n=+ .*", "", text, flags=re.DOTALL).rstrip() + "\n"


@pytest.fixture(scope="module")
def support_desk(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, Any]:
    """The output and the JSON report of two runs of the support desk, the second with ``-q``."""
    base = tmp_path_factory.getbasetemp()
    folder = base if worker_id == "master" else base.parent
    done = folder / "support_desk.json"
    with (folder / "support_desk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one worker of pytest-xdist runs it for all
        if not done.exists():
            runs = []
            for quiet in ((), ("-q",)):
                report = f"--tiers-report={folder}/{len(runs)}.json"
                run = run_example("support_desk", "--tiers=nano,mini,full", report, *quiet)
                runs.append({"code": run.returncode, "shown": run.stdout})
            texts = [(folder / f"{number}.json").read_text() for number in range(2)]
            done.write_text(json.dumps({"runs": runs, "texts": texts}))
    found: dict[str, Any] = json.loads(done.read_text())
    return {**found, "report": json.loads(found["texts"][0])}


def test_every_trial_replays_with_no_connection_attempted(support_desk: dict[str, Any]) -> None:
    for run in support_desk["runs"]:
        assert run["code"] == 0, run["shown"]
        assert "connections attempted: 0" in run["shown"]
    report = support_desk["report"]
    assert len(report["prompts"]) == 8
    assert len(report["trials"]) == 3 * sum(prompt["cases"] for prompt in report["prompts"])
    assert all(trial["replayed"] for trial in report["trials"])
    assert report["spent_usd"] == "0"


def test_two_replays_give_byte_identical_prompts(support_desk: dict[str, Any]) -> None:
    def prompts(text: str) -> str:
        return text[text.index('"prompts"') : text.index('"savings"')]

    first, second = support_desk["texts"]
    assert prompts(first) == prompts(second)


def test_the_terminal_agrees_with_the_json(support_desk: dict[str, Any]) -> None:
    shown = summary_of(support_desk["runs"][0]["shown"])
    for prompt in support_desk["report"]["prompts"]:
        test = prompt["id"].rpartition("::")[2]
        start = next(line for line in shown.splitlines() if f"::{test} " in line)
        rows = shown[shown.index(start) :].splitlines()
        for row, (name, comparison) in zip(rows, prompt["comparisons"].items(), strict=False):
            tier = prompt["tiers"][name]
            assert name in row
            assert f"{tier['passed']}/{tier['trials']}" in row
            assert comparison["verdict"] in row
            assert f"{round(comparison['saving'] * 100)}%" in row


def test_the_whole_suite_in_one_statement_for_each_candidate(support_desk: dict[str, Any]) -> None:
    report = support_desk["report"]
    assert list(report["suite"]) == ["nano", "mini"]
    cases = sum(prompt["cases"] for prompt in report["prompts"])
    for tier, found in report["suite"].items():
        differences = [
            prompt["cases"] * prompt["comparisons"][tier]["difference"]
            for prompt in report["prompts"]
        ]
        assert (found["prompts"], found["cases"]) == (8, cases)
        assert found["difference"] == pytest.approx(sum(differences) / cases)
        assert -found["difference"] < found["largest_drop"] < -found["difference"] + 0.12
        verdicts = {each["id"]: each["comparisons"][tier]["verdict"] for each in report["prompts"]}
        assert found["worse"] == [id for id, verdict in verdicts.items() if verdict == "worse"]
        open_ones = [id for id, verdict in verdicts.items() if verdict == "inconclusive"]
        assert found["unproven"] == open_ones


def check_the_terminal(name: str, output: str) -> None:
    shown = summary_of(output)
    assert shown == (GOLDEN / f"{name}.txt").read_text()
    assert max(map(len, shown.splitlines())) <= 80


def test_what_the_terminal_shows(support_desk: dict[str, Any]) -> None:
    check_the_terminal("support_desk", support_desk["runs"][0]["shown"])


def test_the_readme_shows_what_its_command_prints() -> None:
    readme = (ROOT / "README.md").read_text()
    assert (GOLDEN / "support_desk.txt").read_text() in readme


def test_the_small_suite_fails_only_for_its_shared_fixture() -> None:
    run = run_example("small_suite", "--tiers=nano,mini,full")
    check_the_terminal("small_suite", run.stdout)
    assert run.returncode == 1
    failed = re.findall(r"^(?:FAILED|ERROR) \S*::(\w+)\[", run.stdout, flags=re.MULTILINE)
    assert failed == ["test_handbook_explains_returns"] * 3
    assert 'fixture "handbook" calls a model' in run.stdout


def test_one_line_with_q(support_desk: dict[str, Any]) -> None:
    shown = support_desk["runs"][1]["shown"]
    lines = [line for line in shown.splitlines() if line.startswith("tiers:")]
    safe = [prompt for prompt in support_desk["report"]["prompts"] if prompt["recommended"]]
    assert len(lines) == 1
    assert f"{len(safe)} of 8 prompts safe to downgrade" in lines[0]


def test_an_agent_of_three_steps(tmp_path: Path) -> None:
    report_option = f"--tiers-report={tmp_path}/a.json"
    run = run_example("order_agent", "--tiers=nano,mini,full", "--tiers-mix", report_option)
    assert run.returncode == 0, run.stdout
    assert "connections attempted: 0" in run.stdout
    assert summary_of(run.stdout) == (GOLDEN / "order_agent.txt").read_text()
    report = json.loads((tmp_path / "a.json").read_text())
    (prompt,) = report["prompts"]
    sites = {each["site"].partition(" ")[2]: each for each in prompt["sites"]}
    assert list(sites) == ["plan", "look_up", "write"]
    assert sum(each["cost_share"] for each in sites.values()) == pytest.approx(1)
    assert [each["function"] for each in report["coverage"]["untested"]] == ["subject"]
    cascade = prompt["cascades"]["mini"]
    assert (cascade["escalated"], cascade["passed"], cascade["runs"]) == (7, 16, 16)
    (mix,) = (each for each in prompt["mixes"] if each["recommended"])
    assert (mix["verdict"], list(mix["tiers"].values())) == ("safe", ["full", "full", "mini"])
    assert [(each["model"], each["in_diff"]) for each in report["changes"]] == [("mini", True)]


def test_no_mix_of_the_two_step_prompt() -> None:
    run = run_example("support_desk/tests/test_lookup.py", "--tiers=nano,mini,full", "--tiers-mix")
    assert "connections attempted: 0" in run.stdout
    assert "Mix of tiers for test_answer: none found" in run.stdout
