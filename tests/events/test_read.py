"""Files of every kind become blocks of events; what is broken is told, never read short.

Covers: events/jsonarray, events/unpack.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handletime.errors import FAULTS_SHOWN, InputError, InvalidEvents
from handletime.events import read
from handletime.events.book import LINE_MAX
from handletime.events.jsonarray import BrokenArray, elements
from handletime.events.read import Block, good_events, read_events
from handletime.events.unpack import opened, size_of
from tests.events.events import NOON, Event, a_line, events_of

Save = Callable[..., str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a file and gives its name."""
    numbers = itertools.count()

    def save(content: bytes, name: str = "") -> str:
        path = tmp_path / (name or f"file{next(numbers)}")
        path.write_bytes(content)
        return str(path)

    return save


def some_lines(number: int, first: int = 0) -> list[bytes]:
    return [a_line(eventId=f"e{i}", time=NOON + i, remark="x" * (i % 50)) for i in range(first, first + number)]


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def zstd(content: bytes) -> bytes:
    compressed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return compressed


def parquet(table: pa.Table, row_group_size: int = 1000) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=row_group_size, compression="none", write_page_checksum=True)
    return sink.getvalue()


def a_table(number: int) -> pa.Table:
    ids, times = [f"e{i}" for i in range(number)], range(NOON, NOON + number)
    return pa.table({"eventId": ids, "conversationId": ids, "time": times, "type": ["opened"] * number})


def test_what_spark_writes_by_default_is_refused_and_how_it_is_written_otherwise_is_said(save: Save) -> None:
    times = pa.array([NOON], pa.timestamp("ms", "UTC")).cast(pa.timestamp("ns", "UTC"))
    table = a_table(1).set_column(2, "time", times)
    sink = io.BytesIO()
    pq.write_table(table, sink, use_deprecated_int96_timestamps=True)
    assert pq.ParquetFile(io.BytesIO(sink.getvalue())).schema.column(2).physical_type == "INT96"
    blocks = list(read_events([save(sink.getvalue())]))
    (fault,) = faults_of(blocks)
    assert "time: must be timestamps with a time zone" in fault
    assert fault.endswith("spark.sql.parquet.outputTimestampType=TIMESTAMP_MILLIS")
    for unit in ("ms", "us"):
        blocks = list(read_events([save(parquet(table.set_column(2, "time", times.cast(pa.timestamp(unit, "UTC")))))]))
        assert faults_of(blocks) == []
        assert blocks[0].decoded.events["time"].cast(pa.int64()).to_pylist() == [NOON]


def event_ids(blocks: Sequence[Block]) -> list[str]:
    return [str(event) for block in blocks for event in block.decoded.events["eventId"].to_pylist()]


def faults_of(blocks: Sequence[Block]) -> list[str]:
    return [str(fault) for block in blocks for refused in block.decoded.refused for fault in refused.faults]


def ids(*numbers: int) -> list[str]:
    return [f"e{i}" for i in numbers]


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(read, "PARQUET_ROWS", 30)


# --- formats ---------------------------------------------------------------------------------------------------------

LINES = some_lines(500)
NDJSON = b"\n".join(LINES) + b"\n"
ARRAY = b"[" + b",".join(LINES) + b"]"
PRETTY = json.dumps([json.loads(line) for line in LINES], indent=4).encode()
BOM = b"\xef\xbb\xbf"
CHECKED_ZSTD = bytes.fromhex("28b52ffd04580900000a2b57e4ce")  # a line feed, written by `zstd --check`

