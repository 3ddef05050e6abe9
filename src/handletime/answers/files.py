"""Derived tables in files, of all parts, as relations that can be queried: as a whole, or some conversations at a time.

There may be as many conversations as there are segments. Their numbers are asked for some at a time, so that no more of
them are in memory than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from handletime.answers.relations import Snapshot
from handletime.answers.terms import RELATIONS
from handletime.scope import WHOLE, Scope
from handletime.segments.derive import Derived, Quality

_UNUSED: Final = {
    *("conversationId", "segmentId", "assignedEventId", "employeeId"),
    *("sequence", "skillSegmentSequence", "startReason"),
}
"""Columns that no metric is made of."""
UNITS: Final = "handle_time_units"
TABLES: Final = (*RELATIONS.values(), UNITS)
"""The tables of a snapshot."""
CONVERSATIONS_AT_ONCE: Final = 10_000
"""Conversations whose figures are in memory together."""


class OfFiles:
    """The relations as views of the same names, with the rows of all accounts."""

    keeps_sums = False
    scope = WHOLE

    def composed(self, sql: str, parameters: Mapping[str, object] | None) -> str:  # noqa: ARG002
        """The query as it is: whoever has the files may see all of them."""
        return sql


class OfConversations(NamedTuple):
    """The rows of conversations whose numbers lie between these; each row has the number as `conversation`."""

    first: int
    last: int
    keeps_sums: bool = False
    scope: Scope = WHOLE

    def composed(self, sql: str, parameters: Mapping[str, object] | None) -> str:  # noqa: ARG002
        """The query with these rows in front of it."""
        between = f"where conversation between {self.first} and {self.last}"
        front = ", ".join(
            f"{name} as not materialized (select * from numbered_{name} {between})"  # noqa: S608
            for name in TABLES
        )
        return f"with {front} {sql}"


class Conversation(NamedTuple):
    """Whose conversation, and its id."""

    account: str
    id: str


class Asked(NamedTuple):
    """The segments of all parts: a snapshot of them, and what the data are worth."""

    snapshot: Snapshot
    quality: Quality
    connection: duckdb.DuckDBPyConnection
    folder: Path

    def by_conversation(
        self, at_once: int = CONVERSATIONS_AT_ONCE
    ) -> Iterator[tuple[Snapshot, dict[int, Conversation]]]:
        """Snapshots of some conversations each, and which these are by their numbers (`By`), by account and id.

        For files that were collected with their conversations. Every row is sorted once, on disk where memory lacks.
        """
        cursor = self.connection.cursor()
        names = "accountId::varchar as accountId, conversationId"
        every = " union ".join(f"select {names} from {name}" for name in RELATIONS.values())  # noqa: S608
        self._keep(
            "conversations",
            f"select *, row_number() over (order by accountId, conversationId) as conversation from ({every})",  # noqa: S608
        )
        for name in TABLES:
            same = "s.accountId::varchar = c.accountId and s.conversationId = c.conversationId"
            self._keep(
                f"numbered_{name}",
                f"select s.*, conversation from {name} s join conversations c on {same} order by conversation",  # noqa: S608
            )
        (count,) = cursor.execute("select count(*) from conversations").fetchone() or (0,)
        for first in range(1, count + 1, at_once):
            last = first + at_once - 1
            found = cursor.execute(
                "select conversation, accountId, conversationId from conversations where conversation between ? and ?",
                [first, last],
            ).fetchall()
            known = {number: Conversation(account, conversation) for number, account, conversation in found}
            yield Snapshot(cursor, OfConversations(first, last)), known

    def _keep(self, name: str, sql: str) -> None:
        """Keeps the rows of a query in a file, as a view of this name."""
        file = self.folder / f"{name}.parquet"
        quoted = str(file).replace("'", "''")
        self.connection.execute(f"copy ({sql}) to '{quoted}' (format parquet, compression lz4, row_group_size 20480)")
        self.connection.read_parquet(str(file)).create_view(name)


@contextmanager
def asked(parts: Iterable[Derived], folder: Path, *, memory: int, conversations: bool = False) -> Iterator[Asked]:
    """Collects the segments of all parts in Parquet files in a folder, which can then be asked about.

    The snapshot has the derived tables, with the columns that metrics are made of; with `conversations` also whose they
    are. Agent segments and units have `segmentNumber`, units what a report asks of their segment.
    """
    quality = Quality()
    numbered = 0
    unused = _UNUSED - {"conversationId"} if conversations else _UNUSED
    for number, part in enumerate(parts):
        quality += part.quality
        numbers = pa.array(np.arange(numbered, numbered + part.agent_segments.num_rows))
        numbered += len(numbers)
        for name in TABLES:
            rows: pa.Table = getattr(part, name)
            if name == UNITS:
                rows = _of_segments(rows, part.agent_segments, numbers)
            elif name == "agent_segments":
                rows = rows.append_column("segmentNumber", numbers)
            columns = [column for column in rows.column_names if column not in unused]
            pq.write_table(rows.select(columns), folder / f"{name}-{number}.parquet", compression="lz4")
    with duckdb.connect(config={"memory_limit": f"{memory // 2}B", "temp_directory": str(folder)}) as connection:
        for name in TABLES:
            connection.read_parquet(str(folder / f"{name}-*.parquet")).create_view(name)
        # Rows that run have no end, and so are in nothing that asks for what ended.
        connection.execute(
            'create view running_queue_segments as select * exclude ("end") from queue_segments where "end" is null'
        )
        yield Asked(Snapshot(connection, OfFiles()), quality, connection, folder)


def _of_segments(units: pa.Table, segments: pa.Table, numbers: pa.Array) -> pa.Table:
    """Units of ended segments, with what else is asked of these."""
    ended = pc.is_valid(segments["end"])
    places = pc.index_in(units["segmentId"], value_set=segments["segmentId"].combine_chunks())
    units = units.append_column("segmentNumber", numbers.take(places))
    for name in ("userType", "skillId", "groupId", "source"):
        units = units.append_column(name, segments[name].take(places))
    return units.filter(ended.take(places))
