"""LivePerson's messaging history becomes events as liveperson-history.md says.

Covers: sources/liveperson/assignments, sources/liveperson/fields, sources/liveperson/files.
Covers: sources/liveperson/record, sources/liveperson/span, sources/tables.
"""

from __future__ import annotations

import copy
import io
import itertools
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.errors import InputError
from handletime.events import model
from handletime.events.book import event_of_line
from handletime.segments.derive import derive
from handletime.sources.event import Event
from handletime.sources.liveperson import History, events_of, read_history
from tests.segments.tables import events_of as event_table
from tests.segments.tables import in_order, rows_of
from tests.sources.liveperson_stub import as_of
from tests.store.worlds import a_store, stored_rows

SAMPLE = Path(__file__).parents[1] / "golden" / "liveperson-history-sample.json"
RECORDS: list[dict[str, Any]] = json.loads(SAMPLE.read_bytes())["conversationHistoryRecords"]
OPENED, FIRST_MESSAGE, TRANSFERRED, ASSIGNED, CLOSED = -4 * 10**9, -3 * 10**9, -2 * 10**9, -(10**9), 2**53 - 1


def a_record(name: str = "c-takeover", change: Callable[[dict[str, Any]], object] | None = None) -> dict[str, Any]:
    """A record of the sample, changed."""
    record = copy.deepcopy(next(r for r in RECORDS if r["info"]["conversationId"] == name))
    if change is not None:
        change(record)
    return record


def as_bytes(record: object) -> bytes:
    return json.dumps(record).encode()


def read(*files: bytes) -> History:
    return read_history([(f"file{number}", io.BytesIO(file)) for number, file in enumerate(files, 1)])


def rows(events: list[Event]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(event) for event in events]


def told(record: dict[str, Any]) -> list[str]:
    return events_of(as_bytes(record)).faults


def kinds(record: dict[str, Any]) -> list[tuple[str, object]]:
    """Type and agent of the record's events but for messages, in order."""
    return [(e.type, e.agent_id) for e in events_of(as_bytes(record)).events if e.type != "message"]


def at(clock: str) -> int:
    """Epoch milliseconds of a time of day of the sample's."""
    return int(datetime.fromisoformat(f"2026-11-16 {clock}").replace(tzinfo=UTC).timestamp() * 1000 + 0.5)


def expected(
    conversation: str, newest: str, *lines: tuple[str, int, str, dict[str, object]]
) -> list[dict[str, object]]:
    """Events written as time, sequence, id (without its time, `#n` for a message) and fields of their own.

    `newest` is the newest time in the record.
    """
    events = []
    for clock, sequence, id_, own in lines:
        time, (type_, _, rest) = at(clock), id_.partition(":")
        if id_.startswith("#"):
            type_, id_ = "message", f"ms::dialog:{conversation}::msg:{id_[1:]}"
        elif type_ in ("opened", "closed", "withdrawn"):
            id_, own = "closed" if type_ == "withdrawn" else type_, {"revision": at(newest), **own}
        else:
            id_ = f"{type_}:{time}:{rest}"
        event = {"accountId": "sample1", "conversationId": conversation, "eventId": id_, "time": time}
        events.append(event | {"sequence": sequence, "type": type_} | own)
    return events


MILLIS = "must be epoch milliseconds of the years 2000 to 9999"
SECONDS = "looks like seconds; epoch milliseconds are wanted"
CONSUMER: dict[str, object] = {"sentBy": "consumer"}


def by(agent_id: int) -> dict[str, object]:
    return {"sentBy": "agent", "agentId": agent_id}


def taken(agent_id: int, group_id: int = 501, user_type: str = "human") -> dict[str, object]:
    return {"agentId": agent_id, "groupId": group_id, "userType": user_type}


