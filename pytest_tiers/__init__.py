"""pytest-tiers: know which prompts can move to a cheaper model.

The pytest plugin is `pytest_tiers.plugin`; projects need these names only.
"""

from pytest_tiers.override.as_is import as_is
from pytest_tiers.override.keys import has_key
from pytest_tiers.override.named_site import site

__all__ = ["as_is", "has_key", "site"]
