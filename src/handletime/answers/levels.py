"""Service levels: how many waits met their target, missed it, or were left, as SQL over the segments (rules.md 5).

Of each segment the first target that fits counts. What of a wait lies within opening hours comes from a grid over the
time that is asked about, in whose every slot a calendar is either open or closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import gcd
from typing import Final, NamedTuple

import numpy as np

from handletime.answers.percentiles import placed
from handletime.answers.registry import CLOCK_TABLES
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Condition, Selection, instant_of
from handletime.answers.sums import By, Sums, Texts, key_sql, keyed
from handletime.answers.terms import RELATIONS, Table
from handletime.targets.hours import Calendar
from handletime.targets.targets import FIRST_RESPONSE_AFTER, AccountTargets, Clock, Target

VERDICTS: Final = ("Met", "Missed", "Left")
SLOTS_MAX: Final = 2_000_000
"""The most slots of a grid. Hours that would need more are added up one by one, which takes longer."""
TARGET: Final = "target"
"""The key of verdicts by target: a place among the account's targets."""
# Texts of queries are made of constants and of places of targets; every value is bound.
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
    table = CLOCK_TABLES[clock]
    condition = of.condition(table)
    parameters: dict[str, object] = {**condition.parameters}
    relation, place = RELATIONS[table], ""
    if "interval" in by:
        relation, place, more = placed(relation, of)
        parameters |= more
    names = [f'"key_{key}"' for key in by]
    keys = [f"{place if key == 'interval' else key_sql(key)} as {name}" for key, name in zip(by, names, strict=True)]
    query = _Query(clock, targets, _Grids(snapshot, clock, targets, condition, table, of.end))
    which, bound = query.which()
    parameters |= bound
    columns = ", ".join([*keys, f"{which} as {TARGET}", *query.columns()])
    rows = f"(select {columns} from {relation} where {condition.where} and {query.asked()})"
    group = [*names, *([TARGET] if by_target else [])]
    counted = [
        f'count(*) filter (where verdict = {number})::bigint as "{clock}{verdict}"'
        for number, verdict in enumerate(VERDICTS, 1)
    ]
    sql = f"""select {", ".join([*group, *counted])}
        from (select {", ".join([*names, TARGET])}, {query.verdict()} as verdict from {rows})
        where verdict is not null {f"group by {', '.join(group)}" if group else "having count(*) > 0"}"""
    found = snapshot.execute(sql, parameters | query.grids.bound).fetchnumpy()
    places = found.pop(TARGET).tolist() if by_target else []
    arrays = keyed(found, texts)
    sums = {f"{clock}{verdict}": arrays[f"{clock}{verdict}"] for verdict in VERDICTS}
    return Sums({key: arrays[f"key_{key}"] for key in by}, sums), places


class _Query:
    """The parts of the query of a clock."""

    def __init__(self, clock: Clock, targets: AccountTargets, grids: _Grids) -> None:
        self._clock, self._targets, self.grids = clock, targets.targets, grids
        self._every_account = targets.account is None

    def which(self) -> tuple[str, dict[str, object]]:
        """The place of a segment's target, null without one; and what this binds."""
        if not self._targets:
            return "null::integer", {}
        cases, bound = [], dict[str, object]()
        for place, target in enumerate(self._targets):
            condition = _fits(target, place, CLOCK_TABLES[self._clock], every_account=self._every_account)
            cases.append(f"when {condition.where} then {place}")
            bound |= condition.parameters
        return f"case {' '.join(cases)} end", bound

    def asked(self) -> str:
        """Which rows can have a verdict."""
        after = ", ".join(f"'{each}'" for each in FIRST_RESPONSE_AFTER)
        return {"firstResponse": f"follows in ({after})", "response": "len(responseMillis) > 0", "queueWait": "true"}[
            self._clock
        ]

    def columns(self) -> Iterator[str]:
        """What a verdict is made of: when the wait began and ended (`since`, `until`, epoch milliseconds), and more."""
        if self._clock == "firstResponse":
            yield f"{self._first_start()} as since"
            yield 'coalesce(epoch_ms(start) + firstResponseMillis, epoch_ms("end")) as until'
            yield "firstResponseMillis is not null as answered"
        elif self._clock == "response":
            later = [place for place, target in enumerate(self._targets) if not target.response_first]
            begin = "1"
            if later:
                begin = f"case when firstMessageIsResponse and {self._which_is(later)} then 2 else 1 end"
            if self.grids.are_needed:
                yield f"unnest(responseWaitingSince[{begin}:]) as waiting"
                yield f"unnest(responseMillis[{begin}:]) as length"
            else:
                yield f"unnest(responseMillis[{begin}:]) as length"
        else:
            yield "epoch_ms(start) as since"
            yield 'epoch_ms("end") as until'
            yield "endReason"

    def _first_start(self) -> str:
        queued = [place for place, target in enumerate(self._targets) if target.first_response_from == "queued"]
        if not queued:
            return "epoch_ms(start)"
        return f"epoch_ms(case when {self._which_is(queued)} then coalesce(queuedSince, start) else start end)"

    def _which_is(self, places: Sequence[int]) -> str:
        """Whether a row's target is one of these. The parameters are those of `which`."""
        return f"coalesce(({self.which()[0]}) in ({', '.join(map(str, places))}), false)"

    def verdict(self) -> str:
        """1 met, 2 missed, 3 left, null where the target does not set this clock."""
        cases = []
        for place, target in enumerate(self._targets):
            limit = target.limits.get(self._clock)
            if limit is not None:
                cases.append(f"when {place} then {self._judged(target, limit)}")
        return f"case {TARGET} {' '.join(cases)} end" if cases else "null::integer"

    def _judged(self, target: Target, limit: int) -> str:
        if self._clock == "response":
            elapsed = "length"
            if not target.calendar.is_always:
                elapsed = self.grids.elapsed(target.calendar, "epoch_ms(waiting)", "(epoch_ms(waiting) + length)")
            return f"case when {elapsed} > {limit} then 2 else 1 end"
        is_late = f"{self.grids.elapsed(target.calendar, 'since', 'until')} > {limit}"
        if self._clock == "firstResponse":
            return f"case when {is_late} then 2 when answered then 1 else 3 end"
        abandoned = {"missed": "2", "met": "1", "ignored": "3", "late": f"case when {is_late} then 2 else 3 end"}
        short = "" if target.short_abandon is None else f"when until - since < {target.short_abandon} then 3 "
        return (
            f"case when endReason = 'assigned' then case when {is_late} then 2 else 1 end "
            f"when endReason <> 'closedByConsumer' then 3 {short}else {abandoned[target.abandoned]} end"
        )


