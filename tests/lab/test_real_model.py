"""The main job on a real model: record, then replay with the model gone."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import APP

TESTS = """
import pytest
from app import ask

@pytest.mark.tiers
@pytest.mark.parametrize("word", ["red", "green", "blue"])
def test_names_a_colour(word):
    assert word in ask(f"Repeat this word and nothing else: {word}").lower()

@pytest.mark.tiers
def test_streams():
    from app import client

    stream = client.chat.completions.create(
        model="gpt-5.4", max_tokens=8, stream=True, temperature=0,
        stream_options={"include_usage": True},
        messages=[{"role": "user", "content": "Say hello."}],
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
"""


def test_record_on_a_real_model_and_replay_with_it_gone(
    pytester: pytest.Pytester, real_model: tuple[str, Callable[[], None]]
) -> None:
    url, end_model = real_model
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        asyncio_default_fixture_loop_scope = "function"

        [tool.pytest-tiers.tiers.nano]
        model = "nano"
        base_url = "{url}"
        price_as = "gpt-5.4-nano"
        params = {{ temperature = 0, seed = 1 }}

        [tool.pytest-tiers.tiers.same]
        model = "nano"
        base_url = "{url}"
        price_as = "gpt-5.4"
        params = {{ temperature = 0, seed = 1 }}
        """
    )
    pytester.makepyfile(TESTS, app=APP)
    pytester.syspathinsert()
    args = ("--tiers=nano,same", "--tiers-control=off", "--tiers-report=out.json")
    out = Path(pytester.path) / "out.json"

    pytester.runpytest(*args)
    first = json.loads(out.read_text())
    assert [trial["outcome"] for trial in first["trials"] if trial["outcome"] == "error"] == []
    assert all(not trial["replayed"] for trial in first["trials"])
    calls = [call for trial in first["trials"] for call in trial["calls"]]
    assert len(calls) == 8
    assert all(call["tokens"]["output"] > 0 and call["cost_usd"] for call in calls)

    end_model()
    with socket.socket() as probe:
        assert probe.connect_ex((urlsplit(url).hostname, urlsplit(url).port)) != 0

    pytester.runpytest(*args)
    second = json.loads(out.read_text())
    assert all(trial["replayed"] for trial in second["trials"])
    assert second["prompts"] == first["prompts"]
    assert second["spent_usd"] == "0"
    # The two tiers are one model at temperature 0: they cannot differ.
    assert all(p["comparisons"]["nano"]["difference"] == 0 for p in second["prompts"])
