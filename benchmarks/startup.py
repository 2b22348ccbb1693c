"""pytest's start in a project that does not use the plugin, against ``-p no:tiers``."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measuring import Project, least, number_of_runs, show, show_machine

TEST = """
def test_nothing():
    pass
"""


def main() -> None:
    """Run a test that does nothing, in turn with and without the plugin."""
    runs = number_of_runs(__doc__, default=20)
    show_machine("pytest", "pluggy")
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder, "project"), "", {"test_nothing.py": TEST})
        taken = least(
            {
                "installed": partial(milliseconds, project, "tiers"),
                "-p no:tiers": partial(milliseconds, project, None),
            },
            runs,
        )
    print(", ".join(f"{name}: {value:.0f} ms" for name, value in taken.items()))
    show("milliseconds added to pytest's start", taken["installed"] - taken["-p no:tiers"], 20)


def milliseconds(project: Project, plugin: str | None) -> float:
    """CPU milliseconds of one run."""
    return 1000 * project.pytest(plugin).cpu


if __name__ == "__main__":
    main()