def _fits(target: Target, place: int, table: Table, *, every_account: bool) -> Condition:
    """Whether a target fits a segment, as SQL (rules.md 5.3); that its account does is only asked of several."""
    found = Condition("true", {})
    if every_account and target.accounts is not None:
        accounts = sorted(target.accounts)
        found = found.but(f"accountId::varchar = any($accounts_{place})", **{f"accounts_{place}": accounts})
    if target.skills is not None:
        found = found.but(f"skillId = any($skills_{place})", **{f"skills_{place}": sorted(target.skills)})
    if target.sources is not None:
        sources = f"lower(source) = any($sources_{place})"
        found = found.but(f"(source is not null and {sources})", **{f"sources_{place}": sorted(target.sources)})
    if target.user_type is not None:
        # A constant of a closed list, compared as one.
        found = found.but("false" if table == "queueSegments" else f"userType = '{target.user_type}'")
    if target.since is not None:
        found = found.but(f"start >= $since_{place}", **{f"since_{place}": instant_of(target.since)})
    return found


class _Grid(NamedTuple):
    """Slots of `size` milliseconds from `base` on; `open_before` is how much of each slot's past was open."""

    base: int
    size: int
    open_before: list[int]


class _Grids:
    """The opening hours of the calendars of targets, as SQL over the time that is asked about."""

    def __init__(
        self,
        snapshot: Snapshot,
        clock: Clock,
        targets: AccountTargets,
        condition: Condition,
        table: Table,
        end: int,
    ) -> None:
        self.bound: dict[str, object] = {}
        used = [target for target in targets.targets if clock in target.limits and not target.calendar.is_always]
        self._calendars = list(dict.fromkeys(target.calendar for target in used))
        self.are_needed = bool(self._calendars)
        if not self._calendars:
            return
        queued = clock == "firstResponse" and any(target.first_response_from == "queued" for target in used)
        first = "least(start, coalesce(queuedSince, start))" if queued else "start"
        low = snapshot.execute(
            f"select min(epoch_ms({first})) from {RELATIONS[table]} where {condition.where}", condition.parameters
        ).fetchone()
        start = end if low is None or low[0] is None else int(low[0])
        self._sql = {each: self._opened(place, each, start, end) for place, each in enumerate(self._calendars)}

    def elapsed(self, calendar: Calendar, since: str, until: str) -> str:
        """The milliseconds within opening hours from one moment to another; both are SQL, epoch milliseconds."""
        if calendar.is_always:
            return f"({until} - {since})"
        opened = self._sql[calendar]
        return f"({opened.replace('{}', until)} - {opened.replace('{}', since)})"

    def _opened(self, place: int, calendar: Calendar, start: int, end: int) -> str:
        """How much was open before a moment `{}`, counted from some time on."""
        hours = calendar.hours(start, end + 1)
        grid = _grid(hours.starts.tolist(), hours.ends.tolist(), start, end + 1)
        if grid is None:
            self.bound |= {f"opens_{place}": hours.starts.tolist(), f"closes_{place}": hours.ends.tolist()}
            each = f"greatest(least({{}}, $closes_{place}[i]) - $opens_{place}[i], 0)"
            return f"list_sum(list_transform(range(1, len($opens_{place}) + 1), lambda i: {each}))"
        self.bound |= {
            f"open_{place}": grid.open_before,
            f"base_{place}": grid.base,
            f"size_{place}": grid.size,
        }
        slot = f"(({{}} - $base_{place}) // $size_{place})"
        within = f"({{}} - $base_{place}) % $size_{place}"
        before, after = (f"$open_{place}[{slot} + {number}]" for number in (1, 2))
        return f"({before} + case when {after} > {before} then {within} else 0 end)"


def _grid(opens: list[int], closes: list[int], start: int, end: int) -> _Grid | None:
    """A grid over [start, end); None where it would have too many slots."""
    borders = np.array([*opens, *closes], np.int64)
    borders = borders[(borders > start) & (borders < end)]
    if not len(borders):
        length = (end - start) * any(
            begin <= start and until >= end for begin, until in zip(opens, closes, strict=True)
        )
        return _Grid(start, end - start, [0, length, length])
    first = int(borders.min())
    size = gcd(*(borders - first).tolist()) or end - start
    base = first - -(-(first - start) // size) * size
    count = (end - base) // size + 2
    if count > SLOTS_MAX:
        return None
    slots = base + np.arange(count, dtype=np.int64) * size
    place = np.searchsorted(np.array(opens, np.int64), slots, "right") - 1
    open_slots = (place >= 0) & (slots < np.array(closes, np.int64)[np.maximum(place, 0)])
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(open_slots * size)])
    return _Grid(base, size, before.tolist())
