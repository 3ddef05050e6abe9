"""Verdicts that SQL counts, against those of each wait by itself (rules.md 5)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from handletime.answers import levels
from handletime.answers.figures import span
from handletime.answers.files import asked
from handletime.answers.flat import Shape, written
from handletime.answers.levels import (
    VERDICTS,
    JudgedWait,
    Verdicts,
    WaitKey,
    WaitOrder,
    verdicts_by_target,
    verdicts_of,
    waits_of,
)
from handletime.answers.registry import CLOCK_TABLES, LEVELS
from handletime.answers.relations import Snapshot
from handletime.answers.report import Question, Report, chosen
from handletime.answers.selection import Selection
from handletime.answers.sums import By
from handletime.clock import DAY, HOUR, MINUTE
from handletime.segments.derive import Derived, derive
from handletime.targets.hours import ALWAYS, Calendar
from handletime.targets.targets import (
    ABANDONED,
    CLOCKS,
    FROMS,
    NO_TARGETS,
    AccountTargets,
    Clock,
    Judged,
    Of,
    Target,
    Targets,
)
from handletime.targets.waits import AgentSegment, QueueSegment, judged
from tests.api.world import MemoryReader
from tests.messy_streams import SKILLS, SOURCES, messy_stream
from tests.segments.tables import events_of
from tests.targets.test_hours import calendar

Made = Callable[[int], tuple[Derived, Snapshot]]
Row = dict[str, Any]
ENDED = {"met", "missed", "left"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Derives a messy stream; gives its tables and a snapshot of them."""
    with ExitStack() as stack:

        def of_seed(seed: int) -> tuple[Derived, Snapshot]:
            derived = derive(events_of(messy_stream(seed, events=400)))
            return derived, stack.enter_context(asked([derived], tmp_path, memory=1 << 30))[0]

        yield of_seed


def random_targets(random: Random, first: int) -> Targets:
    """Targets with conditions and hours of all kinds; `first` is the time of the first segment's end."""

    def some(values: tuple[Any, ...]) -> frozenset[Any] | None:
        return frozenset(random.sample(values, 2)) if random.random() < 0.4 else None

    def calendar() -> Calendar:
        if random.random() < 0.3:
            return ALWAYS
        spans = tuple(sorted((at, at + random.choice((7, 60, 600, 1500))) for at in random.sample(range(1320), 2)))
        days = tuple(spans if random.random() < 0.8 else () for _ in range(7))
        return Calendar("some", ZoneInfo(random.choice(("Europe/Berlin", "Australia/Lord_Howe"))), days)

    def limits() -> dict[Clock, int]:
        return {
            clock: random.choice((1, 500, 5000, MINUTE, 10 * MINUTE, HOUR, DAY))
            for clock in CLOCKS
            if random.random() < 0.7
        }

    return Targets(
        tuple(
            Target(
                name=f"target {number}",
                limits=limits(),
                calendar=calendar(),
                accounts=some(("local", "B2", "A7")),
                skills=some(SKILLS),
                sources=some(tuple(source.lower() for source in SOURCES)),
                user_type=random.choice((None, None, "human", "bot")),
                since=random.choice((None, first + random.randrange(HOUR))),
                first_response_from=random.choice(FROMS),
                response_first=random.random() < 0.5,
                short_abandon=random.choice((None, 1000, 10 * MINUTE)),
                abandoned=random.choice(ABANDONED),
            )
            for number in range(random.randint(1, 5))
        )
    )


