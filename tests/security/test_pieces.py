"""The same bytes, whole or in the smallest pieces: the same answer, at much the same cost."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa
import pytest

from handletime.api.body import CHUNK_LEAST, CHUNKS_FREE, WINDOW_MAX, lines_of, receive, unpacked, window_of
from handletime.api.body import LINES_MAX as LINES_OF_BODY
from handletime.api.errors import Refused
from handletime.api.events import Accepted
from handletime.errors import TooMany
from handletime.events.blocks import BLOCK_BYTES, LINES_MAX, gathered, whole_lines
from handletime.events.decode import decode_lines
from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from handletime.store.budget import Budget
from tests.api.world import World, token
from tests.crash.nursery import Child, Nursery
from tests.security.load import body

MIB: Final = 1 << 20
FEW: Final = 5_000
MANY: Final = 50_000
SLOWER: Final = 3.0
CHUNK_S: Final = 0.001
"""What a chunk may cost beside: the HTTP server needs 30 to 70 us for each, before this program sees it."""
MORE_MIB: Final = 100
SECONDS: Final = 60.0
ZSTD: Final = pa.Codec("zstd")
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
ARRAY: Final = {"Content-Type": "application/json"}
CHUNKED: Final = {"Transfer-Encoding": "chunked"}


class Sent(NamedTuple):
    """What goes over the wire."""

    headers: dict[str, str]
    content: bytes


def lines(number: int, first: int = 0) -> list[bytes]:
    return body(first, number).splitlines(keepends=True)


def zstd(content: bytes) -> bytes:
    packed: bytes = ZSTD.compress(content, asbytes=True)
    return packed


def chunked(pieces: Sequence[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def array(events: list[bytes]) -> list[bytes]:
    return [b"[", *(event.strip() + b"," for event in events[:-1]), events[-1].strip() + b"]"]


WHOLE: Final = "whole"
SHAPES: Final[dict[str, Callable[[list[bytes]], Sent]]] = {
    WHOLE: lambda events: Sent(NDJSON, b"".join(events)),
    "a chunk a line": lambda events: Sent(NDJSON | CHUNKED, chunked(events)),
    "a gzip member a line": lambda events: Sent(
        NDJSON | {"Content-Encoding": "gzip"}, b"".join(gzip.compress(event, 1) for event in events)
    ),
    "a gzip member a line, a chunk each": lambda events: Sent(
        NDJSON | CHUNKED | {"Content-Encoding": "gzip"}, chunked([gzip.compress(event, 1) for event in events])
    ),
    "a zstd frame a line": lambda events: Sent(NDJSON | {"Content-Encoding": "zstd"}, b"".join(map(zstd, events))),
    "an array": lambda events: Sent(ARRAY, b"".join(array(events))),
    "an array, a chunk an element": lambda events: Sent(ARRAY | CHUNKED, chunked(array(events))),
}


def exchanged(port: int, sent: Sent, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body of the answer to a POST of events."""
    length = {} if "Transfer-Encoding" in sent.headers else {"Content-Length": str(len(sent.content))}
    named = {"Host": "x", "Connection": "close", **headers, **sent.headers, **length}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(f"POST /api/account/acme/events HTTP/1.1\r\n{head}\r\n".encode() + sent.content)
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
    return int(answer[9:12]), answer.partition(b"\r\n\r\n")[2]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        world.clock.moment = int(time.time() * 1000)
        yield world


@pytest.mark.parametrize("shape", SHAPES)
def test_events_are_the_same_in_every_shape(shape: str, world: World) -> None:
    events = lines(FEW)
    begun = time.monotonic()
    status, answer = exchanged(world.port, SHAPES[shape](events), token("acme"))
    assert status == 200, answer
    accepted = msgspec.json.decode(answer, type=Accepted)
    assert accepted.accepted + accepted.duplicates == FEW
    assert time.monotonic() - begun < SECONDS
    stored = world.store.readers["acme"].events
    assert sorted(stored["eventId"].to_pylist()) == sorted(f"e{number}" for number in range(FEW))


@pytest.mark.parametrize("shape", SHAPES)
def test_faults_are_the_same_in_every_shape(shape: str, world: World) -> None:
    events = lines(FEW)
    events[1234] = b'{"eventId":"x"}\n'
    events[4321] = events[4321].replace(b'"type":"', b'"type":"un')
    answers = [exchanged(world.port, SHAPES[each](events), token("acme")) for each in (WHOLE, shape)]
    assert [status for status, _ in answers] == [400, 400]
    unit = "element" if "array" in shape else "line"
    assert answers[1][1] == answers[0][1].replace(b'"line ', f'"{unit} '.encode())
    assert f"{unit} 1235: ".encode() in answers[1][1]
    assert f"{unit} 4322: ".encode() in answers[1][1]


