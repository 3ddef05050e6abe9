"""What is in the journal and not yet in the tables: it is folded into them later, many entries in one transaction."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import pyarrow as pa

from handletime.errors import NotNow
from handletime.store.budget import Budget
from handletime.store.directory import Conversation
from handletime.store.journal import Entry

FOLD_S: Final = 0.5
"""Seconds that what nobody asks about waits for more to come."""
OTHERS_EVENTS: Final = 5_000
"""The most events up to which those of others go along with what somebody waits for."""
READ_S: Final = 5.0
"""Seconds for which an account counts as one that is asked about, after each question."""
FEW_EVENTS: Final = 1_000
"""The most events that an account may have here, while it is asked about, for its requests to be answered at once."""
LATER_S: Final = 1.0
"""Seconds after which a request that is answered later is answered after the next fold, whatever that brought."""
STUCK_S: Final = 5.0
STUCK_MAX_S: Final = 60.0
"""Seconds until what could not be folded alone is tried again, at first and at most: each time twice as long, because
the tables are opened anew each time, which stops everybody's queries.
"""
_LOOK_S: Final = 0.5


class Batch(NamedTuple):
    """What one entry of the journal brings into the tables.

    `events` are rows of `schema.ARRIVING`, in order, with the ids of their conversations; `conversations` are those
    that are new, by number, and `sizes` says how many events each of them has.
    """

    entry: Entry
    account: int
    events: pa.Table
    ids: pa.Array
    conversations: dict[int, Conversation]
    sizes: dict[int, int]

    @property
    def number(self) -> int:
        """The entry's number."""
        return self.entry.number


class Fold(NamedTuple):
    """Batches that are folded together, and how many events their conversations have, more or less.

    After it, all entries up to `up_to` stand in the tables.
    """

    batches: list[Batch]
    touched: int
    up_to: int


class _Later(NamedTuple):
    """An answer that is given when entries of an account up to a number are folded, and since when it waits."""

    account: str
    entry: int
    since: float
    answer: Callable[[], None]


