"""The tables in the store's DuckDB file, and how an older file is brought up to date.

Everything is in the schema `kept`, which no query finds unless it names it: readers see views of one account.

    accounts, conversations     numbers for names, in order of first arrival
    events                      as they came, each once, in order of arrival
    focus_moves, losses         whose focus was where, and when a `focused` lost it
    agents                      those with any focus event, now or earlier; and whether any is `focused`
    agent_segments, skill_segments, handle_time_units     what follows from the events: what has ended
    queue_segments              the same, of stretches in which nobody was assigned
    running_queue_segments      those that still run
    outdated                    conversations whose rows are of an older derivation, and of which (`upkeep.deriving`)
    open_conversations          those with a running skill segment, its skill, and when it started

Segments also have what they add to each sum (`answers.terms.KEPT`), so that queries need not work it out.
Closed lists are places in the lists of `events.model` (events) or enumerations (derived rows); event times are epoch
milliseconds. An event is named by `arrival`, which counts up; a derived row by the arrival of the event that starts
it. No table but `conversations` has an index: the least and greatest `number` of row groups serve as one.
"""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.errors import StoreError
from handletime.events import model
from handletime.segments import rules


def _enumeration(name: str, values: tuple[str, ...]) -> str:
    return f"create type kept.{name} as enum ({', '.join(repr(value) for value in values)})"


_FIRST: Final = (
    "create schema kept",
    _enumeration("user_type", model.USER_TYPES),
    _enumeration("skill_user_type", rules.SKILL_USER_TYPES),
    _enumeration("follows", rules.FOLLOWS),
    _enumeration("end_reason", rules.END_REASONS),
    _enumeration("outcome", rules.OUTCOMES),
    _enumeration("unit_start", rules.UNIT_STARTS),
    _enumeration("unit_end", rules.UNIT_ENDS),
    "create table kept.meta (version integer, commit_number bigint, arrivals bigint)",
    "insert into kept.meta values (0, 0, 0)",
    "create table kept.accounts (account integer, accountId varchar)",
    "create table kept.conversations (number bigint, account integer, conversationId varchar, key bigint)",
    "create index conversations_by_key on kept.conversations (key)",
    """create table kept.events (
        number bigint, arrival bigint, commit_number bigint, account integer, eventId varchar, time bigint,
        sequence bigint, type tinyint, agentId bigint, employeeId varchar, groupId bigint, userType tinyint,
        skillId bigint, source varchar, sentBy tinyint, reason tinyint, closedBy tinyint)""",
    # A row without a number is a loss that a removed conversation left; only such rows have a position.
    """create table kept.focus_moves (
        account integer, agentId bigint, time bigint, sequence bigint, type tinyint, eventId varchar,
        number bigint, arrival bigint, position bigint)""",
    "create table kept.losses (number bigint, arrival bigint, lost_time bigint, lost_sequence bigint)",
    # A second row, with `focused`, for whom `unfocused` came before the first `focused`.
    "create table kept.agents (account integer, agentId bigint, focused boolean)",
    """create table kept.agent_segments (
        number bigint, account integer, started bigint, conversationId varchar, assignedEventId varchar,
        agentId bigint, employeeId varchar, groupId bigint, userType kept.user_type, skillId bigint,
        skillSegmentSequence integer, source varchar, follows kept.follows, "start" timestamptz, "end" timestamptz,
        endReason kept.end_reason, outcome kept.outcome, agentMessages integer, firstResponseMillis bigint,
        responseMillis bigint[], totalHandleTimeMillis bigint, interactive integer, nonResponsiveConsumer integer,
        abandoned integer, nonResponsiveAgent integer, messages integer, duration bigint, firstResponse bigint,
        firstResponses integer, firstResponseAfterTransfer bigint, firstResponsesAfterTransfer integer,
        firstResponseNew bigint, firstResponsesNew integer, response bigint, responses integer,
        humanSegments integer)""",
    """create table kept.skill_segments (
        number bigint, account integer, started bigint, conversationId varchar, sequence integer, skillId bigint,
        userType kept.skill_user_type, "start" timestamptz, "end" timestamptz, endReason kept.end_reason,
        outcome kept.outcome, abandonedInQueue boolean, firstResponseMillis bigint[], interactive integer,
        nonResponsiveConsumer integer, abandoned integer, nonResponsiveAgent integer, firstResponse bigint,
        firstResponses integer)""",
    """create table kept.handle_time_units (
        number bigint, account integer, started bigint, agentId bigint, sequence integer,
        startReason kept.unit_start, endReason kept.unit_end, "start" timestamptz, "end" timestamptz,
        handleTimeMillis bigint)""",
)
_CORRECTIONS: Final = (
    "alter table kept.events add column revision bigint default 0",
    "alter table kept.events add column leaseMillis bigint",
    # Sums once kept counted some of the agent's messages in a way of their own; responses are counted now (rules.md 4).
    "alter table kept.agent_segments drop column messages",
)
_FOLDED: Final = (
    # All entries of the journal up to `folded` stand in these tables, and those of `ahead`.
    "alter table kept.meta add column folded bigint default 0",
    "create table kept.ahead (entry bigint)",
    # What has not ended is no longer stored.
    'create table kept.open_conversations (number bigint, account integer, "start" timestamptz)',
    """insert into kept.open_conversations
        select number, account, "start" from kept.skill_segments where "end" is null""",
    """delete from kept.handle_time_units
        where started in (select started from kept.agent_segments where "end" is null)""",
    'delete from kept.agent_segments where "end" is null',
    'delete from kept.skill_segments where "end" is null',
)
# Whoever asked an index waited for as long as a checkpoint took; reading all keys takes some milliseconds.
_WITHOUT_INDEX: Final = ("drop index kept.conversations_by_key",)
_QUEUES: Final = (
    _enumeration("queue_follows", rules.QUEUE_FOLLOWS),
    _enumeration("queue_end", rules.QUEUE_ENDS),
    _enumeration("queue_user_type", rules.QUEUE_USER_TYPES),
    """create table kept.queue_segments (
        number bigint, account integer, started bigint, conversationId varchar, sequence integer, skillId bigint,
        skillSegmentSequence integer, source varchar, follows kept.queue_follows, fromUserType kept.queue_user_type,
        toUserType kept.user_type, "start" timestamptz, "end" timestamptz, endReason kept.queue_end,
        assigned integer, abandoned integer, transferred integer, closed integer, wait bigint,
        abandonedWait bigint)""",
    """create table kept.running_queue_segments (
        number bigint, account integer, started bigint, conversationId varchar, sequence integer, skillId bigint,
        skillSegmentSequence integer, source varchar, follows kept.queue_follows, fromUserType kept.queue_user_type,
        "start" timestamptz, opened timestamptz, consumerLast boolean)""",
    "alter table kept.open_conversations add column skillId bigint",
    # What was stored before there were queue segments gets them, and the skill of what is open, bit by bit.
    "create table kept.without_queues as select number, account from kept.conversations",
)
WITHOUT_QUEUES, WITHOUT_MOMENTS = 1, 2
"""Older derivations: without queue segments, and the skill of what is open; without the columns of `MOMENTS`. Each one
also lacks what those after it lack.
"""
_MOMENTS: Final = (
    "alter table kept.agent_segments add column queuedSince timestamptz",
    "alter table kept.agent_segments add column responseWaitingSince timestamptz[]",
    "alter table kept.agent_segments add column firstMessageIsResponse boolean",
    # What is of an older derivation is derived once more, bit by bit (`upkeep.deriving`).
    "create table kept.outdated (number bigint, account integer, derivation tinyint)",
    f"insert into kept.outdated select number, account, {WITHOUT_QUEUES} from kept.without_queues",  # noqa: S608
    f"""insert into kept.outdated select number, account, {WITHOUT_MOMENTS} from kept.conversations
        where number in (select number from kept.agent_segments)
        and number not in (select number from kept.without_queues)""",  # noqa: S608
    "drop table kept.without_queues",
)
MIGRATIONS: Final = (_FIRST, _CORRECTIONS, _FOLDED, _WITHOUT_INDEX, _QUEUES, _MOMENTS)
"""The SQL that makes each version of the schema from the one before."""

