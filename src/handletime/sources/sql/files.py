"""Files become the relations that a mapping reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from handletime.errors import InputError
from handletime.sources.sql.engine import Engine
from handletime.sources.sql.looks import CUT, SHEET, require_likely
from handletime.sources.sql.statement import TAKES_MEMORY

_CSV: Final = (".csv", ".tsv", ".txt")
_JSON: Final = (".json", ".ndjson", ".jsonl")
_KINDS: Final = "CSV (.csv, .tsv, .txt), JSON (.json, .ndjson, .jsonl), both also .gz, or Parquet (.parquet)"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)
_OBJECT_MAX_BYTES: Final = 32 << 20
"""The longest record of JSON: an export may be one object."""
_COLUMNS_SHOWN: Final = 50
_SHOWN_MAX: Final = 80
"""The most characters of a column's name in a list of them."""
_DELIMITERS: Final = {";": ";", "\t": "tab", "|": "|"}


class Csv(NamedTuple):
    """How CSV is written. Nothing is guessed."""

    delimiter: str | None = None
    """None: a tab in .tsv, else a comma."""
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    null: str = ""
    """What stands where nothing is."""


def load(engine: Engine, inputs: Mapping[str, Sequence[str]], csv: Csv) -> None:
    """Makes a relation of the files of each name, before the engine is locked.

    CSV gives its columns, all text; Parquet its columns as they are; JSON one row for each record or element of an
    array, in `body` (JSON), and `received` (timestamptz, null), so that what maps webhooks maps files of bodies, too.
    `row` (bigint) counts from 1, on through all files of one name, where the files have no such column. Raises
    InputError where a file is missing or cannot be read, without repeating what stands in it.
    """
    for name, files in inputs.items():
        if not _NAME.fullmatch(name):
            raise InputError(f"{name}: an input's name is letters, digits and _, and begins with no digit")
        for file in files:
            if not Path(file).is_file():
                raise InputError(f"{file}: there is no such file")
        kinds = {_kind(file) for file in files}
        if len(kinds) > 1:
            raise InputError(f"{', '.join(files)}: files of one input are of one kind")
        kind = kinds.pop()
        for file in files:
            require_likely(file, kind, csv.encoding, header=csv.header)
        source, values = _reading(kind, files, csv)
        try:
            columns = [str(row[0]) for row in engine.database.execute(f"describe from {source}", values).fetchall()]
            _require_columns(columns, files)
            numbers = "" if any(column.lower() == "row" for column in columns) else 'row_number() over () as "row", '
            engine.database.execute(f'create table "{name}" as select {numbers}* from {source}', values)  # noqa: S608
        except duckdb.Error as error:
            raise InputError(f"{', '.join(files)}: {_why(error)}") from None


def columns_told(engine: Engine, inputs: Mapping[str, Sequence[str]]) -> str:
    """Which columns each input has, beside `row`: a line for each, for people."""
    lines = []
    for name, files in inputs.items():
        columns = [_shown(column) for column in engine.columns(name) if column.lower() != "row"]
        lines.append(f"{name} ({_first(files, 1)}) has {_first(columns, _COLUMNS_SHOWN)}")
    return "\n".join(lines)


def _first(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _shown(column: str) -> str:
    """A column's name, not too long and without what a terminal would take as an instruction."""
    name = "".join(char if char.isprintable() else "?" for char in column)
    return name if len(name) <= _SHOWN_MAX else f"{name[:_SHOWN_MAX]}…"


def _kind(file: str) -> str:
    suffix = Path(file.lower().removesuffix(".gz")).suffix
    if suffix in _CSV:
        return "csv"
    if suffix in _JSON:
        return "json"
    if file.lower().endswith(".parquet"):
        return "parquet"
    hint = f"; {SHEET}" if suffix.startswith(".xls") else ""
    raise InputError(f"{file}: what can be read is {_KINDS}{hint}")


def _reading(kind: str, files: Sequence[str], csv: Csv) -> tuple[str, dict[str, object]]:
    """SQL that reads the files, and its parameters."""
    values: dict[str, object] = {"files": list(files)}
    if kind == "parquet":
        return "read_parquet($files)", values
    if kind == "json":
        values["longest"] = _OBJECT_MAX_BYTES
        objects = "read_json_objects($files, maximum_object_size = $longest)"
        return f"(select json as body, null::timestamptz as received from {objects})", values  # noqa: S608
    tabs = all(file.lower().removesuffix(".gz").endswith(".tsv") for file in files)
    values |= {"delimiter": csv.delimiter or ("\t" if tabs else ","), "null": csv.null}
    values |= {"quote": csv.quote, "encoding": csv.encoding, "header": csv.header}
    return (
        "read_csv($files, all_varchar = true, delim = $delimiter, quote = $quote, escape = $quote, header = $header, "
        "encoding = $encoding, nullstr = $null, skip = 0, comment = '', union_by_name = true)"
    ), values


def _require_columns(columns: list[str], files: Sequence[str]) -> None:
    """Raises InputError where CSV seems to have another delimiter."""
    for delimiter, name in _DELIMITERS.items():
        if len(columns) == 1 and delimiter in columns[0]:
            raise InputError(f"{files[0]}: has one column with {name} in its name; give --delimiter '{name}'")


def _why(error: duckdb.Error) -> str:
    """What is wrong with a file, without what stands in it."""
    message = str(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return TAKES_MEMORY
    if "does not support the encoding" in message:
        return "this encoding is not known; utf-8, utf-16 and latin-1 are"
    if re.search(r"File is not [\w-]+ encoded", message):
        return "is not in the encoding of --encoding; utf-8, utf-16 and latin-1 are known"
    if "end of GZIP stream" in message:
        return CUT
    if "when sniffing" in message:
        return (
            "some rows have not the columns of line 1, or a quote is not closed; --delimiter and --quote say the form"
        )
    line = re.search(r"CSV Error on Line: (\d+)", message)
    if "unicode" in message:
        return f"line {line[1] if line else '1'} is not in this encoding; give --encoding latin-1 or utf-16"
    if line:
        columns = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
        found = f": {columns[2]} columns instead of {columns[1]}" if columns else ""
        return f"line {line[1]} is no CSV of this form{found}; --delimiter and --quote say how it is written"
    record = re.search(r"at byte (\d+) in (?:record/value|line) (\d+)", message)
    if record:
        return f"record {record[2]} is no JSON (byte {record[1]})"
    return "cannot be read; is it what its name says?"
