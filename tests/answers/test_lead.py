"""A conversation in short: what is said above the story is what the rows of the explanation add up to."""

from __future__ import annotations

from typing import cast

import pytest

from handletime.answers.explained_levels import add_levels
from handletime.answers.labels import AccountLabels
from handletime.answers.lead import lead
from handletime.answers.words import duration
from handletime.segments.explain import Reading, read
from handletime.segments.parts import prepare
from handletime.targets.targets import AccountTargets, Target
from tests.answers.test_told import ONE, asked, name, readings, wrote
from tests.segments.tables import events_of
from tests.segments.test_explain import BASE, Row, event, read_of

BOT = event(3, "assigned", agentId=9, userType="bot")
CLOSED = event(2850, "closed", closedBy="consumer")


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (ONE, "Handle time 1 min 29 s, of Jackdaw. The longest wait: 5 min 20 s for Jackdaw's answer."),
        (
            (ONE[0], asked(5), event(95, "closed", closedBy="consumer")),
            "No agent has had it. The longest wait: 1 min 35 s in the queue.",
        ),
        (
            (ONE[0], BOT, asked(4), event(9, "message", sentBy="agent", agentId=9), CLOSED),
            "Only bots had it: there is no handle time. The longest wait: 5.0 s for Hal's answer.",
        ),
        (
            (ONE[0], event(1, "assigned", agentId=7), asked(4), wrote(90), CLOSED),
            "Handle time unknown: no focus data of Jackdaw. The longest wait: 1 min 26 s for Jackdaw's answer.",
        ),
        (
            (*ONE[:-1], event(500, "transferred", reason="agent"), event(510, "assigned", agentId=8), CLOSED),
            "Handle time 1 min 29 s, of Jackdaw; that of Heron is unknown. "
            "The longest wait: 39 min for Heron's answer.",
        ),
        (
            (ONE[0], asked(0), event(60, "assigned", agentId=7), event(7200, "closed", closedBy="agent")),
            "Handle time unknown: no focus data of Jackdaw. The longest wait: 1 h 59 min for Jackdaw's answer.",
        ),
        (
            (ONE[0], event(1, "assigned", agentId=7), asked(4), event(500, "assigned", agentId=8), wrote(520), CLOSED),
            "Handle time unknown: no focus data of Jackdaw and Heron. "
            "The longest wait: 8 min 16 s for Jackdaw's answer.",
        ),
        ((ONE[0], event(0, "assigned", agentId=7), CLOSED), "Handle time unknown: no focus data of Jackdaw."),
    ],
)
def test_it_is_said_in_short(events: tuple[Row, ...], says: str) -> None:
    assert lead(read_of(*events), name) == says


def read_until(second: int, *events: Row) -> Reading:
    return read(prepare(events_of([*events])), "local", "c", now=BASE + second * 1000)


def test_what_goes_on_is_said_up_to_now() -> None:
    reading = read_until(600, *ONE[:4])
    assert lead(reading, name) == (
        "Handle time 0 s so far, of Jackdaw. The longest wait: 7 min 50 s for Jackdaw's answer, and it goes on."
    )
    queued = read_until(600, ONE[0], asked(5))
    assert lead(queued, name) == "No agent has had it. The longest wait: 10 min in the queue, and it goes on."


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (600, "Waits with a target: 2 within it."),
        (300, "Waits with a target: 1 within it, 1 missed it."),
        (60, "Waits with a target: 2 missed it."),
    ],
)
def test_waits_are_counted_by_what_their_targets_make_of_them(seconds: int, says: str) -> None:
    reading = read_of(*ONE)
    limits = {"firstResponse": seconds * 1000, "queueWait": 130_000 * seconds // 300}
    add_levels(reading, AccountTargets((Target("all", limits),)), 0)  # type: ignore[arg-type]
    assert lead(reading, name).endswith(f" {says}")


def test_of_a_part_nothing_is_said_of_who_did_not_have_it() -> None:
    assert (
        lead(read_of(ONE[0], asked(5), CLOSED), name, is_whole=False) == "The longest wait: 47 min 30 s in the queue."
    )
    with_bot = read_of(ONE[0], BOT, CLOSED)
    assert lead(with_bot, name) == "Only bots had it: there is no handle time. The longest wait: 3.0 s in the queue."
    assert lead(with_bot, name, is_whole=False) == "The longest wait: 3.0 s in the queue."


def test_the_longest_wait_is_the_longest_that_the_picture_has() -> None:
    for reading in readings():
        longest = max([0, *(end - start for start, end in reading.waits)])
        queues = reading.explanation.queue_segments
        queued = max([0, *(cast(int, row["waitMillis"]) for row in queues if row["end"])])
        if longest > queued and longest >= 1000 and all(row["end"] for row in queues):
            assert f"The longest wait: {duration(longest)} for agent " in lead(reading, AccountLabels().text)


def test_the_handle_time_is_the_sum_of_the_segments() -> None:
    seen = 0
    for reading in readings():
        says = lead(reading, AccountLabels().text)
        known = [row for row in reading.explanation.agent_segments if row["userType"] == "human" and row["focusData"]]
        assert says.startswith("Handle time ") == any(
            row["userType"] == "human" for row in reading.explanation.agent_segments
        )
        if known:
            millis = sum(cast(int, row["totalHandleTimeMillis"]) for row in known)
            assert says.startswith(f"Handle time {duration(millis)}")
            seen += millis > 0
    assert seen > 3
