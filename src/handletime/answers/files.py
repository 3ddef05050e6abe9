"""Derived tables in files, of all parts, as relations that can be queried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from handletime.answers.relations import Snapshot
from handletime.answers.terms import RELATIONS
from handletime.segments.derive import Derived, Quality

_UNUSED: Final = {
    *("conversationId", "segmentId", "assignedEventId", "employeeId", "groupId", "source"),
    *("sequence", "skillSegmentSequence", "endReason"),
}
"""Columns that no metric is made of."""


class OfFiles:
    """The relations as views of the same names, with the rows of all accounts."""

    keeps_sums = False

    def composed(self, sql: str, parameters: Mapping[str, object] | None) -> str:  # noqa: ARG002
        """The query as it is: whoever has the files may see all of them."""
        return sql


@contextmanager
def asked(parts: Iterable[Derived], folder: Path, *, memory: int) -> Iterator[tuple[Snapshot, Quality]]:
    """Collects the segments of all parts in Parquet files in a folder; gives a snapshot of them.

    It has `agent_segments` and `skill_segments`, with the columns that metrics are made of.
    """
    quality = Quality()
    for number, part in enumerate(parts):
        quality += part.quality
        for name in RELATIONS.values():
            rows: pa.Table = getattr(part, name)
            columns = [column for column in rows.column_names if column not in _UNUSED]
            pq.write_table(rows.select(columns), folder / f"{name}-{number}.parquet", compression="lz4")
    with duckdb.connect(config={"memory_limit": f"{memory // 2}B", "temp_directory": str(folder)}) as connection:
        for name in RELATIONS.values():
            connection.read_parquet(str(folder / f"{name}-*.parquet")).create_view(name)
        yield Snapshot(connection, OfFiles()), quality
