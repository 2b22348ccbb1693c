"""What the ``tiers`` marker, the file and the command line together say of a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec import Struct
from msgspec.structs import replace

from pytest_tiers.configuration import Place, prompt_settings, unknown_tier
from pytest_tiers.markers import MARKER
from pytest_tiers.modes import AUTO
from pytest_tiers.settings import PromptSettings, Settings


class TestSettings(Struct, frozen=True):
    """How one test function is compared, after all its sources were merged.

    ``tiers`` None means every candidate of the ladder. ``prompt`` is None for a test that is a
    prompt of its own. ``samples`` is the most that a case gets where ``is_adaptive``.
    """

    __test__ = False  # pytest collects classes whose name starts with Test

    tiers: tuple[str, ...] | None
    samples: int
    margin: float
    min_pass_rate: float | Literal["auto"] | None
    prompt: str | None
    monthly_runs: int | None
    max_cost_per_1000: Decimal | None
    concurrent: bool
    is_adaptive: bool = False
    control: bool = True


def settings_of(node: pytest.Item | pytest.Function, prompt: str, run: Settings) -> TestSettings:
    """What applies to the test ``node``: command line over marker over file over built-in.

    ``prompt`` is the test's own prompt id. Raises ConfigurationError for a bad marker.
    """
    said = [_of_marker(node.nodeid, mark, run) for mark in node.iter_markers(MARKER)]
    said.append(run.prompts.get(prompt, PromptSettings()))
    merged = _first_said(said)
    if merged.prompt is not None:
        merged = _first_said([merged, run.prompts.get(merged.prompt, PromptSettings())])
    fixed = run.on_command_line
    samples = run.samples if "samples" in fixed or not merged.samples else merged.samples
    if "max_samples" in fixed or not merged.max_samples:
        most = run.max_samples
    else:
        most = merged.max_samples
    return TestSettings(
        tiers=merged.tiers,
        samples=most if samples == AUTO else samples,
        is_adaptive=samples == AUTO,
        margin=run.margin if "margin" in fixed or not merged.margin else merged.margin,
        min_pass_rate=merged.min_pass_rate,
        prompt=merged.prompt,
        monthly_runs=merged.monthly_runs,
        max_cost_per_1000=merged.max_cost_per_1000,
        concurrent=merged.concurrent or False,
        control=merged.control is not False,
    )


def files_of(settings: Settings) -> frozenset[Path]:
    """Files and folders that the ``tests`` patterns of the configuration name."""
    base = settings.base
    if base is None:
        return frozenset()
    return frozenset(path for pattern in settings.tests for path in base.glob(pattern))


def is_in(path: Path, files: frozenset[Path]) -> bool:
    """Whether ``path`` or a folder above it is among ``files``."""
    return bool(files) and (path in files or not files.isdisjoint(path.parents))


def _of_marker(nodeid: str, mark: pytest.Mark, run: Settings) -> PromptSettings:
    at = Place(nodeid, "@pytest.mark.tiers")
    keys: Mapping[str, Any] = mark.kwargs
    if "tiers" in keys:
        raise at.wrong('tier names are given without a key: @pytest.mark.tiers("nano", "mini").')
    said = prompt_settings(at, keys)
    for name in at.texts(mark.args):
        if name not in run.known_tiers:
            raise unknown_tier(at, name, run.known_tiers)
    return replace(said, tiers=mark.args or None)


def _first_said(sources: Iterable[PromptSettings]) -> PromptSettings:
    """For each key the first source that says anything."""
    sources = list(sources)
    return PromptSettings(
        **{
            key: next(
                (value for source in sources if (value := getattr(source, key)) is not None),
                None,
            )
            for key in PromptSettings.__struct_fields__
        }
    )
