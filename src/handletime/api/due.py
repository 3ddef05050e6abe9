"""`GET /api/account/{accountId}/due`: which conversations wait longest, or are due first (http-api.md 7).

No targets can be set yet; so nothing is due, and the longest waits come first.
"""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import unquote

import msgspec
from litestar import Response, get

from handletime.answers.live import OpenConversation
from handletime.api.answer import Answer
from handletime.api.csv_table import csv_answer, file_name
from handletime.api.errors import JSON
from handletime.api.negotiation import FORMAT, table_or_json
from handletime.api.operations import SKILL_IDS
from handletime.api.parameters import Moment, a_number
from handletime.api.service import HttpRequest, InPath, TheService, query_of

WITHIN: Final = a_number(
    "within",
    "Seconds within which something has to be due. Of no effect while no targets are set.",
    300,
    least=0,
    most=86_400,
)
LIMIT: Final = a_number("limit", "How many are given at most.", 100, least=1, most=1000)
PARAMETERS: Final = (WITHIN, SKILL_IDS, LIMIT, FORMAT)
Clock = Literal["queueWait", "firstResponse", "response"]


class Due(msgspec.Struct, frozen=True, rename="camel"):
    """A conversation that waits. `clock` is what for: an agent (`queueWait`), the agent's first message since the
    assignment, or the next. `agent_id` is null in the queue, `target_millis` and `due` without a target.
    """

    conversation_id: str
    skill_id: int
    agent_id: int | None
    clock: Clock
    waiting_since: str
    wait_millis: int
    target_millis: int | None
    due: str | None


class DueNow(msgspec.Struct, frozen=True):
    """Who waits at a moment, the most urgent first, and how many do in all."""

    at: str
    count: int
    conversations: list[Due]


@get("/api/account/{account:str}/due", sync_to_thread=True, name="due")
def due(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """The conversations that wait, the longest wait first. Raises NotHere over a lake."""
    reader = service.reader(request, account, "operations")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    query.get(WITHIN)
    skills, limit = query.get(SKILL_IDS), query.get(LIMIT)
    query.check()
    now = service.clock.now()
    found = service.open_lately(unquote(account), reader).conversations
    waiting = [each for each in found if each.waiting_since is not None and (skills is None or each.skill in skills)]
    shown = [_shown(each, now) for each in waiting[:limit]]
    answer = Answer(request, deadline=reader.deadline)
    if form == "csv":
        rows = (msgspec.structs.astuple(each) for each in shown)
        names = [field.encode_name for field in msgspec.structs.fields(Due)]
        file = file_name(unquote(account), "due", now, now)
        return csv_answer(answer, names, rows, file_name=file, total=len(waiting))
    answer.add_struct(DueNow(str(Moment(now)), len(waiting), shown))
    return answer.response(JSON, {"Vary": "Accept"})


def _shown(each: OpenConversation, now: int) -> Due:
    since = now if each.waiting_since is None else each.waiting_since
    clock: Clock = "queueWait" if each.in_queue else "response" if each.wrote else "firstResponse"
    return Due(each.id, each.skill, each.agent, clock, str(Moment(since)), max(now - since, 0), None, None)
