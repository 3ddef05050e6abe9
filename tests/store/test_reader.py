"""What readers get fits those who work with it: metrics and explanations come out as from files."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from handletime.answers.files import asked
from handletime.answers.registry import METRICS
from handletime.scope import WHOLE, Scope
from handletime.segments.agent_focus import OUTSIDE, Focus, FocusTime, time_of
from handletime.segments.derive import derive
from handletime.segments.explain import explain
from handletime.segments.parts import prepare
from handletime.store.reader import StoreReader
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import forget
from tests.answers.oracle import Window, aggregate
from tests.messy_streams import BASE, messy_stream
from tests.segments.tables import events_of
from tests.store.worlds import StoreAndSide, a_store, account_of, requests_of, standing_copies

EVERYTHING = Window(-(2**45), 2**45)


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_metrics_and_explanations_are_those_of_the_same_events_in_files(seed: int, tmp_path: Path) -> None:
    events = standing_copies(messy_stream(seed, accounts=1, events=150))
    table = events_of(events)
    with (
        asked([derive(table)], tmp_path, memory=1 << 28) as (from_files, *_),
        a_store(tmp_path / "store") as store,
    ):
        for place in range(0, len(events), 40):
            store.ingest("local", events_of(events[place : place + 40]))
        reader = store.reader("local")
        with reader.snapshot() as connection:
            for by in ([], ["agentId"], ["skillId", "agentId"]):
                expected = aggregate(from_files, METRICS.values(), by, EVERYTHING)  # type: ignore[arg-type]
                assert aggregate(connection, METRICS.values(), by, EVERYTHING) == expected  # type: ignore[arg-type]
        for conversation in {str(event["conversationId"]) for event in events}:
            prepared = reader.prepared(conversation)
            assert prepared is not None
            assert explain(prepared, "local", conversation) == explain(prepare(table), "local", conversation)


def test_all_conversations_are_there_until_one_is_forgotten(tmp_path: Path) -> None:
    place = {"eventId": "o", "type": "opened"}
    opened = [{**place, "conversationId": f"c{number}", "time": BASE + number} for number in range(600)]
    everyone = [str(event["conversationId"]) for event in opened]
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(opened))
        store.ingest("other", events_of(opened[:1]))
        reader = store.reader("local")
        assert reader.holds_all([])
        assert reader.holds_all(everyone)
        assert reader.holds_all([*everyone, "c0", "c0"])
        assert not reader.holds_all([*everyone, "c600"])
        assert not store.reader("other").holds_all(everyone)
        assert not store.reader("nobody").holds_all(["c0"])
        forget(store, "local", "c300")
        assert not reader.holds_all(everyone)
        assert reader.holds_all([id_ for id_ in everyone if id_ != "c300"])
        assert store.reader("other").holds_all(["c0"])


def told(reader: StoreReader, agent: int, start: int, end: int) -> list[Focus]:
    """Where an agent's focus was; all moments are counted from `BASE`."""
    stretches = reader.focus(agent, BASE + start, BASE + end)
    return [one._replace(start=one.start - BASE, end=one.end - BASE) for one in stretches]


@pytest.mark.parametrize("seed", range(4))
def test_the_focus_of_many_agents_is_that_of_each(seed: int, tmp_path: Path) -> None:
    dice, hour = Random(seed), 3_600_000
    moves: list[dict[str, object]] = [
        {"conversationId": f"c{dice.randrange(9)}", "eventId": f"{number}", "time": BASE + dice.randrange(12 * hour)}
        | {"type": dice.choice(("focused", "focused", "unfocused")), "agentId": dice.randrange(1, 6)}
        | ({"leaseMillis": dice.randrange(1, hour)} if number % 3 == 0 else {})
        for number in range(300)
    ]
    for move in moves:
        if move["type"] == "unfocused":
            move.pop("leaseMillis", None)
    long_ago = {"conversationId": "old", "eventId": "o", "time": BASE - 30 * hour, "type": "focused", "agentId": 9}
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of([*moves, long_ago]))
        store.ingest("other", events_of(moves[:50]))
        reader = store.reader("local")
        for low, high in ((0, 2), (3, 3.25), (5, 11), (11, 14)):
            start, end = BASE + int(low * hour), BASE + int(high * hour)
            found = reader.focus_times([*range(1, 7), 9], start, end)
            for agent in range(1, 7):
                wanted = time_of(reader.focus(agent, start, end))
                assert found.get(agent, FocusTime(0, 0)) == wanted, (agent, low)
            assert 9 not in found, "over a day ago"
        assert any(each.on for each in found.values())
        assert reader.focus_times([], BASE, BASE + hour) == {}
        limited = store.reader("local", Scope(None, (10,)))
        assert limited.focus_times([1], BASE, BASE + hour) == {1: time_of(limited.focus(1, BASE, BASE + hour))}


