"""A key that is limited to groups or skills: in a world with others its answers are those of a world without them."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import handletime
from handletime.answers.labels import Labels
from handletime.answers.relations import RELATIONS
from handletime.answers.words import OUTSIDE_SCOPE
from handletime.api.service import Service
from handletime.keys.keys import READING
from handletime.keys.sidefile import SideFile
from handletime.scope import Scope
from handletime.store.store import Store
from handletime.targets.file import TargetsFile
from handletime.web.page import COOKIE, Page
from handletime.web.routes import page_routes
from handletime.web.sessions import Sessions
from tests.api.world import NOW, Event, World, token
from tests.messy_streams import GROUPS, SKILLS, messy_stream
from tests.security.test_matrix import API, PAGES
from tests.segments.tables import events_of
from tests.store.worlds import SMALL, a_store, standing_copies

HOUR, DAY = 3_600_000, 86_400_000
ACCOUNT: Final = "acme"
TEAMS: Final = {51: (511, 512), 52: (521, 522)}
"""Agents by group."""
SKILLS_HERE: Final = (10, 20)
SCOPES: Final = {
    "a group": Scope((51,)),
    "a skill": Scope(None, (10,)),
    "both": Scope((51,), (10,)),
    "nothing": Scope((99,), (98,)),
}
OF_QUEUE: Final = ("msgskillsegments", "msgqueuehealth", "msgconversation", "/skill-segments")
"""What is of no group."""
WINDOW: Final = f"from={NOW - 2 * DAY}&to={NOW}"
ASKED: Final = (
    f"/api/account/acme/agent-segments?source=test&limit=500&{WINDOW}",
    f"/api/account/acme/agent-segments?source=test&limit=3&offset=2&sort=agent&{WINDOW}",
    f"/api/account/acme/agent-segments?source=test&limit=5&format=csv&{WINDOW}",
    *(f"/api/account/acme/agent-segments?source=test&AgentId={agent}&{WINDOW}" for agent in (511, 521)),
    *(f"/api/account/acme/agent-segments?source=test&SkillId={skill}&{WINDOW}" for skill in SKILLS_HERE),
    *(f"/api/account/acme/agent-segments?source=test&GroupId={group}&{WINDOW}" for group in TEAMS),
    "/operations/api/account/acme/msgagentsegments?v=1&timeframe=1440&skillIds=all&interval=60",
    "/operations/api/account/acme/msgagentsegments?v=1&timeframe=1440&groupIds=52&agentIds=511,521&skillIds=10,20",
    "/operations/api/account/acme/msgagentsegments?v=1&timeframe=1440&format=csv",
    "/operations/api/account/acme/msgskillsegments?v=1&timeframe=1440&interval=60",
    "/operations/api/account/acme/msgskillsegments?v=1&timeframe=1440&skillIds=20",
    "/operations/api/account/acme/msgconversation?v=1&timeframe=1440&skillIds=all&agentIds=all&interval=60",
    "/operations/api/account/acme/msgqueuehealth?v=2&timeframe=1440&interval=60&skillIds=all",
    "/operations/api/account/acme/msgqueuehealth/current?v=1&skillIds=10,20&breakdown=true",
    "/operations/api/account/acme/msgqueuehealth/current?v=1",
    f"/api/account/acme/report?{WINDOW}&by=skill,agent,group,source,userType&interval=60",
    f"/api/account/acme/report?{WINDOW}&by=agent&compare=previous&fill=zero&format=csv&interval=day",
    f"/api/account/acme/report?{WINDOW}&by=group&groupIds=52,51",
    f"/api/account/acme/report?{WINDOW}&by=agent&agentIds=521,522",
    f"/api/account/acme/report?{WINDOW}&metrics=totalAgentConversationSegments,p90ResponseMillis,avgHandleTimeMillis",
    f"/api/account/acme/report?{WINDOW}&by=skill&limit=1&metrics=totalAgentConversationSegments",
    "/api/account/acme/metrics",
    "/api/account/acme/due?limit=1000",
    f"/api/account/acme/report?{WINDOW}&by=skill,group&metrics=firstResponseServiceLevelPercent,responseMissedCount",
    f"/api/account/acme/report?{WINDOW}&by=agent&metrics=queueWaitServiceLevelPercent,responseServiceLevelPercent",
    "/api/account/acme/due?skillIds=20&format=csv",
)
TARGETS: Final = """
[[targets]]
name = "ten"
skills = [10]
queue-wait = "40s"
first-response = "30s"
first-response-from = "queued"
response = "20s"

