"""A contact centre that never was: seeded events of any number, for the demo, the benchmarks and the tests.

    load ──> blocks of conversations ──> one stream in time order ──> focus of each agent ──> Arrow
    when      who says what, when         what later blocks cannot      looks of one agent,
                                          precede is final              one after the other

Conversations are written block by block as *legs*: the way from entering a queue to a transfer or close. All legs of
a block take their n-th step together, as columns. Whatever an agent does with a conversation (write, transfer, close,
read) is the end of a *look* at it, of some length; from the looks of an agent, in order of time, follow `focused`
and `unfocused`: a look starts when it should, or when the one before it has ended.
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from handletime.errors import InputError
from handletime.events import model

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Numbers = NDArray[np.int32]
Bools = NDArray[np.bool_]
Rows = NDArray[np.void]
"""Events before they are Arrow, of `_ROW`."""

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

CONVERSATIONS_A_DAY: Final = 2000
"""Where a centre names no size."""
BLOCK: Final = 20_000
"""Conversations written together; what a simulation needs of memory follows from it."""
PIECE: Final = 1 << 17
"""Rows of a table made together: memory of that size is used again, larger comes from the system each time."""
LEGS_MAX: Final = 7
LOOK_MAX: Final = 10 * MINUTE
SAMPLE: Final = 60_000
"""Conversations simulated to find out how many give a number of events; fewer are tried until they fit."""
_TRIES: Final = 12
CONCURRENCY: Final = 3.0
"""Conversations an agent has at once, on average, where the number of agents is not given."""
ASSIGNED_HOURS: Final = 0.9
"""How long a conversation has a human agent, on average: measured, for the number of agents."""
SHIFT_HOURS: Final = 8
AGENTS_MAX: Final = 300_000


@dataclass(frozen=True, kw_only=True)
class Centre:
    """What there is of a contact centre, and for how long.

    `conversations` are in all, over all accounts, of which the first has most; or `events` in all, hit within 2 %
    from some 5,000 events on. With neither, 2,000 conversations a day. `skills` and `bots` are of each account (skill n
    has a bot first if n <= bots); `agents` are human and in all, as many as the load needs where None.
    `without_focus` is the share of agents whose screens send no focus, `messiness` that of events that come late or
    twice, as many each.
    Raises InputError where a value is not allowed.
    """

    start: datetime
    days: float = 1.0
    seed: int = 1
    conversations: int | None = None
    events: int | None = None
    accounts: tuple[str, ...] = ("demo",)
    skills: int = 5
    agents: int | None = None
    bots: int = 2
    without_focus: float = 0.04
    messiness: float = 0.0

    def __post_init__(self) -> None:
        for name, fine, allowed in self._limits():
            if not fine:
                raise InputError(f"{name}: must be {allowed}")

    def _limits(self) -> Iterator[tuple[str, bool, str]]:
        account = re.compile(rf"[a-zA-Z0-9]{{1,{model.ACCOUNT_MAX}}}")
        yield "seed", self.seed >= 0, "an integer from 0"
        yield "start", self.start.tzinfo is not None, "a time with an offset"
        yield "days", 0 < self.days <= 3660, "more than 0 and at most 3660"
        yield "days", _millis(self.start) + self.days * DAY < model.TIME_MAX, "so few that the end has a date"
        yield "conversations", self.conversations is None or 1 <= self.conversations <= 10**9, "1 to 1000000000"
        yield "events", self.events is None or 1 <= self.events <= 10**10, "1 to 10000000000"
        yield "events", None in (self.conversations, self.events), "absent where conversations is given"
        yield "accounts", len(self.accounts) > 0, "at least one"
        yield "accounts", all(map(account.fullmatch, self.accounts)), "of letters and digits (a-z, A-Z, 0-9)"
        yield "accounts", len(set(self.accounts)) == len(self.accounts), "different ones"
        yield "skills", 1 <= self.skills <= 1000, "1 to 1000"
        yield "skills", self.skills * len(self.accounts) <= 50_000, "50000 at most over all accounts"
        yield "agents", self.agents is None or 1 <= self.agents <= AGENTS_MAX, f"1 to {AGENTS_MAX}"
        yield "bots", 0 <= self.bots <= 1000, "0 to 1000"
        yield "without_focus", 0 <= self.without_focus <= 1, "0 to 1"
        yield "messiness", 0 <= self.messiness <= 1, "0 to 1"


def _millis(time: datetime) -> int:
    return (time - model.EPOCH) // timedelta(milliseconds=1)


def simulate(centre: Centre, *, batch_events: int = 1_000_000) -> Iterator[pa.Table]:
    """The centre's events in the order in which they arrive, as tables of `model.EVENTS`.

    Each has `batch_events` rows, but the last. They are a function of the centre alone, and together the same
    whatever `batch_events` is. No event lies at or after the end; what is open then stays open. With `messiness` some
    come later than their time says, or twice.
    """
    world = _World(centre, _conversations(centre))
    pieces = _pieces(_arrivals(world), batch_events)
    for _, batch in itertools.groupby(pieces, key=operator.itemgetter(0)):
        yield pa.concat_tables([_table(rows, world) for _, rows in batch])


def _pieces(arrivals: Iterable[Rows], batch_events: int) -> Iterator[tuple[int, Rows]]:
    """The rows in pieces of at most `PIECE`, each with the number of its batch."""
    given = 0
    for rows in arrivals:
        while len(rows):
            batch = given // batch_events
            piece = rows[: min(PIECE, (batch + 1) * batch_events - given)]
            yield batch, piece
            rows = rows[len(piece) :]
            given += len(piece)


def _conversations(centre: Centre) -> int:
    """How many conversations the centre has; for a number of events, by simulating some and counting."""
    if centre.events is None:
        return centre.conversations or max(1, round(CONVERSATIONS_A_DAY * centre.days))
    number, tried = max(1, round(centre.events / 21)), []
    for _ in range(_TRIES):
        sample = min(number, SAMPLE)
        agents = centre.agents and math.ceil(centre.agents * sample / number)
        counted = sum(map(len, _arrivals(_World(replace(centre, agents=agents), sample))))
        wanted = max(1, round(sample * centre.events / max(counted, 1)))
        if min(number, wanted) > SAMPLE:
            return wanted
        if sample == number:
            tried.append((abs(counted - centre.events), number))
            if tried[-1][0] <= 0.01 * centre.events:
                break
        number = wanted if wanted != number else number + 1
    return min(tried, default=(0, number))[1]


# --- rows ------------------------------------------------------------------------------------------------------------

_ROW: Final = np.dtype(
    {
        "names": ["time", "conversation", "agent", "look", "id", "skill", "kind", "sequence"],
        "formats": [np.int64, np.int32, np.int32, np.int32, np.uint32, np.int16, np.uint8, np.int8],
        "itemsize": 32,
    }
)
"""Milliseconds; numbers of the conversation, of the agent in the staff and of the skill in the account (-1: none);
the milliseconds for which the agent has looked at the conversation before (0: nobody looks); a number for `eventId`.
32 bytes, as NumPy gathers those fastest."""

_BYTES: Final = np.dtype("V32")

_KINDS: Final[tuple[tuple[int, str, str], ...]] = (
    (model.OPENED, "", ""),
    (model.RESUMED, "", ""),
    (model.TRANSFERRED, "reason", "agent"),
    (model.TRANSFERRED, "reason", "skill"),
    (model.TRANSFERRED, "reason", "backToQueue"),
    (model.TRANSFERRED, "reason", "takeover"),
    (model.ASSIGNED, "", ""),
    (model.FOCUSED, "", ""),
    (model.UNFOCUSED, "", ""),
    (model.MESSAGE, "sentBy", "consumer"),
    (model.MESSAGE, "sentBy", "agent"),
    (model.MESSAGE, "sentBy", "agent"),
    (model.MESSAGE, "sentBy", "system"),
    (model.CLOSED, "closedBy", "consumer"),
    (model.CLOSED, "closedBy", "agent"),
    (model.CLOSED, "closedBy", "system"),
)
OPENED, RESUMED, TO_AGENT, TO_SKILL, BACK_TO_QUEUE, TAKEOVER, ASSIGNED, FOCUSED, UNFOCUSED = range(9)
BY_CONSUMER, BY_AGENT, BY_AGENT_UNNAMED, BY_SYSTEM = range(9, 13)
CLOSED_BY_CONSUMER, CLOSED_BY_AGENT, CLOSED_BY_SYSTEM = range(13, 16)
"""Kinds of rows: places in `_KINDS`. Unnamed: by an agent, but the message does not say by whom."""
READ: Final = 16
"""No event: an agent looks at a conversation and leaves it again."""
LEFT_OPEN: Final = 17
"""No event: an agent looks at a conversation and goes home."""
IMPLICIT: Final = 18
"""No event: another agent is assigned while the leg still runs."""
_KIND_RANK: Final = np.array([model.RANKS[type_] for type_, _, _ in _KINDS], np.int64)


def _rows(time: Integers, conversation: Any, kind: Any, agent: Any = -1, look: Any = 0) -> Rows:
    rows = np.zeros(len(time), _ROW)
    rows["time"], rows["conversation"], rows["kind"] = time, conversation, kind
    rows["agent"], rows["look"], rows["skill"] = agent, look, -1
    return rows


def _joined(parts: list[Rows]) -> Rows:
    """One part behind the other."""
    # As 32 bytes each: NumPy copies structures field by field.
    together = np.empty(sum(map(len, parts)), _BYTES)
    at = 0
    for rows in parts:
        together[at : at + len(rows)] = rows.view(_BYTES)
        at += len(rows)
    return together.view(_ROW)


def _where(there: Bools, rows: Rows) -> Rows:
    """The rows for which that is true."""
    return rows.view(_BYTES).compress(there).view(_ROW)


def _in_order(rows: Rows, by: Integers) -> Rows:
    """The rows by an integer, then as they stand; its range times the number of rows is below 2**62."""
    if not len(rows):
        return rows
    bits = len(rows).bit_length()
    # Sorting integers that hold key and place is some ten times faster than argsort.
    packed = np.sort(((by - by.min()) << bits) | np.arange(len(rows)))
    return rows.view(_BYTES).take(packed & ((1 << bits) - 1)).view(_ROW)


# --- chance ----------------------------------------------------------------------------------------------------------


class _Dice:
    """Random columns."""

    def __init__(self, *seeds: int) -> None:
        self.rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seeds)))

    def share(self, n: int, share: float) -> Bools:
        """True for about this share."""
        return self.uniform(n) < np.float32(share)

    def uniform(self, n: int) -> Floats:
        return self.rng.random(n, np.float32)

    def one_of(self, n: int, shares: dict[int, float]) -> NDArray[np.uint8]:
        """One of the keys each."""
        total = np.cumsum(np.array(list(shares.values()), np.float32))
        total[-1] = np.inf
        return np.array(list(shares), np.uint8)[np.searchsorted(total, self.uniform(n), side="right")]

    def spans(self, n: int, seconds: Any, sigma: Any = 0.8, most: Any = 2 * DAY) -> Integers:
        """Log-normal times in milliseconds, from 1, by their median in seconds."""
        z = self.rng.standard_normal(n, np.float32)
        z *= np.asarray(sigma, np.float32)
        z += np.log(np.asarray(seconds, np.float32) * np.float32(SECOND))
        np.exp(z, out=z)
        return np.clip(z, 1, most).astype(np.int64)


# --- load: when conversations open, and for which skill --------------------------------------------------------------

_QUARTERS: Final = 7 * 24 * 4


def _hour_of_week(time: Integers) -> Integers:
    """Hours since Monday 0:00 (UTC)."""
    return (time // HOUR + 72) % 168  # 1970-01-01 was a Thursday


def _quarter_of_week(time: Integers) -> Integers:
    return _hour_of_week(time) * 4 + time % HOUR * 4 // HOUR


class _Load:
    """How many conversations open when: for each skill a curve over the day, less at night and on weekends."""

    def __init__(self, centre: Centre, start: int, end: int) -> None:
        dice = _Dice(centre.seed, 1)
        self.skill_weights = (1 + np.arange(centre.skills)) ** -0.5
        hour = np.arange(_QUARTERS)[:, None] % 96 / 4 + dice.uniform(centre.skills) - 0.5
        peaks = np.exp(-(((hour - 10) / 2.6) ** 2)) + 0.9 * np.exp(-(((hour - 15) / 3.4) ** 2))
        night = 0.03 + 0.07 * dice.uniform(centre.skills)
        weekend = np.where(np.arange(_QUARTERS)[:, None] < 5 * 96, 1, 0.3 + 0.4 * dice.uniform(centre.skills))
        curves = self.skill_weights * (peaks + night) * weekend
        self.of_week = curves.sum(axis=1)
        self._skills = (np.cumsum(curves, axis=1) / self.of_week[:, None])[:, :-1]
        self._edges = np.linspace(start, end, math.ceil((end - start) * 4 / HOUR) + 1)
        middles = ((self._edges[1:] + self._edges[:-1]) / 2).astype(np.int64)
        opened = np.cumsum(self.of_week[_quarter_of_week(middles)])
        self._opened = np.concatenate([[0], opened / opened[-1]])

    def time_of(self, part: Any) -> Any:
        """By when this part of all conversations has opened."""
        return np.floor(np.interp(part, self._opened, self._edges)).astype(np.int64)

    def skills(self, time: Integers, dice: _Dice) -> Integers:
        """A skill for each conversation that opens at these times."""
        above: Bools = dice.uniform(len(time))[:, None] >= self._skills[_quarter_of_week(time)]
        skills: Integers = above.sum(axis=1, dtype=np.int64)
        return skills


# --- staff: agents and bots, and who is there when -------------------------------------------------------------------


class _Lists:
    """For each key a list of agents, to draw one from."""

    def __init__(self, keys: Integers, agents: Integers, number: int) -> None:
        order = np.lexsort((agents, keys))
        self.agents = agents[order].astype(np.int32)
        self.first = np.searchsorted(keys[order], np.arange(number + 1))

    def draw(self, keys: Integers, dice: _Dice) -> Numbers:
        """An agent for each key, -1 where the list is empty."""
        first, count = self.first[keys], self.first[keys + 1] - self.first[keys]
        drawn = np.full(len(keys), -1, np.int32)
        some = np.flatnonzero(count)
        drawn[some] = self.agents[(first + dice.rng.random(len(keys)) * count).astype(np.int64)[some]]
        return drawn


class _Rosters:
    """Who works when: a shift of eight hours, at the same time on five days a week."""

    def __init__(self, number: int, load: _Load, dice: _Dice) -> None:
        day = load.of_week[: 5 * 96].reshape(5, 24, 4).sum(axis=(0, 2)).cumsum()
        middle = np.searchsorted(day / day[-1], dice.uniform(number))
        middle = np.where(dice.share(number, 0.06), dice.rng.integers(24, size=number), middle)
        self.first_hour = ((middle - 2) % 24).astype(np.int64)
        first_free = np.where(dice.share(number, 0.35), 5, dice.rng.integers(7, size=number))
        self.free_days = np.stack([first_free, (first_free + 1) % 7])

    def on_shift(self, hours: Integers) -> Bools:
        """By agent and hour of the week."""
        since = (hours - self.first_hour[:, None]) % 24
        day = ((hours - since) % 168) // 24
        is_free: Bools = (day[None] == self.free_days[:, :, None]).any(axis=0)
        return (since < SHIFT_HOURS) & ~is_free

    def leave(self, agents: Numbers, time: Integers) -> Integers:
        """The end of the shift; three hours later for those who work outside it."""
        since = (time // HOUR - self.first_hour[agents]) % 24
        return (time // HOUR + np.where(since < SHIFT_HOURS, SHIFT_HOURS - since, 3)) * HOUR


class _Staff:
    """Everybody who can be assigned, by number: the humans of one account after the other, then the bots."""

    def __init__(self, centre: Centre, load: _Load, conversations: int, start: int, end: int) -> None:
        dice = _Dice(centre.seed, 2)
        accounts = len(centre.accounts)
        self.skills, self.bots = centre.skills, centre.bots
        self.account_shares = (1 + np.arange(accounts)) ** -0.5
        self.account_shares /= self.account_shares.sum()
        hours = np.bincount(_hour_of_week(np.arange(start, end, HOUR // 4)), minlength=168) / 4
        total = centre.agents or _headcount(load, conversations, hours)
        least = 1 if centre.agents else max(2, centre.skills)
        counts = np.maximum(np.round(self.account_shares * total).astype(np.int64), least)
        self.humans = int(counts.sum())
        self.number = self.humans + accounts * self.bots
        self._name(counts, dice)
        self.has_focus = (np.arange(self.number) < self.humans) & ~dice.share(self.number, centre.without_focus)
        self.rosters = _Rosters(self.humans, load, dice)
        self._list(load, accounts, np.flatnonzero(hours), dice)

    def _name(self, counts: Integers, dice: _Dice) -> None:
        """Ids, employees and groups; the last agents of an account are its managers."""
        self.account = np.repeat(np.arange(len(counts)), counts)
        self.local = np.arange(self.humans) - np.repeat(np.cumsum(counts) - counts, counts)
        size = np.repeat(counts, counts)
        self.is_manager = self.local >= size - np.where(size >= 4, 1 + size // 20, 0)
        bots = np.tile(np.arange(self.bots), len(counts))
        self.id = np.concatenate([3001 + self.local, 1001 + bots])
        group = 501 + self.local * (1 + size // 12) // size
        self.group = np.concatenate([group, np.full(len(bots), model.UNASSIGNED)])
        employees = np.where(dice.share(self.humans, 0.05), -1, 1001 + self.local).tolist()
        self.employee = pa.array(
            [f"E{number}" if number >= 0 else None for number in employees] + [None] * len(bots), pa.string()
        )

    def _list(self, load: _Load, accounts: int, hours: Integers, dice: _Dice) -> None:
        """Who there is for a skill, at an hour of the week and at all."""
        weights = load.skill_weights.cumsum() / load.skill_weights.sum()
        first = np.where(self.local < self.skills, self.local, np.searchsorted(weights, dice.uniform(self.humans)))
        more = [np.searchsorted(weights, dice.uniform(self.humans)) for _ in range(2)]
        agents = np.arange(self.humans)
        second, third = (agents[dice.share(self.humans, share)] for share in (0.6, 0.25))
        who = np.concatenate([agents, second, third])
        skill = np.concatenate([first, more[0][second], more[1][third]]) % self.skills
        key = self.account[who] * self.skills + skill
        works = ~self.is_manager[who]
        who, key = who[works], key[works]
        self._by_skill = _Lists(key, who, accounts * self.skills)
        place, hour = np.nonzero(self.rosters.on_shift(hours)[who])
        self._by_hour = _Lists(key[place] * 168 + hours[hour], who[place], accounts * self.skills * 168)
        self._by_account = _Lists(self.account, agents, accounts)
        managers = np.flatnonzero(self.is_manager)
        self._managers = _Lists(self.account[managers], managers, accounts)

    def draw(self, account: Integers, skill: Integers, time: Integers, dice: _Dice) -> Numbers:
        """An agent for the skill, on shift if there is one."""
        key = account * self.skills + skill
        drawn = self._by_hour.draw(key * 168 + _hour_of_week(time), dice)
        for lists, keys in ((self._by_skill, key), (self._by_account, account)):
            missing = np.flatnonzero(drawn < 0)
            drawn[missing] = lists.draw(keys[missing], dice)
        return drawn

    def draw_managers(self, account: Integers, dice: _Dice) -> Numbers:
        """A manager of the account, or anybody where there is none."""
        drawn = self._managers.draw(account, dice)
        return np.where(drawn < 0, self._by_account.draw(account, dice), drawn)

    def draw_bots(self, account: Integers, skill: Integers, dice: _Dice) -> Numbers:
        """One of the bots of the skill, -1 where it has none."""
        count = np.maximum(0, (self.bots - skill - 1) // self.skills + 1)
        local = skill + self.skills * (dice.uniform(len(skill)) * count).astype(np.int64)
        return np.where(count > 0, self.humans + account * self.bots + local, -1).astype(np.int32)


def _headcount(load: _Load, conversations: int, hours: NDArray[np.float64]) -> int:
    """How many agents the load needs, with `CONCURRENCY` conversations at once; `hours` by hour of the week."""
    on_shift = _Rosters(500, load, _Dice(0)).on_shift(np.arange(168))
    worked = max(float((on_shift @ hours).mean()), 0.05 * float(hours.sum()))
    return min(AGENTS_MAX, math.ceil(conversations * ASSIGNED_HOURS / CONCURRENCY / worked))


# --- the world -------------------------------------------------------------------------------------------------------


class _World:
    """A centre with everything that is fixed before the first conversation opens."""

    def __init__(self, centre: Centre, conversations: int) -> None:
        self.centre = centre
        self.conversations = conversations
        self.start = _millis(centre.start)
        self.end = self.start + max(1, round(centre.days * DAY))
        self.load = _Load(centre, self.start, self.end)
        self.staff = _Staff(centre, self.load, conversations, self.start, self.end)
        self.blocks = math.ceil(conversations / BLOCK)
        ends = self.load.time_of(np.arange(1, self.blocks + 1) * BLOCK / conversations)
        self.borders = np.append(ends[:-1], self.end)
        """Where blocks end: nothing of a later one is before."""

    def accounts_of(self, conversations: Numbers) -> Integers:
        """The accounts of conversations, by number."""
        part = _hashed(conversations, self.centre.seed, 1) / 2.0**64
        places = np.searchsorted(self.staff.account_shares.cumsum()[:-1], part, side="right")
        return places.astype(np.int64)


def _hashed(numbers: Any, *seeds: int) -> NDArray[np.uint64]:
    """64 bits for each number (splitmix64)."""
    bits = np.asarray(numbers).astype(np.uint64)
    for seed in seeds:
        bits = bits + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
    return bits


# --- legs ------------------------------------------------------------------------------------------------------------

_LEG: Final = np.dtype(
    {
        "names": [
            *("at", "assigned", "until", "ended", "leave"),
            *("conversation", "account", "skill", "agent", "last", "turns"),
            *("follows", "plot", "ending", "names_skill"),
        ],
        "formats": [np.int64] * 5 + [np.int32] * 6 + [np.uint8] * 3 + [np.bool_],
    },
    align=True,
)
"""A leg: in the queue from `at`, with `agent` from `assigned` to `ended`; `until` is its last message so far.

