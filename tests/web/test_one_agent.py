"""What the page of one agent says of a difference to the peers, and of conversations at once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from handletime.answers.at_once import AtOnce
from handletime.answers.labels import AccountLabels
from handletime.answers.peers import Beside, Handled, Kind
from handletime.answers.words import local
from handletime.web.one_agent import SHOWN, Line, Side, beside_of, levels_of, one_agent_of, peers_sheet, said
from tests.api.world import MemoryReader
from tests.browser.teams import a_team
from tests.segments.tables import events_of
from tests.web.test_figures import ended, view_of

NAMES = AccountLabels()
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
Told = tuple[str, tuple[int, int], tuple[int, int]]


def beside(*told: Told, unknown: int = 0) -> Beside:
    """Kinds of skill 10, of which each segment is handled for so many seconds: how many, and how long."""
    kinds = [
        Kind(10, follows, *(Handled(n, n, n * each * SECOND, each * SECOND if n else None) for n, each in (own, peers)))
        for follows, own, peers in told
    ]
    sides = ([kind.own for kind in kinds], [kind.peers for kind in kinds])
    own, peers = (
        Handled(sum(each.segments for each in side), sum(each.known for each in side), sum(each.total for each in side))
        for side in sides
    )
    return Beside(kinds, own._replace(segments=own.segments + unknown), peers, 11)


NEW, TAKEN, MOVED = "newConversation", "takeover", "transfer"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            beside((TAKEN, (270, 240), (30, 240)), (NEW, (4, 120), (970, 120))),
            "Handle time is 3 min 58 s on average, 1.9 times that of the peers (2 min 3 s). "
            "270 of 274 segments followed a takeover (peers: 3 %). "
            "Another mix of kinds makes it 1 min 54 s longer. Within the same kinds the handle time is alike.",
        ),
        (
            beside((NEW, (10, 90), (100, 60))),
            "Handle time is 1 min 30 s on average, 1.5 times that of the peers (1 min). "
            "The mix of kinds makes little difference; within the same kinds the handle time is 30 s longer.",
        ),
        (
            beside((NEW, (10, 60), (100, 60)), (MOVED, (10, 61), (100, 60))),
            "Handle time is 1 min on average, like that of the peers (1 min). "
            "Neither the mix of kinds nor the handle time within them makes much of a difference.",
        ),
        (
            beside((NEW, (10, 60), (100, 100)), (MOVED, (90, 160), (100, 200))),
            "Handle time is 2 min 30 s on average, like that of the peers (2 min 30 s). "
            "90 of 100 segments followed a transfer (peers: 50 %). "
            "Another mix of kinds makes it 40 s longer, handling within the same kinds 40 s shorter.",
        ),
        (
            beside((NEW, (0, 0), (10, 60)), (TAKEN, (10, 30), (0, 0))),
            "Handle time is 30 s on average, 50 % shorter than that of the peers (1 min). "
            "All 10 segments followed a takeover (peers: 0 %). "
            "The peers have no segments of the same kinds, so it cannot be said who handles them longer.",
        ),
        (
            beside((NEW, (5, 60), (0, 0))),
            "Handle time is 1 min on average. "
            "Nobody else has segments in the same skills, so there is nobody to compare with.",
        ),
        (
            beside((NEW, (0, 0), (5, 60)), unknown=3),
            "agent 7's screen sent no focus data: handle time unknown.",
        ),
        (
            Beside([Kind(10, NEW, Handled(1, 1, 9000, 9000), Handled(2))], Handled(1, 1, 9000), Handled(2), 1),
            "Handle time is 9.0 s on average. Of the peers no handle time is known.",
        ),
    ],
)
def test_where_the_difference_lies_is_said_plainly(found: Beside, says: str) -> None:
    assert said(found, 7, NAMES) == says


def test_a_skill_without_a_name_is_called_a_skill_once() -> None:
    def handled(n: int, each: int) -> Handled:
        return Handled(n, n, n * each * SECOND, each * SECOND)

    kinds = [Kind(10, NEW, handled(9, 100), handled(1, 100)), Kind(20, NEW, handled(1, 10), handled(9, 10))]
    found = Beside(kinds, Handled(10, 10, 910 * SECOND), Handled(10, 10, 190 * SECOND), 3)
    assert "9 of 10 segments were of skill 10 (peers: 10 %)." in said(found, 7, NAMES)


def test_an_agent_who_took_conversations_over_is_explained() -> None:
    """The same from events on: as the browser sees it in `tests/browser/test_agents.py`."""
    reader = MemoryReader("local")
    reader.add(events_of([{"accountId": "local", **event} for event in a_team()]))
    view = view_of(reader, "&agent=7")
    told = one_agent_of(reader, view, 7, NAMES)
    found = told.beside
    assert found is not None
    assert found.says.startswith(
        "Handle time is 1 min 57 s on average, 1.8 times that of the peers (1 min 5 s). "
        "27 of 28 segments followed a takeover (peers: 9 %)."
    )
    assert found.peers == "3 peers"
    ends = [row["end"] for row in ended(reader) if row["agentId"] == 7]
    assert told.day == local(max(ends), view.zone).date(), "a day that has something to show"
    assert found.lines == [
        Line(10, TAKEN, Side("27", "96 %", "2 min", "n 27", "2 min"), Side("3", "9 %", "2 min", "n 3", "2 min")),
        Line(10, NEW, Side("1", "4 %", "1 min", "n 1", "1 min"), Side("30", "91 %", "1 min", "n 30", "1 min")),
    ]
    assert len(found.lines) < SHOWN
    bot = one_agent_of(reader, view_of(reader, "&agent=99"), 99, NAMES)
    assert bot.beside is None, "bots have no handle time and are nobody's peers"
    assert bot.levels is not None


def test_what_is_unknown_is_not_nothing() -> None:
    kind = Kind(10, NEW, Handled(3), Handled(4, 2, 2000, 900))
    found = beside_of(Beside([kind], kind.own, kind.peers, 1), 7, NAMES)
    assert found is not None
    assert found.lines == [
        Line(10, NEW, Side("3", "100 %", "no focus data", "", "–"), Side("4", "100 %", "1.0 s", "n 2", "900 ms"))
    ]
    assert beside_of(Beside([], Handled(), Handled(), 0), 7, NAMES) is None


def test_each_kind_stands_beside_the_same_kind_before() -> None:
    now = beside((TAKEN, (27, 120), (3, 120)), (NEW, (4, 60), (30, 60)))
    before = beside((TAKEN, (30, 90), (0, 0)), (MOVED, (5, 60), (5, 60)))
    found = beside_of(now, 7, NAMES, before)
    assert found is not None
    taken, new = found.lines
    longer = ("▲", "+30 s (+33 %)", "")
    assert taken.own.differs == (("▼", "−3 (−10 %)", ""), longer, longer)
    assert taken.peers.differs == (("▲", "+3", ""), None, None), "what was nothing has no average to differ from"
    assert new.own.differs == (("▲", "+4", ""), None, None)
    assert found.total.own.differs.segments == ("▼", "−4 (−11 %)", "")
    assert found.total.peers.differs.average == ("▲", "+5.4 s (+9.1 %)", "")


def test_the_file_of_peers_has_what_was_before_in_columns_of_their_own() -> None:
    reader = MemoryReader("local")
    reader.add(events_of([{"accountId": "local", **event} for event in a_team()]))
    view = view_of(reader, "&agent=7")
    ends = sorted(row["end"] for row in ended(reader) if row["agentId"] == 7)
    middle = ends[len(ends) // 2]
    late, early = replace(view, bounds=[middle, view.end]), replace(view, bounds=[view.start, middle])
    compared = replace(late, compare="previous", compared=(view.start, middle))
    sheets = [peers_sheet(reader, each, lambda kind, number: f"{kind} {number}") for each in (compared, late, early)]
    both, *alone = (
        {tuple(row[:3]): dict(zip(sheet.names, row, strict=True)) for row in sheet.rows} for sheet in sheets
    )
    assert len(sheets[0].names) == 3 + 2 * 10
    assert both.keys() == alone[0].keys()
    some = 0
    for key, row in both.items():
        for name in sheets[1].names[3:]:
            assert row[name] == alone[0][key][name]
            if key in alone[1]:
                some += 1
                assert row[f"{name}Previous"] == alone[1][key][name]
    assert some


def test_conversations_at_once_are_shares_of_the_assigned_time() -> None:
    found = levels_of(AtOnce({1: HOUR, 3: 3 * HOUR}))
    assert found is not None
    assert (found.mean, found.assigned) == ("2.5", "4 h")
    assert [tuple(line) for line in found.lines] == [
        ("1", "1 h", "25 %", 25.0, None),
        ("2", "0 s", "0 %", 0.0, None),
        ("3", "3 h", "75 %", 75.0, None),
    ]
    many = levels_of(AtOnce({1: 999 * MINUTE, 13: MINUTE // 2, 20: MINUTE // 2}))
    assert many is not None
    assert [line.number for line in many.lines] == [*map(str, range(1, 13)), "13 to 20"]
    assert [many.lines[place].share for place in (0, -1)] == [">99 %", "<1 %"]
    assert levels_of(AtOnce({})) is None
    compared = levels_of(AtOnce({1: HOUR, 3: 3 * HOUR}), AtOnce({1: HOUR, 2: HOUR}))
    assert compared is not None
    assert compared.differs == ("▲", "+1.0 (+67 %)", "")
    assert [line.differs for line in compared.lines] == [
        ("▼", "−25.0 points", ""),
        ("▼", "−50.0 points", ""),
        ("▲", "+75.0 points", ""),
    ]
    both = levels_of(AtOnce({13: HOUR, 20: HOUR}), AtOnce({1: HOUR, 14: 2 * HOUR, 15: HOUR}))
    assert both is not None
    assert both.lines[-1].differs == ("▲", "+25.0 points", ""), "numbers that share a row are compared together"
    alone = levels_of(AtOnce({1: HOUR}), AtOnce({}))
    assert alone is not None
    assert alone.differs is None
