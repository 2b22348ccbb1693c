"""Two outputs mean the same where their embeddings point the same way."""

from __future__ import annotations

import base64
import json
import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from pytest_tiers.agreements import Degree, degree_of

#: Embeds texts: a vector of numbers for each.
Embed = Callable[[list[str]], Sequence[Sequence[float]]]


def similar(embed: Embed, flagship: Any, candidate: Any, threshold: float) -> Degree:
    """Whether the cosine of both outputs' embeddings reaches ``threshold``.

    Raises ValueError where the vectors cannot be compared.
    """
    one, other = embed([_text(flagship), _text(candidate)])
    return degree_of(min(1.0, max(0.0, cosine(one, other))), threshold)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors. Raises ValueError."""
    one, other = list(map(float, one)), list(map(float, other))
    if len(one) != len(other):
        raise ValueError(f"embeddings of {len(one)} and {len(other)} numbers")
    lengths = math.hypot(*one) * math.hypot(*other)
    if not lengths or not math.isfinite(lengths):
        raise ValueError("an embedding without a direction")
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths


def vector(embedding: Any) -> list[float]:
    """An embedding as the endpoint gives it: base64 of 32-bit floats, or a list of numbers."""
    if not isinstance(embedding, str):
        return list(embedding)
    numbers = array("f", base64.b64decode(embedding))
    return numbers.tolist()


def _text(output: Any) -> str:
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    sendable = text.encode("utf-8", "backslashreplace").decode()
    return sendable or " "  # endpoints refuse an empty text
