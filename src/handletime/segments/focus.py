"""Whose focus is where: what a conversation has to know of the others (rules.md 1, "Focus" and "Removing").

An agent's focus leaves a conversation when the agent selects another one. For the conversation that loses it this is
the one thing that its own events do not say; here every `focused` learns when that happens.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Compiled code: its integers are NumPy's, and records are seen as Any.

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from handletime.compiled import borrowing, compiled
from handletime.events import model
from handletime.segments.columns import I32, I64, NEVER, U64, Bools, Columns, mix
from handletime.segments.order import Ordered, account_hashes
from handletime.segments.sorting import Record, Records, sort_events
from handletime.segments.threads import in_shares

LOSSES: Final = pa.schema(
    [
        pa.field("accountId", pa.string(), nullable=False),
        pa.field("agentId", pa.int64(), nullable=False),
        pa.field("time", model.INSTANT, nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
    ]
)
"""What stays of removed conversations: moments at which an agent selected one of them (rules.md 1, "Removing").

`position` says how many focus events of that agent, of the same time and sequence and not removed, come before.
"""

MOVE: Final = np.dtype(
    [
        ("time", np.int64),
        ("sequence", np.int64),
        ("agent", np.int64),
        ("conversation", np.int64),
        ("account", np.int32),
        ("row", np.int32),
        ("type", np.int8),
    ],
    align=True,
)
"""What matters of a focus event; `conversation` is any number for it, `row` the event's row in the table."""

_FOCUSED: Final = model.FOCUSED
_UNFOCUSED: Final = model.UNFOCUSED


def with_losses(
    events: pa.Table, columns: Columns, ordered: Ordered, losses: pa.Table | None = None
) -> tuple[Columns, I32]:
    """Columns with the loss of focus that each `focused` meets (`lost_time`, `lost_sequence`).

    Also one row of a `focused` of each agent that has any. `losses` is a table of `LOSSES`: what removed conversations
    took away. Only `ordered` events count.
    """

    def moves(low: int, high: int) -> Records:
        return moves_of(columns, ordered.records, ordered.starts, low, high)

    anonymous = Anonymous.of_table(events, losses)
    return _losses(columns, np.concatenate(in_shares(len(ordered.starts) - 1, moves)), anonymous)


def losses_of_moves(
    events: pa.Table, columns: Columns, conversations: I64, losses: pa.Table | None = None
) -> tuple[Columns, I32]:
    """`with_losses` for a table of `focused` and `unfocused` without doubles; each row has a conversation's number."""
    rows = np.arange(len(conversations), dtype=np.int32)
    return _losses(columns, moves_in(columns, rows, conversations), Anonymous.of_table(events, losses))


def losses_among(columns: Columns, moves: I32, conversations: I64, anonymous: Anonymous) -> Columns:
    """`with_losses` for the focus events in the rows `moves`, and the losses of removed conversations.

    Accounts are those that have the same number in `columns`. `conversations` has a number for each row of the table.
    """
    return _losses(columns, moves_in(columns, moves, conversations), anonymous)[0]


def _losses(columns: Columns, moves: Records, anonymous: Anonymous) -> tuple[Columns, I32]:
    together, bounds = by_agent(moves)
    del moves
    spans = anonymous.spans_of(columns, together["row"][bounds[:-1]])
    lost_time = np.full(len(columns.time), NEVER, np.int64)
    lost_sequence = np.full(len(columns.time), NEVER, np.int64)

    def find(low: int, high: int) -> None:
        find_losses(columns, together, bounds, anonymous.keys, spans, lost_time, lost_sequence, low, high)

    in_shares(len(bounds) - 1, find, least=4)
    known = columns._replace(lost_time=lost_time, lost_sequence=lost_sequence)
    return known, focused_rows(together, bounds)


class Loss(NamedTuple):
    """A row of `LOSSES`, its account as a number, its time in epoch milliseconds."""

    account: int
    agent: int
    time: int
    sequence: int
    position: int


class Anonymous:
    """Losses of removed conversations, sorted by agent and place in the order."""

    def __init__(self, losses: Iterable[Loss]) -> None:
        self.spans: dict[tuple[int, int], tuple[int, int]] = {}
        rows = sorted(losses)
        self.keys: I64 = np.array([loss[2:] for loss in rows], np.int64).reshape(-1, 3)
        for i, loss in enumerate(rows):
            first, _last = self.spans.get((loss.account, loss.agent), (i, i))
            self.spans[loss.account, loss.agent] = (first, i + 1)

    @classmethod
    def of_table(cls, events: pa.Table, losses: pa.Table | None) -> Anonymous:
        """The losses in a table of `LOSSES` whose accounts have events."""
        if losses is None or not losses.num_rows:
            return cls(())
        names = events.column("accountId").unify_dictionaries()
        accounts = names.chunk(0).dictionary.to_pylist() if names.num_chunks else []
        place = {name: i for i, name in enumerate(accounts)}
        table = losses.set_column(2, "time", losses.column("time").cast(pa.int64()))
        return cls(
            Loss(place[row["accountId"]], row["agentId"], row["time"], row["sequence"], row["position"])
            for row in table.to_pylist()
            if row["accountId"] in place
        )

    def spans_of(self, columns: Columns, examples: I32) -> I64:
        """For each agent, of whom a row is given, the first and last place of its anonymous losses."""
        spans = np.zeros((len(examples), 2), np.int64)
        if self.spans:
            for i, row in enumerate(examples):
                key = (int(columns.account[row]), int(columns.agent[row]))
                spans[i] = self.spans.get(key, (0, 0))
        return spans


