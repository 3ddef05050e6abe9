"""`handletime.lake.spark`: the rows of one machine, whatever order events come in, and whatever is killed.

All in one module: so its tests are mostly one process's, and there is one cluster.

Covers: cli/spark, lake/spark/exchange, lake/spark/source, lake/spark/stages, lake/spark/touched, lake/spark/write.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from handletime.clock import SystemClock
from handletime.crashpoints import VARIABLE
from handletime.errors import InputError
from handletime.events.decode import decode_lines
from handletime.keys import keys as store_keys
from handletime.keys import keys_file as file_keys
from handletime.keys.sidefile import SideFile
from handletime.lake import tables
from handletime.lake.spark import LAST, Mark, derive, job, source
from handletime.segments.derive import derive as derive_here
from handletime.simulate.centre import Centre
from handletime.simulate.simulate import simulate
from handletime.store.opening import StoreSettings
from handletime.store.store import Store
from tests.crash.nursery import Nursery
from tests.lake.conftest import ACCOUNTS, Places, Site, lake_server, listening, made_events, of_account
from tests.lake.spark.standalone import ENVIRONMENT, Cluster
from tests.lake.test_same_answers import ASKED, names, units_by_hour, without_place
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.requires_command("java"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]
DERIVED = ("agent_segments", "skill_segments", "handle_time_units")
BREAKDOWN = "/api/account/{account}/agent-segments/breakdown?source=test&from={start}&to={end}"
EVENTS_A_PART = 2_000
START = datetime(2026, 11, 2, tzinfo=UTC)


def messy_events(seed: int) -> pa.Table:
    """A small messy stream of eight accounts, and an account of a hundred times their size."""
    small = messy_stream(seed, accounts=8, conversations=60, agents=9, events=1500)
    decoded = decode_lines(b"".join(msgspec.json.encode(event) + b"\n" for event in small), account="local")
    assert decoded.refused == []
    return pa.concat_tables(
        [decoded.events, *simulate(Centre(start=START, events=8_000, accounts=("large",), seed=seed % 1000))]
    )


def in_files(events: pa.Table, folder: Path, rng: random.Random, files: int = 4) -> list[Path]:
    """The events in files, in any order, some in two of them."""
    folder.mkdir()
    paths = [folder / f"{number}.parquet" for number in range(files)]
    where = [rng.randrange(files) for _ in range(events.num_rows)]
    for number, path in enumerate(paths):
        mine = [row for row, of in enumerate(where) if of == number or rng.random() < 0.02]
        rng.shuffle(mine)
        pq.write_table(events.take(pa.array(mine, pa.int64())).unify_dictionaries(), path, row_group_size=1000)
    return paths


def read(lake: Path, name: str, run: tables.Run | None = None) -> list[dict[str, object]]:
    """A table's rows at a run (the last one) in an order of their own."""
    version = (run or tables.runs(lake)[-1]).versions[name]
    return in_order(DeltaTable(lake / name, version=version).to_pyarrow_table().drop_columns(["day"]))


def in_order(rows: pa.Table) -> list[dict[str, object]]:
    return sorted(rows.to_pylist(), key=lambda row: repr(sorted(row.items())))


def assert_same_as_here(lake: Path, events: pa.Table) -> None:
    """The tables hold exactly what one machine derives of the same events."""
    here = derive_here(events)
    for name in DERIVED:
        wanted = getattr(here, name)
        columns = {
            c: tables.COLUMNS[name].field(c).type if c != "accountId" else pa.string() for c in wanted.schema.names
        }
        plain = pa.table({c: wanted[c].cast(type_) for c, type_ in columns.items()})
        found = [{c: row[c] for c in columns} for row in read(lake, name)]
        assert in_order(pa.Table.from_pylist(found, schema=plain.schema)) == in_order(plain), name


def files_of(lake: Path) -> dict[str, set[str]]:
    run = tables.runs(lake)[-1]
    return {name: {file.path for file in tables.files(lake, name, run.versions[name])} for name in tables.COLUMNS}


