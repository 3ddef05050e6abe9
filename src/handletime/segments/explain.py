"""Why a number is so: one conversation, event by event, as the derivation saw it.

Nothing is worked out anew here: what each event did, the state after it, who waited since when and where the focus was
come from the derivation's own trace, the handled time from its units. Whoever shows a conversation only arranges this.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import accumulate, groupby
from typing import Final, Literal, NamedTuple, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.deadline import Deadline
from handletime.events import model
from handletime.segments import rules
from handletime.segments.columns import NEVER
from handletime.segments.derive import Derived, Trace, derive_prepared, trace_of
from handletime.segments.files import instants, plain
from handletime.segments.parts import Prepared
from handletime.segments.sorting import Record

Json = dict[str, object]

ROWS_AT_ONCE: Final = 10_000
RULES: Final = {
    "opened": "1 State",
    "resumed": "1 State",
    "assigned": "2.1",
    "transferred": "2.1",
    "closed": "2.1",
    "message": "2.3",
    "focused": "1 Focus",
    "unfocused": "1 Focus",
    "focusLost": "1 Focus",
    "leaseEnded": "1 Focus",
    "messageWhileClosed": "1 State",
    "messageBeforeOpening": "1 State",
    "messageWithNobodyAssigned": "2.3",
    "messageByAnotherAgent": "2.3",
    "systemMessage": "2.3",
    "assignedTwice": "2.1",
    "assignedWhileClosed": "1 State",
    "transferredWhileClosed": "1 State",
    "closedWhileClosed": "1 State",
    "openedWhileOpen": "1 State",
    "focusedAlready": "1 Focus",
    "unfocusedWithoutFocus": "1 Focus",
    "withdrawn": "1 Copies",
}
"""The clause of rules.md that says what an event does, or why it does nothing."""


Clause = Literal["3.3 a", "3.3 b"]
"""What makes time count, in rules.md."""
NotHandled = Literal[
    "notOpen", "nobodyAssigned", "bot", "focusElsewhere", "noFocusData", "nobodyWaits", "running", "outsideScope"
]
"""Why time does not count: who has the conversation, where the agent looks, whether anybody waits. `outsideScope`: that
is not for whoever asks (`segments.within`).
"""


class Moment(msgspec.Struct, rename="camel", omit_defaults=True):
    """One event of the conversation, or an end of focus that is none of its events; and the state from there on.

    `type` is the event's; or focusLost where another conversation got the focus, leaseEnded where nothing held it any
    longer. `detail` has the event's own fields; `revision` is above 0 where it is a correction. `no_effect` is the
    reason of `rules.EFFECTS` where it changed nothing, `rule` the clause of rules.md for it. `lasts_millis` is the time
    to the next moment; in it `assigned_agent_id` had the conversation or it waited in a queue segment (whose `sequence`
    is `queue_segment`), `consumer_waits` and `agent_looks` (its focus is here) held, and `handle_time_millis` counted,
    under the clause `handled_under` ("3.3 a", "3.3 b"), or did not, because of `not_handled_because`. `outside_scope`:
    somebody whom the key may not see did it, or has the conversation then; nothing is said of whom.
    """

    time: str
    type: str
    event_id: str | None = None
    detail: Json = {}
    revision: int = 0
    no_effect: str | None = None
    rule: str = ""
    open: bool = False
    assigned_agent_id: int | None = None
    queue_segment: int | None = None
    consumer_waits: bool = False
    agent_looks: bool = False
    lasts_millis: int | None = None
    handle_time_millis: int = 0
    handled_under: Clause | None = None
    not_handled_because: NotHandled | None = None
    outside_scope: bool = False


class Explanation(msgspec.Struct, rename="camel"):
    """A conversation's moments in order, and its segments as rows of `segments.tables`, units within theirs.

    Queue segments also have `waitMillis`, from their start to their end; null while they run.
    """

    account_id: str
    conversation_id: str
    moments: list[Moment]
    agent_segments: list[Json]
    skill_segments: list[Json]
    queue_segments: list[Json]


Span = tuple[int, int]
"""From a moment to another, in epoch milliseconds."""


class Reading(NamedTuple):
    """An explanation with what one sees of it at a glance; what goes on still ends with `until`: with the last moment,
    or now, if that is known and the conversation is open.

    `times` are those of the moments in epoch milliseconds. `waits` are the stretches in which the consumer waits for
    the assigned agent, one for each agent (rules.md 3.2); `focus` those in which an agent's focus is here.
    `begins_in_the_middle`: no opening comes first. `waiting_since` is when the wait for the assigned agent began that
    goes on after the last moment; None where nobody waits for one.
    """

    explanation: Explanation
    times: list[int]
    waits: list[Span]
    focus: dict[int, list[Span]]
    begins_in_the_middle: bool
    until: int
    waiting_since: int | None = None


class _Happening(NamedTuple):
    """Something that happens: an event (its place in the order), or the end of the focus that it gave."""

    time: int
    place: int
    lost: Literal["", "focusLost", "leaseEnded"] = ""


def conversations_named(events: pa.Table, conversation: str) -> list[str]:
    """The accounts that have a conversation of this id, in order."""
    found = events.filter(pc.equal(events["conversationId"], conversation))
    return sorted(found["accountId"].cast(pa.string()).unique().to_pylist())


def explain(prepared: Prepared, account: str, conversation: str, deadline: Deadline | None = None) -> Explanation:
    """Explains a conversation of prepared events.

    Raises KeyError where it is not among them, NotNow where the deadline comes before it is done.
    """
    return read(prepared, account, conversation, deadline).explanation


def read(
    prepared: Prepared, account: str, conversation: str, deadline: Deadline | None = None, now: int | None = None
) -> Reading:
    """Explains as `explain` does, and adds the stretches, up to a moment now. Raises what `explain` raises."""
    deadline = deadline or Deadline()
    alone = _alone(prepared, account, conversation)
    derived, trace = derive_prepared(alone), trace_of(alone)
    happenings = list(_happenings(alone, trace, deadline))
    end = happenings[-1].time
    if now is not None and trace.state[-1] & rules.STATE_OPEN:
        end = max(end, now)
    units = _by_segment(derived, deadline)
    segments = list(_rows(plain(derived.agent_segments), deadline))
    for segment in segments:
        segment["handleTimeUnits"] = units.get(str(segment["segmentId"]), [])
    moments = list(_moments(alone, trace, segments, happenings, _Units(derived), deadline))
    skill_segments = list(_rows(plain(derived.skill_segments), deadline))
    queue_segments = list(_queue_segments(derived, deadline))
    explanation = Explanation(account, conversation, moments, segments, skill_segments, queue_segments)
    times, focus = [each.time for each in happenings], _focus(trace, end)
    waits, waiting = _waits(alone, trace, end, deadline), _waiting_since(trace)
    return Reading(explanation, times, waits, focus, trace.begin_in_the_middle > 0, end, waiting)


def queues_begun(explanation: Explanation) -> Iterator[Json | None]:
    """For each moment the queue segment that begins with it, if one does."""
    begun, by_number = 0, {row["sequence"]: row for row in explanation.queue_segments}
    for moment in explanation.moments:
        number = moment.queue_segment or 0
        yield by_number[number] if number > begun else None
        begun = max(begun, number)


def _waits(prepared: Prepared, trace: Trace, end: int, deadline: Deadline) -> list[Span]:
    """The stretches in which the consumer waits for the assigned agent, up to the end."""
    waits: list[Span] = []
    assigned = (trace.state & rules.STATE_ASSIGNED) > 0
    events = zip(assigned.tolist(), trace.waits_since.tolist(), prepared.ordered.records["time"].tolist(), strict=True)
    stretches = [(*key, next(each)[2]) for key, each in groupby(deadline.over(events), key=lambda event: event[:2])]
    ends = [*(begun for _assigned, _since, begun in stretches[1:]), end]
    for (is_assigned, since, _begun), until in zip(stretches, ends, strict=True):
        if is_assigned and since < until:
            waits.append((since, until))
    return waits


def _waiting_since(trace: Trace) -> int | None:
    """When the wait for the assigned agent began that goes on after the last event."""
    since = int(trace.waits_since[-1])
    return None if since == NEVER or not trace.state[-1] & rules.STATE_ASSIGNED else since


def _focus(trace: Trace, end: int) -> dict[int, list[Span]]:
    """The stretches in which each agent's focus is here, up to the end."""
    found: dict[int, list[Span]] = {}
    for focus in trace.focus:
        span = int(focus["start"]), min(end, int(focus["left_at"]), int(rules.ends_at(focus)))
        if span[0] < span[1]:
            found.setdefault(int(focus["agent"]), []).append(span)
    return found