CONTENTS = {
    "NDJSON": NDJSON,
    "NDJSON without a last line end": NDJSON[:-1],
    "NDJSON with CRLF": NDJSON.replace(b"\n", b"\r\n"),
    "NDJSON with blank lines": b"\n \r\n" + NDJSON.replace(b"\n", b"\n\n\t\n"),
    "NDJSON with a BOM": BOM + NDJSON,
    "array": ARRAY,
    "array with a BOM": BOM + ARRAY,
    "array, pretty": b"\r\n\t " + PRETTY.replace(b"\n", b"\r\n") + b"\n\n ",
    "array after much white space": b" \n" * 5000 + ARRAY,
    "Parquet": parquet(a_table(500), row_group_size=70),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": packed,
    "gzip of several members": lambda content: b"".join(
        packed(part) for part in (b"", content[:700], content[700:9000], b"", content[9000:], b"")
    ),
    "zstd": zstd,
    "zstd of several frames": lambda content: zstd(content[:700]) + zstd(content[700:]),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.usefixtures("_small_blocks")
def test_the_content_of_a_file_decides_how_it_is_read_not_its_name(content: str, compression: str, save: Save) -> None:
    name = save(COMPRESSIONS[compression](CONTENTS[content]), "events.csv")
    told: list[int] = []
    blocks = list(read_events([name], progress=told.append))
    assert event_ids(blocks) == ids(*range(500))
    assert faults_of(blocks) == []
    assert sum(told) == size_of([name]) == Path(name).stat().st_size
    assert {block.source for block in blocks} == {name}
    assert compression != "plain" or len(blocks) > 10


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b" \n\t\r\n ",
        BOM,
        BOM + b"\n",
        b"[]",
        b" [ \n ] ",
        packed(b""),
        zstd(b""),
        parquet(a_table(0)),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_an_empty_file_has_no_events_and_no_faults(content: bytes, save: Save) -> None:
    blocks = list(read_events([save(content)]))
    assert event_ids(blocks) == []
    assert faults_of(blocks) == []


def test_files_are_read_in_turn(save: Save) -> None:
    names = [save(NDJSON), save(ARRAY), save(parquet(a_table(3)))]
    assert event_ids(list(read_events(names))) == [*ids(*range(500)), *ids(*range(500)), *ids(0, 1, 2)]
    assert size_of(names) == sum(Path(name).stat().st_size for name in names)


def test_events_that_name_no_account_get_the_given_one(save: Save) -> None:
    (block,) = read_events([save(a_line() + b"\n" + a_line(eventId="e2", accountId="B2") + b"\n")], account="mine")
    assert [event["accountId"] for event in events_of(block.decoded.events)] == ["B2", "mine"]


@pytest.mark.parametrize("content", [NDJSON, PRETTY, packed(NDJSON), parquet(a_table(500))])
def test_standard_input_is_read_like_a_file(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    blocks = list(read_events(["-"]))
    assert event_ids(blocks) == ids(*range(500))
    assert blocks[0].source == "standard input"
    assert size_of(["-"]) is None


@pytest.mark.parametrize("content", [NDJSON, parquet(a_table(500))])
def test_a_pipe_is_read_like_a_file(content: bytes, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert size_of([str(pipe)]) is None
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert event_ids(list(read_events([str(pipe)]))) == ids(*range(500))
    writer.join()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_file_of_many_members_is_few_blocks(compression: str, save: Save) -> None:
    """As what appends an event at a time writes it."""
    packs = packed if compression == "gzip" else zstd
    lines = [line + b"\n" for line in some_lines(3000)]
    blocks = list(read_events([save(b"".join(map(packs, lines)))]))
    assert len(blocks) == 1
    assert event_ids(blocks) == ids(*range(3000))


def test_a_pipe_that_is_written_line_by_line_is_few_blocks(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = [line + b"\n" for line in some_lines(300)]

    def write() -> None:
        with pipe.open("wb", buffering=0) as end:
            for line in lines:
                end.write(line)
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    blocks = list(read_events([str(pipe)]))
    writer.join()
    assert len(blocks) == 1
    assert event_ids(blocks) == ids(*range(300))


def test_files_are_closed_when_reading_stops_early(save: Save) -> None:
    name = save(NDJSON)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for content in (name, save(packed(NDJSON)), save(parquet(a_table(500)))):
        blocks = read_events([content])
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- what cannot be read at all --------------------------------------------------------------------------------------


def why_not(name: str) -> str:
    """The message for a file that cannot be read."""
    with pytest.raises(InputError) as raised:
        list(read_events([name]))
    message = str(raised.value)
    assert message.startswith(f"{name}: ")
    return message.removeprefix(f"{name}: ")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert why_not(str(tmp_path / "none")) == "there is no such file"
    assert why_not(str(tmp_path)) == "is a folder; name the files in it"
    with pytest.raises(InputError, match="there is no such file"):
        size_of([str(tmp_path / "none")])


GZIPPED, ZSTANDARD = packed(NDJSON), zstd(NDJSON)
SMALL_GZIP, SMALL_ZSTD = packed(LINES[0]), zstd(LINES[0])
BROKEN = {
    "gzip, cut in the middle": GZIPPED[:-1000],
    "gzip without its last byte": GZIPPED[:-1],
    "gzip without its checksum": GZIPPED[:-8],
    "gzip, its header alone": GZIPPED[:10],
    "gzip, its first bytes alone": GZIPPED[:2],
    "gzip, its second member cut": GZIPPED + GZIPPED[:5],
    "gzip with another checksum": GZIPPED[:-8] + bytes([GZIPPED[-8] ^ 1]) + GZIPPED[-7:],
    "gzip with another length": GZIPPED[:-1] + b"\x01",
    "gzip and then something": GZIPPED + b"something",
    "gzip and then zeros": GZIPPED + bytes(512),
    "zstd, cut in the middle": ZSTANDARD[:-1000],
    "zstd without its last byte": ZSTANDARD[:-1],
    "zstd, its first bytes alone": ZSTANDARD[:4],
    "zstd, its second frame cut": ZSTANDARD + ZSTANDARD[:5],
    "zstd and then something": ZSTANDARD + b"something",
    "zstd with another checksum": CHECKED_ZSTD[:-1] + b"\xcf",
    "gzip in gzip": packed(GZIPPED),
    "zstd in gzip": packed(ZSTANDARD),
    "Parquet without its end": parquet(a_table(500))[:-1],
    "Parquet, its beginning alone": b"PAR1",
    "Parquet with another length": parquet(a_table(500))[:-8] + b"\xff\xff\xff\x7fPAR1",
    "Parquet with another checksum": parquet(a_table(500)).replace(b"e77", b"e78"),
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_is_told_never_read_short(content: str, save: Save) -> None:
    assert why_not(save(BROKEN[content])).startswith("cannot be read: ")


@pytest.mark.parametrize("content", [SMALL_GZIP, SMALL_ZSTD], ids=["gzip", "zstd"])
def test_a_compressed_file_may_be_cut_nowhere(content: bytes, save: Save) -> None:
    magic = 2 if content is SMALL_GZIP else 4
    for end in range(magic, len(content)):
        assert why_not(save(content[:end])) == "cannot be read: Truncated compressed stream"


def test_what_was_given_before_a_break_was_right(save: Save) -> None:
    many = packed(b"\n".join(some_lines(5000)))
    before: list[Block] = []
    with mock.patch.object(read, "BLOCK_BYTES", 10_000), pytest.raises(InputError):
        before.extend(read_events([save(many[:-500])]))
    assert event_ids(before) == ids(*range(len(event_ids(before))))
    assert before


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_source_can_be_opened_for_its_unpacked_bytes(compression: str, save: Save) -> None:
    with opened(save(COMPRESSIONS[compression](NDJSON))) as stream:
        assert stream.readline() == LINES[0] + b"\n"
        assert stream.read(7) == LINES[1][:7]
        assert stream.read() == NDJSON[len(LINES[0]) + 8 :]


@pytest.mark.parametrize("content", [content for content in BROKEN if not content.startswith("Parquet")])
def test_what_breaks_while_an_opened_source_is_read_names_it_too(content: str, save: Save) -> None:
    name = save(BROKEN[content])
    with pytest.raises(InputError, match="cannot be read: ") as raised, opened(name) as stream:
        stream.read()
    assert str(raised.value).startswith(name)


# --- lines and elements with faults ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_small_blocks")
def test_lines_keep_their_numbers_over_all_blocks_and_their_bytes(save: Save) -> None:
    lines = some_lines(300)
    lines[7:7] = [b"", b"!"]
    lines[200] = b'{"type": "\xff"}'
    lines[280] = a_line(skillId="x")
    blocks = list(read_events([save(b"\r\n".join(lines))]))
    refused = [refused for block in blocks for refused in block.decoded.refused]
    assert [(one.line, one.text) for one in refused] == [(9, b"!"), (201, lines[200]), (281, lines[280])]
    assert faults_of(blocks)[2] == "line 281: skillId: must be a signed 64-bit integer"
    assert len(event_ids(blocks)) == 298


@pytest.mark.usefixtures("_small_blocks")
def test_elements_are_counted_however_the_array_is_laid_out(save: Save) -> None:
    elements: list[object] = [json.loads(line) for line in some_lines(300)]
    elements[4] = [1, ["],[", {"a": [None]}], "\\"]
    elements[200] = {"type": 'a\\"],[\n'}
    for layout in ({"indent": 1}, {"separators": (",", ":")}, {"separators": (" ,\n\n\n", " : ")}):
        blocks = list(read_events([save(json.dumps(elements, **layout).encode())]))
        assert len(event_ids(blocks)) == 298
        assert [refused.line for block in blocks for refused in block.decoded.refused] == [5, 201]
        assert faults_of(blocks)[0] == "element 5: must be a JSON object"


@pytest.mark.parametrize(
    ("content", "events", "elements", "why"),
    [
        (ARRAY[:-1], 499, [], "it ends without a closing bracket"),
        (ARRAY[:-2], 499, [], "it ends without a closing bracket"),
        (b"[", 0, [], "it ends without a closing bracket"),
        (b'["', 0, [], "it ends without a closing bracket"),
        (ARRAY[:-1] + b",]", 500, [], f"after a comma there is no element (byte {len(ARRAY) + 1})"),
        (b"[,]", 0, [], "a comma stands where the first element should (byte 2)"),
        (b"[1,,2]", 0, [1], "after a comma there is no element (byte 4)"),
        (ARRAY + b" \n" + LINES[0], 500, [], f"something follows its closing bracket (byte {len(ARRAY) + 3})"),
        (ARRAY + ARRAY, 500, [], f"something follows its closing bracket (byte {len(ARRAY) + 1})"),
        (b"[{]}]]", 0, [1], "something follows its closing bracket (byte 6)"),
    ],
)
@pytest.mark.parametrize("block", [100, 1 << 20])
def test_an_array_that_is_broken_is_told_after_what_stands_before(
    content: bytes, events: int, elements: list[int], why: str, block: int, save: Save
) -> None:
    with mock.patch.object(read, "BLOCK_BYTES", block):
        blocks = list(read_events([save(content)]))
    assert len(event_ids(blocks)) == events
    assert [refused.line for one in blocks for refused in one.decoded.refused] == [*elements, 0]
    assert faults_of(blocks)[-1] == f"is no JSON array: {why}"


@pytest.mark.parametrize("text", [b"a\nb", b"a\r\nb", b"a\\\nb"])
def test_a_line_break_within_a_string_of_an_array_stays_wrong_and_in_its_element(text: bytes, save: Save) -> None:
    wrong = a_line(remark="HERE").replace(b"HERE", text)
    (block,) = read_events([save(b"[" + wrong + b",5," + a_line() + b"]")])
    assert [refused.line for refused in block.decoded.refused] == [1, 2]
    assert block.decoded.events.num_rows == 1


@pytest.mark.parametrize("blocks", [10_000, LINE_MAX, 8 << 20])
@pytest.mark.parametrize("layout", ["%b\n%b\n%b\n", "%b\r\n%b\r\n%b", "[%b,%b,%b]"])
def test_a_line_that_is_too_long_is_one_fault_wherever_blocks_end(layout: str, blocks: int, save: Save) -> None:
    long_line = a_line(remark="x" * (3 * LINE_MAX))
    name = save(layout.encode() % (LINES[0], long_line, LINES[1]))
    with mock.patch.object(read, "BLOCK_BYTES", blocks):
        given = list(read_events([name]))
    (refused,) = [refused for block in given for refused in block.decoded.refused]
    assert event_ids(given) == ids(0, 1)
    assert refused.line == 2
    assert refused.faults[0].message == "is longer than 1048576 bytes"
    assert refused.text == long_line[:LINE_MAX]


def test_a_line_without_end_is_not_held_in_memory(save: Save) -> None:
    name = save(b"x" * (64 << 20) + b"\n" + LINES[0])
    with mock.patch.object(read, "BLOCK_BYTES", LINE_MAX):
        tracemalloc.start()
        try:
            given = list(read_events([name]))
            assert tracemalloc.get_traced_memory()[1] < 32 << 20
        finally:
            tracemalloc.stop()
    assert event_ids(given) == ids(0)
    assert [refused.line for block in given for refused in block.decoded.refused] == [1]


@pytest.mark.usefixtures("_small_blocks")
def test_rows_keep_their_numbers_over_row_groups_and_batches(save: Save) -> None:
    table = a_table(500)
    types = ["opened"] * 500
    types[77] = types[499] = "open"
    wrong = table.set_column(3, "type", [types]).append_column("skillId", [[1.5] * 500]).drop_columns("skillId")
    for row_group_size in (7, 70, 1000):
        blocks = list(read_events([save(parquet(wrong, row_group_size))]))
        assert [refused.line for block in blocks for refused in block.decoded.refused] == [78, 500]
        assert faults_of(blocks)[0].startswith("row 78: type: must be one of opened, ")
        assert len(event_ids(blocks)) == 498


@pytest.mark.usefixtures("_small_blocks")
def test_a_column_that_cannot_be_is_told_once_for_the_whole_file(save: Save) -> None:
    table = a_table(500).append_column("agentId", [[0.5] * 500]).drop_columns("conversationId")
    (block,) = read_events([save(parquet(table, 70))])
    assert faults_of([block]) == [
        "conversationId: this column is missing",
        "agentId: must be a column of integers, not of double",
    ]
    assert block.decoded.events.num_rows == 0


# --- good events only ------------------------------------------------------------------------------------------------


def invalid(*names: str) -> InvalidEvents:
    with pytest.raises(InvalidEvents) as raised:
        list(good_events(read_events(names)))
    return raised.value


def test_good_events_are_given_as_tables(save: Save) -> None:
    tables = list(good_events(read_events([save(NDJSON), save(ARRAY)])))
    assert sum(table.num_rows for table in tables) == 1000


def test_all_faults_of_the_first_file_that_has_some_are_told_with_its_name(save: Save) -> None:
    first, second = save(b"!\n" + NDJSON + b"!\n"), save(b"!\n")
    error = invalid(save(NDJSON), first, second)
    assert error.source == first
    assert [fault.line for fault in error.faults] == [1, 502]
    assert not error.more
    assert str(error).splitlines()[1].startswith(f"{first}: line 502: must be a JSON object")


@pytest.mark.parametrize(("number", "more"), [(FAULTS_SHOWN, False), (FAULTS_SHOWN + 1, True), (10_000, True)])
def test_so_many_faults_are_told_and_whether_there_are_more(number: int, more: bool, save: Save) -> None:
    error = invalid(save(b"!\n" * number))
    assert len(error.faults) == FAULTS_SHOWN
    assert error.more is more


def test_a_broken_array_is_a_fault_of_the_whole_file(save: Save) -> None:
    name = save(ARRAY[:-1])
    assert str(invalid(name)) == f"{name}: is no JSON array: it ends without a closing bracket"


# --- where a stream is cut changes nothing ---------------------------------------------------------------------------

TOKENS = [b"[", b"]", b"{", b"}", b",", b'"', b"\\", b"\n", b" ", b"1", b'"a"', b"\r", a_line(), a_line("closed"), BOM]


@settings(max_examples=150)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join), st.lists(st.integers(0, 200), max_size=8))
def test_an_array_gives_the_same_elements_wherever_it_is_cut(content: bytes, cuts: list[int]) -> None:
    assert split(pieces(content, cuts)) == split([content])


def pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    return [content[start:end] for start, end in itertools.pairwise(places)]


def split(parts: list[bytes]) -> tuple[bytes, str]:
    """The lines of an array, and how it is broken, if it is."""
    given_before = b""
    try:
        for lines in elements(parts):
            given_before += lines
    except BrokenArray as error:
        return given_before, str(error)
    return given_before, ""


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("one") / "file"


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([*TOKENS, *LINES[:3], b"[" + LINES[5]]), max_size=20),
    st.sampled_from([b"", b"\n", b",", b"\r\n"]),
    st.integers(1, 300),
)
def test_a_file_gives_the_same_wherever_blocks_end(
    one_file: Path, parts: list[bytes], between: bytes, block: int
) -> None:
    one_file.write_bytes(between.join(parts))
    with mock.patch.object(read, "BLOCK_BYTES", block):
        in_small_blocks = what_is_in(one_file)
    assert in_small_blocks == what_is_in(one_file)


def what_is_in(path: Path) -> tuple[list[Event], list[object]]:
    blocks = list(read_events([str(path)]))
    events = [event for block in blocks for event in events_of(block.decoded.events)]
    return sorted(events, key=repr), [refused for block in blocks for refused in block.decoded.refused]
