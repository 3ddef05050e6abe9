"""Flat rows against what each group says when it is asked by itself, and against the figures of the page.

Covers: answers/flat, answers/handled.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from handletime.answers import percentiles
from handletime.answers import report as reports
from handletime.answers.figures import figures_of, span
from handletime.answers.files import asked
from handletime.answers.flat import Format, Shape, written
from handletime.answers.intervals import Interval
from handletime.answers.periods import Window
from handletime.answers.registry import LEVELS, METRICS
from handletime.answers.relations import Snapshot
from handletime.answers.report import (
    DIMENSIONS,
    REPORTED,
    Cut,
    Filters,
    Question,
    Report,
    Rows,
    TooManyRows,
    chosen,
    has,
    question_of,
)
from handletime.answers.selection import Selection
from handletime.answers.sums import By
from handletime.events.book import instant
from handletime.segments.derive import derive
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
Row = dict[str, Any]
ASnapshot = Callable[[int], Snapshot]
IDS: Final[tuple[By, ...]] = tuple(DIMENSIONS.values())
UNIT_METRICS = ("handleTimeInIntervalMillis", "handleTimeInIntervalSegmentCount")


@pytest.fixture
def a_snapshot(tmp_path: Path) -> Iterator[ASnapshot]:
    """Derives a messy stream; gives a snapshot of its segments."""
    with ExitStack() as stack:

        def of_seed(seed: int) -> Snapshot:
            parts = [derive(events_of(messy_stream(seed, events=400)))]
            return stack.enter_context(asked(parts, tmp_path, memory=1 << 30))[0]

        yield of_seed


def rows_of(snapshot: Snapshot, question: Question, form: Format = "json") -> list[Row]:
    text = b"".join(written(Report(snapshot, question).rows(), Shape(question), form)).decode()
    if form == "ndjson":
        return [json.loads(line) for line in text.splitlines()]
    rows: list[Row] = json.loads(text)
    return rows


def bounds_of(snapshot: Snapshot, step: int = 20) -> list[int]:
    """Borders of some intervals in which segments end, and which cut handle-time units."""
    first, last = span(snapshot) or (0, 0)
    return [*range(first, last + 1, max((last - first) // step, 1)), last + 1]


def without(row: Row, names: Sequence[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", [(), ("skillId",), ("agentId",), ("agentId", "skillId")])
def test_rows_are_the_figures_of_the_page(seed: int, by: tuple[By, ...], a_snapshot: ASnapshot) -> None:
    snapshot = a_snapshot(seed)
    of = Selection(bounds_of(snapshot))
    keys: tuple[By, ...] = ("interval", *sorted(by, key=IDS.index))
    question = Question(of, by, True, chosen(METRICS))
    figures = figures_of(snapshot, METRICS.values(), keys, of)
    found = rows_of(snapshot, question)
    starts = Report(snapshot, question)
    places = [part.places.tolist() for part in starts.rows() if part.places is not None]
    of_rows = [place for part in places for place in part]
    assert len(found) == len([key for key in figures if key])
    for place, row in zip(of_rows, found, strict=True):
        wanted = figures[place, *(row[key] for key in keys[1:])]
        for key, value in wanted.items():
            metric = METRICS[key]
            if not has(metric.table, question) or (value == -1 and metric.per):
                assert row[key] is None, key
            else:
                assert row[key] == value, key


@pytest.mark.parametrize("seed", range(3))
def test_every_group_says_the_same_when_it_is_asked_for_alone(seed: int, a_snapshot: ASnapshot) -> None:
    snapshot = a_snapshot(seed)
    bounds = bounds_of(snapshot, 5)
    question = Question(Selection(bounds), IDS, True, chosen())
    found = rows_of(snapshot, question)
    assert len(found) > 20
    for row in found[::5]:
        window = Selection((instant(row["intervalStart"]) or 0, instant(row["intervalEnd"]) or 0))
        of = window._replace(skills=[row["skillId"]], agents=[row["agentId"]], groups=[row["groupId"]])
        alone = Question(of._replace(source=row["source"], user_type=row["userType"]), IDS, False, chosen())
        same = [each for each in rows_of(snapshot, alone) if each["source"] == row["source"]]
        assert [without(row, ["intervalStart", "intervalEnd"])] == same


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", [(), ("skillId",), ("source",), ("groupId", "userType")])
def test_what_is_counted_or_summed_adds_up_over_rows_and_intervals(
    seed: int, by: tuple[By, ...], a_snapshot: ASnapshot
) -> None:
    snapshot = a_snapshot(seed)
    bounds = bounds_of(snapshot)
    summed = [key for key, metric in REPORTED.items() if not metric.per and not metric.values]
    fine = Question(Selection(bounds), by, True, chosen(summed))
    (total,) = rows_of(snapshot, Question(Selection((bounds[0], bounds[-1])), (), False, chosen(summed)))
    rows = rows_of(snapshot, fine)
    for key in summed:
        if has(REPORTED[key].table, fine) and key != "handleTimeInIntervalSegmentCount":
            assert sum(row[key] or 0 for row in rows) == (total[key] or 0), key
    (everything,) = rows_of(snapshot, Question(Selection((bounds[0] - 10**9, bounds[-1])), (), False, chosen(summed)))
    assert everything["handleTimeInIntervalMillis"] == everything["totalHandleTimeMillis"], "as nothing lies before"


@pytest.mark.parametrize("metric", [metric for metric in REPORTED.values() if metric.per], ids=lambda m: m.key)
def test_every_average_and_share_can_be_made_of_columns_beside_it(metric: Any) -> None:
    beside = {(each.table, each.sum) for each in chosen([metric.key]) if not each.per and not each.values}
    parts = {metric.sum, metric.per}
    if metric.key in LEVELS:  # met / (met + missed)
        parts = {f"{LEVELS[metric.key]}{verdict}" for verdict in ("Met", "Missed")}
    assert {(metric.table, part) for part in parts} <= beside


def test_units_are_split_at_the_borders_whatever_ends_when(tmp_path: Path) -> None:
    """One answer of 90 seconds, of which 30 lie in the first minute and 60 in the second; it ends in the third."""
    at = 1795165200000
    common = {"conversationId": "c", "accountId": "acme"}
    told = [
        {"type": "opened", "skillId": 7, "time": at},
        {"type": "assigned", "agentId": 1, "time": at},
        {"type": "focused", "agentId": 1, "time": at},
        {"type": "message", "sentBy": "consumer", "time": at + 30_000},
        {"type": "message", "sentBy": "agent", "agentId": 1, "time": at + 120_000},
        {"type": "closed", "closedBy": "agent", "time": at + 150_000},
    ]
    events = events_of([{**common, "eventId": str(place), **event} for place, event in enumerate(told)])
    bounds = [at, at + 60_000, at + 120_000, at + 180_000]
    with asked([derive(events)], tmp_path, memory=1 << 30) as collected:
        question = Question(Selection(bounds), ("skillId",), True, chosen([*UNIT_METRICS, "totalHandleTimeMillis"]))
        rows = rows_of(collected.snapshot, question)
        assert [[row[key] for key in UNIT_METRICS] for row in rows] == [[30_000, 1], [60_000, 1], [0, 0]]
        assert [row["totalHandleTimeMillis"] for row in rows] == [None, None, 90_000]
        part = Question(Selection((at + 40_000, at + 70_000)), (), False, chosen([UNIT_METRICS[0]]))
        assert rows_of(collected.snapshot, part) == [{UNIT_METRICS[0]: 30_000}]


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_rows_in_many_pieces_are_the_same_rows(
    seed: int, a_snapshot: ASnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = a_snapshot(seed)
    bounds = bounds_of(snapshot)
    before = Selection([bound - 5000 for bound in bounds])
    for fill in (False, True):
        question = Question(Selection(bounds), ("skillId", "source"), True, chosen(), before=before, fill=fill)
        whole = rows_of(snapshot, question)
        with monkeypatch.context() as patch:
            patch.setattr(reports, "AT_ONCE", 5)
            patch.setattr(reports, "LONG", 20)
            patch.setattr(reports, "FIRST", 1)
            assert len(list(Report(snapshot, question)._pieces())) > 3
            assert rows_of(snapshot, question) == whole
            assert rows_of(snapshot, question._replace(offset=3, limit=7)) == whole[3:10]
        assert rows_of(snapshot, question._replace(offset=len(whole))) == []
        alone = question._replace(before=None)
        assert Report(snapshot, alone).count() == len(rows_of(snapshot, alone))


def test_too_many_rows_are_refused_before_the_first(a_snapshot: ASnapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = a_snapshot(1)
    question = Question(Selection(bounds_of(snapshot)), IDS, True, chosen())
    count = Report(snapshot, question).count()
    monkeypatch.setattr(reports, "ROWS_MAX", count)
    Report(snapshot, question).check()
    assert len(rows_of(snapshot, question)) == count
    monkeypatch.setattr(reports, "ROWS_MAX", count - 1)
    with pytest.raises(TooManyRows, match="would have more than"):
        Report(snapshot, question).check()
    with pytest.raises(TooManyRows):
        rows_of(snapshot, question)


def test_rows_are_filled_for_every_combination(a_snapshot: ASnapshot) -> None:
    snapshot = a_snapshot(1)
    bounds = bounds_of(snapshot)
    question = Question(Selection(bounds), ("skillId",), True, chosen(["totalAgentConversationSegments"]), fill=True)
    rows = rows_of(snapshot, question)
    skills = {row["skillId"] for row in rows}
    assert len(rows) == len(skills) * (len(bounds) - 1)
    some = rows_of(snapshot, question._replace(fill=False))
    counted = "totalAgentConversationSegments"
    assert [row for row in rows if row[counted]] == [row for row in some if row[counted]]
    assert {row[counted] for row in rows if row not in some} == {0}


def test_the_window_before_stands_beside(a_snapshot: ASnapshot) -> None:
    snapshot = a_snapshot(3)
    first, last = span(snapshot) or (0, 0)
    middle = (first + last) // 2
    cut = Cut(Window(middle, 2 * middle - first), None, UTC)
    keys: tuple[By, ...] = ("skillId", "agentId")
    rows = rows_of(snapshot, question_of(cut, Filters(), keys, chosen(), compare="previous"))
    before = rows_of(snapshot, question_of(Cut(Window(first, middle), None, UTC), Filters(), keys, chosen()))
    assert before
    told = {(row["skillId"], row["agentId"]): row for row in rows}
    for row in before:
        beside = told[row["skillId"], row["agentId"]]
        keys_of = [key for key in REPORTED if key not in LEVELS]
        assert {key: beside[f"{key}Previous"] for key in keys_of} == {key: row[key] for key in keys_of}
    known = {(row["skillId"], row["agentId"]) for row in before}
    for key, row in told.items():
        if key not in known:
            assert row["totalAgentConversationSegmentsPrevious"] == 0
            assert row["avgHandleTimeMillisPrevious"] is None


@pytest.mark.parametrize("interval", [None, "hour"])
def test_formats_have_the_same_rows(interval: Interval | None, a_snapshot: ASnapshot) -> None:
    snapshot = a_snapshot(1)
    first, last = span(snapshot) or (0, 0)
    question = question_of(Cut(Window(first, last + 1), interval, BERLIN), Filters(), IDS, chosen())
    rows = rows_of(snapshot, question)
    assert rows_of(snapshot, question, "ndjson") == rows
    text = b"".join(written(Report(snapshot, question).rows(), Shape(question), "csv")).decode()
    assert text.endswith("\r\n")
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [list(each) for each in table] == [list(row) for row in rows]
    for cells, row in zip(table, rows, strict=True):
        for name, cell in cells.items():
            if isinstance(row[name], str):
                assert cell in (row[name], f"'{row[name]}")
            else:
                assert cell == "" if row[name] is None else float(cell) == float(row[name]), name
    parquet = b"".join(written(Report(snapshot, question).rows(), Shape(question), "parquet"))
    found = pq.read_table(io.BytesIO(parquet))
    assert found.column_names == list(rows[0])
    if interval:
        assert str(found.schema.field("intervalStart").type) == "timestamp[ms, tz=Europe/Berlin]"
        assert rows[0]["intervalStart"].endswith("+01:00")
    names = [name for name in found.column_names if not name.startswith("interval")]
    told = [{name: row[name] for name in names} for row in rows]
    assert found.select(names).to_pylist() == told


def test_nothing_found_is_an_empty_table_of_the_same_columns(a_snapshot: ASnapshot) -> None:
    snapshot = a_snapshot(1)
    question = Question(Selection((0, 1)), ("skillId",), False, chosen())
    assert rows_of(snapshot, question) == []
    text = b"".join(written(Report(snapshot, question).rows(), Shape(question), "csv")).decode()
    assert text == ",".join(["skillId", *(metric.key for metric in question.metrics)]) + "\r\n"
    parquet = b"".join(written(Report(snapshot, question).rows(), Shape(question), "parquet"))
    assert pq.read_table(io.BytesIO(parquet)).num_rows == 0
    assert b"".join(written(Report(snapshot, question).rows(), Shape(question), "xlsx"))[:2] == b"PK"


@pytest.mark.parametrize("interval", ["hour", 5])
@pytest.mark.parametrize("few", [False, True])
def test_an_hour_that_was_left_out_has_nothing_and_the_others_what_is_theirs(
    interval: Interval, few: bool, a_snapshot: ASnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the stream lay around the hour that clocks left out, in a zone made for it by moving the bounds."""
    snapshot = a_snapshot(2)
    first, last = span(snapshot) or (0, 0)
    middle = (first + last) // 2
    step = max((last - first) // (4 if interval == "hour" else 30), 1)
    sharp = [*range(first, middle, step), middle, *range(middle + step, last, step), last + 1]
    place = sharp.index(middle)
    empty = [*sharp[:place], middle, middle, middle, *sharp[place + 1 :]]
    monkeypatch.setattr(reports, "AT_ONCE", 5 if few else reports.AT_ONCE)
    monkeypatch.setattr(reports, "FIRST", 1 if few else reports.FIRST)
    if few:
        monkeypatch.setattr(percentiles, "PLACES_MAX", 3)
    question = Question(Selection(sharp), ("skillId",), True, chosen())
    keyed = [(place, row) for part in Report(snapshot, question).rows() for place, row in _told(part)]
    found = [
        (place, row)
        for part in Report(snapshot, question._replace(of=Selection(empty))).rows()
        for place, row in _told(part)
    ]
    assert keyed
    assert [(at if at < place else at - 2, row) for at, row in found] == keyed


def _told(part: Rows) -> list[tuple[int, list[object]]]:
    """Rows with their places; what is not there is None."""
    assert part.places is not None
    columns = [
        [value if column.there is None or column.there[at] else None for at, value in enumerate(column.values.tolist())]
        for column in (*part.keys.values(), *part.metrics.values())
    ]
    return list(zip(part.places.tolist(), map(list, zip(*columns, strict=True)), strict=True))