[[targets]]
name = "others"
queue-wait = "20s"
first-response = "20s"
response = "50s"
"""
VIEW: Final = f"from={NOW - 2 * DAY}&to={NOW}&tz=UTC"
TABLES: Final = ("agents", "skills", "segments", "skill-segments", "history", "open")
"""What the page gives as files."""
SHOWN: Final = (
    "/?tz=UTC",
    "/?tz=UTC&last=7d&interval=hour",
    "/open?tz=UTC",
    "/open?tz=UTC&agent=521",
    f"/agents?{VIEW}",
    f"/agents?{VIEW}&agent=511",
    f"/agents?{VIEW}&agent=521",
    f"/skills?{VIEW}",
    f"/skills?{VIEW}&skill=20",
    f"/segments?{VIEW}",
    f"/segments?{VIEW}&group=52",
    f"/segments?{VIEW}&compare=previous",
    f"/agents?{VIEW}&compare=previous&agent=511",
    *(f"/{table}.{form}?{VIEW}&compare=week" for table in TABLES for form in ("csv", "xlsx")),
    f"/skills.csv?{VIEW}&table=2",
    f"/history.csv?{VIEW}&of=skill",
    f"/skill-segments?{VIEW}",
    *(f"/waits?{VIEW}&clock={clock}&userType=all" for clock in ("firstResponse", "response", "queueWait")),
    f"/waits?{VIEW}&clock=response&verdict=missed&compare=week&agent=521",
    *(f"/agent-day?agent={agent}&day=2026-11-19&tz=UTC" for agent in (511, 521)),
)


class Made(NamedTuple):
    """A conversation: its events, and who had it; nobody where it was never assigned."""

    id: str
    skill: int
    group: int | None
    events: list[Event]

    def is_in(self, scope: Scope) -> bool:
        return scope.has(self.skill, self.group)


def conversations(dice: random.Random) -> list[Made]:
    """Each lies within one skill and, once it is assigned, one group; each agent looks at one after the other."""
    free = {agent: NOW - DAY for agents in TEAMS.values() for agent in agents}
    made = []
    for number in range(120):
        group = dice.choice([*TEAMS, *TEAMS, None])
        skill = dice.choice(SKILLS_HERE)
        agent = None if group is None else dice.choice(TEAMS[group])
        at = NOW - dice.randrange(DAY) if agent is None else free[agent] + dice.randrange(HOUR)
        if at > NOW - HOUR // 2:
            continue
        name = f"g{group}s{skill}n{number}"
        events: list[Event] = []

        def happens(type_: str, within: int, *, name: str = name, events: list[Event] = events, **more: object) -> None:
            nonlocal at
            at += dice.randrange(1, within)
            events.append({"conversationId": name, "eventId": f"{len(events)}", "time": at, "type": type_, **more})

        happens("opened", 60_000, skillId=skill, source=dice.choice(["WEB", "SMS"]))
        if dice.random() < 0.8:
            happens("message", 60_000, sentBy="consumer")
        if agent is not None:
            happens("assigned", 60_000, agentId=agent, groupId=group, employeeId=f"e{agent}")
            happens("focused", 60_000, agentId=agent)
            for _ in range(dice.randrange(4)):
                happens("message", 60_000, sentBy="agent")
                happens("message", 60_000, sentBy="consumer")
            happens("unfocused", 60_000, agentId=agent)
            free[agent] = at
        if dice.random() < 0.7:
            happens("closed", 60_000, closedBy=dice.choice(["consumer", "agent", "system"]))
        made.append(Made(name, skill, group, events))
    return made


class Scene(NamedTuple):
    """A server with everybody, and one with only what lies within the scope."""

    scope: Scope
    all: World
    only: World
    made: list[Made]
    cookies: dict[str, str]

    def asked(self, path: str, **headers: str) -> tuple[Any, Any]:
        """The answers to the limited key among all, and to one of all where there is nothing else."""
        mine = self.all.client.get(path, headers={**token(ACCOUNT, *READING, scope=self.scope), **headers})
        return mine, self.only.client.get(path, headers={**token(ACCOUNT, *READING), **headers})

    def shown(self, path: str) -> tuple[Any, Any]:
        """Both pages."""
        found = []
        for world in (self.all, self.only):
            cookie = f"{COOKIE}={self.cookies[world.url]}"
            found.append(world.client.get(path, headers={"Cookie": cookie, "Accept": "text/html"}))
        return found[0], found[1]


@pytest.fixture(scope="module", params=SCOPES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scope = SCOPES[request.param]
    made = conversations(random.Random(7))
    with ExitStack() as stack:
        worlds, cookies = [], {}
        for name, known, key in (("all", made, scope), ("only", [each for each in made if each.is_in(scope)], Scope())):
            folder = tmp_path_factory.mktemp(name)
            real = stack.enter_context(Store(folder, stack.enter_context(SideFile(folder)), SMALL))
            sessions = stack.enter_context(Sessions())
            labels = Labels(named(folder, known if name == "only" else made, scope))
            world = stack.enter_context(World(real=real, page=partial(pages_of, sessions, labels)))
            (folder / "targets.toml").write_text(TARGETS)
            world.service.targets = TargetsFile(folder / "targets.toml")
            if known:
                real.ingest(
                    ACCOUNT, events_of([{"accountId": ACCOUNT, **each} for one in known for each in one.events])
                )
            secret = token(ACCOUNT, *READING, scope=key)["Authorization"].removeprefix("Bearer ")
            cookies[world.url] = sessions.begin(secret, "UTC", NOW)
            worlds.append(world)
        yield Scene(scope, worlds[0], worlds[1], made, cookies)


def pages_of(sessions: Sessions, labels: Labels, service: Service) -> list[Any]:
    """The routes of a page."""
    return page_routes(Page(service, sessions, labels))


def named(folder: Path, made: list[Made], scope: Scope) -> Path:
    """Names of all that some conversations have, and of what the scope names."""
    found = {("skill", each.skill) for each in made if each.group} | {
        ("group", each.group) for each in made if each.group
    }
    found |= {("skill", each.skill) for each in made if scope.has(each.skill, each.group)}
    found |= {("agent", int(str(event["agentId"]))) for each in made for event in each.events if "agentId" in event}
    found |= {
        (kind, number) for kind, ids in (("group", scope.groups), ("skill", scope.skills)) for number in ids or ()
    }
    lines = "\n".join(f"{kind},{number},{kind} called {number}" for kind, number in sorted(found, key=str))
    (folder / "labels.csv").write_text(f"kind,id,label\n{lines}\n")
    return folder / "labels.csv"


def alike(text: str, scene: Scene) -> str:
    """An answer without what differs between servers."""
    return text.replace(scene.all.url, "URL").replace(scene.only.url, "URL")


def test_every_route_is_asked() -> None:
    """Those that read; who writes has no scope."""
    asked = {path.partition("?")[0] for path in (*ASKED, *SHOWN)} | {"/why", "/now/data", "/now/events", "/open/data"}
    pages = {route.split(" ")[1] for route in PAGES}
    assert pages <= asked
    api = {route.split(" ")[1].replace("{account}", ACCOUNT) for route, (may, _) in API.items() if may in READING}
    elsewhere = {path for path in api if "breakdown" in path or "files" in path or "explain" in path}
    assert api - elsewhere <= asked


@pytest.mark.parametrize("path", ASKED)
def test_the_answer_is_that_of_a_world_without_others(path: str, scene: Scene) -> None:
    # Somebody who may see all has just asked the same: what is kept of that is for nobody else.
    assert scene.all.client.get(path, headers=token(ACCOUNT)).status_code == 200
    mine, only = scene.asked(path)
    if not scene.scope.has_queues and any(name in path for name in OF_QUEUE):
        assert mine.status_code == 403
        assert "limited to" in mine.json()["message"]
        return
    assert (mine.status_code, only.status_code) == (200, 200), mine.text
    assert mine.headers.get("X-Total-Count") == only.headers.get("X-Total-Count")
    texts = [alike(answer.text, scene) for answer in (mine, only)]
    if path.endswith("/metrics") and not scene.scope.has_queues:
        assert "queue" not in texts[0]
        lines = texts[1].splitlines(keepends=True)
        texts[1] = "".join(line for line in lines if "handletime_queue" not in line and "queueWait" not in line)
    assert texts[0] == texts[1]


def test_there_is_something_to_be_seen(scene: Scene) -> None:
    """The comparisons above are worth something: both see a part, and the account has more."""
    counts = [answer.headers["X-Total-Count"] for answer in scene.asked(f"{ASKED[0]}&format=csv")]
    whole = scene.all.client.get(f"{ASKED[0]}&format=csv", headers=token(ACCOUNT)).headers["X-Total-Count"]
    some = scene.scope != SCOPES["nothing"]
    assert counts[0] == counts[1]
    assert (0 < int(counts[0]) < int(whole)) == some
    due, _ = scene.asked("/api/account/acme/due")
    assert (due.json()["count"] > 0) == some


@pytest.mark.parametrize("path", SHOWN)
def test_the_page_is_that_of_a_world_without_others(path: str, scene: Scene) -> None:
    mine, only = scene.shown(path)
    if not scene.scope.has_queues and any(each in path for each in ("/skill-segments", "of=skill", "queueWait")):
        assert mine.status_code == 403
        return
    assert (mine.status_code, only.status_code) == (200, 200), mine.text
    if path.startswith("/skills.") and not scene.scope.has_queues:
        # Agent segments, where others have skill segments first.
        only = scene.shown(path if "table=2" in path else f"{path}&table=2")[1]
    if ".csv" in path:
        assert mine.text == only.text
        return
    if ".xlsx" in path:
        assert sheet_of(mine.content) == sheet_of(only.content)
        return
    assert 'id="scope"' in mine.text
    assert 'id="scope"' not in only.text
    texts = [main_of(alike(answer.text, scene)) for answer in (mine, only)]
    others = [each.id for each in scene.made if not each.is_in(scene.scope)]
    assert not any(f"{name}<" in mine.text or f"{name}&" in mine.text for name in others)
    assert not any(f"{kind} called" in mine.text and name in mine.text for kind, name in unseen(scene))
    if not scene.scope.has_queues and path.startswith(("/?", "/skills", "/waits")):
        return  # Of groups there are no skill segments, and no queue.
    if scene.scope.skills and path.startswith("/agent-day"):
        # An agent works in both skills: that there were others is said, of an agent with a segment within.
        is_known = "agent=511" in path or scene.scope.groups is None
        assert (OUTSIDE_SCOPE in unescape(mine.text)) == (is_known and scene.scope != SCOPES["nothing"])
        return
    assert texts[0] == texts[1]


def unseen(scene: Scene) -> Iterator[tuple[str, str]]:
    """Names of what lies outside of the scope."""
    mine = [each for each in scene.made if each.is_in(scene.scope)]
    for group, agents in TEAMS.items():
        if all(each.group != group for each in mine):
            yield "group", f"group called {group}"
            yield from (("agent", f"agent called {agent}") for agent in agents)
    for skill in SKILLS_HERE:
        if all(each.skill != skill for each in mine):
            yield "skill", f"skill called {skill}"


def sheet_of(workbook: bytes) -> bytes:
    """What stands in a workbook: not when it was made."""
    with zipfile.ZipFile(io.BytesIO(workbook)) as book:
        return book.read("xl/worksheets/sheet1.xml")


def main_of(text: str) -> str:
    """What stands in the middle of a page, without what is one browser's alone."""
    return re.sub(r'name="form_token" value="[^"]*"', "", text[text.index("<main") : text.index("</main>")])


