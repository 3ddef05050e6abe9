"""`agent-segments` against LivePerson's page and http-api.md 2.

Covers: answers/pages, api/csv_table, api/negotiation, api/timeframe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from handletime.answers import pages
from handletime.answers.pages import Segment, Sort, SortKey, rows_of
from handletime.answers.selection import Selection
from tests.api.world import NOW, Event, World
from tests.messy_streams import messy_stream

Json = dict[str, Any]
HOUR, DAY = 3_600_000, 86_400_000
PAGE_SEGMENT_KEYS = [
    "segmentId",
    "startTimeL",
    "endTimeL",
    "conversationId",
    "agentId",
    "employeeId",
    "skillId",
    "groupId",
    "endReason",
    "totalHandleTimeMillis",
    "endTime",
    "startTime",
]


def a_segment(number: int, end: int, **assigned: object) -> Iterator[Event]:
    """The events of one segment that ends at a moment."""
    shared = {"conversationId": assigned.pop("conversation", f"c{number}")}
    start = end - 60_000
    yield {**shared, "eventId": f"o{number}", "time": start, "type": "opened", "skillId": assigned.pop("skill", 7)}
    yield {**shared, "eventId": f"a{number}", "time": start, "type": "assigned", "agentId": 1, **assigned}
    yield {**shared, "eventId": f"x{number}", "time": end, "type": "closed", "closedBy": "agent"}


def put(world: World, account: str, ends: list[int], **assigned: object) -> None:
    events = [event for number, end in enumerate(ends) for event in a_segment(number, end, **assigned)]
    world.store.put(account, events)


@pytest.fixture
def ask(world: World, account: str) -> Callable[..., Json]:
    """Asks for segments of the test's own account; all must go well."""

    def asked(query: str = "") -> Json:
        answer = world.get(f"/api/account/{account}/agent-segments?source=test&{query}", account)
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    return asked


def test_the_answer_has_the_shape_of_livepersons_example_key_for_key(
    world: World, account: str, ask: Callable[..., Json]
) -> None:
    put(world, account, [NOW - HOUR, NOW - 2 * HOUR, NOW - 3 * HOUR], employeeId="abcd123", groupId=5)
    answer = ask("from=2026-11-20T11:00:00%2B03:00&to=2026-11-20T15:00%2B03:00&limit=2")
    assert list(answer) == ["timeframe", "segments", "pagination"]
    assert answer["timeframe"] == {
        "startTime": "2026-11-20T11:00:00+03:00",
        "endTime": "2026-11-20T15:00:00+03:00",
        "startTimeL": NOW - 4 * HOUR,
        "endTimeL": NOW,
    }
    assert list(answer["timeframe"]) == ["startTime", "endTime", "startTimeL", "endTimeL"]
    segment = answer["segments"][0]
    assert list(segment) == PAGE_SEGMENT_KEYS
    assert segment | {"segmentId": ""} == {
        "segmentId": "",
        "startTimeL": NOW - HOUR - 60_000,
        "endTimeL": NOW - HOUR,
        "conversationId": "c0",
        "agentId": 1,
        "employeeId": "abcd123",
        "skillId": 7,
        "groupId": 5,
        "endReason": "closedByAgent",
        "totalHandleTimeMillis": 0,
        "endTime": "2026-11-20T11:00:00.000Z",
        "startTime": "2026-11-20T10:59:00.000Z",
    }
    assert segment["segmentId"].startswith(f"{account}:1:c0:")
    assert answer["pagination"]["count"] == 3
    assert {reference["rel"] for reference in answer["pagination"]["references"]} == {"self", "next", "last", "first"}
    for reference in answer["pagination"]["references"]:
        assert list(reference) == ["rel", "href"]


def test_employee_is_absent_where_it_is_unknown(world: World, account: str, ask: Callable[..., Json]) -> None:
    put(world, account, [NOW - HOUR])
    assert "employeeId" not in ask()["segments"][0]


