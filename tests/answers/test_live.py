"""What is open now: who waits for whom, since when, and where the focus is; and how a stale wait is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from handletime.answers import live
from handletime.answers.live import (
    STALE_MS,
    FocusHere,
    LastRead,
    OpenConversation,
    OpenConversations,
    now_of,
    open_conversations,
)
from handletime.answers.selection import Selection
from handletime.events.book import instant
from handletime.segments.derive import derive
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


def test_a_stale_wait_is_counted_beside_the_longest() -> None:
    waits = [conversation("old", STALE_MS + 1), conversation("long", STALE_MS), conversation("short", 5, agent=7)]
    now = now_of(OpenConversations([*waits, conversation("first", AT, agent=7)], set(), 0), ALL, AT)
    assert (now.total.longest, now.total.longest_ms, now.total.stale) == ("long", STALE_MS, 2)
    assert (now.total.open, now.total.in_queue, now.total.waiting) == (4, 2, 2)
    (agent,) = now.agents
    assert (agent.longest, agent.longest_ms, agent.stale, agent.waiting) == ("short", 5, 1, 2)
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
    assert sum(skill.open for skill in now.skills) == now.total.open == len(queues)
    assert sum(agent.open for agent in now.agents) == len(segments)


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
    last = LastRead()

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
