"""Whose focus moved where: what new focus events change, found without reading anybody's whole history.

Of a new focus event only the agent's `focused` before it and its own loss are in question (rules.md 1, "Focus").
So all that has to be known of each agent are the moves around the new ones: its *window*. For agents whose events come
in order, more or less, that is the end of their history, which is remembered. Around events that come later than
that, the window is looked for in the table, in spans of time that grow until they hold what is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.clock import DAY, HOUR
from handletime.events import model
from handletime.segments.columns import I64, NEVER, Bools, columns_of
from handletime.segments.focus import Anonymous, Loss, losses_among
from handletime.store.arrow import delete, insert, query, registered

TAIL: Final = 32
"""The number of an agent's last `focused` that are remembered, with all moves between them."""
LATEST: Final = 32_768
"""The number of last moves that wait before the others are looked at."""
AGENTS_MAX: Final = 50_000
"""The most agents that are remembered. With more, all are forgotten and looked up again."""
SPANS_MS: Final = (4 * HOUR, 3 * DAY, 60 * DAY)
"""How far around late events their agents' moves are searched: first the shortest span, at last everywhere."""
EVER: Final = -NEVER

MOVE_ROW: Final = pa.schema(
    [
        ("account", pa.int32()),
        ("agentId", pa.int64()),
        ("time", pa.int64()),
        ("sequence", pa.int64()),
        ("type", pa.int8()),
        ("eventId", pa.string()),
        ("number", pa.int64()),
        ("arrival", pa.int64()),
        ("position", pa.int64()),
        ("conversationId", pa.string()),
    ]
)
"""A row of `kept.focus_moves` and its conversation's id. Anonymous losses have number -1, others position -1."""
_NO_MOVES: Final = MOVE_ROW.empty_table()

_AGENT: Final = pa.schema([("account", pa.int32()), ("agentId", pa.int64()), ("focused", pa.bool_())])
Agent = tuple[int, int]
"""Account number and agent id."""


class Moved(NamedTuple):
    """What new focus events change.

    `stored` has the `focused` that were stored before and now meet another loss (`lost_time` is `NEVER`: none), `new`
    the new ones that meet a loss. Both by `number` and `arrival`, with `account`, `conversationId`, `lost_time` and
    `lost_sequence`. `agents` are rows for `kept.agents`.
    """

    stored: pa.Table
    new: pa.Table
    agents: pa.Table

    def among(self, numbers: I64) -> Moved:
        """The part of it in these conversations, by their ascending numbers."""
        stored, new = (rows.filter(np.isin(rows["number"].to_numpy(), numbers)) for rows in (self.stored, self.new))
        return self._replace(stored=stored, new=new)


