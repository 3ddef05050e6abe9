"""`GET …/report`: what it takes, the forms that it answers in, and when it does not answer again."""

from __future__ import annotations

import csv
import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from handletime.answers import report as reports
from handletime.answers.flat import FORMATS, MEDIA_TYPES
from handletime.answers.labels import Labels
from handletime.answers.report import REPORTED, chosen
from handletime.api import answer as answers
from handletime.api import report as method
from handletime.api.ports import Store as StoreOfTheMethods
from handletime.api.service import ApiSettings
from handletime.keys.sidefile import SideFile
from handletime.store.store import Store
from tests.api.world import NOW, World, token
from tests.messy_streams import messy_stream

PATH = "/api/account/{}/report"
HOUR = 3_600_000
Row = dict[str, Any]


def handled(name: str, end: int, agent: int = 7, source: str | None = None) -> bytes:
    """A conversation with 10 s of handle time that is closed then."""
    told: list[Row] = [
        {"type": "opened", "skillId": 10, "time": end - 60_000, "source": source},
        {"type": "assigned", "agentId": agent, "time": end - 50_000},
        {"type": "message", "sentBy": "consumer", "time": end - 40_000},
        {"type": "focused", "agentId": agent, "time": end - 30_000},
        {"type": "message", "sentBy": "agent", "agentId": agent, "time": end - 20_000},
        {"type": "unfocused", "agentId": agent, "time": end - 20_000},
        {"type": "closed", "closedBy": "consumer", "time": end},
    ]
    events = ({"conversationId": name, "eventId": str(place), **event} for place, event in enumerate(told))
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def post(world: World, account: str, *bodies: bytes) -> None:
    world.post(f"/api/account/{account}/events", b"".join(bodies), account).raise_for_status()


def ask(world: World, account: str, query: str = "", **headers: str) -> httpx.Response:
    return world.get(PATH.format(account) + (f"?{query}" if query else ""), account, **headers)


def rows_of(world: World, account: str, query: str = "") -> list[Row]:
    rows: list[Row] = ask(world, account, query).raise_for_status().json()
    return rows


def test_without_parameters_it_is_the_total_of_the_last_day(stored: World) -> None:
    post(stored, "acme", handled("a", NOW - 1), handled("b", NOW - 24 * HOUR), handled("c", NOW - 24 * HOUR - 1))
    (row,) = rows_of(stored, "acme")
    assert list(row) == [metric.key for metric in chosen()]
    assert row["totalAgentConversationSegments"] == row["totalSkillConversationSegments"] == 2
    assert row["totalHandleTimeMillis"] == 2 * row["handleTimeInIntervalMillis"] == 20_000, "one was before"
    assert (row["totalQueueSegments"], row["medianQueueWaitMillis"]) == (1, 10_000)
    assert row["avgTimetoFirstAgentMessageFromAgentAssignment_AfterTransfer"] is None


def test_columns_are_keys_then_sums_then_averages(stored: World) -> None:
    post(stored, "acme", handled("a", NOW - 1, source="APP"))
    keys = "userType,agent, group ,skill,source"
    (row,) = rows_of(stored, "acme", f"by={keys}&interval=HOUR&tz=europe/berlin&metrics=avgHandleTimeMillis")
    assert row == {
        "intervalStart": "2026-11-20T12:00:00.000+01:00",
        "intervalEnd": "2026-11-20T13:00:00.000+01:00",
        "skillId": 10,
        "agentId": 7,
        "groupId": -1,
        "source": "APP",
        "userType": "human",
        "segmentsWithFocusData": 1,
        "totalHandleTimeMillis": 10_000,
        "avgHandleTimeMillis": 10_000,
    }
    assert list(row)[:7] == ["intervalStart", "intervalEnd", "skillId", "agentId", "groupId", "source", "userType"]


def test_what_has_no_agent_is_absent_by_agent_group_and_user_type(stored: World) -> None:
    post(stored, "acme", handled("a", NOW - 1, source="APP"))
    names = ("totalAgentConversationSegments", "totalSkillConversationSegments", "totalQueueSegments")
    for query, there in {
        "by=skill": (1, 1, 1),
        "by=source": (1, None, 1),
        "by=agent": (1, None, None),
        "by=group": (1, None, None),
        "by=userType": (1, None, None),
        "agentIds=7": (1, None, None),
        "groupIds=-1": (1, None, None),
        "source=app": (1, None, 1),
        "userType=human": (1, 1, 1),
        "skillIds=10": (1, 1, 1),
    }.items():
        (row,) = rows_of(stored, "acme", query)
        assert tuple(row[name] for name in names) == there, query
    assert rows_of(stored, "acme", "by=skill&skillIds=11") == []