class Backlog:
    """Batches of all accounts, in order. Any thread may use it, one of them folds.

    One account may have up to three quarters of `most_events`, as `Budget` says. A fold takes up to `fold_events`
    events of conversations with up to `touched_events`, or one larger batch. Entries of an account are folded in
    order; an account whose answer somebody waits for comes first.

    A question waits for what was acknowledged before it, so it would wait long where much is. So the requests of an
    account that is asked about, and has much here, are answered only when it has been folded: then no question waits.
    """

    def __init__(self, most_events: int, fold_events: int, touched_events: int) -> None:
        self._budget = Budget(most_events, "queue-events")
        self._fold_events, self._touched_events = fold_events, touched_events
        self._batches: OrderedDict[int, Batch] = OrderedDict()
        self._of: dict[str, deque[int]] = {}
        """The numbers of each account's batches."""
        self._asked: Counter[str | None] = Counter()
        """How many wait for an account; None: for all."""
        self._read: dict[str, float] = {}
        """When an account was asked about last."""
        self._acknowledged: dict[str, int] = {}
        """Up to which entry an account's requests were answered."""
        self._later: list[_Later] = []
        self._singly: set[int] = set()
        """Batches that are folded alone, because they could not be together."""
        self._stuck: dict[str, tuple[float, float]] = {}
        """Accounts with a batch that could not be folded alone: until when it is not tried again, and for how long."""
        self._since = 0.0
        self._last = 0
        self._closed = False
        self._changed = threading.Condition()

    def add(self, batches: Iterable[Batch]) -> None:
        """Adds batches, in the order of their numbers."""
        with self._changed:
            if not self._batches:
                self._since = time.monotonic()
            for batch in batches:
                self._batches[batch.number] = batch
                self._of.setdefault(batch.entry.account, deque()).append(batch.number)
                self._budget.hold(batch.events.num_rows, batch.entry.account)
                self._last = batch.number
            self._changed.notify_all()

    def has_room(self, events: int, account: str) -> bool:
        """Whether an account may bring so many more events."""
        return self._budget.has_room(events, account)

    def first(self) -> int:
        """The number of the first entry that is not folded; where all are, the next one's."""
        with self._changed:
            return self._first()

    def acknowledge(self, account: str, answer: Callable[[], None], *, at_once: bool = False) -> None:
        """Calls `answer`, which says that what is here of an account is stored: now, or once it has been folded.

        `at_once`: now, because nothing can be folded.
        """
        with self._changed:
            at_once = at_once or self._closed or account in self._stuck or self._budget.of(account) <= FEW_EVENTS
            if not at_once and time.monotonic() < self._read.get(account, -READ_S) + READ_S:
                self._later.append(_Later(account, self._last, time.monotonic(), answer))
                self._changed.notify_all()
                return
            self._acknowledged[account] = self._last
        answer()

    def wait(self, account: str | None, problem: Callable[[], str | None], left_s: float | None = None) -> None:
        """Returns when everything of an account that was acknowledged until now has been folded (None: all that is here
        now, of all accounts). Raises NotNow where that is not possible now, or takes longer than `left_s`.
        """
        ends = None if left_s is None else time.monotonic() + left_s
        with self._changed:
            last = self._last if account is None else self._acknowledged.get(account, 0)
            if account is not None:
                self._read[account] = time.monotonic()
            self._asked[account] += 1
            self._changed.notify_all()
            try:
                while self._has_until(account, last):
                    if (why := problem() or self._why_stuck(account)) is not None:
                        raise NotNow(why)
                    if ends is not None and time.monotonic() > ends:
                        raise NotNow("what was sent last is still being worked into the tables; come again later")
                    self._changed.wait(_LOOK_S)
            finally:
                self._asked[account] -= 1
                if not self._asked[account]:
                    del self._asked[account]

    def take(self) -> Fold | None:
        """What is to be folded next; waits until it is time. None once the backlog is closed and nothing is left."""
        with self._changed:
            while not (found := self._chosen())[0]:
                if self._closed:
                    return None
                self._changed.wait(self._pause())
            chosen, touched = found
            numbers = {batch.number for batch in chosen}
            left = next((number for number in self._batches if number not in numbers), self._last + 1)
            return Fold(chosen, touched, left - 1)

    def done(self, batches: Sequence[Batch]) -> list[Callable[[], None]]:
        """They stand in the tables. Gives the answers that are to be given now."""
        with self._changed:
            for batch in batches:
                del self._batches[batch.number]
                account = batch.entry.account
                self._of[account].remove(batch.number)
                if not self._of[account]:
                    del self._of[account]
                self._budget.give_back(batch.events.num_rows, account)
                self._singly.discard(batch.number)
                self._stuck.pop(account, None)
            self._since = time.monotonic()
            self._changed.notify_all()
            long_ago = time.monotonic() - LATER_S
            return self._due(lambda later: later.since < long_ago or not self._has_until(later.account, later.entry))

    def failed(self, batches: Sequence[Batch]) -> list[Callable[[], None]]:
        """They could not be folded: each is tried alone, and what fails alone later. Gives all answers that wait."""
        with self._changed:
            if len(batches) == 1:
                account = batches[0].entry.account
                _until, pause = self._stuck.get(account, (0.0, STUCK_S / 2))
                pause = min(2 * pause, STUCK_MAX_S)
                self._stuck[account] = time.monotonic() + pause, pause
            self._singly.update(batch.number for batch in batches)
            self._changed.notify_all()
            return self._due(lambda _later: True)

    def waiting(self) -> tuple[int, float]:
        """The number of events that are not folded, and the age of the oldest in seconds, more or less."""
        with self._changed:
            return self._budget.held, time.monotonic() - self._since if self._batches else 0.0

    def close(self) -> list[Callable[[], None]]:
        """What is there is folded now; what is stuck stays in the journal. Gives all answers that wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._due(lambda _later: True)

    def _due(self, is_due: Callable[[_Later], bool]) -> list[Callable[[], None]]:
        """Takes out answers; whoever asks from now on waits for what they acknowledge."""
        due = [later for later in self._later if is_due(later)]
        self._later = [later for later in self._later if not is_due(later)]
        for later in due:
            self._acknowledged[later.account] = max(later.entry, self._acknowledged.get(later.account, 0))
        return [later.answer for later in due]

    def _first(self) -> int:
        return next(iter(self._batches), self._last + 1)

    def _has_until(self, account: str | None, last: int) -> bool:
        if account is None:
            return bool(self._batches) and self._first() <= last
        return account in self._of and self._of[account][0] <= last

    def _why_stuck(self, account: str | None) -> str | None:
        if self._stuck if account is None else account in self._stuck:
            return "events that were sent cannot be worked into the tables; it is tried again"
        return None

    def _pause(self) -> float | None:
        """How long nothing has to be done if nothing happens."""
        if not self._batches:
            return None
        return _LOOK_S if self._stuck else max(0.0, self._since + FOLD_S - time.monotonic())

    def _chosen(self) -> tuple[list[Batch], int]:
        """What is due now, in order, and how many events its conversations have."""
        asked = {account for account in self._asked if account is None or account in self._of}
        due = self._since + FOLD_S <= time.monotonic() or 2 * self._budget.held >= self._fold_events
        if not self._batches or not (asked or due or self._later or self._closed):
            return [], 0
        chosen: list[Batch] = []
        events = touched = 0
        sizes: dict[int, int] = {}
        for batch, is_asked in self._in_order(asked):
            if chosen and batch.number in self._singly:
                break
            events += batch.events.num_rows
            more = sum(size - sizes.get(number, 0) for number, size in batch.sizes.items())
            most = self._fold_events if is_asked or not asked else OTHERS_EVENTS
            if chosen and (events > most or touched + more > self._touched_events):
                break
            chosen.append(batch)
            touched += more
            sizes |= batch.sizes
            if batch.number in self._singly:
                break
        return chosen, touched

    def _in_order(self, asked: set[str | None]) -> Iterator[tuple[Batch, bool]]:
        """Batches by number; those of asked accounts before others, and of these those of accounts with few events.

        None of an account that is stuck.
        """
        now = time.monotonic()
        free = [
            batch
            for batch in self._batches.values()
            if self._closed or self._stuck.get(batch.entry.account, (now, 0))[0] <= now
        ]
        named = [(batch, None in asked or batch.entry.account in asked) for batch in free]
        return iter(sorted(named, key=self._rank))

    def _rank(self, named: tuple[Batch, bool]) -> int:
        batch, is_asked = named
        return 2 if not is_asked else int(self._budget.of(batch.entry.account) > OTHERS_EVENTS)
