"""What is going on in an account at this moment: who waits, for whom, since when, and who is at work."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.api.ports import Reader
from handletime.deadline import Deadline
from handletime.durations import DAY
from handletime.events import model
from handletime.segments import rules
from handletime.segments.columns import I8, I32, I64, NEVER, U8
from handletime.segments.derive import Derived, Trace, derive_prepared
from handletime.segments.parts import Prepared
from handletime.segments.sorting import Records
from handletime.web.view import View

STALE_MS: Final = DAY
"""A wait that is longer is told beside the others: a forgotten conversation should not hide those of today."""
AGENTS_MAX: Final = 500
"""So many agents at work are shown."""
KEPT_S: Final = 2.0
"""So old a glimpse may be."""


class Conversation(NamedTuple):
    """One open conversation. `waiting_since` is the consumer's wait for the assigned agent, in the queue its begin."""

    id: str
    skill: int
    agent: int | None
    is_bot: bool
    group: int | None
    source: str | None
    waiting_since: int | None
    focus: dict[int, int]
    """Whose focus is here, and since when."""
    lease_ends: Mapping[int, int] = {}
    """The last moment (epoch ms) of those that have a lease."""

    def seen_at(self, at: int) -> Conversation:
        """The same without the focus whose lease has ended by a moment."""
        ended = {agent for agent, end in self.lease_ends.items() if end < at}
        return self._replace(focus={agent: since for agent, since in self.focus.items() if agent not in ended})

    @property
    def state(self) -> str:
        """`queued`, `waits` for the agent's answer, or `answered`."""
        return "queued" if self.in_queue else "waits" if self.waiting_since is not None else "answered"

    @property
    def in_queue(self) -> bool:
        """Whether nobody is assigned."""
        return self.agent is None

    def is_stale(self, at: int) -> bool:
        """Whether it waits for longer than `STALE_MS`."""
        return self.waiting_since is not None and at - self.waiting_since > STALE_MS


class SkillNow(NamedTuple):
    """The open conversations of one skill, or of all (None); `longest_ms` is that of those that are not stale."""

    skill: int | None
    open: int
    in_queue: int
    waiting: int
    longest_ms: int
    longest: str
    """Whose wait is the longest: a conversation."""
    stale: int
    """How many wait for longer than `STALE_MS`."""


class AgentNow(NamedTuple):
    """One agent at work: conversations, consumers who wait, and where the focus is."""

    agent: int
    is_bot: bool
    open: int
    waiting: int
    longest_ms: int
    longest: str
    stale: int
    focus: str | None
    focus_since: int
    knows_focus: bool


class Now(NamedTuple):
    """All of it at one moment, in epoch milliseconds."""

    at: int
    total: SkillNow
    skills: list[SkillNow]
    agents: list[AgentNow]
    more_agents: int
    begin_in_the_middle: int
    conversations: list[Conversation]
    """Those that are open, the longest wait first."""


class Glimpse(NamedTuple):
    """The open conversations of an account as they were a moment ago, and of whom there is focus data."""

    conversations: list[Conversation]
    with_focus: set[int]
    begin_in_the_middle: int


class Glimpses:
    """Glimpses of the last seconds, so that many who look at one account ask the store once. Any thread may use it."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, Glimpse]] = {}
        self._lock = Lock()

    def of(self, account: str, reader: Reader) -> Glimpse:
        """The account's, at most `KEPT_S` old."""
        begun = time.monotonic()
        with self._lock:
            made, glimpse = self._found.get(account, (0.0, None))
        if glimpse is None or begun - made > KEPT_S:
            with closing(reader.open_conversations()) as parts:
                glimpse = glimpse_of(parts, reader.deadline)
            with self._lock:
                self._found = {name: each for name, each in self._found.items() if begun - each[0] <= KEPT_S}
                self._found[account] = (begun, glimpse)
        return glimpse


def glimpse_of(parts: Iterable[Prepared], deadline: Deadline | None = None) -> Glimpse:
    """What the events of open conversations say, some at a time. Raises NotNow where the deadline comes first."""
    deadline = deadline or Deadline()
    found: list[Conversation] = []
    with_focus: set[int] = set()
    begin_in_the_middle = 0
    for prepared in parts:
        derived, trace = derive_prepared(prepared)
        found += deadline.over(_conversations(prepared, derived, trace))
        with_focus |= {agent for _, agent in prepared.focused}
        begin_in_the_middle += derived.quality.begin_in_the_middle
        del prepared, derived, trace  # The next part is made while these names hold on.
    found.sort(key=lambda each: (each.waiting_since is None, each.waiting_since or 0, each.id))
    return Glimpse(found, with_focus, begin_in_the_middle)


def now_of(glimpse: Glimpse, view: View, at: int) -> Now:
    """The open conversations that match the view's filters, whatever its span, in sums."""
    conversations = [each.seen_at(at) if each.lease_ends else each for each in glimpse.conversations]
    shown = [each for each in conversations if _matches(each, view)]
    by_skill: dict[int, list[Conversation]] = {}
    by_agent: dict[int, list[Conversation]] = {}
    for each in shown:
        by_skill.setdefault(each.skill, []).append(each)
        if each.agent is not None:
            by_agent.setdefault(each.agent, []).append(each)
    focus = {agent: (each.id, since) for each in conversations for agent, since in each.focus.items()}
    agents = [
        _of_agent(agent, found, focus.get(agent), agent in glimpse.with_focus, at) for agent, found in by_agent.items()
    ]
    agents.sort(key=lambda each: (each.is_bot, -each.longest_ms, each.agent))
    skills = [_of_skill(skill, found, at) for skill, found in sorted(by_skill.items())]
    more = max(len(agents) - AGENTS_MAX, 0)
    return Now(at, _of_skill(None, shown, at), skills, agents[:AGENTS_MAX], more, glimpse.begin_in_the_middle, shown)


