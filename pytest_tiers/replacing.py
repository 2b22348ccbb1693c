"""pytest's side of ``--tiers-replace``: a model is compared with its predecessor's recordings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import pytest

from pytest_tiers.cassettes.library import Library
from pytest_tiers.cassettes.names import cassette_file
from pytest_tiers.collection import PlannedTrial
from pytest_tiers.errors import CassetteError, ConfigurationError
from pytest_tiers.reports.numbers import count
from pytest_tiers.reports.text import listed
from pytest_tiers.settings import Settings

#: Case of a test, and sample.
_Place = tuple[str, str, int]


def narrow(
    config: pytest.Config,
    settings: Settings,
    items: list[pytest.Item],
    named: Sequence[tuple[pytest.Item, PlannedTrial]],
) -> str | None:
    """Leave only trials whose case and sample the replaced tier has answered; what was left out.

    It is not called any more: without its answer there is nothing to compare with, and nothing
    to pay for. Raises ConfigurationError where it has answered nothing.
    """
    recorded = _recorded(settings, (trial for _, trial in named), config)
    out = [(item, trial) for item, trial in named if _place(trial) not in recorded]
    if not out:
        return None
    old = settings.replaced
    if len(out) == len(named):
        raise ConfigurationError(
            f"--tiers-replace={old}: no selected test has a recorded answer of {old}, so there is "
            "nothing to compare with. Look for its cassettes in git, or compare both tiers: "
            f"pytest --tiers={','.join(settings.ladder.names)}."
        )
    gone = {item for item, _ in out}
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=[item for item, _ in out])
    cases = list(dict.fromkeys((trial.function, trial.case_in_function) for _, trial in out))
    shown = listed(f"{function}[{case}]" for function, case in cases)
    return f"{count(len(cases), 'case')} without a recorded answer of {old} left out: {shown}."


def _recorded(
    settings: Settings, trials: Iterable[PlannedTrial], config: pytest.Config
) -> set[_Place]:
    library = Library()
    found: set[_Place] = set()
    for trial in trials:
        if trial.tier.name == settings.replaced:
            base = settings.base or config.rootpath
            file = cassette_file(
                settings.cassettes, base, trial.path, trial.in_test, trial.tier.name
            )
            with contextlib.suppress(CassetteError):
                cassette = library.cassette(file.path)
                key = (trial.case_in_function, trial.sample)
                if cassette is not None and key in cassette.recordings:
                    found.add(_place(trial))
    return found


def _place(trial: PlannedTrial) -> _Place:
    return trial.function, trial.case_in_function, trial.sample
