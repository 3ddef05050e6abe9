"""The queue: who waits now, and how many waited and for how long, by skill and interval (rules.md 2.5, http-api.md 3).

What is asked of intervals comes from the segments alone: how many there were on average follows from when each started
and ended, so two queries that count starts and ends by interval are enough. They are summed up in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from handletime.answers.percentiles import placed
from handletime.answers.relations import OPEN, Snapshot
from handletime.answers.selection import Selection, instant_of
from handletime.answers.terms import LENGTH
from handletime.clock import DAY
from handletime.events.model import TIME_MAX

I64 = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.number]
OPENED_MAX: Final = DAY
"""How long ago a conversation may have been opened whose wait counts now, in milliseconds."""
NOTHING: Final = -1
"""A time over nothing."""

COUNTS: Final = (
    *("unassignedConversations", "actionableConversations", "actionableAndConsumerLastMessage"),
    *("actionableAndDuringTransfer", "actionableAndManualSla", "notActionableConversations"),
    *("notActionableDuringTransfer", "notActionableAndManualSla", "unassignedConversationsAndFirstTimeConsumer"),
)
"""How many wait, in all and of those whose turn it is ours. Manual targets of agents are no events, and there is no
setting of the queue's order: these are 0. Consumers are no part of events: -1.
"""
_OF: Final = {
    "avgWaitTimeForAgentAssignment_NewConversation": "follows = 'newConversation'",
    "avgWaitTimeForAgentAssignment_AfterTransfer": "follows in ('skillTransfer', 'backToQueue', 'agentTransfer')",
    "avgWaitTimeForAgentAssignment_AfterTransferFromBot": "fromUserType = 'bot'",
    "avgWaitTimeForAgentAssignment_AfterTransferFromAgent": "fromUserType = 'human'",
}
"""Which waits an average is about."""
WAITS: Final = (
    *_OF,
    "maxWaitTimeForAgentAssignment",
    "maxWaitTimeForAgentAssignment_AfterTransferFromAgent",
    "waitTimeForAgentAssignment_50thPercentile",
    "waitTimeForAgentAssignment_90thPercentile",
)
"""Waits in milliseconds: averages truncated, percentiles by nearest rank, -1 over nothing."""
_FROM_AGENT: Final = "avgWaitTimeForAgentAssignment_AfterTransferFromAgent"
_TRANSFER: Final = _OF["avgWaitTimeForAgentAssignment_AfterTransfer"]
# The SQL below is made of the constants above.
# ruff: noqa: S608


class Queue(NamedTuple):
    """Counts and waits of some groups under their keys, one array each; and the skill of each group, in order."""

    skills: I64
    values: dict[str, Numbers]

    def __len__(self) -> int:
        return len(self.skills)

    def taken(self, places: I64) -> Queue:
        """The groups at some places."""
        return Queue(self.skills[places], {name: each[places] for name, each in self.values.items()})


# --- now -------------------------------------------------------------------------------------------------------------


def queue_now(snapshot: Snapshot, at: int, skills: Sequence[int] | None) -> tuple[Queue, Queue]:
    """Who waits at a moment by skill, and in all: one group, also where nobody waits.

    Only a store knows whether the last message is the consumer's.
    """
    asked: dict[str, object] = {"at": at, "since": instant_of(at - OPENED_MAX)}
    if skills is not None:
        asked["skills"] = list(skills)
    found = snapshot.execute(_NOW.format(where="" if skills is None else "where skillId = any($skills)"), asked)
    arrays = {name: np.asarray(values, np.int64) for name, values in found.fetchnumpy().items()}
    whole = arrays.pop("whole") == 1
    skill = arrays.pop("skillId")
    values = _counted(arrays) | {name: arrays[name] for name in WAITS}
    return (
        Queue(skill[~whole], {name: each[~whole] for name, each in values.items()}),
        Queue(skill[whole], {name: each[whole] for name, each in values.items()}),
    )


def open_skills(snapshot: Snapshot) -> list[int]:
    """The skills in which a conversation is open, whether anybody is assigned or not. Only a store knows them."""
    return [skill for (skill,) in snapshot.execute(f"select distinct skillId from {OPEN}").fetchall()]


def _counted(arrays: dict[str, I64]) -> dict[str, Numbers]:
    """The counts by their keys, from those that a query gives."""
    all_, actionable = arrays["all"], arrays["actionable"]
    known = {
        "unassignedConversations": all_,
        "actionableConversations": actionable,
        "actionableAndConsumerLastMessage": arrays["consumers"],
        "actionableAndDuringTransfer": arrays["transferred"],
        "notActionableConversations": all_ - actionable,
        "unassignedConversationsAndFirstTimeConsumer": np.full_like(all_, NOTHING),
    }
    return {name: known.get(name, np.zeros_like(all_)) for name in COUNTS}


def _waits(of: str) -> Iterator[str]:
    """The columns of `WAITS` over rows with a `wait` of which something holds."""
    terms = [
        *(("sum(wait) {} // count(*) {}", f"{condition} and {of}") for condition in _OF.values()),
        ("max(wait) {}", of),
        ("max(wait) {}", f"{_OF[_FROM_AGENT]} and {of}"),
        ("quantile_disc(wait, 0.50) {}", of),
        ("quantile_disc(wait, 0.90) {}", of),
    ]
    for name, (term, condition) in zip(WAITS, terms, strict=True):
        yield f'coalesce({term.replace("{}", f"filter (where {condition})")}, {NOTHING})::bigint as "{name}"'


_NOW: Final = f"""
    select grouping(skillId) as whole, coalesce(skillId, 0) as skillId, count(*) as "all",
        count(*) filter (where consumerLast or {_TRANSFER}) as actionable,
        count(*) filter (where consumerLast) as consumers, count(*) filter (where {_TRANSFER}) as transferred,
        {", ".join(_waits("opened >= $since"))}
    from (select *, greatest($at - epoch_ms(start), 0) as wait from running_queue_segments {{where}})
    group by grouping sets ((skillId), ()) order by 1, 2"""


# --- intervals -------------------------------------------------------------------------------------------------------


class QueueOver(NamedTuple):
    """Counts and waits of intervals, and of all of them together.

    `groups` are those of skills with a queue segment in an interval, interval by interval; `counts` says how many each
    interval has. `intervals` has a group for each interval, `skills` one for each skill, `whole` a single one.
    """

    groups: Queue
    counts: I64
    intervals: Queue
    skills: Queue
    whole: Queue

    def backwards(self) -> QueueOver:
        """The same, the newest interval first; skills stay in order."""
        turned = self.counts[::-1]
        begins, places = self.counts.cumsum() - self.counts, np.arange(len(self.groups), dtype=np.int64)
        shift: I64 = np.repeat(begins[::-1] - (turned.cumsum() - turned), turned)
        return self._replace(
            groups=self.groups.taken(places + shift),
            counts=turned,
            intervals=self.intervals.taken(np.arange(len(self.intervals), dtype=np.int64)[::-1]),
        )


def queue_over(
    snapshot: Snapshot, bounds: Sequence[int], skills: Sequence[int] | None, *, most: int, until_now: bool = False
) -> QueueOver:
    """How many waited in each interval on average, in all and of those in transfer, and how long whom was assigned had.

    The other counts are those of the end of the interval. Of what the consumer wrote last nothing is kept but of queue
    segments that run: until an agent has it, the last message is taken as the consumer's. `until_now` is whether the
    last interval ends now. With more than `most` groups, and so many intervals and skills, there is no answer:
    OverflowError.
    """
    begins = _grouped(snapshot, bounds, skills, most, _STARTS)
    ends = _grouped(snapshot, bounds, skills, most, _ENDS)
    known = np.unique(np.concatenate([begins["skillId"], ends["skillId"]]))
    if len(known) * (len(bounds) - 1) > most:
        raise OverflowError
    shape = len(bounds) - 1, len(known)
    started = {name: _dense(begins, name, known, shape) for name in _STARTED}
    ended = {name: _dense(ends, name, known, shape) for name in (*_STARTED, *_SUMMED)}
    there = started["n"].cumsum(0) - ended["n"].cumsum(0) + ended["n"] > 0
    longest = {name: _dense(ends, name, known, shape, NOTHING) for name in _LONGEST}
    last = _running(snapshot, bounds[-1], skills, known) if until_now else {}
    ranks = _ranks(snapshot, bounds, skills, known)

    def part(axes: tuple[int, ...], chosen: npt.NDArray[np.bool_], of: I64, ranked: dict[str, I64]) -> Queue:
        """The groups that are left when these axes, of intervals and of skills, are summed up."""
        values = _means(started, ended, bounds, last, axes) | _averages(ended, longest, axes) | ranked
        return Queue(of, {name: values[name].reshape(-1)[chosen.reshape(-1)] for name in (*COUNTS, *WAITS)})

    each = np.broadcast_to(known, shape)
    return QueueOver(
        part((), there, each[there], ranks[0]),
        there.sum(1),
        part((1,), np.ones(shape[0], np.bool_), np.zeros(shape[0], np.int64), ranks[1]),
        part((0,), there.any(0), known[there.any(0)], ranks[2]),
        part((0, 1), np.ones(1, np.bool_), np.zeros(1, np.int64), ranks[3]),
    )


_KINDS: Final = {
    "": "true",
    "T": _TRANSFER,
    "C": "fromUserType = 'none'",
    "A": f"(fromUserType = 'none' or {_TRANSFER})",
}
"""Which queue segments are counted: all, those in transfer, those whose last message is the consumer's, either."""
_STARTED: Final = ("n", "s", "nT", "sT", "nC", "nA")
"""How many queue segments started, or ended, and when in all: milliseconds since the first bound."""
_SUMMED: Final = tuple(f"{what}{place}" for place in range(len(_OF)) for what in ("w", "c"))
"""The sum and the number of the waits of each average."""
_LONGEST: Final = ("longest", "longestFromAgent")
_NAMES: Final = dict(
    zip(
        _LONGEST, ("maxWaitTimeForAgentAssignment", "maxWaitTimeForAgentAssignment_AfterTransferFromAgent"), strict=True
    )
)
_ASSIGNED: Final = "endReason = 'assigned'"


