"""How often verdicts are wrong, and what they cost, on simulated prompts."""
