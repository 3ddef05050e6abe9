"""Ids of agent segments, many at a time, are those that are made one by one, and stay what they are."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.events.model import INTEGER_MAX, INTEGER_MIN
from handletime.segments.ids import segment_id, segment_ids

accounts = st.text("abcXYZ019", min_size=1, max_size=64)
agents = st.integers(INTEGER_MIN, INTEGER_MAX) | st.sampled_from([INTEGER_MIN, -1, 0, 9, 10, INTEGER_MAX])
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=128)


@given(st.lists(st.tuples(accounts, agents, texts, texts), max_size=20))
def test_many_ids_are_those_of_one_by_one(segments: list[tuple[str, int, str, str]]) -> None:
    assert ids_of(segments) == [segment_id(*segment) for segment in segments]


@pytest.mark.parametrize(
    ("segment", "id_"),
    [
        (("A1", -5, "é", "x" * 60), "A1:-5:é:rtL1RGCj1h8hotVNqEfp3g"),
        (("abc", INTEGER_MIN, "c", "日本"), "abc:-9223372036854775808:c:X87sffcgJIieS4D64RnMMQ"),
    ],
)
def test_ids_stay_what_they_are(segment: tuple[str, int, str, str], id_: str) -> None:
    assert ids_of([segment]) == [segment_id(*segment)] == [id_]


def ids_of(segments: list[tuple[str, int, str, str]]) -> list[str]:
    columns = list(zip(*segments, strict=True)) or [()] * 4
    names, conversations, events = (pa.array(columns[i], pa.string()) for i in (0, 2, 3))
    ids = segment_ids(names.dictionary_encode(), pa.array(columns[1], pa.int64()), conversations, events)
    ids.validate(full=True)
    found: list[str] = ids.to_pylist()
    return found
