"""How long something took, in words: at every border of what is shown, and never more than it was."""

from __future__ import annotations

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.durations import DAY, HOUR, MINUTE, SECOND, duration

BORDERS: Final = {
    0: "0 s",
    0.9: "0 s",
    1: "1 ms",
    999: "999 ms",
    999.9: "999 ms",
    1000: "1.0 s",
    1099: "1.0 s",
    9_899: "9.8 s",
    9_996: "9.9 s",
    9_999: "9.9 s",
    10_000: "10 s",
    59_999: "59 s",
    60_000: "1 min",
    60_999: "1 min",
    61_000: "1 min 1 s",
    119_999: "1 min 59 s",
    725_000: "12 min 5 s",
    HOUR - 1: "59 min 59 s",
    HOUR: "1 h",
    HOUR + MINUTE - 1: "1 h",
    HOUR + MINUTE: "1 h 1 min",
    2 * DAY - 1: "47 h 59 min",
    2 * DAY: "2 d",
    3 * DAY + 4 * HOUR: "3 d 4 h",
    3 * DAY + 5 * HOUR - 1: "3 d 4 h",
    1_234 * DAY: "1,234 d",
}
UNITS: Final = {"ms": 1, "s": SECOND, "min": MINUTE, "h": HOUR, "d": DAY}


@pytest.mark.parametrize(("milliseconds", "text"), BORDERS.items())
def test_a_duration_reads_as_people_say_it(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


@given(st.integers(0, 400 * DAY))
def test_it_is_never_said_to_be_longer_than_it_was_nor_shorter_by_more_than_its_last_unit(milliseconds: int) -> None:
    text = duration(milliseconds)
    parts = re.findall(r"([\d,.]+) (ms|s|min|h|d)\b", text)
    said = round(sum(float(number.replace(",", "")) * UNITS[unit] for number, unit in parts))
    last = 100 if "." in text else min(UNITS[unit] for _, unit in parts)
    if len(parts) == 1 and milliseconds >= MINUTE:
        last = {MINUTE: SECOND, HOUR: MINUTE, DAY: HOUR}[last]
    assert said <= milliseconds < said + last
    assert not re.search(r"\b(60 s|60 min|24 h)$", text)
