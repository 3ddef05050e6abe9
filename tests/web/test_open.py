"""What is open, in sums and in a list: how a stale wait is told, and how rows are sorted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from handletime.api.parameters import Query
from handletime.web.labels import AccountLabels
from handletime.web.live import STALE_MS, Conversation, Glimpse, now_of
from handletime.web.open import COLUMNS, in_order
from handletime.web.view import read_view

AT = 1_800_000_000_000
VIEW = read_view(Query(b""), AT)


def conversation(id_: str, waits: int | None, **more: Any) -> Conversation:
    since = None if waits is None else AT - waits
    values = {"skill": 1, "agent": None, "is_bot": False, "group": None, "source": None, "focus": {}} | more
    return Conversation(id_, waiting_since=since, **values)


def test_a_stale_wait_is_counted_beside_the_longest() -> None:
    waits = [conversation("old", STALE_MS + 1), conversation("long", STALE_MS), conversation("short", 5, agent=7)]
    now = now_of(Glimpse([*waits, conversation("first", AT, agent=7)], set(), 0), VIEW, AT)
    assert (now.total.longest, now.total.longest_ms, now.total.stale) == ("long", STALE_MS, 2)
    assert (now.total.open, now.total.in_queue, now.total.waiting) == (4, 2, 2)
    (agent,) = now.agents
    assert (agent.longest, agent.longest_ms, agent.stale, agent.waiting) == ("short", 5, 1, 2)
    only = now_of(Glimpse(waits[:1], set(), 0), VIEW, AT)
    assert (only.total.longest, only.total.longest_ms, only.total.stale) == ("", 0, 1)


def test_a_forgotten_conversation_does_not_put_its_agent_first() -> None:
    found = [conversation("old", 20 * STALE_MS, agent=1), conversation("new", 9000, agent=2)]
    assert [each.agent for each in now_of(Glimpse(found, set(), 0), VIEW, AT).agents] == [2, 1]


ROWS = [
    conversation("b", 900, skill=2, source="web"),
    conversation("c", 800, skill=1, agent=9, source="APP", focus={9: 1}),
    conversation("a", 100, skill=2, agent=8),
    conversation("d", None, skill=3, agent=9, focus={8: 1}),
]
LABELS = AccountLabels("", {("", "agent"): {8: "zoe", 9: "Amy"}, ("", "skill"): {2: "orders", 1: "Sales"}})


@pytest.mark.parametrize(
    ("sort", "rising", "falling"),
    [
        ("waits", "acbd", "bcad"),
        ("since", "bcad", "acbd"),
        ("state", "bcad", "dcab"),
        ("skill", "bacd", "dcba"),
        ("agent", "cdab", "acdb"),
        ("conversation", "abcd", "dcba"),
        ("source", "cbad", "bcad"),
        ("focus", "cdba", "dcba"),
    ],
)
def test_rows_are_sorted_by_any_column(sort: str, rising: str, falling: str) -> None:
    def sorted_(*, falling: bool) -> str:
        return "".join(each.id for each in in_order(ROWS, LABELS, sort, falling=falling))

    assert (sorted_(falling=False), sorted_(falling=True)) == (rising, falling)


def test_every_column_can_be_sorted_by() -> None:
    for sort in COLUMNS:
        assert _ids(in_order(ROWS, LABELS, sort, falling=True)) == {"a", "b", "c", "d"}


def _ids(rows: Sequence[Conversation]) -> set[str]:
    return {each.id for each in rows}
