"""What a mapping may be, and what is said of its errors."""

from __future__ import annotations

import duckdb
import pytest

from handletime.errors import InputError
from handletime.sources.sql.statement import TAKES_MEMORY, TAKES_TIME, TEXT_MAX, Select, checked, told, words_of


@pytest.mark.parametrize(
    "text",
    [
        "select 1;\n",
        "-- a comment\nselect ';' as a -- the end",
        "with a as (select 1) from a",
        "values (1)",
        "select 1;;",
    ],
)
def test_one_select_is_taken(text: str) -> None:
    assert checked(text, "my.sql").text.startswith(("select", "with", "values"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "exactly one select; this has nothing"),
        ("-- nothing", "exactly one select; this has nothing"),
        ("select 1; select 2", "this has SELECT, SELECT"),
        ("pragma version", "this has PRAGMA"),
        ("attach 'x'", "this has ATTACH"),
        ("copy (select 1) to 'x'", "this has COPY"),
        ("set threads = 4", "this has SET"),
        ("insert into input values (1)", "this has INSERT"),
        ("create table a as select 1", "this has CREATE"),
        ("install httpfs", "this has LOAD"),
        ("export database 'x'", "this has EXPORT"),
        ("call pragma_version()", "this has CALL"),
        ("explain select 1", "this has EXPLAIN"),
        ("pivot input on body", "this has MULTI"),
        ("with a as (insert into input select 1 returning *) from a", "it may not insert anything"),
        ("with a as (delete from input returning *) from a", "it may not delete anything"),
        ("with a as (update input set body = 1 returning *) from a", "it may not update anything"),
        ("select 1,\nselec 2", "LINE 2: selec 2"),
        ("select " + "1" * TEXT_MAX, "at most 1,048,576 characters"),
    ],
)
def test_anything_else_is_refused_with_what_it_is(text: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        checked(text, "my.sql")
    assert str(refused.value).startswith("my.sql: ")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("select name::int from input", "a value could not become INT32; try_cast(… as INT32) gives null there"),
        ("select name::timestamptz from input", "could not"),
        ("select json_extract_string(name, '$.a') from input", "a value is no JSON"),
        ("select error(name) from input", "a value could not be worked with"),
        ("select ('{' || name || '}')::json from input", "a value is no JSON"),
        ("select (name || ' is no date')::date from input", "could not"),
        ("select (length(name) * 100)::tinyint from input", "could not"),
        ("select strptime(name, '%Y') from input", "could not"),
        ("select cast(name as uuid) from input", "could not"),
        ("select regexp_matches(name, name || '(') from input", "could not"),
    ],
)
@pytest.mark.parametrize("name", ["Jane Doe", "O'Neill 'says' \"hi\"", "x\n\nLINE 9: Jane", "to INT32 Jane"])
def test_errors_repeat_nothing_of_the_data(sql: str, says: str, name: str) -> None:
    text = f"-- first\n{sql}"
    with duckdb.connect() as database:
        database.execute("create table input as select $1 as name", [name])
        with pytest.raises(duckdb.Error) as raised:
            database.execute(text).fetchall()
    what = told(raised.value, Select(text))
    assert says in what or name != "Jane Doe"
    for word in ("Jane", "Doe", "Neill", "says", "hi"):
        assert word not in what.replace("this", "")


@pytest.mark.parametrize("before", ["", "\n", "-- a comment\n\n  ", "/* two\nlines */"])
def test_errors_name_the_line_of_the_mapping(before: str) -> None:
    text = before + "select\n    name::int as a\nfrom input"
    line, select = 2 + before.count("\n"), checked(text, "my.sql")
    with duckdb.connect() as database:
        database.execute("create table input as select 'Jane' as name")
        with pytest.raises(duckdb.Error) as raised:
            database.sql(select.text).fetchall()
        assert told(raised.value, select).endswith(f"\nline {line} of the mapping: name::int as a")
        with pytest.raises(duckdb.Error) as raised:
            database.execute(select.text.replace("name", "nome"))
        assert f"\nLINE {line}:     nome::int as a" in told(raised.value, select)


def test_limits_are_named() -> None:
    assert told(duckdb.InterruptException("INTERRUPT Error: Interrupted!"), Select("")) == TAKES_TIME
    assert told(OSError("Out of Memory Error: failed to allocate"), Select("")) == TAKES_MEMORY
    assert told(MemoryError(), Select("")) == TAKES_MEMORY


def test_what_a_mapping_names() -> None:
    text = """-- what isn't named
    select txt(e.body, '$."an odd key"') as x, from_json(b, '{"a":"varchar"}').a, c::struct(d varchar),
        $$q'$$ || 'it''s'
    from input /* 'nor this' */"""
    words = words_of(text)
    assert words.texts == {'$."an odd key"', '{"a":"varchar"}', "a", "q'", "it's"}
    assert words.names == {"e", "body", "b", "c", "d"}
