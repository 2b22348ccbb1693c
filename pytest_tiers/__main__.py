"""``python -m pytest_tiers``: the same as the command ``pytest-tiers``."""

from pytest_tiers.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
