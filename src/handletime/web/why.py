"""`/why`: one conversation as a picture, its segments and units, and event by event."""

from __future__ import annotations

from typing import Final, cast

from litestar import Response, get

from handletime.api.errors import Refused
from handletime.api.parameters import Choice, Text
from handletime.api.service import HttpRequest, query_of
from handletime.durations import DAY
from handletime.segments.explain import Explanation, Json, explain
from handletime.web.meanwhile import meanwhile_of
from handletime.web.page import ThePage
from handletime.web.picture import MOMENTS_MAX, draw, lines_of, millis_of, times_of
from handletime.web.view import read_view

CONVERSATION: Final = Text("conversation", "Whose picture.", required=True)
SEGMENT: Final = Text("segment", "The segment that is pointed out.")
SCALE: Final = Choice("scale", "All time to scale, or what is idle folded.", "folded", choices=("folded", "true"))


@get("/why", sync_to_thread=True, name="why")
def why(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Why one conversation's numbers are so."""
    asker = page.asker(request, "handle-time")
    query = query_of(request)
    conversation, segment, scale = query.get(CONVERSATION), query.get(SEGMENT), query.get(SCALE)
    view = read_view(query, page.service.clock.now(), asker.session.zone)
    query.check()
    page.check_ready()
    reader = page.reader(asker)
    prepared = reader.prepared(conversation or "")
    if prepared is None:
        raise Refused(404, "There is no such conversation.")
    explanation = explain(prepared, asker.account, conversation or "", reader.deadline)
    meanwhile = meanwhile_of(reader, explanation, times_of(explanation))
    reader.deadline.check()
    return page.html(
        request,
        "why.html",
        asker,
        view=view,
        explanation=explanation,
        conversation=conversation,
        segment=segment,
        scale=scale,
        picture=draw(explanation, asker.labels, view.zone, meanwhile, true=scale == "true"),
        lines=lines_of(explanation, asker.labels, view.zone, meanwhile),
        millis_of=millis_of,
        doubts=doubts_of(explanation, view.long_minutes),
        more=max(len(explanation.moments) - MOMENTS_MAX, 0),
    )


def doubts_of(explanation: Explanation, long_minutes: int) -> list[str]:
    """What the data of a conversation are worth, where one should know."""
    doubts = []
    beside = ("message", "focused", "unfocused", "focusLost", "leaseEnded", "withdrawn")
    opening = next((each for each in explanation.moments if each.type not in beside), None)
    if opening is not None and opening.type != "opened":
        doubts.append(
            f"The conversation begins in the middle: its first event is “{opening.type}”. "
            "What came before is not known here, so the first segment may be shorter than it was."
        )
    if any(abs(time) < 365 * DAY for time in times_of(explanation)):
        doubts.append("Some of its events are of the year 1970: seconds that were sent as milliseconds?")
    blind = [row for row in explanation.agent_segments if row["userType"] == "human" and not row["focusData"]]
    if blind:
        doubts.append(
            "There is no focus data of an agent: the handle time of that agent's segments is unknown, not zero."
        )
    long = [unit for unit in _units(explanation) if cast(int, unit["handleTimeMillis"]) > long_minutes * 60_000]
    if long:
        doubts.append(
            f"{len(long)} handle-time unit{'s are' if len(long) > 1 else ' is'} longer than {long_minutes} minutes: "
            "a focus that nobody ended?"
        )
    return doubts


def _units(explanation: Explanation) -> list[Json]:
    return [unit for row in explanation.agent_segments for unit in cast("list[Json]", row["handleTimeUnits"])]
