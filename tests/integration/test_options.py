"""The command line: each option's effect, and a usage error for each value that is none."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.options import read_settings
from pytest_tiers.settings import Settings

TIERED = """
import pytest

@pytest.mark.tiers
def test_one():
    pass
"""


@pytest.fixture
def settings(pytester: pytest.Pytester) -> Callable[..., Settings]:
    """The settings that a command line makes."""
    return lambda *args: read_settings(pytester.parseconfigure(*args))


def said(result: pytest.RunResult) -> str:
    """The message of a usage error, which is one, and only that."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    out, err = result.stdout.str(), result.stderr.str()
    assert "Traceback" not in out + err
    assert "INTERNALERROR" not in out + err
    assert err.count("ERROR: ") == 1
    return err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--tiers="], '--tiers: expected names such as "nano,mini,full", got "".'),
        (["--tiers=nano,,full"], 'expected names such as "nano,mini,full", got "nano,,full".'),
        (["--tiers=fast="], 'expected names such as "nano,mini,full", got "fast=".'),
        (["--tiers==m"], 'expected names such as "nano,mini,full", got "=m".'),
        (["--tiers=nanno"], '--tiers: unknown tier "nanno"; did you mean "nano"? Known tiers: '),
        (["--tiers=nano,full,nano"], '--tiers: "nano" stands there twice; each tier runs once.'),
        (["--tiers=a=m,a=n"], '--tiers: "a" stands there twice'),
        (["--tiers=a-2=m"], '"a-2" cannot name a tier'),
        (["--tiers=current=m"], '"current" is the application\'s own calls, not a model.'),
        (["--tiers-flagship=full"], '"full" is not on the ladder'),
        (
            ["--tiers=nano,mini", "--tiers-flagship=full"],
            '--tiers-flagship: "full" is not on the ladder; it must be one of --tiers: nano, mini.',
        ),
        (["--tiers-samples=0"], 'expected a whole number from 1 up or "auto", got 0 (int).'),
        (["--tiers-samples=1.5"], '--tiers-samples: expected a whole number from 1 up or "auto"'),
        (["--tiers-samples=two"], "got 'two' (str)."),
        (
            ["--tiers-record=never"],
            '--tiers-record: unknown mode "never". Valid modes: none, once, new_episodes, all.',
        ),
        (["--tiers-max-cost=-1"], "--tiers-max-cost: expected an amount in USD, 0 or more"),
        (["--tiers-max-cost=nan"], "--tiers-max-cost: expected an amount in USD, 0 or more"),
        (["--tiers-max-cost=$1"], "--tiers-max-cost: expected an amount in USD, 0 or more"),
        (["--tiers-max-samples=0"], "--tiers-max-samples: expected a whole number from 1 up"),
        (["--tiers-max-calls=0"], "--tiers-max-calls: expected a whole number from 1 up"),
        (["--tiers-margin=10"], "--tiers-margin: expected a number between 0 and 1"),
        (["--tiers-margin=nan"], "--tiers-margin: expected a number between 0 and 1"),
        (["--tiers-confidence=95%"], "--tiers-confidence: expected a number between 0 and 1"),
        (
            ["--tiers-report=out.pdf"],
            '--tiers-report: "out.pdf": the suffix decides the format; valid: .json, .html, .md.',
        ),
        (["--tiers-report=json"], '"json": the suffix decides the format'),
    ],
)
def test_a_bad_value_is_a_usage_error(
    pytester: pytest.Pytester, args: list[str], message: str
) -> None:
    pytester.makepyfile(TIERED)
    assert message in said(pytester.runpytest(*args))


