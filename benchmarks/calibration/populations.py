"""Where cases come from: the models of data that docs/verdicts.md speaks of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of case: its share of all cases, and how often each tier passes one."""

    share: float
    flagship: float
    candidate: float


#: All kinds of cases; a prompt's cases are drawn from them independently.
Population = tuple[Kind, ...]


def broken(drop: float) -> Population:
    """The candidate always fails on some cases, never on others."""
    return Kind(1 - drop, 1.0, 1.0), Kind(drop, 1.0, 0.0)


def diffuse(drop: float) -> Population:
    """The candidate fails now and then, on all cases alike."""
    return (Kind(1.0, 1.0, 1 - drop),)


def mixed(drop: float) -> Population:
    """Easy, middling and hard cases; the flagship passes 90%, the candidate loses on hard ones.

    The candidate passes p^g of the cases of which the flagship passes p, with the g that gives
    the drop.
    """
    kinds = ((0.6, 0.99), (0.3, 0.9), (0.1, 0.36))
    low, high = 1.0, 1e4
    for _ in range(200):
        power = (low + high) / 2
        lost = sum(share * (p - p**power) for share, p in kinds)
        low, high = (power, high) if lost < drop else (low, power)
    return tuple(Kind(share, p, p**low) for share, p in kinds)


def flaky(drop: float) -> Population:
    """The flagship misses one sample in ten of every case, by chance; so does the candidate."""
    return (Kind(1.0, 0.9, 0.9 - drop),)


#: What each model is called in tables.
MODELS: Mapping[str, Callable[[float], Population]] = {
    "broken": broken,
    "diffuse": diffuse,
    "mixed": mixed,
    "flaky flagship": flaky,
}


def drop_of(population: Population) -> float:
    """How much less often the candidate passes than the flagship."""
    return sum(kind.share * (kind.flagship - kind.candidate) for kind in population)
