"""What an open page is sent: the parts that have changed, or only the time.

Running durations are marked in the page, and a script counts them on. So a part of the page has changed only where
something else in it has.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

import msgspec
from markupsafe import Markup

from handletime.answers import words
from handletime.answers.clocks import Clocks

_COUNTED: Final = re.compile(r'( data-(?:(?:since|until)="-?\d+"|now)>)[^<]*')
_KNOWN: Final = re.compile(r"([0-9a-f]{0,16})\.([0-9a-f]{0,16})")
_MOMENT: Final = re.compile(r"\d{13}")
_NO_SCRIPT: Final = re.compile(r"<noscript>.*?</noscript>", re.DOTALL)
"""Markup for browsers without scripts, which renewed parts leave out."""


class Ticking:
    """The words of a part of a page that is sent while time goes on, as of a moment in epoch milliseconds."""

    def __init__(self, at: int) -> None:
        self._at = at

    def duration(self, milliseconds: int) -> Markup:
        """A running duration that is this long now."""
        since = self._at - milliseconds
        return Markup('<span data-since="{}">{}</span>').format(since, words.duration(milliseconds))

    def until(self, millis: int) -> Markup:
        """How long it is until a moment (epoch milliseconds); 0 where that is past."""
        left = words.duration(max(millis - self._at, 0))
        return Markup('<span data-until="{}">{}</span>').format(millis, left)

    def moment(self, millis: int, clocks: Clocks) -> Markup:
        """A moment; the current time where it is the present one."""
        text = clocks.moment(millis)
        return Markup("<span data-now>{}</span>").format(text) if millis == self._at else Markup.escape(text)


class ShownStates(NamedTuple):
    """The states of its parts that a page shows."""

    live: str = ""
    history: str = ""

    def __str__(self) -> str:
        return f"{self.live}.{self.history}"


class Fresh(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a page shows from now on: HTML of the parts that changed, and the states that it then has.

    `at` is the moment in epoch milliseconds, `now` the same as people read it.
    """

    at: int
    now: str
    live: str = ""
    live_state: str = ""
    history: str = ""
    history_state: str = ""


def shown_states(text: str) -> ShownStates:
    """The states that a page says it shows."""
    given = _KNOWN.fullmatch(text)
    return ShownStates(*given.groups()) if given else ShownStates()


def live_state(html: str) -> str:
    """A state that differs whenever a part has changed in more than its running durations."""
    return _hash(_COUNTED.sub(r"\1", html))


def history_state(html: str, cuts: list[int]) -> str:
    """A state that differs whenever figures or intervals have changed. The edges of a span move all the time."""
    return _hash(_MOMENT.sub("", _NO_SCRIPT.sub("", html)) + str(cuts[1:-1]))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
