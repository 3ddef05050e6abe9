"""What a server warms up with is taken: otherwise nothing would be compiled before the first request."""

from handletime.events.decode import decode_lines
from handletime.store.warming import _EVENTS


def test_every_event_that_warms_up_is_good() -> None:
    decoded = decode_lines(_EVENTS, account="local")
    assert decoded.refused == []
    assert decoded.events.num_rows == len(_EVENTS.splitlines())
