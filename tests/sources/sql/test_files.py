"""Files become what a mapping reads.

Covers: sources/sql/looks.
"""

from __future__ import annotations

import gzip
import random
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
        ("a.parquet", b"Jane", "is no Parquet, whatever its name says"),
        ("a.parquet", b"PAR1Jane", "cannot be read; is it what its name says?"),
        ("a.parquet.gz", b"PAR1Jane", "what can be read is CSV (.csv, .tsv, .txt), JSON"),
        ("a.csv", b"", "is empty; export it again, or leave it out"),
        ("a.csv", b"\xef\xbb\xbf\n\n", "is empty"),
        ("a.json", b" ", "is empty"),
        ("a.parquet", b"", "is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.csv", "Jane,b\n".encode("utf-16"), "is written in UTF-16; give --encoding utf-16"),
        ("a.csv", "Jäne,b\n".encode("utf-16-le"), "is written in UTF-16; give --encoding utf-16"),
        ("a.json", '{"Jane": 1}'.encode("utf-16-be"), "is written in UTF-16; save it as UTF-8"),
        ("a.csv", b"PK\x03\x04Jane", "is an Excel workbook or another zip archive; save the sheet as CSV"),
        ("a.csv", b"\xd0\xcf\x11\xe0Jane", "is an Excel workbook of the old kind; save the sheet as CSV"),
        ("a.csv", gzip.compress(b"Jane\n", mtime=0), "is packed by gzip; name it a.csv.gz"),
        ("a.json.gz", gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "is packed twice"),
        ("a.csv.gz", b"Jane\n", "is not packed by gzip, or broken; if it is not packed, name it without .gz, else"),
        ("a.csv.gz", gzip.compress(b"Jane,Doe\n", mtime=0)[:12], "ends too early; copy it again"),
        ("a.csv.gz", gzip.compress(random.Random(1).randbytes(9000).hex().encode())[:-20], "ends too early"),
        ("a.csv", b"Jane" + random.Random(2).randbytes(4000), "is no text, whatever its name says"),
        ("a.json", b"{" + random.Random(3).randbytes(4000), "is no text, whatever its name says"),
        ("a.csv", b"\n<!DOCTYPE html><p>Jane</p>", "is a web page or XML"),
        ("a.csv", b'[\n{"Jane": 1}]', "is JSON; name it .json"),
        ("a.json", b"Jane,b\n1,2\n", "is no JSON: a record begins with {; name CSV .csv"),
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


def test_what_only_looks_odd_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("[a],b\n1,ä\0\n".encode())
    assert read(tmp_path / "a.csv")[0]["[a]"] == "1"
    (tmp_path / "b.csv").write_text('{"a": 1};x\n')
    assert len(read(tmp_path / "b.csv", csv=Csv(";", "'", header=False))) == 1
    (tmp_path / "c.csv").write_bytes("a,b\n1,ä\n".encode("utf-16-le"))
    assert read(tmp_path / "c.csv", csv=Csv(encoding="UTF-16")) == [{"row": 1, "a": "1", "b": "ä"}]
    (tmp_path / "d.ndjson").touch()
    assert read(tmp_path / "d.ndjson") == []
    (tmp_path / "e.json").write_bytes(b'\xef\xbb\xbf [{"a": 1}]')
    assert len(read(tmp_path / "e.json")) == 1


def test_other_mistakes_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "b.csv").write_bytes(bytes(101))
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="files of one input are of one kind"):
        read(tmp_path / "a.csv", tmp_path / "a.json")
    with pytest.raises(InputError, match=r"nowhere\.csv: there is no such file"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="there is no such file"):
        read(Path("https://example.com/a.csv"))
    with pytest.raises(InputError, match="this encoding is not known"):
        read(tmp_path / "a.csv", csv=Csv(encoding="klingon"))
    with pytest.raises(InputError, match="is not written in UTF-16; leave --encoding out"):
        read(tmp_path / "a.csv", csv=Csv(encoding="utf-16"))
    with pytest.raises(InputError, match="is not in the encoding of --encoding; utf-8, utf-16 and latin-1 are known"):
        read(tmp_path / "b.csv", csv=Csv(encoding="utf-16"))
    engine = Engine("select 1", "my.sql", memory_bytes=512 << 20)
    with pytest.raises(InputError, match="an input's name is letters, digits and _"):
        load(engine, {'a"b': ["a.csv"]}, Csv())
    engine.close()
