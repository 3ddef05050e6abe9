"""What a page shows, as its address says it: a span of time, how it is cut, and the filters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import msgspec

from handletime.api.intervals import Interval, clock_bounds, zone_named
from handletime.api.operations import UTC, ZoneParameter
from handletime.api.parameters import ALL, Choice, Id, Integer, Moment, Query, Schema, Single, Text, Time
from handletime.events.model import EPOCH, MILLIS_MIN
from handletime.metrics.aggregate import Selection
from handletime.web.words import local, moment

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
LAST: Final = {"1h": HOUR, "8h": 8 * HOUR, "24h": DAY, "7d": 7 * DAY, "31d": 31 * DAY}
SPANS: Final = {
    "1h": "1 h",
    "8h": "8 h",
    "24h": "24 h",
    "today": "today",
    "yesterday": "yesterday",
    "7d": "7 days",
    "31d": "31 days",
}
"""What `last` may be, and what the page calls it; days are those of the time zone."""
_LAST_TOLD: Final = {"1h": "hour", "8h": "8 hours", "24h": "24 hours", "7d": "7 days", "31d": "31 days"}
INTERVALS: Final = {
    "auto": "automatic",
    "5": "5 minutes",
    "15": "15 minutes",
    "30": "30 minutes",
    "hour": "hour",
    "day": "day",
    "week": "week",
}
BARS_MAX: Final = 1000
LONG_MINUTES: Final = 30
_CALENDAR: Final[dict[str, Interval]] = {"hour": "hour", "day": "day", "week": "week"}
_AUTO: Final = ((2 * HOUR, "5"), (9 * HOUR, "15"), (3 * DAY, "hour"), (70 * DAY, "day"))
"""How a span up to this length is cut where nobody says how."""


@dataclass(frozen=True)
class WallTime(Single["Moment | datetime | None"]):
    """A moment as the API takes it, or one without an offset, which the time zone of the page then gives."""

    default: Moment | datetime | None = None

    def read_one(self, text: str) -> Moment | datetime | None:
        """The moment. Raises Wrong."""
        try:
            naive = datetime.fromisoformat(text)
        except ValueError:
            naive = None
        if naive is not None and naive.tzinfo is None and len(text) >= len("2026-11-20T09:00"):
            return naive
        return Time(self.name, self.meaning).read_one(text)

    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string"}


LAST_PARAMETER: Final = Choice("last", "The last hours or days.", "24h", choices=tuple(SPANS))
FROM: Final = WallTime("from", "From here on, instead of `last`.")
TO: Final = WallTime("to", "Up to here.")
INTERVAL: Final = Choice("interval", "How the span is cut.", "auto", choices=tuple(INTERVALS))
AGENT: Final = Id("agent", "Only this agent.")
SKILL: Final = Id("skill", "Only this skill.")
GROUP: Final = Id("group", "Only this agent group.")
USER_TYPE: Final = Choice("userType", "Human agents, or bots.", ALL, choices=("human", "bot", ALL))
SOURCE: Final = Text("source", "Only conversations that started there, in any letter case.")
LONG: Final = Integer("long", "Units longer than so many minutes are told.", LONG_MINUTES, least=1, most=10_080)


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time [start, end) in epoch milliseconds, its cuts and filters. `last` is "" where it is fixed."""

    start: int
    end: int
    last: str
    interval: str
    cut: str
    bounds: list[int]
    zone: ZoneInfo
    agent: int | None
    skill: int | None
    group: int | None
    user_type: str
    source: str | None
    long_minutes: int

    def parameters(self, **changes: object) -> dict[str, str]:
        """What stands in the address, with some of it changed; None leaves it out."""
        span: dict[str, object | None] = {"last": self.last if self.last != "24h" else None}
        if not self.last:
            span = {"from": self.start, "to": self.end}
        given: dict[str, object | None] = {
            **span,
            "interval": self.interval if self.interval != "auto" else None,
            "tz": self.zone.key if self.zone.key != "UTC" else None,
            "agent": self.agent,
            "skill": self.skill,
            "group": self.group,
            "userType": self.user_type if self.user_type != ALL else None,
            "source": self.source,
            "long": self.long_minutes if self.long_minutes != LONG_MINUTES else None,
        }
        given |= changes
        for name in ("from", "to"):
            at = given.get(name)
            if isinstance(at, int) and at < MILLIS_MIN:
                given[name] = Moment(at)  # no number means a time before 2000
        return {name: str(value) for name, value in given.items() if value is not None}

    def href(self, path: str, **changes: object) -> str:
        """A link to a page with this view, some of it changed."""
        query = urlencode(self.parameters(**changes), quote_via=quote)
        return f"{path}?{query}" if query else path

    def fixed(self, path: str, **changes: object) -> str:
        """The same with the span fixed: what is seen there does not move with the time."""
        span = {"last": None, "from": self.start, "to": self.end}
        return self.href(path, **(span | changes))

    def segments(self, start: int, end: int, **filters: object) -> str:
        """A link to the agent segments that ended in a span."""
        span = {"last": None, "from": start, "to": end, "interval": None}
        return self.href("/segments", **(span | filters))

    @property
    def span_told(self) -> str:
        """The span in words."""
        if self.last in ("today", "yesterday"):
            return f"{self.last.capitalize()}, {local(self.start, self.zone):%Y-%m-%d}"
        if self.last:
            return f"The last {_LAST_TOLD[self.last]}"
        return f"{moment(self.start, self.zone, seconds=False)} – {moment(self.end, self.zone, seconds=False)}"

    @property
    def start_local(self) -> str:
        """The start as a field for date and time has it."""
        return local(self.start, self.zone).strftime("%Y-%m-%dT%H:%M")

    @property
    def end_local(self) -> str:
        """The end."""
        return local(self.end, self.zone).strftime("%Y-%m-%dT%H:%M")

    @property
    def agent_segments(self) -> Selection:
        """The agent segments that are meant."""
        conditions: dict[str, tuple[str, object | None]] = {
            "agent": ("agentId = $agent", self.agent),
            "skill": ("skillId = $skill", self.skill),
            "group": ("groupId = $group", self.group),
            "source": ("lower(source) = lower($source)", self.source),
        }
        return self._selection(conditions)

    @property
    def skill_segments(self) -> Selection:
        """The skill segments that are meant: these have a skill and a user type, and no agent, group or source."""
        return self._selection({"skill": ("skillId = $skill", self.skill)})

    def _selection(self, conditions: dict[str, tuple[str, object | None]]) -> Selection:
        given = {name: condition for name, condition in conditions.items() if condition[1] is not None}
        where = " and ".join(["true", *(condition for condition, _ in given.values())])
        if self.user_type != ALL:
            where += f" and userType = '{self.user_type}'"  # one of a closed list; compared as what the column is
        return Selection(self.bounds, where, {name: value for name, (_, value) in given.items()})