def test_rows_are_those_of_one_machine_and_a_second_run_doubles_nothing(
    spark: SparkSession, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = messy_events(seed)
    in_files(events, tmp_path / "events", random.Random(seed))
    done = derive(spark, tmp_path / "events", tmp_path / "lake", part_events=EVENTS_A_PART)
    assert_same_as_here(tmp_path / "lake", events)
    assert done.quality.conversations == derive_here(events).quality.conversations

    # The days of the large account are written by several tasks now, in as many files.
    monkeypatch.setattr(job, "SHARE_EVENTS", EVENTS_A_PART)
    derive(spark, tmp_path / "events", tmp_path / "lake", part_events=EVENTS_A_PART)
    assert_same_as_here(tmp_path / "lake", events)
    found = tables.files(
        tmp_path / "lake", "agent_segments", tables.runs(tmp_path / "lake")[-1].versions["agent_segments"]
    )
    of_a_day = Counter((file.account, file.day) for file in found)
    assert max(of_a_day.values()) > 1
    assert {account for (account, _day), files in of_a_day.items() if files > 1} == {"large"}
    # Whoever reads the Delta table without `runs` sees the same.
    assert DeltaTable(tmp_path / "lake" / "skill_segments").to_pyarrow_table().num_rows == len(
        read(tmp_path / "lake", "skill_segments")
    )


@pytest.mark.long
def test_later_events_correct_earlier_runs(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    events = messy_events(seed)
    in_time = sorted(range(events.num_rows), key=events["time"].cast(pa.int64()).to_pylist().__getitem__)
    share = len(in_time) // 3
    arrivals: list[list[int]] = [[], [], []]
    for place, row in enumerate(in_time):
        arrivals[rng.randrange(3) if rng.random() < 0.01 else min(place // share, 2)].append(row)
    folder, lake = tmp_path / "events", tmp_path / "lake"
    folder.mkdir()
    there = pa.table({})
    for number, rows in enumerate(arrivals):
        new = events.take(pa.array(rows, pa.int64())).unify_dictionaries()
        path = folder / f"{number}.parquet"
        pq.write_table(new, path)
        os.utime(path, (1_800_000_000 + number, 1_800_000_000 + number))
        there = pa.concat_tables([there, new]) if number else new
        done = derive(spark, folder, lake, since=LAST if number else None, part_events=EVENTS_A_PART)
        assert_same_as_here(lake, there)
        if number:
            assert 0 < done.quality.conversations < derive_here(there).quality.conversations
    assert derive(spark, folder, lake, since=LAST).run is None, "nothing new"
    assert derive(spark, folder, lake, since=Mark(modified=1_800_000_002_000)).run is not None
    assert_same_as_here(lake, there)


@pytest.mark.long
def test_versions_of_a_delta_table_and_days(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    simulated = simulate(Centre(start=START, events=4_000, days=3, seed=seed % 1000, messiness=0.05))
    events = pa.concat_tables([over_midnight(), *simulated])
    times = events["time"].cast(pa.int64()).to_pylist()
    middle = datetime(2026, 11, 4, tzinfo=UTC).timestamp() * 1000
    early = events.filter(pa.array([time < middle for time in times]))
    late = events.filter(pa.array([time >= middle for time in times]))
    source, lake = tmp_path / "events", tmp_path / "lake"
    write_deltalake(source, as_delta(early), partition_by=["accountId"])
    derive(spark, source, lake, part_events=EVENTS_A_PART)
    assert_same_as_here(lake, early)
    before = files_of(lake)
    write_deltalake(source, as_delta(late), mode="append")
    done = derive(spark, source, lake, since=Mark(version=0), part_events=EVENTS_A_PART)
    assert_same_as_here(lake, events)
    assert done.first is not None
    first_day = datetime.fromtimestamp(done.first / 1000, UTC).date()
    kept = {
        path for path in before["agent_segments"] if "day=2026" in path and path.split("day=")[1][:10] < str(first_day)
    }
    assert kept <= files_of(lake)["agent_segments"], "days before the touched conversations stay as they are"

    progress: list[str] = []
    day = date(2026, 11, 3)
    done = derive(spark, source, lake, days=(day, day), part_events=EVENTS_A_PART, progress=progress.append)
    assert_same_as_here(lake, events)
    assert done.run is not None
    assert done.first is not None
    assert done.first < datetime(2026, 11, 3, tzinfo=UTC).timestamp() * 1000, "what came before midnight was read too"
    assert done.run.events == msgspec.json.encode(Mark(version=1)).decode(), "a day's run does not move the mark"


def over_midnight() -> pa.Table:
    """A conversation of 2 November, which ends on the 3rd."""
    night = {"accountId": "demo", "conversationId": "night"}
    steps = [("22:00", "assigned"), ("22:30", "focused"), ("23:00", "message"), ("23:59", "closed")]
    events = [
        {**night, "eventId": kind, "time": f"2026-11-02T{at}:00-01:00", "type": kind, "agentId": 1, "sentBy": "agent"}
        | {"closedBy": "agent"}
        for at, kind in steps
    ]
    return events_of(events)


def as_delta(events: pa.Table) -> pa.Table:
    columns = {}
    for field in events.schema:
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        columns[field.name] = events[field.name].cast(tables.INSTANT if pa.types.is_timestamp(plain) else plain)
    return pa.table(columns)


def test_a_file_of_events_that_was_replaced_is_a_newer_one(tmp_path: Path) -> None:
    """As `handletime export --since last` does it, also the newest file of the last run."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.parquet").touch()
        os.utime(tmp_path / f"{name}.parquet", ns=(0, 10**15))
    mark = source.find(tmp_path).mark
    assert source.newer(tmp_path, source.find(tmp_path), mark) == []
    os.utime(tmp_path / "b.parquet", ns=(0, 10**15 + 10**6))
    found = source.newer(tmp_path, source.find(tmp_path), mark)
    assert [Path(file.path).name for file in found] == ["b.parquet"]


@pytest.mark.parametrize("when", [1, 2])
def test_no_file_is_missed_that_was_replaced_while_one_looked(
    when: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export replaces a file that was looked at, and then writes a newer one that is looked at after it."""
    first, last = tmp_path / "a.parquet", tmp_path / "b.parquet"
    looked: list[Path] = []
    look = source._of_path

    def replacing(path: Path, root: Path) -> source.EventFile:
        found = look(path, root)
        looked.append(path)
        if path == first and looked.count(first) == when:
            os.utime(first, ns=(0, 10**15 + 10**6))
            os.utime(last, ns=(0, 10**15 + 2 * 10**6))
        return found

    for path in (first, last):
        path.touch()
        os.utime(path, ns=(0, 10**15))
    monkeypatch.setattr(source, "_of_path", replacing)
    found = source.find(tmp_path)
    monkeypatch.undo()
    there = source.find(tmp_path)
    assert {*there.files} <= {*found.files, *source.newer(tmp_path, there, found.mark)}


@pytest.mark.long
def test_a_lost_worker_costs_no_row(cluster: Cluster, spark: SparkSession, tmp_path: Path, seed: int) -> None:
    events = messy_events(seed)
    in_files(events, tmp_path / "events", random.Random(seed))
    lost: list[str] = []

    def progress(what: str) -> None:
        if what == "deriving":
            cluster.kill_worker()
            lost.append(what)

    try:
        derive(spark, tmp_path / "events", tmp_path / "lake", part_events=EVENTS_A_PART, progress=progress)
    finally:
        if lost:
            cluster.add_worker()
    assert lost
    assert_same_as_here(tmp_path / "lake", events)
    assert len(tables.runs(tmp_path / "lake")) == 1


@pytest.mark.long
@pytest.mark.parametrize("step", ["lake-begun", "lake-committed:2", "lake-committed:4", "lake-finished"])
def test_a_killed_driver_leaves_all_of_a_run_or_nothing(
    step: str, spark: SparkSession, tmp_path: Path, seed: int
) -> None:
    folder, lake = tmp_path / "events", tmp_path / "lake"
    first, second = messy_events(seed), messy_events(seed + 1)
    in_files(first, folder, random.Random(seed), files=1)
    derive(spark, folder, lake)
    pq.write_table(second, folder / "more.parquet")
    killed(folder, lake, step)
    both = pa.concat_tables([first, second])
    assert_same_as_here(lake, both if step == "lake-finished" else first)
    derive(spark, folder, lake)
    assert_same_as_here(lake, both)
    assert DeltaTable(lake / "agent_segments").to_pyarrow_table().num_rows == len(read(lake, "agent_segments"))
    # Files of dead attempts and of older runs go; those of the last run stay.
    assert tables.vacuum(lake, keep_hours=0) > 0
    assert_same_as_here(lake, both)
    on_disk = {str(path.relative_to(lake / "agent_segments")) for path in (lake / "agent_segments").rglob("*.parquet")}
    assert {path for path in on_disk if not path.startswith("_")} == files_of(lake)["agent_segments"]


def killed(events: Path, lake: Path, step: str) -> None:
    """The command, with Spark inside the driver, is killed at a step."""
    command = [sys.executable, "-m", "handletime", "derive", "--spark", "local[2]", str(events), "--out", str(lake)]
    environment = os.environ | ENVIRONMENT | {VARIABLE: step}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.long
def test_input_that_is_wrong_is_named_and_nothing_is_committed(spark: SparkSession, tmp_path: Path) -> None:
    good = pa.concat_tables(simulate(Centre(start=START, events=300)))
    rows = as_delta(good).to_pylist()
    rows[7]["conversationId"] = ""
    folder, lake = tmp_path / "events", tmp_path / "lake"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=as_delta(good).schema), folder / "bad.parquet")
    with pytest.raises(InputError) as caught:
        derive(spark, folder, lake)
    rule = "must be a string of 1 to 128 characters without control characters"
    assert str(caught.value) == f"{folder}/bad.parquet: row 8: conversationId: {rule}"
    assert tables.runs(lake) == []
    with pytest.raises(InputError, match="derive all events once"):
        derive(spark, folder, lake, since=LAST)
    (folder / "bad.parquet").write_bytes(b"no Parquet")
    with pytest.raises(InputError, match=r"bad\.parquet: is no Parquet file"):
        derive(spark, folder, lake)
    with pytest.raises(InputError, match="there is no such file"):
        derive(spark, tmp_path / "nowhere", lake)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="there are no Parquet files"):
        derive(spark, empty, lake)


# --- served -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_answers_are_those_of_the_store_that_was_exported(
    spark: SparkSession, nursery: Nursery, tmp_path: Path
) -> None:
    now = SystemClock().now()
    data, events = tmp_path / "store", made_events(now)
    data.mkdir(mode=0o700)
    with SideFile(data) as side, Store(data, side, StoreSettings(memory_bytes=256 << 20, threads=1)) as store:
        for account in ACCOUNTS:
            store.ingest(account, of_account(events, account))
        tokens = {account: store_keys.create(side, account).token for account in ACCOUNTS}
    assert nursery.run(tmp_path / "export", "export", "--data", data, "--out", tmp_path / "out").wait() == 0
    shared = {account: file_keys.create(tmp_path / "keys.json", account).token for account in ACCOUNTS}
    places = Places(tmp_path, events, now, shared)
    derive(spark, places.exported, places.lake, part_events=10_000)

    server = nursery.start(data, "serve", "--data", data, "--port", "0", "--key-rate", "0")
    with (
        httpx.Client(base_url=listening(server), timeout=60) as client,
        lake_server(nursery, places, tmp_path / "one", "--events", places.exported) as lake,
    ):
        embedded = Site(client, tokens)
        for account in ACCOUNTS:
            known = names(places, embedded, account)
            for path in ASKED:
                expected, found = (site.get(path.format(**known), account) for site in (embedded, lake))
                assert found.status_code == expected.status_code, path
                assert without_place(found) == without_place(expected), path
            expected_units, found_units = (
                dict(units_by_hour(site, account, BREAKDOWN.format(**known))) for site in (embedded, lake)
            )
            assert found_units == expected_units
    server.kill()
