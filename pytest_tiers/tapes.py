"""Which recording a trial reads, and where what it records goes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pytest_tiers.cassettes.format import Cassette
from pytest_tiers.cassettes.library import Library
from pytest_tiers.cassettes.matching import Matcher
from pytest_tiers.cassettes.names import CassetteFile, cassette_file
from pytest_tiers.cassettes.pool import Drawer, Pool
from pytest_tiers.cassettes.renamed import RenamedCases
from pytest_tiers.cassettes.scrub import Scrubber
from pytest_tiers.cassettes.substitutes import Answers, SubstituteTape
from pytest_tiers.cassettes.tape import Ahead, Tape, TapeLabel
from pytest_tiers.collection import PlannedTrial
from pytest_tiers.comparing.calls import Place
from pytest_tiers.errors import CassetteError
from pytest_tiers.modes import RecordMode
from pytest_tiers.settings import Settings


class Tapes:
    """The tapes of a session's trials, and what is known of their recordings."""

    def __init__(
        self,
        settings: Settings,
        rootpath: Path,
        trials: Sequence[PlannedTrial],
        matcher: Matcher,
        renamed: RenamedCases,
        key_variables: Sequence[str],
    ) -> None:
        """``key_variables`` name the environment variables whose values are secrets."""
        self.library = Library()
        self._settings, self._base = settings, settings.base or rootpath
        self._matcher, self._renamed, self._key_variables = matcher, renamed, key_variables
        self._files = {
            (trial.function, trial.tier.name): self._file(trial, trial.tier.name)
            for trial in trials
        }
        #: The folders of cassettes.
        self.roots = list(dict.fromkeys(file.root for file in self._files.values()))

    def file(self, trial: PlannedTrial) -> CassetteFile:
        """The cassette of a trial's test on its tier."""
        key = (trial.function, trial.tier.name)
        if key not in self._files:  # a mix is no tier of the ladder
            self._files[key] = self._file(trial, trial.tier.name)
        return self._files[key]

    def _file(self, trial: PlannedTrial, tier: str) -> CassetteFile:
        return cassette_file(self._settings.cassettes, self._base, trial.path, trial.in_test, tier)

    def cassette(self, trial: PlannedTrial) -> Cassette | None:
        """The recordings of a trial's test on its tier, None where none can be read."""
        with contextlib.suppress(CassetteError):
            return self.library.cassette(self.file(trial).path)
        return None

    def is_replayed(self, trial: PlannedTrial) -> bool:
        """Whether a trial will most likely be answered from its recording."""
        if self._settings.record_for(trial.tier.name) == "all":
            return False
        with contextlib.suppress(CassetteError):
            cassette = self.library.cassette(self.file(trial).path)
            key = (trial.case_in_function, trial.sample)
            return cassette is not None and (
                key in cassette.recordings
                or self._renamed.has_any(cassette, trial.function, trial.sample)
            )
        return True  # a damaged cassette is never recorded over unasked

    def recorded_at(self, trial: PlannedTrial) -> str:
        """When a trial's latest answer was recorded (ISO 8601, UTC); "" where none is."""
        cassette = self.cassette(trial)
        key = (trial.case_in_function, trial.sample)
        recording = cassette.recordings.get(key) if cassette else None
        calls = recording.calls if recording else ()
        return max((call.about.get("recorded_at") or "" for call in calls), default="")

    def of(
        self, trial: PlannedTrial, *, ahead: Ahead | None = None, feeds: Ahead | None = None
    ) -> Tape:
        """The tape of a trial, which takes what was asked ``ahead`` or ``feeds`` it to another."""
        others = self.library.of_other_tiers(self.file(trial)) if trial.tier.is_current else []
        return self._tape(
            self._label(trial), others, ahead=ahead, feeds=feeds, drawer=self._drawer(trial)
        )

    def of_mix(self, mixed: PlannedTrial, drawer: Drawer) -> Tape:
        """The tape of a trial whose calls go to the tiers of their sites."""
        again = f"--tiers={','.join(self._settings.ladder.names)} --tiers-mix"
        return self._tape(self._label(mixed, again=again), drawer=drawer)

    def of_comparison(self, trial: PlannedTrial, place: Place) -> Tape:
        """The tape of the calls that compare a trial's output."""
        file = self._file(trial, place.versus)
        return self._tape(TapeLabel(file, trial.function, place.versus, place.case, place.sample))

    def of_recording(self, trial: PlannedTrial) -> Tape:
        """A tape that replays a trial's recording and never records."""
        return self._tape(self._label(trial), mode="none")

    def of_substitutes(self, trial: PlannedTrial, answers: Answers) -> Tape:
        """A tape that gives a trial other answers than its own."""
        return SubstituteTape(
            answers.calls,
            self.library,
            self._label(trial),
            "none",
            self._matcher,
            Scrubber(self._key_variables),
        )

    def _label(self, trial: PlannedTrial, again: str | None = None) -> TapeLabel:
        is_locked_mix = trial.locked is not None and trial.locked.sites
        return TapeLabel(
            self.file(trial),
            trial.function,
            trial.tier.name,
            trial.case_in_function,
            trial.sample,
            again="" if again is None and is_locked_mix else again,
        )

    def _drawer(self, trial: PlannedTrial) -> Drawer | None:
        """The answers of other tiers and mixes that a trial of a locked mix may take."""
        is_asked_anew = self._settings.record_for(trial.tier.name) == "all"
        if trial.locked is None or not trial.locked.sites or is_asked_anew:
            return None
        label, pool = self._label(trial), Pool(self._matcher)
        for other in self.library.of_other_tiers(label.file):
            if isinstance(other, Cassette) and label.key in other.recordings:
                pool.add(label.key, other.recordings[label.key].calls)
        return pool.drawer(label.key)

    def _tape(
        self,
        label: TapeLabel,
        others: Sequence[Cassette | CassetteError] = (),
        *,
        ahead: Ahead | None = None,
        feeds: Ahead | None = None,
        drawer: Drawer | None = None,
        mode: RecordMode | None = None,
    ) -> Tape:
        return Tape(
            self.library,
            label,
            mode or self._settings.record_for(label.tier),
            self._matcher,
            Scrubber(self._key_variables),
            others,
            ahead=ahead,
            feeds=feeds,
            renamed=self._renamed if mode is None else None,
            drawer=drawer,
        )
