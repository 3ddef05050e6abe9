"""What is open now: who waits for whom, since when, and where the focus is; and how a stale wait is told."""

from __future__ import annotations

from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from handletime.answers import live
from handletime.answers.live import (
    STALE_MS,
    FocusHere,
    LastRead,
    Now,
    OpenConversation,
    OpenConversations,
    is_past_due,
    now_of,
    open_conversations,
    urgent_of,
)
from handletime.answers.selection import Selection
from handletime.clock import DAY, HOUR
from handletime.events.book import instant
from handletime.segments.agent_focus import FocusTime
from handletime.segments.derive import derive
from handletime.targets.hours import Calendar
from handletime.targets.targets import NO_TARGETS, AccountTargets, Target
from tests.api.world import MemoryReader
from tests.segments.tables import events_of, rows_of
from tests.web.test_figures import a_stream

Row = dict[str, Any]
AT = 1_800_000_000_000
ALL = Selection((0, 0))


def conversation(id_: str, waits: int | None, **more: Any) -> OpenConversation:
    since = None if waits is None else AT - waits
    values = {"skill": 1, "agent": None, "is_bot": False, "group": None, "source": None, "focus": {}} | more
    return OpenConversation(id_, waiting_since=since, **values)


def test_what_is_stale_is_counted_apart() -> None:
    waits = [conversation("old", STALE_MS + 1), conversation("long", STALE_MS), conversation("short", 5, agent=7)]
    now = now_of(OpenConversations([*waits, conversation("first", AT, agent=7)], set(), 0), ALL, AT)
    assert (now.total.longest, now.total.longest_ms, now.total.stale) == ("long", STALE_MS, 2)
    assert (now.total.open, now.total.in_queue, now.total.waiting, now.total.each) == (4, 1, 1, 2)
    (agent,) = now.agents
    assert (agent.longest, agent.longest_ms, agent.stale, agent.waiting) == ("short", 5, 1, 1)
    only = now_of(OpenConversations(waits[:1], set(), 0), ALL, AT)
    assert (only.total.longest, only.total.longest_ms, only.total.stale) == ("", 0, 1)


def test_a_forgotten_conversation_does_not_put_its_agent_first() -> None:
    found = [conversation("old", 20 * STALE_MS, agent=1), conversation("new", 9000, agent=2)]
    assert [each.number for each in now_of(OpenConversations(found, set(), 0), ALL, AT).agents] == [2, 1]


@pytest.mark.parametrize("seed", range(6))
def test_now_is_what_is_running(seed: int) -> None:
    reader = MemoryReader("local")
    reader.add(a_stream(seed, events=300, conversations=12))
    derived = derive(reader.events)
    queues = [row for row in rows_of(derived.skill_segments) if row["end"] is None]
    segments = {row["conversationId"]: row for row in rows_of(derived.agent_segments) if row["end"] is None}
    at = max(reader.events["time"].cast("int64").to_pylist()) + 1000
    now = now_of(open_conversations(reader.open_conversations()), ALL, at)
    assert {each.id for each in now.conversations} == {row["conversationId"] for row in queues}
    assert {each.id: each.agent for each in now.conversations if each.agent is not None} == {
        str(name): row["agentId"] for name, row in segments.items()
    }
    assert now.total.in_queue == len(queues) - len(segments)
    waiting = {row["conversationId"]: row for row in rows_of(derived.queue_segments) if row["end"] is None}
    for each in now.conversations:
        row = waiting[each.id] if each.in_queue else segments[each.id]
        assert each.since == row["start"]
        if not each.in_queue:
            assert each.follows == row["follows"]
            assert each.queued_since == row["queuedSince"]
    assert now.total.open == len(queues)
    assert sum(skill.open for skill in now.skills) == now.people.open
    assert now.people.open + sum(bot.open for bot in now.bots) == now.total.open
    assert sum(agent.open for agent in [*now.agents, *now.bots]) == len(segments)


BEGUN = cast(int, instant("2026-11-21T09:00:00Z"))


def event(conversation: str, second: int, type_: str, **more: object) -> Row:
    known = {"conversationId": conversation, "eventId": f"{second}-{type_}", "time": BEGUN + second * 1000}
    return {**known, "type": type_, **more}


