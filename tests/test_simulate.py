import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from handletime.errors import InputError
from handletime.events import model
from handletime.events.decode import decode_lines
from handletime.events.encode import to_ndjson
from handletime.simulate import simulate as simulation
from handletime.simulate import size, world
from handletime.simulate.centre import Centre
from handletime.simulate.simulate import simulate
from tests.plain_reading import Reading, read

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
IDENTITY = ("accountId", "conversationId", "eventId")


def events_of(*, batch_events: int = 1_000_000, **settings: Any) -> pa.Table:
    chosen: dict[str, Any] = {"start": MONDAY, "seed": 7, "conversations": 300} | settings
    centre = Centre(**chosen)
    return pa.concat_tables(simulate(centre, batch_events=batch_events)).combine_chunks()


def plain(events: pa.Table) -> pa.Table:
    """Without dictionaries, in one order."""
    columns = [column.cast(pa.string()) if "dictionary" in str(column.type) else column for column in events.columns]
    order = [(name, "ascending") for name in (*IDENTITY, "time")]
    return pa.table(columns, names=events.column_names).sort_by(order).combine_chunks()


def by_agent(events: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """What each human agent does, in the order of rules.md 1; messages under the name of another are not there."""
    ranks = dict(zip(model.TYPES, model.RANKS, strict=True))
    deeds = defaultdict(list)
    columns = ["accountId", "agentId", "conversationId", "time", "sequence", "type"]
    for event in events.select(columns).filter(pc.greater(events["agentId"], 3000)).to_pylist():
        deeds[event["accountId"], event["agentId"]].append(event)
    for list_ in deeds.values():
        yield sorted(list_, key=lambda event: (event["time"], event["sequence"], ranks[event["type"]]))


@pytest.fixture(scope="module")
def day() -> pa.Table:
    return events_of(conversations=2000, accounts=("demo", "shop"))


@pytest.fixture(scope="module")
def reading() -> Reading:
    # In accounts, as the plain reading takes long over many events of one.
    events = events_of(conversations=700, accounts=tuple(f"account{n}" for n in range(8)))
    return read([msgspec.json.decode(line) for line in to_ndjson(events).splitlines()])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "BLOCK", 60)
    monkeypatch.setattr(simulation, "PIECE", 1000)


# --- what it gives ---------------------------------------------------------------------------------------------------


def test_tables_have_exactly_the_schema_of_events() -> None:
    for table in simulate(Centre(start=MONDAY, conversations=100), batch_events=500):
        table.validate(full=True)
        assert table.schema.equals(model.EVENTS, check_metadata=True)
        for field in model.FIELDS:
            if field.choices:
                assert table[field.name].chunk(0).dictionary.to_pylist() == list(field.choices)


def test_every_event_has_the_fields_of_its_type_and_no_others(day: pa.Table) -> None:
    for type_ in model.TYPES:
        if type_ == "withdrawn":  # A simulated centre says what is right at once, and its screens tell when they close.
            continue
        rows = day.filter(pc.equal(day["type"].cast(pa.string()), type_))
        assert rows.num_rows > 0
        for field in model.FIELDS:
            if not field.belongs_to(type_):
                assert rows[field.name].null_count == rows.num_rows, (type_, field.name)
            elif field.is_required(type_) or field.name in ("accountId", "sequence", "groupId", "userType"):
                assert rows[field.name].null_count == 0, (type_, field.name)
            elif field.name not in ("agentId", "sentBy", "reason", "closedBy", "leaseMillis"):
                assert rows[field.name].null_count < rows.num_rows, (type_, field.name)
    by_others = day.filter(
        pc.and_(
            pc.is_valid(day["agentId"]), pc.is_in(day["sentBy"].cast(pa.string()), pa.array(["consumer", "system"]))
        )
    )
    assert by_others.num_rows == 0


def test_ids_are_what_they_promise(day: pa.Table) -> None:
    assert day.group_by(list(IDENTITY)).aggregate([]).num_rows == day.num_rows
    ids = day["conversationId"].unique().to_pylist()
    assert len(ids) == 2000
    assert all(str(uuid.UUID(id_)) == id_ and uuid.UUID(id_).version == 4 for id_ in ids)
    assert set(pc.utf8_length(day["eventId"]).unique().to_pylist()) == {8}
    assert set(day["skillId"].unique().to_pylist()) == {None, 10, 20, 30, 40, 50}


