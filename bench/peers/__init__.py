"""What a user would write instead, each in a module that runs as a program: `python -m bench.peers.NAME`.

All compute the same agent segments from the same Parquet file: start, end, endReason, outcome, agentMessages, first
response, number and sum of response times, handle time. Each module says what it leaves out. `Summary` is what their
results must agree in with handletime's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import pyarrow.parquet as pq

Events = TypeVar("Events")
Segments = TypeVar("Segments")

FOLLOWED_BY_FIRST_RESPONSE = ("newConversation", "transfer")


class Summary(NamedTuple):
    """Sums over the agent segments that have ended."""

    ended: int
    duration_millis: int
    agent_messages: int
    first_responses: int
    first_response_millis: int
    responses: int
    response_millis: int
    handle_time_millis: int
    outcomes: dict[str, int]
    end_reasons: dict[str, int]


def program(
    read: Callable[[Path], Events], segments: Callable[[Events], Segments], summary: Callable[[Segments], Summary]
) -> None:
    """Reads and derives a Parquet file of events, after a smaller one; prints seconds and the summary as JSON.

    `read` gives the events in the form in which `segments` takes them: a data frame, a table, a list. `busy` are the
    seconds that all cores together spent on deriving.
    """
    events, small = map(Path, sys.argv[1:])
    summary(segments(read(small)))
    began = time.perf_counter()
    taken = read(events)
    read_at, busy = time.perf_counter(), time.process_time()
    derived = segments(taken)
    done, busy = time.perf_counter(), time.process_time() - busy
    answer = {
        "events": pq.read_metadata(events).num_rows,
        "read": read_at - began,
        "derive": done - read_at,
        "busy": busy,
        "summary": summary(derived)._asdict(),
    }
    print(json.dumps(answer, default=int))
