"""What a page shows, as its address says: a span of time, its intervals, and the filters."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes, urlencode
from zoneinfo import ZoneInfo

import msgspec
from markupsafe import Markup

from handletime.answers.clocks import ISO, Clocks
from handletime.answers.intervals import Interval, begin_of_day, clock_bounds
from handletime.answers.labels import KINDS, AccountLabels
from handletime.answers.periods import (
    COMPARISONS,
    PERIODS,
    Compare,
    compare_of,
    compared_bounds,
    comparison_named,
    period_named,
    window_of,
)
from handletime.answers.selection import Selection, one
from handletime.answers.words import Kind, local, offset_of, which_of_two
from handletime.api.operations import UTC, a_zone
from handletime.api.parameters import (
    ALL,
    Moment,
    Parameter,
    Query,
    Wrong,
    a_choice,
    a_number,
    a_text,
    an_id,
    moment_of,
)
from handletime.clock import DAY, HOUR, MINUTE, zone_named
from handletime.events.model import EPOCH, MILLIS_MIN, TIME_MAX, TIME_MIN
from handletime.segments import LONG_UNIT_MINUTES
from handletime.web.sheet import FORMS

LAST: Final = {"1h": HOUR, "8h": 8 * HOUR, "24h": DAY, "7d": 7 * DAY, "31d": 31 * DAY}
SPANS: Final = {
    "today": "today",
    "yesterday": "yesterday",
    "last-7-days": "last 7 days",
    "this-week": "this week",
    "last-week": "last week",
    "this-month": "this month",
    "last-month": "last month",
    "1h": "last hour",
    "8h": "last 8 hours",
    "24h": "last 24 hours",
    "7d": "last 7 × 24 h",
    "31d": "last 31 × 24 h",
}
"""The values of `last` and their names on the page: what the calendar of the time zone says, then what moves with the
time.
"""
IN_LINE: Final = ("today", "yesterday", "this-week", "last-week", "this-month", "last-month")
"""The spans that are seen in the form; the others are in a list beneath."""
COMPARED: Final[dict[Compare, str]] = {
    "previous": "the period before",
    "week": "a week before",
    "four-weeks": "four weeks before",
    "month": "the same dates a month before",
    "year": "a year (52 weeks) before",
}
"""What a span is compared with, and its name."""
_BEFORE: Final[dict[str, tuple[str, Compare]]] = {
    "today": ("yesterday", "previous"),
    "yesterday": ("the day before", "previous"),
    "last-7-days": ("the 7 days before", "week"),
    "this-week": ("last week", "week"),
    "last-week": ("the week before", "week"),
    "this-month": ("last month", "month"),
    "last-month": ("the month before", "month"),
}
"""What the period before is called, by the value of `last`, and which other comparison is the same."""
USER_TYPES: Final = {
    "": {"": "human", "bot": "bot", "all": "all"},
    "/skills": {"": "human; of skill segments all", "human": "human", "bot": "bot", "all": "all"},
    "/skill-segments": {"": "all", "human": "human", "bot": "bot"},
}
"""The values of `userType` by page, with their names in the form; the first one is the default."""
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
NAMED_MAX: Final = 10
"""The most ids that are named where a name is not unique."""
HUMAN: Final = "human"
"""The default user type of agent segments: bots answer at once, and handle nothing."""
_CALENDAR: Final[dict[str, Interval]] = {"hour": "hour", "day": "day", "week": "week"}
_FIRST: Final = TIME_MIN + 366 * DAY
_LAST: Final = TIME_MAX - 366 * DAY
"""The bounds of spans: near the edges of the calendar, clocks, days and weeks could lie beyond it."""
_SPAN_MAX: Final = BARS_MAX * 7 * DAY
_AUTO: Final = ((2 * HOUR, "5"), (9 * HOUR, "15"), (3 * DAY, "hour"), (70 * DAY, "day"))
"""The default interval of a span up to each length."""


_WALL_TIME: Final = "must be a date and a time of day (2026-11-20T09:00), with an offset or not, or epoch milliseconds"


WallTime = Moment | datetime
"""A moment as the API takes it, or one without an offset, which is on the clocks of the page's time zone."""


def _wall_time(text: str) -> WallTime:
    """Raises Wrong."""
    try:
        naive = datetime.fromisoformat(text)
    except ValueError:
        naive = None
    if naive is not None and naive.tzinfo is None and len(text) >= len("2026-11-20T09:00"):
        return naive
    try:
        return moment_of(text)
    except Wrong as error:
        if text.isdecimal():
            raise
        raise Wrong(_WALL_TIME) from error


