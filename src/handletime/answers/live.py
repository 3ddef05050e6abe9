"""What is going on in an account at this moment: who waits, for whom, since when, and who is at work.

All of it is what the rules see at the end of the open conversations' events (`segments.derive.trace_of`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from threading import Lock
from types import MappingProxyType
from typing import Final, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from handletime.answers.selection import Selection
from handletime.clock import DAY
from handletime.deadline import Deadline
from handletime.scope import Scope
from handletime.segments import rules
from handletime.segments.agent_focus import FocusTime
from handletime.segments.columns import NEVER
from handletime.segments.derive import Trace, trace_of
from handletime.segments.parts import Prepared
from handletime.segments.sorting import Records
from handletime.targets.targets import NO_TARGETS, AccountTargets, Judged, Of
from handletime.targets.waits import AgentSegment, QueueSegment, judged

STALE_MS: Final = DAY
"""What waits, or is past due, for longer is stale: it is counted apart, so that it does not hide what is of today."""
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


State = Literal["queued", "waits", "answered"]


def waits_judged(each: OpenConversation, targets: AccountTargets, now: int) -> Iterator[Judged]:
    """The waits of an open conversation that are not answered: pending, or past due (rules.md 5.2)."""
    for found in judged(targets, each.segment, now):
        if found.wait.clock != "firstResponse" or not each.wrote:
            yield found


def most_urgent_first(waits: Iterable[tuple[OpenConversation, Judged]]) -> list[tuple[OpenConversation, Judged]]:
    """Waits in the order in which they are due; those that never are come last."""
    return sorted(waits, key=lambda of: (of[1].due is None, of[1].due or 0, of[1].wait.start, of[0].id))


def urgent_of(each: OpenConversation, targets: AccountTargets, now: int) -> Judged | None:
    """The wait of an open conversation that is due first, or was; None where nothing ever is due."""
    waits = most_urgent_first((each, wait) for wait in waits_judged(each, targets, now) if wait.due is not None)
    return waits[0][1] if waits else None


def is_past_due(urgent: Judged | None) -> bool:
    """Whether the most urgent wait of a conversation, if any, is past due."""
    return urgent is not None and urgent.verdict == "pastDue"


def is_stale(each: OpenConversation, urgent: Judged | None, at: int) -> bool:
    """Whether a conversation is past due for longer than `STALE_MS`; where no target judges it, whether it waits so
    long. `urgent` is as `urgent_of` has it. Who waits since Friday evening for somebody's Monday is not forgotten.
    """
    since = each.waiting_since if urgent is None else urgent.due
    return since is not None and at - since > STALE_MS


class OpenOf(NamedTuple):
    """The open conversations of one skill or agent, or all.

    What waits and what is past due, as `urgent_of` has it, are those that are not stale; all others count the stale.
    """

    number: int | None
    open: int = 0
    in_queue: int = 0
    waiting: int = 0
    """How many wait for an agent's answer."""
    longest_ms: int = 0
    longest: str = ""
    """The id of the conversation with the longest wait."""
    stale: int = 0
    assigned: int = 0
    """How many are not in queue."""
    is_bot: bool = False
    focus: str | None = None
    """The conversation that has the agent's focus."""
    focus_since: int = 0
    knows_focus: bool = False
    past_due: int = 0
    stale_past_due: int = 0
    """How many of the stale are past due."""
    due: int | None = None
    """When the most urgent wait is due, or was (epoch ms); None where nothing is."""
    agents: int = 0
    """How many agents they are assigned to."""
    agents_with_focus: int = 0
    """Of how many of these there is focus data."""
    agents_in_focus: int = 0
    """How many of those have their focus on an open conversation, whose ever it is."""
    focus_time: FocusTime = FocusTime(0, 0)
    """Of these agents, for how long the focus was on a conversation of late, and for how long that is known."""

    @property
    def focus_percent(self) -> float | None:
        """The share of time in focus; None where nothing is known."""
        return 100 * self.focus_time.on / self.focus_time.known if self.focus_time.known else None

    @property
    def each(self) -> float | None:
        """Conversations per agent; None without agents."""
        return self.assigned / self.agents if self.agents else None

    @property
    def urgency(self) -> tuple[object, ...]:
        """Sorts the most urgent first: what is past due by when it was due, what is due soonest, the longest wait."""
        waits = -self.in_queue - self.waiting
        return (not self.past_due, self.due is None, self.due or 0, -self.longest_ms, waits, self.number or 0)


class Looking(NamedTuple):
    """An agent whose focus is, since a moment, on an open conversation that somebody else has, or nobody."""

    agent: int
    conversation: OpenConversation
    since: int


class Now(NamedTuple):
    """The open conversations and their sums at one moment; times are epoch milliseconds.

    `skills` and `agents` are those of `people`: of conversations that a human has, or nobody; the most urgent first.
    """

    at: int
    total: OpenOf
    people: OpenOf
    skills: list[OpenOf]
    agents: list[OpenOf]
    more_agents: int
    bots: list[OpenOf]
    begin_in_the_middle: int
    conversations: list[OpenConversation]
    """The open conversations, the longest wait first."""
    looking: list[Looking]
    """Whose focus is on a conversation that is not theirs, the longest first: supervisors, or a colleague."""
    more_looking: int
    left_out: int = 0
    """How many open conversations were not read, of which nothing here knows; not told within a scope."""


class OpenConversations(NamedTuple):
    """The open conversations of an account, the longest wait first, and of whom there is focus data."""

    conversations: list[OpenConversation]
    with_focus: set[int]
    begin_in_the_middle: int
    left_out: int = 0
    """How many more are open, opened before these."""


