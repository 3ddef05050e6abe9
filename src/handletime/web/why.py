"""`/why`: one conversation as a picture, its segments and units, and event by event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, cast

import msgspec
from litestar import Response, get

from handletime.answers.explained_levels import ServiceLevel, levels_of
from handletime.answers.flat import Namer
from handletime.answers.labels import AccountLabels
from handletime.answers.lead import lead
from handletime.answers.told import paragraphs
from handletime.answers.words import begins_in_the_middle, long_units
from handletime.api.explain import reading_of
from handletime.api.parameters import a_choice, a_text
from handletime.api.ports import Reader
from handletime.api.service import HttpRequest, query_of
from handletime.clock import DAY, MINUTE
from handletime.events.book import millis_of
from handletime.segments.explain import Json, Reading
from handletime.web.elsewhere import elsewhere_of
from handletime.web.page import Asker, Page, ThePage
from handletime.web.picture import MOMENTS_MAX, draw, lines_of
from handletime.web.segments import SEGMENT_NAMES
from handletime.web.sheet import At, Cells, Sheet
from handletime.web.view import View, read_view

CONVERSATION: Final = a_text("conversation", "Whose picture.", required=True)
SEGMENT: Final = a_text("segment", "The segment that is pointed out.")
SCALE: Final = a_choice("scale", "All time to scale, or what is idle folded.", "folded", ("folded", "true"))

WAITS_MAX: Final = 500
"""So many waits are listed with their targets."""


class Asked(NamedTuple):
    """The conversation that an address asks for, and how it is to be shown."""

    view: View
    conversation: str
    segment: str | None
    scale: str
    reading: Reading


def read(request: HttpRequest, page: Page, asker: Asker) -> Asked:
    """Reads the query of an address, and the conversation. Raises BadRequest, NotNow, Refused where there is none."""
    query = query_of(request)
    conversation, segment, scale = query.get(CONVERSATION) or "", query.get(SEGMENT), query.get(SCALE)
    now, targets = page.service.clock.now(), page.service.targets.of(asker.account)
    view = read_view(query, now, asker.clocks)
    query.check()
    page.check_ready()
    return Asked(
        view, conversation, segment, scale, reading_of(asker.reader, asker.account, conversation, targets, now)
    )


@get("/why", sync_to_thread=True, name="why")
def why(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Why one conversation's numbers are so."""
    asker = page.asker(request, "handle-time")
    view, conversation, segment, scale, reading = read(request, page, asker)
    reader = asker.reader
    elsewhere = elsewhere_of(reader, reading, MOMENTS_MAX)
    waits = list(waits_of(reading, segment))
    reader.deadline.check()
    return page.html(
        request,
        "why.html",
        asker,
        view=view,
        explanation=reading.explanation,
        conversation=conversation,
        segment=segment,
        scale=scale,
        lead=lead(reading, asker.labels.text, is_whole=asker.key.scope.is_whole),
        told=paragraphs(reading, asker.labels.text, view.clocks, segment=segment, where=elsewhere.told),
        waits=waits[:WAITS_MAX],
        more_waits=max(len(waits) - WAITS_MAX, 0),
        picture=draw(reading, asker.labels, view.clocks, elsewhere, true=scale == "true"),
        lines=lines_of(reading, asker.labels, view.clocks, elsewhere.places),
        millis_of=millis_of,
        doubts=doubts_of(reading, view.long_minutes),
        blind=[asker.labels.text("agent", agent) for agent in blind_of(reading)],
        last=reading.times[-1],
        more=max(len(reading.times) - MOMENTS_MAX, 0),
    )


class Wait(NamedTuple):
    """A wait of a segment, and what it is to its target; `agent` is None for a wait in the queue."""

    agent: int | None
    skill: int
    level: ServiceLevel
    chosen: bool


def waits_of(reading: Reading, segment: str | None = None) -> Iterator[Wait]:
    """The waits for which there are targets, in the order of their starts."""
    told = reading.explanation
    rows = [*told.queue_segments, *told.agent_segments]
    found = [
        Wait(
            cast("int | None", row.get("agentId")),
            cast(int, row["skillId"]),
            level,
            row.get("segmentId") == (segment or ""),
        )
        for row in rows
        for level in levels_of(row)
    ]
    yield from sorted(found, key=lambda wait: millis_of(wait.level.waiting_since))


def blind_of(reading: Reading) -> list[int]:
    """The agents whose screens sent no focus data, so that their handle time is unknown."""
    segments = reading.explanation.agent_segments
    blind = (row["agentId"] for row in segments if row["userType"] == "human" and not row["focusData"])
    return list(dict.fromkeys(cast(int, agent) for agent in blind))


