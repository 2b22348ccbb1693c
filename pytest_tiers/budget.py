"""The one ledger that keeps a run, all its workers together, below its limits."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import ROUND_CEILING, Decimal, localcontext
from pathlib import Path

from msgspec import Struct

from pytest_tiers.errors import BudgetReached
from pytest_tiers.pricing import EXACT, plain

#: Seconds that a call may wait for the ledger while other workers write.
_LEDGER_TIMEOUT = 60.0


class Spending(Struct, frozen=True):
    """What a run has spent so far, in USD; ``unpriced`` of the ``calls`` have no known cost.

    ``reserved`` is what the calls ``under_way`` may cost at most; ``calls`` includes them.
    """

    spent: Decimal
    reserved: Decimal
    calls: int
    unpriced: int
    under_way: int


class Budget:
    """One ledger for the whole run, shared by all workers through a SQLite file.

    Every call is reserved before it is sent and settled or released afterwards, so that calls
    under way in several threads and processes cannot pass the limits together. Any thread may
    use it: each operation is one transaction on a connection of its own. The file is created
    when it is first needed; a run starts with a new one.
    """

    def __init__(self, path: Path, max_cost: Decimal, max_calls: int | None = None) -> None:
        """``max_cost`` is in USD. With ``max_calls``, unpriced calls are allowed too."""
        self._path = path
        self._max_cost = max_cost
        self._max_calls = max_calls

    def reserve(self, key: str, usd: Decimal | None, what: str = "this call") -> None:
        """Set aside what the call ``key`` may cost at most; None where it cannot be priced.

        ``what`` names the call in the message. Raises `BudgetReached` where the run could pass
        a limit, and ValueError where the key is reserved already.
        """
        with self._transaction() as ledger:
            if ledger.execute("SELECT 1 FROM reserved WHERE key = ?", [key]).fetchone():
                raise ValueError(f"{key!r} is reserved already")
            self._check(_spending(ledger), usd, what)
            ledger.execute("INSERT INTO reserved VALUES (?, ?)", [key, _text(usd)])

    def settle(self, key: str, usd: Decimal | None) -> None:
        """Replace a reservation by the real cost in USD.

        None (an answer without usage) counts as much as was reserved, and the call as unpriced.
        Raises KeyError where the key is not reserved.
        """
        with self._transaction() as ledger:
            reserved = _take(ledger, key)
            cost = reserved if usd is None else usd
            with localcontext(EXACT):
                spent = _spending(ledger).spent + (cost or 0)
            ledger.execute(
                "UPDATE totals SET spent = ?, calls = calls + 1, unpriced = unpriced + ?",
                [str(spent), usd is None],
            )

    def release(self, key: str) -> None:
        """Give a reservation back: the call was not made. Raises KeyError as `settle` does."""
        with self._transaction() as ledger:
            _take(ledger, key)

    def rest(self, endpoint: str, seconds: float) -> None:
        """Let no worker call an endpoint for so many seconds."""
        with self._transaction() as ledger:
            ledger.execute(
                "INSERT INTO rests VALUES (?, ?) "
                "ON CONFLICT (endpoint) DO UPDATE SET until = max(until, excluded.until)",
                [endpoint, time.time() + seconds],
            )

    def rest_left(self, endpoint: str) -> float:
        """The seconds for which an endpoint is still to be left in peace; 0 where it is not."""
        with self._transaction() as ledger:
            found = "SELECT until FROM rests WHERE endpoint = ?"
            row = ledger.execute(found, [endpoint]).fetchone()
        return 0.0 if row is None else max(0.0, float(row[0]) - time.time())

    def spending(self) -> Spending:
        """What all workers have spent and reserved so far."""
        with self._transaction() as ledger:
            return _spending(ledger)

    def _check(self, so_far: Spending, usd: Decimal | None, what: str) -> None:
        if self._max_calls is not None and so_far.calls >= self._max_calls:
            raise BudgetReached(
                f"{what} was not made: the limit of {self._max_calls} calls is reached. "
                f"Raise it with --tiers-max-calls={max(2 * self._max_calls, 1)}."
            )
        if usd is None:
            if self._max_calls is not None:
                return
            raise BudgetReached(
                f"{what} was not made: it cannot be priced, so that --tiers-max-cost cannot "
                "limit it. Give its tier a `price` or `price_as`, or limit the number of calls "
                "with --tiers-max-calls=N."
            )
        with localcontext(EXACT):
            committed = so_far.spent + so_far.reserved
            if committed + usd <= self._max_cost:
                return
            fits_alone = so_far.spent + usd <= self._max_cost
            enough = (2 * (committed + usd)).quantize(Decimal("0.01"), ROUND_CEILING)
        raise BudgetReached(
            f"{what} was not made: it could cost up to ${usd:.6f}, and of the limit of "
            f"${plain(self._max_cost)} ${so_far.spent:.6f} is spent and ${so_far.reserved:.6f} "
            f"reserved for calls under way. Raise it with --tiers-max-cost={enough}.",
            may_fit_later=fits_alone,
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that excludes all others; closing without COMMIT takes it back."""
        connection = sqlite3.connect(self._path, timeout=_LEDGER_TIMEOUT, isolation_level=None)
        with closing(connection) as ledger:
            # The file need not survive a power cut, only a killed process.
            ledger.execute("PRAGMA synchronous = OFF")
            ledger.execute("BEGIN IMMEDIATE")
            ledger.execute("CREATE TABLE IF NOT EXISTS reserved (key TEXT PRIMARY KEY, usd TEXT)")
            ledger.execute(
                "CREATE TABLE IF NOT EXISTS totals (id INTEGER PRIMARY KEY CHECK (id = 1), "
                "spent TEXT NOT NULL, calls INTEGER NOT NULL, unpriced INTEGER NOT NULL)"
            )
            ledger.execute("INSERT OR IGNORE INTO totals VALUES (1, '0', 0, 0)")
            ledger.execute(
                "CREATE TABLE IF NOT EXISTS rests (endpoint TEXT PRIMARY KEY, until REAL NOT NULL)"
            )
            yield ledger
            ledger.execute("COMMIT")


def _spending(ledger: sqlite3.Connection) -> Spending:
    spent, calls, unpriced = ledger.execute("SELECT spent, calls, unpriced FROM totals").fetchone()
    under_way = [usd for (usd,) in ledger.execute("SELECT usd FROM reserved")]
    with localcontext(EXACT):
        reserved = sum((Decimal(usd) for usd in under_way if usd is not None), Decimal(0))
    return Spending(Decimal(spent), reserved, calls + len(under_way), unpriced, len(under_way))


def _take(ledger: sqlite3.Connection, key: str) -> Decimal | None:
    """Remove a reservation and return its amount."""
    row = ledger.execute("SELECT usd FROM reserved WHERE key = ?", [key]).fetchone()
    if row is None:
        raise KeyError(f"{key!r} is not reserved")
    ledger.execute("DELETE FROM reserved WHERE key = ?", [key])
    return None if row[0] is None else Decimal(row[0])


def _text(usd: Decimal | None) -> str | None:
    return None if usd is None else str(usd)
