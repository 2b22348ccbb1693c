"""A placeholder for a missing API key, so that applications can be imported in a replay."""

from __future__ import annotations

import os

#: The variable that the OpenAI client reads when an application builds it.
VARIABLE = "OPENAI_API_KEY"

#: Stands in for a missing key. A call that would go out with it is refused.
PLACEHOLDER = "placeholder-of-pytest-tiers"


class PlaceholderKey:
    """Sets the placeholder where the variable is missing, and takes it back."""

    def __init__(self) -> None:
        # A pytest-xdist worker inherits the controller's placeholder.
        self._needed = os.environ.get(VARIABLE, PLACEHOLDER) == PLACEHOLDER

    def put(self) -> None:
        """Let clients be built without a key."""
        if self._needed:
            os.environ.setdefault(VARIABLE, PLACEHOLDER)

    def take_away(self) -> None:
        """Show the environment as it is, to tests that are not ours and at the end."""
        if self._needed and os.environ.get(VARIABLE) == PLACEHOLDER:
            del os.environ[VARIABLE]


def has_key() -> bool:
    """Whether a real ``OPENAI_API_KEY`` is set: for ``pytest.mark.skipif``."""
    return os.environ.get(VARIABLE, PLACEHOLDER) not in ("", PLACEHOLDER)