SAMPLE_EVENTS = {
    # From the bot by skill transfer to a human; neither the reader 3900 nor the survey and its bot 9002.
    "c-bot-to-human": expected(
        "c-bot-to-human",
        "09:21:30.000",
        ("09:00:00.000", OPENED, "opened", {"source": "WEB", "skillId": 10}),
        ("09:00:00.350", ASSIGNED, "assigned:9001", taken(9001, user_type="bot")),
        ("09:00:01.200", FIRST_MESSAGE, "#0", CONSUMER),
        ("09:00:01.900", 1, "#1", by(9001)),
        ("09:00:30.000", 2, "#2", CONSUMER),
        ("09:00:30.700", 3, "#3", by(9001)),
        ("09:00:31.000", TRANSFERRED, "transferred:9001:20:skill", {"reason": "skill", "skillId": 20}),
        ("09:02:00.010", ASSIGNED, "assigned:3001", taken(3001)),
        ("09:04:10.500", 6, "#6", by(3001)),
        ("09:06:00.000", 7, "#7", CONSUMER),
        ("09:07:12.000", 9, "#9", by(3001)),
        ("09:20:00.000", CLOSED, "closed", {"closedBy": "agent"}),
    ),
    "c-takeover": expected(
        "c-takeover",
        "10:30:00.000",
        ("10:00:00.000", OPENED, "opened", {"source": "SMS", "skillId": 10}),
        ("10:00:00.000", FIRST_MESSAGE, "#0", CONSUMER),
        ("10:01:00.000", ASSIGNED, "assigned:3001", taken(3001)),
        ("10:03:00.000", 1, "#1", by(3001)),
        ("10:09:00.000", 2, "#2", CONSUMER),
        ("10:12:00.000", TRANSFERRED, "transferred:3001:10:takeover", {"reason": "takeover", "skillId": 10}),
        ("10:12:00.000", ASSIGNED, "assigned:3900", taken(3900)),
        ("10:12:30.000", 3, "#3", by(3900)),
        ("10:14:00.000", 4, "#4", CONSUMER),
        ("10:15:00.000", 5, "#5", by(3900)),
        ("10:30:00.000", CLOSED, "closed", {"closedBy": "consumer"}),
    ),
    "c-left-in-queue": expected(
        "c-left-in-queue",
        "12:05:00.000",
        ("11:00:00.000", OPENED, "opened", {"source": "APP", "skillId": 30}),
        ("11:00:02.000", FIRST_MESSAGE, "#0", CONSUMER),
        ("11:10:00.000", ASSIGNED, "assigned:3002", taken(3002, group_id=-1)),
        ("11:40:00.000", TRANSFERRED, "transferred:3002:30:backToQueue", {"reason": "backToQueue", "skillId": 30}),
        ("12:00:00.000", 1, "#1", CONSUMER),
        ("12:05:00.000", CLOSED, "closed", {"closedBy": "consumer"}),
    ),
    # A suggested agent's timeout is a back to queue; nobody is the string "null"; no close yet, which takes one back.
    "c-still-open": expected(
        "c-still-open",
        "13:30:00.000",
        ("13:00:00.000", OPENED, "opened", {"source": "FACEBOOK", "skillId": -1}),
        ("13:00:00.500", FIRST_MESSAGE, "#0", CONSUMER),
        ("13:30:00.000", TRANSFERRED, "transferred::-1:backToQueue", {"reason": "backToQueue", "skillId": -1}),
        ("13:30:00.000", CLOSED, "withdrawn", {}),
    ),
    # Message 1 counts by its timeL, 14:05; TIMEOUT is the system; message 2 is after the close and imported.
    "c-contradicts-itself": expected(
        "c-contradicts-itself",
        "14:25:00.000",
        ("14:00:00.000", OPENED, "opened", {"source": "WEB", "skillId": 10}),
        ("14:00:01.000", FIRST_MESSAGE, "#0", CONSUMER),
        ("14:02:00.000", ASSIGNED, "assigned:3001", taken(3001)),
        ("14:05:00.000", 1, "#1", by(3001)),
        ("14:20:00.000", CLOSED, "closed", {"closedBy": "system"}),
        ("14:25:00.000", 2, "#2", CONSUMER),
    ),
}


# --- the sample -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conversation", SAMPLE_EVENTS)
def test_the_sample_becomes_these_events(conversation: str) -> None:
    events = [row for row in rows(list(read(SAMPLE.read_bytes()).events)) if row["conversationId"] == conversation]
    assert events == SAMPLE_EVENTS[conversation]


def test_the_sample_holds_nothing_else_and_its_faults_are_told_by_conversation() -> None:
    history = read(SAMPLE.read_bytes())
    assert {event.conversation_id for event in history.events} == set(SAMPLE_EVENTS)
    assert [(fault.conversation_id, fault.message) for fault in history.faults] == [
        ("c-contradicts-itself", "info.isPartial: parts of the conversation are missing"),
        ("c-contradicts-itself", "dialogs: is missing"),
        ("c-contradicts-itself", "transfers: is missing"),
        ("c-contradicts-itself", "agentParticipants[1].agentId: must be a signed 64-bit integer"),
        ("c-contradicts-itself", "messageRecords[1].time: disagrees with timeL, which counts"),
        ("c-contradicts-itself", "messageRecords[2]: is after the conversation's close"),
    ]
    assert str(history.faults[1]) == "file1: conversation c-contradicts-itself: dialogs: is missing"


def test_no_text_and_no_personal_data_gets_through() -> None:
    history = read(SAMPLE.read_bytes())
    output = msgspec.json.encode(list(history.events)).decode() + "\n".join(map(str, history.faults))
    dropped = {
        "made up",
        "Made",
        "Up",
        "consumer-1",
        "TEXT_PLAIN",
        "Sample",
        "sample3001",
        "phone",
        "undefined",
    }
    assert dropped.isdisjoint(word for word in dropped if word in output)
    assert "made up" in SAMPLE.read_text()


# --- files ------------------------------------------------------------------------------------------------

