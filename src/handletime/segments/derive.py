"""The derivation: a table of events in, tables of segments and units out (rules.md 2 and 3)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.clock import MINUTE
from handletime.events import model
from handletime.segments import LONG_UNIT_MINUTES, rules
from handletime.segments.columns import I8, I64, U8, Columns, count_codes, in_one_chunk, without_records_columns
from handletime.segments.focus import Agents, Focused
from handletime.segments.order import Ordered
from handletime.segments.parts import Prepared, agents_of, prepare
from handletime.segments.rules import Out
from handletime.segments.sorting import Records
from handletime.segments.tables import Source, derived_tables
from handletime.segments.threads import in_shares


class Quality(msgspec.Struct, rename="camel"):
    """What the events are worth. Those of parts of one input add up.

    `without_effect` counts events that changed nothing, by the reasons of `rules.EFFECTS`. `human_agents` have a
    segment as humans, `focused_agents` any `focused` event.
    """

    events: int = 0
    conversations: int = 0
    duplicates: int = 0
    differing_copies: int = 0
    corrected: int = 0
    without_effect: dict[str, int] = msgspec.field(default_factory=dict)
    begin_in_the_middle: int = 0
    running_agent_segments: int = 0
    running_skill_segments: int = 0
    handle_time_millis: int = 0
    long_units: int = 0
    long_units_millis: int = 0
    accounts: set[str] = msgspec.field(default_factory=set)
    human_agents: Agents = msgspec.field(default_factory=set)
    focused_agents: Agents = msgspec.field(default_factory=set)

    def __add__(self, other: Quality) -> Quality:
        sums: dict[str, Any] = {}
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            sums[name] = mine + theirs if isinstance(mine, int) else mine | theirs
        keys = self.without_effect.keys() | other.without_effect.keys()
        sums["without_effect"] = {
            key: self.without_effect.get(key, 0) + other.without_effect.get(key, 0) for key in sorted(keys)
        }
        return Quality(**sums)

    def agents_without_focus(self) -> list[tuple[str, int]]:
        """The human agents of whom there is no focus event: their handle time is unknown, not zero."""
        return sorted(self.human_agents - self.focused_agents)

    def to_json(self, refused: int = 0) -> bytes:
        """The figures as a JSON object, agents without focus listed; and how many events were refused before."""
        figures = {"refused": refused, **msgspec.to_builtins(self)}
        del figures["focusedAgents"]
        figures["accounts"] = sorted(self.accounts)
        figures["humanAgents"] = len(self.human_agents)
        figures["agentsWithoutFocus"] = [
            {"accountId": account, "agentId": agent} for account, agent in self.agents_without_focus()
        ]
        return msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"


class Derived(NamedTuple):
    """What was derived: tables of `tables.AGENT_SEGMENTS`, `SKILL_SEGMENTS`, `QUEUE_SEGMENTS` and `HANDLE_TIME_UNITS`;
    and once more the queue segments that run, as `RUNNING_QUEUE_SEGMENTS`.

    Rows of one conversation stand together, in order; conversations in the order of a hash of their ids. The rows
    do not depend on the order of the events or on doubles among them.
    """

    agent_segments: pa.Table
    skill_segments: pa.Table
    queue_segments: pa.Table
    handle_time_units: pa.Table
    running_queue_segments: pa.Table
    quality: Quality


class Trace(NamedTuple):
    """What the rules saw on their way.

    For each place of the order: why the event changed nothing (a place in `rules.EFFECTS`), the state after it (bits of
    `rules.STATE_OPEN` and so on), and since when the consumer waits for the assigned agent or is in queue (`NEVER`:
    neither). Then every stretch of an agent's focus (`rules.VIEWER`), conversation by conversation; the rows of the
    events that each start a queue segment, in their order; the agent segments that run (`rules.AGENT_SEGMENT`); the
    state after the last event of each conversation (`rules.STATE`); and how many of them begin in the middle.
    """

    effect: I8
    state: U8
    waits_since: I64
    focus: Records
    queues: I64
    running: Records
    last: Records
    begin_in_the_middle: int


def derive(events: pa.Table, *, losses: pa.Table | None = None) -> Derived:
    """Derives agent segments, skill segments, queue segments and handle-time units (rules.md 2 and 3).

    Takes a table of `model.EVENTS` of fewer than 2^31 rows, in any order, with doubles, of any accounts, and the
    losses of focus that removed conversations left (`focus.LOSSES`). Everything that moves an agent's focus has to
    be in one of the two.
    """
    return derive_prepared(_slim(prepare(events, losses)))


def _slim(prepared: Prepared) -> Prepared:
    """Drops the columns that records hold by now: they take a tenth of all memory."""
    kept = prepared.events.select(["accountId", "conversationId", "eventId", "employeeId", "source"])
    return prepared._replace(events=kept, columns=without_records_columns(prepared.columns))


def derive_prepared(prepared: Prepared) -> Derived:
    """Derives from events that are in order and know their losses of focus."""
    columns, ordered = prepared.columns, prepared.ordered
    events = in_one_chunk(prepared.events)
    accounts = events.column("accountId").chunk(0).dictionary.to_pylist() if events.num_rows else []
    source, known = Source(events, columns), Focused(prepared.focused, accounts)
    room = _Room(ordered)

    def run(low: int, high: int) -> tuple[tuple[pa.Table, ...], int]:
        out = room.walked(columns, low, high)
        return derived_tables(source, out, known), int(out.counts[rules.BEGIN_IN_THE_MIDDLE])

    shares = in_shares(len(ordered.starts) - 1, run, each=8)
    joined = [pa.concat_tables(parts) for parts in zip(*(tables for tables, _middle in shares), strict=True)]
    middle = sum(middle for _tables, middle in shares)
    segments, skill_segments, queues, units, running = joined
    quality = _quality(prepared, middle, room.effect, segments, skill_segments, units)
    return Derived(segments, skill_segments, queues, units, running, quality)


def walk(columns: Columns, ordered: Ordered) -> list[Out]:
    """The rows that the rules write, one `Out` for each share of neighbouring conversations.

    The number of conversations alone decides where the shares are cut.
    """
    room = _Room(ordered)
    return in_shares(len(ordered.starts) - 1, lambda low, high: room.walked(columns, low, high))


def trace_of(prepared: Prepared) -> Trace:
    """What the rules see of events that are in order and know their losses of focus."""
    out = _Room(prepared.ordered, traced=True).walked(prepared.columns, 0, len(prepared.ordered.starts) - 1)
    focus, middle = out.focus[: out.counts[rules.STRETCHES]], int(out.counts[rules.BEGIN_IN_THE_MIDDLE])
    queues = out.queue_segments["row"][: out.counts[rules.QUEUE_SEGMENTS]]
    segments = out.agent_segments[: out.counts[rules.SEGMENTS]]
    running = segments[segments["end_reason"] < 0]
    return Trace(out.effect, out.state, out.waits_since, focus, queues, running, out.last, middle)


class _Room:
    """Room for the most rows that the events can give; what is not written takes no memory.

    `traced`: also for what only a trace needs.
    """

    def __init__(self, ordered: Ordered, *, traced: bool = False) -> None:
        self._ordered, self._traced = ordered, traced
        self._sizes = count_codes(np.ascontiguousarray(ordered.records["type"]), len(model.TYPES)).tolist()
        self.effect = np.zeros(len(ordered.rows), np.int8)
        self._state = np.zeros(len(ordered.rows), np.uint8)

    def walked(self, columns: Columns, low: int, high: int) -> Out:
        """What the rules write of the conversations from low to high. Shares of them may be walked side by side."""
        out, ordered = self._out(), self._ordered
        rules.derive_conversations(columns, ordered.records, ordered.starts, out, np.zeros(1, rules.STATE), low, high)
        return out

    def _out(self) -> Out:
        opened, resumed, transferred, assigned, focused, unfocused, messages, *_others = self._sizes
        traced = int(self._traced)
        return Out(
            agent_segments=np.empty(assigned + 1, rules.AGENT_SEGMENT),
            skill_segments=np.empty(opened + resumed + transferred + assigned + 1, rules.SKILL_SEGMENT),
            queue_segments=np.empty(opened + resumed + transferred + 1, rules.QUEUE_SEGMENT),
            units=np.empty(messages + focused + unfocused + assigned + 1, rules.UNIT),
            responses=np.empty(messages + 1, np.int64),
            responded_since=np.empty(messages + 1, np.int64),
            firsts=np.empty(assigned + 1, np.int64),
            counts=np.zeros(8, np.int64),
            effect=self.effect,
            state=self._state,
            waits_since=np.empty(traced * len(self._ordered.rows), np.int64),
            focus=np.empty(traced * focused, rules.VIEWER),
            last=np.empty(traced * (len(self._ordered.starts) - 1), rules.STATE),
        )


def _quality(
    prepared: Prepared, middle: int, effect: I8, segments: pa.Table, skill_segments: pa.Table, units: pa.Table
) -> Quality:
    doubles = prepared.ordered.doubles
    effects = count_codes(effect, len(rules.EFFECTS))
    lengths = units.column("handleTimeMillis")
    long = lengths.filter(pc.greater(lengths, LONG_UNIT_MINUTES * MINUTE))
    humans = segments.select(["accountId", "agentId"]).filter(pc.equal(segments["userType"].cast(pa.string()), "human"))
    return Quality(
        events=prepared.events.num_rows,
        conversations=len(prepared.ordered.starts) - 1,
        duplicates=doubles.dropped - doubles.corrected,
        differing_copies=doubles.differing,
        corrected=doubles.corrected,
        without_effect={
            name: int(effects[i]) for i, name in enumerate(rules.EFFECTS) if i != rules.TOOK_EFFECT and effects[i]
        },
        begin_in_the_middle=middle,
        running_agent_segments=segments["end"].null_count,
        running_skill_segments=skill_segments["end"].null_count,
        handle_time_millis=pc.sum(lengths, min_count=0).as_py(),
        long_units=len(long),
        long_units_millis=pc.sum(long, min_count=0).as_py(),
        accounts=set(prepared.events["accountId"].unique().to_pylist()),
        human_agents=agents_of(humans),
        focused_agents=prepared.focused,
    )
