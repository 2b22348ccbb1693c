"""What a test may ask of ``tier.compare``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_tiers.agreements import ASKING, PLAIN, How, check_options
from pytest_tiers.configuration import nearest
from pytest_tiers.settings import Embeddings, Judge

#: The only option of a comparison by a callable.
_THRESHOLD = "threshold"


class MisuseError(Exception):
    """``tier.compare`` was asked for what it cannot do: what is wrong, and what is valid."""


def checked(
    by: Any,
    options: Mapping[str, Any],
    *,
    has_hook: bool,
    judge: Judge | None = None,
    embeddings: Embeddings | None = None,
) -> How:
    """How outputs are to be compared. Raises MisuseError.

    ``has_hook`` is whether the project implements ``pytest_tiers_compare``: it is asked first
    where ``by`` is None or no name of ours.
    """
    if callable(by):
        _check_threshold(options)
        return How(getattr(by, "__name__", type(by).__name__), options, by)
    if by is not None and not isinstance(by, str):
        raise MisuseError(f"tier.compare(by={by!r}): expected a name or a callable.")
    if by is None or by in PLAIN:
        if not (by is None and has_hook):
            _check_plain(by, options)
        return How(by, options, has_hook=by is None and has_hook)
    if by == "judge":
        _check_judge(options, judge)
        return How(by, options)
    if by == "semantic":
        _check_semantic(options, embeddings)
        return How(by, options)
    if not has_hook:
        raise MisuseError(
            f'tier.compare(by="{by}"): unknown way{nearest(by, (*PLAIN, *ASKING))} Valid: '
            f"{', '.join((*PLAIN, *ASKING))}, a callable (flagship, candidate) -> bool or "
            "float, or a name that your conftest's hook pytest_tiers_compare knows."
        )
    return How(by, options, has_hook=True)


def _check_plain(by: str | None, options: Mapping[str, Any]) -> None:
    try:
        check_options(by, options)
    except (TypeError, ValueError) as error:
        raise MisuseError(f"tier.compare(): {error}") from None


def _check_judge(options: Mapping[str, Any], judge: Judge | None) -> None:
    _check_names("judge", options, ("criteria",))
    if judge is None:
        raise MisuseError(
            'tier.compare(by="judge") needs a judge: name one of your tiers in pyproject.toml, '
            '[tool.pytest-tiers.judge] tier = "full".'
        )
    if not isinstance(options.get("criteria", ""), str):
        raise MisuseError(f"tier.compare(): criteria: expected text, got {options['criteria']!r}.")


def _check_semantic(options: Mapping[str, Any], embeddings: Embeddings | None) -> None:
    _check_names("semantic", options, (_THRESHOLD, "embed"))
    _check_number(options)
    if "embed" in options:
        if not callable(options["embed"]):
            raise MisuseError(
                f"tier.compare(): embed: expected a callable, got {options['embed']!r}."
            )
    elif embeddings is None:
        raise MisuseError(
            'tier.compare(by="semantic") needs embeddings: name a tier and its model in '
            'pyproject.toml, [tool.pytest-tiers.embeddings] tier = "full", '
            'model = "text-embedding-3-small"; or pass embed=, a callable that embeds a list of '
            "texts."
        )


def _check_names(by: str, options: Mapping[str, Any], valid: tuple[str, ...]) -> None:
    for name in options:
        if name not in valid:
            raise MisuseError(
                f'tier.compare(by="{by}"): unknown option "{name}"{nearest(name, valid)} Valid: '
                f"{', '.join(valid)}."
            )


def _check_threshold(options: Mapping[str, Any]) -> None:
    for name in options:
        if name != _THRESHOLD:
            raise MisuseError(
                f'tier.compare(): a callable takes no option "{name}", only "{_THRESHOLD}", the '
                "number from which on it means yes."
            )
    _check_number(options)


def _check_number(options: Mapping[str, Any]) -> None:
    threshold = options.get(_THRESHOLD, 0)
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not (is_number and 0 <= threshold <= 1):
        raise MisuseError(
            f"tier.compare(): threshold: expected a number from 0 to 1, got {threshold!r}."
        )
