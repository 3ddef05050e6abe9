"""Which segments a question is about: when they ended, whose they are, and what else holds of them (rules.md 4).

Every question about ended segments begins with one: the APIs', the report's, the page's, over store, lake and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from handletime.answers.terms import Table
from handletime.events.model import EPOCH, USER_TYPES
from handletime.segments.rules import OUTCOMES

ABANDONED_IN_QUEUE: Final = "abandonedInQueue"
"""An outcome of skill segments that can also be asked for: abandoned while nobody was assigned."""
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Condition(NamedTuple):
    """SQL over the columns of `segments.tables`, and the values that it binds."""

    where: str
    parameters: dict[str, object]

    def but(self, where: str, **parameters: object) -> Condition:
        """Rows for which something else holds too."""
        return Condition(f"{self.where} and {where}", {**self.parameters, **parameters})

    def between(self, start: int, end: int) -> Condition:
        """This condition with other times: rows that ended in [start, end), epoch milliseconds."""
        return self._replace(parameters={**self.parameters, "start": instant_of(start), "end": instant_of(end)})


class Selection(NamedTuple):
    """Segments that ended from the first of the bounds on and before the last, and match every filter that is there.

    `bounds` are epoch milliseconds in ascending order; neighbours are the ends of an interval. Skill segments have
    neither agent, employee, group nor source, and queue segments neither agent, employee, group nor outcome: they are
    not to be asked for with them. A queue segment is of the user type of whom it was assigned to, and of humans where
    it was not assigned.
    """

    bounds: Sequence[int]
    account: str | None = None
    conversation: str | None = None
    agents: Sequence[int] | None = None
    employee: str | None = None
    skills: Sequence[int] | None = None
    groups: Sequence[int] | None = None
    user_type: str | None = None
    outcome: str | None = None
    source: str | None = None
    """In any letter case."""

    @property
    def start(self) -> int:
        """Epoch milliseconds."""
        return self.bounds[0]

    @property
    def end(self) -> int:
        """Epoch milliseconds; segments that end then are not meant."""
        return self.bounds[-1]

    def condition(self, table: Table = "agentSegments") -> Condition:
        """As SQL over a table. It binds the times as `start` and `end`, so that a lake opens only files with such rows.

        Raises ValueError for a user type or an outcome that there is none of.
        """
        found = Condition('"end" >= $start and "end" < $end', {}).between(self.start, self.end)
        for column, one in (
            ("accountId", self.account),
            ("conversationId", self.conversation),
            ("employeeId", self.employee),
        ):
            if one is not None:
                found = found.but(f"{column} = ${column}", **{column: one})
        for column, several in (("agentId", self.agents), ("skillId", self.skills), ("groupId", self.groups)):
            if several is not None and len(several) == 1:
                found = found.but(f"{column} = ${column}", **{column: several[0]})
            elif several is not None:
                found = found.but(f"{column} = any(${column})", **{column: list(several)})
        # Constants of closed lists: compared with a value that is bound, every row's would become text.
        if self.user_type is not None:
            user_type = USER_TYPES[USER_TYPES.index(self.user_type)]
            # Who waits waits for a human, unless a bot takes the conversation.
            queue = "toUserType is distinct from 'bot'" if user_type == "human" else "toUserType = 'bot'"
            found = found.but(queue if table == "queueSegments" else f"userType = '{user_type}'")
        if self.outcome == ABANDONED_IN_QUEUE:
            found = found.but("abandonedInQueue")
        elif self.outcome is not None:
            found = found.but(f"outcome = '{OUTCOMES[OUTCOMES.index(self.outcome)]}'")
        if self.source is not None:
            found = found.but("lower(source) = lower($source)", source=self.source)
        return found


def one(number: int | None) -> tuple[int, ...] | None:
    """A filter for one id; None without one."""
    return None if number is None else (number,)


def instant_of(millis: int) -> datetime:
    """Epoch milliseconds as a value to bind; what lies outside the years 1 to 9999 is moved to their edge."""
    try:
        return EPOCH + timedelta(milliseconds=millis)
    except OverflowError:
        return _FIRST if millis < 0 else _LAST
