"""How many calls may be under way to an endpoint, and when it wants to be left in peace."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

#: Seconds that an endpoint may ask us to wait. Whoever is asked for more gives up instead.
LONGEST_PAUSE = 60.0


class Gates:
    """Lets at most ``most`` calls at a time through to each endpoint, and none while it rests."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: Counter[str] = Counter()
        self._closed_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def try_enter(self, url: str) -> bool:
        """Take a place at the endpoint of ``url``; False where there is none now."""
        origin = origin_of(url)
        with self._lock:
            is_closed = time.monotonic() < self._closed_until.get(origin, 0.0)
            if is_closed or self._inside[origin] >= self._most:
                return False
            self._inside[origin] += 1
            return True

    def leave(self, url: str) -> None:
        """Give the place back."""
        with self._lock:
            self._inside[origin_of(url)] -= 1

    def rest(self, url: str, seconds: float) -> None:
        """Let nobody in for so many seconds, `LONGEST_PAUSE` at most."""
        until = time.monotonic() + min(seconds, LONGEST_PAUSE)
        with self._lock:
            origin = origin_of(url)
            self._closed_until[origin] = max(until, self._closed_until.get(origin, 0.0))


def retry_after(header: str | None) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None where it does not."""
    if header is None:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(header))
    with contextlib.suppress(ValueError, TypeError):  # a date without a time zone
        when = parsedate_to_datetime(header)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    return None


def origin_of(url: str) -> str:
    """The endpoint of a URL: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
