"""Every route × everybody who may not: no key, a wrong one, a revoked one, another account's, one that lacks what it
takes. And every route in every other spelling of its path. The routes are those of the application: one without a row
here fails.
"""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import httpx
import pytest

from handletime.api.app import make_app
from handletime.clock import SystemClock
from handletime.keys.keys import NewKey, Permission, create, revoke
from handletime.keys.sidefile import SideFile
from handletime.web.page import COOKIE, Page, tag
from handletime.web.routes import page_routes
from handletime.web.sessions import SESSIONS, Sessions
from tests.api.world import World
from tests.crash.nursery import Nursery

MINE, THEIRS, NOBODYS = "acct1mine", "acct2theirs", "acct3nobodys"
KEY_OF: Final = {MINE: "mine", THEIRS: "theirs"}
API: Final[dict[str, tuple[Permission, str]]] = {
    "GET /api/account/{account}/agent-segments": ("handle-time", "?source=test"),
    "GET /api/account/{account}/agent-segments/breakdown": ("handle-time", "?source=test"),
    "GET /api/account/{account}/agent-segments/files": ("handle-time", "?source=test&path={file}"),
    "GET /api/account/{account}/agent-segments/{segment}/explain": ("handle-time", ""),
    "GET /api/account/{account}/conversations/{conversation}/explain": ("handle-time", ""),
    "GET /operations/api/account/{account}/msgagentsegments": ("operations", "?v=1&timeframe=60"),
    "GET /operations/api/account/{account}/msgskillsegments": ("operations", "?v=1&timeframe=60"),
    "GET /api/account/{account}/metrics": ("operations", ""),
    "GET /api/account/{account}/due": ("operations", ""),
    "GET /operations/api/account/{account}/msgqueuehealth": ("operations", "?v=2&timeframe=60&interval=5"),
    "GET /operations/api/account/{account}/msgqueuehealth/current": ("operations", "?v=1"),
    "GET /operations/api/account/{account}/msgconversation": ("operations", "?v=1&timeframe=60"),
    "POST /operations/api/account/{account}/msgconversation": ("operations", "?v=1&timeframe=60"),
    "GET /api/account/{account}/report": ("operations", "?by=skill"),
    "POST /api/account/{account}/events": ("ingest", ""),
    "POST /api/account/{account}/focus": ("focus", ""),
}
"""Routes that need a key, the permission, and what else they are asked with."""
PAGES: Final[dict[str, tuple[Permission, str]]] = {
    "GET /": ("operations", "?tz=UTC"),
    "GET /open": ("operations", "?tz=UTC"),
    "GET /open/data": ("operations", "?tz=UTC"),
    "GET /now/data": ("operations", "?tz=UTC"),
    "GET /now/events": ("operations", "?tz=UTC"),
    "GET /agents": ("operations", "?tz=UTC"),
    "GET /skills": ("operations", "?tz=UTC"),
    "GET /segments": ("handle-time", "?tz=UTC"),
    **{f"GET /segments.{form}": ("handle-time", "?tz=UTC") for form in ("csv", "xlsx")},
    **{
        f"GET /{table}.{form}": ("operations", "?tz=UTC")
        for table in (
            *("agents", "skills", "skill-segments", "history", "open", "weekdays", "transfers", "slowest"),
            *("now-skills", "now-agents", "now-looking", "now-bots"),
        )
        for form in ("csv", "xlsx")
    },
    **{
        f"GET /{table}.{form}": ("operations", "?agent=7&tz=UTC")
        for table in ("peers", "at-once")
        for form in ("csv", "xlsx")
    },
    **{
        f"GET /{table}.{form}": ("handle-time", "?agent=7&tz=UTC")
        for table in ("agent-day", "agent-day-stretches")
        for form in ("csv", "xlsx")
    },
    **{
        f"GET /why-{table}.{form}": ("handle-time", "?conversation=secret&tz=UTC")
        for table in ("waits", "segments", "units", "events")
        for form in ("csv", "xlsx")
    },
    "GET /skill-segments": ("operations", "?tz=UTC"),
    "GET /waits": ("handle-time", "?tz=UTC"),
    **{f"GET /waits.{form}": ("handle-time", "?tz=UTC") for form in ("csv", "xlsx")},
    "GET /agent-day": ("handle-time", "?agent=7&tz=UTC"),
    "GET /why": ("handle-time", "?conversation=secret&tz=UTC"),
}
"""Routes of the page, which need a session."""
FORMS: Final = {"POST /sign-in", "POST /sign-out"}
"""Routes that a form of the page has to send."""
ACCOUNT: Final = "/api/account/{account}"
OPEN: Final[dict[str, str]] = {
    "GET /api/account/{account}/service/{name}/baseURI.json": f"{ACCOUNT}/service/leDataReporting/baseURI.json",
    "GET /api/account/{account}/service/baseURI.json": f"{ACCOUNT}/service/baseURI.json",
    "GET /healthz": "/healthz",
    "GET /readyz": "/readyz",
    "GET /metrics": "/metrics",
    "GET /openapi.json": "/openapi.json",
    "GET /docs": "/docs",
    "GET /docs/style.css": "/docs/style.css",
    "GET /sign-in": "/sign-in",
    "GET /static/{version}/{name}": f"/static/{tag()}/page.css",
}
"""Routes for everybody, and where: they know no account."""
DELIVERIES: Final = {"GET /api/account/{account}/sources/{source}", "POST /api/account/{account}/sources/{source}"}
"""Routes that need no key, but a proof (test_sources.py)."""
PERMISSIONS: Final[tuple[Permission, ...]] = ("handle-time", "operations", "ingest")


