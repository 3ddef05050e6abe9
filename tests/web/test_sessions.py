"""Sessions: opened by their cookie alone, kept over restarts, ended for good."""

from __future__ import annotations

import random
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from handletime.web import sessions
from handletime.web.sessions import IDLE_MS, LONGEST_MS, Sessions, form_token, is_form_token

TOKEN = "ht_0123456789ab_" + "c" * 64  # one that no store has
NOW = 1_795_000_000_000


def test_a_cookie_opens_its_session_also_after_a_restart(tmp_path: Path) -> None:
    place = tmp_path / "sessions.sqlite"
    with Sessions(place) as first:
        cookie = first.begin(TOKEN, "Europe/Berlin", NOW)
        other = first.begin(TOKEN, "UTC", NOW)
    with Sessions(place) as second:
        session = second.find(cookie, NOW + 1)
        assert session is not None
        assert (session.token, session.zone) == (TOKEN, "Europe/Berlin")
        assert is_form_token(session.form_token, cookie)
        assert TOKEN not in repr(session)
        second.end(cookie)
        assert second.find(cookie, NOW + 2) is None
        assert second.find(other, NOW + 2) is not None


def test_a_form_token_holds_for_its_cookie_alone_and_is_never_the_same() -> None:
    """The same one in many compressed pages could be guessed from their lengths (BREACH)."""
    tokens = [form_token("cookie") for _ in range(100)]
    assert all(is_form_token(token, "cookie") for token in tokens)
    assert not any(is_form_token(token, "other") for token in tokens)
    for place in range(len(tokens[0]) // 8):
        assert len({token[8 * place : 8 * place + 8] for token in tokens}) > 90
    changed = [tokens[0][:-1], tokens[0] + "0", tokens[0][64:], tokens[0][:64], "", "0" * 128, "é", "x" * 128]
    assert not any(is_form_token(token, "cookie") for token in changed)


def test_neither_the_file_nor_the_cookie_gives_the_key_away(tmp_path: Path) -> None:
    place = tmp_path / "sessions.sqlite"
    with Sessions(place) as kept:
        cookie = kept.begin(TOKEN, "UTC", NOW)
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"sessions" in files
    assert TOKEN.encode() not in files
    assert cookie.encode() not in files
    assert TOKEN not in cookie


@pytest.mark.parametrize("cookie", ["", "x", "x" * 43, "é" * 43, "x" * 10_000])
def test_what_is_no_cookie_opens_nothing(cookie: str) -> None:
    with Sessions() as kept:
        kept.begin(TOKEN, "UTC", NOW)
        assert kept.find(cookie, NOW) is None


def test_a_session_ends_when_it_is_not_used_and_at_last_anyhow() -> None:
    with Sessions() as kept:
        cookie = kept.begin(TOKEN, "UTC", NOW)
        assert kept.find(cookie, NOW + IDLE_MS) is not None
        assert kept.find(cookie, NOW + 2 * IDLE_MS) is not None
        assert kept.find(cookie, NOW + 3 * IDLE_MS + 1) is None
        cookie = kept.begin(TOKEN, "UTC", NOW)
        for moment in range(NOW, NOW + LONGEST_MS, IDLE_MS):
            assert kept.find(cookie, moment) is not None
        assert kept.find(cookie, NOW + LONGEST_MS + 1) is None


def test_what_a_page_asks_for_by_itself_keeps_no_session_alive() -> None:
    with Sessions() as kept:
        cookie = kept.begin(TOKEN, "UTC", NOW)
        for moment in range(NOW, NOW + IDLE_MS, 60_001):
            assert kept.find(cookie, moment, is_use=False) is not None
        assert kept.find(cookie, NOW + IDLE_MS + 1, is_use=False) is None


def test_there_are_never_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 3)
    with Sessions() as kept:
        cookies = [kept.begin(TOKEN, "UTC", NOW + moment) for moment in range(5)]
        assert [kept.find(cookie, NOW + 10) is not None for cookie in cookies] == [False, False, True, True, True]


def test_nobody_signs_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "OF_KEY_MAX", 3)
    with Sessions() as kept:
        quiet = kept.begin("another", "UTC", NOW)
        cookies = [kept.begin(TOKEN, "UTC", NOW + 1 + moment) for moment in range(5)]
        assert [kept.find(cookie, NOW + 10) is not None for cookie in cookies] == [False, False, True, True, True]
        assert kept.find(quiet, NOW + 10) is not None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("zone", "UTD"),
        ("zone", b"\xff"),
        ("begun", NOW + 1),
        ("begun", "never"),
        ("used", "never"),
        ("sealed", b""),
        ("sealed", b"s" * 120),
        ("sealed", "text"),
    ],
)
def test_a_session_whose_row_was_changed_is_none(column: str, value: object, tmp_path: Path) -> None:
    place = tmp_path / "sessions.sqlite"
    with Sessions(place) as kept:
        cookie, other = kept.begin(TOKEN, "UTC", NOW), kept.begin(TOKEN, "UTC", NOW)
        with closing(sqlite3.connect(place, isolation_level=None)) as db:
            digest = sessions._hash(cookie)
            db.execute(f"update sessions set {column} = ? where hash = ?", (value, digest))  # noqa: S608
        assert kept.find(cookie, NOW) is None
        assert kept.find(other, NOW) is not None


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_none_is_begun_anew(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "sessions.sqlite"
    place.write_bytes(content)
    with Sessions(place) as kept:
        assert "everybody has to sign in again" in caplog.text
        assert kept.find(kept.begin(TOKEN, "UTC", NOW), NOW) is not None


def test_no_flipped_bit_is_ever_believed(tmp_path: Path, seed: int) -> None:
    place = tmp_path / "sessions.sqlite"
    with Sessions(place) as kept:
        cookie = kept.begin(TOKEN, "Europe/Berlin", NOW)
    content = place.read_bytes()
    dice = random.Random(seed)
    for _ in range(100):
        broken = bytearray(content)
        at, bit = dice.randrange(len(content)), dice.randrange(8)
        broken[at] ^= 1 << bit
        place.write_bytes(broken)
        with Sessions(place) as kept:
            found = kept.find(cookie, NOW)
            assert found is None or (found.token, found.zone) == (TOKEN, "Europe/Berlin"), (at, bit)
            assert kept.find(kept.begin(TOKEN, "UTC", NOW), NOW) is not None, (at, bit)
        for end in ("-wal", "-shm"):
            place.with_name(place.name + end).unlink(missing_ok=True)


def test_a_file_whose_header_forbids_writing_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Byte 18 is the version that a program must know to write (sqlite.org/fileformat2.html, 1.3.1)."""
    place = tmp_path / "sessions.sqlite"
    with Sessions(place) as kept:
        kept.begin(TOKEN, "UTC", NOW)
    content = bytearray(place.read_bytes())
    content[18] |= 0x80
    place.write_bytes(content)
    with Sessions(place) as kept:
        assert kept.find(kept.begin(TOKEN, "UTC", NOW), NOW) is not None
    assert "readonly" in caplog.text
    assert "everybody has to sign in again" in caplog.text
