"""Which line of the application a call belongs to, once all calls are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from pytest_tiers.call_sites import SiteCases, attribute, site_stats
from pytest_tiers.records import Call, CallSite, Tokens, Trial


def line(file: str, function: str, number: int = 1) -> CallSite:
    return CallSite(f"{file}:{number} {function}", f"{file}:{function}/{number}#00")


CHAT = line("llm.py", "chat")
PLAN, WRITE = line("agent.py", "run", 1), line("agent.py", "run", 2)
MAIN = line("main.py", "main")


def call(*stack: CallSite, cost: str | None = "0.001", seconds: float | None = 1.0) -> Call:
    return Call(
        model_asked="m",
        model="m",
        answered_by="m",
        endpoint="chat/completions",
        status=200,
        tokens=Tokens(10, 0, 1, 0),
        cost_usd=None if cost is None else Decimal(cost),
        seconds=seconds,
        site=stack[0].label if stack else None,
        site_key=stack[0].key if stack else None,
        callers=stack[1:],
    )


def trial(*calls: Call) -> Trial:
    return Trial("p", "c", "full", 1, "passed", "p[c]", calls=calls)


def sites(*calls: Call, wrappers: Sequence[str] | None = None) -> list[str | None]:
    return [made.site for one in attribute([trial(*calls)], wrappers) for made in one.calls]


def test_a_function_that_two_lines_call_is_a_wrapper() -> None:
    assert sites(call(CHAT, PLAN), call(CHAT, WRITE)) == [PLAN.label, WRITE.label]


def test_the_two_lines_may_call_in_different_trials() -> None:
    planned, written = trial(call(CHAT, PLAN)), trial(call(CHAT, WRITE))
    found = [one.calls[0].site for one in attribute([planned, written])]
    assert found == [PLAN.label, WRITE.label]


def test_a_function_that_one_line_calls_is_the_site() -> None:
    assert sites(call(CHAT, PLAN), call(CHAT, PLAN)) == [CHAT.label] * 2


def test_a_function_that_calls_itself_has_no_second_caller() -> None:
    again = line("llm.py", "chat", 2)
    assert sites(call(CHAT, PLAN), call(CHAT, again, PLAN)) == [CHAT.label] * 2


def test_a_wrapper_that_a_test_calls_is_the_site() -> None:
    assert sites(call(CHAT, PLAN), call(CHAT, WRITE), call(CHAT))[-1] == CHAT.label


def test_a_wrapper_of_a_wrapper() -> None:
    inner = line("llm.py", "send")
    other = line("llm.py", "stream")
    calls = (call(inner, CHAT, PLAN), call(inner, CHAT, WRITE), call(inner, other, MAIN))
    assert sites(*calls) == [PLAN.label, WRITE.label, other.label]


def test_the_callers_of_the_site_remain() -> None:
    (found,) = attribute([trial(call(CHAT, PLAN, MAIN), call(CHAT, WRITE, MAIN))])
    assert [made.callers for made in found.calls] == [(MAIN,), (MAIN,)]


def test_the_configuration_says_what_is_a_wrapper() -> None:
    calls = (call(CHAT, PLAN), call(CHAT, WRITE))
    assert sites(*calls, wrappers=[]) == [CHAT.label] * 2
    assert sites(call(CHAT, PLAN), wrappers=["llm.py:*"]) == [PLAN.label]
    assert sites(*calls, wrappers=["other.py:chat"]) == [CHAT.label] * 2


def test_a_site_that_the_application_named_is_no_wrapper() -> None:
    named = CallSite("a/b", "site:a/b")
    assert named.function == ""
    assert sites(call(named), call(named)) == ["a/b", "a/b"]


def test_a_call_from_nowhere_has_no_site() -> None:
    assert sites(call()) == [None]
    assert site_stats([trial(call())]) == ()


def test_what_each_site_called() -> None:
    one = trial(call(PLAN, cost="0.003"), call(WRITE, seconds=3.0))
    found = site_stats([one, one])
    assert [(each.site, each.key, each.calls) for each in found] == [
        (PLAN.label, PLAN.key, 2),
        (WRITE.label, WRITE.key, 2),
    ]
    assert [each.cost_share for each in found] == [0.75, 0.25]
    assert [each.cost_usd for each in found] == [Decimal("0.006"), Decimal("0.002")]
    assert [each.tokens.input for each in found] == [20, 20]
    assert [each.seconds_p95 for each in found] == [1.0, 3.0]


def test_shares_are_unknown_where_a_price_is() -> None:
    found = site_stats([trial(call(PLAN), call(WRITE, cost=None))])
    assert [each.cost_share for each in found] == [None, None]
    assert [each.cost_usd for each in found] == [Decimal("0.001"), None]


def test_shares_of_nothing_are_unknown() -> None:
    (found,) = site_stats([trial(call(PLAN, cost="0"))])
    assert (found.cost_usd, found.cost_share) == (Decimal(0), None)


def test_calls_that_are_left_alone_have_no_part_in_the_prompts_cost() -> None:
    judge = replace(call(WRITE), left_alone="as_is")
    (found,) = site_stats([trial(call(PLAN), judge)])
    assert (found.site, found.cost_share) == (PLAN.label, 1.0)


def test_sites_travel_as_builtins() -> None:
    one = trial(call(CHAT, PLAN), replace(call(PLAN), within=(CHAT,)))
    assert Trial.from_builtins(one.to_builtins()) == one


def of(prompt: str, case: str, *calls: Call, margin: float | None = None) -> Trial:
    settings = {} if margin is None else {"margin": margin}
    one = trial(*calls)
    return replace(one, prompt=prompt, case=case, settings=settings)


def test_the_cases_of_all_prompts_are_the_sites() -> None:
    sites = SiteCases([of("p", "a", call(PLAN)), of("q", "b", call(PLAN), margin=0.05)], 0.1)
    assert sites.join_prompts
    assert sites.prompts == {PLAN.label: ("p", "q")}
    found = list(sites.trials())
    assert [(one.prompt, one.case) for one in found] == [(PLAN.label, "p a"), (PLAN.label, "q b")]
    assert found[0].settings == {"cases": 2, "margin": 0.05}


def test_the_runs_margin_is_that_of_a_prompt_which_says_none() -> None:
    sites = SiteCases([of("p", "a", call(PLAN)), of("q", "b", call(PLAN), margin=0.2)], 0.1)
    assert next(sites.trials()).settings["margin"] == 0.1


def test_a_trial_of_two_steps_is_a_case_of_both_with_the_calls_of_each() -> None:
    both = of("p", "a", call(PLAN, cost="0.003"), call(WRITE))
    sites = SiteCases([both], 0.1)
    assert not sites.join_prompts
    assert sites.called_with == {PLAN.label: (WRITE.label,), WRITE.label: (PLAN.label,)}
    found = {one.prompt: [made.site for made in one.calls] for one in sites.trials()}
    assert found == {PLAN.label: [PLAN.label], WRITE.label: [WRITE.label]}


def test_a_trial_that_never_got_to_a_step_is_a_case_of_it_all_the_same() -> None:
    sites = SiteCases([of("p", "a", call(PLAN), call(WRITE)), of("p", "a", call(PLAN))], 0.1)
    assert Counter(one.prompt for one in sites.trials()) == {PLAN.label: 2, WRITE.label: 2}


def test_a_case_without_a_call_belongs_to_no_site() -> None:
    sites = SiteCases([of("p", "a"), of("p", "b", call())], 0.1)
    assert list(sites.trials()) == []
    assert sites.prompts == {}