def _a_wall_time(name: str, meaning: str) -> Parameter[WallTime | None]:
    return Parameter(name, meaning, None, _wall_time, {"type": "string"})


LAST_PARAMETER: Final = a_choice("last", "The last hours or days.", "24h", tuple(SPANS))
FROM: Final = _a_wall_time("from", "From here on, instead of `last`.")
TO: Final = _a_wall_time("to", "Up to here.")
FROM_OFFSET: Final = a_text("fromOffset", "Which of two, where clocks show `from` twice.", pattern=r"[+ -][0-9:]{5,8}")
TO_OFFSET: Final = a_text("toOffset", "Which of two, where clocks show `to` twice.", pattern=r"[+ -][0-9:]{5,8}")
INTERVAL: Final = a_choice("interval", "How the span is cut.", "auto", tuple(INTERVALS))
AGENT: Final = an_id("agent", "Only this agent.")
SKILL: Final = an_id("skill", "Only this skill.")
GROUP: Final = an_id("group", "Only this agent group.")
USER_TYPE: Final = a_choice("userType", "Human agents, or bots.", HUMAN, (HUMAN, "bot", ALL))
SOURCE: Final = a_text("source", "Only conversations that started there, in any letter case.")
ZONE: Final = a_zone("tz", "Whose clocks the times are.")
COMPARE: Final = a_choice("compare", "What the figures are compared with.", "", COMPARISONS)
LONG: Final = a_number("long", "Minutes beyond which a unit is called long.", LONG_UNIT_MINUTES, least=1, most=10_080)


