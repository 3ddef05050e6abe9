"""Why a number is so: one conversation, event by event, as the derivation saw it.

Nothing is worked out anew here: what each event did and the state after it come from the derivation's own trace, the
handled time from its units.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, Literal, NamedTuple, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.deadline import Deadline
from handletime.events import model
from handletime.segments import rules
from handletime.segments.columns import NEVER
from handletime.segments.derive import Derived, Trace, derive_prepared
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
NotHandled = Literal["notOpen", "nobodyAssigned", "bot", "focusElsewhere", "noFocusData", "nobodyWaits", "running"]
"""Why time does not count: who has the conversation, where the agent looks, whether anybody waits."""


class Moment(msgspec.Struct, rename="camel", omit_defaults=True):
    """One event of the conversation, or an end of focus that is none of its events; and the state from there on.

    `type` is the event's; or focusLost where another conversation got the focus, leaseEnded where nothing held it any
    longer. `detail` has the event's own fields; `revision` is above 0 where it is a correction. `no_effect` is the
    reason of `rules.EFFECTS` where it changed nothing, `rule` the clause of rules.md for it. `lasts_millis` is the
    time to the next moment; in it `assigned_agent_id` had the conversation, `consumer_waits` and `agent_looks` (its
    focus is here) held, and `handle_time_millis` counted, under the clause `handled_under` ("3.3 a", "3.3 b"), or did
    not, because of `not_handled_because`.
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
    consumer_waits: bool = False
    agent_looks: bool = False
    lasts_millis: int | None = None
    handle_time_millis: int = 0
    handled_under: Clause | None = None
    not_handled_because: NotHandled | None = None


class Explanation(msgspec.Struct, rename="camel"):
    """A conversation's moments in order, and its segments as rows of `segments.tables`, units within theirs."""

    account_id: str
    conversation_id: str
    moments: list[Moment]
    agent_segments: list[Json]
    skill_segments: list[Json]


class _Place(NamedTuple):
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
    deadline = deadline or Deadline()
    alone = _alone(prepared, account, conversation)
    derived, trace = derive_prepared(alone)
    units = _by_segment(derived, deadline)
    segments = list(_rows(plain(derived.agent_segments), deadline))
    for segment in segments:
        segment["handleTimeUnits"] = units.get(str(segment["segmentId"]), [])
    return Explanation(
        account,
        conversation,
        list(_moments(alone, trace, derived, deadline)),
        segments,
        list(_rows(plain(derived.skill_segments), deadline)),
    )


def _rows(table: pa.Table, deadline: Deadline) -> Iterator[Json]:
    """The rows of a table, some thousand of which are made at a time. Raises NotNow."""
    for first in range(0, table.num_rows, ROWS_AT_ONCE):
        deadline.check()
        yield from table.slice(first, ROWS_AT_ONCE).to_pylist()


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


def _places(prepared: Prepared, deadline: Deadline) -> Iterator[_Place]:
    """The events in order, and between them the ends of focus that are none. Raises NotNow."""
    records = prepared.ordered.records
    looking: dict[int, tuple[int, Record]] = {}
    for place, event in enumerate(records):
        if len(looking) > LOOKERS or place % LOOKERS == 0:
            deadline.check()
        yield from _lost_before(looking, event)
        yield _Place(int(event["time"]), place)
        if event["type"] == model.FOCUSED:
            viewer = np.zeros(1, rules.VIEWER)[0]
            rules.give_focus(viewer, prepared.columns, event)
            looking[int(event["agent"])] = (place, viewer)
        elif event["type"] == model.UNFOCUSED:
            looking.pop(int(event["agent"]), None)
    yield from _lost_before(looking, None)


LOOKERS: Final = 256
"""With more agents whose focus is here, the deadline is asked at every event."""


def _lost_before(looking: dict[int, tuple[int, Record]], event: Record | None) -> Iterator[_Place]:
    """The ends of focus before an event, or all that are known."""
    ends = []
    for agent, (place, viewer) in looking.items():
        time = rules.ends_at(viewer)
        if time != NEVER and (event is None or rules.is_lost_before(viewer, event, agent == event["agent"])):
            elsewhere = viewer["lost_time"] == time
            sequence = viewer["lost_sequence"] if elsewhere else NEVER
            ends.append((time, not elsewhere, sequence, agent, place))
    for time, leased, _sequence, agent, place in sorted(ends):
        del looking[agent]
        yield _Place(int(time), place, "leaseEnded" if leased else "focusLost")


