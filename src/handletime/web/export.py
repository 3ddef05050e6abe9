"""The tables of the page as files, CSV or workbooks: what is seen, of all pages, in the order in which it is seen.

Tables of metrics are reports (`answers.report`), with the columns of `GET …/report`; so there is no total row.
Of every other table the view that shows it makes a `Sheet` from what it has read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

from litestar import Response, get

from handletime.answers.flat import MEDIA_TYPES, Shape, cells_of, names_of, texts
from handletime.answers.live import Now, OpenConversation
from handletime.answers.pages import Segment, SkillSegment, rows_of, skill_rows_of
from handletime.answers.registry import METRICS
from handletime.answers.report import Question, Report, Rows
from handletime.answers.selection import Selection
from handletime.answers.words import CLOCKS, Kind, local, rfc_3339
from handletime.answers.workbook import workbook
from handletime.api.answer import Answer
from handletime.api.csv_table import ROWS_MAX, csv_answer
from handletime.api.operations import UTC
from handletime.api.parameters import a_choice
from handletime.api.service import HttpRequest, check_queues, query_of
from handletime.targets.targets import Judged
from handletime.web import agent_day, board, one_agent, weekdays, why
from handletime.web.book import TITLES, TableFile, chosen_of, headings_of
from handletime.web.figures import HISTORY, Row, slowest_sheet, sorted_rows, with_numbers
from handletime.web.now import board_of
from handletime.web.open import CHOICES, shown_of
from handletime.web.page import HEADERS, Asker, Page, ThePage
from handletime.web.segments import SEGMENT_NAMES, read, read_skill_segments
from handletime.web.sheet import FORMS, At, Cells, Form, Sheet
from handletime.web.tables import in_order, read_listing, tables_of
from handletime.web.view import AGENT, View
from handletime.web.waits import VERDICTS, read_waits, waits_sheet

SUFFIX: Final = a_choice("table", "Which table of a page that has two.", "", ("2",))
_Handler = Callable[[HttpRequest, Page], Response[Any]]
OF: Final = a_choice("of", "Whose segments; agents' where it is absent.", "", ("skill",))
_ROW_BYTES: Final = 500
"""About what a skill segment or a wait takes while a file is made of it."""


def _agents(request: HttpRequest, page: ThePage) -> Response[Any]:
    """A table of the page of agents."""
    return _metrics(request, page, "agent")


def _skills(request: HttpRequest, page: ThePage) -> Response[Any]:
    """A table of the page of skills."""
    return _metrics(request, page, "skill")


def _metrics(request: HttpRequest, page: Page, kind: Kind) -> Response[Any]:
    asker = page.asker(request, "operations")
    query = query_of(request)
    view = asker.view(query, page.service.clock.now())
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
    answer = _answer(request, asker)
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
    shape = Shape(question, asker.labels.named if page.labels.are_given else None)
    chosen = chosen_of(of, asker.labels) | ({f"{which.kind} found by": listing.find} if listing.find else {})
    of_file = TableFile(which.name, of.start, of.end, view, chosen)
    return _reported(request, page, asker, answer, of_file, shape, parts, sum(part.number for part in parts))


def _reported(
    request: HttpRequest,
    page: Page,
    asker: Asker,
    answer: Answer,
    of: TableFile,
    shape: Shape,
    parts: Iterable[Rows],
    total: int,
) -> Response[Any]:
    """Rows of a report as a file. Times are those of `_cells`."""
    within = asker.reader.deadline.over(parts)
    form = _form(request)
    if form == "csv":
        pieces = texts(within, Shape(shape.question._replace(zone=UTC), shape.namer), form)
    else:
        pieces = _book(page, asker, of, names_of(shape), cells_of(within, shape), total)
    for piece in pieces:
        answer.add(piece)
    return _sent(answer, form, of.name(asker.account, form), total)


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
    view = asker.view(query, page.service.clock.now())
    of_skills = query.get(OF) == "skill"
    query.check()
    if of_skills:
        check_queues(asker.key.scope, "skill segments")
    of = view.skill_segments if of_skills else view.agent_segments
    metrics = tuple(METRICS[key] for key in HISTORY["skillSegments" if of_skills else "agentSegments"])
    question = Question(of, in_intervals=True, metrics=metrics, zone=view.zone, before=view.before(of), fill=True)
    answer = _answer(request, asker)
    of_file = TableFile(f"history{'-skill-segments' if of_skills else ''}", of.start, of.end, view)
    of_file = of_file._replace(chosen=chosen_of(of, asker.labels))
    with asker.reader.snapshot() as snapshot:
        rows = Report(snapshot, question, answer.reserve).rows()
        return _reported(request, page, asker, answer, of_file, Shape(question), rows, len(of.bounds) - 1)


# --- lists -----------------------------------------------------------------------------------------------


def _segments(request: HttpRequest, page: ThePage) -> Response[Any]:
    """All pages of the list of agent segments, up to a limit, with the names that the page shows."""
    asker = page.asker(request, "handle-time")
    query, now = query_of(request), page.service.clock.now()
    asked = read(query, asker.view(query, now, cuts=False), now)
    of = asked.wanted
    with asker.reader.snapshot() as snapshot:
        total, rows = rows_of(snapshot, of, asked.sort, offset=0, limit=ROWS_MAX)
        cells = (_segment(row, asker) for row in rows)
        of_file = TableFile("segments", of.start, of.end, asked.view, chosen_of(of, asker.labels))
        return _table(request, page, asker, of_file, SEGMENT_NAMES, cells, total)


def _skill_segments(request: HttpRequest, page: ThePage) -> Response[Any]:
    """All pages of the list of skill segments, up to a limit."""
    asker = page.asker(request, "operations", without_agent="skill segments")
    query = query_of(request)
    asked = read_skill_segments(query, asker.view(query, page.service.clock.now(), cuts=False))
    of = asked.wanted
    with asker.reader.snapshot() as snapshot:
        total, rows = skill_rows_of(snapshot, of, offset=0, limit=ROWS_MAX)
    cells = (_skill_segment(row, asker) for row in rows)
    of_file = TableFile("skill-segments", of.start, of.end, asked.view, chosen_of(of, asker.labels))
    return _table(request, page, asker, of_file, SKILL_SEGMENT_NAMES, cells, total, held=_ROW_BYTES * len(rows))


def _waits(request: HttpRequest, page: ThePage) -> Response[Any]:
    """All pages of the list of waits, up to a limit."""
    asker = page.asker(request, "handle-time")
    asked = read_waits(request, page, asker)._replace(offset=0)
    targets = page.service.targets.of(asker.account)
    with asker.reader.snapshot() as snapshot:
        counts, rows = asked.found(snapshot, asker.account, targets, limit=ROWS_MAX)
    sheet = waits_sheet(asked, rows, asker.labels.named)
    verdict = {"verdict": VERDICTS[asked.verdict]} if asked.verdict else {}
    chosen = {"of": CLOCKS[asked.clock], **verdict, **chosen_of(asked.wanted, asker.labels)}
    total = asked.total(counts)
    return _written(request, page, asker, asked.view, sheet, chosen, total, held=_ROW_BYTES * len(rows))


def _open(request: HttpRequest, page: ThePage) -> Response[Any]:
    """The list of open conversations, all of them."""
    asker = page.asker(request, "operations")
    shown = shown_of(request, page, asker)
    at, listed, view = shown["at"], shown["listed"], shown["view"]
    cells = [_open_conversation(row, asker, at, shown["urgent"].get(row.id)) for row in listed]
    state = {"only": CHOICES[shown["state"]]} if shown["state"] else {}
    chosen = state | chosen_of(view.open_conversations, asker.labels)
    return _written(request, page, asker, view, Sheet("open", at, at, OPEN_NAMES, cells), chosen)


OPEN_NAMES: Final = (
    *("conversationId", "state", "waitMillis", "waitingSince", "due", "pastDue"),
    *("skillId", "skill", "agentId", "agent", "userType", "source", "focusOf"),
)
SKILL_SEGMENT_NAMES: Final = (
    *("conversationId", "skillId", "skill", "userType", "startTime", "endTime", "durationMillis"),
    *("outcome", "abandonedInQueue", "endReason"),
)


def _segment(row: Segment, asker: Asker) -> list[object]:
    name = asker.labels.named
    agent, skill, group = name("agent", row.agent), name("skill", row.skill), name("group", row.group)
    handled = row.handle_time if row.focus_data and row.user_type == "human" else None
    ids = [row.segment_id, row.conversation, row.agent, agent, row.employee, row.skill, skill, row.group, group]
    times = [row.user_type, row.source, At(row.start), At(row.end), row.end - row.start]
    return [*ids, *times, row.outcome, row.end_reason, handled, row.focus_data]


def _skill_segment(row: SkillSegment, asker: Asker) -> list[object]:
    ids = [row.conversation, row.skill, asker.labels.named("skill", row.skill), row.user_type]
    times = [At(row.start), At(row.end), row.end - row.start]
    return [*ids, *times, row.outcome, row.in_queue, row.end_reason]


def _open_conversation(row: OpenConversation, asker: Asker, at: int, urgent: Judged | None) -> list[object]:
    name, since = asker.labels.named, row.waiting_since
    wait = (None, None) if since is None else (max(at - since, 0), At(since))
    agent: tuple[object, object, object] = (None, None, None)
    if row.agent is not None:
        agent = (row.agent, name("agent", row.agent), "bot" if row.is_bot else "human")
    focus = " ".join(map(str, row.focus)) or None
    due: tuple[object, object] = (None, None)
    if urgent is not None and urgent.due is not None:
        due = (At(urgent.due), urgent.verdict == "pastDue")
    return [row.id, row.state, *wait, *due, row.skill, name("skill", row.skill), *agent, row.source, focus]


# --- tables beside these ---------------------------------------------------------------------------------------------


def _of_view(
    made: Callable[[Page, Asker, View], Sheet],
    *,
    of: Callable[[View], Selection] = attrgetter("agent_segments"),
    without_agent: str = "",
    of_agent: bool = False,
) -> _Handler:
    """A table of a view, and what of the view it goes by. `without_agent` is what it has, where that is of no agent;
    `of_agent`: it is of one alone.
    """

    def handled(request: HttpRequest, page: ThePage) -> Response[Any]:
        asker = page.asker(request, "operations", without_agent=without_agent)
        query = query_of(request)
        view = asker.view(query, page.service.clock.now())
        if of_agent and view.agent is None:
            query.fault(AGENT, "is required")
        query.check()
        return _written(request, page, asker, view, made(page, asker, view), chosen_of(of(view), asker.labels))

    return handled


def _of_now(made: Callable[[Now, board.Levels, Asker], Sheet]) -> _Handler:
    """A table of what is going on now, at the moment of the request: with all agents."""

    def sheet(page: Page, asker: Asker, view: View) -> Sheet:
        return made(*board_of(page, asker, view, page.service.clock.now(), whole=True), asker)

    return _of_view(sheet, of=attrgetter("open_conversations"))


def _of_day(made: Callable[[agent_day.Asked], Sheet]) -> _Handler:
    """A table of a day of an agent."""

    def handled(request: HttpRequest, page: ThePage) -> Response[Any]:
        asker = page.asker(request, "handle-time")
        asked = agent_day.read(request, page, asker)
        chosen = chosen_of(Selection((asked.start, asked.end), agents=(asked.agent,)), asker.labels)
        return _written(request, page, asker, asked.view, made(asked), chosen)

    return handled


def _of_why(made: Callable[[why.Asked, Asker], Sheet]) -> _Handler:
    """A table of one conversation."""

    def handled(request: HttpRequest, page: ThePage) -> Response[Any]:
        asker = page.asker(request, "handle-time")
        asked = why.read(request, page, asker)
        chosen = {"conversation": asked.conversation}
        return _written(request, page, asker, asked.view, made(asked, asker), chosen)

    return handled


# --- files -----------------------------------------------------------------------------------------------------------


def _form(request: HttpRequest) -> Form:
    return "xlsx" if str(request.scope["path"]).endswith(".xlsx") else "csv"


def _cells(row: Cells, form: Form, zone: ZoneInfo) -> Cells:
    """A row as a form has it: times of CSV are UTC, those of a workbook stand as the clock of the view shows them.

    Whole numbers have no fraction in CSV, as in the tables of metrics.
    """
    if form == "xlsx":
        return [local(cell, zone).replace(tzinfo=None) if isinstance(cell, At) else cell for cell in row]
    return [
        rfc_3339(cell) if isinstance(cell, At) else int(cell) if isinstance(cell, float) and cell % 1 == 0 else cell
        for cell in row
    ]


def _answer(request: HttpRequest, asker: Asker) -> Answer:
    return Answer(request, "identity" if _form(request) == "xlsx" else None, asker.reader.deadline)


def _written(
    request: HttpRequest,
    page: Page,
    asker: Asker,
    view: View,
    sheet: Sheet,
    chosen: Mapping[str, str],
    total: int | None = None,
    *,
    held: int = 0,
) -> Response[Any]:
    """A sheet as a file; `total` is how many rows there are where it does not have all of them."""
    of = TableFile(sheet.of, sheet.start, sheet.end, view, chosen)
    return _table(
        request, page, asker, of, sheet.names, sheet.rows, len(sheet.rows) if total is None else total, held=held
    )


def _table(
    request: HttpRequest,
    page: Page,
    asker: Asker,
    of: TableFile,
    names: Sequence[str],
    rows: Iterable[Cells],
    total: int,
    *,
    held: int = 0,
) -> Response[Any]:
    form = _form(request)
    answer = _answer(request, asker)
    answer.reserve(held)
    name = of.name(asker.account, form)
    within: Iterator[Cells] = (_cells(row, form, of.view.zone) for row in asker.reader.deadline.over(rows))
    if form == "csv":
        made = csv_answer(answer, names, within, file_name=name, total=total)
        made.headers.update(HEADERS)
        return made
    for piece in _book(page, asker, of, names, within, total):
        answer.add(piece)
    return _sent(answer, form, name, total)


def _book(
    page: Page, asker: Asker, of: TableFile, names: Sequence[str], rows: Iterable[Cells], total: int
) -> Iterator[bytes]:
    """A workbook with what is to be known of it. Lists have at most so many rows."""
    number = f"{total:,}" if total <= ROWS_MAX else f"the first {ROWS_MAX:,} of {total:,}"
    about = of.about(asker, page.service.clock.now(), names, number)
    return workbook(TITLES[of.table], headings_of(names), rows, about)


def _sent(answer: Answer, form: Form, name: str, total: int) -> Response[Any]:
    headers = {"X-Total-Count": str(total), "Content-Disposition": f'attachment; filename="{name}"'}
    return answer.response(MEDIA_TYPES[form], {**HEADERS, **headers})


OF_NOW: Final[dict[str, _Handler]] = {
    "open": _open,
    "now-skills": _of_now(
        lambda now, levels, asker: board.skills_sheet(
            now, levels, asker.labels.named, has_queues=asker.key.scope.has_queues
        )
    ),
    "now-agents": _of_now(lambda now, _, asker: board.agents_sheet(now, asker.labels.named)),
    "now-looking": _of_now(lambda now, _, asker: board.looking_sheet(now, asker.labels.named)),
    "now-bots": _of_now(lambda now, _, asker: board.bots_sheet(now, asker.labels.named)),
}
"""What is of this moment, by name."""
TABLES: Final[dict[str, _Handler]] = {
    "agents": _agents,
    "skills": _skills,
    "segments": _segments,
    "skill-segments": _skill_segments,
    "waits": _waits,
    "history": _history,
    "peers": _of_view(
        lambda _, asker, view: one_agent.peers_sheet(asker.reader, view, asker.labels.named), of_agent=True
    ),
    "at-once": _of_view(lambda _, asker, view: one_agent.at_once_sheet(asker.reader, view), of_agent=True),
    "weekdays": _of_view(
        lambda _, asker, view: weekdays.weekdays_sheet(asker.reader, view),
        of=attrgetter("skill_segments"),
        without_agent="waits in the queue",
    ),
    "transfers": _of_view(
        lambda _, asker, view: weekdays.transfers_sheet(asker.reader, view, asker.labels.named),
        of=lambda view: view.skill_segments._replace(user_type=None),
        without_agent="transfers between skills",
    ),
    "slowest": _of_view(lambda _, asker, view: slowest_sheet(asker.reader, view, asker.account, asker.labels.named)),
    "agent-day": _of_day(agent_day.conversations_sheet),
    "agent-day-stretches": _of_day(agent_day.stretches_sheet),
    "why-waits": _of_why(lambda asked, asker: why.waits_sheet(asked, asker.labels.named)),
    "why-segments": _of_why(lambda asked, asker: why.segments_sheet(asked, asker.labels.named)),
    "why-units": _of_why(lambda asked, asker: why.units_sheet(asked, asker.labels.named)),
    "why-events": _of_why(lambda asked, asker: why.events_sheet(asker.reader, asked, asker.labels)),
}
"""All other tables that the page gives as files, by the names of their routes."""
EXPORTS: Final = [
    (name, get(f"/{name}.{form}", sync_to_thread=True, name=f"page-{name}-{form}")(table))
    for name, table in {**TABLES, **OF_NOW}.items()
    for form in FORMS
]
"""The routes, one for each table and form, with the table's name."""
