"""What one account may see of the store, or a part of the account. Nothing here can ask without an account."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from handletime.answers.files import CONVERSATIONS_AT_ONCE, Conversation
from handletime.answers.relations import Snapshot, limited
from handletime.answers.selection import instant_of
from handletime.clock import DAY
from handletime.deadline import Deadline
from handletime.events import model
from handletime.scope import WHOLE, Scope
from handletime.segments.agent_focus import Focus, FocusTime, Move, focus_of, time_of
from handletime.segments.agent_focus import limited as limited_focus
from handletime.segments.parts import Prepared
from handletime.store.database import Database
from handletime.store.directory import find
from handletime.store.events import prepared_of
from handletime.store.moves import EVER, SPANS_MS
from handletime.store.now import open_conversations, open_left_out, running_segments
from handletime.store.relations import Lacking, OfStore
from handletime.store.schema import WITHOUT_MOMENTS, WITHOUT_QUEUES

Settle = Callable[[str, float | None], None]
"""Has what was acknowledged of an account worked into the tables, within so many seconds. Raises NotNow."""


class StoreReader:
    """Asks about one account, for one request. Any thread may use it."""

    def __init__(
        self,
        database: Database,
        account: str,
        settle: Settle = lambda _account, _s: None,
        *,
        scope: Scope = WHOLE,
        limit_s: float | None = None,
    ) -> None:
        """Snapshots have rows within the scope alone. All queries are stopped `limit_s` seconds from now; other work of
        the request should ask `deadline`.

        Before the first, `settle` has all that was acknowledged of the account worked into the tables.
        """
        self._database, self._settle, self._is_settled = database, settle, False
        self.deadline = Deadline(limit_s)
        self.account, self.scope = account, scope

    @contextmanager
    def snapshot(self, *, limit_s: float | None = None) -> Iterator[Snapshot]:
        """One state of the account's rows, for one thread, until it is left, whatever is written meanwhile.

        Queries find the relations of `answers.relations` of this account, and no other table. Those that name queue
        segments, or columns that came later, have to wait until all conversations have theirs (NotNow). Those that run
        longer than `limit_s` in all, or than the request may, are stopped (NotNow).
        """
        # Asked before the state is taken: the last conversation may get its own meanwhile, and that state lacks them.
        may_lack = self._database.is_outdated
        with self._cursor(limit_s) as cursor:
            yield Snapshot(cursor, self._relations(cursor, may_lack=may_lack), self.deadline)

    def state(self) -> str:
        """Names the state of the account's rows: a snapshot that is begun after has rows of it, or of a later one.

        What is another scope's has another name.
        """
        self._settled()
        return named_state(self._database.state_of(self.account), self.scope)

    def by_conversation(
        self, at_once: int = CONVERSATIONS_AT_ONCE
    ) -> Iterator[tuple[Snapshot, dict[int, Conversation]]]:
        """Snapshots of some conversations each, and which these are by their numbers (`By`), in order of arrival.

        All are of one state of the store.
        """
        may_lack = self._database.is_outdated  # Before the state is taken, as for a snapshot.
        with self._cursor() as cursor:
            whole = self._relations(cursor, may_lack=may_lack)
            low = -1
            while True:
                asked = {"account": whole.account, "low": low, "most": at_once}
                found = cursor.execute(_CONVERSATIONS, asked).fetchall()
                if not found:
                    return
                first, low = found[0][0], found[-1][0]
                known = {place: Conversation(self.account, id_) for place, id_ in found}
                yield Snapshot(cursor, whole._replace(among=(first, low)), self.deadline), known

    def prepared(self, conversation: str) -> Prepared | None:
        """The events of one conversation, which know their losses of focus. None where there is none of this id.

        They are not limited to the scope: what is made of them has to be (`segments.within`).
        """
        with self._cursor() as cursor:
            number = self._find(cursor, conversation)
            if number is None:
                return None
            ids = pa.table({"number": [number], "conversationId": [conversation]})
            prepared = prepared_of(cursor, self.account, ids)
        self.deadline.check()
        return prepared

    def open_conversations(self) -> Generator[Prepared, None, None]:
        """The events of the conversations that are open, some at a time, as `prepared` gives those of one.

        They are not limited to the scope: what is made of them has to be (`answers.live.within`).
        """
        with self._cursor() as cursor:
            for prepared in open_conversations(cursor, self._number(cursor), self.account):
                self.deadline.check()
                yield prepared

    def open_left_out(self) -> int:
        """How many open conversations `open_conversations` leaves out."""
        with self._cursor() as cursor:
            return open_left_out(cursor, self._number(cursor))

    def focus(self, agent: int, start: int, end: int) -> list[Focus]:
        """Where an agent's focus was in [start, end), over all conversations of the account, stretch by stretch.

        With more than `MOVES_MAX` moves it ends early: what follows is not known. With a scope nothing is known of an
        agent who has no segment in it then, and other conversations are not named (`agent_focus.OUTSIDE`).
        """
        with self._cursor() as cursor:
            asked = {"account": self._number(cursor), "agent": agent}
            low = last_focused(lambda low: cursor.execute(_LAST_FOCUSED, {**asked, "low": low, "start": start}), start)
            within = {"low": start if low is None else low, "end": end, "most": MOVES_MAX + 1}
            found = focus_among(cursor.execute(_MOVES, {**asked, **within}).fetchall(), start, end)
            if self.scope.is_whole:
                return found
            snapshot = Snapshot(cursor, self._relations(cursor, may_lack=False), self.deadline)
            return focus_within(snapshot, agent, found, partial(self._running, cursor, agent), start, end)

    def focus_times(self, agents: Sequence[int], start: int, end: int) -> dict[int, FocusTime]:
        """For how long the focus of each of these agents was on a conversation in [start, end), as far as it is known.

        Whose last `focused` before it was over a day earlier is not known. With a scope only conversations within it
        count (`focus`). With more than `MOVES_MAX` moves nothing is known.
        """
        if not self.scope.is_whole:
            return {agent: time_of(self.focus(agent, start, end)) for agent in agents}
        if not agents:
            return {}
        with self._cursor() as cursor:
            asked = {"account": self._number(cursor), "agents": list(agents), "low": start - DAY}
            lows = dict(cursor.execute(_LAST_OF_EACH, {**asked, "start": start}).fetchall())
            within = {"end": end, "most": MOVES_MAX + 1}
            rows = cursor.execute(_MOVES_OF_EACH, {**asked, **within}).fetchall()
        if len(rows) > MOVES_MAX:
            return {}
        moves: dict[int, list[tuple[Any, ...]]] = {}
        for agent, *row in rows:
            if row[0] >= lows.get(agent, start):
                moves.setdefault(agent, []).append(tuple(row))
        return {agent: time_of(focus_among(mine, start, end)) for agent, mine in moves.items()}

    def _running(
        self, cursor: duckdb.DuckDBPyConnection, agent: int, conversations: Iterable[str]
    ) -> Iterator[Running]:
        """The running segments of those of these conversations that are open, and of those that the agent may have."""
        account = self._number(cursor)
        named = find(cursor, [(account, conversation) for conversation in conversations]).values()
        for table in running_segments(cursor, account, self.account, named, agent):
            self.deadline.check()
            columns = table.select(["conversationId", "skillId", "groupId", "agentId", "start"])
            yield from map(Running._make, zip(*columns.to_pydict().values(), strict=True))

    def holds_all(self, conversations: Sequence[str]) -> bool:
        """Whether all these conversations are here: none has been removed."""
        wanted = set(conversations)
        with self._cursor() as cursor:
            account = self._number(cursor)
            if account < 0:
                return not wanted
            return len(find(cursor, [(account, conversation) for conversation in wanted])) == len(wanted)

    def _relations(self, cursor: duckdb.DuckDBPyConnection, *, may_lack: bool) -> OfStore:
        """The relations of all of the account's conversations; `may_lack`: some may be of an older derivation."""
        number = self._number(cursor)
        lacks = lacking(cursor, number) if may_lack else Lacking()
        return OfStore(number, self.account, lacks, scope=self.scope)

    def _find(self, cursor: duckdb.DuckDBPyConnection, conversation: str) -> int | None:
        account = self._number(cursor)
        if account < 0:
            return None
        return find(cursor, [(account, conversation)]).get((account, conversation))

    def _number(self, cursor: duckdb.DuckDBPyConnection) -> int:
        """The account's number; one that no account has, where there are no events of it."""
        found = cursor.execute("select account from kept.accounts where accountId = ?", [self.account]).fetchall()
        return int(found[0][0]) if found else -1

    def _settled(self) -> None:
        if not self._is_settled:
            self._settle(self.account, self.deadline.left_s())
            self._is_settled = True

    @contextmanager
    def _cursor(self, limit_s: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        self._settled()
        left_s = self.deadline.left_s()
        shorter_s = min((each for each in (limit_s, left_s) if each), default=None)
        with self._database.snapshot() as cursor, limited(cursor, shorter_s):
            yield cursor


def lacking(cursor: duckdb.DuckDBPyConnection, account: int) -> Lacking:
    """What conversations of an account still lack."""
    sql = f"""select count(*) filter (derivation <= {WITHOUT_QUEUES}), count(*) filter (derivation <= {WITHOUT_MOMENTS})
        from kept.outdated where account = ?"""  # noqa: S608
    return Lacking(*cursor.execute(sql, [account]).fetchall()[0])


class Running(NamedTuple):
    """A segment that runs, and since when; group and agent are those of agent segments."""

    conversation: str
    skill: int
    group: int | None
    agent: int | None
    start: datetime


def focus_within(
    snapshot: Snapshot,
    agent: int,
    focus: list[Focus],
    running: Callable[[Iterable[str]], Iterator[Running]],
    start: int,
    end: int,
) -> list[Focus]:
    """Where an agent's focus was in [start, end), as far as it may be known within the snapshot's scope.

    Nothing where the agent has no segment in it then. `running` gives the running segments of conversations, and the
    agent's, where they are not among the snapshot's rows.
    """
    scope, known = snapshot.scope, {each.conversation for each in focus if each.conversation is not None}
    asked = {"agent": agent, "low": instant_of(start), "until": instant_of(end)}
    is_there = bool(snapshot.execute(_HAS_SEGMENTS, asked).fetchall())
    relation = "skill_segments" if scope.has_queues else "agent_segments"
    named = f"select distinct conversationId from {relation} where conversationId in (select unnest($known))"  # noqa: S608
    within = {conversation for (conversation,) in snapshot.execute(named, {"known": [*known]}).fetchall()}
    for each in running(known):
        if scope.has(each.skill, each.group):
            within.add(each.conversation)
            is_there |= each.agent == agent and each.start < instant_of(end)
    return list(limited_focus(focus, within)) if is_there else []


_HAS_SEGMENTS: Final = """
    select 1 from agent_segments
    where agentId = $agent and ("end" >= $low or "end" is null) and start < $until limit 1"""


def named_state(state: str, scope: Scope) -> str:
    """The name of a state of an account's rows within a scope."""
    return state if scope.is_whole else f"{state} of {scope}"


_CONVERSATIONS: Final = """
    select number, conversationId from kept.conversations where account = $account and number > $low
    order by number limit $most"""
MOVES_MAX: Final = 100_000
"""The most focus moves of an agent that are read to say where its focus was."""
# Of a removed conversation there is no number, and so no id.
_LAST_FOCUSED: Final = f"""
    select max(time) from kept.focus_moves
    where account = $account and agentId = $agent and type = {model.FOCUSED} and time between $low and $start"""  # noqa: S608
_LAST_OF_EACH: Final = f"""
    select agentId, max(time) from kept.focus_moves
    where account = $account and agentId in (select unnest($agents)) and type = {model.FOCUSED}
        and time between $low and $start
    group by agentId"""  # noqa: S608
_MOVES: Final = f"""
    with moves as materialized (
        select agentId, time, sequence, type, eventId, number, arrival, position from kept.focus_moves
        where account = $account and agentId = $agent and time >= $low and time < $end order by time limit $most)
    select time, sequence, type = {model.FOCUSED}, coalesce(eventId, ''), conversationId, coalesce(position, -1),
        leaseMillis
    from moves left join (
        select number, conversationId from kept.conversations
        where account = $account and number in (select number from moves)) using (number)
    left join (
        select number, arrival, leaseMillis from kept.events
        where leaseMillis is not null and number in (select number from moves)) using (number, arrival)
    order by time"""  # noqa: S608


_MOVES_OF_EACH: Final = _MOVES.replace("agentId = $agent", "agentId in (select unnest($agents))").replace(
    "    select time, sequence, type =", "    select agentId, time, sequence, type ="
)


def last_focused(latest: Callable[[int], duckdb.DuckDBPyConnection], start: int) -> int | None:
    """When an agent's last `focused` up to `start` was; None where there is none.

    `latest` asks for it from a moment on: at first one that is near, which is mostly enough.
    """
    for span in (*SPANS_MS, None):
        (found,) = latest(EVER if span is None else start - span).fetchone() or (None,)
        if found is not None:
            return int(found)
    return None


def focus_among(rows: Sequence[tuple[Any, ...]], start: int, end: int) -> list[Focus]:
    """Where an agent's focus was, by its moves as rows (the columns of `Move`), by time, of which there may be more."""
    if len(rows) > MOVES_MAX:
        end = min(end, rows[-1][0])
    return list(focus_of((Move(*row) for row in rows if row[0] < end), start, end))
