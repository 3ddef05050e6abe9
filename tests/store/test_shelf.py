"""The shelf of made files: whole, or not there, whatever became of its rows.

Covers: store/cachefile.
"""

from __future__ import annotations

import logging
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from handletime.errors import NotNow
from handletime.store.shelf import KEPT_MILLIS, NewFile, Shelf, ShelvedFile

FILES = [NewFile(f"/file{number}", b"units" * 50 + bytes([number]), [f"c{number}", "d"]) for number in range(3)]
PATHS = [file.path for file in FILES]


def kept(file: NewFile) -> ShelvedFile:
    return ShelvedFile(file.content, list(file.conversations))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A shelf with an hour of three files, and another hour of one."""
    place = tmp_path / "shelf.sqlite"
    shelf = Shelf(place)
    assert shelf.put("local", 7, "print", 1000, FILES) == PATHS
    shelf.put("local", 8, "print", 1001, [NewFile("/other", b"other", ["d"])])
    shelf.close()
    return place


def change(place: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(place, isolation_level=None)) as db:
        assert db.execute(sql, values).rowcount == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("path", "/filf1"),
        ("account", "rival"),
        ("hour", 8),
        ("sha256", b"s" * 32),
        ("sha256", "other"),
        ("conversations", b"none"),
        ("content", b"other"),
        ("content", "other"),
    ],
)
def test_a_changed_row_is_never_shown_and_its_hour_made_again(column: str, value: object, place: Path) -> None:
    change(place, f"update files set {column} = ? where path = '/file1'", value)  # noqa: S608
    shelf = Shelf(place)
    assert shelf.find("local", "/file1") is None
    assert shelf.find("rival", "/file1") is None
    assert [shelf.find("local", file.path) for file in (FILES[0], FILES[2])] == [kept(FILES[0]), kept(FILES[2])]
    assert len(shelf.problems()) == 1
    body = column in ("conversations", "content")
    # What is listed says nothing of what is in it; that is found when it is fetched.
    assert shelf.current("local", 7, "print") == (PATHS if body else [])
    assert shelf.current("local", 8, "print") == ([] if column == "hour" else ["/other"])
    anew = [NewFile(f"{file.path}-anew", *file[1:]) for file in FILES]
    assert shelf.current("local", 7, "print") or shelf.put("local", 7, "print", 3000, anew)
    shelf.close()


@pytest.mark.parametrize(("column", "value"), [("replaced", 5), ("hour_sha256", b"h" * 32), ("hour_sha256", "other")])
def test_an_hour_that_does_not_fit_its_files_is_made_again(column: str, value: object, place: Path) -> None:
    change(place, f"update files set {column} = ? where path = '/file1'", value)  # noqa: S608
    shelf = Shelf(place)
    assert shelf.current("local", 7, "print") == []
    assert [shelf.find("local", file.path) for file in FILES] == [kept(file) for file in FILES]
    anew = [NewFile(f"{file.path}-anew", *file[1:]) for file in FILES]
    assert shelf.put("local", 7, "print", 3000, anew) == shelf.current("local", 7, "print")
    shelf.close()


def test_an_hour_that_has_lost_a_file_is_made_again(place: Path) -> None:
    change(place, "delete from files where path = '/file1'")
    shelf = Shelf(place)
    assert shelf.current("local", 7, "print") == []
    anew = [NewFile(f"{file.path}-anew", *file[1:]) for file in FILES]
    assert shelf.put("local", 7, "print", 3000, anew) == shelf.current("local", 7, "print")
    assert shelf.find("local", "/file0") == kept(FILES[0])
    assert shelf.problems() == []
    shelf.put("local", 9, "print", 3001 + KEPT_MILLIS, [])
    assert shelf.find("local", "/file0") is None
    shelf.close()


def test_what_is_forgotten_is_in_no_damaged_file_either(place: Path) -> None:
    change(place, "update files set conversations = x'00' where path = '/file1'")
    shelf = Shelf(place)
    shelf.forget("local", ["c1"])
    assert b"/file1" not in place.read_bytes()
    assert shelf.current("local", 7, "print") == []
    assert shelf.find("local", "/file2") == kept(FILES[2])
    shelf.close()


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(5000), bytes(100)])
def test_a_file_that_is_no_shelf_is_begun_anew(content: bytes, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    place.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        shelf = Shelf(place)
    assert "begun anew" in caplog.text
    assert shelf.current("local", 7, "print") == []
    assert shelf.put("local", 7, "print", 1000, FILES) == PATHS
    assert shelf.find("local", "/file1") == kept(FILES[1])
    shelf.close()


def test_a_shelf_of_an_older_version_is_begun_anew(tmp_path: Path) -> None:
    place = tmp_path / "shelf.sqlite"
    with closing(sqlite3.connect(place, isolation_level=None)) as db:
        db.execute("create table files (path text primary key, content blob)")
    shelf = Shelf(place)
    assert shelf.put("local", 7, "print", 1000, FILES) == PATHS
    shelf.close()
    shelf = Shelf(place)
    assert shelf.current("local", 7, "print") == PATHS
    shelf.close()


def test_no_flipped_bit_is_ever_shown(place: Path, seed: int) -> None:
    content = place.read_bytes()
    dice = random.Random(seed)
    for _ in range(100):
        broken = bytearray(content)
        at, bit = dice.randrange(len(content)), dice.randrange(8)
        broken[at] ^= 1 << bit
        place.write_bytes(broken)
        shelf = Shelf(place)
        assert shelf.current("local", 7, "print") in ([], PATHS), (at, bit)
        assert shelf.current("local", 8, "print") in ([], ["/other"]), (at, bit)
        for file in FILES:
            assert shelf.find("local", file.path) in (None, kept(file)), (at, bit)
        anew = [NewFile(f"{file.path}-anew", *file[1:]) for file in FILES]
        assert shelf.put("local", 7, "anew", 3000, anew) == shelf.current("local", 7, "anew"), (at, bit)
        assert [shelf.find("local", file.path) for file in anew] == [kept(file) for file in anew], (at, bit)
        shelf.close()
        for end in ("-wal", "-shm"):
            place.with_name(place.name + end).unlink(missing_ok=True)


def test_files_of_one_account_are_made_one_after_the_other_and_other_accounts_do_not_wait() -> None:
    shelf = Shelf()
    busy = pytest.raises(NotNow, match="files of this account")
    with shelf.making("local"), shelf.making("rival", 0.0), busy, shelf.making("local", 0.01):
        pass
    with shelf.making("local", 0.0):
        pass
