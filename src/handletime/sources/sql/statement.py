"""The text of a mapping: exactly one select, and what may be said of an error without repeating the data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import duckdb

from handletime.errors import InputError

TEXT_MAX: Final = 1 << 20
"""The most characters of a mapping."""
TAKES_TIME: Final = "the mapping took too long and was stopped"
TAKES_MEMORY: Final = "the mapping needs more memory than it may have"
_TYPES: Final = (
    "BIGINT|BLOB|BOOLEAN|BOOL|DATE|DECIMAL|DOUBLE|FLOAT|HUGEINT|INTEGER|INTERVAL|INT8|INT16|INT32|INT64|INT128|JSON|"
    "SMALLINT|TIMESTAMP WITH TIME ZONE|TIMESTAMP|TIME|TINYINT|UUID|VARCHAR"
)
_INTO_TYPE: Final = re.compile(rf"\A[^\n]*\bto (?:type )?['\"]?({_TYPES})\b")
_NO_COLUMN: Final = re.compile(r'Referenced column "(.+)" not found|does not have a column named "(.+)"')
_LINE: Final = re.compile(r"^LINE (\d+): ", re.MULTILINE)
NO_ZONE: Final = (
    "this timestamp has no time zone; say of which one it is, as in created_at::timestamp at time zone 'Europe/Berlin'"
)
"""The way out for a timestamp without zone. Macros raise it, too."""


class Select(NamedTuple):
    """The text of a mapping from its first word on, and how many lines come before that: DuckDB counts from there."""

    text: str
    lines_before: int = 0


class Words(NamedTuple):
    """What a mapping names: texts, where keys of JSON stand too, and columns and fields of structs."""

    texts: frozenset[str]
    names: frozenset[str]


def words_of(text: str) -> Words:
    """What a select names; comments name nothing. Raises duckdb.Error."""
    with duckdb.connect(":memory:", config={"threads": 1}) as parser:
        nodes = list(_parsed(parser, text))
    texts, names = set[str](), set[str]()
    for node in nodes:
        if node.get("kind") == "STRING":
            texts.add(node["text"])
        names.update(node.get("column_names", ()))
        if node.get("class") == "TYPE":
            names.add(node["alias"])
    return Words(frozenset(texts), frozenset(names - {""}))


def checked(text: str, name: str) -> Select:
    """A mapping's select. Raises InputError where the text is not exactly one.

    `name` is what messages call the mapping.
    """
    if len(text) > TEXT_MAX:
        raise InputError(f"{name}: a mapping has at most {TEXT_MAX:,} characters")
    with duckdb.connect(":memory:", config={"threads": 1}) as parser:
        try:
            statements = parser.extract_statements(text)
            if len(statements) == 1 and statements[0].type is duckdb.StatementType.SELECT:
                kinds = [str(node.get("type", "")) for node in _parsed(parser, text)]
                changing = [kind for kind in kinds if kind.endswith("_QUERY_NODE")]
                if not changing:
                    select = statements[0].query
                    return Select(select, text[: text.find(select)].count("\n"))
                raise InputError(
                    f"{name}: a mapping only reads; it may not {changing[0].split('_')[0].lower()} anything"
                )
        except duckdb.Error as error:
            raise InputError(f"{name}: {of_text(error)}") from None
    found = ", ".join(statement.type.name for statement in statements) or "nothing"
    raise InputError(f"{name}: a mapping is exactly one select; this has {found}")


def _parsed(parser: duckdb.DuckDBPyConnection, text: str) -> Iterator[dict[str, Any]]:
    """All nodes of a select. Raises duckdb.Error."""
    (tree,) = parser.execute("select json_serialize_sql(?)", [text]).fetchone() or ("{}",)
    return _nodes(json.loads(tree))


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def told(error: Exception, select: Select) -> str:
    """What is wrong, without a word of the data: DuckDB's own messages quote values where they come from rows.

    The error is DuckDB's, or Arrow's about one of DuckDB's. The mapping's line is shown, where the error names one.
    """
    message = str(error)
    if isinstance(error, duckdb.InterruptException) or message.startswith("INTERRUPT Error"):
        return TAKES_TIME
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or message.startswith("Out of Memory Error"):
        return TAKES_MEMORY
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        return of_text(error, select.lines_before)
    into = _INTO_TYPE.match(message)
    if NO_ZONE in message:
        what = NO_ZONE
    elif into:
        what = f"a value could not become {into[1]}; try_cast(… as {into[1]}) gives null there"
    elif "Malformed JSON" in message:
        what = "a value is no JSON"
    elif isinstance(error, duckdb.PermissionException):
        what = "a mapping may not read files, load extensions or change settings"
    else:
        what = "a value could not be worked with"
    return what + _place(message, select)


def column_missing(error: Exception) -> str | None:
    """The column that a mapping names and that is not there, where this is what an error of DuckDB's says."""
    found = _NO_COLUMN.search(str(error)) if isinstance(error, duckdb.BinderException) else None
    return found[1] or found[2] if found else None


def of_text(error: Exception, lines_before: int = 0) -> str:
    """An error about the mapping's own text, whole: a word of SQL, a column or a function that is not there."""
    message = _LINE.sub(lambda line: f"LINE {int(line[1]) + lines_before}: ", str(error))
    return re.sub(r"\n\s*\n", "\n", message).strip()


def _place(message: str, select: Select) -> str:
    """The mapping's line that an error names."""
    numbers = _LINE.findall(message)
    lines = select.text.splitlines()
    number = int(numbers[-1]) if numbers else 0
    if not 0 < number <= len(lines):
        return ""
    return f"\nline {number + select.lines_before} of the mapping: {lines[number - 1].strip()}"
