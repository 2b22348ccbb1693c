"""The command ``pytest-tiers``: decisions about tiers.lock, and reports of several runs."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from pytest_tiers import successor
from pytest_tiers.errors import ConfigurationError
from pytest_tiers.lock import FILE as LOCK_FILE
from pytest_tiers.lock import remembered
from pytest_tiers.lock.reading import read
from pytest_tiers.lock.writing import update
from pytest_tiers.mixes import PLUS
from pytest_tiers.modes import GATE_MODES
from pytest_tiers.records import LockEntry, Revert
from pytest_tiers.reports.numbers import points_at_most
from pytest_tiers.reports.text import prose


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0, 1 where a gate fails, 2 where it could not be done.

    That of ``replace`` is pytest's.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    own = words.index("--") if "--" in words else len(words)
    asked = _parser().parse_args(words[:own], argparse.Namespace(for_pytest=words[own + 1 :]))
    try:
        done: Done = asked.run(asked)
    except (ConfigurationError, OSError) as error:
        print(prose(f"pytest-tiers: {error}"), file=sys.stderr)
        return 2
    if done.said:
        print(done.said)
    return done.code


class Done(NamedTuple):
    """What a command has to say, and its exit code."""

    said: str
    code: int = 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pytest-tiers", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    accept = commands.add_parser("accept", help="lock a prompt to a tier or mix not proven safe")
    accept.add_argument("decision", metavar="PROMPT=TIER")
    accept.add_argument("--cache", metavar="DIR", type=Path, help="pytest's cache folder")
    accept.set_defaults(run=_accept)
    revert = commands.add_parser("revert", help="go back from a locked tier, and remember that")
    revert.add_argument("prompt", metavar="PROMPT")
    revert.add_argument("--lock", metavar="FILE", type=Path, help="the tiers.lock")
    revert.set_defaults(run=_revert)
    successor.add_command(commands).set_defaults(run=_replace)
    for command in (accept, revert):
        command.add_argument("--reason", required=True, help="why, for who reads tiers.lock")
    _add_merge(commands.add_parser("merge", help="one report from those of several shards"))
    _add_compare(commands.add_parser("compare", help="what changed between two reports"))
    return parser


def _add_compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument("old", metavar="OLD.json", type=Path, help="say, of the base branch")
    compare.add_argument("new", metavar="NEW.json", type=Path, help="say, of the pull request")
    compare.add_argument("-o", "--output", metavar="PATH.md", type=Path, help="not to the terminal")
    compare.set_defaults(run=_compare)


def _compare(asked: argparse.Namespace) -> Done:
    from pytest_tiers.merging.command import compare_reports

    said = compare_reports(asked.old, asked.new, asked.output)
    # Without a file to write to, that is the Markdown itself.
    return Done(said if asked.output is None else prose(said))


def _add_merge(merge: argparse.ArgumentParser) -> None:
    merge.add_argument("shards", metavar="JSON", nargs="+", type=Path, help="a shard's report")
    merge.add_argument("-o", "--output", metavar="JSON", type=Path, required=True)
    merge.add_argument(
        "--report",
        metavar="PATH",
        action="append",
        default=[],
        type=Path,
        help="another report; the suffix decides: .html, .md",
    )
    merge.add_argument("--gate", choices=GATE_MODES, help="what may fail (as in the shards)")
    merge.add_argument(
        "--nights",
        metavar="FILE",
        type=Path,
        help="count fresh answers of earlier nights, as --tiers-nights does, and add these",
    )
    merge.set_defaults(run=_merge)


def _merge(asked: argparse.Namespace) -> Done:
    from pytest_tiers.merging.command import merge_reports

    text, passed = merge_reports(asked.shards, asked.output, asked.report, asked.gate, asked.nights)
    return Done(text, 0 if passed else 1)


def _replace(asked: argparse.Namespace) -> Done:
    return Done("", successor.replace(asked))


def _accept(asked: argparse.Namespace) -> Done:
    name, _, tier = asked.decision.rpartition("=")
    if not name or not tier:
        raise ConfigurationError(f'expected PROMPT=TIER, got "{asked.decision}".')
    cache = asked.cache / remembered.FILE if asked.cache else _cache()
    path, known = remembered.recall(cache)
    prompt = _prompt(name, {of_prompt for of_prompt, _ in known}, "in the last comparison")
    tiers = sorted(of_tier for of_prompt, of_tier in known if of_prompt == prompt)
    if tier not in tiers:
        what = "candidate"
        first = f"Compare it first: pytest --tiers={tier},..."
        if PLUS in tier:
            what = "mix"
            first = (
                "Only a mix that ran to its end can be accepted, and the search stops those that "
                "miss too much. To search: pytest --tiers=... --tiers-mix"
            )
        raise ConfigurationError(
            f'the last comparison has no {what} "{tier}" for {prompt}; it has '
            f"{', '.join(tiers)}. {first}"
        )
    entry = replace(known[prompt, tier], accepted=_reason(asked), accepted_on=_today())
    update(path, [entry])
    return Done(prose(f"{_short(path)}: {prompt} on {tier}, accepted: {_bound(entry)}."))


def _revert(asked: argparse.Namespace) -> Done:
    path = asked.lock or _upwards(LOCK_FILE, "There is nothing to go back from.")
    locked = read(path).prompts
    entry = locked[_prompt(asked.prompt, locked, f"in {path}")]
    revert = Revert(
        entry.prompt, entry.tier, entry.model, _reason(asked), _today(), entry.holds_for
    )
    update(path, removed=[entry.prompt], reverts=[revert])
    return Done(
        prose(
            f"{_short(path)}: {entry.prompt} is not locked any more. {entry.tier} is not "
            "proposed again until its model or the prompt changes."
        )
    )


def _reason(asked: argparse.Namespace) -> str:
    reason = " ".join(asked.reason.split())
    if not reason:
        raise ConfigurationError("--reason: say why; it stands in tiers.lock.")
    return reason


def _bound(entry: LockEntry) -> str:
    if entry.largest_drop is None:
        return f"{entry.verdict}, how much worse is unknown"
    return f"{entry.verdict}, at most {points_at_most(entry.largest_drop)} worse"


def _prompt(name: str, known: Collection[str], where: str) -> str:
    """The prompt of that id, or the only one whose id ends so. Raises ConfigurationError."""
    found = [name] if name in known else [each for each in known if each.endswith(f"::{name}")]
    if len(found) == 1:
        return found[0]
    near = sorted(found) or difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ConfigurationError(f'no prompt "{name}" {where}.{hint}')


def _cache() -> Path:
    hint = "Compare first: pytest --tiers=... (or name pytest's cache folder with --cache)."
    return _upwards(Path(".pytest_cache") / remembered.FILE, hint)


def _upwards(name: str | Path, hint: str) -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(f"no {name} in {here} or above. {hint}")


def _short(path: Path) -> Path:
    """A path as seen from here, where it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
