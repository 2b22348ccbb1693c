"""Calls made at the same time: each replays its own answer, run after run."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.openai_server import OpenAIServer

RUNS = 50
TOGETHER = 20

#: Each function asks all texts at once and returns the answers in the order of the texts.
APP = """
import asyncio
import aiohttp
from openai import AsyncOpenAI

async def openai(texts):
    async with AsyncOpenAI(max_retries=0) as client:
        calls = [client.chat.completions.create(**asked(text)) for text in texts]
        return [made.choices[0].message.content for made in await asyncio.gather(*calls)]

async def over_aiohttp(texts):
    async with aiohttp.ClientSession() as session:
        async def ask(text):
            url = "https://api.openai.com/v1/chat/completions"
            async with session.post(url, json=asked(text)) as answer:
                return (await answer.json())["choices"][0]["message"]["content"]
        return await asyncio.gather(*(ask(text) for text in texts))

def asked(text):
    return {
        "model": "gpt-5.4", "max_tokens": 9, "messages": [{"role": "user", "content": text}]
    }
"""

#: Compares the answers with those of the first run, position by position.
TEST = """
import asyncio, json, pytest
from pathlib import Path
import app

@pytest.mark.tiers
@pytest.mark.parametrize("client", ["openai", "over_aiohttp"])
@pytest.mark.parametrize(
    "texts",
    [["the same"] * 20, [f"question {number}" for number in range(20)]],
    ids=["identical", "distinct"],
)
def test_order(client, texts):
    said = asyncio.run(getattr(app, client)(texts))
    first = Path(f"{client}-{len(set(texts))}.json")
    if not first.exists():
        first.write_text(json.dumps(said))
    assert said == json.loads(first.read_text())
    assert len(set(said)) == 20
"""


class Backwards:
    """Answers when all calls have arrived, the last one first; no two answers are the same."""

    def __init__(self, together: int) -> None:
        self.together, self.arrived, self.answered = together, 0, 0
        self.changed = threading.Condition()

    def __call__(self, _: dict[str, Any]) -> str:
        with self.changed:
            number = self.arrived = self.arrived + 1
            self.changed.notify_all()
            batch = (number - 1) // self.together
            place = (number - 1) % self.together
            mine = batch * self.together + self.together - 1 - place
            self.changed.wait_for(
                lambda: self.arrived >= (batch + 1) * self.together and self.answered == mine, 60
            )
            self.answered += 1
            self.changed.notify_all()
        return f"answer {number}"


def test_calls_made_together_replay_position_by_position_in_every_run(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = answer = Backwards(TOGETHER)
    project.makepyfile(app=APP, test_it=TEST)
    config = project.path / "pyproject.toml"
    # With fewer places the server would wait in vain for the last calls.
    config.write_text(f"{config.read_text()}\n[tool.pytest-tiers]\nmax_in_flight = {TOGETHER}\n")
    project.runpytest("--tiers=nano").assert_outcomes(passed=4)
    assert answer.answered == len(server.requests) == 4 * TOGETHER
    server.stop()
    for _ in range(RUNS):
        replay = project.runpytest("--tiers=nano", "-p", "tests.no_network")
        replay.assert_outcomes(passed=4)
