"""Compiled code at work, for whoever watches its memory: a program that says what came out.

`python -m tests.segments.compiled_code FOLDER` reads events in all ways, derives, explains and stores them.
With `--wrong`, as it must never be: a record is used after its array was freed, and a place beyond the end is read.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from handletime.compiled import compiled
from handletime.events.decode import decode_columns, decode_lines
from handletime.events.jsonarray import elements
from handletime.segments.columns import I64
from handletime.segments.derive import derive, derive_prepared
from handletime.segments.explain import explain
from handletime.segments.parts import prepare, prepared_parts
from handletime.segments.rules import STATE
from handletime.upkeep.rebuild import rebuild
from tests.messy_streams import messy_stream
from tests.segments.tables import Row, rows_of
from tests.store.worlds import a_store, account_of, in_batches, requests_of, stored_rows

SEEDS: Final = (1, 2, 3)


@compiled
def freed_state(agent: int) -> int:
    """Writes into an array that is freed, as the walk once did."""
    states = np.zeros(1, STATE)
    state = states[0]
    others = np.zeros(1000, np.int64)
    state.agent = agent
    return int(state.agent + others[agent])


@compiled
def beyond_the_end(values: I64, place: int) -> int:
    """Reads what the array does not have."""
    return int(values[place])


def wrong() -> Iterator[object]:
    """What is found, or not."""
    yield freed_state(3) == 3
    try:
        yield beyond_the_end(np.zeros(3, np.int64), 3) is not None
    except IndexError:
        yield "IndexError"


def right(folder: Path) -> Iterator[object]:
    """What is read, derived, explained and stored of some messy streams."""
    for seed in SEEDS:
        stream = messy_stream(seed, events=150, conversations=7)
        lines = [json.dumps(event).encode() for event in stream]
        doubtful = [b"", b"{}", b'{"eventId":"\\u00e9"', b'{"time":"2026-11-20T09:00:00.123', b"\xff"]
        decoded = decode_lines(b"\n".join([*lines, *doubtful]), account="local")
        yield [refused[:2] for refused in decoded.refused]
        array = b"[" + b" , ".join(lines) + b"]"
        pieces = [array[start : start + 1000] for start in range(0, len(array), 1000)]
        yield decode_lines(b"".join(elements(pieces)), account="local").events.equals(decoded.events)
        events = decoded.events
        plain = events.cast(pa.schema([(field.name, _plain(field.type)) for field in events.schema]))
        yield decode_columns(plain, account="local").events.to_pylist() == events.to_pylist()

        yield _rows(derive(events)[:3])
        small = [events.slice(start, 37) for start in range(0, events.num_rows, 37)]
        for part in prepared_parts(small, memory=8_000, folder=folder):
            yield _rows(derive_prepared(part)[:3])
        prepared = prepare(events)
        for account, conversation in sorted({(account_of(event), str(event["conversationId"])) for event in stream}):
            yield explain(prepared, account, conversation)

        with a_store(folder / f"store{seed}") as store:
            for batch in in_batches(stream, seed):
                for request in requests_of(batch):
                    store.ingest(*request[:2])
            yield rebuild(store)
            yield [stored_rows(store, account) for account in sorted({account_of(event) for event in stream})]


def _plain(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _rows(tables: tuple[pa.Table, ...]) -> list[list[Row]]:
    return [rows_of(table) for table in tables]


def main() -> None:
    """Says it in one line: the wrong as it is, the right as a digest."""
    if sys.argv[1:] == ["--wrong"]:
        print(*wrong())
        return
    digest = hashlib.sha256()
    for said in right(Path(sys.argv[1])):
        digest.update(repr(said).encode())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