class Site(NamedTuple):
    """A server with the accounts `mine` and `theirs`, of which both have the conversation `secret`."""

    client: httpx.Client
    log: Path
    folder: Path
    keys: dict[str, NewKey]

    def session(self, token: str) -> str:
        """The cookie of a browser that is signed in with a key."""
        with Sessions(self.folder / SESSIONS) as sessions:
            return sessions.begin(token, "UTC", SystemClock().now())


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site") / "store"
    folder.mkdir(mode=0o700)
    with SideFile(folder) as side:
        keys = {
            "mine": create(side, MINE, ["admin"]),
            "no focus": create(side, MINE, PERMISSIONS),
            "only focus": create(side, MINE, ["focus"], agent=7),
            "theirs": create(side, THEIRS, ["admin"]),
            "revoked": create(side, MINE, ["admin"]),
            **{f"no {each}": create(side, MINE, [p for p in PERMISSIONS if p != each]) for each in PERMISSIONS},
        }
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0", "--address-rate", "0")
    url = server.address()
    assert url is not None, server.log.read_text()
    now = SystemClock().now()
    body = "\n".join(
        f'{{"conversationId":"secret","eventId":"{event}","time":{now - 60_000 + 1000 * place},{more}}}'
        for place, (event, more) in enumerate(
            [
                ("1", '"type":"assigned","agentId":7'),
                ("2", '"type":"message","sentBy":"consumer"'),
                ("3", '"type":"focused","agentId":7'),
                ("4", '"type":"message","sentBy":"agent"'),
                ("5", '"type":"closed","closedBy":"agent"'),
            ]
        )
    )
    with httpx.Client(base_url=url, timeout=60) as client:
        site = Site(client, server.log, folder, keys)
        for account, key in ((MINE, keys["mine"]), (THEIRS, keys["theirs"])):
            answer = client.post(f"/api/account/{account}/events", content=body, headers=ndjson(key.token))
            assert answer.json() == {"accepted": 5, "duplicates": 0}
        with SideFile(folder) as side:
            revoke(side, keys["revoked"].id)
        yield site
    server.kill()


def basic(token: str) -> dict[str, str]:
    """The header of a tool that keeps only user names and passwords."""
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{token}".encode()).decode()}


def ndjson(token: str | None) -> dict[str, str]:
    named = {"Content-Type": "application/x-ndjson"}
    return named | ({"Authorization": f"Bearer {token}"} if token else {})


def routes() -> set[str]:
    """All routes of the application, with the names of their parts."""
    app: Any = make_app(World().service, more_routes=page_routes(cast(Page, None)))
    found = set()
    for route in app._app.routes:
        handlers: Any = getattr(route, "route_handler_map", {})
        path = re.sub(r":\w+}", "}", re.sub(r"\{(\w+):path\}", r"{\1}", str(route.path)))
        found |= {f"{method} {path}" for method in handlers if method not in ("OPTIONS", "HEAD")}
    return found


