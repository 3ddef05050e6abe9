"""A day of one agent: on which conversations the focus was, when, and what of it was handle time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from handletime.answers.intervals import begin_of_day
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection, instant_of
from handletime.events.model import TIME_MAX
from handletime.segments.agent_focus import OUTSIDE, Focus

UNITS_MAX: Final = 20_000
"""The most handle-time units of a day that are read."""


class Stretch(NamedTuple):
    """From a moment to another (epoch ms)."""

    start: int
    end: int

    @property
    def millis(self) -> int:
        """How long it is."""
        return self.end - self.start


class Unit(NamedTuple):
    """A handle-time unit, and whose it is."""

    conversation: str
    start: int
    end: int


class OnConversation(NamedTuple):
    """What of a day an agent gave to one conversation."""

    id: str
    focus: list[Stretch]
    units: list[Stretch]
    """Handle-time units of segments that have ended, as far as they lie in the day."""

    @property
    def begin(self) -> int:
        """The first moment of it."""
        return min(each.start for each in (*self.focus, *self.units))

    @property
    def last(self) -> int:
        """The last moment of it."""
        return max(each.end for each in (*self.focus, *self.units))

    @property
    def focus_ms(self) -> int:
        """The time in focus."""
        return total(self.focus)

    @property
    def handle_time_ms(self) -> int:
        """The handle time."""
        return total(self.units)


class AgentDay(NamedTuple):
    """A day, as far as it is over: where the focus was. The stretches of all parts make up the whole."""

    start: int
    end: int
    conversations: list[OnConversation]
    """In the order in which they came to the agent's attention."""
    idle: list[Stretch]
    """When the focus was on no conversation, between the first look of the day and the last."""
    apart: list[Stretch]
    """When it was on no conversation before the first look or after the last: mostly nobody was at work."""
    unknown: list[Stretch]
    """When it is not known where it was."""
    outside: list[Stretch]
    """When it was on conversations that whoever asks may not know of."""
    more_units: bool = False
    """Whether there are more units than were read."""

    @property
    def focus_ms(self) -> int:
        """The time in focus, on all conversations."""
        return sum(each.focus_ms for each in self.conversations)

    @property
    def handle_time_ms(self) -> int:
        """The handle time, on all conversations."""
        return sum(each.handle_time_ms for each in self.conversations)

    @property
    def has_focus_data(self) -> bool:
        """Whether anything is known of where the focus was."""
        return bool(self.conversations or self.idle or self.apart or self.outside)


def total(stretches: Iterable[Stretch]) -> int:
    """How long stretches are together, in milliseconds."""
    return sum(each.millis for each in stretches)


def day_bounds(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """When a day of a zone begins and ends (epoch ms): 23 or 25 hours later where clocks are changed."""
    return begin_of_day(day, zone), begin_of_day(day + timedelta(days=1), zone)


def day_of(focus: Iterable[Focus], units: Iterable[Unit], start: int, end: int) -> AgentDay:
    """The day [start, end) of an agent, out of the focus in it, which may end early, and the units that touch it."""
    found: dict[str, OnConversation] = {}
    on_none: list[Stretch] = []
    unknown: list[Stretch] = []
    outside: list[Stretch] = []
    last = start
    for each in focus:
        stretch, last = Stretch(each.start, each.end), each.end
        if each.conversation == OUTSIDE:
            outside.append(stretch)
        elif each.conversation is not None:
            found.setdefault(each.conversation, OnConversation(each.conversation, [], [])).focus.append(stretch)
        else:
            (on_none if each.known else unknown).append(stretch)
    if last < end:
        unknown.append(Stretch(last, end))
    looks = [*outside, *(stretch for each in found.values() for stretch in each.focus)]
    begun, ended = min((each.start for each in looks), default=end), max((each.start for each in looks), default=end)
    idle = [each for each in on_none if begun < each.start < ended]
    apart = [each for each in on_none if not begun < each.start < ended]
    count = 0
    for unit in units:
        count += 1
        cut = Stretch(max(unit.start, start), min(unit.end, end))
        if cut.millis > 0:
            found.setdefault(unit.conversation, OnConversation(unit.conversation, [], [])).units.append(cut)
    conversations = sorted(found.values(), key=lambda each: (each.begin, each.id))
    return AgentDay(start, end, conversations, idle, apart, unknown, outside, count > UNITS_MAX)


def last_end(snapshot: Snapshot, of: Selection) -> int | None:
    """When the last agent segment of a selection ended (epoch ms), for a day that has something to show; None where
    there is none.
    """
    condition = of.condition()
    found = snapshot.execute(
        f'select epoch_ms(max("end")) from agent_segments where {condition.where}',  # noqa: S608
        condition.parameters,
    ).fetchone()
    return None if found is None else found[0]


def units_of(snapshot: Snapshot, agent: int, start: int, end: int) -> list[Unit]:
    """The units of an agent that touch [start, end), of human agents' segments that have ended, by time.

    Where there are more than `UNITS_MAX`, one more than these.
    """
    found = snapshot.execute(
        """select conversationId, epoch_ms(start), epoch_ms("end") from handle_time_units
        where segmentEnd >= $start and segmentEnd < $end and userType = 'human' and agentId = $agent
            and "end" > $start and start < $to
        order by start, conversationId limit $most""",
        {
            # A segment ends after its units do, however long after.
            "start": instant_of(start),
            "end": instant_of(TIME_MAX),
            "to": instant_of(end),
            "agent": agent,
            "most": UNITS_MAX + 1,
        },
    ).fetchall()
    return [Unit(*row) for row in found]
