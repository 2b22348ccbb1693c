"""No key, cookie or account name reaches a file."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest

from pytest_tiers.cassettes.scrub import Scrubber

KEY = "sk-1234567890abcdef"

#: A key with characters that JSON, URLs and forms write in their own way.
ODD = 'open "sesame"/é+\nkey=1 '


@pytest.fixture
def scrubber(monkeypatch: pytest.MonkeyPatch) -> Scrubber:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SHORT_TOKEN", "eleven-char")
    monkeypatch.setenv("HOME_TOWN", "Wellington-NZ")
    monkeypatch.setenv("UNUSUALLY_NAMED", "of-a-tier-12345")
    return Scrubber(["UNUSUALLY_NAMED", "NOT_SET"])


def test_the_value_of_a_key_variable_is_written_as_its_name(scrubber: Scrubber) -> None:
    assert scrubber.text(f"my key is {KEY}!") == "my key is <OPENAI_API_KEY>!"
    assert scrubber.content(b"\xff" + KEY.encode()) == b"\xff<OPENAI_API_KEY>"


def test_a_tiers_key_variable_counts_whatever_its_name(scrubber: Scrubber) -> None:
    assert scrubber.text("of-a-tier-12345") == "<UNUSUALLY_NAMED>"


def test_short_values_and_ordinary_variables_stay(scrubber: Scrubber) -> None:
    assert scrubber.text("eleven-char in Wellington-NZ") == "eleven-char in Wellington-NZ"


@pytest.mark.parametrize("name", ["GITHUB_PAT", "DB_PASS", "db_pwd", "NPM_AUTH", "SSH_PASSPHRASE"])
def test_many_names_look_like_a_keys(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "Wellington-NZ-1")
    assert Scrubber().text("to Wellington-NZ-1") == f"to <{name}>"


@pytest.mark.parametrize("name", ["OLDPWD", "SSH_AUTH_SOCK", "COMPASS", "INFOPATH"])
def test_places_are_no_keys(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/home/wellington")
    assert Scrubber().text("/home/wellington") == "/home/wellington"


def test_a_key_that_begins_with_another_is_replaced_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_KEY", "sk-1234567890")
    monkeypatch.setenv("B_KEY", "sk-1234567890-production")
    assert Scrubber().text("sk-1234567890-production") == "<B_KEY>"


def test_the_same_value_in_two_variables_has_the_same_name_in_every_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("B_KEY", KEY)
    monkeypatch.setenv("A_KEY", KEY)
    names = {Scrubber().text(KEY) for _ in range(3)}
    assert len(names) == 1


def test_a_variable_that_is_no_text_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINARY_KEY", "\udcff" * 12)
    assert Scrubber().content(b"a" + b"\xff" * 12) == b"a<BINARY_KEY>"


@pytest.mark.parametrize(
    "written",
    [
        b'{"text": "%s"}' % json.dumps(ODD)[1:-1].encode(),
        b'{"text": "%s"}' % json.dumps(ODD, ensure_ascii=False)[1:-1].encode(),
        b'{"text": "%s"}' % json.dumps(ODD)[1:-1].replace("/", "\\/").encode(),
        b"text=" + quote(ODD, safe="").encode(),
        b"text=" + quote_plus(ODD).encode(),
        ODD.encode(),
    ],
    ids=["json", "json in its own script", "json with slashes", "url", "form", "text"],
)
def test_a_value_is_found_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, written: bytes
) -> None:
    monkeypatch.setenv("ODD_KEY", ODD)
    clean = Scrubber().content(written)
    assert b"<ODD_KEY>" in clean
    assert b"sesame" not in clean


def test_a_variable_that_a_fixture_sets_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    scrubber = Scrubber()
    monkeypatch.setenv("LATE_KEY", KEY)
    assert scrubber.text(KEY) == "<LATE_KEY>"


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://user:pass@host/v1?x=1", "https://host/v1?x=1"),
        ("https://host/v1?api_key=abc&q=a%20b", "https://host/v1?api_key=<api_key>&q=a+b"),
        (
            "https://host/v1?X-Amz-Signature=abc&empty=",
            "https://host/v1?X-Amz-Signature=<X-Amz-Signature>&empty=",
        ),
        (f"https://host/{KEY}/v1", "https://host/<OPENAI_API_KEY>/v1"),
        ("https://host/v1?q=a%20b&api-version=2", "https://host/v1?q=a%20b&api-version=2"),
    ],
    ids=["password", "key", "signature", "key in the path", "nothing"],
)
def test_a_url_keeps_no_secret(scrubber: Scrubber, url: str, clean: str) -> None:
    assert scrubber.url(url) == clean


def test_only_harmless_headers_are_kept(scrubber: Scrubber) -> None:
    headers: dict[str, str | list[str]] = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {KEY}",
        "api-key": KEY,
        "Set-Cookie": ["a=b", "c=d"],
        "OpenAI-Organization": "org-x",
        "OpenAI-Project": "proj-x",
        "x-request-id": "req_1",
        "Location": ["https://host/file?sig=abc"],
        "Retry-After": "2",
    }
    assert scrubber.headers(headers) == {
        "content-type": ["application/json"],
        "location": ["https://host/file?sig=<sig>"],
        "retry-after": ["2"],
    }


@pytest.mark.parametrize("name", ["keyword", "page_token", "nextPageToken", "sort_key", "monkey"])
def test_names_that_only_look_like_a_secret_stay_in_a_url(name: str) -> None:
    assert Scrubber().url(f"https://shop.example.com/?{name}=cats").endswith(f"?{name}=cats")


@pytest.mark.parametrize(
    "name", ["key", "api_key", "apiKey", "access_token", "X-Amz-Signature", "client_secret", "sig"]
)
def test_secrets_in_a_url_are_not_written(name: str) -> None:
    assert "s3cr3t" not in Scrubber().url(f"https://shop.example.com/?{name}=s3cr3t")
