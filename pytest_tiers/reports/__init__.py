"""Renderers of a finished `pytest_tiers.summary.RunSummary`: nothing is decided here."""