`last` is the agent of the leg before, `leave` when the agent's shift ends if that cuts the leg (else 0),
`names_skill` that `assigned` has to name the skill, as no event before it does.
"""
Legs = NDArray[np.void]

NEW, AGAIN, QUEUE, DIRECT, MANAGER = range(5)
"""What a leg follows: opening, resumption, transfer through the queue, transfer to an agent, takeover."""
BOT, SILENT, MONOLOGUE, DIALOGUE = range(4)
"""Plots: the consumer comes to a bot, or a human does not write, gets no answer, gets one."""

_PLOTS: Final = {SILENT: 0.17, MONOLOGUE: 0.16, DIALOGUE: 0.67}
_ENDINGS: Final[dict[int, dict[int, float]]] = {
    BOT: {TO_SKILL: 0.82, CLOSED_BY_CONSUMER: 0.09, CLOSED_BY_SYSTEM: 0.05, CLOSED_BY_AGENT: 0.04},
    SILENT: {
        CLOSED_BY_CONSUMER: 0.53,
        BACK_TO_QUEUE: 0.14,
        TO_SKILL: 0.09,
        TO_AGENT: 0.05,
        IMPLICIT: 0.04,
        TAKEOVER: 0.05,
        CLOSED_BY_AGENT: 0.05,
        CLOSED_BY_SYSTEM: 0.05,
    },
    MONOLOGUE: {
        CLOSED_BY_SYSTEM: 0.62,
        CLOSED_BY_AGENT: 0.20,
        CLOSED_BY_CONSUMER: 0.08,
        TO_SKILL: 0.04,
        BACK_TO_QUEUE: 0.03,
        TO_AGENT: 0.02,
        TAKEOVER: 0.01,
    },
    DIALOGUE: {
        CLOSED_BY_AGENT: 0.40,
        CLOSED_BY_CONSUMER: 0.22,
        CLOSED_BY_SYSTEM: 0.16,
        TO_SKILL: 0.07,
        TO_AGENT: 0.06,
        BACK_TO_QUEUE: 0.04,
        IMPLICIT: 0.03,
        TAKEOVER: 0.02,
    },
}
_SHIFT_ENDINGS: Final = {BACK_TO_QUEUE: 0.5, TO_AGENT: 0.2, IMPLICIT: 0.15, CLOSED_BY_SYSTEM: 0.15}
_ENDING_SECONDS: Final = np.zeros(IMPLICIT + 1, np.float32)
_ENDING_SECONDS[[CLOSED_BY_CONSUMER, CLOSED_BY_AGENT, CLOSED_BY_SYSTEM]] = 40, 45, 4000
_ENDING_SECONDS[[TO_SKILL, TO_AGENT, BACK_TO_QUEUE, IMPLICIT, TAKEOVER]] = 25, 30, 40, 30, 60
_SILENT_SLOWER: Final = 3
_BY_ITS_AGENT: Final = (CLOSED_BY_AGENT, TO_SKILL, TO_AGENT, BACK_TO_QUEUE)
_CLOSED: Final = (CLOSED_BY_CONSUMER, CLOSED_BY_AGENT, CLOSED_BY_SYSTEM)
_FOLLOWS: Final = np.full(IMPLICIT + 1, QUEUE)
_FOLLOWS[[TO_AGENT, IMPLICIT, TAKEOVER]] = DIRECT, DIRECT, MANAGER
_WAIT_SECONDS: Final = np.array([40, 40, 45, 2, 1], np.float32)
_BOT_SHARE: Final = 0.9


def _block(world: _World, block: int) -> Rows:
    """All events of a block of conversations but those of focus, in no particular order; also after the end."""
    dice = _Dice(world.centre.seed, 3, block)
    legs, written = _opened(world, block, dice)
    for step in range(LEGS_MAX):
        waiting = legs[legs["at"] < world.end]
        if not len(waiting):
            break
        legs, rows = _step(world, waiting, dice, is_last=step == LEGS_MAX - 1)
        written += rows
    together = _joined(written)
    together["id"] = np.arange(len(together), dtype=np.uint32) * 2
    return together


def _opened(world: _World, block: int, dice: _Dice) -> tuple[Legs, list[Rows]]:
    """The conversations of a block as their first legs."""
    first = block * BLOCK
    number = min(BLOCK, world.conversations - first)
    legs = np.zeros(number, _LEG)
    legs["at"] = world.load.time_of((first + np.sort(dice.rng.random(number)) * number) / world.conversations)
    legs["conversation"] = np.arange(first, first + number)
    legs["account"] = world.accounts_of(legs["conversation"])
    legs["skill"] = world.load.skills(legs["at"], dice)
    legs["names_skill"] = dice.share(number, 0.01)
    legs["last"] = -1
    rows = _rows(legs["at"], legs["conversation"], OPENED)
    rows["skill"] = np.where(legs["names_skill"], -1, legs["skill"])
    return legs, [rows, *_first_words(legs, dice)]


def _first_words(legs: Legs, dice: _Dice) -> list[Rows]:
    """The consumer's messages at the beginning: mostly one, sometimes none or two. Sets `until`."""
    delay = dice.spans(len(legs), 2, 1.0, MINUTE) * ~dice.share(len(legs), 0.2)
    legs["until"] = legs["at"] + delay
    words = _rows(legs["until"], legs["conversation"], BY_CONSUMER)[~dice.share(len(legs), 0.03)]
    more = legs[dice.share(len(legs), 0.1)]
    return [words, _rows(more["until"] + dice.spans(len(more), 5), more["conversation"], BY_CONSUMER)]