def test_a_segment_counts_where_it_ends_in_the_half_open_window(
    world: World, account: str, ask: Callable[..., Json]
) -> None:
    put(world, account, [NOW - 2 * HOUR, NOW - HOUR, NOW - HOUR - 1, NOW - HOUR + 1])
    window = f"from={NOW - 2 * HOUR}&to={NOW - HOUR}"
    assert [s["endTimeL"] for s in ask(window)["segments"]] == [NOW - HOUR - 1, NOW - 2 * HOUR]
    millis = f"fromMillis={NOW - 2 * HOUR}&toMillis={NOW - HOUR}"
    assert ask(millis)["segments"] == ask(window)["segments"]


def test_bots_and_what_still_runs_are_left_out(world: World, account: str, ask: Callable[..., Json]) -> None:
    put(world, account, [NOW - HOUR], userType="bot")
    world.store.put(account, list(a_segment(5, NOW - HOUR, conversation="runs"))[:2])
    assert ask()["pagination"]["count"] == 0


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("", NOW - DAY, NOW),
        (f"to={NOW + DAY}", NOW - DAY, NOW),
        (f"to={NOW - DAY}", NOW - 2 * DAY, NOW - DAY),
        (f"from={NOW - 2 * DAY}", NOW - 2 * DAY, NOW),
        (f"from={NOW}", NOW, NOW),
        (f"from={NOW - 7 * DAY}", NOW - 7 * DAY, NOW),
        (f"from={NOW - 31 * DAY - HOUR}&to={NOW - 25 * DAY}", NOW - 31 * DAY - HOUR, NOW - 25 * DAY),
    ],
)
def test_the_window_has_defaults_and_limits(ask: Callable[..., Json], query: str, start: int, end: int) -> None:
    timeframe = ask(query)["timeframe"]
    assert (timeframe["startTimeL"], timeframe["endTimeL"]) == (start, end)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (f"from={NOW - 31 * DAY - HOUR - 1}&to={NOW - 30 * DAY}", ["from"]),
        (f"from={NOW - 7 * DAY - 1}", ["from"]),
        (f"fromMillis={NOW - 7 * DAY - 1}", ["fromMillis"]),
        (f"from={NOW - HOUR}&to={NOW - 2 * HOUR}", ["from"]),
        (f"from={NOW + 1}", ["from"]),
        (f"from={NOW - HOUR}&fromMillis={NOW - HOUR}", ["fromMillis"]),
        (f"to={NOW}&toMillis={NOW}&limit=0", ["toMillis", "limit"]),
        (f"from={NOW - 40 * DAY}&offset=x", ["from", "from", "offset"]),
        (f"from={NOW - 40 * DAY}&to=x", ["to", "from"]),
        (f"fromMillis={NOW + 1}&to={NOW}&toMillis={NOW}", ["toMillis", "fromMillis"]),
        (f"from={NOW // 1000}", ["from"]),
        (f"fromMillis={NOW // 1000}&toMillis=0", ["toMillis", "fromMillis"]),
        ("limit=501", ["limit"]),
        ("offset=-1", ["offset"]),
        ("sort=Date&sortType=Date", ["sort"]),
        ("SkillId=1.5&GroupId=a&AgentId=", ["SkillId", "GroupId"]),
    ],
)
def test_what_breaks_a_limit_is_a_400(world: World, query: str, names: list[str]) -> None:
    answer = world.get(f"/api/account/acme/agent-segments?source=test&{query}")
    assert answer.status_code == 400
    assert [cause.split(":")[0] for cause in answer.json()["causes"]] == names


def messy(world: World, account: str) -> int:
    """Fills an account with a random stream; gives the moment after its last event."""
    events = [{**event, "accountId": account} for event in messy_stream(3, events=600)]
    world.store.put(account, events)
    with world.store.reader(account).snapshot() as connection:
        (last,) = connection.execute('select max(epoch_ms("end")) from agent_segments').fetchone() or (0,)
    return int(last) + 1


KEYS: dict[str, Callable[[Json], Any]] = {
    "Date": lambda s: s["endTimeL"],
    "Conversation": lambda s: s["conversationId"].encode(),
    "Agent": lambda s: s["agentId"],
    "Employee": lambda s: s.get("employeeId", "").encode(),
    "Skill": lambda s: s["skillId"],
    "Group": lambda s: s["groupId"],
}