def test_an_agents_focus_is_told_within_its_account_alone(tmp_path: Path) -> None:
    def focused(conversation: str, at: int, type_: str = "focused") -> dict[str, object]:
        return {"eventId": f"{at}", "conversationId": conversation, "type": type_, "time": BASE + at, "agentId": 7}

    day = 86_400_000
    mine = [focused("a", 0), focused("b", day), focused("gone", 90 * day), focused("a", 91 * day)]
    mine.append(focused("a", 91 * day + 5, "unfocused"))
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(mine))
        store.ingest("other", events_of([focused("theirs", 2 * day), focused("a", 100 * day)]))
        reader = store.reader("local")
        # The move that matters may be long ago.
        assert told(reader, 7, 80 * day, 81 * day) == [Focus(80 * day, 81 * day, "b")]
        whole = [
            Focus(-1, 0, None, known=False),
            Focus(0, day, "a"),
            Focus(day, 90 * day, "b"),
            Focus(90 * day, 91 * day, "gone"),
            Focus(91 * day, 91 * day + 5, "a"),
            Focus(91 * day + 5, 101 * day, None),
        ]
        assert told(reader, 7, -1, 101 * day) == whole
        forget(store, "local", "gone")
        whole[3] = Focus(90 * day, 91 * day, None, known=False)
        assert told(store.reader("local"), 7, -1, 101 * day) == whole
        assert told(reader, 8, 0, 1) == [Focus(0, 1, None, known=False)]
        assert told(store.reader("nobody"), 7, 0, 1) == [Focus(0, 1, None, known=False)]
        theirs = [Focus(0, 2 * day, None, known=False), Focus(2 * day, 3 * day, "theirs")]
        assert told(store.reader("other"), 7, 0, 3 * day) == theirs


def test_of_too_many_moves_the_last_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves = [
        {"eventId": f"{n}", "conversationId": f"c{n % 2}", "type": "focused", "time": BASE + n, "agentId": 7}
        for n in range(10)
    ]
    monkeypatch.setattr("handletime.store.reader.MOVES_MAX", 5)
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(moves))
        assert told(store.reader("local"), 7, 0, 100) == [Focus(n, n + 1, f"c{n % 2}") for n in range(5)]


@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_conversations_some_at_a_time_are_all_of_the_account_once(at_once: int, tmp_path: Path) -> None:
    """Whatever comes meanwhile; and every table has the rows of these conversations alone."""
    events = standing_copies(messy_stream(5, accounts=2, events=300, conversations=20))
    account = account_of(events[0])
    tables = ("agent_segments", "skill_segments", "queue_segments", "handle_time_units")
    with a_store(tmp_path) as store:
        for request in requests_of(events):
            store.ingest(request.account, request.events)
        with store.reader(account).snapshot() as snapshot:
            whole = {name: snapshot.execute(f"select count(*) from {name}").fetchall()[0][0] for name in tables}  # noqa: S608
        counted = dict.fromkeys(tables, 0)
        seen: list[str] = []
        for snapshot, known in store.reader(account).by_conversation(at_once):
            if not seen:
                store.ingest(account, events_of([{**events[0], "conversationId": "later", "eventId": "1"}]))
            assert 0 < len(known) <= at_once
            seen += [conversation.id for conversation in known.values()]
            for name in tables:
                rows = snapshot.execute(f"select conversation, conversationId from {name}").fetchall()  # noqa: S608
                assert {(place, known[place].id) for place, _ in rows} == {*rows}
                counted[name] += len(rows)
    assert sorted(seen) == sorted({str(event["conversationId"]) for event in events if account_of(event) == account})
    assert counted == whole


