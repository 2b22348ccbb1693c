"""Concurrent recording: test bodies run ahead of their items, which then take the answers.

While the first trial of a batch runs as an item, the bodies of the others run in threads. The
item waits for them, so that fixtures of wider scope are there as long as a body runs. Then pytest
runs the others one after the other, and each finds its answers.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import cached_property
from typing import Any

import pytest
from msgspec import Struct, field

from pytest_tiers import concurrency
from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.cassettes.senders import Sender
from pytest_tiers.cassettes.tape import Ahead, Tape
from pytest_tiers.cassettes.transports import OpenedCall
from pytest_tiers.collection import TRIAL, PlannedTrial, TrialKey
from pytest_tiers.errors import RunEnded
from pytest_tiers.handles import tier_handle
from pytest_tiers.markers import PARAMETER
from pytest_tiers.override.active import ActiveTrial, CallRules
from pytest_tiers.override.fan_out import charge_of
from pytest_tiers.override.own_threads import apart
from pytest_tiers.override.router import OWNER, Owner

#: What a body that ran ahead is recorded on, fed to its item by the answers.
TapeFor = Callable[[PlannedTrial, Ahead], Tape]

#: Seconds between two looks whether a body has ended.
_POLL = 0.1


class RunningAhead:
    """A plugin object: lets the bodies of concurrent tests run ahead.

    ``to_follow`` yields the trials of the same test that may run ahead of their items, in order,
    with a trial's own case first; ``most`` bodies run at a time. Unless ``beyond_case``, only
    trials of the same case do.
    """

    def __init__(
        self,
        rules: CallRules,
        tape: TapeFor,
        to_follow: Callable[[PlannedTrial], Iterable[PlannedTrial]],
        most: int,
        *,
        beyond_case: bool,
    ) -> None:
        self.rules, self.tape, self.most = rules, tape, most
        self._to_follow, self._beyond_case = to_follow, beyond_case
        self._batch: Batch | None = None
        self._bodies: dict[TrialKey, Body] = {}
        #: Tests of which a body asked, when it ran again, what it had asked ahead.
        self._proven: set[str] = set()
        #: Prompts of which one did not, with what was paid in vain.
        self._off: dict[str, list[Ahead]] = defaultdict(list)
        #: Those that may still be running a body.
        self.threads: list[threading.Thread] = []
        self._items: dict[TrialKey, pytest.Function] = {}

    def item(self, trial: PlannedTrial, session: pytest.Session) -> pytest.Function:
        """The item that runs a trial."""
        if not self._items:
            trials = (item for item in session.items if TRIAL in item.stash)
            self._items = {
                item.stash[TRIAL].key: item for item in trials if isinstance(item, pytest.Function)
            }
        return self._items[trial.key]

    def lead(self, item: pytest.Function) -> Batch | None:
        """Who hears of an item's first call; None where nobody is to run ahead."""
        trial = item.stash[TRIAL]
        is_debugged = any(item.config.getoption(name, False) for name in ("usepdb", "trace"))
        if not trial.settings.concurrent or trial.prompt in self._off or is_debugged:
            return None
        self._batch = Batch(self, item)
        return self._batch

    def followers(self, item: pytest.Function) -> list[PlannedTrial]:
        """The trials whose bodies run ahead beside an item.

        Before the test has shown that it asks the same when it runs again, those of its case, or
        where there is none one other: at most one case of a prompt is paid in vain.
        """
        trial = item.stash[TRIAL]
        others = [one for one in self._to_follow(trial) if one.key not in self._bodies]
        own = [other for other in others if other.case == trial.case]
        if not (self._beyond_case and concurrency.is_same_for_all_cases(item, PARAMETER)):
            return own
        if trial.function in self._proven:
            return others[: max(len(own), self.most - 1)]
        return own or others[:1]

    def start(self, bodies: Sequence[Body]) -> None:
        """Run bodies, ``most`` at a time."""
        self._bodies |= {body.trial.key: body for body in bodies}
        waiting = deque(bodies)

        def work() -> None:
            with contextlib.suppress(IndexError):
                while True:
                    waiting.popleft().run()

        threads = [
            threading.Thread(target=work, name="pytest-tiers ahead", daemon=True)
            for _ in range(min(self.most, len(bodies)))
        ]
        self.threads = [*filter(threading.Thread.is_alive, self.threads), *threads]
        for thread in threads:
            thread.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
        """Let bodies run beside an item's, and wait for them before the item ends."""
        batch, self._batch = self._batch, None
        if batch is None or batch.item is not pyfuncitem:
            return (yield)
        with apart(), batch:
            return (yield)

    def take(self, trial: PlannedTrial) -> Ahead | None:
        """The answers that a trial's body got ahead; None where it did not run."""
        body = self._bodies.pop(trial.key, None)
        return None if body is None else body.ahead

    def ended(self, trial: PlannedTrial, ahead: Ahead | None) -> None:
        """A trial came to its end: learn whether it asked what its body had asked ahead."""
        if ahead is None:
            return
        if ahead.left:
            self._off[trial.prompt].append(ahead)
        else:
            self._proven.add(trial.function)

    @property
    def notes(self) -> list[str]:
        """What the user should know: what was paid in vain."""
        return [
            f"{prompt}: its test does not ask the same when it runs again, so that "
            f"{sum(len(ahead.left) for ahead in aheads)} answers were paid in vain; the rest was "
            "recorded one after the other. A date or an id in the request can be left out with "
            "`ignore`; else take `concurrent` away."
            for prompt, aheads in sorted(self._off.items())
        ]


