"""The ``[tool.pytest-tiers]`` table of a pyproject.toml, checked key by key."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_tiers.errors import ConfigurationError
from pytest_tiers.modes import AUTO, FLAGSHIP_CALLS, FlagshipCalls, Samples
from pytest_tiers.settings import Embeddings, IgnoreRule, Judge, PromptSettings
from pytest_tiers.table import find_table
from pytest_tiers.tiers import BUILT_IN, CURRENT, Price, Tier

#: What a tier may be called. Sample numbers are appended as ``-2``, so a name cannot end so.
TIER_NAME = re.compile(r"(?!.*-\d+$)[A-Za-z0-9._-]+")


class FileConfiguration(Struct, frozen=True):
    """What the configuration file says; None or empty where it says nothing.

    ``tiers`` holds the built-in tiers too, changed as the file says.
    """

    path: Path | None = None
    ladder: tuple[str, ...] | None = None
    flagship: str | None = None
    samples: Samples | None = None
    max_samples: int | None = None
    flagship_calls: FlagshipCalls | None = None
    margin: float | None = None
    confidence: float | None = None
    cassettes: Path | None = None
    tests: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    ignore: tuple[IgnoreRule, ...] = ()
    ignore_hosts: tuple[str, ...] = ()
    max_in_flight: int | None = None
    placeholder_key: bool = True
    wrappers: tuple[str, ...] | None = None
    strict_lock: bool = False
    max_age: int | None = None
    tiers: Mapping[str, Tier] = field(default_factory=lambda: BUILT_IN)
    prompts: Mapping[str, PromptSettings] = field(default_factory=dict)
    judge: Judge | None = None
    embeddings: Embeddings | None = None


def read(start: Path) -> FileConfiguration:
    """The configuration that applies in the folder ``start``.

    Raises ConfigurationError, naming file and key, where a value cannot be used.
    """
    found = find_table(start)
    if found is None:
        return FileConfiguration()
    path, table = found
    at = Place(str(path), "[tool.pytest-tiers]")
    table = at.table(table)
    at.known_keys(table, _KEYS)
    values = {key: _KEYS[key](at.key(key), value) for key, value in table.items()}
    tiers = values.pop("tiers", BUILT_IN)
    cassettes = values.pop("cassettes", None)
    _check_names(at, "ladder", values.get("ladder") or (), tiers)
    _check_names(at, "flagship", filter(None, [values.get("flagship")]), tiers)
    for key in ("judge", "embeddings"):
        if key in values:
            _check_asked(Place(str(path), f"[tool.pytest-tiers.{key}]"), values[key].tier, tiers)
    for prompt, settings in values.get("prompts", {}).items():
        _check_names(at, f'prompts."{prompt}".tiers', settings.tiers or (), tiers)
    return FileConfiguration(
        path=path,
        tiers=tiers,
        cassettes=None if cassettes is None else path.parent / cassettes,
        **values,
    )


class Place(Struct, frozen=True):
    """Where a value stands, and the checks that name that place when they fail."""

    source: str
    name: str

    def key(self, key: str) -> Place:
        """The place of one key in this table."""
        return Place(self.source, f"{self.name} {key}")

    def wrong(self, problem: str) -> ConfigurationError:
        """The error to raise for a value at this place."""
        return ConfigurationError(f"{self.source}: {self.name}: {problem}")

    def known_keys(self, table: Mapping[str, Any], valid: Collection[str]) -> None:
        """Raise for the first key that is not valid, with the nearest one that is."""
        for key in table:
            if key not in valid:
                raise self.wrong(
                    f'unknown key "{key}"{nearest(key, valid)} Valid keys: '
                    f"{', '.join(sorted(valid))}."
                )

    def table(self, value: Any) -> Mapping[str, Any]:
        """A table, or raise."""
        if not isinstance(value, dict):
            raise self.wrong(f"expected a table, got {_shown(value)}.")
        return value

    def text(self, value: Any) -> str:
        """Text that is not empty, or raise."""
        if not isinstance(value, str) or not value:
            raise self.wrong(f"expected text, got {_shown(value)}.")
        return value

    def flag(self, value: Any) -> bool:
        """True or false, or raise."""
        if not isinstance(value, bool):
            raise self.wrong(f"expected true or false, got {_shown(value)}.")
        return value

    def url(self, value: Any) -> str:
        """The address of a server, or raise."""
        text = self.text(value)
        if not re.match(r"https?://[^/]", text):
            raise self.wrong(f'expected a URL such as "https://host/v1", got {_shown(value)}.')
        return text

    def variable(self, value: Any) -> str:
        """The name of an environment variable, or raise. Shows no key that stands there."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.text(value)):
            raise self.wrong("expected the name of an environment variable, not the key itself.")
        return str(value)

    def patterns(self, value: Any) -> tuple[str, ...]:
        """Patterns of paths relative to the file, or raise."""
        patterns = self.texts(value)
        for pattern in patterns:
            try:
                next(Path(os.devnull).glob(pattern), None)  # no folder: nothing is looked for
            except (ValueError, NotImplementedError) as error:
                raise self.wrong(f'"{pattern}" cannot be used: {error}.') from error
        return patterns

    def texts(self, value: Any) -> tuple[str, ...]:
        """A list of texts, or raise."""
        if not isinstance(value, list | tuple):
            raise self.wrong(f"expected a list of texts, got {_shown(value)}.")
        return tuple(self.text(item) for item in value)

    def count(self, value: Any) -> int:
        """A whole number from 1, or raise."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(f"expected a whole number from 1 up, got {_shown(value)}.")
        return value

    def samples(self, value: Any) -> Samples:
        """A whole number from 1, or "auto", or raise."""
        if value == AUTO:
            return AUTO
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(f'expected a whole number from 1 up or "auto", got {_shown(value)}.')
        return value

    def flagship_calls(self, value: Any) -> FlagshipCalls:
        """When the flagship is called, or raise."""
        for valid in FLAGSHIP_CALLS:
            if value == valid:
                return valid
        raise self.wrong(f"unknown value {value!r}. Valid: {', '.join(FLAGSHIP_CALLS)}.")

    def fraction(self, value: Any, *, inclusive: bool = False) -> float:
        """A number between 0 and 1, or raise."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not (0 <= value <= 1 if inclusive else 0 < value < 1):
            ends = "from 0 to 1" if inclusive else "between 0 and 1 (both excluded)"
            raise self.wrong(f"expected a number {ends}, got {_shown(value)}.")
        return float(value)

    def day(self, value: Any) -> datetime.date:
        """A date, or raise."""
        # A TOML date with a time is a date for Python too.
        if type(value) is not datetime.date:
            raise self.wrong(f"expected a date such as 2027-03-01, got {_shown(value)}.")
        return value

    def rate(self, value: Any) -> float:
        """A number from 0 to 1, or raise."""
        return self.fraction(value, inclusive=True)

    def money(self, value: Any) -> Decimal:
        """An amount of USD from 0 up, or raise."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        amount = Decimal(str(value)) if is_number else None
        if amount is None or not amount.is_finite() or amount < 0:
            raise self.wrong(f"expected an amount in USD, 0 or more, got {_shown(value)}.")
        return amount


def nearest(word: str, valid: Iterable[str]) -> str:
    """The hint that names the nearest valid word, between two sentences of a message."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(valid), n=1)
    return f'; did you mean "{found[0]}"?' if found else "."