def test_who_waits_and_where_the_focus_is() -> None:
    reader = MemoryReader("local")
    reader.add(
        events_of(
            [
                event("queued", 0, "opened", skillId=1, source="APP"),
                event("queued", 1, "message", sentBy="consumer"),
                event("asked", 0, "opened", skillId=2),
                event("asked", 5, "assigned", agentId=7),
                event("asked", 6, "message", sentBy="consumer"),
                event("asked", 7, "message", sentBy="consumer"),
                event("asked", 8, "focused", agentId=7),
                event("answered", 0, "opened", skillId=2),
                event("answered", 1, "message", sentBy="consumer"),
                event("answered", 2, "assigned", agentId=7),
                event("answered", 3, "focused", agentId=7),
                event("answered", 4, "message", sentBy="agent"),
                event("moved", 0, "opened", skillId=2),
                event("moved", 1, "message", sentBy="consumer"),
                event("moved", 2, "assigned", agentId=7),
                event("moved", 20, "assigned", agentId=8),
            ]
        )
    )
    at = BEGUN + 60_000
    now = now_of(open_conversations(reader.open_conversations()), ALL, at)
    found = {each.id: each for each in now.conversations}
    assert [each.id for each in now.conversations] == ["queued", "asked", "moved", "answered"]
    assert {name: each.state for name, each in found.items()} == {
        **{"queued": "queued", "asked": "waits", "moved": "waits", "answered": "answered"}
    }
    assert [found[name].waiting_since for name in ("queued", "asked", "moved")] == [BEGUN, BEGUN + 6000, BEGUN + 20_000]
    assert found["queued"].source == "APP"
    agents = {each.number: each for each in now.agents}
    assert (agents[7].focus, agents[7].focus_since, agents[7].knows_focus) == ("asked", BEGUN + 8000, True)
    assert (agents[8].focus, agents[8].knows_focus) == (None, False)
    only = Selection((0, 0), skills=(2,), agents=(7,))
    filtered = now_of(open_conversations(reader.open_conversations()), only, at)
    assert {each.id for each in filtered.conversations} == {"asked", "answered"}


def test_a_focus_with_a_lease_is_here_until_its_last_moment_and_since_it_began() -> None:
    reader = MemoryReader("local")
    reader.add(
        events_of(
            [
                event("c", 0, "opened"),
                event("c", 5, "focused", agentId=7, leaseMillis=30_000),
                event("c", 20, "focused", agentId=7, leaseMillis=20_000),
                event("c", 6, "focused", agentId=8),
                event("c", 9, "unfocused", agentId=8),
                event("c", 7, "focused", agentId=9),
                event("d", 1, "opened"),
                event("d", 8, "focused", agentId=9),
            ]
        )
    )
    conversation, other = open_conversations(reader.open_conversations()).conversations
    assert (conversation.waiting_since, list(other.focus)) == (BEGUN, [9])
    for second, here in ((39, [7]), (40, [7]), (41, [])):
        assert list(conversation.seen_at(BEGUN + second * 1000).focus) == here
    assert conversation.focus[7] == FocusHere(BEGUN + 5000, BEGUN + 40_000)


