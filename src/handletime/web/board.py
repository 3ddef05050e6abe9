"""The service levels of today that *Now* shows beside what is open, and what the figures of the board mean."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

from handletime.answers.intervals import begin_of_day
from handletime.answers.levels import verdicts_of
from handletime.answers.live import LastRead, OpenConversations
from handletime.answers.registry import LEVEL_METRICS
from handletime.answers.selection import Selection
from handletime.answers.words import NONE, local
from handletime.api.ports import Reader
from handletime.clock import MINUTE
from handletime.errors import NotNow
from handletime.segments.agent_focus import FocusTime
from handletime.targets.targets import CLOCKS, AccountTargets, Clock
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
    "longest wait": "The longest wait of both kinds. Waits of over a day are a number of their own beside it",
    "past due": "Conversations whose wait, within opening hours, is longer than its target; beside it for how long the "
    "most urgent one has been, or in which time the next one will be. What has been past due for over a day is not "
    "among them: it is counted with the waits of over a day",
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
    def text(self) -> str:
        """The share that met its target, as people read it."""
        return _METRICS[f"{self.clock}ServiceLevelPercent"].said(100 * self.met / self.judged) if self.judged else NONE


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