_quoted: Final = lru_cache(maxsize=1024)(quote)
"""A page has a thousand links, and they hardly differ."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time [start, end) in epoch milliseconds, its cuts and filters. `last` is "" where it is fixed.

    `parts` are the places of the intervals that the span, or the time that has passed, holds only a part of.
    `user_type` is whose agent segments count: humans' where the address says nothing (`user_type_given`).
    """

    start: int
    end: int
    last: str
    interval: str
    cut: str
    bounds: list[int]
    parts: frozenset[int]
    clocks: Clocks
    agent: int | None
    skill: int | None
    group: int | None
    user_type: str
    user_type_given: bool
    source: str | None
    long_minutes: int
    compare: Compare | None = None
    compared: tuple[int, ...] = ()
    """The bounds of what the span is compared with, as far as the span has passed; empty where it is not compared."""
    has_nothing_before: bool = False
    """Whether it is not compared since what it should be compared with lies before all data."""

    @property
    def zone(self) -> ZoneInfo:
        """The time zone whose days and hours count."""
        return self.clocks.zone

    def moment(self, millis: int, *, seconds: bool = True) -> str:
        """A moment for the text of a page: marked as of the reader's language, where that is not English."""
        return self._marked(self.clocks.moment(millis, seconds=seconds))

    def date(self, day: date) -> str:
        """A date with its weekday, for the text of a page."""
        return self._marked(self.clocks.on(day, weekday=True))

    def clock(self, millis: int) -> str:
        """The time of day to the millisecond, for the text of a page."""
        return self._marked(self.clocks.clock(millis))

    def beside(self, known: int, millis: int) -> str:
        """A moment beside one that is known, for the text of a page: the time alone where the date is the same."""
        return self._marked(self.clocks.beside(known, millis))

    def _marked(self, text: str) -> str:
        if not self.clocks.has_foreign_words:
            return text
        return Markup('<span lang="{}">{}</span>').format(self.clocks.tag, text)

    # Positional only: whatever somebody put into an address may be among the changes.
    def parameters(self, /, **changes: object) -> dict[str, str]:
        """The address's parameters, some of them changed; None leaves one out. The time zone is always there."""
        span: dict[str, object | None] = {"last": self.last if self.last != "24h" else None}
        if not self.last:
            span = {"from": self.start, "to": self.end}
        given: dict[str, object | None] = {
            **span,
            "interval": self.interval if self.interval != "auto" else None,
            "tz": self.zone.key,
            "agent": self.agent,
            "skill": self.skill,
            "group": self.group,
            "userType": self.user_type if self.user_type_given else None,
            "source": self.source,
            "long": self.long_minutes if self.long_minutes != LONG_UNIT_MINUTES else None,
            "compare": self.compare,
        }
        given |= changes
        for name in ("from", "to"):
            at = given.get(name)
            if isinstance(at, int) and at < MILLIS_MIN:
                given[name] = Moment(at)  # no number means a time before 2000
        return {name: str(value) for name, value in given.items() if value is not None}

    def href(self, path: str, /, **changes: object) -> str:
        """A link to a page with this view, some of it changed."""
        return f"{path}?{urlencode(self.parameters(**changes), quote_via=_quoted)}"

    def bare(self, path: str) -> str:
        """A link to a page without any choice, in the same time zone."""
        return f"{path}?{urlencode({'tz': self.zone.key}, quote_via=quote)}"

    def fixed(self, path: str, /, **changes: object) -> str:
        """The same view with its span fixed, so that it does not move with the time."""
        span = {
            "last": None,
            "from": self.start,
            "to": self.end,
            "compare": compare_of(self.compare, period_named(self.last)),
        }
        return self.href(path, **(span | changes))

    def files(self, path: str, /, **changes: object) -> dict[str, str]:
        """The addresses of a table of this view as files, by form."""
        return {form: self.fixed(f"{path}.{form}", **changes) for form in FORMS}

    @property
    def span_text(self) -> str:
        """The span in words."""
        if self.last in ("today", "yesterday"):
            return f"{self.last.capitalize()}, {self.clocks.day(self.start, weekday=True)}"
        if self.last in PERIODS:
            days = dict.fromkeys(self.clocks.day(each, weekday=True) for each in (self.start, self.end - 1))
            return f"{SPANS[self.last].capitalize()}, {' – '.join(days)}"
        if self.last:
            return f"The {SPANS[self.last]}"
        return from_to(self.start, self.end, self.clocks)

    @property
    def comparisons(self) -> dict[Compare, str]:
        """What the span can be compared with, by the names that fit it, the period before first; each but once."""
        name, same = _BEFORE.get(self.last, (COMPARED["previous"], "previous"))
        left_out = {same} - {"previous", self.compare}
        names: dict[Compare, str] = {**COMPARED, "previous": name}
        return {each: text for each, text in names.items() if each not in left_out}

    @property
    def compared_text(self) -> str:
        """What the span is compared with, in words; "" where it is not."""
        return from_to(self.compared[0], self.compared[-1], self.clocks) if self.compared else ""

    @property
    def is_filtered(self) -> bool:
        """Whether anything but the span and the time zone was chosen."""
        filters = (self.agent, self.skill, self.group, self.source)
        return self.user_type_given or any(each is not None for each in filters)

    @property
    def given_user_type(self) -> str:
        """The user type that was asked for; all where none was. For rows without an agent, or with several."""
        return self.user_type if self.user_type_given else ALL

    @property
    def start_field(self) -> Field:
        """The start, for a field of a form."""
        return field_of(self.start, self.zone)

    @property
    def end_field(self) -> Field:
        """The end."""
        return field_of(self.end, self.zone)

    @property
    def agent_segments(self) -> Selection:
        """The selection of agent segments."""
        return Selection(
            self.bounds,
            agents=one(self.agent),
            skills=one(self.skill),
            groups=one(self.group),
            user_type=None if self.user_type == ALL else self.user_type,
            source=self.source,
        )

    def before(self, of: Selection) -> Selection | None:
        """The same selection of what the span is compared with; None where it is not."""
        return of._replace(bounds=self.compared) if self.compared else None

    @property
    def open_conversations(self) -> Selection:
        """The open conversations that are meant: of all user types if none is given, since in queue they have none."""
        user_type = None if self.given_user_type == ALL else self.given_user_type
        return self.agent_segments._replace(user_type=user_type)

    @property
    def skill_segments(self) -> Selection:
        """The selection of skill segments: these have a skill and a user type, but no agent, group or source.

        Segments of every user type count unless one was asked for: many have several agents, or none.
        """
        user_type = None if self.given_user_type == ALL else self.given_user_type
        return Selection(self.bounds, skills=one(self.skill), user_type=user_type)


def from_to(start: int, end: int, clocks: Clocks) -> str:
    """A stretch of time in words: of whole days the first and the last."""
    if days_of(start, end, clocks.zone):
        first, last = (clocks.day(each, weekday=True) for each in (start, end - 1))
        return first if first == last else f"{first} – {last}"
    return f"{clocks.moment(start, seconds=False)} – {clocks.moment(end, seconds=False)}"


