"""Streams of events cut in requests, and what a store should hold of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from handletime.answers.relations import Snapshot
from handletime.keys.sidefile import SideFile
from handletime.segments.derive import derive
from handletime.segments.files import SCHEMAS
from handletime.segments.tables import MOMENTS, RUNNING_QUEUE_SEGMENTS
from handletime.store.now import running_rows
from handletime.store.opening import StoreSettings
from handletime.store.requests import Request
from handletime.store.schema import QUEUES
from handletime.store.store import Store
from tests.messy_streams import RawEvent, messy_stream
from tests.segments.tables import Row, events_of, in_order, rows_of

SMALL = StoreSettings(memory_bytes=256 << 20, threads=1)
Key = tuple[str, str, str]
Tables = dict[str, list[Row]]


class StoreAndSide(Store):
    """A store and its side file, closed together."""

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        self.side = SideFile(folder)
        try:
            super().__init__(folder, self.side, settings)
        except BaseException:
            self.side.close()
            raise

    def close(self) -> None:
        """Closes both."""
        super().close()
        self.side.close()


def a_store(folder: Path, settings: StoreSettings = SMALL) -> StoreAndSide:
    """The store of a folder, which is made if need be."""
    folder.mkdir(exist_ok=True)
    return StoreAndSide(folder, settings)


def without_journal(folder: Path) -> None:
    """Makes a closed store one of before there was a journal; its tables' version has to be set back too."""
    (folder / "journal.sqlite").unlink()
    with SideFile(folder) as side:
        side.set_last_entry(0)
    with duckdb.connect(str(folder / "store.duckdb")) as file:
        file.execute("drop table kept.ahead")
        file.execute("alter table kept.meta drop column folded")
        file.execute("create index conversations_by_key on kept.conversations (key)")


def account_of(event: RawEvent) -> str:
    return str(event.get("accountId") or "local")


def key_of(event: RawEvent) -> Key:
    return account_of(event), str(event["conversationId"]), str(event["eventId"])


def a_stream(seed: int) -> list[RawEvent]:
    """A messy stream in some order of arrival; its size depends on the seed."""
    events = messy_stream(seed, events=60 + seed % 7 * 30, conversations=1 + seed % 9, accounts=1 + seed % 3)
    if seed % 2:
        random.Random(seed).shuffle(events)
    return events


def revision_of(event: RawEvent) -> int:
    return int(str(event.get("revision") or 0))


def take_what_stands(standing: dict[Key, RawEvent], events: Iterable[RawEvent]) -> int:
    """Brings up to date which copies stand in a store: of the highest revision the first that came.

    Gives how many of the events were stored when they came.
    """
    stored = 0
    for event in events:
        known = standing.get(key_of(event))
        if known is None or revision_of(known) < revision_of(event):
            standing[key_of(event)] = event
            stored += 1
    return stored


def standing_copies(events: Iterable[RawEvent]) -> list[RawEvent]:
    """The copies that stand in a store after all events."""
    standing: dict[Key, RawEvent] = {}
    take_what_stands(standing, events)
    return list(standing.values())


def in_batches(events: list[RawEvent], seed: int) -> Iterator[list[RawEvent]]:
    """Neighbours, a random number at a time, without two copies of one event (which a table has in no order)."""
    dice = random.Random(seed)
    batch: dict[Key, RawEvent] = {}
    size = 1
    for event in events:
        if len(batch) >= size or key_of(event) in batch:
            yield list(batch.values())
            batch, size = {}, dice.choice((1, 3, 17, 60))
        batch[key_of(event)] = event
    yield list(batch.values())


def requests_of(events: Iterable[RawEvent]) -> list[Request]:
    """One request for each account, in order of arrival."""
    by_account: dict[str, list[RawEvent]] = {}
    for event in events:
        by_account.setdefault(account_of(event), []).append(event)
    return [Request(account, events_of(mine)) for account, mine in by_account.items()]