def rows_of(table: pa.Table) -> list[Row]:
    """Rows with times in epoch milliseconds."""
    columns = {}
    for field in table.schema:
        column = table[field.name]
        is_list = pa.types.is_list(field.type)
        if pa.types.is_timestamp(field.type.value_type if is_list else field.type):
            kind = pa.timestamp("ms", "UTC")
            column = column.cast(pa.list_(kind) if is_list else kind).cast(
                pa.list_(pa.int64()) if is_list else pa.int64()
            )
        columns[field.name] = column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def judged_one_by_one(derived: Derived, targets: Targets) -> Iterator[tuple[Row, Judged]]:
    """Each wait of each segment that ended."""
    for row in rows_of(derived.agent_segments):
        segment = AgentSegment(
            of=Of(row["skillId"], row["source"], row["start"], row["userType"]),
            end=row["end"],
            follows=row["follows"],
            queued_since=row["queuedSince"],
            first_response=row["firstResponseMillis"],
            responses=list(zip(row["responseWaitingSince"], row["responseMillis"], strict=True)),
            first_is_response=row["firstMessageIsResponse"],
            wrote=row["agentMessages"] > 0,
        )
        if row["end"] is not None:
            yield from ((row, each) for each in judged(targets.of(row["accountId"]), segment, 0))
    for row in rows_of(derived.queue_segments):
        queue = QueueSegment(Of(row["skillId"], row["source"], row["start"]), row["end"], row["endReason"])
        if row["end"] is not None:
            yield from ((row, each) for each in judged(targets.of(row["accountId"]), queue, 0))