@pytest.mark.parametrize("path", ["/now/data?tz=UTC&history=yes", "/open/data?tz=UTC"])
def test_what_renews_the_page_is_limited_too(path: str, scene: Scene) -> None:
    mine, only = scene.shown(path)
    assert mine.status_code == 200
    for each in scene.made:
        assert f"{each.id}<" not in mine.json().get("live", "") or each.is_in(scene.scope)
    if scene.scope.has_queues:
        assert mine.json() == only.json()


def test_files_of_units_are_of_whole_accounts(scene: Scene) -> None:
    path = "/api/account/acme/agent-segments/breakdown?source=test"
    files = scene.all.client.get(path, headers=token(ACCOUNT)).json()["files"]
    for asked in (path, f"/api/account/acme/agent-segments/files?source=test&path={files[0]}"):
        mine, _ = scene.asked(asked)
        assert mine.status_code == 403
        assert f"limited to {scene.scope}" in mine.json()["message"]


def test_a_conversation_is_explained_where_it_lies_within(scene: Scene) -> None:
    missing, _ = scene.asked("/api/account/acme/conversations/none/explain")
    for each in scene.made[::7]:
        mine, only = scene.asked(f"/api/account/acme/conversations/{each.id}/explain")
        page, _ = scene.shown(f"/why?conversation={each.id}&tz=UTC")
        if not each.is_in(scene.scope):
            assert (mine.status_code, mine.text) == (404, missing.text)
            assert page.status_code == 404
            continue
        assert page.status_code == 200
        if scene.scope.has_queues:
            assert mine.text == only.text
        else:
            told, wanted = mine.json(), only.json()
            assert told["agentSegments"] == wanted["agentSegments"]
            assert told["queueSegments"] == told["skillSegments"] == []
            assert len(told["moments"]) == len(wanted["moments"])
        for row in only.json()["agentSegments"]:
            segment, same = scene.asked(f"/api/account/acme/agent-segments/{row['segmentId']}/explain")
            assert segment.json()["agentSegments"] == same.json()["agentSegments"] == [row]
    out = next(each for each in scene.made if each.group and not each.is_in(scene.scope))
    told = scene.all.client.get(f"/api/account/acme/conversations/{out.id}/explain", headers=token(ACCOUNT)).json()
    segment, _ = scene.asked(f"/api/account/acme/agent-segments/{told['agentSegments'][0]['segmentId']}/explain")
    assert segment.status_code == 404


