"""The event of rules.md 1 as data: its types, fields, closed lists and limits, and the Arrow table that holds many."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

TYPES: Final = (
    "opened",
    "resumed",
    "transferred",
    "assigned",
    "focused",
    "unfocused",
    "message",
    "closed",
    "withdrawn",
)
SENT_BY: Final = ("consumer", "agent", "system")
REASONS: Final = ("agent", "skill", "backToQueue", "takeover")
CLOSED_BY: Final = ("consumer", "agent", "system")
USER_TYPES: Final = ("human", "bot")

OPENED, RESUMED, TRANSFERRED, ASSIGNED, FOCUSED, UNFOCUSED, MESSAGE, CLOSED, WITHDRAWN = range(len(TYPES))
FOCUS_TYPES: Final = (FOCUSED, UNFOCUSED)
"""The types of events that may move an agent's focus."""
RANKS: Final = (0, 0, 1, 2, 3, 3, 4, 6, 5)
"""The rank of each of `TYPES` among events of one time and sequence (rules.md 1, "Order")."""

ID_MAX: Final = 128
TEXT_MAX: Final = 128
ACCOUNT_MAX: Final = 64
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
REVISION_MAX: Final = 2**53 - 1
LEASE_MAX_MS: Final = 86_400_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TIME_MIN: Final = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
TIME_MAX: Final = (datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
MILLIS_MIN: Final = (datetime(2000, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
"""A smaller number is no time in epoch milliseconds: it is one in seconds, or a mistake. RFC 3339 has older ones."""
FUTURE_MAX: Final = timedelta(hours=24)
"""How far ahead of the server's clock an event may be that comes over a network."""
DEFAULT_ACCOUNT: Final = "local"
UNASSIGNED: Final = -1
"""LivePerson's "unassigned": the group where an event names none, the skill before the first."""

Kind = Literal["account", "id", "text", "time", "integer", "choice"]


class Field(msgspec.Struct, frozen=True):
    """One field of an event: what it may hold, and which types of event have it (None: all of them).

    `default` stands where an event of these types does not name it. Integers lie from `lowest` to `highest`.
    """

    name: str
    kind: Kind
    choices: tuple[str, ...] = ()
    required: tuple[str, ...] | None = ()
    optional: tuple[str, ...] | None = ()
    default: int | str | None = None
    lowest: int = INTEGER_MIN
    highest: int = INTEGER_MAX

    def belongs_to(self, type_: str) -> bool:
        """Whether events of this type have the field; elsewhere it is an unknown further field, and ignored."""
        return any(types is None or type_ in types for types in (self.required, self.optional))

    def is_required(self, type_: str) -> bool:
        """Whether an event of this type without the field is a fault."""
        return self.required is None or type_ in self.required


FIELDS: Final = (
    Field("accountId", "account", optional=None),
    Field("conversationId", "id", required=None),
    Field("eventId", "id", required=None),
    Field("time", "time", required=None),
    Field("sequence", "integer", optional=None, default=0),
    Field("revision", "integer", optional=None, default=0, lowest=0, highest=REVISION_MAX),
    Field("type", "choice", TYPES, required=None),
    Field("agentId", "integer", required=("assigned", "focused", "unfocused"), optional=("message",)),
    Field("employeeId", "text", optional=("assigned",)),
    Field("groupId", "integer", optional=("assigned",), default=UNASSIGNED),
    Field("userType", "choice", USER_TYPES, optional=("assigned",), default="human"),
    Field("skillId", "integer", optional=("opened", "assigned", "transferred", "resumed")),
    Field("source", "text", optional=("opened", "resumed")),
    Field("leaseMillis", "integer", optional=("focused",), lowest=1, highest=LEASE_MAX_MS),
    Field("sentBy", "choice", SENT_BY, required=("message",)),
    Field("reason", "choice", REASONS, required=("transferred",)),
    Field("closedBy", "choice", CLOSED_BY, required=("closed",)),
)
"""Every field of rules.md 1. An `agentId` on a message counts only where `sentBy` is agent."""

CODES: Final = pa.dictionary(pa.int8(), pa.string())
"""A closed list in a column: the place in the list, and the list."""
INSTANT: Final = pa.timestamp("ms", tz="UTC")


def _arrow_type(field: Field) -> pa.DataType:
    match field.kind:
        case "account":
            return pa.dictionary(pa.int32(), pa.string())
        case "time":
            return INSTANT
        case "integer":
            return pa.int64()
        case "choice":
            return CODES
        case _:
            return pa.string()


EVENTS: Final = pa.schema(
    [pa.field(f.name, _arrow_type(f), nullable=f.required is not None and f.name != "accountId") for f in FIELDS]
)
"""A table of events: one row an event, in any order, doubles included.

Fields of rules.md 1 under their names. Closed lists are dictionaries in the order of `TYPES`, `SENT_BY`, …;
`time` is UTC with milliseconds. What an event's type does not have is null. `accountId`, `sequence` and `revision` (0)
and, on `assigned`, `groupId` (-1) and `userType` (human) are filled in.
"""


def codes(indices: pa.Array, choices: tuple[str, ...]) -> pa.DictionaryArray:
    """A column of a closed list from places in it (int8, null where absent)."""
    return pa.DictionaryArray.from_arrays(indices, pa.array(choices, pa.string()))


def canonical_json(event: Mapping[str, object]) -> bytes:
    """The bytes that decide between copies of one event of one revision, time, sequence and rank (rules.md 1).

    Takes one row of `EVENTS`, as `to_pylist` gives it. Own fields that are there, defaults filled in, time in epoch
    milliseconds, keys sorted, no white space, UTF-8: RFC 8785, but for integers, which are written in full.
    """
    present = {key: value for key, value in event.items() if value is not None and key in EVENTS.names}
    time = present["time"]
    if isinstance(time, datetime):
        present["time"] = (time - EPOCH) // timedelta(milliseconds=1)
    return msgspec.json.encode(present, order="sorted")


def with_schema(events: pa.Table) -> pa.Table:
    """A table of events with exactly the columns, order and dictionaries of `EVENTS`.

    For tables that hold valid events under these names already (those of `decode` have the form anyway): closed lists
    as words or as places, times as instants or in epoch milliseconds. Raises KeyError where a column is missing.
    """
    columns = [_conformed(events.column(field.name), field) for field in FIELDS]
    return pa.table(columns, schema=EVENTS)


def _conformed(column: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
    wanted = EVENTS.field(field.name).type
    if field.kind != "choice":
        return column if column.type == wanted else column.cast(wanted)
    if _has_dictionary(column, field.choices):
        return column
    if not pa.types.is_integer(column.type):
        column = pc.index_in(column.cast(pa.string()), value_set=pa.array(field.choices))
    return pa.chunked_array([codes(chunk, field.choices) for chunk in column.cast(pa.int8()).chunks], wanted)


def _has_dictionary(column: pa.ChunkedArray, choices: tuple[str, ...]) -> bool:
    return column.type == CODES and all(c.dictionary.to_pylist() == list(choices) for c in column.chunks)