def in_order(segments: list[Json], key: str, *, descending: bool) -> list[Json]:
    by_id = sorted(segments, key=lambda s: s["segmentId"])
    by_end = sorted(by_id, key=lambda s: -s["endTimeL"]) if key != "Date" else by_id
    ordered = sorted(by_end, key=KEYS[key], reverse=descending)
    return sorted(ordered, key=lambda s: "employeeId" not in s) if key == "Employee" else ordered


@pytest.mark.parametrize("large", [(), ("NARROW_FROM",), ("PICK_FROM",), ("NARROW_FROM", "PICK_FROM")])
@pytest.mark.parametrize("direction", ["", ":asc", ":desc"])
@pytest.mark.parametrize("key", KEYS)
def test_pages_followed_link_by_link_give_each_segment_once_in_a_total_order(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch, key: str, direction: str, large: tuple[str, ...]
) -> None:
    for name in large:  # what large results take
        monkeypatch.setattr(pages, name, 1)
    monkeypatch.setattr(world.clock, "moment", messy(world, account))
    path = f"/api/account/{account}/agent-segments?source=test"
    whole = world.get(f"{path}&limit=500&sort=Date", account).json()["segments"]
    assert len(whole) > 20
    found: list[Json] = []
    link: str | None = f"{path}&limit=7&sort={key}{direction}"
    while link:
        page = world.get(link, account).json()
        found += page["segments"]
        references = {r["rel"]: r["href"] for r in page["pagination"]["references"]}
        assert page["pagination"]["count"] == len(whole)
        link = references.get("next")
    descending = direction == ":desc" or (key == "Date" and not direction)
    assert found == in_order(whole, key, descending=descending)
    assert world.get(references["last"], account).json()["segments"] == found[(len(found) - 1) // 7 * 7 :]
    assert world.get(references["first"], account).json()["segments"] == found[:7]


@pytest.mark.parametrize("large", [(), ("NARROW_FROM",), ("PICK_FROM",), ("NARROW_FROM", "PICK_FROM")])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("key", ["HandleTime", "Duration"])
def test_the_orders_that_only_the_page_has_give_each_segment_once(
    world: World,
    account: str,
    monkeypatch: pytest.MonkeyPatch,
    key: SortKey,
    *,
    descending: bool,
    large: tuple[str, ...],
) -> None:
    for name in large:
        monkeypatch.setattr(pages, name, 1)
    of = Selection((0, messy(world, account)))

    def value(row: Segment) -> int | None:
        if key == "Duration":
            return row.end - row.start
        return row.handle_time if row.focus_data and row.user_type == "human" else None

    def place(row: Segment) -> tuple[object, ...]:
        found = value(row)
        first = (found is None, (-found if descending else found) if found is not None else 0)
        return (*first, -row.end, row.segment_id)

    with world.store.reader(account).snapshot() as snapshot:
        total, rows = rows_of(snapshot, of, Sort(), offset=0, limit=None)
        whole = list(rows)
        assert len(whole) == total > 20
        assert len({value(row) for row in whole}) > 5
        found: list[Segment] = []
        for offset in range(0, total, 7):
            found += rows_of(snapshot, of, Sort(key, descending), offset=offset, limit=7)[1]
    assert found == sorted(whole, key=place)


def references_of(answer: Json) -> dict[str, tuple[int, int]]:
    links = {}
    for reference in answer["pagination"]["references"]:
        query = parse_qs(urlsplit(reference["href"]).query)
        links[reference["rel"]] = (int(query["offset"][0]), int(query["limit"][0]))
    return links


@pytest.mark.parametrize(
    ("offset", "limit", "links"),
    [
        (0, 2, {"self": (0, 2), "next": (2, 2), "last": (4, 1), "first": (0, 2)}),
        (2, 2, {"self": (2, 2), "next": (4, 2), "previous": (0, 2), "last": (4, 1), "first": (0, 2)}),
        (1, 2, {"self": (1, 2), "next": (3, 2), "previous": (0, 1), "last": (3, 2), "first": (0, 2)}),
        (4, 2, {"self": (4, 2), "previous": (2, 2), "last": (4, 1), "first": (0, 2)}),
        (0, 5, {"self": (0, 5), "last": (0, 5), "first": (0, 5)}),
        (5, 2, {"self": (5, 2), "previous": (3, 2), "last": (3, 2), "first": (0, 2)}),
        (6, 2, {"self": (6, 2), "previous": (4, 1), "last": (4, 1), "first": (0, 2)}),
        (9, 2, {"self": (9, 2), "previous": (3, 2), "last": (3, 2), "first": (0, 2)}),
        (9, 100, {"self": (9, 100), "previous": (0, 5), "last": (0, 5), "first": (0, 100)}),
        (10**18, 3, {"self": (10**18, 3), "previous": (4, 1), "last": (4, 1), "first": (0, 3)}),
    ],
)
def test_references_follow_the_rules(
    world: World, account: str, ask: Callable[..., Json], offset: int, limit: int, links: dict[str, tuple[int, int]]
) -> None:
    put(world, account, [NOW - n * HOUR for n in range(1, 6)])
    assert references_of(ask(f"offset={offset}&limit={limit}")) == links


def test_references_of_nothing_lead_to_the_first_page(ask: Callable[..., Json]) -> None:
    assert references_of(ask("limit=7")) == {"self": (0, 7), "last": (0, 7), "first": (0, 7)}
    beyond = {"self": (9, 7), "previous": (0, 7), "last": (0, 7), "first": (0, 7)}
    assert references_of(ask("limit=7&offset=9")) == beyond


@pytest.mark.parametrize("count", range(6))
def test_whoever_walks_back_from_beyond_the_end_sees_each_segment_once(
    world: World, account: str, ask: Callable[..., Json], count: int
) -> None:
    put(world, account, [NOW - n * HOUR for n in range(1, count + 1)])
    whole = [s["segmentId"] for s in ask()["segments"]]
    for offset in range(10):
        page = ask(f"limit=2&offset={offset}")
        seen = [s["segmentId"] for s in page["segments"]]
        while previous := {r["rel"]: r["href"] for r in page["pagination"]["references"]}.get("previous"):
            page = world.get(previous, account).json()
            seen = [*(s["segmentId"] for s in page["segments"]), *seen]
        assert seen == whole[: offset + 2]


def test_links_carry_the_resolved_window_the_sort_and_all_filters(world: World, account: str) -> None:
    put(world, account, [NOW - HOUR, NOW - 2 * HOUR], employeeId="é/?&", groupId=-1)
    query = (
        f"v=1&source=me&fromMillis={NOW - 3 * HOUR}&SORTTYPE=agent:DESC&employeeid=%C3%A9%2F%3F%26&GroupId=-1&limit=1"
    )
    answer = world.get(f"/api/account/{account}/agent-segments?{query}", account).json()
    links = {r["rel"]: r["href"] for r in answer["pagination"]["references"]}
    assert links["next"].startswith(world.url + f"/api/account/{account}/agent-segments?")
    assert links["next"].isascii()
    assert parse_qs(urlsplit(links["next"]).query) == {
        "source": ["me"],
        "from": ["2026-11-20T09:00:00Z"],
        "to": ["2026-11-20T12:00:00Z"],
        "offset": ["1"],
        "limit": ["1"],
        "sort": ["Agent:desc"],
        "EmployeeId": ["é/?&"],
        "GroupId": ["-1"],
    }
    following = world.get(links["next"], account).json()
    assert len(following["segments"]) == 1
    assert following["segments"] != answer["segments"]


def test_links_keep_an_offset_and_milliseconds_of_their_window(world: World) -> None:
    path = "/api/account/acme/agent-segments?source=x&from=2026-11-20T11:00:00.125 03:00"
    answer = world.get(path).json()
    assert answer["timeframe"]["startTime"] == "2026-11-20T11:00:00.125+03:00"
    href = answer["pagination"]["references"][0]["href"]
    assert "from=2026-11-20T11%3A00%3A00.125%2B03%3A00" in href
    assert world.get(href).json() == answer


@pytest.mark.parametrize(
    ("query", "conversations"),
    [
        ("ConversationId=a", {"a"}),
        ("conversationid=A", set()),
        ("ConversationId=with space", {"with space"}),
        ("AgentId=12", {"a", "with space"}),
        ("AGENTID=-1", {"c"}),
        ("EmployeeId=e1", {"a"}),
        ("SkillId=7", {"a", "c"}),
        ("GroupId=5&AgentId=12", {"with space"}),
        ("ConversationId=%00", set()),
    ],
)
def test_filters_take_one_value_each(
    world: World, account: str, ask: Callable[..., Json], query: str, conversations: set[str]
) -> None:
    kinds: list[Json] = [
        {"conversation": "a", "agentId": 12, "employeeId": "e1", "skill": 7},
        {"conversation": "with space", "agentId": 12, "groupId": 5, "skill": 8},
        {"conversation": "c", "agentId": -1, "skill": 7},
    ]
    for number, kind in enumerate(kinds):
        world.store.put(account, list(a_segment(number, NOW - HOUR, **kind)))
    answer = ask(query)
    assert {segment["conversationId"] for segment in answer["segments"]} == conversations
    assert answer["pagination"]["count"] == len(conversations)


@pytest.mark.parametrize("how", ["&format=csv", "&FORMAT=CSV", ""])
def test_as_a_table_the_rows_and_their_order_are_the_same(world: World, account: str, how: str) -> None:
    put(world, account, [NOW - HOUR, NOW - 2 * HOUR], employeeId="=1+1", groupId=-1)
    path = f"/api/account/{account}/agent-segments?source=test"
    accept = "application/json" if how else "text/csv"
    answer = world.get(path + how, account, Accept=accept)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    segments = world.get(path, account).json()["segments"]
    assert list(rows[0])[:6] == ["segmentId", "conversationId", "agentId", "employeeId", "skillId", "groupId"]
    assert set(rows[0]) == set(PAGE_SEGMENT_KEYS)
    assert answer.headers["x-total-count"] == "2"
    assert "link" not in answer.headers
    for row, segment in zip(rows, segments, strict=True):
        told = {"employeeId": "'=1+1", "totalHandleTimeMillis": ""}  # There is no focus event.
        assert row == {key: str(value) for key, value in segment.items()} | told
    assert rows[0]["groupId"] == "-1"


@pytest.mark.parametrize("how", ["accept", "format"])
def test_pages_of_a_table_followed_link_by_link_are_the_whole_list(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(world.clock, "moment", messy(world, account))
    path = f"/api/account/{account}/agent-segments?source=test"
    whole = world.get(f"{path}&limit=500&sort=Agent", account).json()
    link = f"{path}&limit=7&sort=Agent" + ("&format=csv" if how == "format" else "")
    found: list[dict[str, str]] = []
    answer = world.get(link, account, **({"Accept": "text/csv"} if how == "accept" else {}))
    while True:
        assert answer.headers["x-total-count"] == str(whole["pagination"]["count"])
        found += csv.DictReader(io.StringIO(answer.text))
        if "next" not in answer.links:
            break
        assert answer.headers["link"] == f'<{answer.links["next"]["url"]}>; rel="next"'
        answer = world.get(answer.links["next"]["url"], account)
    assert [row["segmentId"] for row in found] == [s["segmentId"] for s in whole["segments"]]
    total = sum(s["totalHandleTimeMillis"] for s in whole["segments"])
    assert sum(int(row["totalHandleTimeMillis"] or 0) for row in found) == total > 0
    assert answer.headers["content-type"].startswith("text/csv")


def test_a_table_may_have_a_hundred_thousand_rows(world: World, account: str) -> None:
    put(world, account, [NOW - n * 1000 for n in range(1, 702)])
    path = f"/api/account/{account}/agent-segments?source=test"
    answer = world.get(f"{path}&limit=100000", account, Accept="text/csv")
    assert len(list(csv.reader(io.StringIO(answer.text)))) == 702
    assert "link" not in answer.headers
    answer = world.get(f"{path}&limit=700&format=csv", account)
    assert answer.links["next"]["url"].endswith("&offset=700&limit=700&source=test&sort=Date&format=csv")
    for query, most in (("&format=csv", 100_000), ("", 500), ("&format=json", 500)):
        refused = world.get(f"{path}&limit=100001{query}", account)
        assert refused.json()["causes"] == [f"limit: must be less than or equal to {most}"]


@pytest.mark.parametrize(
    ("query", "window"),
    [
        ("", "20261119T120000Z_20261120T120000Z"),
        ("from=2026-11-20T11:00:00.125%2B03:00&to=2026-11-20T09:00Z", "20261120T080000.125Z_20261120T090000Z"),
    ],
)
def test_the_file_of_a_table_is_named_after_account_method_and_window(world: World, query: str, window: str) -> None:
    answer = world.get(f"/api/account/acme/agent-segments?source=test&format=csv&{query}")
    assert answer.headers["content-disposition"] == f'attachment; filename="acme_agent-segments_{window}.csv"'


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_text_that_a_spreadsheet_would_take_for_a_formula_is_text(world: World, account: str, start: str) -> None:
    put(world, account, [NOW - HOUR], conversation=f"{start}1", employeeId=f"{start}2")
    answer = world.get(f"/api/account/{account}/agent-segments?source=test&format=csv", account)
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["conversationId"], row["employeeId"]) == (f"'{start}1", f"'{start}2")


def test_text_that_is_split_at_a_semicolon_begins_no_formula(world: World, account: str) -> None:
    put(world, account, [NOW - HOUR], conversation="a;=1+1", employeeId='b;"=1"')
    answer = world.get(f"/api/account/{account}/agent-segments?source=test&format=csv", account)
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["conversationId"], row["employeeId"]) == ("a;'=1+1", 'b;\'"=1"')
    cells = [cell for line in csv.reader(io.StringIO(answer.text), delimiter=";") for cell in line]
    assert [cell for cell in cells if cell[:1] in ("=", '"')] == []
    assert len(cells) > 3


