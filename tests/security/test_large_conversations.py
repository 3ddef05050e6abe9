"""What one account with large conversations may cost the others: memory, and time of theirs.

Covers: deadline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from handletime.answers.live import open_conversations
from handletime.deadline import Deadline
from handletime.errors import NotNow
from handletime.segments.explain import explain
from tests.api.world import Event, MemoryReader
from tests.cli.test_serve import Server, bearer, new_key, serving
from tests.segments.tables import events_of

BASE = 1_795_165_200_000
LIMIT_S = 0.5


def a_talk(conversation: str, count: int) -> Iterator[Event]:
    """A conversation of so many events, in which consumer and agent take turns; nobody closes it."""
    begin: list[Event] = [
        {"type": "opened", "skillId": 1},
        {"type": "assigned", "agentId": 7},
        {"type": "focused", "agentId": 7},
    ]
    said: tuple[Event, Event] = (
        {"type": "message", "sentBy": "consumer"},
        {"type": "message", "sentBy": "agent", "agentId": 7},
    )
    for number in range(count):
        event = begin[number] if number < len(begin) else said[number % 2]
        yield {"eventId": f"e{number}", "conversationId": conversation, "time": BASE + number * 1000, **event}


def a_client(server: Server, folder: Path) -> httpx.Client:
    key = new_key(folder, "admin")
    return httpx.Client(base_url=server.url, headers=bearer(key), timeout=120)


def bring(client: httpx.Client, events: Iterator[Event]) -> httpx.Response:
    body = b"\n".join(msgspec.json.encode(event) for event in events)
    return client.post("/api/account/acme/events", content=body)


def test_a_full_conversation_is_a_400_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with serving(folder, "--conversation-events", "100") as server, a_client(server, folder) as client:
        assert bring(client, a_talk("c", 100)).json() == {"accepted": 100, "duplicates": 0}
        for events in (a_talk("c", 101), a_talk("d", 101)):
            refused = bring(client, events)
            assert refused.status_code == 400
            (cause,) = refused.json()["causes"]
            assert cause.startswith("event 101: conversationId: conversation ")
            assert "100 events" in cause
        assert bring(client, a_talk("c", 100)).json() == {"accepted": 0, "duplicates": 100}
        assert client.get("/api/account/acme/conversations/d/explain").status_code == 404
        explained = client.get("/api/account/acme/conversations/c/explain").json()
        assert len(explained["moments"]) == 100


def test_explanations_end_with_the_time_for_a_query(tmp_path: Path) -> None:
    """Not only what the database does counts, but all of a request; and nobody else has to wait for it."""
    folder = tmp_path / "store"
    with serving(folder, "--query-timeout", str(LIMIT_S)) as server, a_client(server, folder) as client:
        assert bring(client, a_talk("c", 50_000)).status_code == 200
        begun = time.monotonic()
        answer = client.get("/api/account/acme/conversations/c/explain")
        took = time.monotonic() - begun
        assert answer.status_code == 503
        assert "took too long" in answer.json()["message"]
        assert took < 2 * LIMIT_S + 15
        assert bring(client, a_talk("d", 3)).status_code == 200
        assert client.get("/api/account/acme/conversations/d/explain").status_code == 200


def a_reader(*conversations: Iterator[Event]) -> MemoryReader:
    reader = MemoryReader("local")
    reader.add(events_of([{**event} for events in conversations for event in events]))
    return reader


def test_work_without_a_query_ends_with_the_deadline_too() -> None:
    """An explanation, and what is open now."""
    reader = a_reader(a_talk("c", 3000))
    prepared = reader.prepared("c")
    assert prepared is not None
    assert len(explain(prepared, "local", "c", Deadline(60)).moments) == 3000
    with pytest.raises(NotNow, match="too long"):
        explain(prepared, "local", "c", Deadline(0))
    with pytest.raises(NotNow, match="too long"):
        open_conversations(reader.open_conversations(), Deadline(0))
    assert len(open_conversations(reader.open_conversations(), Deadline(60)).conversations) == 1


def test_a_request_has_one_deadline_whatever_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    deadline = Deadline(5)
    assert deadline.left_s() == 5
    now[0] = 104
    assert deadline.left_s() == 1
    assert [*deadline.over("ab")] == ["a", "b"]
    now[0] = 105.5
    with pytest.raises(NotNow):
        deadline.left_s()
    with pytest.raises(NotNow):
        [*deadline.over("ab")]
    assert Deadline().left_s() is None


def test_an_explanation_of_many_units_takes_time_by_their_number() -> None:
    """For each moment the units were looked through, all of them: twice as many events took four times as long."""

    def took(count: int) -> float:
        prepared = a_reader(a_talk("c", count)).prepared("c")
        assert prepared is not None
        begun = time.thread_time()
        explain(prepared, "local", "c")
        return time.thread_time() - begun

    took(100)
    assert took(16_000) < 8 * took(4_000) + 0.5