def test_what_an_agent_is_does_not_change(day: pa.Table) -> None:
    assigned = day.filter(pc.equal(day["type"].cast(pa.string()), "assigned"))
    columns = ["accountId", "agentId", "employeeId", "groupId", "userType"]
    agents = assigned.select(columns).unify_dictionaries().group_by(columns).aggregate([])
    assert agents.select(columns[:2]).group_by(columns[:2]).aggregate([]).num_rows == agents.num_rows
    bots = agents.filter(pc.equal(agents["userType"].cast(pa.string()), "bot"))
    assert set(bots["agentId"].to_pylist()) == {1001, 1002}
    assert pc.min(agents.filter(pc.greater(agents["agentId"], 3000))["groupId"]).as_py() >= 501


@pytest.mark.usefixtures("small_blocks")
def test_events_come_in_order_of_time_and_none_outside_the_span() -> None:
    events = events_of(conversations=500, days=0.5)
    times = events["time"].to_pylist()
    assert times == sorted(times)
    assert times[0] >= MONDAY
    assert times[-1] < MONDAY + timedelta(days=0.5)


# --- repeatable ------------------------------------------------------------------------------------------------------


def test_the_same_centre_gives_the_same_events() -> None:
    assert events_of(seed=3).equals(events_of(seed=3))
    assert not events_of(seed=3).equals(events_of(seed=4))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("messiness", [0.0, 0.3])
def test_batches_cut_but_do_not_change(messiness: float) -> None:
    whole = events_of(messiness=messiness)
    centre = Centre(start=MONDAY, seed=7, conversations=300, messiness=messiness)
    batches = list(simulate(centre, batch_events=777))
    assert [len(batch) for batch in batches[:-1]] == [777] * (len(whole) // 777)
    assert pa.concat_tables(batches).combine_chunks().equals(whole)


# --- focus -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("settings", [{"agents": 6, "days": 0.5}, {"agents": 40}, {"days": 3.0}])
def test_an_agent_writes_only_where_the_focus_is(settings: dict[str, Any]) -> None:
    events = events_of(conversations=400, without_focus=0, **settings)
    moves = 0
    for deeds in by_agent(events):
        focus = None
        for deed in deeds:
            match deed["type"]:
                case "focused":
                    moves += focus != deed["conversationId"]
                    focus = deed["conversationId"]
                case "unfocused":
                    assert focus == deed["conversationId"]
                    focus = None
                case "message":
                    assert focus == deed["conversationId"]
    assert moves > 500


def test_no_agent_looks_at_a_conversation_before_it_is_there(day: pa.Table) -> None:
    opened: dict[str, datetime] = {}
    for event in day.select(["conversationId", "time", "type"]).to_pylist():
        if event["type"] == "opened":
            opened.setdefault(event["conversationId"], event["time"])
        assert opened[event["conversationId"]] <= event["time"]


def test_agents_switch_between_conversations_and_come_back(day: pa.Table) -> None:
    returns = 0
    for deeds in by_agent(day):
        looks = [deed["conversationId"] for deed in deeds if deed["type"] == "focused"]
        returns += sum(a == c != b for a, b, c in zip(looks, looks[1:], looks[2:], strict=False))
    assert returns > 200


def test_the_share_without_focus_sends_none() -> None:
    deeds = list(by_agent(events_of(agents=80, without_focus=0.3, conversations=1000)))
    focused = {mine[0]["agentId"] for mine in deeds if any("focus" in deed["type"] for deed in mine)}
    writing = {mine[0]["agentId"] for mine in deeds if any(deed["type"] == "message" for deed in mine)}
    assert focused < writing
    assert 0.15 < len(writing - focused) / len(writing) < 0.45
    assert "focused" not in pc.unique(events_of(without_focus=1)["type"].cast(pa.string())).to_pylist()


def test_bots_have_no_focus(day: pa.Table) -> None:
    focus = pc.is_in(day["type"].cast(pa.string()), pa.array(["focused", "unfocused"]))
    assert pc.min(day.filter(focus)["agentId"]).as_py() > 3000


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"skills": 1, "bots": 0, "agents": 1}, {"days": 0.01}, {"days": 400.0}])
def test_one_conversation(settings: dict[str, Any]) -> None:
    for seed in range(5):
        events = events_of(conversations=1, seed=seed, **settings)
        assert len(events["conversationId"].unique()) == 1
        assert events["type"][0].as_py() == "opened"


