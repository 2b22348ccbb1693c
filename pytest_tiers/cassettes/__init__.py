"""Recording and replaying HTTP calls: one VCR cassette per test function and tier.

Nothing outside this package imports vcr.
"""
