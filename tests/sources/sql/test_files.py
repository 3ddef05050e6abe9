"""Files become what a mapping reads."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handletime.errors import InputError
from handletime.sources.sql.engine import Engine
from handletime.sources.sql.files import Csv, load

Row = dict[str, object]


def read(*files: Path, csv: Csv | None = None, select: str = "from input") -> list[Row]:
    """The rows of `input`, or of another select."""
    engine = Engine("select 1", "my.sql", memory_bytes=512 << 20)
    try:
        load(engine, {"input": [str(file) for file in files]}, csv or Csv())
        engine.lock()
        rows: list[Row] = engine.database.sql(select).to_arrow_table().to_pylist()
        return rows
    finally:
        engine.close()


def test_all_columns_of_csv_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,at,n,text\n007,2026-11-20,1.50,"two\nlines, and ""quotes"""\n,NULL,"",x\n')
    assert read(tmp_path / "a.csv") == [
        {"row": 1, "id": "007", "at": "2026-11-20", "n": "1.50", "text": 'two\nlines, and "quotes"'},
        {"row": 2, "id": None, "at": "NULL", "n": None, "text": "x"},
    ]


def test_csv_of_another_form(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("1|'Jäne|2'|-\n".encode("utf-16"))
    rows = read(tmp_path / "a.txt", csv=Csv("|", "'", "utf-16", header=False, null="-"))
    assert rows == [{"row": 1, "column0": "1", "column1": "Jäne|2", "column2": None}]
    (tmp_path / "a.tsv").write_text("a\tb\n1\t2,5\n")
    assert read(tmp_path / "a.tsv") == [{"row": 1, "a": "1", "b": "2,5"}]


def test_rows_count_on_through_files_and_a_column_of_that_name_stays(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write("b,a\n4,3\n")
    assert read(tmp_path / "a.csv", tmp_path / "b.csv.gz") == [
        *({"row": 1, "a": "1", "b": None}, {"row": 2, "a": "2", "b": None}, {"row": 3, "a": "3", "b": "4"})
    ]
    (tmp_path / "c.csv").write_text("Row,a\nx,1\n")
    assert read(tmp_path / "c.csv") == [{"Row": "x", "a": "1"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '[{"a": 1, "at": "2026-11-20T09:00:00+01:00"}, {"b": null}]'),
        ("a.ndjson", '{"a": 1, "at": "2026-11-20T09:00:00+01:00"}\n{"b": null}\n'),
        ("a.jsonl", '{"a": 1,\n "at": "2026-11-20T09:00:00+01:00"}\n\n{"b": null}'),
    ],
)
def test_each_record_of_json_is_a_body(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    rows = read(
        tmp_path / name,
        select="select \"row\", txt(body, '$.a') as a, txt(body, '$.at') as at, received is null as r from input",
    )
    assert rows == [
        {"row": 1, "a": "1", "at": "2026-11-20T09:00:00+01:00", "r": True},
        {"row": 2, "a": None, "at": None, "r": True},
    ]


def test_columns_of_parquet_stay_as_they_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, None], "b": [[1], []]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [{"row": 1, "a": 1, "b": [1]}, {"row": 2, "a": None, "b": []}]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"a,b\n1,2\n1,Jane,3\n", "some rows have not the columns of line 1"),
        ("a.csv", b"a,b\n" + b"1,2\n" * 30_000 + b"1,Jane,3\n", "line 30002 is no CSV of this form"),
        ("a.csv", b'a,b\n1,"Jane\n', "a quote is not closed; --delimiter and --quote say the form"),
        ("a.csv", b"a,b\n1,J\xe4ne\n", "line 2 is not in this encoding; give --encoding latin-1"),
        ("a.csv", b"a;b\n1;2\n", "has one column with ; in its name; give --delimiter ';'"),
        ("a.csv", b"a\tb\n1\t2\n", "give --delimiter 'tab'"),
        ("a.json", b'[{"a": 1}, {"a": Jane}]', "is no JSON"),
        ("a.ndjson", b'{"a": 1}\n{"a": Jane}\n', "is no JSON"),
        ("a.parquet", b"Jane", "cannot be read; is it what its name says?"),
        ("a.xlsx", b"Jane", "save the sheet as CSV, with times and long numbers as text"),
        ("a.xml", b"Jane", "what can be read is CSV (.csv, .tsv, .txt), JSON"),
    ],
)
def test_what_cannot_be_read_is_said_without_what_stands_in_it(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read(tmp_path / name)
    assert str(refused.value).startswith(str(tmp_path / name))
    assert says in str(refused.value)
    assert "Jane" not in str(refused.value)


def test_other_mistakes_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="files of one input are of one kind"):
        read(tmp_path / "a.csv", tmp_path / "a.json")
    with pytest.raises(InputError, match=r"nowhere\.csv: there is no such file"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="there is no such file"):
        read(Path("https://example.com/a.csv"))
    with pytest.raises(InputError, match="this encoding is not known"):
        read(tmp_path / "a.csv", csv=Csv(encoding="klingon"))
    engine = Engine("select 1", "my.sql", memory_bytes=512 << 20)
    with pytest.raises(InputError, match="an input's name is letters, digits and _"):
        load(engine, {'a"b': ["a.csv"]}, Csv())
    engine.close()
