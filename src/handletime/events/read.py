"""Files and standard input become tables of events, block by block, in bounded memory.

What a file holds is seen from its first bytes, not from its name: Parquet, a JSON array or NDJSON; plain, gzip or
zstd.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from handletime.errors import FAULTS_SHOWN, Fault, InvalidEvents
from handletime.events.blocks import BLOCK_BYTES, gathered, numbered_lines
from handletime.events.book import BYTE_ORDER_MARK, LINE_MAX
from handletime.events.decode import Decoded, Refused, decode_columns, decode_lines
from handletime.events.jsonarray import BrokenArray
from handletime.events.model import DEFAULT_ACCOUNT, EVENTS
from handletime.events.unpack import Peekable, Progress, input_errors, name_of, unpacked

PARQUET_ROWS: Final = 250_000
_IN_FLIGHT: Final = 3
"""Blocks that are decoded side by side; more would only take memory."""


class Block(NamedTuple):
    """A decoded piece of one source: a file's name, or "standard input"."""

    source: str
    decoded: Decoded


class Share(NamedTuple):
    """Share `number` (from 0) of `shares` of a file's row groups."""

    number: int = 0
    shares: int = 1

    def of(self, rows: list[int]) -> tuple[int, list[int]]:
        """How many rows come before it, and its row groups, given how many rows each of them has."""
        groups = [i for i in range(len(rows)) if i * self.shares // len(rows) == self.number]
        return sum(rows[: groups[0]]) if groups else 0, groups


def read_events(
    sources: Iterable[str], *, account: str = DEFAULT_ACCOUNT, progress: Progress | None = None
) -> Iterator[Block]:
    """Reads files (`-` is standard input) in turn; blocks keep the order of the input.

    `account` is for events that name none. Bad events are in each block's `refused`; line 0 is the whole source, where
    that is no sequence of events from some place on (a JSON array that does not end, a Parquet file without their
    columns). Raises InputError where a source cannot be read at all: not there, not readable, compressed data that
    are broken or end too early.
    """
    with ThreadPoolExecutor(2) as threads:
        for source in sources:
            with input_errors(source):
                tasks = _tasks(source, account, progress or (lambda _bytes: None))
                for decoded in _done_in_order(threads, tasks):
                    yield Block(name_of(source), decoded)


def good_events(blocks: Iterable[Block]) -> Iterator[pa.Table]:
    """The tables of blocks without faults. Raises InvalidEvents at the end of the first source that has some."""
    faults: list[Fault] = []
    source = ""
    for block in blocks:
        if faults and block.source != source:
            break
        source = block.source
        faults += block.decoded.faults
        if len(faults) > FAULTS_SHOWN:
            break
        if not faults:
            yield block.decoded.events
    if faults:
        raise InvalidEvents(source, faults)


def _done_in_order(threads: ThreadPoolExecutor, tasks: Iterable[Task]) -> Iterator[Decoded]:
    waiting: deque[Future[Decoded]] = deque()
    try:
        for task in tasks:
            waiting.append(threads.submit(task))
            if len(waiting) >= _IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


# --- what a source holds ---------------------------------------------------------------------------------------------

Task = Callable[[], Decoded]
_PARQUET, _SPACE = b"PAR1", b" \t\r\n"


def _tasks(source: str, account: str, progress: Progress) -> Iterator[Task]:
    with unpacked(source, progress) as (stream, counted, file):
        if stream.peek(len(_PARQUET)) == _PARQUET:
            whole = pa.OSFile(file) if file else pa.BufferReader(stream.read())
            with whole:
                yield from parquet_tasks(whole, account, reached=counted.reached)
        else:
            yield from _json_tasks(stream, account)


def parquet_tasks(
    file: pa.NativeFile,
    account: str,
    *,
    share: Share | None = None,
    reached: Callable[[float], None] = lambda _part: None,
) -> Iterator[Task]:
    """Each gives the decoded events of some rows of a Parquet file, or of one share of its row groups.

    Parquet is read from its end, so `file` is something to seek in. `reached` is told how much has been read.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        nothing = decode_columns(parquet.schema_arrow.empty_table(), account=account)
        if nothing.refused:
            yield lambda: nothing
            return
        known = [name for name in parquet.schema_arrow.names if name in EVENTS.names]
        sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
        before, groups = (share or Share()).of(sizes)
        row = 1 + before
        for batch in parquet.iter_batches(PARQUET_ROWS, row_groups=groups, columns=known):
            yield partial(decode_columns, pa.Table.from_batches([batch]), account=account, first_line=row)
            row += batch.num_rows
            reached((row - 1) / parquet.metadata.num_rows)
        reached(1)


def _json_tasks(stream: Peekable, account: str) -> Iterator[Task]:
    array = _first_byte(stream) == b"["
    unit = "element" if array else "line"
    try:
        for lines in numbered_lines(_blocks(stream), array=array):
            yield partial(decode_lines, lines.text, account=account, first_line=lines.first, unit=unit)
    except BrokenArray as error:
        fault = Fault(0, "", str(error), unit)
        yield lambda: Decoded(EVENTS.empty_table(), [Refused(0, [fault], b"")])


def _first_byte(stream: Peekable) -> bytes:
    """The first byte that is neither white space nor a byte-order mark, looked at only."""
    size = 64
    while True:
        ahead = stream.peek(size)
        first = ahead.removeprefix(BYTE_ORDER_MARK).strip(_SPACE)[:1]
        if first or len(ahead) < size or size > LINE_MAX:
            return first
        size *= 2


def _blocks(stream: Peekable) -> Iterator[bytes]:
    """A pipe gives what has been written to it so far, if that is a line at a time."""
    return gathered(iter(partial(stream.read, BLOCK_BYTES), b""), BLOCK_BYTES)
