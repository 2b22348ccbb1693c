"""How a prompt's entry stands in tiers.lock: the names of its keys, and what each may hold."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pytest_tiers.configuration import Place, check_tier_name
from pytest_tiers.mixes import PLUS, tiers_in
from pytest_tiers.records import Fingerprint, LockedSite, LockEntry, Revert
from pytest_tiers.reports.numbers import plain

#: Version of the layout.
VERSION = 1

#: A value of a prompt's table, as TOML has it.
Table = dict[str, Any]


def as_table(entry: LockEntry) -> Table:
    """The entry as TOML values; what is unknown is left out."""
    return {
        **_said(entry, _PROMPT),
        "evidence": _said(entry, _EVIDENCE),
        "sites": {
            site.key: {"tier": site.tier, "model": site.model, "site": site.site}
            for site in entry.sites
        },
        "holds_for": _said(entry.holds_for, _HOLDS_FOR),
        "accepted": {}
        if entry.accepted is None
        else {"reason": entry.accepted, "date": _as_toml("date", entry.accepted_on)},
        "known_misses": {
            case: list(samples) for case, samples in sorted(entry.known_misses.items())
        },
    }


def from_table(at: Place, prompt: str, value: Any) -> LockEntry:
    """The entry that `as_table` made. Raises ConfigurationError naming the key."""
    table = at.table(value)
    at.known_keys(table, (*_PROMPT, "evidence", "sites", "holds_for", "accepted", "known_misses"))
    evidence = at.key("evidence").table(table.get("evidence", {}))
    at.key("evidence").known_keys(evidence, _EVIDENCE)
    misses = at.key("known_misses").table(table.get("known_misses", {}))
    accepted = _accepted(at.key("accepted"), table.get("accepted", {}))
    return LockEntry(
        prompt=prompt,
        holds_for=_fingerprint(at.key("holds_for"), table.get("holds_for", {})),
        sites=_sites(at, table),
        accepted=accepted.get("reason"),
        accepted_on=accepted.get("date"),
        known_misses={case: _samples(at.key("known_misses"), misses[case]) for case in misses},
        **_checked(at, table, _PROMPT),
        **_checked(at.key("evidence"), evidence, _EVIDENCE),
    )


def revert_as_table(revert: Revert) -> Table:
    """What to remember of a tier that was gone back from, as TOML values."""
    return {**_said(revert, _REVERT), "holds_for": _said(revert.holds_for, _HOLDS_FOR)}


def revert_from_table(at: Place, prompt: str, tier: str, value: Any) -> Revert:
    """The revert that `revert_as_table` made. Raises ConfigurationError naming the key."""
    table = at.table(value)
    at.known_keys(table, (*_REVERT, "holds_for"))
    return Revert(
        prompt=prompt,
        tier=_tier(at, tier),
        holds_for=_fingerprint(at.key("holds_for"), table.get("holds_for", {})),
        **_checked(at, table, _REVERT),
    )


def _sites(at: Place, table: Mapping[str, Any]) -> tuple[LockedSite, ...]:
    sites = at.key("sites").table(table.get("sites", {}))
    found = []
    for key, value in sorted(sites.items()):
        of_site = at.key("sites").key(key)
        said = of_site.table(value)
        of_site.known_keys(said, _SITE)
        found.append(LockedSite(key, **_checked(of_site, said, _SITE)))
    name = str(table.get("tier"))
    if sorted(tiers_in(name)) != sorted(site.tier for site in found) and (found or PLUS in name):
        raise at.key("sites").wrong(
            f'they do not have the tiers of "{name}". Restore the entry, or take it out and run '
            "pytest --tiers=... --tiers-mix --tiers-update-lock."
        )
    return tuple(found)


def _fingerprint(at: Place, value: Any) -> Fingerprint:
    table = at.table(value)
    at.known_keys(table, _HOLDS_FOR)
    return Fingerprint(**_checked(at, table, _HOLDS_FOR))


def _accepted(at: Place, value: Any) -> Table:
    table = at.table(value)
    at.known_keys(table, _ACCEPTED)
    return _checked(at, table, _ACCEPTED) if table else {}


def _checked(at: Place, table: Mapping[str, Any], keys: Mapping[str, _Check]) -> Table:
    missing = [name for name in keys if name not in table and name not in _MAY_BE_UNKNOWN]
    if missing:
        raise at.wrong(f'"{missing[0]}" is missing.')
    return {name: keys[name](at.key(name), table[name]) for name in keys if name in table}


def _said(entry: LockEntry | Revert | Fingerprint, keys: Mapping[str, _Check]) -> Table:
    values = ((name, getattr(entry, name)) for name in keys)
    return {name: _as_toml(name, value) for name, value in values if value is not None}


def _as_toml(name: str, value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    return datetime.date.fromisoformat(value) if name in _DAYS else value


_Check = Callable[[Place, Any], Any]


def _date(at: Place, value: Any) -> str:
    if not isinstance(value, datetime.date):
        raise at.wrong(f"expected a date such as 2026-11-25, got {value!r}.")
    return value.isoformat()


def _tier(at: Place, value: Any) -> str:
    """A tier, or the tiers of a mix."""
    name = at.text(value)
    for tier in tiers_in(name):
        check_tier_name(at, tier)
    return name


def _usd(at: Place, value: Any) -> Decimal:
    try:
        amount = Decimal(at.text(value))
    except ArithmeticError:
        amount = Decimal("nan")
    if not amount.is_finite() or amount < 0:
        raise at.wrong(f'expected an amount in USD such as "0.174", got {value!r}.')
    return amount


def _number(at: Place, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise at.wrong(f"expected a number, got {value!r}.")
    return float(value)


def _samples(at: Place, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise at.wrong(f"expected the samples that missed, such as [1], got {value!r}.")
    return tuple(map(at.count, value))


#: The keys of a prompt's table, in their order, and how each is checked.
_PROMPT: Mapping[str, _Check] = {
    "tier": _tier,
    "model": Place.text,
    "replaces": Place.text,
    "replaces_model": Place.text,
    "usd_per_1000": _usd,
    "replaces_usd_per_1000": _usd,
    "input_tokens_per_1000": Place.count,
    "output_tokens_per_1000": Place.count,
}

#: Those of a step of a mix.
_SITE: Mapping[str, _Check] = {"tier": _tier, "model": Place.text, "site": Place.text}

#: Those of its ``evidence``.
_EVIDENCE: Mapping[str, _Check] = {
    "verdict": Place.text,
    "date": _date,
    "cases": Place.count,
    "samples": Place.count,
    "pass_rate": Place.rate,
    "pass_rate_at_least": Place.rate,
    "replaces_pass_rate": Place.rate,
    "largest_drop": Place.rate,
    "margin": Place.fraction,
    "confidence": Place.fraction,
    "log_evidence": _number,
    "cassette_format": Place.count,
    "changed_on": _date,
    "versus": _tier,
    "versus_model": Place.text,
    "replaced_on": _date,
}

#: Those of its ``holds_for``.
_HOLDS_FOR: Mapping[str, _Check] = {
    "request": Place.text,
    "schema": Place.text,
    "parameters": Place.text,
}

#: Those of its ``accepted``.
_ACCEPTED: Mapping[str, _Check] = {"reason": Place.text, "date": _date}

#: Those of a revert.
_REVERT: Mapping[str, _Check] = {"model": Place.text, "reason": Place.text, "date": _date}

_DAYS = frozenset({"date", "changed_on", "replaced_on"})

_MAY_BE_UNKNOWN = frozenset(
    {
        "replaces_model",
        "usd_per_1000",
        "replaces_usd_per_1000",
        "input_tokens_per_1000",
        "output_tokens_per_1000",
        "pass_rate",
        "pass_rate_at_least",
        "replaces_pass_rate",
        "largest_drop",
        "log_evidence",
        "changed_on",
        "versus",
        "versus_model",
        "replaced_on",
        *_HOLDS_FOR,
    }
)
