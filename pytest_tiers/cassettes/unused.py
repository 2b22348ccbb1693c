"""Recordings that no test reads any more: finding them, and deleting them when asked to.

Whatever is in doubt is not unused: a module that exists and was not collected, a folder that
other projects may share, a cassette that cannot be read.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from msgspec import Struct, field

from pytest_tiers.cassettes import format
from pytest_tiers.cassettes.journal import folding, write_atomically
from pytest_tiers.cassettes.names import (
    CONTROL,
    VERSUS,
    CassetteFile,
    Test,
    name_in_module,
    of_all_tiers,
)
from pytest_tiers.cassettes.plain_yaml import parse
from pytest_tiers.errors import CassetteError
from pytest_tiers.findings import UnusedCase
from pytest_tiers.mixes import tiers_in


class Existing(Struct, frozen=True):
    """Which tests exist, as a collection found them.

    ``folders`` and ``modules`` are what was looked into, ``unknown`` those among them that were
    skipped as a whole. ``cases`` holds the names of a tiered test's cases; None where they are
    not known. ``renamed`` are functions with names of cases that stand in cassettes and
    go by another name now.
    """

    folders: frozenset[Path]
    modules: frozenset[Path]
    unknown: frozenset[Path]
    cases: Mapping[Test, frozenset[str] | None]
    renamed: frozenset[tuple[str, str]] = frozenset()

    def is_unknown(self, path: Path) -> bool:
        """Whether the module at ``path``, or a folder above it, was skipped as a whole."""
        return not self.unknown.isdisjoint((path, *path.parents))


class Project(Struct, frozen=True):
    """Where the project's tests and cassettes are.

    ``root`` is what node ids are relative to, ``base`` what cassettes are named after,
    ``cassettes`` the folder of all cassettes (None: beside each test module), ``covered`` what
    was asked to be collected, ``tiers`` every tier that is defined. ``place`` names the cassette
    of a test (module, name inside it) on a tier.
    """

    root: Path
    base: Path
    cassettes: Path | None
    covered: tuple[Path, ...]
    tiers: Collection[str]
    place: Callable[[Path, str, str], CassetteFile]

    def owns(self, folder: Path) -> bool:
        """Whether a folder of cassettes lies in the project, so that nobody else uses it."""
        real = folder.resolve()  # "../shared" and links lead out of it
        return any(real.is_relative_to(own.resolve()) for own in (self.root, self.base))


class Found(Struct):
    """What no test reads. ``unreadable`` cassettes and ``shared`` folders were not judged."""

    unused: list[UnusedCase] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    shared: list[Path] = field(default_factory=list)


class Stored(Struct, frozen=True):
    """What a cassette says of itself; ``trials`` are case, sample and number of answers."""

    function: str
    tier: str
    trials: tuple[tuple[str, int, int], ...]


def find_unused(
    existing: Existing, project: Project, known: Callable[[Path], format.Cassette | None]
) -> Found:
    """All recordings that no existing test reads, and those of tiers that are not defined.

    ``known`` gives the cassettes that were read already, so that none is read twice.
    """
    found = Found()
    judge = _Judge(existing, project, known)
    beside = {folder / "cassettes" for folder in existing.folders}
    roots = beside if project.cassettes is None else {project.cassettes}
    for root in sorted(root for root in roots if root.is_dir()):
        unused: list[UnusedCase] = []
        is_shared = False
        for path in sorted(root.rglob("*.yaml")):
            try:
                judged = judge.judge(CassetteFile(root, path))
            except CassetteError:
                if path.name.endswith(tuple(f"[{tier}].yaml" for tier in project.tiers)):
                    found.unreadable.append(path)  # others are another plugin's
                continue
            if judged is None:
                is_shared = is_shared or not project.owns(root)
            else:
                unused += judged
        if is_shared:
            found.shared.append(root)
        else:
            found.unused += unused
    return found


class _Judge:
    """Tells which recordings of a cassette nobody reads."""

    def __init__(
        self,
        existing: Existing,
        project: Project,
        known: Callable[[Path], format.Cassette | None],
    ) -> None:
        self._existing, self._project, self._known = existing, project, known
        self._modules = {
            project.place(module, "", "").path.parent: module for module in existing.modules
        }
        self._cases = {
            of_all_tiers(project.place(module, name, "").path): cases
            for (module, name), cases in existing.cases.items()
        }

    def judge(self, file: CassetteFile) -> list[UnusedCase] | None:
        """What of a cassette no test reads; None where its module is not known.

        Raises CassetteError where it cannot be read.
        """
        cassette = self._known(file.path)
        stored = read_index(file.path) if cassette is None else _stored_in(cassette)
        module = self._modules.get(file.path.parent)
        if module is None and not (self._project.owns(file.root) and self._is_gone(file, stored)):
            return None
        if module is not None and not self._is_judged(module, file.path, stored):
            return []
        by_case: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for case, sample, answers in stored.trials:
            by_case[case].append((sample, answers))
        is_defined = all(
            tier in self._project.tiers
            for side in stored.tier.split(VERSUS)
            for tier in tiers_in(side)
        )
        return [
            UnusedCase(
                cassette=file.path,
                root=file.root,
                test=stored.function,
                tier=stored.tier,
                case=case,
                samples=tuple(sorted({sample for sample, _ in trials})),
                answers=sum(answers for _, answers in trials),
                gone=gone,
                of_defined_tier=is_defined,
            )
            for case, trials in by_case.items()
            if (stored.function, case) not in self._existing.renamed
            and ((gone := self._gone(file.path, case)) or not is_defined)
        ]

    def _gone(self, path: Path, case: str) -> Literal["test", "case"] | None:
        """What does not exist any more; None where a test reads the case."""
        test = of_all_tiers(path)
        if test not in self._cases:
            return "test"
        cases = self._cases[test]
        return None if cases is None or case in cases or case == CONTROL else "case"

    def _is_judged(self, module: Path, path: Path, stored: Stored) -> bool:
        """Whether all tests of a module are known, and the cassette lies where one's would."""
        place = self._project.place(module, name_in_module(stored.function), stored.tier)
        return place.path == path and not self._existing.is_unknown(module)

    def _is_gone(self, file: CassetteFile, stored: Stored) -> bool:
        """Whether a module that was not collected lay where was looked, and is no more."""
        module = self._project.root / stored.function.partition("::")[0]
        folder = next((folder for folder in module.parents if folder.is_dir()), None)
        return (
            self._is_judged(module, file.path, stored)
            and not module.exists()
            and folder in self._existing.folders
            and any(module.is_relative_to(covered) for covered in self._project.covered)
        )