SHAPES = {
    "an answer on one line": as_bytes({"_metadata": {}, "conversationHistoryRecords": RECORDS}),
    "an array": json.dumps(RECORDS, indent=1).encode(),
    "an array on one line": as_bytes(RECORDS),
    "one record a line": b"\n".join(map(as_bytes, RECORDS)),
    "blank lines, a byte order mark, CRLF": b"\xef\xbb\xbf\r\n" + b"\r\n\r\n".join(map(as_bytes, RECORDS)) + b"\r\n",
    "one answer a line": b"\n".join(as_bytes({"conversationHistoryRecords": [r]}) for r in RECORDS),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_file_gives_the_same(shape: str) -> None:
    as_shipped, reshaped = read(SAMPLE.read_bytes()), read(SHAPES[shape])
    assert list(reshaped.events) == list(as_shipped.events)
    assert reshaped.faults == as_shipped.faults


def test_one_record_alone_may_be_spread_over_lines() -> None:
    assert rows(list(read(json.dumps(a_record(), indent=2).encode()).events)) == SAMPLE_EVENTS["c-takeover"]


@pytest.mark.parametrize("empty", [b"", b"\n \n", b"[]", b'{"conversationHistoryRecords": []}'])
def test_nothing_gives_nothing(empty: bytes) -> None:
    history = read(empty)
    assert list(history.events) == []
    assert history.faults == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"time,agent\n1,2\n", "file1: line 1: is not JSON, which breaks off or goes wrong here"),
        (SAMPLE.read_bytes()[:-5], "file1: line 881: is not JSON, which breaks off or goes wrong here"),
        (b'[{"info":\n NaN}]', "file1: line 2: is not JSON, which breaks off or goes wrong here"),
        (b"\n\n[\n" + b"[" * 100_000 + b"\n", "file1: is nested too deep"),
        (b"\xff\xfe[\x00]\x00", "file1: line 1: is not JSON, which breaks off or goes wrong here"),
        (
            b'{"conversationHistoryRecords":\n 5}',
            "file1: must be an answer, an array of records, or one record a line",
        ),
    ],
)
def test_a_file_that_is_not_json_is_an_error_that_names_the_line(file: bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(file)
    assert str(error.value) == message


def test_a_line_that_is_no_record_is_told_by_its_place_and_the_others_are_imported() -> None:
    good = as_bytes(a_record())
    for bad in (
        b"{",
        b'{"info": {"conversationId": NaN}}',
        b"[" * 100_000,
        b"5",
        b'"made up"',
        b"{}",
        b'{"info": 5}',
    ):
        for lines in ((good, bad, good), (bad, good)):
            history = read(b"\n".join(lines))
            assert rows(list(history.events)) == SAMPLE_EVENTS["c-takeover"]
            place = f"file1: line {lines.index(bad) + 1}: must be a record: a JSON object with `info`"
            assert [str(fault) for fault in history.faults] == [place]


@pytest.mark.parametrize("id_", [None, 5, "", "a\nb", "x" * 129, ["c"], "\ud800"])
def test_a_record_without_a_usable_conversation_is_told_by_its_place(id_: object) -> None:
    nameless = a_record(change=lambda r: r["info"].update(conversationId=id_))
    history = read(as_bytes([a_record(), nameless]))
    assert rows(list(history.events)) == SAMPLE_EVENTS["c-takeover"]
    [fault] = history.faults
    assert fault.conversation_id == ""
    assert fault.message.startswith("line 1, record 2: info.conversationId: ")


def test_half_a_character_at_the_end_of_a_text_spoils_nothing() -> None:
    def cut(record: dict[str, Any]) -> None:
        record["messageRecords"][0]["messageData"]["msg"]["text"] = 'cut \\ud83d \\"\U0001f600\ud83d'

    file = as_bytes([a_record(change=cut)])
    assert rb"\ud83d\ude00\ud83d" in file
    history = read(file)
    assert rows(list(history.events)) == SAMPLE_EVENTS["c-takeover"]
    assert history.faults == []


def test_numbers_that_do_not_fit_cost_only_their_part() -> None:
    for number in (b"1e999", b"9" * 5000, b"-1e-999", b"99999999999999999999"):
        file = as_bytes(a_record()).replace(b'"seq": 3', b'"seq": ' + number)
        conversation = events_of(file)
        assert len(conversation.events) >= len(SAMPLE_EVENTS["c-takeover"]) - 1
        assert conversation.faults[0].startswith("messageRecords[3]")


# --- copies -----------------------------------------------------------------------------------------------


def older(record: dict[str, Any]) -> None:
    """As the record was at 10:11, before the takeover."""
    record["info"].update(status="OPEN", endTime="undefined", endTimeL=-1, closeReason=None)
    record["dialogs"][0].update(status="OPEN", endTime="undefined", endTimeL=-1, closeReason=None)
    del record["messageRecords"][3:], record["agentParticipants"][1:], record["interactions"][1:]
    record["transfers"] = []


def test_the_same_file_twice_gives_the_same() -> None:
    once, twice = read(SAMPLE.read_bytes()), read(SAMPLE.read_bytes(), SAMPLE.read_bytes())
    assert list(twice.events) == list(once.events)
    assert twice.faults == once.faults


def test_a_newer_copy_repeats_the_ids_and_sequences_of_the_older() -> None:
    before = events_of(as_bytes(a_record(change=older))).events
    after = events_of(as_bytes(a_record())).events
    assert [(event.event_id, event.type) for event in before[:1] + before[-1:]] == [
        ("opened", "opened"),
        ("closed", "withdrawn"),
    ]
    assert len(before) == 6
    assert [event for event in after if event in before[1:-1]] == before[1:-1]
    assert [before[0].revision, after[0].revision, after[-1].revision] == [
        *(at("10:09:00.000"), at("10:30:00.000"), at("10:30:00.000"))
    ]


def test_copies_are_one_conversation_whatever_their_order() -> None:
    for files in itertools.permutations([as_bytes(a_record(change=older)), as_bytes(a_record())]):
        history = read(*files)
        assert rows(list(history.events)) == SAMPLE_EVENTS["c-takeover"]
        assert history.faults == []


def test_where_copies_differ_the_newest_counts_and_what_only_others_have_is_added() -> None:
    def newest(record: dict[str, Any]) -> None:
        record["info"]["endTimeL"] += 60_000
        record["dialogs"][0]["endTimeL"] += 60_000
        record["messageRecords"][1]["timeL"] += 5
        del record["messageRecords"][4]

    three = [as_bytes(a_record(change=older)), as_bytes(a_record()), as_bytes(a_record(change=newest))]
    answers = [read(*files) for files in itertools.permutations(three)]
    merged = list(answers[0].events)
    assert all(list(answer.events) == merged for answer in answers[1:])
    assert len({event.event_id for event in merged}) == len(merged) == len(SAMPLE_EVENTS["c-takeover"])
    assert [event.time for event in merged if event.type == "closed"] == [at("10:31:00.000")]
    assert [event.time for event in merged if event.event_id.endswith("msg:1")] == [at("10:03:00.005")]
    differing = [f.message for f in answers[0].faults if "copies" in f.message]
    assert differing == ["ms::dialog:c-takeover::msg:1: copies of the record differ; the newest counts"]


def test_equal_ids_of_two_accounts_are_two_conversations() -> None:
    other = a_record(change=lambda r: r["info"].update(brandId="other"))
    events = list(read(as_bytes([a_record(), other])).events)
    assert [event.account_id for event in events] == ["other"] * 11 + ["sample1"] * 11


# --- assignments ------------------------------------------------------------------------------------------

TAKEOVER = [("opened", None), ("assigned", 3001), ("transferred", None), ("assigned", 3900), ("closed", None)]


def test_the_sample_has_those_assignments() -> None:
    assert kinds(a_record()) == TAKEOVER


def test_both_lists_and_the_interactions_tell_of_one_joining() -> None:
    def everywhere(record: dict[str, Any]) -> None:
        record["agentParticipantsActive"] = copy.deepcopy(record["agentParticipants"])
        record["agentParticipantsLeave"] = copy.deepcopy(record["agentParticipants"])

    record = a_record(change=everywhere)
    assert kinds(record) == TAKEOVER
    assert told(record) == []


@pytest.mark.parametrize("away", [-60_000, -900, 900, 600_000])
def test_an_interaction_is_no_second_assignment_where_nothing_happened_in_between(away: int) -> None:
    record = a_record(change=lambda r: r["interactions"][0].update(interactionTimeL=at("10:01:00.000") + away))
    assert kinds(record) == TAKEOVER


def test_an_interaction_some_milliseconds_away_is_no_second_assignment_though_a_transfer_lies_between() -> None:
    def around_the_transfer(record: dict[str, Any]) -> None:
        record["interactions"][1].update(interactionTimeL=at("10:11:59.997"), interactionTime=None)
        record["agentParticipants"][1].update(timeL=at("10:12:00.003"), time=None)

    record = a_record(change=around_the_transfer)
    assert kinds(record) == TAKEOVER
    assert told(record) == []


def test_of_two_entries_of_one_joining_the_first_counts() -> None:
    def twice(record: dict[str, Any]) -> None:
        record["agentParticipantsActive"] = [record["agentParticipants"][0] | {"userType": "2", "agentGroupId": None}]

    events = events_of(as_bytes(a_record(change=twice)))
    assert [(e.user_type, e.group_id) for e in events.events if e.agent_id == 3001 and e.user_type] == [("human", 501)]
    assert events.faults == []


def test_an_interaction_without_a_participant_is_the_assignment() -> None:
    record = a_record(change=lambda r: r.update(agentParticipants=[]))
    assert kinds(record) == TAKEOVER
    assert told(record) == [
        f"interactions[{n}]: agent {agent} is no assigned participant by then; counts as an assignment"
        for n, agent in ((0, 3001), (1, 3900))
    ]


def test_readers_and_the_system_do_not_take_the_conversation() -> None:
    for change in ({"permission": "READER"}, {"permission": "reader"}, {"userType": "0"}, {"userType": 0}):

        def reader(record: dict[str, Any], change: dict[str, Any] = change) -> None:
            record["agentParticipants"][0].update(change)
            del record["interactions"][0]

        assert kinds(a_record(change=reader)) == TAKEOVER[:1] + TAKEOVER[2:]


def test_a_takeover_assigns_its_agent_and_another_transfer_only_offers_the_conversation() -> None:
    def nobody_joins(record: dict[str, Any]) -> None:
        del record["agentParticipants"][1], record["interactions"][1]

    record = a_record(change=nobody_joins)
    assert kinds(record) == TAKEOVER
    expected_fault = "transfers[0].assignedAgentId: agent 3900 joins nowhere after it; "
    assert told(record) == [expected_fault + "counts as an assignment"]
    record["transfers"][0]["reason"] = "Agent"
    assert kinds(record) == TAKEOVER[:3] + TAKEOVER[4:]
    assert told(record) == [expected_fault + "not an assignment"]
    timed_out = record["transfers"][0] | {"reason": "SuggestedAgentTimeout", "sourceAgentId": "null"}
    record["transfers"].append(timed_out | {"timeL": at("10:13:00.000"), "time": None})
    assert told(record) == []


def test_whoever_joins_just_before_the_transfer_that_names_them_keeps_the_conversation() -> None:
    record = a_record(change=lambda r: r["agentParticipants"][1].update(timeL=at("10:11:59.994"), time=None))
    assert kinds(record) == TAKEOVER
    assigned = [e for e in events_of(as_bytes(record)).events if e.agent_id == 3900 and e.type == "assigned"]
    assert [(e.time, e.event_id) for e in assigned] == [(at("10:12:00.000"), f"assigned:{at('10:11:59.994')}:3900")]


@pytest.mark.parametrize(
    ("reason", "source", "target", "expected"),
    [
        ("Skill", 10, 20, "skill"),
        ("AGENT", 10, 20, "agent"),
        ("back2Q", 10, 10, "backToQueue"),
        ("TakeOver", 10, 10, "takeover"),
        ("SuggestedAgentTimeout", 10, 10, "backToQueue"),
        ("Other", 10, 20, "skill"),
        ("Other", 10, 10, "agent"),
        (None, 10, "20", "skill"),
    ],
)
def test_the_reason_of_a_transfer(reason: object, source: int, target: object, expected: str) -> None:
    def transferred(record: dict[str, Any]) -> None:
        record["transfers"][0].update(reason=reason, sourceSkillId=source, targetSkillId=target)

    events = events_of(as_bytes(a_record(change=transferred))).events
    assert [(e.reason, e.skill_id) for e in events if e.type == "transferred"] == [(expected, int(str(target)))]


def test_transfers_of_one_agent_in_one_millisecond_are_all_kept() -> None:
    def twice(record: dict[str, Any]) -> None:
        first = record["transfers"][0] | {"reason": "Skill", "targetSkillId": 20}
        record["transfers"] = [first, first | {"targetSkillId": 30}, first | {"reason": "back2Q"}, first]

    record = a_record(change=twice)
    transferred = [e for e in events_of(as_bytes(record)).events if e.type == "transferred"]
    assert [(e.skill_id, e.reason) for e in transferred] == [(20, "skill"), (30, "skill"), (20, "backToQueue")]
    assert [e.sequence for e in transferred] == [TRANSFERRED, TRANSFERRED + 1, TRANSFERRED + 2]
    assert told(record) == []


def test_within_a_millisecond_the_order_is_the_record_s() -> None:
    def at_once(record: dict[str, Any]) -> None:
        for part in [*record["messageRecords"], *record["agentParticipants"], *record["transfers"]]:
            part.update(timeL=record["info"]["startTimeL"], time=None)
        record["messageRecords"].reverse()
        record["dialogs"][0].update(endTimeL=record["info"]["startTimeL"], endTime=None)
        record["interactions"] = []

    record = a_record(change=at_once)
    events = events_of(as_bytes(record)).events
    assert len({event.time for event in events}) == 1
    assert [f"{e.type} {e.agent_id or e.event_id[-1]}" for e in events] == [
        *("opened d", "message 0", "transferred r", "assigned 3001", "assigned 3900", "message 3001"),
        *("message 2", "message 3900", "message 4", "message 3900", "closed d"),
    ]
    assert [event.sequence for event in events if event.type == "assigned"] == [ASSIGNED, ASSIGNED + 1]


# --- messages and their times -------------------------------------------------------------------------------


def senders(record: dict[str, Any]) -> list[tuple[object, object]]:
    return [(e.sent_by, e.agent_id) for e in events_of(as_bytes(record)).events if e.type == "message"]


@pytest.mark.parametrize(
    ("change", "sender", "fault"),
    [
        ({"sentBy": "agent", "participantId": 3001}, ("agent", 3001), None),
        ({"sentBy": "consumer"}, ("consumer", None), None),
        ({"participantId": "7"}, ("system", None), None),
        (
            {"participantId": None},
            ("agent", None),
            "participantId: is missing; counts as the assigned agent's",
        ),
        ({"participantId": "made up"}, None, "participantId: must be a signed 64-bit integer; not imported"),
        ({"participantId": "\u0663"}, None, "participantId: must be a signed 64-bit integer; not imported"),
        ({"sentBy": "Robot"}, None, "sentBy: must be Agent or Consumer; not imported"),
        ({"timeL": None}, ("agent", 3001), "timeL: is missing; time counts"),
        ({"timeL": None, "time": None}, None, "timeL: is missing"),
        ({"timeL": None, "time": "undefined"}, None, "timeL: is missing"),
        ({"timeL": None, "time": "2026-11-16 10:03"}, None, "timeL: is missing; time is no time with an offset"),
        ({"timeL": "soon", "time": "later"}, None, f"timeL: {MILLIS}; time is no time with an offset"),
        ({"timeL": 253_402_300_800_000}, ("agent", 3001), f"timeL: {MILLIS}; time counts"),
        ({"timeL": 1_794_823_380}, ("agent", 3001), f"timeL: {SECONDS}; time counts"),
        ({"audience": None}, ("agent", 3001), None),
        ({"audience": "ALL"}, ("agent", 3001), None),
        ({"audience": "all"}, ("agent", 3001), None),
        ({"audience": "AGENTS_AND_MANAGERS"}, None, None),
        ({"audience": "AGENTS_AND_MANAGERS", "timeL": None, "sentBy": "Robot"}, None, None),
        ({"audience": 5}, None, "audience: must be ALL or AGENTS_AND_MANAGERS; not imported"),
        ({"seq": "1"}, ("agent", 3001), None),
        ({"seq": -1}, ("agent", 3001), f"seq: must be an integer from 0 to {CLOSED - 1}; counts as 0"),
        ({"messageId": None}, ("agent", 3001), "messageId: is missing"),
    ],
)
def test_a_message_says_who_sent_it_or_is_told(
    change: dict[str, Any], sender: tuple[object, object] | None, fault: str | None
) -> None:
    def changed(record: dict[str, Any]) -> None:
        record["messageRecords"][1].update(change)
        system = record["agentParticipants"][0] | {"agentId": "7", "userType": "0", "permission": "READER"}
        record["agentParticipants"].append(system)

    record = a_record(change=changed)
    others = senders(a_record())
    assert senders(record) == [others[0], *([sender] if sender else []), *others[2:]]
    assert told(record) == ([f"messageRecords[1].{fault}"] if fault else [])


def test_ids_of_messages_that_cannot_be_ids_of_events_are_replaced_and_stay_the_same() -> None:
    long, other = ("x" * 129, "x" * 130)
    record = a_record()
    for message, id_ in zip(record["messageRecords"], (long, other, "a\u0000b", None, "", long), strict=True):
        message["messageId"] = id_
    ids = [e.event_id for e in events_of(as_bytes(record)).events if e.type == "message"]
    assert ids == [e.event_id for e in events_of(as_bytes(record)).events if e.type == "message"]
    assert len(set(ids)) == 5
    assert all(len(id_) <= 128 for id_ in ids)
    assert f"message:{at('10:12:30.000')}:3" in ids
    assert "messageRecords[5]: has the id of another event of this record; not imported" in told(record)


# --- beginning and end ------------------------------------------------------------------------------------


def ending(record: dict[str, Any]) -> list[tuple[int, object]]:
    return [(e.time, e.closed_by) for e in events_of(as_bytes(record)).events if e.type == "closed"]


def test_the_skill_at_the_start_is_that_of_the_first_transfer() -> None:
    record = a_record("c-bot-to-human")
    record["transfers"].insert(0, record["transfers"][0] | {"timeL": at("09:05:00.000"), "sourceSkillId": 20})
    assert events_of(as_bytes(record)).events[0].skill_id == 10
    record["transfers"] = []
    assert events_of(as_bytes(record)).events[0].skill_id == 20


def test_while_the_survey_runs_the_conversation_is_closed_by_the_end_of_its_main_dialog() -> None:
    def surveyed(record: dict[str, Any]) -> None:
        record["info"].update(status="OPEN", endTime="undefined", endTimeL=-1, closeReason=None)

    record = a_record("c-bot-to-human", surveyed)
    assert ending(record) == [(at("09:20:00.000"), "agent")]
    assert told(record) == []


def test_without_a_main_dialog_the_end_is_the_conversation_s() -> None:
    assert ending(a_record("c-bot-to-human", lambda r: r.update(dialogs=[]))) == [(at("09:21:30.000"), "agent")]


def surveyed_without_dialogs(record: dict[str, Any]) -> None:
    """The conversation ended at 09:20; its survey at 09:21:30, by a bot that joined as the conversation ended."""
    record["dialogs"] = []
    record["info"].update(conversationEndTimeL=at("09:20:00.000"), conversationEndTime="2026-11-16 09:20:00.000+0000")
    for part in record["agentParticipants"]:
        if part["agentId"] == "9002":
            part.update(timeL=at("09:20:00.000"), time=None)


def test_without_dialogs_what_comes_after_the_conversation_s_end_is_its_survey() -> None:
    record = a_record("c-bot-to-human", surveyed_without_dialogs)
    assert rows(events_of(as_bytes(record)).events) == SAMPLE_EVENTS["c-bot-to-human"]
    assert told(record) == []


def test_what_a_survey_s_bot_does_at_the_very_end_is_no_part_of_the_conversation() -> None:
    def at_the_end(record: dict[str, Any]) -> None:
        surveyed_without_dialogs(record)
        for message in record["messageRecords"]:
            if message["participantId"] == "9002":
                message.update(timeL=at("09:20:00.000"), time=None)

    record = a_record("c-bot-to-human", at_the_end)
    assert rows(events_of(as_bytes(record)).events) == SAMPLE_EVENTS["c-bot-to-human"]


def test_a_bot_that_had_the_conversation_and_asks_the_survey_too_is_part_of_both() -> None:
    def same_bot(record: dict[str, Any]) -> None:
        surveyed_without_dialogs(record)
        for part in record["agentParticipants"]:
            if part["agentId"] == "9002":
                part["agentId"] = "9001"

    assert rows(events_of(as_bytes(a_record("c-bot-to-human", same_bot))).events) == SAMPLE_EVENTS["c-bot-to-human"]


def test_while_the_survey_runs_the_end_without_it_is_the_close() -> None:
    def running(record: dict[str, Any]) -> None:
        surveyed_without_dialogs(record)
        record["info"].update(status="OPEN", endTime="undefined", endTimeL=-1)

    record = a_record("c-bot-to-human", running)
    assert ending(record) == [(at("09:20:00.000"), "agent")]
    record["dialogs"] = a_record("c-bot-to-human")["dialogs"]
    record["dialogs"][0].update(status="OPEN", endTime="undefined", endTimeL=-1)
    assert ending(record) == []  # MAIN is open again


def test_where_there_are_dialogs_they_decide_what_the_survey_is() -> None:
    def early(record: dict[str, Any]) -> None:
        record["info"].update(conversationEndTimeL=at("09:05:00.000"))

    assert ending(a_record("c-bot-to-human", early)) == [(at("09:20:00.000"), "agent")]
    assert len(events_of(as_bytes(a_record("c-bot-to-human", early))).events) == len(SAMPLE_EVENTS["c-bot-to-human"])


@pytest.mark.parametrize("end", [None, -1, "undefined"])
def test_without_an_end_of_its_own_the_conversation_ends_with_its_survey(end: object) -> None:
    record = a_record("c-bot-to-human", lambda r: r["info"].update(conversationEndTimeL=end))
    record["dialogs"] = []
    assert ending(record) == [(at("09:21:30.000"), "agent")]


def test_an_end_without_the_survey_that_is_before_the_start_is_told_and_drops_nothing() -> None:
    def early(record: dict[str, Any]) -> None:
        record["dialogs"] = []
        record["info"].update(conversationEndTimeL=at("08:00:00.000"))

    record = a_record("c-bot-to-human", early)
    assert told(record) == [
        "info.conversationEndTimeL: is before the conversation's start; no close is imported",
    ]
    assert len(senders(record)) == 9


@pytest.mark.parametrize("status", ["CLOSE", None])
def test_a_close_that_nobody_can_place_takes_none_back(status: str | None) -> None:
    def placeless(record: dict[str, Any]) -> None:
        record["info"].update(status=status, endTime="undefined", endTimeL=None)
        record["dialogs"] = []

    assert not any(event.event_id == "closed" for event in events_of(as_bytes(a_record(change=placeless))).events)


def test_every_time_may_stand_as_a_text_with_an_offset_alone() -> None:
    """Also with another offset; each is told."""

    def in_words(part: Any) -> Any:
        if isinstance(part, list):
            return [in_words(one) for one in part]
        if not isinstance(part, dict):
            return part
        words = {
            name.removesuffix("L") for name in part if name in ("endTimeL", "startTimeL", "timeL", "interactionTimeL")
        }
        moments = {
            name: datetime.fromtimestamp(part[f"{name}L"] / 1000, timezone(timedelta(hours=2))) for name in words
        }
        kept = {name: in_words(value) for name, value in part.items() if name.removesuffix("L") not in words}
        return kept | {name: f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + "+0200" for name, moment in moments.items()}

    record = in_words(a_record("c-bot-to-human"))
    conversation = events_of(as_bytes(record))
    assert rows(conversation.events) == SAMPLE_EVENTS["c-bot-to-human"]
    assert "interactions[0].interactionTimeL: is missing; interactionTime counts" in conversation.faults
    assert all(fault.endswith("counts") for fault in conversation.faults)


def test_the_revision_is_the_newest_time_whatever_it_is_of() -> None:
    late = at("10:31:00.000")
    note = {"messageId": "note", "audience": "AGENTS_AND_MANAGERS", "sentBy": "Agent", "participantId": "3900"}

    def revisions(change: Callable[[dict[str, Any]], object]) -> set[int]:
        return {event.revision for event in events_of(as_bytes(a_record(change=change))).events} - {0}

    assert revisions(lambda _: None) == {at("10:30:00.000")}
    assert revisions(lambda r: r["messageRecords"].append(note | {"timeL": late})) == {late}
    assert revisions(lambda r: r["agentParticipants"].append({"timeL": late, "permission": "READER"})) == {late}
    assert revisions(lambda r: r["info"].update(endTimeL=late)) == {late}
    assert revisions(lambda r: r["dialogs"][0].update(endTimeL=None, endTime="2026-11-16 10:31:00+0000")) == {late}


def test_a_newer_copy_corrects_skill_and_close_in_any_order() -> None:
    """The newest may be open again, begin elsewhere, or have ended earlier than was said."""

    def waits(record: dict[str, Any]) -> None:
        older(record)
        record["info"]["latestSkillId"] = -1
        del record["agentParticipants"][:], record["interactions"][:], record["messageRecords"][1:]

    def again(record: dict[str, Any]) -> None:
        older(record)
        record["messageRecords"][2].update(timeL=at("10:40:00.000"), time=None)

    steps = [a_record(change=waits), a_record(change=older), a_record(), a_record(change=again)]
    for count in (2, 3, 4):
        for files in itertools.permutations(map(as_bytes, steps[:count])):
            events = {event.event_id: event for event in read(*files).events}
            opened, closed = events["opened"], events["closed"]
            assert (opened.skill_id, closed.type) == (10, "closed" if count == 3 else "withdrawn")
            assert opened.revision == closed.revision == [at("10:09:00"), at("10:30:00"), at("10:40:00")][count - 2]


def test_of_several_main_dialogs_the_last_end_counts_and_all_must_have_ended() -> None:
    record = a_record()
    first = record["dialogs"][0] | {"endTimeL": at("10:20:00"), "endTime": None, "closeReason": "AGENT"}
    record["dialogs"].append(first)
    assert ending(record) == [(at("10:30:00.000"), "consumer")]
    record["info"]["closeReason"] = "SYSTEM"
    record["dialogs"][0].update(status="OPEN", endTime="undefined", endTimeL=-1)
    assert ending(record) == [(at("10:30:00.000"), "system")]
    assert told(record) == ["dialogs: no end of the MAIN dialog; info.endTimeL counts"]


def test_what_is_said_to_be_open_is_not_closed_whatever_its_end() -> None:
    def open_(record: dict[str, Any]) -> None:
        record["info"]["status"] = record["dialogs"][0]["status"] = "OPEN"

    record = a_record(change=open_)
    assert ending(record) == []
    assert told(record) == [
        "info.endTimeL: contradicts info.status OPEN, which counts",
        "dialogs[0].endTimeL: contradicts dialogs[0].status OPEN, which counts",
    ]


def test_a_close_before_the_start_is_not_imported() -> None:
    record = a_record(change=lambda r: r["dialogs"][0].update(endTimeL=946_684_800_000, endTime=None))
    assert ending(record) == []
    assert told(record) == ["dialogs[0].endTimeL: is before the conversation's start; no close is imported"]


def test_whoever_takes_over_and_has_not_joined_yet_is_waited_for_while_the_conversation_is_open() -> None:
    """Else the assignment would stand at the takeover in a store, whatever a newer copy says of the joining."""

    def joins_late(record: dict[str, Any]) -> None:
        record["agentParticipants"][1].update(timeL=at("10:12:20.000"), time=None)
        record["interactions"] = []

    record = a_record(change=joins_late)
    then = as_of(record, at("10:12:10.000"))
    assert then is not None
    assert ("assigned", 3900) not in kinds(then)
    assert ("assigned", 3900) in kinds(record)
    del record["agentParticipants"][1]
    assert ("assigned", 3900) in kinds(record)


def test_a_joining_before_the_start_counts_from_the_start() -> None:
    record = a_record(change=lambda r: r["agentParticipants"][0].update(timeL=at("09:59:59.990"), time=None))
    assert kinds(record) == TAKEOVER
    assigned = events_of(as_bytes(record)).events[2]
    assert (assigned.time, assigned.event_id) == (at("10:00:00.000"), f"assigned:{at('09:59:59.990')}:3001")
    assert told(record) == ["agentParticipants[0]: is before the conversation's start; counts from there"]


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("brandId", "a-b", "info.brandId: must be letters and digits; the events name no account"),
        ("brandId", None, "info.brandId: is missing; the events name no account"),
        (
            "source",
            "x" * 129,
            "info.source: must be a string of at most 128 characters without control characters",
        ),
        ("source", None, "info.source: is missing"),
        ("startTimeL", "soon", f"info.startTimeL: {MILLIS}; startTime counts"),
        ("status", None, "info.status: is missing; info.endTimeL decides"),
        (
            "startTime",
            "2026-11-16 10:00:00.001+0000",
            "info.startTime: disagrees with startTimeL, which counts",
        ),
        ("isPartial", True, "info.isPartial: parts of the conversation are missing"),
    ],
)
def test_a_wrong_field_of_info_is_told_and_the_rest_imported(field: str, value: object, fault: str) -> None:
    record = a_record(change=lambda r: r["info"].update({field: value}))
    assert told(record) == [fault]
    assert kinds(record) == TAKEOVER


