"""`/why`: one conversation as a picture, its segments and units, and event by event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, cast

from litestar import Response, get

from handletime.answers.explained_levels import ServiceLevel, levels_of
from handletime.answers.told import paragraphs
from handletime.answers.words import begins_in_the_middle, long_units
from handletime.api.explain import reading_of
from handletime.api.parameters import a_choice, a_text
from handletime.api.service import HttpRequest, query_of
from handletime.clock import DAY, MINUTE
from handletime.segments.explain import Json, Reading
from handletime.web.elsewhere import elsewhere_of
from handletime.web.page import ThePage
from handletime.web.picture import MOMENTS_MAX, draw, lines_of, millis_of
from handletime.web.view import read_view

CONVERSATION: Final = a_text("conversation", "Whose picture.", required=True)
SEGMENT: Final = a_text("segment", "The segment that is pointed out.")
SCALE: Final = a_choice("scale", "All time to scale, or what is idle folded.", "folded", ("folded", "true"))

WAITS_MAX: Final = 500
"""So many waits are listed with their targets."""


@get("/why", sync_to_thread=True, name="why")
def why(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Why one conversation's numbers are so."""
    asker = page.asker(request, "handle-time")
    query = query_of(request)
    conversation, segment, scale = query.get(CONVERSATION), query.get(SEGMENT), query.get(SCALE)
    now, targets = page.service.clock.now(), page.service.targets.of(asker.account)
    view = read_view(query, now, asker.clocks)
    query.check()
    page.check_ready()
    reader = asker.reader
    reading = reading_of(reader, asker.account, conversation or "", targets, now)
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
