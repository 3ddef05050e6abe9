"""`lake.tables`: a run is all there or not at all, and of two at once only one wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from handletime.errors import InputError, NotHere
from handletime.lake import tables
from handletime.lake.lake import Lake
from handletime.lake.tables import COLUMNS, File, Run, StartedRun, begin, commit, files, finish, runs, vacuum
from handletime.segments.derive import derive
from handletime.segments.tables import MOMENTS
from tests.lake.maker import partitions, stored, write, write_run
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of

NAMES = [*COLUMNS]
Files = Mapping[str, Sequence[File]]


def written(lake: Path, begun: StartedRun, seed: int) -> tuple[Files, int]:
    """The files of a run that is not committed yet, and how many agent segments it has."""
    events = events_of(messy_stream(seed, events=200))
    made = {
        name: [write(lake / name, name, key, part, begun.number, 1) for key, part in partitions(name, rows)]
        for name, rows in stored(events).items()
    }
    return made, derive(events).agent_segments.num_rows


def committed(lake: Path, begun: StartedRun, made: Files, names: Sequence[str]) -> dict[str, int]:
    """Tables committed one after the other, in the place of what the last run had."""
    before = begun.last.versions if begun.last else {}
    return {
        name: commit(lake, name, begun, made[name], files(lake, name, before[name]) if before else []) for name in names
    }


def go_on(lake: Path, begun: StartedRun, made: Files, versions: Mapping[str, int], names: Sequence[str]) -> None:
    """The other tables, and the end."""
    finish(lake, begun, Run(begun.number, 3000, {**versions, **committed(lake, begun, made, names)}, ""))


def rows_of(lake: Path, run: Run) -> int:
    return int(DeltaTable(lake / NAMES[0], version=run.versions[NAMES[0]]).to_pyarrow_table().num_rows)


@pytest.mark.parametrize("first_has", range(5))
@pytest.mark.parametrize("is_first_run", [True, False])
def test_of_two_runs_at_once_one_wins_whenever_the_other_begins(
    first_has: int, is_first_run: bool, tmp_path: Path
) -> None:
    if not is_first_run:
        begun = begin(tmp_path)
        made, _ = written(tmp_path, begun, 1)
        finish(tmp_path, begun, Run(begun.number, 1000, committed(tmp_path, begun, made, NAMES), ""))
    first = begin(tmp_path)
    made, segments = written(tmp_path, first, 2)
    versions = committed(tmp_path, first, made, NAMES[:first_has])
    # Another run begins, which takes what the first has done so far for that of a killed one, and goes on to its end.
    second = begin(tmp_path)
    others, other_segments = written(tmp_path, second, 3)
    assert second.number == first.number + (first_has > 0)
    other_versions = committed(tmp_path, second, others, NAMES)
    finish(tmp_path, second, Run(second.number, 2000, other_versions, ""))
    with pytest.raises(InputError, match="another run has written"):
        go_on(tmp_path, first, made, versions, NAMES[first_has:])
    last = runs(tmp_path)[-1]
    assert last.number == second.number
    assert rows_of(tmp_path, last) == other_segments
    # What counts for whoever does not look at `runs` is put right by the next one.
    begin(tmp_path)
    assert DeltaTable(tmp_path / NAMES[0]).to_pyarrow_table().num_rows == other_segments
    assert segments


def test_the_first_of_two_wins_where_the_second_has_not_written(tmp_path: Path) -> None:
    first = begin(tmp_path)
    made, segments = written(tmp_path, first, 2)
    versions = committed(tmp_path, first, made, NAMES[:2])
    second = begin(tmp_path)
    versions |= committed(tmp_path, first, made, NAMES[2:])
    finish(tmp_path, first, Run(first.number, 1000, versions, ""))
    others, _ = written(tmp_path, second, 3)
    with pytest.raises(InputError, match="another run has written"):
        committed(tmp_path, second, others, NAMES)
    assert rows_of(tmp_path, runs(tmp_path)[-1]) == segments
    vacuum(tmp_path, keep_hours=0)
    assert rows_of(tmp_path, runs(tmp_path)[-1]) == segments, "its files are kept, though others are newer"


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "agent_segments").write_text("notes")
    with pytest.raises(InputError, match="cannot be used for the tables"):
        begin(tmp_path)
    assert (tmp_path / "agent_segments").read_text() == "notes"


def test_tables_of_an_earlier_version_get_the_columns_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads a column believes what the log says of it: that it is never null, for example."""
    with monkeypatch.context() as earlier:
        columns = COLUMNS["agent_segments"]
        handle_time = columns.get_field_index("totalHandleTimeMillis")
        stricter = columns.set(handle_time, columns.field(handle_time).with_nullable(False))
        earlier.setitem(COLUMNS, "agent_segments", stricter.remove(stricter.get_field_index("responses")))
        begun = begin(tmp_path)
        finish(tmp_path, begun, Run(begun.number, 1000, begun.versions, ""))
        assert not begin(tmp_path).is_older
    for _ in range(2):
        begun = begin(tmp_path)
        assert begun.is_older, "until a run has written everything anew"
    fields = {field.name: field.nullable for field in DeltaTable(tmp_path / "agent_segments").schema().fields}
    assert fields == {"accountId": False, "day": True, **{field.name: field.nullable for field in columns}}
    finish(tmp_path, begun, Run(begun.number, 2000, begun.versions, ""))
    assert not begin(tmp_path).is_older