@pytest.mark.parametrize("name", ["messageRecords", "agentParticipants", "transfers", "dialogs"])
def test_a_list_that_is_none_is_told(name: str) -> None:
    assert f"{name}: is missing" in told(a_record(change=lambda r: r.update({name: None})))
    assert f"{name}: is missing" in told(a_record(change=lambda r: r.pop(name)))
    assert f"{name}: must be a list; it is not imported" in told(a_record(change=lambda r: r.update({name: {}})))
    part = f"{name}[0]: must be a JSON object of readable values; it is not imported"
    assert part in told(a_record(change=lambda r: r.update({name: ["made up"]})))


# --- conversations that go on -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_history_imported_while_it_goes_on_equals_the_one_imported_at_the_end(seed: int, tmp_path: Path) -> None:
    """Into one store, one import after the other in any order; and in one run."""
    survey = a_record("c-bot-to-human", surveyed_without_dialogs)
    survey["info"]["conversationId"] = "c-survey"
    history = [*RECORDS, survey]
    dice = random.Random(seed)
    moments = [dice.randrange(at("09:00:00.000"), at("14:30:00.000")) for _ in range(12)]
    moments += [dice.choice([at("09:20:00.000"), at("10:12:00.000"), at("14:20:00.000")]), at("15:00:00.000")]
    dice.shuffle(moments)
    pulled = [[then for record in history if (then := as_of(record, moment))] for moment in moments]
    last = decoded(read(as_bytes(pulled[moments.index(max(moments))])))
    assert any(record["info"]["status"] == "OPEN" for records in pulled for record in records)

    with a_store(tmp_path / "once") as once, a_store(tmp_path / "often") as often:
        once.ingest("sample1", last)
        for records in pulled:
            often.ingest("sample1", decoded(read(as_bytes(records))))
        assert stored_rows(often, "sample1") == stored_rows(once, "sample1")
    at_once = derive(decoded(read(*map(as_bytes, pulled))))
    for table, expected_table in zip(at_once[:3], derive(last)[:3], strict=True):
        assert in_order(rows_of(table)) == in_order(rows_of(expected_table))


