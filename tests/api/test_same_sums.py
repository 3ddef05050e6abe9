"""One truth: the sums of exported tables, of the report, of LivePerson's methods and of the page are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import pytest

from handletime.answers.figures import figures_of
from handletime.answers.intervals import clock_bounds
from handletime.answers.registry import METRICS
from handletime.answers.selection import Selection
from handletime.api.ports import Store as StoreOfTheMethods
from handletime.keys.sidefile import SideFile
from handletime.store.store import Store
from handletime.upkeep.exports import Range, export
from tests.api.world import NOW, World
from tests.messy_streams import messy_stream
from tests.store.worlds import account_of, requests_of, standing_copies

DAY = 86_400_000
Row = dict[str, Any]
WITHIN = f""""end" >= make_timestamp_ms({NOW - DAY}) and "end" < make_timestamp_ms({NOW})"""
TABLES = {
    "agent_segments": {
        "totalAgentConversationSegments": "count(*)",
        "agentMessages": "sum(agentMessages)",
        "interactiveAgentSegments": "count(*) filter (outcome = 'interactive')",
        "agentSegmentsAbandonedByConsumers": "count(*) filter (outcome = 'abandoned')",
        "responseMillis": "sum(list_sum(responseMillis))",
        "responseCount": "sum(len(responseMillis))",
        "firstResponseMillis": "sum(firstResponseMillis)",
        "segmentsWithFocusData": "count(*) filter (focusData and userType = 'human')",
        "totalHandleTimeMillis": "sum(totalHandleTimeMillis) filter (userType = 'human')",
    },
    "skill_segments": {
        "totalSkillConversationSegments": "count(*)",
        "skillSegmentsAbandonedByConsumersInQueue": "count(*) filter (abandonedInQueue)",
    },
    "queue_segments": {
        "totalQueueSegments": "count(*)",
        "queueSegmentsAbandonedByConsumers": "count(*) filter (endReason = 'closedByConsumer')",
        "totalQueueWaitMillis": "sum(epoch_ms(\"end\") - epoch_ms(start)) filter (endReason = 'assigned')",
        "longestQueueWaitMillis": "max(epoch_ms(\"end\") - epoch_ms(start)) filter (endReason = 'assigned')",
    },
}
"""Metrics, and how somebody would work them out of an exported table."""


class Served(NamedTuple):
    """A server over a store with some events, its exported folder, and an account."""

    world: World
    store: Store
    exported: Path
    account: str

    def report(self, query: str) -> list[Row]:
        """The rows of a report of the last day."""
        path = f"/api/account/{self.account}/report{query}"
        rows: list[Row] = self.world.get(path, self.account).raise_for_status().json()
        return rows

    def rows(self, table: str, by: str) -> dict[int, Row]:
        """What follows from an exported table, by skill or in all."""
        terms = ", ".join(f'coalesce({term}, 0) as "{name}"' for name, term in TABLES[table].items())
        files = self.exported / table / "*" / "*" / "*.parquet"
        sql = f"""select {by} as key, {terms} from read_parquet('{files}', hive_partitioning = true)
            where accountId = '{self.account}' and {WITHIN} group by all order by key"""  # noqa: S608
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            found = connection.sql(sql).to_arrow_table()
        return {row["key"]: row for row in found.to_pylist()}


@pytest.fixture(scope="module", params=[3, 11, 14])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("sums")
    events = standing_copies(messy_stream(request.param, accounts=2, events=900, conversations=60))
    (folder / "store").mkdir()
    with SideFile(folder / "store") as side, Store(folder / "store", side) as store:
        for one in requests_of(events):
            store.ingest(one.account, one.events)
        with store.snapshot() as cursor:
            export(cursor, folder / "out", side, Range())
        fits: StoreOfTheMethods = store
        with World(real=fits) as world:
            yield Served(world, store, folder / "out", Counter(map(account_of, events)).most_common(1)[0][0])


def test_exported_tables_add_up_to_the_report(served: Served) -> None:
    by_skill = {row["skillId"]: row for row in served.report("?by=skill")}
    (total,) = served.report("")
    assert total["totalAgentConversationSegments"] > 20
    assert total["totalQueueSegments"] > 20
    for table, terms in TABLES.items():
        found = served.rows(table, "skillId")
        assert found
        for skill, row in found.items():
            told = {name: by_skill[skill][name] or 0 for name in terms}
            assert told == {name: row[name] for name in terms}, (table, skill)
        (every,) = served.rows(table, "0").values()
        assert {name: total[name] or 0 for name in terms} == {name: every[name] for name in terms}


def test_rows_of_a_report_add_up_at_every_grain(served: Served) -> None:
    """Counts and sums, over skills, agents and hours, and handle time split at the borders of hours."""
    (total,) = served.report("")
    hours = served.report("?by=skill&interval=hour")
    for name in (
        "totalSkillConversationSegments",
        "totalQueueSegments",
        "totalQueueWaitMillis",
        "totalHandleTimeMillis",
    ):
        assert sum(row[name] or 0 for row in hours) == total[name]
    by_agent = served.report("?by=agent,group,source,userType,skill&interval=30")
    for name in ("totalAgentConversationSegments", "agentSegmentDurationMillis", "totalHandleTimeMillis"):
        assert sum(row[name] or 0 for row in by_agent) == total[name]
    split = [sum(row["handleTimeInIntervalMillis"] or 0 for row in rows) for rows in (hours, by_agent, [total])]
    assert len({*split}) == 1


def test_livepersons_methods_and_the_page_say_the_same(served: Served) -> None:
    (total,) = served.report("")
    base = f"/operations/api/account/{served.account}"
    for path, of in (("msgagentsegments", ("agentsMetrics",)), ("msgskillsegments", ())):
        answer = served.world.get(f"{base}/{path}?v=1&timeframe=1440", served.account).raise_for_status().json()
        for level in of:
            answer = answer[level] if "metricsTotal" not in answer else answer
        for name, value in answer["metricsTotal"].items():
            key = f"skillSegments.{name}" if path == "msgskillsegments" and f"skillSegments.{name}" in METRICS else name
            assert value == (-1 if total[key] is None else pytest.approx(total[key])), name
    # The page's tiles and tables are these figures.
    of_page = Selection(clock_bounds(NOW - DAY, NOW, "day", ZoneInfo("UTC")))
    with served.store.reader(served.account).snapshot() as snapshot:
        shown = figures_of(snapshot, METRICS.values(), (), of_page)[()]
    for key, value in shown.items():
        assert value == total[key] or (value == -1 and total[key] is None), key
