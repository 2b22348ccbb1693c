"""Every exception and warning of pytest-tiers.

ConfigurationError      a bad option, key or marker; pytest shows it as a usage error
CassetteError           a cassette that cannot be read
CallRefused             a call that was not made, and the trial that wanted it is an error
├── CassetteMiss        replay found no recorded answer
├── AnswerNotSaved      an answer came and could not be written: nothing more is paid for
├── MissingKey          the call would go out without a real API key
├── BudgetReached       the call could pass the cost or call limit, or cannot be priced
├── TierStopped         this tier answered "model not found", 410, 401 or 403 before
├── UnknownSite         the locked mix of tiers says nothing of the line that calls
├── RunEnded            the session was interrupted: nothing more is paid for
└── SharedFixtureCall   a fixture wider than one test called a model
"""

from __future__ import annotations

from _pytest.outcomes import Failed


class ConfigurationError(Exception):
    """A bad option, configuration key or marker: what is wrong, what is valid, how to mend it."""


class CassetteError(Exception):
    """A cassette that is damaged or not ours: names the file, and the line where one is known."""


class CallRefused(Failed):
    """A model call that pytest-tiers did not make.

    Like all outcomes of pytest not an ``Exception``: client libraries retry those (with
    pauses), and applications catch them and answer with a default. Neither may turn a call that
    never happened into a result. And pytest knows what to do with a fixture that raises it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason, pytrace=False)


class CassetteMiss(CallRefused):
    """Replay found no recorded answer for a request."""


class AnswerNotSaved(CallRefused):
    """An answer came but could not be written to disk."""


class MissingKey(CallRefused):
    """The call would go out without a real API key."""


class BudgetReached(CallRefused):
    """The call could pass the cost or call limit, or cannot be priced under a cost limit.

    ``may_fit_later``: it fits when calls under way turn out to cost less than was reserved.
    """

    def __init__(self, reason: str, *, may_fit_later: bool = False) -> None:
        super().__init__(reason)
        self.may_fit_later = may_fit_later


class TierStopped(CallRefused):
    """An earlier answer said that this tier cannot be used at all.

    ``model_gone``: because there is no such model (any more), not for a key (401, 403).
    """

    def __init__(self, reason: str, *, model_gone: bool = False) -> None:
        super().__init__(reason)
        self.model_gone = model_gone


class UnknownSite(CallRefused):
    """A line calls a model for which the locked mix of tiers names none: the code has changed."""


class RunEnded(CallRefused):
    """A call that was to be made ahead of its trial when the session was interrupted."""


class SharedFixtureCall(CallRefused):
    """A fixture of wider scope than one test called a model: all tiers would share its answer."""
