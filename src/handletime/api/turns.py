"""Threads that serve accounts in turn, so that no account waits behind everything another one has sent."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Condition
from typing import Any, NamedTuple, ParamSpec, TypeVar

from handletime.api.limits import ACCOUNT, LEFT
from handletime.errors import InputError, NotNow
from handletime.store.budget import may_hold

P = ParamSpec("P")
R = TypeVar("R")


class _Work(NamedTuple):
    answer: Future[Any]
    work: Callable[[], Any]
    left: Callable[[], bool]
    since: float


class FairThreads(ThreadPoolExecutor):
    """A number of threads. One account has three quarters of them at most, and not more than `most`.

    Work that waits is begun account by account. Work that has waited longer than `limit_s` is not begun (NotNow),
    nor is work that nobody waits for any more.
    """

    def __init__(self, threads: int, name: str, most: int | None = None, limit_s: float = math.inf) -> None:
        super().__init__(threads, name)
        self._limit_s = limit_s
        self._free, self._most = threads, most or threads
        self._busy: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Work]] = {}
        self._ended = False
        self._changed = Condition()

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queues work for the account whose request is being answered."""
        return self.submit_for(ACCOUNT.get(), partial(fn, *args, **kwargs), LEFT.get())

    def submit_for(self, account: str, work: Callable[[], R], left: Callable[[], bool] = lambda: False) -> Future[R]:
        """Queues work for an account. It is cancelled if the client has left (`left`) when its turn comes."""
        answer: Future[R] = Future()
        with self._changed:
            if self._ended:
                raise RuntimeError("the threads have ended")
            self._waiting.setdefault(account, deque()).append(_Work(answer, work, left, time.monotonic()))
            self._begin()
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accepts no more work. What waits is done first, or cancelled."""
        with self._changed:
            self._ended = True
            if cancel_futures or not wait:
                for work in (each for waiting in self._waiting.values() for each in waiting):
                    work.answer.cancel()
            while wait and self._waiting:
                self._changed.wait()
        super().shutdown(wait)

    def _begin(self) -> None:
        """Begins what can be begun. The lock has to be held."""
        while (account := self._next()) is not None:
            waiting = self._waiting.pop(account)
            work = waiting.popleft()
            if waiting:
                self._waiting[account] = waiting  # Behind all other accounts.
            if work.left():
                work.answer.cancel()
            if work.answer.set_running_or_notify_cancel():
                self._free -= 1
                self._busy[account] += 1
                super().submit(self._do, account, [work])
        self._changed.notify_all()

    def _next(self) -> str | None:
        return next(filter(self._may_begin, self._waiting), None)

    def _may_begin(self, account: str) -> bool:
        busy = self._busy[account] + 1
        return busy <= self._most and may_hold(busy, self._free - 1)

    def _do(self, account: str, only: list[_Work]) -> None:
        work = only.pop()
        result: Any = None
        failed: BaseException | None = None
        try:
            if time.monotonic() - work.since > self._limit_s:
                raise NotNow("too many requests of this account were before this one; ask for less at once")
            result = work.work()
        except BaseException as error:
            failed = _bare(error)
        with self._changed:
            self._free += 1
            self._busy[account] -= 1
            if not self._busy[account]:
                del self._busy[account]
            self._begin()
        try:
            if failed is None:
                work.answer.set_result(result)
            else:
                work.answer.set_exception(failed)
        finally:
            # An exception has this frame, and those it was called from. What these had of it in turn would stay, and
            # all that a request had made, until garbage is looked for.
            del failed, result, work


def _bare(error: BaseException) -> BaseException:
    """An exception without its traceback, where nobody needs it: all values of its frames would stay in memory."""
    if isinstance(error, InputError | NotNow):
        error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
