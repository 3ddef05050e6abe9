"""Why, in words: what is told is what the explanation says, of every kind of segment, and nothing of others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from handletime.answers.clocks import ISO
from handletime.answers.explained_levels import add_levels
from handletime.answers.labels import AccountLabels
from handletime.answers.told import PARAGRAPHS_MAX, paragraphs
from handletime.answers.words import Kind, duration
from handletime.clock import HOUR
from handletime.scope import Scope
from handletime.segments.explain import Reading, read
from handletime.segments.parts import prepare
from handletime.segments.within import limited
from handletime.targets.targets import AccountTargets, Clock, Target
from tests.messy_streams import GROUPS, messy_stream
from tests.segments.tables import events_of
from tests.segments.test_explain import BASE, Row, event, read_of
from tests.targets.test_hours import calendar

EXAMPLES = sorted((Path(__file__).parents[1] / "golden" / "examples").glob("*.json"))
assert BASE % HOUR == 0


def name(kind: Kind, number: int) -> str:
    return {("agent", 7): "Jackdaw", ("agent", 8): "Heron", ("agent", 9): "Hal"}.get((kind, number), f"{kind} {number}")


def told(*events: Row, segment: str | None = None) -> list[str]:
    return paragraphs(read_of(*events), name, ISO, segment=segment)


def asked(second: int) -> Row:
    return event(second, "message", sentBy="consumer")


def wrote(second: int) -> Row:
    return event(second, "message", sentBy="agent")


ONE = (
    event(0, "opened", skillId=1),
    asked(95),
    event(130, "assigned", agentId=7),
    event(361, "focused", agentId=7),
    wrote(450),
    event(2850, "closed", closedBy="consumer"),
)


def test_one_wait_is_told_from_the_assignment_to_the_end() -> None:
    assert told(*ONE) == [
        "Assigned to Jackdaw at 09:02:10, after 2 min 10 s in the queue and 35 s after the consumer asked. "
        "Jackdaw was looking elsewhere until 09:06:01 and answered at 09:07:30: a first response after 5 min 20 s. "
        "Of these 5 min 20 s, 1 min 29 s counted as handle time: from 09:06:01, when Jackdaw opened this "
        "conversation, to the answer. Then 40 min passed in which nobody waited; they count nothing. "
        "At 09:47:30 the consumer closed it; the outcome is non-responsive consumer."
    ]


def test_where_the_focus_was_meanwhile_is_told_where_it_is_known() -> None:
    seen = []

    def where(agent: int, start: int, end: int, millis: int) -> str:
        seen.append((agent, (start - BASE) // 1000, (end - BASE) // 1000, millis))
        return "at another conversation"

    (text,) = paragraphs(read_of(*ONE), name, ISO, where=where)
    assert "Jackdaw was looking at another conversation until 09:06:01 and answered" in text
    assert seen[0] == (7, 130, 361, 231_000)
    never = (*ONE[:3], event(131, "focused", agentId=7, conversationId="d"), event(200, "closed", closedBy="consumer"))
    (text,) = paragraphs(read_of_both(*never), name, ISO, where=where)
    assert "Jackdaw never looked at it, but at another conversation, and did not answer before the consumer" in text


def read_of_both(*events: Row) -> Reading:
    return read(prepare(events_of([*events])), "local", "c")


def test_what_came_between_is_told_with_its_reasons() -> None:
    (text,) = told(
        event(0, "assigned", agentId=7),
        event(0, "focused", agentId=7),
        asked(60),
        event(70, "unfocused", agentId=7),
        event(90, "focused", agentId=7),
        wrote(100),
        asked(160),
        wrote(190),
        event(200, "closed", closedBy="agent"),
    )
    assert text == (
        "Passed on to Jackdaw at 09:00:00. Jackdaw looked at it at once and answered at 09:01:40: a first response "
        "after 1 min 40 s. Of these 1 min 40 s, 20 s counted as handle time, in 2 stretches. The other 1 min 20 s did "
        "not: for 1 min nobody waited; for 20 s Jackdaw did not look here. Of the 1 min 40 s after it, 30 s counted, "
        "in 1 stretch; the rest did not: nobody waited. Handle time in all: 50 s. At 09:03:20 an agent closed it; the "
        "outcome is interactive."
    ).replace("Passed on", "Assigned")


def test_a_bot_has_no_handle_time_and_who_comes_after_it_is_told_too() -> None:
    bot, human, queued = told(
        event(0, "opened"),
        asked(1),
        event(5, "assigned", agentId=9, userType="bot"),
        wrote(6),
        event(10, "transferred", reason="skill", skillId=2),
        event(40, "assigned", agentId=7),
        event(50, "transferred", reason="takeover"),
    )
    assert bot == (
        "Assigned to the bot Hal at 09:00:05, after 5.0 s in the queue and 4.0 s after the consumer asked. The bot Hal "
        "answered at 09:00:06: a first response after 1.0 s. Bots have no handle time. At 09:00:10 it was passed to "
        "another skill; the outcome is non-responsive consumer."
    )
    assert human == (
        "Passed on to Jackdaw at 09:00:40, after 30 s in the queue. Jackdaw did not answer before somebody else took "
        "it over at 09:00:50. Jackdaw's screen sent no focus data: handle time unknown. The outcome is non-responsive "
        "agent."
    )
    assert queued == "Since 2026-11-20 09:00:50 it has been waiting in the queue of skill 2: nobody is assigned."


@pytest.mark.parametrize("how", ["takeover", "resume"])
def test_why_no_first_response_counts_is_told(how: str) -> None:
    first = [event(0, "opened"), asked(1), event(5, "assigned", agentId=7)]
    then = [event(10, "transferred", reason="takeover")]
    if how == "resume":
        then = [event(10, "closed", closedBy="agent"), event(20, "resumed"), asked(21)]
    _, text, *_ = told(
        *first, *then, event(30, "assigned", agentId=8), wrote(90), event(95, "closed", closedBy="agent")
    )
    begun = "Heron took the conversation over at" if how == "takeover" else "The conversation was resumed, and assigned"
    assert text.startswith(begun)
    after = "a takeover" if how == "takeover" else "a resumption"
    assert f"1 min later. No first response is counted, and no response time: after {after} there is none." in text
    assert "a first response after" not in text


def test_what_still_runs_is_told_up_to_now() -> None:
    (text,) = told(*ONE[:3])
    assert text.endswith(
        "Jackdaw has not answered yet. Jackdaw's screen sent no focus data: handle time unknown. It still runs, and "
        "the consumer has been waiting for an answer since 09:02:10."
    )
    (text,) = told(*ONE[:5])
    assert text.endswith("to the answer. It still runs; nobody waits for an answer.")
    (text,) = told(*ONE[:4], asked(400))
    assert "the wait goes on, and counts once it ends" in text
    assert "None of these 4 min 30 s counted as handle time" in text
    reading = read(prepare(events_of([*ONE[:3]])), "local", "c", now=BASE + 730_000)
    (text,) = paragraphs(reading, name, ISO)
    assert text.endswith("the consumer has been waiting for an answer since 09:02:10, 10 min so far.")
    assert told(*ONE[:1]) == [
        "Since 2026-11-20 09:00:00 it has been waiting in the queue of skill 1: nobody is assigned."
    ]


def test_abandoned_in_the_queue_is_told_where_nobody_had_it() -> None:
    assert told(event(0, "opened", skillId=1), event(90, "closed", closedBy="consumer")) == [
        "From 09:00:00 it waited 1 min 30 s in the queue of skill 1, with nobody assigned, until the consumer closed "
        "it at 09:01:30."
    ]


def many(number: int) -> list[Row]:
    return [event(10 * i, "assigned", agentId=100 + i) for i in range(number)]


def test_three_are_told_and_of_the_rest_how_many_there_are() -> None:
    events = many(PARAGRAPHS_MAX + 2)
    texts = told(*events)
    assert len(texts) == PARAGRAPHS_MAX + 1
    assert texts[-1] == "2 more agent segments stand below."
    last = read_of(*events).explanation.agent_segments[-1]
    (text,) = told(*events, segment=str(last["segmentId"]))
    assert text.startswith("Passed on to agent 104 at 2026-11-20 09:00:40.")
    assert told(*events, segment="of another") == texts


def test_dates_are_told_where_there_are_several() -> None:
    (text,) = told(*ONE[:5], event(100_000, "closed", closedBy="agent"))
    assert "Assigned to Jackdaw at 2026-11-20 09:02:10," in text
    assert "until 09:06:01 and answered at 09:07:30" in text
    assert "At 2026-11-21 12:46:40 an agent closed it" in text


def test_what_is_late_is_told_with_the_promise_and_the_hours_that_counted() -> None:
    hours = calendar("09:00-10:00", "10:00-10:04", "10:06-10:20")  # BASE is 10:00 in Berlin
    limits: dict[Clock, int] = {"firstResponse": 60_000, "queueWait": 30_000}
    reading = read_of(*ONE)
    add_levels(reading, AccountTargets((Target("sales", limits, calendar=hours),)), BASE + HOUR)
    (text,) = paragraphs(reading, name, ISO)
    assert (
        "An agent was promised within 30 s (sales); from 09:00:00 on it took 2 min 10 s of opening hours "
        f"({hours.name}: 09:00:00 to 09:02:10), 1 min 40 s too long. "
        "A first response was promised within 1 min (sales); from 09:02:10 on it took 3 min 20 s of opening hours "
        f"({hours.name}: 09:02:10 to 09:04:00, 09:06:00 to 09:07:30), 2 min 20 s too long."
    ) in text
    reading = read_of(*ONE[:3])
    add_levels(reading, AccountTargets((Target("all", {"firstResponse": 60_000}),)), BASE + 1_000_000)
    (text,) = paragraphs(reading, name, ISO)
    late = duration(1_000_000 - 130_000 - 60_000)
    assert "A first response was promised within 1 min (all); from 09:02:10 on it has taken 14 min 30 s," in text
    assert f"{late} too long" in text


def test_of_many_late_waits_three_are_told() -> None:
    events = [
        event(0, "assigned", agentId=7),
        *(row for i in range(1, 6) for row in (asked(100 * i), wrote(100 * i + 9))),
    ]
    reading = read_of(*events)
    add_levels(reading, AccountTargets((Target("all", {"response": 1000}),)), BASE + HOUR)
    (text,) = paragraphs(reading, name, ISO)
    assert text.count("A response was promised") == 3
    assert "2 more waits were too long." in text


# --- whatever happens ------------------------------------------------------------------------------------------------


def readings() -> Iterator[Reading]:
    for path in EXAMPLES:
        rows = [{"accountId": "acme", **each} for each in json.loads(path.read_text())["events"]]
        yield from _read(rows)
    for seed in range(6):
        yield from _read([{**row, "accountId": "acme"} for row in messy_stream(seed, events=300, conversations=5)])


def _read(rows: list[dict[str, object]]) -> Iterator[Reading]:
    prepared = prepare(events_of(rows))
    for conversation in sorted({str(row["conversationId"]) for row in rows}):
        yield read(prepared, "acme", conversation)


def test_of_every_segment_all_is_told_that_counted() -> None:
    seen = 0
    for reading in readings():
        for row in reading.explanation.agent_segments:
            (text,) = paragraphs(reading, AccountLabels().text, ISO, segment=str(row["segmentId"]))
            assert "None" not in text.replace("None of these", "")
            assert ("no focus data" in text) == (row["userType"] == "human" and not row["focusData"])
            assert ("still runs" in text) == (row["end"] is None)
            assert ("a first response after" in text) == (row["firstResponseMillis"] is not None)
            if found := re.search(r"Handle time in all: ([^.]+(?:\.\d s)?)\.", text):
                assert found[1] == duration(cast(int, row["totalHandleTimeMillis"]))
                seen += 1
    assert seen > 3


def test_nothing_is_told_of_others() -> None:
    seen = 0
    for reading in readings():
        for group in GROUPS:
            within = limited(reading, Scope((group,)))
            if within is None:
                continue
            own = {str(row["agentId"]) for row in within.explanation.agent_segments}
            for text in paragraphs(within, AccountLabels().text, ISO):
                assert set(re.findall(r"[Aa]gent (-?\d+)", text)) <= own
                assert "queue of" not in text
                seen += 1
            for row in within.explanation.agent_segments:
                chosen = paragraphs(within, AccountLabels().text, ISO, segment=str(row["segmentId"]))
                assert chosen == paragraphs(reading, AccountLabels().text, ISO, segment=str(row["segmentId"]))
    assert seen > 20
