"""The service levels of today that *Now* shows beside what is open, and what the figures of the board mean."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

from handletime.answers.flat import Namer
from handletime.answers.intervals import begin_of_day
from handletime.answers.levels import verdicts_of
from handletime.answers.live import LastRead, Now, OpenConversations, OpenOf
from handletime.answers.registry import LEVEL_METRICS
from handletime.answers.selection import Selection
from handletime.answers.words import NONE, local
from handletime.api.ports import Reader
from handletime.clock import MINUTE
from handletime.errors import NotNow
from handletime.segments.agent_focus import FocusTime
from handletime.targets.targets import CLOCKS, AccountTargets, Clock
from handletime.web.sheet import At, Sheet, at_if_any
from handletime.web.view import View

KEPT_S: Final = 10.0
"""Seconds for which service levels and times in focus that were counted are shown to others too."""
FOCUS_SPAN: Final = 15 * MINUTE
"""How far the share of time in focus goes back."""
ON_A_WALL: Final = {True: 6, False: 8}
"""The most skills on a wall, with targets and without: so many lines fit a screen and can be read from far."""
TILES: Final[dict[Clock, str]] = {
    "firstResponse": "first response in time today",
    "response": "responses in time today",
    "queueWait": "queue waits in time today",
}
"""What service levels are called in tiles."""
HEADINGS: Final[dict[Clock, str]] = {"firstResponse": "first response", "response": "response", "queueWait": "queue"}
"""What they are called in the table, under *within target today*."""
MEANINGS: Final = {
    "in queue": "Open conversations that nobody is assigned to",
    "waiting": "Conversations of human agents whose consumer waits for the agent's answer",
    "longest wait": "The longest wait of both kinds",
    "for over a day": "Past due for over a day, or waiting so long where no target says more. They are in no other "
    "figure of what waits, and make nothing urgent",
    "past due": "Conversations whose wait, within opening hours, is longer than its target; beside it for how long the "
    "most urgent one has been, or in which time the next one will be",
    "within target, in time": "Of the waits of human agents' segments that ended today, by the clock of the page's "
    "time zone, the share that met their target: met / (met + missed)",
    "agents": "Human agents who have an open conversation; in several skills those who have some in each",
    "each": "Open conversations of human agents per agent: the average at this moment",
    "in focus": "Of the last 15 minutes of the agents at work, the share in which their focus was on a conversation, "
    "as far as it is known where it was. Beside it how many of those with focus data look at an open conversation now",
    "the order": "What is past due stands first, by when it was due; then what is due soonest; then the longest wait",
}
"""What the figures of the board mean."""
_METRICS: Final = {metric.key: metric for metric in LEVEL_METRICS}
_OF_TARGETS: Final = ("past due", "within target, in time")


class Level(NamedTuple):
    """A service level as the counts that it is made of; without any there is none."""

    clock: Clock
    met: int = 0
    judged: int = 0

    @property
    def percent(self) -> float | None:
        """The share that met its target; None of nothing."""
        return 100 * self.met / self.judged if self.judged else None

    @property
    def text(self) -> str:
        """The same as people read it."""
        return NONE if self.percent is None else _METRICS[f"{self.clock}ServiceLevelPercent"].said(self.percent)


class Levels(NamedTuple):
    """The service levels of today by clock, of all and of each skill that has any."""

    total: dict[Clock, Level]
    skills: dict[int, dict[Clock, Level]]

    def of(self, skill: int) -> list[Level]:
        """Those of a skill, one for each clock."""
        return [self.skills.get(skill, {}).get(clock, Level(clock)) for clock in self.total]


class LevelsToday:
    """Service levels of today, so that many who look at the same ask the store once. Any thread may use it."""

    def __init__(self) -> None:
        self._lately: LastRead[Levels] = LastRead(KEPT_S)

    def of(self, reader: Reader, account: str, view: View, at: int, targets: AccountTargets) -> Levels:
        """The service levels of what a view's filters mean and a reader sees, for the clocks that targets set.

        Waits in the queue are of no agent and no group: without a level where these are asked for, or limit the key.
        """
        has_queues = reader.scope.has_queues and view.agent is None and view.group is None
        clocks = [clock for clock in CLOCKS if targets.sets(clock) and (clock != "queueWait" or has_queues)]
        if not clocks:
            return Levels({}, {})
        midnight = begin_of_day(local(at, view.zone).date(), view.zone)
        of = view.agent_segments._replace(bounds=(midnight, max(at, midnight + 1)))
        same = (account, reader.scope, of._replace(bounds=(midnight,)), targets.state)
        return self._lately.of(same, lambda: _counted(reader, clocks, of, targets))


class FocusLately:
    """For how long agents at work had their focus on a conversation of late. Any thread may use it."""

    def __init__(self) -> None:
        self._lately: LastRead[dict[int, FocusTime]] = LastRead(KEPT_S)

    def of(self, reader: Reader, account: str, found: OpenConversations, at: int) -> dict[int, FocusTime]:
        """The times of the last `FOCUS_SPAN`, by agent."""
        agents = {each.agent for each in found.conversations if each.agent is not None and not each.is_bot}
        known = sorted(agents & found.with_focus)
        return self._lately.of((account, reader.scope), lambda: reader.focus_times(known, at - FOCUS_SPAN, at))


def meanings_of(targets: AccountTargets) -> dict[str, str]:
    """What the figures of an account's board mean; without targets there is nothing that is due."""
    if targets:
        return MEANINGS
    found = {name: text for name, text in MEANINGS.items() if name not in _OF_TARGETS}
    return found | {"the order": "The longest wait stands first"}


