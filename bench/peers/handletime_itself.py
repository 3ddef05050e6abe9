"""handletime in the same harness as its peers. It gives all three tables, not agent segments alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.peers import Summary, program
from handletime.events.model import with_schema
from handletime.segments.derive import derive


def read(path: Path) -> pa.Table:
    """The events as Arrow."""
    return with_schema(pq.read_table(path))


def segments(events: pa.Table) -> pa.Table:
    """Agent segments, after skill segments and handle-time units have been derived too."""
    return derive(events).agent_segments


def summary(rows: pa.Table) -> Summary:
    """Sums over ended segments."""
    ended = rows.filter(pc.is_valid(rows["end"]))
    duration = pc.subtract(ended["end"].cast(pa.int64()), ended["start"].cast(pa.int64()))
    responses = pc.list_flatten(ended["responseMillis"])
    return Summary(
        ended=ended.num_rows,
        duration_millis=_sum(duration),
        agent_messages=_sum(ended["agentMessages"]),
        first_responses=pc.count(ended["firstResponseMillis"]).as_py(),
        first_response_millis=_sum(ended["firstResponseMillis"]),
        responses=len(responses),
        response_millis=_sum(responses),
        handle_time_millis=_sum(ended["totalHandleTimeMillis"]),
        outcomes=_counts(ended["outcome"]),
        end_reasons=_counts(ended["endReason"]),
    )


def _sum(values: pa.ChunkedArray) -> int:
    return int(pc.sum(values, min_count=0).as_py())


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    return {count["values"]: count["counts"] for count in pc.value_counts(values.cast(pa.string())).to_pylist()}


if __name__ == "__main__":
    program(read, segments, summary)