class Batch:
    """The bodies that run beside one item's."""

    def __init__(self, running: RunningAhead, item: pytest.Function) -> None:
        self._running, self.item = running, item
        self._context: contextvars.Context | None = None
        self._bodies: list[Body] = []
        self._cancelled = threading.Event()

    @cached_property
    def _trials(self) -> list[PlannedTrial]:
        return self._running.followers(self.item)

    def ask(self, request: SentRequest, sender: Sender, earlier: Sequence[str]) -> bool:  # noqa: ARG002
        """The item asks its first question: the others may start, unless it is too early.

        It is as long as nobody knows what a call of the prompt may cost.
        """
        if self._context is None:
            return True
        till, tiers = self._running.rules.till, {one.tier.name: one for one in self._trials}
        charges = [charge_of(till, one.tier, one.prompt, request) for one in tiers.values()]
        if not all(charge.estimate().bounded for charge in charges):
            return False
        self._bodies = list(map(self._body, self._trials))
        self._running.start(self._bodies)
        return True

    def _body(self, trial: PlannedTrial) -> Body:
        """A trial's body, with everything in it that is this trial's own."""
        assert self._context is not None
        item, ahead = self._running.item(trial, self.item.session), Ahead()
        tape = self._running.tape(trial, ahead)
        active = _AheadTrial(
            trial.tier, trial.prompt, tape, self._running.rules, is_cancelled=self._cancelled.is_set
        )
        given = {"tier": tier_handle(item.config, trial, active)} if trial.uses_tier_fixture else {}
        run = concurrency.body(item, self.item.funcargs, given)
        return Body(trial, ahead, active, run, self._context.copy())

    def __enter__(self) -> None:
        # A body sees what the fixtures of wider scope have set.
        self._context = contextvars.copy_context()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all bodies; where somebody ends the run, for none."""
        self._context = None
        ends_run = kind is not None and issubclass(kind, KeyboardInterrupt | pytest.exit.Exception)
        try:
            for body in () if ends_run else self._bodies:
                while not body.ended.wait(_POLL):
                    pass  # on Windows nothing interrupts a wait without end
        finally:
            self._cancelled.set()


class Body(Struct, eq=False):
    """One trial's test body, to be run ahead of its item."""

    trial: PlannedTrial
    ahead: Ahead
    active: _AheadTrial
    call: Callable[[], object]
    context: contextvars.Context
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Run it, whatever comes of it: its item will show that."""
        try:
            if not self.active.is_cancelled():
                with contextlib.suppress(BaseException):
                    self.context.run(self._owned)
        finally:
            self.ended.set()

    def _owned(self) -> None:
        OWNER.set(Owner(self.active))
        self.call()


class _AheadTrial(ActiveTrial):
    """A trial while its body runs ahead: it makes no call that nobody waits for any more."""

    def __init__(self, *of_trial: Any, is_cancelled: Callable[[], bool]) -> None:
        super().__init__(*of_trial)
        self.is_cancelled = is_cancelled

    def open(self, request: SentRequest, sender: Sender) -> OpenedCall:
        """Open a call, unless the batch was cut off. Raises CallRefused."""
        if self.is_cancelled():
            raise self.refuse(RunEnded("the run has ended."))
        return super().open(request, sender)