@pytest.mark.parametrize(
    ("events", "settings"),
    [(5000, {}), (20_000, {"days": 7}), (20_000, {"accounts": ("a", "b"), "days": 0.1}), (30_000, {"agents": 10})],
)
def test_a_number_of_events_is_hit(events: int, settings: dict[str, Any]) -> None:
    assert len(events_of(conversations=None, events=events, **settings)) == pytest.approx(events, rel=0.02)


def test_a_number_of_events_is_hit_beyond_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "SAMPLE", 1500)
    assert len(events_of(conversations=None, events=90_000)) == pytest.approx(90_000, rel=0.03)


def test_without_a_size_there_are_two_thousand_conversations_a_day() -> None:
    assert len(events_of(conversations=None, days=0.25)["conversationId"].unique()) == 500


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"start": datetime(2026, 11, 16)}, "start: must be a time with an offset"),
        ({"days": 0}, "days"),
        ({"start": datetime(9999, 12, 31, tzinfo=UTC), "days": 2}, "days"),
        ({"events": 10, "conversations": 10}, "events"),
        ({"conversations": 0}, "conversations"),
        ({"accounts": ()}, "accounts"),
        ({"accounts": ("a-b",)}, "accounts: must be of letters and digits"),
        ({"accounts": ("a", "a")}, "accounts: must be different"),
        ({"skills": 0}, "skills"),
        ({"agents": 0}, "agents"),
        ({"bots": -1}, "bots"),
        ({"seed": -1}, "seed"),
        ({"messiness": 1.1}, "messiness"),
        ({"without_focus": -0.1}, "without_focus"),
    ],
)
def test_a_centre_that_cannot_be_is_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=f"^{fault}"):
        Centre(**{"start": MONDAY} | settings)


# --- every case of rules.md ------------------------------------------------------------------------------------------


def test_every_case_occurs(reading: Reading) -> None:
    def seen(rows: list[dict[str, object]], name: str) -> set[object]:
        return {row[name] for row in rows} - {None}

    outcomes = {"interactive", "nonResponsiveConsumer", "abandoned", "nonResponsiveAgent"}
    assert seen(reading.agent_segments, "outcome") == seen(reading.skill_segments, "outcome") == outcomes
    assert seen(reading.agent_segments, "endReason") == {
        *("closedByConsumer", "closedByAgent", "closedBySystem"),
        *("agentTransfer", "skillTransfer", "backToQueue", "other"),
    }
    assert seen(reading.agent_segments, "follows") == {"newConversation", "resume", "transfer", "takeover"}
    assert seen(reading.skill_segments, "userType") == {"human", "bot", "mixed", "none"}
    assert seen(reading.skill_segments, "abandonedInQueue") == {True, False}
    assert seen(reading.handle_time_units, "startReason") == {
        *("consumerMessage", "conversationEntered", "conversationAssigned", "agentMessage"),
    }
    assert seen(reading.handle_time_units, "endReason") == {
        *("agentResponse", "conversationExited", "conversationClosed", "conversationTransferred"),
    }
    assert {"systemMessage", "messageByAnotherAgent", "messageWhileClosed", "focusedAlready"} <= reading.effects.keys()
    assert any(row["end"] is None for row in reading.agent_segments)


def test_outcomes_come_in_plausible_shares(reading: Reading) -> None:
    ended = [row["outcome"] for row in reading.agent_segments if row["end"] and row["userType"] == "human"]
    shares = {outcome: count / len(ended) for outcome, count in Counter(ended).items()}
    assert shares == {
        "interactive": pytest.approx(0.67, abs=0.04),
        "nonResponsiveConsumer": pytest.approx(0.16, abs=0.03),
        "abandoned": pytest.approx(0.09, abs=0.03),
        "nonResponsiveAgent": pytest.approx(0.08, abs=0.03),
    }


