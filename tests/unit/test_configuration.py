"""The configuration file: every key, and what is said of every value that cannot be used."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pytest_tiers.configuration import FileConfiguration, read
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.settings import IgnoreRule, PromptSettings
from pytest_tiers.table import find_table
from pytest_tiers.tiers import BUILT_IN, Price, Tier

TABLE = "[tool.pytest-tiers]\n"
TIER = "[tool.pytest-tiers.tiers.fast]\nmodel = 'm'\n"
PROMPT = "[tool.pytest-tiers.prompts.'tests/test_a.py::test_b']\n"


def configuration(folder: Path, text: str) -> FileConfiguration:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return read(folder)


def problem(folder: Path, text: str) -> str:
    """What is said of a file; it always names the file."""
    with pytest.raises(ConfigurationError) as caught:
        configuration(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'pyproject.toml'}: ")
    return message


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('ladder = ["nano", "full"]', "ladder", ("nano", "full")),
        ('flagship = "mini"', "flagship", "mini"),
        ("samples = 3", "samples", 3),
        ('samples = "auto"', "samples", "auto"),
        ("max_samples = 5", "max_samples", 5),
        ('flagship_calls = "lazy"', "flagship_calls", "lazy"),
        ("margin = 0.05", "margin", 0.05),
        ("confidence = 0.9", "confidence", 0.9),
        (
            'tests = ["tests/llm/**", "tests/test_a.py"]',
            "tests",
            ("tests/llm/**", "tests/test_a.py"),
        ),
        ("tests = []", "tests", ()),
        ('replaces = ["gpt-5.4", "gpt-5.4-*"]', "replaces", ("gpt-5.4", "gpt-5.4-*")),
        ('ignore = [{ path = "seed" }]', "ignore", (IgnoreRule("seed"),)),
        (
            r"ignore = [{ path = 'messages[*].content', pattern = '\d{4}' }]",
            "ignore",
            (IgnoreRule("messages[*].content", r"\d{4}"),),
        ),
        ('ignore_hosts = ["metrics.example.com"]', "ignore_hosts", ("metrics.example.com",)),
        ("placeholder_key = false", "placeholder_key", False),
    ],
)
def test_each_key_is_read(tmp_path: Path, line: str, key: str, value: Any) -> None:
    assert getattr(configuration(tmp_path, TABLE + line), key) == value


def test_cassettes_are_relative_to_the_file(tmp_path: Path) -> None:
    assert configuration(tmp_path, TABLE + 'cassettes = "c/d"').cassettes == tmp_path / "c" / "d"


def test_a_tier_with_every_key(tmp_path: Path) -> None:
    text = """
[tool.pytest-tiers.tiers.fast]
model = "small"
base_url = "https://llm.example.com/v1"
api_key_env = "FAST_KEY"
params = { reasoning_effort = "low" }
drop_params = ["temperature"]
rename_params = { max_tokens = "max_completion_tokens" }
price = { input = 0.28, cached_input = 0.028, output = 2 }
price_as = "gpt-5.4-nano"
"""
    assert configuration(tmp_path, text).tiers["fast"] == Tier(
        "fast",
        "small",
        base_url="https://llm.example.com/v1",
        api_key_env="FAST_KEY",
        params={"reasoning_effort": "low"},
        drop_params=("temperature",),
        rename_params={"max_tokens": "max_completion_tokens"},
        price=Price(Decimal("0.28"), Decimal("2"), Decimal("0.028")),
        price_as="gpt-5.4-nano",
    )


def test_a_built_in_tier_keeps_what_the_file_does_not_change(tmp_path: Path) -> None:
    text = "[tool.pytest-tiers.tiers.deepseek]\nparams = { seed = 1 }"
    tiers = configuration(tmp_path, text).tiers
    assert tiers["deepseek"].price == BUILT_IN["deepseek"].price
    assert tiers["deepseek"].base_url == "https://api.deepseek.com/v1"
    assert tiers["deepseek"].params == {"seed": 1}
    assert tiers["nano"] == BUILT_IN["nano"]


def test_a_built_in_tier_with_a_model_of_its_own_keeps_no_foreign_endpoint(tmp_path: Path) -> None:
    text = "[tool.pytest-tiers.tiers.deepseek]\nmodel = 'other'"
    assert configuration(tmp_path, text).tiers["deepseek"] == Tier("deepseek", "other")


def test_a_prompt_with_every_key(tmp_path: Path) -> None:
    text = (
        PROMPT
        + """
