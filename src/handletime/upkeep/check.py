"""Is everything in a store as it should be."""

from __future__ import annotations

from typing import Final

import duckdb

from handletime.events import model
from handletime.segments.files import SCHEMAS
from handletime.segments.parts import Progress
from handletime.store.directory import key_of
from handletime.store.schema import QUEUES
from handletime.store.store import Store
from handletime.store.watch import Watch
from handletime.upkeep.deriving import bring_up_to_date
from handletime.upkeep.mending import MISSING_AGENTS

_BATCH_ROWS: Final = 500_000


def check(store: Store, watch: Watch | None = None) -> list[str]:
    """What is wrong with what is stored, in plain words; also reads every row."""
    watch = watch or Watch()
    bring_up_to_date(store, watch)
    with store.snapshot(watch) as cursor:
        return _problems(cursor, watch.progress)


def _problems(cursor: duckdb.DuckDBPyConnection, progress: Progress) -> list[str]:
    problems = []
    steps = len(_CHECKS) + len(_TABLES) + 1
    for step, table in enumerate(_TABLES):
        progress("reading rows", step, steps)
        columns = [name for (name,) in cursor.execute(_COLUMNS, [table]).fetchall()]
        values = ", ".join(f'"{name}"' for name in columns)
        cursor.execute(f"select bit_xor(hash({values})) from kept.{table}")  # noqa: S608
    for step, (sql, problem) in enumerate(_CHECKS, len(_TABLES)):
        progress("checking", step, steps)
        ((count,),) = cursor.execute(sql).fetchall()
        if count:
            problems.append(f"{count} {problem}")
    progress("checking the directory", steps - 1, steps)
    return problems + _directory(cursor)


def _directory(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    """What is wrong with the keys by which conversations are found."""
    wrong = 0
    for batch in cursor.sql("select account, conversationId, key from kept.conversations").to_arrow_reader(_BATCH_ROWS):
        rows = zip(*(batch[name].to_pylist() for name in ("account", "conversationId", "key")), strict=True)
        wrong += sum(key_of((account, id_)) != key for account, id_, key in rows)
    return [f"{wrong} conversations have a wrong key"] if wrong else []


_KEYS: Final = {
    "agent_segments": ("number", "started"),
    "skill_segments": ("number", "started"),
    "queue_segments": ("number", "started"),
    "running_queue_segments": ("number",),
    "handle_time_units": ("number", "started", "sequence"),
    "open_conversations": ("number",),
}
"""What names a row of each table of what follows from the events."""
_TABLES: Final = (
    "meta",
    "accounts",
    "conversations",
    "events",
    "focus_moves",
    "losses",
    "agents",
    *_KEYS,
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
        f"""select count(*) from kept.events e where type in {model.FOCUS_TYPES} and not exists (
            from kept.focus_moves m where m.arrival = e.arrival and m.number = e.number and m.agentId = e.agentId
                and m.time = e.time and m.sequence = e.sequence and m.type = e.type)""",  # noqa: S608
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
        _of_no("losses", "events", f"o.number = t.number and o.arrival = t.arrival and o.type = {model.FOCUSED}"),
        "losses of focus are of no event",
    ),
    (_twice("losses", "number", "arrival"), "losses of focus are stored more than once"),
    (f"select count(*) from ({MISSING_AGENTS})", "agents with focus events are not known to have any"),  # noqa: S608
    *(
        problem
        for table, key in _KEYS.items()
        for problem in (
            (
                _of_no(table, "conversations", "o.number = t.number and o.account = t.account"),
                f"{table.replace('_', ' ')} are of conversations that the directory does not have",
            ),
            (_twice(table, *key), f"{table.replace('_', ' ')} are stored more than once"),
        )
    ),
    *(
        (f'select count(*) from kept.{table} where "end" is null', f"{table.replace('_', ' ')} have no end")  # noqa: S608
        for table in SCHEMAS
    ),
    (
        _of_no(
            "agent_segments", "events", f"o.number = t.number and o.arrival = t.started and o.type = {model.ASSIGNED}"
        ),
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
    *(
        (
            _of_no(table, "events", "o.number = t.number and o.arrival = t.started"),
            f"{table.replace('_', ' ')} start with no event",
        )
        for table in QUEUES
    ),
    (
        _of_no("running_queue_segments", "open_conversations", "o.number = t.number"),
        "running queue segments are of conversations that are not open",
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
