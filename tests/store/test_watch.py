"""Long work that is told to stop."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from handletime.store.watch import Stopped, Watch
from tests.store.worlds import a_store


def test_a_query_can_be_stopped(tmp_path: Path) -> None:
    watch = Watch()
    with a_store(tmp_path) as store:
        timer = threading.Timer(0.3, watch.stop)
        timer.start()
        with pytest.raises(Stopped), store.snapshot(watch) as cursor:
            cursor.execute("select count(*) from range(1000000000000)").fetchall()
        timer.join()
        with store.snapshot() as cursor:
            assert cursor.execute("select 1").fetchall() == [(1,)]
