"""`GET …/explain`, a method of our own: why a conversation's or a segment's numbers are so, as JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec
from litestar import Response, get

from handletime.answers.explained_levels import add_levels
from handletime.api.answer import Answer
from handletime.api.errors import JSON, Refused
from handletime.api.ports import Reader
from handletime.api.service import HttpRequest, InPath, Service, TheService
from handletime.segments.explain import Explanation, Reading, read
from handletime.segments.within import limited
from handletime.targets.targets import AccountTargets

TOKEN_LENGTH = 22


@get("/api/account/{account:str}/conversations/{conversation:str}/explain", sync_to_thread=True, name="explain")
def conversation_explained(
    request: HttpRequest, service: TheService, account: InPath, conversation: InPath
) -> Response[Any]:
    """A conversation's events in order, what each did, and its segments with their units."""
    reader = service.reader(request, account, "handle-time")
    return _answer(request, reader, _explained(service, reader, unquote(account), unquote(conversation)))


@get("/api/account/{account:str}/agent-segments/{segment:str}/explain", sync_to_thread=True, name="explain-segment")
def segment_explained(request: HttpRequest, service: TheService, account: InPath, segment: InPath) -> Response[Any]:
    """The conversation of a segment, explained in the same way, with only this one of its agent segments."""
    reader = service.reader(request, account, "handle-time")
    segment = unquote(segment)
    explanation = _explained(service, reader, unquote(account), _conversation_of(segment))
    only = [row for row in explanation.agent_segments if row["segmentId"] == segment]
    if not only:
        raise Refused(404, "There is no such segment.")
    return _answer(request, reader, msgspec.structs.replace(explanation, agent_segments=only))


def _explained(service: Service, reader: Reader, account: str, conversation: str) -> Explanation:
    return reading_of(reader, account, conversation, service.targets.of(account), service.clock.now()).explanation


def _answer(request: HttpRequest, reader: Reader, explanation: Explanation) -> Response[Any]:
    answer = Answer(request, deadline=reader.deadline)
    answer.add_struct(explanation)
    return answer.response(JSON)


def _conversation_of(segment: str) -> str:
    """The conversation in a segment's id: account, agent and token have no colon in them."""
    parts = segment.split(":")
    if len(parts) < 4 or len(parts[-1]) != TOKEN_LENGTH:
        raise Refused(404, "There is no such segment.")
    return ":".join(parts[2:-1])


def reading_of(reader: Reader, account: str, conversation: str, targets: AccountTargets, now: int) -> Reading:
    """What of a conversation whoever asks may see, with what each wait is to its target now.

    Raises Refused (404) where there is nothing; NotNow.
    """
    prepared = reader.prepared(conversation)
    whole = None if prepared is None else read(prepared, account, conversation, reader.deadline, now)
    reading = None if whole is None else limited(whole, reader.scope)
    if reading is None:
        raise Refused(404, "There is no such conversation.")
    add_levels(reading, targets, now)
    reader.deadline.check()
    return reading