def _step(world: _World, legs: Legs, dice: _Dice, *, is_last: bool) -> tuple[Legs, list[Rows]]:
    """What becomes of legs, and the legs that come after them (none after the last step)."""
    taken, left, rows = _queued(world, legs, dice)
    written = [rows, _assigned(taken, dice)]
    _choose_plot(world, taken, dice, is_last=is_last)
    written.append(_talked(world, taken, dice))
    written.append(_ended(world, taken, dice))
    written += _asides(world, taken, dice) + _reads(taken, dice)
    if is_last:
        return legs[:0], written
    passed_on = _passed_on(taken)
    closed = np.concatenate([left, taken[np.isin(taken["ending"], _CLOSED)]])
    resumed, words = _resumed(world, closed, dice)
    return np.concatenate([passed_on, resumed]), [*written, *words]


def _queued(world: _World, legs: Legs, dice: _Dice) -> tuple[Legs, Legs, Rows]:
    """Draws agents and waits: the legs that an agent takes, and those whose consumer left the queue before."""
    staff, follows = world.staff, legs["follows"]
    account, skill = legs["account"].astype(np.int64), legs["skill"].astype(np.int64)
    bots = np.where(dice.share(len(legs), _BOT_SHARE), staff.draw_bots(account, skill, dice), -1)
    is_bot = (bots >= 0) & (follows <= AGAIN)
    wait = dice.spans(len(legs), np.where(is_bot, np.float32(0.5), _WAIT_SECONDS[follows]), 1.0)
    at_once = ((follows == DIRECT) & dice.share(len(legs), 0.3)) | ((follows == MANAGER) & dice.share(len(legs), 0.5))
    wait[at_once] = 0
    patience = dice.spans(len(legs), 420, 1.0)
    gives_up = (patience < wait) & ~is_bot & (follows <= QUEUE)
    legs["assigned"] = legs["at"] + wait
    legs["agent"] = _agents(world, legs, dice)
    legs["agent"][is_bot] = bots[is_bot]
    left = legs[gives_up]
    left["ended"] = np.maximum(left["at"] + patience[gives_up], left["until"] + SECOND)
    left["ending"], left["agent"] = CLOSED_BY_CONSUMER, -1
    return legs[~gives_up], left, _rows(left["ended"], left["conversation"], CLOSED_BY_CONSUMER)