class _State(NamedTuple):
    """The state after a moment, as the derivation traced it."""

    bits: int
    agent: int
    human: bool
    focus_data: bool


class _Units:
    """The handle-time units of a conversation, by time."""

    def __init__(self, derived: Derived) -> None:
        units = sorted(zip(*(_millis(derived, name) for name in ("start", "end")), strict=True))
        self._starts = [start for start, _end in units]
        self._last_ends = list(accumulate((end for _start, end in units), max))

    def contain(self, start: int, end: int) -> bool:
        """Whether the time from start to end lies in one of them."""
        begun = bisect_right(self._starts, start)
        return begun > 0 and self._last_ends[begun - 1] >= end


def _moments(prepared: Prepared, trace: Trace, derived: Derived, deadline: Deadline) -> Iterator[Moment]:
    shown = list(_rows(prepared.events.take(prepared.ordered.rows), deadline))
    places = list(_places(prepared, deadline))
    times = instants([place.time for place in places])
    units = _Units(derived)
    state = _State(0, 0, False, False)
    for place, following, time in deadline.over(zip(places, [*places[1:], None], times, strict=True)):
        was_assigned = bool(state.bits & rules.STATE_ASSIGNED)
        event, effect = shown[place.place], rules.EFFECTS[trace.effect[place.place]]
        if place.lost:
            here = event["agentId"] == state.agent
            state = state._replace(bits=state.bits & ~rules.STATE_LOOKING if here else state.bits)
        else:
            state = state._replace(bits=int(trace.state[place.place]))
            if event["type"] == "assigned" and not effect:
                agent = cast(int, event["agentId"])
                known = (event["accountId"], agent) in prepared.focused
                state = _State(state.bits, agent, event["userType"] == "human", known)
        moment = _moment(place, time, event, effect, state, was_assigned)
        if following is not None:
            _until(moment, place.time, following.time, units, state)
        yield moment


def _millis(derived: Derived, name: str) -> list[int]:
    values: list[int] = derived.handle_time_units[name].cast(pa.int64()).to_pylist()
    return values


def _moment(place: _Place, time: str, event: Json, no_effect: str, state: _State, was_assigned: bool) -> Moment:
    type_ = str(event["type"])
    detail = {name: event[name] for name in _OWN[type_] if event[name] is not None}
    moment = Moment(
        time=time,
        type=place.lost or type_,
        event_id=None if place.lost else str(event["eventId"]),
        detail=detail,
        revision=0 if place.lost else cast(int, event["revision"]),
        no_effect=None if place.lost else no_effect or None,
        open=bool(state.bits & rules.STATE_OPEN),
    )
    if state.bits & rules.STATE_ASSIGNED:
        moment.assigned_agent_id = state.agent
        moment.consumer_waits = bool(state.bits & rules.STATE_WAITING)
        moment.agent_looks = bool(state.bits & rules.STATE_LOOKING)
    nobody = moment.type == "transferred" and not was_assigned
    aside = moment.type == "message" and not moment.open
    moment.rule = "1 State" if nobody or aside else RULES[moment.no_effect or moment.type]
    return moment


_SHARED: Final = {"accountId", "conversationId", "eventId", "time", "sequence", "revision", "type"}
_OWN: Final = {
    type_: [field.name for field in model.FIELDS if field.belongs_to(type_) and field.name not in _SHARED]
    for type_ in model.TYPES
}
"""The fields that events of a type have, but for those of all events."""


def _until(moment: Moment, start: int, end: int, units: _Units, state: _State) -> None:
    """What the time up to the next moment counts for, and under which clause of rules.md 3.3."""
    moment.lasts_millis = end - start
    if end == start:
        return
    if units.contain(start, end):
        moment.handle_time_millis = end - start
        moment.handled_under = "3.3 a" if moment.consumer_waits else "3.3 b"
    elif not moment.open:
        moment.not_handled_because = "notOpen"
    elif moment.assigned_agent_id is None:
        moment.not_handled_because = "nobodyAssigned"
    elif not state.human:
        moment.not_handled_because = "bot"
    elif not moment.agent_looks:
        moment.not_handled_because = "focusElsewhere" if state.focus_data else "noFocusData"
    else:
        moment.not_handled_because = "running" if moment.consumer_waits else "nobodyWaits"
