"""Random stories for the Chatwoot of `chatwoot_stub`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from tests.sources.chatwoot_stub import Chatwoot

START: Final = 1_795_165_200_000
APART_MS: Final = 3_000
"""The least time between two things: a state rendered at once is fresh, one rendered after the next thing is not."""


def story(
    chatwoot: Chatwoot, dice: random.Random, *, steps: int = 12, first: int = 42, bots: bool = True, millis: bool = True
) -> Iterator[int]:
    """Lets a conversation happen, and stops after each thing, with its time. Without `millis`, at whole seconds."""
    at = START + dice.randrange(1000) if millis else START

    def later() -> int:
        nonlocal at
        at += APART_MS + dice.randrange(60_000) if millis else APART_MS + 1000 * dice.randrange(60)
        return at

    chatwoot.create(first, at, inbox=dice.choice((3, 4)), status="pending" if bots and dice.random() < 0.5 else "open")
    yield at
    chatwoot.incoming(first, later())
    yield at
    for _ in range(steps):
        dice.choice(_possible(chatwoot, dice, first, later))()
        yield at


def _possible(
    chatwoot: Chatwoot, dice: random.Random, id_: int, later: Callable[[], int]
) -> list[Callable[[], object]]:
    """What may happen next to a conversation."""
    now = chatwoot.conversations[id_]
    agent = dice.choice(chatwoot.agents)
    always: list[Callable[[], object]] = [
        lambda: chatwoot.incoming(id_, later()),
        lambda: chatwoot.note(id_, later(), agent),
        lambda: chatwoot.automate(id_, later()),
        lambda: chatwoot.change(id_, later(), label="made-up"),
    ]
    if now.status == "pending":
        return [
            *always,
            lambda: chatwoot.bot(id_, later()),
            lambda: chatwoot.change(id_, later(), status="open"),
            lambda: chatwoot.change(id_, later(), status="open", assignee=agent),
        ]
    if now.status == "resolved":
        return [*always, lambda: chatwoot.greet(id_, later()), lambda: chatwoot.change(id_, later(), status="open")]
    if now.assignee is None:
        return [*always, *[lambda: chatwoot.change(id_, later(), assignee=agent)] * 4]
    return [
        *always,
        *[lambda: chatwoot.reply(id_, later(), now.assignee[1])] * 3,
        lambda: chatwoot.change(id_, later(), assignee=None),
        lambda: chatwoot.change(id_, later(), assignee=dice.choice([each for each in (7, 8, 9) if each != agent])),
        lambda: chatwoot.change(id_, later(), team=dice.choice([5, 6])),
        lambda: chatwoot.change(id_, later(), status="resolved"),
    ]