def test_the_state_of_an_account_is_another_one_with_its_own_changes_alone(tmp_path: Path) -> None:
    """Its name stands in answers: it may tell nothing of what others send or have removed."""

    def told(store: StoreAndSide) -> tuple[str, str]:
        return store.reader("acme").state(), store.reader("other").state()

    opened = {"conversationId": "c", "type": "opened", "time": BASE}
    with a_store(tmp_path) as store:
        for account in ("acme", "other"):
            store.ingest(account, events_of([{**opened, "eventId": "1"}]))
        first = told(store)
        assert told(store) == first
        store.ingest("acme", events_of([{**opened, "conversationId": "d", "eventId": "2"}]))
        second = told(store)
        assert (second[0] != first[0], second[1]) == (True, first[1])
        assert forget(store, "acme", "d")
        third = told(store)
        assert (third[0] != second[0], third[1]) == (True, first[1])
        rebuild(store, mend=True)
        assert told(store) == third
    with a_store(tmp_path) as store:
        assert set(told(store)).isdisjoint(third), "another process cannot know what has changed"


def test_within_a_scope_an_agents_focus_is_known_of_who_has_a_segment_there(tmp_path: Path) -> None:
    """Ended or running; where it was on other conversations, these are not named."""
    script: list[tuple[str, str, int, dict[str, object]]] = [
        ("mine", "assigned", 0, {"agentId": 1, "groupId": 51, "skillId": 10}),
        ("theirs", "assigned", 0, {"agentId": 1, "groupId": 51, "skillId": 20}),
        ("others", "assigned", 0, {"agentId": 2, "groupId": 52, "skillId": 20}),
        ("theirs", "focused", 10, {"agentId": 1}),
        ("more", "assigned", 11, {"agentId": 1, "groupId": 51, "skillId": 20}),
        ("more", "focused", 20, {"agentId": 1}),
        ("more", "closed", 25, {"closedBy": "agent"}),
        ("mine", "focused", 30, {"agentId": 1}),
        ("mine", "unfocused", 40, {"agentId": 1}),
        ("others", "focused", 10, {"agentId": 2}),
    ]
    events = [
        {"eventId": str(place), "conversationId": name, "type": type_, "time": BASE + at, **more}
        for place, (name, type_, at, more) in enumerate(script)
    ]
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(events))

        def found(agent: int, start: int, end: int, scope: Scope) -> list[tuple[int, str]]:
            focus = store.reader("local", scope).focus(agent, BASE + start, BASE + end)
            return [(each.start - BASE, each.conversation or ("?" if each.known else "")) for each in focus]

        skill, group = Scope(None, (10,)), Scope((51,))
        assert found(1, 10, 50, WHOLE) == [(10, "theirs"), (20, "more"), (30, "mine"), (40, "?")]
        assert found(1, 10, 50, group) == [(10, "theirs"), (20, "more"), (30, "mine"), (40, "?")]
        told = store.reader("local", skill).focus(1, BASE + 10, BASE + 50)
        assert told == [Focus(BASE + 10, BASE + 30, OUTSIDE), *store.reader("local").focus(1, BASE + 30, BASE + 50)]
        # In these 20 ms it is nowhere in the scope, but `mine` runs; before that began, it did not.
        assert store.reader("local", skill).focus(1, BASE + 10, BASE + 30) == told[:1]
        assert store.reader("local", skill).focus(1, BASE - 10, BASE) == []
        assert found(2, 10, 50, skill) == found(2, 10, 50, group) == []
        assert found(2, 10, 50, Scope((52,))) == found(2, 10, 50, WHOLE)
