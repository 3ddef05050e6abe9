"""What two walks over one table of events write differently.

A store keeps what a walk wrote of segments that have ended. When events come in, the conversations they touch are
walked without them and with them, and only what differs is written: most of a conversation's rows stay as they are.
Of what is still running it keeps only which conversations are open.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from handletime.compiled import borrowing, compiled
from handletime.segments.columns import I64, U64, mix
from handletime.segments.rules import QUEUE_SEGMENTS, SEGMENTS, SKILL_SEGMENTS, Out
from handletime.segments.sorting import Record

_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


class Changes(NamedTuple):
    """Places in the new rows that have to be written, and old rows that have to go: of ended segments and their units.

    Old segments are named by the row of the event that starts them; `gone_units` by that of their segment and the
    first sequence number that has to go. `running` are new skill segments that did not run before, `gone_running` old
    ones that run no longer. `running_queues` are queue segments that run and are not what they were.
    """

    segments: I64
    gone_segments: I64
    skill_segments: I64
    gone_skill_segments: I64
    queue_segments: I64
    gone_queue_segments: I64
    units: I64
    gone_units: I64
    running: I64
    gone_running: I64
    running_queues: I64
    gone_running_queues: I64


def changes_between(old: Out, new: Out, rows: int) -> Changes:
    """Compares what two walks wrote of the same conversations. `rows` is how many rows their table has."""
    segments = differing(agent_segment_prints(old), agent_segment_prints(new), rows)
    skill_segments = differing(skill_segment_prints(old), skill_segment_prints(new), rows)
    running = differing(running_prints(old), running_prints(new), rows)
    queues = differing(queue_segment_prints(old, False), queue_segment_prints(new, False), rows)
    queued = differing(queue_segment_prints(old, True), queue_segment_prints(new, True), rows)
    return Changes(*segments, *skill_segments, *queues, *differing_units(old, new, rows), *running, *queued)


@borrowing
def fold(print_: np.uint64, value: int) -> np.uint64:
    """A fingerprint with one more value in it."""
    return mix(print_ * _SPREAD ^ np.uint64(value))


@compiled
def agent_segment_prints(out: Out) -> U64:
    """For each agent segment that has ended its place, the row that starts it and a fingerprint of all it says."""
    prints = np.empty((out.counts[SEGMENTS], 3), np.uint64)
    count, responses_end = 0, 0
    for i in range(len(prints)):
        segment = out.agent_segments[i]
        response, responses_end = responses_end, segment.responses_end
        if segment.end_reason < 0:
            continue
        value = fold(np.uint64(1), segment.source_row)
        value = fold(value, out.skill_segments[segment.skill_segment].sequence)
        value = fold(value, segment.first_response)
        value = fold(value, segment.skill)
        value = fold(value, segment.end)
        value = fold(value, segment.handle_time)
        value = fold(value, segment.agent_messages)
        value = fold(value, segment.follows)
        value = fold(value, segment.end_reason)
        value = fold(value, segment.outcome)
        value = fold(value, segment.queued_since)
        value = fold(value, segment.first_is_response)
        for place in range(response, responses_end):
            value = fold(value, out.responses[place])
            value = fold(value, out.responded_since[place])
        prints[count, 0], prints[count, 1], prints[count, 2] = i, segment.assigned_row, value
        count += 1
    return prints[:count].copy()


@compiled
def skill_segment_prints(out: Out) -> U64:
    """For each skill segment that has ended its place, the row that starts it and a fingerprint of all it says."""
    prints = np.empty((out.counts[SKILL_SEGMENTS], 3), np.uint64)
    count, firsts_end = 0, 0
    for i in range(len(prints)):
        segment = out.skill_segments[i]
        first, firsts_end = firsts_end, segment.firsts_end
        if segment.end_reason < 0:
            continue
        value = fold(np.uint64(1), segment.sequence)
        value = fold(value, segment.skill)
        value = fold(value, segment.user_types)
        value = fold(value, segment.end)
        value = fold(value, segment.end_reason)
        value = fold(value, segment.outcome)
        value = fold(value, segment.abandoned_in_queue)
        for place in range(first, firsts_end):
            value = fold(value, out.firsts[place])
        prints[count, 0], prints[count, 1], prints[count, 2] = i, segment.row, value
        count += 1
    return prints[:count].copy()


@compiled
def queue_segment_prints(out: Out, running: bool) -> U64:
    """For each queue segment that has ended, or each that runs, its place, the row that starts it and a fingerprint of
    all it says.
    """
    prints = np.empty((out.counts[QUEUE_SEGMENTS], 3), np.uint64)
    count = 0
    for i in range(len(prints)):
        segment = out.queue_segments[i]
        if (segment.end_reason < 0) != running:
            continue
        value = fold(np.uint64(1), segment.source_row)
        value = fold(value, out.skill_segments[segment.skill_segment].sequence)
        value = fold(value, segment.sequence)
        value = fold(value, segment.skill)
        value = fold(value, segment.end)
        value = fold(value, segment.opened if running else 0)
        value = fold(value, segment.consumer_last)
        value = fold(value, segment.follows)
        value = fold(value, segment.from_user_type)
        value = fold(value, segment.to_user_type)
        value = fold(value, segment.end_reason)
        prints[count, 0], prints[count, 1], prints[count, 2] = i, segment.row, value
        count += 1
    return prints[:count].copy()


@compiled
def running_prints(out: Out) -> U64:
    """For each skill segment that is running its place, the row that starts it and its skill: nothing else is kept."""
    prints = np.zeros((out.counts[SKILL_SEGMENTS], 3), np.uint64)
    count = 0
    for i in range(len(prints)):
        if out.skill_segments[i].end_reason < 0:
            prints[count, 0], prints[count, 1] = i, out.skill_segments[i].row
            prints[count, 2] = fold(np.uint64(1), out.skill_segments[i].skill)
            count += 1
    return prints[:count].copy()


@compiled
def differing(old: U64, new: U64, rows: int) -> tuple[I64, I64]:
    """Places of new fingerprints that the old ones do not have, and rows of old ones that the new do not have."""
    known, is_known = np.zeros(rows, np.uint64), np.zeros(rows, np.bool_)
    for i in range(len(old)):
        known[old[i, 1]], is_known[old[i, 1]] = old[i, 2], True
    written = np.empty(len(new), np.int64)
    count = 0
    for i in range(len(new)):
        row = new[i, 1]
        if is_known[row] and known[row] == new[i, 2]:
            is_known[row] = False
        else:
            written[count] = new[i, 0]
            count += 1
    gone = np.empty(len(old), np.int64)
    left = 0
    for i in range(len(old)):
        if is_known[old[i, 1]]:
            gone[left] = old[i, 1]
            left += 1
    return written[:count].copy(), gone[:left].copy()


@compiled
def differing_units(old: Out, new: Out, rows: int) -> tuple[I64, I64]:
    """Of ended segments, places of new units that have to be written; rows of segments and from which sequence number
    on units go.
    """
    place = np.full(rows, -1, np.int64)
    for i in range(old.counts[SEGMENTS]):
        if old.agent_segments[i].end_reason >= 0:
            place[old.agent_segments[i].assigned_row] = i
    written = np.empty(len(new.units), np.int64)
    gone = np.empty((old.counts[SEGMENTS], 2), np.int64)
    count, left = 0, 0
    for i in range(new.counts[SEGMENTS]):
        segment = new.agent_segments[i]
        if segment.end_reason < 0:
            continue
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
        if place[segment.assigned_row] == i and segment.units_end > segment.first_unit:
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
