"""Rows of values as arrays, and what rules.md 1 allows as arrays: what compiled code works on."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from handletime.events import model
from handletime.events.model import FIELDS, Field

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BLANK, GOOD, DOUBTFUL = range(3)


class Rows(NamedTuple):
    """What rows say: arrays of fields (by their places in `FIELDS`) by rows."""

    state: npt.NDArray[np.int8]
    there: Bools
    values: Int64s
    """An integer, milliseconds, a place in a closed list, or where a string begins in the text it was read from."""
    ends: Int64s
    """Where a string ends."""


def rows_of(number: int) -> Rows:
    """This number of rows that say nothing yet."""
    shape = (len(FIELDS), number)
    return Rows(
        np.full(number, GOOD, np.int8),
        np.zeros(shape, np.bool_),
        np.zeros(shape, np.int64),
        np.empty(shape, np.int64),
    )


# --- what is allowed, by field ---------------------------------------------------------------------------------------

ACCOUNT, TEXT, TIME, INTEGER, CHOICE = range(5)
_KINDS: Final = {"account": ACCOUNT, "id": TEXT, "text": TEXT, "time": TIME, "integer": INTEGER, "choice": CHOICE}
_LONGEST: Final = {"account": model.ACCOUNT_MAX, "id": model.ID_MAX, "text": model.TEXT_MAX}


def _default(field: Field) -> int:
    """As rows hold it: of a closed list the place."""
    return field.choices.index(field.default) if isinstance(field.default, str) else field.default or 0


KINDS: Final = np.array([_KINDS[field.kind] for field in FIELDS])
SHORTEST: Final = np.array([int(field.kind in ("account", "id")) for field in FIELDS])
LONGEST: Final = np.array([_LONGEST.get(field.kind, 0) for field in FIELDS])
LOWEST: Final = np.array([field.lowest for field in FIELDS])
HIGHEST: Final = np.array([field.highest for field in FIELDS])
"""These two of integers."""
HAS_DEFAULT: Final = np.array([field.default is not None for field in FIELDS])
DEFAULT: Final = np.array([_default(field) for field in FIELDS])

APPLIES: Final = np.array([[field.belongs_to(type_) for field in FIELDS] for type_ in model.TYPES])
REQUIRED: Final = np.array([[field.is_required(type_) for field in FIELDS] for type_ in model.TYPES])
"""These two by type of event and field."""

_NAMES: Final = tuple(field.name for field in FIELDS)
TYPE, SENT_BY, AGENT_ID = (_NAMES.index(name) for name in ("type", "sentBy", "agentId"))
BY_AGENT: Final = model.SENT_BY.index("agent")

# --- words -----------------------------------------------------------------------------------------------------------

_LISTS: Final = [*(field.choices for field in FIELDS), _NAMES]
_WORDS: Final = [word.encode() for words in _LISTS for word in words]
NAMES: Final = len(FIELDS)
"""The list of the fields' names; the others are the fields' closed lists."""
FIRST_WORD: Final = np.cumsum([0, *map(len, _LISTS)])
"""List n has the words from `FIRST_WORD[n]` to `FIRST_WORD[n + 1]`."""
LENGTHS: Final = np.array([len(word) for word in _WORDS])
LETTERS: Final = np.array([list(word.ljust(max(LENGTHS))) for word in _WORDS], np.uint8)
