"""What is exported: every event, and all that follows from them, under the account and day where it belongs.

Covers: upkeep/export_folder, upkeep/dbt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import cast

import duckdb
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import dataset

from handletime.clock import DAY as DAY_MS
from handletime.errors import InputError, NotNow
from handletime.events.model import EVENTS
from handletime.files import STAGED
from handletime.segments.files import SCHEMAS
from handletime.segments.tables import AGENT_SEGMENTS, MOMENTS
from handletime.store import now
from handletime.store.arrow import query
from handletime.store.watch import Stopped
from handletime.upkeep import exports
from handletime.upkeep.export_folder import CONTENTS, FILE, RUNNING, held
from handletime.upkeep.exports import Exported, Range, export, export_again
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import forget, prune
from tests.messy_streams import BASE, RawEvent, messy_stream
from tests.seeds import mostly_long
from tests.segments.tables import Row, events_of, in_order, rows_of
from tests.store.worlds import StoreAndSide, Tables, a_store, account_of, derived_rows, requests_of, standing_copies
from tests.upkeep.folders import STORY, an_event, some_events


def exported(folder: Path) -> Tables:
    """The rows of all files. Each has to lie under its account and its day."""
    rows: Tables = {name: [] for name in SCHEMAS}
    for name in SCHEMAS:
        for file in folder.glob(f"{name}/*/*/{FILE}"):
            of_file = rows_of(pq.read_table(file, partitioning=None))
            account, day = file.parts[-3].removeprefix("account="), file.parts[-2].removeprefix("day=")
            assert {(row["accountId"], day_of(row)) for row in of_file} == {(account, day)}
            rows[name] += of_file
    return {name: in_order(found) for name, found in rows.items()}


def day_of(row: Row) -> str:
    end = cast("int | None", row["end"])
    return RUNNING if end is None else str(datetime.fromtimestamp(end / 1000, UTC).date())


@pytest.mark.parametrize("at_once", [250_000, 1])
@pytest.mark.parametrize("seed", range(0, 12, 3))
def test_what_is_exported_is_what_follows_from_the_events(
    seed: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ended and running segments, however few open conversations are read at a time, or shown on the page."""
    monkeypatch.setattr(now, "EVENTS_AT_ONCE", at_once)
    monkeypatch.setattr(now, "OPEN_MAX", 1)
    events = standing_copies(messy_stream(seed, accounts=2, events=300, conversations=20))
    expected = derived_rows(events)
    times = sorted(cast("int", row["end"]) for row in expected["handle_time_units"])
    low, high = times[len(times) // 3], times[2 * len(times) // 3]
    running = {row["segmentId"] for row in expected["agent_segments"] if row["end"] is None}
    assert any(row["segmentId"] in running for row in expected["handle_time_units"])

    def among(row: Row, start: int, end: int) -> bool:
        began, ended = cast("int", row["start"]), cast("int | None", row["end"])
        return began < end and (ended is None or start <= ended < end)

    choices: list[tuple[Range, Callable[[Row], bool]]] = [
        (Range(), lambda _row: True),
        (Range(account_of(events[0])), lambda row: row["accountId"] == account_of(events[0])),
        (Range(start=low, end=high), lambda row: among(row, low, high)),
    ]
    with a_store(tmp_path / "store") as store:
        for request in requests_of(events):
            store.ingest(request.account, request.events)
        for place, (asked, is_chosen) in enumerate(choices):
            out = tmp_path / str(place)
            with store.snapshot() as cursor:
                written = export(cursor, out, store.side, asked)
            found = exported(out)
            assert {name: written.rows[name] for name in SCHEMAS} == {name: len(rows) for name, rows in found.items()}
            for name, rows in found.items():
                assert rows == in_order(row for row in expected[name] if is_chosen(row)), (name, asked)


# --- again and again -------------------------------------------------------------------------------------------------


def again(store: StoreAndSide, out: Path, asked: Range = Range()) -> Exported:  # noqa: B008 - it is immutable
    with store.snapshot() as cursor:
        return export_again(cursor, out, store.side, asked)


def files_of(folder: Path) -> dict[str, tuple[int, list[Row]]]:
    """Each file with its inode, which is another one where it was written anew, and its rows."""
    return {
        str(file.parent.relative_to(folder)): (file.stat().st_ino, rows_of(pq.read_table(file, partitioning=None)))
        for file in folder.glob(f"*/*/*/{FILE}")
    }


def as_exported_once(store: StoreAndSide, folder: Path, asked: Range = Range()) -> dict[str, list[Row]]:  # noqa: B008
    """The rows of each file of a new export."""
    with store.snapshot() as cursor:
        export(cursor, folder, store.side, asked)
    return {place: rows for place, (_, rows) in files_of(folder).items()}


@pytest.mark.parametrize("seed", mostly_long(range(0, 40, 2), 4))
def test_again_and_again_it_has_what_a_new_one_has_and_writes_nothing_else(seed: int, tmp_path: Path) -> None:
    """Whatever came between: late events, corrections, removals, a mended row. The files of others stay as they are."""
    dice, out = random.Random(seed), tmp_path / "out"
    events = messy_stream(seed, accounts=2, events=250, conversations=12)
    dice.shuffle(events)
    asked = dice.choice([Range(), Range(account_of(events[0]))])
    with a_store(tmp_path / "store") as store:
        for number, batch in enumerate(a_few(events, dice)):
            for request in requests_of(batch):
                store.ingest(request.account, request.events)
            change_something(store, dice)
            before = files_of(out)
            done = again(store, out, asked)
            after = files_of(out)
            expected = as_exported_once(store, tmp_path / str(number), asked)
            assert {place: rows for place, (_, rows) in after.items()} == expected
            same = {place for place, rows in expected.items() if place in before and before[place][1] == rows}
            assert {place for place in after if after[place] == before.get(place)} == same
            assert (done.files, done.written) == (len(expected), len(expected) - len(same))
            assert done.removed == len(before.keys() - expected.keys())
            assert {name: done.rows[name] for name in SCHEMAS} == {
                name: sum(len(rows) for place, rows in expected.items() if place.startswith(f"{name}/"))
                for name in SCHEMAS
            }
            assert again(store, out, asked).written == 0


def a_few(events: list[RawEvent], dice: random.Random) -> Iterator[list[RawEvent]]:
    places = sorted(dice.sample(range(1, len(events)), 5))
    return (events[low:high] for low, high in pairwise([0, *places, len(events)]))


def change_something(store: StoreAndSide, dice: random.Random) -> None:
    """Removes old conversations or one of any age, or has a wrong row stored."""
    with store.snapshot() as cursor:
        named = cursor.execute(
            "select accountId, conversationId from kept.conversations join kept.accounts using (account) order by all"
        ).fetchall()
        match dice.randrange(4):
            case 0:
                cursor.execute("update kept.agent_segments set agentMessages = agentMessages + 1 where started % 3 = 0")
            case 1:
                cursor.execute("update kept.skill_segments set userType = 'mixed' where started % 2 = 0")
        cursor.commit()
    match dice.randrange(3):
        case 0 if named:
            account, conversation = dice.choice(named)
            forget(store, account, conversation)
        case 1:
            rebuild(store)


@pytest.mark.parametrize(
    "change",
    [
        "update kept.agent_segments t set skillId = 3 - skillId",  # Of two rows, each has the other's value.
        "update kept.agent_segments t set employeeId = null where agentId = 1",
        "update kept.agent_segments t set employeeId = 'a|1:b' where agentId = 1",
        "update kept.agent_segments t set responseMillis = list_reverse(responseMillis)",
        "update kept.agent_segments t set responseWaitingSince = list_reverse(responseWaitingSince)",
        "update kept.agent_segments t set queuedSince = queuedSince + interval 1 millisecond",
        "update kept.agent_segments t set firstMessageIsResponse = not firstMessageIsResponse",
        "update kept.agent_segments t set assignedEventId = 'other' where agentId = 1",
        "update kept.agent_segments t set firstResponseMillis = coalesce(firstResponseMillis, 0) + 1",
        """update kept.agent_segments t set "end" = "end" + interval 1 millisecond""",
        "update kept.agents set focused = not focused",
        "update kept.accounts set accountId = 'other'",
        "update kept.conversations set conversationId = conversationId || 'x'",
        "update kept.events set sequence = 9 where type = 0",
    ],
)
def test_any_change_of_a_row_is_seen(change: str, tmp_path: Path) -> None:
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(two_stories()))
        again(store, tmp_path / "out")
        before = files_of(tmp_path / "out")
        with store.snapshot() as cursor:
            cursor.execute(change)
            cursor.commit()
        assert again(store, tmp_path / "out").written > 0
        after = {place: rows for place, (_, rows) in files_of(tmp_path / "out").items()}
        assert after == as_exported_once(store, tmp_path / "once")
        assert after != {place: rows for place, (_, rows) in before.items()}


