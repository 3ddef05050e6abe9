"""The plain reading against the ten examples of the rules, single clauses, and messy streams."""

import json
import random
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.messy_streams import RawEvent, messy_stream
from tests.plain_reading import Reading, Row, event_of, losses_of, read, without_duplicates

EXAMPLES = sorted((Path(__file__).parent / "golden" / "examples").glob("*.json"))
SEEDS = range(300)
FEWER_SEEDS = range(0, 300, 5)
T0 = 1_795_165_200_000  # 2026-11-20T09:00:00Z


@cache
def stream(seed: int) -> tuple[RawEvent, ...]:
    return tuple(messy_stream(seed))


@cache
def reading(seed: int) -> Reading:
    return read(stream(seed))


# --- The examples


def test_there_are_ten_examples() -> None:
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_comes_out_exactly(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    result = read(example["events"])

    found_agent_segments = [
        {
            **row,
            "handleTimeUnits": [u for u in result.handle_time_units if u["segmentId"] == row["segmentId"]],
        }
        for row in result.agent_segments
    ]
    assert like(example["agentSegments"], found_agent_segments) == in_milliseconds(example["agentSegments"])
    assert like(example["skillSegments"], result.skill_segments) == in_milliseconds(example["skillSegments"])


def like(expected: object, found: object) -> object:
    """What was found, without the keys that the example does not have."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        return {key: like(value, found[key]) for key, value in expected.items()}
    if isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected), found
        return [like(one, other) for one, other in zip(expected, found, strict=True)]
    return found


def in_milliseconds(expected: object) -> object:
    if isinstance(expected, dict):
        return {
            key: event_of(an_event("message", value, sentBy="system"), "local").time
            if key in ("start", "end")
            else in_milliseconds(value)
            for key, value in expected.items()
        }
    if isinstance(expected, list):
        return [in_milliseconds(one) for one in expected]
    return expected


# --- Single clauses


def an_event(type_: str, at: object = 0, **fields: object) -> RawEvent:
    return {"eventId": "e", "conversationId": "c1", "type": type_, "time": at, **fields}


def opened(at: int, **fields: object) -> RawEvent:
    return an_event("opened", at, **fields)


def resumed(at: int, **fields: object) -> RawEvent:
    return an_event("resumed", at, **fields)


def assigned(at: int, agent: int = 1, **fields: object) -> RawEvent:
    return an_event("assigned", at, agentId=agent, **fields)


def transferred(at: int, reason: str = "agent", **fields: object) -> RawEvent:
    return an_event("transferred", at, reason=reason, **fields)


def focused(at: int, agent: int = 1, **fields: object) -> RawEvent:
    return an_event("focused", at, agentId=agent, **fields)


def unfocused(at: int, agent: int = 1, **fields: object) -> RawEvent:
    return an_event("unfocused", at, agentId=agent, **fields)


def consumer(at: int, **fields: object) -> RawEvent:
    return an_event("message", at, sentBy="consumer", **fields)


def agent(at: int, **fields: object) -> RawEvent:
    return an_event("message", at, sentBy="agent", **fields)


def closed(at: int, by: str = "consumer", **fields: object) -> RawEvent:
    return an_event("closed", at, closedBy=by, **fields)


def as_written(*events: RawEvent) -> list[RawEvent]:
    """Events with ids, in the order as written also within a millisecond."""
    return [{**event, "eventId": f"e{number}", "sequence": number} for number, event in enumerate(events)]


def units(result: Reading) -> list[tuple[object, ...]]:
    names = ("sequence", "startReason", "endReason", "start", "end")
    return [tuple(unit[name] for name in names) for unit in result.handle_time_units]


def column(rows: list[Row], name: str) -> list[object]:
    return [row[name] for row in rows]


def test_a_loss_of_focus_of_no_length_ends_a_unit() -> None:
    elsewhere = focused(20, conversationId="c2")
    result = read(as_written(opened(0), consumer(0), assigned(0), focused(10), elsewhere, focused(20), agent(30)))
    assert units(result) == [
        (1, "conversationEntered", "conversationExited", 10, 20),
        (2, "conversationEntered", "agentResponse", 20, 30),
    ]


def test_a_unit_of_no_length_is_dropped_and_its_reason_not_handed_on() -> None:
    result = read(as_written(opened(0), consumer(0), focused(5), assigned(10), unfocused(10), focused(10), agent(12)))
    assert units(result) == [(1, "conversationEntered", "agentResponse", 10, 12)]


def test_the_first_reason_in_the_order_stands_where_nothing_interrupts() -> None:
    result = read(as_written(opened(0), consumer(0), focused(5), assigned(10), focused(10), agent(12)))
    assert units(result) == [(1, "conversationAssigned", "agentResponse", 10, 12)]
    assert result.effects == {"focusedAlready": 1}


def test_a_unit_is_cut_at_own_messages_and_at_no_others() -> None:
    others = [consumer(12), an_event("message", 13, sentBy="system"), agent(14, agentId=2)]
    between = [an_event("message", 25, sentBy="system"), agent(26, agentId=2), assigned(27), opened(28)]
    result = read(as_written(opened(0), assigned(0), focused(5), consumer(10), *others, agent(20), *between, agent(30)))
    assert units(result) == [
        (1, "consumerMessage", "agentResponse", 10, 20),
        (2, "agentMessage", "agentResponse", 20, 30),
    ]


def test_an_agent_who_looks_in_between_two_own_messages_is_still_writing() -> None:
    result = read(as_written(assigned(0), agent(10), focused(12), unfocused(15), focused(18), agent(20)))
    assert units(result) == [
        (1, "conversationEntered", "conversationExited", 12, 15),
        (2, "conversationEntered", "agentResponse", 18, 20),
    ]


def test_between_two_own_messages_with_a_consumer_message_in_between_only_the_wait_counts() -> None:
    result = read(as_written(focused(0), assigned(0), agent(10), consumer(15), agent(20), closed(30)))
    assert units(result) == [(1, "consumerMessage", "agentResponse", 15, 20)]


def test_the_last_messages_of_two_segments_of_the_same_agent_are_no_neighbours() -> None:
    result = read(as_written(focused(0), assigned(0), agent(10), transferred(15), assigned(15), agent(20), closed(30)))
    assert units(result) == []


def test_a_focus_that_never_ends_goes_on_into_the_next_segment() -> None:
    result = read(
        as_written(
            *(
                opened(0),
                consumer(0),
                focused(1),
                assigned(5),
                transferred(10),
                assigned(15),
                closed(20, "agent"),
            )
        )
    )
    assert units(result) == [
        (1, "conversationAssigned", "conversationTransferred", 5, 10),
        (1, "conversationAssigned", "conversationClosed", 15, 20),
    ]


def test_an_assignment_to_another_agent_ends_the_unit_as_transferred() -> None:
    result = read(as_written(consumer(0), focused(1), assigned(5), assigned(10, 2), closed(20)))
    assert units(result) == [(1, "conversationAssigned", "conversationTransferred", 5, 10)]
    assert column(result.agent_segments, "endReason") == ["agentTransfer", "closedByConsumer"]


def test_a_running_segment_has_the_units_that_have_ended() -> None:
    result = read(as_written(opened(0), consumer(0), assigned(0), focused(5), agent(10), consumer(20), opened(30)))
    assert units(result) == [(1, "conversationEntered", "agentResponse", 5, 10)]
    [segment] = result.agent_segments
    assert (segment["end"], segment["endReason"], segment["outcome"]) == (None, None, None)
    assert (segment["totalHandleTimeMillis"], segment["responseMillis"]) == (5, [10])
    [skill_segment] = result.skill_segments
    assert (skill_segment["end"], skill_segment["outcome"], skill_segment["abandonedInQueue"]) == (
        None,
        None,
        None,
    )


def test_bots_have_no_handle_time_and_the_same_agent_as_a_human_has() -> None:
    as_bot = [assigned(5, userType="bot"), agent(7), transferred(10)]
    result = read(as_written(consumer(0), focused(1), *as_bot, assigned(10), agent(15), closed(20)))
    assert units(result) == [(1, "conversationAssigned", "agentResponse", 10, 15)]
    assert column(result.agent_segments, "firstResponseMillis") == [2, 5]
    assert column(result.skill_segments, "userType") == ["mixed"]


def test_focus_is_each_accounts_own() -> None:
    elsewhere = focused(7, conversationId="c2", accountId="B")
    result = read(as_written(consumer(0), assigned(0), focused(5), elsewhere, agent(10), closed(20)))
    assert units(result) == [(1, "conversationEntered", "agentResponse", 5, 10)]


def test_a_consumer_who_spoke_before_the_opening_or_while_closed_waits_from_the_start_of_the_segment() -> None:
    before = read(as_written(consumer(0), opened(1), assigned(10), agent(15)))
    while_closed = read(as_written(closed(0), consumer(0), opened(1), assigned(10), agent(15), consumer(17), agent(20)))
    assert column(before.agent_segments, "responseMillis") == [[5]]
    assert column(while_closed.agent_segments, "follows") == ["resume"]
    assert column(while_closed.agent_segments, "responseMillis") == [[3]]
    assert before.effects == while_closed.effects == {}


def test_a_wait_that_began_goes_on_through_further_consumer_messages() -> None:
    result = read(as_written(opened(0), assigned(0), consumer(10), consumer(20), agent(30), agent(40), consumer(50)))
    assert column(result.agent_segments, "responseMillis") == [[20]]


def test_the_first_message_after_a_takeover_gives_no_response_whenever_the_wait_began() -> None:
    result = read(as_written(transferred(0, "takeover"), assigned(0), consumer(10), agent(20), consumer(25), agent(30)))
    assert column(result.agent_segments, "follows") == ["takeover"]
    assert column(result.agent_segments, "firstResponseMillis") == [None]
    assert column(result.agent_segments, "responseMillis") == [[5]]


def test_what_a_segment_follows_is_the_latest_before_it() -> None:
    result = read(
        as_written(
            *(
                assigned(0),
                assigned(1, 2),
                transferred(2, "takeover"),
                transferred(3, "backToQueue"),
                assigned(4),
            ),
            *(transferred(5, "takeover"), opened(6), assigned(7), assigned(8, 2), transferred(9, "takeover")),
            *(
                closed(10),
                transferred(11, "takeover"),
                resumed(12),
                assigned(13),
                closed(14),
                opened(15),
                assigned(16),
            ),
        )
    )
    assert column(result.agent_segments, "follows") == [
        *("newConversation", "transfer", "transfer", "takeover", "transfer", "resume", "resume")
    ]


def test_the_first_source_is_the_conversations_for_good() -> None:
    opening = [opened(0), assigned(1), opened(2, source="SMS"), closed(3)]
    second = [resumed(4, source="APP"), assigned(5), closed(6), opened(7, source="WEB"), assigned(8)]
    result = read(as_written(*opening, *second))
    assert column(result.agent_segments, "source") == [None, "APP", "APP"]


def test_a_change_of_skill_starts_a_skill_segment_whatever_the_reason() -> None:
    result = read(
        as_written(
            *(
                opened(0),
                transferred(1, "backToQueue", skillId=7),
                assigned(2),
                transferred(3, "skill", skillId=7),
            ),
            *(
                assigned(4, skillId=8),
                assigned(5, skillId=9),
                assigned(6, 2, skillId=9),
                closed(7),
                resumed(8),
            ),
        )
    )
    assert column(result.skill_segments, "skillId") == [-1, 7, 8, 9, 9]
    assert column(result.skill_segments, "start") == [0, 1, 4, 6, 8]
    assert column(result.skill_segments, "endReason") == [*["skillTransfer"] * 3, "closedByConsumer", None]
    assert column(result.agent_segments, "skillSegmentSequence") == [2, 3, 4]
    assert column(result.agent_segments, "follows") == ["transfer", "transfer", "transfer"]
    assert column(result.agent_segments, "endReason") == [
        "skillTransfer",
        "agentTransfer",
        "closedByConsumer",
    ]


def test_the_skill_minus_one_is_a_skill_like_any_other() -> None:
    result = read(as_written(opened(0, skillId=-1), transferred(1, skillId=-1), transferred(2, skillId=3), closed(4)))
    assert column(result.skill_segments, "skillId") == [-1, 3]


def test_an_opening_assignment_starts_one_skill_segment_only() -> None:
    result = read(as_written(assigned(0, skillId=4), closed(1), closed(2)))
    assert column(result.skill_segments, "skillId") == [4]
    assert column(result.agent_segments, "follows") == ["newConversation"]
    assert result.effects == {"closedWhileClosed": 1}


def test_only_a_consumer_who_closes_with_nobody_assigned_abandons_in_queue() -> None:
    in_queue = read(as_written(opened(0), consumer(0), closed(1)))
    with_agent = read(as_written(opened(0), assigned(0), closed(1)))
    by_system = read(as_written(opened(0), closed(1, "system")))
    answered = read(as_written(opened(0), assigned(0), agent(1), transferred(2), closed(3)))
    names = ("outcome", "abandonedInQueue")
    found = [
        tuple(result.skill_segments[0][name] for name in names)
        for result in (in_queue, with_agent, by_system, answered)
    ]
    assert found == [
        ("abandoned", True),
        ("abandoned", False),
        ("nonResponsiveAgent", False),
        ("nonResponsiveConsumer", False),
    ]


def test_the_outcome_of_a_skill_segment_takes_its_agents_together() -> None:
    result = read(
        as_written(opened(0), assigned(0), agent(1), transferred(2), consumer(3), assigned(4, 2), closed(5, "agent"))
    )
    assert column(result.agent_segments, "outcome") == ["nonResponsiveConsumer", "nonResponsiveAgent"]
    assert column(result.skill_segments, "outcome") == ["interactive"]


def test_a_segment_of_no_length_is_a_segment_with_messages() -> None:
    result = read(as_written(opened(0), assigned(5), agent(5), consumer(5), closed(5)))
    assert column(result.agent_segments, "outcome") == ["interactive"]
    assert column(result.agent_segments, "firstResponseMillis") == [0]


def test_within_a_millisecond_the_rank_of_the_type_decides_then_the_ids_by_their_bytes() -> None:
    types = [
        *(closed(0, eventId="1"), agent(0, eventId="2"), focused(0, eventId="3"), assigned(0, eventId="4")),
        *(transferred(0, eventId="5"), opened(0, eventId="6")),
    ]
    result = read(types)
    assert column(result.agent_segments, "follows") == ["transfer"]
    assert column(result.agent_segments, "agentMessages") == [1]

    # by UTF-16 the second id would come first
    ids = [assigned(0, 1, eventId="\uff5e"), assigned(0, 2, eventId="\U0001f600")]
    assert column(read(ids).agent_segments, "agentId") == [1, 2]
    conversations = [focused(0, eventId="x", conversationId="é"), focused(0, eventId="x", conversationId="z")]
    behind = [assigned(1, eventId="y", conversationId="é"), consumer(0, eventId="w", conversationId="é")]
    assert units(read([*conversations, *behind, closed(9, eventId="v", conversationId="é")])) == [
        (1, "conversationAssigned", "conversationClosed", 1, 9)
    ]


def test_the_first_copy_in_the_order_stands_and_copies_that_say_something_else_are_reported() -> None:
    copies = [
        *(assigned(5, 3), assigned(4, 2), assigned(4, 1), consumer(4), consumer(4, skillId=4)),
        *(
            assigned(4, 1, groupId=-1, userType="human", sequence=0, accountId="local", source="x"),
            assigned(4, 1),
        ),
        {**assigned(4, 1), "time": "1970-01-01T01:00:00.0049+01:00"},
    ]
    result = read(copies)
    assert column(result.agent_segments, "agentId") == [1]
    assert (result.duplicates, result.differing_copies) == (7, 4)


def test_copies_that_differ_in_fields_of_other_types_only_do_not_differ() -> None:
    result = read([consumer(0), consumer(0, agentId=3), agent(0, eventId="f"), agent(0, eventId="f", agentId=3)])
    assert (result.duplicates, result.differing_copies) == (2, 1)


def test_the_event_id_orders_before_the_conversation_id() -> None:
    events = [
        *(consumer(0, eventId="x"), assigned(0, eventId="y"), agent(9, eventId="z")),
        *(focused(5, eventId="b", conversationId="c1"), focused(5, eventId="a", conversationId="c2")),
    ]
    assert units(read(events)) == [(1, "conversationEntered", "agentResponse", 5, 9)]
    events = [{**event, "conversationId": "c3"} if event["conversationId"] == "c1" else event for event in events]
    assert units(read(events)) == [(1, "conversationEntered", "agentResponse", 5, 9)]


def test_a_resumed_that_opens_first_is_a_resumption() -> None:
    assert column(read(as_written(resumed(0), assigned(1))).agent_segments, "follows") == ["resume"]


def test_what_is_finer_than_a_millisecond_is_cut_off() -> None:
    times = ["2026-11-20T09:00:00.0019999Z", "2026-11-20T04:00:00.002-05:00", "1969-12-31T23:59:59.9999Z"]
    assert [event_of(opened(0) | {"time": time}, "local").time for time in times] == [T0 + 1, T0 + 2, -1]
    assert event_of(opened(0) | {"time": "2026-11-20T09:00:00.5Z"}, "local").time == T0 + 500
    assert event_of(opened(0) | {"time": "2028-03-01T00:00:00+00:00"}, "local").time == 1_835_481_600_000


def test_the_segment_id_is_made_of_account_agent_conversation_and_the_assigning_event() -> None:
    result = read([assigned(0, -5, conversationId="é", eventId="ev", accountId="A1")])
    assert column(result.agent_segments, "segmentId") == ["A1:-5:é:rEdBbJqTL8o_1EkZ7G2NvQ"]


def test_every_reason_why_an_event_changes_nothing_is_counted() -> None:
    system = an_event("message", 0, sentBy="system")
    result = read(
        as_written(
            *(consumer(0), consumer(0), agent(0), system),
            *(opened(1), opened(1), resumed(1), agent(1), agent(1, agentId=3), system, consumer(1)),
            *(
                assigned(2),
                assigned(2),
                agent(2, agentId=2),
                agent(2),
                agent(2, agentId=1),
                system | {"time": 2},
            ),
            *(focused(3), focused(3), unfocused(3, 2), unfocused(3), unfocused(3)),
            *(closed(4), closed(4), transferred(4), assigned(4), assigned(4, 2), consumer(4), agent(4)),
            system | {"time": 4},
        )
    )
    # the system message written with the opening has time 0, so it is the second one before it
    assert result.effects == {
        "messageBeforeOpening": 4,
        "openedWhileOpen": 2,
        "messageWithNobodyAssigned": 2,
        "assignedTwice": 1,
        "messageByAnotherAgent": 1,
        "systemMessage": 1,
        "focusedAlready": 1,
        "unfocusedWithoutFocus": 2,
        "closedWhileClosed": 1,
        "transferredWhileClosed": 1,
        "assignedWhileClosed": 2,
        "messageWhileClosed": 3,
    }


def test_a_loss_stands_after_as_many_of_the_agents_focus_events_as_its_position_says() -> None:
    events = [
        *(
            consumer(0, eventId="a"),
            assigned(0, eventId="b"),
            unfocused(5, eventId="f1"),
            focused(5, eventId="f2"),
        ),
        *(focused(5, 2, eventId="f0", conversationId="c2"), agent(9, eventId="g")),
    ]

    def handled(position: int, time: int = 5, agent: int = 1, sequence: int = 0) -> list[tuple[object, ...]]:
        loss: Row = {
            "accountId": "local",
            "agentId": agent,
            "time": time,
            "sequence": sequence,
            "position": position,
        }
        return units(read(events, losses=[loss, loss]))

    whole = [(1, "conversationEntered", "agentResponse", 5, 9)]
    assert handled(0) == handled(1) == whole
    assert handled(2) == []  # the unit of no length is dropped
    assert handled(0, time=7) == [(1, "conversationEntered", "conversationExited", 5, 7)]
    assert handled(0, sequence=1) == []
    assert handled(0, time=6, agent=2) == handled(0, sequence=-1) == whole


def looks(at: int, lease: int | None = None, **fields: object) -> RawEvent:
    return {**focused(at), "leaseMillis": lease, **fields}


@pytest.mark.parametrize(
    ("moves", "handled"),
    [
        ([looks(10, 20)], [("conversationEntered", "conversationExited", 10, 30)]),
        # Said again before it ends, in its last millisecond, and a millisecond too late.
        ([looks(10, 20), looks(29, 20)], [("conversationEntered", "conversationExited", 10, 49)]),
        ([looks(10, 20), looks(30, 5)], [("conversationEntered", "conversationExited", 10, 35)]),
        (
            [looks(10, 20), looks(31, 5)],
            [
                ("conversationEntered", "conversationExited", 10, 30),
                ("conversationEntered", "conversationExited", 31, 36),
            ],
        ),
        # Sooner than before, and with no end at all.
        ([looks(10, 80), looks(20, 5)], [("conversationEntered", "conversationExited", 10, 25)]),
        ([looks(10, 20), looks(20)], [("conversationEntered", "agentResponse", 10, 90)]),
        # Something else ends it first, and what comes after its end finds no focus.
        ([looks(10, 50), unfocused(20)], [("conversationEntered", "conversationExited", 10, 20)]),
        ([looks(10, 50), looks(20, conversationId="c2")], [("conversationEntered", "conversationExited", 10, 20)]),
        (
            [looks(10, 5), unfocused(20), looks(40, 5)],
            [
                ("conversationEntered", "conversationExited", 10, 15),
                ("conversationEntered", "conversationExited", 40, 45),
            ],
        ),
        # The other conversation's lease ends: this one does not get the focus back.
        ([looks(10), looks(20, 5, conversationId="c2")], [("conversationEntered", "conversationExited", 10, 20)]),
        ([looks(10, 70), looks(80)], [("conversationEntered", "agentResponse", 10, 90)]),
        ([looks(10, 80)], [("conversationEntered", "agentResponse", 10, 90)]),
    ],
)
def test_a_lease_ends_the_focus_unless_it_is_said_again(
    moves: list[RawEvent], handled: list[tuple[object, ...]]
) -> None:
    result = read(as_written(opened(0), consumer(0), assigned(0), *moves, agent(90), closed(100)))
    assert [unit[1:] for unit in units(result)] == handled


def test_a_focus_said_again_changes_nothing_only_where_its_end_stays() -> None:
    ends = [looks(10), looks(20), looks(30, 50), looks(40, 40), looks(50, 50), looks(60)]
    assert read(as_written(*ends)).effects == {"focusedAlready": 2}


def test_the_highest_revision_stands_whenever_it_comes_and_copies_of_it_are_compared_among_themselves() -> None:
    copies = [
        *(assigned(4, 1), assigned(9, 2, revision=1), assigned(8, 3, revision=1), assigned(3, 4)),
        *(assigned(3, 4), assigned(8, 3, revision=1), assigned(1, 9)),
    ]
    for shuffled in (copies, copies[::-1]):
        result = read(shuffled)
        assert column(result.agent_segments, "agentId") == [3]
        assert (result.duplicates, result.corrected, result.differing_copies) == (2, 4, 1 + 3)


def test_what_was_withdrawn_does_nothing_in_no_state() -> None:
    taken_back = [an_event("withdrawn", at, eventId=id_, revision=1) for at, id_ in ((5, "o"), (6, "m"), (7, "f"))]
    events = [opened(5, eventId="o", skillId=9), consumer(6, eventId="m"), focused(7, eventId="f")]
    rest = as_written(assigned(10), focused(20), agent(30), closed(40))
    with_them, without = read([*events, *rest, *taken_back]), read(rest)
    assert with_them.agent_segments == without.agent_segments
    assert with_them.skill_segments == without.skill_segments
    assert with_them.handle_time_units == without.handle_time_units
    assert (with_them.effects, with_them.corrected) == ({"withdrawn": 3}, 3)


# --- Messy streams


def test_the_messy_streams_reach_everything_there_is() -> None:
    effects: Counter[str] = Counter()
    values: set[tuple[str, str, object]] = set()
    duplicates, differing_copies = 0, 0
    for seed in SEEDS:
        result = reading(seed)
        effects.update(result.effects)
        duplicates += result.duplicates
        differing_copies += result.differing_copies
        for kind, rows, names in (
            ("agent", result.agent_segments, ("follows", "endReason", "outcome", "userType")),
            ("skill", result.skill_segments, ("endReason", "outcome", "userType", "abandonedInQueue")),
            ("unit", result.handle_time_units, ("startReason", "endReason")),
        ):
            values |= {(kind, name, row[name]) for row in rows for name in names}

    assert set(effects) == {
        *("messageWhileClosed", "messageBeforeOpening", "messageWithNobodyAssigned", "messageByAnotherAgent"),
        *(
            "systemMessage",
            "assignedTwice",
            "assignedWhileClosed",
            "transferredWhileClosed",
            "closedWhileClosed",
        ),
        *("openedWhileOpen", "focusedAlready", "unfocusedWithoutFocus", "withdrawn"),
    }
    closes = {"closedByConsumer", "closedByAgent", "closedBySystem"}
    outcomes = {"interactive", "nonResponsiveConsumer", "abandoned", "nonResponsiveAgent", None}
    expected: dict[tuple[str, str], set[object]] = {
        ("agent", "follows"): {"newConversation", "resume", "takeover", "transfer"},
        ("agent", "endReason"): {*closes, "agentTransfer", "skillTransfer", "backToQueue", "other", None},
        ("agent", "outcome"): {*outcomes},
        ("agent", "userType"): {"human", "bot"},
        ("skill", "endReason"): {*closes, "skillTransfer", None},
        ("skill", "outcome"): {*outcomes},
        ("skill", "userType"): {"human", "bot", "mixed", "none"},
        ("skill", "abandonedInQueue"): {True, False, None},
        ("unit", "startReason"): {*("consumerMessage", "conversationEntered", "conversationAssigned", "agentMessage")},
        ("unit", "endReason"): {
            *("agentResponse", "conversationExited", "conversationClosed", "conversationTransferred")
        },
    }
    assert values == {(kind, name, value) for (kind, name), all_ in expected.items() for value in all_}
    assert 0 < differing_copies < duplicates


def test_the_same_seed_always_gives_the_same_stream() -> None:
    assert messy_stream(1) == messy_stream(1)
    assert messy_stream(1) != messy_stream(2)
    assert len({event["eventId"] for event in messy_stream(3, accounts=1, conversations=1, events=50)}) == 50


@pytest.mark.parametrize("seed", FEWER_SEEDS)
def test_order_and_doubling_of_the_events_change_nothing(seed: int) -> None:
    once = reading(seed)
    twice = [*stream(seed), *stream(seed)]
    random.Random(seed).shuffle(twice)
    again = read(twice)
    assert again.agent_segments == once.agent_segments
    assert again.skill_segments == once.skill_segments
    assert again.handle_time_units == once.handle_time_units
    assert again.effects == once.effects
    dropped = again.duplicates + again.corrected
    assert dropped == once.duplicates + once.corrected + len(stream(seed))
    assert again.differing_copies == 2 * once.differing_copies


@pytest.mark.parametrize("seed", FEWER_SEEDS)
def test_rows_stand_by_account_conversation_and_start(seed: int) -> None:
    result = reading(seed)
    for rows in (result.agent_segments, result.skill_segments, result.handle_time_units):
        keys = [(str(row["accountId"]), str(row["conversationId"]), number(row["start"])) for row in rows]
        assert keys == sorted(keys)


@pytest.mark.parametrize("seed", FEWER_SEEDS)
def test_handle_time_is_the_sum_of_the_units_and_no_longer_than_the_segment(seed: int) -> None:
    result = reading(seed)
    for segment in result.agent_segments:
        own = [unit for unit in result.handle_time_units if unit["segmentId"] == segment["segmentId"]]
        assert column(own, "sequence") == list(range(1, len(own) + 1))
        total = sum(number(unit["handleTimeMillis"]) for unit in own)
        assert total == segment["totalHandleTimeMillis"]
        for unit in own:
            assert number(segment["start"]) <= number(unit["start"]) < number(unit["end"])
            assert number(unit["end"]) - number(unit["start"]) == unit["handleTimeMillis"]
        if segment["end"] is not None:
            assert total <= number(segment["end"]) - number(segment["start"])
            assert all(number(unit["end"]) <= number(segment["end"]) for unit in own)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_units_of_one_agent_never_overlap_over_all_conversations(seed: int) -> None:
    result = reading(seed)
    agent_of = {segment["segmentId"]: segment["agentId"] for segment in result.agent_segments}
    by_agent: dict[tuple[object, object], list[tuple[int, int]]] = {}
    for unit in result.handle_time_units:
        key = (unit["accountId"], agent_of[unit["segmentId"]])
        by_agent.setdefault(key, []).append((number(unit["start"]), number(unit["end"])))
    for stretches in by_agent.values():
        for (_, end), (start, _) in pairwise(sorted(stretches)):
            assert end <= start


@pytest.mark.parametrize("seed", FEWER_SEEDS)
def test_ended_agent_segments_of_a_conversation_follow_one_another(seed: int) -> None:
    by_conversation: dict[tuple[object, object], list[Row]] = {}
    for segment in reading(seed).agent_segments:
        by_conversation.setdefault((segment["accountId"], segment["conversationId"]), []).append(segment)
    for segments in by_conversation.values():
        for one, next_ in pairwise(segments):
            assert number(one["end"]) <= number(next_["start"])


@pytest.mark.parametrize("seed", FEWER_SEEDS)
def test_a_removed_conversation_changes_no_other_ones_numbers(seed: int) -> None:
    kept, *_copies = without_duplicates([event_of(event, "local") for event in stream(seed)])
    removed = random.Random(seed).choice(sorted({(event.account, event.conversation) for event in kept}))
    rest = [event for event in stream(seed) if conversation_of(event) != removed]
    losses = losses_of(removed, kept)
    before, after = reading(seed), read(rest, losses=losses)
    for rows, rows_after in (
        (before.agent_segments, after.agent_segments),
        (before.skill_segments, after.skill_segments),
        (before.handle_time_units, after.handle_time_units),
    ):
        assert rows_after == [row for row in rows if (row["accountId"], row["conversationId"]) != removed]


def conversation_of(event: RawEvent) -> tuple[str, str]:
    return str(event.get("accountId") or "local"), str(event["conversationId"])


def number(value: object) -> int:
    assert isinstance(value, int)
    return value
