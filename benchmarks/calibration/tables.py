"""What was found, as text of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from benchmarks.calibration import decisions, rules, suites
from benchmarks.calibration.single import (
    ANEW,
    CATCHING_UP,
    EACH,
    EACH_CASE,
    EACH_ROUND,
    EACH_SIZE,
    EACH_TEN,
    LIVES,
    ONE_LOOK,
    ROUNDS,
    SAMPLES,
    SIZES,
    STAIRS,
    Counts,
    Found,
)

#: The bars of these numbers.
FALSE_SAFE, FALSE_DISCOVERIES, CLEAN, STOPPED = 0.05, 0.05, 32, 25

Singles = Mapping[str, Found]


def lines(found: Mapping[str, Mapping[Any, Any]], clean: int) -> Iterator[str]:
    """All tables, then the bars."""
    bad, equal = found["bad"], found["equal"]
    yield from false_safe(bad)
    yield from other_rules("Called as good though 10 points worse", bad, max)
    yield from power(equal)
    yield from other_rules(
        "Called as good, equal candidate, flaky flagship",
        {"flaky flagship": equal["flaky flagship"]},
        max,
    )
    yield from false_claims(bad, equal)
    yield from in_suites(found["suite"])
    yield from until_decided(found)
    yield from bars(bad, found["suite"], found["stopped"], clean)
    singles = [*bad.values(), *equal.values()]
    checked = sum(each.checked for each in singles)
    yield (
        f"{checked:,} data sets and {sum(each.checked for each in found['suite'].values())} "
        "suites were given to the plugin itself: same verdicts."
    )


def false_safe(bad: Singles) -> Iterator[str]:
    """The plugin's wrong `safe`."""
    runs = next(iter(bad.values())).runs
    yield from heading(
        f"`safe` though 10 points worse: % of {runs:,} prompts (±{error(0.05, runs):.1f})"
    )
    for look in (ONE_LOOK, EACH_CASE):
        yield sizes(look)
        for model, each in bad.items():
            for samples in SAMPLES:
                yield row(f"{model}, {plural(samples)}", each.safe[samples, look], each.runs)
    for look in (EACH_ROUND, EACH_TEN, *LIVES, EACH):
        yield sizes(look)
        for model, each in bad.items():
            yield row(model, each.safe[ROUNDS, look], each.runs)


def other_rules(title: str, found: Singles, pick: Any) -> Iterator[str]:
    """The rules of other tools beside the plugin, the worst of the models of data."""
    runs = min(each.runs_of_rules for each in found.values())
    among = f", worst of {len(found)} models" if len(found) > 1 else ""
    yield from heading(f"{title}: %{among}")
    yield f"of {runs:,} prompts (±{error(0.05, runs):.1f} near 5)"
    for samples, look in ((1, ONE_LOOK), (5, ONE_LOOK), (1, EACH_SIZE)):
        yield sizes(f"{look}, {plural(samples)}")
        own = EACH_CASE if look == EACH_SIZE else look
        name = "pytest-tiers, each case" if look == EACH_SIZE else "pytest-tiers"
        yield shares_row(
            name,
            [
                pick(each.safe[samples, own][at] / each.runs for each in found.values())
                for at in range(len(SIZES))
            ],
        )
        for rule in rules.RULES:
            yield shares_row(
                rule,
                [
                    pick(
                        each.by_rule[rule, samples, look][at] / each.runs_of_rules
                        for each in found.values()
                    )
                    for at in range(len(SIZES))
                ],
            )


def power(equal: Singles) -> Iterator[str]:
    """How often an equal candidate is found safe."""
    runs = next(iter(equal.values())).runs
    yield from heading(
        f"`safe`, equal candidate (power): % of {runs:,} prompts (±{error(0.5, runs):.1f})"
    )
    yield sizes(ONE_LOOK)
    for model, each in equal.items():
        for samples in SAMPLES:
            yield row(f"{model}, {plural(samples)}", each.safe[samples, ONE_LOOK], each.runs)
    yield sizes(EACH_ROUND)
    for model, each in equal.items():
        yield row(model, each.safe[ROUNDS, EACH_ROUND], each.runs)