class Ties(NamedTuple):
    """Focus events that share agent, time and sequence, several such groups after one another.

    Each group has its events in order, then the losses that were there before (`position` >= 0). `removed` says which
    events go, `focused` which are such.
    """

    group: I64
    position: I64
    removed: Bools
    focused: Bools


def positions_left(ties: Ties) -> I64:
    """The `position` of the losses that stay, of removed `focused` and earlier ones; -1 for all others."""
    is_event = ties.position < 0
    kept = is_event & ~ties.removed
    # How many kept events come before each place, in all groups; the last entry closes the last group.
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    first = np.searchsorted(ties.group, ties.group)
    events = np.concatenate([np.zeros(1, np.int64), np.cumsum(is_event)])
    size = events[np.searchsorted(ties.group, ties.group, side="right")] - events[first]
    place = np.where(is_event, np.arange(len(first)), first + np.minimum(ties.position, size))
    left = ~is_event | (ties.removed & ties.focused)
    return np.where(left, before[place] - before[first], -1)


Agents = set[tuple[str, int]]
"""Accounts and agents."""


class Focused:
    """The agents of whom there is any `focused`, under the numbers that a table gives accounts."""

    def __init__(self, agents: Agents, accounts: list[str]) -> None:
        number = {name: i for i, name in enumerate(accounts)}
        pairs = sorted((number[account], agent) for account, agent in agents if account in number)
        self._sorted: I64 = np.array(pairs, np.int64).reshape(-1, 2)

    def among(self, columns: Columns, rows: I32) -> Bools:
        """For each of these rows whether its agent is one of them."""
        found = np.empty(len(rows), np.bool_)
        find_agents(columns, rows, self._sorted, found)
        return found


@borrowing
def find_agents(columns: Columns, rows: I32, known: I64, found: Bools) -> None:
    """Writes for each of the rows whether its account and agent are known; those are in ascending order."""
    for i in range(len(rows)):
        account, agent = columns.account[rows[i]], columns.agent[rows[i]]
        low, high = 0, len(known)
        while low < high:
            middle = (low + high) // 2
            if known[middle, 0] < account or (known[middle, 0] == account and known[middle, 1] < agent):
                low = middle + 1
            else:
                high = middle
        found[i] = low < len(known) and known[low, 0] == account and known[low, 1] == agent


def agent_hashes(events: pa.Table, columns: Columns) -> U64:
    """A hash of account and agent for each row of focus events, the same on every machine."""
    hashes = np.empty(len(columns.time), np.uint64)
    hash_agents(columns, account_hashes(events), hashes)
    return hashes


@borrowing
def hash_agents(columns: Columns, account_seeds: U64, hashes: U64) -> None:
    """Writes a hash of account and agent for each row."""
    for row in range(len(hashes)):
        hashes[row] = mix(np.uint64(columns.agent[row]) ^ account_seeds[columns.account[row]])


@compiled
def moves_of(columns: Columns, records: Records, starts: I64, low: int, high: int) -> Records:
    """The focus events of the conversations from low to high."""
    count = 0
    for place in range(starts[low], starts[high]):
        count += is_move(records[place])
    moves = np.empty(count, MOVE)
    found = 0
    for conversation in range(low, high):
        account = columns.account[records[starts[conversation]].row]
        for place in range(starts[conversation], starts[conversation + 1]):
            event = records[place]
            if is_move(event):
                move = moves[found]
                found += 1
                move.time = event.time
                move.sequence = event.sequence
                move.agent = event.agent
                move.conversation = conversation
                move.account = account
                move.row = event.row
                move.type = event.type
    return moves


@borrowing
def is_move(event: Record) -> bool:
    """Whether an event is a `focused` or an `unfocused`."""
    return bool(event.type == _FOCUSED or event.type == _UNFOCUSED)


@compiled
def moves_in(columns: Columns, rows: I32, conversations: I64) -> Records:
    """The focus events in these rows; each row of the table has its conversation's number."""
    moves = np.empty(len(rows), MOVE)
    for i in range(len(rows)):
        row, move = rows[i], moves[i]
        move.time = columns.time[row]
        move.sequence = columns.sequence[row]
        move.agent = columns.agent[row]
        move.conversation = conversations[row]
        move.account = columns.account[row]
        move.row = row
        move.type = columns.type[row]
    return moves


