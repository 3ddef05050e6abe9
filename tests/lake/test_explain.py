"""Conversations are explained from the events, wherever these lie, as over a store."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from handletime.cli.lake_server import files_of
from handletime.errors import NotHere
from handletime.lake.lake import Lake, LakeSettings
from handletime.segments.explain import Explanation, explain
from handletime.segments.parts import prepare
from tests.lake.conftest import ACCOUNTS, DAY, Places, of_account
from tests.store.worlds import a_store

ONE = LakeSettings(threads=1)


def plain(events: pa.Table) -> pa.Table:
    """Events as other programs write them: closed lists as strings, times with microseconds."""
    columns = {}
    for field in events.schema:
        column = events[field.name]
        if pa.types.is_dictionary(field.type):
            column = column.cast(pa.string())
        elif pa.types.is_timestamp(field.type):
            column = column.cast(pa.timestamp("us", tz="UTC"))
        columns[field.name] = column
    return pa.table(columns)


def written(events: pa.Table, form: str, folder: Path, exported: Path) -> Path:
    """A place with all events in some form."""
    if form == "export":
        return exported
    if form == "delta":
        write_deltalake(folder, plain(events), partition_by=["accountId"])
    elif form == "delta without partitions":
        write_deltalake(folder, plain(events))
    else:
        folder.mkdir()
        half = events.num_rows // 2
        pq.write_table(plain(events.slice(0, half)), folder / "a.parquet")
        # Columns that other files have, and one that is nobody's business.
        rest = plain(events.slice(half)).drop_columns(["source"])
        pq.write_table(rest.append_column("text", pa.array(["secret"] * rest.num_rows)), folder / "b.parquet")
    return folder


def explained(lake: Lake, account: str, conversation: str) -> Explanation:
    prepared = lake.reader(account).prepared(conversation)
    assert prepared is not None
    assert "text" not in prepared.events.column_names
    return explain(prepared, account, conversation)


@pytest.mark.parametrize("form", ["export", "delta", "delta without partitions", "files"])
def test_a_conversation_is_explained_as_all_events_say(form: str, places: Places, tmp_path: Path) -> None:
    """Its agents looked elsewhere in between: that is known from the tables."""
    folder = written(places.events, form, tmp_path / "events", places.exported)
    seen = 0
    with Lake(places.lake, ONE, events=partial(files_of, folder), events_folder=folder) as lake:
        for account in ACCOUNTS:
            mine = of_account(places.events, account)
            if form == "files":
                mine = mine.set_column(
                    mine.schema.get_field_index("source"), "source", pa.nulls(mine.num_rows, pa.string())
                )
            everything = prepare(mine)
            for conversation in mine["conversationId"].unique().to_pylist()[:4]:
                found, expected = explained(lake, account, conversation), explain(everything, account, conversation)
                seen += sum(moment.type == "focusLost" for moment in found.moments)
                if form == "files":
                    _without_source(found)
                assert found == expected
            assert lake.reader(account).prepared("none") is None
    assert seen, "no focus was lost to another conversation"


def _without_source(explanation: Explanation) -> None:
    for moment in explanation.moments:
        moment.detail.pop("source", None)
    for segment in (*explanation.agent_segments, *explanation.queue_segments):
        segment["source"] = None


def test_there_may_be_no_events_of_an_account(places: Places) -> None:
    with Lake(places.lake, ONE, events=partial(files_of, places.exported), events_folder=places.exported) as lake:
        assert lake.reader("nobodys").prepared("c") is None


def test_without_events_it_says_so(places: Places) -> None:
    with Lake(places.lake, ONE) as lake, pytest.raises(NotHere, match="without --events"):
        lake.reader("north").prepared("c")


NEWEST_END = """
    select max(epoch_ms("end")) from (select "end" from agent_segments
        union all select "end" from skill_segments union all select "end" from queue_segments)"""


def test_where_an_agents_focus_was_is_known_as_far_as_the_run_knows_it(places: Places, tmp_path: Path) -> None:
    told = 0
    with Lake(places.lake, ONE) as lake, a_store(tmp_path / "store") as store:
        for account in ACCOUNTS:
            store.ingest(account, of_account(places.events, account))
            mine = of_account(places.events, account)
            times = mine["time"].cast(pa.int64())
            moves = mine.filter(pc.is_in(mine["type"].cast(pa.string()), pa.array(["focused", "unfocused"])))
            last = pc.max(moves["time"].cast(pa.int64())).as_py()
            low, high = pc.min(times).as_py(), pc.max(times).as_py() + DAY
            with store.reader(account).snapshot() as rows:
                (ended,) = rows.execute(NEWEST_END).fetchone() or (0,)
            for agent in moves["agentId"].unique().to_pylist():
                for start in (low, (low + last) // 2):
                    expected = store.reader(account).focus(agent, start, last)
                    assert lake.reader(account).focus(agent, start, last) == expected
                    # What comes later than all that the run has is not made up.
                    known = store.reader(account).focus(agent, start, max(last, ended))
                    assert lake.reader(account).focus(agent, start, high) == known
                    told += len(expected)
        assert told > 100
        assert lake.reader("nobodys").focus(1, 0, DAY) == []
