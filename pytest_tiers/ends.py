"""Models that end: that are gone, or will be soon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from pytest_tiers.findings import GoneModel, Retirement
from pytest_tiers.records import Trial
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import Tier

#: How many days before a model's end it is warned of.
WARNS_AHEAD = 60


def gone_models(trials: Iterable[Trial]) -> Iterator[GoneModel]:
    """The tiers whose model does not exist (any more), with what that cost the run."""
    by_tier: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.model_gone:
            by_tier.setdefault(trial.tier, []).append(trial)
    for tier, without in by_tier.items():
        failed = [call for trial in without for call in trial.calls if call.error is not None]
        first = next((call for call in failed if call.left_alone is None), None)
        yield GoneModel(
            tier,
            None if first is None else first.model,
            None if first is None else f"{first.status}: {first.error}",
            len(without),
            tuple(dict.fromkeys(trial.prompt for trial in without)),
        )


def retirements(settings: Settings, today: str) -> Iterator[Retirement]:
    """The tiers that end within 60 days, or have; ``today`` is a day (ISO 8601, UTC).

    Of those that the run, tiers.lock or the configured ladder's top name: whoever has replaced a
    tier hears no more of it.
    """
    for tier in _in_use(settings):
        if tier.retires is not None:
            days = (tier.retires - date.fromisoformat(today)).days
            if days <= WARNS_AHEAD:
                locked = [
                    entry.prompt
                    for entry in settings.locked.values()
                    if tier.name in (entry.tier, entry.replaces)
                ]
                yield Retirement(
                    tier.name, tier.model, tier.retires.isoformat(), days, tuple(sorted(locked))
                )


def _in_use(settings: Settings) -> Iterator[Tier]:
    named = {tier.name: tier for tier in (settings.default_tier, *settings.ladder.tiers)}
    for entry in settings.locked.values():
        for name in (entry.tier, entry.replaces):
            if name in settings.known_tiers:
                named.setdefault(name, settings.known_tiers[name])
    yield from named.values()
