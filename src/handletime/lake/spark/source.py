"""Where the events of a job come from: Parquet files in a folder, or those that a Delta table's log names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from handletime.errors import InputError
from handletime.events.book import is_account
from handletime.events.read import Share, parquet_tasks
from handletime.lake.tables import millis

SHARE_BYTES: Final = 8 << 20
"""The bytes of files that a task reads, about; larger files are read by several tasks."""
_HIVE: Final = re.compile(r"([^/=]+)=([^/]*)")
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
_UNREADABLE: Final = {"deletionVectors", "columnMapping"}


class EventFile(NamedTuple):
    """A Parquet file of events: when it came (epoch ms), and the account and day in its path, if any."""

    path: str
    size: int
    modified: int
    account: str | None
    day: str | None


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a job has read: the version of a Delta table, or when the newest file of a folder came (epoch ms).

    `seen` are the files of that very moment: more may still come with the same time.
    """

    version: int | None = None
    modified: int | None = None
    seen: tuple[str, ...] = ()


class Source(NamedTuple):
    """All files of events, and the mark to go on from next time."""

    files: list[EventFile]
    mark: Mark


Piece = list[tuple[EventFile, Share]]
"""Files, or shares of them, that one task reads."""


# --- finding ---------------------------------------------------------------------------------------------------------


def find(events: Path) -> Source:
    """The files of a Parquet file, a folder of such, or a Delta table. Raises InputError."""
    if not events.exists():
        raise InputError(f"{events}: there is no such file or folder")
    if (events / "_delta_log").is_dir():
        source = _of_delta(events)
    else:
        # Looked at twice: while the first files are, others may be replaced, and then even newer ones come. What is not
        # newer than the newest at first was there, with that content, at second.
        newest = max((file.modified for file in _of_folder(events)), default=0)
        files = _of_folder(events)
        seen = tuple(file.path for file in files if file.modified == newest)
        source = Source(files, Mark(modified=newest, seen=seen))
    if not source.files:
        raise InputError(f"{events}: there are no Parquet files of events in it")
    return source


def _of_folder(events: Path) -> list[EventFile]:
    """The files of a folder, or the one that is named."""
    paths = [events] if events.is_file() else sorted(_parquet_files(events))
    return [_of_path(path, events) for path in paths]


def _parquet_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.parquet"):
        if not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts):
            yield path


def _of_path(path: Path, root: Path) -> EventFile:
    about = path.stat()
    values = {key: unquote(value) for key, value in _HIVE.findall(str(path.relative_to(root).parent))}
    return _file(path, about.st_size, about.st_mtime_ns // 1_000_000, values)


def _file(path: Path, size: int, modified: int, values: dict[str, str]) -> EventFile:
    account, day = (None if values.get(key) == _NO_VALUE else values.get(key) for key in ("accountId", "day"))
    if account is not None and not is_account(account):
        raise InputError(f"{path}: {account!r} is no account: letters and digits, at most 64")
    return EventFile(str(path.absolute()), size, modified, account, day)


def _of_delta(events: Path) -> Source:
    try:
        table = DeltaTable(events)
        rows = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    except (DeltaError, OSError) as error:
        raise InputError(f"{events}: the Delta table cannot be read: {error}") from error
    unreadable = _UNREADABLE & set(table.protocol().reader_features or ())
    if unreadable:
        raise InputError(f"{events}: tables with {', '.join(sorted(unreadable))} are not read; rewrite it without")
    files = []
    for row in rows:
        values = {key: str(row[f"partition.{key}"]) for key in ("accountId", "day") if row.get(f"partition.{key}")}
        path, modified = events / unquote(row["path"]), millis(row["modification_time"])
        files.append(_file(path, row["size_bytes"], modified, values))
    return Source(sorted(files), Mark(version=table.version()))


def newer(events: Path, source: Source, since: Mark) -> list[EventFile]:
    """The files that came after a mark. Raises InputError where that cannot be found out."""
    if since.version is None:
        # A file may be replaced by a newer one of its name.
        last, seen = since.modified or 0, {(path, since.modified) for path in since.seen}
        return [file for file in source.files if file.modified >= last and (file.path, file.modified) not in seen]
    if source.mark.version is None:
        raise InputError(f"{events} is no Delta table, so it has no version {since.version}")
    try:
        before = DeltaTable(events, version=since.version).file_uris()
    except (DeltaError, OSError) as error:
        raise InputError(
            f"{events}: version {since.version} is not there any more; derive all of it, without --since: {error}"
        ) from error
    names = {Path(name.removeprefix("file://")).name for name in before}
    return [file for file in source.files if Path(file.path).name not in names]


# --- reading ---------------------------------------------------------------------------------------------------------


def pieces(files: Sequence[EventFile]) -> list[Piece]:
    """The files in pieces of about equal size: small ones together, large ones in shares."""
    found: list[Piece] = []
    size = 0
    for file in files:
        shares = -(-file.size // SHARE_BYTES) or 1
        for number in range(shares):
            if not found or size + file.size // shares > SHARE_BYTES:
                found.append([])
                size = 0
            found[-1].append((file, Share(number, shares)))
            size += file.size // shares
    return found


def rows_of(files: Sequence[EventFile], looked_at: int = 16) -> int:
    """An estimate of the rows of files, from some of their footers. Raises InputError."""
    some = files[:: max(len(files) // looked_at, 1)]
    rows = size = 0
    for file in some:
        try:
            rows += pq.read_metadata(file.path).num_rows
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file.path}: is no Parquet file: {error}") from error
        size += file.size
    return rows * sum(file.size for file in files) // max(size, 1)


IDS: Final = ("accountId", "conversationId")


def read(piece: Piece, account: str, has_some: Callable[[pa.Table], bool] | None = None) -> Iterator[pa.Table]:
    """The events of a piece as tables of `model.EVENTS`. Raises InvalidEvents: which file, row and field; InputError.

    `account` is for events that name none, in files whose path names none either. `has_some` is given the ids (`IDS`)
    of a file; where it says that none is of interest, nothing else of the file is read.
    """
    for file, share in piece:
        account_of_file = file.account or account
        try:
            with pa.OSFile(file.path) as source:
                if has_some is not None and not any(map(has_some, _ids(source, account_of_file, share))):
                    continue
                source.seek(0)
                for task in parquet_tasks(source, account_of_file, share=share):
                    yield task().good_events(file.path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file.path}: cannot be read: {error}") from error


def _ids(source: pa.NativeFile, account: str, share: Share) -> Iterator[pa.Table]:
    """The ids of a share's events. An earlier run, or an earlier step, has read these events as a whole."""
    parquet = pq.ParquetFile(source, page_checksum_verification=True)
    sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    names = [name for name in IDS if name in parquet.schema_arrow.names]
    for batch in parquet.iter_batches(row_groups=share.of(sizes)[1], columns=names):
        ids = pa.Table.from_batches([batch])
        if "accountId" in names:
            accounts = pc.fill_null(ids["accountId"].cast(pa.string()), account)
        else:
            accounts = pa.repeat(account, ids.num_rows)
        yield pa.table({"accountId": accounts, "conversationId": ids["conversationId"]})
