"""What one account, or a part of it, may see of a run. A reader is never given the files of other accounts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import pyarrow as pa

from handletime.answers.relations import OPEN, Definition, Snapshot, with_relations
from handletime.answers.terms import KEPT, RELATIONS
from handletime.deadline import Deadline
from handletime.errors import NotHere
from handletime.events.decode import decode_columns
from handletime.events.model import EVENTS
from handletime.lake.state import UNITS, Files, State
from handletime.lake.tables import COLUMNS, FOCUS_MOVES, File, millis
from handletime.scope import WHOLE, Scope
from handletime.segments.agent_focus import Focus, FocusTime
from handletime.segments.parts import Prepared, prepare
from handletime.store.arrow import query
from handletime.store.reader import MOVES_MAX, focus_among, focus_within, last_focused, named_state

QUEUES: Final = "queue_segments"
RUNNING_QUEUES: Final = "running_queue_segments"
EventFiles = Callable[[str], Sequence[str]]
"""The paths of the Parquet files in which events of an account may be. Raises InputError."""
Cursors = Callable[[float | None], AbstractContextManager[duckdb.DuckDBPyConnection]]
"""Gives a connection for a number of seconds at most."""
# The SQL below is made of constants, paths that were looked at, and accounts, which are letters and digits.
# ruff: noqa: S608


class LakeReader:
    """Asks about one account as of one run, however many come meanwhile. Any thread may use it."""

    def __init__(
        self,
        lake: Path,
        state: State,
        account: str,
        cursors: Cursors,
        events: EventFiles | None = None,
        limit_s: float | None = None,
        scope: Scope = WHOLE,
    ) -> None:
        """`events` are needed to explain conversations. Snapshots have rows within the scope alone. All queries are
        stopped `limit_s` seconds after this; other work of the request should ask `deadline`.
        """
        self._state, self._cursors, self._events = state, cursors, events
        self.deadline = Deadline(limit_s)
        self._relations = OfFiles(lake, account, state.of(account), state.lacking, scope)
        self.account, self.scope = account, scope

    @contextmanager
    def snapshot(self, *, limit_s: float | None = None) -> Iterator[Snapshot]:
        """The account's rows in this run, for one thread, until it is left.

        Queries that bind `start` and `end` as times are about rows that end in between: only files that may have
        such rows are opened. Queries that together run longer than `limit_s` are stopped (NotNow).
        """
        left_s = self.deadline.left_s()
        with self._cursors(min((each for each in (limit_s, left_s) if each), default=None)) as cursor:
            yield Snapshot(cursor, self._relations, self.deadline)

    def state(self) -> str:
        """Names the state of the account's rows: the run."""
        return named_state(f"run-{self._state.run.number}-{self._state.run.finished}", self.scope)

    def written(self, day: date) -> int | None:
        """When the units of a day were last written: the end of a run, in epoch milliseconds. None without any."""
        return self._state.written(self.account, day)

    def prepared(self, conversation: str) -> Prepared | None:
        """The events of one conversation, with the focus moves of its agents. None where there is no such conversation.

        The events are read anew, and may be ahead of the run. They are not limited to the scope: what is made of them
        has to be (`segments.within`). Raises NotHere where the server has no events.
        """
        if self._events is None:
            raise NotHere("Conversations cannot be explained here: this server was started without --events.")
        paths = self._events(self.account)
        if not paths:
            return None
        with self._cursors(self.deadline.left_s()) as cursor:
            named = {"account": self.account, "conversation": conversation}
            rows = query(cursor, _EVENTS.format(files=_list(paths)), named)
            if not rows.num_rows:
                return None
            agents = [agent for agent in rows["agentId"].unique().to_pylist() if agent is not None]
            moves = query(
                cursor,
                f"""select * from {self._relations.source(FOCUS_MOVES)}
                where list_contains($agents, agentId) and conversationId <> $conversation""",
                {"agents": agents, "conversation": conversation},
            )
        events = [
            decode_columns(table.combine_chunks(), account=self.account).good_events("the events")
            for table in self.deadline.over((rows, moves))
        ]
        self.deadline.check()
        return prepare(pa.concat_tables(events).unify_dictionaries())

    def open_conversations(self) -> Generator[Prepared, None, None]:
        """Raises NotHere: tables are as old as their run, so what is open now is not known."""
        raise NotHere(_NOT_NOW)

    def open_left_out(self) -> int:
        """Raises NotHere, as `open_conversations`."""
        raise NotHere(_NOT_NOW)

    def focus_times(self, agents: Sequence[int], start: int, end: int) -> dict[int, FocusTime]:  # noqa: ARG002
        """Never: it is asked for what goes on now. Raises NotHere."""
        raise NotHere(_NOT_NOW)

    def focus(self, agent: int, start: int, end: int) -> list[Focus]:
        """Where an agent's focus was in [start, end), over all conversations of the account, stretch by stretch.

        It ends with the last row of the run, or after `MOVES_MAX` focus events. With a scope it is limited as in a
        store (`store.reader.focus_within`).
        """
        end = min(end, max(map(self._relations.last, COLUMNS)))
        with self._cursors(self.deadline.left_s()) as cursor:

            def latest(low: int) -> duckdb.DuckDBPyConnection:
                moves = self._relations.source(FOCUS_MOVES, Span(low, start + 1))
                return cursor.execute(_LAST_FOCUSED.format(moves=moves), {"agent": agent, "low": low, "start": start})

            low = last_focused(latest, start)
            within = {"low": start if low is None else low, "end": end, "most": MOVES_MAX + 1}
            moves = self._relations.source(FOCUS_MOVES, Span(within["low"], end))
            rows = cursor.execute(_MOVES.format(moves=moves), {"agent": agent, **within}).fetchall()
            found = focus_among(rows, start, end)
            if self.scope.is_whole:
                return found
            # Rows that run are among all others here.
            snapshot = Snapshot(cursor, self._relations, self.deadline)
            return focus_within(snapshot, agent, found, lambda _conversations: iter(()), start, end)

    def holds_all(self, conversations: Sequence[str]) -> bool:
        """Whether all these conversations are in the run: none has been removed."""
        wanted = {*conversations}
        with self.snapshot() as snapshot:
            (found,) = snapshot.execute(_HELD, {"wanted": [*wanted]}).fetchone() or (0,)
        return bool(found == len(wanted))


