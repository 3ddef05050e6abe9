"""What to ask LivePerson's history for, so that nothing of it is missed, and how far that is done.

    since ──── began by then ────> begun ──── ended since then, or open ────> now

1. Once, the past: all conversations that began between `since` and `begun`, the moment of the first poll, a day at a
   time.
2. At each poll, what has changed since the last one: the conversations that ended since, and those that are open. What
   is neither has not changed. The ends overlap by `OVERLAP`, and once a day by `DEEP_OVERLAP`, since LivePerson's index
   lags behind.

Pages are numbered by offset. When a conversation leaves a query that is being paged (an open one closes), those behind
it move forward, and one could fall between two pages: so each page shares `SHARED` with the one before it.
What comes twice is a duplicate in the store, a newer copy of a record corrects the older one (record.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from handletime.clock import DAY, HOUR
from handletime.sources.liveperson.record import Conversation, events_of
from handletime.sources.liveperson.search import ROUNDED_MS, Page, Query, Window

STEP: Final = DAY
"""The longest window of the past, and of ends, that is asked for at once; after each of them the state is kept."""
OVERLAP: Final = 2 * HOUR
DEEP_OVERLAP: Final = 3 * DAY
WINDOW_MAX: Final = 80 * DAY
"""The longest window; LivePerson refuses more than three months."""
KEPT: Final = 400 * DAY
"""LivePerson keeps conversations for 13 months."""
OFFSET_MAX: Final = 10_000
"""A query with more conversations is asked in parts: search engines do not page as far as one likes."""
SHARED: Final = 10
"""Conversations that a page has in common with the one before it."""
TIMES: Final = 3
"""How often a query is asked whose pages do not meet, or that gives fewer conversations than it has."""


class State(Struct, frozen=True, kw_only=True, rename="camel"):
    """How far one account is asked for. Moments are epoch milliseconds.

    since    conversations that began before are not asked for
    begun    when the first poll began
    filled   conversations that began before have been stored, as they were
    ended    conversations that ended before have been stored, to their end
    deep     when the deep overlap was asked for last
    """

    since: int
    begun: int
    filled: int
    ended: int
    deep: int


def first_state(since: int, now: int) -> State:
    """The state before the first poll."""
    return State(since=since, begun=now, filled=since, ended=now, deep=now)


def reaching_back(state: State, since: int) -> State:
    """The state from which on the past is asked for from `since` on, if that is earlier than before."""
    return state if since >= state.since else replace(state, since=since, filled=since)


Ask = Callable[[Query, int], Page]
"""Asks for the page of a query that begins with this number, from 0."""
Tell = Callable[[str], None]


class Step(NamedTuple):
    """Pages of conversations, and the state to be kept as soon as all of these are stored."""

    pages: Iterator[list[Conversation]]
    then: State


def steps(ask: Ask, state: State, now: int, tell: Tell) -> Iterator[Step]:
    """One poll. `tell` hears of what LivePerson did not give. Raises what asking raises.

    A state of the future, kept while the clock was wrong, is not believed: all is asked for as at the first poll.
    """
    if max(state.begun, state.ended, state.deep) > now + HOUR:
        state = first_state(min(state.since, now), now)
    earliest = max(state.since, now - KEPT)
    for window in _pieces(Window(max(state.filled, earliest), state.begun), STEP):
        state = replace(state, filled=window.end)
        yield Step(_conversations(ask, Query(window), tell), state)
    deep = now - state.deep >= DAY
    first = min(state.deep - DEEP_OVERLAP if deep else now, state.ended - OVERLAP)
    for ended in _pieces(Window(first, now), STEP):
        state = replace(state, ended=max(state.ended, ended.end))
        yield Step(_ended(ask, ended, earliest, tell), state)
    yield Step(_open(ask, Window(earliest, now), tell), replace(state, deep=now if deep else state.deep))


def _ended(ask: Ask, ended: Window, earliest: int, tell: Tell) -> Iterator[list[Conversation]]:
    for began in _pieces(Window(earliest, ended.end), WINDOW_MAX):
        yield from _conversations(ask, Query(began, ended, ("CLOSE",)), tell)


def _open(ask: Ask, window: Window, tell: Tell) -> Iterator[list[Conversation]]:
    for began in _pieces(window, WINDOW_MAX):
        yield from _conversations(ask, Query(began, status=("OPEN",)), tell)


def _pieces(window: Window, longest: int) -> Iterator[Window]:
    """A window in pieces, in order, of which each begins where the one before ends; none where it is empty."""
    for start in range(window.start, window.end, longest):
        yield Window(start, min(start + longest, window.end))


def _conversations(ask: Ask, query: Query, tell: Tell) -> Iterator[list[Conversation]]:
    """All conversations of a query, each at least once: in parts where they are many."""
    waiting = [query]
    while waiting:
        query = waiting.pop()
        first = ask(query, 0)
        length = query.began.end - query.began.start
        if first.total > OFFSET_MAX and length > 2 * ROUNDED_MS:
            halves = _pieces(query.began, (length + 1) // 2)
            waiting += [query._replace(began=half) for half in reversed(list(halves))]
        else:
            yield from _all_pages(ask, query, first, tell)


def _all_pages(ask: Ask, query: Query, first: Page, tell: Tell) -> Iterator[list[Conversation]]:
    """The pages of a query, and again where one does not begin with a conversation of the page before it."""
    for again in range(TIMES):
        page, offset, seen = ask(query, 0) if again else first, 0, set[str]()
        while True:
            conversations = [events_of(record) for record in page.records]
            yield conversations
            ids = [one.conversation_id or f"{offset + place}" for place, one in enumerate(conversations)]
            is_gapless = not seen or not ids or ids[0] in seen
            is_last = seen.issuperset(ids) or offset + len(ids) >= page.total + bool(offset)
            seen.update(ids)
            if is_last or not is_gapless:
                break
            offset += max(len(ids) - SHARED, 1)
            page = ask(query, offset)
        if is_gapless and len(seen) >= page.total:
            return
    tell(f"LivePerson gave {len(seen)} conversations of {page.total}, asked {TIMES} times")
