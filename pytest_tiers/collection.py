"""From collected tests to trials: parametrization over tiers and samples, identity, order."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.compat import NOTSET
from msgspec import Struct, field, structs

from pytest_tiers import concurrency, marker_settings
from pytest_tiers.cassettes.names import Test, name_in_module
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.marker_settings import TestSettings
from pytest_tiers.markers import MARKER, MUST_PASS, PARAMETER, asks_for_tier, is_marked
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import Tier

if TYPE_CHECKING:
    from pytest_tiers.records import LockEntry

#: What this run was asked to do.
SETTINGS = pytest.StashKey[Settings]()

#: The remedy where a tiered test cannot be one.
_HOW_TO_KEEP_OUT = f"remove @pytest.mark.{MARKER}, or take its file out of `tests`"

#: Function, case, tier, sample.
TrialKey = tuple[str, str, str, int]


class PlannedTrial(Struct, frozen=True):
    """One pytest item as a trial.

    ``function`` is the test's node id without parameters, ``case_in_function`` the case's name
    there; ``prompt`` and ``case`` differ from them where functions are joined in one prompt.
    ``cases`` counts the prompt's cases, ``reachable`` maps a candidate to the number of prompts
    of this run that could become safe on it. ``left_out`` counts the prompt's cases that exist
    and were not selected, where that matters (for tiers.lock), ``locked`` is the prompt's entry
    there if this is its tier; ``must_pass``: a candidate that misses it is ruled out.
    """

    prompt: str
    case: str
    tier: Tier
    sample: int
    function: str
    case_in_function: str
    path: Path
    settings: TestSettings
    uses_tier_fixture: bool
    cases: int = 0
    reachable: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    must_pass: bool = False
    locked: LockEntry | None = None

    @property
    def is_known_miss(self) -> bool:
        """Whether tiers.lock says that this trial missed when its tier was locked."""
        return self.locked is not None and self.locked.knows_miss(self.case, self.sample)

    @property
    def key(self) -> TrialKey:
        """What no other trial of the session has: function, case, tier, sample."""
        return self.function, self.case_in_function, self.tier.name, self.sample

    @property
    def in_test(self) -> str:
        """The test's name inside its module: ``TestRoute.test_route``."""
        return name_in_module(self.function)


#: The trial that an item is; absent for tests that are not tiered.
TRIAL = pytest.StashKey[PlannedTrial]()


class _Parameter(Struct, frozen=True):
    """What our parametrization hands to one item."""

    tier: Tier
    sample: int

    @property
    def id(self) -> str:
        return self.tier.name if self.sample == 1 else f"{self.tier.name}-{self.sample}"


