"""The settings of a simulation, and what they may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from handletime.clock import DAY
from handletime.errors import InputError
from handletime.events import model

AGENTS_MAX: Final = 300_000
_LIMITS: Final = {
    "seed": (0, 2**64 - 1),
    "conversations": (1, 10**9),
    "events": (1, 10**10),
    "skills": (1, 1000),
    "agents": (1, AGENTS_MAX),
    "bots": (0, 1000),
    "without_focus": (0, 1),
    "messiness": (0, 1),
}


@dataclass(frozen=True, kw_only=True)
class Centre:
    """A contact centre to simulate, and for how long.

    `conversations` is the number over all accounts, of which the first has most. `events` can be given instead, from
    some 5,000 on the simulation is within 2 or 3 % of it. With neither, there are 2,000 conversations a day.
    `skills` and `bots` are per account: the first `bots` skills are answered by a bot first. `agents` counts the human
    agents of all accounts; None means as many as the conversations need. `without_focus` is the share of agents whose
    screens send no focus events. `messiness` is the share of events that arrive late or twice, half of it each.
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
        account = re.compile(rf"[a-zA-Z0-9]{{1,{model.ACCOUNT_MAX}}}")
        _check("start", self.start.tzinfo is not None, "a time with an offset")
        _check("days", 0 < self.days <= 3660, "more than 0 and at most 3660")
        _check("days", self.end < model.TIME_MAX, "so few that the end has a date")
        _check("events", None in (self.conversations, self.events), "absent where conversations is given")
        _check("accounts", len(self.accounts) > 0, "at least one")
        _check("accounts", all(map(account.fullmatch, self.accounts)), "of letters and digits (a-z, A-Z, 0-9)")
        _check("accounts", len(set(self.accounts)) == len(self.accounts), "different ones")
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            _check(name, value is None or least <= value <= most, f"{least} to {most}")

    @property
    def begin(self) -> int:
        """When it starts, in milliseconds since 1970 (UTC)."""
        return (self.start - model.EPOCH) // timedelta(milliseconds=1)

    @property
    def end(self) -> int:
        """When it ends, in milliseconds since 1970 (UTC): all events are before."""
        return self.begin + max(1, round(self.days * DAY))


def _check(name: str, is_fine: bool, allowed: str) -> None:
    if not is_fine:
        raise InputError(f"{name}: must be {allowed}")