def read_index(path: Path) -> Stored:
    """What a cassette holds, without its answers where it is as we write it.

    Raises CassetteError where it cannot be read.
    """
    with contextlib.suppress(OSError, yaml.YAMLError, RecursionError, *format.WRONG_SHAPE):
        # The metadata stand last; no line of an answer begins in the first column.
        text = path.read_bytes()
        start = text.rindex(b"\nmetadata:\n")
        stored = _stored(parse(text[start:].decode())["metadata"])
        interactions = text.count(b"\n- request:\n", 0, start)
        if text.endswith(b"\n") and interactions == sum(answers for *_, answers in stored.trials):
            return stored
    try:
        cassette = format.load(path)
    except FileNotFoundError as error:
        raise CassetteError(f"{path}: no longer there.") from error
    return _stored_in(cassette)


def _stored_in(cassette: format.Cassette) -> Stored:
    trials = [*cassette.recordings.items(), *cassette.unfinished.items()]
    return Stored(
        cassette.function,
        cassette.tier,
        tuple((case, sample, len(trial.calls)) for (case, sample), trial in trials),
    )


def _stored(metadata: Mapping[str, Any]) -> Stored:
    if metadata["pytest-tiers"] != format.FORMAT:
        raise ValueError(f"format {metadata['pytest-tiers']}")
    trials = []
    for one in metadata["trials"]:
        seconds = [call["seconds"] for call in one["calls"]]  # the last line of each call
        trials.append((str(one["case"]), int(one["sample"]), len(seconds)))
    return Stored(str(metadata["test"]), str(metadata["tier"]), tuple(trials))


def delete(unused: Iterable[UnusedCase]) -> list[UnusedCase]:
    """Delete recordings; those that could be deleted.

    Each cassette is replaced as a whole, or removed with its empty folders where nothing is left.
    """
    cassettes: dict[CassetteFile, list[UnusedCase]] = defaultdict(list)
    for one in unused:
        cassettes[CassetteFile(one.root, one.cassette)].append(one)
    deleted: list[UnusedCase] = []
    for file, cases in cassettes.items():
        with contextlib.suppress(OSError, CassetteError), folding(file.root):
            _delete_from(file, {(one.case, sample) for one in cases for sample in one.samples})
            deleted += cases
    return deleted


def _delete_from(file: CassetteFile, keys: set[format.TrialKey]) -> None:
    from pytest_tiers.cassettes.writing import dump  # a replay needs none of it

    cassette = format.load(file.path)
    for trials in (cassette.recordings, cassette.unfinished):
        for key in keys & trials.keys():
            del trials[key]
    if cassette.recordings or cassette.unfinished:
        write_atomically(file.path, dump(cassette))
        return
    file.path.unlink()
    for folder in file.path.relative_to(file.root).parents[:-1]:
        with contextlib.suppress(OSError):  # not empty
            (file.root / folder).rmdir()