def _summed(name: str, condition: str, of: str) -> str:
    return f'coalesce(sum({of}) filter (where {condition}), 0)::bigint as "{name}"'


def _columns() -> Iterator[str]:
    for kind, condition in _KINDS.items():
        yield _summed(f"n{kind}", condition, "n")
        if kind in ("", "T"):
            yield _summed(f"s{kind}", condition, "s")


def _wait_columns() -> Iterator[str]:
    for place, condition in enumerate(_OF.values()):
        yield _summed(f"w{place}", f"assigned and {condition}", "w")
        yield _summed(f"c{place}", f"assigned and {condition}", "n")
    yield f"coalesce(max(longest) filter (where assigned), {NOTHING}) as longest"
    yield f'coalesce(max(longest) filter (where assigned and {_OF[_FROM_AGENT]}), {NOTHING}) as "longestFromAgent"'


_ROWS_STARTED: Final = """(
    select skillId, start, follows, fromUserType from queue_segments
    where "end" >= $start and "end" <= $end and start < $until {and}
    union all select skillId, start, follows, fromUserType from running_queue_segments where start < $until {and})"""
"""All that ran in the window. Those that ended later count too: `end` is the end of time."""
_ROWS_ENDED: Final = """(
    select skillId, start, "end", follows, fromUserType, endReason from queue_segments
    where "end" >= $start and "end" < $end {and})"""


