"""`/agent-day`: a day of one agent as bars, a row for each conversation that had the agent's focus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from litestar import Response, get

from handletime.answers.agent_day import AgentDay, OnConversation, Stretch, day_bounds, day_of, total, units_of
from handletime.answers.clocks import Clocks
from handletime.answers.words import OUTSIDE_SCOPE, duration, local
from handletime.api.parameters import Parameter, Wrong
from handletime.api.service import HttpRequest, query_of
from handletime.clock import HOUR
from handletime.web.page import Asker, Page, ThePage
from handletime.web.picture import Scale, Tick
from handletime.web.sheet import FORMS, At, Cells, Sheet
from handletime.web.view import AGENT, View, read_view

SHOWN: Final = 200
"""The most conversations that are shown."""
BARS_MAX: Final = 3_000
"""The most bars that are drawn: nobody could tell more apart."""
IDLE: Final = "idle-gap"
"""How a bar is drawn in which the focus was on no conversation."""
_ROOM: Final = 64.0
"""The width of a bar that has room for its length."""
_BEGIN: Final = 26.0
_ROW: Final = 20.0
_APART: Final = 26.0
_LINES: Final = 24
"""So many rows stand beneath their own hours, so that these are never far away, on paper neither."""
_FIRST, _LAST = date(2000, 1, 1), date(9998, 12, 31)


def _date(text: str) -> date:
    try:
        day = date.fromisoformat(text.strip()) if re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip(), re.ASCII) else None
    except ValueError:
        day = None
    if day is None or not _FIRST <= day <= _LAST:
        raise Wrong(f"must be a date such as 2026-11-20, from {_FIRST} to {_LAST}")
    return day


DAY: Final[Parameter[date | None]] = Parameter(
    "day", "Which day, on the clocks of the time zone.", None, _date, {"type": "string", "format": "date"}
)


class Bar(NamedTuple):
    """A stretch as it is drawn, and what the page says of it."""

    kind: str
    x: float
    width: float
    inset: int
    says: str
    text: str = ""
    """What is written into it, where there is room."""


class Line(NamedTuple):
    """A row of the picture: of a conversation, or of the time without any (`conversation` is "")."""

    name: str
    conversation: str
    y: float
    height: float
    bars: list[Bar]
    totals: str


class Bars(NamedTuple):
    """The picture. `more_bars` says how many are not drawn."""

    lines: list[Line]
    ticks: list[Tick]
    more_bars: int

    @property
    def parts(self) -> list[Part]:
        """The picture in parts that are not too high for a page of paper."""
        found = [self.lines[begin : begin + _LINES] for begin in range(0, len(self.lines), _LINES)]
        return [Part(lines, _BEGIN + len(lines) * _APART + 4) for lines in found]


class Part(NamedTuple):
    """Rows of the picture one below the other, and how high it is with them."""

    lines: list[Line]
    height: float


class Asked(NamedTuple):
    """A day of an agent, and when it begins and ends; `now` is the moment up to which it is known at most."""

    view: View
    agent: int
    day: date
    start: int
    end: int
    now: int
    of_day: AgentDay

    def href(self, path: str, day: date) -> str:
        """A link to another day, or to a table of this one."""
        return f"{path}?{urlencode({'agent': self.agent, 'day': day, 'tz': self.view.zone.key}, quote_via=quote)}"


def read(request: HttpRequest, page: Page, asker: Asker) -> Asked:
    """Reads the day that an address asks for. Raises BadRequest, NotNow."""
    query = query_of(request)
    now = page.service.clock.now()
    view = read_view(query, now, asker.clocks)
    day = query.get(DAY) or local(now, view.zone).date()
    if view.agent is None:
        query.fault(AGENT, "is required")
    query.check()
    agent = view.agent or 0
    start, end = day_bounds(day, view.zone)
    until = max(min(end, now), start)
    reader = asker.reader
    with reader.snapshot() as snapshot:
        units = units_of(snapshot, agent, start, until) if start < until else []
    focus = reader.focus(agent, start, until) if start < until else []
    return Asked(view, agent, day, start, end, now, day_of(focus, units, start, until))


@get("/agent-day", sync_to_thread=True, name="page-agent-day")
def agent_day(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """A day of an agent: which conversations had the focus, and what of it was handle time."""
    asker = page.asker(request, "handle-time")
    asked = read(request, page, asker)
    view, day, of_day = asked.view, asked.day, asked.of_day
    shown = of_day.conversations[:SHOWN]
    before, after = day - timedelta(days=1), day + timedelta(days=1)
    return page.html(
        request,
        "agent_day.html",
        asker,
        view=view,
        agent=asked.agent,
        day=day,
        of_day=of_day,
        hours=(asked.end - asked.start) / HOUR,
        is_over=of_day.end == asked.end,
        shown=shown,
        more=of_day.conversations[SHOWN:],
        picture=draw(of_day, shown, view.clocks),
        before=asked.href("/agent-day", before) if day > _FIRST else "",
        after=asked.href("/agent-day", after) if asked.end <= asked.now and day < _LAST else "",
        day_before=view.clocks.on(before),
        day_after=view.clocks.on(after),
        total=total,
        files={
            of: {form: asked.href(f"/{of}.{form}", day) for form in FORMS}
            for of in ("agent-day", "agent-day-stretches")
        },
    )


def draw(of_day: AgentDay, shown: Iterable[OnConversation], clocks: Clocks) -> Bars:
    """The bars of a day, over the hours in which there was anything to see; time without focus stands in a last row."""
    rows = list(shown)
    begin, end = _hours_of(of_day, rows, clocks.zone)
    scale = Scale((begin, end), true=True)
    lines: list[Line] = []
    left, more = BARS_MAX, 0

    def bars(kind: str, what: str, stretches: Iterable[Stretch], inset: int = 0) -> Iterator[Bar]:
        nonlocal left, more
        for each in stretches:
            cut = Stretch(max(each.start, begin), min(each.end, end))
            if cut.millis <= 0:
                continue
            if not left:
                more += 1
                continue
            left -= 1
            says = f"{what}: {clocks.clock(each.start)} – {clocks.clock(each.end)} · {duration(each.millis)}"
            x = scale.at(cut.start)
            width = max(scale.at(cut.end) - x, 1.0)
            text = duration(each.millis) if kind == IDLE and width >= _ROOM else ""
            yield Bar(kind, x, width, inset, says, text)

    def line(name: str, conversation: str, found: Iterable[Bar], totals: str) -> None:
        lines.append(Line(name, conversation, _BEGIN + len(lines) % _LINES * _APART, _ROW, list(found), totals))

    for row in rows:
        found = [*bars("focus", "focus", row.focus), *bars("unit", "handle-time unit", row.units, inset=4)]
        handled = duration(row.handle_time_ms) if row.units else "–"
        line(row.id, row.id, found, f"{duration(row.focus_ms)} · {handled}")
    if of_day.idle:
        line("idle", "", bars(IDLE, "idle, on no conversation", of_day.idle), duration(total(of_day.idle)))
    if of_day.outside:
        line("others", "", bars("not-handled", OUTSIDE_SCOPE, of_day.outside), duration(total(of_day.outside)))
    if of_day.unknown:
        line("unknown where", "", bars("unknown", "unknown where", of_day.unknown), duration(total(of_day.unknown)))
    return Bars(lines, list(scale.ticks(clocks)), more)


def _hours_of(of_day: AgentDay, rows: Iterable[OnConversation], zone: ZoneInfo) -> Stretch:
    """The hours of the day, by its clock, from the first to the last in which the agent had a conversation."""
    times = [moment for row in rows for each in (*row.focus, *row.units) for moment in each]
    if not times:
        return Stretch(of_day.start, max(of_day.end, of_day.start + 1))
    first, last = min(times), max(times)
    past, rest = _past_the_hour(first, zone), _past_the_hour(last, zone)
    return Stretch(max(first - past, of_day.start), min(last - rest + HOUR if rest else last, of_day.end))


def _past_the_hour(moment: int, zone: ZoneInfo) -> int:
    at = local(moment, zone)
    return (at.minute * 60 + at.second) * 1000 + at.microsecond // 1000


# --- as files --------------------------------------------------------------------------------------------------------


def conversations_sheet(asked: Asked) -> Sheet:
    """The conversations of a day, in order, and the time on none of them, on others, or of which it is not known."""
    of_day = asked.of_day
    rows: list[Cells] = [
        [
            *("conversation", each.id, At(each.begin), At(each.last), len(each.focus), each.focus_ms),
            *(len(each.units), each.handle_time_ms if each.units else None),
        ]
        for each in of_day.conversations
    ]
    if of_day.has_focus_data:
        rows += [
            [on, None, None, None, len(stretches), total(stretches), None, None]
            for on, stretches in _elsewhere(of_day).items()
            if stretches or on == IDLE_ON
        ]
    names = (
        *("focusOn", "conversationId", "firstTime", "lastTime", "focusStretches", "focusMillis"),
        *("handleTimeUnits", "totalHandleTimeMillis"),
    )
    return Sheet("agent-day", of_day.start, of_day.end, names, rows)


IDLE_ON: Final = "noConversation"


def _elsewhere(of_day: AgentDay) -> dict[str, list[Stretch]]:
    return {
        IDLE_ON: of_day.idle,
        "beforeFirstAndAfterLast": of_day.apart,
        "outsideScope": of_day.outside,
        "unknown": of_day.unknown,
    }


def stretches_sheet(asked: Asked) -> Sheet:
    """What the picture of a day draws, by time: each stretch of focus, each handle-time unit, each idle gap."""
    of_day = asked.of_day
    found: list[tuple[Stretch, str, str, str | None]] = []
    for each in of_day.conversations:
        found += [(stretch, "focus", "conversation", each.id) for stretch in each.focus]
        found += [(stretch, "handleTimeUnit", "conversation", each.id) for stretch in each.units]
    if of_day.has_focus_data:
        found += [(stretch, "focus", on, None) for on, all_ in _elsewhere(of_day).items() for stretch in all_]
    found.sort(key=lambda each: each[:2])
    rows = [[what, on, id_, At(each.start), At(each.end), each.millis] for each, what, on, id_ in found]
    names = ("stretch", "focusOn", "conversationId", "startTime", "endTime", "durationMillis")
    return Sheet("agent-day-stretches", of_day.start, of_day.end, names, rows)