def test_handle_time_of_a_human_segment_is_some_minutes(reading: Reading) -> None:
    handled: list[Any] = [r["totalHandleTimeMillis"] for r in reading.agent_segments if r["userType"] == "human"]
    assert 2 * 60_000 < sum(handled) / len(handled) < 6 * 60_000


def test_agents_have_a_few_conversations_at_once() -> None:
    events = events_of(conversations=1500).select(["conversationId", "time", "type", "agentId", "userType"])
    running: dict[str, int] = {}
    loads: list[float] = []
    for event in events.to_pylist():
        if event["type"] == "assigned" and event["userType"] == "human":
            running[event["conversationId"]] = event["agentId"]
        elif event["type"] in ("assigned", "transferred", "closed"):
            running.pop(event["conversationId"], None)
        if 10 <= event["time"].hour < 16:
            loads.append(len(running) / len(set(running.values())))
    assert 2 < sum(loads) / len(loads) < 4


def test_nights_and_weekends_are_quieter() -> None:
    events = events_of(conversations=3000, days=7)
    opened = events.filter(pc.equal(events["type"].cast(pa.string()), "opened"))["time"].to_pylist()
    hours = Counter((time.weekday() >= 5, time.hour) for time in opened)
    assert hours[False, 10] > 3 * hours[False, 3]
    assert hours[False, 10] / 5 > hours[True, 10] / 2
    assert hours[False, 15] > hours[False, 20]


@pytest.mark.usefixtures("small_blocks")
def test_a_messy_centre_delays_and_repeats_but_says_the_same() -> None:
    clean, messy = events_of(), events_of(messiness=0.2)
    assert len(messy) == pytest.approx(1.1 * len(clean), rel=0.02)
    distinct = {tuple(event.values()) for event in plain(messy).to_pylist()}
    assert distinct == {tuple(event.values()) for event in plain(clean).to_pylist()}
    times = messy["time"].to_pylist()
    assert 0.1 < sum(time < before for before, time in pairwise(times)) / len(times) < 0.3


# --- NDJSON ----------------------------------------------------------------------------------------------------------


def test_lines_decode_to_the_same_events(day: pa.Table) -> None:
    decoded = decode_lines(to_ndjson(day), account="other")
    assert decoded.refused == []
    assert plain(decoded.events).equals(plain(day))


def test_a_line_has_the_events_own_fields_only() -> None:
    time = re.compile(r"2026-11-1\d[T]\d\d:\d\d:\d\d\.\d{3}Z")
    for line in to_ndjson(events_of()).splitlines():
        event = msgspec.json.decode(line)
        assert time.fullmatch(event["time"])
        assert None not in event.values()
        assert event.get("sequence") != 0
        assert all(field.belongs_to(event["type"]) for field in model.FIELDS if field.name in event)


def test_lines_escape_what_json_escapes() -> None:
    events = events_of(conversations=5)
    odd = pa.array([f'"\\é\U0001f600/{n}' for n in range(len(events))])
    for name in ("conversationId", "eventId", "employeeId", "source"):
        column = pc.if_else(events[name].is_valid(), odd, pa.scalar(None, pa.string()))
        events = events.set_column(events.column_names.index(name), events.schema.field(name), column)
    assert plain(decode_lines(to_ndjson(events), account="x").events).equals(plain(events))


def test_lines_can_tell_the_time_of_any_year() -> None:
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)]
    times += [datetime(2028, 2, 29, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)]
    events = events_of(conversations=5).slice(0, len(times))
    place = events.column_names.index("time")
    events = events.set_column(place, events.schema.field("time"), pa.array(times, model.INSTANT))
    decoded = decode_lines(to_ndjson(events), account="x").events
    assert sorted(decoded["time"].to_pylist()) == times


def test_no_events_are_no_lines() -> None:
    assert to_ndjson(model.EVENTS.empty_table()) == b""
