"""The simulated prompts of benchmarks/calibration are what they are said to be."""

from __future__ import annotations

import pytest

from benchmarks.calibration.populations import MODELS, drop_of


@pytest.mark.parametrize("drop", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("model", MODELS)
def test_the_drop_is_exact(model: str, drop: float) -> None:
    kinds = MODELS[model](drop)
    assert drop_of(kinds) == pytest.approx(drop, abs=1e-12)
    assert sum(kind.share for kind in kinds) == pytest.approx(1.0)
    for kind in kinds:
        assert 0 <= kind.share <= 1
        assert 0 <= kind.candidate <= kind.flagship <= 1


@pytest.mark.parametrize(
    ("model", "rate"), [("broken", 1), ("mixed", 0.9), ("flaky flagship", 0.9)]
)
def test_how_often_the_flagship_passes(model: str, rate: float) -> None:
    assert sum(kind.share * kind.flagship for kind in MODELS[model](0.1)) == pytest.approx(rate)


def test_broken_cases_always_fail_and_diffuse_ones_now_and_then() -> None:
    assert {kind.candidate for kind in MODELS["broken"](0.1)} == {0.0, 1.0}
    assert [kind.candidate for kind in MODELS["diffuse"](0.1)] == [0.9]


def test_hard_cases_lose_most() -> None:
    easy, middling, hard = MODELS["mixed"](0.1)
    ratios = [kind.candidate / kind.flagship for kind in (easy, middling, hard)]
    assert ratios == sorted(ratios, reverse=True)
    assert easy.flagship > middling.flagship > hard.flagship