def test_a_limited_key_writes_nothing(scene: Scene) -> None:
    for path in ("events", "focus"):
        answer = scene.all.client.post(
            f"/api/account/acme/{path}",
            content=b'{"conversationId":"new","eventId":"x","time":1795165200000,"type":"opened"}',
            headers=token(ACCOUNT, "admin", scope=scene.scope) | {"Content-Type": "application/x-ndjson"},
        )
        assert answer.status_code == 403


def test_a_limited_key_has_no_etag(scene: Scene) -> None:
    """It would change whenever others do something."""
    path = f"/api/account/acme/report?{WINDOW}&by=agent"
    whole = scene.all.client.get(path, headers=token(ACCOUNT)).headers["ETag"]
    for given in (whole, "*"):
        mine, _ = scene.asked(path, **{"If-None-Match": given})
        assert mine.status_code == 200
        assert "ETag" not in mine.headers


# --- rows, whatever they look like ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_every_relation_has_only_the_rows_within(number: int, tmp_path: Path, seed: int) -> None:
    """So that each query, whatever it asks, is limited: conversations change their agents, groups and skills here."""
    dice = random.Random(f"{seed} {number}")
    raw = [{**event, "accountId": "local"} for event in messy_stream(seed + number, events=400, accounts=1)]
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(standing_copies(raw)))
        whole = {name: rows(store, name, Scope()) for name in RELATIONS}
        for _ in range(12):
            ids = [
                tuple(dice.sample(each, dice.randint(1, 3))) if dice.random() < 0.7 else None
                for each in (GROUPS, SKILLS)
            ]
            scope = Scope(*ids)
            for name in RELATIONS:
                assert rows(store, name, scope) == [row for row in whole[name] if is_within(name, row, scope)], name


