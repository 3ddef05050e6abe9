"""What is said: durations at every border of what is shown, moments, counts; and every value of a closed list."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.answers import words
from handletime.answers.live import State
from handletime.answers.words import (
    begins_in_the_middle,
    count,
    duration,
    left_out,
    long_units,
    moment_exactly,
    no_focus_data_of,
    rfc_3339,
    without_focus_data,
)
from handletime.clock import DAY, HOUR, MINUTE, SECOND
from handletime.segments import rules
from handletime.segments.explain import RULES, Clause, NotHandled

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
    HOUR + MINUTE: "1 h 01 min",
    2 * DAY - 1: "47 h 59 min",
    2 * DAY: "48 h",
    86 * HOUR + 8 * MINUTE: "86 h 08 min",
    86 * HOUR + 9 * MINUTE - 1: "86 h 08 min",
    1_234 * DAY: "29,616 h",
}
UNITS: Final = {"ms": 1, "s": SECOND, "min": MINUTE, "h": HOUR}


@pytest.mark.parametrize(("milliseconds", "text"), BORDERS.items())
def test_a_duration_reads_as_people_say_it(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


@given(st.integers(0, 400 * DAY))
def test_it_is_never_said_to_be_longer_than_it_was_nor_shorter_by_more_than_its_last_unit(milliseconds: int) -> None:
    text = duration(milliseconds)
    parts = re.findall(r"([\d,.]+) (ms|s|min|h)\b", text)
    said = round(sum(float(number.replace(",", "")) * UNITS[unit] for number, unit in parts))
    last = 100 if "." in text else min(UNITS[unit] for _, unit in parts)
    if len(parts) == 1 and milliseconds >= MINUTE:
        last = {MINUTE: SECOND, HOUR: MINUTE}[last]
    assert said <= milliseconds < said + last
    assert not re.search(r"\b(60 s|60 min)$", text)


LISTS: Final[dict[str, tuple[Mapping[str, str], Collection[str]]]] = {
    "states": (words.STATES, get_args(State)),
    "outcomes": (words.OUTCOMES, rules.OUTCOMES),
    "end reasons": (words.END_REASONS, rules.END_REASONS),
    "follows": (words.FOLLOWS, rules.FOLLOWS),
    "queue follows": (words.QUEUE_FOLLOWS, rules.QUEUE_FOLLOWS),
    "queue ends": (words.QUEUE_ENDS, rules.QUEUE_ENDS),
    "unit starts": (words.UNIT_STARTS, rules.UNIT_STARTS),
    "unit ends": (words.UNIT_ENDS, rules.UNIT_ENDS),
    "not handled": (words.NOT_HANDLED, get_args(NotHandled)),
    "no effect": (words.NO_EFFECT, rules.EFFECTS[1:]),
}


@pytest.mark.parametrize("name", LISTS)
def test_every_value_of_a_closed_list_has_words(name: str) -> None:
    said, values = LISTS[name]
    assert set(said) == set(values)
    assert all(said.values())


def test_every_clause_that_an_explanation_names_has_words() -> None:
    assert {*RULES.values(), *get_args(Clause)} <= words.CLAUSES.keys()


def test_a_moment_is_said_as_short_as_it_is_exact_and_in_rfc_3339_with_its_offset() -> None:
    berlin, moment = ZoneInfo("Europe/Berlin"), 1_761_438_600_000  # 02:30 for the first time
    assert moment_exactly(moment, berlin) == "2025-10-26 02:30 +02:00"
    assert moment_exactly(moment + HOUR, berlin) == "2025-10-26 02:30 +01:00"
    assert moment_exactly(moment + 1, ZoneInfo("UTC")) == "2025-10-26 00:30:00.001"
    assert rfc_3339(moment + 1, berlin) == "2025-10-26T02:30:00.001+02:00"
    assert rfc_3339(moment) == rfc_3339(moment, ZoneInfo("UTC")) == "2025-10-26T00:30:00.000Z"
    assert rfc_3339(-1) == "1969-12-31T23:59:59.999Z"


def test_counts_are_said_in_good_english() -> None:
    assert [count(number, "copy", "copies") for number in (0, 1, 2000)] == ["0 copies", "1 copy", "2,000 copies"]
    assert left_out(1) == "1 more conversation is open that was opened before all of these, and is not counted here"
    assert left_out(2000).startswith("2,000 more conversations are open that were opened")
    assert begins_in_the_middle("The conversation") == "The conversation begins in the middle: no opening comes first"
    assert begins_in_the_middle(count(1025, "talk"), 1025).startswith("1,025 talks begin in ")
    assert no_focus_data_of("Jackdaw") == "Jackdaw's screen sent no focus data: handle time unknown"
    assert without_focus_data(1, 2, "human agent").startswith("1 of 2 human agents has no focus data")
    assert long_units(1) == "1 handle-time unit is longer than 30 minutes: a focus that nobody ended?"
    assert long_units(2, 45, "3 h in all").startswith("2 handle-time units are longer than 45 minutes (3 h in all): ")