_NOT_NOW: Final = "What is going on now is not known here: this server reads tables that were made before."


def _older(what: str) -> str:
    return (
        f"The tables that this server reads have no {what}: they were made by an earlier version. "
        "Derive all events once with this one."
    )


_HELD: Final = """select count(distinct conversationId) from agent_segments
    where conversationId in (select unnest($wanted))"""
_LAST_FOCUSED: Final = """select max(epoch_ms(time)) from {moves}
    where agentId = $agent and type = 'focused' and epoch_ms(time) between $low and $start"""
_MOVES: Final = """select epoch_ms(time), sequence, type = 'focused', eventId, conversationId, -1, leaseMillis
    from {moves}
    where agentId = $agent and epoch_ms(time) >= $low and epoch_ms(time) < $end order by time limit $most"""
_COLUMNS: Final = ", ".join(f"'{name}'" for name in EVENTS.names)
_EVENTS: Final = f"""select columns(lambda c: c in ({_COLUMNS}))
    from read_parquet({{files}}, union_by_name = true, hive_partitioning = true, hive_types_autocast = false)
    where accountId = $account and conversationId = $conversation"""


# --- relations -------------------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """Epoch milliseconds: from `start` on, before `end`."""

    start: int
    end: int

    def may_have(self, file: File) -> bool:
        """Whether rows of a file may end in the window."""
        if file.day is None:
            return False  # These still run.
        begins = datetime.combine(file.day, time(), UTC)
        first = millis(begins) if file.first is None else file.first
        last = millis(begins + timedelta(days=1)) - 1 if file.last is None else file.last
        return first < self.end and last >= self.start


