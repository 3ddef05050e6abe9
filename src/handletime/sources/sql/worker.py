"""The process that runs one mapping over bodies of webhooks: what runs away there is stopped from outside.

It reads requests from standard input and answers each on standard output: `webhook` is the other side.
"""

from __future__ import annotations

import signal
import struct
import sys
from contextlib import suppress
from typing import IO, Final

import duckdb
import pyarrow as pa

from handletime.errors import InputError
from handletime.sources.sql.engine import Engine

HEAD: Final = struct.Struct("<cQ")
"""Before each message: what it is, and how many bytes follow."""
ROWS, AGAIN, FAILED, SCHEMA = b"R", b"T", b"F", b"S"
"""Rows of the mapping, its times once more, why there are none, and the mapping's columns."""
RESULT_ROWS_MAX: Final = 1_000_000
"""The most rows that one request's bodies may become."""
_OVERHEAD_BYTES: Final = 1 << 30
"""What the process may take beside the database: its code, Arrow, results on their way."""
_INPUT: Final = """create or replace table input as
    select "row", body::json as body, make_timestamptz(received * 1000) as received from bodies"""
BODIES: Final = pa.schema([("row", pa.int64()), ("body", pa.string()), ("received", pa.int64())])


def main() -> None:
    """Answers requests until standard input ends. The first has the mapping, the others bodies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    name, text, memory_bytes, limit_s = _settings(requests)
    pa.set_memory_pool(pa.system_memory_pool())  # others reserve much at once, which counts against the limit
    _limit_memory(memory_bytes + _OVERHEAD_BYTES)
    try:
        engine = Engine(text, name, memory_bytes=memory_bytes, limit_s=limit_s)
        engine.lock()
        _give(engine, BODIES.empty_table())
        send(answers, SCHEMA, bytes(engine.schema().serialize()))
    except InputError as error:
        send(answers, FAILED, str(error).encode())
        return
    while (request := received(requests)) is not None:
        try:
            _give(engine, pa.ipc.open_stream(request[1]).read_all())
            _answer(engine, answers)
        except (InputError, duckdb.Error, MemoryError, pa.ArrowException) as error:
            why = str(error) if isinstance(error, InputError) else f"{name}: the body is no JSON"
            send(answers, FAILED, why.encode())


def send(stream: IO[bytes], kind: bytes, content: bytes | memoryview) -> None:
    """Writes a message. Raises OSError where nobody reads any more."""
    stream.write(HEAD.pack(kind, len(content)))
    stream.write(content)
    stream.flush()


def received(stream: IO[bytes]) -> tuple[bytes, bytes] | None:
    """The next message: what it is and its content. None at the end, also where that comes too early."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    kind, size = HEAD.unpack(head)
    content = stream.read(size)
    return (kind, content) if len(content) == size else None


def packed(table: pa.Table) -> pa.Buffer:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _settings(requests: IO[bytes]) -> tuple[str, str, int, float]:
    """Name and text of the mapping, bytes of memory, seconds for a query."""
    import msgspec

    first = received(requests)
    return msgspec.json.decode(first[1] if first else b"", type=tuple[str, str, int, float])


def _limit_memory(limit_bytes: int) -> None:
    """Has the kernel refuse more, where it can: not all that a query takes counts against DuckDB's own limit."""
    import resource

    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _give(engine: Engine, bodies: pa.Table) -> None:
    """Makes bodies the input of the mapping."""
    engine.database.register("bodies", bodies)
    engine.database.execute(_INPUT)


def _answer(engine: Engine, answers: IO[bytes]) -> None:
    batch = engine.whole(RESULT_ROWS_MAX)
    send(answers, ROWS, memoryview(packed(batch.rows)))
    send(answers, AGAIN, memoryview(packed(pa.table({"time": batch.times}))))


if __name__ == "__main__":
    main()