def test_every_route_has_a_row() -> None:
    assert routes() == {*API, *PAGES, *FORMS, *OPEN, *DELIVERIES}


def ask(
    site: Site, route: str, account: str, token: str | None, *, method: str = "", named: dict[str, str] | None = None
) -> httpx.Response:
    """Asks a route of the API for what an account has; with another method than its own, or other headers."""
    own, path = route.split(" ")
    method = method or own
    segment = first_segment(site, account)
    file = first_file(site, account)
    where = path.format(account=account, conversation="secret", segment=segment) + API[route][1].format(file=file)
    event = b'{"conversationId":"new","eventId":"x","time":1795165200000,"type":"%s","agentId":7}'
    content = event % (b"focused" if path.endswith("/focus") else b"opened") if method == "POST" else None
    return site.client.request(method, where, headers=named or ndjson(token), content=content)


def first_segment(site: Site, account: str) -> str:
    if account == NOBODYS:
        return f"{NOBODYS}:7:secret:AAAAAAAAAAAAAAAAAAAAAA"
    key = site.keys[KEY_OF[account]]
    answer = site.client.get(f"/api/account/{account}/agent-segments?source=test", headers=ndjson(key.token))
    return str(answer.json()["segments"][0]["segmentId"])


def first_file(site: Site, account: str) -> str:
    if account == NOBODYS:
        return "/year=2026/month=11/day=20/hour=09/accountId=acct3nobodys/sequences.1.20261120090000.00001.json.gz"
    key = site.keys[KEY_OF[account]]
    answer = site.client.get(f"/api/account/{account}/agent-segments/breakdown?source=test", headers=ndjson(key.token))
    return str(answer.json()["files"][0])


@pytest.mark.parametrize("route", API)
def test_whoever_may_not_is_refused(route: str, site: Site) -> None:
    permission = API[route][0]
    mine = site.keys["mine"]
    assert ask(site, route, MINE, mine.token).status_code == 200
    wrong = [
        ask(site, route, MINE, f"ht_{mine.id}_{'0' * 64}"),
        ask(site, route, MINE, f"ht_{'0' * 12}_{'0' * 64}"),
        ask(site, route, MINE, "nonsense"),
        ask(site, route, MINE, site.keys["revoked"].token),
        ask(site, route, MINE, site.keys["theirs"].token),
        ask(site, route, THEIRS, mine.token),
        ask(site, route, NOBODYS, mine.token),
    ]
    # None tells whether the account or the key is there.
    assert {shown(answer) for answer in wrong} == {shown(wrong[0])}
    assert wrong[0].status_code == 401
    assert ask(site, route, MINE, None).status_code == 401
    lacking = [ask(site, route, MINE, site.keys[f"no {permission}"].token)]
    if permission != "focus":
        lacking.append(ask(site, route, MINE, site.keys["only focus"].token))
    for answer in lacking:
        assert answer.status_code == 403
        assert "secret" not in answer.text


@pytest.mark.parametrize("route", API)
def test_the_same_as_the_password_of_http_basic_where_it_only_reads(route: str, site: Site) -> None:
    permission = API[route][0]
    mine = site.keys["mine"].token

    def status(token: str, account: str = MINE, method: str = "") -> int:
        return ask(site, route, account, None, method=method, named=basic(token)).status_code

    if route.startswith("POST"):
        refused = ask(site, route, MINE, None, named={**ndjson(None), **basic(mine)})
        assert refused.status_code == 401
        assert "Basic" not in refused.headers["www-authenticate"]
        return
    assert {status(mine), status(mine, method="HEAD")} == {200}
    wrong = [
        ask(site, route, account, None, named=basic(token))
        for account, token in [
            (MINE, f"ht_{site.keys['mine'].id}_{'0' * 64}"),
            (MINE, "nonsense"),
            (MINE, site.keys["revoked"].token),
            (MINE, site.keys["theirs"].token),
            (THEIRS, mine),
            (NOBODYS, mine),
        ]
    ]
    assert {shown(answer) for answer in wrong} == {shown(ask(site, route, MINE, "nonsense"))}
    for answer in (*wrong, ask(site, route, MINE, None)):
        assert answer.status_code == 401
        assert {"Bearer", "Basic", "OAuth"} <= set(re.findall(r"(?:^|, )(\w+) realm=", challenge(answer)))
    assert status(site.keys[f"no {permission}"].token) == 403