def test_chunks_that_are_too_small_are_refused(world: World) -> None:
    event, size = lines(1)[0], CHUNK_LEAST - 1
    content = event + b"\n" * (size * (CHUNKS_FREE + 2000))
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    few = pieces[: CHUNKS_FREE - 1000]
    assert exchanged(world.port, Sent(NDJSON | CHUNKED, chunked(few)), token("acme"))[0] == 200
    status, answer = exchanged(world.port, Sent(NDJSON | CHUNKED, chunked(pieces)), token("acme"))
    assert status == 413
    assert b"send larger ones" in answer


def test_pieces_are_gathered() -> None:
    content = body(0, MANY)
    assert len(content) > 2 * BLOCK_BYTES
    for size in (7, 1000, BLOCK_BYTES - 1, BLOCK_BYTES, len(content)):
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        blocks = list(gathered(pieces))
        assert b"".join(blocks) == content
        assert all(len(block) >= BLOCK_BYTES for block in blocks[:-1])
        cut = list(whole_lines(blocks))
        assert b"".join(cut) == content
        assert all(block.endswith(b"\n") and block.count(b"\n") <= LINES_MAX for block in cut)


@pytest.mark.parametrize("number", [LINES_MAX - 1, LINES_MAX, LINES_MAX + 1, 3 * LINES_MAX, 3 * LINES_MAX + 1])
def test_a_block_has_so_many_lines_at_most(number: int) -> None:
    blocks = list(whole_lines([b"{\n" * number]))
    assert b"".join(blocks) == b"{\n" * number
    assert max(block.count(b"\n") for block in blocks) == min(number, LINES_MAX)
    assert len(blocks) == -(-number // LINES_MAX)


def test_members_come_out_in_large_pieces() -> None:
    line = body(0, 1)
    for packed in (gzip.compress(line, 1), zstd(line)):
        coding = "gzip" if packed.startswith(b"\x1f") else "zstd"
        pieces = list(unpacked(packed * MANY, coding))  # type: ignore[arg-type]
        assert sum(map(len, pieces)) == MANY * len(line)
        assert len(pieces) < 10


@pytest.mark.parametrize("shift", [18, 20, 23, 27, 31])
def test_the_window_of_a_zstd_frame_counts(shift: int) -> None:
    """8 KB that make their reader keep 128 MiB: blocks of one byte, repeated."""
    block = (1 << 1 | 1 << 17 << 3).to_bytes(3, "little") + b"\n"
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, (shift - 10) << 3]) + block * 100 + b"\x01\x00\x00"
    wanted = 0 if shift < 20 else min(1 << shift, WINDOW_MAX)
    assert window_of(zstd(b"a") + frame, "zstd") == wanted
    assert window_of(frame, "gzip") == 0
    if shift <= 27:
        assert sum(map(len, unpacked(frame, "zstd"))) == 100 << 17


def test_a_small_frame_hides_no_window_behind_it() -> None:
    small = b"\x28\xb5\x2f\xfd\xa0" + bytes(4) + b"\x01\x00\x00"
    large = b"\x28\xb5\x2f\xfd" + bytes([0, (27 - 10) << 3]) + b"\x01\x00\x00"
    assert window_of(small * 3 + large, "zstd") == WINDOW_MAX


