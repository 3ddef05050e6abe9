"""What a page that is open already is sent: what changed since, or only what time it is.

Durations that go on are marked where they are written, and a script counts them on. So a part of the page has changed
only where something else in it has.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from markupsafe import Markup

from handletime.answers import words

_COUNTED: Final = re.compile(r'( data-(?:since="-?\d+"|now)>)[^<]*')
_KNOWN: Final = re.compile(r"([0-9a-f]{0,16})\.([0-9a-f]{0,16})")
_MOMENT: Final = re.compile(r"\d{13}")
_NO_SCRIPT: Final = re.compile(r"<noscript>.*?</noscript>", re.DOTALL)
"""What is there for browsers without scripts only; a part that is renewed leaves it out."""


class Ticking:
    """The words of a part of a page that is sent while time goes on, as of a moment in epoch milliseconds."""

    def __init__(self, at: int) -> None:
        self._at = at

    def duration(self, milliseconds: int) -> Markup:
        """A duration that began so long ago, and goes on."""
        since = self._at - milliseconds
        return Markup('<span data-since="{}">{}</span>').format(since, words.duration(milliseconds))

    def moment(self, millis: int, zone: ZoneInfo) -> Markup:
        """A moment; what time it is where it is this one."""
        told = words.moment(millis, zone)
        return Markup("<span data-now>{}</span>").format(told) if millis == self._at else Markup.escape(told)


class ShownStates(NamedTuple):
    """Which states of its parts a page shows."""

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
    """What a page says that it shows."""
    given = _KNOWN.fullmatch(text)
    return ShownStates(*given.groups()) if given else ShownStates()


def live_state(html: str) -> str:
    """Another one whenever a part has changed in more than what goes on."""
    return _hash(_COUNTED.sub(r"\1", html))


def history_state(html: str, cuts: list[int]) -> str:
    """Another one whenever figures have changed, or where they are cut; the edges of a span move all the time."""
    return _hash(_MOMENT.sub("", _NO_SCRIPT.sub("", html)) + str(cuts[1:-1]))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
