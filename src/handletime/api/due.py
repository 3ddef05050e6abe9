"""`GET /api/account/{accountId}/due`: which conversations are past due, or will be soon (http-api.md 7).

For an account without targets nothing is due; it gets whoever waits, the longest wait first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from litestar import Response, get

from handletime.answers.live import OpenConversation, most_urgent_first, waits_judged
from handletime.api.answer import Answer
from handletime.api.csv_table import csv_answer, file_name
from handletime.api.errors import JSON
from handletime.api.negotiation import FORMAT, table_or_json
from handletime.api.operations import SKILL_IDS
from handletime.api.parameters import Moment, a_number
from handletime.api.service import HttpRequest, InPath, TheService, query_of
from handletime.clock import SECOND
from handletime.targets.targets import AccountTargets, Clock, Judged

WITHIN: Final = a_number(
    "within",
    "Seconds within which something has to be due, if it is not past due. Of no effect without targets.",
    300,
    least=0,
    most=86_400,
)
LIMIT: Final = a_number("limit", "How many are given at most.", 100, least=1, most=1000)
PARAMETERS: Final = (WITHIN, SKILL_IDS, LIMIT, FORMAT)


class Due(msgspec.Struct, frozen=True, rename="camel"):
    """A wait of a conversation. `clock` is what for: an agent (`queueWait`), the agent's first message since the
    assignment, or the next. `agent_id` is null in the queue. `wait_millis` is plain time since `waiting_since`,
    `elapsed_millis` that within opening hours. `target` is the target's name, `target_millis` its time for this clock,
    `due` when it is reached, or null where it never is. All of the target is null where there is none.
    """

    conversation_id: str
    skill_id: int
    agent_id: int | None
    clock: Clock
    waiting_since: str
    wait_millis: int
    target: str | None
    target_millis: int | None
    elapsed_millis: int | None
    due: str | None
    past_due: bool | None


class DueNow(msgspec.Struct, frozen=True, rename="camel"):
    """What is due at a moment, the most urgent first, and how many there are in all. `left_out` is how many open
    conversations were not looked at, since there are more than are read; a limited key is not told, it gets 0.
    """

    at: str
    count: int
    conversations: list[Due]
    left_out: int


@get("/api/account/{account:str}/due", sync_to_thread=True, name="due")
def due(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """The waits that are past due or will be soon, the most urgent first. Raises NotHere over a lake."""
    reader = service.reader(request, account, "operations")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    soon = query.get(WITHIN) * SECOND
    skills, limit = query.get(SKILL_IDS), query.get(LIMIT)
    query.check()
    now = service.clock.now()
    found = service.open_lately(unquote(account), reader)
    chosen = [each for each in found.conversations if skills is None or each.skill in skills]
    targets = service.targets.of(unquote(account))
    if targets:
        due = _due(chosen, targets, now, soon)
        total, shown = len(due), [_judged(each, wait, now) for each, wait in due[:limit]]
    else:
        waiting = [each for each in chosen if each.waiting_since is not None]
        total, shown = len(waiting), [_waiting(each, now) for each in waiting[:limit]]
    answer = Answer(request, deadline=reader.deadline)
    if form == "csv":
        rows = (msgspec.structs.astuple(each) for each in shown)
        names = [field.encode_name for field in msgspec.structs.fields(Due)]
        file = file_name(unquote(account), "due", now, now)
        return csv_answer(answer, names, rows, file_name=file, total=total)
    answer.add_struct(DueNow(str(Moment(now)), total, shown, found.left_out))
    return answer.response(JSON, {"Vary": "Accept"})


def _due(
    conversations: Iterable[OpenConversation], targets: AccountTargets, now: int, soon: int
) -> list[tuple[OpenConversation, Judged]]:
    """The waits that are past due, or due within some milliseconds; the most urgent first."""
    waits = ((each, wait) for each in conversations for wait in waits_judged(each, targets, now))
    is_due = ((each, wait) for each, wait in waits if wait.due is not None and wait.due <= now + soon)
    return most_urgent_first(is_due)


def _judged(each: OpenConversation, wait: Judged, now: int) -> Due:
    since, due = wait.wait.start, None if wait.due is None else str(Moment(wait.due))
    past_due = wait.verdict == "pastDue"
    told = (wait.target.name, wait.limit, wait.elapsed, due, past_due)
    return Due(each.id, each.skill, each.agent, wait.wait.clock, str(Moment(since)), max(now - since, 0), *told)


def _waiting(each: OpenConversation, now: int) -> Due:
    since = now if each.waiting_since is None else each.waiting_since
    clock: Clock = "queueWait" if each.in_queue else "response" if each.wrote else "firstResponse"
    length = max(now - since, 0)
    return Due(each.id, each.skill, each.agent, clock, str(Moment(since)), length, None, None, None, None, None)
