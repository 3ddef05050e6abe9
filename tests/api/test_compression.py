"""Answers are compressed where the client offers it, and never where somebody could learn from their length."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pyarrow as pa
import pytest

from handletime.api.compression import LEAST, Coding, Compressing, coding_of
from handletime.web.page import tag
from tests.api.world import World, token
from tests.crash.nursery import Nursery
from tests.signed_in import Site, signed_in

LARGE = "/operations/api/account/acme/msgagentsegments?v=1&timeframe=1440&interval=5"
SMALL = "/api/account/acme/service/baseURI.json"
CODINGS: list[Coding] = ["gzip", "zstd"]


def unpacked(packed: bytes, coding: str) -> bytes:
    """What was compressed; of a stream, what has come of it."""
    if coding == "gzip":
        return zlib.decompressobj(31).decompress(packed)
    found = b""
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream, suppress(OSError):  # cut off
        while piece := stream.read(1):
            found += piece
    return found


def asked(client: httpx.Client, path: str, accept: str | None, **more: str) -> tuple[httpx.Headers, bytes]:
    """Headers and body, as they were sent; `fetch_site` becomes Sec-Fetch-Site."""
    headers = {"Sec-Fetch-Site": more.pop("fetch_site")} if "fetch_site" in more else {}
    request = client.build_request(more.pop("method", "GET"), path, headers={**headers, **more})
    request.headers.pop("Accept-Encoding", None)
    if accept is not None:
        request.headers["Accept-Encoding"] = accept
    answer = client.send(request, stream=True)
    body = b"".join(answer.iter_raw())
    answer.close()
    assert answer.status_code == 200
    return answer.headers, body


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("GZIP;Q=0.1", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip;q=0, zstd;q=0.0", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("identity;q=0, gzip;q=0.001", "gzip"),
        ("br, deflate, notgzip, zstdish", None),
        ("*", None),
        (", ;,gzip ;q = 1", "gzip"),
    ],
)
def test_the_coding_is_the_one_that_the_client_likes_best(offered: str, chosen: str | None) -> None:
    assert coding_of(offered) == chosen


@pytest.mark.parametrize("path", [LARGE, "/openapi.json", "/docs"])
@pytest.mark.parametrize("coding", CODINGS)
def test_answers_are_compressed_and_hold_the_same(world: World, path: str, coding: str) -> None:
    key = token("acme")
    plain_headers, plain = asked(world.client, path, None, **key)
    headers, packed = asked(world.client, path, coding, **key)
    assert "content-encoding" not in plain_headers
    assert headers["content-encoding"] == coding
    assert int(headers["content-length"]) == len(packed) < len(plain) // 2
    assert unpacked(packed, coding) == plain
    assert headers["content-type"] == plain_headers["content-type"]
    for each in (plain_headers, headers):
        assert "Accept-Encoding" in each["vary"]
        assert ("Accept," in each["vary"]) is (path == LARGE)
        assert len(each.get_list("vary")) == 1
    head, nothing = asked(world.client, path, coding, method="HEAD", **key)
    assert nothing == b""
    assert (head["content-encoding"], head["content-length"]) == (coding, headers["content-length"])


@pytest.mark.parametrize("coding", CODINGS)
def test_a_small_answer_stays_as_it_is_but_says_what_it_depends_on(world: World, coding: str) -> None:
    headers, body = asked(world.client, SMALL, coding)
    assert len(body) < LEAST
    assert "content-encoding" not in headers
    assert headers["vary"] == "Accept-Encoding"
    json.loads(body)


@pytest.mark.parametrize("size", [0, LEAST - 1, LEAST])
def test_from_a_kib_on(size: int) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def answer() -> None:
        scope: Any = {"headers": [(b"accept-encoding", b"gzip")]}
        compressing = Compressing(scope, send)
        headers = [(b"content-type", b"text/csv; charset=utf-8"), (b"content-length", str(size).encode())]
        start: Any = {"type": "http.response.start", "status": 200, "headers": headers}
        await compressing(start)
        await compressing({"type": "http.response.body", "body": b"x" * size, "more_body": False})

    asyncio.run(answer())
    start, body = sent
    assert ((b"content-encoding", b"gzip") in start["headers"]) is (size >= LEAST)
    assert (b"content-length", str(len(body["body"])).encode()) in start["headers"]
    assert (gzip.decompress(body["body"]) if size >= LEAST else body["body"]) == b"x" * size


@pytest.mark.parametrize("where", ["cross-site", "same-site", "nonsense"])
def test_what_another_site_asks_for_is_not_compressed(world: World, where: str) -> None:
    """Whoever chooses a part of the question and sees how long the answer is learns what else is in it."""
    key = token("acme")
    headers, body = asked(world.client, LARGE, "gzip, zstd", fetch_site=where, **key)
    assert "content-encoding" not in headers
    json.loads(body)
    for here in ("same-origin", "none"):
        assert asked(world.client, LARGE, "gzip", fetch_site=here, **key)[0]["content-encoding"] == "gzip"


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with signed_in(nursery, tmp_path_factory.mktemp("site") / "store") as site:
        site.ended([f"c{number}" for number in range(50)])
        yield site


@pytest.mark.parametrize(
    "path",
    [
        "/?tz=UTC",
        "/agents?tz=UTC",
        "/segments?tz=UTC",
        "/segments.csv?tz=UTC",
        "/why?conversation=c0&tz=UTC",
        "/sign-in",
    ],
)
@pytest.mark.parametrize("coding", CODINGS)
def test_pages_are_compressed(site: Site, path: str, coding: str) -> None:
    headers, packed = asked(site.client, path, coding, Accept="text/html")
    assert headers["content-encoding"] == coding
    assert len(packed) < len(unpacked(packed, coding)) * 0.6
    assert "Accept-Encoding" in headers["vary"]
    assert "content-encoding" not in asked(site.client, path, coding, fetch_site="cross-site", Accept="text/html")[0]


@pytest.mark.parametrize("name", ["page.css", "page.js", "icon.svg", "vendor/uPlot.iife.min.js"])
def test_scripts_and_styles_are_compressed(site: Site, name: str) -> None:
    path = f"/static/{tag()}/{name}"
    headers, packed = asked(site.client, path, "zstd")
    plain = asked(site.client, path, None)[1]
    assert ("content-encoding" in headers) is (len(plain) >= LEAST)
    assert (unpacked(packed, "zstd") if len(plain) >= LEAST else packed) == plain


@pytest.mark.parametrize("coding", CODINGS)
def test_a_stream_can_be_read_piece_by_piece(site: Site, coding: str) -> None:
    request = site.client.build_request("GET", "/now/events?tz=UTC", headers={"Accept-Encoding": coding})
    answer = site.client.send(request, stream=True)
    try:
        assert answer.headers["content-encoding"] == coding
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in answer.headers
        packed = b""
        for piece in answer.iter_raw():
            packed += piece
            if b"\r\n\r\n" in unpacked(packed, coding):
                break
        assert b"event: " in unpacked(packed, coding)
    finally:
        answer.close()


def test_the_files_of_the_breakdown_keep_their_own_rules(site: Site) -> None:
    named = {"Authorization": f"Bearer {site.token}"}
    path = "/api/account/acme/agent-segments/"
    file = site.client.get(f"{path}breakdown?source=test", headers=named).json()["files"][0]
    where = f"{path}files?source=test&path={file}"
    for accept in (None, "gzip", "zstd", "gzip, zstd"):
        headers, raw = asked(site.client, where, accept, **named)
        assert "content-encoding" not in headers
        lines = gzip.decompress(raw).splitlines()
        headers, array = asked(site.client, where, accept, Accept="application/json", **named)
        asks_gzip = accept is not None and "gzip" in accept
        assert headers.get("content-encoding") == ("gzip" if asks_gzip else None)
        assert len(json.loads(gzip.decompress(array) if asks_gzip else array)) == len(lines) > 0
        assert headers["vary"] == "Accept, Accept-Encoding"
