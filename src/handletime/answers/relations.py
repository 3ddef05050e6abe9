"""One account's rows as of one moment, within the scope of whoever asks, and no way to any others.

SQL that comes here may name the derived tables and what it defines itself, nothing else. It is parsed, not searched for
words. The relations are then put in front of it, each held to the account and the scope; so nothing is made in the
database, and no query has to think of either.
What they are made of is another matter: tables of the store here, files of a lake in `lake.reader`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from threading import Timer
from typing import Any, Final, NamedTuple, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.deadline import Deadline
from handletime.errors import HandletimeError, NotNow
from handletime.scope import WHOLE, Scope

OPEN: Final = "open_conversations"
"""Of each conversation that is open the skill that it is in; only a store has it."""
RELATIONS: Final = (
    *("agent_segments", "skill_segments", "queue_segments", "handle_time_units"),
    *("running_queue_segments", OPEN),
)
"""The derived tables with the columns of `segments.tables`; of units also the user type and end of their segments.

`totalHandleTimeMillis` without `focusData` is unknown, and 0 in a store: whoever asks for it asks for both.
"""


OF_AGENTS: Final = frozenset({"agent_segments", "handle_time_units"})
"""Relations whose rows are an agent's, and so of a group."""


class Definition(NamedTuple):
    """The SQL of a relation, and computed columns: only queries that name them, or take all columns, get them.

    Queries that name one of the columns that are `refused` get the error; those that take all columns get null there,
    or none.
    """

    sql: str
    computed: Mapping[str, str] = {}
    refused: Mapping[str, HandletimeError] = {}


