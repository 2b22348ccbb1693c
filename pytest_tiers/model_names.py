"""Whether two names mean the same model."""

from __future__ import annotations

import re
from functools import lru_cache

#: What a server may append to a model's name: a date or version, a tag, a file's ending.
_SNAPSHOT = re.compile(r"([-@:](\d[\d.-]*|latest|preview))*(\.gguf)?")


@lru_cache(maxsize=1_000)  # a run asks for each of its calls, of a few models
def is_another(asked: str | None, answered: str | None) -> bool:
    """Whether ``answered`` is another model than ``asked``; a snapshot or a file is no other."""
    if asked is None or answered is None:
        return False
    name = asked.casefold().rpartition("/")[2].removesuffix("-latest")
    rest = answered.casefold().rpartition("/")[2]
    return not rest.startswith(name) or not _SNAPSHOT.fullmatch(rest.removeprefix(name))
