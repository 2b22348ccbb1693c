"""Assignments of call sites to tiers, and what a search for the cheapest one tried: plain values.

They travel on pytest's reports, as trials do.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from pytest_tiers.records import CallSite, Trial
from pytest_tiers.tiers import Ladder

#: Stands between the tiers in the name of a mix; no tier's own name holds it.
PLUS = "+"

#: Why no (further) mix of a prompt was tried. ``confirmed``: one is as good as the flagship;
#: ``whole``: a tier is, for the prompt as a whole, and no mix is expected to cost less; ``none``:
#: no mix is; ``most``: so many joint runs were made that a search ends; ``limit``: the cost or
#: call limit was reached; ``error``: a trial found no answer. Nothing was tried: ``one-site``,
#: ``no-answers`` of the flagship, ``flagship-fails``, ``blind`` tests, and ``unfit``: tests that
#: cannot be run unseen.
End = Literal[
    "confirmed",
    "whole",
    "none",
    "most",
    "limit",
    "error",
    "one-site",
    "no-answers",
    "flagship-fails",
    "blind",
    "unfit",
]


#: Why a mix is not run to its end: it is worse, or will or can not become as good as the flagship.
Stopped = Literal["worse", "behind", "out-of-reach"]


def place(key: str) -> str:
    """The key of a call site without the hash of its function: what an edit leaves as it is."""
    return key if key.startswith("site:") else key.rpartition("#")[0] or key


def site_of(lines: Iterable[CallSite], sites: Container[str]) -> str | None:
    """The key of the site (one of these) that a call from these lines belongs to.

    ``lines`` are the application's, innermost first. The innermost that is a site counts: the
    lines of wrappers, further in, are none.
    """
    return next((line.key for line in lines if line.key in sites), None)


class Mix(Struct, frozen=True):
    """An assignment of call sites to tiers; to be made by `of`, which sorts its ``steps``.

    Each step is a call site's key and the name of a tier.
    """

    steps: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, tiers: Mapping[str, str]) -> Mix:
        """The mix of these tiers, by the keys of call sites."""
        return cls(tuple(sorted(tiers.items(), key=lambda step: (place(step[0]), step[0]))))

    @property
    def name(self) -> str:
        """Its tiers in the order of their call sites' places: ``full+nano+mini``.

        It takes the place of a tier's name, in the trials and cassettes of a test: there it is
        unique, since the sites are known.
        """
        return PLUS.join(tier for _, tier in self.steps)

    @property
    def tiers(self) -> dict[str, str]:
        """The tier of each call site's key."""
        return dict(self.steps)

    def model(self, ladder: Ladder) -> str:
        """The models of its tiers, in the same order: ``gpt-5.4 + gpt-5.4-nano``."""
        return " + ".join(str(ladder[tier].model or tier) for _, tier in self.steps)

    def changes(self, flagship: str) -> frozenset[tuple[str, str]]:
        """The steps that are not on the flagship."""
        return frozenset(step for step in self.steps if step[1] != flagship)


def tiers_in(name: str) -> list[str]:
    """The tiers in the name of a mix, or the one tier that a name is."""
    return name.split(PLUS)


class TriedMix(Struct, frozen=True):
    """A mix that was run: all its trials, in order, until it was stopped.

    ``put_forward``: it was run to be adopted, not only to see what a step does alone. ``stopped``
    says why trials were left out, None where all ran. ``calls`` counts the calls that no trial
    had made before.
    """

    mix: Mix
    put_forward: bool
    stopped: Stopped | None
    calls: int
    trials: tuple[Trial, ...]


class MixSearch(Struct, frozen=True):
    """The search for a prompt's cheapest mix.

    ``sites`` are the prompt's call sites, in the order in which its trials call from them, and
    ``tried`` the mixes in the order in which they ran. ``exhaustive_mixes`` counts every mix of
    the sites, without those that the ladder's own trials have run, and ``exhaustive_calls`` the
    calls of running them all. ``reason`` says more of an ``error``.
    """

    prompt: str
    sites: tuple[CallSite, ...]
    tried: tuple[TriedMix, ...]
    end: End
    exhaustive_mixes: int = 0
    exhaustive_calls: int = 0
    reason: str | None = None

    @property
    def calls(self) -> int:
        """The calls that the search took beside those of the ladder's own trials."""
        return sum(each.calls for each in self.tried)

    @property
    def trials(self) -> Iterable[Trial]:
        """All trials of all mixes."""
        return (trial for each in self.tried for trial in each.trials)

    def with_trials(self, change: Callable[[Trial], Trial]) -> MixSearch:
        """The search with each trial changed."""
        tried = (replace(each, trials=tuple(map(change, each.trials))) for each in self.tried)
        return replace(self, tried=tuple(tried))

    def to_builtins(self) -> dict[str, Any]:
        """The search as builtins."""
        return {
            **to_builtins(replace(self, tried=())),
            "tried": [
                {
                    **to_builtins(replace(each, trials=())),
                    "trials": [trial.to_builtins() for trial in each.trials],
                }
                for each in self.tried
            ],
        }

    @classmethod
    def from_builtins(cls, plain: Mapping[str, Any]) -> MixSearch:
        """The search that `to_builtins` wrote."""
        return convert(plain, cls)
