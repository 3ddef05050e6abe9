"""Everything derived anew from the stored events, compared with what is stored, and put right."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
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
from handletime.segments.parts import Prepared, Progress, prepared_parts
from handletime.segments.tables import RUNNING_QUEUE_SEGMENTS
from handletime.store.arrow import query, registered
from handletime.store.events import NAMED_EVENTS
from handletime.store.schema import QUEUES
from handletime.store.store import Store
from handletime.store.watch import Watch
from handletime.upkeep.deriving import bring_up_to_date
from handletime.upkeep.mending import MISSING_AGENTS, groups, mend_agents, mend_moves, mend_rows

BATCH_ROWS: Final = 500_000
SHOWN: Final = 10
"""The number of differences that are shown."""


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """A conversation whose stored rows of a table are not those that follow from its events, and how many there are."""

    table: str
    account_id: str
    conversation_id: str
    stored: int
    derived: int


class Rebuilt(msgspec.Struct, frozen=True, rename="camel"):
    """What a rebuild found: how much there is, and how many conversations' rows are not what they should be.

    `rows` are those of ended segments and their units, by table. `mended` says how many conversations have the right
    rows now that had not.
    """

    events: int
    conversations: int
    rows: dict[str, int]
    differences: int
    shown: list[Difference]
    mended: int = 0


_TIMES: Final = 3
"""How often it is compared and put right at most, while events come in."""


class _Compared(NamedTuple):
    """What a rebuild found; the numbers of the conversations that differ, and of those with wrong focus moves."""

    rebuilt: Rebuilt
    differing: I64
    misplaced: I64


def rebuild(store: Store, *, mend: bool = False, memory: int | None = None, watch: Watch | None = None) -> Rebuilt:
    """Derives everything anew and compares it with what is stored, as of now; puts right what differs if `mend`, and
    compares again.

    Bit by bit: what an interrupted one leaves, the next one finds. Raises NotNow, and Stopped where `watch` says so.
    """
    watch = watch or Watch()
    memory = memory or store.settings.memory_bytes
    bring_up_to_date(store, watch)
    compared: list[Rebuilt] = []
    mended = np.empty(0, np.int64)
    while len(compared) < _TIMES:
        # Again after mending: what came meanwhile was worked into rows that were wrong.
        found = _compared(store, memory, watch)
        compared.append(found.rebuilt)
        if not mend or not found.rebuilt.differences:
            break
        mended = np.union1d(mended, _mend(store, found, watch))
    return msgspec.structs.replace(compared[0], mended=len(mended))


def _compared(store: Store, memory: int, watch: Watch) -> _Compared:
    with store.snapshot(watch) as cursor:
        return _compare(cursor, store.folder, memory=memory, progress=watch.progress)


def _mend(store: Store, found: _Compared, watch: Watch) -> I64:
    """Puts right what differs; gives the numbers of the conversations."""
    store.transact(mend_agents)
    numbers = np.union1d(found.differing, found.misplaced)
    for what, each, work in (
        ("mending focus moves", found.misplaced, mend_moves),
        ("mending", numbers, mend_rows),
    ):
        with store.snapshot(watch) as cursor:
            parts = list(groups(cursor, each, store.settings.part_events))
        done = 0
        for some in parts:
            watch.progress(what, done, len(each))
            store.transact(partial(work, numbers=some))
            watch.pause()
            done += len(some)
    return numbers


def _compare(
    cursor: duckdb.DuckDBPyConnection,
    folder: Path,
    *,
    memory: int,
    progress: Progress,
) -> _Compared:
    """Derives everything anew from the stored events and compares all rows with those that are stored.

    `cursor` is in a transaction: everything is as of one moment, whatever is written meanwhile. What does not fit
    into `memory` goes into `folder`.
    """
    cursor.execute("create temp table anew (name varchar, number bigint, rows bigint, fingerprint hugeint)")
    events, conversations = 0, 0
    losses = query(cursor, _LOSSES).cast(LOSSES)
    for part in prepared_parts(
        _all_events(cursor, progress), memory=memory, folder=folder, progress=progress, losses=losses
    ):
        progress("deriving", events, 0)
        derived = derive_prepared(part)
        events += derived.quality.events
        conversations += derived.quality.conversations
        _keep_fingerprints(cursor, derived, part)
        del part, derived  # The next part is made while these names hold on.
    progress("comparing", 0, 0)
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
    return _Compared(rebuilt, differing, _numbers(misplaced))


def _all_events(cursor: duckdb.DuckDBPyConnection, progress: Progress) -> Iterator[pa.Table]:
    """All stored events as tables of `events.model.EVENTS`, in order of arrival, more or less.

    The cursor is busy until all have been taken.
    """
    ((count,),) = cursor.execute("select count(*) from kept.events").fetchall()
    done = 0
    for batch in cursor.sql(NAMED_EVENTS).to_arrow_reader(BATCH_ROWS):
        progress("reading events", done, count)
        done += batch.num_rows
        yield model.with_schema(pa.Table.from_batches([batch]))


def _numbers(table: pa.Table) -> I64:
    return np.asarray(table["number"].to_numpy(), np.int64)


# --- rows as fingerprints --------------------------------------------------------------------------------------------


def _keep_fingerprints(cursor: duckdb.DuckDBPyConnection, derived: Derived, part: Prepared) -> None:
    segments, units = derived.agent_segments, derived.handle_time_units
    with registered(
        cursor,
        a_derived=segments,
        s_derived=derived.skill_segments,
        q_derived=derived.queue_segments,
        r_derived=derived.running_queue_segments,
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
    if name == "open_conversations":
        yield from ("epoch_ms(start)", "skillId")
        return
    if name == "handle_time_units":
        yield "assignedEventId"
    for field in _SCHEMAS[name]:
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


_SCHEMAS: Final = {**SCHEMAS, "running_queue_segments": RUNNING_QUEUE_SEGMENTS}
_KEPT: Final = {RELATIONS[table]: terms for table, terms in KEPT.items()}
"""What segments add to sums: columns of what is stored, worked out anew of what is derived."""
_BY_NAME: Final = "cast(accountId as varchar) as accountId, conversationId"
_DERIVED: Final = {
    "agent_segments": 'from a_derived where "end" is not null',
    "skill_segments": 'from s_derived where "end" is not null',
    "queue_segments": 'from q_derived where "end" is not null',
    "running_queue_segments": "from r_derived",
    "handle_time_units": """select u.*, s.assignedEventId from u_derived u join a_derived s on s.segmentId = u.segmentId
        where s."end" is not null""",
    "open_conversations": 'from s_derived where "end" is null',
    "losses": "from l_derived",
}
_STORED: Final = {
    "agent_segments": "from kept.agent_segments",
    "skill_segments": "from kept.skill_segments",
    **{name: f"from kept.{name}" for name in QUEUES},
    "handle_time_units": """select s.assignedEventId, u.* from kept.handle_time_units u
        left join kept.agent_segments s on s.number = u.number and s.started = u.started""",
    "open_conversations": "from kept.open_conversations",
    "losses": """select e.eventId, l.* from kept.losses l
        left join kept.events e on e.number = l.number and e.arrival = l.arrival""",
}

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
_MOVES: Final = """select number, count(*) as rows,
        sum(hash(account, agentId, time, sequence, type::integer, eventId, arrival)) as fingerprint"""
_MISPLACED: Final = f"""
    with moves as ({_MOVES} from kept.focus_moves where number is not null group by all),
    events as ({_MOVES} from kept.events where type in {model.FOCUS_TYPES} group by all)
    select 'focus_moves' as name, number, coalesce(moves.rows, 0)::bigint as stored,
        coalesce(events.rows, 0)::bigint as derived
    from moves full join events using (number)
    where moves.rows is distinct from events.rows or moves.fingerprint is distinct from events.fingerprint"""  # noqa: S608
_NO_AGENTS: Final = f"""insert into differing
    select 'agents', -1, 0, count(*) from ({MISSING_AGENTS}) having count(*) > 0"""  # noqa: S608
_COUNTED: Final = (
    "select name, sum(rows)::bigint from anew "
    "where name not in ('open_conversations', 'running_queue_segments', 'losses') group by name"
)
_NAMED: Final = """
    select name, coalesce(accountId, '?'), coalesce(conversationId, '?'), stored, derived
    from differing left join kept.conversations using (number) left join kept.accounts using (account)"""
