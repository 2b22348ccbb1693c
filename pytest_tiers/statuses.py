"""How an answer's HTTP status counts: an answer, a refusal, or nothing about the model."""

from __future__ import annotations

import re
from typing import Literal

from pytest_tiers.usage import Answer

Reading = Literal["answer", "refused", "error"]

_MODEL_NOT_FOUND_CODES = frozenset(
    {"model_not_found", "model_not_exist", "invalid_model", "unknown_model", "deploymentnotfound"}
)

#: Statuses of many causes, one of which the answer may name.
_MAY_NAME_THE_CAUSE = frozenset({400, 404, 422, 501})

#: How OpenAI, Azure, DeepSeek, Mistral, Moonshot, OpenRouter, vLLM and Ollama word it.
_MODEL_NOT_FOUND = re.compile(
    r"\bmodel\b.{0,120}?\b(does not exist|not exist|not found|no longer available)"
    r"|\b(no such|not found the) model\b"
    r"|\b(invalid|unknown|unsupported) model( id| name)?\s*([:'\"`]|$)"
    r"|\bis not a valid model( id)?\b"
    r"|\bno endpoints found for\b"
    r"|\bdeployment\b.{0,80}\bdoes not exist",
    re.IGNORECASE | re.DOTALL,
)

#: The model exists, but not at this endpoint: no reason to stop the tier elsewhere.
_OTHER_ENDPOINT = re.compile(
    r"\b(not supported|only supported|not available) (in|by|with|at) (the )?/?v1/", re.IGNORECASE
)

#: Google answers a wrong key with 400.
_INVALID_KEY = re.compile(r"\bapi key (is )?(not valid|invalid)|\binvalid api key", re.IGNORECASE)


def read_status(status: int | None, answer: Answer) -> Reading:
    """How the last attempt of a request counts (docs/verdicts.md, "Outcomes").

    ``answer``: the model answered. ``refused``: the request was refused as such, so the tier
    cannot do it. ``error``: says nothing about the model. ``status`` None means that no answer
    came.
    """
    if status is None:
        return "error"
    if is_unsupported(status, answer):
        return "refused"
    if not 200 <= status < 300:
        return "error"
    if answer.complete and answer.error_message is not None:
        return "refused" if _refused_inside(answer) else "error"
    return "answer" if answer.complete else "error"


def is_unsupported(status: int, answer: Answer) -> bool:
    """Whether a status means that the request was refused as such.

    400 and 422 (unknown parameter, schema, modality, context too long), 413 (too long), and an
    endpoint that does not exist there (404, 405, 501). A model that does not exist is none of
    these: see `stops_tier`.
    """
    if stops_tier(status, answer):
        return False
    if status == 404:
        # With a parameter named, a file or an earlier response is missing, not the endpoint.
        return answer.error_param in (None, "model")
    if status == 413:
        # Groq answers 413 when a request exceeds the tokens per minute of the account.
        return answer.error_code != "rate_limit_exceeded"
    return status in (400, 405, 422, 501)


def stops_tier(status: int | None, answer: Answer) -> bool:
    """Whether the tier cannot be used at all: 401, 403, no such model, a key refused by 400."""
    if status in (401, 403) or is_gone(status, answer):
        return True
    return status in _MAY_NAME_THE_CAUSE and bool(_INVALID_KEY.search(answer.error_message or ""))


def is_gone(status: int | None, answer: Answer) -> bool:
    """Whether there is no such model there: 410, or an error that says so."""
    return status == 410 or (status in _MAY_NAME_THE_CAUSE and _model_not_found(answer))


def _model_not_found(answer: Answer) -> bool:
    message = answer.error_message or ""
    if answer.error_param not in (None, "model") or _OTHER_ENDPOINT.search(message):
        return False
    if (answer.error_code or "").lower() in _MODEL_NOT_FOUND_CODES:
        return True
    return bool(_MODEL_NOT_FOUND.search(message))


def _refused_inside(answer: Answer) -> bool:
    """Whether an error inside a 200 answer refuses the request as such."""
    if answer.error_status is not None:
        return answer.error_status in (400, 422)
    return (answer.error_code or "").startswith("invalid_")
