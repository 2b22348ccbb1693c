"""Unused recordings at the end of a session: judged, listed, and deleted where that was asked."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import convert, structs

from pytest_tiers.census import Census, put_together
from pytest_tiers.errors import CassetteError, ConfigurationError
from pytest_tiers.reports.numbers import count
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import Tier

if TYPE_CHECKING:
    from pytest_tiers.cassettes.format import Cassette, RecordedCall
    from pytest_tiers.cassettes.unused import Found
    from pytest_tiers.extent import Extent
    from pytest_tiers.findings import UnusedCase

#: The key of xdist's ``workeroutput`` under which a worker says which tests exist.
CENSUS = "pytest_tiers_census"


class Pruning:
    """Knows whether everything was collected, and what of the recordings no test reads.

    Raises ConfigurationError where recordings shall be pruned and not everything is collected.
    """

    def __init__(self, config: pytest.Config, settings: Settings, census: Census) -> None:
        self._config, self._settings, self._census = config, settings, census
        self._of_workers: list[Mapping[str, Any] | None] = []
        #: The cassettes that the session has read already; none, until it says so.
        self.known: Callable[[Path], Cassette | None] = lambda _: None
        #: What was deleted, or would be in a run with --collect-only; None: nobody asked.
        self.pruned: list[UnusedCase] | None = None
        is_worker = hasattr(config, "workerinput")
        if settings.prune is not None and not is_worker and self._narrowed is not None:
            raise ConfigurationError(
                f"--tiers-prune deletes what no test reads, so all tests must be collected, but "
                f"{self._narrowed} narrows this run. Run pytest --tiers-prune without it."
            )

    def handed_over(self) -> dict[str, Any]:
        """What a worker tells the controller."""
        return {CENSUS: self._census.to_builtins()}

    def renamed_notes(self) -> list[str]:
        """Say that cases were renamed, where their recordings still have the old name."""
        found = {*self._census.renamed}
        for worker in filter(None, self._of_workers):
            found.update(worker["renamed"])
        cases = len({(function, new) for function, _, new in found})
        if not cases or self._settings.record != "none":
            return []
        were, its_name = ("was", "its new name") if cases == 1 else ("were", "their new names")
        return [
            f"{count(cases, 'case')} {were} renamed; run with --tiers-record=once to store "
            f"{'it' if cases == 1 else 'them'} under {its_name}."
        ]

    def take(self, output: Mapping[str, Any]) -> None:
        """Take in what a worker found; one that crashed found nothing that can be trusted."""
        self._of_workers.append(output.get(CENSUS))

    @cached_property
    def _narrowed(self) -> str | None:
        return why_narrowed(self._config)

    @property
    def gap(self) -> str | None:
        """Why nobody knows which tests exist; None where everything was collected."""
        if self._narrowed is not None:
            return self._narrowed
        if None in self._of_workers:
            return "a worker crashed"
        found = self._of_workers or [self._census.to_builtins()]
        return next((one["gap"] for one in found if one and one["gap"]), None)

    @cached_property
    def extent(self) -> Extent | None:
        """What the run was to do, as far as somebody asked; None where that is not known."""
        from pytest_tiers.extent import Extent

        extent, failed = self._census.extent, self._census.failed
        if self._of_workers:  # all of them collect the same
            found = [one for one in self._of_workers if one is not None]
            failed = any(one["failed"] for one in found)
            known = [one["extent"] for one in found if one["extent"] is not None]
            extent = convert(known[0], Extent) if known else None
        if extent is None:
            return None
        lf = getattr(self._config.option, "lf", False)
        return structs.replace(
            extent,
            is_whole=not failed and _why_unseen(self._config) is None,
            knows_left_out=not failed and not lf,
        )

    @cached_property
    def found(self) -> Found:
        """What no test reads. To be asked for when there is no `gap`."""
        from pytest_tiers.cassettes.names import cassette_file
        from pytest_tiers.cassettes.unused import Project, find_unused

        settings, root = self._settings, self._config.rootpath
        base = settings.base or root
        project = Project(
            root=root,
            base=base,
            cassettes=settings.cassettes,
            covered=tuple(_asked_for(self._config)),
            tiers=settings.known_tiers.keys(),
            place=lambda module, name, tier: cassette_file(
                settings.cassettes, base, module, name, tier
            ),
        )
        workers = [one for one in self._of_workers if one is not None]
        existing = put_together(workers or [self._census.to_builtins()])
        return find_unused(existing, project, self.known)

    def unused(self) -> list[UnusedCase] | None:
        """Recordings whose test or case does not exist any more; None where nobody knows."""
        if self.gap is not None or self.found.shared:
            return None
        deleted = {(one.cassette, one.case) for one in self.pruned or ()}
        return [
            one for one in self.found.unused if one.gone and (one.cassette, one.case) not in deleted
        ]

    def prune(self, *, dry_run: bool) -> list[str]:
        """Delete what no test reads; what the user should know. Raises ConfigurationError."""
        from pytest_tiers.cassettes.unused import delete

        if self.gap is not None:
            raise ConfigurationError(
                f"--tiers-prune: nothing was deleted, because not all tests are known: {self.gap}."
            )
        found = self.found
        wants_tiers = self._settings.prune == "tiers"
        chosen = [
            structs.replace(one, cost_usd=self._cost(one))
            for one in found.unused
            if one.of_defined_tier or wants_tiers
        ]
        self.pruned = chosen if dry_run else delete(chosen)
        notes = [f"{path} cannot be read; it is left alone." for path in found.unreadable]
        notes += [
            f"{path} lies outside the project and holds recordings of tests that the project "
            "does not have. Other projects may use them: nothing was deleted there."
            for path in found.shared
        ]
        undefined = sorted({one.tier for one in found.unused if not one.of_defined_tier})
        if undefined and not wants_tiers:
            notes.append(
                f"There are recordings of tiers that are not defined: {', '.join(undefined)}. "
                "They stay unless you say --tiers-prune=tiers."
            )
        notes += [
            f"{one.cassette} could not be changed." for one in chosen if one not in self.pruned
        ]
        return notes

    def _cost(self, unused: UnusedCase) -> Decimal | None:
        from pytest_tiers.cassettes import format

        try:
            cassette = format.load(unused.cassette)
        except (CassetteError, FileNotFoundError):
            return None
        tier = self._settings.known_tiers.get(unused.tier)
        costs: list[Decimal | None] = []
        for trials in (cassette.recordings, cassette.unfinished):
            for sample in unused.samples:
                recording = trials.get((unused.case, sample))
                costs += [_cost(call, tier) for call in (recording.calls if recording else ())]
        return None if None in costs else sum((cost for cost in costs if cost), Decimal(0))


def _cost(call: RecordedCall, tier: Tier | None) -> Decimal | None:
    """What a recorded call cost in USD; None where that is unknown."""
    from pytest_tiers.pricing import price_of
    from pytest_tiers.usage import read_answer

    request, sent = call.request, call.about.get("model")
    if not (request.asks_model or request.is_embeddings) or call.status >= 300:
        return Decimal(0)  # no provider bills what it refused
    answer = read_answer(request.endpoint or "embeddings", call.body, call.content_type)
    return price_of(
        answer.tokens,
        # Judges and other calls left alone are priced by their own model.
        tier if tier is not None and tier.model == sent else Tier("", None),
        answered_by=answer.model,
        sent=sent,
        recorded_at=call.about.get("recorded_at"),
        service_tier=answer.service_tier,
        base_url=request.url,
        billed_apart=answer.billed_apart,
    )


def why_narrowed(config: pytest.Config) -> str | None:
    """The option or path that keeps tests out of the run; None where all are collected."""
    option = config.option
    for name, value in (("-k", option.keyword), ("-m", option.markexpr)):
        if value:
            return name
    return "--deselect" if option.deselect else _why_unseen(config)


def _why_unseen(config: pytest.Config) -> str | None:
    """The option or path that keeps files from being collected at all; None where there is none."""
    option = config.option
    for name, value in (
        ("--lf", getattr(option, "lf", False)),
        ("--ignore", option.ignore),
        ("--ignore-glob", option.ignore_glob),
    ):
        if value:
            return name
    if option.pyargs:
        return "--pyargs"
    if not config.args:  # --help and the like
        return None
    asked = _asked_for(config)
    narrow = [arg for arg in config.args if "::" in arg]
    root = config.rootpath
    wanted = [
        root / path
        for pattern in config.getini("testpaths")
        for path in glob.iglob(pattern, recursive=True, root_dir=root)
    ]
    for path in wanted or [root]:
        if narrow or not any(path.is_relative_to(one) for one in asked):
            return f'the path "{(narrow or config.args)[0]}"'
    return None


def _asked_for(config: pytest.Config) -> list[Path]:
    """The paths that pytest was to collect."""
    folder = config.invocation_params.dir
    return [Path(os.path.normpath(folder / arg)) for arg in config.args]
