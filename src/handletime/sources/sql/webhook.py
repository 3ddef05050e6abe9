"""Bodies of webhooks become events by a mapping, many at once, in a process that may fail without harm."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Timer
from types import TracebackType
from typing import IO, Final, Self, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.errors import InputError
from handletime.events.model import EVENTS
from handletime.sources.batch import MappedBodies, in_order
from handletime.sources.sql import worker
from handletime.sources.sql.columns import Mapped, Rows, check_columns, decoded
from handletime.sources.sql.engine import Batch
from handletime.sources.sql.statement import TAKES_MEMORY, TAKES_TIME

BODY_MAX_BYTES: Final = 4 << 20
"""The longest body that is mapped."""
DEPTH_MAX: Final = 100
"""How deep arrays and objects of a body may lie in each other."""
MEMORY_BYTES: Final = 512 << 20
LIMIT_S: Final = 2.0
BATCH_LIMIT_S: Final = 30.0
"""How long bodies of a batch that fails are tried apart, until those that are left stay untried."""
_GRACE_S: Final = 3.0
"""Time for the process to stop by itself, or to start."""
_PARTS: Final = 8
"""In so many parts a batch that fails is cut. With more, few bodies that fail take longer; with less, many do."""
_FAULTS_TOLD: Final = 5
_ENDED: Final = "the mapping's process ended; it may have needed too much memory"


class Webhook:
    """A mapping for bodies of webhooks (docs/mappings.md). For one thread at a time; to be closed, or left by `with`.

    `input` has `body` (JSON), `received` (timestamptz) and `row` (bigint, of this batch).
    """

    def __init__(
        self,
        text: str,
        name: str,
        *,
        limit_s: float = LIMIT_S,
        memory_bytes: int = MEMORY_BYTES,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Checks the mapping over no body at all. `name` is what messages call it.

        A batch may take `limit_s` and, in a process of its own, `memory_bytes`. Once it is `stopped`, bodies stay
        untried. Raises InputError.
        """
        self._name, self._limit_s, self._stopped = name, limit_s, stopped
        self._settings = msgspec.json.encode((name, text, memory_bytes, limit_s))
        self._process: subprocess.Popen[bytes] | None = None
        schema = self._started()
        try:
            check_columns(schema, name)
        except InputError:
            self.close()
            raise

    def map_bodies(self, bodies: Sequence[tuple[bytes, int]], *, account: str) -> MappedBodies:
        """Maps bodies, each with the time it came (epoch milliseconds), to events of the account.

        The batch is mapped as one; where it fails, it is cut in parts until the bodies that fail are found. Whose
        events are whose is known where the mapping has the column `row`, or where one body is mapped alone; else all
        are given as those of the first good body, and the batch is not `is_apart`. Problems name fields and never
        repeat what stood in a body. Where that takes longer than `BATCH_LIMIT_S`, bodies that are left stay untried;
        one at least never does. Raises nothing for content, and InputError where the mapping's process cannot be
        started.
        """
        problems = {place: why for place, (body, _) in enumerate(bodies) if (why := unreadable(body))}
        tables, owners, deadline = [EVENTS.empty_table()], [np.zeros(0, np.int64)], time.monotonic() + BATCH_LIMIT_S
        is_apart = True
        waiting = [[place for place in range(len(bodies)) if place not in problems]]
        # Until something is done with, it goes on: who tries those that are left once more gets further each time.
        while waiting and not self._stopped() and (time.monotonic() < deadline or not (problems or len(tables) > 1)):
            places = waiting.pop()
            if not places:
                continue
            events, rows, found = self._tried([bodies[place] for place in places], places, account)
            if found is None:
                size = -(-len(places) // _PARTS)
                waiting += [places[first : first + size] for first in reversed(range(0, len(places), size))]
                continue
            if rows is None:  # Nobody knows; the first of those without a problem stands for all of them.
                is_apart = False
                rows = np.full(events.num_rows, 1 + next(at for at, place in enumerate(places) if place not in found))
            tables.append(events)
            owners.append(np.array(places)[rows - 1])
            problems |= found
        events = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
        untried = [place for places in waiting for place in places]
        return in_order(events, np.concatenate(owners), len(bodies), problems, is_apart=is_apart, untried=untried)

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with suppress(OSError):
                        pipe.close()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _tried(
        self, bodies: list[tuple[bytes, int]], places: list[int], account: str
    ) -> tuple[pa.Table, Rows | None, dict[int, str] | None]:
        """Events of these bodies, whose each is (from 1; None where nobody knows), and problems by place; None where
        nobody knows whose problem it is.
        """
        nothing, nobodys = EVENTS.empty_table(), np.zeros(0, np.int64)
        answer = self._asked(bodies)
        alone = len(bodies) == 1
        if alone and isinstance(answer, str) and answer.endswith((_ENDED, TAKES_MEMORY)):
            answer = self._asked(bodies)  # It may have been for somebody else: it is tried in a fresh process.
        if isinstance(answer, str):
            return nothing, nobodys, {places[0]: answer} if alone else None
        mapped = decoded(answer, account=account)
        bad = _problems(mapped, account)
        if alone:
            whys = [why for each in bad.values() for why in each]
            if bad:
                return nothing, nobodys, {places[0]: _told(whys)}
            return mapped.events, np.ones_like(mapped.rows), {}
        known = mapped.by_input and all(1 <= row <= len(bodies) for row in {*bad, *mapped.rows.tolist()})
        if not bad:
            return mapped.events, mapped.rows if known else None, {}
        if not known:
            return nothing, nobodys, None
        good = ~np.isin(mapped.rows, list(bad))
        problems = {places[row - 1]: _told(whys) for row, whys in bad.items()}
        return mapped.events.filter(pa.array(good)), mapped.rows[good], problems

    def _asked(self, bodies: list[tuple[bytes, int]]) -> Batch | str:
        """What the process makes of bodies, or why it makes nothing of them."""
        columns = [range(1, len(bodies) + 1), [body.decode() for body, _ in bodies], [at for _, at in bodies]]
        table = pa.table([pa.array(list(column)) for column in columns], schema=worker.BODIES)
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._started()
        first = self._exchanged(worker.ROWS, worker.packed(table), self._limit_s + _GRACE_S)
        if isinstance(first, str):
            return first
        second = self._exchanged(None, None, self._limit_s + _GRACE_S)
        if isinstance(second, str):
            return second
        rows, times = (pa.ipc.open_stream(content).read_all() for _kind, content in (first, second))
        return Batch(rows, times["time"])

    def _started(self) -> pa.Schema:
        """Starts the process; the mapping's columns. Raises InputError."""
        command = [sys.executable, "-P", "-m", worker.__name__]
        # What Python says of an error may repeat what stood in a body: nobody gets to see it.
        self._process = subprocess.Popen(  # noqa: S603 — all of it is ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        answer = self._exchanged(worker.SCHEMA, self._settings, self._limit_s + 10 * _GRACE_S)
        if isinstance(answer, str):
            self.close()
            raise InputError(answer)
        return pa.ipc.read_schema(pa.py_buffer(answer[1]))

    def _exchanged(
        self, kind: bytes | None, content: bytes | pa.Buffer | None, limit_s: float
    ) -> tuple[bytes, bytes] | str:
        """Sends a message, if there is one, and gives the next; or why there is none. A silent process is killed."""
        process = cast("subprocess.Popen[bytes]", self._process)
        requests, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        timer = Timer(limit_s, process.kill)
        timer.daemon = True
        timer.start()
        answer = None
        try:
            if kind is not None and content is not None:
                worker.send(requests, kind, memoryview(content))
            answer = worker.received(answers)
        except OSError:
            pass
        finally:
            silent = not timer.is_alive()
            timer.cancel()
        if answer is None:
            self.close()
            return f"{self._name}: {TAKES_TIME if silent else _ENDED}"
        if answer[0] != worker.FAILED:
            return answer
        why = answer[1].decode()
        if why.endswith(TAKES_MEMORY):
            self.close()  # What one request took is not always given back, and the next would lack it.
        return why


def unreadable(body: bytes) -> str | None:
    """Why a body cannot be mapped at all: too long, no JSON in UTF-8, nested too deep. None if it can."""
    if len(body) > BODY_MAX_BYTES:
        return f"the body is longer than {BODY_MAX_BYTES:,} bytes"
    try:
        body.decode()
        content = msgspec.json.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return "the body is no JSON in UTF-8"
    except RecursionError:
        return _too_deep()
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return None
    level = [content]
    for _ in range(DEPTH_MAX):
        level = [item for each in level for item in _items(each)]
        if not level:
            return None
    return _too_deep()


def _items(value: object) -> list[object]:
    """The arrays and objects right within a value."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in held if isinstance(item, dict | list)]


def _too_deep() -> str:
    return f"the body is nested deeper than {DEPTH_MAX} levels"


def _problems(mapped: Mapped, account: str) -> dict[int, list[str]]:
    """What is wrong with which row."""
    bad: dict[int, list[str]] = {}
    for fault in mapped.faults:
        bad.setdefault(fault.line, []).append(f"{fault.field}: {fault.message}")
    others = pc.not_equal(mapped.events["accountId"].cast(pa.string()), account).to_numpy()
    for row in mapped.rows[others.astype(bool)].tolist():
        bad.setdefault(row, []).append("accountId: the address of a webhook decides about the account; leave it out")
    return bad


def _told(whys: list[str]) -> str:
    """What is wrong with one body, once each."""
    each = list(dict.fromkeys(whys))
    more = f"; and {len(each) - _FAULTS_TOLD} more" if len(each) > _FAULTS_TOLD else ""
    return "; ".join(each[:_FAULTS_TOLD]) + more
