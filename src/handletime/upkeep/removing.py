"""Removes conversations: those older than a moment, or one by its id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from handletime.segments.columns import I64
from handletime.store.removing import AT_ONCE, names_of, older_than
from handletime.store.store import Store
from handletime.store.watch import PAUSE_S, Watch
from handletime.store.writer import Changed, Writer

Removing = Callable[[Mapping[str, list[str]]], AbstractContextManager[None]]
"""A context manager that surrounds the removal of conversations, which are given by account."""


def newest_event(store: Store, watch: Watch | None = None) -> int | None:
    """The time of the newest event (epoch milliseconds); None where there is none. Raises NotNow."""
    with store.snapshot(watch) as cursor:
        ((newest,),) = cursor.execute("select max(time) from kept.events").fetchall()
    return None if newest is None else int(newest)


def count_older(store: Store, before: int, watch: Watch | None = None) -> int:
    """The number of conversations whose last event is older than a moment (epoch milliseconds). Raises NotNow."""
    with store.snapshot(watch) as cursor:
        return len(older_than(cursor, before))


def prune(
    store: Store,
    before: int,
    *,
    at_once: int = AT_ONCE,
    pause_s: float = PAUSE_S,
    removing: Removing = lambda _names: nullcontext(),
    watch: Watch | None = None,
) -> int:
    """Removes all conversations whose last event is older than a moment (epoch milliseconds); gives their number.

    It works bit by bit: the next run removes what an interrupted one has left. Between bits ingest goes on, for
    `pause_s` at least. Each bit is removed within `removing`, which is given the accounts and conversations.
    Raises NotNow, Stopped where `watch` says so.
    """
    watch = watch or Watch()
    with store.snapshot(watch) as cursor:
        numbers = older_than(cursor, before)
    removed = 0
    for first in range(0, len(numbers), at_once):
        watch.progress("removing", first, len(numbers))
        some = numbers[first : first + at_once]
        with store.snapshot(watch) as cursor:
            names = names_of(cursor, some)
        with removing(names):
            removed += store.transact(partial(_remove_old, before, some)).conversations
            watch.pause(pause_s)
    return removed


def forget(store: Store, account: str, conversation: str, *, removing: Removing = lambda _names: nullcontext()) -> bool:
    """Removes one conversation, within `removing`; says whether it was there.

    The write-ahead log has nothing of it afterwards. For that it waits for queries that began before, which still
    see it. Raises NotNow where such a query takes too long: the conversation is removed then, and the log loses it
    when the query ends.
    """
    with removing({account: [conversation]}):
        found = store.transact(lambda writer: writer.forget(account, conversation)).conversations > 0
    store.checkpoint()
    return found


def _remove_old(before: int, numbers: I64, writer: Writer) -> Changed:
    """Removes those of these conversations that still have no newer events."""
    return writer.remove(writer.last_events_before(before, numbers))
