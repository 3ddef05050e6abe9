"""What is going on in an account at this moment: who waits, for whom, since when, and who is at work.

All of it is what the rules see at the end of the open conversations' events (`segments.derive.trace_of`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from handletime.answers.selection import Selection
from handletime.clock import DAY
from handletime.deadline import Deadline
from handletime.scope import Scope
from handletime.segments import rules
from handletime.segments.columns import NEVER
from handletime.segments.derive import Trace, trace_of
from handletime.segments.parts import Prepared
from handletime.segments.sorting import Records
from handletime.targets.targets import AccountTargets, Judged, Of
from handletime.targets.waits import AgentSegment, QueueSegment, judged

STALE_MS: Final = DAY
"""A longer wait is shown beside the others: a forgotten conversation should not hide those of today."""
AGENTS_MAX: Final = 500
"""The number of agents at work that are shown, and of those who look at conversations of others."""
KEPT_S: Final = 2.0
"""Seconds for which open conversations that were read are shown to others too."""


class FocusHere(NamedTuple):
    """An agent's focus on a conversation: since when, and its last moment (epoch ms; `NEVER` without a lease)."""

    since: int
    until: int = NEVER


class OpenConversation(NamedTuple):
    """One open conversation. `waiting_since` is when the wait for the assigned agent, or in the queue, began."""

    id: str
    skill: int
    agent: int | None
    is_bot: bool
    group: int | None
    source: str | None
    waiting_since: int | None
    focus: Mapping[int, FocusHere]
    """The focus of each agent whose focus is here."""
    wrote: bool = False
    """Whether the assigned agent has written a message since the assignment."""
    opened: int = 0
    """When it was opened last."""
    since: int = 0
    """When the agent was assigned, or the queue segment began."""
    follows: str = ""
    """What the agent segment that runs follows; "" in queue."""
    queued_since: int | None = None
    """The start of the queue segment that the assignment ended."""

    def seen_at(self, at: int) -> OpenConversation:
        """This conversation, without any focus whose lease has ended by a moment."""
        return self._replace(focus={agent: focus for agent, focus in self.focus.items() if focus.until >= at})

    @property
    def state(self) -> State:
        """`queued`, `waits` for the agent's answer, or `answered`."""
        return "queued" if self.in_queue else "waits" if self.waiting_since is not None else "answered"

    @property
    def in_queue(self) -> bool:
        """Whether nobody is assigned."""
        return self.agent is None

    @property
    def segment(self) -> AgentSegment | QueueSegment:
        """The agent segment or queue segment that runs, as clocks ask for it; without responses that were given."""
        if self.in_queue:
            return QueueSegment(Of(self.skill, self.source, self.since), None, None)
        return AgentSegment(
            of=Of(self.skill, self.source, self.since, "bot" if self.is_bot else "human"),
            end=None,
            follows=self.follows,
            queued_since=self.queued_since,
            first_response=None,
            responses=(),
            first_is_response=False,
            wrote=self.wrote,
            waiting_since=self.waiting_since,
        )

    def is_stale(self, at: int) -> bool:
        """Whether it waits for longer than `STALE_MS`."""
        return self.waiting_since is not None and at - self.waiting_since > STALE_MS


State = Literal["queued", "waits", "answered"]


def waits_judged(each: OpenConversation, targets: AccountTargets, now: int) -> Iterator[Judged]:
    """The waits of an open conversation that are not answered: pending, or past due (rules.md 5.2)."""
    for found in judged(targets, each.segment, now):
        if found.wait.clock != "firstResponse" or not each.wrote:
            yield found


def most_urgent_first(waits: Iterable[tuple[OpenConversation, Judged]]) -> list[tuple[OpenConversation, Judged]]:
    """Waits in the order in which they are due; those that never are come last."""
    return sorted(waits, key=lambda of: (of[1].due is None, of[1].due or 0, of[1].wait.start, of[0].id))


class OpenOf(NamedTuple):
    """The open conversations of one skill or agent, or all; `longest_ms` is the longest wait of those not stale."""

    number: int | None
    open: int
    in_queue: int
    waiting: int
    """How many wait for an agent's answer."""
    longest_ms: int
    longest: str
    """The id of the conversation with the longest wait."""
    stale: int
    """How many wait for longer than `STALE_MS`."""
    is_bot: bool = False
    focus: str | None = None
    """The conversation that has the agent's focus."""
    focus_since: int = 0
    knows_focus: bool = False


