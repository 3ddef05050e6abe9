"""The picture of a conversation says what its explanation says: checked on the ten examples, and on messy streams."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest

from handletime.answers.clocks import ISO
from handletime.answers.labels import AccountLabels
from handletime.answers.words import CLAUSES, NO_EFFECT, NOT_HANDLED, QUEUE_ENDS, QUEUE_FOLLOWS, duration
from handletime.events.book import millis_of
from handletime.segments.explain import Reading, read
from handletime.segments.parts import prepare
from handletime.web.picture import LEFT, RIGHT, WIDTH, Scale, draw, lines_of
from handletime.web.why import doubts_of
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of

EXAMPLES = sorted((Path(__file__).parents[1] / "golden" / "examples").glob("*.json"))


def readings() -> Iterator[tuple[str, Reading]]:
    for path in EXAMPLES:
        events = json.loads(path.read_text())["events"]
        for conversation in sorted({event["conversationId"] for event in events}):
            prepared = prepare(events_of([{"accountId": "acme", **event} for event in events]))
            yield f"{path.stem} {conversation}", read(prepared, "acme", conversation)
    for seed in range(3):
        rows = [{**row, "accountId": "acme"} for row in messy_stream(seed, events=200, conversations=4, accounts=1)]
        prepared = prepare(events_of(rows))
        for conversation in sorted({str(row["conversationId"]) for row in rows}):
            yield f"messy {seed} {conversation!a}", read(prepared, "acme", conversation)


ALL = dict(readings())


@pytest.fixture(params=ALL)
def reading(request: pytest.FixtureRequest) -> Reading:
    """One after the other."""
    return ALL[request.param]


@pytest.mark.parametrize("true", [True, False])
def test_everything_is_drawn_in_its_place(reading: Reading, true: bool) -> None:
    picture = draw(reading, AccountLabels(), ISO, true=true)
    assert sorted(item.order for item in picture.items) == list(range(len(picture.items)))
    for item in picture.items:
        assert LEFT - 6 <= item.x <= item.x + item.width <= WIDTH - RIGHT + 6.01
        assert 0 < item.y < item.y + item.height <= picture.height
        assert item.says[0]
        assert item.label
        assert item.conversation or not item.text.endswith("…"), "what has no room is left out"
        assert not item.text or len(item.text) * 6 < item.width
    messages = sum(each.type == "message" for each in reading.explanation.moments)
    marks = [item for item in picture.items if item.mark and "message" in item.kind]
    assert len(marks) == messages


def test_units_and_handled_stretches_are_the_derivations(reading: Reading) -> None:
    picture = draw(reading, AccountLabels(), ISO)
    units = [unit for row in reading.explanation.agent_segments for unit in _units(row)]
    drawn = [(item.start, item.end) for item in picture.items if item.kind == "unit"]
    assert sorted(drawn) == sorted((millis_of(unit["start"]), millis_of(unit["end"])) for unit in units)
    handled = sum(item.end - item.start for item in picture.items if item.kind == "handled")
    assert handled == sum(unit["handleTimeMillis"] for unit in units)
    segments = [item for item in picture.items if item.kind.startswith("segment")]
    assert len(segments) == len(reading.explanation.agent_segments) + len(reading.explanation.skill_segments)


def test_queue_segments_are_drawn_and_told_as_they_are(reading: Reading) -> None:
    rows = reading.explanation.queue_segments
    drawn = [item for item in draw(reading, AccountLabels(), ISO).items if item.kind == "queued"]
    assert [(item.start, item.end) for item in drawn] == [
        (millis_of(row["start"]), reading.times[-1] if row["end"] is None else millis_of(row["end"])) for row in rows
    ]
    told = [line.queue for line in lines_of(reading, AccountLabels(), ISO) if line.queue]
    assert len(told) == len(rows)
    for row, item, line in zip(rows, drawn, told, strict=True):
        assert item.says[0].startswith(f"Queue segment {row['sequence']}: ")
        ended = QUEUE_ENDS[str(row["endReason"])] if row["end"] else "still running"
        assert QUEUE_FOLLOWS[str(row["follows"])] in item.says[1]
        assert ended in item.says[2]
        assert line.startswith(f"queue segment {row['sequence']} (")
        assert f"{item.says[1]}: {item.says[2]}" in line


def test_each_event_has_a_line(reading: Reading) -> None:
    lines = lines_of(reading, AccountLabels(), ISO)
    assert len(lines) == len(reading.explanation.moments)
    assert [bool(line.effect) for line in lines] == [each.no_effect is not None for each in reading.explanation.moments]


def test_every_reason_and_clause_has_words() -> None:
    moments = [each for reading in ALL.values() for each in reading.explanation.moments]
    assert {each.not_handled_because for each in moments} - {None} <= NOT_HANDLED.keys()
    assert {each.no_effect for each in moments} - {None} <= NO_EFFECT.keys()
    assert {each.rule for each in moments} | {each.handled_under for each in moments} - {None} <= CLAUSES.keys()


def test_what_begins_in_the_middle_is_told() -> None:
    told = {name for name, each in ALL.items() if any("in the middle" in doubt for doubt in doubts_of(each, 30))}
    assert {name for name in told if not name.startswith("messy")} == {
        "09-begins-in-the-middle c1",
        "09-begins-in-the-middle c2",
    }


def test_long_idle_stretches_are_folded_and_order_is_kept() -> None:
    times = [0, 1000, 2000, 3000, 100_000_000, 100_001_000, 100_002_000]
    folded, true = Scale(times, true=False), Scale(times, true=True)
    assert (folded.folded, true.folded) == ({3}, set())
    assert list(folded.folds()) == [(3000, 100_000_000)]
    for scale in (folded, true):
        places = [scale.at(time) for time in range(-1000, 4000, 100)] + [scale.at(time) for time in times[4:]]
        assert places == sorted(places)
        assert (places[0], places[-1]) == (LEFT, WIDTH - RIGHT)
    assert folded.at(3000) - folded.at(0) > 100 > true.at(3000) - true.at(0)


COMPARED = ("waits", "queued", "assigned", "focus", "unit", "segment")


@pytest.mark.parametrize("true", [True, False])
def test_of_two_stretches_the_longer_one_is_never_drawn_shorter(reading: Reading, true: bool) -> None:
    picture = draw(reading, AccountLabels(), ISO, true=true)
    _assert_in_order([(i.end - i.start, i.width) for i in picture.items if i.kind.split()[0] in COMPARED])
    told = [(item.start, item.end, item.x, item.width) for item in picture.items if item.kind == "folded"]
    assert [(x, width) for _, _, x, width in told] == [(fold.x, fold.width) for fold in picture.folds]
    for fold, (start, end, _, _) in zip(picture.folds, told, strict=True):
        assert fold.text == f"⋯ {duration(end - start)}"


def test_a_long_wait_that_is_folded_is_drawn_longer_than_a_short_one() -> None:
    minute = 60_000
    waits = [(0, 600), (606, 660), (663, 681), (1100, 1106)]
    times = sorted({-10, 1110, *(each for wait in waits for each in wait)})
    scale = Scale([t * minute for t in times], [(a * minute, b * minute) for a, b in waits], true=False)
    assert list(scale.folds()) == [(0, 600 * minute), (606 * minute, 660 * minute), (681 * minute, 1100 * minute)]
    drawn = [scale.at(b * minute) - scale.at(a * minute) for a, b in waits]
    assert drawn[0] >= drawn[1] >= drawn[2] > drawn[3] > 0


@pytest.mark.parametrize("seed", range(100))
def test_of_two_waits_the_longer_one_is_never_drawn_shorter_whatever_is_folded(seed: int) -> None:
    """Gaps of a moment to weeks; the last wait may go on up to now, in the queue or for an agent."""
    dice = random.Random(seed)
    reading = read(prepare(events_of(_with_gaps(dice))), "acme", "c", now=dice.choice([None, _END, _END + 10**9]))
    picture = draw(reading, AccountLabels(), ISO)
    waits = [item for item in picture.items if item.kind in ("waits", "queued")]
    # Each wait as long as it is: what the rows say, and for what goes on the time up to now.
    rows = reading.explanation.queue_segments
    queued = [(millis_of(row["start"]), reading.until if row["end"] is None else millis_of(row["end"])) for row in rows]
    assert sorted((item.start, item.end) for item in waits) == sorted([*reading.waits, *queued])
    if reading.waiting_since is not None and reading.until > reading.waiting_since:
        assert (reading.waiting_since, reading.until) in reading.waits
    _assert_in_order([(item.end - item.start, item.width) for item in waits])
    _assert_in_order([(i.end - i.start, i.width) for i in picture.items if i.kind.split()[0] in COMPARED])


_END = 1_700_000_000_000


def _with_gaps(dice: random.Random) -> list[dict[str, object]]:
    time, rows = _END, list[dict[str, object]]()
    kinds: list[dict[str, object]] = [
        {"type": "message", "sentBy": "consumer"},
        {"type": "message", "sentBy": "agent"},
        {"type": "assigned", "agentId": 7},
        {"type": "assigned", "agentId": 8},
        {"type": "transferred", "reason": "backToQueue"},
        {"type": "transferred", "reason": "skill", "skillId": 2},
        {"type": "focused", "agentId": 7},
        {"type": "unfocused", "agentId": 7},
        {"type": "closed", "closedBy": "consumer"},
        {"type": "resumed"},
    ]
    for i in reversed(range(dice.randint(6, 60))):
        kind = dice.choices(kinds, [6, 6, 3, 2, 1, 1, 3, 2, 1, 3])[0] if i else {"type": "opened"}
        rows.append({"accountId": "acme", "conversationId": "c", "eventId": f"{i}", "time": time, **kind})
        time -= int(10 ** dice.uniform(0, dice.choice([4, 6, 8, 9.5])))
    return rows


@pytest.mark.parametrize("seed", range(200))
def test_whatever_is_folded_the_order_of_lengths_stays(seed: int) -> None:
    dice = random.Random(seed)
    times = list(accumulate(int(10 ** dice.uniform(0, dice.choice([4, 6, 8]))) + 1 for _ in range(dice.randint(5, 60))))
    spans = [tuple(sorted(dice.sample(times, 2))) for _ in range(dice.randint(1, 80))]
    scale = Scale(times, [(a, b) for a, b in spans], true=False)
    _assert_in_order([(b - a, scale.at(b) - scale.at(a)) for a, b in spans])
    assert all(b - a >= 30_000 for a, b in scale.folds())
    places = [scale.at(time) for time in times]
    assert places == sorted(places)
    assert places[0] == LEFT
    assert places[-1] == pytest.approx(WIDTH - RIGHT)


def _assert_in_order(drawn: list[tuple[int, float]]) -> None:
    widest: dict[int, float] = {}
    narrowest: dict[int, float] = {}
    for length, width in drawn:
        widest[length] = max(widest.get(length, width), width)
        narrowest[length] = min(narrowest.get(length, width), width)
    for a, b in pairwise(sorted(widest)):
        assert narrowest[b] >= widest[a] - 1e-3, (a, b)
        assert narrowest[a] == pytest.approx(widest[a], abs=1e-3)


def test_days_are_named_where_there_are_several() -> None:
    hour = 3_600_000
    one = [tick.text for tick in Scale([0, 5 * hour], true=True).ticks(ISO)]
    assert one[:2] == ["00:00", "01:00"]
    two = [tick.text for tick in Scale([20 * hour, 30 * hour], true=True).ticks(ISO)]
    assert two[0] == "01-01 20:00"
    assert "01-02 00:00" in two
    assert [tick.text for tick in Scale([0, 20_764 * 24 * hour], true=True).ticks(ISO)][:2] == [
        "1970-01-01",
        "1979-12-30",
    ]


def _units(row: dict[str, Any]) -> list[dict[str, Any]]:
    units: list[dict[str, Any]] = row["handleTimeUnits"]
    return units
