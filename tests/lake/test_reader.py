"""What a reader sees: the same whether or not files are left out, and whether or not sums are columns.

Covers: lake/lake, lake/state, lake/sums.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from handletime.answers.registry import AGENT_METRICS, SKILL_METRICS
from handletime.answers.relations import NotAllowed, Snapshot
from handletime.answers.selection import Selection
from handletime.answers.sums import sums_of
from handletime.answers.terms import RELATIONS, Table
from handletime.errors import NotNow
from handletime.lake import tables
from handletime.lake.lake import Lake, LakeSettings
from handletime.lake.reader import OfFiles, Span
from handletime.lake.sums import sum_fields
from handletime.lake.tables import File
from handletime.segments.files import SCHEMAS
from tests.lake.conftest import DAY, of_account
from tests.lake.maker import stored, write_run
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of, in_order, rows_of
from tests.store.worlds import standing_copies

FINISHED = 1_900_000_000_000


@pytest.fixture
def events(seed: int) -> pa.Table:
    """A messy stream over many days."""
    return events_of(standing_copies(messy_stream(seed, events=400, conversations=12)))


def test_a_reader_sees_the_rows_of_its_account_and_no_others(tmp_path: Path, events: pa.Table) -> None:
    write_run(tmp_path, events, FINISHED)
    whole = stored(events)
    accounts = set(events["accountId"].to_pylist())
    with Lake(tmp_path, LakeSettings(threads=1)) as lake:
        for account in [*accounts, "nobodys"]:
            with lake.reader(account).snapshot() as snapshot:
                for name, schema in SCHEMAS.items():
                    names = ", ".join(f'"{column}"' for column in schema.names)
                    found = rows_of(snapshot.table(f"select {names} from {name}"))  # noqa: S608
                    expected = [row for row in rows_of(whole[name].select(schema.names)) if row["accountId"] == account]
                    assert in_order(found) == in_order(expected), (account, name)


def bounds(events: pa.Table) -> tuple[int, int]:
    times = events["time"].cast(pa.int64()).to_pylist()
    return min(times), max(times) + 1


def summed(relations: Snapshot, table: Table, of: Selection) -> list[tuple[object, ...]]:
    """All metrics by skill and interval."""
    registry = [*AGENT_METRICS, *SKILL_METRICS]
    metrics = [metric for metric in registry if metric.table == table and not metric.values]
    found = sums_of(relations, table, metrics, ("skillId", "interval"), of)
    columns = [*found.keys.values(), *found.sums.values()]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_sums_that_are_columns_change_no_answer(
    tmp_path: Path, events: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = bounds(events)
    cuts = [first, *(first + (last - first) * part // 5 for part in range(1, 5)), last]
    answers = []
    for kept in (False, True):
        for relation in RELATIONS.values():
            plain = pa.schema([field for field in tables.COLUMNS[relation] if field.name in SCHEMAS[relation].names])
            fields = [*plain, *(sum_fields(relation) if kept else [])]
            monkeypatch.setitem(tables.COLUMNS, relation, pa.schema(fields))
        place = tmp_path / str(kept)
        write_run(place, events, FINISHED)
        with Lake(place, LakeSettings(threads=1)) as lake, lake.reader("local").snapshot() as snapshot:
            assert snapshot.keeps_sums == kept
            answers.append([summed(snapshot, table, Selection(cuts)) for table in RELATIONS])
    assert answers[0] == answers[1]
    assert answers[0][0]


def test_only_files_that_may_have_rows_of_the_window_are_opened(tmp_path: Path, events: pa.Table) -> None:
    write_run(tmp_path, events, FINISHED)
    first, last = bounds(events)
    with Lake(tmp_path, LakeSettings(threads=1)) as lake, lake.reader("local").snapshot() as snapshot:
        relations = OfFiles(tmp_path, "local", lake._state.of("local"))
        everything = relations.composed("select 1 from agent_segments", {})
        # Some streams begin in 1970.
        after = {"start": instant(last + 2 * DAY), "end": instant(last + 3 * DAY)}
        nothing = relations.composed("select 1 from agent_segments", after)
        assert "read_parquet" in everything
        assert "read_parquet" not in nothing
        # Every window has as many rows as if all files were read.
        ends = [end for (end,) in snapshot.execute('select epoch_ms("end") from agent_segments').fetchall()]
        step = max((last - first) // 7, 1)
        for start in range(first - step, last + step, step):
            window = {"start": instant(start), "end": instant(start + step)}
            sql = 'select count(*) from agent_segments where "end" >= $start and "end" < $end'
            (count,) = snapshot.execute(sql, window).fetchone() or (0,)
            assert count == sum(1 for end in ends if end is not None and start <= end < start + step)


def instant(millis: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)


def a_file(day: date | None, first: int | None, last: int | None) -> File:
    return File("x", "a", day, 1, 1, 1, first, last)


def test_a_file_without_bounds_may_have_all_of_its_day() -> None:
    day = date(2026, 11, 20)
    begins = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)
    file = a_file(day, None, None)
    assert Span(begins + DAY - 1, begins + DAY).may_have(file)
    assert Span(begins - 5, begins + 1).may_have(file)
    assert not Span(begins - 5, begins).may_have(file)
    assert not Span(begins + DAY, begins + 2 * DAY).may_have(file)
    assert not Span(begins, begins + DAY).may_have(a_file(None, None, None)), "what runs has no end"
    assert Span(5, 6).may_have(a_file(day, 5, 5))
    assert not Span(6, 7).may_have(a_file(day, 5, 5))


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_parquet('/etc/passwd')",
        "select * from focus_moves",
        "select * from 'x.parquet'",
        "copy agent_segments to 'x.parquet'",
    ],
)
def test_a_snapshot_asks_for_nothing_else(sql: str, tmp_path: Path, events: pa.Table) -> None:
    write_run(tmp_path, of_account(events, "local"), FINISHED)
    with (
        Lake(tmp_path, LakeSettings(threads=1)) as lake,
        lake.reader("local").snapshot() as snapshot,
        pytest.raises(NotAllowed),
    ):
        snapshot.execute(sql)


def test_no_file_beside_the_tables_can_be_read(tmp_path: Path, events: pa.Table) -> None:
    """Even by SQL that nobody checked."""
    write_run(tmp_path / "lake", events, FINISHED)
    (tmp_path / "other").mkdir()
    stray = tmp_path / "other" / "stray.csv"
    stray.write_text("a\n1\n")
    with Lake(tmp_path / "lake", LakeSettings(threads=1)) as lake:
        with lake._cursor(None) as cursor, pytest.raises(Exception, match="disabled by configuration"):
            cursor.execute(f"select * from read_csv('{stray}')")  # noqa: S608
        with lake._cursor(None) as cursor, pytest.raises(Exception, match="locked"):
            cursor.execute("set enable_external_access = true")


def test_a_query_that_takes_too_long_is_stopped(tmp_path: Path, events: pa.Table) -> None:
    write_run(tmp_path, events, FINISHED)
    with Lake(tmp_path, LakeSettings(threads=1)) as lake:
        sql = "select sum(a.range * b.range) from range(1000000) a, range(1000000) b"
        with pytest.raises(NotNow, match="too long"), lake.reader("local").snapshot(limit_s=0.2) as snapshot:
            snapshot.execute(sql).fetchall()


def test_time_between_queries_counts_too(tmp_path: Path, events: pa.Table) -> None:
    """All that is asked for one request, whatever it does meanwhile."""
    write_run(tmp_path, events, FINISHED)
    with Lake(tmp_path, LakeSettings(threads=1, query_limit_s=0.3)) as lake:
        reader = lake.reader("local")
        with reader.snapshot() as snapshot:
            time.sleep(0.4)
            with pytest.raises(NotNow, match="too long"):
                snapshot.execute("select 1")
        with pytest.raises(NotNow, match="too long"):
            reader.focus(1, 0, 1)
        with lake.reader("local").snapshot() as snapshot:
            assert snapshot.execute("select 1").fetchall() == [(1,)]