def _agents(world: _World, legs: Legs, dice: _Dice) -> Numbers:
    """A human for each leg: another one than before, but sometimes the same after a resumption."""
    staff, follows, last = world.staff, legs["follows"], legs["last"]
    account, skill = legs["account"].astype(np.int64), legs["skill"].astype(np.int64)
    agents = staff.draw(account, skill, legs["assigned"], dice)
    again = np.flatnonzero((agents == last) & (follows != AGAIN))
    agents[again] = staff.draw(account[again], skill[again], legs["assigned"][again], dice)
    takes_over = np.flatnonzero(follows == MANAGER)
    agents[takes_over] = staff.draw_managers(account[takes_over], dice)
    same = (follows == AGAIN) & (last >= 0) & (last < staff.humans) & dice.share(len(legs), 0.4)
    return np.where(same, last, agents)


def _assigned(legs: Legs, dice: _Dice) -> Rows:
    """The `assigned`; who takes over has looked before, others seldom."""
    number, follows = len(legs), legs["follows"]
    rows = _rows(legs["assigned"], legs["conversation"], ASSIGNED, legs["agent"])
    looked = np.where(follows == MANAGER, dice.share(number, 0.8), dice.share(number, 0.03) & (follows <= QUEUE))
    longest = np.where(follows == MANAGER, 8 * SECOND, legs["assigned"] - legs["at"])
    reads = np.minimum(dice.spans(number, 20, 0.6), longest)
    rows["look"] = np.where(looked, reads, 0)
    rows["skill"] = np.where(legs["names_skill"] | dice.share(number, 0.5), legs["skill"], -1)
    rows["sequence"] = (follows >= DIRECT) & (legs["assigned"] == legs["at"]) & dice.share(number, 0.5)
    return rows