class OfFiles:
    """The relations of one account, made of its files in a run."""

    def __init__(
        self,
        lake: Path,
        account: str,
        files: Files,
        lacking: Mapping[str, Collection[str]] | None = None,
        scope: Scope = WHOLE,
    ) -> None:
        """`lacking` are columns that the tables do not have in this run."""
        self._lake, self._account, self._files, self._lacking = lake, account, files, lacking or {}
        self._scope = scope

    @property
    def scope(self) -> Scope:
        """What of the account's rows they have."""
        return self._scope

    @property
    def keeps_sums(self) -> bool:
        """Whether segments have their sums as columns."""
        return all(KEPT[table].keys() <= {*COLUMNS[relation].names} for table, relation in RELATIONS.items())

    def composed(self, sql: str, parameters: Mapping[str, object] | None) -> str:
        """A query with the relations that it names in front of it, made of the files that it may need.

        Raises NotAllowed, NotHere.
        """
        window = _window(parameters or {})

        def define(relation: str) -> Definition:
            if relation == OPEN:
                raise NotHere(_NOT_NOW)
            if relation == RUNNING_QUEUES:
                return Definition(self._running_queues())
            number = ", segmentId as segmentNumber" if "segmentId" in COLUMNS[relation].names else ""
            rows = f"select '{self._account}' as accountId, *{number} from {self.source(relation, window)}"
            refused = {column: NotHere(_older(f"{column} in {relation}")) for column in self._lacking.get(relation, ())}
            if relation != UNITS:
                return Definition(rows, {}, refused)
            looked_up = self._of_segments(window)
            if self._scope.is_whole:
                return Definition(rows, looked_up, refused)
            segments = f"select segmentId, skillId, groupId from {self.source('agent_segments', window)}"
            joined = f"from ({rows}) join ({segments}) using (segmentId)"
            return Definition(joined, {"source": looked_up["source"]}, refused)

        return with_relations(sql, define, self._scope)

    def _of_segments(self, window: Span | None) -> dict[str, str]:
        """What units have of their segments beyond their own columns, which is looked up where it is asked for."""
        segments = self.source("agent_segments", window)
        each = f"(select {{}} from (select segmentId as id, {{}} from {segments}) where id = segmentId)"
        return {column: each.format(column, column) for column in ("skillId", "groupId", "source")}

    def last(self, table: str) -> int:
        """When the last row of a table was, in epoch milliseconds, as far as its files say so."""
        return max((file.last for file in self._files.get(table, ()) if file.last is not None), default=0)

    def _running_queues(self) -> str:
        """The queue segments that still ran in this run, whenever they started. What only a store knows is null."""
        running = [file for file in self._of(QUEUES) if file.day is None]
        unknown = "cast(null as timestamptz) as opened, cast(null as boolean) as consumerLast"
        ended = '"end", endReason, toUserType'
        return (
            f"select '{self._account}' as accountId, * exclude ({ended}), {unknown} from {self._rows(QUEUES, running)}"
        )

    def _of(self, table: str) -> Sequence[File]:
        """The files of a table. Raises NotHere where the run lacks it."""
        if table not in self._files:
            raise NotHere(_older(table))
        return self._files[table]

    def source(self, table: str, window: Span | None = None) -> str:
        """The SQL after `from` for the rows of a table; with a window at least for those that end in it.

        Raises NotHere where the run lacks the table.
        """
        return self._rows(table, [file for file in self._of(table) if window is None or window.may_have(file)])

    def _rows(self, table: str, files: Sequence[File]) -> str:
        if not files:
            return _nothing(COLUMNS[table])
        paths = [str(self._lake / table / file.path) for file in files]
        rows = f"read_parquet({_list(paths)}, hive_partitioning = false)"
        if table == FOCUS_MOVES:
            # Files of earlier versions have no `leaseMillis`.
            return f"(from {rows} union all by name from {_nothing(COLUMNS[table])})"
        return rows


def _window(parameters: Mapping[str, object]) -> Span | None:
    start, end = parameters.get("start"), parameters.get("end")
    if isinstance(start, datetime) and isinstance(end, datetime):
        return Span(millis(start), millis(end))
    return None


def _list(paths: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, paths))}]"


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"


def _nothing(columns: pa.Schema) -> str:
    """A relation with these columns and no row."""
    names = ", ".join(f'cast(null as {_TYPES[field.type]}) as "{field.name}"' for field in columns)
    return f"(select {names} where false)"


_TYPES: Final[Mapping[pa.DataType, str]] = {
    pa.string(): "varchar",
    pa.int64(): "bigint",
    pa.int32(): "integer",
    pa.bool_(): "boolean",
    pa.timestamp("us", tz="UTC"): "timestamptz",
    pa.list_(pa.int64()): "bigint[]",
    pa.list_(pa.timestamp("us", tz="UTC")): "timestamptz[]",
}
