"""The derived tables of a store as relations of one account, and no way to anybody else's rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from handletime.answers.relations import OPEN, TEXTS_KEPT, Definition, with_relations
from handletime.answers.words import count
from handletime.errors import NotNow
from handletime.scope import WHOLE, Scope
from handletime.segments.tables import MOMENTS
from handletime.store.schema import QUEUES

_SEGMENT_ID: Final = """concat(accountId, ':', agentId, ':', conversationId, ':', replace(replace(base64(unhex(
    sha256(concat(accountId, chr(0), conversationId, chr(0), assignedEventId))[1:32]
    )), '+', '-'), '/', '_')[1:22])"""
"""The id of an agent segment (rules.md 2.1), as `segments.tables.segment_id` makes it."""

_FOCUS_DATA: Final = "agentId in (select agentId from kept.agents where account = {account} and focused)"

_OF_STORE: Final = {
    "agent_segments": Definition(
        """
        select '{name}' as accountId, conversationId, * exclude (number, account, started, conversationId),
            started as segmentNumber, number as conversation
        from kept.agent_segments where account = {account}{and number}""",
        {"segmentId": _SEGMENT_ID, "focusData": _FOCUS_DATA},
    ),
    "skill_segments": Definition(
        """
        select '{name}' as accountId, conversationId, * exclude (number, account, started, conversationId),
            number as conversation
        from kept.skill_segments where account = {account}{and number}"""
    ),
    OPEN: Definition("select skillId from kept.open_conversations where account = {account}"),
    **{
        name: Definition(f"""
        select '{{name}}' as accountId, conversationId, * exclude (number, account, started, conversationId),
            number as conversation
        from kept.{name} where account = {{account}}{{and number}}""")  # noqa: S608
        for name in QUEUES
    },
    "handle_time_units": Definition(
        """
        select '{name}' as accountId, s.conversationId, s.assignedEventId, u.* exclude (number, account, started),
            s.userType, s."end" as segmentEnd, u.started as segmentNumber, s.skillId, s.groupId, s.source,
            u.number as conversation
        from kept.handle_time_units u join kept.agent_segments s on s.started = u.started
        where u.account = {account} and s.account = {account}{and u.number}""",
        {"segmentId": _SEGMENT_ID},
    ),
}
"""The relations of a store. Computed columns cost a SHA or a look-up for each row.

`segmentNumber` names an agent segment within the store, and only there. Event numbers differ in all of a store, so
two rows with one number are the same segment's. `conversation` names a conversation in the same way.
"""


class Lacking(NamedTuple):
    """How many conversations of an account still lack their queue segments, and how many those columns of their agent
    segments that came later (`MOMENTS`). There is no answer about either until all have theirs.
    """

    queues: int = 0
    moments: int = 0


class OfStore(NamedTuple):
    """The relations of one account of a store: the account's number and id, and what is lacking; those of some
    conversations alone, from one number to another, where `among` says so; and of these the rows within a scope.
    """

    account: int
    name: str
    lacking: Lacking = Lacking()
    among: tuple[int, int] | None = None
    scope: Scope = WHOLE
    keeps_sums: bool = True

    def composed(self, sql: str, parameters: Mapping[str, object] | None) -> str:  # noqa: ARG002
        """A query with the relations that it names in front of it. Raises NotAllowed, NotNow."""
        return composed(sql, self)


@lru_cache(maxsize=TEXTS_KEPT)
def composed(sql: str, of: OfStore) -> str:
    """A query with the relations of an account of a store in front of it. Raises NotAllowed, NotNow."""

    def define(relation: str) -> Definition:
        if of.lacking.queues and relation in (*QUEUES, OPEN):
            raise _not_yet("the queue segments", of.lacking.queues)
        kept, computed, _refused = _OF_STORE[relation]
        refused = {
            column: _not_yet(f"the {column} of the agent segments", of.lacking.moments)
            for column in MOMENTS
            if of.lacking.moments and relation == "agent_segments"
        }
        return Definition(_filled(kept, of), {column: _filled(term, of) for column, term in computed.items()}, refused)

    return with_relations(sql, define, of.scope)


def _not_yet(what: str, left: int) -> NotNow:
    return NotNow(
        f"{what} of what was stored before are still being derived, {count(left, 'conversation')} left; "
        "come again later"
    )


def _filled(sql: str, of: OfStore) -> str:
    within = "" if of.among is None else f" and \\1 between {of.among[0]} and {of.among[1]}"
    sql = _AMONG.sub(within, sql)
    return sql.replace("{account}", str(of.account)).replace("{name}", of.name.replace("'", "''"))


_AMONG: Final = re.compile(r"\{and ([a-z.]+)\}")
"""Where a condition on the number of the conversation stands, if there is one."""
