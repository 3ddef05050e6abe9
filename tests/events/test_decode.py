"""Lines and columns become events, or faults that name whatever is wrong (rules.md 1).

Covers: events/book, events/model, events/plain, events/rows, events/times.
"""

from __future__ import annotations

import json
from calendar import isleap
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handletime.events import model
from handletime.events.book import LINE_MAX, NESTING_MAX, instant, is_account
from handletime.events.decode import decode_columns, decode_lines
from tests.events.events import (
    NOON,
    Event,
    a_line,
    an_event,
    decode,
    events_of,
    faults_of,
    in_order,
    with_value,
)

TIME = (
    "time: must be an RFC 3339 date and time with seconds and offset (2026-11-20T09:00:00.000Z), "
    "or epoch milliseconds, of the years 1 to 9999"
)
INTEGER = "must be a signed 64-bit integer"
ID = "must be a string of 1 to 128 characters without control characters"
TEXT = "must be a string of at most 128 characters without control characters"
ACCOUNT = "must be 1 to 64 letters and digits (a-z, A-Z, 0-9)"
TYPE = "must be one of opened, resumed, transferred, assigned, focused, unfocused, message, closed, withdrawn"
SENT_BY = "must be one of consumer, agent, system"


def the_event(line: bytes) -> Event:
    """The only event of a block without faults."""
    decoded = decode(line)
    assert faults_of(decoded) == []
    (event,) = events_of(decoded.events)
    return event


def the_faults(line: bytes) -> list[str]:
    """The faults of a block without events."""
    decoded = decode(line)
    assert decoded.events.num_rows == 0
    return faults_of(decoded)


# --- the fields of each type -----------------------------------------------------------------------------------------

MOST: dict[str, Event] = {
    "opened": {"source": "APP", "skillId": 3},
    "resumed": {"source": "FACEBOOK", "skillId": -1},
    "transferred": {"reason": "backToQueue", "skillId": 3},
    "assigned": {"agentId": -1, "employeeId": "E 7", "groupId": 5, "userType": "bot", "skillId": 0},
    "focused": {"agentId": 7, "leaseMillis": 45_000},
    "unfocused": {"agentId": 7},
    "message": {"sentBy": "agent", "agentId": 7},
    "closed": {"closedBy": "system"},
    "withdrawn": {},
}


@pytest.mark.parametrize("type_", model.TYPES)
def test_an_event_keeps_every_field_that_its_type_has(type_: str) -> None:
    event = an_event(type_, accountId="B2", sequence=-4, revision=3, **MOST[type_])
    assert the_event(json.dumps(event).encode()) == event


@pytest.mark.parametrize("type_", model.TYPES)
def test_what_an_event_need_not_say_is_filled_in_or_absent(type_: str) -> None:
    defaults = {"groupId": -1, "userType": "human"} if type_ == "assigned" else {}
    assert the_event(a_line(type_)) == an_event(type_, accountId="local", sequence=0, revision=0, **defaults)


@pytest.mark.parametrize("type_", model.TYPES)
def test_null_is_the_same_as_absent(type_: str) -> None:
    nulls = {field.name: None for field in model.FIELDS if not field.is_required(type_)}
    assert the_event(a_line(type_, **nulls)) == the_event(a_line(type_))


@pytest.mark.parametrize("type_", model.TYPES)
@pytest.mark.parametrize("value", [5, "5", True, 1.5, [], {"a": [1]}, "\U0001f600", "a\nb"])
def test_a_field_of_another_type_of_event_is_unknown_and_ignored(type_: str, value: object) -> None:
    foreign = {field.name: value for field in model.FIELDS if not field.belongs_to(type_)}
    assert the_event(a_line(type_, **foreign)) == the_event(a_line(type_))


@pytest.mark.parametrize("type_", model.TYPES)
def test_each_missing_field_is_named_and_null_counts_as_missing(type_: str) -> None:
    required = [field.name for field in model.FIELDS if field.is_required(type_) and field.name != "type"]
    nulls = json.dumps({"type": type_, **dict.fromkeys(required)}).encode()
    for line in (json.dumps({"type": type_}).encode(), nulls):
        faults = the_faults(line)
        assert [fault.split(": ")[1] for fault in faults] == required
        assert all(": is missing; must be " in fault for fault in faults)


def test_every_fault_of_an_event_is_named_at_once() -> None:
    line = a_line("assigned", eventId="", time="noon", sequence=1.0, agentId="7", groupId=True, userType="cat")
    assert the_faults(line) == [
        f"line 1: eventId: {ID}",
        f"line 1: {TIME}",
        f"line 1: sequence: {INTEGER}",
        f"line 1: agentId: {INTEGER}",
        f"line 1: groupId: {INTEGER}",
        "line 1: userType: must be one of human, bot",
    ]


REVISION = "must be an integer from 0 to 9007199254740991"
LEASE = "must be an integer from 1 to 86400000"


