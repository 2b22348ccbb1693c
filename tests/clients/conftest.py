"""Libraries above the HTTP clients: ``pip install -e '.[clients]' && pytest tests/clients``.

The normal suite leaves out the files whose library is not installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from typing import Any

#: What each file here tests.
LIBRARIES = {
    "test_agents.py": ["agents"],
    "test_instructor.py": ["instructor"],
    "test_langchain.py": ["langchain_openai"],
    "test_litellm.py": ["litellm"],
    "test_pydantic_ai.py": ["pydantic_ai"],
    "test_transports.py": ["h2", "httpx_aiohttp", "trio", "zstandard"],
}

MISSING = {
    file: [name for name in names if importlib.util.find_spec(name) is None]
    for file, names in LIBRARIES.items()
}

collect_ignore = [file for file, names in MISSING.items() if names]

# litellm asks GitHub for its list of prices when it is imported, unless told otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

# Imported once: pytester forgets what a run has imported. instructor then loses its providers.
for _file, _names in LIBRARIES.items():
    if _file not in collect_ignore:
        for _name in _names:
            importlib.import_module(_name)
with contextlib.suppress(ImportError):
    importlib.import_module("instructor.v2.providers.openai.handlers")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was left out."""
    names = sorted({name for names in MISSING.values() for name in names})
    if names:
        terminalreporter.write_line(
            f"tests/clients: left out for want of {', '.join(names)} (pip install -e '.[clients]')"
        )
