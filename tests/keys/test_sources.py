"""Sources that are kept in the side file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from handletime.keys.keys import create
from handletime.keys.sealing import open_secret
from handletime.keys.sidefile import SideFile
from handletime.keys.sources import KeptSource, keep_source, kept_sources, remove_source, source_names

ONE = KeptSource("acme", "chatwoot", b'{"kind":"chatwoot"}', "made-up-secret")


def test_a_source_is_kept_in_place_of_an_older_one(tmp_path: Path) -> None:
    with SideFile(tmp_path) as side:
        before = side.key_changes()
        keep_source(side, ONE._replace(secret="an-older-secret"))  # noqa: S106
        keep_source(side, ONE)
        keep_source(side, ONE._replace(account="other"))
        assert side.key_changes() > before
        assert kept_sources(side, open_secret(side)) == [ONE, ONE._replace(account="other")]
        assert source_names(side) == [("acme", "chatwoot"), ("other", "chatwoot")]
        assert remove_source(side, "other", "chatwoot")
        assert not remove_source(side, "other", "chatwoot")
        assert source_names(side) == [("acme", "chatwoot")]
    assert b"made-up-secret" not in (tmp_path / "side.sqlite").read_bytes()
    assert "made-up-secret" not in repr(ONE)


def test_a_source_whose_row_was_changed_is_refused_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SideFile(tmp_path) as side:
        create(side, "acme")
        keep_source(side, ONE)
        with side.writing() as db:
            db.execute("UPDATE sources SET account = 'other'")
        with caplog.at_level(logging.WARNING):
            assert kept_sources(side, open_secret(side)) == []
    assert "source chatwoot is refused" in caplog.text
