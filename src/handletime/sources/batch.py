"""The events of many bodies together, and which bodies gave none because something was wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from handletime.events.decode import decode_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from handletime.errors import Fault
    from handletime.sources.event import Event


class MappedBodies(NamedTuple):
    """`events` is a table of `model.EVENTS`, body by body; `sizes` are the numbers of events of each body.

    `problems` says by place of the body what is wrong with it: such a body has no events, also where only one of them
    was wrong. Where `is_apart` is false, nobody knows whose events are whose: all are given as those of the first body
    that has none of the problems.
    """

    events: pa.Table
    sizes: list[int]
    problems: dict[int, str]
    is_apart: bool = True

    def without(self, problems: dict[int, str]) -> MappedBodies:
        """The same without the events of further bodies, and why."""
        if not problems:
            return self
        bodies = np.repeat(np.arange(len(self.sizes)), self.sizes)
        events = self.events.filter(~np.isin(bodies, list(problems)))
        sizes = [0 if body in problems else size for body, size in enumerate(self.sizes)]
        return MappedBodies(events, sizes, {**self.problems, **problems}, self.is_apart)


def batch_of(bodies: Sequence[tuple[Sequence[Event], str | None]], *, account: str) -> MappedBodies:
    """A batch of bodies that were mapped one by one: the events of each, and its problem."""
    problems = {place: problem for place, (_, problem) in enumerate(bodies) if problem is not None}
    lines = [(place, event) for place, (events, problem) in enumerate(bodies) if problem is None for event in events]
    text = b"\n".join(msgspec.json.encode(event) for _, event in lines)
    decoded = decode_lines(text, account=account)
    sizes = np.bincount([place for place, _ in lines] or [0], minlength=len(bodies)) if lines else [0] * len(bodies)
    if not decoded.refused:
        return MappedBodies(decoded.events, list(map(int, sizes)), problems)
    wrong = {refused.line - 1: said(refused.faults) for refused in decoded.refused}
    taken = np.bincount([place for line, (place, _) in enumerate(lines) if line not in wrong], minlength=len(bodies))
    batch = MappedBodies(decoded.events, list(map(int, taken)), problems)
    return batch.without({lines[line][0]: said for line, said in wrong.items()})


def in_order(
    events: pa.Table, owners: npt.NDArray[np.int64], bodies: int, problems: dict[int, str], *, is_apart: bool
) -> MappedBodies:
    """Events in any order, with the place of the body of each, as a batch of so many bodies."""
    order = np.argsort(owners, kind="stable")
    sizes = np.bincount(owners, minlength=bodies) if bodies else np.zeros(0, np.int64)
    return MappedBodies(events.take(order), sizes.tolist(), dict(sorted(problems.items())), is_apart)


def said(faults: Sequence[Fault]) -> str:
    """What is wrong with a body's events, in a line."""
    return "; ".join(f"{fault.field}: {fault.message}" for fault in faults)
