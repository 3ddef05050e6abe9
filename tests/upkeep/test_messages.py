"""What goes through the socket of a running server."""

from __future__ import annotations

import msgspec
import pytest

from handletime.upkeep.messages import Answer, Done, Failed, ProgressMessage


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b'{"type":"Progress","what":"removing","done":2,"of":10}', ProgressMessage("removing", 2, 10)),
        (b'{"type":"Done","result":{}}', Done(msgspec.Raw(b"{}"))),
        (b'{"type":"Failed","kind":"input","message":"no"}', Failed("input", "no")),
    ],
)
def test_messages_are_written_as_the_protocol_says(line: bytes, answer: Answer) -> None:
    """A command line and a server of two versions understand each other while one of them is upgraded."""
    assert msgspec.json.encode(answer) == line
    assert msgspec.json.decode(line, type=Answer) == answer
