"""Events in, over a real socket (http-api.md 5), and what has broken others."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Sequence

import httpx
import pyarrow as pa
import pytest

from handletime.api.service import ApiSettings
from tests.api.world import NOW, Event, World, token

DAY = 86_400_000
JSON = "application/json"


def an_event(number: int = 0, **fields: object) -> Event:
    return {"conversationId": "c", "eventId": f"e{number}", "time": NOW, "type": "opened", **fields}


def lines(events: Sequence[Event]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


def stored(world: World, account: str) -> int:
    rows: int = world.store.reader(account).events.num_rows
    return rows


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-ndjson", lines([an_event(0), an_event(1)])),
        ("Application/X-NDJSON; charset=UTF-8", lines([an_event(0), an_event(1)]).rstrip()),
        ("application/x-ndjson", b"\n\r\n" + lines([an_event(0), an_event(1)]).replace(b"\n", b"\r\n") + b"\n"),
        ("application/x-ndjson", b"\xef\xbb\xbf" + lines([an_event(0), an_event(1)])),
        (JSON, json.dumps([an_event(0), an_event(1)], indent=2).encode()),
        (JSON, json.dumps([an_event(0, accountId=None), an_event(1)]).encode()),
    ],
)
@pytest.mark.parametrize("coding", ["", "identity", "gzip", "zstd", "GZIP", "two members"])
def test_events_are_taken_in_both_forms_and_every_coding(
    world: World, account: str, content_type: str, body: bytes, coding: str
) -> None:
    headers = {"Content-Type": content_type}
    match coding:
        case "gzip" | "GZIP":
            body = gzip.compress(body)
        case "two members":
            body, coding = gzip.compress(body[:50]) + gzip.compress(body[50:]), "gzip"
        case "zstd":
            body = zstd(body)
    if coding:
        headers["Content-Encoding"] = coding
    answer = world.client.post(
        f"/api/account/{account}/events", content=body, headers=token(account, "ingest") | headers
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"accepted": 2, "duplicates": 0}
    assert stored(world, account) == 2


def test_repeating_a_request_doubles_nothing_and_the_next_query_sees_it(world: World, account: str) -> None:
    events = [
        an_event(0, time=NOW - 9_000, skillId=7),
        an_event(1, time=NOW - 8_000, type="assigned", agentId=5),
        an_event(2, time=NOW - 1_000, type="closed", closedBy="agent"),
    ]
    path = f"/api/account/{account}/events"
    assert world.post(path, lines(events), account).json() == {"accepted": 3, "duplicates": 0}
    assert world.post(path, lines(events[::-1]), account).json() == {"accepted": 0, "duplicates": 3}
    found = world.get(f"/api/account/{account}/agent-segments?source=test", account).json()
    assert found["pagination"]["count"] == 1


def test_nothing_is_stored_of_nothing(world: World, account: str) -> None:
    path = f"/api/account/{account}/events"
    assert world.post(path, b"", account).json() == {"accepted": 0, "duplicates": 0}
    assert world.post(path, b" [ ]\n", account, Content_Type=JSON).json() == {"accepted": 0, "duplicates": 0}


GOOD = lines([an_event(0)])


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (lines([an_event(1, type="open")]), "line 2: type: "),
        (lines([an_event(1, time="soon")]), "line 2: time: "),
        (lines([an_event(1, time=NOW // 1000)]), f"line 2: time: {NOW // 1000} looks like seconds; "),
        (lines([an_event(1, time=NOW + DAY + 1)]), "line 2: time: must not be more than 24 hours in the future"),
        (lines([an_event(1, accountId="other")]), "line 2: accountId: "),
        (lines([an_event(1, eventId="a\0b")]), "line 2: eventId: "),
        (lines([an_event(1, skillId=2**63)]), "line 2: skillId: "),
        (b'{"conversationId": "c"', "line 2: "),
        (b'{"a": NaN}', "line 2: "),
        (b'{"a": 1e999}', "line 2: "),
        (b'{"a": "\\ud800"}', "line 2: "),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 2: "),
        (b"[" * 10_000, "line 2: "),
        (b"\xff\xfe", "line 2: "),
        (b"\x00", "line 2: "),
        (b"null", "line 2: "),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', "line 2: "),
    ],
)
def test_one_bad_event_makes_the_whole_request_a_400_that_stores_nothing(
    world: World, account: str, line: bytes, cause: str
) -> None:
    body = GOOD + line.rstrip(b"\n") + b"\n" + lines([an_event(3)])
    answer = world.post(f"/api/account/{account}/events", body, account)
    assert answer.status_code == 400
    assert any(told.startswith(cause) for told in answer.json()["causes"]), answer.text
    assert all(told.startswith("line 2: ") for told in answer.json()["causes"])
    assert stored(world, account) == 0


def test_faults_of_an_array_are_told_by_element(world: World, account: str) -> None:
    body = json.dumps([an_event(0), an_event(1, type="x"), an_event(2, time=NOW + 2 * DAY)], indent=1).encode()
    answer = world.post(f"/api/account/{account}/events", body, account, Content_Type=JSON)
    assert [cause.split(": ")[:2] for cause in answer.json()["causes"]] == [
        ["element 2", "type"],
        ["element 3", "time"],
    ]


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"[", b"[1", b"[{},]", b"[]]", json.dumps(an_event()).encode()])
def test_what_is_no_array_is_a_400(world: World, account: str, body: bytes) -> None:
    answer = world.post(f"/api/account/{account}/events", body, account, Content_Type=JSON)
    assert answer.status_code == 400
    assert answer.json()["causes"]


def test_up_to_twenty_faults_are_told_in_order_among_many_good_events(world: World, account: str) -> None:
    events = [an_event(n, accountId="other") if n % 100 == 99 else an_event(n) for n in range(5000)]
    events[50] = an_event(50, type="x")
    answer = world.post(f"/api/account/{account}/events", lines(events), account)
    causes = answer.json()["causes"]
    assert len(causes) == 20
    assert [int(cause.split(":")[0].removeprefix("line ")) for cause in causes] == [51, *range(100, 2000, 100)]
    assert "more" in answer.json()["message"]


def test_a_time_within_24_hours_of_the_future_is_fine(world: World, account: str) -> None:
    body = lines([an_event(0, time=NOW + DAY), an_event(1, accountId=account)])
    assert world.post(f"/api/account/{account}/events", body, account).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
        {"Content-Encoding": "zstd,gzip"},
        {"Content-Encoding": "identity, gzip"},
    ],
)
def test_another_type_and_another_coding_or_one_inside_another_are_a_415(
    world: World, account: str, headers: dict[str, str]
) -> None:
    base = token(account) | {"Content-Type": "application/x-ndjson"}
    answer = world.client.post(f"/api/account/{account}/events", content=GOOD, headers=base | headers)
    assert answer.status_code == 415
    assert stored(world, account) == 0


def test_a_last_line_without_an_end_has_its_own_number(world: World, account: str) -> None:
    answer = world.post(f"/api/account/{account}/events", GOOD + b"{}", account)
    assert answer.status_code == 400
    assert {cause.split(":")[0] for cause in answer.json()["causes"]} == {f"line {GOOD.count(10) + 1}"}
    assert stored(world, account) == 0


PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"no gzip"),
        ("gzip", PACKED[:-1]),
        ("gzip", PACKED[:12]),
        ("gzip", PACKED[:-8] + b"\0" * 8),
        ("gzip", PACKED + b"garbage"),
        ("gzip", PACKED + PACKED[:5]),
        ("gzip", zlib.compress(GOOD)),
        ("gzip", zstd(GOOD)),
        ("zstd", b"no zstd"),
        ("zstd", zstd(GOOD * 100)[:-3]),
        ("zstd", zstd(GOOD) + b"garbage"),
        ("zstd", PACKED),
    ],
)
def test_a_stream_that_is_broken_or_cut_off_is_a_400(world: World, account: str, coding: str, body: bytes) -> None:
    answer = world.post(f"/api/account/{account}/events", body, account, Content_Encoding=coding)
    assert answer.status_code == 400, answer.text
    assert stored(world, account) == 0


def test_what_is_packed_in_itself_is_no_event(world: World, account: str) -> None:
    answer = world.post(f"/api/account/{account}/events", gzip.compress(PACKED), account, Content_Encoding="gzip")
    assert answer.status_code == 400


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_what_unpacks_to_more_than_256_mib_is_a_413(world: World, account: str, coding: str) -> None:
    blank = b" " * 1023 + b"\n"
    body = {"gzip": gzip.compress, "zstd": zstd}[coding](blank * (257 << 10))
    assert len(body) < 2 << 20
    answer = world.post(f"/api/account/{account}/events", body, account, Content_Encoding=coding)
    assert answer.status_code == 413


def test_a_body_without_a_length_is_counted_while_it_comes(world: World, account: str) -> None:
    def endless() -> object:
        for _ in range(33):
            yield b"\n" * (1 << 20)

    headers = token(account) | {"Content-Type": "application/x-ndjson"}
    answer = world.client.post(f"/api/account/{account}/events", content=endless(), headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 413


def post_head(account: str, length: int) -> bytes:
    key = token(account)["Authorization"]
    return (
        f"POST /api/account/{account}/events HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_sender_that_goes_away_in_the_middle_stores_nothing(world: World, account: str) -> None:
    with socket.create_connection(("127.0.0.1", world.port)) as connection:
        connection.sendall(post_head(account, 10 * len(GOOD)) + GOOD)
    assert world.client.get("/healthz").status_code == 200
    assert stored(world, account) == 0


def test_a_sender_that_stops_is_a_408_and_one_beside_too_many_a_429() -> None:
    with World(ApiSettings(ingest_requests=1, body_idle_seconds=1)) as world:
        with socket.create_connection(("127.0.0.1", world.port), timeout=20) as connection:
            connection.sendall(post_head("slow", 100) + b"\n")
            answers: list[httpx.Response] = []
            while not any(answer.status_code == 429 for answer in answers) and len(answers) < 200:
                answers.append(world.post("/api/account/other/events", GOOD, "other"))
            assert answers[-1].status_code == 429
            assert int(answers[-1].headers["retry-after"]) >= 1
            assert set(answers[-1].json()) == {"message"}
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert world.post("/api/account/other/events", GOOD, "other").status_code == 200
