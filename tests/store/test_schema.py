"""How a store of an older version is brought up to date."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from handletime.segments.tables import MOMENTS
from handletime.store.arrow import insert, query, registered
from handletime.store.now import running_rows
from handletime.store.schema import MIGRATIONS, version_of
from handletime.upkeep.check import check
from handletime.upkeep.deriving import bring_up_to_date
from handletime.upkeep.rebuild import rebuild
from tests.messy_streams import messy_stream
from tests.store.worlds import (
    a_store,
    account_of,
    ended_rows,
    requests_of,
    standing_copies,
    stored_rows,
    without_journal,
    without_queues,
)


@pytest.mark.parametrize("seed", range(0, 30, 3))
def test_a_store_with_rows_of_running_segments_becomes_todays(tmp_path: Path, seed: int) -> None:
    """It loses them and their units, knows which conversations are open, and goes on with what comes."""
    events = standing_copies(messy_stream(seed, accounts=2, events=300, conversations=20))
    accounts = sorted({account_of(event) for event in events})
    with a_store(tmp_path) as store:
        for request in requests_of(events[:250]):
            store.ingest(request.account, request.events)
        said = {account: (ended_rows(store, account), stored_rows(store, account)) for account in accounts}
        with store.snapshot() as cursor:
            running = running_of(cursor)
    assert all(table.num_rows for table in running.values())
    make_second_version(tmp_path / "store.duckdb", running)
    without_journal(tmp_path)
    with a_store(tmp_path) as store:
        bring_up_to_date(store)
        assert said == {account: (ended_rows(store, account), stored_rows(store, account)) for account in accounts}
        assert rebuild(store).differences == 0
        assert check(store) == []
        with store.snapshot() as cursor:
            assert version_of(cursor) == len(MIGRATIONS)
        for request in requests_of(events[250:]):
            store.ingest(request.account, request.events)
        assert rebuild(store).differences == 0


def running_of(cursor: duckdb.DuckDBPyConnection) -> dict[str, pa.Table]:
    """What is running, in all accounts."""
    accounts = cursor.execute("select account, accountId from kept.accounts").fetchall()
    parts = [part for account in accounts for part in running_rows(cursor, *account)]
    return {name: pa.concat_tables([part[name] for part in parts]).unify_dictionaries() for name in parts[0]}


def make_second_version(path: Path, running: dict[str, pa.Table]) -> None:
    """Makes a file one of version 2, which has rows of running segments and their units."""
    with (
        duckdb.connect(str(path)) as file,
        registered(file, a=running["agent_segments"], s=running["skill_segments"], u=running["handle_time_units"]),
    ):
        without_queues(file)
        for name, rows in SECOND.items():
            sql = f"select * exclude (accountId) from ({rows}) join kept.accounts using (accountId)"  # noqa: S608
            insert(file, f"kept.{name}", query(file, sql))
        file.execute("drop table kept.open_conversations")
        file.execute("update kept.meta set version = 2")


_A = f"""
    select a.* exclude (segmentId, focusData, {", ".join(MOMENTS)}), arrival as started
    from a join kept.events e on e.number = a.number and eventId = assignedEventId"""  # noqa: S608
SECOND = {
    "agent_segments": _A,
    "skill_segments": """
        select s.*, (select min(arrival) from kept.events e where e.number = s.number and time = epoch_ms(start))
            as started from s""",
    "handle_time_units": f"select u.* exclude (conversationId, segmentId), started from u join ({_A}) using (number)",  # noqa: S608
}
"""Rows as version 2 has them: named by the arrival of the event that starts the segment."""