def _rows(table: pa.Table, deadline: Deadline) -> Iterator[Json]:
    """The rows of a table, some thousand of which are made at a time. Raises NotNow."""
    for first in range(0, table.num_rows, ROWS_AT_ONCE):
        deadline.check()
        yield from table.slice(first, ROWS_AT_ONCE).to_pylist()


def _queue_segments(derived: Derived, deadline: Deadline) -> Iterator[Json]:
    table = derived.queue_segments
    waits = pc.subtract(table["end"].cast(pa.int64()), table["start"].cast(pa.int64())).to_pylist()
    for row, wait in zip(_rows(plain(table), deadline), waits, strict=True):
        yield {**row, "waitMillis": wait}


def _alone(prepared: Prepared, account: str, conversation: str) -> Prepared:
    """The one conversation, with its losses of focus."""
    events, columns, ordered, focused = prepared
    of_account = pc.equal(events["accountId"].cast(pa.string()), account)
    wanted = pc.and_(pc.equal(events["conversationId"], conversation), of_account).to_numpy()
    places = np.flatnonzero(wanted[ordered.rows])
    if not len(places):
        raise KeyError(conversation)
    only = ordered._replace(
        rows=ordered.rows[places], records=ordered.records[places], starts=np.array([0, len(places)])
    )
    return Prepared(events, columns, only, focused)


