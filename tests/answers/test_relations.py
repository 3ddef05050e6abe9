"""A snapshot has one account's rows: whatever else is asked for is refused, by mistake or on purpose.

Covers: store/relations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from handletime.answers.relations import NotAllowed, Snapshot
from handletime.answers.terms import KEPT, RELATIONS
from handletime.store.relations import composed
from handletime.store.store import Store
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of
from tests.store.worlds import a_store, standing_copies

NAMES = [*RELATIONS.values(), "handle_time_units"]
OUTSIDE = [
    "select * from kept.agent_segments",
    "select * from KEPT.accounts",
    'select * from "kept"."events"',
    "select * from store.kept.events",
    "select * from accounts",
    "select * from agent_segments, kept.agents",
    "select * from agent_segments join kept.events using (agentId)",
    "select (select max(agentId) from kept.agents)",
    "select 1 where exists (from kept.agents)",
    "select * from agent_segments where agentId in (select agentId from kept.agents)",
    "select count(*) from agent_segments union all select count(*) from kept.agent_segments",
    "select * from (select * from (select * from kept.events))",
    "with mine as (select * from kept.events) select * from mine",
    "with a as (with b as (from kept.events) from b) from a",
    "with duckdb_views as (from duckdb_views) from duckdb_views",
    "with a as (from duckdb_tables), duckdb_tables as (select 1) from a",
    "with agent_segments as (from kept.agent_segments) from agent_segments",
    "select (with inside as (select 1 as x) select x from inside) from inside",
    "with recursive r as (select 1 union all select * from r) from r",
    "from duckdb_tables()",
    "from duckdb_tables",
    "from duckdb_secrets()",
    "from information_schema.tables",
    "from pg_catalog.pg_tables",
    "from sqlite_master",
    "from pragma_table_info('kept.events')",
    "pragma show_tables",
    "show tables",
    "show all tables",
    "describe agent_segments",
    "describe kept.events",
    "summarize kept.events",
    "from (describe kept.events)",
    "from (show all tables)",
    "from query('from kept.events')",
    "from query_table('kept.events')",
    "from json_execute_serialized_sql(json_serialize_sql('from kept.events'))",
    "from read_parquet('events.parquet')",
    "from read_csv('/etc/passwd')",
    "from read_text('/etc/passwd')",
    "from '/etc/passwd'",
    "from 'events.parquet'",
    "from glob('*')",
    "attach 'other.duckdb' as other",
    "use kept",
    "set search_path = 'kept'",
    "set variable x = 1",
    "copy kept.events to 'out.csv'",
    "copy (from agent_segments) to 'out.csv'",
    "export database 'out'",
    "create temp view agent_segments as from kept.agent_segments",
    "create macro m() as table from kept.events",
    "insert into kept.accounts values (9, 'x')",
    "update kept.meta set version = 9",
    "delete from kept.events",
    "drop schema kept cascade",
    "begin",
    "commit",
    "rollback",
    "checkpoint",
    "call duckdb_tables()",
    "prepare p as from kept.events",
    "execute p",
    "explain from kept.events",
    "explain analyze from agent_segments",
    "pivot kept.events on type using count(*)",
    "from (pivot kept.events on type using count(*))",
    "from agent_segments; from kept.events",
    "from agent_segments; drop schema kept cascade",
    "from agent_segments at (version => 1)",
    "from agent_segments) select * from kept.events --",
    "",
    ";",
    "-- nothing",
    "not sql at all",
]
WITHIN = [
    "from agent_segments",
    "select count(*) from AGENT_SEGMENTS a join handle_time_units u using (segmentId)",
    "with a as (select agentId, focusData from agent_segments), b as (from a) select * from b order by all limit 3",
    "  WITH a as (select 1 as x) select * from a, skill_segments",
    "select unnest([1, 2]), x from (values (1), (2)) t(x), range(3), generate_series(1, 2)",
    "(select agentId from agent_segments) union all (select skillId from skill_segments) order by 1 desc nulls last",
    "select distinct agentId, sum(agentMessages) filter (abandoned > 0) over (partition by skillId) "
    "from agent_segments",
    "select case when agentId = any($ids) then 1 end from agent_segments where skillId between 1 and 2",
    "select agentId from agent_segments a where exists (from skill_segments s where s.skillId = a.skillId)",
    "select count(*) from agent_segments group by grouping sets ((agentId), ()) having count(*) > 0",
    "select quantile_disc(agentMessages, 0.5), list(agentId order by agentId) from agent_segments",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two accounts with the same events but for one."""
    events = standing_copies(messy_stream(5, accounts=1, events=150))
    with a_store(tmp_path_factory.mktemp("two") / "store") as store:
        store.ingest("one", events_of(events[:-1]))
        store.ingest("other", events_of(events))
        yield store


