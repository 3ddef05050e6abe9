"""Files for workforce tools, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from handletime.answers.files import asked
from handletime.answers.intervals import clock_bounds
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.workforce import GENESYS, Cells, Format, Rules, cells, is_name_for_genesys, lines
from handletime.events.book import instant
from handletime.segments.derive import derive
from tests.segments.tables import events_of

BERLIN = ZoneInfo("Europe/Berlin")
UTC = ZoneInfo("UTC")
RULES = Rules()
Event = dict[str, object]


def at(text: str) -> int:
    return instant(text) or 0


def conversation(name: str, begin: int, *events: tuple[float, Event]) -> list[Event]:
    """Events some seconds after the beginning."""
    return [
        {
            "accountId": "acme",
            "conversationId": name,
            "eventId": str(place),
            "time": begin + round(1000 * after),
            **event,
        }
        for place, (after, event) in enumerate(events)
    ]


OPENED: Event = {"type": "opened", "skillId": 10}
CONSUMER: Event = {"type": "message", "sentBy": "consumer"}
LEFT: Event = {"type": "closed", "closedBy": "consumer"}
DONE: Event = {"type": "closed", "closedBy": "agent"}


def assigned(agent: int, user_type: str = "human") -> Event:
    return {"type": "assigned", "agentId": agent, "userType": user_type}


def focused(agent: int) -> Event:
    return {"type": "focused", "agentId": agent}


def wrote(agent: int) -> Event:
    return {"type": "message", "sentBy": "agent", "agentId": agent}


def answered(name: str, begin: int, wait: float, agent: int = 1) -> list[Event]:
    """Assigned after a wait, 20.4 s of handle time, closed a second later."""
    return conversation(
        name,
        begin,
        (0, OPENED),
        (0, CONSUMER),
        (wait, assigned(agent)),
        (wait, focused(agent)),
        (wait + 20.4, wrote(agent)),
        (wait + 21.4, DONE),
    )


@contextmanager
def snapshot_of(events: list[Event], folder: Path) -> Iterator[Snapshot]:
    with asked([derive(events_of(events))], folder, memory=1 << 30) as collected:
        yield collected.snapshot


def found_of(
    events: list[Event],
    folder: Path,
    start: str,
    end: str,
    rules: Rules = RULES,
    zone: ZoneInfo = UTC,
    step: int = 15,
) -> Cells:
    with snapshot_of(events, folder) as snapshot:
        return cells(snapshot, Selection(clock_bounds(at(start), at(end), step, zone)), rules)


def text_of(found: Cells, form: Format, interval: int = 15, zone: ZoneInfo = UTC) -> list[str]:
    return "".join(lines(found, form, interval, zone, {10: "Sales; =new"}.get)).split("\r\n")[:-1]


NINE = at("2026-11-20T09:00:00Z")
DAY = [
    *answered("a", NINE, 4.6),
    *answered("b", NINE + 14 * 60_000 + 58_000, 100),  # begins in one interval, and ends in the next
    *conversation("c", NINE, (0, OPENED), (0, CONSUMER), (3.2, LEFT)),
    *conversation("d", NINE, (0, OPENED), (0, CONSUMER), (50, LEFT)),
    *conversation("e", NINE, (0, OPENED), (0, CONSUMER), (61, LEFT)),
    *conversation("f", NINE, (0, OPENED), (1, CONSUMER)),  # waits still
    *conversation(
        "g",
        NINE,
        (0, OPENED),
        (10, {"type": "transferred", "reason": "skill", "skillId": 20}),
        (25, assigned(1)),
    ),
    *conversation("h", NINE, (0, OPENED), (2, assigned(9, "bot")), (3, DONE)),  # for a bot
]


def test_cells_count_what_starts_and_what_ends_in_an_interval(tmp_path: Path) -> None:
    found = found_of(DAY, tmp_path, "2026-11-20T09:00:00Z", "2026-11-20T09:45:00Z")
    assert text_of(found, "calabrio") == [
        # a, b, c, d, e, f and g come; a is answered, c, d and e leave, g is passed on
        "15;20261120;09:00;10;Sales  =new;7;0;3;1;1;5;114;20;0;5;61;0;1;0;1;1",
        "15;20261120;09:00;20;skill 20;0;1;0;0;1;15;0;0;0;15;0;0;1;0;0;0",
        "15;20261120;09:15;10;Sales  =new;0;0;0;0;1;100;0;20;0;100;0;0;0;0;0;0",
        "15;20261120;09:15;20;skill 20;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0",
        "15;20261120;09:30;10;Sales  =new;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0",
        "15;20261120;09:30;20;skill 20;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0",
    ]
    assert all(line.count(";") == 20 for line in text_of(found, "calabrio"))
    assert text_of(found, "genesys") == [
        ",".join(GENESYS),
        '2026-11-20T09:00:00Z,"Sales;\' =new",message,,,7,1,20',
        "2026-11-20T09:00:00Z,skill 20,message,,,1,0,0",
        '2026-11-20T09:15:00Z,"Sales;\' =new",message,,,0,1,20',
        "2026-11-20T09:15:00Z,skill 20,message,,,0,0,0",
        '2026-11-20T09:30:00Z,"Sales;\' =new",message,,,0,0,0',
        "2026-11-20T09:30:00Z,skill 20,message,,,0,0,0",
    ]
    assert found.left_out == []


def test_seconds_are_rounded_once_for_each_cell(tmp_path: Path) -> None:
    """Four times 20.4 s are 81.6 s: 82, and not four times 20."""
    events = [event for number in range(4) for event in answered(str(number), NINE + number * 30_000, 4.6)]
    found = found_of(events, tmp_path, "2026-11-20T09:00:00Z", "2026-11-20T09:15:00Z")
    assert text_of(found, "genesys")[1].split(",")[-3:] == ["4", "4", "82"]


def test_handle_time_lies_where_segments_end_or_where_it_was(tmp_path: Path) -> None:
    events = answered("a", NINE + 14 * 60_000 + 45_000, 5)  # handled from 09:14:50 to 09:15:10.4
    window = ("2026-11-20T09:00:00Z", "2026-11-20T09:30:00Z")
    by_end = found_of(events, tmp_path, *window)
    split = found_of(events, tmp_path, *window, Rules(split=True))
    assert by_end.numbers["handleTime"].tolist() == [[0, 20_400]]
    assert split.numbers["handleTime"].tolist() == [[10_000, 10_400]]
    assert split.numbers["handled"].tolist() == by_end.numbers["handled"].tolist() == [[0, 1]]


def test_who_comes_back_to_the_queue_counts_once_or_each_time(tmp_path: Path) -> None:
    back: Event = {"type": "transferred", "reason": "backToQueue"}
    events = conversation("a", NINE, (0, OPENED), (5, assigned(1)), (6, back), (9, assigned(2)), (10, DONE))
    window = ("2026-11-20T09:00:00Z", "2026-11-20T09:15:00Z")
    once, twice = (found_of(events, tmp_path, *window, Rules(re_entries=each)) for each in (False, True))
    assert [[int(each.numbers[name].sum()) for name in ("direct", "answered")] for each in (once, twice)] == [
        [1, 1],
        [2, 2],
    ]


def test_what_is_in_no_row_is_said(tmp_path: Path) -> None:
    without_skill = conversation("a", NINE, (0, {"type": "opened"}), (5, LEFT))
    blind = conversation("b", NINE, (0, OPENED), (0, CONSUMER), (5, assigned(3)), (9, wrote(3)), (10, DONE))
    found = found_of([*without_skill, *blind], tmp_path, "2026-11-20T09:00:00Z", "2026-11-20T09:15:00Z")
    assert found.skills == [10]
    assert found.numbers["handled"].tolist() == [[0]]
    assert found.numbers["answered"].tolist() == [[1]]
    assert found.left_out == [
        "1 contact and 0 handled segments without a skill (-1) are left out: a file has rows by skill",
        "1 agent without focus data: 1 handled segment of unknown handle time left out, of the handled and of the "
        "handle time alike",
    ]


def test_the_hour_that_comes_twice_is_one_row_of_local_time(tmp_path: Path) -> None:
    first, second = (
        answered(name, at(f"2026-10-25T0{hour}:30:00Z"), wait) for name, hour, wait in (("a", 0, 3), ("b", 1, 9))
    )
    window = ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")
    found = found_of([*first, *second], tmp_path, *window, zone=BERLIN, step=60)
    told = [line.split(";") for line in text_of(found, "calabrio", 60, BERLIN)]
    assert len(told) == 24, "a day of 25 hours"
    assert [line[2] for line in told] == [f"{hour:02}:00" for hour in range(24)]
    (of_both,) = [line for line in told if line[5] != "0"]
    assert (of_both[2], of_both[5], of_both[9], of_both[10], of_both[14]) == ("02:00", "2", "2", "12", "9")
    genesys = [line for line in text_of(found, "genesys")[1:] if ",0,0,0" not in line]
    assert [line.partition(",")[0] for line in genesys] == ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"]


@pytest.mark.parametrize(("name", "fits"), [("day.csv", True), ("a day.csv", False), ("a{.csv", False), ("a]", False)])
def test_names_that_genesys_takes(name: str, fits: bool) -> None:
    assert is_name_for_genesys(name) is fits