def _by_segment(derived: Derived, deadline: Deadline) -> dict[str, list[Json]]:
    units: dict[str, list[Json]] = {}
    for unit in _rows(plain(derived.handle_time_units), deadline):
        units.setdefault(str(unit["segmentId"]), []).append(
            {key: unit[key] for key in ("sequence", "startReason", "endReason", "start", "end", "handleTimeMillis")}
        )
    return units


def _happenings(prepared: Prepared, trace: Trace, deadline: Deadline) -> Iterator[_Happening]:
    """The events in order, and between them the ends of focus that are none. Raises NotNow."""
    given = {int(focus["row"]): focus for focus in trace.focus}
    to_end: list[_End] = []
    for place, event in enumerate(deadline.over(prepared.ordered.records)):
        yield from _ended_before(event, to_end)
        yield _Happening(int(event["time"]), place)
        focus = given.get(int(event["row"]))
        if focus is not None and focus["left_at"] == NEVER and rules.ends_at(focus) != NEVER:
            heappush(to_end, _end_of(focus, place))
    yield from (end.happening for end in sorted(to_end))


class _End(NamedTuple):
    """The end of a focus that is no event; these stand in order."""

    time: int
    by_lease: bool
    sequence: int
    agent: int
    happening: _Happening
    focus: Record


def _end_of(focus: Record, place: int) -> _End:
    time, lost = int(rules.ends_at(focus)), int(focus["lost_time"])
    by_lease = lost != time
    sequence = NEVER if by_lease else int(focus["lost_sequence"])
    ended = _Happening(time, place, "leaseEnded" if by_lease else "focusLost")
    return _End(time, by_lease, sequence, int(focus["agent"]), ended, focus)


def _ended_before(event: Record, to_end: list[_End]) -> Iterator[_Happening]:
    """Takes the ends out that lie before an event."""
    later = []
    while to_end and to_end[0].time <= event["time"]:
        end = heappop(to_end)
        if rules.is_lost_before(end.focus, event, end.agent == event["agent"]):
            yield end.happening
        else:
            later.append(end)
    for end in later:
        heappush(to_end, end)


