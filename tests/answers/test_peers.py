"""One agent beside the peers: against a plain count over derived rows, and a case worked out by hand."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from handletime.answers.peers import Beside, Handled, Kind, Parts, Telling, beside_peers, parts_of, telling
from handletime.answers.selection import Selection
from handletime.events.model import TIME_MAX, TIME_MIN
from handletime.scope import Scope
from handletime.segments.derive import derive
from tests.api.world import MemoryReader
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of, rows_of

Row = dict[str, Any]
ALWAYS = Selection((TIME_MIN, TIME_MAX + 1))
NONE = Handled()


@pytest.fixture(scope="module", params=range(4))
def reader(request: pytest.FixtureRequest) -> MemoryReader:
    rows = messy_stream(request.param, events=900, conversations=30, accounts=1)
    random.Random(request.param).shuffle(rows)
    reader = MemoryReader("local")
    reader.add(events_of([{**row, "accountId": "local"} for row in rows]))
    return reader


def handled(rows: Iterable[Row]) -> Handled:
    """Plainly: how many there are, and the sum and the median of what is known."""
    every = list(rows)
    known = sorted(row["totalHandleTimeMillis"] for row in every if row["focusData"])
    median = known[max(-(-len(known) // 2), 1) - 1] if known else None
    return Handled(len(every), len(known), sum(known), median)


def test_both_sides_are_what_was_derived(reader: MemoryReader) -> None:
    segments: list[Row] = rows_of(derive(reader.events).agent_segments)
    human = [row for row in segments if row["end"] is not None and row["userType"] == "human"]
    agents = {row["agentId"] for row in human}
    assert len(agents) > 2
    for agent in agents:
        skills = {row["skillId"] for row in human if row["agentId"] == agent}
        within = [row for row in human if row["skillId"] in skills]
        by_kind: dict[tuple[int, str], tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
        for row in within:
            by_kind[row["skillId"], row["follows"]][row["agentId"] != agent].append(row)
        with reader.snapshot() as snapshot:
            found = beside_peers(snapshot, ALWAYS, agent)
        assert {(kind.skill, kind.follows): (kind.own, kind.peers) for kind in found.kinds} == {
            key: (handled(own), handled(peers)) for key, (own, peers) in by_kind.items()
        }
        own, peers = ([row for row in within if (row["agentId"] == agent) == is_own] for is_own in (True, False))
        assert (found.own, found.peers) == (handled(own), handled(peers))
        assert found.peer_count == len({row["agentId"] for row in peers})
        counts = [kind.own.segments for kind in found.kinds]
        assert counts == sorted(counts, reverse=True)
        parts = parts_of(found)
        if parts is None:
            assert not (found.own.known and found.peers.known)
        else:
            whole = found.own.total / found.own.known - found.peers.total / found.peers.known
            assert parts.mix + parts.within == pytest.approx(whole)


def test_a_selection_holds_for_both_sides(reader: MemoryReader) -> None:
    segments: list[Row] = [row for row in rows_of(derive(reader.events).agent_segments) if row["end"] is not None]
    chosen = [row for row in segments if row["userType"] == "human"]
    agent, skill = chosen[0]["agentId"], chosen[0]["skillId"]
    ends = sorted(row["end"] for row in segments)
    low, until = ends[len(ends) // 4], ends[-len(ends) // 4]
    with reader.snapshot() as snapshot:
        found = beside_peers(snapshot, Selection((low, until), skills=(skill,)), agent)
    of_skill = [row for row in chosen if row["skillId"] == skill and low <= row["end"] < until]
    own = [row for row in of_skill if row["agentId"] == agent]
    assert found.own.segments == len(own)
    assert found.peers.segments == (len(of_skill) - len(own) if own else 0)
    limited = reader.within(Scope(None, (skill,)))
    with limited.snapshot() as snapshot:
        assert beside_peers(snapshot, Selection((low, until)), agent) == found, "a limited key has no others in it"


def a_kind(follows: str, own: tuple[int, int], peers: tuple[int, int], skill: int = 10) -> Kind:
    """Segments that all have the same handle time: how many, and how long."""
    return Kind(skill, follows, *(Handled(n, n, n * each, each if n else None) for n, each in (own, peers)))


def beside(*kinds: Kind) -> Beside:
    own, peers = (
        Handled(sum(one.segments for one in each), sum(one.known for one in each), sum(one.total for one in each))
        for each in ([kind.own for kind in kinds], [kind.peers for kind in kinds])
    )
    return Beside(list(kinds), own, peers, 9)


def test_a_difference_that_comes_from_takeovers_is_seen() -> None:
    """270 of 274 segments followed a takeover, which take as long with everybody."""
    found = beside(a_kind("takeover", (270, 200), (30, 200)), a_kind("newConversation", (4, 100), (970, 100)))
    parts = parts_of(found)
    assert parts is not None
    assert parts.within == 0
    assert parts.mix == pytest.approx((270 / 274 - 0.03) * 200 + (4 / 274 - 0.97) * 100)
    assert telling(found, parts) == Telling("takeover", None, 270, 30)


def test_a_difference_within_the_kinds_is_none_of_the_mix() -> None:
    found = beside(a_kind("transfer", (10, 300), (100, 200)), a_kind("newConversation", (10, 150), (100, 100)))
    assert parts_of(found) == pytest.approx(Parts(0, 75))
    assert telling(found, Parts(0, 75)) is None, "both have as many of each"


def test_a_kind_that_one_side_has_is_mix_alone_and_a_skill_may_be_what_tells() -> None:
    found = beside(
        a_kind("newConversation", (5, 100), (95, 100)), a_kind("newConversation", (5, 500), (5, 500), skill=20)
    )
    parts = parts_of(found)
    assert parts == pytest.approx(Parts(180, 0))
    assert telling(found, parts or Parts(0, 0)) == Telling(None, 20, 5, 5)
    alone = beside(a_kind("resume", (5, 100), (0, 0)), a_kind("transfer", (0, 0), (5, 50)))
    assert parts_of(alone) == pytest.approx(Parts(50, 0))


def test_what_is_unknown_is_in_no_average() -> None:
    unknown = Kind(10, "transfer", Handled(5, 0, 0, None), Handled(5, 5, 500, 100))
    assert parts_of(Beside([unknown], unknown.own, unknown.peers, 1)) is None
    assert (unknown.own.average, unknown.own.mean, NONE.average) == (None, None, None)
    assert Handled(3, 3, 10, 3).average == 3