@pytest.mark.parametrize(
    ("field", "good", "bad", "allowed"),
    [
        ("revision", [0, 1, 2**53 - 1], [-1, 2**53, 2**63, 1.0, "1", True], REVISION),
        ("leaseMillis", [1, 45_000, 86_400_000], [0, -1, 86_400_001, 2**63, 1.0, "1", True], LEASE),
    ],
)
def test_an_integer_lies_in_its_range(field: str, good: list[object], bad: list[object], allowed: str) -> None:
    """Of a line and of a column alike."""
    for value in good:
        assert the_event(a_line("focused", **{field: value}))[field] == value
        table = pa.Table.from_pylist([an_event("focused", **{field: value})])
        assert events_of(decode_columns(table, account="local").events)[0][field] == value
    for value in bad:
        assert the_faults(a_line("focused", **{field: value})) == [f"line 1: {field}: {allowed}"]
    outside = [value for value in bad if type(value) is int and value < 2**63]
    table = pa.Table.from_pylist([an_event("focused", **{field: value}) for value in outside])
    faults = faults_of(decode_columns(table, account="local"))
    assert faults == [f"row {row}: {field}: {allowed}" for row in range(1, len(outside) + 1)]


@pytest.mark.parametrize("type_", ["Opened", "", "opened ", 5, True, ["opened"], {}])
def test_an_unknown_type_is_named_together_with_faults_in_the_fields_that_all_types_have(type_: object) -> None:
    line = json.dumps({"eventId": 1, "type": type_, "agentId": "x", "accountId": "a b", "sequence": "1"}).encode()
    assert the_faults(line) == [
        f"line 1: accountId: {ACCOUNT}",
        f"line 1: conversationId: is missing; {ID}",
        f"line 1: eventId: {ID}",
        "line 1: time: is missing; " + TIME.removeprefix("time: "),
        f"line 1: sequence: {INTEGER}",
        f"line 1: type: {TYPE}",
    ]


@pytest.mark.parametrize("sender", ["consumer", "system"])
@pytest.mark.parametrize("agent", [7, "7", None, 2**70])
def test_the_agent_of_a_message_counts_only_where_an_agent_sent_it(sender: str, agent: object) -> None:
    assert "agentId" not in the_event(a_line("message", sentBy=sender, agentId=agent))


def test_the_agent_of_an_agents_message_may_be_absent_but_not_wrong() -> None:
    assert "agentId" not in the_event(a_line("message", sentBy="agent"))
    assert the_event(a_line("message", sentBy="agent", agentId=7))["agentId"] == 7
    assert the_faults(a_line("message", sentBy="agent", agentId="7")) == [f"line 1: agentId: {INTEGER}"]
    assert the_faults(a_line("message", sentBy="bot", agentId="7")) == [f"line 1: sentBy: {SENT_BY}"]


def test_the_account_is_the_events_or_else_the_given_one() -> None:
    decoded = decode(a_line(accountId="B2") + b"\n" + a_line(), account="mine")
    assert [event["accountId"] for event in events_of(decoded.events)] == ["B2", "mine"]


# --- values ----------------------------------------------------------------------------------------------------------

DAY = 86_400_000
TIMES = {
    "2026-11-20T12:00:00Z": NOON,
    "2026-11-20t12:00:00z": NOON,
    "2026-11-20 12:00:00Z": NOON,
    "2026-11-20T12:00:00.5Z": NOON + 500,
    "2026-11-20T12:00:00.123Z": NOON + 123,
    "2026-11-20T12:00:00.1239999999999Z": NOON + 123,
    "2026-11-20T12:59:59.9999999Z": NOON + 3_599_999,
    "2026-11-20T12:00:00-00:00": NOON,
    "2026-11-20T12:00:00+00:00": NOON,
    "2026-11-20T14:30:00+02:30": NOON,
    "2026-11-19T12:01:00-23:59": NOON,
    "1970-01-01T00:00:00Z": 0,
    "1969-12-31T23:59:59.9999Z": -1,
    "1969-12-31T23:59:59.0001Z": -1000,
    "2000-02-29T00:00:00Z": 951_782_400_000,
    "2024-02-29T00:00:00Z": 1_709_164_800_000,
    "0001-01-01T00:00:00Z": model.TIME_MIN,
    "0001-01-01T00:00:00-00:01": model.TIME_MIN + 60_000,
    "9999-12-31T23:59:59.999999Z": model.TIME_MAX,
    "9999-12-31T23:59:59.999+00:01": model.TIME_MAX - 60_000,
}
NO_TIMES = [
    *("", "now", "2026-11-20", "2026-11-20T12:00Z", "2026-11-20T12:00:00", "20261120T120000Z", "1795176000000"),
    *("2026-11-20T12:00:00.Z", "2026-11-20T12:00:00,5Z", "2026-11-20T12:00:00+0100", "2026-11-20T12:00:00+01"),
    *("2026-11-20T12:00:00+24:00", "2026-11-20T12:00:00+01:60", "2026-11-20T24:00:00Z", "2026-11-20T12:60:00Z"),
    *("2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z"),
    *("2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z", "0000-12-31T23:59:00-00:02"),
    *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z", "-2026-11-20T12:00:00Z"),
    *(" 2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z ", "2026-11-20T12:00:00Z\n", "2026-11-20_12:00:00Z"),
    *(
        "\u0662\u0660\u0662\u0666-11-20T12:00:00Z",
        "2026-11-20T12:00:00\u221201:00",
        "2026-11-20T12:00:00.\u0665Z",
        "2026-11-20T12:00:61Z",
    ),
]