EVENT_ROW: Final = pa.schema(
    [
        ("number", pa.int64()),
        ("arrival", pa.int64()),
        ("account", pa.int32()),
        ("eventId", pa.string()),
        ("time", pa.int64()),
        ("sequence", pa.int64()),
        ("type", pa.int8()),
        ("agentId", pa.int64()),
        ("employeeId", pa.string()),
        ("groupId", pa.int64()),
        ("userType", pa.int8()),
        ("skillId", pa.int64()),
        ("source", pa.string()),
        ("sentBy", pa.int8()),
        ("reason", pa.int8()),
        ("closedBy", pa.int8()),
        ("revision", pa.int64()),
        ("leaseMillis", pa.int64()),
    ]
)
"""An event as `kept.events` has it."""
LOSS_ROW: Final = pa.schema([(name, pa.int64()) for name in ("number", "arrival", "lost_time", "lost_sequence")])
"""A loss as `kept.losses` has it."""
ARRIVING: Final = EVENT_ROW.remove(1)
"""One that has not yet got its place in the order of arrival."""

QUEUES: Final = ("queue_segments", "running_queue_segments")
DERIVED: Final = ("agent_segments", "skill_segments", "handle_time_units", "open_conversations", *QUEUES)
"""The tables of what follows from the events."""


def version_of(connection: duckdb.DuckDBPyConnection) -> int:
    """The version of the schema that a file has, 0 for a new one."""
    found = "select count(*) from duckdb_tables() where schema_name = 'kept' and table_name = 'meta'"
    (there,) = connection.execute(found).fetchall()[0]
    if not there:
        return 0
    (version,) = connection.execute("select version from kept.meta").fetchall()[0]
    return int(version)


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Brings the schema to the present version, or changes nothing. Raises StoreError where it is of a newer one."""
    version = version_of(connection)
    if version > len(MIGRATIONS):
        raise StoreError(f"the store is of version {version}, this program knows up to {len(MIGRATIONS)}: upgrade it")
    if version == len(MIGRATIONS):
        return
    connection.begin()
    try:
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        crash_point("migrating")
        connection.execute("update kept.meta set version = ?", [len(MIGRATIONS)])
        connection.commit()
        crash_point("migrated")
    except BaseException:
        connection.rollback()
        raise