def counted(sums: Any, clock: Clock, place: int) -> dict[str, int]:
    return {name.lower(): int(sums.sums[f"{clock}{name}"][place]) for name in VERDICTS}


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_the_single_waits(seed: int, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 3 == 2:
        monkeypatch.setattr(levels, "SLOTS_MAX", 10)  # each wait is looked up
    derived, snapshot = made(seed)
    first, last = span(snapshot) or (0, 0)
    if seed % 3 == 1:
        monkeypatch.setattr(levels, "BEFORE", (first - last) // 2)  # half of the waits began before the grid
    targets = random_targets(Random(seed), first)
    alone = list(judged_one_by_one(derived, targets))
    assert {each.verdict for _, each in alone} <= ENDED
    of = Selection((first, last + 1))
    for clock in CLOCKS:
        mine = [(row, each) for row, each in alone if each.wait.clock == clock]
        sums = verdicts_of(snapshot, clock, targets.of(None), ("skillId",), of)
        wanted: dict[int, Counter[str]] = {}
        for row, each in mine:
            wanted.setdefault(row["skillId"], Counter())[each.verdict] += 1
        assert sums.keys["skillId"].tolist() == sorted(wanted)
        for place, skill in enumerate(sorted(wanted)):
            assert Counter(counted(sums, clock, place)) == wanted[skill], (clock, skill)
        by_target: dict[str, Counter[str]] = {}
        for _, each in mine:
            by_target.setdefault(each.target.name, Counter())[each.verdict] += 1
        told = verdicts_by_target(snapshot, clock, targets.of(None), of)
        assert {name: Counter(counts) for name, counts in told.items()} == by_target


@pytest.mark.parametrize("seed", range(6))
def test_an_account_and_an_interval_have_their_own(seed: int, made: Made) -> None:
    derived, snapshot = made(seed)
    first, last = span(snapshot) or (0, 0)
    targets = random_targets(Random(100 + seed), first)
    alone = list(judged_one_by_one(derived, targets))
    bounds = [*range(first, last + 1, max((last - first) // 7, 1)), last + 1]
    for account in ("local", "B2"):
        of = Selection(bounds, account=account)
        for clock in CLOCKS:
            sums = verdicts_of(snapshot, clock, targets.of(account), ("interval",), of)
            places = sums.keys["interval"].tolist()
            wanted: dict[int, Counter[str]] = {}
            for row, each in alone:
                if row["accountId"] == account and each.wait.clock == clock:
                    place = next(n for n, end in enumerate(bounds[1:]) if row["end"] < end)
                    wanted.setdefault(place, Counter())[each.verdict] += 1
            assert {p: Counter(counted(sums, clock, n)) for n, p in enumerate(places)} == wanted


@pytest.mark.parametrize("seed", range(4))
def test_what_is_asked_once_is_what_each_question_finds(seed: int, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    _, snapshot = made(seed)
    first, last = span(snapshot) or (0, 0)
    own = random_targets(Random(200 + seed), first).of(None)
    number = 0

    def counted(*question: Any) -> Any:
        nonlocal number
        number += 1
        return verdicts_of(*question)

    monkeypatch.setattr(levels, "verdicts_of", counted)
    finest: tuple[By, ...] = ("skillId", "interval", "agentId", "userType")
    bounds = [*range(first, last + 1, max((last - first) // 5, 1)), last + 1]
    verdicts = Verdicts(snapshot, own, finest)
    for clock in CLOCKS:
        number = 0
        asked: tuple[tuple[By, ...], ...] = ((), ("skillId",), ("interval",), ("interval", "skillId"))
        if clock != "queueWait":
            asked += (("agentId",), ("agentId", "interval", "skillId"))
        users = (None,) if clock == "queueWait" else (None, "human", "bot")
        for by, user_type in product(asked, users):
            of = Selection(bounds, user_type=user_type)
            found, alone = verdicts.of(clock, by, of), verdicts_of(snapshot, clock, own, by, of)
            assert {key: values.tolist() for key, values in found.keys.items()} == {
                key: values.tolist() for key, values in alone.keys.items()
            }
            assert {name: values.tolist() for name, values in found.sums.items()} == {
                name: values.tolist() for name, values in alone.sums.items()
            }
        assert number == 1
        # Another window, or a key that is not among the finest, is another question.
        verdicts.of(clock, ("skillId",), Selection((first, last)))
        assert number == 2
        if clock != "queueWait":
            verdicts.of(clock, ("groupId",), Selection(bounds))
            assert number == 3


@pytest.mark.parametrize("seed", range(6))
def test_the_waits_behind_a_count_are_listed_in_pages(seed: int) -> None:
    reader = MemoryReader("local")
    events = events_of(messy_stream(seed, events=400))
    reader.add(events.filter(pc.equal(events["accountId"], "local")))
    derived = derive(reader.events)
    with reader.snapshot() as snapshot:
        check_waits(seed, derived, snapshot)


def check_waits(seed: int, derived: Derived, snapshot: Snapshot) -> None:
    first, last = span(snapshot) or (0, 0)
    targets = random_targets(Random(200 + seed), first)
    of = Selection((first, last + 1), account="local")
    mine = list(judged_one_by_one(derived, targets))
    for clock, verdict in product(CLOCKS, (None, *VERDICTS)):
        wanted = [
            (
                row["conversationId"],
                row.get("agentId"),
                row["skillId"],
                each.wait.start,
                each.until,
                each.elapsed,
                each.target.name,
                each.limit,
                each.verdict.capitalize(),
            )
            for row, each in mine
            if each.wait.clock == clock and verdict in (None, each.verdict.capitalize())
        ]
        found: list[JudgedWait] = []
        while True:
            counts, page = waits_of(
                snapshot, clock, targets.of("local"), of, "local", verdict, offset=len(found), limit=7
            )
            assert (counts[verdict] if verdict else sum(counts.values())) == len(wanted)
            found += page
            if not page:
                break
        assert Counter(
            (w.conversation, w.agent, w.skill, w.since, w.until, w.elapsed, w.target.name, w.limit, w.verdict)
            for w in found
        ) == Counter(wanted)
        assert [each.until for each in found] == sorted((each.until for each in found), reverse=True)
        assert waits_of(snapshot, clock, targets.of("local"), of, "local", verdict) == (counts, found)
        for key, descending in product(get_args(WaitKey), (True, False)):
            order = WaitOrder(key, descending)
            pages = [
                waits_of(snapshot, clock, targets.of("local"), of, "local", verdict, order=order, offset=at, limit=9)[1]
                for at in range(0, len(wanted) + 1, 9)
            ]
            by = {"until": lambda each: each.until, "wait": lambda each: each.until - each.since}.get(key, _elapsed)
            # What is equal stays as it stood.
            assert [each for page in pages for each in page] == sorted(found, key=by, reverse=descending)
        ids = {row["segmentId"] for row, _ in mine if "agentId" in row}
        assert all((each.segment in ids) == (clock != "queueWait") for each in found)


def _elapsed(each: JudgedWait) -> int:
    return each.elapsed


def test_without_targets_no_wait_is_listed(made: Made) -> None:
    _, snapshot = made(1)
    assert waits_of(snapshot, "response", NO_TARGETS, Selection((0, 1)), "local") == (
        {"Met": 0, "Missed": 0, "Left": 0},
        [],
    )


def test_a_report_has_levels_and_counts_where_there_are_targets(made: Made) -> None:
    _, snapshot = made(3)
    first, last = span(snapshot) or (0, 0)
    limits: dict[Clock, int] = {"firstResponse": 5000, "queueWait": MINUTE}
    own = AccountTargets((Target("all", limits),))
    of = Selection((first, last + 1))

    def row(targets: AccountTargets, *, by: tuple[Any, ...] = ()) -> list[Row]:
        question = Question(of, by, metrics=chosen(levels=True), targets=targets)
        text = b"".join(written(Report(snapshot, question).rows(), Shape(question), "json"))
        return cast("list[Row]", json.loads(text))

    (total,) = row(own)
    met, missed = total["firstResponseMetCount"], total["firstResponseMissedCount"]
    assert met + missed > 0
    assert total["firstResponseServiceLevelPercent"] == pytest.approx(100 * met / (met + missed))
    # A clock without a target has nothing, not 0.
    assert total["responseServiceLevelPercent"] is None
    assert total["responseMetCount"] is None
    parts = row(own, by=("skillId",))
    assert sum(part["firstResponseMetCount"] for part in parts) == met
    for part in parts:
        if not part["queueWaitMetCount"] + part["queueWaitMissedCount"]:
            assert part["queueWaitServiceLevelPercent"] is None
    # Queue segments have no agent: by agent there is nothing to say of them.
    assert all(part["queueWaitMetCount"] is None for part in row(own, by=("agentId",)))
    (without,) = row(AccountTargets())
    assert all(without[key] is None for key in LEVELS)
    assert {key: value for key, value in without.items() if key not in LEVELS} == {
        key: value for key, value in total.items() if key not in LEVELS
    }


def test_every_clock_has_its_table_and_its_metrics() -> None:
    assert set(CLOCK_TABLES) == set(CLOCKS) == set(get_args(Clock)) == set(LEVELS.values())


def test_as_many_targets_as_there_may_be_and_a_wait_of_two_thousand_years() -> None:
    def event(conversation: str, number: int, time: object, type_: str, **more: object) -> dict[str, object]:
        return {"conversationId": conversation, "eventId": str(number), "time": time, "type": type_, **more}

    now, hours = 1_795_165_200_000, calendar("09:00-17:00", days=range(5))  # a Friday, 10:00 in Berlin
    reader = MemoryReader("local")
    reader.add(
        events_of(
            [
                event("old", 0, "0005-04-23T17:46:40Z", "opened", skillId=199),
                event("old", 1, now, "assigned", agentId=7),
                event("new", 0, now - 90 * MINUTE, "opened", skillId=199),
                event("new", 1, now, "assigned", agentId=7),
            ]
        )
    )
    targets = AccountTargets(
        tuple(
            Target(f"t{skill}", {"queueWait": HOUR}, calendar=hours, skills=frozenset({skill})) for skill in range(200)
        )
    )
    with reader.snapshot() as snapshot:
        found = verdicts_by_target(snapshot, "queueWait", targets, Selection((now - DAY, now + 1)))
    assert found == {"t199": {"met": 1, "missed": 1, "left": 0}}