class Looking(NamedTuple):
    """An agent whose focus is, since a moment, on an open conversation that somebody else has, or nobody."""

    agent: int
    conversation: OpenConversation
    since: int


class Now(NamedTuple):
    """The open conversations and their sums at one moment; times are epoch milliseconds."""

    at: int
    total: OpenOf
    skills: list[OpenOf]
    agents: list[OpenOf]
    more_agents: int
    begin_in_the_middle: int
    conversations: list[OpenConversation]
    """The open conversations, the longest wait first."""
    looking: list[Looking]
    """Whose focus is on a conversation that is not theirs, the longest first: supervisors, or a colleague."""
    more_looking: int


class OpenConversations(NamedTuple):
    """The open conversations of an account, the longest wait first, and of whom there is focus data."""

    conversations: list[OpenConversation]
    with_focus: set[int]
    begin_in_the_middle: int


def within(found: OpenConversations, scope: Scope) -> OpenConversations:
    """The open conversations that lie within a scope: by their skill, and the group of whoever is assigned.

    Only agents who have one of these are known there, and their focus. How many begin in the middle is not told.
    """
    if scope.is_whole:
        return found
    mine = [each for each in found.conversations if scope.has(each.skill, each.group)]
    agents = {each.agent for each in mine if each.agent is not None}
    shown = [
        each._replace(focus={agent: here for agent, here in each.focus.items() if agent in agents}) for each in mine
    ]
    return OpenConversations(shown, found.with_focus & agents, 0)