@pytest.fixture
def snapshot(store: Store) -> Iterator[Snapshot]:
    with store.reader("one").snapshot() as snapshot:
        yield snapshot


@pytest.mark.parametrize("sql", OUTSIDE)
def test_what_lies_outside_is_refused_before_it_reaches_the_store(sql: str, snapshot: Snapshot) -> None:
    with pytest.raises(NotAllowed):
        snapshot.execute(sql)
    with pytest.raises(NotAllowed):
        snapshot.table(sql)
    assert snapshot.execute("select count(*) from agent_segments").fetchone() is not None


@pytest.mark.parametrize("sql", WITHIN)
def test_what_lies_within_is_answered(sql: str, snapshot: Snapshot) -> None:
    assert snapshot.table(sql, {"ids": [1, 2]} if "$ids" in sql else None).num_columns


@pytest.mark.parametrize("name", NAMES)
def test_no_row_is_of_another_account(name: str, store: Store) -> None:
    sql = f"select distinct accountId from {name}"  # noqa: S608
    for account in ("one", "other"):
        with store.reader(account).snapshot() as snapshot:
            assert snapshot.execute(sql).fetchall() == [(account,)]
    with store.reader("nobody").snapshot() as snapshot:
        assert snapshot.execute(sql).fetchall() == []


@pytest.mark.parametrize("name", NAMES)
def test_no_column_is_the_stores_own(name: str, snapshot: Snapshot) -> None:
    columns = {*snapshot.table(f"select * from {name} limit 0").column_names}  # noqa: S608
    assert columns.isdisjoint({"number", "account", "started"})


def test_one_snapshot_is_one_state_and_the_next_one_has_what_came_meanwhile(tmp_path: Path) -> None:
    events = standing_copies(messy_stream(7, accounts=1, events=200))
    count = "select count(*) from skill_segments"
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(events[:100]))
        with store.reader("local").snapshot() as before:
            first = before.execute(count).fetchone()
            store.ingest("local", events_of(events[100:]))
            assert before.execute(count).fetchone() == first
            with store.reader("local").snapshot() as after:
                assert after.execute(count).fetchone() != first


@pytest.mark.parametrize("table", RELATIONS)
def test_what_is_kept_of_sums_is_what_a_row_adds_to_them(table: str, snapshot: Snapshot) -> None:
    terms = KEPT[table]  # type: ignore[index]
    wrong = " or ".join(f'"{name}" is distinct from {term}' for name, term in terms.items())
    relation = RELATIONS[table]  # type: ignore[index]
    rows, differ = snapshot.execute(
        f"select count(*), count(*) filter ({wrong}) from {relation}"  # noqa: S608
    ).fetchone() or (0, 0)
    assert rows > 10
    assert differ == 0


def test_a_query_is_looked_at_once(store: Store) -> None:
    sql = "select agentId, count(*) from agent_segments where skillId = $skill group by agentId"
    with store.reader("one").snapshot() as first:
        first.execute(sql, {"skill": 1})
    before = composed.cache_info()
    with store.reader("one").snapshot() as second:
        second.execute(sql, {"skill": 2})
    after = composed.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 1)
