"""Fields of bodies and URLs that hold a secret, told by their names.

Only text is hidden, never a number: ``max_tokens`` and ``usage`` say what a call costs. Neither
are bare names that say what is asked for: ``key``, ``code``, ``signature``, ``page_token``.
"""

from __future__ import annotations

import functools
import re
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit, urlunsplit

#: The end of a name in snake case.
_SECRET_NAME = re.compile(
    r"(^|_)(api|access|account|auth|encryption|functions|master|private|secret|session|shared"
    r"|signing|storage|subscription)_?keys?$"
    r"|(^|_)access_?key_?id$"
    r"|(^|_)(access|api|auth|bearer|bot|csrf|id|identity|oauth|refresh|security|session|xsrf)_?token$"
    r"|(^|_)(authorization|client_?assertion|connection_?string|jwt|pwd)$"
    r"|(credential|password|secret)s?$|(passcode|passphrase|passwd)$"
)

#: In URLs these are secrets, too.
_SECRET_IN_URL = re.compile(r"passw|secret|credential|signature$|^(auth|key|sig|token)$")

#: Words that may be any word's piece in a text for a model, and a key elsewhere.
_LOOKS_LIKE_A_KEY = re.compile(rb"(?=[^\s]*\d)[^\s]{16,}")

#: One of these is in every URL with a user, a query or a fragment.
_MAY_HIDE = frozenset("@?#")

#: JSON's names, as far as a secret could go by them: most bodies need no closer look.
_JSON_NAME = re.compile(rb'"([^"\\]{1,64})"\s*:')

#: JSON's strings, with the colon that makes a name of one, and brackets.
_JSON_TOKEN = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[][{}]', re.DOTALL)

#: A field of a multipart body, without files: head, name and value.
_PART = re.compile(
    rb'(content-disposition:[^\r\n]*?;\s*name="([^"\r\n]*)"(?![^\r\n]*filename)'
    rb"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)(.+?)(?=\r\n--)",
    re.DOTALL | re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret: ``apiKey``, ``client_secret``, ``x-api-key``."""
    return _SECRET_NAME.search(_snake_case(name)) is not None


def _snake_case(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[\s.-]", "_", words).lower()


def hide_secret_fields(body: bytes, content_type: str | None) -> bytes:
    """The body with ``<name>`` in place of the text of each field that holds a secret.

    Form, multipart, and everything with JSON in it (event streams, lines); the rest of the body
    stays byte for byte.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return b"&".join(map(_form_field, body.split(b"&")))
    if kind.startswith("multipart/"):
        return _PART.sub(_part, body)
    return _hide_in_json(body) if any(map(_may_be_secret, _JSON_NAME.findall(body))) else body


def hide_secret_query(url: str) -> str:
    """The URL without user and password, and with ``<name>`` for each secret in its query.

    What is no URL, in a ``location``, stays as it is.
    """
    if _MAY_HIDE.isdisjoint(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    host = parts.netloc.rpartition("@")[2]
    clean = parts._replace(
        netloc=host, query=_hide_in_query(parts.query), fragment=_hide_in_query(parts.fragment)
    )
    return urlunsplit(clean) if clean != parts else url


def _hide_in_query(query: str) -> str:
    fields = parse_qsl(query, keep_blank_values=True)
    if not any(_is_secret_in_url(*field) for field in fields):
        return query
    hidden = [
        (name, f"<{name}>" if _is_secret_in_url(name, value) else value) for name, value in fields
    ]
    return urlencode(hidden, safe="<>")


def _is_secret_in_url(name: str, value: str) -> bool:
    if name.lower() == "code":  # an authorization code, or a country's
        return _LOOKS_LIKE_A_KEY.fullmatch(value.encode("utf-8", "replace")) is not None
    return is_secret_name(name) or _SECRET_IN_URL.search(_snake_case(name)) is not None


def _form_field(field: bytes) -> bytes:
    name, equals, value = field.partition(b"=")
    plain, content = (unquote_plus(one.decode("latin-1")) for one in (name, value))
    return name + equals + b"<" + name + b">" if _is_hidden(plain, content.encode()) else field


def _part(found: re.Match[bytes]) -> bytes:
    head, name, value = found.groups()
    hidden = _is_hidden(name.decode("utf-8", "replace"), value)
    return head + b"<" + name + b">" if hidden else found[0]


def _is_hidden(name: str, value: bytes) -> bool:
    """Whether a value goes by its name, or, of a bare ``token``, also by its looks."""
    if name.lower() == "token":
        return _LOOKS_LIKE_A_KEY.fullmatch(value) is not None
    return value != b"" and is_secret_name(name)


@functools.lru_cache(maxsize=4096)
def _may_be_secret(name: bytes) -> bool:
    plain = name.decode("utf-8", "replace")
    return plain.lower() == "token" or is_secret_name(plain)


def _hide_in_json(body: bytes) -> bytes:
    """Replace the strings of secret fields; in lists too, and as ``{"value": ...}``."""
    parts: list[bytes] = []
    end = 0
    outer: list[bytes | None] = []  # the secret field that each open bracket is the value of
    field: bytes | None = None  # the one that a string here would be the value of
    for found in _JSON_TOKEN.finditer(body):
        string, colon = found.groups()
        if colon:
            name = string[1:-1]
            if name == b"value" and outer and outer[-1]:
                field = outer[-1]
            else:
                field = name if _may_be_secret(name) else None
        elif string:
            if field is not None and _is_hidden(field.decode("utf-8", "replace"), string[1:-1]):
                parts += [body[end : found.start()], b'"<', field, b'>"']
                end = found.end()
        elif found[0] in b"[{":
            outer.append(field)
            field = field if found[0] == b"[" else None
        else:
            field = outer.pop() if outer else None
    return b"".join((*parts, body[end:]))