def test_tables_of_before_there_was_a_column_say_so_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until all is derived anew, also where an attempt to do so did not come to its end."""
    events = events_of(messy_stream(4, events=200, conversations=20, accounts=1))
    (account,) = events["accountId"].unique().to_pylist()
    with monkeypatch.context() as earlier:
        columns = COLUMNS["agent_segments"]
        known = [field for field in columns if field.name not in MOMENTS]
        earlier.setitem(COLUMNS, "agent_segments", pa.schema(known))
        write_run(tmp_path, events, 1000)
    assert begin(tmp_path).is_older
    with Lake(tmp_path) as lake, lake.reader(account).snapshot() as snapshot:
        (segments,) = snapshot.execute("select count(*) from agent_segments where agentMessages >= 0").fetchall()
        assert segments > (0,)
        for column in MOMENTS:
            with pytest.raises(NotHere, match=f"have no {column} in agent_segments.*Derive all events once"):
                snapshot.execute(f"select count({column}) from agent_segments")  # noqa: S608
    write_run(tmp_path, events, 2000)
    assert not begin(tmp_path).is_older
    derived = derive(events).agent_segments
    with Lake(tmp_path) as lake, lake.reader(account).snapshot() as snapshot:
        found = snapshot.execute("select count(queuedSince), sum(len(responseWaitingSince)) from agent_segments")
        assert found.fetchall() == [
            (
                derived.num_rows - derived["queuedSince"].null_count,
                pc.sum(pc.list_value_length(derived["responseWaitingSince"])).as_py(),
            )
        ]


def test_tables_of_before_there_were_queue_segments_say_so_until_all_is_derived_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they have is answered, about queues nothing: none would be a wrong number."""
    count = "select count(*) from queue_segments"
    events = events_of(messy_stream(4, events=200, conversations=20, accounts=1))
    (account,) = events["accountId"].unique().to_pylist()
    with monkeypatch.context() as earlier:
        earlier.delitem(COLUMNS, "queue_segments")
        earlier.setattr(tables, "_RUN", tables._RUN.remove(tables._RUN.get_field_index("queue_segments")))
        write_run(tmp_path, events, 1000)
    with Lake(tmp_path) as lake:
        reader = lake.reader(account)
        with reader.snapshot() as snapshot:
            (segments,) = snapshot.execute("select count(*) from agent_segments").fetchall()
            assert segments > (0,)
            for query in (count, "select count(*) from running_queue_segments"):
                with pytest.raises(NotHere, match="Derive all events once"):
                    snapshot.execute(query)
    assert begin(tmp_path).is_older
    write_run(tmp_path, events, 2000)
    assert not begin(tmp_path).is_older
    assert [run.versions.keys() for run in runs(tmp_path)] == [COLUMNS.keys() - {"queue_segments"}, COLUMNS.keys()]
    vacuum(tmp_path)
    queues = derive(events).queue_segments
    with Lake(tmp_path) as lake, lake.reader(account).snapshot() as snapshot:
        assert snapshot.execute(count).fetchall() == [(queues.num_rows,)]
        running = snapshot.execute("select count(*) from running_queue_segments").fetchall()
        assert running == [(queues["end"].null_count,)]
        assert queues["end"].null_count