def test_who_looks_at_a_conversation_of_others_is_seen() -> None:
    reader = MemoryReader("local")
    reader.add(
        events_of(
            [
                event("mine", 0, "opened", skillId=1),
                event("mine", 1, "assigned", agentId=7),
                event("mine", 2, "focused", agentId=7),
                event("theirs", 0, "opened", skillId=2),
                event("theirs", 1, "assigned", agentId=8),
                event("theirs", 4, "focused", agentId=50, leaseMillis=60_000),
                event("queued", 0, "opened", skillId=2),
                event("queued", 3, "focused", agentId=8),
                event("closed", 0, "assigned", agentId=8),
                event("closed", 5, "closed", closedBy="agent"),
                event("closed", 6, "focused", agentId=60),
            ]
        )
    )
    found = open_conversations(reader.open_conversations())

    def looking(of: Selection = ALL, second: int = 20) -> list[tuple[int, str, int]]:
        seen = now_of(found, of, BEGUN + second * 1000).looking
        return [(each.agent, each.conversation.id, (each.since - BEGUN) // 1000) for each in seen]

    both = [(8, "queued", 3), (50, "theirs", 4)]
    assert looking() == both
    assert looking(second=65) == both[:1], "the lease has ended"
    assert looking(ALL._replace(user_type="human")) == both
    assert looking(ALL._replace(user_type="bot")) == []
    assert looking(ALL._replace(skills=(1,))) == []
    assert looking(ALL._replace(agents=(50,))) == both[1:]
    assert looking(ALL._replace(agents=(8,))) == both, "who looks, or is looked at"


def test_no_more_who_look_are_shown_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "AGENTS_MAX", 2)
    seen = conversation("c", None, focus={agent: FocusHere(AT - agent) for agent in range(5)})
    now = now_of(OpenConversations([seen], set(range(5)), 0), ALL, AT)
    assert ([each.agent for each in now.looking], now.more_looking) == ([4, 3], 3), "the longest first"


def test_what_was_read_is_one_accounts_and_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = {"conversationId": "c", "eventId": "1", "time": "2026-11-21T09:00:00Z", "type": "opened"}
    one, other = MemoryReader("one"), MemoryReader("other")
    last: LastRead[OpenConversations] = LastRead()

    def names(account: str, reader: MemoryReader) -> list[str]:
        found = last.of(account, lambda: open_conversations(reader.open_conversations()))
        return [each.id for each in found.conversations]

    assert names("one", one) == []
    one.add(events_of([{**opened, "accountId": "one"}]))
    other.add(events_of([{**opened, "accountId": "other", "conversationId": "d"}]))
    assert names("one", one) == []
    assert names("other", other) == ["d"]
    monkeypatch.setattr(live, "KEPT_S", -1.0)
    assert names("one", one) == ["c"]


# --- how urgent it is -------------------------------------------------------------------------------------------------

MINUTE = 60_000
TARGETS = AccountTargets((Target("all", {"queueWait": MINUTE, "firstResponse": MINUTE, "response": 5 * MINUTE}),))


def waiting(id_: str, minutes: float, skill: int, **more: Any) -> OpenConversation:
    """A conversation that has waited since it came to where it is."""
    length = int(minutes * MINUTE)
    return conversation(id_, length, skill=skill, since=AT - length, **more)


def board(*found: OpenConversation, targets: AccountTargets = TARGETS, **of: Any) -> Now:
    agents = {each.agent for each in found if each.agent is not None and each.agent != 99}
    return now_of(OpenConversations([*found], agents, 0), ALL._replace(**of), AT, targets)


def test_skills_stand_with_what_is_past_due_first_then_what_is_due_soonest_then_the_longest_wait() -> None:
    found = [
        waiting("late", 3, 1),
        waiting("later", 9, 2, agent=5, follows="takeover", wrote=True),  # Its target is 5 minutes.
        waiting("soon", 0.9, 3),
        waiting("sooner", 4.95, 4, agent=5, follows="takeover", wrote=True),
        waiting("never", 50, 5, agent=5, follows="takeover"),  # A takeover's first message is no response.
        waiting("never, shorter", 40, 6, agent=5, follows="takeover"),
        conversation("answered", None, skill=7, agent=5, wrote=True),
    ]
    now = board(*found)
    assert [each.number for each in now.skills] == [2, 1, 4, 3, 5, 6, 7]
    assert [each.past_due for each in now.skills] == [1, 1, 0, 0, 0, 0, 0]
    assert [None if each.due is None else (each.due - AT) // 1000 for each in now.skills] == [
        *(-240, -120, 3, 6, None, None, None)
    ]
    assert (now.people.past_due, now.people.due) == (2, AT - 4 * MINUTE)
    without = board(*found, targets=NO_TARGETS)
    assert [each.number for each in without.skills] == [5, 6, 2, 4, 1, 3, 7]
    assert without.people.past_due == 0
    assert without.people.due is None


def test_a_conversation_counts_once_though_two_of_its_waits_are_past_due() -> None:
    both = waiting("both", 9, 1, agent=5, follows="newConversation")
    assert board(both).people.past_due == 1
    assert urgent_of(both, TARGETS, AT) is not None
    assert getattr(urgent_of(both, TARGETS, AT), "due", None) == AT - 8 * MINUTE


def test_what_is_past_due_or_waits_for_over_a_day_makes_nothing_urgent() -> None:
    now = board(waiting("old", 2 * 24 * 60, 1), waiting("new", 2, 2))
    told = [(each.number, each.in_queue, each.past_due, each.stale, each.stale_past_due) for each in now.skills]
    assert told == [(2, 1, 1, 0, 0), (1, 0, 0, 1, 1)]
    assert (now.people.past_due, now.people.stale_past_due, now.people.due) == (1, 1, AT - MINUTE)
    # Its first response is past due for over a day, though nobody waits for an answer.
    silent = waiting("silent", 2 * 24 * 60, 1, agent=5, follows="newConversation")._replace(waiting_since=None)
    people = board(silent).people
    assert (people.open, people.past_due, people.due, people.stale, people.stale_past_due) == (1, 0, None, 1, 1)
    # Who waits since Friday evening is due on Monday morning: that is of today, though the wait is longer than a day.
    monday = BEGUN + 2 * DAY + 10 * MINUTE  # 21 November 2026 is a Saturday.
    week: tuple[tuple[tuple[int, int], ...], ...] = (((9 * 60, 17 * 60),),) * 5 + ((), ())
    targets = AccountTargets((Target("x", {"queueWait": MINUTE}, calendar=Calendar("x", ZoneInfo("UTC"), week)),))
    friday = conversation("friday", None, skill=1)._replace(waiting_since=BEGUN - 12 * HOUR, since=BEGUN - 12 * HOUR)
    urgent = urgent_of(friday, targets, monday)
    assert urgent is not None
    assert (is_past_due(urgent), urgent.due) == (True, monday - 9 * MINUTE)
    people = now_of(OpenConversations([friday], set(), 0), ALL, monday, targets).people
    assert (people.past_due, people.stale, people.stale_past_due, people.longest) == (1, 0, 0, "friday")
    closed = now_of(OpenConversations([friday], set(), 0), ALL, monday - 15 * MINUTE, targets).people
    assert (closed.past_due, closed.in_queue, closed.stale, closed.due) == (0, 1, 0, urgent.due)
    forgotten = now_of(OpenConversations([friday], set(), 0), ALL, monday + DAY, targets).people
    assert (forgotten.past_due, forgotten.stale, forgotten.stale_past_due, forgotten.longest) == (0, 1, 1, "")
    alone = now_of(OpenConversations([friday], set(), 0), ALL, monday).people
    assert (alone.stale, alone.stale_past_due) == (1, 0), "without targets the clock counts alone"


def test_humans_stand_apart_from_bots() -> None:
    found = [
        waiting("human", 1, 1, agent=5),
        waiting("bot", 30, 1, agent=99, is_bot=True),
        waiting("only a bot", 2, 2, agent=99, is_bot=True),
        waiting("queue", 2, 3),
    ]
    now = board(*found)
    assert (now.total.open, now.people.open, now.people.waiting, now.people.longest) == (4, 2, 1, "queue")
    assert [each.number for each in now.skills] == [3, 1]
    assert [each.number for each in now.agents] == [5]
    assert [(each.number, each.open, each.is_bot) for each in now.bots] == [(99, 2, True)]
    bots = board(*found, user_type="bot")
    assert (bots.skills, bots.agents, bots.people.open, bots.bots[0].open) == ([], [], 0, 2)


def test_agents_at_work_their_conversations_and_their_focus() -> None:
    now = board(
        conversation("a", None, skill=1, agent=5, focus={5: FocusHere(1)}),
        conversation("b", None, skill=1, agent=5),
        conversation("c", None, skill=1, agent=6, focus={6: FocusHere(1, AT - 1)}),  # Its lease has ended.
        conversation("d", None, skill=2, agent=5),
        conversation("e", None, skill=2, agent=99),  # Nothing is known of this one's focus.
        conversation("f", 1, skill=2),
    )
    people = now.people
    assert (people.agents, people.agents_with_focus, people.agents_in_focus, people.each) == (3, 2, 1, 5 / 3)
    one, two = sorted(now.skills, key=lambda each: each.number or 0)
    assert (one.agents, one.agents_with_focus, one.agents_in_focus, one.each) == (2, 2, 1, 1.5)
    # What has the focus may be a conversation of another skill.
    assert (two.agents, two.agents_with_focus, two.agents_in_focus, two.each) == (2, 1, 1, 1.0)
    assert board(conversation("q", 1)).people.each is None
    assert people.focus_percent is None


def test_the_share_of_time_in_focus_is_of_the_agents_of_whom_it_is_known() -> None:
    found = [conversation("a", None, skill=1, agent=5), conversation("b", None, skill=1, agent=6)]
    found += [conversation("c", None, skill=2, agent=6), conversation("d", None, skill=2, agent=7)]
    times = {5: FocusTime(300, 400), 6: FocusTime(100, 600), 8: FocusTime(1, 1)}
    now = now_of(OpenConversations(found, {5, 6, 7}, 0), ALL, AT, focus_times=times)
    one, two = sorted(now.skills, key=lambda each: each.number or 0)
    assert [each.focus_percent for each in (now.people, one, two)] == [40, 40, pytest.approx(100 / 6)]
