"""What schemathesis has to know beyond the document: NDJSON, and the rules that OpenAPI cannot say.

Its checks are all on. A request that fits the document may be answered 400 only by one of `UNSAYABLE`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData

from handletime.events.book import instant
from handletime.events.model import TIME_MAX

UNSAYABLE: Final = {
    r"(from|to)Millis: must not be given together with (from|to)": "a rule between two parameters",
    r"from(Millis)?: must not be (more than|after) .*": "depends on the clock, and on to",
    r"from(Millis)?: (must not be given together with timeframe|needs the parameter to(Millis)?)": "a rule of two",
    r"(from|to)(Millis)?: is too early: .*": "depends on timeframe",
    r"(from|to)Millis: is not of this version; .*": "a rule between two parameters",
    r"timeframe: is required, or from(Millis)? and to(Millis)?": "a rule between two parameters",
    r"timeframe: must be less than or equal to 1440": "more is allowed with to",
    r"limit: must be less than or equal to 500": "more is allowed in CSV",
    r"interval: must be a divisor of (timeframe|the time between \w+ and \w+)": "a rule between two parameters",
    r"interval: hour, day and week need the parameter to": "a rule between two parameters",
    r"(from|to): must not be given together with period": "a rule between two parameters",
    r"interval: must not cut the time in more than 1,000,000": "a rule between two parameters",
    r"answer: would have more than 1,000,000 rows; .*": "depends on the data",
    r"tz: must be the IANA name of a time zone .*": "a list of 600 names that grows every year",
    r"(element|line) \d+: accountId: must be the account of the address, or absent": "a rule between body and path",
    r"(element|line) \d+: time: must not be more than (24 hours|60 seconds) in the future": "depends on the clock",
    r"(element|line) \d+: agentId: is missing; .*": "may be absent where the key belongs to an agent",
    r"body: must be \{\"key\": .*": "a JSON in a text",
}
"""Causes of a 400, each with why the document cannot say it."""
OF_BODIES: Final = r"(element|line) \d+: (time|\w+Id|sequence): must be .*"
"""Of bodies with a number like 1.0, which JSON Schema takes for an integer and rules.md 1 does not, or with a time at
an end of the years 1 to 9999, which is beyond it in UTC.
"""
OF_TIMES: Final = r"(from|to): must be RFC 3339 .*"
"""The same of times in a query."""
_EDGES: Final = ("0001-01-01", "9999-12-31")
_UNSAYABLE: Final = re.compile("|".join(f"(?:{cause})" for cause in UNSAYABLE))


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """A query of the operations methods, or of the report, with one way to say the timeframe, as no schema can ask for.

    What happens where both or neither are there is tested in test_operations.py.
    """
    if query is not None and context.operation.path.endswith("/report") and "period" in query:
        return {name: value for name, value in query.items() if name not in ("from", "to")}
    if query is None or not context.operation.path.startswith("/operations/"):
        return query
    if "fromMillis" in query or "toMillis" in query:  # Of version 2 alone, and instead of the others.
        query = {name: value for name, value in query.items() if name not in ("fromMillis", "toMillis")}
    if "from" in query and "to" in query:
        return {name: value for name, value in query.items() if name != "timeframe"}
    return {"timeframe": 60} | {name: value for name, value in query.items() if name != "from"}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Parameters of a body that do not undo what `map_query` did; and events with integers that are written as such:
    else nearly all would be refused for what no schema can say.
    """
    path = context.operation.path
    if path.endswith("/msgconversation") and isinstance(body, dict):
        return {name: value for name, value in body.items() if name not in ("timeframe", "from", "to", "interval")}
    if path.endswith(("/events", "/focus")) and isinstance(body, list):
        return [_plain(event) if isinstance(event, dict) else event for event in body]
    return body


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """An event whose whole numbers are written without a fraction."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in event.items()
    }


@schemathesis.hook
def before_call(_: Any, case: Any, kwargs: Any) -> None:  # noqa: ARG001
    """Moves of focus as the key of this test has to send them: each names its agent and no account, lies in the past,
    and a text is an object's JSON.
    """
    if not case.operation.path.endswith("/focus"):
        return
    if isinstance(case.body, list):
        case.body = [{"agentId": 1, **_sendable(move)} if isinstance(move, dict) else move for move in case.body]
    elif isinstance(case.body, str):
        case.body = json.dumps({"key": "a key", "events": []})


def _sendable(move: dict[str, Any]) -> dict[str, Any]:
    """A move that names no account, and whose time, if it is one, is not in the future: no schema can ask for that."""
    move = {name: value for name, value in move.items() if name != "accountId"}
    time = move.get("time")
    if isinstance(time, int) and not isinstance(time, bool) and _PAST < time <= TIME_MAX:
        return {**move, "time": _PAST}
    if isinstance(time, str) and (millis := instant(time)) is not None and millis > _PAST:
        return {**move, "time": "2026-01-01T00:00:00Z"}
    return move


_PAST: Final = 1_767_225_600_000


@schemathesis.hook
def filter_failure(_: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether a failure counts."""
    if isinstance(failure, RejectedPositiveData):
        if response.status_code == 413:  # How many bytes a body has, no schema can say.
            return False
        causes = response.json()["causes"]
        return not all(_UNSAYABLE.fullmatch(cause) or _is_unsayable_of(case, cause) for cause in causes)
    return True


def _is_unsayable_of(case: Any, cause: str) -> bool:
    if match := re.fullmatch(OF_TIMES, cause):
        return str((case.query or {}).get(match[1], "")).startswith(_EDGES)
    if re.fullmatch(OF_BODIES, cause) and isinstance(case.body, list):
        values = [value for event in case.body for value in event.values()]
        return any(isinstance(value, float) or str(value).startswith(_EDGES) for value in values)
    return False


@schemathesis.serializer("application/x-ndjson")
def ndjson(_: Any, value: Any) -> bytes:
    """The body of a list of events."""
    events = value if isinstance(value, list) else [value]
    return "".join(json.dumps(event) + "\n" for event in events).encode()