def _matches(each: Conversation, view: View) -> bool:
    source = view.source.lower() if view.source else None
    type_ = view.given_user_type  # In the queue nobody has it yet; so all, if nothing else was asked for.
    return (
        view.skill in (None, each.skill)
        and view.agent in (None, each.agent)
        and view.group in (None, each.group)
        and (type_ == "all" or (each.agent is not None and each.is_bot == (type_ == "bot")))
        and source in (None, (each.source or "").lower())
    )


def _of_skill(skill: int | None, found: list[Conversation], at: int) -> SkillNow:
    queued = [each for each in found if each.in_queue]
    waiting = [each for each in found if each.waiting_since is not None and not each.in_queue]
    return SkillNow(skill, len(found), len(queued), len(waiting), *_longest(found, at))


def _of_agent(
    agent: int, found: list[Conversation], focus: tuple[str, int] | None, knows_focus: bool, at: int
) -> AgentNow:
    waiting = sum(each.waiting_since is not None for each in found)
    place, since = focus or (None, 0)
    return AgentNow(agent, found[0].is_bot, len(found), waiting, *_longest(found, at), place, since, knows_focus)


def _longest(found: list[Conversation], at: int) -> tuple[int, str, int]:
    """The longest wait that is not stale, whose it is, and how many are stale."""
    stale = sum(each.is_stale(at) for each in found)
    waits = [
        (at - each.waiting_since, each.id) for each in found if each.waiting_since is not None and not each.is_stale(at)
    ]
    length, conversation = max(waits, default=(0, ""))
    return max(length, 0), conversation, stale


def _conversations(prepared: Prepared, derived: Derived, trace: Trace) -> Iterator[Conversation]:
    """The open ones, from the derivation's own trace and rows."""
    events, columns, ordered, _ = prepared
    open_now = {row["conversationId"]: row for row in _running(derived.skill_segments, ["conversationId", "skillId"])}
    names = ["conversationId", "agentId", "groupId", "userType"]
    assigned = {row["conversationId"]: row for row in _running(derived.agent_segments, names)}
    left = _last_ends(derived.agent_segments)
    firsts = events["conversationId"].take(pa.array(ordered.rows[ordered.starts[:-1]])).to_pylist()
    for i, name in enumerate(firsts):
        places = slice(int(ordered.starts[i]), int(ordered.starts[i + 1]))
        row, segment = open_now.get(name), assigned.get(name)
        if row is None:
            continue
        if segment is None:
            since = max(row["begun"], left.get(name, 0))
        else:
            since = _waits_since(trace.state[places], ordered.records["time"][places], segment["begun"])
        focus, lease_ends = _focus(ordered.records[places], columns.lost_time[ordered.rows[places]])
        yield Conversation(
            id=name,
            skill=row["skillId"],
            agent=segment["agentId"] if segment else None,
            is_bot=bool(segment and segment["userType"] == "bot"),
            group=segment["groupId"] if segment else None,
            source=_source(events, ordered.rows[places], trace.effect[places]),
            waiting_since=since,
            focus=focus,
            lease_ends=lease_ends,
        )


def _running(table: pa.Table, names: list[str]) -> list[dict[str, Any]]:
    """The rows without an end; `begun` is their start in epoch milliseconds."""
    rows = table.filter(pc.is_null(table["end"]))
    found: list[dict[str, Any]] = rows.select(names).append_column("begun", rows["start"].cast(pa.int64())).to_pylist()
    return found


def _last_ends(table: pa.Table) -> dict[str, int]:
    """When the last agent segment of each conversation ended."""
    rows = table.filter(pc.is_valid(table["end"]))
    return dict(zip(rows["conversationId"].to_pylist(), rows["end"].cast(pa.int64()).to_pylist(), strict=True))


def _waits_since(states: U8, times: I64, segment_start: int) -> int | None:
    """Since when the consumer waits for the assigned agent; None where it does not."""
    waits = (states & rules.STATE_WAITING) > 0
    if not waits[-1]:
        return None
    quiet = np.flatnonzero(~waits)
    begun = int(times[quiet[-1] + 1]) if len(quiet) else int(times[0])
    return max(begun, segment_start)


def _source(events: pa.Table, rows: I32, effects: I8) -> str | None:
    """The conversation's source: the first that an opening named."""
    for row in rows[effects == rules.TOOK_EFFECT].tolist():
        source = events["source"][row].as_py()
        if source is not None and events["type"][row].as_py() in ("opened", "resumed"):
            return str(source)
    return None


def _focus(records: Records, lost: I64) -> tuple[dict[int, int], dict[int, int]]:
    """Whose focus is here at the end of all events, and since when; the last moment of those that have a lease."""
    here: dict[int, int] = {}
    ends: dict[int, int] = {}
    for place in np.flatnonzero((records["type"] == model.FOCUSED) | (records["type"] == model.UNFOCUSED)):
        agent, time = int(records["agent"][place]), int(records["time"][place])
        goes_on = ends.pop(agent, NEVER) >= time
        if records["type"][place] == model.UNFOCUSED or lost[place] != NEVER:
            here.pop(agent, None)
            continue
        here[agent] = here.get(agent, time) if goes_on else time
        if records["has_skill"][place]:
            ends[agent] = time + int(records["skill"][place])
    return here, ends
