"""What the OpenAPI document shows as examples: requests, and what a running server answered (`make examples`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

FILE: Final = Path(__file__).with_name("examples.json")


class Example(msgspec.Struct, frozen=True):
    """One request of a method, and its answer in JSON.

    `parameters` are those of path and query by name; `body` is what was posted, if anything was; `table` is the same
    answer as CSV, where there is one.
    """

    parameters: dict[str, Any]
    answer: Any
    body: Any = None
    table: str | None = None


@cache
def examples() -> Mapping[str, Example]:
    """The example of each method that answers in JSON, by the method's id."""
    return msgspec.json.decode(FILE.read_bytes(), type=dict[str, Example])