def test_a_key_in_http_basic_is_logged_by_its_id_and_opens_no_page(site: Site) -> None:
    token = site.keys["mine"].token
    headers = basic(token) | {"Accept": "text/html"}
    for route in PAGES:
        answer = site.client.get(route.split(" ")[1], headers=headers)
        assert answer.status_code == 303
        assert "www-authenticate" not in answer.headers
    # What a script of the page is refused makes no browser ask for a password.
    refused = site.client.get("/now/data", headers=basic(token))
    assert refused.status_code == 401
    assert "Basic" not in challenge(refused)
    secret = token.rpartition("_")[2]
    told = site.log.read_text()
    assert site.keys["mine"].id in told
    assert secret not in told
    assert basic(token)["Authorization"].split()[1] not in told


def challenge(answer: httpx.Response) -> str:
    return str(answer.headers["www-authenticate"])


def shown(answer: httpx.Response) -> tuple[int, str, str]:
    """What a client sees of a refusal."""
    return answer.status_code, answer.text, answer.headers["www-authenticate"]


@pytest.mark.parametrize("route", [route for route in API if "{segment}" in route or "{conversation}" in route])
def test_what_is_anothers_is_not_there(route: str, site: Site) -> None:
    """With a right key, in its own account: what only the other one has looks like what nobody has."""
    path = route.split(" ")[1]
    token = site.keys["mine"].token
    places = {
        "theirs": {"segment": first_segment(site, THEIRS), "conversation": "theirs"},
        "nobodys": {"segment": first_segment(site, NOBODYS), "conversation": "nobodys"},
    }
    answers = [site.client.get(path.format(account=MINE, **names), headers=ndjson(token)) for names in places.values()]
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].text == answers[1].text


def test_anothers_file_is_not_there(site: Site) -> None:
    token = site.keys["mine"].token
    files = [first_file(site, THEIRS), first_file(site, NOBODYS)]
    path = f"/api/account/{MINE}/agent-segments/files?source=test&path="
    answers = [site.client.get(path + file, headers=ndjson(token)) for file in files]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text == answers[1].text


@pytest.mark.parametrize("route", PAGES)
def test_pages_are_for_whoever_is_signed_in(route: str, site: Site) -> None:
    permission, more = PAGES[route]
    path = route.split(" ")[1] + more

    def status(cookie: str | None) -> int:
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
        with site.client.stream("GET", path, headers=headers) as answer:
            return answer.status_code

    assert status(site.session(site.keys["mine"].token)) == 200
    refused = {status(None), status("0" * 43), status(site.session(site.keys["revoked"].token))}
    assert refused <= {303, 401}
    assert status(site.session(site.keys[f"no {permission}"].token)) == 403


def test_pages_show_only_ones_own(site: Site) -> None:
    """`theirs` has a conversation that `mine` has not."""
    event = b'{"conversationId":"only-theirs","eventId":"x","time":1795165200000,"type":"opened"}'
    put = site.client.post(f"/api/account/{THEIRS}/events", content=event, headers=ndjson(site.keys["theirs"].token))
    assert put.status_code == 200
    found = {
        name: site.client.get(
            "/why?conversation=only-theirs", headers={"Cookie": f"{COOKIE}={site.session(site.keys[name].token)}"}
        ).status_code
        for name in ("mine", "theirs")
    }
    assert found == {"mine": 404, "theirs": 200}


@pytest.mark.parametrize("route", OPEN)
def test_what_is_open_knows_no_account(route: str, site: Site) -> None:
    path = OPEN[route]
    answer = site.client.get(path.format(account=MINE))
    assert answer.status_code == 200
    other = site.client.get(path.format(account=NOBODYS))
    assert other.status_code == 200
    for text in (answer.text, other.text):
        assert THEIRS not in text
        assert site.keys["mine"].id not in text


