"""The settings of a simulation, and what they may be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from handletime.errors import InputError
from handletime.events import model
from handletime.simulate.times import DAY, millis

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
        yield "days", millis(self.start) + self.days * DAY < model.TIME_MAX, "so few that the end has a date"
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
