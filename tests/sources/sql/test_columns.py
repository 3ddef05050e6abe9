"""A mapping's columns become events, or faults that name the row."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from handletime.errors import InputError
from handletime.sources.sql.columns import Mapped, check_columns, decoded
from handletime.sources.sql.engine import Batch, Engine

EVENT = "'a' as \"conversationId\", 'b' as \"eventId\", 'opened' as type, '2026-11-20T09:00:00Z' as time"


def mapped(text: str, first_row: int = 1) -> Mapped:
    """What a select over nothing becomes; its columns are checked first."""
    engine = Engine(text, "my.sql", memory_bytes=128 << 20)
    engine.lock()
    try:
        check_columns(engine.schema(), "my.sql")
        return decoded(engine.whole(1000), account="acme", first_row=first_row)
    finally:
        engine.close()


def faults(text: str) -> list[str]:
    return [str(fault) for fault in mapped(text).faults]


def test_names_may_be_written_in_small_letters() -> None:
    text = "select 'a' as conversationid, 7 as EVENTID, 'opened' as Type, 8 as skillid, 1795600800000 as time"
    (event,) = mapped(text).events.to_pylist()
    assert (event["conversationId"], event["eventId"], event["skillId"]) == ("a", "7", 8)
    assert event["time"] == dt.datetime(2026, 11, 25, 10, tzinfo=dt.UTC)
    assert event["accountId"] == "acme"


@pytest.mark.parametrize(
    ("time", "is_"),
    [
        ("'2026-11-20T09:00:00.1239+01:00'", "2026-11-20T08:00:00.123000+00:00"),
        ("'2026-11-20 09:00:00+01'::timestamptz", "2026-11-20T08:00:00+00:00"),
        ("'2026-11-20 09:00:00'::timestamp at time zone 'Europe/Berlin'", "2026-11-20T08:00:00+00:00"),
        ("millis('2026-11-20 09:00:00Z'::timestamptz)", "2026-11-20T09:00:00+00:00"),
        ("to_timestamp(1795600800)", "2026-11-25T10:00:00+00:00"),
        ("1795600800000::hugeint", "2026-11-25T10:00:00+00:00"),
    ],
)
def test_times_with_a_zone_are_taken(time: str, is_: str) -> None:
    text = f"select 'a' as \"conversationId\", 'b' as \"eventId\", 'opened' as type, {time} as time"
    (event,) = mapped(text).events.to_pylist()
    assert event["time"].isoformat() == is_


@pytest.mark.parametrize(
    "time",
    [
        "'2026-11-20 09:00:00'::timestamptz",
        "coalesce('2026-11-20 09:00:00'::timestamp, now())",
        "case when 1 = 1 then '2026-11-20 09:00:00'::timestamp else now() end",
        "millis('2026-11-20 09:00:00'::timestamptz)",
        "epoch_ms('2026-11-20 09:00:00'::timestamptz)",
        "'2026-11-20 09:00:00'::timestamptz::text",
        "'2026-11-20'::date::timestamptz",
        "now()",
    ],
)
def test_a_time_without_zone_is_never_guessed(time: str) -> None:
    text = f"select 'a' as \"conversationId\", 'b' as \"eventId\", 'opened' as type, {time} as time, 3 as \"row\""
    found = mapped(text)
    assert found.events.num_rows == 0
    (fault,) = found.faults
    assert str(fault).startswith("row 3: time: this timestamp has no time zone")
    assert "at time zone 'Europe/Berlin'" in str(fault)


def test_a_column_of_timestamps_without_zone_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InputError, match=r"my.sql: time: this timestamp has no time zone"):
        mapped(
            "select 'a' as \"conversationId\", 'b' as \"eventId\", 'opened' as type, '2026-11-20'::timestamp as time"
        )


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("'a' as name", "no event has name; columns of events are accountId, conversationId"),
        ("1 as skillId, 2 as SkillID", "skillId stands twice"),
        ("1.5::double as skillId", "skillId: must be a column of integers, not of double"),
        ("[1] as source", "source: must be a column of strings, not of list"),
        ("true as skillId", "skillId: must be a column of integers, not of bool"),
    ],
)
def test_columns_that_no_event_has_are_refused(columns: str, says: str) -> None:
    with pytest.raises(InputError, match=r"my\.sql: ") as refused:
        mapped(f"select {EVENT}, {columns}")
    assert says in str(refused.value)


def test_columns_that_are_missing_are_all_named() -> None:
    with pytest.raises(InputError) as refused:
        mapped("select 1 as time")
    assert str(refused.value).splitlines() == [
        "my.sql: conversationId: this column is missing",
        "my.sql: eventId: this column is missing",
        "my.sql: type: this column is missing",
    ]


def test_digits_in_texts_are_whole_numbers() -> None:
    text = f"""select {EVENT}, s.skill as "skillId", "row" from (values (1, '12'), (2, '-9223372036854775808'),
        (3, '9223372036854775808'), (4, '1.23E+17'), (5, '12.0'), (6, ' 12'), (7, ''), (8, null), (9, '١٢'),
        (10, '00000000000000000000000012')) s("row", skill)"""  # noqa: S608
    found = mapped(text)
    assert found.events["skillId"].to_pylist() == [12, -(2**63), None]
    assert found.rows.tolist() == [1, 2, 8]
    assert [fault.line for fault in found.faults] == [3, 4, 5, 6, 7, 9, 10]
    assert {fault.field for fault in found.faults} == {"skillId"}
    assert str(found.faults[1]).startswith("row 4: skillId: is no whole number; a spreadsheet may have shortened it")


def test_faults_of_all_kinds_stand_in_the_order_of_the_rows() -> None:
    text = """select "conversationId", 'e' as "eventId", type, time::timestamptz as time, skill as "skillId", n as "row"
        from (values (7, 'a', 'open', '2026-11-20T09:00:00Z', '1'), (5, 'b', 'opened', '2026-11-20T09:00:00', 'x'),
        (3, 'c', 'opened', '2026-11-20T09:00:00Z', '1'), (2, '', 'opened', '2026-11-20T09:00:00Z', 'y'))
        v(n, "conversationId", type, time, skill)"""
    found = mapped(text)
    assert found.by_input
    assert found.events["conversationId"].to_pylist() == ["c"]
    assert found.rows.tolist() == [3]
    assert [(fault.line, fault.field) for fault in found.faults] == [
        *((7, "type"), (5, "skillId"), (5, "time"), (2, "skillId"))
    ]


def test_without_rows_of_the_input_those_of_the_result_are_counted() -> None:
    found = mapped(f"select {EVENT.replace('opened', 'open')}", first_row=11)
    assert [str(fault)[:30] for fault in found.faults] == ["row of the result 11: type: mu"]
    assert not found.by_input


def test_faults_repeat_nothing() -> None:
    for time in ("49151234567", "'Jane Doe'"):
        text = f"select 'a' as \"conversationId\", 'b' as \"eventId\", 'opened' as type, {time} as time"
        (fault,) = faults(text)
        assert "Jane" not in fault
        assert "4915" not in fault


def test_a_batch_whose_times_are_not_told_twice_is_refused() -> None:
    table = pa.table({"conversationId": ["a"], "eventId": ["b"], "type": ["opened"], "time": [1795600800000]})
    found = decoded(Batch(table, table["time"].slice(1)), account="acme")
    assert (found.events.num_rows, len(found.faults)) == (0, 1)
