"""The tables of the page as files, CSV or workbooks: what is seen, of all pages, in the order in which it is seen.

Tables of metrics are reports (`answers.report`), with the columns of `GET …/report`; so there is no total row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal

from litestar import Response, get

from handletime.answers.flat import MEDIA_TYPES, Shape, workbook, written
from handletime.answers.live import OpenConversation
from handletime.answers.pages import Segment, SkillSegment, rows_of, skill_rows_of
from handletime.answers.registry import METRICS
from handletime.answers.report import Question, Report, Rows
from handletime.answers.words import Kind, local, rfc_3339
from handletime.api.answer import Answer
from handletime.api.csv_table import ROWS_MAX, csv_answer, file_name
from handletime.api.parameters import a_choice
from handletime.api.service import HttpRequest, check_queues, query_of
from handletime.targets.targets import Judged
from handletime.web.figures import HISTORY, Row, sorted_rows, with_numbers
from handletime.web.open import shown_of
from handletime.web.page import HEADERS, Asker, Page, ThePage
from handletime.web.segments import read, read_skill_segments
from handletime.web.tables import in_order, read_listing, tables_of
from handletime.web.view import View, read_view

Form = Literal["csv", "xlsx"]
FORMS: Final[tuple[Form, ...]] = ("csv", "xlsx")
When = Callable[[int], object]
"""How a moment stands in a cell."""
SUFFIX: Final = a_choice("table", "Which table of a page that has two.", "", ("2",))
OF: Final = a_choice("of", "Whose segments; agents' where it is absent.", "", ("skill",))
_ROW_BYTES: Final = 500
"""About what a skill segment takes while a file is made of it."""


def _agents(request: HttpRequest, page: ThePage) -> Response[Any]:
    """A table of the page of agents."""
    return _metrics(request, page, "agent")


def _skills(request: HttpRequest, page: ThePage) -> Response[Any]:
    """A table of the page of skills."""
    return _metrics(request, page, "skill")


def _metrics(request: HttpRequest, page: Page, kind: Kind) -> Response[Any]:
    asker = page.asker(request, "operations")
    query = query_of(request)
    view = read_view(query, page.service.clock.now(), asker.clocks)
    targets = page.service.targets.of(asker.account)
    first, *others = tables_of(kind, view, targets, has_queues=asker.key.scope.has_queues)
    which = next((each for each in others if each.suffix == query.get(SUFFIX)), first)
    listing = read_listing(query, which)
    query.check()
    metrics = tuple(with_numbers(listing.groups))
    of = which.selection(view)
    before = view.before(of)
    question = Question(
        of._replace(bounds=(of.start, of.end)),
        (which.each,),
        metrics=metrics,
        zone=view.zone,
        targets=targets,
        before=None if before is None else before._replace(bounds=(before.start, before.end)),
    )
    form = _form(request)
    answer = _answer(request, asker, form)
    with asker.reader.snapshot() as snapshot:
        found = list(Report(snapshot, question, answer.reserve).rows())
    parts = []
    for part in found:  # One, unless there are none: it has no intervals.
        values = [_values(part, metric.key) for metric in metrics]
        rows = [
            Row(number, {metric.key: column[place] for metric, column in zip(metrics, values, strict=True)}, [])
            for place, number in enumerate(part.keys[which.each].values.tolist())
        ]
        places = {row.number: place for place, row in enumerate(rows)}
        shown = in_order(sorted_rows(rows, listing.key, descending=listing.descending), which, listing, asker.labels)
        parts.append(part.taken([places[row.number] for row in shown]))
    namer = asker.labels.name if page.labels.are_given else None
    for piece in written(asker.reader.deadline.over(parts), Shape(question, namer), form):
        answer.add(piece)
    name = file_name(asker.account, f"{which.kind}s", of.start, of.end, form)
    return _sent(answer, form, name, sum(part.number for part in parts))


def _values(part: Rows, key: str) -> list[Any]:
    column = part.metrics[key]
    values: list[Any] = column.values.tolist()
    if column.there is None:
        return values
    return [value if there else None for value, there in zip(values, column.there.tolist(), strict=True)]


def _history(request: HttpRequest, page: ThePage) -> Response[Any]:
    """What charts show, interval by interval."""
    asker = page.asker(request, "operations")
    query = query_of(request)
    view = read_view(query, page.service.clock.now(), asker.clocks)
    of_skills = query.get(OF) == "skill"
    query.check()
    if of_skills:
        check_queues(asker.key.scope, "skill segments")
    of = view.skill_segments if of_skills else view.agent_segments
    metrics = tuple(METRICS[key] for key in HISTORY["skillSegments" if of_skills else "agentSegments"])
    question = Question(of, in_intervals=True, metrics=metrics, zone=view.zone, before=view.before(of), fill=True)
    form = _form(request)
    answer = _answer(request, asker, form)
    with asker.reader.snapshot() as snapshot:
        rows = Report(snapshot, question, answer.reserve).rows()
        for piece in written(asker.reader.deadline.over(rows), Shape(question), form):
            answer.add(piece)
    name = file_name(asker.account, "history", of.start, of.end, form)
    return _sent(answer, form, name, len(of.bounds) - 1)


# --- lists -----------------------------------------------------------------------------------------------


def _segments(request: HttpRequest, page: ThePage) -> Response[Any]:
    """All pages of the list of agent segments, up to a limit, with the names that the page shows."""
    asker = page.asker(request, "handle-time")
    asked = read(query_of(request), page.service.clock.now(), asker.clocks)
    form = _form(request)
    when = _when(form, asked.view)
    with asker.reader.snapshot() as snapshot:
        total, rows = rows_of(snapshot, asked.wanted, asked.sort, offset=0, limit=ROWS_MAX)
        name = file_name(asker.account, "segments", asked.wanted.start, asked.wanted.end, form)
        cells = (_segment(row, asker, when) for row in rows)
        return _table(request, asker, form, SEGMENT_NAMES, cells, name, total)


def _skill_segments(request: HttpRequest, page: ThePage) -> Response[Any]:
    """All pages of the list of skill segments, up to a limit."""
    asker = page.asker(request, "operations", without_agent="skill segments")
    asked = read_skill_segments(query_of(request), page.service.clock.now(), asker.clocks)
    form = _form(request)
    when = _when(form, asked.view)
    with asker.reader.snapshot() as snapshot:
        total, rows = skill_rows_of(snapshot, asked.wanted, offset=0, limit=ROWS_MAX)
    name = file_name(asker.account, "skill-segments", asked.wanted.start, asked.wanted.end, form)
    cells = (_skill_segment(row, asker, when) for row in rows)
    return _table(request, asker, form, SKILL_SEGMENT_NAMES, cells, name, total, held=_ROW_BYTES * len(rows))


SEGMENT_NAMES: Final = (
    *("segmentId", "conversationId", "agentId", "agent", "employeeId", "skillId", "skill", "groupId", "group"),
    *("userType", "source", "startTime", "endTime", "durationMillis", "outcome", "endReason"),
    *("totalHandleTimeMillis", "focusData"),
)


def _open(request: HttpRequest, page: ThePage) -> Response[Any]:
    """The list of open conversations, all of them."""
    asker = page.asker(request, "operations")
    shown = shown_of(request, page, asker)
    form, at, listed = _form(request), shown["at"], shown["listed"]
    when = _when(form, shown["view"])
    cells = (_open_conversation(row, asker, at, when, shown["urgent"].get(row.id)) for row in listed)
    return _table(request, asker, form, OPEN_NAMES, cells, file_name(asker.account, "open", at, at, form), len(listed))


OPEN_NAMES: Final = (
    *("conversationId", "state", "waitMillis", "waitingSince", "due", "pastDue"),
    *("skillId", "skill", "agentId", "agent", "userType", "source", "focusOf"),
)
SKILL_SEGMENT_NAMES: Final = (
    *("conversationId", "skillId", "skill", "userType", "startTime", "endTime", "durationMillis"),
    *("outcome", "abandonedInQueue", "endReason"),
)


def _segment(row: Segment, asker: Asker, when: When) -> list[object]:
    name = asker.labels.name
    agent, skill, group = name("agent", row.agent), name("skill", row.skill), name("group", row.group)
    handled = row.handle_time if row.focus_data and row.user_type == "human" else None
    ids = [row.segment_id, row.conversation, row.agent, agent, row.employee, row.skill, skill, row.group, group]
    times = [row.user_type, row.source, when(row.start), when(row.end), row.end - row.start]
    return [*ids, *times, row.outcome, row.end_reason, handled, row.focus_data]


def _skill_segment(row: SkillSegment, asker: Asker, when: When) -> list[object]:
    ids = [row.conversation, row.skill, asker.labels.name("skill", row.skill), row.user_type]
    times = [when(row.start), when(row.end), row.end - row.start]
    return [*ids, *times, row.outcome, row.in_queue, row.end_reason]


def _open_conversation(row: OpenConversation, asker: Asker, at: int, when: When, urgent: Judged | None) -> list[object]:
    name, since = asker.labels.name, row.waiting_since
    wait = (None, None) if since is None else (max(at - since, 0), when(since))
    agent: tuple[object, object, object] = (None, None, None)
    if row.agent is not None:
        agent = (row.agent, name("agent", row.agent), "bot" if row.is_bot else "human")
    focus = " ".join(map(str, row.focus)) or None
    due: tuple[object, object] = (None, None)
    if urgent is not None and urgent.due is not None:
        due = (when(urgent.due), urgent.verdict == "pastDue")
    return [row.id, row.state, *wait, *due, row.skill, name("skill", row.skill), *agent, row.source, focus]


# --- files -----------------------------------------------------------------------------------------------------------


def _form(request: HttpRequest) -> Form:
    return "xlsx" if str(request.scope["path"]).endswith(".xlsx") else "csv"


def _when(form: Form, view: View) -> When:
    """Times of CSV are UTC; those of a workbook stand as the clock of the view shows them."""
    return rfc_3339 if form == "csv" else lambda millis: local(millis, view.zone).replace(tzinfo=None)


def _answer(request: HttpRequest, asker: Asker, form: Form) -> Answer:
    return Answer(request, "identity" if form == "xlsx" else None, asker.reader.deadline)


def _table(
    request: HttpRequest,
    asker: Asker,
    form: Form,
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    name: str,
    total: int,
    *,
    held: int = 0,
) -> Response[Any]:
    answer = _answer(request, asker, form)
    answer.reserve(held)
    within: Iterator[Sequence[object]] = asker.reader.deadline.over(rows)
    if form == "csv":
        made = csv_answer(answer, names, within, file_name=name, total=total)
        made.headers.update(HEADERS)
        return made
    for piece in workbook(names, within):
        answer.add(piece)
    return _sent(answer, form, name, total)


def _sent(answer: Answer, form: Form, name: str, total: int) -> Response[Any]:
    headers = {"X-Total-Count": str(total), "Content-Disposition": f'attachment; filename="{name}"'}
    return answer.response(MEDIA_TYPES[form], {**HEADERS, **headers})


EXPORTS: Final = [
    (name, get(f"/{name}.{form}", sync_to_thread=True, name=f"page-{name}-{form}")(table))
    for name, table in {
        "agents": _agents,
        "skills": _skills,
        "segments": _segments,
        "skill-segments": _skill_segments,
        "history": _history,
        "open": _open,
    }.items()
    for form in FORMS
]
"""The routes, one for each table and form, with the table's name."""
