"""Derived tables as relations that `aggregate` can ask."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from duckdb import ColumnExpression, ConstantExpression

from handletime.segments.derive import Derived, Quality

_NEEDED = {
    "agent_segments": [
        "accountId",
        "agentId",
        "userType",
        "skillId",
        "follows",
        "start",
        "end",
        "outcome",
        "agentMessages",
        "firstResponseMillis",
        "responseMillis",
        "totalHandleTimeMillis",
        "focusData",
    ],
    "skill_segments": [
        "accountId",
        "userType",
        "skillId",
        "start",
        "end",
        "outcome",
        "abandonedInQueue",
        "firstResponseMillis",
    ],
}


def connect(
    parts: Iterable[Derived], folder: Path, *, memory: int, user_type: str | None = None
) -> tuple[duckdb.DuckDBPyConnection, Quality]:
    """Collects the segments of all parts in Parquet files in a folder; gives a connection that has them.

    Its relations are `agent_segments` and `skill_segments`, with the columns that metrics are made of. `user_type`
    `human` or `bot` leaves out the segments of all others, skill segments of both or neither too (rules.md 2.4).
    """
    quality = Quality()
    for number, part in enumerate(parts):
        quality += part.quality
        for name, columns in _NEEDED.items():
            pq.write_table(getattr(part, name).select(columns), folder / f"{name}-{number}.parquet", compression="lz4")
    connection = duckdb.connect(config={"memory_limit": f"{memory // 2}B", "temp_directory": str(folder)})
    for name in _NEEDED:
        rows = connection.read_parquet(str(folder / f"{name}-*.parquet"))
        if user_type is not None:
            rows = rows.filter(ColumnExpression("userType") == ConstantExpression(user_type))
        rows.create_view(name)
    return connection, quality