class FocusMoves:
    """The focus moves of one open store. Not for several threads.

    Whoever may bring events can name any number of agents. So only of some it is remembered what is stored of them.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drops what is remembered of the tables; it is looked up again when needed."""
        self._slots: dict[Agent, int] = {}
        # Whether an agent has a `focused`; None where there is no focus event of it at all.
        self._focused: dict[Agent, bool | None] = {}
        # From its floor on, an agent's moves are remembered completely; NEVER: none are.
        self._floors: I64 = np.empty(0, np.int64)
        self._tail = MOVE_ROW.empty_table()
        self._tail_slots: I64 = np.empty(0, np.int64)
        # What came since: it joins the tail many at a time, because that looks at the whole tail.
        self._latest = MOVE_ROW.empty_table()
        self._latest_slots: I64 = np.empty(0, np.int64)

    def moved(self, connection: duckdb.DuckDBPyConnection, new: pa.Table, gone: pa.Table = _NO_MOVES) -> Moved:
        """What new moves change (rows of `MOVE_ROW`, no doubles among them or with stored ones). Stores nothing.

        `gone` are moves that were stored and are being taken out.
        """
        around = pa.concat_tables([new, gone]).combine_chunks()
        agents, slots = self._slots_of(connection, around)
        window = self._window(connection, around, slots)
        old_time, old_sequence = _losses(window)
        if gone.num_rows:
            left = ~np.isin(window["arrival"].to_numpy(), gone["arrival"].to_numpy())
            window, old_time, old_sequence = window.filter(left), old_time[left], old_sequence[left]
        time, sequence = _losses(pa.concat_tables([window, new]))
        count = window.num_rows
        changed = (old_time != time[:count]) | (old_sequence != sequence[:count])
        return Moved(
            _met(window, changed, time[:count], sequence[:count]),
            _met(new, time[count:] != NEVER, time[count:], sequence[count:]),
            self._agents_table(agents, _focused_among(new)),
        )

    def keep(self, connection: duckdb.DuckDBPyConnection, new: pa.Table) -> None:
        """Remembers moves that were given to `moved` and are stored now."""
        agents, slots = self._slots_of(connection, new)
        focused = _focused_among(new)
        self._focused.update({agent: agent in focused or bool(self._focused[agent]) for agent in agents})
        self._latest = pa.concat_tables([self._latest, new]).combine_chunks()
        self._latest_slots = np.concatenate([self._latest_slots, slots])
        if len(self._latest_slots) > LATEST:
            self._join_latest()

    def drop(self, connection: duckdb.DuckDBPyConnection, gone: pa.Table) -> None:
        """Forgets the agents of moves that were taken out; deletes those of whom no focus event is left."""
        agents, slots = self._slots_of(connection, gone)
        mine = _among(slots, len(self._floors))
        self._floors[mine] = NEVER
        self._tail = self._tail.filter(~mine[self._tail_slots])
        self._tail_slots = self._tail_slots[~mine[self._tail_slots]]
        self._latest = self._latest.filter(~mine[self._latest_slots])
        self._latest_slots = self._latest_slots[~mine[self._latest_slots]]
        with registered(connection, asked=_asked(agents)):
            found = connection.execute(_LEFT_OF).fetchall()
            left = {(account, agent): focused for account, agent, focused in found}
            connection.execute(
                "delete from kept.agents t using asked where t.account = asked.account and t.agentId = asked.agentId"
            )
        rows = [(*agent, left[agent]) for agent in agents if agent in left]
        insert(connection, "kept.agents", _agent_rows(rows))
        self._focused.update({agent: left.get(agent) for agent in agents})

    def _join_latest(self) -> None:
        new, slots = self._latest, self._latest_slots
        mine = _among(slots, len(self._floors))[self._tail_slots]
        recent = new["time"].to_numpy() >= self._floors[slots]
        rows = pa.concat_tables([self._tail.filter(mine), new.filter(recent)])
        # Some may have been looked up meanwhile.
        _arrivals, once = np.unique(rows["arrival"].to_numpy(), return_index=True)
        rows, of = rows.take(once), np.concatenate([self._tail_slots[mine], slots[recent]])[once]
        kept = _raise_floors(rows, of, self._floors)
        self._tail = pa.concat_tables([self._tail.filter(~mine), rows.filter(kept)]).combine_chunks()
        self._tail_slots = np.concatenate([self._tail_slots[~mine], of[kept]])
        self._latest, self._latest_slots = MOVE_ROW.empty_table(), np.empty(0, np.int64)

    def _agents_table(self, agents: Iterable[Agent], focused: set[Agent]) -> pa.Table:
        """Rows for `kept.agents`: of whom there was no focus event so far, or no `focused`."""
        rows = [
            (*agent, agent in focused)
            for agent in agents
            if self._focused[agent] is None or (agent in focused and not self._focused[agent])
        ]
        return _agent_rows(rows)

    def _look_up(self, connection: duckdb.DuckDBPyConnection, agents: list[Agent]) -> None:
        """Looks up whether there are focus events of these agents, where that is not known."""
        unknown = [agent for agent in agents if agent not in self._focused]
        if not unknown:
            return
        with registered(connection, asked=_asked(unknown)):
            found = connection.execute(_STORED).fetchall()
        self._focused.update(dict.fromkeys(unknown))
        self._focused.update({(account, agent): focused for account, agent, focused in found})

    def _slots_of(self, connection: duckdb.DuckDBPyConnection, moves: pa.Table) -> tuple[list[Agent], I64]:
        """The agents of moves, and each move's place in what is remembered."""
        accounts, account_of = np.unique(moves["account"].to_numpy(), return_inverse=True)
        ids, id_of = np.unique(moves["agentId"].to_numpy(), return_inverse=True)
        # Many times faster than unique pairs.
        different, agent_of = np.unique(account_of * len(ids) + id_of, return_inverse=True)
        agents: list[Agent] = [(int(accounts[pair // len(ids)]), int(ids[pair % len(ids)])) for pair in different]
        if len(self._slots) + len(agents) > AGENTS_MAX:
            self.forget()
        self._look_up(connection, agents)
        for agent in agents:
            self._slots.setdefault(agent, len(self._slots))
        unknown = np.full(len(self._slots) - len(self._floors), NEVER, np.int64)
        self._floors = np.concatenate([self._floors, unknown])
        slots = np.array([self._slots[agent] for agent in agents], np.int64)
        strangers = [place for agent, place in zip(agents, slots.tolist(), strict=True) if self._focused[agent] is None]
        self._floors[strangers] = EVER
        return agents, slots[agent_of] if len(agents) else slots

    def _window(self, connection: duckdb.DuckDBPyConnection, new: pa.Table, slots: I64) -> pa.Table:
        """The stored moves around new ones, each once."""
        time = new["time"].to_numpy()
        late = time <= self._floors[slots]
        found = MOVE_ROW.empty_table()
        if late.any():
            found = self._find(connection, new.filter(late), slots[late])
        window = pa.concat_tables([*self._remembered(time, slots), found]).combine_chunks()
        _arrivals, first = np.unique(window["arrival"].to_numpy(), return_index=True)
        return window.take(first)

    def _remembered(self, time: I64, slots: I64) -> list[pa.Table]:
        """What is remembered around new moves: of each agent all from the last `focused` before its new moves on."""
        np.minimum.at(earliest := np.full(len(self._floors), NEVER), slots, time)
        starts = np.full(len(self._floors), EVER)
        mine = _among(slots, len(self._floors))
        parts = []
        for rows, slots_of_rows in ((self._tail, self._tail_slots), (self._latest, self._latest_slots)):
            places = np.flatnonzero(mine[slots_of_rows])
            of, at = slots_of_rows[places], rows["time"].to_numpy()[places]
            before = (at < earliest[of]) & (rows["type"].to_numpy()[places] == model.FOCUSED)
            np.maximum.at(starts, of[before], at[before])
            parts.append((rows, places, of, at))
        return [rows.take(places[at >= starts[of]]) for rows, places, of, at in parts]

    def _find(self, connection: duckdb.DuckDBPyConnection, late: pa.Table, slots: I64) -> pa.Table:
        """The stored moves around late ones; remembers those at the end of the history of a forgotten agent."""
        targets = late.select(["account", "agentId", "time"]).append_column("slot", pa.array(slots))
        targets = targets.group_by(["account", "agentId", "time", "slot"]).aggregate([])
        before = _nearest(connection, targets, after=False)
        after = _nearest(connection, targets, after=True)
        time = targets["time"].to_numpy()
        low = np.where(before == EVER, time, before)
        rows = _rows_within(connection, targets, low, after)
        self._remember_ends(rows, targets["slot"].to_numpy(), before, after)
        return rows.drop_columns("slot")

    def _remember_ends(self, rows: pa.Table, slots: I64, before: I64, after: I64) -> None:
        """Remembers the windows at the end of the history of agents of whom nothing is remembered yet.

        Only those that begin with a `focused`: the new moves may bring one that comes before any other window, and what
        lies between is not known.
        """
        ends = np.flatnonzero((after == NEVER) & (before != EVER) & (self._floors[slots] == NEVER))
        # Several windows of one agent may reach the end; the latest is complete in itself.
        np.maximum.at(starts := np.full(len(self._floors), EVER), slots[ends], before[ends])
        new = _among(slots[ends], len(self._floors))
        self._floors[new] = starts[new]
        of = rows["slot"].to_numpy()
        kept = new[of] & (rows["time"].to_numpy() >= starts[of])
        self._tail = pa.concat_tables([self._tail, rows.filter(kept).drop_columns("slot")]).combine_chunks()
        self._tail_slots = np.concatenate([self._tail_slots, of[kept]])


def focused_among(cursor: duckdb.DuckDBPyConnection, rows: pa.Table) -> set[int]:
    """The ids of those agents of some rows (`account`, `agentId`), all of one account, of whom there is a `focused`."""
    with registered(cursor, asked=rows.select(["account", "agentId"])):
        found = cursor.execute("select agentId from kept.agents semi join asked using (account, agentId) where focused")
        return {int(agent) for (agent,) in found.fetchall()}


def _asked(agents: Iterable[Agent]) -> pa.Table:
    account, agent = zip(*agents, strict=True)
    return pa.table({"account": pa.array(account, pa.int64()), "agentId": pa.array(agent, pa.int64())})


def _agent_rows(rows: list[tuple[int, int, bool]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table([pa.array(column, type_) for column, type_ in zip(columns, _AGENT.types, strict=True)], _AGENT)


def write_losses(connection: duckdb.DuckDBPyConnection, moved: Moved, outdated: pa.Table) -> None:
    """Stores the losses that focus events meet now, in place of those of `outdated` (`number`, `arrival`)."""
    delete(connection, "kept.losses", outdated)
    met = moved.stored.filter(moved.stored["lost_time"].to_numpy() != NEVER)
    rows = pa.concat_tables([met, moved.new]).select(["number", "arrival", "lost_time", "lost_sequence"])
    insert(connection, "kept.losses", rows)


def _focused_among(moves: pa.Table) -> set[Agent]:
    """The agents with a `focused` among moves."""
    focused = moves.filter(pc.equal(moves["type"], model.FOCUSED))
    return set(zip(focused["account"].to_pylist(), focused["agentId"].to_pylist(), strict=True))


def _among(slots: I64, count: int) -> Bools:
    """For each slot whether it is among these."""
    wanted = np.zeros(count, np.bool_)
    wanted[slots] = True
    return wanted


def _raise_floors(rows: pa.Table, slots: I64, floors: I64) -> Bools:
    """Raises the floors of agents with many moves; says which rows lie above."""
    time = rows["time"].to_numpy()
    focused = np.flatnonzero(rows["type"].to_numpy() == model.FOCUSED)
    by_agent = focused[np.lexsort((time[focused], slots[focused]))]
    of = slots[by_agent]
    # The place from the end, among the agent's.
    ends = np.searchsorted(of, of, side="right")
    floor = (ends - np.arange(len(of))) == TAIL
    floors[of[floor]] = time[by_agent[floor]]
    return np.asarray(time >= floors[slots], np.bool_)


def _losses(moves: pa.Table) -> tuple[I64, I64]:
    """The loss that each of these moves meets among them."""
    moves = moves.combine_chunks()
    numbers = moves["number"].to_numpy()
    named = np.flatnonzero(numbers >= 0).astype(np.int32)
    found = losses_among(columns_of(moves), named, numbers, anonymous_of(moves.filter(numbers < 0)))
    return found.lost_time, found.lost_sequence


def anonymous_of(moves: pa.Table) -> Anonymous:
    """The losses that removed conversations left, out of these rows."""
    columns = (moves[name].to_pylist() for name in ("account", "agentId", "time", "sequence", "position"))
    return Anonymous(Loss(*row) for row in zip(*columns, strict=True))


def _met(moves: pa.Table, which: Bools, time: I64, sequence: I64) -> pa.Table:
    rows = moves.select(["number", "arrival", "account", "conversationId"]).filter(which)
    rows = rows.append_column("lost_time", pa.array(time[which]))
    return rows.append_column("lost_sequence", pa.array(sequence[which]))


_STORED: Final = """
    select account, agentId, bool_or(focused) from kept.agents semi join asked using (account, agentId) group by all"""
_LEFT_OF: Final = f"""
    select account, agentId, bool_or(type = {model.FOCUSED})
    from kept.focus_moves semi join asked using (account, agentId)
    group by all"""  # noqa: S608


# --- in the table ----------------------------------------------------------------------------------------------------


def _nearest(connection: duckdb.DuckDBPyConnection, targets: pa.Table, *, after: bool) -> I64:
    """The time of the nearest earlier or later `focused` of each target's agent; `EVER` or `NEVER`: there is none."""
    time = targets["time"].to_numpy()
    nearest = np.full(len(time), NEVER if after else EVER)
    missing = np.arange(len(time))
    # Mostly nothing is later: then nothing is read, however far one looks.
    for span in (SPANS_MS[0], None) if after else (*SPANS_MS, None):
        asked = targets.take(missing).append_column("place", pa.array(missing))
        low = EVER if span is None and not after else int(time[missing].min()) - (0 if after else span or 0)
        high = NEVER if span is None and after else int(time[missing].max()) + (span or 0 if after else 0)
        with registered(connection, asked=asked):
            found = query(connection, _NEAREST[after], {"low": low, "high": high})
        nearest[found["place"].to_numpy()] = found["time"].to_numpy()
        missing = np.setdiff1d(missing, found["place"].to_numpy())
        if not len(missing):
            break
    return nearest


def _nearest_query(comparison: str) -> str:
    return f"""
        select asked.place, moves.time
        from asked asof join (
            select account, agentId, time from kept.focus_moves
            where type = {model.FOCUSED} and time between $low and $high
                and agentId in (select agentId from asked)
        ) moves
        on asked.account = moves.account and asked.agentId = moves.agentId and asked.time {comparison} moves.time"""  # noqa: S608


_NEAREST: Final = {False: _nearest_query(">"), True: _nearest_query("<")}


def _rows_within(connection: duckdb.DuckDBPyConnection, targets: pa.Table, low: I64, high: I64) -> pa.Table:
    """The moves of the targets' agents within spans of time, ends included, each once; with the agents' slots."""
    first, low, high = _apart(targets["slot"].to_numpy(), low, high)
    asked = targets.select(["account", "agentId", "slot"]).take(first)
    asked = asked.append_column("low", pa.array(low)).append_column("high", pa.array(high))
    with registered(connection, asked=asked):
        rows = query(connection, _WITHIN, {"low": int(low.min()), "high": int(high.max())})
    return rows.cast(pa.schema([*MOVE_ROW, pa.field("slot", pa.int64())]))


def _apart(slots: I64, low: I64, high: I64) -> tuple[I64, I64, I64]:
    """Spans of time with the same ones joined that overlap or touch: of each a place that it was made of, and its ends.

    Of one slot they are apart then, so that each move lies in one of them at most.
    """
    order = np.lexsort((low, slots))
    first: list[int] = []
    lows: list[int] = []
    highs: list[int] = []
    slot = None
    for place, of, begin, end in zip(
        order.tolist(), *(each[order].tolist() for each in (slots, low, high)), strict=True
    ):
        if of == slot and begin <= highs[-1]:
            highs[-1] = max(highs[-1], end)
        else:
            first.append(place)
            lows.append(begin)
            highs.append(end)
            slot = of
    return np.array(first, np.int64), np.array(lows, np.int64), np.array(highs, np.int64)


# A move is looked up among the spans, not the other way round: there may be thousands of either of one agent.
_WITHIN: Final = """
    select moves.account, moves.agentId, moves.time, sequence, type, coalesce(eventId, '') as eventId,
        coalesce(moves.number, -1) as number, arrival, coalesce(position, -1) as position,
        coalesce(conversationId, '') as conversationId, asked.slot
    from (select * from kept.focus_moves
        where time between $low and $high and agentId in (select agentId from asked)) moves
    asof join asked on moves.account = asked.account and moves.agentId = asked.agentId and moves.time >= asked.low
    left join kept.conversations on conversations.number = moves.number
    where moves.time <= asked.high"""


def move_rows(events: pa.Table, ids: pa.Array) -> pa.Table:
    """The focus events among rows of `schema.EVENT_ROW`, with the ids of their conversations."""
    type_ = events["type"].to_numpy()
    focus = (type_ == model.FOCUSED) | (type_ == model.UNFOCUSED)
    rows = events.append_column("conversationId", ids).filter(focus)
    rows = rows.append_column("position", pa.array(np.full(rows.num_rows, -1)))
    return rows.select(MOVE_ROW.names).cast(MOVE_ROW).combine_chunks()


def stored_form(moves: pa.Table) -> pa.Table:
    """Moves as `kept.focus_moves` has them."""
    position = pc.if_else(pc.less(moves["position"], 0), None, moves["position"])
    return moves.drop_columns("conversationId").set_column(8, "position", position.cast(pa.int64()))
