"""Chromium, and the pages that it opens.

Needs the extra ``browser`` and Debian's packages ``chromium`` and ``chromium-driver``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from pytest_tiers.reports.writers import write
from tests.unit.summaries import hostile, large

ROOT = Path(__file__).parents[2]

#: Flags for a machine without a network, a screen or a user of its own.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Whatever the page might ask for: no name resolves.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def find(program: str) -> str:
    """Where a program is; ends the run where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.exit(
            f"tests/browser needs {program}: apt-get install -y chromium chromium-driver", 4
        )
    return path


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """The browser, with a log of its console and its requests."""
    options = ChromeOptions()
    options.binary_location = find("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(find("chromedriver")))
    yield browser
    browser.quit()


@dataclass(frozen=True)
class Reports:
    """The files that the tests open, and the JSON report of the same run."""

    support_desk: Path
    hostile: Path
    large: Path
    json: dict[str, Any]


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """The report of the example as a user makes it, and two that hurt."""
    folder = tmp_path_factory.mktemp("reports")
    drop = ("CI", "OPENAI_API_KEY", "OPENAI_BASE_URL", "PYTEST_ADDOPTS")
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "fixtures/support_desk", "-q", "-W", "ignore"),
            *("-p", "no:cacheprovider", "--tiers=nano,mini,full"),
            *(f"--tiers-report={folder}/desk.html", f"--tiers-report={folder}/desk.json"),
        ],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key not in drop},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    write(hostile(), folder / "hostile.html")
    write(large(), folder / "large.html")
    return Reports(
        folder / "desk.html",
        folder / "hostile.html",
        folder / "large.html",
        json.loads((folder / "desk.json").read_text()),
    )


@dataclass(frozen=True)
class Opened:
    """A page in the browser, with what it asked for and what the console said."""

    browser: Chrome
    url: str

    def run(self, script: str, *args: Any) -> Any:
        """The value of a script's ``return``, run by the driver and not by the page."""
        return self.browser.execute_script(script, *args)

    def console(self) -> list[str]:
        """What the console said since the last look."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses asked for since the last look, but for those that hold their content."""
        events = [
            json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")
        ]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]


Open = Callable[..., Opened]


@pytest.fixture
def open_page(chromium: Chrome) -> Open:
    """Opens a file with a theme, a width in CSS pixels, and a medium."""

    def opened(path: Path, *, theme: str = "light", width: int = 1280, media: str = "") -> Opened:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        chromium.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )
        chromium.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        chromium.get("about:blank")
        page = Opened(chromium, path.as_uri())
        page.console(), page.requests()
        chromium.get(page.url)
        return page

    return opened