def _choose_plot(world: _World, legs: Legs, dice: _Dice, *, is_last: bool) -> None:
    """Sets `plot`, `turns` and `ending`."""
    number = len(legs)
    is_bot = legs["agent"] >= world.staff.humans
    legs["plot"] = np.where(is_bot, BOT, dice.one_of(number, _PLOTS))
    further = np.log(1 - dice.uniform(number)) / np.log(np.where(is_bot, np.float32(0.4), np.float32(0.77)))
    turns = 1 + np.minimum(further, np.where(is_bot, 3, 9)).astype(np.int64)
    legs["turns"] = np.choose(legs["plot"], [turns, 0, 1, turns])
    for plot, shares in _ENDINGS.items():
        its = np.flatnonzero(legs["plot"] == plot)
        legs["ending"][its] = dice.one_of(len(its), shares)
    legs["ending"][(legs["follows"] == MANAGER) & (legs["ending"] == TAKEOVER)] = CLOSED_BY_AGENT
    if is_last:
        legs["ending"][~np.isin(legs["ending"], _CLOSED)] = CLOSED_BY_SYSTEM


# --- messages --------------------------------------------------------------------------------------------------------

FIRST, ANSWER, MORE, REPLY, MORE_BY_CONSUMER, BOT_ANSWER, BOT_MORE, BOT_REPLY = range(8)
"""Messages, by what decides how long they take."""
_GAP_SECONDS: Final = np.array([80, 75, 18, 70, 8, 1.0, 0.7, 12], np.float32)
_GAP_SIGMA: Final = np.array([0.95, 0.8, 0.7, 1.3, 0.8, 0.5, 0.5, 0.9], np.float32)
_GAP_MAX: Final = np.array([60, 60, 10, 240, 20, 1, 1, 60], np.float32) * MINUTE


def _talked(world: _World, legs: Legs, dice: _Dice) -> Rows:
    """The messages of consumers and assigned agents, turn by turn. Sets `until`, `leave`; an end of shift cuts."""
    talks = np.flatnonzero(legs["turns"])
    said = legs[talks]
    leg, kind = _script(said, dice)
    gap = dice.spans(len(leg), _GAP_SECONDS[kind], _GAP_SIGMA[kind], _GAP_MAX[kind])
    begin, after = _extents(leg, len(said))
    passed = np.cumsum(gap)
    start = np.maximum(said["assigned"], said["until"]) - passed[begin] + gap[begin]
    time = start[leg] + passed
    leave = _leaves(world, said, dice)
    kept = time < leave[leg]
    count = np.add.reduceat(kept, begin, dtype=np.int64) if len(leg) else np.zeros(0, np.int64)
    cut = count < after - begin
    said["until"] = np.where(count > 0, time[begin + count - 1], said["assigned"])
    said["leave"] = np.where(cut, leave, 0)
    said["ending"][cut] = dice.one_of(int(cut.sum()), _SHIFT_ENDINGS)
    legs[talks] = said
    return _message_rows(said, leg[kept], kind[kept], time[kept], gap[kept], dice)