@pytest.mark.parametrize(("text", "milliseconds"), TIMES.items())
def test_a_time_is_read_to_the_millisecond_and_what_is_finer_is_cut_off(text: str, milliseconds: int) -> None:
    assert the_event(a_line(time=text))["time"] == milliseconds
    assert instant(text) == milliseconds


YEAR_2000 = 946_684_800_000


@pytest.mark.parametrize("milliseconds", [YEAR_2000, NOON, model.TIME_MAX])
def test_epoch_milliseconds_are_a_time(milliseconds: int) -> None:
    assert the_event(a_line(time=milliseconds))["time"] == milliseconds
    (event,) = events_of(decode_columns(pa.Table.from_pylist([an_event(time=milliseconds)]), account="local").events)
    assert event["time"] == milliseconds
    assert instant(milliseconds) == milliseconds


SECONDS = "looks like seconds; epoch milliseconds are wanted"
OLD = "is before 1 January 2000 in epoch milliseconds; write a time as old as that in RFC 3339"


@pytest.mark.parametrize(
    ("number", "why"),
    [
        *((number, SECONDS) for number in (YEAR_2000 // 1000, 1_795_820_410, model.TIME_MAX // 1000)),
        *((number, OLD) for number in (YEAR_2000 // 1000 - 1, 86_400, 1, 0, -1, -(2**63), model.TIME_MIN)),
        *((number, OLD) for number in (model.TIME_MAX // 1000 + 1, YEAR_2000 - 1)),
    ],
)
def test_a_number_before_2000_is_no_time_in_milliseconds(number: int, why: str) -> None:
    """Of a line, a column of integers, and one by one. As a text or a timestamp such a time is right."""
    assert the_faults(a_line(time=number)) == [f"line 1: time: {number} {why}"]
    decoded = decode_columns(pa.Table.from_pylist([an_event(time=NOON), an_event(time=number)]), account="local")
    assert faults_of(decoded) == [f"row 2: time: {number} {why}"]
    assert decoded.events.num_rows == 1
    assert instant(number) is None


@pytest.mark.parametrize("time", [*NO_TIMES, model.TIME_MAX + 1, 2**63, 1.0, True, [0], {}])
def test_what_is_no_time_to_the_second_with_an_offset_is_refused(time: object) -> None:
    assert the_faults(a_line(time=time)) == [f"line 1: {TIME}"]
    assert instant(time) is None


@pytest.mark.parametrize("time", ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5+00:00", "2026-11-20t12:00:60z"])
def test_a_leap_second_is_refused_and_called_by_its_name(time: str) -> None:
    assert the_faults(a_line(time=time)) == [
        "line 1: time: must not be a leap second, which epoch milliseconds do not know; write second 59"
    ]


def test_the_calendar_is_right_in_every_year() -> None:
    years = range(1, 10_000)
    dates = [f"{year:04}-{date}T00:00:00Z" for date in ("02-29", "03-01") for year in years]
    decoded = decode_lines(b"\n".join(a_line(time=date) for date in dates), account="local")
    assert [line.line for line in decoded.refused] == [year for year in years if not isleap(year)]
    ordinals = [datetime(year, 3, 1, tzinfo=UTC).toordinal() for year in years]
    days = sorted(ordinals + [ordinal - 1 for year, ordinal in zip(years, ordinals, strict=True) if isleap(year)])
    milliseconds = sorted(decoded.events["time"].cast(pa.int64()).to_pylist())
    assert milliseconds == [(day - model.EPOCH.toordinal()) * DAY for day in days]


def test_times_in_text_and_in_milliseconds_may_be_mixed() -> None:
    block = b"\n".join(a_line(eventId=str(i), time=time) for i, time in enumerate([NOON, "2026-11-20T12:00:00Z"] * 3))
    assert {event["time"] for event in events_of(decode(block).events)} == {NOON}


@pytest.mark.parametrize("value", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_integers_are_exact_to_64_bits(value: int) -> None:
    assert the_event(a_line(skillId=value))["skillId"] == value


@pytest.mark.parametrize(
    "value",
    [b'"5"', b"1.0", b"1e2", b"true", b"false", b"[5]", b"{}", b'""', b"0.5", str(2**63).encode(), b"9" * 30],
    ids=bytes.decode,
)
def test_nothing_else_is_taken_for_an_integer(value: bytes) -> None:
    assert the_faults(with_value("skillId", value)) == [f"line 1: skillId: {INTEGER}"]


ODD_IDS = [
    "a",
    "é" * 128,
    "\U0001f600" * 128,
    "a b",
    '"',
    "\\",
    "/",
    " ",
    "\u00a0",
    "\u2028",
    "\u0378",
    "'; --",
    "=1+1",
]
CONTROLS = ["\0", "\t", "\n", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]


@pytest.mark.parametrize("text", ODD_IDS)
def test_an_id_may_have_up_to_128_characters_of_any_writing(text: str) -> None:
    escaped = json.dumps(an_event(eventId=text)).encode()
    assert the_event(a_line(eventId=text))["eventId"] == the_event(escaped)["eventId"] == text


@pytest.mark.parametrize("text", ["", "a" * 129, "é" * 129, "\U0001f600" * 129, 5, True, ["a"]])
def test_an_id_has_a_length(text: object) -> None:
    assert the_faults(a_line(conversationId=text)) == [f"line 1: conversationId: {ID}"]


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_are_refused_in_ids_and_texts_but_not_in_unknown_fields(control: str) -> None:
    assert the_faults(a_line(eventId=f"a{control}b", source=control)) == [
        f"line 1: eventId: {ID}",
        f"line 1: source: {TEXT}",
    ]
    assert the_event(a_line(remark=control)) == the_event(a_line())


@pytest.mark.parametrize(("text", "fine"), [("", True), ("x" * 128, True), ("x" * 129, False), (5, False)])
def test_a_text_may_be_empty_and_has_at_most_128_characters(text: object, fine: bool) -> None:
    if fine:
        assert the_event(a_line(source=text))["source"] == text
    else:
        assert the_faults(a_line(source=text)) == [f"line 1: source: {TEXT}"]


@pytest.mark.parametrize(
    ("account", "fine"),
    [("a", True), ("Zz09", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a-b", False), ("a\n", False)]
    + [(odd, False) for odd in ("é", "a b", "{a}", "@", "[", "`", "/", ":", "\u0661")],
)
def test_an_account_is_letters_and_digits(account: str, fine: bool) -> None:
    assert is_account(account) is fine
    assert faults_of(decode(a_line(accountId=account))) == ([] if fine else [f"line 1: accountId: {ACCOUNT}"])


# --- JSON and its traps ----------------------------------------------------------------------------------------------

HARMLESS = [
    *(
        b"1.5",
        b"-0.0",
        b"1e5",
        b"1e-999",
        b"true",
        b"false",
        b"null",
        b'""',
        b'"\\n\\"\\/\\u00e9\\\\"',
        b'"\\ud83d\\ude00"',
    ),
    *(b"12345678901234567890", b"9" * 4000, b"-0", b"[]", b"{}", b'[1,{"a":[null,"]}"]}]', b'"\x7f\xc2\x80"'),
    *(b"[" * (NESTING_MAX - 1) + b"]" * (NESTING_MAX - 1), b'"' + b"[{" * 1000 + b'\\""'),
]
NOT_JSON = [
    *(b"NaN", b"-NaN", b"Infinity", b"-Infinity", b"nan", b"1e999", b"-1e999", b"9" * 400 + b".5", b"1" * 5000),
    *(b"01", b"1.", b".5", b"+1", b"-", b"1e", b"0x10", b"1_000", b"True", b"nul", b"nulll", b"'a'", b"undefined"),
    *(b'"\\ud800"', b'"\\udc00"', b'"\\ud800\\u0041"', b'"\\x41"', b'"\\u12"', b'"\\u12g4"', b'"a', b'"\\"', b'"\\'),
    *(b'"\x00"', b'"\x1f"', b'"\t"', b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc0\x80"'),
    *(b"[1,]", b'{"a":1,}', b"{1:2}", b"[1", b'{"a"}', b"[1}", b"1 2", b"1,", b"", b"/**/1", b"\x00", b"1\x00"),
    *(b"[" * NESTING_MAX + b"]" * NESTING_MAX, b'{"a":' * 200 + b"1" + b"}" * 200, b"[" * 400_000 + b"]" * 400_000),
    b"[" * 500_000,
]


@pytest.mark.parametrize("value", HARMLESS, ids=lambda value: repr(value[:24]))
def test_an_unknown_field_may_hold_anything_that_is_json(value: bytes) -> None:
    assert the_event(with_value("remark", value)) == the_event(a_line())


@pytest.mark.parametrize("field", ["remark", "skillId", "source", "time"])
@pytest.mark.parametrize("value", NOT_JSON, ids=lambda value: repr(value[:24]))
def test_what_is_not_json_is_a_fault_of_the_line_in_whatever_field(field: str, value: bytes) -> None:
    good = a_line(eventId="good")
    decoded = decode(b"\n".join([good, with_value(field, value), good]))
    assert decoded.events.num_rows == 2
    (fault,) = faults_of(decoded)
    assert fault.startswith(("line 2: must be a JSON object", "line 2: must be UTF-8"))


@pytest.mark.parametrize(
    "line",
    [
        b"5",
        b"null",
        b'"opened"',
        b"[]",
        b"[{}]",
        b"{",
        b"}",
        b"{}}",
        b'{"a"',
        b"{'a':1}",
        b"\xef\xbb\xbf{}",
        b"#",
        b",",
        b"{,}",
    ],
    ids=repr,
)
def test_a_line_that_is_no_object_is_a_fault(line: bytes) -> None:
    (fault,) = the_faults(line)
    assert fault.startswith("line 1: must be a JSON object")


def test_a_line_with_more_than_its_object_says_so_and_what_to_do() -> None:
    two = (
        "must be a JSON object: another one follows on its line (byte {}); "
        "write each on a line of its own, or all as an array"
    )
    comma = "must be a JSON object: a comma follows it (byte {}); lines have none, or write all as an array"
    mark = (
        "must be a JSON object: a byte-order mark (EF BB BF) stands before it, which only the start of a file may have"
    )
    event = a_line()
    after = len(event) + 1
    for line, fault in (
        (event + event, two.format(after)),
        (event + b" \t" + event, two.format(after + 2)),
        (event + b"\xef\xbb\xbf" + event, two.format(after)),
        (event + b",", comma.format(after)),
        (event + b", " + event, comma.format(after)),
        (b"\xef\xbb\xbf" + event, mark + "; take it out"),
        (event + b"]", f"must be a JSON object: JSON is malformed: trailing characters (byte {after})"),
    ):
        decoded = decode(event + b"\n" + line + b"\n" + event)
        assert faults_of(decoded) == [f"line 2: {fault}"]
        assert decoded.events.num_rows == 2
    decoded = decode_lines(event + b" " + event, account="local", unit="element")
    assert faults_of(decoded) == [f"element 1: {two.format(after + 1)}"]


def test_an_empty_object_misses_everything() -> None:
    assert [fault.split(": ")[1] for fault in the_faults(b"{}")] == ["conversationId", "eventId", "time", "type"]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (a_line()[:-1] + b',"type":"closed","closedBy":"agent"}', an_event("closed")),
        (a_line()[:-1] + b',"skillId":"x","skillId":5}', an_event(skillId=5)),
        (a_line()[:-1] + b',"skillId":5,"skillId":null}', an_event()),
        (a_line()[:-1] + b',"skillId":null,"skillId":5}', an_event(skillId=5)),
        (a_line()[:-1] + b',"skillId":4,"skill\\u0049d":5}', an_event(skillId=5)),
        (a_line()[:-1] + b',"x":1,"x":[2]}', an_event()),
    ],
)
def test_of_a_key_that_stands_twice_the_last_counts(line: bytes, event: Event) -> None:
    assert the_event(line) == {"accountId": "local", "sequence": 0, "revision": 0, **event}


@pytest.mark.parametrize("key", ["type\\u0000", "Type", "typ", "types", "", "agent-id", "é", "e" * 10_000])
def test_only_the_very_names_are_known(key: str) -> None:
    assert the_event(a_line()[:-1] + f',"{key}":[]}}'.encode()) == the_event(a_line())


NO_KEYS = [
    b'"a\x00"',
    b'"\r"',
    b'"a\x1fb"',
    b'"\\x"',
    b'"\\ud800"',
    b'"\xff"',
    b"a",
    b"1",
    b"null",
    b'"a',
    b'"a" "b"',
    b"",
]


@pytest.mark.parametrize("key", NO_KEYS, ids=repr)
def test_a_key_that_is_no_json_string_is_a_fault_of_the_line(key: bytes) -> None:
    faults = the_faults(a_line()[:-1] + b"," + key + b":1}")
    assert faults[0].startswith(("line 1: must be a JSON object", "line 1: must be UTF-8"))


def test_white_space_between_tokens_means_nothing() -> None:
    spaced = a_line().replace(b",", b" \t,\r ").replace(b":", b"\t : ")
    assert the_event(b" \t\r" + spaced + b"\t \r") == the_event(a_line())


def test_a_line_may_be_a_mebibyte_long_but_no_longer() -> None:
    room = LINE_MAX - len(a_line(remark=""))
    assert the_event(a_line(remark="x" * room) + b"\r\n") == the_event(a_line())
    decoded = decode(a_line(remark="x" * (room + 1)) + b"\n" + a_line())
    assert faults_of(decoded) == ["line 1: is longer than 1048576 bytes"]
    assert decoded.events.num_rows == 1
    assert decoded.refused[0].text == a_line(remark="x" * (room + 1))[:LINE_MAX]


def test_a_great_many_unknown_keys_cost_nothing_much() -> None:
    block = b"\n".join(a_line(eventId=str(i), **{f"key{i}": i}) for i in range(10_000))
    assert decode(block).events.num_rows == 10_000


# --- lines -----------------------------------------------------------------------------------------------------------

GOOD = a_line(eventId="good")


@pytest.mark.parametrize(
    ("block", "events", "refused"),
    [
        (b"", 0, []),
        (b"\n", 0, []),
        (b"\n \t\r\n\n", 0, []),
        (GOOD, 1, []),
        (GOOD + b"\n", 1, []),
        (GOOD + b"\n" + GOOD, 2, []),
        (GOOD + b"\r\n" + GOOD + b"\r\n", 2, []),
        (b"\n\n" + GOOD + b"\n\n!\n\n", 1, [5]),
        (b"\r\n!\r\n" + GOOD + b"\r\n!", 1, [2, 4]),
        (GOOD + b" " + GOOD, 0, [1]),
        (GOOD + GOOD + b"\n" + GOOD, 1, [1]),
        (GOOD.replace(b", ", b",\n", 1) + b"\n" + GOOD, 1, [1, 2]),
        (GOOD + b"\n\xff\n" + GOOD + b"\n\xc3\n", 2, [2, 4]),
        (b"\xc3\n\xa9\n" + GOOD, 1, [1, 2]),
        (GOOD + b"\n\x00\n" + GOOD + b"\x00", 1, [2, 3]),
        (GOOD + b"\x0b\n\x0c\n" + GOOD, 1, [1, 2]),
        (GOOD + b"\r" + GOOD + b"\n", 0, [1]),
        (b"\xef\xbb\xbf" + GOOD, 0, [1]),
    ],
)
def test_lines_are_numbered_whatever_stands_in_them(block: bytes, events: int, refused: list[int]) -> None:
    decoded = decode(block)
    assert decoded.events.num_rows == events
    assert [line.line for line in decoded.refused] == refused


def test_a_refused_line_keeps_its_bytes_without_the_line_end() -> None:
    decoded = decode(GOOD + b'\r\n{"type": "\xff"}\r\n  !\n')
    assert [line.text for line in decoded.refused] == [b'{"type": "\xff"}', b"  !"]


def test_numbers_go_on_from_the_block_before() -> None:
    decoded = decode_lines(b"!\n" + a_line(skillId="x"), account="local", first_line=7, unit="element")
    assert [line.line for line in decoded.refused] == [7, 8]
    assert faults_of(decoded)[1] == f"element 8: skillId: {INTEGER}"


# --- any events, and what becomes of them when they are changed ------------------------------------------------------

plain_text = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)
VALUES: dict[str, st.SearchStrategy[object]] = {
    "accountId": st.text("abcXYZ019", min_size=1, max_size=64),
    "conversationId": plain_text.filter(bool),
    "eventId": plain_text.filter(bool),
    "time": st.integers(
        model.TIME_MIN + DAY, model.TIME_MAX - DAY
    ),  # in any zone of the years 1 to 9999; see `written`
    "employeeId": plain_text,
    "source": plain_text,
}


def values_of(field: model.Field) -> st.SearchStrategy[object]:
    """Values that are right in a field."""
    if field.name in VALUES:
        return VALUES[field.name]
    return st.sampled_from(field.choices) if field.choices else st.integers(field.lowest, field.highest)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event with all it must have and some of what it may have."""
    event: Event = {"type": draw(st.sampled_from(model.TYPES))}
    for field in model.FIELDS:
        type_ = str(event["type"])
        if field.is_required(type_) or (field.belongs_to(type_) and draw(st.booleans())):
            event.setdefault(field.name, draw(values_of(field)))
    if event.get("sentBy") not in (None, "agent"):
        event.pop("agentId", None)
    return event


def with_defaults(event: Event) -> Event:
    """As the event is held."""
    assigned = {"groupId": -1, "userType": "human"} if event["type"] == "assigned" else {}
    return {"accountId": "local", "sequence": 0, "revision": 0, **assigned, **event}


def written(event: Event, hours: int | None, ascii_: bool) -> bytes:
    """The event as JSON, its time as text with an offset, or, without one and from 2000 on, as a number."""
    if hours is not None or int(str(event["time"])) < YEAR_2000:
        moment = model.EPOCH + timedelta(milliseconds=int(str(event["time"])))
        zone = timezone(timedelta(hours=hours or 0))
        event = event | {"time": moment.astimezone(zone).isoformat(timespec="milliseconds")}
    return json.dumps(event, ensure_ascii=ascii_).encode()


@settings(max_examples=60)
@given(st.lists(st.tuples(events(), st.none() | st.integers(-23, 23), st.booleans()), max_size=12))
def test_any_events_come_back_as_they_were_written(
    some: list[tuple[Event, int | None, bool]],
) -> None:
    decoded = decode(b"\n".join(written(*event) for event in some))
    assert faults_of(decoded) == []
    assert events_of(decoded.events) == in_order(with_defaults(event) for event, _, _ in some)

    again = decode_columns(decoded.events, account="other")
    assert events_of(again.events) == events_of(decoded.events)
    assert again.refused == []


NASTY = [
    *(value for value in (*HARMLESS, *NOT_JSON) if len(value) < 5001),
    *(json.dumps(time, ensure_ascii=False).encode() for time in (*TIMES, *NO_TIMES)),
    *(
        json.dumps(text, ensure_ascii=False).encode()
        for text in (*ODD_IDS, "a" * 129, "\xa0" * 128, "x" * 64, "x" * 65)
    ),
    *(json.dumps(text).encode() for text in (*CONTROLS, *ODD_IDS, "agent", "consumer", "message", "opened", "bot")),
    *(str(number).encode() for number in (2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**18, 10**18 - 1)),
    *(str(number).encode() for number in (model.TIME_MIN - 1, model.TIME_MIN, model.TIME_MAX, model.TIME_MAX + 1)),
    *(str(number).encode() for number in (YEAR_2000 - 1, YEAR_2000, YEAR_2000 // 1000, 0)),
]
KEYS = [*(field.name for field in model.FIELDS), "x", "", "é", "agentIds", "agentI", "ty\\u0070e", "type\\u0000"]
SPACES = ["", "", "", " ", "\t", "\r", "  "]
BITS = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\r",
    b"\n",
    b"\0",
    b"\\u0061",
    b"-",
    b"0",
    b".",
    b"\xc2",
]

Members = list[tuple[str, bytes]]


@st.composite
def changed_lines(draw: st.DrawFn) -> bytes:
    """A good line in which values are swapped, keys doubled or left out, and bytes put in, changed or cut out."""
    event = draw(events())
    members: Members = [(key, json.dumps(value, ensure_ascii=False).encode()) for key, value in event.items()]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(members) - 1))
        change = draw(st.sampled_from(["value", "value", "more", "twice", "less"]))
        members[place : place + 1] = draw(changed_member(members[place], change))
        if not members:
            return b"{}"
    space = draw(st.sampled_from(SPACES)).encode()
    line = space + b"{" + b",".join(space + b'"%b"%b:' % (key.encode(), space) + value for key, value in members)
    return draw(with_changed_bytes(line + space + b"}" + space)) if draw(st.booleans()) else line + b"}"


def changed_member(member: tuple[str, bytes], change: str) -> st.SearchStrategy[Members]:
    """What stands in the place of a member of an object."""
    key, value = member
    nasty = st.sampled_from(NASTY)
    if change == "value":
        return nasty.map(lambda other: [(key, other)])
    if change == "more":
        return st.tuples(st.sampled_from(KEYS), nasty).map(lambda other: [(key, value), other])
    if change == "twice":
        return nasty.map(lambda other: [(key, other), (key, value)])
    return st.just([])


@st.composite
def with_changed_bytes(draw: st.DrawFn, line: bytes) -> bytes:
    """The line with a few bytes replaced by none, others, or more."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(line)))
        cut = draw(st.integers(0, 3))
        line = line[:start] + draw(st.sampled_from(BITS) | st.binary(max_size=2)) + line[start + cut :]
    return line


@settings(max_examples=200)
@given(st.lists(changed_lines(), min_size=1, max_size=6), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_blocks_and_single_lines_agree_on_whatever_comes(lines: list[bytes], line_end: bytes) -> None:
    decode(line_end.join(lines))


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(block: bytes) -> None:
    decode(block)


# --- columns ---------------------------------------------------------------------------------------------------------

COLUMNS: dict[str, pa.Array] = {
    "eventId": pa.array(["a", "b", "c"]),
    "conversationId": pa.array(["x", "é" * 128, "z"]),
    "time": pa.array([NOON, YEAR_2000, model.TIME_MAX]),
    "type": pa.array(["message", "assigned", "opened"]),
    "sentBy": pa.array(["agent", None, None]),
    "agentId": pa.array([7, -1, None]),
}


def a_table(**columns: pa.Array | None) -> pa.Table:
    """A table of three events, with other columns where they are given (None: without them)."""
    return pa.table({name: column for name, column in {**COLUMNS, **columns}.items() if column is not None})


def the_same_rows(table: pa.Table) -> None:
    decoded = decode_columns(table, account="local")
    assert faults_of(decoded) == []
    lines = [{k: v for k, v in row.items() if v is not None} for row in a_table().to_pylist()]
    assert events_of(decoded.events) == in_order(with_defaults(line) for line in lines)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"eventId": COLUMNS["eventId"].cast(pa.large_string()), "type": COLUMNS["type"].cast(pa.string_view())},
        {name: COLUMNS[name].dictionary_encode() for name in ("eventId", "type", "sentBy", "agentId", "time")},
        {"type": COLUMNS["type"].cast(pa.large_string()).dictionary_encode()},
        {"agentId": COLUMNS["agentId"].cast(pa.int8()), "skillId": pa.nulls(3)},
        {"agentId": COLUMNS["agentId"].cast(pa.int16()), "groupId": pa.nulls(3, pa.uint64())},
        {"time": COLUMNS["time"].cast(pa.timestamp("ms", "UTC"))},
        {"time": COLUMNS["time"].cast(pa.timestamp("ms", "Europe/Berlin"))},
        {
            "time": pa.array(
                [NOON * 1000 + 999, YEAR_2000 * 1000, model.TIME_MAX * 1000 + 999], pa.timestamp("us", "UTC")
            )
        },
        {"time": pa.array(["2026-11-20T12:00:00Z", "2000-01-01T00:00:00Z", "9999-12-31T23:59:59.9999Z"])},
        {"remark": pa.array([1.5, None, 2.5]), "accountId": pa.nulls(3), "employeeId": pa.nulls(3, pa.string())},
        {"reason": pa.array(["no reason", "", None]), "closedBy": pa.array([None, "x", "y"])},
    ],
)
def test_columns_may_have_any_type_that_holds_the_values(columns: dict[str, pa.Array]) -> None:
    the_same_rows(a_table(**columns))


def test_timestamps_of_each_unit_are_cut_to_milliseconds() -> None:
    for unit, per_millisecond in (("us", 1000), ("ns", 1_000_000)):
        times = pa.array([per_millisecond - 1, -1, -per_millisecond], pa.timestamp(unit, "UTC"))
        decoded = decode_columns(a_table(time=times), account="local")
        assert decoded.events["time"].cast(pa.int64()).to_pylist() == [0, -1, -1]
    seconds = pa.array([1, -1, 0], pa.timestamp("s", "+01:00"))
    decoded = decode_columns(a_table(time=seconds), account="local")
    assert decoded.events["time"].cast(pa.int64()).to_pylist() == [1000, -1000, 0]


def test_timestamps_may_be_from_before_2000_also_beside_a_fault() -> None:
    """In a row that has a fault elsewhere the time is right, and the row after the doubtful one too."""
    times = pa.array([0, -1, model.TIME_MIN], pa.timestamp("ms", "UTC"))
    decoded = decode_columns(a_table(time=times, agentId=pa.array([7, None, None], pa.int64())), account="local")
    assert faults_of(decoded) == [f"row 2: agentId: is missing; {INTEGER}"]
    assert decoded.events["time"].cast(pa.int64()).to_pylist() == [0, model.TIME_MIN]


def test_a_piece_of_a_table_is_read_like_a_table() -> None:
    table = pa.concat_tables(
        [a_table(), a_table(eventId=pa.array(["d", "e", "f"]).dictionary_encode().cast(pa.string()))]
    )
    decoded = decode_columns(table.slice(2, 3), account="local")
    assert sorted(decoded.events["eventId"].to_pylist()) == ["c", "d", "e"]
    assert decode_columns(table.slice(0, 0), account="local").events.schema == model.EVENTS


@pytest.mark.parametrize(
    ("column", "values", "faults"),
    [
        ("agentId", pa.array([1, 2, 2**64 - 1], pa.uint64()), []),
        ("agentId", pa.array([2**64 - 1, 2**63, 5], pa.uint64()), [(11, "agentId"), (12, "agentId")]),
        ("sequence", pa.array([1, 2, 2**64 - 1], pa.uint64()), [(13, "sequence")]),
        ("time", pa.array([NOON, 2**63, model.TIME_MAX + 1], pa.uint64()), [(12, "time"), (13, "time")]),
        ("time", pa.array([-(2**63), 0, 2**63 - 1], pa.timestamp("s", "UTC")), [(11, "time"), (13, "time")]),
        ("time", pa.array([-(2**63), 0, 2**63 - 1], pa.timestamp("ms", "UTC")), [(11, "time"), (13, "time")]),
        ("time", pa.array(["now", None, "2016-12-31T23:59:60Z"]), [(11, "time"), (12, "time"), (13, "time")]),
        ("eventId", pa.array(["", "a\0", None]), [(11, "eventId"), (12, "eventId"), (13, "eventId")]),
        ("type", pa.array(["opened", "message", "mesage"]), [(12, "sentBy"), (13, "type")]),
        ("type", pa.nulls(3), [(11, "type"), (12, "type"), (13, "type")]),
        ("accountId", pa.array(["a", None, "a b"]), [(13, "accountId")]),
        ("sentBy", pa.array(["consumer", "nobody", "nobody"]), []),
        ("sentBy", pa.array(["nobody", None, None]), [(11, "sentBy")]),
        ("agentId", pa.array([None, None, None], pa.int64()), [(12, "agentId")]),
        ("source", pa.array(["x" * 129, "x" * 129, "x" * 129]), [(13, "source")]),
    ],
)
def test_a_row_with_faults_is_named_by_its_number(column: str, values: pa.Array, faults: list[tuple[int, str]]) -> None:
    decoded = decode_columns(a_table(**{column: values}), account="local", first_line=11)
    assert [(fault.line, fault.field) for row in decoded.refused for fault in row.faults] == faults
    assert all(fault.startswith("row 1") for fault in faults_of(decoded))
    assert decoded.events.num_rows == 3 - len(decoded.refused)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"eventId": None}, "eventId: this column is missing"),
        ({"time": None}, "time: this column is missing"),
        ({"eventId": pa.array([1, 2, 3])}, "eventId: must be a column of strings, not of int64"),
        ({"eventId": pa.array([b"a", b"b", b"c"])}, "eventId: must be a column of strings, not of binary"),
        ({"agentId": pa.array([1.0, 2.0, None])}, "agentId: must be a column of integers, not of double"),
        ({"agentId": pa.array(["1", "2", "3"])}, "agentId: must be a column of integers, not of string"),
        ({"agentId": pa.array([True, False, None])}, "agentId: must be a column of integers, not of bool"),
        (
            {"skillId": pa.array([{"a": 1}, None, None])},
            "skillId: must be a column of integers, not of struct<a: int64>",
        ),
        (
            {"time": pa.array([0, 1, 2], pa.timestamp("ms"))},
            "time: must be timestamps with a time zone, strings or integer milliseconds; these timestamps have no time "
            "zone (INT96 never has one). Spark writes one with "
            "spark.sql.parquet.outputTimestampType=TIMESTAMP_MILLIS",
        ),
        (
            {"time": pa.array([0.0, 1.0, 2.0])},
            "time: must be a column of timestamps with a time zone, strings or integer milliseconds, not of double",
        ),
        (
            {"time": pa.array([0, 1, 2], pa.date32())},
            "time: must be a column of timestamps with a time zone, strings or integer milliseconds, "
            "not of date32[day]",
        ),
    ],
)
def test_a_column_that_is_missing_or_of_another_type_is_a_fault_of_the_whole_table(
    columns: dict[str, pa.Array | None], fault: str
) -> None:
    decoded = decode_columns(a_table(**columns), account="local", first_line=11)
    assert faults_of(decoded) == [fault]
    assert [row.line for row in decoded.refused] == [0]
    assert decoded.events.num_rows == 0


def test_a_column_that_stands_twice_is_a_fault_of_the_whole_table() -> None:
    table = pa.table([*COLUMNS.values(), COLUMNS["eventId"]], names=[*COLUMNS, "eventId"])
    assert faults_of(decode_columns(table, account="local")) == ["eventId: this column stands twice"]


def test_strings_that_are_not_utf_8_are_a_fault_of_the_whole_table() -> None:
    broken = pa.array([b"a", b"\xff", b"\xc3"]).view(pa.string())
    (fault,) = faults_of(decode_columns(a_table(eventId=broken), account="local"))
    assert fault.startswith("eventId: ")
    assert "UTF8" in fault