def decoded(history: History) -> pa.Table:
    return event_table(rows(list(history.events)))


# --- whatever comes ---------------------------------------------------------------------------------------

PERSONAL = "nobody's business"
STRANGE: st.SearchStrategy[object] = st.one_of(
    st.sampled_from([None, "", "null", "undefined", "OPEN", "SHARK", PERSONAL, "\u0000", "\u0663", "x" * 200, "-5"]),
    st.sampled_from([True, 0, -1, 1.5, 1e300, 2**63, -(2**63) - 1, 2**53, 10**30, 253_402_300_800_000, at("10:05")]),
    st.sampled_from([[], {}, [[]], [None], {"a": PERSONAL}, "9" * 19, "2016-08-29 14:30:24.565+0000"]),
)


def _places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in parts for place in [(*path, key), *_places(part, (*path, key))]]


@st.composite
def broken_records(draw: st.DrawFn) -> dict[str, Any]:
    """A record of the sample of which some fields are gone, hold something else or stand twice."""
    record: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(RECORDS)))
    for _ in range(draw(st.integers(1, 6))):
        *path, last = draw(st.sampled_from(_places(record) or [("info",)]))
        parent: Any = record
        for key in path:
            parent = parent[key]
        what = draw(st.sampled_from(["drop", "replace", "twice"]))
        if what == "replace" or last not in (parent if isinstance(parent, dict) else range(len(parent))):
            parent[last] = copy.deepcopy(draw(STRANGE))
        elif what == "drop":
            del parent[last]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
    return record