def within(found: OpenConversations, scope: Scope) -> OpenConversations:
    """The open conversations that lie within a scope: by their skill, and the group of whoever is assigned.

    Only agents who have one of these are known there, and their focus. How many begin in the middle, and how many are
    left out, is not told.
    """
    if scope.is_whole:
        return found
    mine = [each for each in found.conversations if scope.has(each.skill, each.group)]
    agents = {each.agent for each in mine if each.agent is not None}
    shown = [
        each._replace(focus={agent: here for agent, here in each.focus.items() if agent in agents}) for each in mine
    ]
    return OpenConversations(shown, found.with_focus & agents, 0)


_Read = TypeVar("_Read")


class LastRead(Generic[_Read]):
    """What was read in the last seconds, so that many who look at one account ask the store once.

    Any thread may use it.
    """

    def __init__(self, kept_s: float | None = None) -> None:
        """Without `kept_s` it is kept for `KEPT_S`."""
        self._found: dict[Hashable, tuple[float, _Read]] = {}
        self._lock = Lock()
        self._kept_s = kept_s

    def of(self, what: Hashable, read: Callable[[], _Read]) -> _Read:
        """What was read of an account, or a part of it, not longer ago; `read` is asked where there is none."""
        begun, kept_s = time.monotonic(), KEPT_S if self._kept_s is None else self._kept_s
        with self._lock:
            known = self._found.get(what)
        if known is not None and begun - known[0] <= kept_s:
            return known[1]
        found = read()
        with self._lock:
            self._found = {name: each for name, each in self._found.items() if begun - each[0] <= kept_s}
            self._found[what] = (begun, found)
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


def now_of(
    found: OpenConversations,
    of: Selection,
    at: int,
    targets: AccountTargets = NO_TARGETS,
    focus_times: Mapping[int, FocusTime] = MappingProxyType({}),
    *,
    whole: bool = False,
) -> Now:
    """Counts the open conversations that match the filters of a selection. Its times do not count here.

    `focus_times` are those of the last minutes, by agent. `whole`: all agents, not only the first `AGENTS_MAX`.
    """
    most = sys.maxsize if whole else AGENTS_MAX
    conversations = [each.seen_at(at) if each.focus else each for each in found.conversations]
    shown = [each for each in conversations if _matches(each, of)]
    focus = {agent: (each.id, here.since) for each in conversations for agent, here in each.focus.items()}
    urgent = {each.id: urgent_of(each, targets, at) for each in shown if targets}
    sums = _Sums(at, focus, found.with_focus, urgent, focus_times)
    people = [each for each in shown if not each.is_bot]
    agents = sums.by_agent(people)
    left_out = max(len(agents) - most, 0)
    looking = sorted(_looking(conversations, of), key=lambda each: (each.since, each.agent))
    return Now(
        at,
        sums.of(None, shown),
        sums.of(None, people),
        sums.by_skill(people),
        agents[:most],
        left_out,
        sums.by_agent(each for each in shown if each.is_bot),
        found.begin_in_the_middle,
        shown,
        looking[:most],
        max(len(looking) - most, 0),
        found.left_out,
    )


class _Sums(NamedTuple):
    """What sums of open conversations are made of: the focus of agents, of whom there is any, and what is due."""

    at: int
    focus: Mapping[int, tuple[str, int]]
    with_focus: set[int]
    urgent: Mapping[str, Judged | None]
    focus_times: Mapping[int, FocusTime]

    def by_skill(self, found: Iterable[OpenConversation]) -> list[OpenOf]:
        by: dict[int, list[OpenConversation]] = {}
        for each in found:
            by.setdefault(each.skill, []).append(each)
        return sorted((self.of(skill, mine) for skill, mine in by.items()), key=lambda each: each.urgency)

    def by_agent(self, found: Iterable[OpenConversation]) -> list[OpenOf]:
        by: dict[int, list[OpenConversation]] = {}
        for each in found:
            if each.agent is not None:
                by.setdefault(each.agent, []).append(each)
        agents = []
        for agent, mine in by.items():
            place, since = self.focus.get(agent, (None, 0))
            its = self.of(agent, mine)
            knows = agent in self.with_focus
            agents.append(its._replace(is_bot=mine[0].is_bot, focus=place, focus_since=since, knows_focus=knows))
        return sorted(agents, key=lambda each: each.urgency)

    def of(self, number: int | None, found: list[OpenConversation]) -> OpenOf:
        stale = [each for each in found if is_stale(each, self.urgent.get(each.id), self.at)]
        old = {each.id for each in stale}
        fresh = [each for each in found if each.id not in old]
        waits = [(self.at - each.waiting_since, each.id) for each in fresh if each.waiting_since is not None]
        length, longest = max(waits, default=(0, ""))
        urgent = [wait for each in fresh if (wait := self.urgent.get(each.id)) is not None]
        late = [wait.due for wait in urgent if is_past_due(wait) and wait.due is not None]
        pending = [wait.due for wait in urgent if not is_past_due(wait) and wait.due is not None]
        agents = {each.agent for each in found if each.agent is not None}
        with_focus = agents & self.with_focus
        times = [self.focus_times[agent] for agent in with_focus if agent in self.focus_times]
        return OpenOf(
            number,
            len(found),
            sum(each.state == "queued" for each in fresh),
            sum(each.state == "waits" for each in fresh),
            max(length, 0),
            longest,
            len(stale),
            sum(not each.in_queue for each in found),
            past_due=len(late),
            stale_past_due=sum(is_past_due(self.urgent.get(each.id)) for each in stale),
            due=min(late or pending, default=None),
            agents=len(agents),
            agents_with_focus=len(with_focus),
            agents_in_focus=sum(agent in self.focus for agent in with_focus),
            focus_time=FocusTime(sum(each.on for each in times), sum(each.known for each in times)),
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
