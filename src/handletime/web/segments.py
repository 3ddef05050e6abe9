"""`/segments`: the agent segments behind a number, page by page, and as a line for curl; `/skill-segments`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from shlex import quote as shell_quoted
from typing import Final, NamedTuple, get_args
from urllib.parse import quote, urlencode

from litestar import Response, get

from handletime.answers.difference import Difference, difference
from handletime.answers.pages import LARGEST_FIRST, Sort, SortKey, count_of, rows_of, skill_rows_of
from handletime.answers.registry import METRICS
from handletime.answers.relations import Snapshot
from handletime.answers.selection import ABANDONED_IN_QUEUE, Selection
from handletime.answers.terms import Table
from handletime.answers.words import OUTCOMES, UNANSWERED_IN_QUEUE
from handletime.api.agent_segments import (
    CONVERSATION,
    EMPLOYEE,
    LIMIT_MAX,
    OFFSET,
    SORT_KEYS,
    pages,
    sort_by,
    sort_text,
)
from handletime.api.csv_table import ROWS_MAX
from handletime.api.parameters import Query, a_choice, a_number
from handletime.api.service import HttpRequest, query_of
from handletime.api.timeframe import AGE_MAX, SPAN_MAX
from handletime.web.page import Asker, Page, ThePage
from handletime.web.view import View

OUTCOME: Final = a_choice("outcome", "Only segments with this outcome.", "", tuple(OUTCOMES))
SORT: Final = sort_by(*get_args(SortKey))
LIMIT: Final = a_number("limit", "So many segments on a page.", 50, least=1, most=LIMIT_MAX)
MEANINGS: Final = {
    "Handle time": "How long the agent looked at the conversation while the consumer waited, or between two of the "
    "agent's own messages in a row. Unknown where the agent's screen sent no focus data",
    "Duration": "From the assignment to the end of the segment",
    "Outcome: interactive": METRICS["interactiveAgentSegments"].meaning,
    "Outcome: non-responsive consumer": METRICS["agentSegmentsWithNonResponsiveConsumers"].meaning,
    "Outcome: non-responsive agent": METRICS["agentSegmentsWithNonResponsiveAgents"].meaning,
    "Outcome: abandoned": METRICS["agentSegmentsAbandonedByConsumers"].meaning,
}
"""What the columns of the list of agent segments mean."""
SKILL_MEANINGS: Final = {
    "Duration": "From the conversation's coming to the skill to its leaving it, or being closed",
    "Outcome: interactive": METRICS["interactiveSkillSegments"].meaning,
    "Outcome: non-responsive consumer": METRICS["skillSegmentsWithNonResponsiveConsumers"].meaning,
    "Outcome: non-responsive agent": METRICS["skillSegmentsWithNonResponsiveAgents"].meaning,
    "Outcome: abandoned": METRICS["skillSegmentsAbandonedByConsumers"].meaning,
    f"Outcome: {UNANSWERED_IN_QUEUE}": METRICS["skillSegmentsAbandonedByConsumersInQueue"].meaning,
}
"""Those of the list of skill segments."""
SEGMENT_NAMES: Final = (
    *("segmentId", "conversationId", "agentId", "agent", "employeeId", "skillId", "skill", "groupId", "group"),
    *("userType", "source", "startTime", "endTime", "durationMillis", "outcome", "endReason"),
    *("totalHandleTimeMillis", "focusData"),
)
"""The columns of agent segments in files."""
HEADINGS: Final[dict[str, SortKey | None]] = {
    "Ended": "Date",
    "Agent": "Agent",
    "Skill": "Skill",
    "Handle time": "HandleTime",
    "Duration": "Duration",
    "Outcome": None,
    "Ended by": None,
    "Conversation": "Conversation",
    "Employee": "Employee",
    "Group": "Group",
}


class SegmentsPage(NamedTuple):
    """The list of segments that an address asks for."""

    view: View
    wanted: Selection
    sort: Sort
    offset: int
    limit: int

    def parameters(self, /, **changes: object) -> dict[str, object | None]:
        """What of the address is this page's own, some of it changed."""
        own: dict[str, object | None] = {
            "outcome": self.wanted.outcome,
            "ConversationId": self.wanted.conversation,
            "EmployeeId": self.wanted.employee,
            "sort": sort_text(self.sort) if self.sort != Sort() else None,
            "offset": self.offset or None,
            "limit": self.limit if self.limit != LIMIT.default else None,
        }
        return own | changes

    def href(self, path: str = "/segments", /, **changes: object) -> str:
        """A link to these segments, with something changed. The span is fixed, so that pages do not move."""
        return self.view.fixed(path, **self.parameters(**changes))

    def sorted_by(self, key: SortKey) -> str:
        """A link to the same segments sorted by a key; in the other direction where they are sorted by it already."""
        descending = not self.sort.descending if key == self.sort.key else key in LARGEST_FIRST
        return self.href(sort=f"{key}:{'desc' if descending else 'asc'}", offset=None)


def read(query: Query, view: View, now: int) -> SegmentsPage:
    """Reads the query of an address, of which the view is read already. Raises BadRequest."""
    wanted = view.agent_segments._replace(
        bounds=(view.start, min(view.end, now)),
        conversation=query.get(CONVERSATION),
        employee=query.get(EMPLOYEE),
        outcome=query.get(OUTCOME) or None,
    )
    asked = SegmentsPage(view, wanted, query.get(SORT), query.get(OFFSET), query.get(LIMIT))
    query.check()
    return asked


