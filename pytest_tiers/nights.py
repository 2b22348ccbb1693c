"""Fresh answers of earlier nights: evidence that cassettes lose when they are recorded anew.

A drop that one night cannot prove, several can. When it began is not known, so the stake is spread
over all nights at which it may have: Σ_k w_k e(k..today), with w_k = 1 / (k (k + 1)) for the k-th
night since the lock, and the rest kept. Each part is an e-value from its own start, so the sum is
one at any time (the mixture over starting points of Shin, Ramdas and Rinaldo, "E-detectors", 2023,
with a total stake of 1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec.json
from msgspec import MsgspecError, Struct
from msgspec.structs import replace

from pytest_tiers import statistics
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.fingerprints import fingerprint
from pytest_tiers.records import Fingerprint, LockEntry, Night, Trial
from pytest_tiers.statistics import Tally

#: Older nights than so many are left out: they would cost more stake than they are worth.
_MOST_NIGHTS = 400

#: Logs of evidence closer than this count as equal.
_TIE = 1e-9


class Accumulated(Struct, frozen=True):
    """The log e-value of several nights; mean and number of those that show most."""

    log_evidence: float
    mean: float
    nights: int


def accumulate(nights: Sequence[Tally], log_e: Callable[[Tally], float]) -> Accumulated:
    """What ``nights``, one or more in order of time, say together; ``log_e`` of the values of some.

    A single night is not made to share its stake with others.
    """
    if len(nights) == 1:
        return Accumulated(log_e(nights[0]), statistics.mean(nights[0]), 1)
    pooled: Counter[float] = Counter()
    stakes = [-math.log(len(nights) + 1)]  # the one that is kept
    best = Accumulated(-math.inf, 0.0, 0)
    for number in range(len(nights), 0, -1):
        pooled.update(dict(nights[number - 1]))
        together = tuple(sorted(pooled.items()))
        log_evidence = log_e(together)
        stakes.append(log_evidence - math.log(number * (number + 1)))
        # Nights before it began say nothing of how large the drop is: the latest start wins a tie.
        if log_evidence > best.log_evidence + _TIE:
            mean = statistics.mean(together)
            best = Accumulated(log_evidence, mean, len(nights) - number + 1)
    highest = max(stakes)
    total = highest + math.log(math.fsum(math.exp(each - highest) for each in stakes))
    return replace(best, log_evidence=total)


def fresh(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that count and whose answers this run has made."""
    return [trial for trial in trials if trial.counts and trial.calls and not trial.replayed]


def pass_rates(trials: Iterable[Trial]) -> Tally:
    """The pass rate of each case."""
    by_case: dict[str, list[float]] = {}
    for trial in trials:
        by_case.setdefault(trial.case, []).append(float(trial.outcome == "passed"))
    return statistics.tally(math.fsum(each) / len(each) for each in by_case.values())


def night_of(
    at: str, entry: LockEntry, trials: Iterable[Trial], versus: str | None, differences: Tally
) -> Night | None:
    """What a run adds to the evidence on one locked prompt; None where no answer was fresh.

    ``trials`` are those of the locked tier, ``differences`` the pairs whose sides were both fresh.
    """
    own = fresh(trials)
    if not own:
        return None
    holds_for = fingerprint(trial.request_parts for trial in own)
    return Night(
        at,
        entry.prompt,
        entry.tier,
        entry.model,
        holds_for,
        pass_rates(own),
        versus if differences else None,
        differences,
    )


# The file: a line of JSON for each night and prompt, only ever added to.


def read(path: Path) -> tuple[Night, ...]:
    """All nights of a file, in order of time; none where there is no file.

    Raises ConfigurationError naming file and line where it cannot be used.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error}).") from error
    found: list[Night] = []
    decode = msgspec.json.Decoder(Night).decode
    for number, line in enumerate(lines, start=1):
        try:
            found.append(decode(line))
        except (MsgspecError, ValueError) as error:
            raise ConfigurationError(
                f"{path} line {number}: no night that --tiers-nights wrote ({error}). Restore the "
                "file, or delete that line."
            ) from error
    return tuple(sorted(found, key=lambda night: night.at))


def append(path: Path, nights: Iterable[Night]) -> None:
    """Add nights at the end of a file. Raises OSError."""
    text = msgspec.json.Encoder().encode_lines(nights)
    if text:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(text)


def of_entry(nights: Iterable[Night], entry: LockEntry, holds_for: Fingerprint) -> list[Night]:
    """The latest nights that are evidence on what is locked."""
    return [night for night in nights if night.speaks_of(entry, holds_for)][-_MOST_NIGHTS:]
