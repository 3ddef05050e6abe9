"""What two walks over one table of events write differently.

A store keeps what a walk wrote. When events come in, the conversations they touch are walked without them and with
them, and only what differs is written: most of a conversation's rows stay as they are.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from handletime.compiled import borrowing, compiled
from handletime.segments.columns import I64, U64, mix
from handletime.segments.rules import SEGMENTS, SKILL_SEGMENTS, Out
from handletime.segments.sorting import Record

_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


class Changes(NamedTuple):
    """Places in the new rows that have to be written, and old rows that have to go.

    Old segments are named by the row of the event that starts them; `gone_units` by that of their segment and the
    first sequence number that has to go.
    """

    segments: I64
    gone_segments: I64
    skill_segments: I64
    gone_skill_segments: I64
    units: I64
    gone_units: I64


def changes_between(old: Out, new: Out, rows: int) -> Changes:
    """Compares what two walks wrote of the same conversations. `rows` is how many rows their table has."""
    segments = differing(agent_segment_prints(old), agent_segment_prints(new), rows)
    skill_segments = differing(skill_segment_prints(old), skill_segment_prints(new), rows)
    return Changes(*segments, *skill_segments, *differing_units(old, new, rows))


@borrowing
def fold(print_: np.uint64, value: int) -> np.uint64:
    """A fingerprint with one more value in it."""
    return mix(print_ * _SPREAD ^ np.uint64(value))


@compiled
def agent_segment_prints(out: Out) -> U64:
    """For each agent segment the row that starts it and a fingerprint of all it says."""
    prints = np.empty((out.counts[SEGMENTS], 2), np.uint64)
    response = 0
    for i in range(len(prints)):
        segment = out.agent_segments[i]
        value = fold(np.uint64(1), segment.source_row)
        value = fold(value, out.skill_segments[segment.skill_segment].sequence)
        value = fold(value, segment.first_response)
        value = fold(value, segment.skill)
        value = fold(value, segment.end if segment.end_reason >= 0 else 0)
        value = fold(value, segment.handle_time)
        value = fold(value, segment.agent_messages)
        value = fold(value, segment.follows)
        value = fold(value, segment.end_reason)
        value = fold(value, segment.outcome)
        while response < segment.responses_end:
            value = fold(value, out.responses[response])
            response += 1
        prints[i, 0], prints[i, 1] = segment.assigned_row, value
    return prints


@compiled
def skill_segment_prints(out: Out) -> U64:
    """For each skill segment the row that starts it and a fingerprint of all it says."""
    prints = np.empty((out.counts[SKILL_SEGMENTS], 2), np.uint64)
    first = 0
    for i in range(len(prints)):
        segment = out.skill_segments[i]
        value = fold(np.uint64(1), segment.sequence)
        value = fold(value, segment.skill)
        value = fold(value, segment.user_types)
        value = fold(value, segment.end if segment.end_reason >= 0 else 0)
        value = fold(value, segment.end_reason)
        value = fold(value, segment.outcome)
        value = fold(value, segment.abandoned_in_queue)
        while first < segment.firsts_end:
            value = fold(value, out.firsts[first])
            first += 1
        prints[i, 0], prints[i, 1] = segment.row, value
    return prints


@compiled
def differing(old: U64, new: U64, rows: int) -> tuple[I64, I64]:
    """Places of new fingerprints that the old ones do not have, and rows of old ones that the new do not have."""
    known, is_known = np.zeros(rows, np.uint64), np.zeros(rows, np.bool_)
    for i in range(len(old)):
        known[old[i, 0]], is_known[old[i, 0]] = old[i, 1], True
    written = np.empty(len(new), np.int64)
    count = 0
    for i in range(len(new)):
        row = new[i, 0]
        if is_known[row] and known[row] == new[i, 1]:
            is_known[row] = False
        else:
            written[count] = i
            count += 1
    gone = np.empty(len(old), np.int64)
    left = 0
    for i in range(len(old)):
        if is_known[old[i, 0]]:
            gone[left] = old[i, 0]
            left += 1
    return written[:count].copy(), gone[:left].copy()


@compiled
def differing_units(old: Out, new: Out, rows: int) -> tuple[I64, I64]:
    """Places of new units that have to be written; rows of segments and from which sequence number on units go."""
    place = np.full(rows, -1, np.int64)
    for i in range(old.counts[SEGMENTS]):
        place[old.agent_segments[i].assigned_row] = i
    written = np.empty(len(new.units), np.int64)
    gone = np.empty((old.counts[SEGMENTS], 2), np.int64)
    count, left = 0, 0
    for i in range(new.counts[SEGMENTS]):
        segment = new.agent_segments[i]
        before = place[segment.assigned_row]
        same = 0
        if before >= 0:
            place[segment.assigned_row] = -1
            same = same_units(old, old.agent_segments[before], new, segment)
            if same < old.agent_segments[before].units_end - old.agent_segments[before].first_unit:
                gone[left, 0], gone[left, 1] = segment.assigned_row, same + 1
                left += 1
        for unit in range(segment.first_unit + same, segment.units_end):
            written[count] = unit
            count += 1
    for i in range(old.counts[SEGMENTS]):
        segment = old.agent_segments[i]
        if place[segment.assigned_row] >= 0 and segment.units_end > segment.first_unit:
            gone[left, 0], gone[left, 1] = segment.assigned_row, 1
            left += 1
    return written[:count].copy(), gone[:left].copy()


@borrowing
def same_units(old: Out, before: Record, new: Out, after: Record) -> int:
    """How many units two versions of one segment begin with alike."""
    most = int(min(before.units_end - before.first_unit, after.units_end - after.first_unit))
    for i in range(most):
        a, b = old.units[before.first_unit + i], new.units[after.first_unit + i]
        if a.start != b.start or a.end != b.end or a.start_reason != b.start_reason or a.end_reason != b.end_reason:
            return i
    return most
