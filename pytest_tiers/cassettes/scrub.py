"""What must never reach a file: keys, cookies, account names."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

from pytest_tiers.cassettes.fields import hide_secret_fields, hide_secret_query

#: Only these headers are kept. All others say who asks (authorization, api-key, cookies,
#: organization, project), or change from call to call.
KEPT_HEADERS = frozenset({"content-type", "content-encoding", "location", "retry-after"})

_SECRET_VARIABLE = re.compile(
    r"key|token|secret|passw|passphrase|credential|(^|_)(auth|creds|jwt|pass|pat)$|_pwd$",
    re.IGNORECASE,
)
_SHORTEST = 12

#: Text that is written the same in JSON and in a URL.
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*")


class Scrubber:
    """Replaces the values of key variables, and of fields that hold secrets, by ``<NAME>``."""

    def __init__(self, key_variables: Iterable[str] = ()) -> None:
        self._key_variables = frozenset(key_variables)

    @functools.cached_property
    def _names(self) -> Mapping[str, str]:
        """The names by what is replaced. Read at the first call: fixtures may set variables."""
        named = {*self._key_variables, *filter(_names_a_secret, os.environ)}
        found = {
            written: name
            for name in sorted(named)
            if len(value := os.environ.get(name, "")) >= _SHORTEST
            for written in _as_written(value)
        }
        # Longest first: one key may be the beginning of another.
        return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))

    def text(self, text: str) -> str:
        """The text without the values of key variables."""
        for value, name in self._names.items():
            text = text.replace(value, f"<{name}>")
        return text

    def content(self, body: bytes) -> bytes:
        """The body without the values of key variables."""
        for value, name in self._names.items():
            body = body.replace(os.fsencode(value), f"<{name}>".encode())
        return body

    def body(self, body: bytes, content_type: str | None) -> bytes:
        """The body without secrets, whether told by their value or by their field's name."""
        return hide_secret_fields(self.content(body), content_type)

    def url(self, url: str) -> str:
        """The URL without user, password and secrets in its query."""
        return self.text(hide_secret_query(url))

    def headers(self, headers: Mapping[str, str | list[str]]) -> dict[str, list[str]]:
        """The headers that may be written, names in lower case."""
        kept: dict[str, list[str]] = {}
        for name, values in headers.items():
            if (lower := name.lower()) in KEPT_HEADERS:
                clean = self.url if lower == "location" else self.text
                kept[lower] = [*map(clean, values if isinstance(values, list) else [values])]
        return kept


@functools.lru_cache(maxsize=4096)
def _names_a_secret(variable: str) -> bool:
    return _SECRET_VARIABLE.search(variable) is not None


def _as_written(value: str) -> set[str]:
    """A value as it stands in text, JSON, URLs and forms."""
    if _PLAIN.fullmatch(value):
        return {value}
    in_json = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    raw = os.fsencode(value)
    return {value, *in_json, *(one.replace("/", r"\/") for one in in_json), quote(raw, safe=""),
            quote_plus(raw)}  # fmt: skip
