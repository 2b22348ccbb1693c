"""From a summary to the page's text: templates with autoescape, and a policy against scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_tiers.findings import RunSummary
from pytest_tiers.reports.html.page import build_page


def render(summary: RunSummary) -> Iterator[str]:
    """The page in pieces of text."""
    environment = Environment(
        loader=PackageLoader("pytest_tiers.reports.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("style.css").render()
    return environment.get_template("report.html").generate(
        page=build_page(summary), style=Markup(style), policy=_policy(style)
    )


def _policy(style: str) -> str:
    """Forbid everything but this very style sheet, should anything get past the escaping."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