def rows(store: Store, name: str, scope: Scope) -> list[dict[str, Any]]:
    with store.reader("local", scope).snapshot() as snapshot:
        found: list[dict[str, Any]] = snapshot.table(f"select * from {name} order by all").to_pylist()  # noqa: S608
    return found


def is_within(name: str, row: dict[str, Any], scope: Scope) -> bool:
    """The rule once more: agents' rows by group and skill, all others by skill, and none of them with groups."""
    if scope.skills is not None and row["skillId"] not in scope.skills:
        return False
    if name in ("agent_segments", "handle_time_units"):
        return scope.groups is None or row["groupId"] in scope.groups
    return scope.groups is None


# --- what knows no scope --------------------------------------------------------------------------------------------

HERE: Final = Path(handletime.__file__).parent


@pytest.mark.parametrize(
    ("read", "places"),
    [
        (".prepared(", {"api/explain.py"}),
        # The second one reads none: it asks whether there are any here.
        (".open_conversations()", {"api/service.py", "api/queue_health.py"}),
        ("tore.reader(", {"api/service.py", "api/unit_files.py"}),
        (".focus(", {"web/agent_day.py", "web/elsewhere.py"}),
        (".holds_all(", {"api/unit_files.py"}),
    ],
)
def test_what_is_read_of_events_is_limited_in_one_place_each(read: str, places: set[str]) -> None:
    """Whoever reads it elsewhere has to limit it there, and say so here."""
    files = [path for room in ("api", "web") for path in (HERE / room).glob("*.py")]
    found = {f"{path.parent.name}/{path.name}" for path in files if read in path.read_text()}
    assert found == places
