"""Whatever comes in is taken or refused, in bounded time and memory; nothing crashes a decoder."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pytest

from handletime.api.auth import Authenticator, AuthRequest
from handletime.api.body import UNPACKED_MAX, Coding, lines_of, unpacked
from handletime.api.errors import BadRequest, Refused
from handletime.errors import Fault, InvalidEvents, Unauthorized
from handletime.events.decode import decode_lines
from handletime.keys.keys import Keys, create
from handletime.keys.sidefile import SideFile
from tests.api.world import FixedClock, World, token
from tests.security.fuzzing import CORPUS, fuzz

SHORT_S, LONG_S = 1.5, 300.0
Attempt = Callable[[bytes], None]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Attempt]]:
    """For each decoder what tries an input."""
    with SideFile(tmp_path_factory.mktemp("keys")) as side, World() as world:
        create(side, "acme")
        authenticator = Authenticator(side, Keys(side), FixedClock())
        yield {
            "events": events,
            "array": array,
            "gzip": lambda content: packed(content, "gzip"),
            "zstd": lambda content: packed(content, "zstd"),
            "oauth": lambda content: oauth(content, authenticator),
            "target": lambda content: target(content, world),
        }


DECODERS = ("events", "array", "gzip", "zstd", "oauth", "target")


@pytest.mark.parametrize("decoder", DECODERS)
def test_nothing_crashes_a_decoder(decoder: str, attempts: dict[str, Attempt], seed: int) -> None:
    assert fuzz(decoder, SHORT_S, seed, attempts[decoder]) > 100


@pytest.mark.long
@pytest.mark.parametrize("decoder", DECODERS)
def test_nothing_crashes_a_decoder_for_minutes(decoder: str, attempts: dict[str, Attempt], seed: int) -> None:
    assert fuzz(decoder, LONG_S, seed, attempts[decoder]) > 1000


def events(content: bytes) -> None:
    """Lines mean the same together, read fast, and each alone."""
    whole = decode_lines(content, account="local")
    lines = content.removesuffix(b"\n").split(b"\n")
    alone = [decode_lines(line + b"\n", account="local", first_line=number) for number, line in enumerate(lines, 1)]
    taken = pa.concat_tables([each.events for each in alone])
    assert rows(whole.events) == rows(taken)
    if not whole.refused:
        assert not any(each.refused for each in alone)
    for refused in whole.refused:
        for fault in refused.faults:
            assert isinstance(fault, Fault)
            assert 1 <= fault.line <= len(lines)
            str(fault).encode()


def rows(table: pa.Table) -> list[dict[str, object]]:
    found: list[dict[str, object]] = table.to_pylist()
    return found


def array(content: bytes) -> None:
    """An array is what Python's reader finds in it, or refused."""
    try:
        lines = b"".join(lines.text for lines in lines_of([content[:7], content[7:]], array=True))
    except InvalidEvents:
        return
    decoded = decode_lines(lines, account="local")
    try:
        elements = json.loads(content)
    except (ValueError, RecursionError):
        assert decoded.refused or not decoded.events.num_rows
        return
    assert isinstance(elements, list)
    assert decoded.events.num_rows + len(decoded.refused) <= len(elements)


def packed(content: bytes, coding: Coding) -> None:
    """It is one whole stream, or refused."""
    found = _unpacked(content, coding)
    if coding == "gzip" and found is not None and found[0] < 1 << 20 and content:
        assert found == _sum([gzip.decompress(content)])


def _unpacked(content: bytes, coding: Coding) -> tuple[int, int] | None:
    """The sum of what is in it, None where it is refused."""
    try:
        return _sum(unpacked(content, coding))
    except (BadRequest, Refused):
        return None


def _sum(pieces: Iterable[bytes]) -> tuple[int, int]:
    """Size and checksum: the decoder's memory is measured, not ours."""
    size, checksum = 0, 0
    for piece in pieces:
        size, checksum = size + len(piece), zlib.crc32(piece, checksum)
        assert size <= UNPACKED_MAX
    return size, checksum


def oauth(content: bytes, authenticator: Authenticator) -> None:
    """Nobody is let in by chance, and the answer says why in ASCII."""
    header, _, url = content.decode("latin-1").partition("\n")
    request = AuthRequest("GET", "http://localhost/api/account/acme/agent-segments" + url, header)
    with pytest.raises(Unauthorized) as refused:
        authenticator.authenticate(request)
    assert refused.value.challenge.isascii()
    assert refused.value.challenge.isprintable()
    assert refused.value.reason.startswith("oauth_problem=")


def target(content: bytes, world: World) -> None:
    """A path and query, on the wire: an answer in JSON that is not our fault."""
    sent = bytes(byte for byte in content if byte > 32 and byte != 127)[:8000]
    head = (
        f"Host: 127.0.0.1:{world.port}\r\nAuthorization: {token('acme')['Authorization']}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", world.port), timeout=20) as connection:
        connection.sendall(b"GET " + sent + b" HTTP/1.1\r\n" + head.encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    status = int(answer[9:12])
    assert status < 500, answer
    head_, _, body = answer.partition(b"\r\n\r\n")
    if status >= 400 and b"application/json" in head_:
        assert json.loads(body)["message"]


def test_a_cut_stream_is_refused(attempts: dict[str, Attempt]) -> None:
    """Wherever it is cut."""
    whole = b'{"eventId":"1","conversationId":"a","time":1795165200000,"type":"opened"}\n' * 40
    assert attempts
    codings: dict[Coding, bytes] = {
        "gzip": gzip.compress(whole),
        "zstd": pa.compress(whole, codec="zstd", asbytes=True),
    }
    for coding, stream in codings.items():
        assert _unpacked(stream, coding) == _sum([whole])
        taken = [end for end in range(1, len(stream)) if _unpacked(stream[:end], coding) is not None]
        assert taken == [], (coding, taken)


def test_the_corpus_has_every_decoder() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(DECODERS)