class _Moments(NamedTuple):
    """What is asked of the starts, or of the ends, of queue segments: of rows, by a moment of each.

    Rows are many, and conditions take time: they are grouped first by all that conditions ask for, by `kinds` and with
    `sums`; `columns` come from these groups.
    """

    rows: str
    moment: str
    kinds: str
    sums: str
    columns: str


_STARTS: Final = _Moments(_ROWS_STARTED, "greatest(start, $start)", "", "", ", ".join(_columns()))
_ENDS: Final = _Moments(
    _ROWS_ENDED,
    '"end"',
    f", {_ASSIGNED} as assigned",
    f", sum({LENGTH}) as w, max({LENGTH}) as longest",
    ", ".join([*_columns(), *_wait_columns()]),
)


def _grouped(
    snapshot: Snapshot, bounds: Sequence[int], skills: Sequence[int] | None, most: int, of: _Moments
) -> dict[str, I64]:
    """Columns by interval (`place`) and skill."""
    asked: dict[str, object] = {"start": instant_of(bounds[0]), "first": bounds[0] * 1000}
    if of is _STARTS:
        asked |= {"end": instant_of(TIME_MAX), "until": instant_of(bounds[-1])}
    else:
        asked |= {"end": instant_of(bounds[-1])}
    relation, place, grid = placed(_of_skills(of.rows, skills, asked), Selection(bounds), of.moment)
    found = snapshot.execute(
        f"""select place, skillId, {of.columns} from (
            select {place} as place, skillId, follows, fromUserType{of.kinds}, count(*) as n,
                sum(epoch_us({of.moment}) - $first) // 1000 as s{of.sums}
            from {relation} group by all)
        group by 1, 2 limit {most + 1}""",
        asked | grid,
    ).fetchnumpy()
    if len(found["skillId"]) > most:
        raise OverflowError
    return {name: np.asarray(values, np.int64) for name, values in found.items()}