def _script(legs: Legs, dice: _Dice) -> tuple[Integers, Integers]:
    """Who speaks: for each message its leg and which of `FIRST`, … it is."""
    turn_leg = np.repeat(np.arange(len(legs)), legs["turns"])
    turns, plot = len(turn_leg), legs["plot"][turn_leg]
    is_bot = plot == BOT
    begins = np.diff(turn_leg, prepend=-1) > 0
    ends = np.diff(turn_leg, append=len(legs)) > 0
    by_agent = 1 + _few(turns, dice, (0.74, 0.93, 0.98))
    by_consumer = 1 + _few(turns, dice, (0.82, 0.97, 1.0))
    unanswered = ends & dice.share(turns, 0.55) & (~begins | (is_bot & dice.share(turns, 0.5)))
    by_consumer[unanswered | (plot == MONOLOGUE)] = 0
    messages = by_agent + by_consumer
    turn = np.repeat(np.arange(turns), messages)
    place = np.arange(len(turn)) - np.repeat(np.cumsum(messages) - messages, messages)
    consumer_from = by_agent[turn]
    kind = np.where(place < consumer_from, np.where(is_bot, BOT_MORE, MORE)[turn], MORE_BY_CONSUMER)
    kind[place == 0] = np.where(is_bot, BOT_ANSWER, np.where(begins, FIRST, ANSWER))
    replies = np.flatnonzero(place == consumer_from)
    kind[replies] = np.where(is_bot, BOT_REPLY, REPLY)[turn[replies]]
    return turn_leg[turn], kind


def _few(number: int, dice: _Dice, below: tuple[float, ...]) -> Integers:
    """0, 1, 2 or 3."""
    return np.searchsorted(np.array(below, np.float32), dice.uniform(number), side="right")


def _extents(leg: Integers, number: int) -> tuple[Integers, Integers]:
    """Where each leg's messages begin and end."""
    after = np.cumsum(np.bincount(leg, minlength=number))
    return np.concatenate([[0], after[:-1]]).astype(np.int64)[:number], after


def _leaves(world: _World, legs: Legs, dice: _Dice) -> Integers:
    """When the agents of legs stop working, some minutes after their shifts; bots never do."""
    never = np.iinfo(np.int64).max
    is_bot = legs["agent"] >= world.staff.humans
    leave = world.staff.rosters.leave(np.where(is_bot, 0, legs["agent"]), legs["assigned"])
    leave += dice.spans(len(legs), 300)
    leave[is_bot] = never
    return leave


def _message_rows(legs: Legs, leg: Integers, kind: Integers, time: Integers, gap: Integers, dice: _Dice) -> Rows:
    by_agent = (kind <= MORE) | (kind == BOT_ANSWER) | (kind == BOT_MORE)
    rows = _rows(time, legs["conversation"][leg], np.where(by_agent, BY_AGENT, BY_CONSUMER))
    agents = np.flatnonzero(by_agent)
    rows["agent"][agents] = legs["agent"][leg[agents]]
    rows["kind"][agents[dice.share(len(agents), 0.06)]] = BY_AGENT_UNNAMED
    humans = np.flatnonzero(kind <= MORE)
    look = np.minimum(gap[humans], LOOK_MAX)
    answers = kind[humans] != MORE
    look[answers] = np.minimum(look[answers], dice.spans(int(answers.sum()), 60, 0.7))
    rows["look"][humans] = look
    return rows


# --- ends ------------------------------------------------------------------------------------------------------------


def _ended(world: _World, legs: Legs, dice: _Dice) -> Rows:
    """The event that ends each leg; none where the next `assigned` does. Sets `ended`, and `skill` to the next."""
    number, ending = len(legs), legs["ending"]
    silent = legs["plot"] == SILENT
    seconds = _ENDING_SECONDS[ending]
    seconds[silent] *= _SILENT_SLOWER
    seconds[legs["plot"] == BOT] /= 10
    seconds[(ending == CLOSED_BY_SYSTEM) & dice.share(number, 0.04)] = DAY / SECOND
    begin = np.maximum(legs["until"], legs["assigned"])
    gap = dice.spans(number, seconds, np.where(seconds < 80_000, np.float32(0.8), np.float32(0.01)))
    at_leave = np.maximum(begin + 1, legs["leave"]) + np.where(ending == CLOSED_BY_SYSTEM, gap, 0)
    legs["ended"] = np.where(legs["leave"] > 0, at_leave, begin + gap)
    other = (ending == TO_SKILL) | ((ending == IMPLICIT) & dice.share(number, 0.2))
    skills = world.centre.skills
    changed = (legs["skill"] + 1 + (dice.uniform(number) * (skills - 1)).astype(np.int32)) % skills
    changed = np.where((legs["plot"] == BOT) & dice.share(number, 0.6), legs["skill"], changed)
    legs["skill"] = np.where(other, changed, legs["skill"])
    named = ((ending == TO_SKILL) & ~dice.share(number, 0.1)) | ((ending == BACK_TO_QUEUE) & dice.share(number, 0.3))
    legs["names_skill"] = other & ~named
    rows = _rows(legs["ended"], legs["conversation"], ending, legs["agent"])
    rows["skill"] = np.where(named, legs["skill"], -1)
    acts = np.isin(ending, _BY_ITS_AGENT) & (legs["plot"] != BOT) & ~(silent & dice.share(number, 0.4))
    rows["look"] = np.where(acts, np.minimum(dice.spans(number, 20, 0.6, LOOK_MAX), legs["ended"] - begin), 0)
    return _where(ending != IMPLICIT, rows)


def _passed_on(legs: Legs) -> Legs:
    """The legs after transfers."""
    legs = legs[~np.isin(legs["ending"], _CLOSED)]
    legs["follows"] = _FOLLOWS[legs["ending"]]
    legs["at"] = legs["until"] = legs["ended"]
    legs["last"] = legs["agent"]
    return legs


def _resumed(world: _World, closed: Legs, dice: _Dice) -> tuple[Legs, list[Rows]]:
    """Some closed conversations opened again, hours or a day later."""
    again = np.where(closed["ending"] == CLOSED_BY_SYSTEM, dice.share(len(closed), 0.15), dice.share(len(closed), 0.06))
    legs = closed[again]
    number = len(legs)
    legs["last"] = legs["agent"]
    legs["at"] = legs["ended"] + dice.spans(number, 9000, 1.2, 3 * DAY) + SECOND
    legs["follows"] = AGAIN
    other = dice.share(number, 0.15)
    legs["skill"] = np.where(other, (legs["skill"] + 1) % world.centre.skills, legs["skill"])
    legs["names_skill"] = False
    rows = _rows(legs["at"], legs["conversation"], np.where(dice.share(number, 0.1), OPENED, RESUMED))
    rows["skill"] = np.where(other | dice.share(number, 0.6), legs["skill"], -1)
    early = legs[dice.share(number, 0.03)]
    too_early = _rows(early["at"] - SECOND, early["conversation"], BY_CONSUMER)
    return legs, [rows, too_early, *_first_words(legs, dice)]


def _asides(world: _World, legs: Legs, dice: _Dice) -> list[Rows]:
    """Messages that do not move the story: by consumers in the queue or after the end, the system, other agents."""
    is_human, is_closed = legs["plot"] != BOT, np.isin(legs["ending"], _CLOSED)
    impatient = legs[(legs["follows"] == QUEUE) & dice.share(len(legs), 0.1)]
    greeted = legs[is_human & dice.share(len(legs), 0.06)]
    reminded = legs[(legs["ending"] == CLOSED_BY_SYSTEM) & dice.share(len(legs), 0.5)]
    helped = legs[is_human & (legs["turns"] > 0) & dice.share(len(legs), 0.01)]
    thankful = legs[is_closed & dice.share(len(legs), 0.01)]
    helpers = world.staff.draw_managers(helped["account"].astype(np.int64), dice)
    help_ = _between(helped["assigned"], helped["until"], dice)
    reads = np.minimum(15 * SECOND, help_ - helped["assigned"])
    return [
        _rows(_between(impatient["at"], impatient["assigned"], dice), impatient["conversation"], BY_CONSUMER),
        _rows(greeted["assigned"] + 50, greeted["conversation"], BY_SYSTEM),
        _rows(_between(reminded["until"], reminded["ended"], dice), reminded["conversation"], BY_SYSTEM),
        _rows(help_, helped["conversation"], BY_AGENT, helpers, reads),
        _rows(thankful["ended"] + dice.spans(len(thankful), 20), thankful["conversation"], BY_CONSUMER),
    ]