def days_of(start: int, end: int, zone: ZoneInfo) -> tuple[date, date] | None:
    """The first and the last day of a stretch of time; None where it is not of whole days."""
    if start < end and all(begin_of_day(local(each, zone).date(), zone) == each for each in (start, end)):
        return local(start, zone).date(), local(end - 1, zone).date()
    return None


class Field(msgspec.Struct, frozen=True):
    """A moment as the value of a date-and-time field. `step` in seconds is as fine as the moment.

    `offsets` are both offsets where the clocks show this time twice, else empty; `offset` is the right one.
    """

    value: str
    step: str
    offset: str
    offsets: tuple[str, ...]


def field_of(millis: int, zone: ZoneInfo) -> Field:
    """A moment on the clocks of a zone, to the millisecond."""
    at = local(millis, zone)
    fine = (at.microsecond > 0, at.second > 0)
    spec, step = ("milliseconds", "0.001") if fine[0] else ("seconds", "1") if fine[1] else ("minutes", "60")
    twice = which_of_two(at)
    offsets = tuple(offset_of(at.replace(fold=fold)) for fold in (0, 1)) if twice else ()
    return Field(at.replace(tzinfo=None).isoformat(timespec=spec), step, offset_of(at), offsets)


def read_view(query: Query, now: int, clocks: Clocks = ISO, *, cuts: bool = True) -> View:
    """The view that an address means; `clocks` are the browser's. Faults are noted in the query.

    `cuts` says that the page cuts the span in intervals, which limits its length.
    """
    tz = query.get(ZONE) if query.has(ZONE) else clocks.zone
    start, end, last = _span(query, now, tz)
    interval = query.get(INTERVAL)
    cut = interval if interval != "auto" else _cut_of(end - start)
    is_cut = cuts and start < end and _bars(start, end, cut) <= BARS_MAX
    if cuts and end - start > _SPAN_MAX:
        query.fault(FROM, f"must be at most {BARS_MAX:,} weeks (19 years) before to")
    elif cuts and not is_cut:
        query.fault(INTERVAL, f"must cut the span in at most {BARS_MAX} intervals; choose a longer one")
    ends = _bounds(start, end, cut, tz) if is_cut else [start, end]
    compare = comparison_named(query.get(COMPARE))
    meant = compare_of(compare, period_named(last))
    return View(
        start=start,
        end=end,
        last=last,
        interval=interval,
        cut=cut,
        bounds=ends,
        parts=_parts(ends, cut, tz, now) if is_cut else frozenset(),
        clocks=clocks._replace(zone=tz),
        agent=query.get(AGENT),
        skill=query.get(SKILL),
        group=query.get(GROUP),
        user_type=query.get(USER_TYPE),
        user_type_given=query.has(USER_TYPE),
        source=query.get(SOURCE),
        long_minutes=query.get(LONG),
        compare=compare,
        compared=_compared(ends, meant, _interval(cut) if is_cut else None, tz, now),
    )


class Settled(msgspec.Struct, frozen=True):
    """A query in which nothing is left open, and a fault for each part for which that was not possible."""

    query: str
    causes: list[str]


def settled(query_string: bytes, zone: ZoneInfo, labels: AccountLabels) -> Settled:
    """An address's query as it can be shared: with the time zone, and ids in the place of names.

    The beginning of a name, or a part, is enough where only one name has it. A name that nobody or several have stays,
    with a fault. Empty parameters are left out; all others stay as they are.
    """
    fields = [field for field in query_string.split(b"&") if field.partition(b"=")[2]]
    kept, causes = [], []
    for field in fields:
        name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in field.partition(b"="))
        kind = next((each for each in KINDS if each.encode() == name.lower()), None)
        text = value.decode(errors="replace").strip()
        if not text:
            continue
        if kind is None or _is_number(text):
            kept.append(quote_from_bytes(field, safe="=%+!$'()*,-./:;@_~?"))
            continue
        found = labels.meant(kind, text)
        if len(found) == 1:
            kept.append(f"{kind}={found[0]}")
        else:
            kept.append(f"{kind}={quote(text, safe='')}")
            causes.append(f"{kind}: {_unclear(kind, text, labels)}")
    if not any(unquote_to_bytes(field.partition(b"=")[0]).lower() == b"tz" for field in fields):
        kept.append(f"tz={quote(zone.key, safe='')}")
    return Settled("&".join(kept), causes)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal()


