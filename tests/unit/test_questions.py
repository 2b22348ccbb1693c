from __future__ import annotations

from typing import Any

import pytest

from pytest_tiers.questions import question


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {
                "model": "m",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Which team?"}]},
                ],
            },
            "system:\nBe brief.\n\nuser:\nWhich team?",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {"function": {"name": "look", "arguments": '{"id": 1}'}},
                            {"function": {"name": "walk", "arguments": {"to": "ß"}}},
                            {"id": "custom"},
                        ],
                    },
                    {"role": "tool", "content": "found"},
                ]
            },
            'assistant:\nlook({"id": 1})\nwalk({"to": "ß"})\n{"id": "custom"}\n\ntool:\nfound',
        ),
        ({"instructions": "Be kind.", "input": "Hello"}, "instructions:\nBe kind.\n\nHello"),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                    {"type": "function_call", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "output": "42"},
                ]
            },
            "user:\nHi\n\nfunction_call:\nf({})\n\nfunction_call_output:\n42",
        ),
        ({"prompt": "Once upon"}, "Once upon"),
        ({"prompt": ["a", "b"]}, "a\n\nb"),
        ({"prompt": [[1, 2]]}, "1\n2"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "user:\n(image_url)",
        ),
        ({"messages": [{"content": {}}]}, "input:\n(nothing)"),
        ({"model": "m"}, ""),
        ({"input": None}, ""),
        ([1], ""),
        (None, ""),
    ],
)
def test_question(body: Any, text: str) -> None:
    assert question(body) == text


def test_a_long_request_keeps_its_beginning_and_its_end() -> None:
    found = question({"messages": [{"role": "user", "content": "x" * 100_000 + "Which team?"}]})
    assert found.startswith("user:\nxxx")
    assert found.endswith("xxxWhich team?")
    assert "… (96,017 characters) …" in found
    assert len(found) < 4_100
