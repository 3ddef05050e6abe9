"""Service levels: how many waits met their target, missed it, or were left, as SQL over the segments (rules.md 5).

Of each segment the first target that fits counts. What of a wait lies within opening hours comes from a grid over the
time that is asked about, in whose every slot a calendar is either open or closed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import gcd
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from handletime.answers.percentiles import placed
from handletime.answers.registry import CLOCK_TABLES
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Condition, Selection
from handletime.answers.sums import I64, By, Sums, Texts, key_sql, keyed
from handletime.answers.terms import RELATIONS, Table
from handletime.clock import DAY
from handletime.events.model import USER_TYPES
from handletime.segments.ids import segment_id
from handletime.targets.hours import Calendar
from handletime.targets.targets import FIRST_RESPONSE_AFTER, NO_TARGETS, Abandoned, AccountTargets, Clock, Target

VERDICTS: Final = ("Met", "Missed", "Left")
SLOTS_MAX: Final = 500_000
"""The most slots of a grid. Where hours would need more, waits are looked up one by one, which takes longer."""
BEFORE: Final = 62 * DAY
"""How far before a window its grid begins: few waits are longer."""
TARGET: Final = "target"
"""The key of verdicts by target: a place among the account's targets."""
OLD: Final = "old"
"""How many waits have to be looked up one by one."""
# Texts of queries are made of constants, and of what targets say.
# ruff: noqa: S608


def verdicts_of(
    snapshot: Snapshot,
    clock: Clock,
    targets: AccountTargets,
    by: Sequence[By],
    of: Selection,
    texts: Texts | None = None,
) -> Sums:
    """The verdicts of a clock by group: `firstResponseMet`, `…Missed` and `…Left`, or those of another clock.

    Groups in which no wait has a verdict are absent.
    """
    return _counted(snapshot, clock, targets, by, of, texts, by_target=False)[0].rolled_up(by)


class Verdicts:
    """The verdicts of one snapshot for several questions about the same segments: what several of them need is asked
    once, by the finest groups, and rolled up.
    """

    def __init__(self, snapshot: Snapshot, targets: AccountTargets = NO_TARGETS, finest: Collection[By] = ()) -> None:
        """`finest` are the keys by which several questions ask; `userType` among them also serves those about one."""
        self.snapshot, self.targets, self._finest = snapshot, targets, finest
        self._asked: list[tuple[Clock, Selection, Sums]] = []

    def of(self, clock: Clock, by: Sequence[By], of: Selection) -> Sums:
        """`verdicts_of` a clock by group."""
        known = [key for key in self._finest if CLOCK_TABLES[clock] == "agentSegments" or key not in _OF_AGENTS]
        if not {*by} <= {*known}:
            return verdicts_of(self.snapshot, clock, self.targets, by, of)
        is_of_all = "userType" in known
        sums = self._finest_of(clock, known, of._replace(user_type=None) if is_of_all else of)
        if is_of_all and of.user_type is not None:
            sums = sums.only("userType", [USER_TYPES.index(of.user_type)])
        return sums.rolled_up(by)

    def _finest_of(self, clock: Clock, by: Sequence[By], of: Selection) -> Sums:
        for asked, whole, sums in self._asked:
            if (asked, whole) == (clock, of):
                return sums
        found = verdicts_of(self.snapshot, clock, self.targets, by, of)
        self._asked.append((clock, of, found))
        return found


_OF_AGENTS: Final[frozenset[By]] = frozenset({"agentId", "userType"})
"""Keys that queue segments lack."""


def judged_sums(sums: Sums, clock: Clock) -> Sums:
    """These verdicts, and what service levels divide by: met + missed (`firstResponseJudged`)."""
    judged = sums.sums[f"{clock}Met"] + sums.sums[f"{clock}Missed"]
    return Sums(sums.keys, {**sums.sums, f"{clock}Judged": judged})


def verdicts_by_target(
    snapshot: Snapshot, clock: Clock, targets: AccountTargets, of: Selection
) -> dict[str, dict[str, int]]:
    """The verdicts of a clock by the target's name: `met`, `missed`, `left`."""
    sums, places = _counted(snapshot, clock, targets, (), of, None, by_target=True)
    return {
        targets.targets[int(place)].name: {name.lower(): int(sums.sums[f"{clock}{name}"][row]) for name in VERDICTS}
        for row, place in enumerate(places)
    }


