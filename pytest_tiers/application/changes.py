"""What the safe downgrades of a run change in the application's source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

from msgspec import Struct, field

from pytest_tiers.application.model_source import ModelFinder
from pytest_tiers.findings import Change, MixFinding, ModelSource, PromptSummary, RunSummary
from pytest_tiers.override.sources import SourceFile
from pytest_tiers.records import Call
from pytest_tiers.tiers import Tier


class _Place(Struct, frozen=True):
    """Where a model is named: the ``site`` that leads there, and the model that it asks for."""

    site: str
    present: str | None
    source: ModelSource
    identity: tuple[object, ...]


class _Unit(Struct):
    """A prompt, or a call site where those are judged, with the places it reaches.

    ``by_site`` are the same places by the key of the call site that leads there.
    """

    summary: PromptSummary
    places: dict[tuple[object, ...], _Place] = field(default_factory=dict)
    by_site: dict[str, _Place] = field(default_factory=dict)

    @property
    def mix(self) -> MixFinding | None:
        """The mix of tiers that is recommended."""
        return None if self.summary.mix is None else self.summary.mix.recommended

    @property
    def recommended(self) -> str | None:
        """The tier that is recommended for all of it, and no mix."""
        return None if self.mix is not None else self.summary.recommended

    def saving(self, tier: str) -> float | None:
        """What a tier saves that may take the flagship's place; None where it may not."""
        comparison = self.summary.comparisons.get(tier)
        if (
            self.mix is not None
            or comparison is None
            or comparison.verdict != "safe"
            or tier in self.summary.ruled_out
        ):
            return None
        saving = self.summary.savings.get(tier)
        return saving if saving is not None and saving > 0 else None


def changes(
    summary: RunSummary, source: Callable[[str], SourceFile], is_test: Callable[[str], bool]
) -> tuple[Change, ...]:
    """What is to be changed for each downgrade that is safe, by its place in the application.

    Lines that several prompts reach change only where one tier is safe for all of these, and only
    together with all other lines of these prompts: a mix of old and new was not tested. ``source``
    gives a file by its name below pytest's root; ``is_test`` says which are no application.
    """
    by_site = summary.by_site if summary.settings.by == "site" else None
    judged = summary if by_site is None else by_site.summary
    units = {prompt.id: _Unit(prompt) for prompt in judged.prompts}
    if not any(unit.recommended or unit.mix for unit in units.values()):
        return ()
    places = _Places(ModelFinder(source), is_test)
    for trial in judged.trials:
        unit = units[trial.prompt]
        for call in trial.tier_calls:
            place = places.of(call) or _nowhere(trial.prompt, call)
            unit.places.setdefault(place.identity, place)
            unit.by_site.setdefault(call.site_key or "", place)
    tiers = {tier.name: tier for tier in summary.settings.ladder.tiers}
    flagship = tiers[summary.settings.ladder.flagship]
    found: list[Change] = []
    for unit in units.values():
        found += _mix_changes(unit, units.values(), tiers, flagship)
    for group in _groups(units, by_site.called_with if by_site else {}):
        found += _Group(group, tiers, flagship).changes()
    return tuple(sorted(found, key=lambda each: (each.source.file or "~", each.source.line or 0)))


class _Places:
    """Looks each stack of lines up once."""

    def __init__(self, finder: ModelFinder, is_test: Callable[[str], bool]) -> None:
        self._finder, self._is_test = finder, is_test
        self._known: dict[tuple[object, ...], _Place | None] = {}

    def of(self, call: Call) -> _Place | None:
        """Where the model of a call is named; None where not even its call site is known."""
        key = (call.model_asked, call.site_key, call.within, call.callers)
        if key not in self._known:
            self._known[key] = self._find(call)
        return self._known[key]

    def _find(self, call: Call) -> _Place | None:
        if call.site is None:
            return None
        lines = [line for line in call.lines if not self._is_test(line.file)]
        if call.lines and not lines:
            source = ModelSource("unknown", "the test itself")
        else:
            source = self._finder.find(lines, call.model_asked or "")
        known = source.file is not None and source.kind != "unknown"
        identity = (source.file, source.line, source.span) if known else (call.site_key,)
        return _Place(call.site, call.model_asked, source, identity)


def _nowhere(prompt: str, call: Call) -> _Place:
    return _Place("", call.model_asked, ModelSource("unknown"), ("nowhere", prompt))