def prompt_settings(at: Place, keys: Mapping[str, Any]) -> PromptSettings:
    """Checked keys of a marker or of a ``prompts`` table."""
    at.known_keys(keys, _PROMPT_KEYS)
    return PromptSettings(
        **{key: _PROMPT_KEYS[key](at.key(key), value) for key, value in keys.items()}
    )


def check_tier_name(at: Place, name: str) -> str:
    """The name, or raise where no tier may be called so."""
    if not TIER_NAME.fullmatch(name):
        raise at.wrong(
            f'"{name}" cannot name a tier: use letters, digits, ".", "_" and "-", and do not '
            'end in "-" and a number (samples are numbered so).'
        )
    return name


def unknown_tier(at: Place, name: str, tiers: Mapping[str, Tier]) -> ConfigurationError:
    """The error for a tier that nothing defines."""
    return at.wrong(
        f'unknown tier "{name}"{nearest(name, tiers)} Known tiers: {", ".join(sorted(tiers))}. '
        f"Define it as [tool.pytest-tiers.tiers.{name}] in pyproject.toml, or for one run with "
        f"--tiers={name}=MODEL."
    )


def _check_names(at: Place, key: str, names: Iterable[str], tiers: Mapping[str, Tier]) -> None:
    for name in names:
        if name not in tiers:
            raise unknown_tier(at.key(key), name, tiers)