def test_handle_time_without_focus_data_is_an_empty_cell_and_0_is_0(world: World, account: str) -> None:
    """The JSON has LivePerson's number, which knows no difference."""
    put(world, account, [NOW - HOUR], agentId=1)
    put(world, account, [NOW - 2 * HOUR], agentId=2, conversation="seen")
    world.store.put(
        account,
        [{"conversationId": "seen", "eventId": "f", "time": NOW - 3 * HOUR, "type": "focused", "agentId": 2}],
    )
    path = f"/api/account/{account}/agent-segments?source=test"
    rows = csv.DictReader(io.StringIO(world.get(path, account, Accept="text/csv").text))
    assert {row["agentId"]: row["totalHandleTimeMillis"] for row in rows} == {"1": "", "2": "0"}
    segments = world.get(path, account).json()["segments"]
    assert {segment["agentId"]: segment["totalHandleTimeMillis"] for segment in segments} == {1: 0, 2: 0}


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json, text/csv", "text/csv;q=0", "text/html", "text/csv;q=0.5,application/json"]
)
def test_json_is_what_everybody_else_gets(world: World, accept: str) -> None:
    path = "/api/account/acme/agent-segments?source=test"
    assert world.get(path, Accept=accept).headers["content-type"] == "application/json"
    assert world.get(path + "&format=json", Accept="text/csv").headers["content-type"] == "application/json"
    assert world.get(path + "&format=xml").json()["causes"] == ["format: must be one of json, csv"]


def test_no_answer_depends_on_another_account(world: World, account: str) -> None:
    moment = messy(world, account)
    path = f"/api/account/{account}/agent-segments?source=test&limit=500&to={moment}&from={moment - DAY}"
    world.clock.moment, before = moment, world.clock.moment
    try:
        alone = world.get(path, account).content
        put(world, account + "x", [moment - 1, moment - 2])
        assert world.get(path, account).content == alone
    finally:
        world.clock.moment = before
