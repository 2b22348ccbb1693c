"""Which fields are hidden by their name, and that nothing else in a body changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tiers.cassettes.fields import (
    hide_secret_fields,
    hide_secret_query,
    is_secret_name,
)

JSON = "application/json; charset=utf-8"
FORM = "application/x-www-form-urlencoded"


def hidden(value: Any) -> Any:
    """A JSON value as it is written."""
    return json.loads(hide_secret_fields(json.dumps(value).encode(), JSON))


SECRETS = [
    "api_key", "apikey", "apiKey", "APIKey", "OPENAI_API_KEY", "x-api-key", "openaiApiKey",
    "api_keys", "access_key", "aws_access_key_id", "secretAccessKey", "private_key",
    "privateKey", "signing_key", "subscription-key", "session_key", "AccountKey",
    "access_token", "accessToken", "refresh_token", "id_token", "idToken", "auth_token",
    "bearer_token", "session_token", "security_token", "X-Amz-Security-Token", "bot_token",
    "csrf_token", "client_secret", "clientSecret", "secret", "secrets", "webhook_secret",
    "password", "Password", "db_password", "newPassword", "passwd", "passphrase",
    "passcode", "pwd", "jwt", "authorization", "Proxy-Authorization", "client_assertion",
    "connectionString", "credential", "credentials"
]  # fmt: skip

ORDINARY = [
    "key", "keys", "code", "signature", "token_type", "tokens", "max_tokens",
    "max_output_tokens", "prompt_tokens", "total_tokens", "page_token", "nextPageToken",
    "next_token", "continuation_token", "pad_token", "eos_token", "valid_token", "keyword",
    "keywords", "sort_key", "primary_key", "public_key", "partition_key",
    "prompt_cache_key", "idempotency_key", "monkey", "turkey", "secretary", "secret_name",
    "password_hint", "reset_password_url", "authorization_endpoint", "session_id",
    "user_id", "assertion", "cookie", "author", "usage", "logprobs", "bearer"
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_text_under_the_name_of_a_secret_is_hidden(name: str) -> None:
    assert is_secret_name(name)
    assert hidden({"a": {name: "s3cr3t", "b": "c"}}) == {"a": {name: f"<{name}>", "b": "c"}}
    assert (
        hide_secret_fields(f"a=1&{name}=s3cr3t".encode(), FORM) == f"a=1&{name}=<{name}>".encode()
    )
    assert "s3cr3t" not in hide_secret_query(f"https://host/?a=1&{name}=s3cr3t")


@pytest.mark.parametrize("name", ORDINARY)
def test_a_name_that_only_looks_like_one_stays(name: str) -> None:
    said = {name: "value-of-16-letters", "messages": [{name: ["another"]}]}
    assert hidden(said) == said
    form = f"{name}=value-of-16-letters".encode()
    assert hide_secret_fields(form, FORM) == form


@pytest.mark.parametrize("value", [1234, 0.5, True, None, "", {}, [], {"type": "string"}, [1, 2]])
def test_what_is_no_text_stays(value: Any) -> None:
    assert hidden({"password": value, "api_keys": [value]}) == {
        "password": value,
        "api_keys": [value],
    }


def test_lists_and_values_of_a_secret_are_hidden() -> None:
    assert hidden(
        {
            "api_keys": ["one", "two", ["three"], {"id": "key-1", "value": "four"}],
            "client_secret": {"value": "ek_123", "expires_at": 12, "scope": "all"},
            "credentials": {"user": "me", "password": "open sesame"},
            "value": "stays",
            "after": ["stays"],
        }
    ) == {
        "api_keys": [
            "<api_keys>",
            "<api_keys>",
            ["<api_keys>"],
            {"id": "key-1", "value": "<api_keys>"},
        ],
        "client_secret": {"value": "<client_secret>", "expires_at": 12, "scope": "all"},
        "credentials": {"user": "me", "password": "<password>"},
        "value": "stays",
        "after": ["stays"],
    }


@pytest.mark.parametrize(
    ("token", "is_hidden"),
    [
        ("xoxb-123456789012-abcdef", True),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x", True),
        ("hello", False),
        ("internationalization", False),
        ("a text of several words, 12", False),
    ],
)
def test_a_bare_token_is_hidden_where_it_looks_like_a_key(token: str, is_hidden: bool) -> None:
    assert hidden({"token": token}) == {"token": "<token>" if is_hidden else token}
    form = f"token={token.replace(' ', '+')}".encode()
    assert (hide_secret_fields(form, FORM) != form) is is_hidden


def test_tokens_of_a_models_answer_stay() -> None:
    answer = {
        "choices": [{"logprobs": {"content": [{"token": "Hel", "top_logprobs": []}]}}],
        "usage": {"prompt_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 0}},
        "max_tokens": 50,
    }
    assert hidden(answer) == answer


def test_a_schema_with_such_a_field_stays_a_schema() -> None:
    schema = {
        "properties": {"password": {"type": "string", "description": "At least 8"}},
        "required": ["password", "api_key"],
    }
    assert hidden(schema) == schema


def test_the_rest_of_the_body_stays_byte_for_byte() -> None:
    body = (
        b'{ "n":1.50,"n":1e400,\n"a":"\\u4f60 \\"password\\": \\"x\\"", "password" : "a\\"b\\\\" }'
    )
    assert hide_secret_fields(body, JSON) == body.replace(b'"a\\"b\\\\"', b'"<password>"')


def test_json_in_another_dress_is_found() -> None:
    stream = b'data: {"access_token": "abc", "n": 1}\n\ndata: [DONE]\n\n'
    assert hide_secret_fields(stream, "text/event-stream") == stream.replace(
        b"abc", b"<access_token>"
    )
    lines = b'{"password": "one"}\n{"password": "two"}\n'
    assert hide_secret_fields(lines, None) == b'{"password": "<password>"}\n' * 2
    assert hide_secret_fields(b'"password": "a" ]}', None) == b'"password": "<password>" ]}'


@given(st.binary() | st.text().map(str.encode))
def test_what_is_hidden_already_stays_as_it_is(body: bytes) -> None:
    for kind in (JSON, FORM, "multipart/form-data; boundary=x", None):
        once = hide_secret_fields(body, kind)
        assert hide_secret_fields(once, kind) == once
    secret = b'{"password": ' + json.dumps(body.decode("latin-1")).encode() + b"}"
    assert hide_secret_fields(secret, JSON) in (b'{"password": "<password>"}', b'{"password": ""}')


def test_a_form_keeps_its_other_fields_as_they_were_sent() -> None:
    form = b"grant_type=password&username=a%40b&pass%77ord=s3&flag&code=abc&q=a+b&x=%zz"
    clean = form.replace(b"pass%77ord=s3", b"pass%77ord=<pass%77ord>")
    assert hide_secret_fields(form, FORM) == clean


def test_fields_of_a_multipart_body_are_hidden_and_files_stay() -> None:
    def part(head: str, value: str) -> str:
        return f"--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"

    def body(password: str) -> bytes:
        return (
            part('name="user"', "me")
            + part('name="password"', password)
            + part('name="secret"; filename="a.txt"', "a file")
            + "--x--\r\n"
        ).encode()

    sent = hide_secret_fields(body("open\r\nsesame"), "multipart/form-data; boundary=x")
    assert sent == body("<password>")


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://me:pass@host/?q=1#top", "https://host/?q=1#top"),
        ("https://host/?token=a&code=4/0AX4XfWhDeJXq2Zk&q=%20",
         "https://host/?token=<token>&code=<code>&q=+"),
        ("https://host/?code=NZ&q=%20", "https://host/?code=NZ&q=%20"),
        ("https://app/cb#access_token=a&state=b", "https://app/cb#access_token=<access_token>&state=b"),
        ("HTTPS://Host/?q=a%20b", "HTTPS://Host/?q=a%20b"),
        ("http://[no url", "http://[no url"),
    ],
)  # fmt: skip
def test_a_url_loses_its_secrets_only(url: str, clean: str) -> None:
    assert hide_secret_query(url) == clean
