"""Which tier stands in for a call, where each call site has a tier of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_tiers.errors import UnknownSite
from pytest_tiers.mixes import place, site_of
from pytest_tiers.records import CallSite
from pytest_tiers.tiers import Tier


class SiteTiers:
    """The tiers of call sites by key, and that of calls from elsewhere.

    Without ``other``, which a locked mix has not, such calls are refused. ``remedy`` says then
    what to do. Where a function was edited, what stands in its place goes for a site.
    """

    def __init__(
        self, tiers: Mapping[str, Tier], other: Tier | None = None, remedy: str = ""
    ) -> None:
        self._tiers, self._other, self._remedy = tiers, other, remedy
        self._places = {place(key): tier for key, tier in tiers.items()}

    def at(self, lines: Sequence[CallSite]) -> Tier:
        """The tier for a call from these lines. Raises UnknownSite."""
        if (site := site_of(lines, self._tiers)) is not None:
            return self._tiers[site]
        if self._other is not None:
            return self._other
        places = (self._places.get(place(line.key)) for line in lines)
        tier = next((tier for tier in places if tier is not None), None)
        if tier is None:
            where = lines[0].label if lines else "a line outside the project"
            if len(lines) > 1:
                where += f" (called from {lines[1].label})"
            raise UnknownSite(f"{where} calls a model, and {self._remedy}")
        return tier