def _unclear(kind: Kind, text: str, labels: AccountLabels) -> str:
    """The fault of a name that several have, or nobody."""
    found = labels.called(kind, text)
    if found:
        more = f" and {len(found) - NAMED_MAX:,} more" if len(found) > NAMED_MAX else ""
        ids = ", ".join(map(str, found[:NAMED_MAX]))
        return f"{len(found):,} {kind}s are called “{text}”: {ids}{more}; give the id of one"
    like = labels.like(kind, text)
    if not like:
        return f"no {kind} is called “{text}”; give a name of the labels, or an id"
    names = ", ".join(f"{labels.text(kind, number)} ({number})" for number in like[:NAMED_MAX])
    more = f" and {len(like) - NAMED_MAX:,} more" if len(like) > NAMED_MAX else ""
    return f"no {kind} is called “{text}”, but there is {names}{more}"


def zone_of(name: str) -> ZoneInfo:
    """The time zone that a browser named; UTC where it named none that is known."""
    return zone_named(name) or UTC


def _span(query: Query, now: int, zone: ZoneInfo) -> tuple[int, int, str]:
    last = query.get(LAST_PARAMETER)
    # Of a time that comes twice the span has as much as it can, unless the address says which.
    given_start = _millis(query, FROM, query.get(FROM_OFFSET), zone, fold=0)
    given_end = _millis(query, TO, query.get(TO_OFFSET), zone, fold=1)
    if given_start is None and given_end is None:
        return *_last(last, now, zone), last
    end = now if given_end is None else given_end
    start = end - LAST.get(last, DAY) if given_start is None else given_start
    if start >= end:
        query.fault(FROM, "must be before to" if given_end is not None else "must be before now, if to is not given")
        return now - DAY, now, last
    return start, end, ""


def _last(last: str, now: int, zone: ZoneInfo) -> tuple[int, int]:
    if last in LAST:
        return now - LAST[last], now
    (period,) = (each for each in PERIODS if each == last)
    start, end = window_of(period, now, zone)
    return start, max(end, start + 1)


def _millis(
    query: Query, parameter: Parameter[WallTime | None], offset: str | None, zone: ZoneInfo, *, fold: int
) -> int | None:
    found = query.get(parameter)
    if found is None:
        return None
    millis = found.millis if isinstance(found, Moment) else _on_the_clock(found, offset, zone, fold)
    if _FIRST <= millis < _LAST:
        return millis
    query.fault(parameter, "must be a moment of the years 2 to 9998")
    return None


def _on_the_clock(wall: datetime, offset: str | None, zone: ZoneInfo, fold: int) -> int:
    """The moment at which a zone's clocks show a time. For a time shown twice: at this offset, else by `fold`."""
    at = wall.replace(tzinfo=zone, fold=fold)
    if not which_of_two(at):
        at = at.replace(fold=0)
    elif offset is not None:
        both = {offset_of(each): each for each in (at.replace(fold=0), at.replace(fold=1))}
        at = both.get(offset.replace(" ", "+"), at)
    return (at - EPOCH) // timedelta(milliseconds=1)


def _cut_of(length: int) -> str:
    return next((cut for most, cut in _AUTO if length <= most), "week")


def _bars(start: int, end: int, cut: str) -> int:
    step = {"hour": HOUR, "day": DAY, "week": 7 * DAY}.get(cut) or int(cut) * MINUTE
    return (end - start) // step


def _bounds(start: int, end: int, cut: str, zone: ZoneInfo) -> list[int]:
    """The borders of the intervals: full hours, days and weeks of the zone, full minutes of its clock."""
    return clock_bounds(start, end, _interval(cut), zone)


def _compared(
    ends: list[int], compare: Compare | None, interval: Interval | None, zone: ZoneInfo, now: int
) -> tuple[int, ...]:
    """The bounds of what a span is compared with, as far as it has passed."""
    end = min(ends[-1], now)
    passed = [*(bound for bound in ends if bound < end), end]
    return () if compare is None or len(passed) < 2 else tuple(compared_bounds(passed, compare, interval, zone))


def _interval(cut: str) -> Interval:
    return _CALENDAR.get(cut) or int(cut)


def _parts(ends: list[int], cut: str, zone: ZoneInfo, now: int) -> frozenset[int]:
    """The places of partial intervals: the first and the last may be cut off, others may not be over yet."""
    whole = [end in _bounds(end - 1, end + 1, cut, zone)[1:-1] for end in (ends[0], ends[-1])]
    cut_off = {place for place, is_whole in zip((0, len(ends) - 2), whole, strict=True) if not is_whole}
    return frozenset(cut_off | {place for place, end in enumerate(ends[1:]) if end > now})