def _check_asked(at: Place, name: str, tiers: Mapping[str, Tier]) -> None:
    _check_names(at, "tier", [name], tiers)
    if name == CURRENT:
        raise at.key("tier").wrong(
            f'"{CURRENT}" stands for the application\'s own calls; name a tier with a model.'
        )


def _shown(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _price(at: Place, value: Any) -> Price:
    table = at.table(value)
    at.known_keys(table, ("input", "cached_input", "output"))
    for key in ("input", "output"):
        if key not in table:
            raise at.wrong(
                f'"{key}" is missing; both "input" and "output" are needed (USD per '
                "million tokens)."
            )
    return Price(**{key: at.key(key).money(amount) for key, amount in table.items()})


def _input_price(at: Place, value: Any) -> Price:
    """The price of a model that only reads."""
    table = at.table(value)
    at.known_keys(table, ("input",))
    if "input" not in table:
        raise at.wrong('"input" is missing (USD per million tokens).')
    return Price(at.key("input").money(table["input"]), Decimal(0))


def _tier(at: Place, name: str, value: Any) -> Tier:
    table = at.table(value)
    at.known_keys(table, _TIER_KEYS)
    values = {key: _TIER_KEYS[key](at.key(key), item) for key, item in table.items()}
    if name == CURRENT:
        raise at.wrong(f'"{CURRENT}" stands for the application\'s own calls and has no settings.')
    if "model" in values:
        return Tier(name, **values)
    if name not in BUILT_IN:
        raise at.wrong(f'"model" is missing: which model is "{name}"?')
    return replace(BUILT_IN[name], **values)


def _tiers(at: Place, value: Any) -> Mapping[str, Tier]:
    tiers = dict(BUILT_IN)
    for name, table in at.table(value).items():
        place = Place(at.source, f"[tool.pytest-tiers.tiers.{name}]")
        tiers[check_tier_name(place, name)] = _tier(place, name, table)
    return tiers


def _prompts(at: Place, value: Any) -> Mapping[str, PromptSettings]:
    return {
        prompt: prompt_settings(place, place.table(keys))
        for prompt, keys in at.table(value).items()
        for place in [Place(at.source, f'[tool.pytest-tiers.prompts."{prompt}"]')]
    }


def _ignore(at: Place, value: Any) -> tuple[IgnoreRule, ...]:
    if not isinstance(value, list):
        raise at.wrong(f"expected a list of tables with a path, got {_shown(value)}.")
    return tuple(_ignore_rule(at, rule) for rule in value)


def _ignore_rule(at: Place, value: Any) -> IgnoreRule:
    table = at.table(value)
    at.known_keys(table, ("path", "pattern"))
    if "path" not in table:
        raise at.wrong('"path" is missing, e.g. { path = "messages[*].content" }.')
    pattern = table.get("pattern")
    if pattern is not None:
        try:
            re.compile(at.key("pattern").text(pattern))
        except re.error as error:
            raise at.key("pattern").wrong(f"not a regular expression: {error}.") from error
    return IgnoreRule(at.key("path").text(table["path"]), pattern)


def _judge(at: Place, value: Any) -> Judge:
    return Judge(**_with_tier(Place(at.source, "[tool.pytest-tiers.judge]"), value, _JUDGE_KEYS))


def _embeddings(at: Place, value: Any) -> Embeddings:
    place = Place(at.source, "[tool.pytest-tiers.embeddings]")
    values = _with_tier(place, value, _EMBEDDINGS_KEYS)
    if "model" not in values:
        raise place.wrong('"model" is missing, e.g. model = "text-embedding-3-small".')
    return Embeddings(**values)


def _with_tier(
    at: Place, value: Any, keys: Mapping[str, Callable[[Place, Any], Any]]
) -> dict[str, Any]:
    table = at.table(value)
    at.known_keys(table, keys)
    if "tier" not in table:
        raise at.wrong('"tier" is missing: which tier is asked, e.g. tier = "full"?')
    return {key: keys[key](at.key(key), item) for key, item in table.items()}


def _names(at: Place, value: Any) -> tuple[str, ...]:
    names = at.texts(value)
    for name in names:
        if names.count(name) > 1:
            raise at.wrong(f'"{name}" stands there twice.')
    return names


def _renames(at: Place, value: Any) -> Mapping[str, str]:
    return {key: at.key(key).text(new) for key, new in at.table(value).items()}


def _rate_or_auto(at: Place, value: Any) -> float | str:
    if isinstance(value, str) and value != "auto":
        raise at.wrong(
            f'expected a number from 0 to 1, or "auto" for the locked rate, got {value!r}.'
        )
    return value if value == "auto" else at.rate(value)


#: How each key is checked; the keys of this mapping are the valid ones.
_KEYS: Mapping[str, Callable[[Place, Any], Any]] = {
    "ladder": _names,
    "flagship": Place.text,
    "samples": Place.samples,
    "max_samples": Place.count,
    "flagship_calls": Place.flagship_calls,
    "margin": Place.fraction,
    "confidence": Place.fraction,
    "cassettes": Place.text,
    "tests": Place.patterns,
    "replaces": Place.texts,
    "ignore": _ignore,
    "ignore_hosts": Place.texts,
    "max_in_flight": Place.count,
    "placeholder_key": Place.flag,
    "wrappers": Place.texts,
    "strict_lock": Place.flag,
    "max_age": Place.count,
    "tiers": _tiers,
    "prompts": _prompts,
    "judge": _judge,
    "embeddings": _embeddings,
}

_JUDGE_KEYS: Mapping[str, Callable[[Place, Any], Any]] = {
    "tier": Place.text,
    "criteria": Place.text,
}

_EMBEDDINGS_KEYS: Mapping[str, Callable[[Place, Any], Any]] = {
    "tier": Place.text,
    "model": Place.text,
    "threshold": Place.fraction,
    "price": _input_price,
}

_TIER_KEYS: Mapping[str, Callable[[Place, Any], Any]] = {
    "model": Place.text,
    "base_url": Place.url,
    "api_key_env": Place.variable,
    "params": Place.table,
    "drop_params": Place.texts,
    "rename_params": _renames,
    "price": _price,
    "price_as": Place.text,
    "retires": Place.day,
}

_PROMPT_KEYS: Mapping[str, Callable[[Place, Any], Any]] = {
    "tiers": _names,
    "samples": Place.samples,
    "max_samples": Place.count,
    "margin": Place.fraction,
    "min_pass_rate": _rate_or_auto,
    "prompt": Place.text,
    "monthly_runs": Place.count,
    "max_cost_per_1000": Place.money,
    "concurrent": Place.flag,
    "control": Place.flag,
}