tiers = ["nano"]
samples = 2
margin = 0.2
min_pass_rate = 1
prompt = "triage"
monthly_runs = 200_000
concurrent = true
"""
    )
    assert configuration(tmp_path, text).prompts == {
        "tests/test_a.py::test_b": PromptSettings(
            ("nano",), 2, 0.2, 1.0, "triage", 200_000, concurrent=True
        )
    }


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        ("ladder = 'nano,full'", "ladder", "expected a list of texts, got 'nano,full' (str)."),
        ("ladder = ['nano', 3]", "ladder", "expected text, got 3 (int)."),
        ("ladder = ['nano', 'nano']", "ladder", '"nano" stands there twice.'),
        ("ladder = ['nanoo']", "ladder", 'unknown tier "nanoo"; did you mean "nano"?'),
        ("flagship = 'big'", "flagship", "Known tiers: current, deepseek, full, kimi, mini, nano."),
        ("flagship = ''", "flagship", "expected text, got '' (str)."),
        ("samples = 0", "samples", 'expected a whole number from 1 up or "auto", got 0 (int).'),
        ("samples = 1.5", "samples", "got 1.5 (float)."),
        ("samples = '3'", "samples", "got '3' (str)."),
        ("samples = true", "samples", "got True (bool)."),
        ("margin = 0", "margin", "expected a number between 0 and 1 (both excluded), got 0 (int)."),
        ("margin = 10", "margin", "got 10 (int)."),
        ("margin = nan", "margin", "got nan (float)."),
        ("margin = '0.1'", "margin", "got '0.1' (str)."),
        ("confidence = 1.0", "confidence", "got 1.0 (float)."),
        ("cassettes = 3", "cassettes", "expected text, got 3 (int)."),
        ("tests = 'tests/**'", "tests", "expected a list of texts, got 'tests/**' (str)."),
        ("tests = ['/srv/**']", "tests", '"/srv/**" cannot be used: Non-relative patterns'),
        ("tests = ['tests/**.py']", "tests", '"tests/**.py" cannot be used'),
        ("replaces = {}", "replaces", "expected a list of texts, got {} (dict)."),
        ("ignore = ['seed']", "ignore", "expected a table, got 'seed' (str)."),
        ("ignore = 'seed'", "ignore", "expected a list of tables with a path, got 'seed' (str)."),
        ("ignore = [{ pattern = 'x' }]", "ignore", '"path" is missing'),
        ("ignore = [{ path = 'a', patern = 'x' }]", "ignore", 'did you mean "pattern"?'),
        ("ignore = [{ path = 'a', pattern = '(' }]", "ignore pattern", "not a regular expression"),
        ("ignore_hosts = 'a'", "ignore_hosts", "expected a list of texts, got 'a' (str)."),
        ("placeholder_key = 'no'", "placeholder_key", "expected true or false, got 'no' (str)."),
        ("tiers = 3", "tiers", "expected a table, got 3 (int)."),
        ("prompts = []", "prompts", "expected a table, got [] (list)."),
    ],
)
def test_a_bad_value_is_named_with_file_and_key(
    tmp_path: Path, line: str, key: str, said: str
) -> None:
    message = problem(tmp_path, TABLE + line)
    assert f": [tool.pytest-tiers] {key}: " in message
    assert said in message


@pytest.mark.parametrize(
    ("lines", "where", "said"),
    [
        ("model = 3", "model", "expected text, got 3 (int)."),
        ("base_url = 'llm.example.com/v1'", "base_url", 'a URL such as "https://host/v1"'),
        ("params = 'low'", "params", "expected a table, got 'low' (str)."),
        ("drop_params = 'seed'", "drop_params", "expected a list of texts, got 'seed' (str)."),
        ("rename_params = { a = 1 }", "rename_params a", "expected text, got 1 (int)."),
        ("price = 3", "price", "expected a table, got 3 (int)."),
        ("price = { input = 1 }", "price", '"output" is missing; both "input" and "output"'),
        ("price = { input = 1, outptu = 2 }", "price", 'did you mean "output"?'),
        ("price = { input = -1, output = 2 }", "price input", "0 or more, got -1 (int)."),
        ("price = { input = inf, output = 2 }", "price input", "0 or more, got inf (float)."),
        ("price = { input = 'free', output = 2 }", "price input", "got 'free' (str)."),
        ("price = { input = true, output = 2 }", "price input", "got True (bool)."),
        ("price_as = []", "price_as", "expected text, got [] (list)."),
        ("retires = '2027-03-01'", "retires", "a date such as 2027-03-01, got '2027-03-01' (str)."),
        ("retires = 2027-03-01T00:00:00", "retires", "a date such as 2027-03-01, got "),
    ],
)
def test_a_bad_value_of_a_tier_is_named(tmp_path: Path, lines: str, where: str, said: str) -> None:
    text = "[tool.pytest-tiers.tiers.fast]\n" + lines
    message = problem(tmp_path, text)
    assert f": [tool.pytest-tiers.tiers.fast] {where}: " in message
    assert said in message


def test_a_key_in_place_of_its_variables_name_is_not_shown(tmp_path: Path) -> None:
    message = problem(tmp_path, TIER + "api_key_env = 'sk-proj-1234'")
    assert "[tool.pytest-tiers.tiers.fast] api_key_env: " in message
    assert "the name of an environment variable, not the key itself" in message
    assert "1234" not in message


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        ("samples = 0", "samples", 'expected a whole number from 1 up or "auto", got 0 (int).'),
        ("margin = 1", "margin", "(both excluded), got 1 (int)."),
        ("min_pass_rate = 90", "min_pass_rate", "expected a number from 0 to 1, got 90 (int)."),
        ("monthly_runs = '1'", "monthly_runs", "got '1' (str)."),
        ("prompt = 3", "prompt", "expected text, got 3 (int)."),
        ("concurrent = 1", "concurrent", "expected true or false, got 1 (int)."),
        ("tiers = ['nano', 'nano']", "tiers", '"nano" stands there twice.'),
    ],
)
def test_a_bad_value_of_a_prompt_is_named(tmp_path: Path, line: str, key: str, said: str) -> None:
    message = problem(tmp_path, PROMPT + line)
    assert f'[tool.pytest-tiers.prompts."tests/test_a.py::test_b"] {key}: ' in message
    assert said in message


def test_a_prompt_names_an_unknown_tier(tmp_path: Path) -> None:
    message = problem(tmp_path, PROMPT + "tiers = ['mani']")
    assert 'prompts."tests/test_a.py::test_b".tiers: unknown tier "mani"; did you mean' in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TABLE + "sample = 3",
            '[tool.pytest-tiers]: unknown key "sample"; did you mean "samples"? Valid keys: '
            "cassettes, confidence, embeddings, flagship, flagship_calls, ignore, ignore_hosts, ",
        ),
        (TABLE + "xyz = 3", 'unknown key "xyz". Valid keys: '),
        (
            TIER + "base-url = 'http://a'",
            '[tool.pytest-tiers.tiers.fast]: unknown key "base-url"; did you mean "base_url"?',
        ),
        (
            PROMPT + "min_pas_rate = 1",
            'unknown key "min_pas_rate"; did you mean "min_pass_rate"? Valid keys: concurrent, ',
        ),
    ],
    ids=["table", "nothing-near", "tier", "prompt"],
)
def test_an_unknown_key_is_said_with_the_nearest_and_all_valid_ones(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in problem(tmp_path, text)


def test_a_new_tier_needs_a_model(tmp_path: Path) -> None:
    text = "[tool.pytest-tiers.tiers.fast]\nbase_url = 'http://127.0.0.1:1/v1'"
    assert '"model" is missing: which model is "fast"?' in problem(tmp_path, text)


def test_the_built_in_tier_current_has_no_settings(tmp_path: Path) -> None:
    text = "[tool.pytest-tiers.tiers.current]\nmodel = 'x'"
    assert '"current" stands for the application\'s own calls' in problem(tmp_path, text)


@pytest.mark.parametrize("name", ["nano-2", "a b", "a/b", "mini[1]", "größe", "a=b"])
def test_a_name_that_no_tier_can_have(tmp_path: Path, name: str) -> None:
    message = problem(tmp_path, f"[tool.pytest-tiers.tiers.'{name}']\nmodel = 'x'")
    assert f'"{name}" cannot name a tier: use letters, digits' in message


@pytest.mark.parametrize("name", ["gpt-5.4-mini", "v2", "2", "a_b.c"])
def test_a_name_that_a_tier_can_have(tmp_path: Path, name: str) -> None:
    text = f"[tool.pytest-tiers.tiers.'{name}']\nmodel = 'x'"
    assert configuration(tmp_path, text).tiers[name] == Tier(name, "x")


def test_without_a_table_the_defaults_apply(tmp_path: Path) -> None:
    text = "[project]\nname = 'app'\ndependencies = ['pytest-tiers']"
    assert configuration(tmp_path, text) == FileConfiguration()


def test_the_nearest_file_with_our_table_counts(tmp_path: Path) -> None:
    inner = tmp_path / "packages" / "app"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text("[tool.pytest.ini_options]\n# pytest-tiers: see above\n")
    outer = configuration(tmp_path, TABLE + "samples = 2\ncassettes = 'c'")
    assert read(inner) == outer
    assert outer.path == tmp_path / "pyproject.toml"
    assert outer.cassettes == tmp_path / "c"


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    assert "[tool.pytest-tiers]: expected a table, got 3" in problem(
        tmp_path, "[tool]\npytest-tiers = 3"
    )


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    assert "not valid TOML" in problem(tmp_path, "[tool.pytest-tiers\n")


def test_a_file_of_others_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[not toml")
    found = find_table(tmp_path)
    assert found is None or found[0].parent != tmp_path