def test_dates_are_those_of_the_zone_and_periods_of_its_clock(stored: World) -> None:
    midnight = NOW - 13 * HOUR  # in Berlin
    post(
        stored,
        "acme",
        handled("a", midnight),
        handled("b", midnight - 1),
        handled("a week before", midnight - 168 * HOUR),
    )
    counted = "metrics=totalAgentConversationSegments&tz=Europe/Berlin"
    for query, number in {
        "from=2026-11-20": 1,
        "from=2026-11-19&to=2026-11-20": 1,
        "from=2026-11-19": 2,
        "period=today": 1,
        "period=YESTERDAY": 1,
        "period=last-7-days": 2,
        "period=this-week": 2,
        "period=last-week": 1,
        "period=this-month": 3,
        "from=2026-11-19T00:00:00%2B01:00": 2,
        f"from={midnight}&to={midnight + 1}": 1,
        "from=2026-11-19&to=2030-01-01": 2,
    }.items():
        (row,) = rows_of(stored, "acme", f"{query}&{counted}")
        assert row == {"totalAgentConversationSegments": number}, query
    (row,) = rows_of(stored, "acme", f"period=today&compare=previous&{counted}")
    assert row["totalAgentConversationSegmentsPrevious"] == 0, "yesterday up to the same time"
    (row,) = rows_of(stored, "acme", f"period=this-week&compare=previous&{counted}")
    assert row["totalAgentConversationSegmentsPrevious"] == 1, "last week up to the same weekday and time"
    (row,) = rows_of(stored, "acme", f"period=today&compare=month&{counted}")
    assert row["totalAgentConversationSegmentsPrevious"] == 0
    assert rows_of(stored, "acme", f"from=2026-11-20&to=2026-11-20&{counted}") == []


@pytest.mark.parametrize(("compare", "weeks"), [("week", 1), ("four-weeks", 4), ("year", 52)])
def test_a_day_is_compared_with_the_same_weekday(stored: World, compare: str, weeks: int) -> None:
    midnight = NOW - 13 * HOUR  # in Berlin, where clocks showed summer time four weeks before
    post(stored, "acme", handled("now", midnight - 1))
    shift = weeks * 7 * 24 * HOUR + (HOUR if weeks == 4 else 0)
    post(stored, "acme", handled("then", midnight - 1 - shift), handled("the day after", midnight - shift))
    query = f"period=yesterday&compare={compare}&metrics=totalAgentConversationSegments&tz=Europe/Berlin"
    (row,) = rows_of(stored, "acme", query)
    assert row == {"totalAgentConversationSegments": 1, "totalAgentConversationSegmentsPrevious": 1}


def test_all_faults_are_told_at_once(stored: World) -> None:
    answer = ask(
        stored,
        "acme",
        "from=x&to=2026-02-30&tz=here&by=skill,team&interval=3&userType=agent&metrics=speed&compare=last&fill=one"
        "&format=pdf&limit=0&offset=-1&skillIds=a&source=a&source=b&period=soon",
    )
    assert answer.status_code == 400
    told = {cause.partition(":")[0] for cause in answer.json()["causes"]}
    assert told == {
        *("from", "to", "tz", "by", "interval", "userType", "metrics", "compare", "fill", "format", "limit"),
        *("offset", "skillIds", "source", "period"),
    }


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("from=2026-11-20&period=today", "from: must not be given together with period"),
        ("from=2026-11-20&to=2026-11-19", "from: must not be after to, nor in the future"),
        ("from=2026-11-21", "from: must not be after to, nor in the future"),
        ("interval=5&from=1990-01-01", "interval: must not cut the time in more than 1,000,000"),
        ("interval=1441", "interval: must be less than or equal to 1440"),
        ("interval=year", "interval: must be a number of minutes, or hour, day, week or month"),
        ("from=0001-01-01", "from: is too early: the window must begin after 0001-01-09"),
        ("by=all", "by: must be one of skill, agent, group, source, userType"),
    ],
)
def test_what_is_wrong_is_told(query: str, cause: str, stored: World) -> None:
    assert ask(stored, "acme", query).json()["causes"] == [cause]


