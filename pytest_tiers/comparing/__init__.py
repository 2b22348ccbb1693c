"""``tier.compare``: which ways there are, and comparisons that only this process can make."""