@pytest.mark.parametrize("args", [["--tiers"], ["--tiers-samples"], ["--tiers-nonsense=1"]])
def test_an_option_without_its_value_and_one_that_is_none(
    pytester: pytest.Pytester, args: list[str]
) -> None:
    result = pytester.runpytest(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("table", ["samples = 0", "tiers.nano.base_url = 3", "tests = ['/x']"])
def test_a_bad_file_is_a_usage_error_that_names_it(pytester: pytest.Pytester, table: str) -> None:
    pytester.makepyfile(TIERED)
    file = pytester.makepyprojecttoml(f"[tool.pytest-tiers]\n{table}")
    assert str(file) in said(pytester.runpytest())


def test_a_file_that_is_no_toml_is_a_usage_error(pytester: pytest.Pytester) -> None:
    file = pytester.makepyprojecttoml("[tool.pytest-tiers")
    inner = pytester.mkdir("inner")  # else pytest itself reads the file, and complains
    (inner / "pytest.ini").write_text("[pytest]\n")
    shown = said(pytester.runpytest("--rootdir=inner", "-c", "inner/pytest.ini", "inner"))
    assert f"{file}: not valid TOML" in shown


def test_a_table_that_is_no_table_is_a_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml("[tool]\npytest-tiers = 3")
    assert "expected a table" in said(pytester.runpytest())


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("sample=2", '@pytest.mark.tiers: unknown key "sample"; did you mean "samples"?'),
        ("samples=0", "@pytest.mark.tiers samples: expected a whole number from 1 up"),
        ("samples='2'", '@pytest.mark.tiers samples: expected a whole number from 1 up or "auto"'),
        ("min_pass_rate=90", "min_pass_rate: expected a number from 0 to 1, got 90"),
        ("'nanno'", '@pytest.mark.tiers: unknown tier "nanno"; did you mean "nano"?'),
        ("['nano', 'mini']", "@pytest.mark.tiers: expected text, got ['nano', 'mini'] (list)."),
        ("tiers=['nano']", 'tier names are given without a key: @pytest.mark.tiers("nano", '),
    ],
)
def test_a_bad_marker_is_a_usage_error_that_names_the_test(
    pytester: pytest.Pytester, marker: str, message: str
) -> None:
    pytester.makepyfile(test_it=f"import pytest\n@pytest.mark.tiers({marker})\ndef test_a(): ...")
    shown = said(pytester.runpytest("--tiers=nano,full"))
    assert "test_it.py::test_a: " in shown
    assert message in shown


