"""Whether two outputs say the same, and how a test may ask for that."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from pytest_tiers.agreements import Degree, degree_of, plainly
from pytest_tiers.comparing.ways import MisuseError, checked
from pytest_tiers.settings import Embeddings, Judge


class TestPlainly:
    @pytest.mark.parametrize(
        ("by", "flagship", "candidate", "agree"),
        [
            (None, "Pay  the\nbill ", "pay the BILL", 1.0),
            (None, "pay", "p ay", 0.0),
            (None, {"a": 1, "b": 2}, {"b": 2, "a": 1}, 1.0),
            (None, "1", 1, 0.0),
            (None, 1, True, 0.0),
            ("text", "Straße", "STRASSE", 1.0),
            ("text", 7, " 7", 1.0),
            ("deep", "Pay", "pay", 0.0),
            ("deep", float("nan"), float("nan"), 1.0),
            ("json", '{"a": [1, 2]}', ' {"a":[1,2]}', 1.0),
            ("json", '{"a": 1}', {"a": 1}, 1.0),
            ("json", '{"a": 1}', '{"a": 2}', 0.0),
            ("json", "null", "none", 0.0),
        ],
    )
    def test_agreement(self, by: str | None, flagship: Any, candidate: Any, agree: float) -> None:
        assert plainly(by, flagship, candidate, {}).value == agree

    def test_a_deep_difference_is_told(self) -> None:
        found = plainly("deep", {"a": [1, 2]}, {"a": [1, 3]}, {})
        assert found.difference == "Value of root['a'][1] changed from 2 to 3."

    def test_what_is_no_json_is_told(self) -> None:
        found = plainly("json", "{}", "Here you are: {}", {})
        assert (
            found.difference == "its output is no JSON: Expecting value: line 1 column 1 (char 0)"
        )
        found = plainly("json", "", "{}", {})
        assert str(found.difference).startswith("the flagship's output is no JSON")

    @pytest.mark.parametrize("levels", [101, 50_000])
    def test_what_is_nested_too_deeply_is_no_json(self, levels: int) -> None:
        found = plainly("json", "[]", "[" * levels + "]" * levels, {})
        assert found.value == 0.0
        assert str(found.difference).startswith("its output is no JSON: ")
        assert plainly("json", "[" * 100 + "]" * 100, "[]", {}).value == 0.0

    @pytest.mark.parametrize(
        ("options", "candidate"),
        [
            ({"ignore_order": True}, {"a": [2, 1], "n": 1.04, "id": 1}),
            ({"significant_digits": 1}, {"a": [1, 2], "n": 1.0, "id": 1}),
            ({"exclude_paths": ["root['id']"]}, {"a": [1, 2], "n": 1.04, "id": 2}),
        ],
    )
    def test_options_are_deepdiffs(self, options: dict[str, Any], candidate: Any) -> None:
        flagship = {"a": [1, 2], "n": 1.04, "id": 1}
        assert plainly(None, flagship, candidate, options).value == 1.0
        assert plainly(None, flagship, candidate, {}).value == 0.0

    def test_an_option_that_fails_later_is_no_answer(self) -> None:
        def fails(*_: Any) -> bool:
            raise RuntimeError("my bug")

        found = plainly("deep", {"a": 1}, {"a": 2}, {"exclude_obj_callback": fails})
        assert (found.value, found.error) == (None, "DeepDiff: RuntimeError: my bug")

    def test_only_short_lists_are_aligned(self) -> None:
        """Aligning 2,000 labels takes DeepDiff minutes."""
        short, labels = [1, 2, 3], [each % 3 for each in range(2000)]
        found = plainly("deep", {"a": [short]}, {"a": [[0, *short]]}, {})
        assert found.difference == "Item root['a'][0][0] added to iterable."
        found = plainly("deep", {"a": [labels]}, {"a": [[0, *labels]]}, {})
        assert str(found.difference).startswith("Item root['a'][0][2000] added")
        exact = list(map(float, labels))
        almost = [each + 0.001 for each in exact]
        assert plainly("deep", exact, almost, {"significant_digits": 1}).value == 1.0
        assert plainly("deep", labels, labels[::-1], {"ignore_order": True}).value == 1.0

    def test_a_difference_without_end_is_cut(self) -> None:
        found = plainly("deep", {"a": "x" * 10**6}, {"a": "y" * 10**6}, {})
        assert len(str(found.difference)) == 2001


@pytest.mark.parametrize(
    ("answer", "threshold", "value"),
    [(True, None, 1.0), (False, 0.5, 0.0), (0.25, None, 0.25), (1, None, 1.0), (0.8, 0.8, 1.0)],
)
def test_degree_of(answer: Any, threshold: float | None, value: float) -> None:
    assert degree_of(answer, threshold).value == value


def test_a_number_below_the_threshold_is_told() -> None:
    assert degree_of(0.4321, 0.8) == Degree(0.0, "0.432, threshold 0.8")


def test_numpys_answers_count() -> None:
    class Float:
        def item(self) -> float:
            return 0.5

    assert degree_of(Float(), None).value == 0.5


@pytest.mark.parametrize("answer", [None, "yes", 1.5, -1, float("nan"), Decimal(1)])
def test_other_answers_are_none(answer: Any) -> None:
    with pytest.raises(ValueError, match="expected True, False or a number from 0 to 1"):
        degree_of(answer, None)


class TestWays:
    @pytest.mark.parametrize("by", [None, "deep", "text", "json"])
    def test_plain_ways_travel(self, by: str | None) -> None:
        assert checked(by, {}, has_hook=False).travels
        assert checked(by, {}, has_hook=True).travels == (by is not None)

    def test_builtin_options_travel_and_others_do_not(self) -> None:
        options = {"exclude_paths": ["root['a']"], "ignore_order": True}
        assert checked("deep", options, has_hook=False).travels
        options = {"exclude_regex_paths": [re.compile("a")]}
        assert not checked("deep", options, has_hook=False).travels
        assert not checked(lambda *_: True, {}, has_hook=False).travels

    @pytest.mark.parametrize(
        ("by", "options", "message"),
        [
            (
                "deap",
                {},
                'unknown way; did you mean "deep"? Valid: deep, text, json, semantic, judge,',
            ),
            (7, {}, "expected a name or a callable"),
            ("deep", {"ignoreorder": True}, "not valid: ignoreorder"),
            (None, {"threshold": 1}, "not valid: threshold"),
            ("text", {"ignore_order": True}, 'by="text" takes no options, got ignore_order'),
            (len, {"ignore_order": True}, 'no option "ignore_order", only "threshold"'),
            (len, {"threshold": "high"}, "threshold: expected a number from 0 to 1, got 'high'"),
            (len, {"threshold": True}, "threshold: expected a number from 0 to 1, got True"),
            (len, {"threshold": 80}, "threshold: expected a number from 0 to 1, got 80"),
            (len, {"threshold": float("nan")}, "threshold: expected a number from 0 to 1, got nan"),
            ("judge", {}, '[tool.pytest-tiers.judge] tier = "full"'),
            (
                "judge",
                {"critera": "x"},
                'option "critera"; did you mean "criteria"? Valid: criteria',
            ),
            ("semantic", {}, "[tool.pytest-tiers.embeddings]"),
            ("semantic", {"embed": 3}, "embed: expected a callable, got 3"),
            ("semantic", {"embed": len, "threshold": "x"}, "threshold: expected a number"),
        ],
    )
    def test_misuse(self, by: Any, options: dict[str, Any], message: str) -> None:
        with pytest.raises(MisuseError, match=re.escape(message)):
            checked(by, options, has_hook=False)

    def test_a_projects_own_embeddings_ask_no_model_of_ours(self) -> None:
        own = checked("semantic", {"embed": len}, has_hook=False)
        assert (own.asks, own.travels) == (False, False)
        configured = Embeddings("full", "text-embedding-3-small")
        assert checked("semantic", {}, has_hook=False, embeddings=configured).asks

    def test_criteria_are_text(self) -> None:
        with pytest.raises(MisuseError, match="criteria: expected text, got 7"):
            checked("judge", {"criteria": 7}, has_hook=False, judge=Judge("full"))

    def test_with_a_hook_any_name_goes(self) -> None:
        assert checked("rouge", {"least": 0.5}, has_hook=True).has_hook
