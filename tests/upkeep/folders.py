"""Folders with a store in them, to look after."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from handletime.clock import DAY as DAY_MS
from handletime.segments.parts import Progress
from handletime.store.shelf import NewFile, Shelf
from handletime.store.store import Store
from handletime.upkeep.data_folder import DataFolder
from tests.messy_streams import BASE, RawEvent, messy_stream
from tests.seeds import mostly_long
from tests.segments.tables import events_of
from tests.store.worlds import a_store, standing_copies

SEEDS = mostly_long(range(0, 60, 3), 6)
QUIET: Progress = lambda _what, _done, _of: None  # noqa: E731
STORY: tuple[dict[str, object], ...] = (
    {"type": "opened"},
    {"type": "message", "sentBy": "consumer"},
    {"type": "assigned", "agentId": 7},
    {"type": "focused", "agentId": 7},
    {"type": "message", "sentBy": "agent"},
    {"type": "closed", "closedBy": "agent"},
)


def some_events(conversations: int = 12) -> Iterator[dict[str, object]]:
    """Short conversations, one a day, the oldest first."""
    for number in range(conversations):
        day = BASE + DAY_MS * number
        for second, more in enumerate(STORY):
            place = {"eventId": str(second), "conversationId": f"c{number}", "time": day + 1000 * second}
            yield {**place, **more}


@contextmanager
def a_data_folder(folder: Path) -> Iterator[DataFolder]:
    """A store with some conversations and a made file that names two of them, open."""
    folder.mkdir(parents=True, exist_ok=True)
    store = a_store(folder)
    with store:
        store.ingest("local", events_of(some_events()))
        shelf = Shelf(folder / "shelf.sqlite")
        shelf.put("local", 0, "print", 1, [NewFile("/file", b"units", ["c0", "c1"])])
        try:
            yield DataFolder(folder, store, store.side, shelf)
        finally:
            shelf.close()


def a_filled_store(folder: Path, seed: int) -> tuple[Store, list[RawEvent]]:
    """A store with a random stream of events, and the stream."""
    events = standing_copies(messy_stream(seed, accounts=1, events=200, conversations=9))
    store = a_store(folder)
    for place in range(0, len(events), 70):
        store.ingest("local", events_of(events[place : place + 70]))
    return store, events


def an_event(at: int, conversation: str = "today") -> RawEvent:
    """One `opened`."""
    return {"eventId": str(at), "conversationId": conversation, "time": at, "type": "opened"}


def eventually(there: Callable[[], bool]) -> bool:
    """Whether it comes true within some 20 seconds."""
    return any(there() or threading.Event().wait(0.02) for _ in range(1000))
