"""What a server warms up with is taken: otherwise nothing would be compiled before the first request."""

from handletime.cli.warming import _EVENTS
from handletime.events.decode import decode_lines


def test_every_event_that_warms_up_is_good() -> None:
    decoded = decode_lines(_EVENTS, account="local")
    assert decoded.refused == []
    assert decoded.events.num_rows == len(_EVENTS.splitlines())
