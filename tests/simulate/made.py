"""Events of simulated centres, for tests."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from handletime.events import model
from handletime.simulate.centre import Centre
from handletime.simulate.simulate import simulate

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
IDENTITY = ("accountId", "conversationId", "eventId")


def events_of(**settings: Any) -> pa.Table:
    """All events of a centre, of 300 conversations if nothing else is said."""
    chosen: dict[str, Any] = {"start": MONDAY, "seed": 7, "conversations": 300} | settings
    centre = Centre(**chosen)
    return pa.concat_tables(simulate(centre)).combine_chunks()


def plain(events: pa.Table) -> pa.Table:
    """Without dictionaries, in one order."""
    columns = [column.cast(pa.string()) if "dictionary" in str(column.type) else column for column in events.columns]
    order = [(name, "ascending") for name in (*IDENTITY, "time")]
    return pa.table(columns, names=events.column_names).sort_by(order).combine_chunks()


def by_agent(events: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """What each human agent does, in the order of rules.md 1; messages under the name of another are not there."""
    ranks = dict(zip(model.TYPES, model.RANKS, strict=True))
    deeds = defaultdict(list)
    columns = ["accountId", "agentId", "conversationId", "time", "sequence", "type"]
    for event in events.select(columns).filter(pc.greater(events["agentId"], 3000)).to_pylist():
        deeds[event["accountId"], event["agentId"]].append(event)
    for list_ in deeds.values():
        yield sorted(list_, key=lambda event: (event["time"], event["sequence"], ranks[event["type"]]))
