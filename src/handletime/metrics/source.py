"""Derived tables as relations that `aggregate` can ask."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

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
    "skill_segments": ["accountId", "skillId", "start", "end", "outcome", "abandonedInQueue", "firstResponseMillis"],
}


def connect(parts: Iterable[Derived], folder: Path, *, memory: int) -> tuple[duckdb.DuckDBPyConnection, Quality]:
    """Collects the segments of all parts in Parquet files in a folder; gives a connection that has them.

    Its relations are `agent_segments` and `skill_segments`, with the columns that metrics are made of.
    """
    quality = Quality()
    for number, part in enumerate(parts):
        quality += part.quality
        for name, columns in _NEEDED.items():
            pq.write_table(getattr(part, name).select(columns), folder / f"{name}-{number}.parquet", compression="lz4")
    connection = duckdb.connect(config={"memory_limit": f"{memory // 2}B", "temp_directory": str(folder)})
    for name in _NEEDED:
        connection.read_parquet(str(folder / f"{name}-*.parquet")).create_view(name)
    return connection, quality
