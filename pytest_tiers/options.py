"""The settings of a run, made from the command line and the configuration file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from pytest_tiers.command_line import DIFF_SUFFIXES
from pytest_tiers.configuration import (
    FileConfiguration,
    Place,
    check_tier_name,
    read,
    unknown_tier,
)
from pytest_tiers.lock import FILE as LOCK_FILE
from pytest_tiers.mixes import PLUS
from pytest_tiers.modes import (
    CONTROL_MODES,
    GATE_MODES,
    RECORD_MODES,
    By,
    ControlMode,
    GateMode,
    Prune,
    RecordMode,
)
from pytest_tiers.reports.writers import SUFFIXES
from pytest_tiers.settings import Settings
from pytest_tiers.table import configuration_folder
from pytest_tiers.tiers import BUILT_IN, CURRENT, Ladder, Tier

if TYPE_CHECKING:
    from pytest_tiers.records import LockEntry, Night, Revert


def read_settings(config: pytest.Config) -> Settings:
    """What this run was asked to do.

    Raises ConfigurationError where an option or a key of the file cannot be used.
    """
    file = read(configuration_folder(config.inipath, config.rootpath))
    option = config.option
    lock_file = (file.path.parent if file.path else config.rootpath) / LOCK_FILE
    locked: Mapping[str, LockEntry] = {}
    reverts: tuple[Revert, ...] = ()
    if lock_file.exists():
        from pytest_tiers.lock.reading import read as read_lock

        lock = read_lock(lock_file)
        locked, reverts = lock.prompts, lock.reverts
    named = option.tiers
    if named is None and option.tiers_plan:
        named = _ladder_of(file, "plan")
    if named is None and option.tiers_update_lock:
        named = _ladder_of(file, "update-lock")
    comparison = named is not None
    known = {**_only_in_lock(locked, file.tiers), **file.tiers}
    tiers, ladder = (
        (known, _everyday(locked, file)) if named is None else _named_tiers(named, known)
    )
    asked = _asked(option)
    replaced = _replaced(option, ladder)
    of_file = {
        name: value
        for name in (
            "samples",
            "max_samples",
            "flagship_calls",
            "margin",
            "confidence",
            "cassettes",
            "max_in_flight",
        )
        if (value := getattr(file, name)) is not None
    }
    flagship = _flagship(
        replaced or option.tiers_flagship, file if comparison else FileConfiguration(), ladder
    )
    return Settings(
        **{**of_file, **asked, **({"flagship_calls": "all"} if replaced else {})},
        ladder=Ladder(tuple(tiers[name] for name in ladder), flagship),
        comparison=comparison,
        record="none" if option.tiers_plan else _record_mode(option.tiers_record, comparison),
        control=_control_mode(option.tiers_control),
        plan=_planned_mode(option) if option.tiers_plan else None,
        tests=file.tests,
        replaces=file.replaces,
        ignore=file.ignore,
        ignore_hosts=file.ignore_hosts,
        prompts=file.prompts,
        known_tiers=tiers,
        default_tier=_default_tier(file, tiers),
        reports=tuple(map(_report, option.tiers_report)),
        diff=_diff(option.tiers_diff, comparison),
        placeholder_key=file.placeholder_key,
        wrappers=file.wrappers,
        explain=tuple(option.tiers_explain),
        judge=file.judge,
        embeddings=file.embeddings,
        config_file=file.path,
        on_command_line=frozenset(asked),
        prune=_prune(option.tiers_prune),
        by="prompt" if option.tiers_plan else _by(option.tiers_by),
        mix=option.tiers_mix and _can_mix(comparison, ladder, flagship, {**of_file, **asked}),
        locked=locked,
        reverts=reverts,
        lock_file=lock_file,
        update_lock=option.tiers_update_lock,
        gate=_gate(option.tiers_gate, lock_file),
        strict_lock=file.strict_lock,
        max_age=file.max_age,
        replaced=replaced,
        nights_file=None if option.tiers_nights is None else _path(option.tiers_nights),
        nights=_nights(option.tiers_nights),
    )


def _nights(file: str | None) -> tuple[Night, ...]:
    if file is None:
        return ()
    from pytest_tiers.nights import read as read_nights

    return read_nights(_path(file))


def _replaced(option: Any, ladder: tuple[str, ...]) -> str | None:
    """The tier whose place another one takes: one of exactly two, which nothing else may say of."""
    old: str | None = option.tiers_replace
    if old is None:
        return None
    at = _option("replace")
    if option.tiers is None or len(ladder) != 2 or old not in ladder:
        raise at.wrong(
            f'give both tiers and no other, e.g. --tiers=NEW=MODEL,{old}: "{old}" is replaced by '
            "the other one."
        )
    for name, value in (
        ("update-lock", option.tiers_update_lock),
        ("flagship", option.tiers_flagship),
    ):
        if value:
            raise at.wrong(
                f"{old} is what is compared with, and tiers.lock is carried over: leave "
                f"out --tiers-{name}."
            )
    return old


def _only_in_lock(locked: Mapping[str, LockEntry], known: Mapping[str, Tier]) -> Mapping[str, Tier]:
    """Tiers that a command line named and tiers.lock remembers."""
    named: dict[str, str | None] = {}
    for entry in locked.values():
        named[entry.replaces] = entry.replaces_model
        steps = [(site.tier, site.model) for site in entry.sites]
        named |= dict(steps or [(entry.tier, entry.model)])
    found = {
        name: Tier(name, model) for name, model in named.items() if model and name not in known
    }
    for entry in locked.values():
        if entry.sites:  # elsewhere a mix is what it stands in for
            base = {**found, **known}.get(entry.replaces, BUILT_IN[CURRENT])
            found[entry.tier] = replace(base, name=entry.tier)
    return found


def _everyday(locked: Mapping[str, LockEntry], file: FileConfiguration) -> tuple[str, ...]:
    """The ladder of an everyday run: the locked tiers, then the application as it is."""
    names = dict.fromkeys(entry.tier for entry in locked.values())
    order = {name: place for place, name in enumerate(file.ladder or BUILT_IN)}
    ranked = sorted(names, key=lambda name: (order.get(name, len(order)), name))
    return (*ranked, CURRENT)


def _ladder_of(file: FileConfiguration, asked: str) -> str:
    """The configured ladder, for a comparison whose command line names none; ``asked`` wants it."""
    if not file.ladder:
        raise _option(asked).wrong(
            "which tiers? Give --tiers=nano,mini,full, or ladder = [...] in [tool.pytest-tiers]."
        )
    return ",".join(file.ladder)


def _option(name: str) -> Place:
    return Place("command line", f"--tiers-{name}")


def _asked(option: Any) -> dict[str, Any]:
    """The plain values that the command line gives."""
    checks: Mapping[str, tuple[Callable[[Any], Any], Any]] = {
        "samples": (_option("samples").samples, _number(option.tiers_samples)),
        "flagship_calls": (_option("flagship-calls").flagship_calls, option.tiers_flagship_calls),
        "max_samples": (_option("max-samples").count, _number(option.tiers_max_samples)),
        "margin": (_option("margin").fraction, _number(option.tiers_margin)),
        "confidence": (_option("confidence").fraction, _number(option.tiers_confidence)),
        "max_cost": (_option("max-cost").money, _number(option.tiers_max_cost)),
        "max_calls": (_option("max-calls").count, _number(option.tiers_max_calls)),
        "cassettes": (_path, option.tiers_cassettes),
    }
    return {name: check(value) for name, (check, value) in checks.items() if value is not None}


def _path(text: Any) -> Path:
    """A path, relative to where pytest was called."""
    return Path.cwd() / str(text)


def _number(text: str | None) -> float | str | None:
    """The number that a text is, else the text."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return None if text is None else kind(text)
    return text


