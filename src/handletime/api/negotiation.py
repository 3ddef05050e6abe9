"""Which form an answer takes: `Accept`, `Accept-Encoding` and `format` (RFC 9110 12.5, http-api.md 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from handletime.api.parameters import Query, a_choice

Form = Literal["csv", "json"]
JSON_TYPE: Final = "application/json"
CSV_TYPE: Final = "text/csv"
FORMAT: Final = a_choice(
    "format", "`csv` for a table, `json` for JSON; before what `Accept` says.", "", ("json", "csv")
)
_QUALITY: Final = re.compile(r"[ \t]*q[ \t]*=[ \t]*([0-9]*\.?[0-9]*)[ \t]*", re.IGNORECASE)


def named(header: str) -> Mapping[str, float]:
    """The types or codings that a header names, in lower case, with their q; without those of q 0."""
    found: dict[str, float] = {}
    for item in header.split(","):
        name, *parameters = item.split(";")
        quality = next((_quality(match[1]) for p in parameters if (match := _QUALITY.fullmatch(p))), 1.0)
        if name.strip() and quality > 0:
            key = name.strip().lower()
            found[key] = max(quality, found.get(key, 0.0))
    return found


def _quality(text: str) -> float:
    try:
        return min(float(text), 1.0)
    except ValueError:
        return 0.0


def wants_json(accept: str) -> bool:
    """Whether `application/json` is named, and no other type is preferred to it."""
    types = named(accept)
    return JSON_TYPE in types and types[JSON_TYPE] >= max(types.values())


def wants_gzip(accept_encoding: str) -> bool:
    """Whether gzip is named."""
    return "gzip" in named(accept_encoding)


def table_or_json(query: Query, accept: str) -> Form:
    """CSV or JSON, for an answer that can be both: what `format` says, else what `Accept` names, else JSON."""
    form = query.get(FORMAT)
    if form:
        return "csv" if form == "csv" else "json"
    types = named(accept)
    preferred = CSV_TYPE in types and types[CSV_TYPE] > types.get(JSON_TYPE, 0.0)
    return "csv" if preferred else "json"