class Collection:
    """Turns the tiered tests of a session into trials."""

    def __init__(self, settings: Settings, notes: list[str]) -> None:
        self.settings = settings
        self._notes = notes
        self.problems: list[str] = []
        self.trials: list[PlannedTrial] = []
        self._has_found_any = False

    @cached_property
    def _files(self) -> frozenset[Path]:
        return marker_settings.files_of(self.settings)

    def is_tiered(self, metafunc: pytest.Metafunc) -> bool:
        """Whether the test function is to be run on tiers."""
        definition = metafunc.definition
        return (
            is_marked(definition)
            or marker_settings.is_in(definition.path, self._files)
            or asks_for_tier(metafunc.fixturenames, metafunc._arg2fixturedefs)
        )

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Add the tiers and samples of a tiered test, after all other parametrization."""
        if not self.is_tiered(metafunc):
            return
        self._has_found_any = True
        definition = metafunc.definition
        try:
            settings = marker_settings.settings_of(
                definition, _function_of(definition), self.settings
            )
        except ConfigurationError as error:
            self.problems.append(str(error))
            return
        if definition.get_closest_marker("vcr") is not None:
            self.problems.append(
                f"{definition.nodeid}: @pytest.mark.vcr on a tiered test: pytest-tiers records "
                "it itself, once per tier. Remove the vcr marker, or keep the test out of the "
                f"comparison: {_HOW_TO_KEEP_OUT}."
            )
            return
        metafunc.fixturenames.append(PARAMETER)
        metafunc.parametrize(
            PARAMETER,
            [
                pytest.param(value, id=value.id)
                for value in self._parameters(settings, settings.prompt or _function_of(definition))
            ],
            indirect=True,
        )

    def _parameters(self, settings: TestSettings, prompt: str) -> Iterator[_Parameter]:
        run = self.settings
        # An everyday run looks at each prompt once; more samples are for comparisons.
        is_asked_for = "samples" in run.on_command_line and not settings.is_adaptive
        samples = settings.samples if run.comparison or is_asked_for else 1
        for tier in self._tiers(settings, prompt):
            yield from (_Parameter(tier, sample) for sample in range(1, samples + 1))

    def _tiers(self, settings: TestSettings, prompt: str) -> Iterator[Tier]:
        run = self.settings
        if not run.comparison:
            entry = run.locked.get(prompt)
            yield run.ladder[run.ladder.flagship if entry is None else entry.tier]
            return
        for tier in run.ladder.tiers:
            named = settings.tiers is None or tier.name in (*settings.tiers, run.ladder.flagship)
            if named or run.replaced is not None:
                yield tier

    def arrange(
        self, session: pytest.Session, items: list[pytest.Item], collected: Iterable[pytest.Item]
    ) -> None:
        """Name every trial and put the trials in order: prompt, case, ladder, sample.

        With adaptive sampling: prompt, sample, case, ladder; with a flagship that is called
        lazily, or a mix to be searched: prompt, sample, candidates before flagship, case, ladder.
        ``collected`` are the
        trials before any were left out. Raises ConfigurationError for what was found wrong in
        collection.
        """
        self._refuse_marked_too_late(items)
        named = self.named(items)
        if self.problems:
            raise ConfigurationError("\n".join(dict.fromkeys(self.problems)))
        self._check_joined(trial for _, trial in named)
        is_partial = session.testsfailed or session.config.getoption("lf", default=False)
        if self.settings.comparison and not self._has_found_any and not is_partial:
            from pytest_tiers.discovery import nothing_tiered

            tests = [(_function_of(item), _modules_of(item)) for item in items]
            raise ConfigurationError(nothing_tiered(tests, session.config.rootpath))
        if not named:
            return
        for item, trial in self._with_plan(named, self._existing(collected)):
            item.stash[TRIAL] = trial
        items[:] = _in_order(items, self.settings)
        self.trials = [item.stash[TRIAL] for item in items if TRIAL in item.stash]

    def _refuse_marked_too_late(self, items: Iterable[pytest.Item]) -> None:
        for item in items:
            is_unittest = _is_unittest(item)
            if is_marked(item) and is_unittest:
                self.problems.append(
                    f"{item.nodeid}: a unittest.TestCase cannot run on tiers, because pytest "
                    "cannot parametrize its methods. Make the class a plain one (no base "
                    f"class, assert statements), or remove @pytest.mark.{MARKER}."
                )
            elif is_marked(item) and _parameter_of(item) is None and not self.problems:
                self.problems.append(
                    f"{item.nodeid}: @pytest.mark.{MARKER} was added when the test was collected "
                    "already (on one parameter, or by a hook), too late to run it on tiers. Put "
                    "it on the function, class or module, or name the file in `tests` of "
                    "[tool.pytest-tiers]."
                )
            elif is_unittest and marker_settings.is_in(item.path, self._files):
                self._notes.append(
                    f"{_function_of(item)} is in `tests` of [tool.pytest-tiers], but a "
                    "unittest.TestCase cannot run on tiers: it runs as always."
                )

    def _locked(self, trial: PlannedTrial) -> LockEntry | None:
        entry = self.settings.locked.get(trial.prompt)
        return entry if entry is not None and entry.tier == trial.tier.name else None

    def named(self, items: Iterable[pytest.Item]) -> list[tuple[pytest.Item, PlannedTrial]]:
        """The items that are trials, each as what it is."""
        settings: dict[str, TestSettings] = {}
        named = []
        for item, parameter, function, case in _cases(items):
            if function not in settings:
                settings[function] = marker_settings.settings_of(item, function, self.settings)
            joined = settings[function].prompt
            trial = PlannedTrial(
                prompt=joined or function,
                case=f"{function}[{case}]" if joined else case,
                tier=parameter.tier,
                sample=parameter.sample,
                function=function,
                case_in_function=case,
                path=item.path,
                settings=settings[function],
                uses_tier_fixture=_uses_tier(item),
                must_pass=item.get_closest_marker(MUST_PASS) is not None,
            )
            if trial.settings.concurrent:
                self._check_concurrent(item, trial)
            named.append((item, trial))
        return named

    def _check_concurrent(self, item: pytest.Item, trial: PlannedTrial) -> None:
        def is_given(name: str) -> bool:
            return name == "tier" and trial.uses_tier_fixture

        assert isinstance(item, pytest.Function)
        if problem := concurrency.obstacle(item, is_given):
            self.problems.append(
                f"{trial.function}: `concurrent` runs a test's body in several threads at once, "
                f"and this one cannot be: {problem}"
            )

    @staticmethod
    def _check_joined(trials: Iterable[PlannedTrial]) -> None:
        first: dict[str, PlannedTrial] = {}
        for trial in trials:
            other = first.setdefault(trial.prompt, trial)
            if other.settings != trial.settings:
                raise ConfigurationError(
                    f'prompt "{trial.prompt}" joins {other.function} and {trial.function}, but '
                    f"their settings differ: {_difference(other.settings, trial.settings)}. "
                    "Give both markers the same keys, or set them once in "
                    f'[tool.pytest-tiers.prompts."{trial.prompt}"].'
                )

    def _existing(self, collected: Iterable[pytest.Item]) -> Mapping[str, set[str]]:
        """The cases of each prompt, selected or not, where tiers.lock depends on them."""
        existing: dict[str, set[str]] = defaultdict(set)
        if self.settings.update_lock:
            for _, trial in self.named(collected):
                existing[trial.prompt].add(trial.case)
        return existing

    def planned(self, items: Iterable[pytest.Item]) -> Iterator[PlannedTrial]:
        """What the items among these that are trials would be, run or not."""
        return (trial for _, trial in self.named(items))

    def _with_plan(
        self, named: list[tuple[pytest.Item, PlannedTrial]], existing: Mapping[str, set[str]]
    ) -> Iterator[tuple[pytest.Item, PlannedTrial]]:
        from pytest_tiers.extent import reachable

        cases: dict[str, set[str]] = defaultdict(set)
        tiers: dict[str, dict[str, None]] = defaultdict(dict)
        margins: dict[str, float] = {}
        for _, trial in named:
            cases[trial.prompt].add(trial.case)
            tiers[trial.prompt][trial.tier.name] = None
            margins[trial.prompt] = trial.settings.margin
        can_be_safe = reachable(
            ((tiers[prompt], len(cases[prompt]), margins[prompt]) for prompt in cases),
            self.settings.alpha,
        )
        for item, trial in named:
            yield (
                item,
                structs.replace(
                    trial,
                    cases=len(cases[trial.prompt]),
                    reachable=can_be_safe,
                    left_out=len(existing.get(trial.prompt, set()) - cases[trial.prompt]),
                    locked=self._locked(trial),
                ),
            )


def _modules_of(item: pytest.Item) -> list[ModuleType | None]:
    """The modules of a test and of its fixtures."""
    info = getattr(item, "_fixtureinfo", None)
    found = info.name2fixturedefs.values() if info is not None else ()
    fixtures = [definition.func for definitions in found for definition in definitions]
    names = {getattr(fixture, "__module__", "") for fixture in fixtures}
    return [getattr(item, "module", None), *map(sys.modules.get, sorted(names))]


def _uses_tier(item: pytest.Item) -> bool:
    info = getattr(item, "_fixtureinfo", None)
    return info is not None and asks_for_tier(info.names_closure, info.name2fixturedefs)


def _is_unittest(item: pytest.Item) -> bool:
    # Where nobody has imported unittest, nobody has a test case of it.
    unittest = sys.modules.get("unittest")
    cls = getattr(item, "cls", None)
    return unittest is not None and cls is not None and issubclass(cls, unittest.TestCase)


def _parameter_of(item: object) -> _Parameter | None:
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get(PARAMETER) if callspec is not None else None
    return value if isinstance(value, _Parameter) else None


def _function_of(item: pytest.Item) -> str:
    """The test's node id without parameters."""
    assert item.parent is not None
    name = getattr(item, "originalname", None) or item.name
    return f"{item.parent.nodeid}::{name}"


