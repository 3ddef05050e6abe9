"""Answers as a table: CSV of RFC 4180 with one header line, and its HTTP headers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from litestar import Response

from handletime.api.answer import Answer
from handletime.events.model import EPOCH
from handletime.segments.cells import csv_lines

TYPE: Final = "text/csv"
ROWS_MAX: Final = 100_000
"""The most rows of one answer."""
_AT_ONCE: Final = 1000


def csv_answer(
    answer: Answer,
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    file_name: str,
    total: int,
    next_page: str | None = None,
) -> Response[Any]:
    """Rows as CSV (`segments.cells`). Raises TooMany, BadRequest.

    `total` is how many rows there are on all pages (`X-Total-Count`),
    `next_page` the link to the page after this one, if there is one (`Link`, RFC 8288).
    """
    lines = csv_lines(names, rows)
    while some := "".join(islice(lines, _AT_ONCE)):
        answer.add(some.encode())
    headers = {
        "Vary": "Accept",
        "X-Total-Count": str(total),
        "Content-Disposition": f'attachment; filename="{file_name}"',
    }
    if next_page is not None:
        headers["Link"] = f'<{next_page}>; rel="next"'
    return answer.response(TYPE, headers)


def file_name(account: str, method: str, start: int, end: int, extension: str = "csv") -> str:
    """The name of a table's file: account, method and window ([start, end), epoch milliseconds), in UTC."""
    return f"{account}_{method}_{_stamp(start)}_{_stamp(end)}.{extension}"


def _stamp(millis: int) -> str:
    """A time without characters that file names may not have; with milliseconds where they are not 0."""
    fraction = f".{millis % 1000:03d}" if millis % 1000 else ""
    moment = EPOCH + timedelta(milliseconds=millis)
    return moment.replace(microsecond=0, tzinfo=None).isoformat().replace("-", "").replace(":", "") + f"{fraction}Z"