def test_every_bad_marker_is_said_at_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.tiers(smples=2)
        def test_a(): ...
        @pytest.mark.tiers(mrgin=2)
        def test_b(): ...
        """
    )
    shown = said(pytester.runpytest())
    assert "smples" in shown
    assert "mrgin" in shown


def test_defaults(settings: Callable[..., Settings]) -> None:
    default = settings()
    assert default.ladder.names == ("current",)
    assert (default.comparison, default.record, default.samples) == (False, "none", 1)
    assert (default.margin, default.confidence) == (0.10, 0.95)
    assert (default.max_cost, default.max_calls) == (Decimal("1.00"), None)


def test_plain_values_are_taken(
    pytester: pytest.Pytester, settings: Callable[..., Settings]
) -> None:
    asked = settings(
        "--tiers=nano,full",
        "--tiers-samples=3",
        "--tiers-margin=.05",
        "--tiers-confidence=0.9",
        "--tiers-max-cost=0.10",
        "--tiers-max-calls=7",
        "--tiers-cassettes=here",
        "--tiers-report=a.json",
        "--tiers-report=b/c.json",
    )
    assert (asked.samples, asked.margin, asked.confidence) == (3, 0.05, 0.9)
    assert (asked.max_cost, asked.max_calls) == (Decimal("0.1"), 7)
    assert asked.cassettes == Path(pytester.path, "here")
    assert asked.reports == (pytester.path / "a.json", pytester.path / "b" / "c.json")


def test_the_command_line_wins_over_the_file(
    pytester: pytest.Pytester, settings: Callable[..., Settings]
) -> None:
    pytester.makepyprojecttoml(
        """
        [tool.pytest-tiers]
        samples = 2
        margin = 0.2
        cassettes = "of_file"
        """
    )
    asked = settings("--tiers-samples=5")
    assert (asked.samples, asked.margin) == (5, 0.2)
    assert asked.cassettes == pytester.path / "of_file"


def test_a_tier_for_one_run(settings: Callable[..., Settings]) -> None:
    ladder = settings("--tiers= nano , new=vendor/model:2026=x ").ladder
    assert ladder.names == ("nano", "new")
    assert ladder["new"].model == "vendor/model:2026=x"


@pytest.mark.parametrize(
    ("file", "args", "flagship"),
    [
        ("", ["--tiers=nano,full,mini"], "mini"),
        ("flagship = 'full'", ["--tiers=nano,full,mini"], "full"),
        ("flagship = 'kimi'", ["--tiers=nano,full,mini"], "mini"),
        ("flagship = 'full'", ["--tiers=nano,full,mini", "--tiers-flagship=nano"], "nano"),
    ],
    ids=["last", "file", "file-not-on-ladder", "option"],
)
def test_the_flagship(
    pytester: pytest.Pytester,
    settings: Callable[..., Settings],
    file: str,
    args: list[str],
    flagship: str,
) -> None:
    pytester.makepyprojecttoml(f"[tool.pytest-tiers]\n{file}")
    assert settings(*args).ladder.flagship == flagship


@pytest.mark.parametrize(
    ("ci", "args", "mode"),
    [
        (None, [], "none"),
        (None, ["--tiers=nano,full"], "once"),
        ("", ["--tiers=nano,full"], "once"),
        ("true", ["--tiers=nano,full"], "none"),
        ("0", ["--tiers=nano,full"], "none"),
        ("true", ["--tiers=nano,full", "--tiers-record=new_episodes"], "new_episodes"),
        ("true", ["--tiers-record=once"], "once"),
        (None, ["--tiers=nano,full", "--tiers-record=none"], "none"),
    ],
)
def test_when_models_are_called(
    monkeypatch: pytest.MonkeyPatch,
    settings: Callable[..., Settings],
    ci: str | None,
    args: list[str],
    mode: str,
) -> None:
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    assert settings(*args).record == mode


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("", "gpt-5.4"),
        ("flagship = 'mini'", "gpt-5.4-mini"),
        ("ladder = ['nano', 'mini', 'current']", "gpt-5.4-mini"),
        ("flagship = 'current'\nladder = ['nano']", "gpt-5.4-nano"),
        ("ladder = []", "gpt-5.4"),
    ],
)
def test_tier_model_on_current_is_the_best_named_model(
    pytester: pytest.Pytester, settings: Callable[..., Settings], file: str, model: str
) -> None:
    pytester.makepyprojecttoml(f"[tool.pytest-tiers]\n{file}")
    assert settings().default_tier.model == model


def test_the_table_above_the_ini_file_counts(
    pytester: pytest.Pytester, settings: Callable[..., Settings]
) -> None:
    pytester.makepyprojecttoml("[tool.pytest-tiers]\nsamples = 4")
    inner = pytester.mkdir("inner")
    (inner / "pytest.ini").write_text("[pytest]\n")
    assert settings("--rootdir=inner", "-c", "inner/pytest.ini").samples == 4


def test_help_and_markers_name_ours(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest("--help").stdout.str()
    for option in ("tiers", "flagship", "samples", "record", "max-cost", "max-calls", "margin",
                   "confidence", "report", "cassettes"):  # fmt: skip
        assert "--tiers=" in shown if option == "tiers" else f"--tiers-{option}=" in shown
    pytester.runpytest("--markers").stdout.fnmatch_lines(["@pytest.mark.tiers(*names, samples=*"])


def test_a_report_in_a_folder_that_does_not_exist_yet(
    pytester: pytest.Pytester, report: Callable[[], dict[str, Any]]
) -> None:
    pytester.makepyfile(TIERED)
    args = ("--tiers=nano,full", "--tiers-report=new/a.json", "--tiers-report=out.json")
    assert pytester.runpytest(*args).ret == 0
    assert (pytester.path / "new" / "a.json").read_text() == (
        pytester.path / "out.json"
    ).read_text()
    assert report()["settings"]["flagship"] == "full"
