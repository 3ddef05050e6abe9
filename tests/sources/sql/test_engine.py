"""A mapping reads its input and nothing else, and costs what it may cost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from handletime.errors import InputError
from handletime.sources.sql.engine import ColumnMissing, Engine

EVENT = "select 'a' as \"conversationId\", 'b' as \"eventId\", 'opened' as type, {} as time from input"


@contextmanager
def engine(text: str, *, rows: int = 1, limit_s: float | None = 5, memory: int = 128 << 20) -> Iterator[Engine]:
    """A locked engine with an input of one column."""
    made = Engine(text, "my.sql", memory_bytes=memory, limit_s=limit_s)
    made.database.execute("create table input as select range as n from range($1)", [rows])
    made.lock()
    try:
        yield made
    finally:
        made.close()


def result(text: str) -> list[dict[str, object]]:
    """The rows of a select that has a `time`."""
    with engine(text) as made:
        rows: list[dict[str, object]] = made.whole(10).rows.drop_columns("time").to_pylist()
        return rows


@pytest.mark.parametrize(
    "source",
    [
        "read_text('{file}')",
        "read_blob('{file}')",
        "read_csv('{file}')",
        "read_json('{file}')",
        "read_parquet('{file}')",
        "sniff_csv('{file}')",
        "glob('{folder}/*')",
        "'{file}'",
        "query('select * from read_text(''{file}'')')",
        "query_table('{file}')",
        "duckdb_secrets()",
        "duckdb_extensions()",
        "read_csv('https://example.com/a.csv')",
        "sqlite_scan('{file}', 'a')",
        "leaked",
        "globals_table",
    ],
)
def test_nothing_but_the_input_can_be_read(source: str, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\nsecret\n")
    leaked = pa.table({"a": ["secret"]})
    source = source.format(file=tmp_path / "secret.csv", folder=tmp_path)
    with engine(f"select a as x, 1 as time from {source} t(a)") as made, pytest.raises(InputError) as refused:  # noqa: S608
        made.whole(10)
    assert "secret\n" not in str(refused.value)
    assert leaked.num_rows == 1


globals_table = pa.table({"a": ["secret"]})


@pytest.mark.parametrize("call", ["getenv('HOME')", "current_setting('secret_directory') || getenv('HOME')"])
def test_the_environment_cannot_be_read(call: str) -> None:
    assert os.environ["HOME"]
    with engine(f"select {call} as x, 1 as time") as made, pytest.raises(InputError, match="getenv"):
        made.schema()


def test_settings_stay_as_they_are() -> None:
    (row,) = result("select current_setting('TimeZone') as zone, current_setting('threads') as threads, 1 as time")
    assert row == {"zone": "UTC", "threads": 1}
    with engine("select 1 as time") as made:
        for setting in ("timezone = 'Europe/Berlin'", "memory_limit = '1TB'", "enable_external_access = true"):
            with pytest.raises(Exception, match=r"locked|cannot be"):
                made.database.execute(f"set {setting}")


@pytest.mark.parametrize(
    "runs_away",
    [
        "(with recursive t(x) as (select 1 union all select x + 1 from t) select max(x) from t)",
        "(select count(*) from range(1000000) a, range(1000000) b, range(1000) c)",
        "(select sum(a.range + n) from range(1000000000000) a)",
    ],
)
def test_what_takes_too_long_is_stopped(runs_away: str) -> None:
    with engine(f"select {runs_away} as x, n as time from input", limit_s=0.3) as made:  # noqa: S608
        with pytest.raises(InputError, match="took too long and was stopped"):
            made.whole(10)
        with pytest.raises(InputError, match="took too long"):
            list(made.run(10))


@pytest.mark.parametrize(
    "greedy",
    ["(select list(i) from range(20000000) t(i))", "(select list(repeat('x', 1000) || i) from range(300000) t(i))"],
)
def test_what_takes_too_much_memory_is_stopped(greedy: str) -> None:
    text = f"select {greedy} as x, n as time from input"  # noqa: S608
    with engine(text, limit_s=60, memory=64 << 20) as made, pytest.raises(InputError, match="more memory than it may"):
        made.whole(10)


def test_too_many_rows_are_refused() -> None:
    with engine("select n as time from input", rows=11) as made:
        with pytest.raises(InputError, match="more than 10 rows of its input"):
            made.whole(10)
        assert made.whole(11).rows.num_rows == 11


def test_batches_have_the_times_of_the_same_rows() -> None:
    with engine("select n as time, to_timestamp(n) as other from input", rows=5000) as made:
        batches = list(made.run(1000))
    assert sum(batch.rows.num_rows for batch in batches) == 5000
    assert all(batch.rows["time"].to_pylist() == batch.times.to_pylist() for batch in batches)


def test_the_macros() -> None:
    (row,) = result("""select
        txt('{"a": {"b": [1, "x"]}}', '$.a.b[1]') as text, txt('{"a": null}', '$.a') as "null",
        txt('{"a": 5}', '$.a') as number, txt(null, '$.a') as nothing,
        id53('asdf89as6df8') as id, id53(12) as of_a_number, id53(null) as no_id, id53('') as of_nothing,
        millis('2026-11-20T09:00:00.125+01:00'::timestamptz) as at, millis(null) as never, 1 as time""")
    assert row == {
        **{"text": "x", "null": None, "number": "5", "nothing": None},
        **{"id": 1272331003284359, "of_a_number": 0x6B51D431DF5D7, "no_id": None, "of_nothing": 0xE3B0C44298FC1},
        **{"at": 1795593600125 - 432000000, "never": None},
    }


@pytest.mark.parametrize("time", ["'2026-11-20 10:00'::timestamp", "make_timestamp(n)", "n::varchar::date"])
def test_millis_refuses_a_timestamp_without_zone(time: str) -> None:
    with engine(EVENT.format(f"millis({time})")) as made, pytest.raises(InputError, match="has no time zone"):
        made.whole(10)


def test_a_mapping_that_names_what_is_not_there_is_refused_with_the_line() -> None:
    with engine("select n,\n  m as time\nfrom input") as made, pytest.raises(InputError) as refused:
        made.schema()
    assert isinstance(refused.value, ColumnMissing)
    assert refused.value.column == "m"
    assert 'Referenced column "m" not found' in str(refused.value)
    assert "LINE 2:   m as time" in str(refused.value)
