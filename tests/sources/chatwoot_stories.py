"""Random stories for the Chatwoot of `chatwoot_stub`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from tests.sources.chatwoot_stub import Chatwoot, Deliverer, Job, iso

START: Final = 1_795_165_200_000
APART_MS: Final = 3_000
"""The least time between two things: a state rendered at once is fresh, one rendered after the next thing is not."""


def story(
    chatwoot: Chatwoot, dice: random.Random, *, steps: int = 12, first: int = 42, bots: bool = True, millis: bool = True
) -> Iterator[int]:
    """Lets the conversation with the id `first` happen, and stops after each thing, with its time.

    Larger ids begin later. Without `millis`, all is at whole seconds.
    """
    at = START + 60_000 * first + (dice.randrange(1000) if millis else 0)

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


def lived(
    seed: int, after_each: Callable[[Chatwoot], object] = lambda _: None, chatwoot: Chatwoot | None = None, **more: Any
) -> tuple[Chatwoot, list[bytes], list[Job]]:
    """A story whose deliveries were all made at once: the model, the bodies and the jobs, in order."""
    chatwoot, bodies, jobs = chatwoot or Chatwoot(), list[bytes](), list[Job]()
    deliverer = Deliverer(chatwoot, bodies.append)
    for _ in story(chatwoot, random.Random(seed), **more):
        jobs += chatwoot.jobs
        deliverer.run()
        after_each(chatwoot)
    return chatwoot, bodies, jobs


def in_rest(chatwoot: Chatwoot, jobs: Sequence[Job]) -> list[bool]:
    """Of which deliveries of a conversation REST has the facts.

    It has the opening, the messages, and the last change where nothing came after. Of messages that open a
    conversation again it has the message, but not that; of a change to nobody it has nothing.
    """
    known = [job.event in ("conversation_created", "message_created") for job in jobs]
    for index, job in enumerate(jobs):
        if any(change.get("status", {}).get("previous_value") == "resolved" for change in job.changes or []):
            known[index - 2] = False  # Between them is `conversation_status_changed`.
    now = chatwoot.conversations[jobs[0].conversation]
    changed = (jobs[-1].changes or [{}])[-1].get("updated_at", {}).get("current_value")
    known[-1] |= changed == iso(now.updated) and (now.status == "resolved" or now.assignee is not None)
    return known
