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


def source(folder: Path, type_: str, *, row: str = '"row",', keep: tuple[str, ...] = ()) -> Source:
    file = folder / "my.sql"
    file.write_text(MAPPING.format(row=row, type=type_))
    proof = InAddress("made-up-secret")
    return Source(account="acme", name="desk", proof=proof, mapping=file, keep=keep)


def mapped(source: Source, *bodies: bytes) -> MappedBodies:
    with Mapping() as mapping:
        return mapping.map_bodies(source, [(body, AT) for body in bodies])


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
    ],
)
def test_what_needs_a_text_that_was_not_kept_is_refused(tmp_path: Path, type_: str, key: str, row: str) -> None:
    made = source(tmp_path, type_, row=row)
    whole = json.dumps({"id": "a", key: "over" * 80}).encode()
    lacking = without_texts(whole)
    assert mapped(made, whole).problems == {}
    batch = mapped(made, lacking)
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
    batch = mapped(made, *bodies)
    assert batch.problems == {}
    assert batch.sizes == [1, 1, 1]
    assert batch.events["eventId"].to_pylist() == ["1", "2", "3"]
    assert batch.events["type"].to_pylist() == ["resumed", "opened", "opened"]


def test_only_those_are_refused_whose_text_is_needed(tmp_path: Path) -> None:
    made = source(
        tmp_path, "case when txt(body, '$.kind') = 'x' and body::varchar like '%over%' then 'resumed' else 'opened' end"
    )
    batch = mapped(made, kept(id="1", note="words", kind="x"), kept(id="2", note="words", kind="y"), b"{")
    assert set(batch.problems) == {0, 2}
    assert batch.problems[0] == "note: not kept; name it in the setting keep before deliveries come"
    assert batch.events["eventId"].to_pylist() == ["2"]


def test_what_keep_names_is_there(tmp_path: Path) -> None:
    made = source(tmp_path, NAMED_WITH_A_SPACE)
    batch = mapped(made, kept(("what it was",), **{"what it was": "over"}))
    assert batch.problems == {}
    assert batch.events["type"].to_pylist() == ["resumed"]