def test_a_body_has_only_so_many_lines() -> None:
    """8 KB became 250 MiB of line ends, which took seconds."""
    assert [lines.end for lines in lines_of([b"\n" * LINES_OF_BODY], array=False)][-1] == LINES_OF_BODY + 1
    with pytest.raises(Refused, match="5,000,000 lines"):
        list(lines_of([b"\n" * (LINES_OF_BODY // 2)] * 3, array=False))


def test_what_is_refused_for_want_of_memory_leaves_room_for_others() -> None:
    """What others sent in vain kept it, until all of it had come."""
    budget = Budget(MIB, "ingest-memory")
    seen: list[int] = []

    class Sending:
        async def stream(self) -> AsyncIterator[bytes]:
            for _ in range(32):
                yield bytes(MIB // 8)
                seen.append(budget.held)

    with budget.share("other") as other, budget.share("acme") as share:
        other.take(MIB // 4)
        with pytest.raises(TooMany):
            asyncio.run(receive(Sending(), share, 30.0))  # type: ignore[arg-type]
        assert max(seen) > MIB // 4
        assert seen[-1] == MIB // 4


def test_one_segment_is_its_own_window() -> None:
    assert window_of(zstd(b"a" * 1000), "zstd") == 0
    for size in (2 * MIB, 20 * MIB):
        assert window_of(zstd(b"a" * size), "zstd") in (0, size, 2 * MIB)


def test_the_memory_of_what_was_decoded_counts() -> None:
    """Short events take more as a table than as text."""
    line = b'{"conversationId":"c","eventId":"e","time":1795165200000,"type":"opened"}\n'
    table = decode_lines(line * 1000, account="acme").events
    assert table.nbytes > len(line) * 1000
    from handletime.api.events import _read

    world = World()
    with Budget(1 << 30, "ingest-memory").share("acme") as share:
        events = _read(world.service, "acme", lines_of([line * 1000] * 5, array=False), "line", share)
        assert share.held >= events.nbytes


# --- measured with a real server


class Site(NamedTuple):
    """A server, and the key of `acme`."""

    port: int
    child: Child
    token: str

    def measured(self, sent: Sent) -> tuple[int, bytes, float, float]:
        """Status, answer, seconds, and how many MiB more the server had at the most."""
        Path(f"/proc/{self.child.pid}/clear_refs").write_text("5")
        before, begun = self.mib("VmRSS"), time.monotonic()
        status, answer = exchanged(self.port, sent, {"Authorization": f"Bearer {self.token}"})
        return status, answer, time.monotonic() - begun, self.mib("VmHWM") - before

    def mib(self, name: str) -> float:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0]) / 1024


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pieces") / "store"
    folder.mkdir(mode=0o700)
    with SideFile(folder) as side:
        key = create(side, "acme", ["admin"]).token
    child = nursery.start(folder, "serve", "--data", folder, "--port", "0", "--log-level", "warning")
    url = child.address()
    assert url is not None, child.log.read_text()
    site = Site(int(url.rsplit(":", 1)[1].strip("/")), child, key)
    for round_ in range(3):
        assert site.measured(SHAPES[WHOLE](lines(MANY, 1_000_000 * (round_ + 1))))[0] == 200
    yield site
    child.kill()


ATTACKS: Final[dict[str, Callable[[], Sent]]] = {
    "400,000 chunks": lambda: Sent(NDJSON | CHUNKED, chunked([b"\n" * 7] * 400_000)),
    "31 MiB of gzip members": lambda: Sent(
        NDJSON | {"Content-Encoding": "gzip"}, gzip.compress(b"\n", 1) * (31 * MIB // len(gzip.compress(b"\n", 1)))
    ),
    "31 MiB of empty gzip members": lambda: Sent(
        NDJSON | {"Content-Encoding": "gzip"}, gzip.compress(b"", 1) * (31 * MIB // len(gzip.compress(b"", 1)))
    ),
    "31 MiB of zstd frames": lambda: Sent(
        NDJSON | {"Content-Encoding": "zstd"}, zstd(b"\n") * (31 * MIB // len(zstd(b"\n")))
    ),
    "31 MiB of empty lines": lambda: Sent(NDJSON, b"\n" * (31 * MIB)),
    "31 MiB of lines with a space": lambda: Sent(NDJSON, b" \n" * (31 * MIB // 2)),
    "31 MiB of broken lines": lambda: Sent(NDJSON, b"{\n" * (31 * MIB // 2)),
    "31 MiB of empty elements": lambda: Sent(ARRAY, b"[" + b"{}," * (31 * MIB // 3) + b"{}]"),
    "a line without end": lambda: Sent(NDJSON, b'{"x":"' + b"x" * (31 * MIB)),
}


NOT_TAKEN: Final = {
    "400,000 chunks": 413,
    "31 MiB of empty lines": 413,
    "31 MiB of lines with a space": 413,
    "31 MiB of broken lines": 400,
    "31 MiB of empty elements": 400,
    "a line without end": 400,
}
"""What those are answered that are too much, or wrong; nothing that the others unpack to is."""


@pytest.mark.parametrize("attack", ATTACKS)
def test_small_pieces_cost_seconds_and_little_memory(attack: str, site: Site) -> None:
    status, answer, seconds, more = site.measured(ATTACKS[attack]())
    print(f"{attack}: {status} after {seconds:.1f} s, {more:.0f} MiB more")
    assert status == NOT_TAKEN.get(attack, 200), answer
    assert more < 200
    assert seconds < SECONDS
    assert site.measured(SHAPES[WHOLE](lines(FEW)))[0] == 200


@pytest.mark.long
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != WHOLE])
def test_every_shape_costs_much_the_same(shape: str, site: Site) -> None:
    first = 1_000_000 * (10 + 2 * list(SHAPES).index(shape))
    whole = site.measured(SHAPES[WHOLE](lines(MANY, first)))
    other = site.measured(SHAPES[shape](lines(MANY, first + 1_000_000)))
    assert whole[:2] == other[:2]
    print(f"{shape}: {other[2]:.2f} s and {other[3]:.0f} MiB, whole {whole[2]:.2f} s and {whole[3]:.0f} MiB")
    chunks = MANY * CHUNK_S if "chunk" in shape else 0
    assert other[2] < SLOWER * (whole[2] + 1) + chunks
    assert other[3] < whole[3] + MORE_MIB
