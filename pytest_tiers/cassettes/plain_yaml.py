"""YAML as plain values: nothing in a file is executed. Read by libyaml where PyYAML has it."""

from __future__ import annotations

import gc
from typing import Any

import yaml

#: vcrpy's own loader, without its tags of Python objects: none of them is in our cassettes.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str) -> Any:
    """The value in a document. Raises yaml.YAMLError."""
    is_enabled = gc.isenabled()
    gc.disable()  # 100 nodes for each answer, which all live until the end
    try:
        return yaml.load(text, Loader=LOADER)
    finally:
        if is_enabled:
            gc.enable()