def _of_skills(rows: str, skills: Sequence[int] | None, asked: dict[str, object]) -> str:
    """Rows of these skills only; binds what it needs."""
    if skills is not None:
        asked["skills"] = list(skills)
    return rows.replace("{and}", "" if skills is None else "and skillId = any($skills)")


def _dense(found: dict[str, I64], name: str, known: I64, shape: tuple[int, int], nothing: int = 0) -> I64:
    """A column as intervals × skills."""
    values = np.full(shape, nothing, np.int64)
    values[found["place"], np.searchsorted(known, found["skillId"])] = found[name]
    return values


def _means(
    started: dict[str, I64], ended: dict[str, I64], bounds: Sequence[int], last: dict[str, I64], axes: tuple[int, ...]
) -> dict[str, Numbers]:
    """The counts. What had started or ended by each bound is summed up; between two bounds it is the difference."""
    lengths = np.diff(np.asarray(bounds, np.int64)).reshape(-1, 1)
    at = lengths.cumsum(0)

    def mean(kind: str) -> Numbers:
        until = at * (started[f"n{kind}"] - ended[f"n{kind}"]).cumsum(0)
        area = np.diff(until - (started[f"s{kind}"] - ended[f"s{kind}"]).cumsum(0), axis=0, prepend=0)
        summed: I64 = area.sum(axes, keepdims=True) if axes else area
        means: Numbers = summed / np.maximum(lengths.sum(0, keepdims=True) if 0 in axes else lengths, 1)
        return means

    def running(kind: str) -> I64:
        there = (started[f"n{kind}"] - ended[f"n{kind}"]).cumsum(0)
        if kind in last:
            there[-1] += last[kind]
        there = there[-1:] if 0 in axes else there
        return there.sum(1, keepdims=True) if 1 in axes else there

    all_, actionable = running(""), running("A")
    known: dict[str, Numbers] = {
        "unassignedConversations": mean(""),
        "actionableConversations": actionable,
        "actionableAndConsumerLastMessage": running("C"),
        "actionableAndDuringTransfer": mean("T"),
        "notActionableConversations": all_ - actionable,
        "unassignedConversationsAndFirstTimeConsumer": np.full_like(all_, NOTHING),
    }
    return {name: known.get(name, np.zeros_like(all_)) for name in COUNTS}