def assert_valid(events: list[Event]) -> None:
    """They pass the door, have no fields but their own, each id once, and stand in order."""
    for event in events:
        assert event_of_line(msgspec.json.encode(event), "local")[1] == []
    own = {type_: {field.name for field in model.FIELDS if field.belongs_to(type_)} for type_ in model.TYPES}
    for row in rows(events):
        assert set(row) <= own[row["type"]], row
        assert row.get("sentBy") == "agent" or row["type"] != "message" or "agentId" not in row
    keys = [(e.account_id, e.conversation_id, e.event_id) for e in events]
    assert len(set(keys)) == len(keys)
    order = [(e.time, e.sequence) for e in events]
    assert order == sorted(order)


@given(broken_records())
def test_a_broken_record_gives_valid_events_and_tells_nothing_personal(record: dict[str, Any]) -> None:
    conversation = events_of(as_bytes(record))
    assert_valid(conversation.events)
    assert not any(PERSONAL in fault for fault in conversation.faults)
    assert conversation.conversation_id or conversation.faults
    assert conversation == events_of(as_bytes(record))


@given(st.lists(broken_records(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_files_changes_no_event(records: list[dict[str, Any]], dice: random.Random) -> None:
    files = [as_bytes(record) for record in records]
    events = list(read(*files).events)
    dice.shuffle(files)
    assert list(read(*files, files[0]).events) == events


@given(st.binary(max_size=200) | st.text(alphabet='[]{},:"\\ud8\n 0', max_size=80).map(str.encode))
def test_any_bytes_are_records_or_a_clear_error(data: bytes) -> None:
    for file in (data, data + as_bytes(a_record())):
        try:
            list(read(file).events)
        except InputError as error:
            assert str(error).startswith("file1: ")  # noqa: PT017  # both ways are right
