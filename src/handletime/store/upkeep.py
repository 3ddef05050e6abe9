"""Looking after a store: is everything as it should be, and what does everything anew come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import pyarrow as pa

from handletime.segments.derive import Derived, derive_prepared
from handletime.segments.files import SCHEMAS
from handletime.segments.focus import LOSSES
from handletime.segments.parts import DEFAULT_MEMORY, Told, prepared_parts
from handletime.store.reader import events_table
from handletime.store.tables import query, registered

BATCH_ROWS: Final = 500_000
SHOWN: Final = 10
"""So many differences are shown."""


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """A conversation whose stored rows of a table are not those that follow from its events, and how many there are."""

    table: str
    account_id: str
    conversation_id: str
    stored: int
    derived: int


class Rebuilt(msgspec.Struct, frozen=True, rename="camel"):
    """What a rebuild found: how much there is, and how many conversations' rows are not what they should be."""

    events: int
    conversations: int
    rows: dict[str, int]
    differences: int
    shown: list[Difference]


def rebuild(
    cursor: duckdb.DuckDBPyConnection,
    folder: Path,
    *,
    memory: int = DEFAULT_MEMORY,
    told: Told = lambda _what, _done, _of: None,
) -> Rebuilt:
    """Derives everything anew from the stored events and compares all rows with those that are stored.

    `cursor` is in a transaction: everything is as of one moment, whatever is written meanwhile. What does not fit
    into `memory` goes into `folder`.
    """
    cursor.execute(
        """create temp table anew (
            name varchar, accountId varchar, conversationId varchar, rows bigint, fingerprint hugeint)"""
    )
    events, conversations = 0, 0
    losses = query(cursor, _LOSSES).cast(LOSSES)
    for part in prepared_parts(all_events(cursor), memory=memory, folder=folder, told=told, losses=losses):
        derived, _trace = derive_prepared(part)
        events += derived.quality.events
        conversations += derived.quality.conversations
        _keep_fingerprints(cursor, derived)
    found = cursor.execute(_DIFFERING).fetchall()
    rows = dict(cursor.execute("select name, sum(rows)::bigint from anew group by name").fetchall())
    return Rebuilt(events, conversations, rows, len(found), [Difference(*row) for row in found[:SHOWN]])


def all_events(cursor: duckdb.DuckDBPyConnection) -> Iterator[pa.Table]:
    """All stored events as tables of `events.model.EVENTS`, in order of arrival, more or less.

    The cursor is busy until all have been taken.
    """
    for batch in cursor.sql(_EVENTS).to_arrow_reader(BATCH_ROWS):
        yield events_table(pa.Table.from_batches([batch]))


def check(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    """What is wrong with what is stored, in plain words; also reads every row. `cursor` is in a transaction."""
    problems = []
    for sql, problem in _CHECKS:
        ((count,),) = cursor.execute(sql).fetchall()
        if count:
            problems.append(f"{count} {problem}")
    return problems


# --- rows as fingerprints --------------------------------------------------------------------------------------------


def _keep_fingerprints(cursor: duckdb.DuckDBPyConnection, derived: Derived) -> None:
    segments, units = derived.agent_segments, derived.handle_time_units
    with registered(cursor, a_derived=segments, s_derived=derived.skill_segments, u_derived=units):
        for name, source in _DERIVED.items():
            cursor.execute(f"insert into anew {_fingerprints(name, source)}")


def _fingerprints(name: str, source: str) -> str:
    """A query for the number of rows of each conversation, and a number that they have whatever their order."""
    return f"""select '{name}' as name, cast(accountId as varchar) as accountId, conversationId, count(*) as rows,
        sum(hash({", ".join(_values(name))})) as fingerprint from ({source}) group by all"""  # noqa: S608


def _values(name: str) -> Iterator[str]:
    """The columns of a derived table, in types that are alike wherever the row comes from."""
    if name == "handle_time_units":
        yield "assignedEventId"
    for field in SCHEMAS[name]:
        if field.name in ("accountId", "conversationId", "segmentId", "focusData"):
            continue
        if pa.types.is_dictionary(field.type):
            yield f'cast("{field.name}" as varchar)'
        elif pa.types.is_timestamp(field.type):
            yield f'epoch_ms("{field.name}")'
        elif pa.types.is_integer(field.type):
            yield f'cast("{field.name}" as bigint)'
        else:
            yield f'"{field.name}"'


_DERIVED: Final = {
    "agent_segments": "from a_derived",
    "skill_segments": "from s_derived",
    "handle_time_units": "select u.*, s.assignedEventId from u_derived u join a_derived s on s.segmentId = u.segmentId",
}
STORED: Final = {
    "agent_segments": "select accountId, t.* from kept.agent_segments t join kept.accounts using (account)",
    "skill_segments": "select accountId, t.* from kept.skill_segments t join kept.accounts using (account)",
    "handle_time_units": """select accountId, s.conversationId, s.assignedEventId, u.*
        from kept.handle_time_units u
        join kept.agent_segments s on s.number = u.number and s.started = u.started
        join kept.accounts a on a.account = u.account""",
}
"""The rows of all accounts, with the names that their numbers stand for."""

_EVENTS: Final = """
    select e.*, accountId, conversationId from kept.events e
    join kept.conversations using (number) join kept.accounts a on a.account = e.account"""
_LOSSES: Final = """
    select accountId, agentId, epoch_ms(time)::timestamptz as time, sequence, position
    from kept.focus_moves join kept.accounts using (account) where number is null"""
_DIFFERING: Final = f"""
    with derived as (
        select name, accountId, conversationId, sum(rows) as rows, sum(fingerprint) as fingerprint
        from anew group by all),
    stored as ({" union all ".join(_fingerprints(name, source) for name, source in STORED.items())})
    select name, accountId, conversationId, coalesce(stored.rows, 0)::bigint, coalesce(derived.rows, 0)::bigint
    from stored full join derived using (name, accountId, conversationId)
    where stored.rows is distinct from derived.rows or stored.fingerprint is distinct from derived.fingerprint
    order by all"""  # noqa: S608

_CHECKS: Final = (
    (
        """select count(*) from (
            select number, eventId from kept.events group by all having count(*) > 1)""",
        "events are stored more than once",
    ),
    (
        "select count(*) from kept.events anti join kept.conversations using (number)",
        "events are of conversations that the directory does not have",
    ),
    (
        "select count(*) from kept.conversations anti join kept.events using (number)",
        "conversations have no events",
    ),
    (
        """select count(*) from (
            select account, conversationId from kept.conversations group by all having count(*) > 1)""",
        "conversations have more than one number",
    ),
    (
        """select count(*) from kept.events e where type in (4, 5) and not exists (
            from kept.focus_moves m where m.arrival = e.arrival and m.number = e.number and m.agentId = e.agentId
                and m.time = e.time and m.sequence = e.sequence and m.type = e.type)""",
        "focus events are not among the focus moves",
    ),
    (
        "select count(*) from kept.focus_moves m where number is not null and not exists "
        "(from kept.events e where e.arrival = m.arrival and e.number = m.number)",
        "focus moves are of no event",
    ),
    (
        """select count(*) from kept.events e, kept.meta m
        where e.arrival >= m.arrivals or e.commit_number > m.commit_number""",
        "events are newer than the last commit",
    ),
)
