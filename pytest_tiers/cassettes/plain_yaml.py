"""YAML as plain values: nothing in a file is executed. Read by libyaml where PyYAML has it."""

from __future__ import annotations

from typing import Any

import yaml

#: vcrpy's own loader, without its tags of Python objects: none of them is in our cassettes.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str) -> Any:
    """The value in a document. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=LOADER)
