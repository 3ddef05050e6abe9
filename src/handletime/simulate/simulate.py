"""The simulation: a centre in, its events out, in bounded memory.

load ──> blocks of conversations ──> focus of each agent ──> in order of arrival ──> Arrow
when      who writes what, when       looks of one agent,     what later blocks
                                      one after the other     cannot precede
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from handletime.events import model
from handletime.simulate.centre import Centre
from handletime.simulate.conversations import AGENT, LOOK_MAX, LOOKED, NEVER, ROW, Focus, Rows, conversations, joined
from handletime.simulate.dice import Bools, Dice, Integers
from handletime.simulate.staff import Staff, opening_time

BLOCK: Final = 10_000
"""Conversations simulated together: the memory follows from it."""
SAMPLE: Final = 2 * BLOCK
_MIX: Final = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9], np.uint64)
_WITH_AGENT: Final = (model.ASSIGNED, model.FOCUSED, model.UNFOCUSED)
_SOURCES: Final = pa.array(["WEB", "APP", "SMS", "FACEBOOK", "WHATSAPP", "APPLE", None], pa.string())
_SOURCE_SHARES: Final = np.array([0.42, 0.67, 0.78, 0.87, 0.94, 0.98])


def simulate(centre: Centre) -> Iterator[pa.Table]:
    """The centre's events in the order in which they arrive, as tables of `model.EVENTS`.

    They follow from the centre alone. No event lies at or after the end; what is open then stays open. With
    `messiness` some come later than their time says, or twice.
    """
    staff = Staff(centre, number := _conversations_of(centre))
    for rows in _in_order(centre, number, staff):
        if len(rows):
            yield _table(rows, centre, staff)


def _conversations_of(centre: Centre) -> int:
    """How many conversations the centre has; for a number of events, as a sample of `SAMPLE` says."""
    if centre.events is None:
        return centre.conversations or max(1, round(2000 * centre.days))
    number, missed_by = max(1, round(centre.events / 21)), dict[int, float]()
    for _ in range(12):
        sample = min(number, SAMPLE)
        part = replace(centre, agents=centre.agents and math.ceil(centre.agents * sample / number))
        counted = max(1, sum(map(len, _in_order(part, sample, Staff(part, sample)))))
        wanted = max(1, round(sample * centre.events / counted))
        if min(number, wanted) > SAMPLE:
            return wanted
        missed_by[number] = abs(counted * number / sample / centre.events - 1)
        if missed_by[number] <= 0.01:
            break
        number = wanted if wanted not in missed_by else max(missed_by) + 1
    return min(missed_by, key=missed_by.__getitem__)


def _in_order(centre: Centre, number: int, staff: Staff) -> Iterator[Rows]:
    """All events in the order in which they arrive, in parts."""
    focus, later, waiting, given = Focus(staff), np.empty(0, ROW), np.empty(0, ROW), 0
    for first in range(0, number, BLOCK):
        numbers = np.arange(first, min(first + BLOCK, number))
        dice = Dice(centre.seed, 2, first)
        times = opening_time(centre, (first + np.sort(dice.uniform(len(numbers))) * len(numbers)) / number)
        rows = joined(later, conversations(numbers, times, staff, dice))
        rows = rows.compress(rows["time"] < centre.end)
        # No later block has events before `border`, and no look that ends there begins before `until`.
        is_last = numbers[-1] == number - 1
        border = NEVER if is_last else int(opening_time(centre, (numbers[-1] + 1) / number))
        until = border if is_last else border - LOOK_MAX
        later, rows = rows.compress(rows["time"] >= border), rows.compress(rows["time"] < border)
        moves = focus.follow(rows.compress(rows["look"] > 0), min(until, centre.end), dice)
        rows = joined(rows.compress(rows["type"] != LOOKED), moves)
        rows["id"] = np.arange(given, given + len(rows))
        given += len(rows)
        waiting = joined(waiting, *_arriving(rows, centre.messiness, dice))
        waiting = waiting.take(np.argsort(waiting["arrival"], kind="stable"))
        arrived = int(np.searchsorted(waiting["arrival"], until * 8))
        yield waiting[:arrived]
        waiting = waiting[arrived:]


def _arriving(rows: Rows, messiness: float, dice: Dice) -> tuple[Rows, Rows]:
    """The rows with their `arrival`, and second copies of some."""
    late, twice = (dice.share(len(rows), messiness / 2) for _ in range(2))
    rows["arrival"] = rows["time"] * 8 + np.array(model.RANKS)[rows["type"]]
    rows["arrival"][late] += dice.spans(int(late.sum()), 30, 1.5) * 8
    copies = rows.compress(twice)
    copies["arrival"] += dice.spans(len(copies), 10, 2.0) * 8
    return rows, copies


def _table(rows: Rows, centre: Centre, staff: Staff) -> pa.Table:
    """Rows as a table of `model.EVENTS`."""
    type_, by, agent, id_ = rows["type"], rows["by"], rows["agent"], rows["id"]
    conversation = rows["conversation"].astype(np.int64)
    assigned, is_message = type_ == model.ASSIGNED, type_ == model.MESSAGE
    # One agent's message in sixteen does not say whose it is, two resumptions in five not from where.
    names_agent = np.isin(type_, _WITH_AGENT) | (is_message & (by == AGENT) & (id_ % 16 > 0))
    names_source = (type_ == model.OPENED) | ((type_ == model.RESUMED) & (id_ % 5 > 1))
    source = np.searchsorted(_SOURCE_SHARES, conversation * math.sqrt(2) % 1, side="right")
    columns = {
        "accountId": _listed(staff.accounts_of(conversation), pa.array(centre.accounts), type_ >= 0),
        "conversationId": _uuids(conversation, centre.seed),
        "eventId": _hex(id_ * np.uint32(2654435761)),
        "time": pa.array(rows["time"], model.INSTANT),
        "sequence": pa.array(rows["sequence"], pa.int64()),
        "revision": pa.array(np.zeros(len(rows), np.int64)),
        "type": model.codes(pa.array(type_), model.TYPES),
        "agentId": pa.array(staff.ids[agent], mask=~names_agent),
        "employeeId": _listed(agent, staff.employees, assigned),
        "groupId": pa.array(staff.groups[agent], mask=~assigned),
        "userType": model.codes(pa.array((agent >= staff.humans).astype(np.int8), mask=~assigned), model.USER_TYPES),
        "skillId": pa.array((rows["skill"].astype(np.int64) + 1) * 10, mask=rows["skill"] < 0),
        "source": _listed(source, _SOURCES, names_source),
        "leaseMillis": pa.nulls(len(rows), pa.int64()),
        "sentBy": model.codes(pa.array(by, mask=~is_message), model.SENT_BY),
        "reason": model.codes(pa.array(by, mask=type_ != model.TRANSFERRED), model.REASONS),
        "closedBy": model.codes(pa.array(by, mask=type_ != model.CLOSED), model.CLOSED_BY),
    }
    return model.with_schema(pa.table(columns))


def _uuids(numbers: Integers, seed: int) -> pa.Array:
    """A UUID (version 4) for each number."""
    bits = (numbers.astype(np.uint64) + np.uint64(seed * int(_MIX[0]) % 2**64))[:, None] * _MIX
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX
    letters = (bits ^ (bits >> np.uint64(31))).view(np.uint8)
    letters[:, 6] = letters[:, 6] & 0x0F | 0x40
    letters[:, 8] = letters[:, 8] & 0x3F | 0x80
    return _hex(letters, [8, 12, 16, 20])


def _hex(numbers: NDArray[Any], dashes: Sequence[int] = ()) -> pa.Array:
    """The bytes of each row in hexadecimal, with dashes before these letters."""
    letters = np.frombuffer(numbers.tobytes().hex().encode(), np.uint8).reshape(len(numbers), -1)
    letters = np.insert(letters, dashes, ord("-"), axis=1) if dashes else letters
    fixed = pa.binary(letters.shape[1])
    return pa.Array.from_buffers(fixed, len(letters), [None, pa.py_buffer(letters)]).cast(pa.string())


def _listed(places: NDArray[Any], values: pa.Array, there: Bools) -> pa.Array:
    """Values by their places, null where they are not there."""
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32), mask=~there), values)
