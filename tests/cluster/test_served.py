"""A store is exported, derived on Spark, and served from the tables: the answers are those of the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from handletime.clock import SystemClock
from handletime.cluster import derive
from handletime.lake import keys as file_keys
from handletime.store import keys as store_keys
from handletime.store.opening import StoreSettings
from handletime.store.sidefile import SideFile
from handletime.store.store import Store
from tests.crash.nursery import Nursery
from tests.lake.conftest import ACCOUNTS, Places, Site, lake_server, listening, made_events, of_account
from tests.lake.test_same_answers import ASKED, names, units_by_hour, without_place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.requires_command("java"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]
BREAKDOWN = "/api/account/{account}/agent-segments/breakdown?source=test&from={start}&to={end}"


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
