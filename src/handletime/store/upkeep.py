"""Looking after a store: is everything as it should be, and what does everything anew come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from handletime.answers.terms import KEPT, RELATIONS
from handletime.events import model
from handletime.segments.columns import I64, NEVER
from handletime.segments.derive import Derived, derive_prepared
from handletime.segments.files import SCHEMAS
from handletime.segments.focus import LOSSES
from handletime.segments.parts import DEFAULT_MEMORY, Prepared, Told, prepared_parts
from handletime.store.directory import AT_ONCE, find, key_of
from handletime.store.reader import events_table
from handletime.store.tables import query, registered

BATCH_ROWS: Final = 500_000
SHOWN: Final = 10
"""So many differences are shown."""
LOOKED_UP: Final = 100 * AT_ONCE
"""So many conversations are looked up through the index of the directory, when it is checked."""


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """A conversation whose stored rows of a table are not those that follow from its events, and how many there are."""

    table: str
    account_id: str
    conversation_id: str
    stored: int
    derived: int


class Rebuilt(msgspec.Struct, frozen=True, rename="camel"):
    """What a rebuild found: how much there is, and how many conversations' rows are not what they should be.

    `mended` says how many conversations have the right rows now that had not.
    """

    events: int
    conversations: int
    rows: dict[str, int]
    differences: int
    shown: list[Difference]
    mended: int = 0


class Compared(NamedTuple):
    """What a rebuild found; the numbers of the conversations that differ, and of those with wrong focus moves."""

    rebuilt: Rebuilt
    differing: I64
    misplaced: I64


def compare(
    cursor: duckdb.DuckDBPyConnection,
    folder: Path,
    *,
    memory: int = DEFAULT_MEMORY,
    told: Told = lambda _what, _done, _of: None,
) -> Compared:
    """Derives everything anew from the stored events and compares all rows with those that are stored.

    `cursor` is in a transaction: everything is as of one moment, whatever is written meanwhile. What does not fit
    into `memory` goes into `folder`.
    """
    cursor.execute("create temp table anew (name varchar, number bigint, rows bigint, fingerprint hugeint)")
    events, conversations = 0, 0
    losses = query(cursor, _LOSSES).cast(LOSSES)
    for part in prepared_parts(all_events(cursor, told), memory=memory, folder=folder, told=told, losses=losses):
        told("deriving", events, 0)
        derived, _trace = derive_prepared(part)
        events += derived.quality.events
        conversations += derived.quality.conversations
        _keep_fingerprints(cursor, derived, part)
        del part, derived, _trace  # The next part is made while these names hold on.
    told("comparing", 0, 0)
    cursor.execute(f"create temp table differing as {_DIFFERING}")
    misplaced = query(cursor, _MISPLACED)
    with registered(cursor, misplaced=misplaced):
        cursor.execute("insert into differing from misplaced")
    cursor.execute(_NO_AGENTS)
    rows = dict(cursor.execute(_COUNTED).fetchall())
    shown = cursor.execute(f"{_NAMED} order by all limit {SHOWN}").fetchall()
    differing = _numbers(query(cursor, "select distinct number from differing where number >= 0 order by number"))
    count = cursor.execute("select count(*) from differing").fetchall()[0][0]
    rebuilt = Rebuilt(events, conversations, rows, count, [Difference(*row) for row in shown])
    return Compared(rebuilt, differing, _numbers(misplaced))


def all_events(cursor: duckdb.DuckDBPyConnection, told: Told = lambda _what, _done, _of: None) -> Iterator[pa.Table]:
    """All stored events as tables of `events.model.EVENTS`, in order of arrival, more or less.

    The cursor is busy until all have been taken.
    """
    ((count,),) = cursor.execute("select count(*) from kept.events").fetchall()
    done = 0
    for batch in cursor.sql(_EVENTS).to_arrow_reader(BATCH_ROWS):
        told("reading events", done, count)
        done += batch.num_rows
        yield events_table(pa.Table.from_batches([batch]))


def check(cursor: duckdb.DuckDBPyConnection, told: Told = lambda _what, _done, _of: None) -> list[str]:
    """What is wrong with what is stored, in plain words; also reads every row. `cursor` is in a transaction."""
    problems = []
    steps = len(_CHECKS) + len(_TABLES) + 1
    for step, table in enumerate(_TABLES):
        told("reading rows", step, steps)
        columns = [name for (name,) in cursor.execute(_COLUMNS, [table]).fetchall()]
        values = ", ".join(f'"{name}"' for name in columns)
        cursor.execute(f"select bit_xor(hash({values})) from kept.{table}")  # noqa: S608
    for step, (sql, problem) in enumerate(_CHECKS, len(_TABLES)):
        told("checking", step, steps)
        ((count,),) = cursor.execute(sql).fetchall()
        if count:
            problems.append(f"{count} {problem}")
    told("checking the directory", steps - 1, steps)
    return problems + _directory(cursor)


def _directory(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    """What is wrong with the keys by which conversations are found, and with some of those found by them."""
    wrong = 0
    for batch in cursor.sql("select account, conversationId, key from kept.conversations").to_arrow_reader(BATCH_ROWS):
        rows = zip(*(batch[name].to_pylist() for name in ("account", "conversationId", "key")), strict=True)
        wrong += sum(key_of((account, id_)) != key for account, id_, key in rows)
    sample = f"from kept.conversations using sample {LOOKED_UP} rows"
    asked = cursor.execute(f"select account, conversationId {sample}").fetchall()
    lost = len(asked) - len(find(cursor, asked))
    found = [(wrong, "conversations have a wrong key"), (lost, "conversations are not found by their key")]
    return [f"{count} {problem}" for count, problem in found if count]


def _numbers(table: pa.Table) -> I64:
    return np.asarray(table["number"].to_numpy(), np.int64)


# --- rows as fingerprints --------------------------------------------------------------------------------------------


def _keep_fingerprints(cursor: duckdb.DuckDBPyConnection, derived: Derived, part: Prepared) -> None:
    segments, units = derived.agent_segments, derived.handle_time_units
    with registered(
        cursor,
        a_derived=segments,
        s_derived=derived.skill_segments,
        u_derived=units,
        l_derived=_losses_of(part),
    ):
        for name, source in _DERIVED.items():
            cursor.execute(
                f"""insert into anew select '{name}', number, rows, fingerprint
                from ({_fingerprints(name, source, _BY_NAME, stored=False)})
                join kept.accounts using (accountId) join kept.conversations using (account, conversationId)"""  # noqa: S608
            )


def _losses_of(part: Prepared) -> pa.Table:
    """The losses of focus that the events of a part meet."""
    rows = part.ordered.rows[part.columns.lost_time[part.ordered.rows] != NEVER]
    lost = part.events.select(["accountId", "conversationId", "eventId"]).take(pa.array(rows))
    lost = lost.append_column("lost_time", pa.array(part.columns.lost_time[rows]))
    return lost.append_column("lost_sequence", pa.array(part.columns.lost_sequence[rows]))


def _fingerprints(name: str, source: str, key: str, *, stored: bool) -> str:
    """A query for the number of rows of each conversation, and a number that they have whatever their order."""
    return f"""select {key}, count(*) as rows, sum(hash({", ".join(_values(name, stored=stored))})) as fingerprint
        from ({source}) group by all"""  # noqa: S608


def _values(name: str, *, stored: bool) -> Iterator[str]:
    """The columns of a derived table, in types that are alike wherever the row comes from."""
    if name == "losses":
        yield from ("eventId", "lost_time", "lost_sequence")
        return
    if name == "handle_time_units":
        yield "assignedEventId"
    for field in SCHEMAS[name]:
        if field.name in ("accountId", "conversationId", "segmentId", "focusData"):
            continue
        if field.name == "totalHandleTimeMillis":
            # Without focus data it is derived as unknown; a store keeps 0, and who has focus data beside it.
            yield f'coalesce("{field.name}", 0)'
        elif pa.types.is_dictionary(field.type):
            yield f'cast("{field.name}" as varchar)'
        elif pa.types.is_timestamp(field.type):
            yield f'epoch_ms("{field.name}")'
        elif pa.types.is_integer(field.type):
            yield f'cast("{field.name}" as bigint)'
        else:
            yield f'"{field.name}"'
    for column, term in _KEPT.get(name, {}).items():
        yield f'cast("{column}" as bigint)' if stored else f"cast({term} as bigint)"


_KEPT: Final = {RELATIONS[table]: terms for table, terms in KEPT.items()}
"""What segments add to sums: columns of what is stored, worked out anew of what is derived."""
_BY_NAME: Final = "cast(accountId as varchar) as accountId, conversationId"
_DERIVED: Final = {
    "agent_segments": "from a_derived",
    "skill_segments": "from s_derived",
    "handle_time_units": "select u.*, s.assignedEventId from u_derived u join a_derived s on s.segmentId = u.segmentId",
    "losses": "from l_derived",
}
_STORED: Final = {
    "agent_segments": "from kept.agent_segments",
    "skill_segments": "from kept.skill_segments",
    "handle_time_units": """select s.assignedEventId, u.* from kept.handle_time_units u
        left join kept.agent_segments s on s.number = u.number and s.started = u.started""",
    "losses": """select e.eventId, l.* from kept.losses l
        left join kept.events e on e.number = l.number and e.arrival = l.arrival""",
}

_EVENTS: Final = """
    select e.*, accountId, conversationId from kept.events e
    join kept.conversations using (number) join kept.accounts a on a.account = e.account"""
# Losses before an agent's first `focused` are met by none. With retention, nearly all are.
_LOSSES: Final = f"""
    select accountId, agentId, epoch_ms(time)::timestamptz as time, sequence, position
    from kept.focus_moves join kept.accounts using (account)
    join (select account, agentId, min(time) as first from kept.events where type = {model.FOCUSED} group by all)
        using (account, agentId)
    where number is null and time >= first"""  # noqa: S608
_ALL_STORED: Final = " union all ".join(
    f"select '{name}' as name, * from ({_fingerprints(name, source, 'number', stored=True)})"  # noqa: S608
    for name, source in _STORED.items()
)
_DIFFERING: Final = f"""
    with derived as (
        select name, number, sum(rows) as rows, sum(fingerprint) as fingerprint from anew group by all),
    stored as ({_ALL_STORED})
    select name, number, coalesce(stored.rows, 0)::bigint as stored, coalesce(derived.rows, 0)::bigint as derived
    from stored full join derived using (name, number)
    where stored.rows is distinct from derived.rows or stored.fingerprint is distinct from derived.fingerprint"""  # noqa: S608
_MISPLACED: Final = """
    with moves as (
        select number, count(*) as rows,
            sum(hash(account, agentId, time, sequence, type::integer, eventId, arrival)) as fingerprint
        from kept.focus_moves where number is not null group by all),
    events as (
        select number, count(*) as rows,
            sum(hash(account, agentId, time, sequence, type::integer, eventId, arrival)) as fingerprint
        from kept.events where type in (4, 5) group by all)
    select 'focus_moves' as name, number, coalesce(moves.rows, 0)::bigint as stored,
        coalesce(events.rows, 0)::bigint as derived
    from moves full join events using (number)
    where moves.rows is distinct from events.rows or moves.fingerprint is distinct from events.fingerprint"""
MISSING_AGENTS: Final = """
    select distinct account, agentId, type = 4 as focused
    from (select account, agentId, type from kept.events where type in (4, 5)
        union all select account, agentId, type from kept.focus_moves) t
    where not exists (from kept.agents o
        where o.account = t.account and o.agentId = t.agentId and o.focused >= (t.type = 4))"""
"""Rows that `kept.agents` lacks."""
_NO_AGENTS: Final = f"""insert into differing
    select 'agents', -1, 0, count(*) from ({MISSING_AGENTS}) having count(*) > 0"""  # noqa: S608
_COUNTED: Final = "select name, sum(rows)::bigint from anew where name <> 'losses' group by name"
_NAMED: Final = """
    select name, coalesce(accountId, '?'), coalesce(conversationId, '?'), stored, derived
    from differing left join kept.conversations using (number) left join kept.accounts using (account)"""

# --- checks ----------------------------------------------------------------------------------------------------------

_TABLES: Final = (
    "meta",
    "accounts",
    "conversations",
    "events",
    "focus_moves",
    "losses",
    "agents",
    *SCHEMAS,
)
_COLUMNS: Final = "select column_name from duckdb_columns() where schema_name = 'kept' and table_name = ?"


def _of_no(table: str, other: str, same: str) -> str:
    """A query that counts rows of a table that another table has no match for."""
    return f"select count(*) from kept.{table} t where not exists (from kept.{other} o where {same})"  # noqa: S608


def _twice(table: str, *key: str) -> str:
    """A query that counts rows of a table that there should be once."""
    return f"select count(*) from (select {', '.join(key)} from kept.{table} group by all having count(*) > 1)"  # noqa: S608


_CHECKS: Final = (
    ("select count(*) - 1 from kept.meta", "rows too many, or too few, say what version and commit this is"),
    (_twice("accounts", "account"), "numbers are of more than one account"),
    (_twice("accounts", "accountId"), "accounts have more than one number"),
    (_twice("conversations", "number"), "numbers are of more than one conversation"),
    (_twice("conversations", "account", "conversationId"), "conversations have more than one number"),
    (_of_no("conversations", "accounts", "o.account = t.account"), "conversations are of no account"),
    (_of_no("conversations", "events", "o.number = t.number"), "conversations have no events"),
    (_twice("events", "number", "eventId"), "events are stored more than once"),
    (_twice("events", "arrival"), "events have the same place in the order of arrival"),
    (
        _of_no("events", "conversations", "o.number = t.number and o.account = t.account"),
        "events are of conversations that the directory does not have",
    ),
    (
        """select count(*) from kept.events e, kept.meta m
        where e.arrival >= m.arrivals or e.commit_number > m.commit_number""",
        "events are newer than the last commit",
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
    (_twice("focus_moves", "arrival"), "focus moves are stored more than once"),
    (
        "select count(*) from kept.focus_moves where (number is null) <> (position is not null)",
        "focus moves are neither of a conversation nor of a removed one",
    ),
    (
        _of_no("losses", "events", "o.number = t.number and o.arrival = t.arrival and o.type = 4"),
        "losses of focus are of no event",
    ),
    (_twice("losses", "number", "arrival"), "losses of focus are stored more than once"),
    (f"select count(*) from ({MISSING_AGENTS})", "agents with focus events are not known to have any"),  # noqa: S608
    *(
        problem
        for table in SCHEMAS
        for problem in (
            (
                _of_no(table, "conversations", "o.number = t.number and o.account = t.account"),
                f"{table.replace('_', ' ')} are of conversations that the directory does not have",
            ),
            (
                _twice(table, "number", "started", *(["sequence"] if table == "handle_time_units" else [])),
                f"{table.replace('_', ' ')} are stored more than once",
            ),
        )
    ),
    (
        _of_no("agent_segments", "events", "o.number = t.number and o.arrival = t.started and o.type = 3"),
        "agent segments start with no assignment",
    ),
    (
        _of_no(
            "agent_segments",
            "conversations",
            "o.number = t.number and o.conversationId = t.conversationId",
        ),
        "agent segments name another conversation than theirs",
    ),
    (
        _of_no("handle_time_units", "agent_segments", "o.number = t.number and o.started = t.started"),
        "handle time units are of no agent segment",
    ),
    (
        """select count(*) from kept.agent_segments s left join (
            select number, started, sum(handleTimeMillis) as total from kept.handle_time_units group by all) u
            on u.number = s.number and u.started = s.started
        where s.totalHandleTimeMillis <> coalesce(u.total, 0)""",
        "agent segments have another handle time than their units",
    ),
)