def _counted(
    snapshot: Snapshot,
    clock: Clock,
    targets: AccountTargets,
    by: Sequence[By],
    of: Selection,
    texts: Texts | None,
    *,
    by_target: bool,
) -> tuple[Sums, list[int]]:
    condition = of.condition(CLOCK_TABLES[clock])
    relation, place = RELATIONS[CLOCK_TABLES[clock]], ""
    parameters: dict[str, object] = {**condition.parameters}
    if "interval" in by:
        relation, place, more = placed(relation, of)
        parameters |= more
    names = [f'"key_{key}"' for key in by]
    keys = [f"{place if key == 'interval' else key_sql(key)} as {name}" for key, name in zip(by, names, strict=True)]
    query = _Query(clock, targets)
    parameters |= query.parameters
    waits = query.waits(relation, condition.where, keys, names)
    hours = _Hours(query, of)
    group = [*names, *([TARGET] if by_target else [])]
    counted = [
        f'count(*) filter (where verdict = {number})::bigint as "{clock}{verdict}"'
        for number, verdict in enumerate(VERDICTS, 1)
    ]

    def verdicts() -> dict[str, npt.NDArray[Any]]:
        old = [f"count(*) filter (where {hours.is_old}) as {OLD}"] if hours.may_have_old else []
        sql = f"""select {", ".join([*group, *counted, *old])} from {_judged(query, hours, waits, names)}
            {f"group by {', '.join(group)}" if group else "having count(*) > 0"}"""
        return snapshot.execute(sql, parameters | hours.parameters).fetchnumpy()

    if hours.has_uncut:
        hours.look_up(snapshot, condition)
    found = verdicts()
    if found.pop(OLD, np.zeros(1)).any():
        hours.look_up(snapshot, condition)
        found = verdicts()
    places = found.pop(TARGET).tolist() if by_target else []
    arrays = keyed(found, texts)
    sums = {f"{clock}{verdict}": arrays[f"{clock}{verdict}"] for verdict in VERDICTS}
    return Sums({key: arrays[f"key_{key}"] for key in by}, sums), places


def _judged(query: _Query, hours: _Hours, waits: str, names: Sequence[str]) -> str:
    """The waits with their verdicts: 1 met, 2 missed, 3 left."""
    columns = ", ".join([*names, *query.columns])
    late = f"(select {columns}, {hours.is_late()} as late from {hours.joined(waits)})"
    return f"(select {columns}, {_VERDICT[query.clock]} as verdict from {late})"


WaitKey = Literal["until", "wait", "elapsed"]


class JudgedWait(NamedTuple):
    """A wait that a target judges; times in epoch milliseconds, durations in milliseconds.

    `segment` and `agent` are those of an agent segment; a wait in the queue has none. `elapsed` lies within the opening
    hours of the target.
    """

    conversation: str
    segment: str | None
    agent: int | None
    skill: int
    since: int
    until: int
    elapsed: int
    target: Target
    limit: int
    verdict: str


class WaitOrder(NamedTuple):
    """How waits are sorted: by when they ended, by how long they lasted, or by how much of that was open."""

    key: WaitKey = "until"
    descending: bool = True


LAST_FIRST: Final = WaitOrder()