def _named_tiers(text: str, known: Mapping[str, Tier]) -> tuple[dict[str, Tier], tuple[str, ...]]:
    """All known tiers with the ad hoc ones, and the names of the ladder."""
    at = Place("command line", "--tiers")
    tiers = dict(known)
    names: list[str] = []
    for part in text.split(","):
        name, is_ad_hoc, model = (piece.strip() for piece in part.partition("="))
        if not name or (is_ad_hoc and not model):
            raise at.wrong(f'expected names such as "nano,mini,full", got "{text}".')
        if is_ad_hoc:
            if name == CURRENT:
                raise at.wrong(f'"{CURRENT}" is the application\'s own calls, not a model.')
            tiers[check_tier_name(at, name)] = Tier(name, model)
        elif name not in tiers or PLUS in name:  # a mix that is locked is no tier of a ladder
            alone = {known: tier for known, tier in tiers.items() if PLUS not in known}
            raise unknown_tier(at, name, alone)
        if name in names:
            raise at.wrong(f'"{name}" stands there twice; each tier runs once.')
        names.append(name)
    return tiers, tuple(names)


def _flagship(asked: str | None, file: FileConfiguration, ladder: tuple[str, ...]) -> str:
    if asked is None:
        return file.flagship if file.flagship in ladder else ladder[-1]
    if asked not in ladder:
        raise _option("flagship").wrong(
            f'"{asked}" is not on the ladder; it must be one of --tiers: {", ".join(ladder)}.'
        )
    return asked