def _reads(legs: Legs, dice: _Dice) -> list[Rows]:
    """Looks of human agents that come to nothing, more of them where the agent writes nothing at all."""
    silent = legs["plot"] == SILENT
    some = legs[dice.share(len(legs), 0.15) & (legs["plot"] != BOT) | dice.share(len(legs), 0.6) & silent]
    end = _between(some["assigned"], some["ended"], dice)
    look = np.minimum(dice.spans(len(some), 12), end - some["assigned"])
    left_open = (legs["leave"] > 0) & (legs["ending"] == CLOSED_BY_SYSTEM) & dice.share(len(legs), 0.4)
    last = legs[left_open]
    return [
        _rows(end, some["conversation"], READ, some["agent"], look),
        _rows(last["leave"], last["conversation"], LEFT_OPEN, last["agent"], 20 * SECOND),
    ]


def _between(first: Integers, last: Integers, dice: _Dice) -> Integers:
    """Moments between others."""
    return first + (dice.rng.random(len(first)) * (last - first)).astype(np.int64)


# --- focus -----------------------------------------------------------------------------------------------------------

_NEVER: Final = np.iinfo(np.int64).max // 2


class _Focus:
    """What each agent's screen shows: fed with looks in order of time, it gives `focused` and `unfocused`.

    A look that begins before the agent's previous one has ended begins right after it. After a look the agent stays
    until the next one, or until idle for some minutes, and that is an `unfocused`; seldom it is forgotten.
    """

    def __init__(self, world: _World) -> None:
        self.world = world
        staff = world.staff.number
        self.looked = np.full(staff, -_NEVER)
        self.conversation = np.full(staff, -1, np.int32)
        self.unfocus = np.full(staff, _NEVER)
        self.given = 0

    def follow(self, looks: Rows, safe: int, dice: _Dice) -> Rows:
        """The focus events of the next looks. No look to come begins before `safe`: until then they are complete."""
        looks = _where(self.world.staff.has_focus[looks["agent"]], looks)
        looks = _in_order(looks, looks["time"])
        looks = _in_order(looks, looks["agent"].astype(np.int64))
        agent, end = looks["agent"], looks["time"]
        is_first = np.diff(agent, prepend=-1) > 0
        idle_at = np.where(looks["kind"] == LEFT_OPEN, _NEVER, self._idle(end, dice))
        looked, unfocus, conversation = self._before(looks, is_first, idle_at)
        start = np.minimum(np.maximum(end - np.minimum(looks["look"], LOOK_MAX), looked + 1), end)
        leaves = unfocus < start
        changes = leaves | (conversation != looks["conversation"])
        enters = changes | dice.share(len(looks), 0.02)
        rows = [
            _rows(unfocus[leaves], conversation[leaves], UNFOCUSED, agent[leaves]),
            _rows(start[enters], looks["conversation"][enters], FOCUSED, agent[enters]),
            *_interruptions(looks, start, dice),
        ]
        last = np.flatnonzero(np.diff(agent, append=-1) != 0)
        self.looked[agent[last]], self.unfocus[agent[last]] = end[last], idle_at[last]
        self.conversation[agent[last]] = looks["conversation"][last]
        return self._numbered([*rows, self._gone_idle(safe)])

    def _idle(self, end: Integers, dice: _Dice) -> Integers:
        """When agents look away after looks if nothing else comes: often after minutes, sometimes at once or never."""
        seconds = np.where(dice.share(len(end), 0.1), np.float32(8), np.float32(200))
        idle = dice.spans(len(end), seconds, 0.8, 40 * MINUTE)
        return np.where(dice.share(len(end), 0.005), _NEVER, end + idle)

    def _before(self, looks: Rows, is_first: Bools, idle_at: Integers) -> tuple[Integers, Integers, Numbers]:
        """The end of the agent's previous look, when it is left at the latest, and its conversation."""
        carried = looks["agent"][is_first]
        looked, unfocus = np.roll(looks["time"], 1), np.roll(idle_at, 1)
        conversation = np.roll(looks["conversation"], 1)
        looked[is_first], unfocus[is_first] = self.looked[carried], self.unfocus[carried]
        conversation[is_first] = self.conversation[carried]
        return looked, unfocus, conversation

    def _gone_idle(self, before: int) -> Rows:
        """Those who have looked away by then."""
        agents = np.flatnonzero(self.unfocus < before)
        rows = _rows(self.unfocus[agents], self.conversation[agents], UNFOCUSED, agents)
        self.unfocus[agents], self.conversation[agents] = _NEVER, -1
        return rows

    def _numbered(self, rows: list[Rows]) -> Rows:
        together = _joined(rows)
        numbers = self.given + np.arange(len(together))
        self.given += len(together)
        together["id"] = (numbers * 2 + 1) & 0xFFFFFFFF
        return together