def waits_of(
    snapshot: Snapshot,
    clock: Clock,
    targets: AccountTargets,
    of: Selection,
    account: str,
    verdict: str | None = None,
    *,
    order: WaitOrder = LAST_FIRST,
    offset: int = 0,
    limit: int | None = None,
) -> tuple[dict[str, int], list[JudgedWait]]:
    """How many waits of a clock have each verdict (`Met`, `Missed`, `Left`), and a page of those with one, or any.

    They are the waits that `verdicts_of` counts; of equal ones those that ended last come first.
    """
    if not targets.sets(clock):
        return dict.fromkeys(VERDICTS, 0), []
    table = CLOCK_TABLES[clock]
    condition = of.condition(table)
    keys = {
        "conversation": "conversationId",
        "skill": "skillId",
        **({"number": '"sequence"'} if table == "queueSegments" else {"agent": "agentId", "event": "assignedEventId"}),
    }
    names = [f"key_{name}" for name in keys]
    query = _Query(clock, targets, with_since=True)
    columns = [f"{sql} as {name}" for name, sql in zip(names, keys.values(), strict=True)]
    hours = _Hours(query, of)
    if query.calendars:
        hours.look_up(snapshot, condition)
    parameters = {**condition.parameters, **query.parameters, **hours.parameters}
    judged = _judged(query, hours, query.waits(RELATIONS[table], condition.where, columns, names), names)
    wanted = "true" if verdict is None else f"verdict = {1 + VERDICTS.index(verdict)}"
    counted = dict(snapshot.execute(f"select verdict, count(*) from {judged} group by verdict", parameters).fetchall())
    counts = {name: int(counted.get(number, 0)) for number, name in enumerate(VERDICTS, 1)}
    until = "since + length" if clock == "response" else "until"
    listed = f"select {TARGET}, since, {until} as ended, verdict, {', '.join(names)} from {judged} where {wanted}"
    standing = f"ended desc, since, {', '.join(names)}"
    if order.key == "elapsed":
        ends = snapshot.execute(f"select {TARGET}, since, ended from ({listed}) order by {standing}", parameters)
        places = _by_elapsed(ends.fetchnumpy(), query.set, descending=order.descending)[offset:][:limit].tolist()
        numbered = f"select *, row_number() over (order by {standing}) - 1 as place from ({listed})"
        turns = "select unnest($places::bigint[]) as place, unnest($turns::bigint[]) as turn"
        rows = snapshot.execute(
            f"select {TARGET}, since, ended, verdict, {', '.join(names)} "
            f"from ({numbered}) join ({turns}) using (place) order by turn",
            {**parameters, "places": places, "turns": list(range(len(places)))},
        ).fetchall()
    else:
        key = "ended" if order.key == "until" else "ended - since"
        rows = snapshot.execute(
            f"{listed} order by {key} {'desc' if order.descending else 'asc'}, {standing} limit $most offset $offset",
            {**parameters, "most": limit, "offset": offset},
        ).fetchall()
    found = []
    for place, since, ended, which, conversation, skill, *own in rows:
        target = targets.targets[place]
        segment = None if table == "queueSegments" else segment_id(account, own[0], conversation, own[1])
        found.append(
            JudgedWait(
                conversation,
                segment,
                None if segment is None else own[0],
                skill,
                since,
                ended,
                target.calendar.elapsed(since, ended),
                target,
                target.limits[clock],
                VERDICTS[which - 1],
            )
        )
    return counts, found


def _by_elapsed(waits: Mapping[str, I64], targets: Mapping[int, Target], *, descending: bool) -> I64:
    """The places of waits, sorted by how much of them lies within the opening hours of their targets."""
    since, ended = waits["since"].astype(np.int64), waits["ended"].astype(np.int64)
    elapsed = np.maximum(ended - since, 0)
    for place, target in targets.items():
        own = np.flatnonzero(waits[TARGET] == place)
        if len(own) and not target.calendar.is_always:
            hours = target.calendar.hours(int(since[own].min()), int(ended[own].max()) + 1)
            elapsed[own] = np.maximum(hours.open_before(ended[own]) - hours.open_before(since[own]), 0)
    return np.argsort(-elapsed if descending else elapsed, kind="stable")


_ABANDONED: Final[dict[Abandoned, str]] = {
    **{"late": "case when late then 2 else 3 end", "met": "1"},
    **{"missed": "2", "ignored": "3"},
}
_VERDICT: Final[dict[Clock, str]] = {
    "firstResponse": "case when late then 2 when answered then 1 else 3 end",
    "response": "case when late then 2 else 1 end",
    "queueWait": "case when endReason = 'assigned' then case when late then 2 else 1 end "
    "when endReason <> 'closedByConsumer' or until - since < short then 3 "
    f"""else case abandoned {" ".join(f"when '{name}' then {sql}" for name, sql in _ABANDONED.items())} end end""",
}
"""1 met, 2 missed, 3 left (rules.md 5.2)."""