def _counted(reader: Reader, clocks: list[Clock], of: Selection, targets: AccountTargets) -> Levels:
    total, skills = dict[Clock, Level](), dict[int, dict[Clock, Level]]()
    with reader.snapshot() as snapshot:
        for clock in clocks:
            total[clock] = Level(clock)
            # What an older store is still deriving has no level yet; the rest of the page does not wait for it.
            with suppress(NotNow):
                found = verdicts_of(snapshot, clock, targets, ("skillId",), of)
                met, missed = (found.sums[f"{clock}{verdict}"].tolist() for verdict in ("Met", "Missed"))
                total[clock] = Level(clock, sum(met), sum(met) + sum(missed))
                for skill, *counts in zip(found.keys["skillId"].tolist(), met, missed, strict=True):
                    skills.setdefault(skill, {})[clock] = Level(clock, counts[0], sum(counts))
    return Levels(total, skills)


# --- as files --------------------------------------------------------------------------------------------------------


def skills_sheet(now: Now, levels: Levels, name: Namer, *, has_queues: bool) -> Sheet:
    """The board by skill, the most urgent first; service levels for the clocks that targets set."""
    rows = [
        [
            *(each.number, name("skill", each.number or 0), each.in_queue if has_queues else None),
            *_waits(each),
            *(value for level in levels.of(each.number or 0) for value in _level_cells(level)),
            *(each.agents, each.each, each.focus_percent, each.agents_in_focus, each.agents_with_focus, each.open),
        ]
        for each in now.skills
    ]
    of_levels = [f"{clock}{what}" for clock in levels.total for what in ("ServiceLevelPercent", *_COUNTS)]
    names = (
        *("skillId", "skill", "inQueue", *_WAITS, *of_levels),
        *("agents", "conversationsPerAgent", "focusPercent", "agentsInFocus", "agentsWithFocusData", "open"),
    )
    return Sheet("now-skills", now.at, now.at, names, rows)


_COUNTS: Final = ("MetCount", "MissedCount")
_WAITS: Final = (
    *("waiting", "longestWaitMillis", "longestWaitConversationId", "waitingOverADay"),
    *("pastDue", "pastDueOverADay", "due"),
)


def _waits(of: OpenOf) -> list[object]:
    longest = (of.longest_ms, of.longest) if of.longest else (None, None)
    return [of.waiting, *longest, of.stale, of.past_due, of.stale_past_due, at_if_any(of.due)]


def _level_cells(level: Level) -> list[object]:
    return [level.percent, level.met, level.judged - level.met]


def agents_sheet(now: Now, name: Namer) -> Sheet:
    """All agents at work, the most urgent first, and on which open conversation each one's focus is."""
    rows = [
        [
            *(each.number, name("agent", each.number or 0), each.open, *_waits(each), each.knows_focus),
            *_looks(now.at, each.focus, each.focus_since),
        ]
        for each in now.agents
    ]
    names = ("agentId", "agent", "open", *_WAITS, "focusData", "focusConversationId", "focusSince", "focusMillis")
    return Sheet("now-agents", now.at, now.at, names, rows)


def _looks(now: int, conversation: str | None, since: int) -> tuple[object, object, object]:
    return (None, None, None) if conversation is None else (conversation, At(since), max(now - since, 0))


def looking_sheet(now: Now, name: Namer) -> Sheet:
    """Who looks at a conversation that is not theirs, the longest first."""
    rows = []
    for each in now.looking:
        whose: tuple[object, object, object] = (None, None, None)
        if (agent := each.conversation.agent) is not None:
            whose = (agent, name("agent", agent), "bot" if each.conversation.is_bot else "human")
        looks = _looks(now.at, each.conversation.id, each.since)
        rows.append([each.agent, name("agent", each.agent), *looks, *whose])
    names = (
        "agentId",
        "agent",
        "focusConversationId",
        "focusSince",
        "focusMillis",
        "ofAgentId",
        "ofAgent",
        "ofUserType",
    )
    return Sheet("now-looking", now.at, now.at, names, rows)


def bots_sheet(now: Now, name: Namer) -> Sheet:
    """The bots that have open conversations."""
    rows = [[each.number, name("agent", each.number or 0), each.open, *_waits(each)] for each in now.bots]
    return Sheet("now-bots", now.at, now.at, ("agentId", "agent", "open", *_WAITS), rows)