def derived_rows(events: Iterable[RawEvent]) -> Tables:
    """What follows from events, derived all at once; in an order of its own."""
    derived = derive(events_of(events))
    return {name: in_order(rows_of(getattr(derived, name))) for name in SCHEMAS}


def of_account(tables: Tables, account: str) -> Tables:
    return {name: [row for row in rows if row["accountId"] == account] for name, rows in tables.items()}


def stored_rows(store: Store, account: str) -> Tables:
    """What a store says of an account: the rows that it keeps, and those that it derives of what is running."""
    ended, running = ended_rows(store, account), running_rows_of(store, account)
    with store.reader(account).snapshot() as snapshot:
        queued = in_order(rows_of(seen(snapshot, "running_queue_segments", RUNNING_QUEUE_SEGMENTS.names)))
    assert in_order(queued, like=known_of(running["queue_segments"])) == in_order(known_of(running["queue_segments"]))
    return {name: in_order([*ended[name], *running[name]]) for name in SCHEMAS}


def known_of(queues: list[Row]) -> list[Row]:
    """What is stored of queue segments that run, too."""
    return [{name: value for name, value in row.items() if name in RUNNING_QUEUE_SEGMENTS.names} for row in queues]


def ended_rows(store: Store, account: str) -> Tables:
    """What a reader of an account sees, with the columns of `segments.tables`: only segments that have ended.

    A handle time that is unknown is 0 in a store, and null in the tables.
    """
    with store.reader(account).snapshot() as connection:
        rows = {name: rows_of(seen(connection, name, schema.names)) for name, schema in SCHEMAS.items()}
    assert all(row["end"] is not None for found in rows.values() for row in found)
    assert {row["segmentId"] for row in rows["handle_time_units"]} <= {
        row["segmentId"] for row in rows["agent_segments"]
    }
    unknown = [row for row in rows["agent_segments"] if not row["focusData"]]
    assert {row["totalHandleTimeMillis"] for row in unknown} <= {0}
    for row in unknown:
        row["totalHandleTimeMillis"] = None
    return {name: in_order(found) for name, found in rows.items()}


def without_moments(file: duckdb.DuckDBPyConnection) -> None:
    """Makes a file one of version 5, whose agent segments have no `MOMENTS`."""
    for column in MOMENTS:
        file.execute(f"alter table kept.agent_segments drop column {column}")
    file.execute("drop table kept.outdated")
    file.execute("create table kept.without_queues (number bigint, account integer)")
    file.execute("update kept.meta set version = 5")


def without_queues(file: duckdb.DuckDBPyConnection) -> None:
    """Makes a file one of version 4, which has no queue segments either."""
    without_moments(file)
    for table in (*QUEUES, "without_queues"):
        file.execute(f"drop table kept.{table}")
    for name in ("queue_follows", "queue_end", "queue_user_type"):
        file.execute(f"drop type kept.{name}")
    file.execute("alter table kept.open_conversations drop column skillId")
    file.execute("update kept.meta set version = 4")


def running_rows_of(store: Store, account: str) -> Tables:
    """What is running in an account, derived when asked for: segments without an end, and their units."""
    rows: Tables = {name: [] for name in SCHEMAS}
    with store.snapshot() as cursor:
        numbers = cursor.execute("select account from kept.accounts where accountId = ?", [account]).fetchall()
        for (number,) in numbers:
            for part in running_rows(cursor, number, account):
                for name, schema in SCHEMAS.items():
                    rows[name] += rows_of(part[name].select(schema.names))
    assert all(row["end"] is None for name in ("agent_segments", "skill_segments") for row in rows[name])
    return {name: in_order(found) for name, found in rows.items()}


def seen(snapshot: Snapshot, name: str, columns: list[str]) -> pa.Table:
    names = ", ".join(f'"{column}"' for column in columns)
    return snapshot.table(f"select {names} from {name}")  # noqa: S608