def _averages(ended: dict[str, I64], longest: dict[str, I64], axes: tuple[int, ...]) -> dict[str, Numbers]:
    """The averages and the longest of the waits that ended by an assignment."""
    values: dict[str, Numbers] = {}
    for place, name in enumerate(_OF):
        total, count = (ended[f"{what}{place}"].sum(axes) for what in ("w", "c"))
        values[name] = np.where(count > 0, total // np.maximum(count, 1), NOTHING)
    for short, name in _NAMES.items():
        values[name] = longest[short].max(axes, initial=NOTHING) if axes else longest[short]
    return values


def _running(snapshot: Snapshot, until: int, skills: Sequence[int] | None, known: I64) -> dict[str, I64]:
    """By skill, how many more than `_KINDS` says have the consumer's message last, or are in transfer too: of what runs
    now, it is known.
    """
    asked: dict[str, object] = {"until": instant_of(until)}
    rows = _of_skills("(from running_queue_segments where start < $until {and})", skills, asked)
    is_last = "coalesce(consumerLast, fromUserType = 'none')"
    more = {"C": is_last, "A": f"({is_last} or {_TRANSFER})"}
    columns = [f'sum({of}::int - ({_KINDS[kind]})::int)::bigint as "{kind}"' for kind, of in more.items()]
    found = snapshot.execute(
        f"select skillId, {', '.join(columns)} from {rows} group by 1",
        asked,
    ).fetchnumpy()
    values = {}
    for kind in ("C", "A"):
        values[kind] = np.zeros(len(known), np.int64)
        values[kind][np.searchsorted(known, found["skillId"])] = found[kind]
    return values


def _ranks(
    snapshot: Snapshot, bounds: Sequence[int], skills: Sequence[int] | None, known: I64
) -> tuple[dict[str, I64], ...]:
    """The percentiles of the waits by interval and skill, by interval, by skill, and of all."""
    asked: dict[str, object] = {"start": instant_of(bounds[0]), "end": instant_of(bounds[-1])}
    relation, place, grid = placed(_of_skills(_ROWS_ENDED, skills, asked), Selection(bounds))
    ranks = ", ".join(f"coalesce(rank[{place + 1}], {NOTHING}) as r{place}" for place in (0, 1))
    found = snapshot.execute(
        f"""select level, coalesce(place, 0) as place, coalesce(skillId, 0) as skillId, {ranks}
        from (select grouping(place, skillId) as level, place, skillId, quantile_disc(wait, [0.50, 0.90]) as rank
            from (select {place} as place, skillId, {LENGTH} as wait from {relation} where {_ASSIGNED})
            group by grouping sets ((place, skillId), (place), (skillId), ()))""",
        asked | grid,
    ).fetchnumpy()
    rows = {name: np.asarray(values, np.int64) for name, values in found.items()}
    places, of = rows["place"], np.searchsorted(known, rows["skillId"])
    ranked = []
    for level, by_interval, by_skill in ((0, True, True), (1, True, False), (2, False, True), (3, False, False)):
        chosen = rows["level"] == level
        shape = len(bounds) - 1 if by_interval else 1, len(known) if by_skill else 1
        at = places[chosen] * by_interval, of[chosen] * by_skill
        values: dict[str, I64] = {}
        for name, rank in zip(WAITS[-2:], ("r0", "r1"), strict=True):
            values[name] = np.full(shape, NOTHING, np.int64)
            values[name][at] = rows[rank][chosen]
        ranked.append(values)
    return tuple(ranked)