def _cases(items: Iterable[pytest.Item]) -> Iterator[tuple[pytest.Item, _Parameter, str, str]]:
    """The items that are trials, each with its test's node id and the name of its case there."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for item in items:
        parameter = _parameter_of(item)
        if parameter is None:
            continue
        function, case = _function_of(item), _case_of(item, parameter.id)
        seen[function, case, parameter.id] += 1
        if (repeat := seen[function, case, parameter.id]) > 1:
            case = f"{case}#{repeat}"  # the same parameters twice: two cases all the same
        yield item, parameter, function, case


def existing_cases(items: Iterable[pytest.Item]) -> dict[Test, frozenset[str] | None]:
    """The cases of each tiered test; None where an empty list of parameters hides them."""
    found: dict[Test, set[str] | None] = {}
    for item, _, function, case in _cases(items):
        test = (item.path, name_in_module(function))
        cases = found.setdefault(test, set())
        if NOTSET in item.callspec.params.values():  # type: ignore[attr-defined]
            found[test] = None
        elif cases is not None:
            cases.add(case)
    return {test: None if cases is None else frozenset(cases) for test, cases in found.items()}


def case_parameters(item: Any) -> Mapping[str, Any]:
    """The values that make an item's case what it is, without its tier and sample."""
    params = item.callspec.params
    return {name: value for name, value in params.items() if name != PARAMETER}


