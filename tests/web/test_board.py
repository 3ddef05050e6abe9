"""The board of Now over a busy world: who is past due, the service levels of today, what it sends, and to whom."""

from __future__ import annotations

import html
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from handletime.answers import levels
from handletime.answers.clocks import Clocks
from handletime.answers.intervals import begin_of_day
from handletime.answers.relations import Snapshot
from handletime.answers.sums import Sums
from handletime.api.parameters import Query
from handletime.clock import SystemClock
from handletime.errors import NotNow
from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from handletime.scope import Scope
from handletime.targets.targets import AccountTargets, Clock, Target
from handletime.web import board
from handletime.web.board import MEANINGS, ON_A_WALL, Level, LevelsToday, meanings_of
from handletime.web.page import COOKIE
from handletime.web.sessions import IDLE_MS, SESSIONS, Sessions
from handletime.web.view import read_view
from tests.api.world import MemoryReader
from tests.crash.nursery import Nursery
from tests.segments.tables import events_of
from tests.signed_in import ACCOUNT, Site, signed_in
from tests.web.test_idle import was_used

AGENTS, SKILLS = 300, 60
SENT_MAX = 10_000
"""Bytes that an open page is sent where nothing changed."""
MINUTE = 60_000
TARGETS = """
[[targets]]
name = "all"
first-response = "1min"
response = "15min"
queue-wait = "10min"
"""
HTML = {"Accept": "text/html"}
WAITING = "waiting for an agent\N{RIGHT SINGLE QUOTATION MARK}s answer"
Event = dict[str, Any]


def busy(now: int) -> Iterator[Event]:
    """Three conversations of each agent, a bot in each skill, a queue in each skill, two that were forgotten; and of
    each skill one segment that ended today: every third first response, and every other wait in the queue, was late.
    """

    def event(conversation: str, minutes: float, type_: str, **more: object) -> Event:
        time = now - int(minutes * MINUTE)
        return {"conversationId": conversation, "eventId": f"{type_}{minutes}", "time": time, "type": type_, **more}

    def message(conversation: str, minutes: float, by: str) -> Event:
        return event(conversation, minutes, "message", sentBy=by)

    for agent in range(1, AGENTS + 1):
        for place in range(3):
            name, skill, begun = f"a{agent}-{place}", 1 + (agent + place) % SKILLS, 20 + agent % 7
            yield event(name, begun, "opened", skillId=skill)
            yield event(name, begun, "assigned", agentId=agent, groupId=1 + agent % 3)
            yield message(name, begun - 0.5, "consumer")
            yield event(name, begun - 0.6, "focused", agentId=agent)
            yield message(name, begun - 1, "agent")
            if place == 0:
                yield message(name, 1 + agent / 100, "consumer")
    for skill in range(1, SKILLS + 1):
        yield event(f"q{skill}", skill / 20 + (10 if skill > 20 else 0), "opened", skillId=skill)
        yield event(f"b{skill}", 10, "opened", skillId=skill)
        yield event(f"b{skill}", 10, "assigned", agentId=900 + skill % 2, userType="bot")
        yield message(f"b{skill}", 9, "consumer")
    yield event("forgotten", 3 * 24 * 60, "opened", skillId=7)
    yield event("old bot", 2 * 24 * 60, "opened", skillId=7)
    yield event("old bot", 2 * 24 * 60, "assigned", agentId=901, userType="bot")
    yield message("old bot", 2 * 24 * 60 - 1, "consumer")


def ended(midnight: int) -> Iterator[Event]:
    """One segment of each skill, and one more just before midnight: waited in the queue, was answered, and ended."""
    for skill in range(1, SKILLS + 1):
        for name, begun in ((f"e{skill}", midnight), (f"y{skill}", midnight - 1_000_000)):
            assigned = 25 if skill % 2 else 666
            steps: tuple[tuple[str, int, Event], ...] = (
                ("opened", 1, {"skillId": skill}),
                ("assigned", assigned, {"agentId": 1 + skill, "groupId": 1 + skill % 3}),
                ("message", assigned + 5, {"sentBy": "consumer"}),
                ("message", assigned + (20 if skill % 3 else 140), {"sentBy": "agent"}),
                ("closed", assigned + 150, {"closedBy": "agent"}),
            )
            for place, (type_, seconds, more) in enumerate(steps):
                time = begun + seconds * 1000
                yield {"conversationId": name, "eventId": str(place), "time": time, "type": type_, **more}


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    targets = folder / "targets.toml"
    targets.write_text(TARGETS)
    with signed_in(nursery, folder / "store", zone(), "--targets", targets) as site:
        now = SystemClock().now()
        site.bring(*busy(now), *ended(midnight()))
        yield site


