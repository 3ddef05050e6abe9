"""The closes that events say, conversation by conversation: slow, plain, and made from the events alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from handletime.answers.registry import CLOSE_METRICS
from tests.plain_reading import RANK, Event, event_of, without_duplicates

ENDINGS: Final = {"agent": "_byCCP", "consumer": "_byConsumer", "system": "_bySystem"}
NAMES: Final = [metric.name for metric in CLOSE_METRICS]


class Close(NamedTuple):
    """One `closed` that takes effect; `agent` and `group` are of whoever was assigned."""

    at: int
    by: str
    open_for: int
    skill: int
    agent: int | None
    group: int | None


def closes(raw: Iterable[Mapping[str, object]], account: str = "local") -> list[Close]:
    """All closes of an account."""
    kept, _, _ = without_duplicates([event_of(each, account) for each in raw])
    stories: dict[str, list[Event]] = {}
    for event in kept:
        if event.account == account:
            stories.setdefault(event.conversation, []).append(event)
    return [close for story in stories.values() for close in _closes_of(story)]


def _closes_of(events: Iterable[Event]) -> Iterable[Close]:
    """One conversation, as rules.md 1 (State) has it."""
    opened: int | None = None
    was_closed = False
    skill, agent, group = -1, None, None
    for event in sorted(events, key=lambda each: (each.time, each.sequence, RANK[each.type], each.id.encode())):
        if event.type == "closed":
            if opened is not None:
                yield Close(event.time, str(event.closed_by), event.time - opened, skill, agent, group)
            opened, was_closed, agent, group = None, True, None, None
            continue
        if event.type not in ("opened", "resumed", "assigned", "transferred"):
            continue
        begins = opened is None
        if begins and was_closed and event.type in ("assigned", "transferred"):
            continue
        if not begins and event.type in ("opened", "resumed"):
            continue
        if event.type == "assigned" and event.agent == agent:
            continue
        if begins:
            opened = event.time
        if event.skill is not None:
            skill = event.skill
        if event.type == "transferred":
            agent, group = None, None
        if event.type == "assigned":
            agent, group = event.agent, event.group


def metrics_of(found: Sequence[Close]) -> dict[str, int | float]:
    """The metrics of some closes, under the names of the page."""
    values: dict[str, int | float] = {}
    for ending, chosen in [("", found), *((ENDINGS[who], [c for c in found if c.by == who]) for who in ENDINGS)]:
        time = sum(close.open_for for close in chosen)
        values[f"resolvedConversations{ending}" if ending else "totalResolvedConversations"] = len(chosen)
        values[f"totalHandlingTime_resolvedConversations{ending}"] = time
        values[f"avgTime_resolvedConversations{ending}"] = time / len(chosen) if chosen else 0
    return {name: values[name] for name in NAMES}