_TYPES: Final = {
    *("SELECT_NODE", "SET_OPERATION_NODE", "ORDER_MODIFIER", "LIMIT_MODIFIER", "DISTINCT_MODIFIER"),
    *("BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "TABLE_FUNCTION", "EXPRESSION_LIST"),
    *("ASCENDING", "DESCENDING", "ORDER_DEFAULT"),
}
"""What a parsed query may be made of, beside expressions."""
_TABLE_FUNCTIONS: Final = {"unnest", "range", "generate_series"}
TEXTS_KEPT: Final = 1024
_WITH: Final = re.compile(r"\s*with\b", re.IGNORECASE)


class NotAllowed(Exception):
    """A query names something that is not allowed. It never reaches the store; its text has to be changed."""


class Rows:
    """The rows that a query found, until the next query of the same snapshot."""

    __slots__ = ("_cursor", "_deadline")

    def __init__(self, cursor: duckdb.DuckDBPyConnection, deadline: Deadline) -> None:
        self._cursor, self._deadline = cursor, deadline

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return self._cursor.fetchall()

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """The next rows, none at the end. Raises NotNow where the time for the request is over."""
        self._deadline.check()
        return self._cursor.fetchmany(size)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; None at the end."""
        return self._cursor.fetchone()

    def fetchnumpy(self) -> dict[str, npt.NDArray[Any]]:
        """All rows as an array for each column."""
        return {name: np.asarray(values) for name, values in self._cursor.fetchnumpy().items()}


@contextmanager
def limited(cursor: duckdb.DuckDBPyConnection, limit_s: float | None) -> Iterator[None]:
    """Stops queries that together run longer than this, if there is a limit. Raises NotNow then."""
    timer = Timer(limit_s, cursor.interrupt) if limit_s else None
    try:
        if timer:
            timer.start()
        yield
    except duckdb.InterruptException as error:
        raise NotNow("the query took too long; ask for less at once") from error
    finally:
        if timer:
            timer.cancel()


class Composing(Protocol):
    """Puts the relations in front of queries: of a store, a lake or files."""

    @property
    def keeps_sums(self) -> bool:
        """Whether segments have their sums (`answers.terms.KEPT`) as columns."""

    @property
    def scope(self) -> Scope:
        """What of the rows they have."""

    def composed(self, sql: str, parameters: Mapping[str, object] | None) -> str:
        """A query with the relations that it names in front of it, for these parameters. Raises NotAllowed."""


class Snapshot:
    """One state of one account's rows, for one thread, until it is left."""

    __slots__ = ("_cursor", "_deadline", "_relations")

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, relations: Composing, deadline: Deadline | None = None
    ) -> None:
        """`cursor` sees one state of the relations' sources for as long as the snapshot is used.

        No query is begun after the deadline: only a running query could be stopped.
        """
        self._cursor, self._relations, self._deadline = cursor, relations, deadline or Deadline()

    @property
    def keeps_sums(self) -> bool:
        """Whether segments have their sums (`answers.terms.KEPT`) as columns."""
        return self._relations.keeps_sums

    @property
    def scope(self) -> Scope:
        """What of the account's rows it has."""
        return self._relations.scope

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> Rows:
        """The rows of one `select`. What varies belongs into the parameters, because each new text is parsed.

        It may name the relations of `RELATIONS`, its own `with` and the table functions
        unnest, range and generate_series. Raises NotAllowed for whatever else it names or is, duckdb.Error, and
        NotNow where the time for the request is over.
        """
        self._deadline.check()
        composed = self._relations.composed(sql, parameters)
        self._cursor.execute(composed, dict(parameters) if parameters else None)
        return Rows(self._cursor, self._deadline)

    def table(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The rows of one `select` as an Arrow table."""
        self._deadline.check()
        composed = self._relations.composed(sql, parameters)
        return self._cursor.sql(composed, params=dict(parameters) if parameters else None).to_arrow_table()


def with_relations(sql: str, define: Callable[[str], Definition], scope: Scope) -> str:
    """A query with the relations that it names in front of it, as `define` has them, and of these only the rows within
    a scope. Raises NotAllowed.

    Agent segments lie within it by their group and skill, units by those of their segment. All others have a skill
    only: with a scope of groups there are none. `define` gives units `skillId` and `groupId`, where there is a scope.
    """
    used = _checked(sql)
    relations = [
        f"{relation} as not materialized ({_relation(_within(scope, relation, define(relation)), used)})"
        for relation in used.of
    ]
    if not relations:
        return sql
    own = _WITH.match(sql)
    front = f"with {', '.join(relations)}"
    return f"{front}, {sql[own.end() :]}" if own else f"{front} {sql}"


def _within(scope: Scope, relation: str, definition: Definition) -> Definition:
    """The rows of a relation that lie within a scope."""
    if scope is WHOLE or scope.is_whole:
        return definition
    conditions = [] if relation in OF_AGENTS or scope.has_queues else ["false"]
    for column, ids in (("skillId", scope.skills), ("groupId", scope.groups)):
        if ids is not None and (column == "skillId" or relation in OF_AGENTS):
            conditions.append(f"{column} in ({', '.join(map(str, ids))})" if ids else "false")
    return definition._replace(sql=f"select * from ({definition.sql}) where {' and '.join(conditions)}")  # noqa: S608


def _relation(definition: Definition, used: _Used) -> str:
    for column, error in definition.refused.items():
        if column.lower() in used.columns:
            raise error
    wanted = [column for column in definition.computed if used.all_columns or column.lower() in used.columns]
    columns = [f"{definition.computed[column]} as {column}" for column in wanted]
    return f"select {', '.join([*columns, '*'])} from ({definition.sql})" if columns else definition.sql  # noqa: S608


# --- what a query names ----------------------------------------------------------------------------------------------


class _Used(NamedTuple):
    """The relations and columns (in lower case) that a query names, and whether it takes all columns somewhere."""

    of: list[str]
    columns: set[str]
    all_columns: bool


@lru_cache(maxsize=TEXTS_KEPT)
def _checked(sql: str) -> _Used:
    """What a query names. Raises NotAllowed."""
    (answer,) = _parser().cursor().execute("select json_serialize_sql(?)", [sql]).fetchone() or ("{}",)
    parsed = json.loads(answer)
    if parsed.get("error", True):
        raise NotAllowed(f"no query that a snapshot understands: {parsed.get('error_message')}")
    if len(parsed["statements"]) != 1:
        raise NotAllowed("one query at a time")
    found = _Found()
    found.walk(parsed["statements"], frozenset())
    return _Used(sorted(found.relations), found.columns, found.all_columns)


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """An empty database that only parses."""
    return duckdb.connect(config={"threads": 1, "enable_external_access": False})


class _Found:
    """Collects the names in a parsed query. Refuses whatever is not known to be harmless."""

    def __init__(self) -> None:
        self.relations: set[str] = set()
        self.columns: set[str] = set()
        self.all_columns = False

    def walk(self, node: object, own: frozenset[str]) -> None:
        """Goes through a part of a query, which defines the names in `own` itself."""
        if isinstance(node, list):
            for part in node:
                self.walk(part, own)
        elif isinstance(node, dict):
            own = self._with(node.get("cte_map"), own)
            self._look_at(node, own)
            for name, part in node.items():
                if name != "cte_map":
                    self.walk(part, own)

    def _with(self, ctes: object, own: frozenset[str]) -> frozenset[str]:
        """The names that a query defines itself, after its `with`: each query there sees those before it."""
        if isinstance(ctes, dict):
            for entry in ctes["map"]:
                if entry["key"].lower() in RELATIONS:
                    raise NotAllowed(f"{entry['key']} is a relation's name")
                self.walk(entry["value"], own)
                own |= {entry["key"].lower()}
        return own

    def _look_at(self, node: dict[str, Any], own: frozenset[str]) -> None:
        kind = node.get("type")
        if node.get("class") == "STAR":
            self.all_columns = True
        elif node.get("class") == "COLUMN_REF":
            self.columns.update(name.lower() for name in node["column_names"])
        elif isinstance(kind, str) and "class" not in node and kind not in _TYPES:
            raise NotAllowed(f"a snapshot cannot do this: {kind}")
        if kind == "JOIN":
            self.columns.update(name.lower() for name in node["using_columns"])
        elif kind == "BASE_TABLE":
            self._table(node, own)
        elif kind == "TABLE_FUNCTION" and node["function"].get("function_name") not in _TABLE_FUNCTIONS:
            raise NotAllowed(f"a snapshot cannot do this: {node['function'].get('function_name')}")

    def _table(self, node: dict[str, Any], own: frozenset[str]) -> None:
        path = [*node["qualified_name"]["path"]]
        name = node["table_name"].lower()
        if node["schema_name"] or node["catalog_name"] or len(path) != 1 or node["at_clause"]:
            raise NotAllowed(f"a snapshot has no {'.'.join(map(str, path))}")
        if name in RELATIONS:
            self.relations.add(name)
        elif name not in own:
            raise NotAllowed(f"a snapshot has no {name}, only {', '.join(RELATIONS)}")