@pytest.mark.parametrize("route", sorted(FORMS))
def test_forms_are_taken_only_from_the_page(route: str, site: Site) -> None:
    path = route.split(" ")[1]
    key = site.keys["mine"].token
    assert site.client.post(path, data={"key": key, "next": "/"}).status_code == 403
    cookie = site.session(key)
    assert site.client.post(path, data={"key": key}, headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 403


# --- Every other spelling of a path ----------------------------------------------------------------------------------


def sent(site: Site, method: str, target: str, headers: dict[str, str]) -> tuple[int, str]:
    """The status of a path that is sent as it stands, and the answer's beginning: a stream has no end."""
    connection = http.client.HTTPConnection(site.client.base_url.host, site.client.base_url.port or 80, timeout=60)
    try:
        connection.putrequest(method, target)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read1(1 << 16).decode(errors="replace")
    finally:
        connection.close()


def escaped(part: str) -> list[str]:
    """A part of a path in two other spellings of the same."""
    return [f"%{ord(part[0]):02x}{part[1:]}", "".join(f"%{ord(letter):02X}" for letter in part)]


def misspelled(parts: list[str], fixed: list[bool]) -> Iterator[str]:
    """A path in other spellings: more slashes, dots, and what is fixed in it with escapes or in other letters."""
    path = "/" + "/".join(parts)
    yield from (path + more for more in ("/", "//", "/.", "%2F", "%2f", ";", ";a=b", "%20", "%00", "\\", "/%2e", "/.."))
    yield from (before + path for before in ("/", "/.", "/x/..", "/%2e", "//x/../.."))
    for place, part in enumerate(parts):
        front, back = "/" + "/".join(parts[:place]), "/".join(parts[place + 1 :])
        onward = f"/{back}" if back else ""
        others = [f"/{part}", f"./{part}", f"%2e/{part}", f"x/../{part}", f"x/%2E%2e/{part}"]
        if fixed[place]:
            others += [f"%2F{part}", part.upper(), f"{part}.", *escaped(part), f"{part[:-1]}%{ord(part[-1]):02X}"]
        else:
            others += ["", ".", "..", "%2e", "%2E%2e"]
        yield from (f"{front.rstrip('/')}/{other}{onward}" for other in others)


ROUTES: Final = sorted({*API, *PAGES, *OPEN, *FORMS} - {"GET /"})


@pytest.mark.parametrize("route", ROUTES)
def test_a_path_has_one_spelling(route: str, site: Site) -> None:
    method, _, template = route.partition(" ")
    key = site.keys["mine"].token
    names = {"account": MINE, "conversation": "secret", "segment": first_segment(site, MINE)}
    names |= {"version": tag(), "name": "page.css" if "static" in template else "leDataReporting"}
    _, query = {**API, **PAGES}.get(route, ("admin", ""))
    query = query.format(file=first_file(site, MINE))
    headers = ndjson(key) | {"Cookie": f"{COOKIE}={site.session(key)}", "Content-Length": "0"}
    words = template.removeprefix("/").split("/")
    parts = [word.format(**names) for word in words]

    def status(path: str, how: str = method) -> int:
        return sent(site, how, path + query, headers)[0]

    assert status(template.format(**names)) not in (404, 405)
    # LivePerson's page has this one with a slash at its end, and its clients send it so.
    slashed = [template.format(**names) + "/"] if template.endswith("/msgqueuehealth/current") else []
    assert [status(path) for path in slashed] == [200] * len(slashed)
    for spelled in misspelled(parts, ["{" not in word for word in words]):
        if spelled in slashed:
            continue
        assert status(spelled) == 404, spelled
        # Any text may be the name of a static file.
        assert status(spelled, "OPTIONS") == 404 or "{" in words[-1], spelled
    # Ids may be escaped in any way (RFC 3986 6.2.2).
    for place, word in enumerate(words):
        if "{" in word:
            for other in escaped(parts[place]):
                assert status("/" + "/".join([*parts[:place], other, *parts[place + 1 :]])) not in (404, 405), other


def test_metrics_are_in_no_answer_but_their_own(site: Site) -> None:
    shown = {spelled: sent(site, "GET", spelled, {})[1] for spelled in misspelled(["metrics"], [True])}
    assert [spelled for spelled, text in shown.items() if "handletime_" in text] == []
    assert "handletime_" in sent(site, "GET", "/metrics", {})[1]
    # A browser is shown a page, with the way from there.
    assert "There is no such page" in sent(site, "GET", "/open/", {"Accept": "text/html"})[1]