class _Query:
    """The waits of a clock, each with what its target says of it, as SQL.

    What targets say is a small table that is joined, so a query does not grow with what is asked of each.
    """

    def __init__(self, clock: Clock, targets: AccountTargets, *, with_since: bool = False) -> None:
        """Plain lengths say enough where no target has opening hours, unless the waits are listed (`with_since`)."""
        self.clock, self._every_account = clock, targets.account is None
        self._all = targets.targets
        self.set = {place: target for place, target in enumerate(targets.targets) if clock in target.limits}
        """The targets that set this clock, by their places."""
        closing = [target.calendar for target in self.set.values() if not target.calendar.is_always]
        self.calendars = list(dict.fromkeys(closing))
        self._with_since = with_since or bool(self.calendars)
        self.parameters: dict[str, object] = {
            "t_target": list(self.set),
            "t_limit": [target.limits[clock] for target in self.set.values()],
            "t_calendar": [self.place_of(target.calendar) for target in self.set.values()],
            "t_queued": [target.first_response_from == "queued" for target in self.set.values()],
            "t_first": [target.response_first for target in self.set.values()],
            "t_short": [target.short_abandon or 0 for target in self.set.values()],
            "t_abandoned": [str(target.abandoned) for target in self.set.values()],
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """What is known of each wait, besides the keys."""
        own = {"firstResponse": ("until", "answered"), "response": ("length",), "queueWait": ("until", "endReason")}
        return (TARGET, '"limit"', "calendar", "short", "abandoned", "since", *own[self.clock])

    @property
    def earliest(self) -> str:
        """The moment of a segment before which none of its waits begins."""
        return "least(start, coalesce(queuedSince, start))" if "queuedSince" in self._raw() else "start"

    def place_of(self, calendar: Calendar) -> int:
        """The number of a calendar that closes; -1 of the one that never does."""
        return -1 if calendar.is_always else self.calendars.index(calendar)

    def _which(self) -> str:
        """The place of a segment's target, null without one."""
        fits = (_fits(each, CLOCK_TABLES[self.clock], every_account=self._every_account) for each in self._all)
        cases = [f"when {condition} then {place}" for place, condition in enumerate(fits)]
        return f"case {' '.join(cases)} end" if cases else "null::integer"

    def waits(self, relation: str, where: str, keys: Sequence[str], names: Sequence[str]) -> str:
        """Waits from `since` to `until` (epoch milliseconds), with keys and what the target says."""
        columns = ", ".join([*keys, f"{self._which()} as {TARGET}", *self._raw()])
        rows = f"(select {columns} from {relation} where {where} and {self._asked()})"
        told = ", ".join(f"unnest($t_{name}) as {_TOLD[name]}" for name in _TOLD)
        shown = ", ".join([*names, TARGET, '"limit"', "calendar", "short", "abandoned", *self._waits()])
        waits = f"(select {shown} from {rows} join (select {told}) using ({TARGET}))"
        if self.clock != "response":
            return waits
        since = "epoch_ms(waiting)" if self._with_since else "0::bigint"
        other = [column for column in self.columns if column != "since"]
        return f"(select {', '.join([*names, *other])}, {since} as since from {waits})"

    def _asked(self) -> str:
        """Which rows can have a verdict."""
        after = ", ".join(f"'{each}'" for each in FIRST_RESPONSE_AFTER)
        asked: dict[Clock, str] = {"firstResponse": f"follows in ({after})", "response": "len(responseMillis) > 0"}
        return asked.get(self.clock, "true")

    def _raw(self) -> Iterator[str]:
        """The columns of segments that are needed: no others, for an older table may lack them."""
        if self.clock == "response":
            yield "responseMillis"
            if self._with_since:
                yield "responseWaitingSince"
            if not all(target.response_first for target in self.set.values()):
                yield "firstMessageIsResponse"
            return
        yield from ("start", '"end"', "endReason" if self.clock == "queueWait" else "firstResponseMillis")
        if self.clock == "firstResponse" and any(
            target.first_response_from == "queued" for target in self.set.values()
        ):
            yield "queuedSince"

    def _waits(self) -> Iterator[str]:
        raw = set(self._raw())
        if self.clock == "response":
            left_out = "case when firstMessageIsResponse and not first then 2 else 1 end"
            part = f"[{left_out if 'firstMessageIsResponse' in raw else 1}:]"
            yield f"unnest(responseMillis{part}) as length"
            if self._with_since:
                yield f"unnest(responseWaitingSince{part}) as waiting"
            return
        if "queuedSince" in raw:
            yield "epoch_ms(case when queued then coalesce(queuedSince, start) else start end) as since"
        else:
            yield "epoch_ms(start) as since"
        if self.clock == "queueWait":
            yield 'epoch_ms("end") as until'
            yield "endReason"
        else:
            yield 'coalesce(epoch_ms(start) + firstResponseMillis, epoch_ms("end")) as until'
            yield "firstResponseMillis is not null as answered"


_TOLD: Final = {
    **{"target": TARGET, "limit": '"limit"', "calendar": "calendar", "queued": "queued"},
    **{"first": "first", "short": "short", "abandoned": "abandoned"},
}
"""What targets say, by the names of the parameters."""


def _fits(target: Target, table: Table, *, every_account: bool) -> str:
    """Whether a target fits a segment, as SQL (rules.md 5.3); that its account does is only asked of several.

    Its values stand in the text, for a query that binds hundreds of lists takes seconds to be planned. They come from
    the operator's file, and are quoted.
    """
    conditions = ["true"]
    if every_account and target.accounts is not None:
        conditions.append(f"accountId::varchar in ({_listed(target.accounts)})")
    if target.skills is not None:
        conditions.append(f"skillId in ({', '.join(map(str, sorted(target.skills)))})")
    if target.sources is not None:
        conditions.append(f"(source is not null and lower(source) in ({_listed(target.sources)}))")
    if target.user_type is not None:
        conditions.append("false" if table == "queueSegments" else f"userType = '{target.user_type}'")
    if target.since is not None:
        conditions.append(f"epoch_ms(start) >= {target.since}")
    return " and ".join(conditions)


def _listed(texts: Iterable[str]) -> str:
    """Texts as constants of SQL, in order."""
    return ", ".join(f"'{text.replace(chr(39), 2 * chr(39))}'" for text in sorted(texts))


class _Grid(NamedTuple):
    """Slots of `size` milliseconds from `base` on. `opened` is of each slot how much was open before it, doubled, and 1
    more where it is open itself: one look-up says both.
    """

    base: int
    size: int
    opened: list[int]


class _Hours:
    """The opening hours of the calendars of a query: which waits are late, as SQL.

    A grid goes back some weeks before the window that is asked about. Waits that began before it, and all where the
    hours would need too many slots, are looked up one by one: from when on each is late. Hardly any window has such
    waits, so they are counted with the others first, and looked up where there are some.
    """

    def __init__(self, query: _Query, of: Selection) -> None:
        self._clock, self._query = query.clock, query
        self._low = of.start - BEFORE
        self.parameters: dict[str, object] = {"low": self._low} if query.calendars else {}
        self._sql = [self._opened(place, calendar, of.end) for place, calendar in enumerate(query.calendars)]
        self._is_looked_up = False

    @property
    def has_uncut(self) -> bool:
        """Whether some hours need too many slots."""
        return not all(self._sql)

    @property
    def may_have_old(self) -> bool:
        """Whether there may be waits that have to be looked up, and were not."""
        return bool(self._query.calendars) and not self._is_looked_up

    @property
    def is_old(self) -> str:
        """Whether a wait is looked up by itself."""
        uncut = [str(place) for place, sql in enumerate(self._sql) if not sql]
        old = f"(since < $low or calendar in ({', '.join(uncut)}))" if uncut else "since < $low"
        return f"calendar >= 0 and {old}"

    @property
    def _until(self) -> str:
        return "(since + length)" if self._clock == "response" else "until"

    def is_late(self) -> str:
        """Whether more has elapsed than the target allows."""
        plain = "length" if self._clock == "response" else "(until - since)"
        if not self._query.calendars:
            return f'{plain} > "limit"'
        opened = " ".join(
            f"when {place} then {sql.replace('{}', self._until)} - {sql.replace('{}', 'since')}"
            for place, sql in enumerate(self._sql)
            if sql
        )
        elapsed = f"case calendar {opened} end" if opened else "0"
        looked_up = f"when {self.is_old} then coalesce({self._until} >= late_at, false)" if self._is_looked_up else ""
        # Opening hours have no more than all hours have: most waits are short, and never looked at more closely.
        return f"""case when {plain} <= "limit" then false when calendar < 0 then true {looked_up}
            else {elapsed} > "limit" end"""

    def joined(self, waits: str) -> str:
        """The waits, with the grids, and with when those that are looked up one by one are late.

        A grid is a value of a row: as a constant of the text it would be copied for each look-up, 2,048 rows at a time.
        """
        if grids := [f"$open_{place} as open_{place}" for place, sql in enumerate(self._sql) if sql]:
            waits = f"{waits} cross join (select {', '.join(grids)})"
        if not self._is_looked_up:
            return waits
        old = ", ".join(f"unnest($old_{name}) as {name}" for name in ("target", "since", "late_at"))
        return f"{waits} left join (select {old}) using ({TARGET}, since)"

    def look_up(self, snapshot: Snapshot, condition: Condition) -> None:
        """Finds from when on each wait is late that no grid knows: the first moment at which more than the target has
        elapsed (null: never).
        """
        # No wait begins before its segment, but for one that is counted from the queue: others need not be looked at.
        old = "" if self.has_uncut else f" and epoch_ms({self._query.earliest}) < $low"
        waits = self._query.waits(RELATIONS[CLOCK_TABLES[self._clock]], condition.where + old, [], [])
        found = snapshot.execute(
            f"select distinct {TARGET}, since from {waits} where {self.is_old}",
            {**condition.parameters, **self._query.parameters, "low": self._low},
        ).fetchall()
        late = []
        for place, since in found:
            target = self._query.set[place]
            late.append(target.calendar.due(since, target.limits[self._clock] + 1))
        self.parameters |= {
            "old_target": [place for place, _ in found],
            "old_since": [since for _, since in found],
            "old_late_at": late,
        }
        self._is_looked_up = True

    def _opened(self, place: int, calendar: Calendar, end: int) -> str:
        """How much was open before a moment `{}`, counted from some time on; "" where there is no grid."""
        hours = calendar.hours(self._low, end + 1)
        grid = _grid(hours.starts.tolist(), hours.ends.tolist(), self._low, end + 1)
        if grid is None:
            return ""
        self.parameters |= {
            f"open_{place}": grid.opened,
            f"base_{place}": grid.base,
            f"size_{place}": grid.size,
        }
        found = f"open_{place}[({{}} - $base_{place}) // $size_{place} + 1]"
        return f"(({found} >> 1) + ({found} & 1) * (({{}} - $base_{place}) % $size_{place}))"


def _grid(opens: list[int], closes: list[int], start: int, end: int) -> _Grid | None:
    """A grid over [start, end); None where it would have too many slots."""
    borders = np.array([*opens, *closes], np.int64)
    borders = borders[(borders > start) & (borders < end)]
    if not len(borders):
        length = (end - start) * any(
            begin <= start and until >= end for begin, until in zip(opens, closes, strict=True)
        )
        return _Grid(start, end - start, [min(length, 1), 2 * length])
    first = int(borders.min())
    size = gcd(*(borders - first).tolist()) or end - start
    base = first - -(-(first - start) // size) * size
    count = (end - base) // size + 2
    if count > SLOTS_MAX:
        return None
    slots = base + np.arange(count, dtype=np.int64) * size
    place = np.searchsorted(np.array(opens, np.int64), slots, "right") - 1
    open_slots = (place >= 0) & (slots < np.array(closes, np.int64)[np.maximum(place, 0)])
    before: npt.NDArray[np.int64] = np.cumsum(open_slots) - open_slots
    return _Grid(base, size, (2 * size * before + open_slots).tolist())
