"""Why: in words, where the agent looked meanwhile, and each wait with its target.

Covers: web/elsewhere.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest

from handletime.answers.clocks import ISO
from handletime.answers.labels import AccountLabels
from handletime.clock import SystemClock
from handletime.segments.agent_focus import OUTSIDE, Focus
from handletime.web.elsewhere import Meanwhile
from handletime.web.picture import OTHERS_MAX, draw
from tests.crash.nursery import Nursery
from tests.segments.test_explain import BASE, event, read_of
from tests.signed_in import Site, signed_in

TARGETS = """
[calendars.open]
zone = "UTC"
monday = ["00:00-24:00"]
tuesday = ["00:00-24:00"]
wednesday = ["00:00-24:00"]
thursday = ["00:00-24:00"]
friday = ["00:00-24:00"]
saturday = ["00:00-24:00"]
sunday = ["00:00-24:00"]

[[targets]]
name = "promise"
calendar = "open"
first-response = "60s"
queue-wait = "1h"
"""


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "targets.toml").write_text(TARGETS)
    with signed_in(nursery, folder / "store", "UTC", "--targets", folder / "targets.toml") as site:
        begun = SystemClock().now() - 3_600_000
        script: list[tuple[str, int, str, dict[str, object]]] = [
            ("b", 0, "opened", {}),
            ("b", 5, "assigned", {"agentId": 7}),
            ("b", 6, "focused", {"agentId": 7}),
            ("a", 10, "opened", {}),
            ("a", 11, "message", {"sentBy": "consumer"}),
            ("a", 20, "assigned", {"agentId": 7}),
            ("a", 120, "focused", {"agentId": 7}),
            ("a", 180, "message", {"sentBy": "agent"}),
            ("a", 200, "closed", {"closedBy": "consumer"}),
        ]
        site.bring(
            *(
                {"conversationId": of, "eventId": f"{at}", "time": begun + 1000 * at, "type": type_, **more}
                for of, at, type_, more in script
            )
        )
        yield site


def shown(site: Site, conversation: str) -> str:
    answer = site.client.get(f"/why?conversation={conversation}&tz=UTC", headers={"Accept": "text/html"})
    assert answer.status_code == httpx.codes.OK
    return answer.text


def rows_of(page: str, kind: str) -> list[list[str]]:
    (table,) = re.findall(f'<table class="{kind}">(.*?)</table>', page, re.DOTALL)
    rows = re.findall("<tr.*?</tr>", table, re.DOTALL)
    cells = [re.findall("<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub("<.*?>", "", cell)) for cell in row] for row in cells]


def test_it_begins_in_words_and_lists_each_wait_with_its_target(site: Site) -> None:
    page = shown(site, "a")
    (text,) = re.findall('<p dir="auto">(.*?)</p>', page)
    assert "Agent 7 was looking at another conversation until" in text
    assert "a first response after 2 min 40 s." in text
    assert "A first response was promised within 1 min (promise)" in text
    assert "1 min 40 s too long." in text
    assert page.index('dir="auto"') < page.index('<svg class="picture"')
    head, queue, first = rows_of(page, "waits-table")
    assert head[4:9] == ["Took", "when open", "Target", "Verdict", "Due"]
    assert (queue[0], queue[7]) == ("wait in the queue", "within its target")
    assert (first[0], first[1], first[4], first[5], first[6], first[7]) == (
        "first response",
        "agent 7",
        "2 min 40 s",
        "2 min 40 s",
        "1 min",
        "! missed its target",
    )
    # The date stands once, unless it is another one.
    since = datetime.fromisoformat(first[2])
    until = since + timedelta(seconds=160)
    ended = f"{until:%H:%M:%S}" if until.date() == since.date() else f"{until:%Y-%m-%d %H:%M:%S}"
    assert first[3] == ended
    assert first[9] == f"open: {since:%H:%M:%S} – {ended}"
    assert first[10] == "promise"


def test_the_agents_other_conversations_are_links_in_the_picture(site: Site) -> None:
    links = re.findall(r'<a class="item other" href="([^"]*)"', shown(site, "a"))
    assert len(links) == 1
    assert "conversation=b" in links[0]
    assert "Why <small><bdi>b" in site.client.get(html.unescape(links[0]), headers={"Accept": "text/html"}).text


# --- what is told and drawn of other conversations -------------------------------------------------------------------


def meanwhile(*focus: Focus) -> Meanwhile:
    return Meanwhile({}, {7: focus})


@pytest.mark.parametrize(
    ("focus", "told"),
    [
        ([Focus(0, 100_000, "b")], "at another conversation"),
        ([Focus(0, 50_000, "b"), Focus(50_000, 100_000, "d")], "at 2 other conversations"),
        ([Focus(0, 100_000, None)], "at no conversation"),
        (
            [Focus(0, 60_000, "b"), Focus(60_000, 100_000, None)],
            "at another conversation (for 1 min) and at none (for 40 s)",
        ),
        ([Focus(0, 50_000, "b"), Focus(50_000, 100_000, OUTSIDE)], "at other conversations"),
        ([Focus(0, 50_000, "b")], "elsewhere"),
        ([Focus(0, 50_000, "b"), Focus(50_000, 100_000, None, known=False)], "elsewhere"),
        ([], "elsewhere"),
    ],
)
def test_where_an_agent_looked_is_told_as_far_as_it_is_known(focus: list[Focus], told: str) -> None:
    assert meanwhile(*focus).told(7, 0, 100_000, 100_000) == told
    assert meanwhile(*focus).told(8, 0, 100_000, 100_000) == "elsewhere"


def drawn(*focus: Focus) -> tuple[list[tuple[str, int, int]], int]:
    reading = read_of(
        event(0, "assigned", agentId=7), event(1, "focused", agentId=7), event(9000, "closed", closedBy="agent")
    )
    picture = draw(reading, AccountLabels(), ISO, meanwhile(*focus))
    others = [item for item in picture.items if item.kind == "other"]
    return [(item.conversation, item.start, item.end) for item in others], picture.more_others


def test_only_conversations_that_one_may_know_of_are_drawn() -> None:
    ids = ("b", OUTSIDE, None, "d")
    focus = [Focus(BASE + 1000 * i, BASE + 1000 * (i + 1), conversation) for i, conversation in enumerate(ids)]
    found, more = drawn(*focus, Focus(BASE + 4000, BASE + 5000, None, known=False))
    assert found == [("b", BASE, BASE + 1000), ("d", BASE + 3000, BASE + 4000)]
    assert more == 0


def test_of_very_many_the_longest_are_drawn() -> None:
    ends = [BASE + 10 * i + (i % 10) for i in range(OTHERS_MAX + 100)]
    found, more = drawn(*(Focus(end - i % 10 - 1, end, f"{i}") for i, end in enumerate(ends)))
    assert len(found) + more == OTHERS_MAX + 100
    lengths = [end - start for _id, start, end in found]
    assert OTHERS_MAX <= len(found) < OTHERS_MAX + 60
    assert min(lengths) >= 2