def false_claims(bad: Singles, equal: Singles) -> Iterator[str]:
    """The other verdicts where they are wrong."""
    yield from heading("Other wrong verdicts: %, worst of the models, one look")
    yield sizes("equal: with an equal candidate; wrong: see below")
    for samples in SAMPLES:
        yield shares_row(
            f"`worse`, equal; {plural(samples)}",
            [
                max(each.worse[samples][at] / each.runs for each in equal.values())
                for at in range(len(SIZES))
            ],
        )
    for samples in SAMPLES:
        yield shares_row(
            f"`matches`, wrong; {plural(samples)}",
            [
                max(each.wrong_matches[samples][at] / each.runs for each in bad.values())
                for at in range(len(SIZES))
            ],
        )
    yield "`matches` is wrong where the very cases lose more than 10 points."


def in_suites(found: Mapping[int, suites.Found]) -> Iterator[str]:
    """False discoveries, and what share of the good prompts is found."""
    runs = next(iter(found.values())).runs
    yield from heading("Suites: wrong share of what is called safe (good prompts found), %")
    yield f"{suites.PROMPTS} prompts of {suites.CASES} cases; {runs} suites of each kind"
    yield f"{'prompts 10 points worse':34}" + "".join(f"{bad:>15}" for bad in found)
    for name in (suites.PLUGIN, suites.PEEKING, suites.SINGLY, *rules.RULES):
        cells = []
        for bad, each in found.items():
            mean, spread = (100 * value for value in false_discoveries(each, name))
            good = suites.PROMPTS - bad
            power = f" ({100 * each.good[name] / each.runs / good:.0f})" if good else ""
            cells.append(f"{mean:.1f} ±{spread:.1f}{power}")
        yield f"{name:34}" + "".join(f"{cell:>15}" for cell in cells)


def until_decided(found: Mapping[str, Mapping[Any, Any]]) -> Iterator[str]:
    """Cases until safe, pairs until stopped or decided."""
    yield from heading("Cases until an equal candidate is safe, a look after each case")
    yield f"{'':22}{'1 sample':>24}{'3 samples':>24}"
    for model, each in found["safe"].items():
        cells = []
        for samples in decisions.SAMPLES:
            cases = sorted(number or math.inf for number in each.cases[f"{model}, {samples}"])
            shown = [quantile(cases, at) for at in (0.25, 0.5, 0.75)]
            cells.append(f"{shown[1]} ({shown[0]} to {shown[2]})")
        yield f"{model:22}" + "".join(f"{cell:>24}" for cell in cells)
    yield "Median (quartiles)."
    yield from heading("Pairs until a candidate 30 points worse is called no more (mean)")
    yield "Until `worse` alone, one sample of each case; and with --tiers-samples=auto"
    yield f"{'':22}{'`worse` alone':>18}" + in_sizes()
    for model, each in found["stopped"].items():
        mean, spread = mean_pairs(found["worse"][model].cases[model])
        cells = [mean_pairs(each.cases[f"{model}, {size}"]) for size in decisions.SIZES]
        shown = "".join(f"{f'{mean:.1f} ±{spread:.1f}':>13}" for mean, spread in cells)
        yield f"{model:22}{f'{mean:.1f} ±{spread:.1f}':>18}{shown}"
    yield from heading("Pairs until an equal candidate is decided, --tiers-samples=auto (mean)")
    yield f"{'':22}" + in_sizes() + "   then safe, %"
    for model, each in found["decided"].items():
        cells = [mean_pairs(each.cases[f"{model}, {size}"]) for size in decisions.SIZES]
        shown = "".join(f"{f'{mean:.0f} ±{spread:.0f}':>13}" for mean, spread in cells)
        safe = [100 * fmean(each.cases[f"{model}, {size}, safe"]) for size in decisions.SIZES]
        yield f"{model:22}{shown}   " + ", ".join(f"{share:.0f}" for share in safe)


