"""A request as a tier wants it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.override.keys import PLACEHOLDER
from pytest_tiers.override.rewrite import rewritten
from pytest_tiers.tiers import Tier

APP_KEY = {"authorization": "Bearer sk-app"}
OPENAI = "https://api.openai.com/v1/chat/completions"


def request(url: str = OPENAI, headers: dict[str, str] | None = None, **body: Any) -> SentRequest:
    asked = {"model": "gpt-5.4", "messages": [], **body}
    return SentRequest(
        "POST", url, APP_KEY if headers is None else headers, json.dumps(asked).encode()
    )


def body_on(tier: Tier, **body: Any) -> dict[str, Any]:
    sent = rewritten(request(**body), tier, None).json
    assert isinstance(sent, dict)
    return {name: value for name, value in sent.items() if name != "messages"}


def test_the_tiers_model_replaces_the_applications() -> None:
    assert body_on(Tier("nano", "gpt-5.4-nano")) == {"model": "gpt-5.4-nano"}


def test_parameters_are_renamed_then_dropped_then_set() -> None:
    tier = Tier(
        "deepseek",
        "deepseek-chat",
        params={"seed": 1, "temperature": 0.5, "model": "no"},
        drop_params=("top_p", "max_completion_tokens"),
        rename_params={"max_tokens": "max_completion_tokens", "n": "count"},
    )
    assert body_on(tier, temperature=1, top_p=0.9, max_tokens=5, n=2) == {
        "model": "deepseek-chat",
        "temperature": 0.5,
        "seed": 1,
        "count": 2,
    }


def test_text_in_any_script_arrives() -> None:
    sent = rewritten(request(messages=[{"content": "你好 😀"}]), Tier("nano", "m"), None)
    assert sent.json["messages"] == [{"content": "你好 😀"}]


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.deepseek.com/v1", "https://api.deepseek.com/v1/chat/completions"),
        ("https://api.deepseek.com/v1/", "https://api.deepseek.com/v1/chat/completions"),
        (
            "https://host/openai/v1?api-version=2",
            "https://host/openai/v1/chat/completions?api-version=2",
        ),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/chat/completions"),
    ],
)
def test_the_tiers_base_url_takes_the_endpoint(base_url: str, url: str) -> None:
    assert rewritten(request(f"{OPENAI}?x=1"), Tier("t", "m", base_url=base_url), None).url == url


def test_without_a_base_url_the_application_decides_where() -> None:
    assert rewritten(request(f"{OPENAI}?x=1"), Tier("t", "m"), None).url == f"{OPENAI}?x=1"


def test_an_azure_deployment_takes_the_tiers_model() -> None:
    url = "https://r.openai.azure.com/openai/deployments/gpt-5/chat/completions?api-version=1"
    sent = rewritten(request(url, {"api-key": "app"}), Tier("t", "mini"), "tiers-own")
    assert sent.url == url.replace("gpt-5", "mini")
    assert sent.headers["api-key"] == "tiers-own"
    assert "authorization" not in sent.headers


def test_the_applications_key_stays_at_its_own_host() -> None:
    tier = Tier("t", "m", base_url="https://api.openai.com/other")
    assert rewritten(request(), tier, None).headers["authorization"] == "Bearer sk-app"


def test_nothing_that_says_who_asks_goes_to_another_host() -> None:
    headers = {
        **APP_KEY,
        "api-key": "a",
        "x-api-key": "b",
        "cookie": "c",
        "openai-organization": "d",
        "openai-project": "e",
        "helicone-auth": "f",
        "ocp-apim-subscription-key": "g",
        "accept": "application/json",
        "user-agent": "app",
    }
    sent = rewritten(request(headers=headers), Tier("t", "m", base_url="https://other/v1"), None)
    assert sent.headers.keys() == {"accept", "user-agent", "content-length"}


def test_another_port_is_another_host() -> None:
    sent = rewritten(
        request("http://127.0.0.1:1/v1/chat/completions"),
        Tier("t", "m", base_url="http://127.0.0.1:2/v1"),
        None,
    )
    assert "authorization" not in sent.headers


def test_the_tiers_own_key_goes_as_bearer() -> None:
    tier = Tier("t", "m", base_url="https://other/v1", api_key_env="T_KEY")
    headers = {"api-key": "azure", **APP_KEY}
    sent = rewritten(request(headers=headers), tier, "sk-tier")
    assert sent.headers["authorization"] == "Bearer sk-tier"
    assert "api-key" not in sent.headers


def test_the_placeholder_is_never_sent_to_a_tiers_own_address() -> None:
    tier = Tier("t", "m", base_url="https://api.openai.com/v1")
    headers = {"authorization": f"Bearer {PLACEHOLDER}"}
    assert "authorization" not in rewritten(request(headers=headers), tier, None).headers


def test_the_length_is_that_of_the_new_body() -> None:
    headers = {"content-length": "3", "transfer-encoding": "chunked", "host": "api.openai.com"}
    sent = rewritten(request(headers=headers), Tier("t", "m"), None)
    assert sent.headers == {"content-length": str(len(sent.body))}
