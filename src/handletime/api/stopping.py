"""SIGTERM, SIGHUP, Ctrl-C: the first one stops the server. A second one, or `LIMIT_S`, ends the process at once."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn

LIMIT_S: Final = 33.0
"""Seconds after which the process ends, whatever is still open. Nothing that was acknowledged is lost by that."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TOLD_S: Final = 0.5
_log: Final = logging.getLogger(__name__)


class Signals:
    """Takes over the signals that stop this process; SIGHUP, which a closed terminal sends, unless it is ignored.

    Has to be made in the main thread, before anything takes long. A thread of its own counts the signals, so the
    second one works while all other threads are busy.
    """

    def __init__(self, limit_s: float = LIMIT_S, end: Callable[[int], object] = os._exit) -> None:
        """`end` is called with an exit code to end the process."""
        self._limit_s, self._end = limit_s, end
        self._first: Callable[[int], object] = leave
        self._wake: Callable[[], object] = lambda: None
        self._number = 0
        self._come, self._gone = socket.socketpair()
        self._gone.setblocking(False)
        signals = [each for each in _SIGNALS if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._take) for number in signals}
        signal.set_wakeup_fd(self._gone.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._count, name="signals", daemon=True).start()

    def close(self) -> None:
        """Gives the signals back to their former handlers."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._gone.close()

    def at_first(self, call: Callable[[int], object], wake: Callable[[], object] = lambda: None) -> None:
        """Calls this in the main thread at the first signal, with its number, instead of ending the start.

        It is called at once where a signal has come already, and its exception was swallowed by a library. `wake` is
        called in another thread and ends what the main thread waits for: the system may give the signal to any
        thread, and does not interrupt the main one then.
        """
        self._first, self._wake = call, wake
        if self._number:
            call(self._number)

    def _take(self, number: int, _: object) -> None:
        if not self._number:
            self._number = number
            self._first(number)

    def _count(self) -> None:
        first, until = 0, 0.0
        with self._come:
            while True:
                self._come.settimeout(max(0.001, until - time.monotonic()) if first else None)
                try:
                    number = self._come.recv(1)
                except TimeoutError:
                    return self._end_now(first, f"it did not end within {self._limit_s:g} s")
                if not number:
                    return None
                if number[0] in _SIGNALS:
                    if first:
                        return self._end_now(number[0], "it was told to for the second time")
                    first, until = number[0], time.monotonic() + self._limit_s
                    self._wake()

    def _end_now(self, number: int, why: str) -> None:
        # Not waited for: the reader of the log may have stopped too.
        telling = threading.Thread(target=_log.warning, args=("the server ends now: %s", why), daemon=True)
        telling.start()
        telling.join(_TOLD_S)
        self._end(128 + number)


def leave(number: int) -> NoReturn:
    """Ends a start that is not complete, and closes what is open."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