class _Units:
    """The handle-time units of a conversation, by time."""

    def __init__(self, derived: Derived) -> None:
        times = (derived.handle_time_units[name].cast(pa.int64()).to_pylist() for name in ("start", "end"))
        units: list[Span] = sorted(zip(*times, strict=True))
        self._starts = [start for start, _end in units]
        self._last_ends = list(accumulate((end for _start, end in units), max))

    def contain(self, start: int, end: int) -> bool:
        """Whether the time from start to end lies in one of them."""
        begun = bisect_right(self._starts, start)
        return begun > 0 and self._last_ends[begun - 1] >= end


def _moments(
    prepared: Prepared,
    trace: Trace,
    segments: list[Json],
    happenings: list[_Happening],
    units: _Units,
    deadline: Deadline,
) -> Iterator[Moment]:
    shown = list(_rows(prepared.events.take(prepared.ordered.rows), deadline))
    times = instants([each.time for each in happenings])
    bits, assigned, next_segment = 0, None, iter(segments)
    queue, starts_queue = 0, set(trace.queues.tolist())
    for each, following, time in deadline.over(zip(happenings, [*happenings[1:], None], times, strict=True)):
        event, effect = shown[each.place], rules.EFFECTS[trace.effect[each.place]]
        was_assigned = assigned is not None
        if not each.lost:
            bits = int(trace.state[each.place])
            queue += int(prepared.ordered.rows[each.place]) in starts_queue
            if not bits & rules.STATE_ASSIGNED:
                assigned = None
            elif event["type"] == "assigned" and not effect:
                assigned = next(next_segment)
        elif assigned is not None and event["agentId"] == assigned["agentId"]:
            bits &= ~rules.STATE_LOOKING
        moment = _moment(each, time, event, effect, bits, assigned)
        if moment.type == "transferred" and not was_assigned:
            moment.rule = "1 State"
        if moment.open and assigned is None:
            moment.queue_segment = queue
        if following is not None:
            _until(moment, each.time, following.time, units, assigned)
        yield moment


def _moment(happening: _Happening, time: str, event: Json, no_effect: str, bits: int, assigned: Json | None) -> Moment:
    type_ = str(event["type"])
    moment = Moment(
        time=time,
        type=happening.lost or type_,
        detail={name: event[name] for name in _OWN[type_] if event[name] is not None},
        open=bool(bits & rules.STATE_OPEN),
    )
    if not happening.lost:
        moment.event_id, moment.revision = str(event["eventId"]), cast(int, event["revision"])
        moment.no_effect = no_effect or None
    if assigned is not None:
        moment.assigned_agent_id = cast(int, assigned["agentId"])
        moment.consumer_waits = bool(bits & rules.STATE_WAITING)
        moment.agent_looks = bool(bits & rules.STATE_LOOKING)
    aside = moment.type == "message" and not moment.open
    moment.rule = "1 State" if aside else RULES[moment.no_effect or moment.type]
    return moment


_SHARED: Final = {"accountId", "conversationId", "eventId", "time", "sequence", "revision", "type"}
_OWN: Final = {
    type_: [field.name for field in model.FIELDS if field.belongs_to(type_) and field.name not in _SHARED]
    for type_ in model.TYPES
}
"""The fields that events of a type have, but for those of all events."""


def _until(moment: Moment, start: int, end: int, units: _Units, assigned: Json | None) -> None:
    """What the time up to the next moment counts for, and under which clause of rules.md 3.3."""
    moment.lasts_millis = end - start
    if end == start:
        return
    if units.contain(start, end):
        moment.handle_time_millis = end - start
        moment.handled_under = "3.3 a" if moment.consumer_waits else "3.3 b"
    elif not moment.open:
        moment.not_handled_because = "notOpen"
    elif assigned is None:
        moment.not_handled_because = "nobodyAssigned"
    elif assigned["userType"] == "bot":
        moment.not_handled_because = "bot"
    elif not moment.agent_looks:
        moment.not_handled_because = "focusElsewhere" if assigned["focusData"] else "noFocusData"
    else:
        moment.not_handled_because = "running" if moment.consumer_waits else "nobodyWaits"
