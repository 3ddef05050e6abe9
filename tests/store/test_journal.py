"""The journal: what was appended is there, whole and in order, or it is said what is missing."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from handletime.errors import StoreError
from handletime.store import journal
from handletime.store.journal import FILE, ROW, Entry, Journal


def an_entry(number: int, events: int = 3, account: str = "A") -> Entry:
    columns = {
        "conversationId": [f"c{place}" for place in range(events)],
        "eventId": [f"{number}-{place}" for place in range(events)],
        "time": list(range(events)),
        "sequence": [0] * events,
        "type": [0] * events,
        "revision": [0] * events,
    }
    return Entry(
        number, account, pa.table({f.name: pa.array(columns.get(f.name, [None] * events), f.type) for f in ROW})
    )


def test_what_was_appended_is_there_in_order_after_a_start(tmp_path: Path) -> None:
    entries = [an_entry(1), an_entry(2, 1, "B"), an_entry(5, 7)]
    with Journal(tmp_path) as open_:
        open_.append(entries[:2])
        open_.append(entries[2:])
    with Journal(tmp_path) as open_:
        assert open_.numbers() == [1, 2, 5]
        assert list(open_.entries()) == entries
        assert open_.problems() == []
        open_.drop(1, [5])
    with Journal(tmp_path) as open_:
        assert list(open_.entries()) == entries[1:2]


def test_an_entry_of_many_events_is_kept_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PART_ROWS", 4)
    with Journal(tmp_path) as open_:
        open_.append([an_entry(7, 10), an_entry(8, 4)])
        assert [entry.events.to_pylist() for entry in open_.entries()] == [
            an_entry(7, 10).events.to_pylist(),
            an_entry(8, 4).events.to_pylist(),
        ]
        open_.drop(7)
        assert open_.numbers() == [8]


def test_an_entry_that_nobody_was_told_of_gives_way(tmp_path: Path) -> None:
    """Its number is used again where it could not be kept that it was acknowledged."""
    with Journal(tmp_path) as open_:
        open_.append([an_entry(1), an_entry(2), an_entry(3)])
        open_.append([an_entry(2, 5)])
        assert [(entry.number, entry.events.num_rows) for entry in open_.entries()] == [(1, 3), (2, 5)]


def test_what_was_dropped_is_not_left_in_the_files_once_they_are_wiped(tmp_path: Path) -> None:
    with Journal(tmp_path) as open_:
        open_.append([an_entry(1, account="whose-name-nobody-may-see"), an_entry(2)])
        open_.drop(1)
        open_.wipe()
        content = b"".join(path.read_bytes() for path in tmp_path.glob(f"{FILE}*"))
        assert b"whose-name-nobody-may-see" not in content
        assert open_.numbers() == [2]


def change(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as db:
        db.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "update parts set events = zeroblob(length(events)) where id = (select max(id) from parts)",
        "update parts set account = 'B' where id = (select min(id) from parts)",
        "update parts set id = id + 65536 where id = (select max(id) from parts)",
        "delete from parts where id = (select min(id) from parts)",
        "delete from parts where id = (select max(id) from parts)",
    ],
)
def test_a_row_that_was_changed_or_lost_is_told(sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PART_ROWS", 2)
    with Journal(tmp_path) as open_:
        open_.append([an_entry(1, 4)])
    change(tmp_path, sql)
    with Journal(tmp_path) as open_:
        assert "is damaged" in open_.problems()[0]
        with pytest.raises(StoreError, match="is damaged"):
            list(open_.entries())


def test_another_file_and_a_newer_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"x" * 20_000)
    with pytest.raises(StoreError, match=FILE):
        Journal(tmp_path)
    (tmp_path / FILE).unlink()
    Journal(tmp_path).close()
    change(tmp_path, "pragma user_version = 99")
    with pytest.raises(StoreError, match="newer handletime"):
        Journal(tmp_path)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_is_taken_away_is_seen_by_the_next_entry(how: str, tmp_path: Path) -> None:
    with Journal(tmp_path) as open_:
        open_.append([an_entry(1)])
        (tmp_path / FILE).rename(tmp_path / "away")
        if how == "replaced":
            (tmp_path / FILE).write_bytes((tmp_path / "away").read_bytes())
        with pytest.raises(StoreError, match="removed or replaced"):
            open_.append([an_entry(2)])


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Journal(tmp_path).close()
    finally:
        os.umask(before)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
