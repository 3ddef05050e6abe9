"""Who handled what: events become agent segments, skill segments and handle-time units (rules.md 2 and 3)."""

from typing import Final

LONG_UNIT_MINUTES: Final = 30
"""A handle-time unit longer than this may be a focus that nobody ended."""
