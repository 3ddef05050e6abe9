"""Targets and verdicts: which target counts for a wait, how much of it has elapsed, and what it is (rules.md 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from handletime.targets.hours import ALWAYS, Calendar

Clock = Literal["firstResponse", "response", "queueWait"]
CLOCKS: Final[tuple[Clock, ...]] = ("firstResponse", "response", "queueWait")
Verdict = Literal["met", "missed", "left", "pending", "pastDue"]
Abandoned = Literal["late", "missed", "met", "ignored"]
ABANDONED: Final[tuple[Abandoned, ...]] = ("late", "missed", "met", "ignored")
From = Literal["assigned", "queued"]
FROMS: Final[tuple[From, ...]] = ("assigned", "queued")
FIRST_RESPONSE_AFTER: Final = ("newConversation", "transfer")
"""What a segment follows that can have a first response (rules.md 3.1)."""


def without_case(text: str) -> str:
    """A text in small letters, letter by letter, as DuckDB has it: what stands around a letter is no matter."""
    return "".join(each.lower()[0] for each in text)


@dataclass(frozen=True, eq=False)
class Target:
    """One target of the file; what it does not limit is None. Times are milliseconds, `since` epoch milliseconds.

    `limits` has the time of each clock that it sets.
    """

    name: str
    limits: Mapping[Clock, int]
    calendar: Calendar = ALWAYS
    accounts: frozenset[str] | None = None
    skills: frozenset[int] | None = None
    sources: frozenset[str] | None = None
    user_type: str | None = None
    since: int | None = None
    first_response_from: From = "assigned"
    response_first: bool = True
    short_abandon: int | None = None
    abandoned: Abandoned = "late"

    def fits(self, of: Of) -> bool:
        """Whether it counts for a segment of its account, if no target before it does."""
        return (
            (self.skills is None or of.skill in self.skills)
            and (self.sources is None or (of.source is not None and without_case(of.source) in self.sources))
            and (self.user_type is None or of.user_type == self.user_type)
            and (self.since is None or self.since <= of.start)
        )


class Of(NamedTuple):
    """What a target asks of a segment; `user_type` is that of an agent, None of queue segments."""

    skill: int
    source: str | None
    start: int
    user_type: str | None = None


@dataclass(frozen=True, eq=False)
class AccountTargets:
    """The targets of one account in their order, of which the first that fits counts; `state` names them.

    Without an account they are those of all: which ones are whose is still open.
    """

    targets: tuple[Target, ...] = ()
    state: str = ""
    account: str | None = None

    def __bool__(self) -> bool:
        return bool(self.targets)

    def sets(self, clock: Clock) -> bool:
        """Whether any of them sets a clock."""
        return any(clock in target.limits for target in self.targets)

    def first(self, of: Of) -> Target | None:
        """The target of a segment."""
        return next((target for target in self.targets if target.fits(of)), None)


NO_TARGETS: Final = AccountTargets()
"""Those of an account without any."""


class Wait(NamedTuple):
    """A stretch that a clock runs for, in epoch milliseconds; one that was not answered may have ended otherwise.

    `abandoned`: the consumer's close ended it.
    """

    clock: Clock
    start: int
    answered: int | None = None
    ended: int | None = None
    abandoned: bool = False


@dataclass(frozen=True)
class Judged:
    """A wait and its target. `elapsed` is up to the answer, the end or now; `due` is None where it never is."""

    wait: Wait
    target: Target
    limit: int
    until: int
    elapsed: int
    due: int | None
    verdict: Verdict

    @property
    def counted(self) -> list[tuple[int, int]]:
        """The parts of the wait that lie within opening hours."""
        return self.target.calendar.counted(self.wait.start, self.until)


def judge(target: Target | None, wait: Wait, now: int) -> Judged | None:
    """The verdict of a wait at a moment; None where its clock has no target (rules.md 5.2)."""
    if target is None or wait.clock not in target.limits:
        return None
    limit = target.limits[wait.clock]
    until = next((each for each in (wait.answered, wait.ended) if each is not None), max(now, wait.start))
    elapsed = target.calendar.elapsed(wait.start, until)
    verdict = _verdict(target, wait, until, is_late=elapsed > limit)
    return Judged(wait, target, limit, until, elapsed, target.calendar.due(wait.start, limit), verdict)


def _verdict(target: Target, wait: Wait, until: int, *, is_late: bool) -> Verdict:
    if wait.answered is not None:
        return "missed" if is_late else "met"
    if wait.ended is None:
        return "pastDue" if is_late else "pending"
    if wait.clock == "firstResponse":
        return "missed" if is_late else "left"
    if not wait.abandoned:
        return "left"
    if target.short_abandon is not None and until - wait.start < target.short_abandon:
        return "left"
    by_rule: dict[Abandoned, Verdict] = {"missed": "missed", "met": "met", "ignored": "left"}
    return by_rule.get(target.abandoned, "missed" if is_late else "left")


@dataclass(frozen=True, eq=False)
class Targets:
    """All targets of a file in their order, and its calendars by name; `state` names the file as it is."""

    targets: tuple[Target, ...] = ()
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    state: str = ""

    def of(self, account: str | None) -> AccountTargets:
        """Those of an account, or of all."""
        return AccountTargets(_of_account(self.targets, account), self.state, account)


def _of_account(targets: Iterable[Target], account: str | None) -> tuple[Target, ...]:
    return tuple(each for each in targets if account is None or each.accounts is None or account in each.accounts)
