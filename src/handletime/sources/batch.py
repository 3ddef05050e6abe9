"""The events of many bodies together, and which bodies gave none because something was wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from handletime.events.decode import decode_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from handletime.errors import Fault
    from handletime.sources.event import Event


class Batch(NamedTuple):
    """`events` is a table of `model.EVENTS`, body by body; `sizes` are the numbers of events of each body.

    `problems` says by place of the body what is wrong with it: such a body has no events, also where only one of them
    was wrong.
    """

    events: pa.Table
    sizes: list[int]
    problems: dict[int, str]

    def without(self, problems: dict[int, str]) -> Batch:
        """The same without the events of further bodies, and why."""
        if not problems:
            return self
        bodies = np.repeat(np.arange(len(self.sizes)), self.sizes)
        events = self.events.filter(~np.isin(bodies, list(problems)))
        sizes = [0 if body in problems else size for body, size in enumerate(self.sizes)]
        return Batch(events, sizes, {**self.problems, **problems})


def batch_of(bodies: Sequence[tuple[Sequence[Event], str | None]], *, account: str) -> Batch:
    """A batch of bodies that were mapped one by one: the events of each, and its problem."""
    problems = {place: problem for place, (_, problem) in enumerate(bodies) if problem is not None}
    lines = [(place, event) for place, (events, problem) in enumerate(bodies) if problem is None for event in events]
    text = b"\n".join(msgspec.json.encode(event) for _, event in lines)
    decoded = decode_lines(text, account=account)
    sizes = np.bincount([place for place, _ in lines] or [0], minlength=len(bodies)) if lines else [0] * len(bodies)
    if not decoded.refused:
        return Batch(decoded.events, list(map(int, sizes)), problems)
    wrong = {refused.line - 1: said(refused.faults) for refused in decoded.refused}
    taken = np.bincount([place for line, (place, _) in enumerate(lines) if line not in wrong], minlength=len(bodies))
    batch = Batch(decoded.events, list(map(int, taken)), problems)
    return batch.without({lines[line][0]: said for line, said in wrong.items()})


def said(faults: Sequence[Fault]) -> str:
    """What is wrong with a body's events, in a line."""
    return "; ".join(f"{fault.field}: {fault.message}" for fault in faults)