@get("/segments", sync_to_thread=True, name="page-segments")
def segments(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The agent segments that an address means."""
    asker = page.asker(request, "handle-time")
    now = page.service.clock.now()
    query = query_of(request)
    asked = read(query, asker.view(query, now, cuts=False), now)
    with asker.reader.snapshot() as snapshot:
        total, found = rows_of(snapshot, asked.wanted, asked.sort, offset=asked.offset, limit=asked.limit)
        rows = list(found)
        differs = _differs(snapshot, asked.view, asked.wanted, "agentSegments", total)
    return page.html(
        request,
        "segments.html",
        asker,
        asked=asked,
        view=asked.view,
        total=total,
        differs=differs,
        rows=rows,
        headings=HEADINGS,
        pages=_pages(asked, total),
        curl=_curl(request, page, asker, asked),
        rows_max=ROWS_MAX,
        meant=MEANINGS,
        no_curl=_why_no_curl(asked, now),
    )


def _differs(snapshot: Snapshot, view: View, wanted: Selection, table: Table, total: int) -> Difference | None:
    """How the number of segments differs from what the view is compared with."""
    before = view.before(wanted)
    if before is None:
        return None
    key = "totalAgentConversationSegments" if table == "agentSegments" else "totalSkillConversationSegments"
    return difference(METRICS[key], total, count_of(snapshot, before, table))


def pages_around(offset: int, limit: int, total: int, href: Callable[[int | None], str]) -> Iterator[tuple[str, str]]:
    """Links to the page before and the one after, where there are any; `href` takes an offset, None for the first."""
    around = pages(offset, limit, total)
    if "previous" in around:
        yield "Previous", href(around["previous"].offset or None)
    if "next" in around:
        yield "Next", href(around["next"].offset)


def _pages(asked: SegmentsPage, total: int) -> dict[str, str]:
    found = dict(pages_around(asked.offset, asked.limit, total, lambda offset: asked.href(offset=offset)))
    if "Previous" in found:
        found["First"] = asked.href(offset=None)
    if "Next" in found:
        found["Last"] = asked.href(offset=(total - 1) // asked.limit * asked.limit)
    return found


def _curl(request: HttpRequest, page: Page, asker: Asker, asked: SegmentsPage) -> str:
    """The curl line that asks the API for the same segments."""
    wanted = asked.wanted
    parameters: dict[str, object | None] = {
        "source": "curl",
        "fromMillis": wanted.start,
        "toMillis": wanted.end,
        "ConversationId": wanted.conversation,
        "AgentId": asked.view.agent,
        "EmployeeId": wanted.employee,
        "SkillId": asked.view.skill,
        "GroupId": asked.view.group,
        "sort": f"{asked.sort.key}:{'desc' if asked.sort.descending else 'asc'}",
        "offset": asked.offset or None,
        "limit": asked.limit,
    }
    given = {name: value for name, value in parameters.items() if value is not None}
    url = (
        f"{page.service.origin(request)}/api/account/{asker.account}/agent-segments?{urlencode(given, quote_via=quote)}"
    )
    return f'curl -H "Authorization: Bearer $HANDLETIME_TOKEN" {shell_quoted(url)}'


def _why_no_curl(asked: SegmentsPage, now: int) -> str:
    """Why the API cannot be asked for the same segments; "" where it can."""
    if asked.wanted.user_type != "human":
        return "The API lists the segments of human agents only."
    if asked.wanted.outcome or asked.wanted.source:
        return "The API knows no filter by outcome or by the conversation's source."
    if asked.sort.key not in SORT_KEYS:
        return "The API knows no order by handle time or duration."
    if asked.wanted.end - asked.wanted.start > SPAN_MAX or asked.wanted.start < now - AGE_MAX:
        return "The API takes up to 7 days at once, of the last 31 days."
    return ""


SKILL_OUTCOME: Final = a_choice("outcome", "Only segments with this outcome.", "", (*OUTCOMES, ABANDONED_IN_QUEUE))


class SkillSegmentsPage(NamedTuple):
    """The list of skill segments that an address asks for."""

    view: View
    wanted: Selection
    outcome: str
    offset: int
    limit: int


def read_skill_segments(query: Query, view: View) -> SkillSegmentsPage:
    """Reads the query of an address, of which the view is read already. Raises BadRequest."""
    outcome, offset, limit = query.get(SKILL_OUTCOME), query.get(OFFSET), query.get(LIMIT)
    query.check()
    wanted = view.skill_segments._replace(outcome=outcome or None)
    return SkillSegmentsPage(view, wanted, outcome, offset, limit)


@get("/skill-segments", sync_to_thread=True, name="page-skill-segments")
def skill_segments(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The skill segments behind a number of the page of skills, newest first."""
    asker = page.asker(request, "operations", without_agent="skill segments")
    query = query_of(request)
    view, wanted, outcome, offset, limit = read_skill_segments(
        query, asker.view(query, page.service.clock.now(), cuts=False)
    )
    with asker.reader.snapshot() as snapshot:
        total, rows = skill_rows_of(snapshot, wanted, offset=offset, limit=limit)
        differs = _differs(snapshot, view, wanted, "skillSegments", total)

    def further(offset: int | None) -> str:
        return view.fixed("/skill-segments", interval=None, outcome=outcome or None, offset=offset)

    return page.html(
        request,
        "skill_segments.html",
        asker,
        view=view,
        total=total,
        differs=differs,
        rows=rows,
        outcome=outcome,
        outcome_text=OUTCOMES.get(outcome, UNANSWERED_IN_QUEUE),
        offset=offset,
        limit=limit,
        pages=dict(pages_around(offset, limit, total, further)),
        meant=SKILL_MEANINGS,
        rows_max=ROWS_MAX,
    )
