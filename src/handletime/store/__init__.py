"""Kept safe: events, derived rows, keys, nonces."""