def in_sizes() -> str:
    """The head of columns by number of cases."""
    return "".join(f"{f'{size} cases':>13}" for size in decisions.SIZES)


def bars(
    bad: Singles, found: Mapping[int, suites.Found], stopped: Mapping[str, Any], clean: int
) -> Iterator[str]:
    """What was promised, and whether it holds."""
    yield from heading("Bars")
    looks = {
        "one look": [(samples, ONE_LOOK) for samples in SAMPLES],
        "after every case": [(samples, EACH_CASE) for samples in SAMPLES],
        "after every round": [(ROUNDS, EACH_ROUND)],
        "after every ten cases, then round": [(ROUNDS, EACH_TEN)],
        "while the prompt grows by tens": [(ROUNDS, CATCHING_UP), (ROUNDS, STAIRS)],
    }
    for name, keys in looks.items():
        worst = max(each.safe[key].max() / each.runs for each in bad.values() for key in keys)
        yield bar(f"false safe, {name}", worst, FALSE_SAFE, "{:.1%}")
    for name, look in (("every case, then round", EACH), ("from the first sample again", ANEW)):
        worst = max(each.safe[ROUNDS, look].max() / each.runs for each in bad.values())
        yield f"{f'false safe, {name}':52}{worst:>8.1%} (not covered, not what the plugin does)"
    for name in (suites.PLUGIN, suites.PEEKING):
        worst = max(false_discoveries(each, name)[0] for each in found.values())
        yield bar(f"false discoveries, {name}", worst, FALSE_DISCOVERIES, "{:.1%}")
    yield bar("cases, clean prompt, equal candidate", clean, CLEAN, "{:.0f}")
    for model, each in stopped.items():
        pairs = [number for size in decisions.SIZES for number in each.cases[f"{model}, {size}"]]
        mean = mean_pairs(pairs)[0]
        yield bar(f"pairs until 30 points worse is stopped, {model}", mean, STOPPED, "{:.1f}")


def bar(what: str, value: float, most: float, form: str) -> str:
    """A number beside what it may be at most."""
    verdict = "holds" if value <= most else "MISSED"
    return f"{what:52}{form.format(value):>8} (bar {form.format(most)}: {verdict})"


def false_discoveries(found: suites.Found, name: str) -> tuple[float, float]:
    """The mean wrong share of a suite, and twice its standard error."""
    mean = found.wrong[name] / found.runs
    return mean, 2 * math.sqrt(max(0.0, found.squares[name] / found.runs - mean**2) / found.runs)


def mean_pairs(pairs: Sequence[int]) -> tuple[float, float]:
    """Mean pairs until a decision, and twice its standard error."""
    if not all(pairs):
        raise SystemExit("some candidates were not decided")
    return fmean(pairs), 2 * stdev(pairs) / math.sqrt(len(pairs))


def error(share: float, runs: int) -> float:
    """Twice the standard error of a share, in percent."""
    return 200 * math.sqrt(share * (1 - share) / runs)


def quantile(ordered: Sequence[float], at: float) -> str:
    """A value of the ordered ones, where there is one."""
    value = ordered[int(at * (len(ordered) - 1))]
    return "never" if math.isinf(value) else f"{value:.0f}"


def heading(text: str) -> Iterable[str]:
    """A title with a line above."""
    return "", text, "-" * min(79, len(text))


def sizes(look: str) -> str:
    """The head of a table by number of cases; who looks how often stands above."""
    return f"{look}\n{'cases':>31}" + "".join(f"{size:7}" for size in SIZES)


def row(name: str, counts: Counts, runs: int) -> str:
    """A row of percentages by number of cases."""
    return shares_row(name, [count / runs for count in counts])


def shares_row(name: str, shares: Iterable[float]) -> str:
    """A row of percentages by number of cases."""
    return f"{name:31}" + "".join(f"{100 * share:7.1f}" for share in shares)


def plural(samples: int) -> str:
    """So many samples."""
    return f"{samples} sample{'s' if samples > 1 else ''}"
