"""tiers.lock: which tier each prompt runs on, and why."""
