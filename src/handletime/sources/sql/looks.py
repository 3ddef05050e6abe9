"""What is plainly wrong with a file, seen from its first bytes: it is empty, or not what its name says."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from handletime.errors import InputError

HEAD_BYTES: Final = 1 << 12
"""So many bytes are looked at; of a .gz so many that are unpacked."""
SHEET: Final = "save the sheet as CSV, with times and long numbers as text"
CUT: Final = "ends too early; copy it again"
_EMPTY: Final = "is empty; export it again, or leave it out"
_NO_PARQUET: Final = "is no Parquet, whatever its name says; name it by what it is (.csv, .json)"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_OTHERS: Final[Mapping[bytes, str]] = {
    b"PK\x03\x04": f"is an Excel workbook or another zip archive; {SHEET}, or unpack the archive",
    b"\xd0\xcf\x11\xe0": f"is an Excel workbook of the old kind; {SHEET}",
    b"%PDF-": "is a PDF; export the data as CSV or JSON",
    b"PAR1": "is Parquet; name it .parquet",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it first",
    b"\xfd7zXZ\x00": "is packed by xz; unpack it first",
}
_PAGE: Final = (b"<!doctype", b"<html", b"<?xml")
_JSON: Final = re.compile(rb"(\[\s*)?\{\s*\"")
_CONTROLS: Final = bytes({*range(32)} - {*b"\t\n\v\f\r"})
_CONTROLS_FEW: Final = 4
"""So many control characters may be in a text, and one in 20; more, with a NUL among them, are in none."""


def require_likely(file: str, kind: str, encoding: str, *, header: bool = True) -> None:
    """Raises InputError where a file is plainly not of a kind (csv, json or parquet), without what stands in it.

    `encoding` and `header` are those of CSV. A pipe is not looked at: what is read of it is gone.
    """
    if Path(file).is_fifo():
        return
    head = _head(file)
    if kind == "parquet":
        if not head.startswith(b"PAR1"):
            raise InputError(f"{file}: {_NO_PARQUET if head else _EMPTY}")
        return
    text = head.removeprefix(_UTF8_MARK).lstrip()
    if wrong := _wrong(text, file, kind, header) if text else _empty(head, file):
        raise InputError(f"{file}: {wrong}")
    if kind == "csv" and encoding.lower() == "utf-16":
        if b"\0" not in head:  # A comma has one.
            raise InputError(f"{file}: is not written in UTF-16; leave --encoding out, or give another one")
        return
    if _is_utf16(head):
        way = "give --encoding utf-16" if kind == "csv" else "save it as UTF-8"
        raise InputError(f"{file}: is written in UTF-16; {way}")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if b"\0" in head and controls > _CONTROLS_FEW + len(head) // 20:
        raise InputError(f"{file}: is no text, whatever its name says; export the data as CSV or JSON")
    if kind == "json" and text and text[:1] not in b"{[":
        raise InputError(f"{file}: is no JSON: a record begins with {{; name CSV .csv")


def _empty(head: bytes, file: str) -> str:
    """What is wrong with a file that begins with nothing; a file with a record on each line may have none."""
    may_be = file.lower().removesuffix(".gz").endswith((".ndjson", ".jsonl"))
    return "" if may_be or len(head) == HEAD_BYTES else _EMPTY


def _wrong(text: bytes, file: str, kind: str, header: bool) -> str:
    """What a text is instead of CSV or JSON; nothing where it may be that."""
    for first, what in _OTHERS.items():
        if text.startswith(first):
            return what
    if text.startswith(b"\x1f\x8b"):
        packed = "twice" if file.lower().endswith(".gz") else f"by gzip; name it {Path(file).name}.gz"
        return f"is packed {packed}"
    if text.lower().startswith(_PAGE):
        return "is a web page or XML; export the data as CSV or JSON"
    if kind == "csv" and header and _JSON.match(text):
        return "is JSON; name it .json"
    return ""


def _head(file: str) -> bytes:
    """The first bytes of a file, unpacked where its name ends in .gz. Raises InputError."""
    try:
        with gzip.open(file) if file.lower().endswith(".gz") else Path(file).open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except EOFError:
        raise InputError(f"{file}: {CUT}") from None
    except (gzip.BadGzipFile, zlib.error):
        way = "if it is not packed, name it without .gz, else copy it again"
        raise InputError(f"{file}: is not packed by gzip, or broken; {way}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None


def _is_utf16(head: bytes) -> bool:
    """Whether a text begins with the mark of UTF-16, or most of it are Latin letters with a NUL before or behind."""
    if head.startswith(_UTF16_MARKS):
        return True
    even, odd = head[::2], head[1::2]
    some, others = sorted((even.count(0), odd.count(0)))
    return some == 0 and others * 2 > len(even)
