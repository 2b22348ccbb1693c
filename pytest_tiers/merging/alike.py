"""Whether two reports can be of one run: what they were asked, of which models, at which commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: A value that differs: its name, and both values.
Unlike = tuple[str, Any, Any]

#: What tells one report from another of the same run.
_OWN_SETTINGS = frozenset({"selection", "commit"})

#: The settings of a prompt that its trials carry.
_OF_PROMPT = ("margin", "min_pass_rate", "monthly_runs", "max_cost_per_1000")


def shards_that_differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Unlike]:
    """What must be the same in all shards of a run, and is not."""
    commits = (one["settings"]["commit"], other["settings"]["commit"])
    if not _is_one_commit(*commits):
        yield "commit", *commits
    yield from settings_that_differ(one, other)
    yield from _unlike("tiers.lock", _lock(one), _lock(other))
    prompts = [_prompts(each) for each in (one, other)]
    for name in sorted(prompts[0].keys() & prompts[1].keys()):
        yield from _unlike(name, *(_own_settings(each[name]) for each in prompts))


def settings_that_differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Unlike]:
    """What two runs were asked differently, and which models or prices they have."""
    yield from _unlike("settings", _settings(one), _settings(other))
    yield from _unlike("ladder", _models(one), _models(other))


def _prompts(document: Mapping[str, Any]) -> Mapping[str, Any]:
    extent = document["merging"]["extent"]
    prompts: Mapping[str, Any] = extent["prompts"] if extent else {}
    return prompts


def _own_settings(prompt: Mapping[str, Any]) -> dict[str, Any]:
    return {key: prompt[key] for key in _OF_PROMPT}


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    settings = document["settings"]
    return {key: value for key, value in settings.items() if key not in _OWN_SETTINGS}


def _models(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        entry["name"]: {"model": entry["model"], "price": entry["price"]}
        for entry in document["ladder"]
    }


def _lock(document: Mapping[str, Any]) -> dict[str, Any]:
    lock = document["merging"]["lock"]
    return {**{entry["prompt"]: entry for entry in lock["prompts"]}, "reverts": lock["reverts"]}


def _is_one_commit(one: str | None, other: str | None) -> bool:
    """Whether two hashes are of one commit; git shortens them as the clone's size allows."""
    if one is None or other is None:
        return one == other
    return one.startswith(other) or other.startswith(one)


def _unlike(name: str, one: Any, other: Any) -> Iterator[Unlike]:
    """The innermost values that differ, each with its name."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            yield from _unlike(f"{name}.{key}", one.get(key), other.get(key))
    elif one != other:
        yield name, one, other


def shown(value: Any) -> str:
    """A value as a message names it."""
    if isinstance(value, str):
        return f'"{value}"'
    return "not said" if value is None else str(value)
