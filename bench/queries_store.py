"""Fills a store with ended segments, and a Parquet file with the same ones for others to ask.

As a program: the real derivation of a simulated day, many times over, each copy with conversations of its own and some
milliseconds later; written where the store's writer would have put it. Prints JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from handletime.answers.terms import KEPT
from handletime.events.model import EVENTS
from handletime.keys.sidefile import SideFile
from handletime.segments.derive import Derived, derive
from handletime.simulate.centre import Centre
from handletime.simulate.simulate import simulate
from handletime.store.arrow import registered
from handletime.store.opening import StoreSettings, connect

ACCOUNT: Final = "bench"
AGENTS: Final = 200
SKILLS: Final = 40
WAITING: Final = 20_000
"""Conversations that wait in the queue when all is there."""
SIMULATED: Final = 60_000
"""Conversations of the day that is derived."""
SEED: Final = 20261121
_FIRST_ID: Final = 903_000_000_000
"""Ids of agents as large as LivePerson's."""
# The SQL below is made of constants.
# ruff: noqa: S608


def fill(
    folder: Path, segments: int, days: int, parquet: Path, *, with_units: bool, conversations: int = SIMULATED
) -> dict[str, object]:
    """Makes a store with so many ended agent segments of the last days; says what it has. `conversations` is how many
    the simulated day has.
    """
    folder.mkdir(parents=True)
    day = simulated(datetime.now(UTC).replace(microsecond=0) - timedelta(days=1), conversations)
    SideFile(folder).close()
    connection = connect(folder, StoreSettings(memory_bytes=6 << 30), 0)
    derived = {"a": day.agent_segments, "s": day.skill_segments, "q": day.queue_segments, "u": day.handle_time_units}
    with registered(connection, **derived):
        made = _fill(connection, segments, days, with_units=with_units)
    columns = ", ".join(["accountId", "agentId", "skillId", "userType", "start", '"end"', *KEPT["agentSegments"]])
    connection.execute("checkpoint")
    connection.close()
    with duckdb.connect(str(folder / "store.duckdb"), read_only=True) as reading:
        reading.execute(
            f"""copy (select {columns} from kept.agent_segments join kept.accounts using (account)
            where "end" is not null) to '{parquet}' (format parquet)"""
        )
    return made


def simulated(start: datetime, conversations: int = SIMULATED) -> Derived:
    """What follows from the events of one day."""
    centre = Centre(start=start, days=1, seed=SEED, conversations=conversations, skills=SKILLS, bots=2)
    return derive(pa.concat_tables(list(simulate(centre))).unify_dictionaries().cast(EVENTS))


def _fill(connection: duckdb.DuckDBPyConnection, segments: int, days: int, *, with_units: bool) -> dict[str, object]:
    execute = connection.execute
    ((each, last, offset),) = execute(
        """select count(*), max(epoch_ms("end")), epoch_ms(now()) - max(epoch_ms("end"))
        from a where "end" is not null"""
    ).fetchall()
    copies = -(-segments // (each * days))
    # Copies of a day lie some milliseconds apart, so that few ends are equal.
    execute(
        f"""create temp table copy_of as
        select d * {copies} + k as copy, to_milliseconds({offset} - d * 86400000 - k * 977) as moved
        from range({days}) r(d), range({copies}) t(k)"""
    )
    execute(f"insert into kept.accounts values (0, '{ACCOUNT}')")
    execute(
        f"""create temp table seg as
        select a.* replace ((agentId * 31 + copy * 7) % {AGENTS} * 7919 + {_FIRST_ID} as agentId,
            start + moved as start, "end" + moved as "end",
            conversationId || '-' || copy as conversationId), copy, a.segmentId as base,
            row_number() over (order by a."end" + moved, copy, a.segmentId) as started
        from (from a where "end" is not null) a, copy_of"""
    )
    execute("alter table seg add column number bigint; alter table seg add column account integer default 0")
    execute("update seg set number = started")
    _insert(connection, "agent_segments", "seg", KEPT["agentSegments"], "started")
    execute(
        """create temp table skill as select s.* replace (start + moved as start, "end" + moved as "end",
            conversationId || '-' || copy as conversationId), 0 as account,
            row_number() over (order by s."end" + moved) as started, started as number
        from (from s where "end" is not null) s, copy_of"""
    )
    _insert(connection, "skill_segments", "skill", KEPT["skillSegments"], "started")
    execute(
        """create temp table queue as select q.* replace (start + moved as start, "end" + moved as "end",
            conversationId || '-' || copy as conversationId), 0 as account,
            row_number() over (order by q."end" + moved) as started, started as number
        from (from q where "end" is not null) q, copy_of"""
    )
    _insert(connection, "queue_segments", "queue", KEPT["queueSegments"], "started")
    execute(
        f"""create temp table waiting as select * replace (conversationId || '-waits' as conversationId,
            make_timestamptz({(last + offset) * 1000} - started * 7919 % 3600000 * 1000) as start),
            start as opened, started % 2 = 0 as consumerLast
        from queue order by started desc limit {WAITING}"""
    )
    _insert(connection, "running_queue_segments", "waiting", {}, "started")
    if with_units:
        execute(
            """create temp table unit as select u.* replace (u.start + moved as start, u."end" + moved as "end"),
                seg.started, seg.number, seg.account
            from u join seg on seg.base = u.segmentId join copy_of using (copy)"""
        )
        _insert(connection, "handle_time_units", "unit", {}, "started, sequence")
    execute("insert into kept.agents select 0, agentId, true from kept.agent_segments group by agentId")
    execute("update kept.meta set arrivals = (select max(started) + 1 from kept.agent_segments)")
    counted = {
        name: execute(f"select count(*) from kept.{name}").fetchall()[0][0]
        for name in (
            "agent_segments",
            "skill_segments",
            "queue_segments",
            "running_queue_segments",
            "handle_time_units",
        )
    }
    return {"end": last + offset + 1, **counted}


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, source: str, computed: dict[str, str], order: str
) -> None:
    there = {name for name, *_ in connection.execute(f"describe {source}").fetchall()}
    names = [name for name, *_ in connection.execute(f"describe kept.{table}").fetchall()]
    values = {f'"{name}"': computed.get(name) or f'"{name}"' for name in names if name in there or name in computed}
    connection.execute(
        f"""insert into kept.{table} ({", ".join(values)})
        select {", ".join(values.values())} from {source} order by {order}"""
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    folder, parquet, units = Path(given[0]), Path(given[3]), given[4] == "units"
    of_a_day = int(given[5]) if given[5:] else SIMULATED
    made = fill(folder, int(given[1]), int(given[2]), parquet, with_units=units, conversations=of_a_day)
    print(json.dumps(made))
