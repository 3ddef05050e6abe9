"""Events as flat arrays: the same ones whatever table they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from handletime.segments.columns import columns_of
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of


def test_events_as_a_store_has_them_give_the_same_columns() -> None:
    events = events_of(messy_stream(1, events=200, accounts=1)).unify_dictionaries().combine_chunks()
    names = ["account" if name == "accountId" else name for name in events.column_names]
    stored = pa.table([_as_stored(column) for column in events.columns], names)
    for name, one, other in zip(columns_of(events)._fields, columns_of(events), columns_of(stored), strict=True):
        assert [each.tolist() for each in _arrays(one)] == [each.tolist() for each in _arrays(other)], name
        assert [each.dtype for each in _arrays(one)] == [each.dtype for each in _arrays(other)], name


def test_a_column_that_is_missing_has_no_values_and_empty_ids() -> None:
    events = events_of(messy_stream(1, events=20)).combine_chunks()
    columns = columns_of(events.drop_columns(["conversationId", "skillId", "reason"]))
    assert columns.conversation.offsets.tolist() == [0] * (events.num_rows + 1)
    assert [len(column) for column in (columns.skill, columns.has_skill, columns.reason)] == [0, 0, 0]


def _as_stored(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        return array.indices
    return array.cast(pa.int64()) if pa.types.is_timestamp(array.type) else array


def _arrays(column: object) -> list[Any]:
    return list(column) if isinstance(column, tuple) else [np.asarray(column)]
