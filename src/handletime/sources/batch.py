"""The events of many bodies together, and which bodies gave none because something was wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.events.decode import decode_lines

if TYPE_CHECKING:
    from handletime.errors import Fault
    from handletime.sources.event import Event


class Outcome(NamedTuple):
    """What became of a body: its events, sorted, or its problem, or neither."""

    events: list[str]
    problem: str | None
    is_untried: bool


class MappedBodies(NamedTuple):
    """`events` is a table of `model.EVENTS`, body by body; `sizes` are the numbers of events of each body.

    `problems` says by place of the body what is wrong with it: such a body has no events, also where only one of them
    was wrong. Where `is_apart` is false, nobody knows whose events are whose: all are given as those of the first body
    that has none of the problems. Those `untried` have neither events nor problems: there was no time for them.
    """

    events: pa.Table
    sizes: list[int]
    problems: dict[int, str]
    is_apart: bool = True
    untried: frozenset[int] = frozenset()

    def owners(self) -> npt.NDArray[np.int64]:
        """The place of the body of each event."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def without(self, problems: dict[int, str]) -> MappedBodies:
        """The same without the events of further bodies, and why."""
        if not problems:
            return self
        events = self.events.filter(~np.isin(self.owners(), list(problems)))
        sizes = [0 if body in problems else size for body, size in enumerate(self.sizes)]
        return self._replace(events=events, sizes=sizes, problems={**self.problems, **problems})

    def told(self) -> list[Outcome]:
        """What became of each body, to be compared."""
        rows, ends = list(map(str, self.events.to_pylist())), np.cumsum(self.sizes).tolist()
        return [
            Outcome(sorted(rows[end - size : end]), self.problems.get(place), place in self.untried)
            for place, (size, end) in enumerate(zip(self.sizes, ends, strict=True))
        ]


def batch_of(bodies: Sequence[tuple[Sequence[Event], str | None]], *, account: str) -> MappedBodies:
    """A batch of bodies that were mapped one by one: the events of each, and its problem."""
    problems = {place: problem for place, (_, problem) in enumerate(bodies) if problem is not None}
    lines = [(place, event) for place, (events, problem) in enumerate(bodies) if problem is None for event in events]
    text = b"\n".join(msgspec.json.encode(event) for _, event in lines)
    decoded = decode_lines(text, account=account)
    wrong = {refused.line - 1: said(refused.faults) for refused in decoded.refused}
    taken = np.array([place for line, (place, _) in enumerate(lines) if line not in wrong], np.int64)
    batch = MappedBodies(decoded.events, np.bincount(taken, minlength=len(bodies)).tolist(), problems)
    return batch.without({lines[line][0]: why for line, why in wrong.items()})


def together(bodies: int, parts: Sequence[tuple[Sequence[int], MappedBodies]]) -> MappedBodies:
    """Batches as one of so many bodies. Each comes with the places that its bodies have in the whole."""
    return in_order(
        pa.concat_tables(batch.events for _, batch in parts).unify_dictionaries().combine_chunks(),
        np.concatenate([np.array(places, np.int64)[batch.owners()] for places, batch in parts]),
        bodies,
        {places[place]: why for places, batch in parts for place, why in batch.problems.items()},
        is_apart=all(batch.is_apart for _, batch in parts),
        untried=[places[place] for places, batch in parts for place in batch.untried],
    )


def in_order(
    events: pa.Table,
    owners: npt.NDArray[np.int64],
    bodies: int,
    problems: dict[int, str],
    *,
    is_apart: bool,
    untried: Iterable[int] = (),
) -> MappedBodies:
    """Events in any order, with the place of the body of each, as a batch of so many bodies."""
    order = np.argsort(owners, kind="stable")
    sizes = np.bincount(owners, minlength=bodies)
    return MappedBodies(
        events.take(order), sizes.tolist(), dict(sorted(problems.items())), is_apart, frozenset(untried)
    )


def said(faults: Sequence[Fault]) -> str:
    """What is wrong with a body's events, in a line."""
    return "; ".join(f"{fault.field}: {fault.message}" for fault in faults)