def _default_tier(file: FileConfiguration, tiers: Mapping[str, Tier]) -> Tier:
    """The model of tests that ask for one by ``tier.model`` on `CURRENT`."""
    names = (file.flagship, *reversed(file.ladder or ()), "full")
    return next(tiers[name] for name in names if name and not tiers[name].is_current)


def _record_mode(asked: str | None, comparison: bool) -> RecordMode:
    if asked is None:
        return "once" if comparison and not os.environ.get("CI") else "none"
    if asked not in RECORD_MODES:
        raise _option("record").wrong(
            f'unknown mode "{asked}". Valid modes: {", ".join(RECORD_MODES)}.'
        )
    return asked


def _by(asked: str | None) -> By:
    match asked:
        case None:
            return "prompt"
        case "prompt" | "site":
            return asked
        case _:
            raise _option("by").wrong(f'unknown value "{asked}". Valid values: prompt, site.')


def _can_mix(
    comparison: bool, ladder: tuple[str, ...], flagship: str, said: Mapping[str, Any]
) -> bool:
    """Raises ConfigurationError where this run has nothing to mix."""
    at = _option("mix")
    if not comparison:
        raise at.wrong("a mix is searched in a comparison: give --tiers=nano,mini,full too.")
    if ladder[0] == flagship:
        raise at.wrong(
            f'"{flagship}" is the flagship, and no tier of --tiers={",".join(ladder)} stands '
            "before it: give a cheaper one, e.g. --tiers=nano,full."
        )
    if said.get("flagship_calls") == "lazy":
        raise at.wrong(
            "the flagship's own calls show the call sites, so it is called for every case: leave "
            "out --tiers-flagship-calls=lazy, or set it to all."
        )
    return True


def _gate(asked: str | None, lock_file: Path) -> GateMode:
    if asked is None:
        return "locked" if lock_file.exists() else "off"
    if asked not in GATE_MODES:
        raise _option("gate").wrong(
            f'unknown value "{asked}". Valid values: {", ".join(GATE_MODES)}.'
        )
    return asked


def _control_mode(asked: str | None) -> ControlMode:
    if asked is None:
        return "auto"
    if asked not in CONTROL_MODES:
        raise _option("control").wrong(
            f'unknown mode "{asked}". Valid modes: {", ".join(CONTROL_MODES)}.'
        )
    return asked


def _planned_mode(option: Any) -> RecordMode:
    """The mode of the run that is planned: under CI too, where no run records, ``once``."""
    unfit = {
        # `pytest-tiers replace` plans what it then runs.
        "report": option.tiers_report and not option.tiers_replace,
        "diff": option.tiers_diff,
        "prune": option.tiers_prune,
        "update-lock": option.tiers_update_lock,
    }
    for name, value in unfit.items():
        if value:
            raise _option("plan").wrong(
                f"a plan is printed, and is no run: leave out --tiers-{name}."
            )
    mode = _record_mode(option.tiers_record or "once", True)
    if mode == "none":
        raise _option("plan").wrong(
            "--tiers-record=none records nothing, so there is nothing to plan. Leave it out, or "
            "plan --tiers-record=once, new_episodes or all."
        )
    return mode


def _prune(asked: str | None) -> Prune | None:
    match asked:
        case None | "unused" | "tiers":
            return asked
        case _:
            raise _option("prune").wrong(
                f'unknown value "{asked}". Valid: --tiers-prune, --tiers-prune=tiers. A path '
                "must stand before it."
            )


def _report(path: str) -> Path:
    if Path(path).suffix not in SUFFIXES:
        raise _option("report").wrong(
            f'"{path}": the suffix decides the format; valid: {", ".join(SUFFIXES)}.'
        )
    return Path.cwd() / path


def _diff(path: str | None, comparison: bool) -> Path | None:
    if path is None:
        return None
    if Path(path).suffix not in DIFF_SUFFIXES:
        raise _option("diff").wrong(
            f'"{path}": a file for git apply; valid suffixes: {", ".join(DIFF_SUFFIXES)}.'
        )
    if not comparison:
        raise _option("diff").wrong(
            "only a comparison knows what is safe: give --tiers=nano,mini,full too."
        )
    return Path.cwd() / path