def test_more_than_a_million_rows_are_refused(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    post(stored, "acme", *(handled(str(number), NOW - number * HOUR) for number in range(1, 5)))
    monkeypatch.setattr(reports, "ROWS_MAX", 3)
    for long in (reports.LONG, 1):
        monkeypatch.setattr(reports, "LONG", long)
        answer = ask(stored, "acme", "interval=hour&by=skill")
        assert answer.status_code == 400
        assert answer.json()["causes"][0].startswith("answer: would have more than 3 rows; ask for less at once")
        assert ask(stored, "acme", "interval=day&by=skill").status_code == 200


def test_pages_of_rows_say_how_many_there_are(stored: World) -> None:
    post(stored, "acme", *(handled(str(number), NOW - 1, agent=number) for number in range(5)))
    page = ask(stored, "acme", "by=agent&limit=2&offset=3")
    assert page.headers["x-total-count"] == "5"
    assert [row["agentId"] for row in page.json()] == [3, 4]
    assert ask(stored, "acme", "by=agent&offset=9").json() == []


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("by_accept", [False, True])
def test_each_form_has_the_same_rows(form: str, by_accept: bool, stored: World) -> None:
    post(stored, "acme", handled("a", NOW - 1), handled("b", NOW - HOUR - 1, agent=8, source="=A1"))
    query, wanted = "by=agent,source&interval=60", rows_of(stored, "acme", "by=agent,source&interval=60")
    kind = dict(MEDIA_TYPES.items())[form]  # type: ignore[index]
    accept = f"text/html, {kind};q=0.8, application/json;q=0.1" if by_accept else "application/json"
    answer = ask(stored, "acme", query if by_accept else f"{query}&format={form}", Accept=accept)
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["x-total-count"] == "2"
    assert "Accept" in answer.headers["vary"]
    name = 'attachment; filename="acme_report_20261119T120000Z_20261120T120000Z.'
    assert answer.headers.get("content-disposition", name + 'json"') == f'{name}{form}"'
    match form:
        case "json":
            assert answer.json() == wanted
        case "ndjson":
            assert [json.loads(line) for line in answer.text.splitlines()] == wanted
        case "csv":
            table = list(csv.DictReader(io.StringIO(answer.text, newline="")))
            assert [row["agentId"] for row in table] == ["8", "7"]
            assert table[0]["source"] == "'=A1"
            assert [set(row) for row in table] == [set(row) for row in wanted]
        case "parquet":
            found = pq.read_table(io.BytesIO(answer.content))
            assert found.column_names == list(wanted[0])
            assert found["source"].to_pylist() == ["=A1", None]
            assert found["intervalStart"].to_pylist()[0].isoformat() == "2026-11-20T10:00:00+00:00"
        case "xlsx":
            with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
                sheet = book.read("xl/worksheets/sheet1.xml").decode()
            assert sheet.count("<row ") == 3
            assert "<f>" not in sheet, "no formula"
            assert "=A1" in sheet


def test_names_stand_beside_ids_where_labels_are_given(stored: World, tmp_path: Path) -> None:
    post(stored, "acme", handled("a", NOW - 1))
    labels = tmp_path / "labels.csv"
    labels.write_text("kind,id,label\nagent,7,Ada Jackdaw\nskill,10,Sales\n")
    query = "by=agent,skill,group&metrics=agentMessages"
    before = ask(stored, "acme", query)
    stored.service.labels = Labels(labels)
    after = ask(stored, "acme", query, If_None_Match=before.headers["etag"])
    assert after.json() == [
        {
            **{"skillId": 10, "agentId": 7, "groupId": -1},
            **{"skillName": "Sales", "agentName": "Ada Jackdaw", "groupName": None},
            "agentMessages": 1,
        }
    ]


def test_an_unchanged_report_is_not_answered_again(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    post(stored, "acme", handled("a", NOW - 10))
    query = "by=skill&from=2026-11-20&to=2026-11-20T11:59:59.999Z"
    first = ask(stored, "acme", query)
    tag = first.headers["etag"]
    with monkeypatch.context() as patch:
        patch.setattr(method, "Report", None)  # nothing is queried
        for header in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = ask(stored, "acme", query, If_None_Match=header)
            assert (again.status_code, again.content) == (304, b""), header
            assert again.headers["etag"] == tag
    assert ask(stored, "acme", f"{query}&tz=Europe/Berlin", If_None_Match=tag).status_code == 200
    assert ask(stored, "acme", f"{query}&format=csv", If_None_Match=tag).status_code == 200
    post(stored, "other", handled("a", NOW - 1))
    assert ask(stored, "acme", query, If_None_Match=tag).status_code == 304, "nothing of another account is told"
    assert ask(stored, "other", query).headers["etag"] != tag
    post(stored, "acme", handled("b", NOW - 5))
    changed = ask(stored, "acme", query, If_None_Match=tag)
    assert changed.status_code == 200
    assert changed.json()[0]["totalAgentConversationSegments"] == 2


def test_the_state_changes_with_what_is_removed(tmp_path: Path) -> None:
    with SideFile(tmp_path) as side, Store(tmp_path, side) as real:
        fits: StoreOfTheMethods = real
        with World(real=fits) as world:
            post(world, "acme", handled("a", NOW - 1))
            tag = ask(world, "acme").headers["etag"]
            real.transact(lambda writer: writer.forget("acme", "a"))
            assert ask(world, "acme", If_None_Match=tag).status_code == 200


# --- large answers ---------------------------------------------------------------------------------------------------


def filled(world: World, account: str) -> str:
    """Many rows; gives the query for them."""
    seen = {event["eventId"]: event for event in messy_stream(3, events=400)}
    events = [{**event, "accountId": account} for event in seen.values()]
    post(world, account, b"\n".join(json.dumps(event).encode() for event in events))
    return "from=2026-11-19T12:00:00Z&to=2026-11-20T12:00:00Z&interval=5&by=agent,skill,source&fill=zero"


def is_freed(world: World) -> bool:
    """Whether no answer takes memory any more, a moment after the last one has arrived."""
    for _ in range(200):
        if not world.service.answers.held:
            return True
        threading.Event().wait(0.02)
    return False


@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "parquet"])
@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
def test_long_answers_are_sent_while_they_are_made(
    form: str, coding: str, stored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = f"{filled(stored, 'acme')}&format={form}"
    whole = ask(stored, "acme", query, Accept_Encoding=coding)
    assert "x-total-count" in whole.headers
    monkeypatch.setattr(reports, "LONG", 10)
    monkeypatch.setattr(reports, "AT_ONCE", 100)
    monkeypatch.setattr(answers, "PIECE", 1 << 10)
    part = ask(stored, "acme", query, Accept_Encoding=coding)
    assert part.status_code == 200
    assert "x-total-count" not in part.headers
    # What is compressed may be little enough to be sent at once.
    assert coding != "identity" or "content-length" not in part.headers
    if form == "parquet":
        assert pq.read_table(io.BytesIO(part.content)).equals(pq.read_table(io.BytesIO(whole.content)))
    else:
        assert part.content == whole.content
    head = stored.client.head(f"{PATH.format('acme')}?{query}", headers=token("acme"))
    assert (head.status_code, head.content) == (200, b"")
    assert ask(stored, "acme", f"{query}&limit=1000000").headers["x-total-count"] == whole.headers["x-total-count"]
    assert is_freed(stored)


def test_an_answer_that_cannot_be_finished_breaks_off(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    query = f"{filled(stored, 'acme')}&format=csv"
    monkeypatch.setattr(reports, "LONG", 10)
    monkeypatch.setattr(reports, "AT_ONCE", 100)
    monkeypatch.setattr(answers, "PIECE", 1 << 10)
    worked_out, calls = reports.Report._worked_out, iter(range(10**6))

    def failing(self: reports.Report, begin: int, end: int) -> reports.Rows:
        if next(calls) > 3:
            raise RuntimeError("a secret of the inside")
        return worked_out(self, begin, end)

    monkeypatch.setattr(reports.Report, "_worked_out", failing)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(stored, "acme", query, Accept_Encoding="identity")
    monkeypatch.setattr(reports.Report, "_worked_out", worked_out)
    assert ask(stored, "acme", query).status_code == 200
    assert is_freed(stored)


def test_who_leaves_an_answer_stops_it(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    query = f"{filled(stored, 'acme')}&format=csv"
    monkeypatch.setattr(reports, "LONG", 10)
    monkeypatch.setattr(reports, "AT_ONCE", 100)
    monkeypatch.setattr(answers, "PIECE", 1 << 10)
    worked_out, reached, go_on = reports.Report._worked_out, threading.Event(), threading.Event()
    calls: list[int] = []

    def waiting(self: reports.Report, begin: int, end: int) -> reports.Rows:
        calls.append(begin)
        if len(calls) == 4:
            reached.set()
            go_on.wait(10)
        return worked_out(self, begin, end)

    monkeypatch.setattr(reports.Report, "_worked_out", waiting)
    headers = token("acme") | {"Accept-Encoding": "identity"}
    with stored.client.stream("GET", f"{PATH.format('acme')}?{query}", headers=headers) as answer:
        pieces = answer.iter_raw()  # where it is let go, the connection is closed
        next(pieces)
        assert reached.wait(10)
    assert is_freed(stored)
    go_on.set()
    assert ask(stored, "acme", "by=skill").status_code == 200
    assert is_freed(stored)
    assert len(calls) < 10


def test_there_is_memory_for_the_answer_or_it_is_refused(tmp_path: Path) -> None:
    with SideFile(tmp_path) as side, Store(tmp_path, side) as real:
        fits: StoreOfTheMethods = real
        with World(ApiSettings(answer_bytes=1 << 20), real=fits) as world:
            answer = ask(world, "acme", f"{filled(world, 'acme')}&limit=1000000")
            assert answer.status_code == 400
            assert answer.json()["causes"][0].startswith("answer: would take more than 1 MiB of the server's memory")
            assert ask(world, "acme", "by=skill&from=2026-11-20").status_code == 200
            assert is_freed(world)


def test_every_metric_is_described(stored: World) -> None:
    described = stored.client.get("/openapi.json").json()["components"]["schemas"]["FlatRow"]["properties"]
    assert {*REPORTED} <= {*described}
