"""Ids of agent segments, many at a time, are those that the standard library gives one by one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.events.model import INTEGER_MAX, INTEGER_MIN
from handletime.segments.ids import segment_ids
from handletime.segments.tables import segment_id

accounts = st.text("abcXYZ019", min_size=1, max_size=64)
agents = st.integers(INTEGER_MIN, INTEGER_MAX) | st.sampled_from([INTEGER_MIN, -1, 0, 9, 10, INTEGER_MAX])
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=128)


@given(st.lists(st.tuples(accounts, agents, texts, texts), max_size=20))
def test_many_ids_are_those_of_one_by_one(segments: list[tuple[str, int, str, str]]) -> None:
    assert ids_of(segments) == [segment_id(*segment) for segment in segments]


@pytest.mark.parametrize("first", range(1, 513, 128))
def test_messages_of_every_length_are_padded_as_they_should_be(first: int) -> None:
    """The digest's padding depends on the length alone; it takes another block from 56 bytes of 64 on."""
    segments = [("a", 1, "c", "e" * length) for length in range(first, first + 128)]
    assert ids_of(segments) == [segment_id(*segment) for segment in segments]


def ids_of(segments: list[tuple[str, int, str, str]]) -> list[str]:
    columns = list(zip(*segments, strict=True)) or [()] * 4
    names, conversations, events = (pa.array(columns[i], pa.string()) for i in (0, 2, 3))
    ids = segment_ids(names.dictionary_encode(), np.array(columns[1], np.int64), conversations, events)
    ids.validate(full=True)
    found: list[str] = ids.to_pylist()
    return found