def two_stories() -> Iterator[RawEvent]:
    """Two conversations of one day that differ in agent and skill."""
    for number in (1, 2):
        for second, more in enumerate(STORY):
            agent = {"agentId": number} if "agentId" in more else {}
            assigned = {"skillId": number, "employeeId": ""} if more["type"] == "assigned" else {}
            place = {"eventId": str(second), "conversationId": f"c{number}", "time": BASE + 1000 * second}
            yield {**place, **more, **agent, **assigned}
        for nth, millis in enumerate((2500, 3500, 4200, 4900)):
            said = {"type": "message", "sentBy": "agent" if nth % 2 else "consumer"}
            yield {"eventId": f"x{nth}", "conversationId": f"c{number}", "time": BASE + millis, **said}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreAndSide]:
    """Conversations of twelve days, one that runs, and one of another account, whose id is a number."""
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of([*some_events(), an_event(BASE)]))
        store.ingest("00123", events_of(some_events(2)))
        yield store


def test_what_a_day_loses_last_is_its_file(store: StoreAndSide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert again(store, out).files == 5 * 12 + 5 * 2 + 2
    strange = out / "events" / "account=local" / f"day={datetime.fromtimestamp(BASE / 1000, UTC):%Y-%m-%d}" / "note.txt"
    strange.write_text("not ours")
    prune(store, BASE + 2 * DAY_MS)
    done = again(store, out)
    assert (done.written, done.removed) == (0, 5 * 2 + 5 * 2 + 2)
    assert files_of(out).keys() == as_exported_once(store, tmp_path / "once").keys()
    assert strange.exists()
    assert {path.name for path in (out / "agent_segments").iterdir()} == {"account=local"}


def test_a_file_that_was_lost_or_cut_short_is_written_anew(store: StoreAndSide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    again(store, out)
    before = {place: rows for place, (_, rows) in files_of(out).items()}
    first, second, *_ = sorted(out.glob(f"*/*/*/{FILE}"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    assert again(store, out).written == 2
    assert {place: rows for place, (_, rows) in files_of(out).items()} == before


def test_it_goes_on_from_what_was_exported_once(store: StoreAndSide, tmp_path: Path) -> None:
    as_exported_once(store, tmp_path / "out")
    assert again(store, tmp_path / "out").written == 0


def test_files_of_an_earlier_form_are_written_anew(
    store: StoreAndSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = again(store, tmp_path / "out").files
    monkeypatch.setattr(exports, "ROWS_FORM", 2)
    assert again(store, tmp_path / "out").written == files


def test_of_an_earlier_version_the_tables_that_have_new_columns_are_written_anew(
    store: StoreAndSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else is."""
    out = tmp_path / "out"
    with monkeypatch.context() as earlier:
        known = [field for field in AGENT_SEGMENTS if field.name not in MOMENTS]
        earlier.setitem(exports._SCHEMAS, "agent_segments", pa.schema(known))
        again(store, out)
        before = {place for place, (_, rows) in files_of(out).items() if place.startswith("agent_segments")}
    assert again(store, out).written == len(before) > 1
    assert {place: rows for place, (_, rows) in files_of(out).items()} == as_exported_once(store, tmp_path / "once")
    assert again(store, out).written == 0


def test_who_may_read_the_folder_may_read_what_is_written(store: StoreAndSide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o750)
    again(store, out)
    paths = [path for path in out.rglob("*") if path.name != ".lock"]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o750}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o640}


def test_a_folder_with_something_else_is_refused(store: StoreAndSide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    again(store, out, Range("local", start=BASE))
    before = files_of(out)
    with pytest.raises(InputError, match="has the export of account local: ask for the same"):
        again(store, out, Range(start=BASE))
    with pytest.raises(InputError, match=r"of another range \(from 2026-11-20 09:00:00Z to now\)"):
        again(store, out, Range("local"))
    with a_store(tmp_path / "other") as other, pytest.raises(InputError, match="export of another store"):
        again(other, out, Range("local", start=BASE))
    for content, told in [
        (b"{", "is damaged"),
        (b'{"form":2,"store":"x","account":null,"start":null,"end":null}', "by another version"),
        (
            b'{"store":"x","account":null,"start":null,"end":null,"files":{"../events/account=a/day=running":[1,""]}}',
            r"is damaged \(it names",
        ),
    ]:
        (out / CONTENTS).write_bytes(content)
        with pytest.raises(InputError, match=told):
            again(store, out, Range("local", start=BASE))
    (out / CONTENTS).unlink()
    with pytest.raises(InputError, match="holds something else than an export"):
        again(store, out, Range("local", start=BASE))
    assert files_of(out) == before
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="holds something else than an export"):
        again(store, tmp_path / "file")
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        again(store, tmp_path / "nowhere" / "new")
    with pytest.raises(InputError, match="no account nobody"):
        again(store, tmp_path / "new", Range("nobody"))
    assert not (tmp_path / "new").exists()


def test_two_exports_into_one_folder_are_one_after_the_other(store: StoreAndSide, tmp_path: Path) -> None:
    again(store, tmp_path / "out")
    with held(tmp_path / "out"), pytest.raises(NotNow, match="is under way"):
        again(store, tmp_path / "out")
    assert again(store, tmp_path / "out").written == 0


def test_an_export_that_is_stopped_is_mended_by_the_next(store: StoreAndSide, tmp_path: Path) -> None:
    """Also where the rows are by then what they were before it."""
    out = tmp_path / "out"
    again(store, out)
    before = {place: rows for place, (_, rows) in files_of(out).items()}
    change = "update kept.agent_segments set agentMessages = agentMessages + {}"

    def stop(what: str, done: int, _of: int) -> None:
        if what == "exporting agent segments" and done == 5:
            raise Stopped

    with store.snapshot() as cursor:
        cursor.execute(change.format(1))
        cursor.commit()
    with store.snapshot() as cursor, pytest.raises(Stopped):
        export_again(cursor, out, store.side, Range(), stop)
    with store.snapshot() as cursor:
        cursor.execute(change.format(-1))
        cursor.commit()
    assert {place: rows for place, (_, rows) in files_of(out).items()} != before
    again(store, out)
    assert {place: rows for place, (_, rows) in files_of(out).items()} == before
    assert again(store, out).written == 0


def test_what_a_killed_one_left_beside_its_contents_is_in_nobodys_way(store: StoreAndSide, tmp_path: Path) -> None:
    """`export.json` and `schema.yml` are written beside their places, in the folder itself: at first nothing else."""
    out = tmp_path / "out"
    out.mkdir()
    for files in (0, 1):
        (out / f"{STAGED}abc").write_bytes(b"{")
        assert (again(store, out).written == 0) == files
        assert not (out / f"{STAGED}abc").exists()


# --- what reads it ---------------------------------------------------------------------------------------------------


def test_readers_need_to_be_told_nothing(store: StoreAndSide, tmp_path: Path) -> None:
    """Running segments and an account of digits are among the rows; its leading zeros stay."""
    out = tmp_path / "out"
    again(store, out)
    counts = [("00123", 2, 2), ("local", 12, 12)]

    def counted(rows: Iterable[Row], name: str) -> list[tuple[str, int, int]]:
        found = [(str(row["accountId"]), row["end"]) for row in rows]
        assert {account for account, end in found if end is None} <= {"local"}, name
        return [
            (account, len(ended), len(ended))
            for account in sorted({account for account, _ in found})
            for ended in [[end for other, end in found if other == account and end is not None]]
        ]

    for name in SCHEMAS:
        place = out / name
        sql = f"""select accountId, "end" from read_parquet('{place}/*/*/*.parquet', hive_partitioning = true)"""  # noqa: S608
        assert counted(query(duckdb.connect(), sql).to_pylist(), name) == counts
        assert counted(pq.read_table(place).to_pylist(), name) == counts
        assert counted(dataset.dataset(place, partitioning="hive").to_table().to_pylist(), name) == counts
        frame = pandas.read_parquet(place)
        assert frame.loc[frame["end"].notna()].groupby("accountId", observed=True).size().to_dict() == {
            account: number for account, number, _ in counts
        }
        assert str(frame["day"].iloc[-1]) == (
            "running" if name in ("skill_segments", "queue_segments") else str(frame["end"].iloc[-1])[:10]
        )


def test_what_is_said_for_dbt_is_what_there_is(store: StoreAndSide, tmp_path: Path) -> None:
    """No table without files, which DuckDB could not read."""
    out = tmp_path / "out"
    again(store, out, Range("local"))
    (source,) = yaml.safe_load((out / "schema.yml").read_text())["sources"]
    location = source["config"]["meta"]["external_location"]
    assert location.startswith(f"read_parquet('{{{{ env_var('HANDLETIME_EXPORT', '{out}') }}}}/{{name}}/")
    tables = {table["name"]: table for table in source["tables"]}
    assert tables.keys() == {"events", *SCHEMAS}
    for name, schema in [*SCHEMAS.items(), ("events", EVENTS)]:
        columns = tables[name]["columns"]
        assert [column["name"] for column in columns] == schema.names
        assert all(len(column["description"]) > 3 for column in columns)
        tested = {column["name"] for column in columns if "not_null" in column.get("data_tests", [])}
        rows = pq.read_table(out / name, partitioning=None)
        assert tested <= {column for column in schema.names if not rows[column].null_count}
    prune(store, BASE + 40 * DAY_MS)
    store.ingest("local", events_of([an_event(BASE)]))
    again(store, out, Range("local"))
    (source,) = yaml.safe_load((out / "schema.yml").read_text())["sources"]
    assert [table["name"] for table in source["tables"]] == ["events", "skill_segments", "queue_segments"]
    prune(store, BASE + 40 * DAY_MS)
    again(store, out, Range("local"))
    (source,) = yaml.safe_load((out / "schema.yml").read_text())["sources"]
    assert source["tables"] == []
    odd = tmp_path / "it's"
    again(store, odd, Range("local"))
    assert "env_var('HANDLETIME_EXPORT') }}/{name}/" in (odd / "schema.yml").read_text()