def _interruptions(looks: Rows, start: Integers, dice: _Dice) -> list[Rows]:
    """A few long looks with a moment away in them."""
    some = np.flatnonzero((looks["time"] - start > 10 * SECOND) & dice.share(len(looks), 0.03))
    begin, span = start[some], looks["time"][some] - start[some]
    conversation, agent = looks["conversation"][some], looks["agent"][some]
    return [
        _rows(begin + span // 3, conversation, UNFOCUSED, agent),
        _rows(begin + span * 2 // 3, conversation, FOCUSED, agent),
    ]


# --- one stream ------------------------------------------------------------------------------------------------------


def _in_time(world: _World) -> Iterator[tuple[Rows, int]]:
    """All events in order of time, in parts, each with a time that all later events reach."""
    focus = _Focus(world)
    later: defaultdict[int, list[Rows]] = defaultdict(list)
    settled = np.empty(0, _ROW)
    for block, border in enumerate(world.borders.tolist()):
        for number, part in _by_border(_block(world, block), world.borders):
            later[number].append(part)
        rows = _joined(later.pop(block, []))
        safe = border - LOOK_MAX if block + 1 < world.blocks else world.end
        moves = focus.follow(_where(rows["look"] > 0, rows), safe, _Dice(world.centre.seed, 4, block))
        settled = _joined([settled, _where(rows["kind"] < READ, rows), moves])
        settled = _in_order(settled, settled["time"] * 8 + _KIND_RANK[settled["kind"]])
        ready = int(np.searchsorted(settled["time"], safe))
        yield settled[:ready], safe
        settled = _joined([settled[ready:]])


def _by_border(rows: Rows, borders: Integers) -> Iterator[tuple[int, Rows]]:
    """The rows before each border (and not before an earlier one), with its number; what is after all is dropped."""
    number = np.searchsorted(borders, rows["time"], side="right")
    rows = _in_order(rows, number)
    after = np.cumsum(np.bincount(number, minlength=len(borders)))
    for block in np.unique(number[number < len(borders)]).tolist():
        yield block, _joined([rows[after[block - 1] if block else 0 : after[block]]])


def _arrivals(world: _World) -> Iterator[Rows]:
    """All events in the order in which they arrive."""
    messiness = world.centre.messiness
    delayed, delayed_to = np.empty(0, _ROW), np.empty(0, np.int64)
    for part, (rows, until) in enumerate(_in_time(world)):
        if messiness == 0:
            yield rows
            continue
        dice = _Dice(world.centre.seed, 5, part)
        late = dice.share(len(rows), messiness / 2)
        arrival = rows["time"] + np.where(late, dice.spans(len(rows), 30, 1.5), 0)
        copied = np.flatnonzero(dice.share(len(rows), messiness / 2))
        copied_to = arrival[copied] + dice.spans(len(copied), 10, 2.0)
        delayed = _joined([delayed, rows, rows[copied]])
        delayed_to = np.concatenate([delayed_to, arrival, copied_to])
        here = delayed_to < (until if until < world.end else _NEVER)
        yield _in_order(_where(here, delayed), delayed_to[here])
        delayed, delayed_to = _where(~here, delayed), delayed_to[~here]


# --- Arrow -----------------------------------------------------------------------------------------------------------

_SOURCES: Final = pa.array(["WEB", "APP", "SMS", "FACEBOOK", "WHATSAPP", "APPLE", None], pa.string())
_SOURCE_SHARES: Final = np.array([0.42, 0.67, 0.78, 0.87, 0.94, 0.98])
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
_KIND_TYPE: Final = np.array([type_ for type_, _, _ in _KINDS], np.int8)
_HAS_AGENT: Final = np.isin(np.arange(len(_KINDS)), (ASSIGNED, FOCUSED, UNFOCUSED, BY_AGENT))


def _table(rows: Rows, world: _World) -> pa.Table:
    """Rows as a table of `model.EVENTS`."""
    staff, kind, agent = world.staff, rows["kind"], rows["agent"]
    assigned = kind == ASSIGNED
    accounts, ids, sources = _conversation_columns(rows, world)
    columns = {
        "accountId": accounts,
        "conversationId": ids,
        "eventId": _fixed_strings(_event_ids(rows["id"])),
        "time": _column(rows["time"], model.INSTANT),
        "sequence": _column(rows["sequence"].astype(np.int64), pa.int64()),
        "type": model.codes(_column(_KIND_TYPE[kind], pa.int8()), model.TYPES),
        "agentId": _column(staff.id[agent], pa.int64(), _HAS_AGENT[kind]),
        "employeeId": _strings(staff.employee, agent, assigned),
        "groupId": _column(staff.group[agent], pa.int64(), assigned),
        "userType": model.codes(
            _column((agent >= staff.humans).astype(np.int8), pa.int8(), assigned), model.USER_TYPES
        ),
        "skillId": _column((rows["skill"].astype(np.int64) + 1) * 10, pa.int64(), rows["skill"] >= 0),
        "source": sources,
        **{
            field.name: _closed_list(field, kind)
            for field in model.FIELDS
            if field.name in ("sentBy", "reason", "closedBy")
        },
    }
    return pa.table([columns[name] for name in model.EVENTS.names], schema=model.EVENTS)


def _closed_list(field: model.Field, kind: NDArray[np.uint8]) -> pa.Array:
    """A field that a row's kind decides."""
    places = np.array([field.choices.index(value) if name == field.name else -1 for _, name, value in _KINDS], np.int8)
    chosen = places[kind]
    return model.codes(_column(chosen, pa.int8(), chosen >= 0), field.choices)


def _conversation_columns(rows: Rows, world: _World) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Account, id and source, which follow from a conversation's number."""
    first = rows["conversation"].min()
    place = rows["conversation"] - first
    used = np.zeros(int(place.max()) + 1, np.bool_)
    used[place] = True
    place = (np.cumsum(used, dtype=np.int32) - 1)[place]
    numbers = np.flatnonzero(used) + first
    accounts = world.accounts_of(numbers).astype(np.int32)
    dictionary = pa.array(world.centre.accounts, pa.string())
    part = _hashed(numbers, world.centre.seed, 2) / 2.0**64
    source = np.searchsorted(_SOURCE_SHARES, part, side="right").astype(np.int8)
    names_it = (rows["kind"] == OPENED) | ((rows["kind"] == RESUMED) & (rows["id"] % 5 > 1))
    return (
        pa.DictionaryArray.from_arrays(_column(accounts[place], pa.int32()), dictionary),
        _fixed_strings(_uuids(numbers, world.centre.seed).take(place)),
        _strings(_SOURCES, source[place], names_it),
    )


def _uuids(numbers: Integers, seed: int) -> NDArray[np.void]:
    """A UUID (version 4) in 36 letters for each number."""
    bits = np.stack([_hashed(numbers, seed, salt) for salt in (3, 4)], axis=1).view(np.uint8).reshape(-1, 16)
    bits[:, 6] = bits[:, 6] & 0x0F | 0x40
    bits[:, 8] = bits[:, 8] & 0x3F | 0x80
    digits = _HEX[bits].view(np.uint8).reshape(-1, 32)
    letters = np.full((len(numbers), 36), ord("-"), np.uint8)
    for to, start, stop in ((0, 0, 8), (9, 8, 12), (14, 12, 16), (19, 16, 20), (24, 20, 32)):
        letters[:, to : to + stop - start] = digits[:, start:stop]
    return letters.view("V36").ravel()


def _event_ids(numbers: NDArray[np.uint32]) -> NDArray[np.void]:
    """Eight letters, another for each number."""
    return _HEX[(numbers * np.uint32(2654435761)).view(np.uint8)].view("V8")


def _fixed_strings(letters: NDArray[Any]) -> pa.Array:
    """Rows of letters of one length as strings."""
    length = letters.itemsize
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * length
    data = np.ascontiguousarray(letters)
    return pa.Array.from_buffers(pa.string(), len(letters), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _strings(texts: pa.Array, places: NDArray[Any], there: Bools) -> pa.Array:
    """One of the texts in each row, null where it is not there."""
    # Arrow's `take` with nulls costs five times as much.
    rows = np.flatnonzero(there)
    taken = texts.take(pa.array(places[rows]))
    lengths = np.zeros(len(there) + 1, np.int32)
    lengths[rows + 1] = pc.fill_null(pc.binary_length(taken), 0).to_numpy(zero_copy_only=False)
    valid = np.zeros(len(there), np.bool_)
    valid[rows] = taken.is_valid().to_numpy(zero_copy_only=False)
    buffers = [np.packbits(valid, bitorder="little"), np.cumsum(lengths, dtype=np.int32)]
    return pa.Array.from_buffers(pa.string(), len(there), [*map(pa.py_buffer, buffers), taken.buffers()[2]])


def _column(values: NDArray[Any], type_: pa.DataType, there: Bools | None = None) -> pa.Array:
    """Numbers as an Arrow array, null where they are not there."""
    valid = None if there is None else pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.Array.from_buffers(type_, len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])
