"""What must never reach a file: keys, cookies, account names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

#: Only these headers are kept. All others say who asks (authorization, api-key, cookies,
#: organization, project), or change from call to call.
KEPT_HEADERS = frozenset({"content-type", "content-encoding", "location", "retry-after"})

_SECRET_NAME = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
#: Whole names: `keyword`, `page_token` and `sort_key` say what is asked for.
_SECRET_QUERY = re.compile(
    r"(^|api|access|auth|functions|private|secret|subscription)[_.-]?key$"
    r"|(^|access|api|auth|bearer|id|refresh|security|session)[_.-]?token$"
    r"|secret|passw|credential|signature$|^sig$|^code$",
    re.IGNORECASE,
)
_SHORTEST = 12


class Scrubber:
    """Replaces the values of key variables by ``<NAME>``."""

    def __init__(self, key_variables: Iterable[str] = ()) -> None:
        named = {*key_variables, *filter(_SECRET_NAME.search, os.environ)}
        found = {os.environ.get(name, ""): name for name in sorted(named)}
        # Longest first: one key may be the beginning of another.
        self._names = {
            value: name
            for value, name in sorted(found.items(), key=lambda pair: -len(pair[0]))
            if len(value) >= _SHORTEST
        }

    def text(self, text: str) -> str:
        """The text without the values of key variables."""
        for value, name in self._names.items():
            text = text.replace(value, f"<{name}>")
        return text

    def bytes(self, body: bytes) -> bytes:
        """The body without the values of key variables."""
        for value, name in self._names.items():
            body = body.replace(os.fsencode(value), f"<{name}>".encode())
        return body

    def url(self, url: str) -> str:
        """The URL without user, password and keys in its query."""
        parts = urlsplit(url)
        query = parts.query
        if any(_SECRET_QUERY.search(name) for name, _ in parse_qsl(query)):
            query = urlencode(
                [
                    (name, f"<{name}>" if _SECRET_QUERY.search(name) else value)
                    for name, value in parse_qsl(query, keep_blank_values=True)
                ],
                safe="<>",
            )
        host = parts.netloc.rpartition("@")[2]
        return self.text(urlunsplit(parts._replace(netloc=host, query=query)))

    def headers(self, headers: Mapping[str, str | list[str]]) -> dict[str, list[str]]:
        """The headers that may be written, names in lower case."""
        kept: dict[str, list[str]] = {}
        for name, values in headers.items():
            if (lower := name.lower()) in KEPT_HEADERS:
                clean = self.url if lower == "location" else self.text
                kept[lower] = [*map(clean, values if isinstance(values, list) else [values])]
        return kept
