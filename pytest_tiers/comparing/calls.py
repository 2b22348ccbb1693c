"""The calls of models that a comparison makes: recorded in cassettes of their own.

Not in that of either trial: a candidate that is added later, or a tier that is recorded again, must
not change the recordings of the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, structs

from pytest_tiers.cassettes.names import CONTROL, VERSUS
from pytest_tiers.cassettes.tape import Tape
from pytest_tiers.clients import Clients
from pytest_tiers.collection import PlannedTrial
from pytest_tiers.comparing.semantic import vector
from pytest_tiers.override.active import ActiveTrial, CallRules
from pytest_tiers.override.as_is import as_is
from pytest_tiers.override.router import OWNER, Owner
from pytest_tiers.records import Call
from pytest_tiers.settings import Settings
from pytest_tiers.tiers import Tier


class Place(Struct, frozen=True):
    """Where the calls of one comparison stand: in which cassette, under which case and sample."""

    versus: str
    case: str
    sample: int


#: Opens the tape of a comparison of a trial's function.
OpenTape = Callable[[PlannedTrial, Place], Tape]


class Counsel:
    """Opens the calls of comparisons: each in its own name, on its own tape."""

    def __init__(
        self, settings: Settings, rules: CallRules, clients: Clients, open_tape: OpenTape
    ) -> None:
        self._settings, self._clients, self._open_tape = settings, clients, open_tape
        # What we ask a judge, the judge's tier answers, whatever its name.
        self._rules = structs.replace(rules, replaces=())

    def between(self, trial: PlannedTrial, tier: str, sample: int) -> Consultation:
        """For a comparison of the flagship's output with that of ``tier`` for a sample."""
        versus = f"{tier}{VERSUS}{self._settings.ladder.flagship}"
        return self._open(trial, Place(versus, trial.case_in_function, sample))

    def control(self, trial: PlannedTrial) -> Consultation:
        """For the control questions to the judge, the same for all cases of a function."""
        assert self._settings.judge is not None
        judge = self._settings.judge.tier
        return self._open(trial, Place(f"{judge}{VERSUS}{judge}", CONTROL, 1))

    def _open(self, trial: PlannedTrial, place: Place) -> Consultation:
        prompt = f"{trial.prompt} {place.versus}"  # what such a call takes is its own to learn
        tape = self._open_tape(trial, place)

        def active(tier: Tier) -> ActiveTrial:
            return ActiveTrial(tier, prompt, tape, self._rules)

        return Consultation(self._settings, self._clients, active, tape, trial.tier)


class Consultation:
    """The calls of one comparison. ``end`` it, whatever became of it."""

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        active: Callable[[Tier], ActiveTrial],
        tape: Tape,
        own: Tier,
    ) -> None:
        self._settings, self._clients, self._tape = settings, clients, tape
        self._active = active(own)
        self._new_active = active
        self._kind = "tier.compare"

    def _asks(self, tier: Tier, kind: str) -> None:
        """From now on in the name of another tier."""
        self._kind, self._active = kind, self._new_active(tier)

    def asks_judge(self) -> Callable[[str, str], str]:
        """A function that puts a question to the judge: instructions, question; its answer."""
        assert self._settings.judge is not None
        tier = self._settings.known_tiers[self._settings.judge.tier]
        self._asks(tier, "judge")
        client = self._clients.sync(tier)

        def ask(instructions: str, question: str) -> str:
            completion = client.chat.completions.create(
                model=str(tier.model),
                messages=[
                    {"role": "system", "content": instructions},
                    {"role": "user", "content": question},
                ],
            )
            return completion.choices[0].message.content or ""

        return ask

    def asks_embeddings(self) -> Callable[[list[str]], list[list[float]]]:
        """A function that embeds texts at the configured endpoint."""
        asked = self._settings.embeddings
        assert asked is not None
        self._asks(Tier("embeddings", asked.model, price=asked.price), "semantic")
        client = self._clients.sync(self._settings.known_tiers[asked.tier])
        model = asked.model

        def embed(texts: list[str]) -> list[list[float]]:
            # Said, since the client's own choice depends on what is installed: a replay must
            # send what was recorded.
            found = client.embeddings.create(model=model, input=texts, encoding_format="base64")
            return [vector(each.embedding) for each in found.data]

        return embed

    @contextlib.contextmanager
    def owning(self) -> Iterator[None]:
        """What is called inside belongs to this comparison; a project's own code as it is."""
        token = OWNER.set(Owner(self._active))
        try:
            with as_is() if self._kind == "tier.compare" else contextlib.nullcontext():
                yield
        finally:
            OWNER.reset(token)

    @property
    def problem(self) -> str | None:
        """Why a call of the comparison has no answer, if one has none."""
        return next(iter(self._active.wire.errors), None)

    @property
    def out_of_budget(self) -> bool:
        """Whether the cost or call limit kept a call from being made."""
        return self._active.out_of_budget

    def end(self) -> list[Call]:
        """Keep what was recorded; the calls, marked as those of a comparison.

        Where a call has no answer, the next run goes on from here. An answer that was no vote
        is an answer.
        """
        self._tape.finish(complete=self.problem is None)
        return [
            structs.replace(call, left_alone=self._kind, site=None) for call in self._active.calls
        ]


def options_of(settings: Settings, options: Mapping[str, Any]) -> tuple[str | None, float]:
    """The judge's criteria and the threshold of embeddings: a test's own, else the file's."""
    criteria = options.get("criteria", settings.judge.criteria if settings.judge else None)
    default = settings.embeddings.threshold if settings.embeddings else 0.85
    return criteria, options.get("threshold", default)