@compiled
def by_agent(moves: Records) -> tuple[Records, I64]:
    """Focus events brought together by account and agent, and where each agent's begin (and the last end)."""
    table = np.full(1024, -1, np.int64)
    example = np.empty(len(moves), np.int32)
    sizes = np.zeros(len(moves), np.int64)
    agent_of = np.empty(len(moves), np.int32)
    agents = 0
    for i in range(len(moves)):
        slot = agent_slot(moves, table, example, moves[i])
        agent_of[i] = table[slot]
        if table[slot] < 0:
            agent_of[i] = agents
            table[slot] = agents
            example[agents] = i
            agents += 1
            if 2 * agents > len(table):
                table = np.full(4 * len(table), -1, np.int64)
                for agent in range(agents):
                    table[agent_slot(moves, table, example, moves[example[agent]])] = agent
        sizes[agent_of[i]] += 1
    bounds = np.zeros(agents + 1, np.int64)
    bounds[1:] = np.cumsum(sizes[:agents])
    places = bounds[:-1].copy()
    together = np.empty(len(moves), MOVE)
    for i in range(len(moves)):
        together[places[agent_of[i]]] = moves[i]
        places[agent_of[i]] += 1
    return together, bounds


@compiled
def focused_rows(together: Records, bounds: I64) -> I32:
    """One row of a `focused` of each agent that has any."""
    rows = np.empty(len(bounds) - 1, np.int32)
    found = 0
    for agent in range(len(bounds) - 1):
        for place in range(bounds[agent], bounds[agent + 1]):
            if together[place].type == _FOCUSED:
                rows[found] = together[place].row
                found += 1
                break
    return rows[:found].copy()


@borrowing
def agent_slot(moves: Records, table: I64, example: I32, move: Record) -> int:
    """Where in the table the move's agent stands, or would."""
    mask = len(table) - 1
    key = np.uint64(move.agent) + np.uint64(move.account) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64(mix(key) & np.uint64(mask))
    while table[slot] >= 0:
        other = moves[example[table[slot]]]
        if other.account == move.account and other.agent == move.agent:
            break
        slot = (slot + 1) & mask
    return slot


@compiled
def find_losses(
    columns: Columns,
    moves: Records,
    bounds: I64,
    anonymous: I64,
    spans: I64,
    lost_time: I64,
    lost_sequence: I64,
    low: int,
    high: int,
) -> None:
    """Writes for the `focused` of the agents from low to high the moment at which the focus goes elsewhere."""
    for agent in range(low, high):
        unordered = moves[bounds[agent] : bounds[agent + 1]]
        order = np.arange(len(unordered), dtype=np.int32)
        sort_events(columns, unordered, order)
        first, end = spans[agent, 0], spans[agent, 1]
        find_losses_of_agent(unordered[order], anonymous[first:end], lost_time, lost_sequence)


@compiled
def find_losses_of_agent(mine: Records, anonymous: I64, lost_time: I64, lost_sequence: I64) -> None:
    """`find_losses` for one agent: its moves in order, and its anonymous losses."""
    positions = positions_of(mine)
    loss = len(anonymous) - 1
    elsewhere, place, time, sequence = -1, len(mine), NEVER, NEVER
    for i in range(len(mine) - 1, -1, -1):
        move = mine[i]
        while loss >= 0 and comes_after(anonymous[loss], move, positions[i]):
            elsewhere, place, time, sequence = -1, i + 1, anonymous[loss, 0], anonymous[loss, 1]
            loss -= 1
        if move.type != _FOCUSED:
            continue
        if move.conversation != elsewhere and not leaves(mine, i, place):
            lost_time[move.row], lost_sequence[move.row] = time, sequence
        elsewhere, place, time, sequence = move.conversation, i, move.time, move.sequence


@borrowing
def leaves(moves: Records, focused: int, until: int) -> bool:
    """Whether between two places the agent leaves the conversation that the first of them gave the focus."""
    for i in range(focused + 1, until):
        if moves[i].type == _UNFOCUSED and moves[i].conversation == moves[focused].conversation:
            return True
    return False


@compiled
def positions_of(moves: Records) -> I64:
    """The place of each focus event among those of its agent, time and sequence, from 0."""
    positions = np.zeros(len(moves), np.int64)
    for i in range(1, len(moves)):
        if moves[i - 1].time == moves[i].time and moves[i - 1].sequence == moves[i].sequence:
            positions[i] = positions[i - 1] + 1
    return positions


@borrowing
def comes_after(loss: I64, move: Record, position: int) -> bool:
    """Whether an anonymous loss lies after a focus event."""
    if loss[0] != move.time:
        return bool(loss[0] > move.time)
    if loss[1] != move.sequence:
        return bool(loss[1] > move.sequence)
    return bool(loss[2] > position)