def _groups(
    units: Mapping[str, _Unit], called_with: Mapping[str, Iterable[str]]
) -> Iterator[list[_Unit]]:
    """The units that can only move together, since they share a place or a trial."""
    owners: defaultdict[object, list[str]] = defaultdict(list)
    for id, unit in units.items():
        for identity in unit.places:
            owners[identity].append(id)
    linked: defaultdict[str, set[str]] = defaultdict(set)
    for ids in owners.values():
        for id in ids:
            linked[id].update(ids)
    for id, others in called_with.items():
        for other in others:
            linked[id].add(other)
            linked[other].add(id)
    left = dict.fromkeys(units)
    while left:
        group, waiting = [], [next(iter(left))]
        while waiting:
            id = waiting.pop()
            if id in left:
                del left[id]
                group.append(units[id])
                waiting += sorted(linked[id])
        yield group


def _mix_changes(
    unit: _Unit, units: Iterable[_Unit], tiers: Mapping[str, Tier], flagship: Tier
) -> Iterator[Change]:
    """What the mix of a prompt changes: the places of the sites that it moves, all or none."""
    if unit.mix is None:
        return
    on = {key: unit.mix.tiers.get(key, flagship.name) for key in unit.by_site}
    moved = {key: place for key, place in unit.by_site.items() if on[key] != flagship.name}
    changed = {place.identity: on[key] for key, place in moved.items()}
    others = {
        each.summary.id
        for each in units
        if each is not unit and not changed.keys().isdisjoint(each.places)
    }
    # Sites that a wrapper makes of one line cannot have different models in it.
    others |= {
        place.site
        for key, place in unit.by_site.items()
        if changed.get(place.identity, on[key]) != on[key]
    }
    is_simple = all(place.source.span is not None for place in moved.values())
    for key, place in moved.items():
        model = tiers[on[key]].model
        if model is not None and model != place.present:
            yield Change(
                units=(unit.summary.id,),
                site=place.site,
                tier=on[key],
                present=place.present,
                model=model,
                source=place.source,
                held_back_by=tuple(sorted(others)),
                in_diff=not others and is_simple and _is_plain(model),
                also=tuple(_also(tiers[on[key]], flagship)),
            )


class _Group(Struct, frozen=True, dict=True):
    """Units that can only move together."""

    units: list[_Unit]
    tiers: Mapping[str, Tier]
    flagship: Tier

    def changes(self) -> Iterator[Change]:
        """What the group's move changes, or what each of its units would, were it not held back."""
        if self._tier is not None:
            identities = dict.fromkeys(place for unit in self.units for place in unit.places)
            for identity in identities:
                owners = [unit for unit in self.units if identity in unit.places]
                yield from self._change(owners, identity, self._tier, ())
            return
        for unit in self.units:
            tier = unit.recommended
            if tier is not None:
                held_back = (each for each in self.units if each.saving(tier) is None)
                ids = tuple(sorted(each.summary.id for each in held_back))
                for identity in unit.places:
                    yield from self._change([unit], identity, tier, ids)

    @cached_property
    def _tier(self) -> str | None:
        """The tier that is safe for all units and saves the most where it saves the least."""
        least: dict[str, float] = {}
        for name in self.tiers:
            savings = [unit.saving(name) for unit in self.units]
            known = [saving for saving in savings if saving is not None]
            if len(known) == len(savings):
                least[name] = min(known)
        return max(least, key=lambda name: least[name]) if least else None

    @cached_property
    def _is_simple(self) -> bool:
        """Whether all of the group's places are literals that can be exchanged."""
        return all(
            place.source.span is not None for unit in self.units for place in unit.places.values()
        )

    def _change(
        self, owners: list[_Unit], identity: tuple[object, ...], tier: str, held: tuple[str, ...]
    ) -> Iterator[Change]:
        place = owners[0].places[identity]
        model = self.tiers[tier].model
        if model is None or model == place.present:
            return
        yield Change(
            units=tuple(sorted(unit.summary.id for unit in owners)),
            site=place.site,
            tier=tier,
            present=place.present,
            model=model,
            source=place.source,
            held_back_by=held,
            in_diff=not held and self._is_simple and _is_plain(model),
            also=tuple(_also(self.tiers[tier], self.flagship)),
        )


def _is_plain(model: str) -> bool:
    """Whether a name can stand between quotes of any kind, in any encoding."""
    return model.isascii() and model.isprintable() and not set(model) & set("'\"\\")


def _also(tier: Tier, flagship: Tier) -> Iterator[str]:
    """What a tier's calls need besides the model's name, as far as the flagship's do not."""
    if tier.base_url and tier.base_url != flagship.base_url:
        yield f"base_url {tier.base_url}"
    if tier.api_key_env and tier.api_key_env != flagship.api_key_env:
        yield f"the key in {tier.api_key_env}"
    for name, value in tier.params.items():
        if flagship.params.get(name) != value:
            yield f"{name} = {value!r}"
    for name in tier.drop_params:
        if name not in flagship.drop_params:
            yield f"no {name}"
    for name, new in tier.rename_params.items():
        if flagship.rename_params.get(name) != new:
            yield f"{new} in place of {name}"
