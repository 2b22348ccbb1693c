"""Which mix is run next: the search finds the cheapest that holds, with few runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pytest_tiers.mix_planner import MOST_FAILED_RUNS, Shown, Stand, Task, stand
from pytest_tiers.mixes import Mix, MixSearch, TriedMix, place
from pytest_tiers.records import CallSite

SITES = ("plan", "extract", "write")
TIERS = ("nano", "mini", "full")
PRICES = {"nano": Decimal(1), "mini": Decimal(4), "full": Decimal(12)}
#: What a site's calls cost beside each other.
WEIGHTS = {"plan": 1, "extract": 2, "write": 3}
SURE, NO = Shown(10.0, True), Shown(-10.0, False)

Step = tuple[str, str]


def task(
    sites: Iterable[str] = SITES,
    tiers: tuple[str, ...] = TIERS,
    is_large: bool = True,
    in_usd: bool = True,
) -> Task:
    sites = tuple(sites)
    expected = {
        (site, tier): PRICES[tier] * WEIGHTS.get(site, 1) if in_usd else Decimal(tiers.index(tier))
        for site in sites
        for tier in tiers
    }
    return Task(sites, tiers, expected, in_usd, 0.05, is_large)


def world(
    asked: Task, bad: Iterable[Iterable[Step]]
) -> tuple[Callable[[Mix], Shown], dict[Mix, Shown]]:
    """What each mix shows, where mixes with all steps of a ``bad`` combination fail.

    And what the ladder has shown of the whole tiers.
    """
    combinations = [frozenset(each) for each in bad]

    def show(mix: Mix) -> Shown:
        fails = any(each <= set(mix.steps) for each in combinations)
        return Shown(-3.0 if fails else 10.0, not fails, asked.cost(mix))

    return show, {asked.on(tier): show(asked.on(tier)) for tier in asked.tiers[:-1]}


def search(asked: Task, bad: Iterable[Iterable[Step]]) -> tuple[list[Mix], Stand]:
    """Run a search to its end: the mixes that it ran, and where it stands."""
    show, shown = world(asked, bad)
    ran: list[Mix] = []
    while (now := stand(asked, shown)).next is not None:
        assert now.next not in shown
        ran.append(now.next)
        shown[now.next] = show(now.next)
    return ran, now


PLANNER_NEEDS_FULL = [
    [("plan", "nano")],
    [("plan", "mini")],
    [("write", "nano")],
]


def test_it_finds_the_mix_with_each_step_alone_and_one_joint_run() -> None:
    asked = task()
    ran, end = search(asked, PLANNER_NEEDS_FULL)
    assert end.held == asked.mix({"extract": "nano", "write": "mini"})
    assert end.put_forward == (end.held,)
    assert len(ran) == 6
    assert ran[-1] == end.held
    assert all(len(each.changes("full")) == 1 for each in ran[:-1])
    assert asked.mix({"extract": "mini"}) not in ran  # a cheaper tier does there
    assert (asked.exhaustive, asked.most_runs) == (24, 6 + MOST_FAILED_RUNS)


def test_steps_that_are_safe_alone_and_bad_together_are_refused() -> None:
    asked = task()
    bad = [*PLANNER_NEEDS_FULL, [("extract", "nano"), ("write", "mini")]]
    ran, end = search(asked, bad)
    refused = asked.mix({"extract": "nano", "write": "mini"})
    assert refused in end.put_forward
    assert end.held == asked.mix({"extract": "mini", "write": "mini"})
    assert ran[-1] == end.held


def test_what_contains_a_bad_pair_is_not_tried() -> None:
    asked = task(tiers=("nano", "full"))
    pair = [("extract", "nano"), ("write", "nano")]
    ran, end = search(asked, [pair])
    # All three on nano is the ladder's own run; each pair with the third step is that, too.
    assert [each.changes("full") for each in ran if len(each.changes("full")) > 1] == [
        frozenset(pair),
        frozenset([("plan", "nano"), ("write", "nano")]),
    ]
    assert end.held == asked.mix({"plan": "nano", "write": "nano"})


def test_a_whole_tier_that_holds_leaves_only_cheaper_mixes_to_try() -> None:
    asked = task()
    ran, end = search(asked, [])
    assert (ran, end.held) == ([], asked.on("nano"))
    ran, end = search(asked, [[("plan", "nano")]])
    # The whole prompt does on mini; the others of it do on nano, which costs less.
    assert end.held == asked.mix({"plan": "mini", "extract": "nano", "write": "nano"})
    cost = asked.cost(asked.on("mini"))
    assert all(asked.cost(each) < cost for each in end.put_forward)


def test_what_is_no_choice_does_not_hold_whatever_it_has_shown() -> None:
    asked = task(sites=("plan", "write"), tiers=("nano", "full"))
    show, shown = world(asked, [])
    assert stand(asked, shown).held == asked.on("nano")
    shown[asked.on("nano")] = show(asked.on("nano")).refused
    shown |= {step: show(step) for step in (asked.mix({"plan": "nano"}),)}
    dearest = asked.mix({"write": "nano"})
    shown[dearest] = show(dearest).refused
    end = stand(asked, shown)
    assert (end.next, end.held) == (None, asked.mix({"plan": "nano"}))


def test_no_step_holds() -> None:
    bad = [[(site, tier)] for site in SITES for tier in TIERS[:-1]]
    ran, end = search(task(), bad)
    assert (len(ran), end.held, end.put_forward) == (6, None, ())


def test_each_mix_put_forward_asks_for_more_evidence() -> None:
    asked = task(sites=("plan", "write"))
    alone = [asked.mix({site: tier}) for site in asked.sites for tier in ("nano", "mini")]
    shown = {asked.on("nano"): NO, asked.on("mini"): NO}
    just = Shown(math.log(1 / 0.05), True)
    shown |= dict.fromkeys(alone, just)
    first = stand(asked, shown).next
    assert first is not None
    shown[first] = just
    assert stand(asked, shown).held == first
    shown[first] = NO
    second = stand(asked, shown).next
    assert second is not None
    shown[second] = just  # enough for one, not for the second of two
    assert stand(asked, shown).held is None
    shown[second] = Shown(math.log(2 / 0.05), True)
    assert stand(asked, shown).held == second


def test_a_prompt_with_few_cases_looks_for_what_agrees() -> None:
    small = task(is_large=False)
    agrees, differs = Shown(0.4, True), Shown(0.3, False)
    assert small.holds(agrees, 3)
    assert not small.holds(differs, 1)
    assert not task().holds(agrees, 1)


def test_a_mix_that_turned_out_dear_is_not_the_last_word() -> None:
    asked = task(sites=("plan", "write"))
    shown = {asked.on("nano"): NO, asked.on("mini"): NO}
    first = asked.mix({"plan": "mini", "write": "nano"})
    for site in asked.sites:
        for tier in ("nano", "mini"):
            alone = asked.mix({site: tier})
            shown[alone] = Shown(10.0, True, asked.cost(alone))
    shown[first] = Shown(10.0, True, Decimal(30))  # its answers were longer than expected
    second = asked.mix({"plan": "nano", "write": "mini"})
    assert stand(asked, shown).next == second
    shown[second] = Shown(10.0, True, Decimal(14))
    end = stand(asked, shown)
    assert (end.next, end.held, len(end.put_forward)) == (None, second, 2)


def test_it_gives_up_after_so_many_refusals() -> None:
    sites = tuple("abcdefg")
    pairs = itertools.combinations(sites, 2)
    bad = [[(one, "nano"), (other, "nano")] for one, other in pairs]
    ran, end = search(task(sites, ("nano", "full")), bad)
    assert end.has_tried_most
    assert len(end.put_forward) == MOST_FAILED_RUNS
    assert len(ran) == len(sites) + MOST_FAILED_RUNS


combinations = st.lists(
    st.dictionaries(st.sampled_from(SITES), st.sampled_from(TIERS[:-1]), min_size=1).map(
        lambda steps: list(steps.items())
    ),
    max_size=8,
)


@given(combinations)
def test_it_finds_the_cheapest_that_holds_in_any_world(bad: list[list[Step]]) -> None:
    asked = task()
    show, whole = world(asked, bad)
    everything = [
        asked.mix(dict(zip(SITES, tiers, strict=True)))
        for tiers in itertools.product(TIERS, repeat=3)
        if set(tiers) != {"full"}
    ]
    good = [mix for mix in everything if asked.holds(show(mix), 1)]
    ran, end = search(asked, bad)
    if end.has_tried_most:
        return
    assert (end.held is None) == (not good)
    if end.held is not None:
        assert end.held in good
        assert asked.cost(end.held) == min(map(asked.cost, good))
    assert len(ran) <= asked.most_runs
    assert not set(ran) & set(whole)


def test_costs_that_nobody_knows_are_ranked_by_the_ladder() -> None:
    asked = task(in_usd=False)
    _, end = search(asked, PLANNER_NEEDS_FULL)
    assert end.held == asked.mix({"extract": "nano", "write": "mini"})


def test_a_mix_has_one_name_and_order() -> None:
    keys = {"app.py:write/2#ab": "mini", "app.py:plan/1#cd": "full", "site:a#b": "nano"}
    mix = Mix.of(keys)
    assert mix == Mix.of(dict(reversed(keys.items())))
    assert mix.name == "full+mini+nano"
    assert [place(key) for key, _ in mix.steps] == ["app.py:plan/1", "app.py:write/2", "site:a#b"]


def test_a_search_travels_as_builtins() -> None:
    tiers: Mapping[str, str] = {"site:plan": "full", "site:write": "nano"}
    tried = TriedMix(Mix.of(tiers), True, "worse", 3, ())
    search = MixSearch("p", (CallSite("plan", "site:plan"),), (tried,), "none", 24, 720, "why")
    assert MixSearch.from_builtins(search.to_builtins()) == search
    assert search.calls == 3
