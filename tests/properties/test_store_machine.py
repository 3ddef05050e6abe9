"""A store through whatever may happen to it, beside a plain-Python reading of what it was given."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from handletime.events import model
from handletime.store import backlog
from handletime.upkeep.check import check
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import forget, prune
from tests.messy_streams import RawEvent, messy_stream
from tests.plain_reading import event_of, read
from tests.segments.tables import Row, events_of, in_order
from tests.store.worlds import (
    Key,
    StoreAndSide,
    a_store,
    account_of,
    key_of,
    revision_of,
    standing_copies,
    stored_rows,
    take_what_stands,
)

UNKNOWN: Row = {"totalHandleTimeMillis": 0}
TABLES = ("agent_segments", "skill_segments", "handle_time_units")
Conversation = tuple[str, str]
Place = tuple[str, int | None, int, int]


class Lives(RuleBasedStateMachine):
    """Events come in any order, more than once, and differing; conversations are removed; the store is opened anew.

    Nobody but whoever asks has the journal folded.

    The model keeps the copy of each event that stands, also of removed conversations: removing one changes no other's
    numbers. What is sent after a conversation was removed is not of it, and no focus event at one of its moments:
    there, an order by ids is not kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store: StoreAndSide = a_store(self.folder)
        self.standing: dict[Key, RawEvent] = {}
        self.removed: set[Conversation] = set()
        self.taken: set[Place] = set()
        self.rest: list[RawEvent] = []

    @initialize(seed=st.integers(0, 10_000))
    def a_stream(self, seed: int) -> None:
        stream = standing_copies(messy_stream(seed, accounts=2, conversations=5, events=70))
        self.rest = stream[::-1]
        self.accounts = sorted({account_of(event) for event in stream})

    @rule(count=st.integers(1, 40), seed=st.integers(0, 99))
    def ingest(self, count: int, seed: int) -> None:
        """The next events, or any others that are left."""
        if seed % 2:
            random.Random(seed).shuffle(self.rest)
        self._send([self.rest.pop() for _ in range(min(count, len(self.rest)))])

    @precondition(lambda self: self.standing)
    @rule(count=st.integers(1, 40), seed=st.integers(0, 99))
    def replay(self, count: int, seed: int) -> None:
        """Events that came before, some of them saying something else now."""
        dice = random.Random(seed)
        again = dice.sample(list(self.standing.values()), min(count, len(self.standing)))
        self._send([{**event, "sequence": 77} if dice.random() < 0.3 else event for event in again])

    @precondition(lambda self: self.standing)
    @rule(count=st.integers(1, 40), seed=st.integers(0, 99))
    def correct(self, count: int, seed: int) -> None:
        """Corrections of events that came before; some of them take back what was said."""
        dice = random.Random(seed)
        events = dice.sample(list(self.standing.values()), min(count, len(self.standing)))
        self._send([self._corrected(event, dice) for event in events if self._may_go(event)])

    def _corrected(self, event: RawEvent, dice: random.Random) -> RawEvent:
        known = revision_of(event)
        revision = {"revision": min(known + dice.choice((-1, 1, 1, 2)), model.REVISION_MAX) if known else 1}
        if dice.random() < 0.4:
            names = ("accountId", "conversationId", "eventId", "time")
            kept: RawEvent = {name: event[name] for name in names if name in event}
            return {**kept, "type": "withdrawn", **revision}
        ids = ("accountId", "conversationId", "eventId")
        other = dice.choice(list(self.standing.values()))
        said: RawEvent = {name: other[name] for name in other if name not in ids}
        return said | {name: event[name] for name in ids if name in event} | revision

    def _send(self, events: list[RawEvent]) -> None:
        for account in self.accounts:
            mine = [event for event in events if account_of(event) == account and self._may_come(event)]
            new = take_what_stands(self.standing, mine)
            assert self.store.ingest(account, events_of(mine)) == (new, len(mine) - new)

    def _may_come(self, raw: RawEvent) -> bool:
        return key_of(raw)[:2] not in self.removed and self._may_go(raw)

    def _may_go(self, raw: RawEvent) -> bool:
        return not (_is_focus(raw) and _place(raw) in self.taken)

    @rule(part=st.floats(0, 1))
    def prune(self, part: float) -> None:
        """By the time of a conversation's last event."""
        last: dict[Conversation, int] = {}
        for key, raw in self.standing.items():
            if key[:2] not in self.removed:
                last[key[:2]] = max(last.get(key[:2], event_of(raw, "local").time), event_of(raw, "local").time)
        before = sorted(last.values())[int(part * (len(last) - 1))] if last else 0
        old = {conversation for conversation, time in last.items() if time < before}
        assert prune(self.store, before, pause_s=0) == len(old)
        self._gone(old)

    @precondition(lambda self: self.standing)
    @rule(seed=st.integers(0, 99))
    def forget(self, seed: int) -> None:
        account, conversation, _event = random.Random(seed).choice(list(self.standing))
        assert forget(self.store, account, conversation) == ((account, conversation) not in self.removed)
        self._gone({(account, conversation)})

    def _gone(self, conversations: set[Conversation]) -> None:
        self.removed |= conversations
        gone = [raw for key, raw in self.standing.items() if key[:2] in conversations and _is_focus(raw)]
        self.taken |= {_place(raw) for raw in gone}

    @rule()
    def rebuild(self) -> None:
        found = rebuild(self.store, mend=True)
        there = [key for key in self.standing if key[:2] not in self.removed]
        assert (found.events, found.differences) == (len(there), 0)
        assert check(self.store) == []

    @rule()
    def fold(self) -> None:
        """What stands in the journal is worked into the tables."""
        self.store.settle()
        assert self.store.journal.numbers() == []

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = a_store(self.folder)

    @rule()
    def query(self) -> None:
        """What is stored is what the plain reading makes of the first copies."""
        expected = read(list(self.standing.values()))
        for account in self.accounts:
            stored = stored_rows(self.store, account)
            for name in TABLES:
                wanted = [
                    row
                    for row in getattr(expected, name)
                    if row["accountId"] == account and (account, row["conversationId"]) not in self.removed
                ]
                # Where the handle time is unknown the plain reading says 0, the sum of no units.
                found = [row | UNKNOWN if row.get("focusData") is False else row for row in stored[name]]
                assert in_order(found, like=wanted or found) == in_order(wanted), name

    def teardown(self) -> None:
        """Whatever happened, it ends with a look."""
        try:
            if self.standing:
                self.query()
        finally:
            self.store.close()
            shutil.rmtree(self.folder)


def _is_focus(raw: RawEvent) -> bool:
    return raw["type"] in ("focused", "unfocused")


def _place(raw: RawEvent) -> Place:
    event = event_of(raw, "local")
    return event.account, event.agent, event.time, event.sequence


def machine(examples: int, steps: int) -> None:
    """Runs so many lives."""
    with patch.object(backlog, "FOLD_S", 1e6):
        run_state_machine_as_test(
            Lives,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                suppress_health_check=list(HealthCheck),
                deadline=None,
                print_blob=True,
            ),
        )


def test_a_store_agrees_with_the_plain_reading_whatever_happens() -> None:
    machine(examples=12, steps=10)


@pytest.mark.long
def test_a_store_agrees_with_the_plain_reading_through_hundreds_of_lives() -> None:
    machine(examples=400, steps=25)
