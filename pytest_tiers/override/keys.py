"""A placeholder for a missing API key, so that applications can be imported in a replay."""

from __future__ import annotations

import os

#: The variable that the OpenAI client reads when an application builds it.
VARIABLE = "OPENAI_API_KEY"

#: Stands in for a missing key. A call that would go out with it is refused.
PLACEHOLDER = "placeholder-of-pytest-tiers"

#: What OpenAI's client, which must have a key, sends to a server that needs none.
NOT_NEEDED = "no-key-needed"


class PlaceholderKey:
    """Sets the placeholder where the variable is missing or empty, and takes it back.

    An empty variable is what a CI job sees of a secret that it may not read; OpenAI's client
    refuses to be built with it too. Unless ``is_allowed``, nothing is set.
    """

    def __init__(self) -> None:
        self.is_allowed = True
        self._before: str | None = None

    def put(self) -> None:
        """Let clients be built without a key."""
        value = os.environ.get(VARIABLE)
        if self.is_allowed and not value:
            self._before = value
            os.environ[VARIABLE] = PLACEHOLDER

    def take_away(self) -> None:
        """Show the environment as it is, to tests that are not ours and at the end."""
        if os.environ.get(VARIABLE) != PLACEHOLDER:
            return
        if self._before is None:  # a pytest-xdist worker inherits the controller's placeholder
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = self._before


def has_key() -> bool:
    """Whether a real ``OPENAI_API_KEY`` is set: for ``pytest.mark.skipif``."""
    return os.environ.get(VARIABLE, PLACEHOLDER) not in ("", PLACEHOLDER)
