"""Which lines change with a safe downgrade, and which are held back by whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pytest_tiers.application.changes import changes
from pytest_tiers.findings import BySite, Change, PromptSummary, RunSummary
from pytest_tiers.override.sources import SourceFile
from pytest_tiers.records import CallSite
from pytest_tiers.reports.changes import change_sentences, diff_sentence
from pytest_tiers.tiers import Ladder, Tier
from tests.unit.summaries import call, comparison, mix_of, prompt, run, safe, trial

SOURCE = """
MODEL = "gpt-5.4"

def plan():
    create(model="gpt-5.4")

def write():
    create(model="gpt-5.4")

def check():
    create(model=MODEL)
"""
LINES = {"plan": 5, "write": 8, "check": 11}


def site(name: str) -> CallSite:
    return CallSite(f"app.py:{LINES[name]} {name}", f"app.py:{name}/1")


def reaching(id: str, *sites: str, **changes: Any) -> tuple[Any, ...]:
    """A trial of a prompt that calls from each of the sites."""
    calls = (call(site=site(name).label, site_key=site(name).key, **changes) for name in sites)
    return (trial(id, calls=tuple(calls)),)


def good(id: str, *tiers: str) -> PromptSummary:
    """A prompt for which these tiers are safe, the first recommended."""
    return prompt(id, *(safe(tier) for tier in tiers), recommended=tiers[0])


def bad(id: str) -> PromptSummary:
    return prompt(id, comparison("nano"), comparison("mini"))


def found(tmp_path: Path, summary: RunSummary) -> dict[str, Change]:
    (tmp_path / "app.py").write_text(SOURCE)
    made = changes(
        summary, lambda name: SourceFile(tmp_path / name, name), lambda name: "test_" in name
    )
    lines = [each.source.line or 0 for each in made]
    assert lines == sorted(lines)
    return {each.site.rpartition(" ")[2]: each for each in made}


def test_a_line_of_one_prompt(tmp_path: Path) -> None:
    summary = run(good("p", "nano"), trials=reaching("p", "plan"))
    (plan,) = found(tmp_path, summary).values()
    assert (plan.units, plan.tier, plan.present, plan.model) == (
        ("p",),
        "nano",
        "gpt-5.4",
        "gpt-5.4-nano",
    )
    assert (plan.in_diff, plan.source.file, plan.source.line) == (True, "app.py", 5)
    assert list(change_sentences(replace(summary, changes=(plan,)))) == [
        "app.py:5: gpt-5.4 -> gpt-5.4-nano"
    ]


def test_nothing_is_safe(tmp_path: Path) -> None:
    assert found(tmp_path, run(bad("p"), trials=reaching("p", "plan"))) == {}


def test_a_line_that_another_prompt_reaches_is_held_back(tmp_path: Path) -> None:
    trials = (*reaching("p", "plan", "write"), *reaching("q", "write"))
    summary = run(good("p", "nano"), bad("q"), trials=trials)
    made = found(tmp_path, summary)
    # The other line too: with the flagship in between it would be a mix that nothing tested.
    assert {name: each.held_back_by for name, each in made.items()} == {
        "plan": ("q",),
        "write": ("q",),
    }
    assert not any(each.in_diff for each in made.values())
    summary = replace(summary, changes=tuple(made.values()))
    assert next(change_sentences(summary)) == (
        "app.py:5: gpt-5.4 -> gpt-5.4-nano; not yet, though safe for p: q would change with it"
    )
    assert diff_sentence(summary) is None


def test_prompts_that_share_a_line_move_to_a_tier_that_is_safe_for_all(tmp_path: Path) -> None:
    trials = (*reaching("p", "plan"), *reaching("q", "plan", "write"))
    made = found(tmp_path, run(good("p", "nano", "mini"), good("q", "mini"), trials=trials))
    assert {name: (each.tier, each.units) for name, each in made.items()} == {
        "plan": ("mini", ("p", "q")),
        "write": ("mini", ("q",)),
    }


def test_prompts_that_agree_on_no_tier_hold_each_other_back(tmp_path: Path) -> None:
    trials = (*reaching("p", "plan"), *reaching("q", "plan"))
    summary = run(good("p", "nano"), good("q", "mini"), trials=trials)
    (tmp_path / "app.py").write_text(SOURCE)
    made = changes(summary, lambda name: SourceFile(tmp_path / name, name), lambda _: False)
    assert [(each.units, each.tier, each.held_back_by) for each in made] == [
        (("p",), "nano", ("q",)),
        (("q",), "mini", ("p",)),
    ]


def test_a_tier_that_is_ruled_out_is_no_choice(tmp_path: Path) -> None:
    one = replace(good("p", "mini"), savings={"mini": None})
    other = good("q", "mini")
    trials = (*reaching("p", "plan"), *reaching("q", "plan"))
    assert found(tmp_path, run(one, other, trials=trials))["plan"].held_back_by == ("p",)


def test_one_step_that_is_no_literal_keeps_all_out_of_the_diff(tmp_path: Path) -> None:
    made = found(tmp_path, run(good("p", "nano"), trials=reaching("p", "plan", "check")))
    assert {name: (each.source.kind, each.in_diff) for name, each in made.items()} == {
        "check": ("constant", False),
        "plan": ("literal", False),
    }


def test_a_call_of_the_test_itself_and_one_from_nowhere(tmp_path: Path) -> None:
    own = CallSite("test_app.py:3 test_it", "test_app.py:test_it/1")
    calls = (call(site=own.label, site_key=own.key), call(site=None))
    summary = run(good("p", "nano"), trials=(trial("p", calls=calls),))
    made = found(tmp_path, summary)
    assert [each.source.text for each in made.values()] == ["the test itself", ""]
    assert list(change_sentences(replace(summary, changes=tuple(made.values())))) == [
        "test_app.py:3 test_it: gpt-5.4 -> gpt-5.4-nano; named by the test itself",
        "a call of an unknown line: gpt-5.4 -> gpt-5.4-nano; where it is named is not known",
    ]


def test_what_asks_for_that_model_already_does_not_change(tmp_path: Path) -> None:
    trials = reaching("p", "plan", model_asked="gpt-5.4-nano")
    assert found(tmp_path, run(good("p", "nano"), trials=trials)) == {}


def test_what_else_the_tiers_calls_need(tmp_path: Path) -> None:
    cheap = Tier(
        "nano",
        "m'",
        base_url="http://a/v1",
        api_key_env="A_KEY",
        params={"reasoning_effort": "low"},
        drop_params=("temperature",),
        rename_params={"max_tokens": "max_completion_tokens"},
    )
    summary = run(good("p", "nano"), trials=reaching("p", "plan"))
    ladder = Ladder((cheap, summary.settings.ladder["full"]), "full")
    summary = replace(summary, settings=replace(summary.settings, ladder=ladder))
    (plan,) = found(tmp_path, summary).values()
    assert not plan.in_diff  # a name with a quote in it is better put in by hand
    assert list(change_sentences(replace(summary, changes=(plan,))))[1] == (
        "nano also needs base_url http://a/v1, the key in A_KEY, reasoning_effort = 'low', no "
        "temperature and max_completion_tokens in place of max_tokens"
    )


def test_sites_of_the_same_trials_move_together(tmp_path: Path) -> None:
    plan, write = (site(name).label for name in ("plan", "write"))
    trials = (*reaching(plan, "plan"), *reaching(write, "write"))
    together = {plan: (write,), write: (plan,)}

    def judged(*sites: PromptSummary) -> dict[str, Change]:
        base = run(bad("p"), trials=reaching("p", "plan", "write"))
        by_site = BySite(run(*sites, trials=trials), {}, together)
        settings = replace(base.settings, by="site")
        return found(tmp_path, replace(base, settings=settings, by_site=by_site))

    assert judged(good(plan, "nano"), bad(write))["plan"].held_back_by == (write,)
    made = judged(good(plan, "nano"), good(write, "nano"))
    assert all(each.in_diff for each in made.values())
    assert len(made) == 2


def mixed(id: str, **tiers: str) -> PromptSummary:
    """A prompt whose sites are to run on these tiers."""
    return replace(bad(id), mix=mix_of({site(name): tier for name, tier in tiers.items()}))


def test_a_mix_changes_the_lines_of_the_sites_that_it_moves(tmp_path: Path) -> None:
    trials = reaching("p", "plan", "write", "check")
    summary = run(mixed("p", plan="nano", write="mini", check="full"), trials=trials)
    made = found(tmp_path, summary)
    assert {name: (each.model, each.in_diff) for name, each in made.items()} == {
        "plan": ("gpt-5.4-nano", True),
        "write": ("gpt-5.4-mini", True),
    }
    # Where a cheaper tier is safe for all of it, the mix is cheaper still.
    both = replace(summary.prompts[0], comparisons={"mini": safe()}, recommended="mini")
    assert found(tmp_path, replace(summary, prompts=(both,))) == made


def test_a_mix_is_held_back_by_others_on_its_lines(tmp_path: Path) -> None:
    trials = (*reaching("p", "plan", "write"), *reaching("q", "plan"), *reaching("r", "write"))
    one = mixed("p", plan="nano", write="full")
    summary = run(one, good("q", "nano"), good("r", "nano"), trials=trials)
    (tmp_path / "app.py").write_text(SOURCE)
    made = changes(summary, lambda name: SourceFile(tmp_path / name, name), lambda _: False)
    held = {(each.units, each.source.line): each.held_back_by for each in made}
    assert held == {(("p",), 5): ("q",), (("q",), 5): ("p",), (("r",), 8): ("p",)}


def test_a_wrapper_cannot_ask_for_two_models_in_one_line(tmp_path: Path) -> None:
    wrapper = CallSite("app.py:5 plan", "app.py:plan/1")
    outer = [CallSite(f"app.py:{n} <module>", f"app.py:<module>/{n}") for n in (20, 21)]
    calls = [call(site=each.label, site_key=each.key, within=(wrapper,)) for each in outer]
    one = replace(bad("p"), mix=mix_of({outer[0]: "nano", outer[1]: "full"}))
    (change,) = found(tmp_path, run(one, trials=(trial("p", calls=tuple(calls)),))).values()
    assert (change.in_diff, change.held_back_by) == (False, ("app.py:21 <module>",))