def doubts_of(reading: Reading, long_minutes: int) -> list[str]:
    """What the data of a conversation are worth, where one should know."""
    doubts = []
    humans = [row for row in reading.explanation.agent_segments if row["userType"] == "human"]
    if reading.begins_in_the_middle:
        doubts.append(
            f"{begins_in_the_middle('The conversation')}. What came before is not known here, "
            "so the first segment may be shorter than it was."
        )
    if any(abs(time) < 365 * DAY for time in reading.times):
        doubts.append("Some of its events are of the year 1970: seconds that were sent as milliseconds?")
    units = [unit for row in humans for unit in cast("list[Json]", row["handleTimeUnits"])]
    if long := sum(cast(int, unit["handleTimeMillis"]) > long_minutes * MINUTE for unit in units):
        doubts.append(long_units(long, long_minutes))
    return doubts


# --- as files --------------------------------------------------------------------------------------------------------


def waits_sheet(asked: Asked, name: Namer) -> Sheet:
    """All waits for which there are targets. `counted` are up to 100 intervals of opening hours, as RFC 3339."""
    rows = []
    for wait in waits_of(asked.reading, asked.segment):
        level, agent = wait.level, wait.agent
        since, until = millis_of(level.waiting_since), millis_of(level.until)
        counted = " ".join(f"{each.start}/{each.end}" for each in level.counted)
        rows.append(
            [
                *(level.clock, agent, None if agent is None else name("agent", agent)),
                *(wait.skill, name("skill", wait.skill), At(since), At(until), until - since, level.elapsed_millis),
                *(level.target_millis, level.verdict, At(millis_of(level.due)) if level.due else None),
                *(level.calendar, counted or None, level.counted_more, level.target),
            ]
        )
    names = (
        *("clock", "agentId", "agent", "skillId", "skill", "waitingSince", "until", "waitMillis", "elapsedMillis"),
        *("targetMillis", "verdict", "due", "calendar", "counted", "countedMore", "target"),
    )
    return _sheet("why-waits", asked, names, rows)


def segments_sheet(asked: Asked, name: Namer) -> Sheet:
    """The agent segments of a conversation as the list of segments has them, and what each of them followed."""
    rows = []
    for row in asked.reading.explanation.agent_segments:
        start, end = _millis(row["start"]), _millis(row["end"])
        knows = row["focusData"] and row["userType"] == "human"
        rows.append(
            [
                *(row["segmentId"], asked.conversation, *_named(row, name), row["userType"], row["source"]),
                *(At(start or 0), end, None if end is None or start is None else end - start),
                *(row["outcome"], row["endReason"], row["totalHandleTimeMillis"] if knows else None, row["focusData"]),
                *(row["follows"], row["firstResponseMillis"], msgspec.json.encode(row["responseMillis"]).decode()),
            ]
        )
    names = (*SEGMENT_NAMES, "follows", "firstResponseMillis", "responseMillis")
    return _sheet("why-segments", asked, names, rows)


def _named(row: Json, name: Namer) -> list[object]:
    agent, skill, group = (cast(int, row[f"{kind}Id"]) for kind in ("agent", "skill", "group"))
    return [
        *(agent, name("agent", agent), row["employeeId"]),
        *(skill, name("skill", skill), group, name("group", group)),
    ]


def _millis(time: object) -> At | None:
    return None if time is None else At(millis_of(time))


def units_sheet(asked: Asked, name: Namer) -> Sheet:
    """The handle-time units of all agent segments."""
    rows = [
        [
            *(row["segmentId"], agent, name("agent", agent), unit["sequence"]),
            *(_millis(unit["start"]), _millis(unit["end"]), unit["handleTimeMillis"]),
            *(unit["startReason"], unit["endReason"]),
        ]
        for row in asked.reading.explanation.agent_segments
        for agent in [cast(int, row["agentId"])]
        for unit in cast("list[Json]", row["handleTimeUnits"])
    ]
    names = (
        *("segmentId", "agentId", "agent", "sequence", "startTime", "endTime", "handleTimeMillis"),
        *("startReason", "endReason"),
    )
    return _sheet("why-units", asked, names, rows)


def events_sheet(reader: Reader, asked: Asked, labels: AccountLabels) -> Sheet:
    """The conversation event by event, all of it: what each did, and whether the time up to the next one counts."""
    reading = asked.reading
    most = len(reading.times)
    places = elsewhere_of(reader, reading, most).places
    lines = lines_of(reading, labels, asked.view.clocks, places, most)
    rows = [
        [
            *(At(at), each.type, line.what, each.event_id, each.no_effect, line.rule, each.lasts_millis),
            *(each.handled_under, each.not_handled_because, ", ".join(map(str, line.elsewhere)) or None),
            line.queue or None,
        ]
        for each, at, line in zip(reading.explanation.moments, reading.times, lines, strict=True)
    ]
    names = (
        *("time", "type", "event", "eventId", "noEffect", "rule", "lastsMillis"),
        *("handledUnder", "notHandledBecause", "elsewhere", "queueSegment"),
    )
    return _sheet("why-events", asked, names, rows)


def _sheet(of: str, asked: Asked, names: Sequence[str], rows: Sequence[Cells]) -> Sheet:
    return Sheet(of, asked.reading.times[0], asked.reading.times[-1], names, rows)
