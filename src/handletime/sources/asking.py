"""What asking other systems has in common."""

from __future__ import annotations


def retry_after(header: str) -> float | None:
    """The seconds of a `Retry-After` (RFC 9110 10.2.3); None where there is none, or a date."""
    return float(header) if header.isascii() and header.isdecimal() else None
