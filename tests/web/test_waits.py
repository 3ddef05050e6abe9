"""Each service level on the page leads to the waits behind it: as many as the figure says, with the same verdict; and
each tile to what it is of.

Covers: web/behind.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from handletime.scope import Scope
from handletime.web.page import COOKIE
from handletime.web.sessions import SESSIONS, Sessions
from tests.crash.nursery import Nursery
from tests.signed_in import ACCOUNT, Site, signed_in

HTML = {"Accept": "text/html"}
DAY = datetime.now(UTC).date() - timedelta(days=1)
SPAN = f"from={DAY}T00:00&to={DAY}T23:59&tz=UTC"
TARGETS = """
[calendars.office]
zone = "UTC"
monday = ["09:00-17:00"]
tuesday = ["09:00-17:00"]
wednesday = ["09:00-17:00"]
thursday = ["09:00-17:00"]
friday = ["09:00-17:00"]
saturday = ["09:00-17:00"]
sunday = ["09:00-17:00"]

[[targets]]
name = "office"
skills = [1, 2]
calendar = "office"
first-response = "1min"
response = "2min"
queue-wait = "10min"

[[targets]]
name = "always"
response = "5min"
"""


def conversation(number: int) -> Iterator[dict[str, object]]:
    """One of a skill that an agent or a bot answers once soon and once late; every fifth is left before any answer."""
    begun = datetime(DAY.year, DAY.month, DAY.day, 8, 50, tzinfo=UTC) + timedelta(minutes=7 * number)
    bot = number % 4 == 3
    steps: list[tuple[int, dict[str, object]]] = [(0, {"type": "opened", "skillId": 1 + number % 3})]
    if number % 6 != 5:
        user_type = "bot" if bot else "human"
        steps.append((60 * (number % 20), {"type": "assigned", "agentId": 7 + number % 4, "userType": user_type}))
        at = 60 * (number % 20) + 10
        steps.append((at, {"type": "message", "sentBy": "consumer"}))
        if number % 5:
            steps.append((at + 20 * (number % 7), {"type": "message", "sentBy": "agent"}))
            steps.append((at + 200, {"type": "message", "sentBy": "consumer"}))
            steps.append((at + 290 + 60 * (number % 5), {"type": "message", "sentBy": "agent"}))
    steps.append((3600, {"type": "closed", "closedBy": "consumer"}))
    for place, (seconds, event) in enumerate(steps):
        time = (begun + timedelta(seconds=seconds)).isoformat()
        yield {"conversationId": f"c{number:03}", "eventId": str(place), "time": time, **event}


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    targets = folder / "targets.toml"
    targets.write_text(TARGETS)
    with signed_in(nursery, folder / "store", "UTC", "--targets", targets) as site:
        site.bring(*(event for number in range(100) for event in conversation(number)))
        yield site


def page(site: Site, path: str, status: int = 200) -> str:
    answer = site.client.get(path, headers=HTML)
    assert answer.status_code == status, site.log.read_text()[-700:]
    return answer.text


def total(text: str) -> int:
    found = re.search(r'<b id="total">([\d,]+)</b>', text)
    assert found, text
    return int(found[1].replace(",", ""))


LINK = re.compile(r'<a href="(/waits\?[^"]+)">([\d.,]+)( %)?</a>')


@pytest.mark.parametrize(
    "path",
    [
        "/skills?columns=all&",
        "/skills?skill=2&columns=all&",
        "/skills?userType=human&columns=all&",
        "/agents?columns=all&",
        "/agents?agent=8&columns=all&",
        "/agents?userType=all&columns=all&",
    ],
)
def test_a_service_level_leads_to_the_waits_behind_it(site: Site, path: str) -> None:
    links = {(html.unescape(href), said, unit) for href, said, unit in LINK.findall(page(site, f"{path}{SPAN}"))}
    assert {re.findall(r"verdict=(\w+)|$", href)[0] for href, _, _ in links} >= {"met", "missed"}
    for href, said, unit in links:
        text = page(site, href)
        if not unit:
            assert total(text) == int(said.replace(",", "")), href
            continue
        assert ("verdict=missed" in href) == (said != "100"), href
        chips = re.findall(r"(within target|missed|without a verdict) <small>([\d,]+)</small>", text)
        counts = {name: int(number.replace(",", "")) for name, number in chips}
        met, missed = counts["within target"], counts["missed"]
        assert total(text) == (missed if said != "100" else sum(counts.values()))
        assert f"{100 * met / (met + missed):.1f}" in (said, f"{said}.0"), href


TILE = re.compile(r'<div class="tile"><dt[^>]*>([^<]+)</dt><dd>(?:<a href="([^"]+)">)?([^<]+)')


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/skills?skill=3", {"skill segments ended", "abandoned in queue, unanswered", "agent segments ended"}),
        ("/agents?agent=8", {"agent segments ended"}),
    ],
)
def test_a_tile_leads_to_what_it_is_of(site: Site, path: str, counts: set[str]) -> None:
    tiles = {name: (html.unescape(href), text) for name, href, text in TILE.findall(page(site, f"{path}&{SPAN}"))}
    known = {name: each for name, each in tiles.items() if each[1] not in ("–", "0", "0.0 %", "0 s")}
    assert len(known) >= 5
    assert all(href for href, _ in known.values())
    assert counts <= known.keys()
    for name in counts:
        href, text = known[name]
        assert total(page(site, href)) == int(text) > 0, name
    href, text = known["interactive"]
    assert "outcome=interactive" in href
    share = total(page(site, href)) / int(known["agent segments ended"][1])
    assert text == f"{100 * share:.1f} %"


def test_each_wait_says_what_its_target_makes_of_it(site: Site) -> None:
    text = page(site, f"/waits?clock=response&verdict=missed&userType=all&{SPAN}")
    rows = re.findall(r"<tr>\n(.+?)</tr>", text, re.DOTALL)
    assert len(rows) == total(text) > 5
    cells = [re.sub(r"<[^>]+>", "", row).strip().split("\n") for row in rows]
    assert all("! missed" in row for row in rows)
    assert {each[5] for each in cells} == {"office: 2 min", "always: 5 min"}
    # Why tells the same of the first one.
    (why,) = re.findall(r'<a class="why" href="(/why[^"]+)"', rows[0])
    assert f"<td>{cells[0][1]}</td>" in page(site, html.unescape(why))


def test_pages_together_have_every_wait_once(site: Site) -> None:
    whole = f"/waits?clock=queueWait&{SPAN}&limit=7"
    seen: list[str] = []
    path: str | None = whole
    for _ in range(30):
        if path is None:
            break
        text = page(site, path)
        seen += re.findall(r'<bdi title="(c\d+)">', text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        path = html.unescape(following[1]) if following else None
    assert len(seen) == len(set(seen)) == total(text) == 67  # those of skills 1 and 2


def test_the_longest_waits_are_found_by_a_click(site: Site) -> None:
    text = page(site, f"/waits?clock=response&verdict=missed&userType=all&{SPAN}")
    (shown,) = re.findall(r"<thead>.+?</thead>", text, re.DOTALL)
    for heading, place, key in (("When open", 4, "elapsed"), ("Waited", 3, "wait"), ("Until", 2, "until")):
        (href,) = re.findall(rf'<a href="([^"]+)">{heading}</a>', shown)
        href = html.unescape(href)
        assert (f"sort={key}" in href) == (key != "until")
        told = [cell[place] for cell in cells_of(page(site, href))]
        turned = page(site, f"{href}&direction=asc" if key != "until" else href)
        assert 'aria-sort="ascending"' in turned
        assert [cell[place] for cell in cells_of(turned)] == sorted(told, key=in_order(key))
        if key != "until":
            assert told == sorted(told, key=in_order(key), reverse=True)
            assert len(set(told)) > 3
    # The file has the same order, and a page leads to the next one in it.
    first = page(site, f"/waits?clock=queueWait&sort=elapsed&limit=7&{SPAN}")
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
    both = [*cells_of(first), *cells_of(page(site, html.unescape(following)))]
    (file,) = re.findall(r'href="([^"]+)" download aria-label="Export as CSV: waits"', first)
    rows = csv.DictReader(io.StringIO(site.client.get(html.unescape(file), headers=HTML).text))
    assert [row["conversationId"] for row in rows][:14] == [cell[-1] for cell in both]


def cells_of(text: str) -> list[list[str]]:
    """The cells of each row of waits."""
    rows = re.findall(r"<tr>\n(.+?)</tr>", text, re.DOTALL)
    return [re.sub(r"<[^>]+>", "", row).strip().split("\n") for row in rows]


def in_order(key: str) -> Callable[[str], Any]:
    """What a cell is sorted by: a moment as it is, a duration by its length."""

    def seconds(cell: str) -> float:
        units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600}
        return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+) (ms|s|min|h)", cell))

    return str if key == "until" else seconds


def test_a_wait_in_the_queue_has_no_filter_that_does_not_count(site: Site) -> None:
    queue = f"/waits?clock=queueWait&{SPAN}"
    every = total(page(site, queue))
    humans = page(site, f"{queue}&userType=human")
    assert 0 < total(humans) < every
    assert "user type human" in humans
    assert "user type human" not in page(site, queue)
    agent = page(site, f"{queue}&agent=8&group=1")
    assert total(agent) == every
    assert 'class="filter"' not in agent
    assert total(page(site, f"{queue}&source=nope")) == 0


def test_what_is_wrong_is_said(site: Site) -> None:
    assert "clock" in page(site, f"/waits?clock=never&{SPAN}", 400)
    assert "verdict" in page(site, f"/waits?verdict=late&{SPAN}", 400)


def test_compared_waits_have_a_difference(site: Site) -> None:
    nothing = page(site, f"/waits?clock=response&verdict=met&compare=previous&{SPAN}")
    assert "There is nothing to compare with: that time lies before all data." in nothing
    assert "Compared with" not in nothing
    assert 'class="differs' not in nothing
    late = f"from={DAY}T12:00&to={DAY}T23:59&tz=UTC"
    now, early = (
        total(page(site, f"/waits?clock=response&verdict=met&{span}"))
        for span in (late, f"from={DAY}T00:01&to={DAY}T12:00&tz=UTC")
    )
    text = page(site, f"/waits?clock=response&verdict=met&compare=previous&{late}")
    assert "Compared with" in text
    assert (f"+{now - early:,}" if now > early else f"−{early - now:,}" if now < early else "±0") in text


def test_a_key_of_a_group_sees_no_waits_in_the_queue(site: Site) -> None:
    with SideFile(site.folder) as side:
        key = create(side, ACCOUNT, ["handle-time", "operations"], scope=Scope(groups=(-1,)))
    with Sessions(site.folder / SESSIONS) as sessions:
        cookie = sessions.begin(key.token, "UTC", int(datetime.now(UTC).timestamp() * 1000))
    headers = HTML | {"Cookie": f"{COOKIE}={cookie}"}
    assert site.client.get(f"/waits?clock=queueWait&{SPAN}", headers=headers).status_code == 403
    answer = site.client.get(f"/waits?clock=response&{SPAN}", headers=headers)
    assert answer.status_code == 200
    assert "queueWait" not in answer.text
