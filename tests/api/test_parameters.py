"""The rules that all query parameters follow (http-api.md 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest

from handletime.answers.pages import Sort
from handletime.api.agent_segments import SORT
from handletime.api.errors import BadRequest
from handletime.api.operations import INTERVAL, METRICS, USER_TYPE, ZONE
from handletime.api.parameters import (
    Moment,
    Parameter,
    Query,
    a_number,
    a_text,
    a_time,
    a_time_in_millis,
    an_id,
    some_ids,
)

LIMIT = a_number("limit", "", 100, least=1, most=500)
AGENT = an_id("AgentId", "")
IDS = some_ids("agentIds", "")
SOURCE = a_text("source", "", required=True, pattern="[a-zA-Z0-9_]+", longest=20)
FROM = a_time("from", "")
MILLIS = a_time_in_millis("toMillis", "")
OLD = "is before 1 January 2000 in epoch milliseconds; write a time as old as that in RFC 3339"
METRICS_TWO = {"interactiveAgentSegments", "avgAgentSegmentDuration"}
MOMENT = 1_652_389_200_000  # 2022-05-13T00:00:00+03:00


def value(parameter: Parameter[Any], query: str | bytes) -> Any:
    reading = Query(query if isinstance(query, bytes) else query.encode())
    found = reading.get(parameter)
    reading.check()
    return found


def causes(parameter: Parameter[Any], query: str | bytes) -> Sequence[str]:
    with pytest.raises(BadRequest) as raised:
        value(parameter, query)
    return raised.value.causes


@pytest.mark.parametrize(
    ("parameter", "query", "expected"),
    [
        (LIMIT, "", 100),
        (LIMIT, "limit=7", 7),
        (LIMIT, "LIMIT=7&v=1&unknown=x", 7),
        (LIMIT, "limit=", 100),
        (LIMIT, "limit=&limit=7", 7),
        (LIMIT, "lim%69t=7", 7),
        (AGENT, "agentid=-1", -1),
        (AGENT, "AGENTID=9223372036854775807", 2**63 - 1),
        (IDS, "agentIds=12,13", {12, 13}),
        (IDS, "agentIds=12&agentids=13", {12, 13}),
        (IDS, "agentIds[]=12&agentIds[]=13", {12, 13}),
        (IDS, "agentIds%5B%5D=12&AGENTIDS%5b%5d=13,14&agentIds=15", {12, 13, 14, 15}),
        (IDS, "agentIds[]=", None),
        (IDS, "agentIds[]=all", None),
        (IDS, "agentIds[0]=12&[]=13&agentIds=14", {14}),
        (LIMIT, "limit[]=7", 100),
        (IDS, "agentIds=+12+,%2013,,-1,", {12, 13, -1}),
        (IDS, "agentIds=All", None),
        (IDS, "agentIds=all&agentIds=ALL", None),
        (IDS, "agentIds=", None),
        (IDS, "agentIds=,&agentIds= ,", None),
        (SOURCE, "Source=LP_AgentUI", "LP_AgentUI"),
        (SORT, "sort=agent", Sort("Agent", False)),
        (SORT, "sortType=DATE", Sort("Date", True)),
        (SORT, "sort=Date:ASC", Sort("Date", False)),
        (SORT, "SORT=skill%3Adesc", Sort("Skill", True)),
        (USER_TYPE, "userType=HUMAN", "human"),
        (METRICS, "metrics=INTERACTIVEagentsegments , ", {"interactiveAgentSegments"}),
        (METRICS, "metrics[]=avgAgentSegmentDuration&metrics[]=interactiveAgentSegments", METRICS_TWO),
        (METRICS, "metrics=All", METRICS.default),
        (INTERVAL, "interval=Week", "week"),
        (FROM, "from=2022-05-13T00:00:00%2B03:00", Moment(MOMENT, "+03:00")),
        (FROM, "from=2022-05-13T00:00+03:00", Moment(MOMENT, "+03:00")),
        (FROM, "from=2022-05-13T00:00:00+03:00", Moment(MOMENT, "+03:00")),
        (FROM, "from=2022-05-12T21:00:00z", Moment(MOMENT, "Z")),
        (FROM, "from=2022-05-12t21:00Z", Moment(MOMENT, "Z")),
        (FROM, "from=2022-05-12T11:30:00.0009-09:30", Moment(MOMENT, "-09:30")),
        (FROM, "from=2022-05-12T21:00:00.125Z", Moment(MOMENT + 125, "Z")),
        (FROM, "from=1652389200000", Moment(MOMENT, "Z")),
    ],
)
def test_what_is_allowed_is_taken(parameter: Parameter[Any], query: str, expected: object) -> None:
    assert value(parameter, query) == expected


@pytest.mark.parametrize(
    ("parameter", "query", "cause"),
    [
        (LIMIT, "limit=501", "limit: must be less than or equal to 500"),
        (LIMIT, "limit=0", "limit: must be greater than or equal to 1"),
        (LIMIT, "limit=7&limit=7", "limit: must be given once"),
        (LIMIT, "limit=7&LIMIT=8", "limit: must be given once"),
        *((LIMIT, f"limit={quote(text)}", "limit: must be an integer") for text in ("x", "1.0", "1e2", "0x10", "1_0")),
        *(
            (LIMIT, f"limit={quote(text)}", "limit: must be an integer")
            for text in ("+7", " 7", "\u0667", "\uff17", "--7", "-")
        ),
        (AGENT, "AgentId=9223372036854775808", "AgentId: must be a signed 64-bit integer"),
        (AGENT, "AgentId=" + "9" * 5000, "AgentId: must be a signed 64-bit integer"),
        (AGENT, "AgentId=7&AgentId=7", "AgentId: must be given once"),
        (IDS, "agentIds=12,all", "agentIds: must be all, or integers separated by commas"),
        (IDS, "agentIds=12&agentIds=all", "agentIds: must be all, or integers separated by commas"),
        (IDS, "agentIds=12;13", "agentIds: must be all, or integers separated by commas"),
        (FROM, "from=1795820410", "from: 1795820410 looks like seconds; epoch milliseconds are wanted"),
        (MILLIS, "toMillis=1795820410", "toMillis: 1795820410 looks like seconds; epoch milliseconds are wanted"),
        (MILLIS, "toMillis=253402300800000", "toMillis: must be epoch milliseconds of the years 2000 to 9999"),
        *((FROM, f"from={number}", f"from: {number} {OLD}") for number in (0, -1, 946_684_799_999)),
        *((MILLIS, f"toMillis={number}", f"toMillis: {number} {OLD}") for number in (0, -1, 946_684_799_999)),
        (SOURCE, "", "source: is required"),
        (SOURCE, "source=", "source: is required"),
        (SOURCE, "source=" + "a" * 21, "source: must have at most 20 characters"),
        (SOURCE, "source=a-b", "source: must match ^[a-zA-Z0-9_]+$"),
        (SOURCE, "source=a%0A", "source: must match ^[a-zA-Z0-9_]+$"),
        (SOURCE, "source=%C3%A9", "source: must match ^[a-zA-Z0-9_]+$"),
        (SOURCE, "source=%FF", "source: must be UTF-8"),
        (USER_TYPE, "userType=agent", "userType: must be one of human, bot, all"),
        (ZONE, "tz=Mars/Base", "tz: must be the IANA name of a time zone (Europe/Berlin)"),
        (ZONE, "tz=../../etc/passwd", "tz: must be the IANA name of a time zone (Europe/Berlin)"),
        (INTERVAL, "interval=4", "interval: must be greater than or equal to 5"),
    ],
)
def test_what_is_not_is_a_fault_that_says_what_is(parameter: Parameter[Any], query: str, cause: str) -> None:
    assert causes(parameter, query) == [cause]


@pytest.mark.parametrize(
    "text",
    [
        "2022-05-13",
        "2022-05-13T00:00:00",
        "2022-02-30T00:00:00Z",
        "2022-05-13T24:00:00Z",
        "2022-05-13T00:00:60Z",
        "2022-05-13T00:00:00+24:00",
        "2022-05-13T00:00:00+0300",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59+23:59x",
        "0001-01-01T00:00:00+00:01",
        "now",
        "1652389200000.5",
        "9" * 30,
        "\uff12022-05-13T00:00:00Z",
    ],
)
def test_what_is_no_time_is_a_fault(text: str) -> None:
    (cause,) = causes(FROM, b"from=" + quote(text).encode())
    assert cause.startswith("from: must be RFC 3339")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (Moment(MOMENT), "2022-05-12T21:00:00Z"),
        (Moment(MOMENT, "+03:00"), "2022-05-13T00:00:00+03:00"),
        (Moment(MOMENT, "-09:30"), "2022-05-12T11:30:00-09:30"),
        (Moment(MOMENT + 5, "+00:00"), "2022-05-12T21:00:00.005+00:00"),
        (Moment(-1), "1969-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_shown_at_the_offset_it_came_with(moment: Moment, text: str) -> None:
    assert str(moment) == text


def test_all_faults_of_a_request_are_told_in_the_order_they_were_read() -> None:
    reading = Query(b"limit=0&AgentId=x&source=!")
    reading.get(LIMIT), reading.get(AGENT), reading.get(SOURCE)
    with pytest.raises(BadRequest) as raised:
        reading.check()
    assert [cause.split(":")[0] for cause in raised.value.causes] == ["limit", "AgentId", "source"]