def zone() -> str:
    """A zone in which today is some hours old, whatever time it is."""
    hour = datetime.now(UTC).hour
    return f"Etc/GMT{min(hour - 6, 12):+}" if hour >= 6 else "UTC" if hour >= 1 else "Etc/GMT-3"


def midnight() -> int:
    """When today began there."""
    return begin_of_day(datetime.now(ZoneInfo(zone())).date(), ZoneInfo(zone()))


def seen(site: Site, path: str = "/", cookie: str | None = None) -> str:
    """A page as text without tags."""
    sign = "&" if "?" in path else "?"
    headers = HTML | ({} if cookie is None else {"Cookie": f"{COOKIE}={cookie}"})
    answer = site.client.get(f"{path}{sign}tz={quote(zone())}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


def tile(page: str, name: str) -> list[str]:
    """What a tile says."""
    (found,) = re.findall(rf'<div class="tile[^"]*"><dt>{re.escape(name)}</dt>(.*?)</div>', page)
    return [text(each) for each in re.findall(r"<dd[^>]*>(.*?)</dd>", found)]


def text(markup: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", markup).split()))


def rows(page: str, prefix: str = "skill") -> dict[int, list[str]]:
    """The rows of a table: their cells, by number, in order."""
    found = re.findall(rf'<tr data-key="{prefix} (\d+)">(.*?)</tr>', page, re.DOTALL)
    return {int(number): [text(each) for each in re.findall(r"<td[^>]*>(.*?)</td>", row)] for number, row in found}


def test_the_board_says_who_is_past_due_and_how_today_went(site: Site) -> None:
    page = seen(site)
    assert tile(page, "in queue") == [f"{SKILLS}"]
    assert tile(page, WAITING) == [f"{AGENTS}"]
    assert tile(page, "agents at work") == [f"{AGENTS}", "3.0 each · 100 % in focus"]
    assert tile(page, "longest wait")[1] == "1 for over a day"
    assert tile(page, "first response in time today") == ["66.7 %", "40 of 60"]
    assert tile(page, "queue waits in time today") == ["96.9 %", "930 of 960"], "900 waited for no time"
    # In the queue those of skills 21 to 60 wait for over ten minutes; nobody waits fifteen for an agent's answer.
    number, how_long = tile(page, "past due")
    assert number == "! 40"
    assert re.match("up to [3-8] min", how_long), how_long
    skills = rows(page)
    assert list(skills)[:40] == list(range(60, 20, -1)), "the most urgent first"
    assert re.match("! 1 for [3-8] min", skills[60][3]), skills[60]
    assert skills[1][3].startswith("0 next in ")
    assert skills[60][4] == "0 % 0 of 1"
    assert skills[7][0] == "1"
    assert re.fullmatch(r"0 next in [^·]+", skills[7][3]), skills[7]
    assert skills[7][2].endswith("1 for over a day")
    assert {each[0] for each in rows(page, "bot").values()} == {"30", "31"}
    assert re.search(r"2 bots with 61 open conversations, 60 of them waiting", text(page))
    assert '<details class="bots" id="bots">' in page


def test_each_number_leads_to_its_list(site: Site) -> None:
    page = seen(site)
    for id_, count in (
        ("open", 1022),
        ("queued", 60),
        ("waits", 300),
        ("past-due", 40),
        ("stale", 1),
        ("queued-7", 1),
        ("stale-7", 1),
        ("bstale-901", 1),
        ("past-due-60", 1),
        ("open-60", 16),
    ):
        (href,) = re.findall(rf'id="{id_}" href="([^"]+)"', page)
        listed = site.client.get(html.unescape(href), headers=HTML).text
        assert re.findall(r'<b id="total">([\d,]+)</b>', listed) == [f"{count:,}"], id_
    listed = seen(site, "/open?state=past-due&sort=due")
    assert listed.count("! </span>past due for") == 40
    assert re.findall(r'data-key="open (q\d+)"', listed)[:2] == ["q60", "q59"]
    file = site.client.get(f"/open.csv?state=past-due&sort=due&tz={quote(zone())}", headers=HTML).text.splitlines()
    columns = [each.split(",") for each in file]
    assert columns[0][4:6] == ["due", "pastDue"]
    assert [(each[0], each[5]) for each in columns[1:3]] == [("q60", "true"), ("q59", "true")]
    assert len(columns) == 41
    # What is stale is told quietly, and comes behind all others.
    rows = re.findall(r'data-key="open (.+?)".*?</tr>', seen(site, "/open?skill=7"), re.DOTALL)
    assert (rows[0], rows[-2:]) == ("b7", ["forgotten", "old bot"])
    (row,) = re.findall(r'data-key="open forgotten".*?</tr>', seen(site, "/open?state=stale"), re.DOTALL)
    assert '<span class="quiet">past due for <span' in row
    assert "late" not in row
    for state in ("queued", "waits", "past-due"):
        assert "forgotten" not in seen(site, f"/open?state={state}&skill=7"), state
    assert 'id="waits"' not in seen(site, "/?userType=bot"), "of humans' conversations nothing is told there"
    links = re.findall(r'id="level-firstResponse" href="([^"]+)"', page)
    skills = text(site.client.get(html.unescape(links[0]), headers=HTML).text)
    assert "66.7 %" in skills, "the page of skills says the same of today"


def test_nothing_is_sent_where_nothing_changed(site: Site) -> None:
    for path in ("/", "/?kiosk=1"):
        sign = "&" if "?" in path else "?"
        states = re.findall(r'data-state="([0-9a-f]{16})"', seen(site, path))
        query = f"{path[1:]}{sign}tz={quote(zone())}&known={'.'.join([*states, ''][:2])}"
        answer = site.client.get(f"/now/data{query}")
        if set(answer.json()) != {"at", "now"}:  # Somebody became past due meanwhile: then it is sent, once.
            known = answer.json()["liveState"]
            answer = site.client.get(f"/now/data{path[1:]}{sign}tz={quote(zone())}&known={known}.{[*states, ''][1]}")
        assert set(answer.json()) == {"at", "now"}
        assert len(answer.content) < 200 < SENT_MAX
    # All of it, where everything changed.
    answer = site.client.get(f"/now/data?tz={quote(zone())}", headers={"Accept-Encoding": "gzip"})
    assert int(answer.headers["content-length"]) < 60_000


def test_a_wall_has_the_most_urgent_skills_and_nothing_else(site: Site) -> None:
    page = seen(site, "/?kiosk=1")
    assert '<html lang="en" data-base="" class="kiosk">' in page
    for part in ("<nav", "<form", "<footer", 'id="history"', 'id="agents-at-work"', 'id="bots"', "data-chart"):
        assert part not in page, part
    assert list(rows(page)) == list(range(60, 60 - ON_A_WALL[True], -1))
    assert f"{SKILLS - ON_A_WALL[True]} skills more, less urgent" in page
    assert ACCOUNT in text(page)
    assert "skill 7" in text(seen(site, "/?kiosk=1&skill=7"))
    data = site.client.get(f"/now/data?kiosk=1&tz={quote(zone())}&history=yes").json()
    assert "history" not in data
    assert list(rows(data["live"])) == list(rows(page))
    assert site.client.get("/?kiosk=2&tz=UTC", headers=HTML).status_code == 400
    assert "<nav" in seen(site, "/?kiosk=0")


def test_nobody_has_to_sign_in_again_at_a_wall(site: Site) -> None:
    moment = was_used(site, IDLE_MS // 2)  # Of all sessions; other tests began some.
    assert site.client.get("/now/data?tz=UTC").status_code == 200
    assert last_used(site) == moment
    assert site.client.get("/now/data?kiosk=1&tz=UTC").status_code == 200
    assert last_used(site) > moment


def last_used(site: Site) -> int:
    with closing(sqlite3.connect(site.folder / SESSIONS)) as db:
        return int(db.execute("select max(used) from sessions").fetchone()[0])


def test_a_limited_key_sees_its_own_part(site: Site) -> None:
    def cookie_of(scope: Scope) -> str:
        with SideFile(site.folder) as side:
            key = create(side, ACCOUNT, ["operations"], scope=scope)
        with Sessions(site.folder / SESSIONS) as sessions:
            return sessions.begin(key.token, zone(), SystemClock().now())

    page = seen(site, cookie=cookie_of(Scope(None, (3,))))
    assert list(rows(page)) == [3]
    assert tile(page, "first response in time today") == ["0 %", "0 of 1"]
    assert tile(page, "queue waits in time today") == ["100 %", "16 of 16"]
    assert tile(page, "in queue") == ["1"]
    page = seen(site, cookie=cookie_of(Scope((1,))))
    assert tile(page, "in queue") == ["–"]
    assert "queue waits in time today" not in page
    assert tile(page, "agents at work")[0] == "100"
    # Each group has every third skill: one of them has all the late ones.
    assert tile(page, "first response in time today") == ["0 %", "0 of 20"]
    assert tile(page, "past due") == ["0", tile(page, "past due")[1]]
    # What others have counted for somebody else is not shown to this key.
    assert tile(seen(site), "first response in time today") == ["66.7 %", "40 of 60"]


def test_today_begins_at_the_midnight_of_the_pages_zone(site: Site) -> None:
    filtered = seen(site, "/?skill=4")
    assert tile(filtered, "first response in time today") == ["100 %", "1 of 1"], "not the one of before midnight"
    assert "queue waits in time today" not in seen(site, "/?agent=5"), "a wait in the queue is of no agent"


def test_skills_with_nothing_open_stand_last_with_their_levels(site: Site) -> None:
    for path in ("/?agent=9", "/?kiosk=1&agent=9"):
        page = seen(site, path)
        shown = rows(page)
        assert sorted(shown)[1:] == [10, 11, 12], "what this agent has"
        assert list(shown)[-1] == 8
        assert shown[8][:4] == ["0", "0", "–", "0"]
        assert shown[8][4].startswith("100 %")
        assert tile(page, "first response in time today") == ["100 %", "1 of 1"]
        assert "less urgent" not in page
    assert shown[8][6:] == ["0", "–"]
    file = site.client.get(f"/now-skills.csv?agent=9&tz={quote(zone())}", headers=HTML).text.splitlines()
    last = dict(zip(file[0].split(","), file[-1].split(","), strict=True))
    assert (last["skillId"], last["firstResponseMetCount"], last["open"]) == ("8", "1", "0")


def test_without_targets_nothing_is_past_due_and_nothing_has_a_colour(
    nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with signed_in(nursery, tmp_path_factory.mktemp("plain") / "store", zone()) as site:
        site.bring(*busy(SystemClock().now()))
        page = seen(site)
        assert len(rows(seen(site, "/?kiosk=1"))) == ON_A_WALL[False]
    assert "past due" not in text(page)
    assert "in time today" not in page
    assert "within target" not in page
    assert "is-late" not in page
    assert list(rows(page))[-1] != 60
    assert tile(page, WAITING) == [f"{AGENTS}"]


def test_a_level_of_nothing_is_none() -> None:
    assert Level("response").text == "–"
    assert Level("response", 0, 3).text == "0 %"
    assert Level("queueWait", 2, 3).text == "66.7 %"


def test_what_is_still_being_derived_has_no_level_and_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def verdicts_of(snapshot: Snapshot, clock: Clock, *more: Any) -> Sums:
        if clock == "queueWait":
            raise NotNow("still being derived")
        return found(snapshot, clock, *more)

    found = levels.verdicts_of
    monkeypatch.setattr(board, "verdicts_of", verdicts_of)
    reader = MemoryReader(ACCOUNT)
    reader.add(events_of([{"accountId": ACCOUNT, **each} for each in ended(midnight())]))
    targets = AccountTargets((Target("all", {"firstResponse": MINUTE, "queueWait": MINUTE}),), account=ACCOUNT)
    view = read_view(Query(b""), SystemClock().now(), Clocks(ZoneInfo(zone())))
    today = LevelsToday().of(reader, ACCOUNT, view, SystemClock().now(), targets)
    assert [each.text for each in today.total.values()] == ["66.7 %", "–"]
    assert [each.text for each in today.of(4)] == ["100 %", "–"]


def test_what_is_due_is_explained_where_something_can_be() -> None:
    targets = AccountTargets((Target("all", {"response": 1}),))
    assert meanings_of(targets) == MEANINGS
    without = meanings_of(AccountTargets())
    assert set(MEANINGS) - set(without) == {"past due", "within target, in time"}
    assert "due" not in without["the order"]
