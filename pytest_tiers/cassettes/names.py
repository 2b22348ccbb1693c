"""Where the cassette of a test function and tier lies."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from msgspec import Struct

#: Longest file name: file systems for encrypted homes and archives stop at about 140 bytes.
LONGEST = 118

#: How much of that is for the tier; the rest is the same for all tiers of a test.
_LONGEST_TIER = 40


#: Stands between the two tiers in the name of a cassette that holds the calls of a comparison.
VERSUS = "~"

#: The case under which a judge's control questions stand.
CONTROL = "(control)"

#: A test: its module, and its name inside it (``Class.test_route``).
Test = tuple[Path, str]


class CassetteFile(Struct, frozen=True):
    """A cassette's place: the folder that is the root of its cassettes, and its own path."""

    root: Path
    path: Path


def cassette_file(
    root: Path | None, base: Path, test_file: Path, test: str, tier: str
) -> CassetteFile:
    """The cassette of the function ``test`` (``Class.name``) of ``test_file`` on ``tier``.

    ``tier`` may be two tiers with `VERSUS` between them.

    ``root`` None means ``cassettes/`` beside the test module. Otherwise the module's path
    relative to ``base`` keeps modules of the same name apart.
    """
    if root is None:
        root, module = test_file.parent / "cassettes", Path(test_file.stem)
    else:
        inside = test_file.is_relative_to(base)
        module = (test_file.relative_to(base) if inside else Path(test_file.name)).with_suffix("")
    parts = [_safe(part, LONGEST) for part in module.parts]
    longest = LONGEST - _LONGEST_TIER - len("[].yaml")
    tiers = tier.split(VERSUS)
    each = _LONGEST_TIER // len(tiers) - len(tiers) + 1
    safe_tier = VERSUS.join(_safe(name, each) for name in tiers)
    name = f"{_safe(test, longest)}[{safe_tier}].yaml"
    return CassetteFile(root, root.joinpath(*parts, name))


def name_in_module(function: str) -> str:
    """The part of a test's node id after its module: ``TestRoute.test_route``."""
    return function.partition("::")[2].replace("::", ".")


def of_all_tiers(cassette: Path) -> Path:
    """What the cassettes of one test share, whatever the tier: their path up to the bracket."""
    return cassette.parent / cassette.name.rpartition("[")[0]


def _safe(name: str, longest: int) -> str:
    """The name for any file system; a hash keeps changed names apart."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    if safe == name and len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe[: longest - 9]}-{digest}"