class LastRead:
    """Open conversations of the last seconds, so that many who look at one account ask the store once.

    Any thread may use it.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, OpenConversations]] = {}
        self._lock = Lock()

    def of(self, account: str, read: Callable[[], OpenConversations]) -> OpenConversations:
        """The open conversations of an account, at most `KEPT_S` old; `read` is asked where there are none."""
        begun = time.monotonic()
        with self._lock:
            made, found = self._found.get(account, (0.0, None))
        if found is None or begun - made > KEPT_S:
            found = read()
            with self._lock:
                self._found = {name: each for name, each in self._found.items() if begun - each[0] <= KEPT_S}
                self._found[account] = (begun, found)
        return found


def open_conversations(parts: Iterable[Prepared], deadline: Deadline | None = None) -> OpenConversations:
    """What the events of open conversations say, some at a time. Raises NotNow where the deadline comes first."""
    deadline = deadline or Deadline()
    found: list[OpenConversation] = []
    with_focus: set[int] = set()
    begin_in_the_middle = 0
    for prepared in parts:
        trace = trace_of(prepared)
        found += deadline.over(_conversations(prepared, trace))
        with_focus |= {agent for _, agent in prepared.focused}
        begin_in_the_middle += trace.begin_in_the_middle
        del prepared, trace  # The next part is made while these names hold on.
    found.sort(key=lambda each: (each.waiting_since is None, each.waiting_since or 0, each.id))
    return OpenConversations(found, with_focus, begin_in_the_middle)


def now_of(found: OpenConversations, of: Selection, at: int) -> Now:
    """Counts the open conversations that match the filters of a selection. Its times do not count here."""
    conversations = [each.seen_at(at) if each.focus else each for each in found.conversations]
    shown = [each for each in conversations if _matches(each, of)]
    by_skill: dict[int, list[OpenConversation]] = {}
    by_agent: dict[int, list[OpenConversation]] = {}
    for each in shown:
        by_skill.setdefault(each.skill, []).append(each)
        if each.agent is not None:
            by_agent.setdefault(each.agent, []).append(each)
    focus = {agent: (each.id, here.since) for each in conversations for agent, here in each.focus.items()}
    agents = []
    for agent, mine in by_agent.items():
        place, since = focus.get(agent, (None, 0))
        agents.append(
            _of(agent, mine, at)._replace(
                is_bot=mine[0].is_bot, focus=place, focus_since=since, knows_focus=agent in found.with_focus
            )
        )
    agents.sort(key=lambda each: (each.is_bot, -each.longest_ms, each.number or 0))
    skills = [_of(skill, mine, at) for skill, mine in sorted(by_skill.items())]
    left_out = max(len(agents) - AGENTS_MAX, 0)
    looking = sorted(_looking(conversations, of), key=lambda each: (each.since, each.agent))
    return Now(
        at,
        _of(None, shown, at),
        skills,
        agents[:AGENTS_MAX],
        left_out,
        found.begin_in_the_middle,
        shown,
        looking[:AGENTS_MAX],
        max(len(looking) - AGENTS_MAX, 0),
    )


def _looking(conversations: Iterable[OpenConversation], of: Selection) -> Iterator[Looking]:
    """Who looks at a conversation of somebody else; a filter of agents may mean either of the two."""
    if of.user_type == "bot":
        return
    of_conversation = of._replace(agents=None, user_type=None)
    for each in conversations:
        for agent, here in each.focus.items():
            is_meant = of.agents is None or agent in of.agents or each.agent in of.agents
            if agent != each.agent and is_meant and _matches(each, of_conversation):
                yield Looking(agent, each, here.since)


def _matches(each: OpenConversation, of: Selection) -> bool:
    return (
        (of.skills is None or each.skill in of.skills)
        and (of.agents is None or each.agent in of.agents)
        and (of.groups is None or each.group in of.groups)
        and (of.user_type is None or (each.agent is not None and each.is_bot == (of.user_type == "bot")))
        and (of.source is None or (each.source or "").lower() == of.source.lower())
    )


def _of(number: int | None, found: list[OpenConversation], at: int) -> OpenOf:
    in_queue = sum(each.in_queue for each in found)
    waits = [(at - each.waiting_since, each) for each in found if each.waiting_since is not None]
    waiting = sum(not each.in_queue for _, each in waits)
    fresh = [(length, each.id) for length, each in waits if not each.is_stale(at)]
    length, longest = max(fresh, default=(0, ""))
    return OpenOf(number, len(found), in_queue, waiting, max(length, 0), longest, len(waits) - len(fresh))


def _conversations(prepared: Prepared, trace: Trace) -> Iterator[OpenConversation]:
    """The open ones, from the state after the last event of each."""
    events, columns, ordered, _ = prepared
    last, focus = trace.last, _focus(trace.focus)
    names = events["conversationId"].take(ordered.rows[ordered.starts[:-1]]).to_pylist()
    sources = events["source"].take(pa.array(last["source_row"], mask=last["source_row"] < 0)).to_pylist()
    waits = trace.waits_since[ordered.starts[1:] - 1].tolist()
    running = {
        row: (rules.FOLLOWS[follows], None if queued == NEVER else queued)
        for row, follows, queued in trace.running[["assigned_row", "follows", "queued_since"]].tolist()
    }
    for i in np.flatnonzero(last["phase"] == rules.OPEN).tolist():
        state = last[i]
        assigned = bool(state["assigned"])
        follows, queued_since = running[int(state["assigned_row"])] if assigned else ("", None)
        yield OpenConversation(
            id=names[i],
            skill=int(state["skill"]),
            agent=int(state["agent"]) if assigned else None,
            is_bot=assigned and not state["human"],
            group=int(columns.group[state["assigned_row"]]) if assigned else None,
            source=sources[i],
            waiting_since=None if waits[i] == NEVER else waits[i],
            focus=focus.get(i, {}),
            wrote=bool(state["wrote"]),
            opened=int(state["opened"]),
            since=int(state["start"]) if assigned else int(state["waits_since"]),
            follows=follows,
            queued_since=queued_since,
        )


def _focus(stretches: Records) -> dict[int, dict[int, FocusHere]]:
    """The focus that no event has ended, by the place of its conversation, and by agent."""
    found: dict[int, dict[int, FocusHere]] = {}
    here = stretches[(stretches["left_at"] == NEVER) & (stretches["lost_time"] == NEVER)]
    for number, agent, start, lease_end in here[["of", "agent", "start", "lease_end"]].tolist():
        found.setdefault(number - 1, {})[agent] = FocusHere(start, lease_end)
    return found