def read_view(query: Query, now: int, zone: str = "UTC") -> View:
    """The view that an address means; `zone` is the browser's. Faults are noted in the query."""
    tz = query.get(ZoneParameter("tz", "Whose clocks the times are.", _zone(zone)))
    start, end, last = _span(query, now, tz)
    interval = query.get(INTERVAL)
    cut = interval if interval != "auto" else _cut_of(end - start)
    ends = [start, end] if start >= end or _bars(start, end, cut) > BARS_MAX else _bounds(start, end, cut, tz)
    if start < end and _bars(start, end, cut) > BARS_MAX:
        query.fault(INTERVAL, f"must cut the span in at most {BARS_MAX} intervals; choose a longer one")
    return View(
        start=start,
        end=end,
        last=last,
        interval=interval,
        cut=cut,
        bounds=ends,
        zone=tz,
        agent=query.get(AGENT),
        skill=query.get(SKILL),
        group=query.get(GROUP),
        user_type=query.get(USER_TYPE),
        source=query.get(SOURCE),
        long_minutes=query.get(LONG),
    )


def _zone(name: str) -> ZoneInfo:
    return zone_named(name) or UTC


def _span(query: Query, now: int, zone: ZoneInfo) -> tuple[int, int, str]:
    last = query.get(LAST_PARAMETER)
    given_start, given_end = _millis(query, FROM, zone), _millis(query, TO, zone)
    if given_start is None and given_end is None:
        return *_last(last, now, zone), last
    end = now if given_end is None else given_end
    start = end - LAST.get(last, DAY) if given_start is None else given_start
    if start >= end:
        query.fault(FROM, "must be before to")
        return now - DAY, now, last
    return start, end, ""


def _last(last: str, now: int, zone: ZoneInfo) -> tuple[int, int]:
    if last in LAST:
        return now - LAST[last], now
    midnight = local(now, zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    today = (midnight.replace(tzinfo=zone) - EPOCH) // timedelta(milliseconds=1)
    if last == "today":
        return today, max(now, today + 1)
    before = (midnight - timedelta(days=1)).replace(tzinfo=zone)
    return (before - EPOCH) // timedelta(milliseconds=1), today


def _millis(query: Query, parameter: WallTime, zone: ZoneInfo) -> int | None:
    found = query.get(parameter)
    if isinstance(found, datetime):
        try:
            return (found.replace(tzinfo=zone) - EPOCH) // timedelta(milliseconds=1)
        except OverflowError:
            query.fault(parameter, "must be a moment of the years 1 to 9999")
            return None
    return None if found is None else found.millis


def _cut_of(length: int) -> str:
    return next((cut for most, cut in _AUTO if length <= most), "week")


def _bars(start: int, end: int, cut: str) -> int:
    step = {"hour": HOUR, "day": DAY, "week": 7 * DAY}.get(cut) or int(cut) * MINUTE
    return (end - start) // step


def _bounds(start: int, end: int, cut: str, zone: ZoneInfo) -> list[int]:
    """The ends of the intervals: full hours, days and weeks of the zone, full minutes of its clock."""
    return clock_bounds(start, end, _CALENDAR.get(cut) or int(cut), zone)
