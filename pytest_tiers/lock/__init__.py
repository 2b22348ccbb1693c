"""tiers.lock: which tier each prompt runs on, and why."""

#: The file's name, beside the pyproject.toml with our table, else in pytest's rootdir.
FILE = "tiers.lock"