def _case_of(item: Any, own_id: str) -> str:
    """The case's name: pytest's id without our part, hashes where pytest only numbered."""
    callspec = item.callspec
    case: str = callspec.id.removesuffix(own_id).removesuffix("-")
    for name, value in callspec.params.items():
        if name == PARAMETER:
            continue
        # The number itself: `callspec.indices` counts calls, not parameters, since pytest 9.
        numbered = re.compile(rf"(?<![^-]){re.escape(name)}\d+(?![^-])")
        found = numbered.search(case)
        if found and found.group() != value and (digest := _digest(value)):
            case = numbered.sub(f"{name}:{digest}", case, count=1)
    return case


def _digest(value: Any) -> str | None:
    """A short hash of a parameter's value, the same in every run; None where there is none."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if (dump := getattr(type(value), "model_dump", None)) is not None:
        return dump(value, mode="json")
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, enum.Enum | type):
        return repr(value)
    text = repr(value)
    if re.search(r" at 0x[0-9a-f]+| id='\d+'", text):
        raise TypeError("its repr names an address, which changes from run to run")
    return text


def _in_order(items: list[pytest.Item], settings: Settings) -> list[pytest.Item]:
    """The items with each prompt's trials together, at the place of its first, in our order."""
    prompts: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if TRIAL in item.stash:
            prompts[item.stash[TRIAL].prompt].append(item)
    ordered: list[pytest.Item] = []
    for item in items:
        if TRIAL not in item.stash:
            ordered.append(item)
        else:
            ordered += _of_prompt(prompts.pop(item.stash[TRIAL].prompt, []), settings)
    return ordered


def _of_prompt(items: list[pytest.Item], settings: Settings) -> list[pytest.Item]:
    """One prompt's items in our order, however others shuffled them."""
    ladder = settings.ladder
    if settings.spares_flagship:
        return _by_round(items, ladder.names, last=ladder.flagship)
    if any(item.stash[TRIAL].settings.is_adaptive for item in items):
        return _by_round(items, ladder.names)
    if settings.mix:
        # So that a controller of xdist, which knows ids only, sees which cases belong together.
        return _by_round(items, ladder.names, last=ladder.flagship)
    return _by_case(items, ladder.names)


def _by_case(items: list[pytest.Item], ladder: tuple[str, ...]) -> list[pytest.Item]:
    """One prompt's items by case, ladder and sample."""
    cases: dict[str, int] = {}
    for item in items:
        cases.setdefault(item.stash[TRIAL].case, len(cases))

    def place(item: pytest.Item) -> tuple[int, int, int]:
        trial = item.stash[TRIAL]
        return cases[trial.case], ladder.index(trial.tier.name), trial.sample

    return sorted(items, key=place)


def _by_round(
    items: list[pytest.Item], ladder: tuple[str, ...], last: str | None = None
) -> list[pytest.Item]:
    """One prompt's items by sample, case and ladder; those of the tier ``last`` end each sample.

    A candidate can be stopped within a round, so the order of cases must neither change from
    run to run nor follow their author, who may have written the hard ones first: it follows a
    hash of their names.
    """

    def place(item: pytest.Item) -> tuple[int, bool, str, str, int]:
        trial = item.stash[TRIAL]
        tier = trial.tier.name
        digest = hashlib.sha256(trial.case_in_function.encode("utf-8", "surrogatepass"))
        in_round = trial.function, digest.hexdigest(), ladder.index(tier)
        return trial.sample, tier == last, *in_round

    return sorted(items, key=place)


def _difference(one: TestSettings, other: TestSettings) -> str:
    return ", ".join(
        f"{key} {getattr(one, key)} and {getattr(other, key)}"
        for key in TestSettings.__struct_fields__
        if getattr(one, key) != getattr(other, key)
    )
