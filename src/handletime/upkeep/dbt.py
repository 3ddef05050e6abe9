"""`schema.yml`: what dbt has to know of an exported folder. Columns are described as in docs/tables.md."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from handletime.segments.described import COLUMNS, TABLES, Meaning

FILE: Final = "schema.yml"
PLACE: Final = "HANDLETIME_EXPORT"
"""The variable that says where the folder is, for a dbt that sees it under another path."""
_UNIQUE: Final = {("agent_segments", "segmentId")}
"""Columns in which no value comes twice."""
_RESERVED: Final = {"end"}
"""Columns whose names SQL takes for something else."""
_PLAIN: Final = re.compile(r"[\w/. +,=@-]+")
"""A path that needs no quoting in YAML, in dbt's templates and in SQL."""


def sources_of(folder: Path, tables: Collection[str], schemas: Mapping[str, pa.Schema]) -> bytes:
    """The file for those tables of an exported folder that have rows: DuckDB finds no files of others, and would fail.

    Values are JSON, which YAML has as well.
    """
    return ("\n".join(_lines(folder, tables, schemas)) + "\n").encode()


def _lines(folder: Path, tables: Collection[str], schemas: Mapping[str, pa.Schema]) -> Iterator[str]:
    # dbt fills in the variable, then dbt-duckdb the name of the table.
    default = f", '{folder}'" if _PLAIN.fullmatch(str(folder)) else ""
    files = "{{ env_var('%s'%s) }}/{name}/*/*/*.parquet" % (PLACE, default)  # noqa: UP031 - of braces there are enough
    yield "# Written anew by each export. dbt-duckdb reads the folder as the source `handletime` (docs/upkeep.md)."
    yield "version: 2"
    yield "sources:"
    yield "  - name: handletime"
    yield "    config:"
    yield "      meta:"
    # Without the last option a day would be a date where nothing is running, and a text elsewhere.
    options = "hive_partitioning = true, hive_types_autocast = false"
    yield f"""        external_location: "read_parquet('{files}', {options})\""""
    yield "    tables:" if tables else "    tables: []"
    for name in (each for each in TABLES if each in tables):
        yield f"      - name: {name}"
        yield f"        description: {_text(TABLES[name])}"
        yield "        columns:"
        for field in schemas[name]:
            yield f"          - name: {field.name}"
            if field.name in _RESERVED:
                yield "            quote: true"
            yield f"            description: {_text(_described(COLUMNS[name][field.name]))}"
            tests = ["not_null"] * (not field.nullable) + ["unique"] * ((name, field.name) in _UNIQUE)
            if tests:
                yield f"            data_tests: [{', '.join(tests)}]"


def _described(column: Meaning) -> str:
    return f"{column.meaning}. Null {column.null}." if column.null else f"{column.meaning}."


def _text(text: str) -> str:
    return msgspec.json.encode(text).decode()
