"""What is tried again without its texts becomes what it was, or is refused; never something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from handletime.deliveries.mapping import Mapping
from handletime.deliveries.proof import InAddress
from handletime.deliveries.source import Source
from handletime.deliveries.texts import without_texts
from handletime.sources.batch import MappedBodies

SQL = Path(__file__).parents[1] / "sources" / "sql"
AT = 1_795_600_800_000
MAPPING = """
select {row} 'c' as "conversationId", txt(body, '$.id') as "eventId", received as "time", {type} as "type" from input
"""
NAMED_WITH_A_SPACE = """case txt(body, '$."what it was"') when 'over' then 'resumed' else 'opened' end"""
NAMED_WITH_A_DOLLAR = """case txt(body, '$."$what"') when 'over' then 'resumed' else 'opened' end"""
WHOLE = "case when contains(body::varchar, 'over') then 'resumed' else 'opened' end"
WILD = "case when list_contains(body ->> '$.*', 'over') then 'resumed' else 'opened' end"
LISTED = "case when list_contains(json_keys(body), 'Made Up') then 'resumed' else 'opened' end"
BY_LENGTH = "case when length(body::varchar) > 300 then 'resumed' else 'opened' end"
FOLDED = "case when lower(body::varchar) like '%over%' then 'resumed' else 'opened' end"
PLAINLY = "case from_json(body, '{\"What\": \"varchar\"}').what when 'over' then 'resumed' else 'opened' end"
AS_STRUCT = "case body::struct(id varchar, what varchar).what when 'over' then 'resumed' else 'opened' end"
BOTH = "case when body::varchar like '%over%' and body::varchar not like '%open%' then 'resumed' else 'opened' end"
SPACED = """case when body::varchar like '%"id": "a"%' then 'resumed' else 'opened' end"""
DISTINCT = "case when len(list_distinct(body ->> '$.*')) > 2 then 'resumed' else 'opened' end"
NUMBERS = "case when list_contains(json_type(body, '$.*'), 'UBIGINT') then 'resumed' else 'opened' end"
AFTER_A_COMMENT = f"-- what isn't ours\n {WHOLE}"


def source(folder: Path, type_: str, *, row: str = '"row",', keep: tuple[str, ...] = ()) -> Source:
    file = folder / "my.sql"
    file.write_text(MAPPING.format(row=row, type=type_))
    proof = InAddress("made-up-secret")
    return Source(account="acme", name="desk", proof=proof, mapping=file, keep=keep)


def again(source: Source, *bodies: bytes) -> MappedBodies:
    with Mapping() as mapping:
        return mapping.map_again(source, [(body, AT) for body in bodies])


def kept(keep: tuple[str, ...] = (), **body: Any) -> bytes:
    return without_texts(json.dumps({"id": "a", **body}).encode(), keep)


@pytest.mark.parametrize("row", ['"row",', ""], ids=["with rows", "without rows"])
@pytest.mark.parametrize(
    ("type_", "key"),
    [
        (NAMED_WITH_A_SPACE, "what it was"),
        (NAMED_WITH_A_DOLLAR, "$what"),
        (WHOLE, "x"),
        (WILD, "x"),
        (LISTED, "Made Up"),
        (FOLDED, "x"),
        (BY_LENGTH, "x"),
        (PLAINLY, "What"),
        (AS_STRUCT, "what"),
        (BOTH, "x"),
        (SPACED, "x"),
        (DISTINCT, "x"),
        (NUMBERS, "contact"),
        (AFTER_A_COMMENT, "x"),
    ],
)
def test_what_needs_a_text_that_was_not_kept_is_refused(tmp_path: Path, type_: str, key: str, row: str) -> None:
    made = source(tmp_path, type_, row=row)
    whole = json.dumps({"id": "a", key: "over" * 80}).encode()
    with Mapping() as mapping:
        assert mapping.map_bodies(made, [(whole, AT)]).problems == {}
        batch = mapping.map_again(made, [(without_texts(whole), AT)])
    assert batch.events.num_rows == 0
    assert list(batch.problems) == [0]
    assert "not kept; name it in the setting keep" in batch.problems[0]


def test_what_needs_no_text_becomes_what_it_was_among_whole_ones(tmp_path: Path) -> None:
    made = source(tmp_path, "case txt(body, '$.status') when 'over' then 'resumed' else 'opened' end")
    bodies = [
        kept(id="1", body="words", note="words", status="over"),
        json.dumps({"id": "2", "note": "words", "status": "open"}).encode(),
        kept(id="3", note="words", status="open"),
    ]
    batch = again(made, *bodies)
    assert batch.problems == {}
    assert batch.sizes == [1, 1, 1]
    assert batch.events["eventId"].to_pylist() == ["1", "2", "3"]
    assert batch.events["type"].to_pylist() == ["resumed", "opened", "opened"]


def test_where_nobody_knows_whose_events_they_are_it_is_found_out(tmp_path: Path) -> None:
    made = source(tmp_path, WHOLE, row="")
    batch = again(made, *[kept(id=str(n), x="words" if n in {2, 5} else 0) for n in range(9)])
    assert set(batch.problems) == {2, 5}
    assert sorted(batch.events["eventId"].to_pylist()) == ["0", "1", "3", "4", "6", "7", "8"]


def test_only_those_are_refused_whose_text_is_needed(tmp_path: Path) -> None:
    made = source(
        tmp_path, "case when txt(body, '$.kind') = 'x' and body::varchar like '%over%' then 'resumed' else 'opened' end"
    )
    batch = again(made, kept(id="1", note="words", kind="x"), kept(id="2", note="words", kind="y"), b"{")
    assert set(batch.problems) == {0, 2}
    assert batch.problems[0] == "note: not kept; name it in the setting keep before deliveries come"
    assert batch.events["eventId"].to_pylist() == ["2"]


def test_what_keep_names_is_there(tmp_path: Path) -> None:
    made = source(tmp_path, NAMED_WITH_A_SPACE)
    batch = again(made, kept(("what it was",), **{"what it was": "over"}))
    assert batch.problems == {}
    assert batch.events["type"].to_pylist() == ["resumed"]


@pytest.mark.parametrize(
    ("name", "keep"),
    [("rocketchat.json", ()), ("genesys.json", ()), ("twilio.ndjson", ("task_channel_unique_name",))],
)
def test_what_shipped_mappings_read_becomes_the_same_without_texts(name: str, keep: tuple[str, ...]) -> None:
    text = (SQL / name).read_text()
    given = [json.loads(line) for line in text.splitlines()] if name.endswith(".ndjson") else json.loads(text)
    whole = [(json.dumps(body).encode(), AT) for body in (given if isinstance(given, list) else [given])]
    proof, file = InAddress("made-up-secret"), Path(name.partition(".")[0])
    made = Source(account="acme", name="desk", proof=proof, mapping=file, keep=keep)
    with Mapping() as mapping:
        expected = mapping.map_bodies(made, whole)
        without = [(mapping.kept(made, body), at) for body, at in whole]
        assert any(b"not kept" in body for body, _ in without)
        again = mapping.map_again(made, without)
    assert expected.problems == {}
    assert sum(again.sizes) > 0
    assert again.told() == expected.told()


def test_once_it_is_stopped_bodies_stay_untried(tmp_path: Path) -> None:
    made, stopped = source(tmp_path, "'opened'"), False
    with Mapping(lambda: stopped) as mapping:
        bodies = [(kept(note="words"), AT), (kept(), AT)]
        assert mapping.map_again(made, bodies).sizes == [1, 1]
        stopped = True
        for batch in (mapping.map_again(made, bodies), mapping.map_bodies(made, bodies)):
            assert (batch.sizes, len(batch.problems), set(batch.untried)) == ([0, 0], 0, {0, 1})
